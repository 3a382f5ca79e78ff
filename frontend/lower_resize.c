/*
 * Resize and Upsample. Resampling is separable: each axis is gathered at its own coordinates, and
 * taps are blended along it. Coordinates are a vector per axis, computed from positions, so that
 * sizes and scales may be graph inputs.
 */
#include "lower.h"

#include <math.h>

enum mode { NEAREST, LINEAR, CUBIC };
enum coordinates {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    TF_CROP_AND_RESIZE
};
enum rounding { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, ROUND_FLOOR, ROUND_CEIL };
enum aspect { STRETCH, NOT_LARGER, NOT_SMALLER };

struct resize {
    enum mode mode;
    enum coordinates coordinates;
    enum rounding rounding;
    bool exclude_outside, antialias;
    double cubic, extrapolation;
};

/* One axis that is resampled. Scalars are f32. */
struct resampled {
    int axis;
    const struct dim *in, *out;
    struct value *scale;     /* out / in, or as given */
    struct value *from, *to; /* region of interest, as fractions of the axis; or NULL */
};

static struct value *f32_of(struct call *c, const struct dim *d)
{
    return build_cast(c->b, build_dim(c->b, d), DT_F32);
}

/* Element i of a vector as an f32 scalar. */
static struct value *pick(struct call *c, struct value *v, int i)
{
    v = build_slice_axis(c->b, v, 0, d_const(c, i), d_const(c, 1));
    return build_cast(c->b, build_reshape(c->b, v, 0, NULL), DT_F32);
}

/* Where in the operand each element of the result lies: f32 [out]. */
static struct value *source_positions(struct call *c, const struct resize *r,
                                      const struct resampled *a)
{
    struct builder *b = c->b;
    struct value *x = build_cast(b, build_iota(b, DT_I64, 1, &a->out, 0), DT_F32);
    struct value *in = f32_of(c, a->in), *width = v_mul(c, a->scale, in);
    struct value *one = build_float(b, DT_F32, 1), *at, *single = v_eq(c, width, one);
    switch (r->coordinates) {
    case ASYMMETRIC: return v_div(c, x, a->scale);
    case ALIGN_CORNERS: {
        struct value *steps = v_sub(c, width, one);
        at = v_div(c, v_mul(c, x, v_sub(c, in, one)), steps);
        return build_select(b, single, v_number(c, width, 0), at);
    }
    case TF_CROP_AND_RESIZE: {
        struct value *last = v_sub(c, in, one);
        struct value *span = v_mul(c, v_sub(c, a->to, a->from), last);
        struct value *steps = v_sub(c, width, one);
        at = v_div(c, v_mul(c, x, span), steps);
        at = build_select(b, single, v_mul_number(c, span, 0.5), at);
        return v_add(c, at, v_mul(c, a->from, last));
    }
    default: break;
    }
    at = v_add_number(c, v_div(c, v_add_number(c, x, 0.5), a->scale), -0.5);
    if (r->coordinates == PYTORCH_HALF_PIXEL)
        at = build_select(b, single, v_number(c, width, -0.5), at);
    if (r->coordinates == HALF_PIXEL_SYMMETRIC) {
        struct value *adjust = v_div(c, f32_of(c, a->out), width);
        struct value *offset = v_mul_number(c, v_mul(c, in, v_sub(c, one, adjust)), 0.5);
        at = v_add(c, at, offset);
    }
    return at;
}

/* x at integral positions (f32 [out]) along the axis; positions outside take the border. */
static struct value *take(struct call *c, struct value *x, const struct resampled *a,
                          struct value *position)
{
    struct value *index = build_cast(c->b, position, DT_I64);
    struct value *last = v_add_number(c, build_dim(c->b, a->in), -1);
    struct value *zero = v_number(c, last, 0);
    index = v_max(c, v_min(c, index, last), zero);
    return x && index ? build_gather(c->b, x, index, a->axis) : NULL;
}

/* A vector along the axis, in a shape that broadcasts to x. */
static struct value *along(struct call *c, struct value *v, const struct value *x, int axis)
{
    return build_unsqueeze(c->b, v, ((1u << (x->rank - axis - 1)) - 1) << 1);
}

