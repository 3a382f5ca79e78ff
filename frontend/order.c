/* Nodes in an order of dependence. ONNX demands it of files, but runtimes take them in any order,
 * so such files exist. Nodes that are in order already stay as they are. */
#include "import.h"

enum state { UNSEEN, OPEN, PLACED };

struct walk {
    struct import *im;
    Onnx__NodeProto *const *nodes;
    struct name_map makers; /* output name → producer */
    uint8_t *state;
    size_t *order, n_placed;
    size_t *stack; /* nodes that wait for an input of theirs */
    size_t depth;
};

/* Opens the maker of a name, if it is one of ours that is not placed; true when it was opened. */
static bool open_maker(struct walk *w, const char *name)
{
    const struct name_entry *e = names_find(&w->makers, name);
    if (!e || w->state[e->producer] != UNSEEN)
        return false;
    w->state[e->producer] = OPEN;
    w->stack[w->depth++] = e->producer;
    return true;
}

/* The same for all that a node reads, what the bodies in its attributes read from outside included.
 */
static bool open_missing(struct walk *w, const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < node->n_input; i++)
        if (open_maker(w, node->input[i]))
            return true;
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__GraphProto *body = node->attribute[i]->g;
        for (size_t k = 0; body && k < body->n_node; k++)
            if (open_missing(w, body->node[k]))
                return true;
        for (size_t k = 0; body && k < body->n_output; k++)
            if (body->output[k]->name && open_maker(w, body->output[k]->name))
                return true;
    }
    return false;
}

const size_t *order_nodes(struct import *im, size_t n, Onnx__NodeProto *const *nodes)
{
    struct walk w = {.im = im, .nodes = nodes};
    w.state = ARENA_ARRAY(im->arena, n, uint8_t);
    w.order = ARENA_ARRAY(im->arena, n, size_t);
    w.stack = ARENA_ARRAY(im->arena, n + 1, size_t);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < nodes[i]->n_output; k++)
            if (*nodes[i]->output[k] && !names_find(&w.makers, nodes[i]->output[k]))
                names_put(im->arena, &w.makers, nodes[i]->output[k], NULL)->producer = i;
    for (size_t i = 0; i < n; i++) {
        if (w.state[i] != UNSEEN)
            continue;
        w.state[i] = OPEN;
        w.stack[w.depth++] = i;
        while (w.depth > 0) {
            size_t top = w.stack[w.depth - 1];
            if (open_missing(&w, nodes[top]))
                continue; /* a cycle ends here too: its maker is open, and the walk reports it */
            w.state[top] = PLACED;
            w.order[w.n_placed++] = top;
            w.depth--;
        }
    }
    return w.order;
}
