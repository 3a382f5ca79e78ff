/* What fuse_kernels does before it makes kernels: outputs, constants and dead nodes. */
#include "fuse.h"

#include "../ir/eval.h"

enum {
    TYPICAL_SIZE = 32 /* what a free dim is taken for in estimates */,
    MOST_PADDING = 4 /* times as large as it is may a constant be padded while compiling */
};

static int widens; /* value->data of what a kernel computes although it is a constant */

/*
 * Elements of the constants that v is made of, 0 when it is made of anything else. An expand of a
 * constant adds none: where a kernel reads it, it stays a view; where it only serves to compute
 * another constant, it is evaluated with that.
 */
static int64_t constant_elements(const struct value *v)
{
    int64_t n;
    if (!v->def || !value_elements_const(v, &n))
        return 0;
    if (v->def->kernel == KERNEL_CONSTANT)
        return n > 0 ? n : 1;
    return v->def->op == OP_expand ? constant_elements(v->def->in[0]) : 0;
}

/* Known when the plan is written, and not larger for it than what it is made of. */
static bool depends_on_constants(const struct node *node)
{
    int64_t n, in = 0, out = 0;
    if (node->op == OP_constant)
        return true;
    if (node->n_in == 0 || node->body[0] || !eval_is_portable(node) || !pass_knows_attributes(node))
        return false;
    for (int i = 0; i < node->n_in; i++) {
        n = constant_elements(node->in[i]);
        if (n == 0)
            return false;
        in += node->op == OP_pad ? n * MOST_PADDING : n;
    }
    for (int i = 0; i < node->n_out; i++) {
        if (!value_elements_const(node->out[i], &n))
            return false;
        out += n;
    }
    return out <= in;
}

/* Gives the constants that read `expand` a copy that is evaluated with them. */
static void expand_for_constants(struct graph *g, struct node *expand)
{
    struct node *copy = NULL;
    for (struct use *use = expand->out[0]->uses, *next; use; use = next) {
        next = use->next;
        if (use->node->kernel != KERNEL_CONSTANT)
            continue;
        if (!copy) {
            copy = node_clone(g, expand, expand);
            copy->kernel = KERNEL_CONSTANT;
        }
        node_set_operand(g, use->node, use->operand, copy->out[0]);
    }
}

/* A repeated number that is read all over the graph: every reader gets its own, which costs it
 * nothing, where otherwise a kernel would write it to memory for so many. */
static void expand_for_each(struct graph *g, struct node *expand)
{
    enum { FEW = 8 };
    int64_t elements;
    int uses = 0;
    for (const struct use *use = expand->out[0]->uses; use && uses <= FEW; use = use->next)
        uses++;
    if (uses <= FEW || expand->in[0]->def == NULL ||
        expand->in[0]->def->kernel != KERNEL_CONSTANT ||
        !value_elements_const(expand->in[0], &elements) || elements != 1)
        return;
    for (struct use *use = expand->out[0]->uses, *next; use; use = next) {
        next = use->next;
        struct node *copy = node_clone(g, expand, use->node);
        if (!copy)
            return;
        copy->order = expand->order;
        node_set_operand(g, use->node, use->operand, copy->out[0]);
    }
}

/* Outputs that are inputs, constants or other outputs get a buffer of their own. Those of a body
 * are copied to where its node wants them. */
static void copy_outputs(struct graph *g)
{
    for (int i = 0; i < g->n_outputs; i++) {
        struct value *v = g->outputs[i];
        bool copy = !v->def || v->def->op == OP_constant;
        if (dtype_is_list(v->type))
            continue; /* no kernel writes lists: a step copies it */
        for (int k = 0; k < i && !copy; k++)
            copy = g->outputs[k] == v;
        if (!copy)
            continue;
        union attr attr = {.reshape = {{v->rank, v->shape}}};
        struct node *node = graph_insert(g, NULL, OP_reshape, 1, &v, &attr);
        if (!node)
            return;
        g->outputs[i] = node->out[0];
        node->out[0]->is_output = true;
        node->out[0]->name = g->output_names[i];
        bool still = false;
        for (int k = 0; k < g->n_outputs; k++)
            still |= g->outputs[k] == v;
        v->is_output = still;
    }
}

void fusion_begin(struct fusion *f, struct graph *g)
{
    if (!g->outer)
        copy_outputs(g);
    graph_renumber(g->root);
    fuse_mark_narrow_weights(g, &widens);
    uint32_t n_orders = 0;
    for (struct node *node = g->first; node; node = node->next) {
        bool narrow = node->n_out > 0 && node->out[0]->data == &widens;
        n_orders = node->order + 1;
        for (int i = 0; i < node->n_out; i++)
            node->out[i]->data = NULL;
        bool wanted = node->n_out > 0 && fuse_is_wanted(g, node->out[0]);
        if (node->kernel == KERNEL_IN_PLACE)
            continue;
        node->kernel = KERNEL_UNASSIGNED;
        if (node->op == OP_constant || (!wanted && !narrow && depends_on_constants(node)))
            node->kernel = KERNEL_CONSTANT;
    }
    for (struct node *node = g->last, *before; node; node = before) {
        before = node->prev;
        if (node->op == OP_expand && node->kernel == KERNEL_UNASSIGNED) {
            expand_for_constants(g, node);
            expand_for_each(g, node);
        }
        if (node->kernel == KERNEL_UNASSIGNED && !fuse_is_wanted(g, node->out[0]) &&
            !value_has_uses(node->out[0]) && node->n_out == 1)
            node_remove(g, node);
    }
    f->g = g;
    f->seen = ARENA_ARRAY(g->arena, (size_t)n_orders + 1, uint32_t);
    f->cuts = ARENA_ARRAY(g->arena, (size_t)n_orders + 1, uint32_t);
    for (uint32_t i = 0; i <= n_orders; i++)
        f->cuts[i] = i;
    f->typical = ARENA_ARRAY(g->arena, (size_t)dim_symbol_count(g->dims) + 1, int64_t);
    for (int i = 0; i < dim_symbol_count(g->dims); i++)
        f->typical[i] = TYPICAL_SIZE;
    for (int i = 0; i < g->root->n_symbols; i++)
        f->reads_back |=
            g->root->symbols[i].kind == SYMBOL_ELEMENT && g->root->symbols[i].value->def;
}
