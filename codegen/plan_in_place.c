/*
 * Results of maps that lie in the memory of an operand: one that nobody reads any more, of the same
 * size, of which each thread reads just the elements that it writes. (Kernels of one map are
 * printed without __restrict__ for that, see emit.c.)
 */
#include "plan_layout.h"

#include <string.h>

#include "emit.h"

static bool same_order(const struct value *a, const struct value *b)
{
    if (!a->layout && !b->layout)
        return true;
    return value_same_shape(a, b) && layout_same(a, b);
}

/* Can `to`, which the step makes, lie where `from` does? */
static bool fits(const struct plan_layout *l, const struct planned_step *step,
                 const struct value *from, const struct value *to)
{
    const struct plan_live_buffer *in = &l->buffers[l->place[from->id].buffer];
    const struct plan_live_buffer *out = &l->buffers[l->place[to->id].buffer];
    return in->kind == PLAN_BUFFER_ARENA && out->kind == PLAN_BUFFER_ARENA && in->value == from &&
           out->value == to && in->home == 0 && out->home == 0 && in->last == step->time &&
           out->first == step->time && in->size == out->size && from->def &&
           from->def->kernel >= 0 && !l->place[from->id].offset && !l->place[to->id].offset &&
           dtype_size(from->type) == dtype_size(to->type) && same_order(from, to) &&
           plan_keeps_elements(l, from, to);
}

static void share(struct plan_layout *l, const struct planned_step *step)
{
    const struct kernel *kernel = step->step.kernel;
    if (step->step.kind != STEP_LAUNCH || step->step.source || strcmp(kernel->family, "map") != 0 ||
        kernel->n_writes != 1)
        return;
    const struct value *to = kernel->writes[0];
    if (!to->def || !kernel->group || to->def->kernel != kernel->group->id ||
        dtype_is_list(to->type))
        return;
    for (int i = 0; i < kernel->n_reads; i++) {
        const struct value *from = kernel->reads[i];
        if (from == to || !fits(l, step, from, to))
            continue;
        uint32_t base = l->place[from->id].buffer, made = l->place[to->id].buffer;
        if (l->buffers[base].alias != PLAN_NONE)
            base = l->buffers[base].alias;
        l->buffers[made].alias = base;
        if (l->buffers[base].last < l->buffers[made].last)
            l->buffers[base].last = l->buffers[made].last;
        return;
    }
}

void plan_share_buffers(struct plan_layout *l)
{
    for (uint32_t i = 0; i < l->bodies[0].n_steps; i++)
        share(l, &l->steps[i]);
}
