/* Rows: softmax, log_softmax and normalize, over any axes. */
#include "common.h"
#include "cost.h"

/* A lane keeps this many elements of its row in registers at most. */
enum { MOST_HELD = 32 };

static uint32_t axes_of(const struct node *node)
{
    switch (node->op) {
    case OP_softmax: return node->attr.softmax.axes;
    case OP_log_softmax: return node->attr.log_softmax.axes;
    default: return node->attr.normalize.axes;
    }
}

/* Four neighbours at a time, where rows are made of whole vectors. */
static int vector_width(struct emitter *e, struct value *x, const struct axes *axes)
{
    if (!axes->trailing || !dim_divisible(axes->length, 4) || dtype_size(x->type) > 4)
        return 1;
    if (!emit_is_inner(e, x) && layout_whole(x) == x)
        return 4;
    return emit_vector_width(e, x, layout_axis(x, x->rank - 1)) >= 4 ? 4 : 1;
}

/* Vectors a lane holds, or 0. */
static int held_vectors(const struct axes *axes, int lanes, int width)
{
    int64_t length, share = lanes * width;
    if (!dim_is_const(axes->length, &length) || length > share * (MOST_HELD / width))
        return 0;
    return (int)((length + share - 1) / share);
}

static void element_index(struct emitter *e, const struct axes *axes, int width, int lane,
                          const struct index **at)
{
    const struct index *column = lane_index(e, "vector", axes->length, width, lane);
    axes_index(e, axes, index_var(e->ix, "row", axes->rows), column, at);
}

static void emit_load(struct emitter *e, const struct axes *axes, struct value *x, int width)
{
    const struct index *at[MAX_RANK];
    emit_function(e, "void", "load", "idx_t row, idx_t vector, STAT *to");
    emit_vector(e, width);
    for (int lane = 0; lane < width; lane++) {
        element_index(e, axes, width, lane, at);
        emit_line(e, "to[%d] = %s;", lane, emit_value(e, x, at));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

static void emit_store(struct emitter *e, const struct axes *axes, struct value *y, int width)
{
    const struct index *at[4][MAX_RANK];
    const struct index *const *lanes[4];
    emit_function(e, "void", "store", "idx_t row, idx_t vector, const STAT *y");
    for (int lane = 0; lane < width; lane++) {
        element_index(e, axes, width, lane, at[lane]);
        emit_result(e, y, at[lane], arena_printf(e->g->arena, "y[%d]", lane));
        lanes[lane] = at[lane];
    }
    emit_epilogue_lanes(e, width, lanes);
    emit_function_end(e);
}

bool family_row(struct codegen *c, const struct group *group)
{
    struct emitter *e = emit_begin(c, group, "row");
    struct node *node = group->core;
    struct value *x = node->in[0], *y = node->out[0];
    struct axes axes;
    axes_split(e->g, x, axes_of(node), &axes);
    int width = vector_width(e, x, &axes);
    int64_t rows = cost_guess(e->g, axes.rows), length = cost_guess(e->g, axes.length);
    int lanes = cost_lanes(e->target, rows, length, axes.trailing);
    if (lanes == 32 && length > 32 * MOST_HELD)
        lanes = BLOCK_THREADS; /* which can hold the row */
    int threads = cost_block(e->target, rows, lanes);

    emit_define(e, "ROWS", "%s", emit_dim(e, axes.rows));
    emit_define(e, "LENGTH", "%s", emit_dim(e, axes.length));
    emit_define(e, "THREADS", "%d", threads);
    emit_define(e, "LANES", "%d", lanes);
    emit_define(e, "VECTOR", "%d", width);
    emit_define(e, "HELD", "%d", held_vectors(&axes, lanes, width));
    emit_define(e, "STAT", "%s", emit_accumulator_type(x->type));
    if (node->op == OP_normalize) {
        emit_define(e, "CENTER", "%d", node->attr.normalize.center);
        emit_define(e, "EPSILON", "%s", emit_literal(e, DT_F64, node->attr.normalize.epsilon));
    } else {
        emit_define(e, "LOG", "%d", node->op == OP_log_softmax);
        emit_define(e, "LOWEST", "%s", literal_extreme(e, x->type, true));
    }
    /* Threads beyond the last row read it once more, when it may be written already. */
    if (held_vectors(&axes, lanes, width) > 0 && dim_divisible(axes.rows, threads / lanes))
        emit_in_place(e);
    emit_load(e, &axes, x, width);
    emit_store(e, &axes, y, width);
    launch_over(e, axes.rows, threads / lanes, threads);
    emit_skeleton(e, "lanes.cuh");
    emit_skeleton(e, "row.cuh");
    emit_skeleton(e, node->op == OP_normalize ? "normalize.cuh" : "softmax.cuh");
    return emit_finish(e);
}
