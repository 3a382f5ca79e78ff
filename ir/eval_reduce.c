/* Reductions and rows: the axes that are reduced become one dense axis, the last. Floats accumulate
 * in double, integers in 64 bits, of which the result's low ones are kept. */
#include "eval_array.h"
#include "eval_wide.h"
#include "scalar.h"

/* a seen with the axes of the mask behind the others. */
static void axes_last(struct array *view, const struct array *a, uint32_t axes)
{
    int n = 0;
    *view = *a;
    for (int last = 0; last < 2; last++)
        for (int i = 0; i < a->rank; i++)
            if ((axes >> i & 1) == (uint32_t)last) {
                view->shape[n] = a->shape[i];
                view->stride[n++] = a->stride[i];
            }
}

struct rows {
    int64_t n, length;
};

/* Brings operand 0 into rows over the axes. */
static struct rows make_rows(struct eval_call *c, uint32_t axes)
{
    struct array *in = &c->in[0], view;
    struct rows rows = {1, 1};
    for (int i = 0; i < in->rank; i++)
        *(axes >> i & 1 ? &rows.length : &rows.n) *= in->shape[i];
    axes_last(&view, in, axes);
    *in = view;
    array_densify(c, in);
    return rows;
}

#define REDUCE_ROWS(T, from, to, start, statement)                                                 \
    for (int64_t row = 0; row < rows.n; row++) {                                                   \
        T sum = (start);                                                                           \
        for (int64_t i = 0; i < rows.length; i++) {                                                \
            T x = (from)[row * rows.length + i];                                                   \
            statement;                                                                             \
        }                                                                                          \
        (to)[row] = sum;                                                                           \
    }

/* sum is what has been reduced so far, x the next element. */
#define DEFINE_REDUCE(name, real_start, real_step, int_start, int_step)                            \
    bool eval_op_##name(struct eval_call *c)                                                       \
    {                                                                                              \
        struct rows rows = make_rows(c, c->node->attr.name.axes);                                  \
        enum dtype type = c->in[0].type;                                                           \
        if (dtype_is_float(type)) {                                                                \
            double *to = scratch_reals(c, rows.n), *from = array_reals(c, &c->in[0]);              \
            REDUCE_ROWS(double, from, to, real_start, sum = real_step)                             \
            store_reals(c->out[0].data, c->out[0].type, to, rows.n, true);                         \
        } else {                                                                                   \
            int64_t *to = scratch_ints(c, rows.n), *from = ordered_ints(c, &c->in[0]);             \
            REDUCE_ROWS(int64_t, from, to, int_start, sum = int_step)                              \
            store_ordered(&c->out[0], to, rows.n);                                                 \
        }                                                                                          \
        return true;                                                                               \
    }
DEFINE_REDUCE(reduce_max, -INFINITY, g_max_f64(sum, x), lowest_int(type), g_max_i64(sum, x))
DEFINE_REDUCE(reduce_min, INFINITY, g_min_f64(sum, x), highest_int(type), g_min_i64(sum, x))
#undef DEFINE_REDUCE

#define DEFINE_SUM(name, start, operator)                                                          \
    bool eval_op_##name(struct eval_call *c)                                                       \
    {                                                                                              \
        struct rows rows = make_rows(c, c->node->attr.name.axes);                                  \
        if (dtype_is_float(c->in[0].type)) {                                                       \
            double *to = scratch_reals(c, rows.n), *from = array_reals(c, &c->in[0]);              \
            REDUCE_ROWS(double, from, to, start, sum = sum operator x)                             \
            store_reals(c->out[0].data, c->out[0].type, to, rows.n, true);                         \
        } else {                                                                                   \
            int64_t *to = scratch_ints(c, rows.n), *from = array_ints(c, &c->in[0]);               \
            REDUCE_ROWS(uint64_t, from, to, start, sum = sum operator x)                           \
            store_ints(c->out[0].data, c->out[0].type, to, rows.n, true);                          \
        }                                                                                          \
        return true;                                                                               \
    }
