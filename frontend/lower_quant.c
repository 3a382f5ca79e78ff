/* Quantization: scales and zero points per tensor, per axis or per block; integer contractions. */
#include "window.h"

#include <math.h>

/* How many blocks an axis of x has, the last one perhaps cut off, must be how many elements v has.
 * A block that is larger than the axis is the axis. */
static bool check_blocks(struct call *c, const struct value *v, const struct value *x, int axis,
                         int64_t *block)
{
    int64_t size;
    if (dim_is_const(x->shape[axis], &size) && size < *block)
        *block = size > 0 ? size : 1;
    if (*block > INT32_MAX)
        return call_error(c, "blocks of %lld elements", (long long)*block);
    const struct dim *blocks =
        D(floordiv, D(add, x->shape[axis], d_const(c, *block - 1)), d_const(c, *block));
    return graph_constrain(c->b->g, MUST_EQUAL, v->shape[axis], blocks,
                           "%s: axis %d must have an element for each block of %lld",
                           c->b->g->origin, axis, (long long)*block);
}

/*
 * A scale or zero point (or NULL) in a shape that broadcasts to x: one element, one per index of
 * `axis`, or (block > 0) one per `block` neighbours along it.
 */
static struct value *spread(struct call *c, struct value *v, const struct value *x, int axis,
                            int64_t block)
{
    int64_t n;
    if (!v)
        return NULL;
    if (value_elements_const(v, &n) && n == 1)
        return build_reshape(c->b, v, 0, NULL);
    if (block <= 0) {
        if (v->rank != 1 || axis >= x->rank)
            return call_error(c, "a scale or zero point has rank %d", v->rank), NULL;
        return build_unsqueeze(c->b, v, ((1u << (x->rank - axis - 1)) - 1) << 1);
    }
    if (v->rank != x->rank || x->rank + 1 > MAX_RANK)
        return call_error(c, "a scale per block has rank %d, not %d", v->rank, x->rank), NULL;
    if (!check_blocks(c, v, x, axis, &block))
        return NULL;
    const struct dim *wide[MAX_RANK], *joined[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        wide[i + (i > axis)] = v->shape[i];
        joined[i] = i == axis ? D(mul, v->shape[i], d_const(c, block)) : v->shape[i];
    }
    wide[axis + 1] = d_const(c, block);
    v = build_expand(c->b, build_unsqueeze(c->b, v, 1u << (axis + 1)), x->rank + 1, wide);
    v = build_reshape(c->b, v, x->rank, joined);
    return build_slice_axis(c->b, v, axis, d_const(c, 0), x->shape[axis]);
}

/* The range of an integer type. */
static void limits_of(enum dtype type, double *low, double *high)
{
    int bits = dtype_info[type].bits;
    bool is_signed = dtype_info[type].cls == DC_S;
    *high = ldexp(1, is_signed ? bits - 1 : bits) - 1;
    *low = is_signed ? -*high - 1 : 0;
}

/* Real numbers (in units of the scale) to the quantized type: rounded, shifted, saturated. */
static struct value *to_quantized(struct call *c, struct value *y, struct value *zero,
                                  enum dtype type)
{
    if (dtype_is_float(type)) {
        if (y && zero)
            y = v_add(c, y, build_cast(c->b, zero, y->type));
        return attr_int(c, "saturate", 1) ? build_cast(c->b, y, type)
                                          : build_cast_wrap(c->b, y, type);
    }
    double low, high;
    limits_of(type, &low, &high);
    y = build_unary(c->b, OP_round, y);
    if (y && zero)
        y = v_add(c, y, build_cast(c->b, zero, y->type));
    struct value *highest = v_number(c, y, high);
    y = lower_clip_values(c, y, v_number(c, y, low), highest);
    return build_cast(c->b, y, type);
}

static int quantized_axis(struct call *c, const struct value *x)
{
    return x->rank == 0 ? 0 : call_axis(c, attr_int(c, "axis", x->rank > 1 ? 1 : 0), x->rank);
}

