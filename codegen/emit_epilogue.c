/* What lies behind a core, the stores, and whether lanes can share vectors. */
#include "common.h"
#include "emit_state.h"

#include <string.h>

/* A value behind the core and its index, for each lane: index[lane * MAX_RANK + axis]. Where halves
 * of pairs were taken it has half the lanes. */
struct behind {
    struct value *v;
    int lanes;
    const struct index **index;
};

/* The values behind the core, in topological order. */
struct epilogue {
    int n;
    int open; /* conditions that the text stands under */
    struct behind *at;
};

static struct behind *find_behind(const struct epilogue *p, const struct value *v)
{
    for (int i = 0; i < p->n; i++)
        if (p->at[i].v == v)
            return &p->at[i];
    return NULL;
}

static struct behind *add_behind(struct emitter *e, struct epilogue *p, struct value *v, int lanes)
{
    struct behind *b = &p->at[p->n++];
    b->v = v;
    b->lanes = lanes;
    b->index = ARENA_ARRAY(e->g->arena, (size_t)lanes * MAX_RANK, const struct index *);
    return b;
}

/* The index that a node's result has where its operand has index `at`. */
static void forward(struct emitter *e, const struct node *node, const struct value *operand,
                    const struct index *const *at, const struct index **result)
{
    const struct value *y = node->out[0];
    if (node->op == OP_reshape)
        index_reshape(e->ix, operand->rank, operand->shape, at, y->rank, y->shape, result);
    else if (node->op == OP_transpose)
        for (int i = 0; i < y->rank; i++)
            result[i] = at[node->attr.transpose.perm.axis[i]];
    else if (node->op == OP_slice)
        for (int i = 0; i < y->rank; i++)
            result[i] = index_sub(e->ix, at[i], index_dim(e->ix, node->attr.slice.start.d[i]));
    else
        memcpy(result, at, (size_t)y->rank * sizeof *at);
}

/* One element of each pair of neighbours, see fuse_epilogue.c: the index of the pair is that of its
 * first element, halved. */
static void pass_pairs(struct emitter *e, struct epilogue *p, const struct behind *from,
                       struct node *node)
{
    int last = node->out[0]->rank - 1;
    bool second = dim_is(node->attr.slice.start.d[last], 1);
    struct behind *to = add_behind(e, p, node->out[0], from->lanes / 2);
    if (from->lanes < 2)
        emit_unsupported(e, node, "takes pairs of results that come one by one");
    for (int lane = 0; lane < to->lanes; lane++) {
        const struct index **first = from->index + 2 * lane * MAX_RANK;
        const struct index **at = to->index + lane * MAX_RANK;
        memcpy(at, first, (size_t)last * sizeof *at);
        at[last] = index_div(e->ix, first[last], dim_const(e->g->dims, 2));
        emit_result(e, to->v, at, emit_value(e, from->v, second ? first + MAX_RANK : first));
    }
}

/* A slice of neighbours, of which the kernel leaves out the others. */
static bool is_cut(const struct node *node)
{
    bool cut = node->op == OP_slice;
    for (int i = 0; cut && i < node->attr.slice.step.n; i++)
        cut = dim_is(node->attr.slice.step.d[i], 1);
    return cut;
}

/* What follows is for elements that the cut v has: lanes are in it or not together. */
static void open_cut(struct emitter *e, struct epilogue *p, const struct value *v,
                     const struct index *const *at)
{
    const char *guard = NULL;
    for (int i = 0; i < v->rank; i++) {
        const char *text = emit_index(e, at[i]);
        if (!index_nonnegative(e->ix, at[i]))
            guard = both(e, guard, arena_printf(e->g->arena, "%s >= 0", text));
        if (!index_below(e->ix, at[i], v->shape[i]))
            guard = both(e, guard,
                         arena_printf(e->g->arena, "%s < %s", text, emit_dim(e, v->shape[i])));
    }
    if (guard) {
        emit_open(e, "if (%s)", guard);
        p->open++;
    }
}

/* Computes node's result in all lanes, when an operand of it lies behind the core. */
static void pass_node(struct emitter *e, struct epilogue *p, struct node *node)
{
    const struct behind *from = NULL;
    for (int i = 0; i < node->n_in && !from; i++)
        from = find_behind(p, node->in[i]);
    if (!from || emit_is_core(e, node))
        return;
    bool scalar = op_info[node->op].class == OC_SCALAR;
    if (node->op == OP_slice && !is_cut(node)) {
        pass_pairs(e, p, from, node);
        return;
    }
    if (!scalar && node->op != OP_reshape && node->op != OP_transpose && node->op != OP_slice) {
        emit_unsupported(e, node, "stands behind a core in kernel %d", node->kernel);
        return;
    }
    struct behind *to = add_behind(e, p, node->out[0], from->lanes);
    for (int lane = 0; lane < to->lanes; lane++) {
        const struct index **source = from->index + lane * MAX_RANK;
        const struct index **at = to->index + lane * MAX_RANK;
        forward(e, node, from->v, source, at);
        if (node->op == OP_slice && lane == 0)
            open_cut(e, p, to->v, at);
        if (scalar)
            emit_value(e, to->v, at);
        else
            emit_result(e, to->v, at, emit_value(e, from->v, source));
    }
}

