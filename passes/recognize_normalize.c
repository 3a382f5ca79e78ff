/*
 * Rows that exporters spell out in reductions and maps, as one op each:
 *
 *     (x - mean(x)) / √(mean((x - mean(x))^2) + ε)           normalize: LayerNorm, InstanceNorm, …
 *     (x - mean(x)) * rsqrt(mean(x*x) - mean(x)^2 + ε)       the same, which rounds less than asked
 *     x * rsqrt(mean(x*x) + ε)                               normalize around 0: RMSNorm
 *     x*s + (β - mean(x)*s), s = γ * rsqrt(… + ε)            normalize, times γ, plus β
 *     e / sum(e), e = exp(x - max(x)) or exp(x)              softmax
 *     d - log(sum(exp(d))), d = x - max(x) or x              log_softmax
 *     x - (log(sum(exp(x - m))) + m), m any number           the same: ReduceLogSumExp
 *
 * Means are sums times or over the number of elements. What is reduced may keep its axes or get
 * them back by a reshape; what is reduced must be spread again along the same axes. Casts between
 * floats are looked through: a row is computed in f32 at least. Scale and shift stay maps behind
 * the row, which its kernel takes along.
 */
#include "passes.h"

#include <math.h>

#include "../ir/build.h"
#include "match.h"

/* The values between a result that has been spread along a row and the reduction it came from. */
enum { MOST_STEPS = 16 };
struct chain {
    int n;
    const struct value *at[MOST_STEPS];
};

static bool push(struct chain *chain, const struct value *v)
{
    if (chain->n == MOST_STEPS)
        return false;
    chain->at[chain->n++] = v;
    return true;
}

static bool is_float_cast(const struct node *node)
{
    return node && node->op == OP_cast && dtype_is_float(node->in[0]->type) &&
           dtype_is_float(node->out[0]->type);
}

static struct value *uncast(struct value *v)
{
    while (is_float_cast(v->def))
        v = v->def->in[0];
    return v;
}

static struct value *descend(struct chain *chain, struct value *v)
{
    while (push(chain, v) && v->def &&
           (v->def->op == OP_reshape || v->def->op == OP_expand || is_float_cast(v->def)))
        v = v->def->in[0];
    return v;
}

static bool has_shape(const struct value *v, int rank, const struct dim *const *shape)
{
    bool same = v->rank == rank;
    for (int i = 0; i < rank && same; i++)
        same = v->shape[i] == shape[i];
    return same;
}

/* Is everything in the chain shaped like the reduction's operand, its result, or that with the axes
 * back as 1? Then reshapes and expands between them say the same of every element. */
