/* Normalizations and softmax. */
#include "window.h"

/* A vector of C elements beside [N, C, D…]: [C, 1, …]. */
static struct value *per_channel(struct call *c, struct value *v, int rank)
{
    if (!v)
        return NULL;
    if (v->rank != 1)
        return call_error(c, "an operand per channel has rank %d", v->rank), NULL;
    return rank > 2 ? build_unsqueeze(c->b, v, ((1u << (rank - 2)) - 1) << 1) : v;
}

static struct value *f32_or_wider(struct call *c, struct value *v)
{
    return v && v->type != DT_F64 ? build_cast(c->b, v, DT_F32) : v;
}

static struct value *rsqrt_of(struct call *c, struct value *variance, double epsilon)
{
    return build_unary(c->b, OP_rsqrt, v_add_number(c, variance, epsilon));
}

/* mean((x - mean)^2) */
static struct value *variance_of(struct call *c, struct value *x, struct value *mean, uint32_t axes)
{
    struct value *d = v_sub(c, x, mean);
    return build_mean(c->b, v_mul(c, d, d), axes, true);
}

/* Running statistics of training mode: old * momentum + new * (1 - momentum), of shape [C]. */
static struct value *running(struct call *c, struct value *old, struct value *now, double momentum,
                             uint32_t axes)
{
    if (!now)
        return NULL;
    enum dtype type = old->type;
    now = build_squeeze(c->b, now, axes);
    struct value *fresh = v_mul_number(c, now, 1 - momentum);
    struct value *v = v_add(c, v_mul_number(c, f32_or_wider(c, old), momentum), fresh);
    return build_cast(c->b, v, type);
}

/* x * s + t with s = scale / sqrt(var + epsilon): in this form it folds into a convolution. */
bool lower_batch_norm(struct call *c)
{
    struct value *x = f32_or_wider(c, c->in[0]), *stat[4];
    int rank = c->in[0]->rank;
    double epsilon = attr_float(c, "epsilon", (double)1e-5f);
    double momentum = attr_float(c, "momentum", (double)0.9f);
    if (rank < 2)
        return call_error(c, "its operand has rank %d", rank);
    if (c->opset < 9 && !attr_int(c, "spatial", 1))
        return call_unsupported(c, "spatial=0");
    if (c->opset < 7 && !attr_int(c, "is_test", 0))
        return call_unsupported(c, "training mode");
    for (int i = 0; i < 4; i++)
        stat[i] = build_cast(c->b, per_channel(c, c->in[1 + i], rank), x->type);
    struct value *mean = stat[2], *variance = stat[3];
    if (c->opset >= 14 && attr_int(c, "training_mode", 0)) {
        uint32_t axes = ((1u << rank) - 1) & ~2u;
        mean = build_mean(c->b, x, axes, true);
        variance = variance_of(c, x, mean, axes);
        c->out[1] = running(c, c->in[3], mean, momentum, axes);
        c->out[2] = running(c, c->in[4], variance, momentum, axes);
    } else if (call_wants(c, 1)) {
        return call_unsupported(c, "statistics as outputs outside of training mode");
    }
    struct value *s = v_mul(c, stat[0], rsqrt_of(c, variance, epsilon));
    struct value *t = v_sub(c, stat[1], v_mul(c, mean, s));
    return call_result(c, build_cast(c->b, v_add(c, v_mul(c, x, s), t), c->in[0]->type));
}

/* y * scale + bias in y's type; without a bias where it is omitted. */
static struct value *scale_shift(struct call *c, struct value *y, struct value *scale,
                                 struct value *bias)
{
    if (!y)
        return NULL;
    enum dtype type = y->type;
    y = v_mul(c, y, build_cast(c->b, scale, type));
    return bias ? v_add(c, y, build_cast(c->b, bias, type)) : y;
}

