/* Inside the evaluator: arrays with strides over counted buffers, and what every eval_<op> is
 * given. */
#ifndef GPUCC_IR_EVAL_ARRAY_H
#define GPUCC_IR_EVAL_ARRAY_H

#include "eval.h"

#define EVAL_MAX_BYTES      (INT64_C(1) << 34) /* of one tensor, and of an op's scratch memory */
#define EVAL_MAX_ITERATIONS (INT64_C(1) << 20) /* of all loops together */

struct buffer {
    void *data;
    int arrays; /* how many arrays point into it; freed with the last */
    bool owned; /* data is ours to free */
};

struct array {
    enum dtype type;
    int rank;
    int64_t shape[MAX_RANK];
    int64_t stride[MAX_RANK]; /* in elements; 0 repeats, negative walks backwards */
    struct buffer *buffer;    /* NULL: not computed yet */
    char *data;               /* element (0, …, 0) */
};

/*
 * One node at work. Types and shapes of out are set; an op of class VIEW, and constant and bitcast,
 * set the rest (as a view of in, or by array_alloc), all others find dense memory there. Operands
 * are dense but for scalar ops and views.
 *
 * Memory from `scratch` lives until the node is done. Allocations never fail visibly: they leave
 * the op through scratch.on_oom.
 */
struct eval_call {
    struct eval *eval;
    struct graph *g;
    const struct node *node;
    const int64_t *symbols; /* for dim_eval */
    struct array *in, *out;
    struct arena scratch;
    const char *failure; /* what went wrong where an op returns false (NULL: it is reported), … */
    enum status status;  /* … and its kind */
};

/* clang-format off */
bool eval_scalar(struct eval_call *c);
#define TENSOR(name, class, least, most, results) bool eval_op_##name(struct eval_call *c);
#include "ops.def"
/* clang-format on */

/* Sets what went wrong; always false. */
bool eval_fails(struct eval_call *c, enum status status, const char *failure);

/* Values of dims in an attribute. False where they cannot be computed. */
bool eval_dims(struct eval_call *c, struct dims dims, int64_t *values);
bool eval_dim(struct eval_call *c, const struct dim *d, int64_t *value);

/* Runs a body of c->node on n_inputs arrays. The results are given to out: the caller releases
 * them. Never jumps out. */
bool eval_body(struct eval_call *c, struct graph *body, const struct array *in, struct array *out);
/* Gives a loop's index its value, or none. Counts as an iteration: false beyond the limit. */
bool eval_set_index(struct eval_call *c, const struct dim *index, int64_t value);
void eval_clear_index(struct eval_call *c, const struct dim *index);

int64_t array_elements(const struct array *a);
bool array_is_dense(const struct array *a);
void array_set_dense(struct array *a);                  /* row-major strides from the shape */
void array_alloc(struct eval_call *c, struct array *a); /* dense memory for its type and shape */
void array_wrap(struct eval_call *c, struct array *a, void *data, bool owned);
/* Makes view share base's buffer and data; its shape and strides are the caller's. */
void array_share(struct array *view, const struct array *base);
void array_release(struct array *a);
void array_copy(const struct array *to, const struct array *from); /* same type and shape */
/* *a itself where it is dense, else a dense copy of it. */
void array_densify(struct eval_call *c, struct array *a);

/* Up to LOOP_ARRAYS arrays of one shape walked together: adjacent axes that every array passes in
 * one step are merged, so that the innermost run is as long as it can be. */
enum { LOOP_ARRAYS = 4 };
struct loop {
    int arrays, rank; /* rank of what is left of the shape */
    int64_t extent[MAX_RANK];
    int64_t step[LOOP_ARRAYS][MAX_RANK]; /* bytes */
    char *at[LOOP_ARRAYS];               /* start of the current run */
    int64_t index[MAX_RANK];
    int64_t run, run_step[LOOP_ARRAYS]; /* elements of a run, bytes from one to the next */
    bool more;
};
void loop_start(struct loop *l, int n, const struct array *const *arrays);
void loop_next(struct loop *l); /* for (loop_start(…); l.more; loop_next(&l)) */

/* Conversion of n elements, `step` bytes apart in the narrow side. Floats of any type are exact as
 * doubles, integers and bool as int64 (u64 keeps its bits). Storing follows the casts of scalar.h;
 * saturate: for f8 types. from_u64: the int64s hold u64 bits. */
void load_reals(double *to, const void *from, enum dtype type, int64_t step, int64_t n);
void load_floats(float *to, const void *from, enum dtype type, int64_t step, int64_t n);
void load_ints(int64_t *to, const void *from, enum dtype type, int64_t step, int64_t n);
void store_reals(void *to, enum dtype type, const double *from, int64_t n, bool saturate);
void store_floats(void *to, enum dtype type, const float *from, int64_t n, bool saturate);
void store_ints(void *to, enum dtype type, const int64_t *from, int64_t n, bool from_u64);

/* All elements of a dense array, in scratch memory. */
double *array_reals(struct eval_call *c, const struct array *a);
int64_t *array_ints(struct eval_call *c, const struct array *a);
double *scratch_reals(struct eval_call *c, int64_t n);
int64_t *scratch_ints(struct eval_call *c, int64_t n);

/* Product of the extents in [from, to). */
int64_t span(const struct array *a, int from, int to);

#endif
