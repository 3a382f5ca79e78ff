/* Fourier transforms, as products with matrices of cosines and sines. */
#include "lower.h"

#include <math.h>

/* How a transform goes along one axis, whose view is [outer, axis, inner]. */
struct transform {
    const struct dim *in, *length, *out; /* elements read, transformed over, written */
    bool inverse, one_sided;
    enum dtype type; /* computed in: f64 for f64, else f32 */
};

/*
 * Cosines (quarter 0) or sines (quarter 1) of 2 pi i k / length: [out, in]. Angles are reduced to
 * an eighth of a turn in integers, so that they are as exact as the type can be, and zeros are
 * zeros.
 */
static struct value *waves(struct call *c, const struct transform *t, int quarter)
{
    const struct dim *plane[2] = {t->out, t->in};
    struct builder *b = c->b;
    struct value *k = build_iota(b, DT_I64, 2, plane, 0), *i = build_iota(b, DT_I64, 2, plane, 1);
    struct value *length = build_dim(b, t->length), *twice = v_mul_number(c, length, 2);
    struct value *turn = v_mul_number(c, build_binary(b, OP_mod, v_mul(c, k, i), length), 4);
    /* turn / length = whole quarters + rest / length, with |rest| <= length / 2 */
    struct value *whole = v_div(c, v_add(c, v_mul_number(c, turn, 2), length), twice);
    struct value *rest = build_cast(b, v_sub(c, turn, v_mul(c, whole, length)), t->type);
    struct value *divisor = build_cast(b, length, t->type);
    struct value *angle = v_div(c, v_mul_number(c, rest, M_PI_2), divisor);
    struct value *cosine = build_unary(b, OP_cos, angle), *sine = build_unary(b, OP_sin, angle);
    struct value *four = v_number(c, whole, 4);
    whole = build_binary(b, OP_mod, v_add_number(c, whole, 4 - quarter), four);
    struct value *minus_sine = build_unary(b, OP_neg, sine);
    struct value *odd = build_select(b, v_eq(c, whole, v_number(c, whole, 1)), minus_sine, sine);
    struct value *minus_cosine = build_unary(b, OP_neg, cosine);
    struct value *even =
        build_select(b, v_eq(c, whole, v_number(c, whole, 2)), minus_cosine, cosine);
    struct value *is_odd = build_binary(b, OP_mod, whole, v_number(c, whole, 2));
    return build_select(b, v_eq(c, is_odd, v_number(c, whole, 1)), odd, even);
}

/* One-sided input of an inverse stands for both halves: all but the first and a middle bin count
 * twice. */
static struct value *both_halves(struct call *c, const struct transform *t, struct value *x)
{
    struct value *k = build_iota(c->b, DT_I64, 1, &t->in, 0);
    struct value *twice = v_mul_number(c, k, 2), *length = build_dim(c->b, t->length);
    struct value *is_middle = v_eq(c, twice, length);
    struct value *single = v_or(c, v_eq(c, k, v_number(c, k, 0)), is_middle);
    struct value *two = v_number(c, x, 2);
    struct value *factor = build_select(c->b, single, v_number(c, x, 1), two);
    return v_mul(c, x, build_unsqueeze(c->b, factor, 2));
}

/* Real and imaginary parts [outer, in, inner] (imaginary may be NULL) → [outer, out, inner, 2 or
 * 1]. */
static struct value *transform(struct call *c, const struct transform *t, struct value *re,
                               struct value *im)
{
    enum dtype type = t->type;
    bool real_result = t->inverse && t->one_sided;
    if (real_result && re) {
        re = both_halves(c, t, re);
        im = im ? both_halves(c, t, im) : NULL;
    }
    /* e^(-j a) = cos a - j sin a forwards, conjugated backwards */
    struct value *cosine = waves(c, t, 0), *sine = waves(c, t, 1);
    if (t->inverse)
        sine = build_unary(c->b, OP_neg, sine);
    struct value *y_re = build_matmul(c->b, cosine, re, type);
    struct value *y_im = build_unary(c->b, OP_neg, build_matmul(c->b, sine, re, type));
    if (im) {
        y_re = v_add(c, y_re, build_matmul(c->b, sine, im, type));
        y_im = v_add(c, y_im, build_matmul(c->b, cosine, im, type));
    }
    struct value *parts[2] = {build_unsqueeze(c->b, y_re, 8)};
    parts[1] = build_unsqueeze(c->b, y_im, 8);
    if (!parts[0] || !parts[1])
        return NULL;
    struct value *y = real_result ? parts[0] : build_concat(c->b, 2, parts, 3);
    if (t->inverse)
        y = v_div(c, y, build_cast(c->b, build_dim(c->b, t->length), type));
    return y;
}

