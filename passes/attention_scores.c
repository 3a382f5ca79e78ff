/* Scores, read backwards from a softmax to the product of queries and keys. */
#include "attention.h"

#include <math.h>

enum { DEPTH = 16 };

static bool fails(struct scores *s, const char *why)
{
    s->why = s->why ? s->why : why;
    return false;
}

static bool is_float_cast(const struct node *node)
{
    return node->op == OP_cast && dtype_is_float(node->in[0]->type) &&
           dtype_is_float(node->out[0]->type);
}

/* A reshape that leaves each query's scores side by side; or the scores of one query in a column,
 * or makes a row of that. */
static bool regroups(const struct node *node)
{
    const struct value *x = node->in[0], *y = node->out[0];
    if (node->op != OP_reshape || x->rank < 2 || y->rank < 2)
        return false;
    const struct dim *from = x->shape[x->rank - 1], *to = y->shape[y->rank - 1];
    return from == to || dim_is(from, 1) || dim_is(to, 1);
}

bool scores_in_rows(const struct scores *s, int rank, const struct dim *const *shape)
{
    const struct value *x = s->spread ? s->spread : s->product->out[0];
    if (s->column)
        return dim_is(shape[rank - 2], 1) && shape[rank - 1] == s->top->shape[s->top->rank - 1];
    return shape[rank - 2] == x->shape[x->rank - 2] && shape[rank - 1] == x->shape[x->rank - 1];
}

/* Keys by one query. */
static bool is_column(const struct scores *s, const struct value *x)
{
    return dim_is(x->shape[x->rank - 1], 1) && !dim_is(x->shape[x->rank - 2], 1) &&
           !dim_is(s->top->shape[s->top->rank - 1], 1);
}

/* Spread along axes of which it is not known that they are not spread already: by ONNX's
 * broadcasting of sizes that agree, for all that can be seen. */
static bool spreads_unknown(const struct node *node)
{
    const struct value *x = node->in[0], *y = node->out[0];
    for (int i = 0; i < y->rank; i++)
        if (x->shape[i] != y->shape[i] &&
            (dim_is_const(x->shape[i], NULL) || dim_is_const(y->shape[i], NULL)))
            return false;
    return true;
}

static bool leads(const struct value *v, int depth);

/* Is v made of a product? */
static bool reaches(const struct value *v, int depth)
{
    const struct node *node = v->def;
    if (!node || depth == 0)
        return false;
    switch (node->op) {
    case OP_matmul: return true;
    case OP_cast: return is_float_cast(node) && leads(node->in[0], depth - 1);
    case OP_reshape: return regroups(node) && leads(node->in[0], depth - 1);
    case OP_expand: return spreads_unknown(node) && leads(node->in[0], depth - 1);
    case OP_tanh:
    case OP_sub:
    case OP_div: return leads(node->in[0], depth - 1);
    case OP_add:
    case OP_mul: return leads(node->in[0], depth - 1) || leads(node->in[1], depth - 1);
    case OP_select: return leads(node->in[1], depth - 1) || leads(node->in[2], depth - 1);
    default: return false;
    }
}

/* … that is read for nothing else? */
static bool leads(const struct value *v, int depth)
{
    return value_single_use(v) && reaches(v, depth);
}

static bool read(struct scores *s, struct value *v, int depth);

static bool is_plain(const struct scores *s)
{
    return !s->bias && !s->mask && !s->causal;
}

static bool read_reshape(struct scores *s, struct node *node, int depth)
{
    const struct value *y = node->out[0];
    if (!read(s, node->in[0], depth))
        return false;
    if (s->bias)
        s->bias = build_reshape(s->b, s->bias, y->rank, y->shape);
    if (s->mask)
        s->mask = build_reshape(s->b, s->mask, y->rank, y->shape);
    if (s->instead)
        s->instead = build_reshape(s->b, s->instead, y->rank, y->shape);
    return true;
}

/* Products of spread queries and keys are the spread products. */
static bool read_spread(struct scores *s, struct node *node, int depth)
{
    if (!read(s, node->in[0], depth))
        return false;
    const struct value *x = node->in[0], *product = s->product->out[0];
    bool same = x->rank == product->rank && !s->spread;
    for (int i = 0; i < x->rank && same; i++)
        same = x->shape[i] == product->shape[i];
    if (!same || !is_plain(s) || s->factor || s->column)
        return fails(s, "masked or regrouped scores are spread");
    s->spread = node->out[0];
    return true;
}

