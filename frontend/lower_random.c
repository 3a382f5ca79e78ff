/*
 * Random numbers. They come from the op `random`, a function of a position and a key, so a plan
 * gives the same numbers in every run: those of the node's seed or, without one, of a key that is
 * the number of such nodes before it, so that no two nodes share a sequence. No other generator's
 * numbers are reproduced.
 */
#include "import.h"

#include <string.h>

/* The node's key: its seed's bits, or its number above 32 bits, where no float's bits reach. */
static uint64_t key_of(struct call *c)
{
    if (!attr_given(c, "seed"))
        return (uint64_t)++c->import->n_unseeded << 32;
    float seed = (float)attr_float(c, "seed", 0);
    uint32_t bits;
    memcpy(&bits, &seed, sizeof bits);
    return bits;
}

/*
 * Numbers in [0, 1), all that the type (f32 or f64) holds of an even grid: number i is made of bits
 * streams * i + stream, so that several streams of a key are independent.
 */
static struct value *uniform(struct call *c, enum dtype type, int rank,
                             const struct dim *const *shape, uint64_t key, int stream, int streams)
{
    const struct dim *n = d_const(c, 1);
    int digits = type == DT_F64 ? 53 : 24;
    for (int i = 0; i < rank; i++)
        n = D(mul, n, shape[i]);
    struct value *i = build_iota(c->b, DT_U64, 1, &n, 0);
    i = v_add_number(c, v_mul_number(c, i, streams), stream);
    struct value *bits = build_binary(c->b, OP_random, i, build_int(c->b, DT_U64, (int64_t)key));
    bits = build_binary(c->b, OP_shr, bits, build_int(c->b, DT_U64, 64 - digits));
    struct value *x = build_cast(c->b, build_cast(c->b, bits, DT_I64), type);
    x = build_reshape(c->b, x, rank, shape);
    return x ? v_mul_number(c, x, 1.0 / (double)(INT64_C(1) << digits)) : NULL;
}

/* By G. Box and M. Muller's method, which takes two uniform numbers for a normal one. */
static struct value *normal(struct call *c, enum dtype type, int rank,
                            const struct dim *const *shape, uint64_t key)
{
    struct value *u = uniform(c, type, rank, shape, key, 0, 2);
    struct value *angle = uniform(c, type, rank, shape, key, 1, 2);
    if (!u || !angle)
        return NULL;
    struct value *above_0 = build_binary(c->b, OP_sub, v_number(c, u, 1), u);
    struct value *square = v_mul_number(c, build_unary(c->b, OP_log, above_0), -2);
    struct value *wave = build_unary(c->b, OP_cos, v_mul_number(c, angle, 6.283185307179586));
    return v_mul(c, build_unary(c->b, OP_sqrt, square), wave);
}

/* The type to compute in. */
static enum dtype wide_type(enum dtype type)
{
    return type == DT_F64 ? DT_F64 : DT_F32;
}

/* RandomNormal, RandomUniform and their …Like: of the shape in an attribute or of the input. */
bool lower_random(struct call *c)
{
    const int64_t *sizes;
    const struct dim *given[MAX_RANK], *const *shape = given;
    struct value *like = c->n_in > 0 ? c->in[0] : NULL;
    int rank = like ? like->rank : attr_ints(c, "shape", &sizes);
    enum dtype type = attr_dtype(c, "dtype", like ? like->type : DT_F32);
    if (rank > MAX_RANK)
        return call_unsupported(c, "a result of rank %d", rank);
    if (c->failed || !dtype_is_float(type))
        return call_error(c, "its result must be float");
    for (int i = 0; !like && i < rank; i++) {
        if (sizes[i] < 0)
            return call_error(c, "size %lld", (long long)sizes[i]);
        given[i] = d_const(c, sizes[i]);
    }
    if (like)
        shape = like->shape;
    bool is_normal = c->row->variant == RANDOM_NORMAL;
    double low = is_normal ? attr_float(c, "mean", 0) : attr_float(c, "low", 0);
    double scale = is_normal ? attr_float(c, "scale", 1) : attr_float(c, "high", 1) - low;
    uint64_t key = key_of(c);
    struct value *x = is_normal ? normal(c, wide_type(type), rank, shape, key)
                                : uniform(c, wide_type(type), rank, shape, key, 0, 1);
    if (!x)
        return false;
    return call_result(c, build_cast(c->b, v_add_number(c, v_mul_number(c, x, scale), low), type));
}