/* The lanes' offsets are w neighbours that begin at a multiple of w. */
static bool is_vector(struct emitter *e, int width, const struct index *const *offset)
{
    if (width == 1 || !index_terms_divisible(e->ix, offset[0], width) ||
        !dim_is(dim_mod(e->g->dims, offset[0]->constant, dim_const(e->g->dims, width)), 0))
        return false;
    for (int lane = 1; lane < width; lane++)
        if (offset[lane] != index_add(e->ix, offset[0], index_const(e->ix, lane)))
            return false;
    return true;
}

/* Stores named registers side by side. */
static void store_vector(struct emitter *e, enum dtype type, int width, const char *buffer,
                         const struct index *offset, const char *const *name)
{
    const char *all = "";
    if (width == 1) {
        emit_line(e, "%s[%s] = %s;", buffer, emit_index(e, offset), emit_stored(e, type, *name));
        return;
    }
    for (int lane = 0; lane < width; lane++)
        all = arena_printf(e->g->arena, "%s%s%s", all, lane ? ", " : "",
                           emit_stored(e, type, name[lane]));
    emit_line(e, "store<%s, %d>(%s + %s, {%s});", emit_storage_type(type), width, buffer,
              emit_index(e, offset), all);
}

/* Stores v into the buffer of `target`, which has the same type and shape. */
static void store(struct emitter *e, struct value *v, struct value *target, int width,
                  const struct index **index)
{
    const char *name[MAX_LANES] = {0};
    const struct index *offset[MAX_LANES] = {NULL};
    struct home home = {0};
    for (int lane = 0; lane < width; lane++) {
        name[lane] = emit_value(e, v, index + lane * MAX_RANK);
        emit_home(e, target, index + lane * MAX_RANK, &home);
        offset[lane] = home.offset;
    }
    const char *buffer = emit_buffer(e, home.buffer, true);
    int at_once = emit_lanes_at_once(v->type, width);
    for (int lane = 0; lane < width; lane += at_once) {
        if (!is_vector(e, at_once, offset + lane))
            at_once = 1;
        store_vector(e, v->type, at_once, buffer, offset[lane], name + lane);
    }
}

/* Do all lanes of the core's results lie in what is cut out behind it, or none? They must where
 * they differ along no axis that loses elements: the channels of a pixel, but not its neighbours.
 */
static bool lie_together(struct emitter *e, int width, const struct index *const *const *index)
{
    const struct group *group = e->group;
    const struct index *at[MAX_RANK], *first[MAX_RANK], *next[MAX_RANK];
    for (int lane = 0; lane < width; lane++) {
        const struct value *v = group->core->out[0];
        memcpy(at, index[lane], (size_t)v->rank * sizeof *at);
        for (int i = 0; i < group->n_nodes; i++) {
            const struct node *node = group->nodes[i];
            bool pairs = node->op == OP_slice && !is_cut(node);
            if (node->n_in != 1 || node->in[0] != v || op_info[node->op].class != OC_VIEW || pairs)
                continue;
            forward(e, node, v, at, next);
            v = node->out[0];
            for (int axis = 0; is_cut(node) && axis < v->rank; axis++) {
                bool loses = node->in[0]->shape[axis] != v->shape[axis];
                first[axis] = lane == 0 ? next[axis] : first[axis];
                if (loses && next[axis] != first[axis])
                    return false;
            }
            memcpy(at, next, (size_t)v->rank * sizeof *at);
        }
    }
    return true;
}

struct node *emit_pool(const struct emitter *e)
{
    const struct group *group = e->group;
    if (!group->core || op_info[group->core->op].class != OC_CONTRACT)
        return NULL;
    for (int i = 0; i < group->n_nodes; i++)
        if (op_info[group->nodes[i]->op].class == OC_REDUCE ||
            op_info[group->nodes[i]->op].class == OC_WINDOW)
            return group->nodes[i];
    return NULL;
}