static bool stays_on_axes(struct graph *g, const struct chain *chain, const struct node *reduction)
{
    const struct value *x = reduction->in[0], *y = reduction->out[0];
    const struct dim *kept[MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        kept[i] = reduction->attr.reduce_sum.axes >> i & 1 ? dim_const(g->dims, 1) : x->shape[i];
    for (int i = 0; i < chain->n; i++) {
        const struct value *v = chain->at[i];
        if (!value_same_shape(v, x) && !value_same_shape(v, y) && !has_shape(v, x->rank, kept))
            return false;
    }
    return chain->n < MOST_STEPS;
}

/* The reduction by op that v is the result of. */
static struct node *reduction_of(struct graph *g, struct chain *chain, struct value *v, enum op op)
{
    v = descend(chain, v);
    return v->def && v->def->op == op && stays_on_axes(g, chain, v->def) ? v->def : NULL;
}

/* --- Means ---------------------------------------------------------------------------------- */

static const struct dim *row_length(struct graph *g, const struct node *reduction)
{
    const struct dim *n = dim_const(g->dims, 1);
    for (int i = 0; i < reduction->in[0]->rank; i++)
        if (reduction->attr.reduce_sum.axes >> i & 1)
            n = dim_mul(g->dims, n, reduction->in[0]->shape[i]);
    return n;
}

/* Does multiplying by v (inverse: dividing by it) make a mean of the sum? */
static bool is_count(struct graph *g, struct value *v, bool inverse, const struct node *sum)
{
    const struct dim *length = row_length(g, sum);
    int64_t n;
    double number;
    if (match_uniform(v, &number))
        return dim_is_const(length, &n) &&
               match_near(v->type, inverse ? number : 1 / number, (double)n);
    v = match_spread(v);
    if (v->def && v->def->op == OP_cast)
        v = match_spread(v->def->in[0]);
    return inverse && v->def && v->def->op == OP_size && v->def->attr.size.value == length;
}

/* The sum whose mean v is. */
static struct node *mean_of(struct graph *g, struct chain *chain, struct value *v)
{
    struct value *mean = descend(chain, v);
    struct node *node = mean->def;
    if (!node || (node->op != OP_mul && node->op != OP_div))
        return NULL;
    for (int i = 0; i < (node->op == OP_mul ? 2 : 1); i++) {
        struct chain inner = *chain;
        struct node *sum = reduction_of(g, &inner, node->in[i], OP_reduce_sum);
        if (sum && is_count(g, node->in[1 - i], node->op == OP_div, sum))
            return sum;
    }
    return NULL;
}

static bool is_mean_of(struct graph *g, struct value *v, const struct value *x, uint32_t axes)
{
    struct chain chain = {0};
    const struct node *sum = mean_of(g, &chain, v);
    return sum && uncast(sum->in[0]) == x && sum->attr.reduce_sum.axes == axes;
}

/* The two factors of v, where they are the same. */
static struct value *root_of_square(struct value *v)
{
    v = uncast(v);
    return v->def && v->def->op == OP_mul && v->def->in[0] == v->def->in[1] ? v->def->in[0] : NULL;
}

/* --- Deviations ----------------------------------------------------------------------------- */

/* What is around 1 / √(variance + ε). */
struct deviation {
    struct value *x; /* without casts */
    uint32_t axes;
    double epsilon;
    bool center;
};

/* v = x - mean(x) over the axes: x as it stands there. */
static struct value *centered(struct graph *g, struct value *v, uint32_t axes)
{
    v = uncast(v);
    bool is =
        v->def && v->def->op == OP_sub && is_mean_of(g, v->def->in[1], uncast(v->def->in[0]), axes);
    return is ? v->def->in[0] : NULL;
}

/* mean(x*x) - mean(x)^2 */
static bool is_difference(struct graph *g, const struct chain *chain, struct node *node,
                          struct deviation *d)
{
    struct chain square = *chain;
    struct node *sum = mean_of(g, &square, node->in[0]);
    struct value *x = sum ? root_of_square(sum->in[0]) : NULL;
    struct value *mean = x ? root_of_square(node->in[1]) : NULL;
    if (!mean)
        return false;
    d->x = uncast(x);
    d->axes = sum->attr.reduce_sum.axes;
    d->center = true;
    return is_mean_of(g, mean, d->x, d->axes);
}

static bool is_variance(struct graph *g, struct chain *chain, struct value *v, struct deviation *d)
{
    struct chain inner = *chain;
    struct value *difference = descend(&inner, v);
    if (difference->def && difference->def->op == OP_sub)
        return is_difference(g, &inner, difference->def, d);
    struct node *sum = mean_of(g, chain, v);
    struct value *x = sum ? root_of_square(sum->in[0]) : NULL;
    if (!x)
        return false;
    struct value *operand = centered(g, x, sum->attr.reduce_sum.axes);
    d->center = operand != NULL;
    d->x = uncast(operand ? operand : x);
    d->axes = sum->attr.reduce_sum.axes;
    return true;
}

/* v to the power of 1/2, or of -1/2 (inverse): v. */
static struct value *root_operand(struct value *v, bool inverse, struct chain *chain)
{
    double number;
    v = descend(chain, v);
    if (!v->def)
        return NULL;
    switch (v->def->op) {
    case OP_sqrt: return inverse ? NULL : v->def->in[0];
    case OP_rsqrt: return inverse ? v->def->in[0] : NULL;
    case OP_pow:
        return match_uniform(v->def->in[1], &number) && number == (inverse ? -0.5 : 0.5)
                   ? v->def->in[0]
                   : NULL;
    case OP_recip: return inverse ? root_operand(v->def->in[0], false, chain) : NULL;
    case OP_div:
        return inverse && match_uniform(v->def->in[0], &number) && number == 1
                   ? root_operand(v->def->in[1], false, chain)
                   : NULL;
    default: return NULL;
    }
}

/* Is v √(variance + ε), or (inverse) its reciprocal, spread along rows? */
static bool is_deviation(struct graph *g, struct value *v, bool inverse, struct deviation *d)
{
    struct chain chain = {0};
    struct value *sum = root_operand(v, inverse, &chain);
    sum = sum ? descend(&chain, sum) : NULL;
    if (!sum || !sum->def || sum->def->op != OP_add)
        return false;
    for (int i = 0; i < 2; i++) {
        struct chain inner = chain;
        if (match_uniform(sum->def->in[i], &d->epsilon) && d->epsilon >= 0 &&
            is_variance(g, &inner, sum->def->in[1 - i], d))
            return true;
    }
    return false;
}

/* The operand of normalize, for a numerator that fits the deviation. */
static struct value *numerator(struct graph *g, struct value *v, const struct deviation *d)
{
    if (!d->center)
        return uncast(v) == d->x ? v : NULL;
    struct value *x = centered(g, v, d->axes);
    return x && uncast(x) == d->x ? x : NULL;
}

/* --- Rows, by their last node ----------------------------------------------------------------- */

static bool replace(struct builder *b, struct node *last, const struct deviation *d,
                    struct value *x, struct value *scale, struct value *shift)
{
    enum dtype type = last->out[0]->type;
    struct value *y = build_normalize(b, build_cast(b, x, type), d->axes, d->epsilon, d->center);
    if (scale)
        y = build_binary(b, OP_mul, y, scale);
    if (shift)
        y = build_binary(b, OP_add, y, shift);
    if (!y)
        return false;
    graph_remark(b->g, "recognize_normalize", last, "%s, spelled out",
                 d->center ? "mean and deviation of a row" : "root mean square of a row");
    value_replace_uses(b->g, last->out[0], y);
    return true;
}

static bool recognize_quotient(struct builder *b, struct node *node)
{
    struct deviation d;
    bool inverse = node->op == OP_mul;
    for (int i = inverse ? 0 : 1; i < 2; i++) {
        struct value *x = NULL;
        if (is_deviation(b->g, node->in[i], inverse, &d))
            x = numerator(b->g, node->in[1 - i], &d);
        if (x)
            return replace(b, node, &d, x, NULL, NULL);
    }
    return false;
}

/* x*s + (β - mean*s) with s = γ * 1/deviation. */
static bool recognize_scaled(struct builder *b, struct node *node)
{
    for (int i = 0; i < 2; i++) {
        const struct node *product = node->in[i]->def, *rest = node->in[1 - i]->def;
        const struct node *offset = rest && rest->op == OP_sub ? rest->in[1]->def : NULL;
        if (!product || product->op != OP_mul || !offset || offset->op != OP_mul)
            continue;
        for (int k = 0; k < 8; k++) { /* which operand of which product is meant */
            struct value *s = product->in[k & 1], *x = product->in[1 - (k & 1)];
            struct value *mean = offset->in[k >> 1 & 1];
            struct deviation d;
            if (offset->in[1 - (k >> 1 & 1)] != s || !s->def || s->def->op != OP_mul)
                continue;
            if (is_deviation(b->g, s->def->in[k >> 2], true, &d) && d.center && uncast(x) == d.x &&
                is_mean_of(b->g, mean, d.x, d.axes))
                return replace(b, node, &d, x, s->def->in[1 - (k >> 2)], rest->in[0]);
        }
    }
    return false;
}

/* x - max(x): x, and the axes of the maximum. */
static struct value *below_greatest(struct graph *g, const struct value *v, uint32_t *axes)
{
    struct chain chain = {0};
    if (!v->def || v->def->op != OP_sub)
        return NULL;
    const struct node *greatest = reduction_of(g, &chain, v->def->in[1], OP_reduce_max);
    if (!greatest || uncast(greatest->in[0]) != uncast(v->def->in[0]))
        return NULL;
    *axes = greatest->attr.reduce_max.axes;
    return v->def->in[0];
}

/* Is v, with what the chain has seen of it, the sum of `powers` over the axes, spread again? */
static bool is_sum_of(struct graph *g, struct chain chain, struct value *v,
                      const struct value *powers, uint32_t axes)
{
    const struct node *sum = reduction_of(g, &chain, v, OP_reduce_sum);
    return sum && uncast(sum->in[0]) == powers && sum->attr.reduce_sum.axes == axes;
}

static bool replace_softmax(struct builder *b, struct node *last, struct value *x, uint32_t axes,
                            bool log)
{
    struct value *y = build_softmax(b, build_cast(b, x, last->out[0]->type), axes, log);
    if (!y)
        return false;
    graph_remark(b->g, "recognize_normalize", last, "%s, spelled out",
                 log ? "log_softmax" : "softmax");
    value_replace_uses(b->g, last->out[0], y);
    return true;
}

/* e / sum(e) with e = exp(x), which nothing else reads: x, and the axes of the sum. The function is
 * the same; where exp(x) overflows or is 0 all along a row, the op is right where the spelling is
 * NaN. */
static struct value *exponents(struct graph *g, struct chain chain, const struct value *e,
                               struct value *spread, uint32_t *axes)
{
    const struct node *sum = reduction_of(g, &chain, spread, OP_reduce_sum);
    int readers = 0;
    for (const struct use *use = e->uses; use; use = use->next)
        readers++;
    if (!sum || uncast(sum->in[0]) != e || readers != 2 || e->is_output)
        return NULL;
    *axes = sum->attr.reduce_sum.axes;
    return e->def->in[0];
}

/* e / sum(e), or e * (1 / sum(e)), with e = exp(x - max(x)) or exp(x) */
static bool recognize_softmax(struct builder *b, struct node *node)
{
    for (int i = 0; i < (node->op == OP_mul ? 2 : 1); i++) {
        struct value *e = uncast(node->in[i]), *sum = node->in[1 - i];
        struct chain chain = {0};
        uint32_t axes;
        if (!e->def || e->def->op != OP_exp)
            continue;
        struct value *x = below_greatest(b->g, uncast(e->def->in[0]), &axes);
        if (node->op == OP_mul) {
            sum = descend(&chain, sum); /* the quotient is spread as the sum has to be */
            sum = sum->def && sum->def->op == OP_recip ? sum->def->in[0] : NULL;
        }
        if (sum && !x)
            x = exponents(b->g, chain, e, sum, &axes);
        if (x && sum && is_sum_of(b->g, chain, sum, e, axes))
            return replace_softmax(b, node, x, axes, false);
    }
    return false;
}

/* d - log(sum(exp(d))) with d = x - max(x) */
static bool recognize_log_softmax(struct builder *b, struct node *node)
{
    uint32_t axes;
    struct chain chain = {0};
    struct value *d = uncast(node->in[0]), *x = below_greatest(b->g, d, &axes);
    struct value *log = x ? descend(&chain, node->in[1]) : NULL;
    if (!log || !log->def || log->def->op != OP_log)
        return false;
    const struct node *sum = reduction_of(b->g, &chain, log->def->in[0], OP_reduce_sum);
    struct value *e = sum ? uncast(sum->in[0]) : NULL;
    return e && e->def && e->def->op == OP_exp && uncast(e->def->in[0]) == d &&
           sum->attr.reduce_sum.axes == axes && replace_softmax(b, node, x, axes, true);
}

/* Do both lead to one value with an element per row, as the sum has? */
static bool is_same_shift(struct graph *g, struct value *a, struct value *b, const struct node *sum)
{
    struct chain chain = {0};
    const struct value *from = descend(&chain, a);
    return from == descend(&chain, b) && stays_on_axes(g, &chain, sum) &&
           !value_same_shape(from, sum->in[0]);
}

/* x - (log(sum(exp(x - m))) + m) with any m that a row has one of, or x - log(sum(exp(x))): m
 * changes nothing but which exponents overflow. */
static bool recognize_log_sum(struct builder *b, struct node *node)
{
    struct chain outer = {0};
    struct value *x = uncast(node->in[0]), *total = descend(&outer, node->in[1]);
    bool shifted = total->def && total->def->op == OP_add;
    for (int i = 0; i < (shifted ? 2 : 1); i++) {
        struct chain chain = outer;
        struct value *log = shifted ? descend(&chain, total->def->in[i]) : total;
        if (!log->def || log->def->op != OP_log)
            continue;
        const struct node *sum = reduction_of(b->g, &chain, log->def->in[0], OP_reduce_sum);
        const struct node *power = sum ? uncast(sum->in[0])->def : NULL;
        struct value *d = power && power->op == OP_exp ? uncast(power->in[0]) : NULL;
        bool fits = !shifted && d == x;
        if (d && shifted && d->def && d->def->op == OP_sub)
            fits = uncast(d->def->in[0]) == x &&
                   is_same_shift(b->g, d->def->in[1], total->def->in[1 - i], sum);
        if (fits)
            return replace_softmax(b, node, x, sum->attr.reduce_sum.axes, true);
    }
    return false;
}

static bool recognize(struct graph *g, struct node *node)
{
    struct builder b = {g, node};
    if (op_info[node->op].class != OC_SCALAR || !dtype_is_float(node->out[0]->type))
        return false;
    switch (node->op) {
    case OP_mul:
    case OP_div: return recognize_quotient(&b, node) || recognize_softmax(&b, node);
    case OP_add: return recognize_scaled(&b, node);
    case OP_sub: return recognize_log_softmax(&b, node) || recognize_log_sum(&b, node);
    default: return false;
    }
}

bool pass_recognize_normalize(struct graph *g)
{
    return pass_each_node(g, recognize) && (pass_remove_dead(g), true);
}
