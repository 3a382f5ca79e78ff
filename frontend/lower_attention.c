/* Attention and rotary embedding, composed of contractions, softmax and views. */
#include "attention.h"

#include <float.h>
#include <math.h>

/* Inputs of Attention. */
enum { QUERY, KEY, VALUE, MASK, PAST_KEY, PAST_VALUE, NONPAD };

struct value *split_heads(struct call *c, struct value *x, int64_t heads)
{
    if (x->rank == 4)
        return x;
    if (x->rank != 3 || heads < 1)
        return call_error(c, "an operand of rank %d with %lld heads", x->rank, (long long)heads),
               NULL;
    const struct dim *h = d_const(c, heads);
    const struct dim *d[4] = {x->shape[0], x->shape[1], h, D(floordiv, x->shape[2], h)};
    return build_transpose(c->b, build_reshape(c->b, x, 4, d), (int[]){0, 2, 1, 3});
}

struct value *merge_heads(struct call *c, struct value *x)
{
    x = build_transpose(c->b, x, (int[]){0, 2, 1, 3});
    if (!x)
        return NULL;
    const struct dim *d[3] = {x->shape[0], x->shape[1], D(mul, x->shape[2], x->shape[3])};
    return build_reshape(c->b, x, 3, d);
}

struct value *repeat_heads(struct call *c, struct value *x, const struct dim *heads)
{
    if (!x || x->shape[1] == heads)
        return x;
    const struct dim *wide[5] = {x->shape[0], x->shape[1], D(floordiv, heads, x->shape[1]),
                                 x->shape[2], x->shape[3]};
    const struct dim *joined[4] = {x->shape[0], heads, x->shape[2], x->shape[3]};
    x = build_expand(c->b, build_unsqueeze(c->b, x, 1u << 2), 5, wide);
    return build_reshape(c->b, x, 4, joined);
}

struct value *attention_scores(struct call *c, struct value *q, struct value *k, enum dtype type)
{
    struct value *keys =
        build_transpose(c->b, repeat_heads(c, k, q->shape[1]), (int[]){0, 1, 3, 2});
    struct value *score = build_matmul(c->b, q, keys, type);
    double scale = attr_float(c, "scale", 0);
    if (scale != 0)
        return v_mul_number(c, score, scale);
    struct value *size = build_cast(c->b, build_dim(c->b, q->shape[3]), type);
    return v_mul(c, score, build_unary(c->b, OP_rsqrt, size));
}

/* cap * tanh(score / cap), where attribute `softcap` asks for it. */
static struct value *capped(struct call *c, struct value *score)
{
    double cap = attr_float(c, "softcap", 0);
    if (cap <= 0)
        return score;
    return v_mul_number(c, build_unary(c->b, OP_tanh, v_mul_number(c, score, 1 / cap)), cap);
}

struct value *keep_where(struct call *c, struct value *keep, struct value *score)
{
    return build_select(c->b, keep, score, v_number(c, score, -(double)INFINITY));
}

/* A mask shorter than the keys hides the rest. */
static struct value *pad_mask(struct call *c, struct value *mask, const struct dim *keys)
{
    const struct dim *low[MAX_RANK], *high[MAX_RANK], *zero = d_const(c, 0);
    for (int i = 0; i < mask->rank; i++)
        low[i] = high[i] = zero;
    if (mask->rank < 1)
        return mask;
    high[mask->rank - 1] = D(max, D(sub, keys, mask->shape[mask->rank - 1]), zero);
    if (dim_is(high[mask->rank - 1], 0))
        return mask;
    struct value *fill =
        mask->type == DT_BOOL ? build_int(c->b, DT_BOOL, 0) : v_number(c, mask, -(double)INFINITY);
    return build_pad(c->b, mask, low, high, PAD_CONSTANT, fill);
}