/* The cubic kernel at distance d >= 0, with parameter r->cubic: two polynomials, then 0. */
static struct value *cubic_weight(struct call *c, const struct resize *r, struct value *d)
{
    double k = r->cubic;
    struct value *near = v_add_number(c, v_mul_number(c, d, k + 2), -(k + 3));
    near = v_add_number(c, v_mul(c, v_mul(c, near, d), d), 1);
    struct value *far = v_add_number(c, v_mul_number(c, d, k), -5 * k);
    far = v_add_number(c, v_mul(c, far, d), 8 * k);
    far = v_add_number(c, v_mul(c, far, d), -4 * k);
    struct value *zero = v_number(c, d, 0);
    far = build_select(c->b, v_lt(c, d, v_number(c, d, 2)), far, zero);
    return build_select(c->b, v_le(c, d, v_number(c, d, 1)), near, far);
}

static struct value *kernel_weight(struct call *c, const struct resize *r, struct value *distance)
{
    struct value *d = build_unary(c->b, OP_abs, distance);
    if (r->mode == CUBIC)
        return cubic_weight(c, r, d);
    struct value *zero = v_number(c, d, 0);
    return v_max(c, v_sub(c, v_number(c, d, 1), d), zero);
}

static struct value *nearest(struct call *c, const struct resize *r, struct value *x,
                             const struct resampled *a, struct value *at)
{
    switch (r->rounding) {
    case ROUND_PREFER_FLOOR: at = build_unary(c->b, OP_ceil, v_add_number(c, at, -0.5)); break;
    case ROUND_PREFER_CEIL: at = build_unary(c->b, OP_floor, v_add_number(c, at, 0.5)); break;
    case ROUND_FLOOR: at = build_unary(c->b, OP_floor, at); break;
    case ROUND_CEIL: at = build_unary(c->b, OP_ceil, at); break;
    }
    return take(c, x, a, at);
}

/* Sum of 2 or 4 taps, each times its weight. */
static struct value *blend(struct call *c, const struct resize *r, struct value *x,
                           const struct resampled *a, struct value *at)
{
    int taps = r->mode == CUBIC ? 4 : 2;
    struct value *base =
        v_add_number(c, build_unary(c->b, OP_floor, at), r->mode == CUBIC ? -1 : 0);
    struct value *sum = NULL, *weights = NULL, *zero = v_number(c, at, 0);
    struct value *in = f32_of(c, a->in);
    for (int t = 0; t < taps; t++) {
        struct value *position = v_add_number(c, base, t);
        struct value *weight = kernel_weight(c, r, v_sub(c, at, position));
        if (r->exclude_outside) {
            struct value *below = v_lt(c, position, in);
            struct value *inside = v_and(c, v_le(c, zero, position), below);
            weight = build_select(c->b, inside, weight, zero);
            weights = weights ? v_add(c, weights, weight) : weight;
        }
        struct value *share = along(c, weight, x, a->axis);
        struct value *tap = v_mul(c, take(c, x, a, position), share);
        sum = sum ? v_add(c, sum, tap) : tap;
        if (!sum)
            return NULL;
    }
    return weights ? v_div(c, sum, along(c, weights, x, a->axis)) : sum;
}

/*
 * Antialiasing widens the kernel as the axis shrinks, so that the count of taps depends on the
 * scale: a matrix of weights [out, padded in] times the operand, whose border is repeated.
 */