bool lower_instance_norm(struct call *c)
{
    struct value *x = f32_or_wider(c, c->in[0]);
    int rank = c->in[0]->rank;
    if (rank < 3)
        return call_error(c, "its operand has rank %d", rank);
    struct value *y = build_normalize(c->b, x, ((1u << rank) - 1) & ~3u,
                                      attr_float(c, "epsilon", (double)1e-5f), true);
    struct value *scale = per_channel(c, c->in[1], rank), *bias = per_channel(c, c->in[2], rank);
    if (!scale || !bias)
        return false;
    return call_result(c, build_cast(c->b, scale_shift(c, y, scale, bias), c->in[0]->type));
}

/* [N, C, D…] seen as [N, G, C / G, D…]. Opset 18 scales groups, 21 channels. */
bool lower_group_norm(struct call *c)
{
    struct value *x = f32_or_wider(c, c->in[0]);
    int rank = c->in[0]->rank;
    int64_t groups = attr_int(c, "num_groups", 0);
    if (rank < 2 || rank + 1 > MAX_RANK)
        return call_error(c, "its operand has rank %d", rank);
    if (groups < 1)
        return call_error(c, "num_groups is %lld", (long long)groups);
    const struct dim *split[MAX_RANK] = {c->in[0]->shape[0], d_const(c, groups)};
    split[2] = D(floordiv, c->in[0]->shape[1], split[1]);
    for (int i = 2; i < rank; i++)
        split[i + 1] = c->in[0]->shape[i];
    struct value *y = build_reshape(c->b, x, rank + 1, split);
    y = build_normalize(c->b, y, ((1u << (rank + 1)) - 1) & ~3u,
                        attr_float(c, "epsilon", (double)1e-5f), true);
    bool per_group = c->opset < 21;
    int scale_rank = per_group ? rank + 1 : rank;
    struct value *scale = per_channel(c, c->in[1], scale_rank);
    struct value *bias = per_channel(c, c->in[2], scale_rank);
    if (!scale || !bias)
        return false;
    if (per_group)
        y = scale_shift(c, y, scale, bias);
    y = build_reshape(c->b, y, rank, c->in[0]->shape);
    if (!per_group)
        y = scale_shift(c, y, scale, bias);
    return call_result(c, build_cast(c->b, y, c->in[0]->type));
}

/* Axes from `axis` to the last; 0 after reporting. */
static uint32_t axes_from(struct call *c, int64_t otherwise)
{
    int rank = c->in[0]->rank, axis = call_axis(c, attr_int(c, "axis", otherwise), rank);
    return axis < 0 ? 0 : ((1u << rank) - 1) & ~((1u << axis) - 1);
}

bool lower_layer_norm(struct call *c)
{
    uint32_t axes = axes_from(c, -1);
    double epsilon = attr_float(c, "epsilon", (double)1e-5f);
    if (!axes)
        return false;
    struct value *x = f32_or_wider(c, c->in[0]);
    struct value *y =
        scale_shift(c, build_normalize(c->b, x, axes, epsilon, true), c->in[1], c->in[2]);
    c->out[0] = build_cast(c->b, y, c->in[0]->type);
    if (call_wants(c, 1) || call_wants(c, 2)) {
        struct value *mean = build_mean(c->b, x, axes, true);
        struct value *deviation = rsqrt_of(c, variance_of(c, x, mean, axes), epsilon);
        enum dtype stash = attr_dtype(c, "stash_type", DT_F32);
        c->out[1] = build_cast(c->b, mean, stash);
        c->out[2] = build_cast(c->b, deviation, stash);
    }
    return c->out[0];
}

bool lower_rms_norm(struct call *c)
{
    uint32_t axes = axes_from(c, -1);
    if (!axes)
        return false;
    struct value *y = build_normalize(c->b, f32_or_wider(c, c->in[0]), axes,
                                      attr_float(c, "epsilon", (double)1e-5f), false);
    return call_result(c, build_cast(c->b, scale_shift(c, y, c->in[1], NULL), c->in[0]->type));
}