/* Before more is done to the scores: what a low number hid gets the number after all. */
static bool settle(struct scores *s)
{
    if (s->last)
        return fails(s, "hidden scores are a number that is not so low that it hides all else");
    if (s->instead) {
        s->causal = false;
        s->offset = dim_const(s->b->g->dims, 0);
        s->bias = s->instead;
        s->instead = NULL;
    }
    return true;
}

/* Scores above the diagonal are a low number. */
static bool hide_low(struct scores *s, const struct dim *offset, struct value *instead)
{
    scores_hide_above(s, offset, instead->shape[instead->rank - 1]);
    s->instead = s->causal ? instead : NULL;
    return true;
}

/* --- Factors -----------------------------------------------------------------------------------
 */

static bool multiply(struct scores *s, double number)
{
    if (!isfinite(number) || (!(number > 0) && (!is_plain(s) || s->softcap != 0)))
        return fails(s, "masked or capped scores are multiplied by what is not positive");
    s->scale *= number;
    s->softcap *= number;
    if (s->bias)
        s->bias = build_binary(s->b, OP_mul, s->bias, build_float(s->b, s->bias->type, number));
    return true;
}

/* A factor that is the same for all keys goes to the queries. */
static bool multiply_queries(struct scores *s, struct value *factor)
{
    const struct value *product = s->product->out[0];
    bool same = factor->rank == product->rank;
    for (int i = 0; i < factor->rank && same; i++)
        same = factor->shape[i] == product->shape[i];
    while (factor->def && factor->def->op == OP_expand)
        factor = factor->def->in[0];
    if (!same || !is_plain(s) || s->softcap != 0 || s->factor || s->column ||
        !dim_is(factor->shape[factor->rank - 1], 1))
        return fails(s, "scores are multiplied by more than a number");
    s->factor = factor;
    return true;
}

/* A low number times a factor that is not too small is still one. */
static const double least_factor = 1e-3;

static bool stay_low(struct scores *s, double number)
{
    struct value *factor = build_float(s->b, s->instead->type, number);
    s->instead = build_binary(s->b, OP_mul, s->instead, factor);
    s->scale *= number;
    s->softcap *= number;
    return s->instead != NULL && isfinite(number);
}

static bool read_product(struct scores *s, struct node *node, int depth)
{
    double number;
    int side = leads(node->in[0], DEPTH) ? 0 : 1;
    struct value *x = node->in[side], *other = node->in[1 - side];
    bool uniform = match_uniform(other, &number);
    if (node->op == OP_div && (side != 0 || !uniform || number == 0))
        return fails(s, "scores are divided by more than a number");
    if (uniform && node->op == OP_mul && x->def->op == OP_tanh) {
        if (!read(s, x->def->in[0], depth) || !settle(s))
            return false;
        if (!is_plain(s) || s->softcap != 0 || !(number > 0))
            return fails(s, "a cap on scores that are masked already");
        s->softcap = number;
        s->scale *= number;
        return true;
    }
    if (!read(s, x, depth))
        return false;
    number = uniform && node->op == OP_div ? 1 / number : number;
    if (uniform && s->instead && number > least_factor)
        return stay_low(s, number);
    if (!settle(s))
        return false;
    return uniform ? multiply(s, number) : multiply_queries(s, other);
}

/* --- Biases and masks --------------------------------------------------------------------------
 */

static bool add_bias(struct scores *s, struct value *bias)
{
    if (s->bias && s->bias->type != bias->type)
        bias = build_cast(s->b, bias, s->bias->type);
    s->bias = s->bias ? build_binary(s->b, OP_add, s->bias, bias) : bias;
    return s->bias != NULL;
}

/* A bias that is 0 or -inf is a mask; one that is 0 or lost, and causal, hides as well as -inf
 * does, since every query sees a key. */
static bool read_bias(struct scores *s, struct value *bias)
{
    struct value *v = bias;
    const struct dim *offset;
    double yes, no;
    bool infinite, rows = scores_in_rows(s, bias->rank, bias->shape);
    while (v->def && v->def->op == OP_expand)
        v = v->def->in[0];
    const struct node *choice = v->def && v->def->op == OP_select ? v->def : NULL;
    if (choice && match_uniform(choice->in[1], &yes) && match_uniform(choice->in[2], &no)) {
        if (yes == 0 && no == -(double)INFINITY)
            return scores_mask(s, choice->in[0], bias->rank, bias->shape);
        if (no == 0 && yes == -(double)INFINITY)
            return scores_mask(s, build_unary(s->b, OP_not, choice->in[0]), bias->rank,
                               bias->shape);
        if (yes == 0 && no <= SCORE_LOST && is_plain(s) && rows &&
            mask_is_causal(s->b->g, choice->in[0], &offset))
            return hide_low(s, offset, bias);
    }
    if (!s->causal && rows && bias_is_causal(s->b->g, bias, &infinite, &offset) &&
        (infinite || is_plain(s))) {
        if (!infinite)
            return hide_low(s, offset, bias);
        scores_hide_above(s, offset, bias->shape[bias->rank - 1]);
        return true;
    }
    return add_bias(s, bias);
}

