/*
 * Removes nodes whose results nobody reads. Graph inputs stay: they are the interface. Nodes of
 * control flow lose the results that nobody reads, what their bodies computed for them, and then
 * the operands that no body reads any more. A state of a loop is dead, too, when only dead states
 * come of it.
 */
#include "passes.h"

static int needed_mark; /* value->data of what a loop's body needs */

/* -- Symbols -- */

static void mark_symbol(void *context, const struct dim *symbol)
{
    ((bool *)context)[symbol->symbol] = true;
}

static void mark_symbols(void *context, const struct dim *d)
{
    dim_visit_symbols(d, mark_symbol, context);
}

/* A symbol that stands nowhere needs no value. */
static bool forget_unused_symbols(struct graph *root)
{
    bool any = false;
    bool *used = ARENA_ARRAY(root->arena, (size_t)dim_symbol_count(root->dims) + 1, bool);
    graph_visit_dims(root, mark_symbols, used);
    for (int i = 0; i < root->n_symbols; i++)
        if (!used[i] && root->symbols[i].kind == SYMBOL_ELEMENT) {
            root->symbols[i] = (struct symbol_source){.kind = SYMBOL_FREE};
            any = true;
        }
    return any;
}

/* A symbol may take its value from an element of a result that no node reads. */
static bool is_wanted(const struct graph *g, const struct value *v)
{
    if (value_has_uses(v))
        return true;
    for (int i = 0; i < g->root->n_symbols; i++)
        if (g->root->symbols[i].kind == SYMBOL_ELEMENT && g->root->symbols[i].value == v)
            return true;
    return false;
}

static bool is_dead(const struct graph *g, const struct node *node)
{
    for (int i = 0; i < node->n_out; i++)
        if (is_wanted(g, node->out[i]))
            return false;
    return true;
}

/* -- Nodes with bodies -- */

static bool is_needed(const struct value *v)
{
    return v->data == &needed_mark;
}

static void clear_marks(struct graph *body)
{
    for (int i = 0; i < body->n_inputs; i++)
        body->inputs[i]->data = NULL;
    for (struct node *node = body->first; node; node = node->next)
        for (int i = 0; i < node->n_out; i++)
            node->out[i]->data = NULL;
}

/* Marks what the body's symbols and the needed outputs come from. */
static void mark_needed(struct graph *body, const bool *needed)
{
    clear_marks(body);
    for (int i = 0; i < body->root->n_symbols; i++) {
        const struct symbol_source *source = &body->root->symbols[i];
        if (source->kind == SYMBOL_ELEMENT && source->value->graph == body)
            source->value->data = &needed_mark;
    }
    for (int i = 0; i < body->n_outputs; i++)
        if (needed[i])
            body->outputs[i]->data = &needed_mark;
    for (struct node *node = body->last; node; node = node->prev) {
        bool reads = false;
        for (int i = 0; i < node->n_out; i++)
            reads |= is_needed(node->out[i]);
        for (int i = 0; i < node->n_in && reads; i++)
            node->in[i]->data = &needed_mark;
    }
}

/* Results that are read, and states that these come from in a later iteration. */
static bool *needed_results(const struct graph *g, const struct node *node)
{
    bool *needed = ARENA_ARRAY(g->arena, (size_t)node->n_out, bool), more = node->op == OP_loop;
    for (int i = 0; i < node->n_out; i++)
        needed[i] = is_wanted(g, node->out[i]);
    while (more) {
        mark_needed(node->body[0], needed);
        more = false;
        for (int i = 0; i < node->attr.loop.states; i++)
            if (!needed[i] && is_needed(node->body[0]->inputs[i]))
                needed[i] = more = true;
    }
    return needed;
}

static bool remove_nodes(struct graph *g);

static bool trim(struct graph *g, struct node *node)
{
    const bool *needed = needed_results(g, node);
    bool changed = false;
    for (int i = node->n_out - 1; i >= 0; i--)
        if (!needed[i]) {
            control_drop_result(g, node, i);
            changed = true;
        }
    for (int i = 0; i < 2; i++)
        changed |= node->body[i] && remove_nodes(node->body[i]);
    int states = node->op == OP_loop ? (int)node->attr.loop.states : 0;
    for (int i = node->n_in - 1; i >= states; i--) {
        bool wanted = false;
        for (int k = 0; k < 2 && node->body[k]; k++)
            wanted |= is_wanted(node->body[k], node->body[k]->inputs[i]);
        if (!wanted) {
            control_drop_operand(g, node, i);
            changed = true;
        }
    }
    return changed;
}

static bool remove_nodes(struct graph *g)
{
    bool changed = false;
    for (struct node *node = g->last, *prev; node; node = prev) {
        prev = node->prev;
        if (is_dead(g, node)) {
            node_remove(g, node);
            changed = true;
        } else if (node->body[0]) {
            changed |= trim(g, node);
        }
    }
    return changed;
}

bool pass_remove_dead(struct graph *g)
{
    bool changed = remove_nodes(g);
    while (forget_unused_symbols(g)) {
        remove_nodes(g);
        changed = true;
    }
    return changed;
}
