/*
 * Matmul and convolution. Floats accumulate in double, integers in 64 bits. Loops are cut so that
 * what is read again is still in the cache; each result's terms are added in the same order anyway.
 */
#include "eval_product.h"

#include <math.h>

enum {
    ROWS = 8,
    PLANE_BLOCK = 2048,   /* elements of a plane that stay in the cache */
    MOST_PLACES = 1 << 25 /* of a table of all taps under all positions */
};

/* a[m,k] x b[k,n]; the innermost loop runs along rows of b and of the result. */
#define DEFINE_MATMUL(name, T, WIDE)                                                               \
    static void name(T *to, const T *a, const T *b, int64_t m, int64_t k, int64_t n)               \
    {                                                                                              \
        for (int64_t first = 0; first < m; first += ROWS)                                          \
            for (int64_t l = 0; l < k; l++)                                                        \
                for (int64_t i = first; i < m && i < first + ROWS; i++) {                          \
                    WIDE scale = (WIDE)a[i * k + l];                                               \
                    T *restrict y = to + i * n;                                                    \
                    const T *restrict x = b + l * n;                                               \
                    for (int64_t j = 0; j < n; j++)                                                \
                        y[j] = (T)((WIDE)y[j] + scale * (WIDE)x[j]);                               \
                }                                                                                  \
    }
DEFINE_MATMUL(matmul_reals, double, double)
DEFINE_MATMUL(matmul_ints, int64_t, uint64_t)

bool eval_op_matmul(struct eval_call *c)
{
    const struct array *a = &c->in[0], *b = &c->in[1], *out = &c->out[0];
    int rank = out->rank;
    int64_t m = a->shape[rank - 2], k = a->shape[rank - 1], n = b->shape[rank - 1];
    int64_t batch = span(out, 0, rank - 2), total = array_elements(out);
    if (dtype_is_float(a->type)) {
        double *x = array_reals(c, a), *y = array_reals(c, b), *to = scratch_reals(c, total);
        struct product p = {.m = m, .k = k, .n = n, .panel = product_panel(c)};
        for (int64_t i = 0; i < batch; i++) {
            p.to = to + i * m * n;
            p.a = x + i * m * k;
            p.b = y + i * k * n;
            if (m >= PRODUCT_ROWS)
                product_add(&p);
            else
                matmul_reals(p.to, p.a, p.b, m, k, n);
        }
        store_reals(out->data, out->type, to, total, true);
    } else {
        int64_t *x = array_ints(c, a), *y = array_ints(c, b), *to = scratch_ints(c, total);
        for (int64_t i = 0; i < batch; i++)
            matmul_ints(to + i * m * n, x + i * m * k, y + i * k * n, m, k, n);
        store_ints(out->data, out->type, to, total, false);
    }
    return true;
}

/*
 * One filter tap over one plane: for all positions p in a box,
 *   to[p * to_step + to_start] += weight * from[p * from_step + from_start]    (per spatial axis)
 * A convolution walks the result's positions, a transposed one the operand's.
 */
struct tap {
    int rank;
    int64_t first[MAX_RANK], end[MAX_RANK]; /* the box */
    int64_t to_step[MAX_RANK], from_step[MAX_RANK];
    int64_t to_at, from_at; /* elements at position (0, …, 0) of the box's axes */
};

#define DEFINE_TAP(name, T, WIDE)                                                                  \
    static void name(const struct tap *t, T *to, const T *from, T weight)                          \
    {                                                                                              \
        int64_t p[MAX_RANK], to_at = t->to_at, from_at = t->from_at;                               \
        int last = t->rank - 1;                                                                    \
        for (int i = 0; i < t->rank; i++) {                                                        \
            if (t->first[i] >= t->end[i])                                                          \
                return;                                                                            \
            p[i] = t->first[i];                                                                    \
            to_at += p[i] * t->to_step[i];                                                         \
            from_at += p[i] * t->from_step[i];                                                     \
        }                                                                                          \
        for (;;) {                                                                                 \
            int64_t n = t->end[last] - t->first[last];                                             \
            T *restrict y = to + to_at;                                                            \
            const T *restrict x = from + from_at;                                                  \
            if (t->to_step[last] == 1 && t->from_step[last] == 1)                                  \
                for (int64_t i = 0; i < n; i++)                                                    \
                    y[i] = (T)((WIDE)y[i] + (WIDE)weight * (WIDE)x[i]);                            \
            else                                                                                   \
                for (int64_t i = 0; i < n; i++, y += t->to_step[last], x += t->from_step[last])    \
                    *y = (T)((WIDE)*y + (WIDE)weight * (WIDE)*x);                                  \
            int axis = last - 1;                                                                   \
            for (; axis >= 0; axis--) {                                                            \
                to_at += t->to_step[axis];                                                         \
                from_at += t->from_step[axis];                                                     \
                if (++p[axis] < t->end[axis])                                                      \
                    break;                                                                         \
                int64_t back = t->end[axis] - t->first[axis];                                      \
                to_at -= back * t->to_step[axis];                                                  \
                from_at -= back * t->from_step[axis];                                              \
                p[axis] = t->first[axis];                                                          \
            }                                                                                      \
            if (axis < 0)                                                                          \
                return;                                                                            \
        }                                                                                          \
    }
