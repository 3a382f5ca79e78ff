/*
 * Constants: small nodes that depend on constants alone become literals, and so do integer tensors
 * whose elements follow from shape arithmetic. Large results stay expressions: they are recipes,
 * carried out while the plan is written, so that the compiler never holds two copies of a model's
 * weights.
 *
 * expand and iota stay as they are: they cost a kernel nothing, and a literal would hide that all
 * elements are alike. Quantized weights stay as narrow as they are: fold_quantization multiplies
 * them so, and kernels unpack them.
 */
#include "passes.h"

#include <string.h>

#include "../ir/build.h"
#include "../ir/eval.h"

enum { MOST_BYTES = 65536, MOST_KNOWN = 64 };

static int constant_mark; /* value->data of a constant expression */

static bool is_constant_expression(const struct node *node)
{
    int64_t n;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i]->data != &constant_mark)
            return false;
    for (int i = 0; i < node->n_out; i++)
        if (!value_elements_const(node->out[i], &n))
            return false;
    return eval_is_portable(node) && !node->body[0] && pass_knows_attributes(node);
}

static bool is_small(const struct value *v)
{
    int64_t n;
    size_t size = dtype_size(v->type);
    return value_elements_const(v, &n) && size > 0 && (uint64_t)n <= MOST_BYTES / size;
}

/* The first step away from quantized weights: a wider type, or the halves of a byte. */
static bool unpacks_weights(const struct node *node)
{
    const struct value *x = node->n_in > 0 ? node->in[0] : NULL;
    int axes = 0;
    while (x && x->def && (x->def->op == OP_expand || x->def->op == OP_reshape))
        x = x->def->in[0];
    if (!x || !value_is_const(x) || dtype_info[x->type].bits > 8 || x->type == DT_BOOL)
        return false;
    for (int i = 0; i < x->rank; i++)
        axes += !dim_is(x->shape[i], 1);
    if (axes < 2)
        return false;
    return node->op == OP_cast ? dtype_info[node->out[0]->type].bits >= 16
                               : node->op == OP_and || node->op == OP_shr;
}

static bool wants_folding(const struct node *node)
{
    if (node->op == OP_constant || node->op == OP_iota || node->op == OP_expand)
        return false;
    for (int i = 0; i < node->n_out; i++)
        if (!is_small(node->out[i]) || node->out[i]->layout)
            return false;
    return true;
}

static struct value *literal(struct builder *b, const struct value *like, const void *bytes)
{
    int64_t shape[MAX_RANK];
    for (int i = 0; i < like->rank; i++)
        if (!dim_is_const(like->shape[i], &shape[i]))
            return NULL;
    return build_constant(b, like->type, like->rank, shape, bytes, NULL);
}

static bool fold_by_evaluation(struct builder *b, struct node *node)
{
    bool changed = false;
    for (int i = 0; i < node->n_out; i++) {
        struct tensor t;
        int64_t n = 0;
        value_elements_const(node->out[i], &n); /* is_small: it is known */
        /* Taken before t is there, which a jump for want of memory would lose. */
        void *bytes = arena_array(b->g->arena, (size_t)n + 1, dtype_size(node->out[i]->type));
        if (!eval_constant(b->g, node->out[i], &t))
            return changed;
        memcpy(bytes, t.data, t.size);
        tensor_free(&t);
        struct value *v = literal(b, node->out[i], bytes);
        if (!v)
            return changed;
        v->data = &constant_mark;
        value_replace_uses(b->g, node->out[i], v);
        changed = true;
    }
    return changed;
}

/* Integer tensors whose elements are known through shapes that are fixed. */
static bool fold_by_shapes(struct builder *b, struct node *node)
{
    const struct dim *elements[MOST_KNOWN];
    struct value *v = node->out[0];
    int64_t n, element;
    if (node->n_out != 1 || (v->type != DT_I64 && v->type != DT_I32) ||
        !value_elements_const(v, &n) || n > MOST_KNOWN ||
        !graph_known_elements(b->g, v, elements, MOST_KNOWN))
        return false;
    unsigned char *bytes = arena_array(b->g->arena, (size_t)n + 1, sizeof(int64_t));
    for (int64_t i = 0; i < n; i++) {
        if (!dim_is_const(elements[i], &element))
            return false;
        int32_t narrow = (int32_t)element;
        if (v->type == DT_I32 && narrow != element)
            return false;
        if (v->type == DT_I32)
            memcpy(bytes + 4 * i, &narrow, 4);
        else
            memcpy(bytes + 8 * i, &element, 8);
    }
    struct value *known = literal(b, v, bytes);
    if (!known)
        return false;
    known->data = &constant_mark;
    value_replace_uses(b->g, v, known);
    return true;
}

static bool fold_graph(struct graph *g)
{
    bool changed = false;
    const char *origin = g->origin;
    for (int i = 0; i < g->n_inputs; i++)
        g->inputs[i]->data = NULL;
    for (struct node *node = g->first, *next; node; node = next) {
        struct builder b = {g, node};
        next = node->next;
        g->origin = node->origin;
        bool constant = is_constant_expression(node) && !unpacks_weights(node);
        for (int i = 0; i < node->n_out; i++)
            node->out[i]->data = constant ? &constant_mark : NULL;
        if (!wants_folding(node))
            continue;
        changed |= constant ? fold_by_evaluation(&b, node) : fold_by_shapes(&b, node);
    }
    g->origin = origin;
    return changed;
}

bool pass_fold_constants(struct graph *g)
{
    return pass_each_graph(g, fold_graph);
}
