/*
 * Operators of ONNX Runtime's own domain that its optimizer and its generators put into models:
 * attention over separate operands, its rotary embedding, and operators fused with what follows
 * them.
 */
#include "attention.h"

#include <string.h>

/* -- MultiHeadAttention -- */

enum { QUERY, KEY, VALUE, BIAS, KEY_MASK, SCORE_BIAS, PAST_KEY, PAST_VALUE, PAST_LENGTH };

/* Part `part` of the bias of query, key and value: [width]. */
static struct value *add_bias(struct call *c, struct value *x, const struct dim **at)
{
    if (!c->in[BIAS] || !x || x->rank != 3)
        return x;
    struct value *part = build_slice_axis(c->b, c->in[BIAS], 0, *at, x->shape[2]);
    *at = D(add, *at, x->shape[2]);
    return v_add(c, x, part);
}

/* Part `part` of x [B, S, N, parts, H], as heads: [B, N, S, H]. */
static struct value *packed_heads(struct call *c, struct value *x, int part)
{
    struct value *one = build_slice_axis(c->b, x, 3, d_const(c, part), d_const(c, 1));
    one = build_squeeze(c->b, one, 1u << 3);
    return one ? build_transpose(c->b, one, (int[]){0, 2, 1, 3}) : NULL;
}

/* Query, key and value as [B, N, S, H]: three operands, or two or three of them packed in one. */
static bool read_heads(struct call *c, int64_t heads, struct value **part)
{
    struct value *q = c->in[QUERY], *k = c->in[KEY];
    const struct dim *at = d_const(c, 0);
    if (q->rank == 5 || (k && k->rank == 5)) {
        bool all = q->rank == 5;
        if (c->in[BIAS])
            return call_unsupported(c, "a bias of packed operands");
        part[0] = all ? packed_heads(c, q, 0) : split_heads(c, q, heads);
        part[1] = packed_heads(c, all ? q : k, all ? 1 : 0);
        part[2] = packed_heads(c, all ? q : k, all ? 2 : 1);
    } else if (k && c->in[VALUE]) {
        for (int i = 0; i < 3; i++) {
            struct value *x = add_bias(c, c->in[i], &at);
            part[i] = x ? split_heads(c, x, heads) : NULL;
        }
    } else {
        return call_error(c, "its key or value is missing");
    }
    return part[0] && part[1] && part[2];
}

/* Adds the filter value where a key does not count: a number of keys for each row of the batch, or
 * a number (0: it does not) for each key, or for each pair of query and key. */
static struct value *filter_keys(struct call *c, struct value *score)
{
    struct value *mask = c->in[KEY_MASK], *keep;
    const struct dim *keys = score->shape[3];
    if (!mask)
        return score;
    if (mask->rank == 1 && mask->shape[0] == score->shape[0]) {
        struct value *column = build_iota(c->b, mask->type, 1, &keys, 0);
        keep = v_lt(c, column, build_unsqueeze(c->b, mask, 0xe));
    } else if (mask->rank == 2 || mask->rank == 3) {
        keep = v_not(c, v_eq(c, mask, v_number(c, mask, 0)));
        keep = build_unsqueeze(c->b, keep, mask->rank == 2 ? 6 : 2);
    } else {
        return call_unsupported(c, "a mask of rank %d", mask->rank), NULL;
    }
    struct value *filter = v_number(c, score, attr_float(c, "mask_filter_value", -10000));
    return v_add(c, score, build_select(c->b, keep, v_number(c, score, 0), filter));
}

bool lower_multi_head_attention(struct call *c)
{
    int64_t heads = attr_int(c, "num_heads", 0);
    struct value *part[3] = {NULL};
    if (c->n_in > PAST_LENGTH && (c->in[PAST_LENGTH] || c->n_in > PAST_LENGTH + 1))
        return call_unsupported(c, "a cache that is shared by past and present");
    if (!read_heads(c, heads, part))
        return false;
    struct value *k = with_past(c, part[1], c->in[PAST_KEY]);
    struct value *v = with_past(c, part[2], c->in[PAST_VALUE]);
    if (!k || !v)
        return false;
    c->out[1] = k;
    c->out[2] = v;
    struct value *score = attention_scores(c, part[0], k, DT_F32);
    if (!score)
        return false;
    if (call_wants(c, 3))
        c->out[3] = build_cast(c->b, score, v->type);
    if (c->in[SCORE_BIAS])
        score = v_add(c, score, build_cast(c->b, c->in[SCORE_BIAS], DT_F32));
    score = score ? filter_keys(c, score) : NULL;
    if (attr_int(c, "unidirectional", 0) && score) {
        const struct dim *plane[2] = {score->shape[2], score->shape[3]};
        struct value *row = build_iota(c->b, DT_I64, 2, plane, 0);
        row = v_add(c, row, build_dim(c->b, D(sub, plane[1], plane[0])));
        score = keep_where(c, v_le(c, build_iota(c->b, DT_I64, 2, plane, 1), row), score);
    }
    return call_result(c, merge_heads(c, attend(c, score, v)));
}

/* -- RotaryEmbedding: its angles come from a cache, at positions that are given or follow one. --
 */

static struct value *angles(struct call *c, struct value *cache, const struct dim *batch,
                            const struct dim *length, int axis)
{
    const struct dim *shape[2] = {batch, length};
    struct value *place = build_cast(c->b, c->in[1], DT_I64);
    if (place && place->rank == 1) {
        place = build_unsqueeze(c->b, place, 2);
        place = v_add(c, build_iota(c->b, DT_I64, 2, shape, 1), place);
    }
    struct value *v = build_gather(c->b, cache, place, 0);
    return build_cast(c->b, build_unsqueeze(c->b, v, 1u << axis), DT_F32);
}

