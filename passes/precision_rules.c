/*
 * What loses too much in 16 bits by its nature, found by following values from where they come.
 *
 * A value is *wide* when its numbers may lie far outside those of activations: powers,
 * exponentials, long sums, what was added to a constant that the type cannot hold. What computes on
 * a wide value stays in f32, up to an op that makes ordinary numbers again (a root, a quotient,
 * softmax, …). A value made of integers alone is a position, a mask or a count, and stays exact
 * until it meets an activation.
 */
#include "precision_rules.h"

#include <math.h>
#include <string.h>

enum { FEW_TERMS = 16 }; /* so many activations add up to a number like theirs */

struct walk {
    struct assignment *a;
    const struct node *node;
    struct value_facts *out; /* of the node's first result */
    const char *why;         /* first reason to stay … */
    const char *must;        /* … and one that even --keep does not override */
};

static void stay(struct walk *w, const char *why)
{
    if (!w->why)
        w->why = why;
}

static struct value_facts *in_facts(const struct walk *w, int operand)
{
    return facts_of(w->a, w->node->in[operand]);
}

static bool float_operand(const struct walk *w, int operand)
{
    return precision_is_float(in_facts(w, operand)->original);
}

static double scalar_magnitude(const struct walk *w, int operand)
{
    const struct value_facts *f = in_facts(w, operand);
    return f->constant ? f->magnitude : 0;
}

/* ---- Operands ------------------------------------------------------------------------------ */

static const char *misfit_text(const struct walk *w, enum dtype type, enum fit fit, double m)
{
    const char *name = dtype_info[type].text;
    struct arena *arena = w->a->g->arena;
    if (fit == FIT_TOO_LARGE)
        return arena_printf(arena, "a constant of %.4g is beyond the range of %s", m, name);
    if (fit == FIT_TOO_SMALL)
        return arena_printf(arena, "a constant of %.4g is too small for %s", m, name);
    return arena_printf(arena, "a constant is not known yet, so it may not fit %s", name);
}

/* Reach of an operand, constants by whether they fit. */
static enum reach operand_reach(struct walk *w, int operand, enum dtype type)
{
    struct value_facts *f = in_facts(w, operand);
    if (!f->constant || !float_operand(w, operand))
        return f->constant ? REACH_NARROW : f->reach;
    enum fit fit = constant_fit(w->a, w->node->in[operand], type);
    if (fit == FIT_GOOD)
        return REACH_NARROW;
    w->must = misfit_text(w, type, fit, f->magnitude);
    stay(w, w->must);
    return REACH_WIDE;
}

/* ---- Scalar ops ---------------------------------------------------------------------------- */

static bool is_bounding(enum op op)
{
    return op == OP_sigmoid || op == OP_tanh || op == OP_erf || op == OP_sin || op == OP_cos ||
           op == OP_sign || op == OP_atan;
}

static bool is_growing(enum op op)
{
    return op == OP_exp || op == OP_expm1 || op == OP_pow || op == OP_sinh || op == OP_cosh ||
           op == OP_tan;
}

static bool is_logarithm(enum op op)
{
    return op == OP_log || op == OP_log1p || op == OP_softplus || op == OP_asinh ||
           op == OP_acosh || op == OP_sqrt;
}

static enum reach product_reach(struct walk *w, enum reach x, enum reach y)
{
    const struct value_facts *a = in_facts(w, 0), *b = in_facts(w, 1);
    if (x == REACH_INVERSE || y == REACH_INVERSE)
        return x == y ? REACH_INVERSE : REACH_NARROW;
    if (x == REACH_SUM || y == REACH_SUM)
        return x == y ? REACH_SUM : REACH_NARROW;
    if (w->node->in[0] == w->node->in[1] && !a->bounded && !a->constant) {
        stay(w, "squares leave the range");
        return REACH_WIDE;
    }
    for (int i = 0; i < 2; i++) { /* a mean: a sum times one by the number of its terms */
        const struct value_facts *sum = i ? b : a;
        if (sum->terms > 0 && scalar_magnitude(w, 1 - i) * sum->terms <= FEW_TERMS &&
            in_facts(w, 1 - i)->constant)
            return REACH_NARROW;
    }
    return x == REACH_WIDE || y == REACH_WIDE ? REACH_WIDE : REACH_NARROW;
}

