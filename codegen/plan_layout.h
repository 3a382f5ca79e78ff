/*
 * What one program of a plan is made of while it is laid out. Private to
 *
 *   plan_steps.c      the steps in the plan's order, bodies behind their owners
 *   plan_control.c    … what moves values into bodies, from one iteration to the next, and out
 *   plan_alias.c      … which outputs are made in the memory of an input
 *   plan_in_place.c   … which results are made in the memory of an operand
 *   plan_buffers.c    which value lies where, and when each buffer is alive
 *   plan_program.c    the records
 *   plan_memory.c     … those of buffers, and where they lie in the arena
 *   plan_taps.c       … those of values that can be looked at
 */
#ifndef GPUCC_CODEGEN_PLAN_LAYOUT_H
#define GPUCC_CODEGEN_PLAN_LAYOUT_H

#include "plan_build.h"
#include "scalar_program.h"

struct plan_live_buffer {
    enum plan_buffer_kind kind;
    uint32_t index;
    struct value *value;
    const struct dim *size; /* bytes */
    uint32_t home;          /* body whose steps make it: what is in it then lasts until they end */
    uint32_t first, last;   /* times */
    uint32_t alias;         /* buffer in whose memory it lies, or PLAN_NONE */
    bool used;
    bool may_share;         /* it could lie in the memory of an operand of its first step */
};

/* Where a value lies. */
struct plan_place {
    uint32_t buffer;          /* or PLAN_NONE */
    const struct dim *offset; /* bytes; NULL: 0 */
};

struct planned_step {
    struct step step;        /* a READ without value runs scalars only: a body is entered */
    const struct step *of;   /* the program's that it is, or moves values for; NULL: its body's */
    const char *nodes;       /* ONNX nodes it computes */
    struct plan_place to;    /* FILL, COPY */
    struct plan_place from;  /* COPY */
    const struct dim *bytes; /* FILL, COPY */
    uint32_t body;           /* that it is a step of */
    uint32_t inner[2];       /* BRANCH, LOOP: their bodies */
    uint32_t time;           /* position in an order where bodies lie right behind their owners */
    int segment;             /* of scalars known when it runs; READ: the one that it runs */
};

struct plan_body {
    struct graph *g;
    const struct program *program;
    struct node *node;     /* whose body it is; NULL: these are the main steps */
    uint32_t outer, owner; /* body and step of that node. The step is counted from the outer body's
                              first while steps are collected, then from the plan's */
    struct planned_step *steps;
    uint32_t n_steps, cap_steps;
    uint32_t first; /* its first step in the plan */
    uint32_t end;   /* time of its last step */
};

struct plan_layout {
    struct plan_builder *b;
    struct graph *g;
    struct text *own; /* the program's sections, by kind */
    const struct program *program;
    struct plan_body *bodies; /* in the plan's order; the main steps first */
    uint32_t n_bodies, cap_bodies;
    struct planned_step *steps; /* all of them */
    uint32_t n_steps;
    struct plan_place *place; /* by value id */
    struct plan_live_buffer *buffers;
    uint32_t n_buffers, cap_buffers;
    struct scalar_segment *segments;
    int n_segments;
    struct scalar_program *scalars;
    struct planned_tap *taps; /* see plan_taps.c */
    uint32_t n_taps;
    bool *copied; /* by output: one that lies in an input's memory is copied there in the end */
};

/* ONNX nodes that make v: never NULL. */
const char *plan_origin(const struct value *v);

/* ---- plan_steps.c ---- */

/* Makes bodies, steps, buffers and segments. */
void plan_lay_out_steps(struct plan_layout *l);

/* Appends a step to a body that is being laid out. */
struct planned_step *plan_add_step(struct plan_layout *l, uint32_t body, struct step step,
                                   const char *nodes);

/* Appends a COPY of a value's bytes; none where both places are one. */
void plan_add_copy(struct plan_layout *l, uint32_t body, struct value *v, struct plan_place to,
                   struct plan_place from, const char *nodes);

/* ---- plan_control.c ---- */

/* Places what the body shares with the steps around it: inputs and outputs. */
void plan_place_body(struct plan_layout *l, uint32_t body);

/* Before the body's steps are added: the results of its control nodes get their places, and what a
 * loop's states begin with is made right there where that is safe. */
void plan_place_results(struct plan_layout *l, uint32_t body);

/* Appends the COPYs that precede a loop: what its states begin with. */
void plan_begin_loop(struct plan_layout *l, uint32_t body, const struct node *node);

/* Appends the COPYs behind a loop: of states in two slots whose result must lie elsewhere. */
void plan_end_loop(struct plan_layout *l, uint32_t body, const struct node *node);

/* Appends the COPYs at the end of a body, or of the main steps: to results that no step of it
 * writes in place. */
void plan_end_body(struct plan_layout *l, uint32_t body);

/* ---- plan_alias.c ---- */

/* `to` is an output that is made in place in the memory of `from`, an input. */
bool plan_is_in_place(const struct plan_layout *l, const struct value *from,
                      const struct value *to);

/* After the steps are laid out: marks outputs in copied[] that cannot be made in place, and sets
 * *again if that changes the steps. False after reporting one that cannot lie there at all. */
bool plan_settle_aliases(struct plan_layout *l, bool *again);

/* What is computed from element i of `from` in the main group that makes `to` is element i again. */
bool plan_keeps_elements(const struct plan_layout *l, const struct value *from,
                         const struct value *to);

/* ---- plan_in_place.c ---- */

/* After the aliases are settled: results take the memory of operands that end there. */
void plan_share_buffers(struct plan_layout *l);

/* ---- plan_buffers.c ---- */

/* Bytes of v. */
const struct dim *plan_bytes(struct plan_layout *l, const struct value *v);

uint32_t plan_add_buffer(struct plan_layout *l, enum plan_buffer_kind kind, uint32_t index,
                         struct value *v, uint32_t home);

/* Where v lies, a value of the body's graph: a weight or in a buffer of its own if nobody said. */
struct plan_place plan_place_of(struct plan_layout *l, uint32_t body, struct value *v);
bool plan_has_place(const struct plan_layout *l, const struct value *v);

/* Times of all buffers, from what all steps touch. */
void plan_touch_buffers(struct plan_layout *l);

/* ---- plan_taps.c ---- */

/* Finds the taps, and wants the sizes they need; then, when slots are known, makes TAPS. */
void plan_want_taps(struct plan_layout *l);
void plan_add_taps(struct plan_layout *l);

/* ---- plan_memory.c ---- */

/* Makes BUFFERS, with offsets where all sizes are known; sets arena_bytes, peak_bytes and
 * peak_formula of the program's record. False after reporting. */
bool plan_place_buffers(struct plan_layout *l, struct plan_program *record);

#endif