/* Part p (0 real, 1 imaginary) of x [outer, in, inner, parts], cropped or padded to n elements. */
static struct value *part(struct call *c, struct value *x, int p, const struct dim *n)
{
    x = build_slice_axis(c->b, x, 3, d_const(c, p), d_const(c, 1));
    x = build_squeeze(c->b, x, 8);
    if (!x || x->shape[1] == n)
        return x;
    const struct dim *zero = d_const(c, 0), *low[3] = {zero, zero, zero}, *high[3];
    const struct dim *have = D(min, x->shape[1], n);
    high[0] = high[2] = zero;
    high[1] = D(sub, n, have);
    x = build_slice_axis(c->b, x, 1, zero, have);
    return build_pad(c->b, x, low, high, PAD_CONSTANT, v_number(c, x, 0));
}

static const struct dim *half_of(struct call *c, const struct dim *length)
{
    return D(add, D(floordiv, length, d_const(c, 2)), d_const(c, 1));
}

/* Axis of the operand: an attribute before opset 20, else an input that may not be known. */
static const struct dim *dft_axis(struct call *c)
{
    int rank = c->in[0]->rank;
    int64_t known;
    const struct dim *axis = c->opset < 20 ? d_const(c, attr_int(c, "axis", 1))
                             : c->in[2]    ? call_dim(c, 2)
                                           : d_const(c, -2);
    if (!axis || (dim_is_const(axis, &known) && call_axis(c, known, rank) < 0))
        return NULL;
    return dim_axis(c, axis, rank);
}

static enum dtype transform_type(const struct value *x)
{
    return x->type == DT_F64 ? DT_F64 : DT_F32;
}

bool lower_dft(struct call *c)
{
    struct value *x = c->in[0];
    const struct dim *axis = dft_axis(c), *one = d_const(c, 1), *out[MAX_RANK];
    int64_t parts;
    if (!axis)
        return false;
    if (x->rank < 2 || !dim_is_const(x->shape[x->rank - 1], &parts) || parts < 1 || parts > 2)
        return call_error(c, "the last axis of its operand must hold one or two parts");
    const struct dim *view[4] = {one, one, one, d_const(c, parts)};
    for (int i = 0; i < x->rank - 1; i++) {
        const struct dim *at = d_const(c, i);
        view[0] = D(mul, view[0], D(select, D(lt, at, axis), x->shape[i], one));
        view[1] = D(mul, view[1], D(select, D(eq, at, axis), x->shape[i], one));
        view[2] = D(mul, view[2], D(select, D(lt, axis, at), x->shape[i], one));
    }
    struct transform t = {.inverse = attr_int(c, "inverse", 0) != 0,
                          .one_sided = attr_int(c, "onesided", 0) != 0,
                          .type = transform_type(x)};
    bool real_result = t.inverse && t.one_sided;
    t.length = c->in[1]      ? call_dim(c, 1)
               : real_result ? D(mul, D(sub, view[1], one), d_const(c, 2))
                             : view[1];
    if (!t.length)
        return false;
    t.in = real_result ? half_of(c, t.length) : t.length;
    t.out = t.one_sided && !t.inverse ? half_of(c, t.length) : t.length;
    struct value *v = build_reshape(c->b, build_cast(c->b, x, t.type), 4, view);
    struct value *imaginary = parts == 2 ? part(c, v, 1, t.in) : NULL;
    v = transform(c, &t, part(c, v, 0, t.in), imaginary);
    for (int i = 0; i < x->rank - 1; i++)
        out[i] = D(select, D(eq, d_const(c, i), axis), t.out, x->shape[i]);
    out[x->rank - 1] = d_const(c, real_result ? 1 : 2);
    return call_result(c, build_cast(c->b, build_reshape(c->b, v, x->rank, out), x->type));
}

/* Frames of the signal [B, n, parts], each times the window, transformed: [B, frames, bins, 2]. */
bool lower_stft(struct call *c)
{
    struct value *x = c->in[0], *window = c->in[2];
    const struct dim *step = call_dim(c, 1), *one = d_const(c, 1);
    int64_t parts;
    if (!step)
        return false;
    if (x->rank == 2) /* as exporters write real signals */
        x = build_unsqueeze(c->b, x, 1u << 2);
    if (!x || x->rank != 3 || !dim_is_const(x->shape[2], &parts) || parts < 1 || parts > 2)
        return call_error(c, "a signal must be [batch, length, 1 or 2]");
    if (!window && !c->in[3])
        return call_error(c, "neither a window nor a length of frames");
    const struct dim *length = c->in[3] ? call_dim(c, 3) : window->shape[0];
    if (!length || (window && !graph_constrain(c->b->g, MUST_EQUAL, window->shape[0], length,
                                               "%s: length of its window", c->b->g->origin)))
        return false;
    const struct dim *frames = D(add, D(floordiv, D(sub, x->shape[1], length), step), one);
    const struct dim *plane[2] = {frames, length};
    struct value *column = build_iota(c->b, DT_I64, 2, plane, 1);
    struct value *hop = build_dim(c->b, step);
    struct value *index = v_add(c, v_mul(c, build_iota(c->b, DT_I64, 2, plane, 0), hop), column);
    struct transform t = {.in = length, .length = length, .out = length, .type = transform_type(x)};
    struct value *v = index ? build_gather(c->b, build_cast(c->b, x, t.type), index, 1) : NULL;
    if (window)
        v = v_mul(c, v, build_unsqueeze(c->b, build_cast(c->b, window, t.type), 2));
    const struct dim *view[4] = {D(mul, x->shape[0], frames), length, one, x->shape[2]};
    if (attr_int(c, "onesided", 1))
        t.out = half_of(c, length);
    v = build_reshape(c->b, v, 4, view);
    struct value *imaginary = parts == 2 ? part(c, v, 1, t.in) : NULL;
    v = transform(c, &t, part(c, v, 0, t.in), imaginary);
    const struct dim *out[4] = {x->shape[0], frames, t.out, d_const(c, 2)};
    return call_result(c, build_cast(c->b, build_reshape(c->b, v, 4, out), x->type));
}