static enum reach quotient_reach(struct walk *w, enum reach x, enum reach y)
{
    const struct value_facts *sum = in_facts(w, 0), *by = in_facts(w, 1);
    if (y == REACH_INVERSE)
        return REACH_WIDE;
    if (y >= REACH_WIDE || x == REACH_SUM)
        return REACH_NARROW;
    if (sum->terms > 0 &&
        (by->integral || (by->constant && by->magnitude * FEW_TERMS >= sum->terms)))
        return REACH_NARROW;
    return x;
}

/* A constant beyond the range bounds nothing; one on each side bounds all. */
static enum reach clamp_reach(struct walk *w, enum reach x, enum reach y)
{
    for (int i = 0; i < 2; i++) {
        const struct value_facts *limit = in_facts(w, i);
        const struct node *other = w->node->in[1 - i]->def;
        enum reach reach = i ? x : y;
        if (!limit->constant)
            continue;
        if ((i ? y : x) >= REACH_WIDE) /* does not fit: too small a bound must survive */
            return limit->magnitude > 1 ? reach : REACH_WIDE;
        if (other && (other->op == OP_min || other->op == OP_max) && other->op != w->node->op &&
            (facts_of(w->a, other->in[0])->constant || facts_of(w->a, other->in[1])->constant))
            return REACH_NARROW;
    }
    enum reach farther = x > y ? x : y;
    return farther >= REACH_WIDE ? farther : REACH_NARROW;
}

static enum reach scalar_reach(struct walk *w, const enum reach *in)
{
    enum op op = w->node->op;
    enum reach all = REACH_NARROW;
    for (int i = 0; i < w->node->n_in; i++)
        all = in[i] > all ? in[i] : all;
    if (is_bounding(op) || is_logarithm(op))
        return REACH_NARROW;
    if (is_growing(op))
        return REACH_WIDE;
    switch (op) {
    case OP_recip:
    case OP_rsqrt: return REACH_INVERSE;
    case OP_mul: return product_reach(w, in[0], in[1]);
    case OP_div: return quotient_reach(w, in[0], in[1]);
    case OP_min:
    case OP_max: return clamp_reach(w, in[0], in[1]);
    default: return all;
    }
}

static void scalar_reasons(struct walk *w)
{
    switch (w->node->op) {
    case OP_sin:
    case OP_cos:
    case OP_tan: stay(w, "an angle's fraction is lost with its size"); break;
    case OP_exp:
    case OP_expm1:
    case OP_pow:
    case OP_sinh:
    case OP_cosh: stay(w, "powers leave the range"); break;
    case OP_log:
    case OP_log1p: stay(w, "numbers near 0 count in a logarithm"); break;
    case OP_recip:
    case OP_rsqrt: stay(w, "one by a small number leaves the range"); break;
    default: break;
    }
}

/* ---- All ops ------------------------------------------------------------------------------- */

static double reduced_terms(const struct walk *w)
{
    const struct value *x = w->node->in[0];
    double terms = 1;
    for (int i = 0; i < x->rank; i++)
        if (w->node->attr.reduce_sum.axes >> i & 1) {
            int64_t extent;
            terms *=
                dim_is_const(x->shape[i], &extent) ? (double)extent : (double)x->shape[i]->upper;
        }
    return terms;
}

