/* Where a chain of maps that cannot stay with its readers is cut: behind what makes it narrow, and
 * behind the maps that its result goes through anyway. */
#include "fuse.h"

enum { MOST_MAPS = 16 /* of a chain */ };

/* Has a kernel yet to be found for what makes v, a map? */
static const struct node *map_behind(const struct value *v)
{
    const struct node *node = v->def;
    return node && node->kernel == KERNEL_UNASSIGNED && fuse_is_scalar(node) ? node : NULL;
}

bool fuse_narrows_map(const struct node *node)
{
    const struct value *x = node->in[0];
    if (node->op != OP_cast || dtype_size(node->out[0]->type) >= dtype_size(x->type))
        return false;
    while (x->def && x->def->op == OP_reshape && value_single_use(x))
        x = x->def->in[0];
    const struct node *map = map_behind(x);
    return map && map->op != OP_cast && !fuse_narrow_source(map);
}

/* The cast to fewer bytes that alone reads the view of x; NULL: there is none. */
static struct node *narrowed_behind(const struct graph *g, const struct node *view)
{
    const struct value *y = view->out[0];
    struct node *cast = value_single_use(y) ? y->uses->node : NULL;
    bool moves = view->op == OP_reshape || view->op == OP_transpose;
    return moves && cast && cast->op == OP_cast && !fuse_is_wanted(g, y) &&
                   !fuse_is_wanted(g, cast->out[0]) &&
                   dtype_size(cast->out[0]->type) < dtype_size(y->type)
               ? cast
               : NULL;
}

/* The node that casts what the map makes as `like` does a view of that, right behind it. */
static struct node *cast_of(struct graph *g, struct node *map, const struct node *like)
{
    const struct attr_cast *wanted = &like->attr.cast;
    for (const struct use *use = map->out[0]->uses; use; use = use->next) {
        struct node *node = use->node;
        if (node->op != OP_cast || node->attr.cast.to != wanted->to ||
            node->attr.cast.saturate != wanted->saturate)
            continue;
        if (map->next != node)
            node_move_before(g, node, map->next);
        return node;
    }
    return graph_insert(g, map->next, OP_cast, 1, &map->out[0], &like->attr);
}

/* Casts of views of what the map makes become views of one cast of it. */
static void narrow_early(struct graph *g, struct node *map)
{
    for (struct use *use = map->out[0]->uses, *next; use; use = next) {
        struct node *view = use->node, *cast = narrowed_behind(g, view);
        next = use->next;
        if (!cast)
            continue;
        g->origin = cast->origin;
        struct node *early = cast_of(g, map, cast);
        struct node *late =
            early ? graph_insert(g, view, view->op, 1, &early->out[0], &view->attr) : NULL;
        if (!late)
            return;
        late->out[0]->layout = cast->out[0]->layout;
        value_replace_uses(g, cast->out[0], late->out[0]);
        node_remove(g, cast);
        node_remove(g, view);
        next = map->out[0]->uses; /* the list is another now: from its start */
    }
}

void fuse_narrow_early(struct graph *g)
{
    const char *origin = g->origin;
    for (struct node *node = g->first; node; node = node->next)
        if (fuse_is_scalar(node) && node->op != OP_cast && node->out[0]->uses &&
            !value_single_use(node->out[0]))
            narrow_early(g, node);
    g->origin = origin;
}

/* The first map in front of `node` that is too dear to be done so many times more. */
static const struct node *find_dear(const struct fusion *f, const struct node *node,
                                    int64_t repeats, int64_t budget, int depth)
{
    for (int i = 0; i < node->n_in && depth > 0; i++) {
        const struct node *map = map_behind(node->in[i]);
        if (!map || !value_single_use(node->in[i]) || fuse_is_wanted(f->g, node->in[i]))
            continue;
        if (fuse_multiply(fuse_cost_of(map), repeats) > budget)
            return map;
        map = find_dear(f, map, repeats, budget, depth - 1);
        if (map)
            return map;
    }
    return NULL;
}

const struct node *fuse_dear_source(const struct fusion *f, const struct node *node,
                                    int64_t repeats, int64_t budget)
{
    const struct node *dear =
        fuse_is_scalar(node) ? find_dear(f, node, repeats, budget, MOST_MAPS) : NULL;
    bool widens = dear && dtype_size(node->out[0]->type) > dtype_size(dear->out[0]->type);
    return widens ? NULL : dear;
}
