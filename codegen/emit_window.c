/*
 * An element of a convolution that stands in front of a core, where the core's form asks for single
 * elements: a target whose tensor cores lack the operands' type, say. contract_windows.cuh makes
 * them in strips instead, contract_pool.cuh in tiles.
 */
#include "emit_state.h"

/* Loops over the taps of a spatial axis that meet the image: the tap, and the position it meets. */
static void open_taps(struct emitter *e, const struct node *node, int axis, const struct index *at,
                      const struct index **tap, const struct index **position)
{
    const struct attr_conv *a = &node->attr.conv;
    struct dim_table *dims = e->g->dims;
    const struct dim *taps = node->in[1]->shape[2 + axis], *extent = node->in[0]->shape[2 + axis];
    const char *t = emit_fresh(e, "t"), *p = emit_fresh(e, "p");
    emit_open(e, "for (idx_t %s = 0; %s < %s; %s++)", t, t, emit_dim(e, taps), t);
    *tap = index_var(e->ix, t, taps);
    const struct index *from = index_mul(e->ix, at, dim_const(dims, a->stride.v[axis]));
    const struct index *further = index_mul(e->ix, *tap, dim_const(dims, a->dilation.v[axis]));
    from = index_sub(e->ix, index_add(e->ix, from, further), index_dim(e->ix, a->low.d[axis]));
    emit_line(e, "const idx_t %s = %s;", p, emit_index(e, from));
    emit_open(e, "if (%s >= 0 && %s < %s)", p, p, emit_dim(e, extent));
    *position = index_var(e->ix, p, extent);
}

/* Loops over the channels of a group: the number within it, and that of the image. */
static void open_channels(struct emitter *e, const struct node *node, const struct index *result,
                          const struct index **channel, const struct index **of_image)
{
    struct dim_table *dims = e->g->dims;
    const struct dim *n = node->in[1]->shape[1], *groups = dim_const(dims, node->attr.conv.group);
    const struct dim *results = dim_floordiv(dims, node->out[0]->shape[1], groups);
    const char *c = emit_fresh(e, "c");
    emit_open(e, "for (idx_t %s = 0; %s < %s; %s++)", c, c, emit_dim(e, n), c);
    *channel = index_var(e->ix, c, n);
    *of_image = index_add(e->ix, index_mul(e->ix, index_div(e->ix, result, results), n), *channel);
}

const char *emit_window_value(struct emitter *e, const struct node *node,
                              const struct index *const *index)
{
    const struct value *y = node->out[0];
    const struct index *x[MAX_RANK], *w[MAX_RANK];
    const char *sum = emit_fresh(e, "v"), *type = emit_accumulator_type(y->type);
    int vector = e->state->vector;
    if (e->state->probe)
        e->state->probe->fits = false;
    emit_line(e, "%s %s = 0;", type, sum);
    emit_vector(e, 1);
    x[0] = index[0];
    w[0] = index[1];
    open_channels(e, node, index[1], &w[1], &x[1]);
    for (int i = 2; i < y->rank; i++)
        open_taps(e, node, i - 2, index[i], &w[i], &x[i]);
    const char *a = emit_value(e, node->in[0], x), *b = emit_value(e, node->in[1], w);
    emit_line(e, "%s += (%s)%s * (%s)%s;", sum, type, a, type, b);
    for (int i = 2; i < y->rank; i++) {
        emit_close(e);
        emit_close(e);
    }
    emit_close(e);
    emit_vector(e, vector);
    return sum;
}