bool lower_rotary_embedding_at(struct call *c)
{
    struct value *x = c->in[0], *cosine = c->in[2];
    int64_t heads = attr_int(c, "num_heads", 0), turned = attr_int(c, "rotary_embedding_dim", 0);
    bool apart = x->rank == 4; /* [B, N, S, H], else [B, S, N * H] */
    if ((x->rank != 3 && !apart) || cosine->rank != 2)
        return call_error(c, "operands of rank %d and %d", x->rank, cosine->rank);
    if (attr_int(c, "is_packed_batching", 0) || attr_float(c, "scale", 1) != 1)
        return call_unsupported(c, "packed batches, or a scale");
    const struct dim *width = D(mul, cosine->shape[1], d_const(c, 2)); /* that is turned */
    const struct dim *size = apart       ? x->shape[3]
                             : heads > 0 ? D(floordiv, x->shape[2], d_const(c, heads))
                                         : width;
    if (turned > 0)
        width = d_const(c, turned);
    if (!apart) {
        const struct dim *d[4] = {x->shape[0], x->shape[1], D(floordiv, x->shape[2], size), size};
        x = build_reshape(c->b, x, 4, d);
    }
    if (!x)
        return false;
    const struct dim *length = x->shape[apart ? 2 : 1];
    struct value *sine = angles(c, c->in[3], x->shape[0], length, apart ? 1 : 2);
    struct value *y = rotate(c, x, angles(c, cosine, x->shape[0], length, apart ? 1 : 2), sine,
                             width, attr_int(c, "interleaved", 0) != 0);
    return call_result(c, build_reshape(c->b, y, c->in[0]->rank, c->in[0]->shape));
}

/* -- Operators fused with others -- */

/* x * sigmoid(alpha * x) */
bool lower_quick_gelu(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    struct value *gate = v_mul_number(c, x, attr_float(c, "alpha", 1.702f));
    struct value *y = v_mul(c, x, build_unary(c->b, OP_sigmoid, gate));
    return call_result(c, build_cast(c->b, y, c->in[0]->type));
}

/* alpha * x * y, of which either may be transposed. */
bool lower_fused_matmul(struct call *c)
{
    struct value *x[2];
    if (attr_int(c, "transBatchA", 0) || attr_int(c, "transBatchB", 0))
        return call_unsupported(c, "transposed batches");
    for (int i = 0; i < 2; i++) {
        int perm[MAX_RANK], rank = c->in[i]->rank;
        x[i] = c->in[i];
        if (!attr_int(c, i ? "transB" : "transA", 0) || rank < 2)
            continue;
        for (int k = 0; k < rank; k++)
            perm[k] = k < rank - 2 ? k : 2 * rank - 3 - k;
        x[i] = build_transpose(c->b, x[i], perm);
    }
    if (c->in[0]->type != c->in[1]->type)
        return call_error(c, "its operands differ in type");
    struct value *y = build_matmul(c->b, x[0], x[1], c->in[0]->type);
    return y && call_result(c, v_mul_number(c, y, attr_float(c, "alpha", 1)));
}

static struct value *leaky_relu(struct call *c, struct value *x, double slope)
{
    struct value *bent = v_mul_number(c, x, slope);
    return build_select(c->b, v_lt(c, x, v_number(c, x, 0)), bent, x);
}

static struct value *clip(struct call *c, struct value *x, double low, double high)
{
    struct value *most = v_number(c, x, high);
    return lower_clip_values(c, x, v_number(c, x, low), most);
}

/* What attribute `activation` names, with its two numbers, of x. */
static struct value *activated(struct call *c, struct value *x, double a, double b)
{
    const char *name = attr_string(c, "activation", "");
    if (!x || !*name)
        return x;
    if (!strcmp(name, "Relu"))
        return v_max(c, x, v_number(c, x, 0));
    if (!strcmp(name, "Tanh"))
        return build_unary(c->b, OP_tanh, x);
    if (!strcmp(name, "Sigmoid"))
        return build_unary(c->b, OP_sigmoid, x);
    if (!strcmp(name, "LeakyRelu"))
        return leaky_relu(c, x, a);
    if (!strcmp(name, "Clip"))
        return clip(c, x, a, b);
    if (!strcmp(name, "HardSigmoid"))
        return clip(c, v_add_number(c, v_mul_number(c, x, a), b), 0, 1);
    return call_unsupported(c, "activation '%s'", name), NULL;
}

/* activation(conv(x, w) + bias + z) */
bool lower_fused_conv(struct call *c)
{
    const Onnx__AttributeProto *a =
        call_attr(c, "activation_params", ONNX__ATTRIBUTE_PROTO__TYPE__FLOATS);
    if (!lower_conv(c))
        return false;
    struct value *y = c->in[3] ? v_add(c, c->out[0], c->in[3]) : c->out[0];
    size_t n = a ? a->n_floats : 0;
    return call_result(c, activated(c, y, n > 0 ? a->floats[0] : 0, n > 1 ? a->floats[1] : 0));
}

bool lower_fused_gemm(struct call *c)
{
    double a = attr_float(c, "activation_alpha", 0), b = attr_float(c, "activation_beta", 0);
    return lower_gemm(c) && call_result(c, activated(c, c->out[0], a, b));
}
