/* Kernels as a graph: who depends on whom, and an order to run them in. */
#include "fuse.h"

#include <string.h>

/* The last cut at or before that order: what lies in front of it depends on nothing behind it, not
 * even by way of kernels that have members both earlier and later than a node. */
static uint32_t cut_before(struct fusion *f, uint32_t order)
{
    while (f->cuts[order] != order) {
        f->cuts[order] = f->cuts[f->cuts[order]];
        order = f->cuts[order];
    }
    return order;
}

/* A kernel has members from `first` to `last`: there is no cut between. */
static void forget_cuts(struct fusion *f, uint32_t first, uint32_t last)
{
    for (uint32_t at = cut_before(f, last); at > first; at = cut_before(f, at))
        f->cuts[at] = at - 1;
}

int fusion_new_kernel(struct fusion *f, struct node *root)
{
    if (f->n == f->cap) {
        int cap = f->cap ? f->cap * 2 : 64;
        struct fused_kernel *grown = ARENA_ARRAY(f->g->arena, (size_t)cap, struct fused_kernel);
        if (f->n)
            memcpy(grown, f->kernels, (size_t)f->n * sizeof *grown);
        f->kernels = grown;
        f->cap = cap;
    }
    f->kernels[f->n] = (struct fused_kernel){
        .nodes = ARENA_ARRAY(f->g->arena, MOST_NODES, struct node *),
        .space = root->out[0],
        .first = root->order,
        .last = root->order,
    };
    fusion_join(f, f->n, root);
    return f->n++;
}

void fusion_join(struct fusion *f, int kernel, struct node *node)
{
    struct fused_kernel *k = &f->kernels[kernel];
    k->nodes[k->n_nodes++] = node;
    k->n_buffers += node->n_in + node->n_out;
    k->first = node->order < k->first ? node->order : k->first;
    k->last = node->order > k->last ? node->order : k->last;
    forget_cuts(f, k->first, k->last);
    node->kernel = kernel;
}

void fusion_merge(struct fusion *f, int into, int from)
{
    struct fused_kernel *k = &f->kernels[from];
    for (int i = 0; i < k->n_nodes; i++)
        fusion_join(f, into, k->nodes[i]);
    k->n_nodes = k->n_buffers = 0;
}

/* --- Dependencies --------------------------------------------------------------------------- */

/* A growing list of nodes. */
struct list {
    struct arena *arena;
    struct node **nodes;
    int n, cap;
};

static void push(struct list *l, struct node *node)
{
    if (l->n == l->cap) {
        int cap = l->cap ? l->cap * 2 : 256;
        struct node **grown = ARENA_ARRAY(l->arena, (size_t)cap, struct node *);
        if (l->n)
            memcpy(grown, l->nodes, (size_t)l->n * sizeof *grown);
        l->nodes = grown;
        l->cap = cap;
    }
    l->nodes[l->n++] = node;
}

/* The nodes of this graph whose values the host reads before it knows a dim. */
struct sources {
    const struct fusion *f;
    struct list *list;
};

static void push_source(void *context, const struct dim *symbol)
{
    const struct sources *s = context;
    const struct graph *g = s->f->g, *root = g->root;
    if (symbol->symbol >= root->n_symbols)
        return;
    const struct symbol_source *source = &root->symbols[symbol->symbol];
    if (source->kind == SYMBOL_ELEMENT && source->value->def && source->value->graph == g)
        push(s->list, source->value->def);
}

static void push_sources(void *context, const struct dim *d)
{
    dim_visit_symbols(d, push_source, context);
}

void fusion_await(struct fusion *f, int kernel)
{
    struct list l = {.arena = f->g->arena};
    struct sources sources = {f, &l};
    struct fused_kernel *k = &f->kernels[kernel];
    uint32_t search = ++f->search;
    for (int i = 0; i < 2 && f->reads_back; i++)
        if (k->core->body[i])
            graph_visit_dims(k->core->body[i], push_sources, &sources);
    k->awaited = l.nodes;
    for (int i = 0; i < l.n; i++) /* each once */
        if (f->seen[l.nodes[i]->order] != search) {
            f->seen[l.nodes[i]->order] = search;
            k->awaited[k->n_awaited++] = l.nodes[i];
        }
}

