/*
 * What a loop's body computes from nothing but its captures is the same in every iteration, and is
 * computed once, in front of the loop: the transposed weights of a recurrence, say.
 *
 * Views that repeat or select elements stay where they are, since a kernel reads through them; what
 * depends on constants alone is computed while the plan is written, wherever it stands.
 */
#include "passes.h"

#include <string.h>

/* value->data of what every iteration finds or computes alike. */
static int constant_mark; /* … made of constants and sizes */
static int capture_mark;  /* … made of a capture, by views: no gain */
static int gain_mark;     /* … computed from a capture: worth hoisting */

struct hoist {
    struct graph *g;
    struct node *loop;
    /* By id of the body's value: */
    struct value **outside; /* what it is in front of the loop */
    bool *wanted;           /* is needed there */
    bool *captured;         /* is read in the body from there */
    bool *read_inside;      /* is read by what stays in the body */
    bool *stays;            /* would bring a check that holds only where the body runs */
};

static bool is_invariant(const struct value *v)
{
    return v->data == &constant_mark || v->data == &capture_mark || v->data == &gain_mark;
}

/* -- What is invariant -- */

struct reach {
    const struct hoist *h;
    bool good;
};

/* Is the size known in front of the loop? */
static void check_symbol(void *context, const struct dim *symbol)
{
    struct reach *r = context;
    const struct graph *root = r->h->g->root, *body = r->h->loop->body[0];
    if (symbol == r->h->loop->attr.loop.index)
        r->good = false;
    if (symbol->symbol < root->n_symbols && root->symbols[symbol->symbol].kind == SYMBOL_ELEMENT)
        r->good &= !graph_is_within(root->symbols[symbol->symbol].value->graph, body);
}

static void check_dim(void *context, const struct dim *d)
{
    struct reach *r = context;
    dim_visit_symbols(d, check_symbol, context);
    r->good &= d->overflows == false;
}

static bool has_outer_sizes(const struct hoist *h, const struct node *node)
{
    struct reach r = {h, true};
    node_visit_dims(node, check_dim, &r);
    for (int i = 0; i < node->n_out; i++) /* a negative one is an error where the body runs only */
        for (int k = 0; k < node->out[i]->rank; k++)
            r.good &= node->out[i]->shape[k]->lower >= 0;
    return r.good;
}

/* A view through which a kernel reads at no cost. */
static bool is_free_view(const struct node *node)
{
    return node->op == OP_expand || node->op == OP_slice || node->op == OP_reshape;
}

static void *mark_of(const struct hoist *h, const struct node *node)
{
    bool captures = false, gains = false;
    for (int i = 0; i < node->n_in; i++) {
        if (!is_invariant(node->in[i]))
            return NULL;
        captures |= node->in[i]->data != &constant_mark;
        gains |= node->in[i]->data == &gain_mark;
    }
    if (node->body[0] || h->stays[node->out[0]->id] || !has_outer_sizes(h, node))
        return NULL;
    if (!captures)
        return &constant_mark;
    return gains || !is_free_view(node) ? &gain_mark : &capture_mark;
}

static void mark_values(struct hoist *h)
{
    struct graph *body = h->loop->body[0];
    for (int i = 0; i < body->n_inputs; i++)
        body->inputs[i]->data = i < h->loop->attr.loop.states ? NULL : &capture_mark;
    for (struct node *node = body->first; node; node = node->next) {
        void *mark = mark_of(h, node);
        for (int i = 0; i < node->n_out; i++)
            node->out[i]->data = mark;
    }
}

/* -- Hoisting -- */

/* Is v read by what stays inside, itself or through a view that stays? */
static bool is_read_inside(const struct hoist *h, const struct value *v)
{
    bool read = v->is_output;
    for (const struct use *use = v->uses; use && !read; use = use->next) {
        const struct value *result = use->node->out[0];
        read =
            result->data != &gain_mark || (is_free_view(use->node) && h->read_inside[result->id]);
    }
    return read;
}

/* Results worth it that are read inside are captured, but for views at their ends; what these are
 * computed from is wanted in front of the loop, too. Backwards, so that readers come first. */
