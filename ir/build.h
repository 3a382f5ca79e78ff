/*
 * Builder: one short call per op, used by the frontend's lowerings and by passes.
 *
 * Every function appends nodes at b->before (NULL: the end) and returns the result, or NULL after
 * reporting an error with graph->origin as place. A NULL operand gives NULL at once without a
 * further message, so that a lowering may be written as one expression.
 */
#ifndef GPUCC_IR_BUILD_H
#define GPUCC_IR_BUILD_H

#include "graph.h"

struct builder { struct graph *g; struct node *before; };

/* Scalars: one function per row of ops.def, with 1 to 3 operands. Operands broadcast to one another
 * as in numpy (expand nodes are inserted, constraints recorded); types must agree already. */
struct value *build_scalar(struct builder *b, enum op op, struct value *x, struct value *y,
                           struct value *z);
#define build_unary(b, op, x)        build_scalar(b, op, x, NULL, NULL)
#define build_binary(b, op, x, y)    build_scalar(b, op, x, y, NULL)
struct value *build_select(struct builder *b, struct value *c, struct value *x, struct value *y);
struct value *build_cast(struct builder *b, struct value *x, enum dtype to); /* x itself if same */
/* With saturate false. */
struct value *build_cast_wrap(struct builder *b, struct value *x, enum dtype to);
struct value *build_bitcast(struct builder *b, struct value *x, enum dtype to);

/* Constants. build_constant keeps a pointer to bytes (arena or mapped model). */
struct value *build_constant(struct builder *b, enum dtype type, int rank, const int64_t *shape,
                          const void *bytes, const char *initializer);
/* A scalar (rank 0) of the given type holding value, rounded to the type. */
struct value *build_float(struct builder *b, enum dtype type, double value);
struct value *build_int(struct builder *b, enum dtype type, int64_t value);
struct value *build_ints(struct builder *b, int n, const int64_t *v);           /* i64[n] */
struct value *build_iota(struct builder *b, enum dtype type, int rank,
                         const struct dim *const *shape, int axis);
/* i64[n] tensor holding the dims' values: constant where they are; see build_dim. */
struct value *build_dims(struct builder *b, int n, const struct dim *const *d);
/* i64 scalar holding a dim's value: a constant, or the op `size`. */
struct value *build_dim(struct builder *b, const struct dim *d);

/* Views. */
struct value *build_reshape(struct builder *b, struct value *x, int rank,
                            const struct dim *const *shape);
struct value *build_transpose(struct builder *b, struct value *x, const int *perm);
struct value *build_expand(struct builder *b, struct value *x, int rank,
                           const struct dim *const *shape); /* adds leading axes as numpy does */
struct value *build_slice(struct builder *b, struct value *x, const struct dim *const *start,
                          const struct dim *const *step, const struct dim *const *size);
/* One axis, constant step 1. */
struct value *build_slice_axis(struct builder *b, struct value *x, int axis,
                               const struct dim *start, const struct dim *size);
struct value *build_pad(struct builder *b, struct value *x, const struct dim *const *low,
                        const struct dim *const *high, enum pad_mode mode, struct value *fill);
struct value *build_concat(struct builder *b, int n, struct value *const *x, int axis);
/* axes of the result. */
struct value *build_unsqueeze(struct builder *b, struct value *x, uint32_t axes);
struct value *build_squeeze(struct builder *b, struct value *x, uint32_t axes);
/* The shape two or more shapes broadcast to (numpy), with constraints recorded; rank or -1. */
int build_broadcast_shape(struct builder *b, int n, struct value *const *x,
                          const struct dim **shape);

/* Reductions and rows: axes is a bit mask; keep = reduced axes stay with size 1. */
struct value *build_reduce(struct builder *b, enum op op, struct value *x, uint32_t axes,
                           bool keep);
struct value *build_mean(struct builder *b, struct value *x, uint32_t axes, bool keep);
struct value *build_arg(struct builder *b, enum op op, struct value *x, int axis, bool last,
                        bool keep);
struct value *build_softmax(struct builder *b, struct value *x, uint32_t axes, bool log);
struct value *build_normalize(struct builder *b, struct value *x, uint32_t axes, double epsilon,
                              bool center);

/* numpy.matmul: batch axes broadcast, rank-1 operands are promoted and the axis dropped again. */
struct value *build_matmul(struct builder *b, struct value *x, struct value *y, enum dtype to);
struct value *build_gather(struct builder *b, struct value *x, struct value *index, int axis);
/* Any other tensor op, by its attribute struct. */
struct value *build_tensor(struct builder *b, enum op op, int n_in, struct value *const *in,
                           const union attr *attr);

/* Dims by short names. */
const struct dim *build_d(struct builder *b, int64_t value);

#endif