static enum reach tensor_reach(struct walk *w, enum reach all)
{
    const struct node *node = w->node;
    switch (node->op) {
    case OP_reduce_sum: {
        double terms = reduced_terms(w);
        if (terms <= FEW_TERMS)
            return all;
        stay(w, "a sum of many terms may leave the range");
        w->out->terms = all == REACH_NARROW ? terms : 0;
        return REACH_WIDE;
    }
    case OP_reduce_prod:
    case OP_scan_prod: stay(w, "a product of many factors leaves the range"); return REACH_WIDE;
    case OP_scan_sum: stay(w, "rounding adds up in a running sum"); return REACH_WIDE;
    case OP_pool_lp: stay(w, "powers leave the range"); return REACH_NARROW;
    case OP_softmax:
    case OP_log_softmax:
    case OP_normalize: return REACH_NARROW;
    default: return all;
    }
}

/* A product of depth 1 multiplies what a map would. (Deeper ones make activations of integers:
 * pixels, one-hot tokens.) */
static bool is_outer_product(const struct node *node)
{
    const struct value *x = node->in[0];
    int64_t depth;
    return node->op == OP_matmul && dim_is_const(x->shape[x->rank - 1], &depth) && depth == 1;
}

static bool carries_integers(const struct node *node)
{
    enum op_class class = op_info[node->op].class;
    return class == OC_SCALAR || class == OC_REDUCE || class == OC_SCAN || moves_elements(node) ||
           is_outer_product(node);
}

/* Float operands are all made of integers, or are constants, and one at least is the former. */
static bool is_integral(const struct walk *w)
{
    bool any = false;
    if (!carries_integers(w->node))
        return false;
    for (int i = 0; i < w->node->n_in; i++) {
        const struct value_facts *f = in_facts(w, i);
        if (!precision_is_float(f->original)) {
            any |= w->node->op == OP_cast && !f->constant && !dtype_is_float(f->original);
            continue;
        }
        if (!f->integral && !f->constant)
            return false;
        any |= f->integral;
    }
    return any;
}

static bool is_bounded(const struct walk *w)
{
    const struct node *node = w->node;
    enum op_class class = op_info[node->op].class;
    if (is_bounding(node->op) || node->op == OP_softmax)
        return node->op != OP_atan;
    if (class != OC_VIEW && node->op != OP_mul && node->op != OP_abs && node->op != OP_neg)
        return false;
    for (int i = 0; i < node->n_in; i++)
        if (!in_facts(w, i)->bounded)
            return false;
    return true;
}

static enum reach find_reach(struct walk *w, enum dtype type)
{
    const struct node *node = w->node;
    enum op_class class = op_info[node->op].class;
    enum reach *in = ARENA_ARRAY(w->a->g->arena, (size_t)node->n_in + 1, enum reach), all = 0;
    for (int i = 0; i < node->n_in && !precision_keeps_operand(node, i); i++) {
        in[i] = operand_reach(w, i, type);
        all = in[i] > all ? in[i] : all;
    }
    if (class == OC_VIEW && node->n_in == 1)
        w->out->terms = in_facts(w, 0)->terms; /* a mean has one between its sum and its factor */
    enum reach reach = class == OC_SCALAR ? scalar_reach(w, in) : tensor_reach(w, all);
    if (class == OC_SCALAR)
        scalar_reasons(w);
    if (all >= REACH_WIDE)
        stay(w, "its operand may leave the range");
    else if (all == REACH_INVERSE)
        stay(w, "its operand is one by a small number");
    return reach;
}

/* Of integers, of which a float may be made. */
static enum reach integer_reach(const struct assignment *a, const struct node *node)
{
    if (is_contraction(node) || node->op == OP_reduce_sum)
        return REACH_SUM;
    if (op_info[node->op].class == OC_SCALAR || moves_elements(node))
        for (int i = 0; i < node->n_in; i++)
            if (facts_of(a, node->in[i])->reach == REACH_SUM)
                return REACH_SUM;
    return REACH_NARROW;
}

