/* What memory a plan's program takes, for those who want to read it. */
#ifndef GPUCC_CODEGEN_PLAN_REPORT_H
#define GPUCC_CODEGEN_PLAN_REPORT_H

#include "../runtime/plan_format.h"
#include "kernel.h"

struct plan_report_buffer {
    enum plan_buffer_kind kind;
    const struct value *value;  /* the first that lies there */
    const struct dim *size;     /* bytes */
    uint32_t first, last;       /* steps of the program, those of bodies right behind their owners */
    int64_t offset;             /* in the arena; -1: placed when the plan runs, or none of the arena's */
    uint32_t alias;             /* buffer in whose memory it lies, or PLAN_NONE */
    bool used;
    const struct value **inside; /* others that lie in it, NULL-terminated */
};

struct plan_report {
    const struct plan_report_buffer *buffers;
    uint32_t n_buffers, n_steps;
    int64_t arena_bytes;        /* -1: depends on free dims */
    int64_t live_bytes;         /* most bytes alive at one step: no placement needs less; or -1 */
    const char *live_formula;   /* "" where live_bytes says it */
};

/* Lays out program `index` as the plan writer does. In the graph's arena. False after reporting. */
bool plan_report(struct graph *g, struct program *const *programs, int n_programs, int index,
                 struct diag *diag, struct plan_report *report);

#endif