DEFINE_TAP(tap_reals, double, double)
DEFINE_TAP(tap_ints, int64_t, uint64_t)

struct conv {
    bool transposed;
    int rank;                                  /* spatial axes */
    int64_t n, channels, filters, group;       /* x [n, channels], result [n, filters] */
    int64_t x_plane, y_plane, taps;            /* elements of a plane; of a filter's plane */
    const int64_t *x_shape, *y_shape, *kernel; /* spatial extents */
    const int64_t *stride, *dilation;
    int64_t low[MAX_RANK];
    double *x_real, *w_real, *y_real; /* either these … */
    int64_t *x_int, *w_int, *y_int;   /* … or these */
};

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b > 0);
}

/* The tap at kernel position k: the side that is walked has position p, the other one stands at
 * p * stride + offset and must be inside its extent. */
static struct tap make_tap(const struct conv *v, const int64_t *k)
{
    const int64_t *walked = v->transposed ? v->x_shape : v->y_shape;
    const int64_t *other = v->transposed ? v->y_shape : v->x_shape;
    int64_t walked_stride = 1, other_stride = 1, other_at = 0;
    struct tap t = {.rank = v->rank ? v->rank : 1,
                    .end = {1}}; /* a plane is one element at least */
    for (int i = v->rank - 1; i >= 0; i--) {
        int64_t offset = k[i] * v->dilation[i] - v->low[i], room = other[i] - 1 - offset;
        int64_t first = offset < 0 ? ceil_div(-offset, v->stride[i]) : 0;
        int64_t end = room < 0 ? 0 : room / v->stride[i] + 1;
        t.first[i] = first;
        t.end[i] = end < walked[i] ? end : walked[i];
        t.to_step[i] = v->transposed ? other_stride * v->stride[i] : walked_stride;
        t.from_step[i] = v->transposed ? walked_stride : other_stride * v->stride[i];
        other_at += offset * other_stride;
        walked_stride *= walked[i];
        other_stride *= other[i];
    }
    *(v->transposed ? &t.to_at : &t.from_at) = other_at;
    return t;
}

/* All taps of the kernel, in order. */
static struct tap *make_taps(struct eval_call *c, const struct conv *v)
{
    int64_t k[MAX_RANK] = {0};
    struct tap *taps = arena_array(&c->scratch, (size_t)v->taps + 1, sizeof *taps);
    for (int64_t i = 0; i < v->taps; i++) {
        taps[i] = make_tap(v, k);
        for (int axis = v->rank - 1; axis >= 0 && ++k[axis] == v->kernel[axis]; axis--)
            k[axis] = 0;
    }
    return taps;
}

/* Adds a part of input plane (n, c) under every tap of filter plane `filter` to result plane (n,
 * m): positions from `first` to `end` of the outermost axis that is walked. */
static void add_plane(const struct conv *v, const struct tap *taps, const int64_t plane[3],
                      int64_t filter, int64_t first, int64_t end)
{
    int64_t n = plane[0], x = (n * v->channels + plane[1]) * v->x_plane;
    int64_t y = (n * v->filters + plane[2]) * v->y_plane;
    for (int64_t i = 0; i < v->taps; i++) {
        struct tap t = taps[i];
        t.first[0] = t.first[0] > first ? t.first[0] : first;
        t.end[0] = t.end[0] < end ? t.end[0] : end;
        if (v->x_real)
            tap_reals(&t, v->y_real + y, v->x_real + x, v->w_real[filter * v->taps + i]);
        else
            tap_ints(&t, v->y_int + y, v->x_int + x, v->w_int[filter * v->taps + i]);
    }
}

/* All channels of result plane (n, m), a block of positions after the other: in a transposed
 * convolution blocks would share results, so that there is one block only. */
static void add_channels(const struct conv *v, const struct tap *taps, int64_t n, int64_t m)
{
    int64_t in_group = v->channels / v->group, out_group = v->filters / v->group;
    int64_t extent = v->rank ? (v->transposed ? v->x_shape : v->y_shape)[0] : 1;
    int64_t row = extent ? v->y_plane / extent : 1;
    int64_t block = v->transposed || row == 0 ? extent : PLANE_BLOCK / row + 1;
    for (int64_t first = 0; first < extent; first += block)
        for (int64_t i = 0; i < in_group; i++) {
            int64_t c = m / out_group * in_group + i, plane[3] = {n, c, m};
            int64_t filter = v->transposed ? c * out_group + m % out_group : m * in_group + i;
            add_plane(v, taps, plane, filter, first, first + block);
        }
}

