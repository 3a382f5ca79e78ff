/*
 * Activations that exporters spell out: a gate, made of the operand x, times x.
 *
 *     x/2 * (1 + erf(x / √2)), x/2 * (1 - erf(-x / √2))    gelu
 *     x/2 * (1 + tanh(√(2/π) * (x + 0.044715*x^3)))        gelu_tanh
 *     x * sigmoid(2 * √(2/π) * (x + 0.044715*x^3))         gelu_tanh
 *     x * tanh(softplus(x)), x * tanh(log(1 + exp(x)))     mish
 *     x * min(max(x + 3, 0), 6) / 6                        hard_swish
 *     x / (1 + exp(-x))                                    x * sigmoid(x)
 *
 * in whatever order the factors stand and wherever the constants are: what is in front of the gate
 * is compared as a polynomial in x, and what is behind it collected as factors. One op costs a
 * third of the instructions, keeps the digits that 1 + erf(x) loses, and rounds once.
 */
#include "passes.h"

#include <math.h>

#include "../ir/build.h"
#include "match.h"

struct gate {
    enum op op;          /* what the whole is */
    struct value *x;     /* its operand */
    struct value *value; /* the gate; the op is … */
    double factor;       /* … factor * x * gate */
};

enum { MOST_CANDIDATES = 16 };

struct candidates {
    int n;
    struct value *at[MOST_CANDIDATES];
};

/* The values that v, seen as arithmetic with constants, could be a polynomial of. */
static void find_candidates(struct value *v, int depth, struct candidates *c)
{
    double number;
    if (match_uniform(v, &number))
        return;
    for (int i = 0; i < c->n; i++)
        if (c->at[i] == v)
            return;
    if (c->n < MOST_CANDIDATES)
        c->at[c->n++] = v;
    if (!v->def || depth == 0 || op_info[v->def->op].class != OC_SCALAR || v->def->n_in > 2)
        return;
    for (int i = 0; i < v->def->n_in; i++)
        find_candidates(v->def->in[i], depth - 1, c);
}

/* The x of which w is c[0] + c[1]*x + c[3]*x^3; NULL: there is none. */
static struct value *operand_of(struct value *w, double c0, double c1, double c3)
{
    struct candidates candidates = {0};
    find_candidates(w, 4, &candidates);
    for (int i = 0; i < candidates.n; i++) {
        double c[POLYNOMIAL];
        if (match_polynomial(w, candidates.at[i], c) && match_near(w->type, c[0], c0) &&
            match_near(w->type, c[1], c1) && c[2] == 0 && match_near(w->type, c[3], c3))
            return candidates.at[i];
    }
    return NULL;
}

static const double tanh_slope = 0.79788456080286536, tanh_cube = 0.79788456080286536 * 0.044715;

/* v + 1, where nothing else reads v. */
static struct value *plus_one(const struct value *v)
{
    int operand;
    double number;
    struct node *node = match_reader(v, &operand);
    bool matches =
        node && node->op == OP_add && match_uniform(node->in[1 - operand], &number) && number == 1;
    return matches ? node->out[0] : NULL;
}

/* 1 - v, where nothing else reads v. */
static struct value *less_than_one(const struct value *v)
{
    int operand;
    double number;
    struct node *node = match_reader(v, &operand);
    bool matches = node && node->op == OP_sub && operand == 1 &&
                   match_uniform(node->in[0], &number) && number == 1;
    return matches ? node->out[0] : NULL;
}

static bool is_error_function(const struct node *node, struct gate *gate)
{
    struct value *sum = plus_one(node->out[0]), *rest = less_than_one(node->out[0]);
    double slope = sum ? M_SQRT1_2 : -M_SQRT1_2;
    *gate = (struct gate){OP_gelu, operand_of(node->in[0], 0, slope, 0), sum ? sum : rest, 0.5};
    return gate->x && gate->value;
}

/* x of log(1 + exp(x)), or NULL. */
static struct value *softplus_operand(const struct value *v)
{
    double number;
    const struct node *sum = v->def && v->def->op == OP_log ? v->def->in[0]->def : NULL;
    for (int i = 0; sum && sum->op == OP_add && i < 2; i++) {
        const struct node *power = sum->in[i]->def;
        if (power && power->op == OP_exp && match_uniform(sum->in[1 - i], &number) && number == 1)
            return power->in[0];
    }
    return NULL;
}

static bool is_tangent(const struct node *node, struct gate *gate)
{
    struct value *w = node->in[0];
    struct value *x = w->def && w->def->op == OP_softplus ? w->def->in[0] : softplus_operand(w);
    if (x) {
        *gate = (struct gate){OP_mish, x, node->out[0], 1};
        return true;
    }
    *gate = (struct gate){OP_gelu_tanh, operand_of(w, 0, tanh_slope, tanh_cube),
                          plus_one(node->out[0]), 0.5};
    return gate->x && gate->value;
}

static bool is_logistic(const struct node *node, struct gate *gate)
{
    *gate = (struct gate){OP_gelu_tanh, operand_of(node->in[0], 0, 2 * tanh_slope, 2 * tanh_cube),
                          node->out[0], 1};
    return gate->x != NULL;
}

/* One limit of v, by op min or max: what is limited. */
static struct value *limited(const struct value *v, enum op op, double *limit)
{
    if (!v->def || v->def->op != op)
        return NULL;
    for (int i = 0; i < 2; i++)
        if (match_uniform(v->def->in[i], limit))
            return v->def->in[1 - i];
    return NULL;
}

