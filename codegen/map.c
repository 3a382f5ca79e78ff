/*
 * map: scalar maps, views and gathers with no core. One thread per element of the result, or per 2
 * to 16 neighbours when every access of theirs is a vector; the smallest result has 16 bytes then.
 * Several results share the index space.
 */
#include "emit_state.h"

enum { THREADS = 256, LEAST_VECTORS = 1 << 12 };

/* Values at one place of the index space, and the order in which it is walked. */
struct place {
    int n;
    struct value *const *v, *const *target;
    const struct value *order;
    const struct index *linear;
};

/* The memory order of the first target that has one, where all have the same shape; else NULL: all
 * are walked row by row, so that what is element i of one is element i of the others. */
static const struct value *find_order(int n, struct value *const *v, struct value *const *target)
{
    const struct value *order = NULL;
    for (int i = 0; i < n; i++) {
        if (!value_same_shape(v[i], v[0]))
            return NULL;
        if (!order && target[i]->layout)
            order = target[i];
    }
    return order;
}

static void element_at(struct emitter *e, const struct place *p, int i, const struct index *linear,
                       const struct index **at)
{
    const struct value *v = p->v[i];
    if (p->order)
        emit_delinear(e, v, p->order, linear, at);
    else
        index_delinear(e->ix, linear, v->rank, v->shape, at);
}

static void probe_place(struct emitter *e, void *context)
{
    const struct place *p = context;
    for (int i = 0; i < p->n; i++) {
        const struct index *at[MAX_RANK];
        element_at(e, p, i, p->linear, at);
        emit_value(e, p->v[i], at);
        emit_probe_store(e, p->target[i], at);
    }
}

/* Elements a thread does: vectors only where enough of them are left to fill the device. */
static int choose_width(struct emitter *e, const struct place *all, const struct dim *elements)
{
    int64_t n;
    int most = 1;
    for (int i = 0; i < all->n; i++) {
        int lanes = emit_lanes_at_once(all->v[i]->type, MAX_LANES);
        most = lanes > most ? lanes : most;
    }
    for (int width = most; width > 1; width /= 2) {
        const struct dim *w = dim_const(e->g->dims, width);
        const struct dim *vectors = dim_floordiv(e->g->dims, elements, w);
        if (!dim_is(dim_mod(e->g->dims, elements, w), 0) ||
            (dim_is_const(vectors, &n) && n < LEAST_VECTORS))
            continue;
        const struct index *lane = index_var(e->ix, "lane", w);
        const struct index *q = index_mul(e->ix, index_var(e->ix, "i", vectors), w);
        struct place p = *all;
        p.linear = index_add(e->ix, q, lane);
        if (emit_probe(e, width, lane, probe_place, &p))
            return width;
    }
    return 1;
}

void emit_thread_index(struct emitter *e, const char *name, const struct dim *n)
{
    int64_t known = 0;
    int threads = THREADS;
    if (dim_is_const(n, &known) && known < THREADS)
        threads = known < 32 ? 32 : (int)(known + 31) / 32 * 32;
    emit_launch(e, dim_ceildiv(e->g->dims, n, dim_const(e->g->dims, threads)), threads, 0);
    emit_line(e, "const idx_t %s = %sblockIdx.x * %d + threadIdx.x;", name,
              e->wide ? "(idx_t)" : "", threads);
    if (!dim_is(dim_mod(e->g->dims, n, dim_const(e->g->dims, threads)), 0)) {
        emit_line(e, "if (%s >= %s)", name, emit_dim(e, n));
        emit_line(e, "    return;");
    }
    emit_line(e, "__builtin_assume(%s >= 0);", name); /* divisions need no care for the sign */
}

void emit_map(struct emitter *e, int n, struct value *const *v, struct value *const *target)
{
    const struct dim *elements = value_elements(e->g, v[0]);
    const struct place p = {n, v, target, find_order(n, v, target), NULL};
    int width = choose_width(e, &p, elements);
    const struct dim *w = dim_const(e->g->dims, width);
    const struct dim *threads = dim_floordiv(e->g->dims, elements, w);
    emit_thread_index(e, "i", threads);
    emit_vector(e, width);
    const struct index *i = index_mul(e->ix, index_var(e->ix, "i", threads), w);
    for (int k = 0; k < n; k++) {
        const struct index *at[MAX_LANES][MAX_RANK], *const *lanes[MAX_LANES];
        for (int lane = 0; lane < width; lane++) {
            element_at(e, &p, k, index_add(e->ix, i, index_const(e->ix, lane)), at[lane]);
            lanes[lane] = at[lane];
        }
        emit_store_lanes(e, width, v[k], target[k], lanes);
    }
}

bool family_map(struct codegen *c, const struct group *group)
{
    struct emitter *e = emit_begin(c, group, "map");
    e->state->shares_memory = group->n_outputs == 1;
    emit_map(e, group->n_outputs, group->outputs, group->outputs);
    return emit_finish(e);
}
