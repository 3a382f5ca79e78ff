/*
 * Concats without copies (KERNEL_IN_PLACE): the kernels that make the operands write them where
 * they lie in the result, which then takes no kernel. Readers of an operand read the slice.
 *
 * That is for operands that kernels write to memory anyway: results of cores, with the maps behind
 * them. One operand may be a map of its own, since then its kernel takes the place of the one that
 * would copy all of them. A concat that a map, a reduction or a row could read piece by piece is
 * left to them unless all its operands are in memory anyway.
 *
 * A cast between a concat and an output is taken to the operands first: the kernels that make them
 * do it, and write the output itself.
 *
 * Concats that repeat another one's operands in front of more are made of its result first, so that
 * blocks in which every layer reads all results before it (DenseNet) lie in one buffer.
 */
#include "../ir/build.h"
#include "fuse.h"
#include "match.h"

#include <string.h>

enum {
    MOST_DEPTH = 64, /* concats in concats */
    MOST_CHAIN = 16, /* maps between a core and an operand */
};

/* -- Concats of concats -- */

/* Are the operands of `first` the first ones of `concat`, along one axis? */
static bool begins_with(const struct node *concat, const struct node *first)
{
    if (first->op != OP_concat || first == concat || first->n_in < 2 ||
        first->n_in >= concat->n_in || first->order > concat->order ||
        first->attr.concat.axis != concat->attr.concat.axis)
        return false;
    for (int i = 0; i < first->n_in; i++)
        if (first->in[i] != concat->in[i])
            return false;
    return true;
}

static bool nest(struct graph *g, struct node *concat)
{
    const struct node *best = NULL;
    for (const struct use *use = concat->in[0]->uses; use; use = use->next)
        if (begins_with(concat, use->node) && (!best || use->node->n_in > best->n_in))
            best = use->node;
    if (!best)
        return false;
    int n = concat->n_in - best->n_in + 1;
    struct value **in = ARENA_ARRAY(g->arena, (size_t)n, struct value *);
    in[0] = best->out[0];
    memcpy(in + 1, concat->in + best->n_in, (size_t)(n - 1) * sizeof *in);
    node_set_operands(g, concat, n, in);
    graph_remark(g, "place_concats", concat, "is made of %s, which has its first %d operands",
                 best->origin ? best->origin : "another concat", best->n_in);
    return true;
}

/* -- Which operands -- */

static bool is_host_class(const struct node *node)
{
    enum op_class class = op_info[node->op].class;
    return class == OC_CONTROL || class == OC_LIST;
}

static bool same_order(const struct value *a, const struct value *b)
{
    for (int i = 0; i < a->rank; i++)
        if ((a->layout ? a->layout->perm.axis[i] : i) != (b->layout ? b->layout->perm.axis[i] : i))
            return false;
    return true;
}

/* Why v cannot be written where it lies in the concat's result; NULL: it can. */
static const char *obstacle(const struct graph *g, const struct node *concat, const struct value *v)
{
    const struct node *def = v->def;
    int here = 0;
    if (!def)
        return "an input";
    enum op_class class = op_info[def->op].class;
    if (class == OC_CONST || is_host_class(def) || class == OC_SELECT || class == OC_SCATTER)
        return "made in memory of its own";
    if (fuse_is_generator(def) || def->op == OP_expand)
        return "cheaper to make again than to store";
    if (fuse_is_wanted(g, v))
        return "an output, read by the host, or part of another concat";
    for (const struct use *use = v->uses; use; use = use->next) {
        enum op_class reader = op_info[use->node->op].class;
        if (is_host_class(use->node) || (reader == OC_CONTRACT && use->operand == 1))
            return "read by a node that needs all of it in one piece";
        here += use->node == concat;
    }
    if (here != 1)
        return "in it more than once";
    return same_order(v, concat->out[0]) ? NULL : "in another layout";
}