/* Applies mask, causality and lengths to scores [B, H, queries, keys]. */
static struct value *masked(struct call *c, struct value *score)
{
    if (!score)
        return NULL;
    const struct dim *keys = score->shape[3], *plane[2] = {score->shape[2], keys};
    struct value *mask = c->in[MASK] ? pad_mask(c, c->in[MASK], keys) : NULL;
    if (mask && mask->type == DT_BOOL)
        score = keep_where(c, mask, score);
    else if (mask)
        score = v_add(c, score, build_cast(c->b, mask, score->type));
    if (attr_int(c, "is_causal", 0)) {
        struct value *row = build_iota(c->b, DT_I64, 2, plane, 0);
        struct value *column = build_iota(c->b, DT_I64, 2, plane, 1);
        if (c->in[PAST_KEY]) {
            row = v_add(c, row, build_dim(c->b, c->in[PAST_KEY]->shape[2]));
        } else if (c->in[NONPAD]) { /* the last query meets the last key that is no padding */
            struct value *length =
                build_cast(c->b, build_unsqueeze(c->b, c->in[NONPAD], 0xe), DT_I64);
            row = v_add(c, row, v_sub(c, length, build_dim(c->b, score->shape[2])));
        }
        score = keep_where(c, v_le(c, column, row), score);
    }
    if (c->in[NONPAD]) {
        struct value *column = build_iota(c->b, DT_I64, 1, &keys, 0);
        struct value *length = build_unsqueeze(c->b, c->in[NONPAD], 0xe);
        score = keep_where(c, v_lt(c, column, build_cast(c->b, length, DT_I64)), score);
    }
    return score;
}

/* Softmax of scores, where a query that sees no key has no weights: its row is 0, not NaN. */
static struct value *probabilities(struct call *c, struct value *score)
{
    if (!score || (!c->in[MASK] && !c->in[NONPAD]))
        return score ? build_softmax(c->b, score, 1u << 3, false) : NULL;
    /* The lowest number weighs as little as -inf, unless all are that low. */
    double lowest = score->type == DT_F64 ? -DBL_MAX : -(double)FLT_MAX;
    struct value *p =
        build_softmax(c->b, v_max(c, score, v_number(c, score, lowest)), 1u << 3, false);
    struct value *hidden = v_eq(c, score, v_number(c, score, -(double)INFINITY));
    return build_select(c->b, hidden, v_number(c, score, 0), p);
}

struct value *with_past(struct call *c, struct value *now, struct value *past)
{
    return past && now ? build_concat(c->b, 2, (struct value *[]){past, now}, 2) : now;
}

struct value *attend(struct call *c, struct value *score, struct value *v)
{
    if (!score || !v)
        return NULL;
    struct value *p = build_cast(c->b, build_softmax(c->b, score, 1u << 3, false), v->type);
    return build_matmul(c->b, p, repeat_heads(c, v, score->shape[1]), v->type);
}

bool lower_attention(struct call *c)
{
    enum { RAW, SOFTCAPPED, WITH_MASK, PROBABILITY };
    int64_t heads = attr_int(c, "q_num_heads", 0), kv_heads = attr_int(c, "kv_num_heads", 0);
    struct value *q = split_heads(c, c->in[QUERY], heads);
    struct value *k = with_past(c, split_heads(c, c->in[KEY], kv_heads), c->in[PAST_KEY]);
    struct value *v = with_past(c, split_heads(c, c->in[VALUE], kv_heads), c->in[PAST_VALUE]);
    if (!q || !k || !v)
        return false;
    enum dtype type = q->type, wide = type == DT_F64 ? DT_F64 : DT_F32;
    c->out[1] = k;
    c->out[2] = v;

    struct value *score = attention_scores(c, q, k, wide);
    int64_t mode = attr_int(c, "qk_matmul_output_mode", RAW);
    struct value *report = score;
    score = capped(c, score);
    report = mode == SOFTCAPPED ? score : report;
    score = masked(c, score);
    report = mode == WITH_MASK ? score : report;
    score = probabilities(c, score);
    report = mode == PROBABILITY ? score : report;
    if (call_wants(c, 3))
        c->out[3] = build_cast(c->b, report, type);

    enum dtype v_type = v->type;
    struct value *values = repeat_heads(c, v, q->shape[1]);
    struct value *y = build_matmul(c->b, build_cast(c->b, score, v_type), values, type);
    return call_result(c, c->in[QUERY]->rank == 3 ? merge_heads(c, y) : y);
}

/* x[…, start :: step] along the last axis, `size` elements. */
static struct value *last_axis(struct call *c, struct value *x, const struct dim *start,
                               int64_t stride, const struct dim *size)
{
    const struct dim *from[MAX_RANK], *step[MAX_RANK], *count[MAX_RANK];
    if (!x)
        return NULL;
    for (int i = 0; i < x->rank; i++) {
        bool last = i == x->rank - 1;
        from[i] = last ? start : d_const(c, 0);
        step[i] = d_const(c, last ? stride : 1);
        count[i] = last ? size : x->shape[i];
    }
    return build_slice(c->b, x, from, step, count);
}

