/*
 * Results that lie in the memory of an operand: one that nobody reads any more, of the same size,
 * of which each thread reads just the elements that it writes. Kernels of one map are printed
 * without __restrict__ for that, see emit.c; for others in_place.c chooses a pair. One that may
 * share but does not is marked: the least memory counts without it.
 */
#include "in_place.h"
#include "plan_layout.h"

#include <string.h>

#include "emit.h"

static bool same_order(const struct value *a, const struct value *b)
{
    if (!a->layout && !b->layout)
        return true;
    return value_same_shape(a, b) && layout_same(a, b);
}

/* Does the operand end at the step, which makes the result, in a buffer of the same size? */
static bool follows(const struct plan_layout *l, const struct planned_step *step,
                    const struct value *from, const struct value *to)
{
    uint32_t read = l->place[from->id].buffer, made = l->place[to->id].buffer;
    if (read == PLAN_NONE || made == PLAN_NONE)
        return false;
    const struct plan_live_buffer *in = &l->buffers[read], *out = &l->buffers[made];
    return in->kind == PLAN_BUFFER_ARENA && out->kind == PLAN_BUFFER_ARENA && in->value == from &&
           out->value == to && in->home == 0 && out->home == 0 && in->last == step->time &&
           out->first == step->time && in->size == out->size && from->def &&
           from->def->kernel >= 0 && !l->place[from->id].offset && !l->place[to->id].offset;
}

/* Can `to`, which a map makes, lie where `from` does? */
static bool fits(const struct plan_layout *l, const struct planned_step *step,
                 const struct value *from, const struct value *to)
{
    return follows(l, step, from, to) && dtype_size(from->type) == dtype_size(to->type) &&
           same_order(from, to) && plan_keeps_elements(l, from, to);
}

static void share(struct plan_layout *l, const struct value *from, const struct value *to)
{
    uint32_t base = l->place[from->id].buffer, made = l->place[to->id].buffer;
    if (l->buffers[base].alias != PLAN_NONE)
        base = l->buffers[base].alias;
    l->buffers[made].alias = base;
    if (l->buffers[base].last < l->buffers[made].last)
        l->buffers[base].last = l->buffers[made].last;
}

static void share_map(struct plan_layout *l, const struct planned_step *step)
{
    const struct kernel *kernel = step->step.kernel;
    const struct value *to = kernel->writes[0];
    if (kernel->n_writes != 1 || !to->def || to->def->kernel != kernel->group->id ||
        dtype_is_list(to->type))
        return;
    for (int i = 0; i < kernel->n_reads; i++) {
        const struct value *from = kernel->reads[i];
        if (from != to && fits(l, step, from, to)) {
            share(l, from, to);
            return;
        }
    }
}

static void share_behind_core(struct plan_layout *l, const struct planned_step *step)
{
    const struct kernel *kernel = step->step.kernel;
    struct in_place pair = kernel->in_place;
    if (pair.from && follows(l, step, pair.from, pair.to))
        share(l, pair.from, pair.to);
    else if (in_place_find(l->g, kernel->group, &pair) && follows(l, step, pair.from, pair.to))
        l->buffers[l->place[pair.to->id].buffer].may_share = true;
}

void plan_share_buffers(struct plan_layout *l)
{
    for (uint32_t i = 0; i < l->bodies[0].n_steps; i++) {
        const struct planned_step *step = &l->steps[i];
        if (step->step.kind != STEP_LAUNCH || step->step.source || !step->step.kernel->group)
            continue;
        if (!strcmp(step->step.kernel->family, "map"))
            share_map(l, step);
        else
            share_behind_core(l, step);
    }
}