/* Types that an op has for good. */
static bool has_fixed_type(const struct node *node)
{
    return node->op == OP_bitcast || node->op == OP_suppress || op_info[node->op].class == OC_LIST;
}

/* Nothing is known but what evaluating a constant told. */
static void forget(const struct assignment *a, const struct value *v)
{
    struct value_facts *f = facts_of(a, v), old = *f;
    *f = (struct value_facts){.original = v->type, .magnitude = old.magnitude};
    memcpy(f->fit, old.fit, sizeof f->fit);
}

static void walk_graph(struct assignment *a, struct graph *g);

/* Inputs of a body are what the operands are; what changes from one iteration to the next is taken
 * for ordinary. Then the results are what the bodies' outputs are. */
static void walk_bodies(struct assignment *a, struct node *node)
{
    int states = node->op == OP_loop ? (int)node->attr.loop.states : 0;
    for (int k = 0; k < 2 && node->body[k]; k++) {
        const struct graph *body = node->body[k];
        for (int i = 0; i < body->n_inputs; i++) {
            struct value_facts *f = facts_of(a, body->inputs[i]);
            *f = *facts_of(a, node->in[i]);
            f->original = body->inputs[i]->type;
            f->constant = false; /* it cannot be evaluated there */
            if (i < states)
                forget(a, body->inputs[i]);
        }
        walk_graph(a, node->body[k]);
        for (int i = 0; i < node->n_out; i++) {
            const struct value_facts *from = facts_of(a, body->outputs[i]);
            struct value_facts *f = facts_of(a, node->out[i]);
            if (from->reach > f->reach)
                f->reach = from->reach;
        }
    }
}

static bool all_constant(const struct walk *w)
{
    for (int i = 0; i < w->node->n_in; i++)
        if (!in_facts(w, i)->constant)
            return false;
    return w->node->op != OP_size && !w->node->body[0];
}

static void walk_node(struct assignment *a, struct node *node)
{
    struct choice *choice = choice_of(a, node);
    struct walk w = {.a = a, .node = node, .out = node->n_out ? facts_of(a, node->out[0]) : NULL};
    for (int i = 0; i < node->n_out; i++)
        forget(a, node->out[i]);
    if (node->body[0]) {
        walk_bodies(a, node);
        return;
    }
    if (!choice)
        return;
    choice->natural = false;
    choice->why = NULL;
    bool constant = all_constant(&w), integral = is_integral(&w);
    enum dtype original = node_float_type(a, node);
    for (int i = 0; i < node->n_out; i++) {
        struct value_facts *f = facts_of(a, node->out[i]);
        f->constant = constant;
        f->integral = integral;
        f->bounded = is_bounded(&w);
    }
    if (constant)
        return;
    if (original == DT_NONE) {
        w.out->reach = integer_reach(a, node);
        return;
    }
    enum dtype type = precision_type(choice->precision, original);
    if (integral)
        stay(&w, "made of integers: positions, masks or counts stay exact");
    enum reach reach = find_reach(&w, precision_lowers(type, original) ? type : DT_F16);
    for (int i = 0; i < node->n_out; i++)
        facts_of(a, node->out[i])->reach = reach;
    if (has_fixed_type(node))
        stay(&w, w.must = "the op has its type");
    const char *why = choice->explicit ? w.must : w.why;
    bool narrows = precision_lowers(type, original) || (integral && precision_rounds(a, node));
    choice->natural = has_fixed_type(node) || (why && narrows);
    choice->why = narrows ? why : NULL;
}

static void walk_graph(struct assignment *a, struct graph *g)
{
    for (struct node *node = g->first; node; node = node->next)
        walk_node(a, node);
}

void precision_find_natural(struct assignment *a)
{
    for (int i = 0; i < a->g->n_inputs; i++)
        forget(a, a->g->inputs[i]);
    precision_find_masks(a);
    walk_graph(a, a->g);
    precision_find_exact(a);
}
