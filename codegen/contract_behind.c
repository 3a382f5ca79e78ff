/*
 * What stands behind a contraction in its kernel and is made of several of its results.
 *
 * Maxima or means of windows of a convolution's pixels: the windows neither overlap nor stick
 * out, and pixels are counted window by window. So what becomes one result lies side by side, in a
 * tile of any form.
 */
#include "contract.h"
#include "emit_state.h"

#include <string.h>

/* Which nodes of the group are this one, or are made of what it makes? */
static const bool *made_of(const struct contraction *c, const struct node *from)
{
    const struct group *group = c->e->group;
    bool *behind = ARENA_ARRAY(c->e->g->arena, (size_t)group->n_nodes + 1, bool);
    for (int i = 0; i < group->n_nodes; i++) {
        const struct node *node = group->nodes[i];
        behind[i] = node == from;
        for (int k = 0; k < i && !behind[i]; k++)
            for (int o = 0; o < node->n_in; o++)
                behind[i] |= behind[k] && node->in[o]->def == group->nodes[k];
    }
    return behind;
}

bool contraction_takes_pairs(const struct contraction *c)
{
    const struct group *group = c->e->group;
    const bool *behind = made_of(c, c->core);
    for (int i = 0; i < group->n_nodes; i++)
        if (behind[i] && group->nodes[i]->op == OP_slice)
            return true;
    return false;
}

int window_pixels(const struct contraction *c)
{
    const struct ints *kernel = &c->window->attr.pool_max.kernel;
    int64_t pixels = 1;
    for (int i = 0; i < kernel->n; i++)
        pixels *= kernel->v[i];
    return (int)pixels; /* few, see fuse_window_pools.c */
}

/* The position of a window among the windows and, behind it, of the pixel in the window. */
static void take_apart(const struct contraction *c, const struct index *n,
                       const struct index **part)
{
    const struct dim *shape[2 * MAX_RANK];
    for (int i = 0; i < c->spatial; i++) {
        shape[i] = c->window->out[0]->shape[2 + i];
        shape[c->spatial + i] = dim_const(c->e->g->dims, c->window->attr.pool_max.kernel.v[i]);
    }
    index_delinear(c->e->ix, n, 2 * c->spatial, shape, part);
}

void window_position(const struct contraction *c, const struct index *n, const struct index **at)
{
    struct index_table *ix = c->e->ix;
    const struct index *part[2 * MAX_RANK];
    take_apart(c, n, part);
    for (int i = 0; i < c->spatial; i++) {
        const struct dim *size = dim_const(c->e->g->dims, c->window->attr.pool_max.kernel.v[i]);
        at[i] = index_add(ix, index_mul(ix, part[i], size), part[c->spatial + i]);
    }
}

/* What lies in front of the pool and is read by others too. */
static void store_pixels(const struct contraction *c, int width,
                         const struct index *const *const *pixel)
{
    const struct group *group = c->e->group;
    const bool *behind = made_of(c, c->window);
    for (int i = 0; i < group->n_nodes; i++)
        for (int o = 0; !behind[i] && o < group->n_outputs; o++)
            if (group->outputs[o] == group->nodes[i]->out[0])
                emit_store_lanes(c->e, width, group->outputs[o], group->outputs[o], pixel);
}

/* What is known of a window, with one more of its pixels. */
static const char *with_pixel(const struct contraction *c, const char *a, const char *b)
{
    struct emitter *e = c->e;
    const enum dtype type = c->window->in[0]->type;
    const char *name = emit_fresh(e, "pooled");
    enum op op = c->window->op == OP_pool_max ? OP_max : OP_add;
    emit_line(e, "const %s %s = %s;", emit_register_type(type), name,
              emit_scalar_text(e, op, type, a, b, NULL));
    return name;
}

/* What becomes of all its pixels; a mean is divided by a power of two, which is exact. */
static const char *of_window(const struct contraction *c, const char *all)
{
    struct emitter *e = c->e;
    if (c->window->op == OP_pool_max)
        return all;
    return arena_printf(e->g->arena, "%s * %s", all,
                        emit_literal(e, DT_F32, 1.0 / window_pixels(c)));
}

void window_emit(const struct contraction *c, int width, int first,
                 const struct index *(*y)[MAX_RANK])
{
    struct emitter *e = c->e;
    struct value *x = c->window->in[0];
    const struct index *result[MAX_LANES][MAX_RANK];
    const struct index *const *lanes[MAX_LANES];
    const char *pooled[MAX_LANES];
    const int pixels = window_pixels(c);
    emit_vector(e, width);
    for (int j = 0; j < pixels; j++) {
        for (int lane = 0; lane < width; lane++) {
            lanes[lane] = y[j * width + lane];
            emit_result(e, c->y, lanes[lane],
                        arena_printf(e->g->arena, "sum[%d]", first + j * width + lane));
        }
        for (int lane = 0; lane < width; lane++) {
            const char *own = emit_value(e, x, lanes[lane]);
            pooled[lane] = j == 0 ? own : with_pixel(c, pooled[lane], own);
        }
        store_pixels(c, width, lanes);
    }
    emit_vector(e, 1);
    for (int lane = 0; lane < width; lane++) {
        memcpy(result[lane], y[lane], (size_t)c->y->rank * sizeof **y);
        for (int i = 0; i < c->spatial; i++)
            result[lane][2 + i] = index_div(
                e->ix, y[lane][2 + i], dim_const(e->g->dims, c->window->attr.pool_max.kernel.v[i]));
        emit_result(e, c->window->out[0], result[lane], of_window(c, pooled[lane]));
        lanes[lane] = result[lane];
    }
    emit_epilogue_lanes(e, width, lanes);
}