/* Rows of a cache of cosines or sines, in a shape that broadcasts to x; `axis` is that of the
 * heads. */
static struct value *rotary_cache(struct call *c, struct value *cache, int axis, enum dtype type)
{
    if (c->in[3])
        cache = build_gather(c->b, cache, c->in[3], 0);
    if (cache && cache->rank != 3)
        return call_error(c, "a cache of rank %d", cache->rank), NULL;
    return build_cast(c->b, build_unsqueeze(c->b, cache, 1u << axis), type);
}

struct value *rotate(struct call *c, struct value *x, struct value *cosine, struct value *sine,
                     const struct dim *size, bool interleaved)
{
    if (!x || !cosine || !sine)
        return NULL;
    const struct dim *zero = d_const(c, 0), *half = D(floordiv, size, d_const(c, 2));
    struct value *wide = build_cast(c->b, x, cosine->type);
    struct value *a = last_axis(c, wide, zero, interleaved ? 2 : 1, half);
    struct value *b =
        last_axis(c, wide, interleaved ? d_const(c, 1) : half, interleaved ? 2 : 1, half);
    struct value *pair[2] = {v_mul(c, cosine, a)};
    pair[0] = v_sub(c, pair[0], v_mul(c, sine, b));
    pair[1] = v_mul(c, sine, a);
    pair[1] = v_add(c, pair[1], v_mul(c, cosine, b));
    const struct dim *d[4] = {x->shape[0], x->shape[1], x->shape[2], size};
    for (int i = 0; i < 2 && interleaved; i++)
        pair[i] = build_unsqueeze(c->b, pair[i], 1u << 4);
    if (!pair[0] || !pair[1])
        return NULL;
    struct value *y = build_concat(c->b, 2, pair, interleaved ? 4 : 3);
    y = build_cast(c->b, build_reshape(c->b, y, 4, d), x->type);
    if (size == x->shape[3])
        return y;
    struct value *rest = last_axis(c, x, size, 1, D(sub, x->shape[3], size));
    return y && rest ? build_concat(c->b, 2, (struct value *[]){y, rest}, 3) : NULL;
}

bool lower_rotary_embedding(struct call *c)
{
    struct value *x = c->in[0];
    int64_t heads = attr_int(c, "num_heads", 0), turned = attr_int(c, "rotary_embedding_dim", 0);
    int axis = x->rank == 4 ? 1 : 2;
    if (x->rank == 3 && heads > 0) {
        const struct dim *h = d_const(c, heads);
        const struct dim *d[4] = {x->shape[0], x->shape[1], h, D(floordiv, x->shape[2], h)};
        x = build_reshape(c->b, x, 4, d);
    }
    if (!x || x->rank != 4)
        return !x ? false : call_error(c, "its operand has rank %d", x->rank);
    enum dtype type = x->type == DT_F64 ? DT_F64 : DT_F32;
    struct value *sine = rotary_cache(c, c->in[2], axis, type);
    struct value *y =
        rotate(c, x, rotary_cache(c, c->in[1], axis, type), sine,
               turned > 0 ? d_const(c, turned) : x->shape[3], attr_int(c, "interleaved", 0) != 0);
    return call_result(c, build_reshape(c->b, y, c->in[0]->rank, c->in[0]->shape));
}

/* Third number `part` of [B, S, 3 * width], as heads. */
static struct value *packed_part(struct call *c, struct value *qkv, int part, int64_t heads)
{
    if (!qkv)
        return NULL;
    const struct dim *width = D(floordiv, qkv->shape[2], d_const(c, 3));
    return split_heads(c, build_slice_axis(c->b, qkv, 2, D(mul, width, d_const(c, part)), width),
                       heads);
}

/* ONNX Runtime's Attention: one product gives query, key and value. Its mask is one length per row
 * of the batch, or one number per key. */