/* y has a low number where keys are not seen, and scores where they are. */
static bool hide(struct scores *s, struct value *seen, double fill, const struct value *y)
{
    const struct dim *offset;
    if (fill == -(double)INFINITY)
        return scores_mask(s, seen, y->rank, y->shape);
    if (!(fill <= SCORE_LOW) || s->mask || s->causal)
        return fails(s, "hidden scores are a number that is not so low that it hides all else");
    /* What would not swallow the score is made to: that shows only where more follows. */
    s->last = fill > SCORE_LOST;
    bool plain = is_plain(s);
    enum dtype type = y->type == DT_F64 ? DT_F64 : DT_F32;
    struct value *low = build_float(s->b, type, s->last ? 10 * SCORE_LOST : fill);
    struct value *bias = s->bias ? s->bias : build_float(s->b, type, 0);
    if (bias->type != type)
        bias = build_cast(s->b, bias, type);
    bias = build_expand(s->b, build_select(s->b, seen, bias, low), y->rank, y->shape);
    if (!bias)
        return false;
    if (plain && scores_in_rows(s, y->rank, y->shape) && mask_is_causal(s->b->g, seen, &offset))
        return hide_low(s, offset, bias);
    s->bias = bias;
    return true;
}

/* Scores, or a low number where they are not to count. */
static bool read_choice(struct scores *s, struct node *node, int depth)
{
    int side = leads(node->in[1], DEPTH) ? 1 : 2;
    struct value *seen = node->in[0];
    double fill;
    if (!match_uniform(node->in[3 - side], &fill) || !(fill < 0))
        return fails(s, "scores are replaced by more than a low number");
    if (!read(s, node->in[side], depth) || !settle(s))
        return false;
    return hide(s, side == 2 ? build_unary(s->b, OP_not, seen) : seen, fill, node->out[0]);
}

/* The same as scores * gate + bias, with a gate of 0 and 1, and a bias of 0 where it is 1. */
static bool read_gate(struct scores *s, struct node *node, int side, bool *gated, int depth)
{
    struct node *product = node->in[side]->def;
    struct graph *g = s->b->g;
    double fill, number;
    *gated = false;
    if (product->op != OP_mul)
        return true;
    int inner = leads(product->in[0], DEPTH) ? 0 : 1;
    struct value *gate = product->in[1 - inner];
    if (match_uniform(gate, &number) || !gate_hides(g, gate, node->in[1 - side], &fill))
        return true;
    *gated = true;
    fill = node->op == OP_sub ? -fill : fill;
    return read(s, product->in[inner], depth) && settle(s) &&
           hide(s, build_cast(s->b, gate, DT_BOOL), fill, node->out[0]);
}

static bool read_sum(struct scores *s, struct node *node, int depth)
{
    int side = node->op == OP_sub || leads(node->in[0], DEPTH) ? 0 : 1;
    struct value *bias = node->in[1 - side];
    bool gated;
    if (!read_gate(s, node, side, &gated, depth))
        return false;
    if (gated)
        return true;
    if (!read(s, node->in[side], depth) || !settle(s))
        return false;
    return read_bias(s, node->op == OP_sub ? build_unary(s->b, OP_neg, bias) : bias);
}

static bool read(struct scores *s, struct value *v, int depth)
{
    struct node *node = v->def;
    if (depth == 0 || !reaches(v, DEPTH))
        return fails(s, "scores are no product, or are read elsewhere");
    if (v != s->top && !value_single_use(v))
        return fails(s, "scores are read elsewhere");
    switch (node->op) {
    case OP_matmul:
        s->product = node;
        s->column = is_column(s, node->out[0]);
        return true;
    case OP_cast: return read(s, node->in[0], depth - 1);
    case OP_reshape: return read_reshape(s, node, depth - 1);
    case OP_expand: return read_spread(s, node, depth - 1);
    case OP_mul:
    case OP_div: return read_product(s, node, depth - 1);
    case OP_add:
    case OP_sub: return read_sum(s, node, depth - 1);
    case OP_select: return read_choice(s, node, depth - 1);
    default: return fails(s, "something is done with scores that attention does not do");
    }
}

bool scores_read(struct scores *s, struct value *v)
{
    s->top = v;
    s->scale = 1;
    s->offset = dim_const(s->b->g->dims, 0);
    return read(s, v, DEPTH);
}