void emit_epilogue_lanes(struct emitter *e, int width, const struct index *const *const *index)
{
    struct epilogue p = {0};
    const struct group *group = e->group;
    const struct node *pool = emit_pool(e);
    bool windows = pool && op_info[pool->op].class == OC_WINDOW;
    int vector = e->state->vector;
    if (width > 1 && !lie_together(e, width, index)) {
        for (int lane = 0; lane < width; lane++)
            emit_epilogue_lanes(e, 1, index + lane);
        return;
    }
    emit_vector(e, width);
    p.at = ARENA_ARRAY(e->g->arena, (size_t)group->n_nodes + (size_t)group->core->n_out,
                       struct behind);
    for (int n = 0; n < group->n_nodes; n++) {
        const struct node *node = group->nodes[n];
        bool last = pool ? node == pool : emit_is_core(e, node);
        for (int i = 0; i < node->n_out && last; i++) {
            struct behind *b = add_behind(e, &p, node->out[i], width);
            for (int lane = 0; lane < width; lane++)
                memcpy(b->index + lane * MAX_RANK, index[lane],
                       (size_t)node->out[i]->rank * sizeof **index);
        }
    }
    for (int i = 0; i < group->n_nodes; i++)
        pass_node(e, &p, group->nodes[i]);
    for (int i = 0; i < group->n_outputs; i++) {
        struct behind *b = find_behind(&p, group->outputs[i]);
        if (b)
            store(e, b->v, b->v, b->lanes, b->index);
        else if (!windows) /* what lies in front of these its core stores */
            emit_unsupported(e, group->outputs[i]->def, "is a result in front of a core");
    }
    while (p.open-- > 0)
        emit_close(e);
    emit_vector(e, vector);
}

void emit_epilogue(struct emitter *e, const struct index *const *index)
{
    emit_epilogue_lanes(e, 1, &index);
}

void emit_store_lanes(struct emitter *e, int width, struct value *v, struct value *target,
                      const struct index *const *const *index)
{
    const struct index **all =
        ARENA_ARRAY(e->g->arena, (size_t)width * MAX_RANK, const struct index *);
    for (int lane = 0; lane < width; lane++)
        memcpy(all + lane * MAX_RANK, index[lane], (size_t)v->rank * sizeof **index);
    store(e, v, target, width, all);
}

/* --- Vector widths -------------------------------------------------------------------------- */

void emit_vector(struct emitter *e, int width)
{
    e->state->vector = width;
}

/*
 * A dry run: everything is emitted into a scratch text and then undone, while loads report to the
 * probe whether the lane variable shows in them as a vector's lane.
 */
bool emit_probe(struct emitter *e, int width, const struct index *lane, probe_body *body,
                void *context)
{
    struct emit_state *s = e->state, saved = *s;
    struct text scratch = {.arena = e->g->arena};
    struct probe probe = {lane->terms[0].atom, width, true};
    struct param *params = ARENA_ARRAY(e->g->arena, (size_t)s->n_params + 1, struct param);
    if (s->n_params)
        memcpy(params, s->params, (size_t)s->n_params * sizeof *params);
    s->params = params;
    s->cap_params = s->n_params;
    s->memos = NULL;
    s->n_memos = s->cap_memos = s->n_scopes = 0;
    s->out = &scratch;
    s->vector = 1;
    s->probe = &probe;
    body(e, context);
    saved.failed = s->failed;
    saved.reported = s->reported;
    saved.n_reported = s->n_reported;
    *s = saved;
    return probe.fits;
}

void emit_probe_store(struct emitter *e, struct value *v, const struct index *const *index)
{
    struct probe *probe = e->state->probe;
    struct home home;
    emit_home(e, v, index, &home);
    const struct index *lane = index_var(e->ix, probe->lane->name, probe->lane->extent);
    const struct index *base = index_sub(e->ix, home.offset, lane);
    const struct dim *width = dim_const(e->g->dims, probe->width);
    if (index_depends(base, probe->lane) || !index_terms_divisible(e->ix, base, probe->width) ||
        !dim_is(dim_mod(e->g->dims, base->constant, width), 0))
        probe->fits = false;
}

/* One value, with lanes along one axis and variables along the others. */
struct axis_probe {
    struct value *v;
    const struct index *at[MAX_RANK];
};

static void probe_axis(struct emitter *e, void *context)
{
    struct axis_probe *p = context;
    emit_value(e, p->v, p->at);
}

int emit_vector_width(struct emitter *e, struct value *v, int axis)
{
    for (int width = emit_lanes_at_once(v->type, MAX_LANES); width > 1; width /= 2) {
        const struct dim *w = dim_const(e->g->dims, width), *extent = v->shape[axis];
        if (!dim_is(dim_mod(e->g->dims, extent, w), 0) || dim_is(extent, 0))
            continue;
        struct axis_probe p = {.v = v};
        for (int i = 0; i < v->rank; i++)
            p.at[i] = index_var(e->ix, arena_printf(e->g->arena, "axis%d", i), v->shape[i]);
        const struct index *lane = index_var(e->ix, "lane", w);
        const struct index *q = index_var(e->ix, "quad", dim_floordiv(e->g->dims, extent, w));
        p.at[axis] = index_add(e->ix, index_mul(e->ix, q, w), lane);
        if (emit_probe(e, width, lane, probe_axis, &p))
            return width;
    }
    return 1;
}