bool lower_packed_attention(struct call *c)
{
    struct value *x = c->in[0], *mask = c->in[3];
    int64_t heads = attr_int(c, "num_heads", 0);
    if (c->in[4] || c->in[6] || attr_given(c, "qkv_hidden_sizes") || call_wants(c, 1))
        return call_unsupported(c, "past keys, or sizes that differ");
    if (x->rank != 3 || (mask && mask->rank != 1 && mask->rank != 2))
        return call_unsupported(c, "an operand of rank %d, or a mask of another kind", x->rank);
    struct value *qkv = build_matmul(c->b, x, c->in[1], x->type);
    if (c->in[2])
        qkv = v_add(c, qkv, c->in[2]);
    struct value *q = packed_part(c, qkv, 0, heads), *k = packed_part(c, qkv, 1, heads);
    struct value *v = packed_part(c, qkv, 2, heads);
    if (!q || !k || !v)
        return false;
    struct value *score = attention_scores(c, q, k, DT_F32);
    if (c->in[5])
        score = v_add(c, score, build_cast(c->b, c->in[5], DT_F32));
    const struct dim *keys = x->shape[1], *plane[2] = {keys, keys};
    if (mask && mask->rank == 1) {
        struct value *column = build_iota(c->b, mask->type, 1, &keys, 0);
        score = keep_where(c, v_lt(c, column, build_unsqueeze(c->b, mask, 0xe)), score);
    } else if (mask) {
        struct value *seen = v_lt(c, v_number(c, mask, 0), mask);
        score = keep_where(c, build_unsqueeze(c->b, seen, 6), score);
    }
    if (attr_int(c, "unidirectional", 0)) {
        struct value *row = build_iota(c->b, DT_I64, 2, plane, 0);
        score = keep_where(c, v_le(c, build_iota(c->b, DT_I64, 2, plane, 1), row), score);
    }
    score = score ? build_cast(c->b, build_softmax(c->b, score, 1u << 3, false), x->type) : NULL;
    return call_result(c, merge_heads(c, build_matmul(c->b, score, v, x->type)));
}

/* Inputs of ONNX Runtime's GroupQueryAttention behind query, key, value. */
enum { GQA_PAST_KEY = 3, GQA_PAST_VALUE, GQA_LAST, GQA_TOTAL, GQA_COSINE, GQA_SINE, GQA_PLACES };

/* Keys or values [B, h, S, D] written behind each row's own past, at `place` i64 [B, 1, S, 1]. */
static struct value *append_to_cache(struct call *c, struct value *past, struct value *now,
                                     struct value *place)
{
    if (!past || !now || !place)
        return now;
    const struct dim *zero = d_const(c, 0), *low[4] = {zero, zero, zero, zero};
    const struct dim *high[4] = {zero, zero, now->shape[2], zero};
    struct value *room = build_pad(c->b, past, low, high, PAD_CONSTANT, v_number(c, past, 0));
    struct value *operands[3] = {room, build_expand(c->b, place, 4, now->shape), now};
    union attr attr = {.scatter_elements = {2, COMBINE_NONE}};
    return room ? build_tensor(c->b, OP_scatter_elements, 3, operands, &attr) : NULL;
}

/* Rows of the angles' cache at places [B, 1, S, 1]: f32 [B, 1, S, D / 2]. */
static struct value *angles_at(struct call *c, int input, struct value *place)
{
    struct value *row = build_squeeze(c->b, place, 10);
    struct value *v = row ? build_gather(c->b, c->in[input], row, 0) : NULL;
    return build_cast(c->b, build_unsqueeze(c->b, v, 2), DT_F32);
}

/* Query, key and value as heads; packed in one operand where the others are omitted. */
static void read_heads(struct call *c, int64_t heads, int64_t kv_heads, struct value **v)
{
    const struct dim *at = d_const(c, 0);
    for (int i = 0; i < 3; i++) {
        struct value *x = c->in[i];
        if (!c->in[1]) {
            const struct dim *size =
                D(mul, D(floordiv, c->in[0]->shape[2], d_const(c, heads + 2 * kv_heads)),
                  d_const(c, i ? kv_heads : heads));
            x = build_slice_axis(c->b, c->in[0], 2, at, size);
            at = D(add, at, size);
        }
        v[i] = x ? split_heads(c, x, i ? kv_heads : heads) : NULL;
    }
}

/*
 * Causal attention with a cache of keys and values. Row b has seqlens_k[b] + 1 keys in all, the new
 * ones last. Past and present are buffers of their own: present has room for both.
 */
