/* Removes nodes whose results nobody reads. Graph inputs stay: they are the interface. */
#include "passes.h"

static bool is_dead(const struct node *node)
{
    for (int i = 0; i < node->n_out; i++)
        if (value_has_uses(node->out[i]))
            return false;
    return true;
}

/* A symbol may take its value from an element of a result that no node reads. */
static bool feeds_a_symbol(const struct graph *g, const struct node *node)
{
    for (int i = 0; i < g->root->n_symbols; i++)
        if (g->root->symbols[i].kind == SYMBOL_ELEMENT && g->root->symbols[i].value->def == node)
            return true;
    return false;
}

bool pass_remove_dead(struct graph *g)
{
    bool changed = false;
    for (struct node *node = g->last, *prev; node; node = prev) {
        prev = node->prev;
        if (is_dead(node) && !feeds_a_symbol(g, node)) {
            node_remove(g, node);
            changed = true;
        }
    }
    return changed;
}
