/*
 * LinearAttention: a state of one matrix for each head, that every token updates and every query
 * reads. A loop over the tokens; heads are an axis of the state, and the queries that share one are
 * the rows of a product with it.
 *
 *   S' = exp(decay) * S + k ⊗ u      u = beta * (v - (exp(decay) * S)ᵀ k), or v without the delta
 *   o  = scale * q S'
 */
#include "lower.h"

#include <math.h>

enum { IN_QUERY, IN_KEY, IN_VALUE, IN_STATE, IN_DECAY, IN_BETA, INPUTS };
enum rule { RULE_LINEAR, RULE_GATED, RULE_DELTA, RULE_GATED_DELTA };

struct linear_attention {
    bool gated, delta;
    const struct dim *batch, *tokens, *heads, *group; /* group: queries that share a head */
    const struct dim *key_size, *value_size;
    struct value *in[INPUTS]; /* [batch, tokens, heads, …]; the state [batch, heads, key, value] */
};

/* x [batch, tokens, heads * n] as [batch, tokens, heads, rows, columns], of the type that the state
 * is kept in. */
static struct value *by_head(struct call *c, const struct linear_attention *a, int input,
                             const struct dim *rows, const struct dim *columns)
{
    const struct dim *shape[5] = {a->batch, a->tokens, a->heads, rows, columns};
    struct value *x = v_widen(c, c->in[input]);
    const struct dim *wanted = D(mul, a->heads, D(mul, rows, columns));
    if (!x || !graph_constrain(c->b->g, MUST_EQUAL, x->shape[2], wanted,
                               "%s: the last axis of input %d", c->place, input))
        return NULL;
    return build_reshape(c->b, x, 5, shape);
}

/* Inputs in their heads. The decay is one number for a head or one for each row of its state; beta
 * is one for a head or for all heads. */
static bool read_inputs(struct call *c, struct linear_attention *a)
{
    const struct dim *one = d_const(c, 1);
    a->in[IN_QUERY] = by_head(c, a, IN_QUERY, a->group, a->key_size);
    a->in[IN_KEY] = by_head(c, a, IN_KEY, a->key_size, one);
    a->in[IN_VALUE] = by_head(c, a, IN_VALUE, one, a->value_size);
    if (a->gated) {
        bool whole = c->in[IN_DECAY]->shape[2] == a->heads;
        struct value *decay = by_head(c, a, IN_DECAY, whole ? one : a->key_size, one);
        a->in[IN_DECAY] = build_unary(c->b, OP_exp, decay);
    }
    if (a->delta) {
        struct value *beta = v_widen(c, c->in[IN_BETA]);
        const struct dim *shape[3] = {a->batch, a->tokens, a->heads};
        if (dim_is(beta->shape[2], 1))
            beta = build_expand(c->b, beta, 3, shape);
        a->in[IN_BETA] = build_unsqueeze(c->b, beta, 1u << 3 | 1u << 4);
    }
    const struct dim *state[4] = {a->batch, a->heads, a->key_size, a->value_size};
    a->in[IN_STATE] = c->in[IN_STATE] ? v_widen(c, c->in[IN_STATE])
                                      : build_expand(c->b, v_number(c, a->in[IN_KEY], 0), 4, state);
    for (int i = 0; i < INPUTS; i++)
        if (!a->in[i] && (i < IN_DECAY || (i == IN_DECAY ? a->gated : a->delta)))
            return false;
    return true;
}

