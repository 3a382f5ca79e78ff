/*
 * Numbers of 8 bits and fewer that are computed with as wider ones: they stay narrow in memory.
 *
 * Weights of products that are stored as numbers of 8 bits and fewer, and multiplied as wider ones.
 * They could be widened while the plan is written; instead the kernel reads the narrow numbers and
 * widens them in registers, since reading its weights is most of what such a product does.
 */
#include "fuse.h"

enum { DEEPEST = 24, LEAST_ELEMENTS = 1024, MOST_JOINTS = 4 };

/* A constant, one joined of several, or the halves of bytes packed from one. */
static bool is_held(const struct value *v, int depth)
{
    const struct node *node = v->def;
    if (!node || depth == 0)
        return false;
    if (node->op == OP_constant || node->op == OP_or)
        return true;
    bool held = node->op == OP_concat || node->op == OP_reshape;
    for (int i = 0; i < node->n_in && held; i++)
        held = is_held(node->in[i], depth - 1);
    return held;
}

/* Numbers that the plan holds as they are. */
static bool is_narrow_constant(const struct value *v)
{
    int64_t n;
    return dtype_info[v->type].bits <= 8 && v->type != DT_BOOL && is_held(v, MOST_JOINTS) &&
           value_elements_const(v, &n) && n >= LEAST_ELEMENTS;
}

/* Are the numbers behind v such constants, and does nobody else want any step on the way? Then
 * `mark` marks the steps. */
static bool follow(struct value *v, int depth, void *mark)
{
    struct node *node = v->def;
    if (is_narrow_constant(v))
        return true;
    if (!node || depth == 0 || !value_single_use(v))
        return false;
    bool scalar = op_info[node->op].class == OC_SCALAR;
    if (!scalar && node->op != OP_reshape && node->op != OP_transpose && node->op != OP_expand &&
        node->op != OP_slice)
        return false;
    for (int i = 0; i < node->n_in && i < (scalar ? 2 : 1); i++)
        if (follow(node->in[i], depth - 1, mark)) {
            if (mark)
                v->data = mark;
            return true;
        }
    return false;
}

void fuse_mark_narrow_weights(struct graph *g, void *mark)
{
    for (struct node *node = g->first; node; node = node->next) {
        if (node->op != OP_matmul || !dtype_is_float(node->in[0]->type))
            continue;
        for (int i = 0; i < 2; i++)
            if (dtype_info[node->in[i]->type].bits > 8 && follow(node->in[i], DEEPEST, NULL))
                follow(node->in[i], DEEPEST, mark);
    }
}

/* What all elements have in common, or those along an axis: read or known in any kernel. */
static bool is_coefficient(const struct value *v)
{
    while (v->def && (v->def->op == OP_expand || v->def->op == OP_reshape))
        v = v->def->in[0];
    return v->def && v->def->kernel == KERNEL_CONSTANT;
}

struct value *fuse_narrow_source(const struct node *node)
{
    enum { MOST_STEPS = 6 };
    if (node->op != OP_cast && node->op != OP_mul && node->op != OP_sub)
        return NULL;
    if (dtype_info[node->out[0]->type].bits <= 8)
        return NULL;
    for (int steps = 0; steps < MOST_STEPS && node; steps++) {
        struct value *x = node->in[0];
        if (node->op != OP_cast &&
            ((node->op != OP_mul && node->op != OP_sub) || !is_coefficient(node->in[1])))
            return NULL;
        if (dtype_info[x->type].bits <= 8 && x->type != DT_BOOL)
            return x;
        node = x->def;
    }
    return NULL;
}