/* Written to memory by the kernel of a core, or read by so many that it is stored anyway? */
static bool is_stored_anyway(struct graph *g, const struct value *v)
{
    for (int i = 0; i < MOST_CHAIN && v->def; i++) {
        const struct node *def = v->def;
        bool view = def->op == OP_reshape || match_cuts_product(def) ||
                    (def->op == OP_transpose && fuse_keeps_rows(g, def));
        if (def->kernel == KERNEL_IN_PLACE || fuse_is_core(def))
            return true;
        if (!fuse_is_scalar(def) && !view)
            return false;
        const struct value *next = NULL; /* the operand that is no constant, broadcast or not */
        for (int k = 0; k < def->n_in; k++) {
            const struct node *from = def->in[k]->def;
            bool constant = from && (from->op == OP_constant || from->op == OP_expand);
            if (!constant && (!next || (from && fuse_is_core(from))))
                next = def->in[k];
        }
        if (!next)
            return false;
        v = next;
    }
    return false;
}

/* Would a kernel of its own copy the operands together? */
static bool is_materialized(const struct graph *g, const struct node *concat)
{
    const struct value *y = concat->out[0];
    int readers = 0;
    if (fuse_is_wanted(g, y))
        return true;
    for (const struct use *use = y->uses; use; use = use->next, readers++) {
        enum op_class class = op_info[use->node->op].class;
        if (fuse_is_core(use->node) && class != OC_REDUCE && class != OC_ROW && class != OC_SCAN)
            return true;
    }
    return readers > 1;
}

static bool is_alias(const struct graph *g, const struct value *v)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == v && g->output_alias[i] >= 0)
            return true;
    return false;
}

struct element_search {
    const struct graph *root;
    bool found;
};

static void find_element(void *context, const struct dim *symbol)
{
    struct element_search *s = context;
    if (symbol->symbol < s->root->n_symbols)
        s->found |= s->root->symbols[symbol->symbol].kind == SYMBOL_ELEMENT;
}

/* Does where an operand lies depend on sizes that the plan reads back as it runs? Then its kernel
 * would have to wait for more than its own sizes. */
static bool is_placed_late(const struct graph *g, const struct node *concat)
{
    struct element_search s = {g->root, false};
    for (int i = 0; i < concat->n_in; i++)
        for (int k = 0; k < concat->in[i]->rank; k++)
            dim_visit_symbols(concat->in[i]->shape[k], find_element, &s);
    return s.found;
}

/* Why the concat stays a copy, or NULL. *operand: which of them is to blame, or -1. */
static const char *why_not(struct graph *g, const struct node *concat, const int *depth,
                           int *operand)
{
    const struct value *y = concat->out[0];
    int maps = 0;
    *operand = -1;
    if ((y->is_output && (g->outer || is_alias(g, y))) || concat->n_in < 2)
        return "its result lies where others want it";
    if (is_placed_late(g, concat))
        return "sizes of its operands are read back as the plan runs";
    for (const struct use *use = y->uses; use; use = use->next)
        if (is_host_class(use->node))
            return "control flow or a list takes its result";
    for (int i = 0; i < concat->n_in; i++)
        if (concat->in[i]->def && depth[concat->in[i]->def->order] >= MOST_DEPTH)
            return "it holds too many others";
    for (int i = 0; i < concat->n_in; i++) {
        const char *why = obstacle(g, concat, concat->in[i]);
        *operand = i;
        if (why)
            return why;
        maps += !is_stored_anyway(g, concat->in[i]);
    }
    *operand = -1;
    if (maps > 1 || maps == concat->n_in)
        return "its operands would be kernels by themselves";
    if (maps > 0 && !is_materialized(g, concat))
        return "its readers can choose between the operands";
    return NULL;
}

/* -- Casts behind -- */

/* The cast that alone reads the concat and makes an output; NULL: there is none, or a kernel of its
 * own would have to apply it to an operand. */
static struct node *cast_behind(struct graph *g, const struct node *concat)
{
    int operand;
    struct node *cast = match_reader(concat->out[0], &operand);
    if (!cast || cast->op != OP_cast || !cast->out[0]->is_output || concat->n_in < 2)
        return NULL;
    for (int i = 0; i < concat->n_in; i++)
        if (!match_reader(concat->in[i], &operand) || obstacle(g, concat, concat->in[i]) ||
            !is_stored_anyway(g, concat->in[i]))
            return NULL;
    return cast;
}

