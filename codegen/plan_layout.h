/* What one program of a plan is made of while it is laid out. Private to plan_program.c,
 * plan_memory.c. */
#ifndef GPUCC_CODEGEN_PLAN_LAYOUT_H
#define GPUCC_CODEGEN_PLAN_LAYOUT_H

#include "plan_build.h"
#include "scalar_program.h"

struct plan_live_buffer {
    enum plan_buffer_kind kind;
    uint32_t index;
    struct value *value;
    const struct dim *size; /* bytes */
    uint32_t first, last;
    bool used;
};

struct plan_layout {
    struct plan_builder *b;
    struct graph *g;
    struct text *own; /* the program's sections, by kind */
    const struct program *program;
    struct step *steps; /* READs of inputs, the program's steps, COPYs to outputs */
    uint32_t *to;       /* by step: buffer that a COPY or FILL writes */
    uint32_t n_steps;
    uint32_t *buffer_of; /* by value id, or PLAN_NONE */
    struct plan_live_buffer *buffers;
    uint32_t n_buffers;
    struct value **reads;
    int n_reads;
    struct scalar_program *scalars;
};

/* Makes BUFFERS, with offsets where all sizes are known; sets arena_bytes, peak_bytes and
 * peak_formula of the program's record. False after reporting. */
bool plan_place_buffers(struct plan_layout *l, struct plan_program *record);

#endif
