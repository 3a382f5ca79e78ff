/* Windows: maximum, where it is, mean and Lp norm, over any number of spatial axes. */
#include "common.h"

#include <string.h>

enum { WINDOW_THREADS = 128, MOST_UNROLLED = 32 };

/* The attributes all four have. */
struct window {
    struct node *node;
    struct value *x, *y;
    const struct ints *kernel, *stride, *dilation;
    const struct dims *low;
    const struct dims *high; /* pool_mean that counts padding; NULL: only elements count */
    int spatial;
    const struct dim *taps[MAX_RANK];
};

#define DESCRIBE(w, attr)                                                                          \
    ((w)->kernel = &(attr)->kernel, (w)->stride = &(attr)->stride,                                 \
     (w)->dilation = &(attr)->dilation, (w)->low = &(attr)->low)

static void describe(struct graph *g, struct node *node, struct window *w)
{
    *w = (struct window){.node = node, .x = node->in[0], .y = node->out[0]};
    w->spatial = w->x->rank - 2;
    switch (node->op) {
    case OP_pool_max: DESCRIBE(w, &node->attr.pool_max); break;
    case OP_pool_arg_max: DESCRIBE(w, &node->attr.pool_arg_max); break;
    case OP_pool_lp: DESCRIBE(w, &node->attr.pool_lp); break;
    default:
        DESCRIBE(w, &node->attr.pool_mean);
        if (node->attr.pool_mean.count_pad)
            w->high = &node->attr.pool_mean.high;
    }
    for (int i = 0; i < w->spatial; i++)
        w->taps[i] = dim_const(g->dims, w->kernel->v[i]);
}

/* Can a tap lie outside [0, extent + high) along this axis? high NULL: 0. */
static bool sticks_out(const struct window *w, int axis, const struct dim *high)
{
    int64_t out, in, more = 0;
    if ((!high && !dim_is(w->low->d[axis], 0)) || !dim_is_const(w->y->shape[2 + axis], &out) ||
        !dim_is_const(w->x->shape[2 + axis], &in) || (high && !dim_is_const(high, &more)))
        return true;
    int64_t low = 0;
    dim_is_const(w->low->d[axis], &low);
    int64_t last = (out - 1) * w->stride->v[axis] + (w->kernel->v[axis] - 1) * w->dilation->v[axis];
    return last - low >= in + more;
}

/* The operand's index of tap t of result y's window. *inside: when it exists; *counts: when it
 * counts although it does not exist. NULL: always. */
static void operand_index(struct emitter *e, const struct window *w, const struct index **at,
                          const char **inside, const char **counts)
{
    struct dim_table *dims = e->g->dims;
    const struct index *y[MAX_RANK], *t[MAX_RANK];
    const struct dim *taps = dim_const(dims, 1);
    for (int i = 0; i < w->spatial; i++)
        taps = dim_mul(dims, taps, w->taps[i]);
    emit_delinear(e, w->y, w->y, index_var(e->ix, "result", value_elements(e->g, w->y)), y);
    index_delinear(e->ix, index_var(e->ix, "t", taps), w->spatial, w->taps, t);
    memcpy(at, y, 2 * sizeof *at);
    for (int i = 0; i < w->spatial; i++) {
        const struct dim *extent = w->x->shape[2 + i];
        const struct index *tap = index_mul(e->ix, t[i], dim_const(dims, w->dilation->v[i]));
        const struct index *p = index_mul(e->ix, y[2 + i], dim_const(dims, w->stride->v[i]));
        p = index_add(e->ix, p, tap);
        at[2 + i] = p;
        if (!sticks_out(w, i, NULL))
            continue;
        const char *name = emit_fresh(e, "p");
        p = index_sub(e->ix, p, index_dim(e->ix, w->low->d[i]));
        emit_line(e, "const idx_t %s = %s;", name, emit_index(e, p));
        *inside =
            both(e, *inside,
                 arena_printf(e->g->arena, "%s >= 0 && %s < %s", name, name, emit_dim(e, extent)));
        if (w->high && sticks_out(w, i, w->high->d[i])) {
            const struct dim *end = dim_add(dims, extent, w->high->d[i]);
            *counts =
                both(e, *counts, arena_printf(e->g->arena, "%s < %s", name, emit_dim(e, end)));
        }
        at[2 + i] = index_var(e->ix, name, extent);
    }
}

/* Place of the element in the flattened operand, the two last axes swapped where ONNX asks for it.
 */