/* A concat of casts instead of a cast of a concat. */
static bool cast_operands(struct graph *g, struct node *concat)
{
    struct node *cast = cast_behind(g, concat);
    if (!cast)
        return false;
    struct builder b = {g, concat};
    enum dtype type = cast->out[0]->type;
    struct value **in = ARENA_ARRAY(g->arena, (size_t)concat->n_in, struct value *);
    g->origin = concat->origin;
    for (int i = 0; i < concat->n_in; i++)
        in[i] = cast->attr.cast.saturate ? build_cast(&b, concat->in[i], type)
                                         : build_cast_wrap(&b, concat->in[i], type);
    struct value *y = build_concat(&b, concat->n_in, in, (int)concat->attr.concat.axis);
    value_replace_uses(g, cast->out[0], y);
    node_remove(g, cast);
    node_remove(g, concat);
    return true;
}

/* -- Alignment -- */

/* Do slices begin, and rows follow each other, at multiples of 16 bytes? Where that is not known,
 * kernels go element by element. */
static bool keeps_vectors(struct graph *g, const struct node *concat)
{
    const struct value *y = concat->out[0];
    int axis = (int)concat->attr.concat.axis, at = 0;
    int64_t inner = 1, extent, elements = (int64_t)(16 / dtype_size(y->type));
    while (at < y->rank && (y->layout ? y->layout->perm.axis[at] : at) != axis)
        at++;
    for (int i = at + 1; i < y->rank; i++) {
        if (!dim_is_const(y->shape[y->layout ? y->layout->perm.axis[i] : i], &extent))
            return false;
        inner = fuse_multiply(inner, extent);
    }
    const struct dim *unit = dim_const(g->dims, inner), *sixteen = dim_const(g->dims, elements);
    for (int i = 0; i < concat->n_in; i++) {
        const struct dim *part = dim_mul(g->dims, concat->in[i]->shape[axis], unit);
        if (!dim_is(dim_mod(g->dims, part, sixteen), 0))
            return false;
    }
    return true;
}

/* depth: by order, how many concats in place lie in each other there. */
static bool place_concat(struct graph *g, struct node *concat, int *depth)
{
    int operand;
    const char *why = why_not(g, concat, depth, &operand);
    if (why && operand >= 0)
        graph_remark(g, "place_concats", concat, "stays a copy: operand %d is %s", operand, why);
    else if (why)
        graph_remark(g, "place_concats", concat, "stays a copy: %s", why);
    if (why)
        return false;
    concat->kernel = KERNEL_IN_PLACE;
    for (int i = 0; i < concat->n_in; i++) {
        int inner = depth[concat->in[i]->def->order];
        if (depth[concat->order] <= inner)
            depth[concat->order] = inner + 1;
    }
    graph_remark(g, "place_concats", concat, "its %d operands are written where they lie in it%s",
                 concat->n_in,
                 keeps_vectors(g, concat)
                     ? ""
                     : "; its parts are no multiples of 16 bytes, so not all "
                       "of that goes in vectors, which costs less than a copy");
    return true;
}

static bool place_graph(struct graph *g)
{
    bool changed = false;
    const char *origin = g->origin;
    for (struct node *node = g->first, *next; node; node = next) {
        struct node *before = node->prev;
        next = node->next;
        if (node->op != OP_concat || !cast_operands(g, node))
            continue;
        next = before ? before->next : g->first; /* what is behind it may be gone */
        changed = true;
    }
    g->origin = origin;
    graph_renumber(g->root);
    size_t orders = g->last ? (size_t)g->last->order + 1 : 1;
    int *depth = ARENA_ARRAY(g->arena, orders, int);
    memset(depth, 0, orders * sizeof *depth);
    for (struct node *node = g->first; node; node = node->next)
        if (node->op == OP_concat)
            changed |= nest(g, node);
    for (struct node *node = g->first; node; node = node->next)
        if (node->op == OP_concat)
            changed |= place_concat(g, node, depth);
    return changed;
}

bool pass_place_concats(struct graph *g)
{
    return pass_each_graph(g, place_graph);
}
