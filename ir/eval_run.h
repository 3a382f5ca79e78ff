/* Between the evaluator's driver and its parts: a graph at work. */
#ifndef GPUCC_IR_EVAL_RUN_H
#define GPUCC_IR_EVAL_RUN_H

#include "eval_array.h"
#include "eval_session.h"

struct slot {
    const struct value *v; /* key; NULL: free */
    struct array a;
    struct array trial; /* its value in the trial that runs; no buffer: as it was */
    int64_t uses;       /* reads still to come */
    bool is_element;    /* some symbol's value is one of its elements */
};

/* A graph at work: the root, or a body in one of its runs. */
struct frame {
    struct graph *g;
    bool *checked; /* its constraints, in list order */
};

struct eval {
    struct graph *g;
    struct frame *frame; /* the innermost */
    struct slot *slots;  /* open hash by value */
    size_t n_slots;      /* a power of two */
    int n_symbols;
    int64_t *symbols; /* values by symbol index … */
    bool *known;      /* … and which are known */
    int64_t iterations;
    const struct eval_hook *hook; /* rounds, or NULL */
    bool trial;                   /* results of the root are those of a trial */
};

struct slot *eval_slot(struct eval *e, const struct value *v);

/* Room for the values of g; frame for the root. False after reporting. */
bool eval_open(struct eval *e, struct frame *frame, struct graph *g);
void eval_close(struct eval *e, struct frame *frame);
/* Inputs and the symbols that they tell. */
bool eval_bind(struct eval *e, const struct tensor *inputs);
bool eval_run_node(struct eval *e, const struct node *node);
bool eval_out_of_memory(struct eval *e, const struct node *node); /* reports; false */

/* Dims (eval_dims.c). False after reporting, but for dim_is_known. */
bool dim_is_known(const struct eval *e, const struct dim *d);
bool eval_resolve_shape(struct eval *e, const struct node *node, const struct value *v,
                        struct array *a);    /* type and shape of v into *a */
bool eval_check_constraints(struct eval *e); /* those whose symbols have become known */
/* Symbols that are elements of a value which has just been computed. */
bool eval_read_elements(struct eval *e, const struct slot *slot, const struct array *a);

#endif