static bool find_wanted(struct hoist *h)
{
    bool any = false;
    for (struct node *node = h->loop->body[0]->last; node; node = node->prev) {
        bool wanted = false;
        for (int i = 0; i < node->n_out; i++) {
            const struct value *v = node->out[i];
            h->read_inside[v->id] = is_read_inside(h, v);
            h->captured[v->id] =
                v->data == &gain_mark && !is_free_view(node) && h->read_inside[v->id];
            wanted |= h->captured[v->id] || h->wanted[v->id];
            any |= h->captured[v->id];
        }
        for (int i = 0; i < node->n_out; i++)
            h->wanted[node->out[i]->id] = wanted;
        for (int i = 0; i < node->n_in && wanted; i++)
            h->wanted[node->in[i]->id] = true;
    }
    return any;
}

static struct constraint **last_check(struct graph *g)
{
    struct constraint **link = &g->constraints;
    while (*link)
        link = &(*link)->next;
    return link;
}

/* A copy of the node in front of the loop. */
static bool hoist_node(struct hoist *h, const struct node *node)
{
    struct constraint **check = last_check(h->g);
    struct graph *g = h->g;
    struct value **in = ARENA_ARRAY(g->arena, (size_t)node->n_in, struct value *);
    for (int i = 0; i < node->n_in; i++)
        in[i] = h->outside[node->in[i]->id];
    g->origin = node->origin;
    struct node *copy = graph_insert(g, h->loop, node->op, node->n_in, in, &node->attr);
    if (copy && *check) {
        node_remove(g, copy);
        *check = NULL;
        h->stays[node->out[0]->id] = true;
        copy = NULL;
    }
    for (int i = 0; copy && i < node->n_out; i++) {
        h->outside[node->out[i]->id] = copy->out[i];
        copy->out[i]->shape = node->out[i]->shape;
    }
    return copy != NULL;
}

static void capture_results(struct hoist *h, const struct node *node)
{
    for (int i = 0; i < node->n_out; i++) {
        struct value *v = node->out[i];
        if (h->captured[v->id])
            value_replace_uses(h->loop->body[0], v,
                               control_capture(h->g, h->loop, h->outside[v->id])[0]);
    }
}

/* Copies of what is wanted; false when a node must stay: then all is to be decided anew. */
static bool hoist_nodes(struct hoist *h)
{
    struct graph *body = h->loop->body[0];
    for (int i = 0; i < body->n_inputs; i++)
        h->outside[body->inputs[i]->id] = h->loop->in[i];
    for (struct node *node = body->first; node; node = node->next)
        if (h->wanted[node->out[0]->id] && !hoist_node(h, node))
            return false;
    return true;
}

static bool hoist_from(struct graph *g, struct node *loop)
{
    struct hoist h = {.g = g, .loop = loop};
    struct graph *body = loop->body[0];
    size_t n_ids = g->root->next_id;
    int errors = g->diag->errors;
    h.outside = ARENA_ARRAY(g->arena, n_ids, struct value *);
    h.wanted = ARENA_ARRAY(g->arena, n_ids, bool);
    h.captured = ARENA_ARRAY(g->arena, n_ids, bool);
    h.read_inside = ARENA_ARRAY(g->arena, n_ids, bool);
    h.stays = ARENA_ARRAY(g->arena, n_ids, bool);
    do {
        memset(h.wanted, 0, n_ids * sizeof *h.wanted);
        mark_values(&h);
        if (!find_wanted(&h) || g->diag->errors != errors)
            return false;
    } while (!hoist_nodes(&h));
    for (struct node *node = body->first; node; node = node->next)
        capture_results(&h, node);
    return true;
}

/* Inner loops first: what leaves one may leave the next. */
static bool hoist_in(struct graph *g)
{
    const char *origin = g->origin;
    bool changed = false;
    for (struct node *node = g->first; node; node = node->next) {
        for (int i = 0; i < 2; i++)
            changed |= node->body[i] && hoist_in(node->body[i]);
        if (node->op == OP_loop)
            changed |= hoist_from(g, node);
    }
    g->origin = origin;
    return changed;
}

bool pass_hoist_invariants(struct graph *g)
{
    return hoist_in(g);
}