bool lower_quantize(struct call *c)
{
    struct value *x = c->in[0], *scale = c->in[1], *zero = c->in[2];
    int axis = quantized_axis(c, x);
    int64_t block = attr_int(c, "block_size", 0);
    enum dtype to = attr_dtype(c, "output_dtype", zero ? zero->type : DT_U8);
    if (axis < 0)
        return false;
    if (zero && to != zero->type)
        return call_error(c, "output_dtype is not the type of its zero point");
    enum dtype real = x->type == DT_F64 ? DT_F64 : DT_F32;
    struct value *s = build_cast(c->b, spread(c, scale, x, axis, block), real);
    struct value *y = v_div(c, build_cast(c->b, x, real), s);
    return call_result(c, to_quantized(c, y, zero ? spread(c, zero, x, axis, block) : NULL, to));
}

bool lower_dequantize(struct call *c)
{
    struct value *x = c->in[0], *scale = c->in[1], *zero = c->in[2];
    int axis = quantized_axis(c, x);
    int64_t block = attr_int(c, "block_size", 0);
    if (axis < 0)
        return false;
    enum dtype to = attr_dtype(c, "output_dtype", scale->type);
    struct value *y = x;
    if (dtype_is_int(x->type))
        y = build_cast(c->b, y, DT_I32); /* a difference of 8-bit numbers needs 9 */
    else
        y = build_cast(c->b, y, DT_F32);
    if (zero)
        y = v_sub(c, y, build_cast(c->b, spread(c, zero, x, axis, block), y->type));
    struct value *factor = build_cast(c->b, spread(c, scale, x, axis, block), DT_F32);
    y = v_mul(c, build_cast(c->b, y, DT_F32), factor);
    return call_result(c, build_cast(c->b, y, to));
}

/* x to u8, by its range, which always holds 0: numbers, scale, zero point. */
static void quantize_dynamically(struct call *c, struct value *x, struct value **out)
{
    struct value *zero = v_number(c, x, 0);
    uint32_t all = (1u << x->rank) - 1;
    struct value *most = v_max(c, build_reduce(c->b, OP_reduce_max, x, all, false), zero);
    struct value *least = v_min(c, build_reduce(c->b, OP_reduce_min, x, all, false), zero);
    struct value *steps = v_number(c, x, 255);
    struct value *scale = v_div(c, v_sub(c, most, least), steps);
    struct value *at = v_div(c, v_sub(c, zero, least), scale);
    /* An operand of zeros has scale 0; its zero point is 0, not NaN. */
    struct value *flat = v_eq(c, scale, zero);
    at = to_quantized(c, build_select(c->b, flat, zero, at), NULL, DT_U8);
    struct value *y = build_select(c->b, flat, zero, v_div(c, x, scale));
    out[0] = to_quantized(c, y, at, DT_U8);
    out[1] = scale;
    out[2] = at;
}

bool lower_dynamic_quantize(struct call *c)
{
    struct value *q[3];
    quantize_dynamically(c, c->in[0], q);
    for (int i = 0; i < c->n_out && i < 3; i++)
        c->out[i] = q[i];
    return q[0] && q[1] && q[2];
}

/* x - zero in i32; zero has one element, or one per index of x's axis `axis`. */
static struct value *centered(struct call *c, struct value *x, struct value *zero, int axis)
{
    struct value *wide = build_cast(c->b, x, DT_I32);
    if (!zero)
        return wide;
    /* QLinearMatMul may give a zero point per row in x's own rank. */
    struct value *z = zero->rank > 1 ? zero : spread(c, zero, x, axis, 0);
    return v_sub(c, wide, build_cast(c->b, z, DT_I32));
}

bool lower_matmul_integer(struct call *c)
{
    struct value *x = c->in[0], *y = c->in[1];
    struct value *a = centered(c, x, c->in[2], x->rank > 1 ? x->rank - 2 : 0);
    struct value *b = centered(c, y, c->in[3], y->rank - 1);
    return call_result(c, build_matmul(c->b, a, b, DT_I32));
}

