/*
 * Windows: maximum, where it is, mean and Lp norm, over any number of spatial axes. A thread makes
 * one result, or several channels of a pixel where these are neighbours in memory: their windows
 * have the same taps, which are vectors of channels.
 */
#include "common.h"
#include "emit_state.h"

#include <string.h>

enum { WINDOW_THREADS = 128, MOST_UNROLLED = 32, MOST_WIDTH = 8 };

/* The attributes all four have. */
struct window {
    struct node *node;
    struct value *x, *y;
    const struct ints *kernel, *stride, *dilation;
    const struct dims *low;
    const struct dims *high; /* pool_mean that counts padding; NULL: only elements count */
    int spatial;
    const struct dim *taps[MAX_RANK];
    int width;                 /* results of a thread */
    const struct value *order; /* results are counted in the order of its elements in memory */
};

#define DESCRIBE(w, attr)                                                                          \
    ((w)->kernel = &(attr)->kernel, (w)->stride = &(attr)->stride,                                 \
     (w)->dilation = &(attr)->dilation, (w)->low = &(attr)->low)

static void describe(struct graph *g, struct node *node, struct window *w)
{
    *w = (struct window){.node = node, .x = node->in[0], .y = node->out[0], .width = 1};
    w->order = w->y;
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

/* Index of result `lane` of those of the thread that has the number "result". */
static void result_index(struct emitter *e, const struct window *w, int lane,
                         const struct index **at)
{
    const struct dim *results = value_elements(e->g, w->y);
    emit_delinear(e, w->y, w->order, lane_index(e, "result", results, w->width, lane), at);
}

/* The position along each axis of the operand that tap t meets, of the windows of the results at y.
 * *inside: when it exists; *counts: when it counts although it does not exist. NULL: always. */
static void tap_position(struct emitter *e, const struct window *w, const struct index *const *y,
                         const struct index **at, const char **inside, const char **counts)
{
    struct dim_table *dims = e->g->dims;
    const struct index *t[MAX_RANK];
    const struct dim *taps = dim_const(dims, 1);
    for (int i = 0; i < w->spatial; i++)
        taps = dim_mul(dims, taps, w->taps[i]);
    index_delinear(e->ix, index_var(e->ix, "t", taps), w->spatial, w->taps, t);
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
    const struct index *y[MAX_RANK], *at[MAX_RANK];
    const char *inside = NULL, *counts = NULL;
    emit_function(e, "bool", "tap", "idx_t result, int t, ELEMENT *x, idx_t *at");
    result_index(e, w, 0, y);
    tap_position(e, w, y, at, &inside, &counts);
    if (w->high) {
        if (counts) {
            emit_line(e, "if (!(%s))", counts);
            emit_line(e, "    return false;");
        }
        for (int lane = 0; lane < w->width; lane++)
            emit_line(e, "x[%d] = 0;", lane);
    }
    if (inside)
        emit_open(e, "if (%s)", inside);
    emit_vector(e, w->width);
    for (int lane = 0; lane < w->width; lane++) {
        result_index(e, w, lane, y);
        memcpy(at, y, 2 * sizeof *at);
        emit_line(e, "x[%d] = %s;", lane, emit_value(e, w->x, at));
        if (w->node->op == OP_pool_arg_max)
            emit_line(e, "at[%d] = %s;", lane, emit_index(e, place(e, w, at)));
    }
    emit_vector(e, 1);
    if (inside && !w->high)
        emit_line(e, "return true;");
    if (inside)
        emit_close(e);
    emit_line(e, "return %s;", inside && !w->high ? "false" : "true");
    emit_function_end(e);
}

static void emit_store(struct emitter *e, const struct window *w)
{
    const struct index *at[MOST_WIDTH][MAX_RANK];
    const struct index *const *lanes[MOST_WIDTH];
    emit_function(e, "void", "store", "idx_t result, const RESULT *y");
    for (int lane = 0; lane < w->width; lane++) {
        result_index(e, w, lane, at[lane]);
        emit_result(e, w->y, at[lane], arena_printf(e->g->arena, "y[%d]", lane));
        lanes[lane] = at[lane];
    }
    emit_epilogue_lanes(e, w->width, lanes);
    emit_function_end(e);
}

/* --- Results of a thread ---------------------------------------------------------------------- */

struct probing {
    const struct window *w;
    const struct index *linear, *lane;
};

/* The operand's elements under the lanes' windows: do the lanes differ by their channel alone, and
 * are these a vector? */
static void probe_tap(struct emitter *e, void *context)
{
    const struct probing *p = context;
    const struct window *w = p->w;
    const struct index *y[MAX_RANK], *at[MAX_RANK];
    const char *inside = NULL, *counts = NULL;
    emit_delinear(e, w->y, w->order, p->linear, y);
    for (int i = 0; i < w->y->rank; i++)
        if (i != 1 && index_depends(y[i], p->lane->terms[0].atom))
            e->state->probe->fits = false;
    tap_position(e, w, y, at, &inside, &counts);
    memcpy(at, y, 2 * sizeof *at);
    emit_value(e, w->x, at);
}

static bool fits(struct emitter *e, const struct window *w, int width)
{
    enum { LEAST_VECTORS = 1 << 12 }; /* fewer threads leave most of the device idle */
    struct dim_table *dims = e->g->dims;
    const struct dim *results = value_elements(e->g, w->y), *wide = dim_const(dims, width);
    const struct dim *vectors = dim_floordiv(dims, results, wide);
    int64_t n;
    if (!dim_is(dim_mod(dims, results, wide), 0) ||
        (dim_is_const(vectors, &n) && n < LEAST_VECTORS))
        return false;
    const struct index *lane = index_var(e->ix, "lane", wide);
    const struct index *first = index_mul(e->ix, index_var(e->ix, "result", vectors), wide);
    struct probing p = {w, index_add(e->ix, first, lane), lane};
    return emit_probe(e, width, lane, probe_tap, &p);
}

/* As many channels as are a vector, in the order of the results or else, since there are more of
 * them, of the elements. */
static void choose_width(struct emitter *e, struct window *w)
{
    const struct value *orders[] = {w->y, w->x};
    int most = emit_lanes_at_once(w->x->type, MOST_WIDTH);
    for (int width = most; width > 1; width /= 2)
        for (int i = 0; i < 2; i++) {
            w->order = orders[i];
            if (fits(e, w, width)) {
                w->width = width;
                return;
            }
        }
    w->order = w->y;
}

static const char *answer(struct emitter *e, const struct node *node)
{
    switch (node->op) {
    case OP_pool_max: return "greatest[i]";
    case OP_pool_arg_max: return "where[i]";
    case OP_pool_mean: return "sum[i] / (SUM)count";
    default: break;
    }
    int64_t p = node->attr.pool_lp.p;
    if (p == 1)
        return "sum[i]";
    if (p == 2)
        return "g_sqrt(sum[i])";
    return arena_printf(e->g->arena, "g_pow(sum[i], (SUM)1 / (SUM)%lld)", (long long)p);
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
    choose_width(e, &w);
    const struct dim *results = value_elements(e->g, w.y);
    const struct dim *threads = dim_floordiv(e->g->dims, results, dim_const(e->g->dims, w.width));

    emit_define(e, "VECTORS", "%s", emit_dim(e, threads));
    emit_define(e, "WIDTH", "%d", w.width);
    emit_define(e, "TAPS", "%lld", (long long)taps);
    emit_define(e, "THREADS", "%d", WINDOW_THREADS);
    emit_define(e, "UNROLL", "%d", taps > 0 && taps <= MOST_UNROLLED ? (int)taps : 1);
    emit_define(e, "MAX", "%d", op == OP_pool_max);
    emit_define(e, "ARG_MAX", "%d", op == OP_pool_arg_max);
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
    launch_over(e, threads, WINDOW_THREADS, WINDOW_THREADS);
    emit_skeleton(e, "window.cuh");
    return emit_finish(e);
}
