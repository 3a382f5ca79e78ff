/* A reduction over the pixels of each image behind a convolution by the tensor cores, for
 * contract_pool.cuh: a tile's rows are the pixels of one image. */
#include "contract_mma.h"

/* The type that terms are combined in. */
static const enum dtype total_type = DT_F32;

int pool_bytes(const struct mma_plan *p)
{
    return mma_threads(&p->tile) * p->store_vector * (int)dtype_size(total_type);
}

static void define_combination(struct emitter *e, const struct node *pool)
{
    bool sum = pool->op == OP_reduce_sum;
    emit_define(e, "IDENTITY", "%s", sum ? "0.0f" : literal_extreme(e, total_type, true));
    emit_define(e, "COMBINE", "%s",
                emit_scalar_text(e, sum ? OP_add : OP_max, total_type, "a", "b", NULL));
}

/* What the maps in between make of neighbours along n. */
static void emit_terms(const struct mma_plan *p)
{
    const struct contraction *c = p->c;
    struct emitter *e = c->e;
    const int width = p->store_vector;
    const struct index *y[MAX_LANES][MAX_RANK], *column[MAX_RANK];
    const struct index *batch = index_var(e->ix, "batch", c->batches);
    emit_function(e, "void", "terms",
                  arena_printf(e->g->arena,
                               "idx_t batch, idx_t m, idx_t n, const %s *sum, float *term",
                               p->sum));
    for (int lane = 0; lane < width; lane++) {
        side_result(c, &p->a, batch, index_var(e->ix, "m", p->a.rows), y[lane]);
        side_result(c, &p->b, batch, lane_index(e, "n", p->b.rows, width, lane), column);
        y[lane][1] = column[1];
        emit_result(e, c->y, y[lane], arena_printf(e->g->arena, "sum[%d]", lane));
    }
    emit_vector(e, width);
    for (int lane = 0; lane < width; lane++)
        emit_line(e, "term[%d] = %s;", lane, emit_value(e, p->pool->in[0], y[lane]));
    emit_vector(e, 1);
    emit_function_end(e);
}

static void emit_pooled(const struct mma_plan *p)
{
    const struct contraction *c = p->c;
    struct emitter *e = c->e;
    const struct index *column[MAX_RANK], *at[MAX_RANK];
    emit_function(e, "void", "store", "idx_t batch, idx_t image, idx_t n, float y");
    const struct index *batch = index_var(e->ix, "batch", c->batches);
    side_result(c, &p->b, batch, index_var(e->ix, "n", p->b.rows), column);
    at[0] = index_var(e->ix, "image", c->images);
    at[1] = column[1];
    emit_result(e, p->pool->out[0], at, "y");
    emit_epilogue(e, at);
    emit_function_end(e);
}

void pool_emit(const struct mma_plan *p)
{
    emit_define(p->c->e, "POOLED", "1");
    define_combination(p->c->e, p->pool);
    emit_terms(p);
    emit_pooled(p);
}