bool lower_conv_integer(struct call *c)
{
    struct value *filter = centered(c, c->in[1], c->in[3], 0);
    return call_result(c, convolve(c, centered(c, c->in[0], c->in[2], 0), filter, DT_I32));
}

/* Inputs of QLinear*: x, its scale and zero point, the same of w, then scale and zero of the
 * result. */
bool lower_qlinear_matmul(struct call *c)
{
    struct value *x = c->in[0], *w = c->in[3];
    int row = x->rank > 1 ? x->rank - 2 : 0;
    struct value *right = centered(c, w, c->in[5], w->rank - 1);
    struct value *y = build_matmul(c->b, centered(c, x, c->in[2], row), right, DT_I32);
    struct value *xs = c->in[1]->rank > 1 ? c->in[1] : spread(c, c->in[1], x, row, 0);
    struct value *ws = c->in[4]->rank > 1 ? c->in[4] : spread(c, c->in[4], w, w->rank - 1, 0);
    struct value *result_scale = build_cast(c->b, spread(c, c->in[6], x, row, 0), DT_F32);
    struct value *w_scale = build_cast(c->b, ws, DT_F32);
    struct value *factor = v_div(c, v_mul(c, build_cast(c->b, xs, DT_F32), w_scale), result_scale);
    struct value *real = v_mul(c, build_cast(c->b, y, DT_F32), factor);
    return call_result(c, to_quantized(c, real, spread(c, c->in[7], x, row, 0), c->in[7]->type));
}

bool lower_qlinear_conv(struct call *c)
{
    struct value *x = c->in[0], *w = c->in[3];
    struct value *filter = centered(c, w, c->in[5], 0);
    struct value *y = convolve(c, centered(c, x, c->in[2], 0), filter, DT_I32);
    if (!y)
        return false;
    if (c->in[8])
        y = v_add(c, y, spread(c, c->in[8], x, 1, 0));
    struct value *result_scale = spread(c, c->in[6], x, 1, 0);
    struct value *w_scale = spread(c, c->in[4], x, 1, 0);
    struct value *factor = v_div(c, v_mul(c, spread(c, c->in[1], x, 1, 0), w_scale), result_scale);
    struct value *real = v_mul(c, build_cast(c->b, y, DT_F32), factor);
    return call_result(c, to_quantized(c, real, spread(c, c->in[7], x, 1, 0), c->in[7]->type));
}

/* x as real numbers; inputs i, i + 1, i + 2 are x, its scale and its zero point. */
static struct value *real_input(struct call *c, int i, int axis)
{
    struct value *x = c->in[i], *wide = centered(c, x, c->in[i + 2], axis);
    struct value *scale = spread(c, c->in[i + 1], x, axis, 0);
    return v_mul(c, build_cast(c->b, wide, DT_F32), scale);
}

/* y to the type of the zero point in input i + 1, with the scale in input i. */
static bool quantized_result(struct call *c, struct value *y, int i)
{
    struct value *zero = c->in[i + 1];
    enum dtype type = zero ? zero->type : c->in[0]->type;
    y = v_div(c, y, spread(c, c->in[i], c->in[0], 0, 0));
    return call_result(c, to_quantized(c, y, spread(c, zero, c->in[0], 0, 0), type));
}

/* ONNX Runtime's elementwise operators on quantized numbers: x + y and x * y. */
bool lower_qlinear_binary(struct call *c)
{
    struct value *other = real_input(c, 3, 0);
    return quantized_result(c, build_binary(c->b, c->row->variant, real_input(c, 0, 0), other), 6);
}

bool lower_qlinear_global_average(struct call *c)
{
    struct value *x = c->in[0];
    bool last = attr_int(c, "channels_last", 0) != 0;
    if (x->rank < 3)
        return call_error(c, "its operand has rank %d", x->rank);
    uint32_t axes = last ? ((1u << (x->rank - 1)) - 1) & ~1u : ((1u << x->rank) - 1) & ~3u;
    return quantized_result(c, build_mean(c->b, real_input(c, 0, 0), axes, true), 3);
}