static bool read_linear_attention(struct call *c, struct linear_attention *a)
{
    static const char *const rules[] = {"linear", "gated", "delta", "gated_delta", NULL};
    int rule = attr_choice(c, "update_rule", rules, RULE_GATED_DELTA);
    int64_t queries = attr_int(c, "q_num_heads", 0), heads = attr_int(c, "kv_num_heads", 0);
    if (c->failed)
        return false;
    if (queries < 1 || heads < 1 || queries % heads)
        return call_error(c, "%lld heads of queries for %lld of keys", (long long)queries,
                          (long long)heads);
    a->gated = rule == RULE_GATED || rule == RULE_GATED_DELTA;
    a->delta = rule == RULE_DELTA || rule == RULE_GATED_DELTA;
    for (int i = 0; i < INPUTS; i++) {
        const struct value *v = i < c->n_in ? c->in[i] : NULL;
        if (v && (v->rank != (i == IN_STATE ? 4 : 3) || !dtype_is_float(v->type)))
            return call_error(c, "input %d must hold floats and have rank %d", i,
                              i == IN_STATE ? 4 : 3);
        if (!v && ((i == IN_DECAY && a->gated) || (i == IN_BETA && a->delta)))
            return call_error(c, "input %d is missing for its update rule", i);
    }
    const struct value *query = c->in[IN_QUERY], *value = c->in[IN_VALUE];
    a->batch = query->shape[0];
    a->tokens = query->shape[1];
    a->heads = d_const(c, heads);
    a->group = d_const(c, queries / heads);
    a->key_size = D(floordiv, query->shape[2], d_const(c, queries));
    a->value_size = D(floordiv, value->shape[2], a->heads);
    return read_inputs(c, a);
}

/* The token's part of an input, [batch, heads, rows, columns]. */
static struct value *token(struct call *c, struct loop *loop, struct value *v)
{
    v = build_slice_axis(c->b, loop_value(c, loop, v), 1, loop->index, d_const(c, 1));
    return build_squeeze(c->b, v, 1u << 1);
}

/* Updates *state by one token; gives its output [batch, heads, group, value_size]. */
static struct value *update(struct call *c, const struct linear_attention *a, struct loop *loop,
                            struct value **state)
{
    struct value *s = *state, *key = token(c, loop, a->in[IN_KEY]);
    struct value *added = token(c, loop, a->in[IN_VALUE]);
    if (!s || !key || !added)
        return NULL;
    enum dtype type = s->type;
    if (a->gated)
        s = v_mul(c, s, token(c, loop, a->in[IN_DECAY]));
    if (a->delta) {
        struct value *row = build_transpose(c->b, key, (int[]){0, 1, 3, 2});
        added = v_sub(c, added, build_matmul(c->b, row, s, type));
        added = v_mul(c, added, token(c, loop, a->in[IN_BETA]));
    }
    *state = v_add(c, s, v_mul(c, key, added));
    return build_matmul(c->b, token(c, loop, a->in[IN_QUERY]), *state, type);
}

bool lower_linear_attention(struct call *c)
{
    struct linear_attention a = {0};
    struct loop loop;
    struct value *inside[2], *results[2];
    if (!read_linear_attention(c, &a) ||
        !loop_begin(c, &loop, a.tokens, 1, &a.in[IN_STATE], inside))
        return false;
    inside[1] = update(c, &a, &loop, &inside[0]);
    if (!loop_end(c, &loop, d_const(c, 1), 2, inside, results))
        return false;

    /* [tokens, batch, heads, group, value_size] → [batch, tokens, all heads together] */
    int64_t size;
    double scale = attr_float(c, "scale", 0);
    struct value *output = build_transpose(c->b, results[1], (int[]){1, 0, 2, 3, 4});
    const struct dim *width = D(mul, D(mul, a.heads, a.group), a.value_size);
    output = build_reshape(c->b, output, 3, (const struct dim *const[]){a.batch, a.tokens, width});
    if (scale == 0) {
        if (!dim_is_const(a.key_size, &size))
            return call_unsupported(c, "a default scale of keys whose size is not known");
        scale = 1 / sqrt((double)size);
    }
    output = v_mul_number(c, output, scale);
    c->out[0] = output ? build_cast(c->b, output, c->in[IN_QUERY]->type) : NULL;
    enum dtype kept = c->in[IN_STATE] ? c->in[IN_STATE]->type : c->in[IN_QUERY]->type;
    if (call_wants(c, 1))
        c->out[1] = build_cast(c->b, results[0], kept);
    return c->out[0] && (!call_wants(c, 1) || c->out[1]);
}