bool lower_group_query_attention(struct call *c)
{
    int64_t heads = attr_int(c, "num_heads", 0), kv_heads = attr_int(c, "kv_num_heads", 0);
    int64_t window = attr_int(c, "local_window_size", -1);
    struct value *part[3];
    if (c->in[0]->rank != 3 || heads < 1 || kv_heads < 1 || !c->in[GQA_LAST])
        return call_error(c, "its operand has rank %d, or a count of heads is missing",
                          c->in[0]->rank);
    if (c->n_in > GQA_PLACES || attr_given(c, "smooth_softmax"))
        return call_unsupported(c, "positions, biases or sinks of its own");
    read_heads(c, heads, kv_heads, part);
    if (!part[0] || !part[1] || !part[2])
        return false;
    const struct dim *queries = c->in[0]->shape[1], *batch = c->in[0]->shape[0];
    const struct dim *row_shape[1] = {batch};
    struct value *last =
        build_cast(c->b, build_reshape(c->b, c->in[GQA_LAST], 1, row_shape), DT_I64);
    struct value *count = build_dim(c->b, queries);
    struct value *past = v_sub(c, v_add_number(c, last, 1), count);
    past = build_unsqueeze(c->b, v_max(c, past, v_number(c, past, 0)), 14);
    const struct dim *place_shape[4] = {batch, d_const(c, 1), queries, d_const(c, 1)};
    struct value *place = v_add(c, build_iota(c->b, DT_I64, 4, place_shape, 2), past);
    for (int i = 0; i < 2 && attr_int(c, "do_rotary", 0); i++) {
        if (!c->in[GQA_COSINE] || !c->in[GQA_SINE])
            return call_error(c, "its cosines or sines are missing");
        struct value *cosine = angles_at(c, GQA_COSINE, place);
        if (!cosine)
            return false;
        part[i] = rotate(c, part[i], cosine, angles_at(c, GQA_SINE, place),
                         D(mul, cosine->shape[3], d_const(c, 2)),
                         attr_int(c, "rotary_interleaved", 0) != 0);
    }
    const struct dim *total = call_dim(c, GQA_TOTAL);
    struct value *k = append_to_cache(c, c->in[GQA_PAST_KEY], part[1], place);
    struct value *v = append_to_cache(c, c->in[GQA_PAST_VALUE], part[2], place);
    if (!total || !part[0] || !k || !v ||
        !graph_constrain(c->b->g, MUST_EQUAL, k->shape[2], total,
                         "%s: past and new keys must make up the total", c->b->g->origin))
        return false;
    c->out[1] = k;
    c->out[2] = v;
    struct value *score = capped(c, attention_scores(c, part[0], k, DT_F32));
    struct value *column = build_iota(c->b, DT_I64, 1, &k->shape[2], 0);
    score = keep_where(c, v_le(c, column, place), score);
    if (window > 0)
        score = keep_where(c, v_lt(c, v_add_number(c, place, -(double)window), column), score);
    score = score ? build_softmax(c->b, score, 1u << 3, false) : NULL;
    struct value *values = repeat_heads(c, v, d_const(c, heads));
    struct value *y = build_matmul(c->b, build_cast(c->b, score, v->type), values, v->type);
    return call_result(c, merge_heads(c, y));
}

/* The tensor that a subgraph in attribute `name`, of one input and one output, makes of x. */
static struct value *modified(struct call *c, const char *name, struct value *x)
{
    const Onnx__AttributeProto *a = call_attr(c, name, ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH);
    struct value *y = NULL;
    if (!a || !x)
        return x;
    if (a->g->n_input != 1 || a->g->n_output != 1)
        return call_error(c, "%s must have one input and one output", name), NULL;
    if (!call_inline_graph(c, a->g, 1, &x, 1, &y))
        return NULL;
    if (y->type != x->type || y->rank != x->rank)
        return call_error(c, "%s changes the type or the rank", name), NULL;
    return y;
}

/* Attention whose scores and probabilities pass through subgraphs of the model. */
bool lower_flex_attention(struct call *c)
{
    struct value *q = c->in[QUERY], *k = c->in[KEY], *v = c->in[VALUE];
    for (int i = 0; i < 3; i++)
        if (c->in[i]->rank != 4)
            return call_error(c, "operand %d has rank %d, not 4", i, c->in[i]->rank);
    enum dtype type =
        attr_dtype(c, "softmax_precision", dtype_size(q->type) > 4 ? q->type : DT_F32);
    if (c->failed)
        return false;
    struct value *score = modified(c, "score_mod", attention_scores(c, q, k, type));
    struct value *p = score ? build_softmax(c->b, score, 1u << 3, false) : NULL;
    p = modified(c, "prob_mod", p);
    struct value *values = build_cast(c->b, repeat_heads(c, v, q->shape[1]), type);
    return call_result(c, build_cast(c->b, build_matmul(c->b, p, values, type), v->type));
}