static const struct index *place(struct emitter *e, const struct window *w,
                                 const struct index *const *at)
{
    const struct dim *shape[MAX_RANK];
    const struct index *swapped[MAX_RANK];
    int rank = w->x->rank;
    memcpy(shape, w->x->shape, (size_t)rank * sizeof *shape);
    memcpy(swapped, at, (size_t)rank * sizeof *swapped);
    if (!w->node->attr.pool_arg_max.row_major && w->spatial >= 2) {
        shape[rank - 1] = w->x->shape[rank - 2];
        shape[rank - 2] = w->x->shape[rank - 1];
        swapped[rank - 1] = at[rank - 2];
        swapped[rank - 2] = at[rank - 1];
    }
    return index_linear(e->ix, rank, shape, swapped);
}

static void emit_tap(struct emitter *e, const struct window *w)
{
    const struct index *at[MAX_RANK];
    const char *inside = NULL, *counts = NULL;
    emit_function(e, "bool", "tap", "idx_t result, int t, ELEMENT *x, idx_t *at");
    operand_index(e, w, at, &inside, &counts);
    if (w->high) {
        if (counts) {
            emit_line(e, "if (!(%s))", counts);
            emit_line(e, "    return false;");
        }
        emit_line(e, "*x = 0;");
    }
    if (inside)
        emit_open(e, "if (%s)", inside);
    emit_line(e, "*x = %s;", emit_value(e, w->x, at));
    if (w->node->op == OP_pool_arg_max)
        emit_line(e, "*at = %s;", emit_index(e, place(e, w, at)));
    if (inside && !w->high)
        emit_line(e, "return true;");
    if (inside)
        emit_close(e);
    emit_line(e, "return %s;", inside && !w->high ? "false" : "true");
    emit_function_end(e);
}

static void emit_store(struct emitter *e, const struct window *w)
{
    const struct index *at[MAX_RANK];
    emit_function(e, "void", "store", "idx_t result, RESULT y");
    emit_delinear(e, w->y, w->y, index_var(e->ix, "result", value_elements(e->g, w->y)), at);
    emit_result(e, w->y, at, "y");
    emit_epilogue(e, at);
    emit_function_end(e);
}

static const char *answer(struct emitter *e, const struct node *node)
{
    switch (node->op) {
    case OP_pool_max: return "greatest";
    case OP_pool_arg_max: return "where";
    case OP_pool_mean: return "sum / (SUM)count";
    default: break;
    }
    int64_t p = node->attr.pool_lp.p;
    if (p == 1)
        return "sum";
    if (p == 2)
        return "g_sqrt(sum)";
    return arena_printf(e->g->arena, "g_pow(sum, (SUM)1 / (SUM)%lld)", (long long)p);
}

bool family_window(struct codegen *c, const struct group *group)
{
    struct emitter *e = emit_begin(c, group, "window");
    struct window w;
    describe(e->g, group->core, &w);
    enum op op = w.node->op;
    int64_t taps = 1;
    for (int i = 0; i < w.spatial; i++)
        if (__builtin_mul_overflow(taps, w.kernel->v[i], &taps) || taps > INT32_MAX)
            emit_unsupported(e, w.node, "a window of more than 2^31 elements");
    if (!dtype_is_float(w.x->type) && (op == OP_pool_mean || op == OP_pool_lp))
        emit_unsupported(e, w.node, "means and norms are of floats");
    const struct dim *results = value_elements(e->g, w.y);

    emit_define(e, "RESULTS", "%s", emit_dim(e, results));
    emit_define(e, "TAPS", "%lld", (long long)taps);
    emit_define(e, "THREADS", "%d", WINDOW_THREADS);
    emit_define(e, "UNROLL", "%d", taps > 0 && taps <= MOST_UNROLLED ? (int)taps : 1);
    emit_define(e, "MAX", "%d", op == OP_pool_max || op == OP_pool_arg_max);
    emit_define(e, "MEAN", "%d", op == OP_pool_mean);
    emit_define(e, "LP", "%d", op == OP_pool_lp);
    emit_define(e, "P", "%lld", op == OP_pool_lp ? (long long)w.node->attr.pool_lp.p : 0LL);
    emit_define(e, "ELEMENT", "%s", emit_register_type(w.x->type));
    emit_define(e, "RESULT", "%s", emit_register_type(w.y->type));
    emit_define(e, "SUM", "%s", sum_type(w.x->type));
    emit_define(e, "LOWEST", "%s", literal_extreme(e, w.x->type, true));
    emit_define(e, "ANSWER", "%s", answer(e, w.node));
    emit_tap(e, &w);
    emit_store(e, &w);
    launch_over(e, results, WINDOW_THREADS, WINDOW_THREADS);
    emit_skeleton(e, "window.cuh");
    return emit_finish(e);
}