/* x / norm(x), and 0 where the norm is 0. */
bool lower_lp_norm(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    int axis = call_axis(c, attr_int(c, "axis", -1), x->rank);
    int64_t p = attr_int(c, "p", 2);
    if (axis < 0)
        return false;
    if (p != 1 && p != 2)
        return call_error(c, "p is %lld", (long long)p);
    struct value *term = p == 1 ? build_unary(c->b, OP_abs, x) : v_mul(c, x, x);
    struct value *norm = build_reduce(c->b, OP_reduce_sum, term, 1u << axis, true);
    if (p == 2)
        norm = build_unary(c->b, OP_sqrt, norm);
    struct value *zero = v_number(c, x, 0);
    struct value *quotient = v_div(c, x, norm);
    struct value *y = build_select(c->b, v_eq(c, norm, zero), zero, quotient);
    return call_result(c, build_cast(c->b, y, c->in[0]->type));
}

bool lower_mean_variance(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    static const int64_t usual[] = {0, 2, 3};
    const int64_t *given;
    int n = attr_ints(c, "axes", &given);
    uint32_t axes;
    if (!call_axes(c, n ? n : 3, n ? given : usual, x->rank, &axes))
        return false;
    struct value *mean = build_mean(c->b, x, axes, true);
    struct value *deviation = build_unary(c->b, OP_sqrt, variance_of(c, x, mean, axes));
    struct value *scale = v_add_number(c, deviation, 1e-9);
    struct value *y = v_div(c, v_sub(c, x, mean), scale);
    return call_result(c, build_cast(c->b, y, c->in[0]->type));
}

/*
 * x / (bias + alpha * mean of x^2 over `size` neighbouring channels) ^ beta, where channels outside
 * count as zeros: a mean pool over [N, 1, C, D…].
 */
bool lower_lrn(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    int64_t size = attr_int(c, "size", 0);
    int n = x->rank - 1;
    if (x->rank < 2 || x->rank + 1 > MAX_RANK)
        return call_error(c, "its operand has rank %d", x->rank);
    if (size < 1 || size > INT32_MAX)
        return call_error(c, "size is %lld", (long long)size);
    struct ints kernel = {.n = n}, ones = {.n = n};
    const struct dim *low[MAX_RANK], *high[MAX_RANK];
    for (int i = 0; i < n; i++) {
        kernel.v[i] = i ? 1 : size;
        ones.v[i] = 1;
        low[i] = d_const(c, i ? 0 : (size - 1) / 2);
        high[i] = d_const(c, i ? 0 : size / 2);
    }
    union attr attr = {.pool_mean = {kernel, ones, ones, call_dims_copy(c, n, low),
                                     call_dims_copy(c, n, high), call_dims_copy(c, n, x->shape + 1),
                                     true}};
    struct value *square = build_unsqueeze(c->b, v_mul(c, x, x), 2);
    struct value *mean = square ? build_tensor(c->b, OP_pool_mean, 1, &square, &attr) : NULL;
    if (!mean)
        return false;
    mean = build_squeeze(c->b, mean, 2);
    struct value *base =
        v_add_number(c, v_mul_number(c, mean, attr_float(c, "alpha", (double)0.0001f)),
                     attr_float(c, "bias", 1));
    struct value *power =
        build_binary(c->b, OP_pow, base, v_number(c, x, -attr_float(c, "beta", 0.75)));
    return call_result(c, build_cast(c->b, v_mul(c, x, power), c->in[0]->type));
}

/* 1 where x is first at its maximum along the axis, else 0. */
static struct value *hardmax(struct call *c, struct value *x, int axis)
{
    if (!x)
        return NULL;
    struct value *index = build_iota(c->b, DT_I64, x->rank, x->shape, axis);
    struct value *most = build_arg(c->b, OP_arg_max, x, axis, false, true);
    return build_cast(c->b, v_eq(c, index, most), x->type);
}

