/*
 * A normalization in front of a contraction of few rows (fuse_normalize.c decides which): every
 * block makes the normalized rows of x by itself and keeps them in shared memory, see
 * contract_rows.cuh.
 */
#include "contract.h"

struct node *contraction_normalization(const struct contraction *c)
{
    const struct group *group = c->e->group;
    for (int i = 0; i < group->n_nodes; i++)
        if (group->nodes[i]->op == OP_normalize)
            return group->nodes[i];
    return NULL;
}

/* Index of element `k` of row "few" of v, whose last axis is a row. */
static void index_of_row(const struct contraction *c, const struct value *v, const struct index *k,
                         const struct index **at)
{
    index_delinear(c->e->ix, index_var(c->e->ix, "few", c->m), v->rank - 1, v->shape, at);
    at[v->rank - 1] = k;
}

static void emit_load_row(const struct contraction *c, struct value *v, int width)
{
    struct emitter *e = c->e;
    const struct index *at[MAX_RANK];
    emit_function(e, "void", "load_row", "idx_t few, idx_t vector, float *to");
    emit_vector(e, width);
    for (int lane = 0; lane < width; lane++) {
        index_of_row(c, v, lane_index(e, "vector", c->k, width, lane), at);
        emit_line(e, "to[%d] = %s;", lane, emit_value(e, v, at));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

static void emit_make_row(const struct contraction *c, const struct node *norm, int width)
{
    struct emitter *e = c->e;
    const struct index *zero = index_const(e->ix, 0), *y[MAX_RANK], *at[MAX_RANK];
    const char *all = "";
    emit_function(e, "void", "make_row",
                  "idx_t few, idx_t vector, const float *normalized, STAGED *to");
    contraction_result(c, zero, index_var(e->ix, "few", c->m), zero, zero, y);
    emit_vector(e, width);
    for (int lane = 0; lane < width; lane++) {
        const struct index *k = lane_index(e, "vector", c->k, width, lane);
        index_of_row(c, norm->out[0], k, at);
        emit_result(e, norm->out[0], at, arena_printf(e->g->arena, "normalized[%d]", lane));
        contraction_a(c, y, k, at);
        all = arena_printf(e->g->arena, "%s%s%s", all, lane ? ", " : "",
                           emit_stored(e, c->a->type, emit_value(e, c->a, at)));
    }
    emit_vector(e, 1);
    emit_line(e, "store<STAGED, %d>(to, {%s});", width, all);
    emit_function_end(e);
}

/* The widest vector of x, whose rows need not lie in memory, that a thread makes at a time. */
static int vector_width(const struct contraction *c, struct node *norm)
{
    struct value *from = norm->in[0];
    int width = emit_vector_width(c->e, from, from->rank - 1);
    while (width > 1 && (size_t)width * dtype_size(c->a->type) > 16)
        width /= 2;
    return width;
}

void contraction_stage_rows(const struct contraction *c, int rows, int warps, int depth)
{
    enum { MOST_HELD = 32 }; /* elements that a lane has of its row */
    struct emitter *e = c->e;
    struct node *norm = contraction_normalization(c);
    int width = vector_width(c, norm), at_once = depth, warps_row = 1;
    int64_t length = cost_guess(e->g, c->k);
    while (2 * warps_row * rows <= warps && (int64_t)32 * warps_row * MOST_HELD < length)
        warps_row *= 2;
    while ((size_t)at_once * dtype_size(c->a->type) > 16)
        at_once /= 2;
    emit_define(e, "STAGED", "%s", emit_storage_type(c->a->type));
    emit_define(e, "STAGED_VECTOR", "%d", at_once);
    emit_define(e, "ROW_VECTOR", "%d", width);
    emit_define(e, "ROW_WARPS", "%d", warps_row);
    emit_define(e, "CENTER", "%d", norm->attr.normalize.center);
    emit_define(e, "EPSILON", "%s", emit_literal(e, DT_F64, norm->attr.normalize.epsilon));
    emit_load_row(c, norm->in[0], width);
    emit_make_row(c, norm, width);
}