static struct value *blend_widened(struct call *c, const struct resize *r, struct value *x,
                                   const struct resampled *a, struct value *at)
{
    const struct dim *zero = d_const(c, 0), *one = d_const(c, 1);
    const struct dim *reach =
        D(add, D(mul, d_const(c, 2), D(ceildiv, a->in, D(max, a->out, one))), d_const(c, 2));
    if (r->exclude_outside)
        reach = zero;
    const struct dim *low[MAX_RANK], *high[MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        low[i] = high[i] = i == a->axis ? reach : zero;
    const struct dim *plane[2] = {a->out, D(add, a->in, D(mul, reach, d_const(c, 2)))};
    struct value *position = build_cast(c->b, build_iota(c->b, DT_I64, 2, plane, 1), DT_F32);
    position = v_sub(c, position, f32_of(c, reach));
    struct value *shrink = v_min(c, a->scale, v_number(c, a->scale, 1));
    struct value *distance = v_mul(c, v_sub(c, position, build_unsqueeze(c->b, at, 2)), shrink);
    struct value *weight = kernel_weight(c, r, distance);
    weight = v_div(c, weight, build_reduce(c->b, OP_reduce_sum, weight, 2, true));

    int perm[MAX_RANK], last = x->rank - 1;
    for (int i = 0; i <= last; i++)
        perm[i] = i == a->axis ? last : i == last ? a->axis : i;
    struct value *padded = build_pad(c->b, x, low, high, PAD_EDGE, NULL);
    struct value *weights = build_transpose(c->b, weight, (int[]){1, 0});
    struct value *y = build_matmul(c->b, build_transpose(c->b, padded, perm), weights, DT_F32);
    return build_transpose(c->b, y, perm);
}

static struct value *resample(struct call *c, const struct resize *r, struct value *x,
                              const struct resampled *a)
{
    struct value *at = source_positions(c, r, a), *y;
    if (!x || !at)
        return NULL;
    if (r->mode == NEAREST)
        y = nearest(c, r, x, a, at);
    else
        y = r->antialias ? blend_widened(c, r, x, a, at) : blend(c, r, x, a, at);
    if (r->coordinates != TF_CROP_AND_RESIZE || !y)
        return y;
    struct value *last = v_add_number(c, f32_of(c, a->in), -1);
    struct value *above = v_lt(c, last, at);
    struct value *outside = v_or(c, v_lt(c, at, v_number(c, at, 0)), above);
    struct value *fill = v_number(c, y, r->extrapolation);
    return build_select(c->b, along(c, outside, x, a->axis), fill, y);
}

/* floor(d * scale) in floats, where 10 * 0.7f is 7; NULL: a small tensor has to tell. A size that
 * is not known yet is multiplied by the simplest fraction that is that float, 7/10. */
static const struct dim *scaled_size(struct call *c, const struct dim *d, float scale)
{
    enum { MOST_PARTS = 1000, MOST_BITS = 30 };
    int64_t size;
    if (!(scale >= 0 && scale < 1e6F))
        return NULL;
    if (dim_is_const(d, &size) && size < 1 << 24)
        return d_const(c, (int64_t)floorf((float)size * scale));
    for (int64_t parts = 1; parts <= 1ll << MOST_BITS; parts += parts < MOST_PARTS ? 1 : parts) {
        double whole = nearbyint((double)scale * (double)parts);
        if ((float)(whole / (double)parts) == scale)
            return D(floordiv, D(mul, d, d_const(c, (int64_t)whole)), d_const(c, parts));
    }
    return NULL;
}

/* Sizes from scales: known ones at compile time, others by a small tensor that the plan reads. */
static bool sizes_from_scales(struct call *c, struct value *scales, int n, struct resampled *a)
{
    const struct constant *k =
        scales->def && scales->def->op == OP_constant ? scales->def->attr.constant.data : NULL;
    const struct dim *d[MAX_ELEMENTS], *in[MAX_RANK] = {NULL};
    bool known = k && scales->type == DT_F32;
    int64_t count;
    if (!value_elements_const(scales, &count) || count != n)
        return call_error(c, "it has not one scale per axis that it resizes");
    for (int i = 0; i < n; i++) {
        in[i] = a[i].in;
        a[i].scale = pick(c, scales, i);
        a[i].out = known ? scaled_size(c, a[i].in, ((const float *)k->bytes)[i]) : NULL;
        known = known && a[i].out;
    }
    if (known)
        return true;
    struct value *product =
        v_mul(c, build_cast(c->b, build_dims(c->b, n, in), scales->type), scales);
    struct value *sizes = build_cast(c->b, build_unary(c->b, OP_floor, product), DT_I64);
    if (value_dims(c, sizes, "its scales", d) != n)
        return false;
    for (int i = 0; i < n; i++)
        a[i].out = D(max, d[i], d_const(c, 0));
    return true;
}

/* With a policy, all axes get the one scale that makes none larger (smaller) than asked for. */
static bool sizes_as_given(struct call *c, int input, int n, struct resampled *a)
{
    static const char *const names[] = {"stretch", "not_larger", "not_smaller", NULL};
    const struct dim *d[MAX_ELEMENTS], *two = d_const(c, 2);
    enum aspect aspect = (enum aspect)attr_choice(c, "keep_aspect_ratio_policy", names, STRETCH);
    int given = call_dims(c, input, d);
    if (given < 0 || given != n)
        return given < 0 ? false : call_error(c, "%d sizes for %d axes", given, n);
    for (int i = 0; i < n; i++) {
        a[i].out = d[i];
        struct value *before = f32_of(c, a[i].in);
        a[i].scale = v_div(c, f32_of(c, d[i]), before);
    }
    if (aspect == STRETCH)
        return true;
    struct value *scale = a[0].scale;
    for (int k = 1; k < n; k++)
        scale = aspect == NOT_LARGER ? v_min(c, scale, a[k].scale) : v_max(c, scale, a[k].scale);
    for (int i = 0; i < n; i++) {
        /* round(in * size / in_k), of which the least (greatest) over k counts */
        const struct dim *size = NULL;
        for (int k = 0; k < n; k++) {
            const struct dim *twice = D(mul, two, D(mul, d[k], a[i].in));
            const struct dim *rounded = D(floordiv, D(add, twice, a[k].in), D(mul, two, a[k].in));
            size = !size                  ? rounded
                   : aspect == NOT_LARGER ? D(min, size, rounded)
                                          : D(max, size, rounded);
        }
        a[i].out = size;
        a[i].scale = scale;
    }
    return true;
}

/* Which axes of x are resampled, and how; the count of axes or -1. */
static int resize_axes(struct call *c, struct resampled *a)
{
    const struct value *x = c->in[0];
    const int64_t *axes;
    int n = attr_ints(c, "axes", &axes);
    uint32_t mask;
    if (n && !call_axes(c, n, axes, x->rank, &mask))
        return -1;
    for (int i = 0; i < (n ? n : x->rank); i++) {
        a[i] = (struct resampled){.axis = n ? call_axis(c, axes[i], x->rank) : i};
        a[i].in = x->shape[a[i].axis];
    }
    return n ? n : x->rank;
}

static bool empty(const struct value *v)
{
    int64_t n;
    return !v || (value_elements_const(v, &n) && n == 0);
}

/* An axis that keeps its size keeps its elements, unless a region of it is taken. */
static bool untouched(const struct resize *r, const struct resampled *a)
{
    return a->in == a->out && r->coordinates != TF_CROP_AND_RESIZE;
}

static bool resize_all(struct call *c, const struct resize *r, int n, const struct resampled *a)
{
    struct value *x = c->in[0], *y = r->mode == NEAREST ? x : build_cast(c->b, x, DT_F32);
    for (int i = 0; i < n; i++)
        if (!untouched(r, &a[i]))
            y = resample(c, r, y, &a[i]);
    return call_result(c, build_cast(c->b, y, x->type));
}

bool lower_resize(struct call *c)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    static const char *const coordinates[] = {"half_pixel",
                                              "half_pixel_symmetric",
                                              "pytorch_half_pixel",
                                              "align_corners",
                                              "asymmetric",
                                              "tf_crop_and_resize",
                                              NULL};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                            "ceil", NULL};
    struct resize r = {
        .mode = (enum mode)attr_choice(c, "mode", modes, NEAREST),
        .coordinates = (enum coordinates)attr_choice(c, "coordinate_transformation_mode",
                                                     coordinates, HALF_PIXEL),
        .rounding = (enum rounding)attr_choice(c, "nearest_mode", roundings, ROUND_PREFER_FLOOR),
        .exclude_outside = attr_int(c, "exclude_outside", 0) != 0,
        .antialias = attr_int(c, "antialias", 0) != 0,
        .cubic = attr_float(c, "cubic_coeff_a", -0.75),
        .extrapolation = attr_float(c, "extrapolation_value", 0),
    };
    struct resampled a[MAX_RANK];
    int n = resize_axes(c, a);
    if (n < 0 || c->failed)
        return false;
    if (empty(c->in[2]) && empty(c->in[3]))
        return call_error(c, "neither scales nor sizes");
    if (!empty(c->in[3]) ? !sizes_as_given(c, 3, n, a) : !sizes_from_scales(c, c->in[2], n, a))
        return false;
    for (int i = 0; i < n && r.coordinates == TF_CROP_AND_RESIZE; i++) {
        if (empty(c->in[1]))
            return call_error(c, "its region of interest is missing");
        a[i].from = pick(c, c->in[1], i);
        a[i].to = pick(c, c->in[1], n + i);
    }
    return resize_all(c, &r, n, a);
}

/* Upsample, and Resize of opset 10: scales alone, positions divided by them, nearest rounds down.
 */
bool lower_upsample(struct call *c)
{
    static const char *const modes[] = {"nearest", "linear", NULL};
    struct resize r = {.mode = (enum mode)attr_choice(c, "mode", modes, NEAREST),
                       .coordinates = ASYMMETRIC,
                       .rounding = ROUND_FLOOR};
    struct resampled a[MAX_RANK];
    struct value *scales = c->in[1];
    int n = resize_axes(c, a);
    if (!scales) {
        const Onnx__AttributeProto *given =
            call_attr(c, "scales", ONNX__ATTRIBUTE_PROTO__TYPE__FLOATS);
        int64_t count = given ? (int64_t)given->n_floats : 0;
        scales = build_constant(c->b, DT_F32, 1, &count, count ? (void *)given->floats : "", NULL);
    }
    if (n < 0 || !scales || c->failed)
        return false;
    return sizes_from_scales(c, scales, n, a) && resize_all(c, &r, n, a);
}