/* Before opset 13, all axes from `axis` on were one. */
bool lower_softmax_flat(struct call *c)
{
    struct value *x = c->in[0];
    uint32_t axes = axes_from(c, 1);
    if (!axes)
        return false;
    if (c->row->variant != OP_arg_max)
        return call_result(c, build_softmax(c->b, x, axes, c->row->variant == OP_log_softmax));
    const struct dim *flat[2] = {d_const(c, 1), d_const(c, 1)};
    for (int i = 0; i < x->rank; i++) {
        const struct dim **to = &flat[axes >> i & 1];
        *to = D(mul, *to, x->shape[i]);
    }
    struct value *y = hardmax(c, build_reshape(c->b, x, 2, flat), 1);
    return call_result(c, build_reshape(c->b, y, x->rank, x->shape));
}

bool lower_softmax(struct call *c)
{
    struct value *x = c->in[0];
    int axis = call_axis(c, attr_int(c, "axis", -1), x->rank);
    if (axis < 0)
        return false;
    if (c->row->variant == OP_arg_max)
        return call_result(c, hardmax(c, x, axis));
    return call_result(c, build_softmax(c->b, x, 1u << axis, c->row->variant == OP_log_softmax));
}

/* Layer (or RMS) normalization over the last axis, then scale and bias, as one value. */
static struct value *normalized(struct call *c, struct value *x, struct value *scale,
                                struct value *bias, bool center)
{
    if (!x)
        return NULL;
    struct value *y = build_normalize(c->b, f32_or_wider(c, x), 1u << (x->rank - 1),
                                      attr_float(c, "epsilon", (double)1e-12f), center);
    return build_cast(c->b, scale_shift(c, y, scale, bias), x->type);
}

/* ONNX Runtime's x + skip (+ bias), normalized; variant 0 has no mean and no beta. Result 3 is the
 * sum. */
bool lower_skip_norm(struct call *c)
{
    bool center = c->row->variant == NORM_LAYER;
    struct value *bias = c->in[center ? 4 : 3];
    if (c->in[0]->rank < 1)
        return call_error(c, "its operand is a scalar");
    if (call_wants(c, 1) || call_wants(c, 2))
        return call_unsupported(c, "its mean and deviation as outputs");
    struct value *sum = v_add(c, c->in[0], c->in[1]);
    if (bias)
        sum = v_add(c, sum, bias);
    if (call_wants(c, 3))
        c->out[3] = sum;
    return call_result(c, normalized(c, sum, c->in[2], center ? c->in[3] : NULL, center));
}

/* ONNX Runtime's sum of word, position and segment embeddings, normalized. */
bool lower_embed_norm(struct call *c)
{
    struct value *ids = c->in[0], *segments = c->in[1], *mask = c->in[7], *places = c->in[8];
    if (ids->rank != 2 || !c->in[2] || !c->in[3] || !c->in[5] || !c->in[6])
        return call_error(c, "its ids have rank %d, or a table or scale is missing", ids->rank);
    struct value *position = c->in[3], *sum = build_gather(c->b, c->in[2], ids, 0);
    position = places ? build_gather(c->b, position, places, 0)
                      : build_slice_axis(c->b, position, 0, d_const(c, 0), ids->shape[1]);
    sum = v_add(c, sum, position);
    if (segments && c->in[4])
        sum = v_add(c, sum, build_gather(c->b, c->in[4], segments, 0));
    const struct dim *batch = ids->shape[0];
    c->out[1] = mask ? build_reduce(c->b, OP_reduce_sum, mask, 2, false)
                     : build_expand(c->b, build_int(c->b, DT_I32, 0), 1, &batch);
    c->out[2] = sum;
    return call_result(c, normalized(c, sum, c->in[5], c->in[6], true));
}
