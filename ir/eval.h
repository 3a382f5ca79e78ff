/*
 * The reference evaluator: every op in plain loops with wide accumulators (floats sum in double,
 * integers wrap in their own type). It folds constants, it is the oracle for kernels, and it
 * computes packed weights while a plan is written. Slow and right; elementwise ops and copies of
 * large contiguous tensors are fast enough to rewrite 100 MB of weights in well under a second.
 */
#ifndef GPUCC_IR_EVAL_H
#define GPUCC_IR_EVAL_H

#include "graph.h"

struct tensor {
    enum dtype type;
    int rank;
    int64_t shape[MAX_RANK];
    size_t size; /* bytes */
    void *data;  /* row-major, dense; owner is the one who made the tensor */
};

/* The data of a tensor whose type is a list's: one block, the elements' bytes behind the items. */
struct tensor_item {
    int rank;
    int64_t shape[MAX_RANK];
    size_t offset, size; /* of its bytes, from the start of the list */
};
struct tensor_list {
    int64_t n; /* -1: an optional sequence that is not there */
    size_t size; /* of all */
    struct tensor_item item[];
};

/*
 * Runs the whole graph. inputs[i] belongs to input i; outputs[i].data is malloc'ed for the caller
 * (free with tensor_free). Checks shapes and constraints and reports to g->diag.
 */
bool eval_graph(struct graph *g, const struct tensor *inputs, struct tensor *outputs);

/*
 * The same, but hands each value that has a name to visit as soon as it is computed, in the graph's
 * order, and keeps none longer than nodes need it: values of the graph itself, not of its bodies. The
 * tensor is the evaluator's, for the time of the call. A visit that returns false ends the run; its
 * failure is the visitor's to report.
 */
typedef bool eval_visitor(void *context, const struct value *v, const struct tensor *t);
bool eval_visit(struct graph *g, const struct tensor *inputs, eval_visitor *visit, void *context);

/* The value of v, which must depend on const nodes alone. out->data is malloc'ed. Intermediate
 * values are freed as soon as they are used. */
bool eval_constant(struct graph *g, const struct value *v, struct tensor *out);

/* Whether the node's numbers are the same with every C library. f64 functions of libm are not: they
 * differ in the last bit, and what is computed at compile time must not differ by machine. */
bool eval_is_portable(const struct node *node);

void tensor_free(struct tensor *t);
int64_t tensor_elements(const struct tensor *t);

/* One element as double or int64, whatever its type (conversion by C's rules). */
double tensor_get_float(const struct tensor *t, int64_t i);
int64_t tensor_get_int(const struct tensor *t, int64_t i);

#endif