/* alpha * x * w + bias, where the bias is in units of alpha * both scales. */
bool lower_qgemm(struct call *c)
{
    struct value *x = c->in[0], *w = c->in[3], *y;
    bool turned = attr_int(c, "transB", 0) != 0;
    if (x->rank != 2 || w->rank != 2)
        return call_error(c, "operands of rank %d and %d, not 2", x->rank, w->rank);
    struct value *a = centered(c, x, c->in[2], 0), *b = centered(c, w, c->in[5], turned ? 0 : 1);
    a = attr_int(c, "transA", 0) ? build_transpose(c->b, a, (int[]){1, 0}) : a;
    b = turned ? build_transpose(c->b, b, (int[]){1, 0}) : b;
    y = build_matmul(c->b, a, b, DT_I32);
    if (c->in[6])
        y = v_add(c, y, c->in[6]);
    struct value *b_scale = spread(c, c->in[4], x, 1, 0);
    struct value *factor = v_mul(c, spread(c, c->in[1], x, 1, 0), b_scale);
    y = v_mul(c, build_cast(c->b, y, DT_F32), factor);
    y = v_mul_number(c, y, attr_float(c, "alpha", 1));
    return c->in[7] ? quantized_result(c, y, 7) : call_result(c, y);
}

/* Bytes […, n] of two 4-bit numbers each, low half first: u8 […, 2 n]. */
static struct value *unpack_nibbles(struct call *c, struct value *v)
{
    static const uint8_t shifts[2] = {0, 4};
    const struct dim *pairs[MAX_RANK], *flat[MAX_RANK];
    int rank = v ? v->rank : 0;
    if (rank < 1 || rank >= MAX_RANK)
        return NULL;
    for (int i = 0; i < rank; i++)
        pairs[i] = flat[i] = v->shape[i];
    pairs[rank] = d_const(c, 2);
    flat[rank - 1] = D(mul, flat[rank - 1], pairs[rank]);
    struct value *shift = build_constant(c->b, DT_U8, 1, (const int64_t[]){2}, shifts, NULL);
    v = build_expand(c->b, build_unsqueeze(c->b, v, 1u << rank), rank + 1, pairs);
    struct value *mask = build_int(c->b, DT_U8, 15);
    v = v_and(c, build_binary(c->b, OP_shr, v, shift), mask);
    return build_reshape(c->b, v, rank, flat);
}

/* x [..., K] times weights [N, K] that are stored as 4-bit numbers in blocks along K. */
bool lower_matmul_nbits(struct call *c)
{
    struct value *x = c->in[0], *zero = c->in[3];
    int64_t k = attr_int(c, "K", 0), n = attr_int(c, "N", 0), block = attr_int(c, "block_size", 0);
    if (attr_int(c, "bits", 4) != 4 || c->in[4])
        return call_unsupported(c, "weights of other than 4 bits, or in groups");
    if (k < 1 || n < 1 || block < 1 || k > INT32_MAX || n > INT32_MAX || block > INT32_MAX)
        return call_error(c, "K, N or block_size is missing");
    int64_t blocks = (k + block - 1) / block;
    const struct dim *shape[3] = {d_const(c, n), d_const(c, blocks), d_const(c, block)};
    const struct dim *per_block[3] = {shape[0], shape[1], d_const(c, 1)};
    const struct dim *flat[2] = {shape[0], d_const(c, blocks * block)};
    struct value *w = unpack_nibbles(
        c, build_reshape(c->b, c->in[1], 3,
                         (const struct dim *[]){shape[0], shape[1], d_const(c, (block + 1) / 2)}));
    w = build_cast(c->b, w, DT_F32);
    if (zero && zero->type == DT_U8) {
        /* packed as well, each row of blocks filled up to a byte */
        const struct dim *packed[2] = {shape[0], d_const(c, (blocks + 1) / 2)};
        zero = unpack_nibbles(c, build_reshape(c->b, zero, 2, packed));
        zero = build_slice_axis(c->b, zero, 1, d_const(c, 0), shape[1]);
    }
    if (zero)
        zero = build_cast(c->b, build_reshape(c->b, zero, 3, per_block), DT_F32);
    w = v_sub(c, w, c->in[3] ? zero : v_number(c, w, 8));
    struct value *scale = build_cast(c->b, build_reshape(c->b, c->in[2], 3, per_block), DT_F32);
    w = build_reshape(c->b, v_mul(c, w, scale), 2, flat);
    w = build_slice_axis(c->b, w, 1, d_const(c, 0), d_const(c, k));
    w = build_transpose(c->b, build_cast(c->b, w, x->type), (int[]){1, 0});
    struct value *y = build_matmul(c->b, x, w, x->type);
    return call_result(c, c->in[5] ? v_add(c, y, c->in[5]) : y);
}

