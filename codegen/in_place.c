/*
 * Which results may take the memory of an operand.
 *
 * A thread of a map, and of what lies behind a core, reads an operand at the element that it is
 * about to write, and no other thread reads it; a thread of a row holds its part of the row before
 * it writes the first element of it. So a result can lie where such an operand lies, if that ends
 * there. Operands of products do not qualify: many threads read them.
 *
 * It is not free behind a core. Where two buffers may be one, loads of one wait for stores to the
 * other, and those of an epilogue come between its stores. So only kernels that stand where most
 * memory is alive do that; elsewhere it would lower nothing.
 */
#include "in_place.h"

#include <string.h>

#include "cost.h"
#include "layout.h"

enum { MOST_VALUES = 256 /* of a kernel; one with more is not looked at */ };

/* Values of a kernel. */
struct marked {
    int n;
    const struct value *at[MOST_VALUES];
};

static bool is_marked(const struct marked *set, const struct value *v)
{
    for (int i = 0; i < set->n; i++)
        if (set->at[i] == v)
            return true;
    return false;
}

static void mark(struct marked *set, const struct value *v)
{
    if (set->n < MOST_VALUES)
        set->at[set->n++] = v;
}

static bool is_row(const struct node *node)
{
    return op_info[node->op].class == OC_ROW;
}

/* Is element i of pair->from all that element i of a result depends on, but for what a row makes of
 * it? Tells where it is read, too. Of several results none may be moved: the thread that writes an
 * element of it reads the operand for another result elsewhere. */
static bool keeps_elements(const struct group *group, struct in_place *pair)
{
    struct marked same = {0}, behind = {0};
    mark(&same, pair->from);
    for (int n = 0; n < group->n_nodes; n++) {
        const struct node *node = group->nodes[n];
        bool core = node == group->core, reads = false, in_front = false, after = false;
        for (int i = 0; i < node->n_in; i++) {
            bool mine = is_marked(&same, node->in[i]), late = is_marked(&behind, node->in[i]);
            reads |= mine;
            in_front |= mine && !late;
            after |= late;
        }
        bool moves = op_info[node->op].class != OC_SCALAR && node->op != OP_reshape;
        if ((reads && moves && !(core && is_row(node))) || (after && moves && group->n_outputs > 1))
            return false;
        pair->read_behind |= after && in_front;
        if (core || after)
            mark(&behind, node->out[0]);
        if (reads)
            mark(&same, node->out[0]);
    }
    return true;
}

static bool same_bytes(struct graph *g, const struct value *a, const struct value *b)
{
    bool plain = !a->layout && !b->layout;
    return value_elements(g, a) == value_elements(g, b) &&
           dtype_size(a->type) == dtype_size(b->type) &&
           (plain || (value_same_shape(a, b) && layout_same(a, b)));
}

/* Is v in memory of its own, which nothing outside the steps of this graph sees? */
static bool is_private(struct value *v)
{
    return v->def && v->def->kernel >= 0 && !v->is_output && layout_whole(v) == v &&
           !dtype_is_list(v->type);
}

/* Does no kernel behind the group read v, which another one makes? Kernels are numbered in the
 * order in which they run. */
static bool ends_in(const struct group *group, const struct value *v)
{
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->kernel < 0 || use->node->kernel > group->id)
            return false;
    return v->def->kernel != group->id;
}

static bool is_known_core(const struct node *core)
{
    return !core || is_row(core) || op_info[core->op].class == OC_CONTRACT;
}

bool in_place_find(struct graph *g, const struct group *group, struct in_place *found)
{
    *found = (struct in_place){0};
    if (!is_known_core(group->core) || 2 * group->n_nodes > MOST_VALUES ||
        (!group->core && group->n_outputs != 1))
        return false;
    for (int o = 0; o < group->n_outputs; o++) {
        struct value *to = group->outputs[o];
        if (!is_private(to))
            continue;
        for (int n = 0; n < group->n_nodes; n++)
            for (int i = 0; i < group->nodes[n]->n_in; i++) {
                struct value *from = group->nodes[n]->in[i];
                struct in_place pair = {.from = from, .to = to};
                if ((found->from && !found->read_behind) || !is_private(from) ||
                    !ends_in(group, from) || !same_bytes(g, from, to) ||
                    !keeps_elements(group, &pair))
                    continue;
                if (!found->from || !pair.read_behind)
                    *found = pair;
            }
    }
    return found->from != NULL;
}

/* -- Where it lowers what is alive -- */

/* A value in memory, by the numbers of the kernels that make and read it. */
struct span {
    int first, last; /* last 0: it is not in memory between kernels. Counted from 1 */
    double bytes;
};

static void extend(struct span *span, int kernel)
{
    if (!span->last || kernel + 1 < span->first)
        span->first = kernel + 1;
    if (kernel + 1 > span->last)
        span->last = kernel + 1;
}

static double bytes_of(struct graph *g, const struct value *v)
{
    return (double)cost_guess(g, value_elements(g, v)) * (double)dtype_size(v->type);
}

/* What is alive while each kernel runs, kernel 0 first. */
static void count_alive(struct graph *g, int n, double *alive)
{
    struct span *spans = ARENA_ARRAY(g->arena, (size_t)g->root->next_id + 1, struct span);
    memset(spans, 0, ((size_t)g->root->next_id + 1) * sizeof *spans);
    for (const struct node *node = g->first; node; node = node->next)
        for (int i = 0; i < node->n_out; i++) {
            struct value *v = node->out[i], *whole = layout_whole(v);
            struct span *span = &spans[whole->id];
            bool leaves = whole != v;
            for (const struct use *use = v->uses; use; use = use->next)
                leaves |= use->node->kernel >= 0 && use->node->kernel != node->kernel;
            if (!leaves || whole->is_output || node->kernel == KERNEL_CONSTANT)
                continue;
            span->bytes = bytes_of(g, whole);
            if (node->kernel >= 0)
                extend(span, node->kernel);
            for (const struct use *use = v->uses; use; use = use->next)
                if (use->node->kernel >= 0)
                    extend(span, use->node->kernel);
        }
    for (uint32_t id = 0; id <= g->root->next_id; id++)
        for (int k = spans[id].first; spans[id].last && k <= spans[id].last && k <= n; k++)
            alive[k - 1] += spans[id].bytes;
}

void in_place_choose(struct graph *g, int n, struct group *groups)
{
    double *alive = ARENA_ARRAY(g->arena, (size_t)n + 1, double), least = 0;
    memset(alive, 0, ((size_t)n + 1) * sizeof *alive);
    if (g->outer)
        return; /* what a loop's steps leave in memory lasts as long as the loop */
    count_alive(g, n, alive);
    for (int i = 0; i < n; i++) {
        bool can = in_place_find(g, &groups[i], &groups[i].in_place);
        double saved = can ? bytes_of(g, groups[i].in_place.to) : 0;
        least = alive[i] - saved > least ? alive[i] - saved : least;
    }
    for (int i = 0; i < n; i++)
        if (groups[i].in_place.read_behind && alive[i] <= least)
            groups[i].in_place = (struct in_place){0};
}