/* The node, or what makes the operands of a concat in place (place_concats bounds the depth). */
static void push_makers(struct list *l, struct node *node)
{
    if (node->kernel != KERNEL_IN_PLACE) {
        push(l, node);
        return;
    }
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i]->def)
            push_makers(l, node->in[i]->def);
}

/* Everything that must have run before node, one step back. */
static void push_dependencies(const struct fusion *f, struct list *l, const struct node *node)
{
    struct sources sources = {f, l};
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i]->def)
            push_makers(l, node->in[i]->def);
    if (f->reads_back)
        node_visit_dims(node, push_sources, &sources);
    for (int i = 0; node->body[0] && i < f->kernels[node->kernel].n_awaited; i++)
        push(l, f->kernels[node->kernel].awaited[i]);
}

/* Is kernel `on` among the nodes of the stack, or does one depend on it? Empties the stack. */
static bool search(struct fusion *f, struct list *stack, int on)
{
    uint32_t first = cut_before(f, f->kernels[on].first), search = ++f->search;
    while (stack->n > 0) {
        struct node *node = stack->nodes[--stack->n];
        if (node->kernel == on)
            return true;
        if (node->kernel == KERNEL_CONSTANT)
            continue;
        if (node->kernel < 0) {
            if (node->order < first || f->seen[node->order] == search)
                continue;
            f->seen[node->order] = search;
            push_dependencies(f, stack, node);
            continue;
        }
        struct fused_kernel *k = &f->kernels[node->kernel];
        if (k->last < first || k->seen == search)
            continue;
        k->seen = search;
        for (int i = 0; i < k->n_nodes; i++)
            push_dependencies(f, stack, k->nodes[i]);
    }
    return false;
}

bool fusion_depends(struct fusion *f, int kernel, int on)
{
    struct list stack = {.arena = f->g->arena};
    push(&stack, f->kernels[kernel].nodes[0]);
    return search(f, &stack, on);
}

bool fusion_makes_cycle(struct fusion *f, int kernel, const struct node *node)
{
    struct list stack = {.arena = f->g->arena};
    struct sources sources = {f, &stack};
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i]->def && node->in[i]->def->kernel != kernel)
            push(&stack, node->in[i]->def);
    if (f->reads_back)
        node_visit_dims(node, push_sources, &sources);
    return search(f, &stack, kernel);
}

/* --- Order ---------------------------------------------------------------------------------- */

enum { NEW, OPEN, DONE };

/* What must be numbered before the kernel; one that waits for this one already is a cycle. */
static void push_unnumbered(const struct fusion *f, struct list *stack, const char *state, int at)
{
    for (int i = 0; i < f->kernels[at].n_nodes; i++) {
        int from = stack->n;
        push_dependencies(f, stack, f->kernels[at].nodes[i]);
        for (int k = stack->n - 1; k >= from; k--) {
            int other = stack->nodes[k]->kernel;
            if (other >= 0 && other != at && state[other] == OPEN)
                diag_error(f->g->diag, STATUS_INTERNAL, f->kernels[at].nodes[0]->origin,
                           "its kernel waits for one that waits for it");
            if (other == at || other < 0 || state[other] != NEW)
                stack->nodes[k] = stack->nodes[--stack->n];
        }
    }
}

/* By depth first, so that a kernel runs soon before its first reader: roots in the graph's order.
 */
void fusion_order(struct fusion *f)
{
    int *number = ARENA_ARRAY(f->g->arena, (size_t)f->n + 1, int), next = 0;
    char *state = ARENA_ARRAY(f->g->arena, (size_t)f->n + 1, char);
    struct list stack = {.arena = f->g->arena};
    for (struct node *root = f->g->first; root; root = root->next) {
        if (root->kernel < 0 || state[root->kernel] == DONE)
            continue;
        push(&stack, root);
        while (stack.n > 0) {
            int at = stack.nodes[stack.n - 1]->kernel;
            if (at < 0 || state[at] == DONE) {
                stack.n--;
            } else if (state[at] == OPEN) {
                state[at] = DONE;
                number[at] = next++;
                stack.n--;
            } else {
                state[at] = OPEN;
                push_unnumbered(f, &stack, state, at);
            }
        }
    }
    for (struct node *node = f->g->first; node; node = node->next)
        if (node->kernel >= 0)
            node->kernel = number[node->kernel];
    f->g->n_kernels = next;
}
