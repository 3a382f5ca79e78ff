/* Where an element of a value lies: the one place where layouts and shared buffers are known. */
#include "emit_state.h"

#include <string.h>

void emit_home(struct emitter *e, struct value *v, const struct index *const *index,
               struct home *home)
{
    const struct index *at[MAX_RANK], *ordered[MAX_RANK];
    const struct dim *extent[MAX_RANK];
    int operand;
    if (v->rank)
        memcpy(at, index, (size_t)v->rank * sizeof *at);
    for (const struct node *concat; (concat = layout_concat(v, &operand)) != NULL;) {
        int axis = (int)concat->attr.concat.axis;
        const struct dim *start = layout_start(e->g, concat, operand);
        at[axis] = index_add(e->ix, at[axis], index_dim(e->ix, start));
        v = concat->out[0];
    }
    for (int i = 0; i < v->rank; i++) {
        if (v->layout && (v->layout->align[i] > 1 || v->layout->block[i] > 0))
            emit_unsupported(e, v->def, "its result's layout has multiples or blocks");
        ordered[i] = at[layout_axis(v, i)];
        extent[i] = v->shape[layout_axis(v, i)];
    }
    *home = (struct home){v, index_linear(e->ix, v->rank, extent, ordered)};
}

void emit_delinear(struct emitter *e, const struct value *v, const struct value *order,
                   const struct index *linear, const struct index **at)
{
    const struct index *ordered[MAX_RANK];
    const struct dim *extent[MAX_RANK];
    for (int i = 0; i < v->rank; i++)
        extent[i] = v->shape[layout_axis(order, i)];
    index_delinear(e->ix, linear, v->rank, extent, ordered);
    for (int i = 0; i < v->rank; i++)
        at[layout_axis(order, i)] = ordered[i];
}
