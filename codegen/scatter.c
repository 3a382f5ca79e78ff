/*
 * scatter: two kernels. The first copies the operand (and computes what stands in front of it); the
 * second writes the updates into the copy. For results that do not depend on the order in which
 * threads run, a thread owns a set of places that no other thread writes, and goes through the
 * updates for them in order:
 *
 *   scatter_elements   one line along the axis for each place on the other axes
 *   scatter_nd         one place within the slices; all slices are walked
 */
#include "emit_state.h"

#include <string.h>

static const enum op combine_op[] = {
    [COMBINE_ADD] = OP_add, [COMBINE_MUL] = OP_mul, [COMBINE_MIN] = OP_min, [COMBINE_MAX] = OP_max};

static bool copy_operand(struct codegen *c, const struct group *group)
{
    struct value *from = group->core->in[0], *to = group->core->out[0];
    struct emitter *e = emit_begin(c, group, "copy");
    emit_map(e, 1, &from, &to);
    if (!emit_finish(e))
        return false;
    if (!from->def || from->def->kernel != group->id) { /* not computed on the way */
        struct step *step = &c->program->steps[c->program->n_steps - 1];
        step->source = from;
        step->value = to;
    }
    return true;
}

/* The variable that holds where element `at` of the indices points along an axis of this extent. */
static const struct index *target_index(struct emitter *e, struct value *indices,
                                        const struct index *const *at, const struct dim *extent)
{
    const char *loaded = emit_value(e, indices, at), *name = emit_fresh(e, "i");
    emit_line(e, "const idx_t %s = pick_index(%s, %s);", name, loaded, emit_dim(e, extent));
    return index_var(e->ix, name, extent);
}

/* result[to] = update[from], or what combining the two gives. */
static void write_update(struct emitter *e, enum combine combine, const struct index *const *from,
                         const struct index *const *to)
{
    const struct node *core = e->group->core;
    struct value *y = core->out[0];
    const char *update = emit_value(e, core->in[2], from);
    struct home home;
    emit_home(e, y, to, &home);
    const char *buffer = emit_buffer(e, home.buffer, true);
    const char *at = emit_index(e, home.offset);
    if (combine != COMBINE_NONE) {
        const char *old = emit_fresh(e, "v");
        emit_buffer(e, home.buffer, false);
        emit_line(e, "const %s %s = %s[%s];", emit_register_type(y->type), old, buffer, at);
        update = emit_scalar_text(e, combine_op[combine], y->type, old, update, "");
    }
    emit_line(e, "%s[%s] = %s;", buffer, at, emit_stored(e, y->type, update));
}

static void elements_body(struct emitter *e)
{
    const struct node *core = e->group->core;
    struct value *indices = core->in[1];
    int axis = (int)core->attr.scatter_elements.axis, n = 0;
    const struct dim *others[MAX_RANK], *lines = dim_const(e->g->dims, 1);
    const struct index *line[MAX_RANK], *from[MAX_RANK], *to[MAX_RANK];
    for (int i = 0; i < indices->rank; i++)
        if (i != axis) {
            others[n++] = indices->shape[i];
            lines = dim_mul(e->g->dims, lines, indices->shape[i]);
        }
    emit_thread_index(e, "i", lines);
    index_delinear(e->ix, index_var(e->ix, "i", lines), n, others, line);
    emit_open(e, "for (idx_t k = 0; k < %s; k++)", emit_dim(e, indices->shape[axis]));
    for (int i = 0; i < indices->rank; i++)
        from[i] =
            i == axis ? index_var(e->ix, "k", indices->shape[axis]) : line[i < axis ? i : i - 1];
    memcpy(to, from, (size_t)indices->rank * sizeof *to);
    to[axis] = target_index(e, indices, from, core->out[0]->shape[axis]);
    write_update(e, core->attr.scatter_elements.combine, from, to);
    emit_close(e);
}

static void nd_body(struct emitter *e)
{
    const struct node *core = e->group->core;
    struct value *indices = core->in[1], *y = core->out[0];
    int lead = indices->rank - 1;
    int64_t depth = 0;
    const struct index *from[2 * MAX_RANK], *to[MAX_RANK], *at[MAX_RANK];
    const struct dim *slice = dim_const(e->g->dims, 1), *slices = slice;
    if (!dim_is_const(indices->shape[lead], &depth) || depth > y->rank) {
        emit_unsupported(e, core, "the last size of the indices is not known");
        return;
    }
    for (int i = (int)depth; i < y->rank; i++)
        slice = dim_mul(e->g->dims, slice, y->shape[i]);
    for (int i = 0; i < lead; i++)
        slices = dim_mul(e->g->dims, slices, indices->shape[i]);
    emit_thread_index(e, "i", slice);
    emit_open(e, "for (idx_t k = 0; k < %s; k++)", emit_dim(e, slices));
    index_delinear(e->ix, index_var(e->ix, "k", slices), lead, indices->shape, from);
    index_delinear(e->ix, index_var(e->ix, "i", slice), y->rank - (int)depth, y->shape + depth,
                   to + depth);
    memcpy(from + lead, to + depth, (size_t)(y->rank - depth) * sizeof *to);
    memcpy(at, from, (size_t)lead * sizeof *at);
    for (int i = 0; i < depth; i++) {
        at[lead] = index_const(e->ix, i);
        to[i] = target_index(e, indices, at, y->shape[i]);
    }
    write_update(e, core->attr.scatter_nd.combine, from, to);
    emit_close(e);
}

bool family_scatter(struct codegen *c, const struct group *group)
{
    if (!copy_operand(c, group))
        return false;
    struct emitter *e = emit_begin(c, group, "scatter");
    if (group->core->op == OP_scatter_elements)
        elements_body(e);
    else
        nd_body(e);
    return emit_finish(e);
}