/* min(max(x + 3, 0), 6), or any multiple of it. */
static bool is_clamp(const struct node *node, struct gate *gate)
{
    double low, high;
    enum op other = node->op == OP_min ? OP_max : OP_min;
    struct value *inner = limited(node->out[0], node->op, node->op == OP_min ? &high : &low);
    struct value *w = inner ? limited(inner, other, node->op == OP_min ? &low : &high) : NULL;
    if (!w || low != 0 || !(high > 0))
        return false;
    *gate =
        (struct gate){OP_hard_swish, operand_of(w, high / 2, high / 6, 0), node->out[0], 1 / high};
    return gate->x != NULL;
}

static bool find_gate(const struct node *node, struct gate *gate)
{
    if (!dtype_is_float(node->out[0]->type))
        return false;
    switch (node->op) {
    case OP_erf: return is_error_function(node, gate);
    case OP_tanh: return is_tangent(node, gate);
    case OP_sigmoid: return is_logistic(node, gate);
    case OP_min:
    case OP_max: return is_clamp(node, gate);
    default: return false;
    }
}

/* --- What is behind the gate ---------------------------------------------------------------- */

/* factor * gate, or factor * x * gate. */
struct product {
    struct value *value;
    double factor;
    bool has_x;
};

static bool extend(struct product *p, const struct value *x)
{
    int operand;
    double c[POLYNOMIAL];
    struct node *node = match_reader(p->value, &operand);
    if (!node || (node->op != OP_mul && !(node->op == OP_div && operand == 0)) ||
        !match_polynomial(node->in[1 - operand], x, c) || c[2] != 0 || c[3] != 0)
        return false;
    if (c[1] == 0) {
        p->factor = node->op == OP_mul ? p->factor * c[0] : p->factor / c[0];
    } else {
        if (c[0] != 0 || p->has_x || node->op != OP_mul)
            return false;
        p->factor *= c[1];
        p->has_x = true;
    }
    p->value = node->out[0];
    return isfinite(p->factor) && p->factor != 0;
}

/* A narrow operand that was widened for an op whose only readers narrow its result again: the op
 * does that by itself. */
static struct value *narrow_operand(const struct value *x, const struct value *result)
{
    int operand;
    const struct node *reader = match_reader(result, &operand);
    const struct node *widen = x->def;
    if (!reader || reader->op != OP_cast || !widen || widen->op != OP_cast)
        return NULL;
    enum dtype type = widen->in[0]->type;
    return type == reader->out[0]->type && (type == DT_F16 || type == DT_BF16) ? widen->in[0]
                                                                               : NULL;
}

static void replace(struct graph *g, const struct gate *gate, const struct product *product)
{
    struct node *last = product->value->def;
    struct builder b = {g, last};
    struct value *result = product->value, *narrow = narrow_operand(gate->x, result), *y;
    double scale = product->factor / gate->factor;
    bool scaled = !match_near(gate->x->type, product->factor, gate->factor);
    g->origin = last->origin;
    if (narrow && !scaled)
        result = result->uses->node->out[0];
    y = build_unary(&b, gate->op, narrow && !scaled ? narrow : gate->x);
    if (scaled)
        y = build_binary(&b, OP_mul, y, build_float(&b, y->type, scale));
    graph_remark(g, "recognize_activations", last, "%s, spelled out from %s on",
                 op_info[gate->op].name,
                 gate->value->def->origin ? gate->value->def->origin : "a nameless node");
    value_replace_uses(g, result, y);
}

static bool recognize_gate(struct graph *g, struct node *node)
{
    struct gate gate;
    if (!find_gate(node, &gate))
        return false;
    struct product product = {gate.value, 1, false}, best = product;
    while (extend(&product, gate.x)) {
        if (product.has_x)
            best = product;
        if (product.has_x && match_near(gate.x->type, product.factor, gate.factor))
            break;
    }
    if (!best.has_x)
        return false;
    replace(g, &gate, &best);
    return true;
}

/* --- sigmoid -------------------------------------------------------------------------------- */

/* -z of 1 + exp(z), or NULL. */
static struct value *logistic_operand(struct builder *b, const struct value *v)
{
    double number;
    if (!v->def || v->def->op != OP_add)
        return NULL;
    for (int i = 0; i < 2; i++) {
        struct value *e = v->def->in[i];
        if (!match_uniform(v->def->in[1 - i], &number) || number != 1 || !e->def ||
            e->def->op != OP_exp)
            continue;
        struct value *z = e->def->in[0];
        return z->def && z->def->op == OP_neg ? z->def->in[0] : build_unary(b, OP_neg, z);
    }
    return NULL;
}

static bool recognize_sigmoid(struct graph *g, struct node *node)
{
    struct builder b = {g, node};
    double number;
    if (!dtype_is_float(node->out[0]->type))
        return false;
    struct value *z = logistic_operand(&b, node->in[node->op == OP_div]);
    if (!z)
        return false;
    struct value *y = build_unary(&b, OP_sigmoid, z);
    if (node->op == OP_div && !(match_uniform(node->in[0], &number) && number == 1))
        y = build_binary(&b, OP_mul, node->in[0], y);
    graph_remark(g, "recognize_activations", node, "sigmoid, spelled out");
    value_replace_uses(g, node->out[0], y);
    return true;
}

static bool recognize(struct graph *g, struct node *node)
{
    bool quotient = node->op == OP_div || node->op == OP_recip;
    return quotient ? recognize_sigmoid(g, node) : recognize_gate(g, node);
}

bool pass_recognize_activations(struct graph *g)
{
    return pass_each_node(g, recognize) && (pass_remove_dead(g), true);
}
