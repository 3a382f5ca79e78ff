/* Helpers of the families. */
#include "common.h"

#include <math.h>

void axes_split(struct graph *g, const struct value *x, uint32_t mask, struct axes *out)
{
    *out = (struct axes){.rows = dim_const(g->dims, 1), .length = dim_const(g->dims, 1)};
    out->trailing = true;
    for (int k = 0; k < x->rank; k++) {
        int i = layout_axis(x, k);
        if (mask >> i & 1) {
            out->reduced_shape[out->n_reduced] = x->shape[i];
            out->reduced[out->n_reduced++] = i;
            out->length = dim_mul(g->dims, out->length, x->shape[i]);
        } else {
            out->kept_shape[out->n_kept] = x->shape[i];
            out->kept[out->n_kept++] = i;
            out->rows = dim_mul(g->dims, out->rows, x->shape[i]);
            if (out->n_reduced > 0 && !dim_is(x->shape[i], 1))
                out->trailing = false;
        }
    }
}

void axes_index(struct emitter *e, const struct axes *a, const struct index *row,
                const struct index *column, const struct index **at)
{
    const struct index *part[MAX_RANK];
    index_delinear(e->ix, row, a->n_kept, a->kept_shape, part);
    for (int i = 0; i < a->n_kept; i++)
        at[a->kept[i]] = part[i];
    index_delinear(e->ix, column, a->n_reduced, a->reduced_shape, part);
    for (int i = 0; i < a->n_reduced; i++)
        at[a->reduced[i]] = part[i];
}

void axes_result(struct emitter *e, const struct axes *a, const struct index *row,
                 const struct index **at)
{
    const struct index *part[MAX_RANK];
    index_delinear(e->ix, row, a->n_kept, a->kept_shape, part);
    for (int i = 0; i < a->n_kept; i++) {
        int axis = a->kept[i];
        for (int k = 0; k < a->n_reduced; k++)
            axis -= a->reduced[k] < a->kept[i];
        at[axis] = part[i];
    }
}

const struct index *lane_index(struct emitter *e, const char *name, const struct dim *extent,
                               int width, int lane)
{
    if (width == 1)
        return index_var(e->ix, name, extent);
    const struct dim *w = dim_const(e->g->dims, width);
    const struct index *vector = index_var(e->ix, name, dim_floordiv(e->g->dims, extent, w));
    return index_add(e->ix, index_mul(e->ix, vector, w), index_const(e->ix, lane));
}

bool dim_divisible(const struct dim *d, int64_t width)
{
    int64_t value;
    return dim_is_const(d, &value) && value > 0 && value % width == 0;
}

const char *both(struct emitter *e, const char *guard, const char *more)
{
    return guard ? arena_printf(e->g->arena, "%s && %s", guard, more) : more;
}

const char *literal_extreme(struct emitter *e, enum dtype type, bool lowest)
{
    int bits = dtype_info[type].bits;
    switch (dtype_info[type].cls) {
    case DC_F: return emit_literal(e, type, lowest ? -INFINITY : INFINITY);
    case DC_B: return lowest ? "false" : "true";
    case DC_U:
        return lowest ? "0"
                      : arena_printf(e->g->arena, "%lluu",
                                     (unsigned long long)UINT64_MAX >> (64 - bits));
    default: {
        unsigned long long most = (UINT64_MAX >> 1) >> (64 - bits);
        return arena_printf(e->g->arena, lowest ? "(-%llu - 1)" : "%llu", most);
    }
    }
}

void define_key(struct emitter *e, enum dtype type)
{
    bool eight = e->wide || dtype_size(type) == 8;
    const char *key = eight ? "double" : "float";
    if (dtype_info[type].cls == DC_S)
        key = eight ? "long long" : "int";
    else if (!dtype_is_float(type))
        key = eight ? "unsigned long long" : "unsigned";
    emit_define(e, "KEY", "%s", key);
    emit_define(e, "PLACE", "%s", eight ? "long long" : "int");
}

const char *sum_type(enum dtype type)
{
    if (dtype_is_float(type))
        return emit_accumulator_type(type);
    return dtype_size(type) == 8 ? "unsigned long long" : "unsigned";
}

void launch_over(struct emitter *e, const struct dim *results, int per_block, int threads)
{
    emit_launch(e, dim_ceildiv(e->g->dims, results, dim_const(e->g->dims, per_block)), threads, 0);
}
