/*
 * BatchNormalization into the contraction before it. The frontend writes it as maps by constants
 * that vary with the channel alone, y*s + t, often behind a bias: (conv(x, w) + b)*s + t. Here that
 * becomes conv(x, w*s) + (b*s + t): the products of constants are computed while the plan is
 * written.
 *
 * Only where the contraction's result goes nowhere else, and its weights are constants.
 */
#include "passes.h"

#include "../ir/build.h"

/* value->data of a constant expression points here: every path from it ends in constants. */
static int constant_mark;

static bool is_constant(const struct value *v)
{
    return v->data == &constant_mark;
}

static void mark_constants(struct graph *g)
{
    for (int i = 0; i < g->n_inputs; i++)
        g->inputs[i]->data = NULL;
    for (struct node *node = g->first; node; node = node->next) {
        bool constant = node->op == OP_constant || (node->n_in > 0 && !node->body[0]);
        for (int i = 0; i < node->n_in; i++)
            constant = constant && is_constant(node->in[i]);
        for (int i = 0; i < node->n_out; i++)
            node->out[i]->data = constant ? &constant_mark : NULL;
    }
}

/* A contraction with what has been found behind it: y*scale + shift, vectors over the channels. */
struct affine {
    struct builder b;
    struct node *contraction;
    int channel; /* axis of the result */
    const struct dim *channels;
    struct value *scale, *shift; /* NULL: 1, 0 */
};

static bool affine_start(struct affine *a, struct graph *g, struct node *node)
{
    struct value *y = node->out[0];
    if (op_info[node->op].class != OC_CONTRACT || !is_constant(node->in[1]) ||
        !dtype_is_float(y->type) || node->in[1]->type != y->type)
        return false;
    *a = (struct affine){.b = {g, NULL}, .contraction = node};
    a->channel = node->op == OP_matmul ? y->rank - 1 : 1;
    a->channels = y->shape[a->channel];
    return dim_is_const(a->channels, NULL);
}

/* The vector [channels] that v repeats along all other axes; NULL when it is no such value. */
static struct value *channel_vector(struct affine *a, struct value *v)
{
    struct value *x = v;
    while (x->def && x->def->op == OP_expand)
        x = x->def->in[0];
    if (!is_constant(x) || x->rank != v->rank)
        return NULL;
    for (int i = 0; i < x->rank; i++)
        if (i != a->channel && !dim_is(x->shape[i], 1))
            return NULL;
    const struct dim *size = x->shape[a->channel];
    x = build_reshape(&a->b, x, 1, &size);
    return build_expand(&a->b, x, 1, &a->channels);
}

/* Takes `node`, which reads the value found so far, into the affine form; false: it does not fit.
 */
static bool affine_extend(struct affine *a, struct node *node, int operand)
{
    if (node->op != OP_mul && node->op != OP_add && !(node->op == OP_sub && operand == 0))
        return false;
    a->b.before = node;
    struct value *c = channel_vector(a, node->in[1 - operand]);
    if (!c)
        return false;
    if (node->op == OP_mul) {
        a->scale = a->scale ? build_binary(&a->b, OP_mul, a->scale, c) : c;
        a->shift = a->shift ? build_binary(&a->b, OP_mul, a->shift, c) : NULL;
    } else if (node->op == OP_add) {
        a->shift = a->shift ? build_binary(&a->b, OP_add, a->shift, c) : c;
    } else {
        a->shift =
            a->shift ? build_binary(&a->b, OP_sub, a->shift, c) : build_unary(&a->b, OP_neg, c);
    }
    return true;
}

/* scale as a factor of the weights: along their output channels. */
static struct value *scale_for_weights(struct affine *a, struct value *w)
{
    struct builder *b = &a->b;
    const struct dim *one = build_d(b, 1), *shape[MAX_RANK];
    for (int i = 0; i < w->rank; i++)
        shape[i] = one;
    switch (a->contraction->op) {
    case OP_matmul: shape[w->rank - 1] = a->channels; break;
    case OP_conv: shape[0] = a->channels; break;
    default: {
        /* conv_transpose: w is [C, M/group, …]; rows of one group share its M/group channels. */
        int64_t groups = a->contraction->attr.conv_transpose.group;
        const struct dim *rows = dim_floordiv(b->g->dims, w->shape[0], build_d(b, groups));
        const struct dim *split[] = {build_d(b, groups), one, w->shape[1]};
        const struct dim *spread[] = {build_d(b, groups), rows, w->shape[1]};
        struct value *s = build_reshape(b, a->scale, 3, split);
        shape[0] = w->shape[0];
        shape[1] = w->shape[1];
        return build_reshape(b, build_expand(b, s, 3, spread), w->rank, shape);
    }
    }
    return build_reshape(b, a->scale, w->rank, shape);
}

/* Writes contraction(x, w*scale) + shift before `last`, whose result it replaces. */
static bool affine_finish(struct affine *a, struct node *last)
{
    struct builder *b = &a->b;
    struct node *node = a->contraction;
    struct value *w = node->in[1], *y = node->out[0];
    b->before = last;
    w = build_binary(b, OP_mul, w, scale_for_weights(a, w));
    struct value *in[] = {node->in[0], w};
    b->g->origin = node->origin;
    struct value *result = build_tensor(b, node->op, 2, in, &node->attr);
    b->g->origin = last->origin;
    if (a->shift) {
        const struct dim *shape[MAX_RANK];
        for (int i = 0; i < y->rank; i++)
            shape[i] = i == a->channel ? a->channels : build_d(b, 1);
        result = build_binary(b, OP_add, result, build_reshape(b, a->shift, y->rank, shape));
    }
    if (!result)
        return false;
    value_replace_uses(b->g, last->out[0], result);
    return true;
}

static bool fold_behind(struct graph *g, struct node *node)
{
    struct affine a;
    struct node *last = NULL;
    struct affine best;
    if (!affine_start(&a, g, node))
        return false;
    g->origin = node->origin;
    for (struct value *v = node->out[0]; value_single_use(v);) {
        struct use *use = v->uses;
        if (!affine_extend(&a, use->node, use->operand))
            break;
        v = use->node->out[0];
        if (a.scale) { /* a bias alone stays in the epilogue */
            last = use->node;
            best = a;
        }
    }
    return last && affine_finish(&best, last);
}

static bool fold_graph(struct graph *g)
{
    bool changed = false;
    const char *origin = g->origin;
    mark_constants(g);
    for (struct node *node = g->first, *next; node; node = next) {
        next = node->next;
        changed |= fold_behind(g, node);
    }
    g->origin = origin;
    return changed;
}

bool pass_fold_batch_norm(struct graph *g)
{
    return pass_each_graph(g, fold_graph);
}