/* 1 with the probability that the input gives. */
bool lower_bernoulli(struct call *c)
{
    struct value *p = v_widen(c, c->in[0]);
    enum dtype type = attr_dtype(c, "dtype", c->in[0]->type);
    if (!p || !dtype_is_float(p->type))
        return call_error(c, "its input must be float");
    struct value *u = uniform(c, p->type, p->rank, p->shape, key_of(c), 0, 1);
    return call_result(c, build_cast(c->b, v_lt(c, u, p), type));
}

/* Classes drawn with probabilities that are softmax of the input: the number of those classes that
 * end, in the cumulative sum, before a uniform number. */
bool lower_multinomial(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    int64_t samples = attr_int(c, "sample_size", 1);
    enum dtype type = attr_dtype(c, "dtype", DT_I32);
    if (!x || x->rank != 2 || !dtype_is_float(x->type))
        return call_error(c, "its input must be float and of rank 2");
    if (samples < 1 || (type != DT_I32 && type != DT_I64))
        return call_error(c, "sample_size must be positive and dtype int32 or int64");
    const struct dim *shape[] = {x->shape[0], d_const(c, samples), d_const(c, 1)};
    struct value *p = build_softmax(c->b, x, 2, false);
    union attr attr = {.scan_sum = {1, false, false}};
    struct value *ends = p ? build_tensor(c->b, OP_scan_sum, 1, &p, &attr) : NULL;
    struct value *u = uniform(c, x->type, 3, shape, key_of(c), 0, 1);
    struct value *passed = v_le(c, build_unsqueeze(c->b, ends, 2), u);
    struct value *drawn =
        build_reduce(c->b, OP_reduce_sum, build_cast(c->b, passed, DT_I64), 4, false);
    /* Rounding may leave the last end below 1. */
    drawn = v_min(c, drawn, build_dim(c->b, D(sub, x->shape[1], d_const(c, 1))));
    return call_result(c, build_cast(c->b, drawn, type));
}

/* In training, elements become 0 with the probability `ratio`, and the others grow as much as keeps
 * the mean. The mode may be known when the plan runs only: then all is computed, and chosen from.
 */
bool lower_dropout(struct call *c)
{
    struct value *x = c->in[0], *training = c->in[2];
    int64_t known[MAX_ELEMENTS];
    if (c->opset < 7 && !attr_int(c, "is_test", 0))
        return call_unsupported(c, "training mode of opset %d", (int)c->opset);
    struct value *mask = build_expand(c->b, build_int(c->b, DT_BOOL, 1), x->rank, x->shape);
    c->out[0] = x;
    if (training && !(call_known(c, 2, known) == 1 && !known[0])) {
        struct value *wide = v_widen(c, x);
        if (!wide)
            return false;
        struct value *ratio =
            c->in[1] ? build_cast(c->b, c->in[1], wide->type) : build_float(c->b, wide->type, 0.5);
        uint64_t key = attr_given(c, "seed") ? (uint64_t)attr_int(c, "seed", 0) : key_of(c);
        struct value *u = uniform(c, wide->type, x->rank, x->shape, key, 0, 1);
        ratio = build_reshape(c->b, ratio, 0, NULL);
        struct value *drawn = v_le(c, ratio, u); /* one by one, in an order that is known */
        mask = v_or(c, drawn, v_not(c, training));
        struct value *rest = build_binary(c->b, OP_sub, v_number(c, wide, 1), ratio);
        struct value *scaled = build_cast(c->b, v_div(c, wide, rest), x->type);
        struct value *kept = build_select(c->b, mask, scaled, v_number(c, x, 0));
        c->out[0] = build_select(c->b, training, kept, x);
    }
    if (call_wants(c, 1))
        c->out[1] = c->opset < 10 ? build_cast(c->b, mask, x->type) : mask;
    return c->out[0] != NULL && mask != NULL;
}