DEFINE_SUM(reduce_sum, 0, +)
DEFINE_SUM(reduce_prod, 1, *)
#undef DEFINE_SUM

/* Whether x takes the place of best; NaN is beyond everything, as in numpy. */
static bool real_wins(double x, double best, bool max, bool last)
{
    if (isnan(best))
        return last && isnan(x);
    if (isnan(x))
        return true;
    return (max ? x > best : x < best) || (last && x == best);
}

static bool int_wins(int64_t x, int64_t best, bool max, bool last)
{
    return (max ? x > best : x < best) || (last && x == best);
}

static bool arg_reduce(struct eval_call *c, int64_t axis, bool max, bool last)
{
    struct rows rows = make_rows(c, UINT32_C(1) << axis);
    bool real = dtype_is_float(c->in[0].type);
    double *reals = real ? array_reals(c, &c->in[0]) : NULL;
    int64_t *ints = real ? NULL : ordered_ints(c, &c->in[0]);
    int64_t *to = (int64_t *)c->out[0].data;
    if (rows.length == 0 && rows.n > 0)
        return eval_fails(c, STATUS_BAD_MODEL, "the axis is empty");
    for (int64_t row = 0; row < rows.n; row++) {
        int64_t start = row * rows.length, best = 0;
        for (int64_t i = 1; i < rows.length; i++)
            if (real ? real_wins(reals[start + i], reals[start + best], max, last)
                     : int_wins(ints[start + i], ints[start + best], max, last))
                best = i;
        to[row] = best;
    }
    return true;
}

bool eval_op_arg_max(struct eval_call *c)
{
    return arg_reduce(c, c->node->attr.arg_max.axis, true, c->node->attr.arg_max.last);
}

bool eval_op_arg_min(struct eval_call *c)
{
    return arg_reduce(c, c->node->attr.arg_min.axis, false, c->node->attr.arg_min.last);
}

/* ---- Rows: the result has the operand's shape. */

static void softmax_row(double *x, int64_t n)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = g_max_f64(max, x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += x[i] = exp(x[i] - max);
    for (int64_t i = 0; i < n; i++)
        x[i] /= sum;
}

static void log_softmax_row(double *x, int64_t n)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = g_max_f64(max, x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp(x[i] - max);
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] - max - log(sum);
}

static void normalize_row(double *x, int64_t n, double epsilon, bool center)
{
    double mean = 0, square = 0;
    for (int64_t i = 0; i < n && center; i++)
        mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    double scale = 1 / sqrt(square / (double)n + epsilon);
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] - mean) * scale;
}

/* Stores rows over the axes into the result, whose axes are where they were. */
static void store_rows(struct eval_call *c, uint32_t axes, const double *x)
{
    struct array view, dense;
    axes_last(&view, &c->out[0], axes);
    dense = view;
    dense.data = arena_array(&c->scratch, (size_t)array_elements(&view), dtype_size(view.type));
    array_set_dense(&dense);
    store_reals(dense.data, dense.type, x, array_elements(&dense), true);
    array_copy(&view, &dense);
}

#define DEFINE_ROWS(name, call)                                                                    \
    bool eval_op_##name(struct eval_call *c)                                                       \
    {                                                                                              \
        const struct attr_##name *attr = &c->node->attr.name;                                      \
        struct rows rows = make_rows(c, attr->axes);                                               \
        double *x = array_reals(c, &c->in[0]);                                                     \
        for (int64_t i = 0; i < rows.n; i++) {                                                     \
            double *row = x + i * rows.length;                                                     \
            call;                                                                                  \
        }                                                                                          \
        store_rows(c, attr->axes, x);                                                              \
        return true;                                                                               \
    }
DEFINE_ROWS(softmax, softmax_row(row, rows.length))
DEFINE_ROWS(log_softmax, log_softmax_row(row, rows.length))
DEFINE_ROWS(normalize, normalize_row(row, rows.length, attr->epsilon, attr->center))
#undef DEFINE_ROWS