static void all_planes(const struct conv *v, const struct tap *taps)
{
    for (int64_t n = 0; n < v->n; n++)
        for (int64_t m = 0; m < v->filters; m++)
            add_channels(v, taps, n, m);
}

/* ---- As products of matrices --------------------------------------------------------------- */

/* Where each tap lies under each position of the result, in a plane of x; -1: beside it. */
static int64_t *tap_places(struct eval_call *c, const struct conv *v, const struct tap *taps)
{
    int64_t n = v->y_plane, *at = scratch_ints(c, v->taps * n + 1);
    for (int64_t i = 0; i < v->taps * n; i++)
        at[i] = -1;
    for (int64_t i = 0; i < v->taps; i++)
        for (int64_t j = 0; j < n; j++) {
            const struct tap *t = &taps[i];
            int64_t rest = j, from = t->from_at;
            bool inside = true;
            for (int axis = t->rank - 1; axis >= 0; axis--) {
                int64_t extent = v->rank ? v->y_shape[axis] : 1, p = rest % extent;
                rest /= extent;
                inside = inside && p >= t->first[axis] && p < t->end[axis];
                from += p * t->from_step[axis];
            }
            if (inside)
                at[i * n + j] = from;
        }
    return at;
}

/* Zeros beside the image change no sum, where weights are finite. */
static bool is_product(const struct conv *v)
{
    if (v->transposed || v->filters / v->group < PRODUCT_ROWS || v->y_plane < 1 ||
        v->taps > MOST_PLACES / v->y_plane)
        return false;
    int64_t n = v->filters * (v->channels / v->group) * v->taps;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v->w_real[i]))
            return false;
    return true;
}

static void multiply_groups(struct eval_call *c, const struct conv *v, const struct tap *taps)
{
    int64_t in_group = v->channels / v->group, out_group = v->filters / v->group;
    struct product p = {.m = out_group,
                        .k = in_group * v->taps,
                        .n = v->y_plane,
                        .at = tap_places(c, v, taps),
                        .taps = v->taps,
                        .plane = v->x_plane,
                        .panel = product_panel(c)};
    for (int64_t i = 0; i < v->n * v->group; i++) {
        p.to = v->y_real + i * out_group * v->y_plane;
        p.a = v->w_real + i % v->group * out_group * p.k;
        p.b = v->x_real + i * in_group * v->x_plane;
        product_add(&p);
    }
}

static bool run_conv(struct eval_call *c, struct conv *v, struct dims low)
{
    const struct array *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
    int64_t total = array_elements(y);
    if (!eval_dims(c, low, v->low))
        return false;
    v->rank = y->rank - 2;
    v->n = x->shape[0];
    v->channels = x->shape[1];
    v->filters = y->shape[1];
    v->x_plane = span(x, 2, x->rank);
    v->y_plane = span(y, 2, y->rank);
    v->taps = span(w, 2, w->rank);
    v->x_shape = x->shape + 2;
    v->y_shape = y->shape + 2;
    v->kernel = w->shape + 2;
    if (v->group < 1 || v->channels % v->group || v->filters % v->group)
        return eval_fails(c, STATUS_BAD_MODEL, "the channels do not divide into its groups");
    if (dtype_is_float(x->type)) {
        v->x_real = array_reals(c, x);
        v->w_real = array_reals(c, w);
        v->y_real = scratch_reals(c, total);
        const struct tap *taps = make_taps(c, v);
        if (is_product(v))
            multiply_groups(c, v, taps);
        else
            all_planes(v, taps);
        store_reals(y->data, y->type, v->y_real, total, true);
    } else {
        v->x_int = array_ints(c, x);
        v->w_int = array_ints(c, w);
        v->y_int = scratch_ints(c, total);
        all_planes(v, make_taps(c, v));
        store_ints(y->data, y->type, v->y_int, total, false);
    }
    return true;
}

bool eval_op_conv(struct eval_call *c)
{
    const struct attr_conv *a = &c->node->attr.conv;
    struct conv v = {.group = a->group, .stride = a->stride.v, .dilation = a->dilation.v};
    return run_conv(c, &v, a->low);
}

bool eval_op_conv_transpose(struct eval_call *c)
{
    const struct attr_conv_transpose *a = &c->node->attr.conv_transpose;
    struct conv v = {
        .transposed = true, .group = a->group, .stride = a->stride.v, .dilation = a->dilation.v};
    return run_conv(c, &v, a->low);
}