static struct value *as_f64(struct call *c, int input)
{
    return build_cast(c->b, build_reshape(c->b, c->in[input], 0, NULL), DT_F64);
}

/* 2595 log10(1 + hertz / 700) */
static struct value *mel_of_hertz(struct call *c, struct value *hertz)
{
    if (!hertz)
        return NULL;
    struct value *ratio = v_add_number(c, v_mul_number(c, hertz, 1.0 / 700), 1);
    return v_mul_number(c, build_unary(c->b, OP_log, ratio), 2595 / M_LN10);
}

/* Where the triangles' corners are, as numbers of spectrogram bins: [bins + 2]. */
static struct value *mel_corners(struct call *c, const struct dim *bins)
{
    const struct dim *n = D(add, bins, d_const(c, 2));
    struct value *low = mel_of_hertz(c, as_f64(c, 3)), *high = mel_of_hertz(c, as_f64(c, 4));
    struct value *count = build_cast(c->b, build_dim(c->b, n), DT_F64);
    struct value *step = v_div(c, build_binary(c->b, OP_sub, high, low), count);
    struct value *i = build_cast(c->b, build_iota(c->b, DT_I64, 1, &n, 0), DT_F64);
    struct value *mel = v_add(c, v_mul(c, i, step), low);
    struct value *length = as_f64(c, 1), *rate = as_f64(c, 2);
    if (!mel || !length)
        return NULL;
    struct value *power = build_unary(c->b, OP_exp, v_mul_number(c, mel, M_LN10 / 2595));
    struct value *hertz = v_mul_number(c, v_add_number(c, power, -1), 700);
    struct value *bin = v_div(c, v_mul(c, v_add_number(c, length, 1), hertz), rate);
    return build_unary(c->b, OP_floor, bin);
}

/*
 * MelWeightMatrix: column i is a triangle over the spectrogram bins that rises from corner i to
 * corner i + 1 and falls to corner i + 2.
 */
bool lower_mel_weights(struct call *c)
{
    const struct dim *bins = call_dim(c, 0), *length = call_dim(c, 1);
    enum dtype to = attr_dtype(c, "output_datatype", DT_F32);
    if (!bins || !length)
        return false;
    const struct dim *rows = D(add, D(floordiv, length, d_const(c, 2)), d_const(c, 1));
    struct value *corners = mel_corners(c, bins), *corner[3];
    for (int i = 0; i < 3; i++) {
        corner[i] = build_slice_axis(c->b, corners, 0, d_const(c, i), bins);
        if (!corner[i])
            return false;
    }
    struct value *low = corner[0], *center = corner[1], *high = corner[2];
    struct value *row = build_cast(c->b, build_iota(c->b, DT_I64, 1, &rows, 0), DT_F64);
    row = build_unsqueeze(c->b, row, 2);
    struct value *rise = build_binary(c->b, OP_sub, center, low);
    struct value *rising = v_div(c, build_binary(c->b, OP_sub, row, low), rise);
    struct value *fall = build_binary(c->b, OP_sub, high, center);
    struct value *falling = v_div(c, build_binary(c->b, OP_sub, high, row), fall);
    struct value *to_center = v_le(c, row, center);
    struct value *rises = v_and(c, v_le(c, low, row), to_center);
    struct value *to_high = v_lt(c, row, high);
    struct value *falls = v_and(c, v_le(c, center, row), to_high);
    /* A side without width is the corner alone. */
    struct value *one = v_number(c, low, 1);
    rising = build_select(c->b, v_eq(c, low, center), one, rising);
    struct value *y = build_select(c->b, rises, rising, v_number(c, low, 0));
    return call_result(c, build_cast(c->b, build_select(c->b, falls, falling, y), to));
}
