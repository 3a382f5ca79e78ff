/* Pooling: one window of the operand for each element of the result. */
#include "eval_array.h"
#include "eval_wide.h"
#include "scalar.h"

struct window {
    int rank;     /* spatial axes */
    int64_t taps; /* product of kernel */
    const int64_t *kernel, *stride, *dilation;
    int64_t low[MAX_RANK], high[MAX_RANK];
    const int64_t *x_shape; /* spatial extents of the operand */
    double *x_real;         /* one of the two */
    int64_t *x_int;
    /* the current position of the result, and what its window holds */
    int64_t at[MAX_RANK];
    int64_t plane; /* offset of the operand's plane */
};

/* Offset in the plane of tap k (a position in the kernel), or -1: outside. padded: inside the
 * padding at least. */
static int64_t tap_offset(const struct window *w, const int64_t *k, bool *padded)
{
    int64_t offset = 0;
    bool inside = true;
    *padded = true;
    for (int i = 0; i < w->rank; i++) {
        int64_t p = w->at[i] * w->stride[i] - w->low[i] + k[i] * w->dilation[i];
        inside = inside && p >= 0 && p < w->x_shape[i];
        *padded = *padded && p < w->x_shape[i] + w->high[i];
        offset = offset * w->x_shape[i] + p;
    }
    return inside ? offset : -1;
}

static void next_tap(const struct window *w, int64_t *k)
{
    for (int i = w->rank - 1; i >= 0 && ++k[i] == w->kernel[i]; i--)
        k[i] = 0;
}

#define EACH_TAP(w, offset, padded)                                                                \
    bool padded;                                                                                   \
    int64_t k_[MAX_RANK] = {0}, offset;                                                            \
    for (int64_t i_ = 0; i_ < (w)->taps; i_++, next_tap(w, k_))                                    \
        if ((offset = tap_offset(w, k_, &padded)), true)

/* Offset in the plane of the window's largest element (the first of equals; NaN is larger than
 * all), -1: none. */
static int64_t arg_max(const struct window *w)
{
    int64_t best = -1;
    EACH_TAP(w, offset, padded)
    {
        if (offset < 0)
            continue;
        if (best < 0)
            best = offset;
        else if (w->x_int)
            best = w->x_int[w->plane + offset] > w->x_int[w->plane + best] ? offset : best;
        else if (!isnan(w->x_real[w->plane + best]))
            best = !(w->x_real[w->plane + offset] <= w->x_real[w->plane + best]) ? offset : best;
    }
    return best;
}

static double mean(const struct window *w, bool count_pad)
{
    double sum = 0;
    int64_t n = 0;
    EACH_TAP(w, offset, padded)
    {
        n += offset >= 0 || (count_pad && padded);
        if (offset >= 0)
            sum += w->x_real ? w->x_real[w->plane + offset] : (double)w->x_int[w->plane + offset];
    }
    return sum / (double)n;
}

static double lp_norm(const struct window *w, int64_t p)
{
    double sum = 0;
    EACH_TAP(w, offset, padded)
    {
        if (offset >= 0)
            sum += pow(fabs(w->x_real[w->plane + offset]), (double)p);
    }
    return pow(sum, 1 / (double)p);
}

#define START_WINDOW(w, c, name)                                                                   \
    struct window w = {.kernel = (c)->node->attr.name.kernel.v,                                    \
                       .stride = (c)->node->attr.name.stride.v,                                    \
                       .dilation = (c)->node->attr.name.dilation.v};                               \
    if (!start_window((c), &w, (c)->node->attr.name.low, (c)->node->attr.name.high))               \
        return false;

static bool start_window(struct eval_call *c, struct window *w, struct dims low, struct dims high)
{
    const struct array *x = &c->in[0];
    w->rank = x->rank - 2;
    w->x_shape = x->shape + 2;
    w->taps = 1;
    for (int i = 0; i < w->rank; i++)
        w->taps *= w->kernel[i];
    if (dtype_is_float(x->type))
        w->x_real = array_reals(c, x);
    else
        w->x_int = ordered_ints(c, x);
    return eval_dims(c, low, w->low) && eval_dims(c, high, w->high);
}

/* Moves to position i of the result. */
static void set_position(struct eval_call *c, struct window *w, int64_t i)
{
    const struct array *x = &c->in[0], *y = &c->out[0];
    for (int axis = w->rank - 1; axis >= 0; axis--) {
        w->at[axis] = i % y->shape[axis + 2];
        i /= y->shape[axis + 2];
    }
    w->plane = i * span(x, 2, x->rank);
}

bool eval_op_pool_max(struct eval_call *c)
{
    START_WINDOW(w, c, pool_max)
    int64_t n = array_elements(&c->out[0]);
    double *reals = w.x_real ? scratch_reals(c, n) : NULL;
    int64_t *ints = w.x_real ? NULL : scratch_ints(c, n);
    for (int64_t i = 0; i < n; i++) {
        set_position(c, &w, i);
        int64_t at = arg_max(&w);
        if (reals)
            reals[i] = at < 0 ? -INFINITY : w.x_real[w.plane + at];
        else
            ints[i] = at < 0 ? lowest_int(c->in[0].type) : w.x_int[w.plane + at];
    }
    if (reals)
        store_reals(c->out[0].data, c->out[0].type, reals, n, true);
    else
        store_ordered(&c->out[0], ints, n);
    return true;
}

bool eval_op_pool_arg_max(struct eval_call *c)
{
    START_WINDOW(w, c, pool_arg_max)
    bool row_major = c->node->attr.pool_arg_max.row_major || w.rank < 2;
    int64_t n = array_elements(&c->out[0]), *to = (int64_t *)c->out[0].data;
    for (int64_t i = 0; i < n; i++) {
        set_position(c, &w, i);
        int64_t at = arg_max(&w);
        if (at >= 0 && !row_major) { /* the two last axes swapped */
            int64_t rows = w.x_shape[w.rank - 2], columns = w.x_shape[w.rank - 1];
            int64_t row = at / columns % rows, column = at % columns;
            at = at / (rows * columns) * (rows * columns) + column * rows + row;
        }
        to[i] = at < 0 ? -1 : w.plane + at;
    }
    return true;
}

bool eval_op_pool_mean(struct eval_call *c)
{
    START_WINDOW(w, c, pool_mean)
    int64_t n = array_elements(&c->out[0]);
    double *to = scratch_reals(c, n);
    for (int64_t i = 0; i < n; i++) {
        set_position(c, &w, i);
        to[i] = mean(&w, c->node->attr.pool_mean.count_pad);
    }
    store_reals(c->out[0].data, c->out[0].type, to, n, true);
    return true;
}

bool eval_op_pool_lp(struct eval_call *c)
{
    START_WINDOW(w, c, pool_lp)
    int64_t n = array_elements(&c->out[0]);
    double *to = scratch_reals(c, n);
    if (!w.x_real)
        return eval_fails(c, STATUS_BAD_MODEL, "not defined for integers");
    for (int64_t i = 0; i < n; i++) {
        set_position(c, &w, i);
        to[i] = lp_norm(&w, c->node->attr.pool_lp.p);
    }
    store_reals(c->out[0].data, c->out[0].type, to, n, true);
    return true;
}