/* -- ONNX Runtime's operators on quantized numbers, fused ones among them -- */

bool lower_qlinear_sigmoid(struct call *c)
{
    return quantized_result(c, build_unary(c->b, OP_sigmoid, real_input(c, 0, 0)), 3);
}

bool lower_qlinear_leaky_relu(struct call *c)
{
    struct value *x = real_input(c, 0, 0);
    if (!x)
        return false;
    struct value *small = v_mul_number(c, x, attr_float(c, "alpha", 0.01f));
    return quantized_result(c, build_select(c->b, v_lt(c, x, v_number(c, x, 0)), small, x), 3);
}

/* Inputs: scale and zero point of the result, then operands with theirs. */
bool lower_qlinear_concat(struct call *c)
{
    int n = (c->n_in - 2) / 3;
    if (n < 1 || c->n_in != 2 + 3 * n)
        return call_error(c, "%d inputs", c->n_in);
    struct value **x = ARENA_ARRAY(c->b->g->arena, (size_t)n, struct value *);
    for (int i = 0; i < n; i++)
        if (!(x[i] = real_input(c, 2 + 3 * i, 0)))
            return false;
    int axis = call_axis(c, attr_int(c, "axis", 0), x[0]->rank);
    struct value *y = axis < 0 ? NULL : build_concat(c->b, n, x, axis);
    if (!y)
        return false;
    y = v_div(c, y, build_reshape(c->b, c->in[0], 0, NULL));
    struct value *zero = build_reshape(c->b, c->in[1], 0, NULL);
    return call_result(c, to_quantized(c, y, zero, c->in[1]->type));
}

/* a * b in integers, times both scales, plus the bias; b's scale and zero point may be one for each
 * column. */
static bool scaled_product(struct call *c, struct value *a, struct value *a_scale,
                           struct value *a_zero, struct value *b_scale, struct value *b_zero,
                           struct value *bias)
{
    struct value *b = c->in[1];
    if (!a || a->rank < 1 || b->rank < 2)
        return a && call_error(c, "operands of rank %d and %d", a->rank, b->rank);
    struct value *right = centered(c, b, b_zero, b->rank - 1);
    struct value *y = build_matmul(c->b, centered(c, a, a_zero, a->rank - 1), right, DT_I32);
    struct value *by_column = spread(c, b_scale, b, b->rank - 1, 0);
    struct value *factor = v_mul(c, build_reshape(c->b, a_scale, 0, NULL), by_column);
    y = v_mul(c, build_cast(c->b, y, DT_F32), factor);
    return call_result(c, bias ? v_add(c, y, bias) : y);
}

bool lower_matmul_integer_to_float(struct call *c)
{
    return scaled_product(c, c->in[0], c->in[2], c->in[4], c->in[3], c->in[5], c->in[6]);
}

/* The first operand is float, and quantized as DynamicQuantizeLinear does. */
bool lower_dynamic_quantize_matmul(struct call *c)
{
    struct value *q[3];
    quantize_dynamically(c, c->in[0], q);
    return scaled_product(c, q[0], q[1], q[2], c->in[2], c->in[3], c->in[4]);
}
