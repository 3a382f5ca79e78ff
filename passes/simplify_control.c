/*
 * Branches and loops whose course is known, and what their bodies need not be given or check:
 *
 * - a branch on a constant, and a loop of one iteration, give way to their body; a loop of none to
 *   its operands;
 * - a state that every iteration passes on unchanged is no state;
 * - constants are made in the bodies that read them; what is given twice is given once.
 */
#include "passes.h"

#include "../ir/build.h"

/* -- Symbols whose value has become known -- */

enum { MOST_KNOWN = 64 };

static const struct dim *known_symbol(struct graph *root, int symbol)
{
    const struct symbol_source *source = &root->symbols[symbol];
    const struct dim *elements[MOST_KNOWN];
    int64_t value, lower, upper;
    dim_bounds(dim_symbol_at(root->dims, symbol), &lower, &upper);
    if (source->kind != SYMBOL_ELEMENT || source->element < 0 || source->element >= MOST_KNOWN ||
        !graph_known_elements(source->value->graph, source->value, elements, MOST_KNOWN))
        return NULL;
    const struct dim *d = elements[source->element];
    return dim_is_const(d, &value) && value >= lower && value <= upper ? d : NULL;
}

/* Elements that folding has made constants are sizes like any other. */
static bool replace_known_symbols(struct graph *root)
{
    const struct dim **known =
        ARENA_ARRAY(root->arena, (size_t)root->n_symbols + 1, const struct dim *);
    bool any = false;
    for (int i = 0; i < root->n_symbols; i++) {
        known[i] = known_symbol(root, i);
        if (!known[i])
            continue;
        root->symbols[i] = (struct symbol_source){.kind = SYMBOL_FREE};
        any = true;
    }
    if (any)
        graph_replace_symbols(root, root->n_symbols, known);
    return any;
}

/* -- Whole nodes -- */

/* Results of a loop that never runs: its states as they are, and stacks of nothing. */
static bool skip_loop(struct graph *g, struct node *loop)
{
    struct builder b = {g, loop};
    for (int i = 0; i < loop->n_out; i++)
        if (i >= loop->attr.loop.states && dtype_size(loop->out[i]->type) == 0)
            return false;
    for (int i = 0; i < loop->n_out; i++) {
        struct value *v = loop->out[i], *instead = loop->in[i];
        if (i >= loop->attr.loop.states) {
            static const char zero[16];
            instead = build_constant(&b, v->type, 0, NULL, zero, NULL);
            instead = build_expand(&b, instead, v->rank, v->shape);
        }
        if (!instead)
            return true; /* reported */
        value_replace_uses(g, v, instead);
    }
    node_remove(g, loop);
    return true;
}

/* One iteration, the first, in the place of the loop. */
static void inline_loop(struct graph *g, struct node *loop)
{
    struct graph *body = loop->body[0];
    const struct dim *index = loop->attr.loop.index;
    const struct dim **to = ARENA_ARRAY(g->arena, (size_t)index->symbol + 1, const struct dim *);
    to[index->symbol] = dim_const(g->dims, 0);
    if (!graph_replace_symbols(body, index->symbol + 1, to))
        return;
    struct builder b = {body, NULL};
    body->origin = loop->origin;
    for (int i = (int)loop->attr.loop.states; i < loop->n_out; i++) {
        struct value *stacked = build_unsqueeze(&b, body->outputs[i], 1);
        if (!stacked)
            return;
        body->outputs[i]->is_output = false;
        body->outputs[i] = stacked;
    }
    control_inline(g, loop, body);
}

static bool replace_node(struct graph *g, struct node *node)
{
    int64_t n;
    if (node->op == OP_branch && dim_is_const(node->attr.branch.condition, &n)) {
        control_inline(g, node, node->body[n ? 0 : 1]);
        return true;
    }
    if (node->op != OP_loop || !dim_is_const(node->attr.loop.trips, &n) || n > 1)
        return false;
    if (n <= 0)
        return skip_loop(g, node);
    inline_loop(g, node);
    return true;
}

/* -- States and operands -- */

/* Whatever happens, the result is an operand. */
static const struct value *passed_on(const struct node *node, int result)
{
    const struct value *v = node->body[0]->outputs[result];
    if (v->def)
        return NULL;
    if (node->op == OP_loop)
        return result < node->attr.loop.states && v->index == result ? node->in[result] : NULL;
    const struct value *other = node->body[1]->outputs[result];
    return !other->def && node->in[v->index] == node->in[other->index] ? node->in[v->index] : NULL;
}

static bool drop_passed_on(struct graph *g, struct node *node)
{
    bool changed = false;
    for (int i = node->n_out - 1; i >= 0; i--) {
        struct value *v = (struct value *)(uintptr_t)passed_on(node, i);
        if (!v)
            continue;
        value_replace_uses(g, node->out[i], v);
        if (node->n_out > 1)
            control_drop_result(g, node, i);
        changed = true;
    }
    return changed;
}

/* A copy in the body of a constant, or of what costs no more; NULL: of anything else. */
static struct value *made_inside(struct graph *body, const struct value *v, int depth)
{
    struct node *def = v->def;
    struct value *in = NULL;
    if (!def || depth == 0)
        return NULL;
    if (def->op == OP_expand || def->op == OP_reshape)
        in = made_inside(body, def->in[0], depth - 1);
    if (!in && op_info[def->op].class != OC_CONST)
        return NULL;
    body->origin = def->origin;
    struct node *copy = graph_insert(body, body->first, def->op, def->n_in, &in, &def->attr);
    if (copy && in) /* behind what it reads */
        node_move_before(body, copy, in->def->next);
    return copy ? copy->out[0] : NULL;
}

/* Operand i of node from within, where it need not be given; once for each body. */
static bool replace_operand(struct node *node, int operand, int first)
{
    bool done = true;
    for (int k = 0; k < 2 && node->body[k]; k++) {
        struct graph *body = node->body[k];
        struct value *instead = made_inside(body, node->in[operand], 4);
        for (int i = first; i < operand && !instead; i++)
            if (node->in[i] == node->in[operand])
                instead = body->inputs[i];
        if (instead)
            value_replace_uses(body, body->inputs[operand], instead);
        done &= instead != NULL;
    }
    return done;
}

static bool drop_operands(struct graph *g, struct node *node)
{
    int states = node->op == OP_loop ? (int)node->attr.loop.states : 0;
    bool changed = false;
    for (int i = node->n_in - 1; i >= states; i--)
        if (replace_operand(node, i, states)) {
            control_drop_operand(g, node, i);
            changed = true;
        }
    return changed;
}

/* -- The pass -- */

static bool simplify_graph(struct graph *g)
{
    const char *origin = g->origin;
    bool changed = false;
    for (struct node *node = g->first, *next; node; node = next) {
        struct node *before = node->prev;
        next = node->next;
        if (!node->body[0])
            continue;
        g->origin = node->origin;
        if (replace_node(g, node)) {
            changed = true;
            if (g->diag->errors)
                break;
            next = before ? before->next : g->first; /* what came in its place */
            continue;
        }
        changed |= drop_passed_on(g, node);
        changed |= drop_operands(g, node);
        if (node->op == OP_loop)
            changed |= loop_drop_checks(node); /* trips may be better known now */
    }
    g->origin = origin;
    return changed;
}

bool pass_simplify_control(struct graph *g)
{
    bool changed = replace_known_symbols(g);
    return !g->diag->errors && (pass_each_graph(g, simplify_graph) || changed);
}
