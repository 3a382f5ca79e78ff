/* Which value lies where, and when each buffer is alive. */
#include "plan_layout.h"

#include <string.h>

const struct dim *plan_bytes(struct plan_layout *l, const struct value *v)
{
    struct graph *g = l->g;
    return dim_mul(g->dims, value_elements(g, v), dim_const(g->dims, (int64_t)dtype_size(v->type)));
}

uint32_t plan_add_buffer(struct plan_layout *l, enum plan_buffer_kind kind, uint32_t index,
                         struct value *v, uint32_t home)
{
    if (l->n_buffers == l->cap_buffers) {
        l->cap_buffers = l->cap_buffers ? 2 * l->cap_buffers : 256;
        struct plan_live_buffer *larger =
            ARENA_ARRAY(l->g->arena, l->cap_buffers, struct plan_live_buffer);
        if (l->n_buffers)
            memcpy(larger, l->buffers, l->n_buffers * sizeof *larger);
        l->buffers = larger;
    }
    l->buffers[l->n_buffers] = (struct plan_live_buffer){.kind = kind,
                                                         .index = index,
                                                         .value = v,
                                                         .size = plan_bytes(l, v),
                                                         .home = home,
                                                         .alias = PLAN_NONE};
    return l->n_buffers++;
}

bool plan_has_place(const struct plan_layout *l, const struct value *v)
{
    return l->place[v->id].buffer != PLAN_NONE;
}

struct plan_place plan_place_of(struct plan_layout *l, uint32_t body, struct value *v)
{
    if (plan_has_place(l, v))
        return l->place[v->id];
    uint32_t *buffer = &l->place[v->id].buffer;
    if (v->zeroed)
        *buffer = plan_add_buffer(l, PLAN_BUFFER_ZEROED, 0, v, body);
    else if (plan_is_weight(v))
        *buffer = plan_add_buffer(l, PLAN_BUFFER_WEIGHT, plan_weight_number(l->b, v), v, 0);
    else
        *buffer = plan_add_buffer(l, PLAN_BUFFER_ARENA, 0, v, body);
    return l->place[v->id];
}

/*
 * What lies in a buffer from outside a loop must outlive each iteration, since the next one may
 * read it: it is alive while the loop runs.
 */
static void touch(struct plan_layout *l, uint32_t buffer, const struct planned_step *step)
{
    struct plan_live_buffer *touched = &l->buffers[buffer];
    uint32_t first = step->time, last = step->time;
    for (uint32_t b = step->body; b != touched->home && b != 0; b = l->bodies[b].outer) {
        if (l->bodies[b].node->op != OP_loop)
            continue;
        first = l->steps[l->bodies[b].owner].time;
        last = l->bodies[b].end;
    }
    if (!touched->used || first < touched->first)
        touched->first = first;
    if (!touched->used || last > touched->last)
        touched->last = last;
    touched->used = true;
}

static void touch_all(struct plan_layout *l, const struct planned_step *step)
{
    const struct kernel *kernel = step->step.kernel;
    const struct node *node = step->step.node;
    switch (step->step.kind) {
    case STEP_LAUNCH:
        for (int a = 0; a < kernel->n_args; a++)
            if (kernel->args[a].kind == ARG_BUFFER)
                touch(l, plan_place_of(l, step->body, kernel->args[a].value).buffer, step);
        break;
    case STEP_READ:
        if (step->step.value)
            touch(l, plan_place_of(l, step->body, step->step.value).buffer, step);
        break;
    case STEP_COPY: touch(l, step->from.buffer, step); /* fall through */
    case STEP_FILL: touch(l, step->to.buffer, step); break;
    case STEP_LIST:
        for (int i = 0; i < node->n_in + node->n_out; i++) {
            struct value *v = i < node->n_in ? node->in[i] : node->out[i - node->n_in];
            touch(l, plan_place_of(l, step->body, v).buffer, step);
        }
        break;
    case STEP_BRANCH:
    case STEP_LOOP: break; /* their bodies' steps do */
    }
}

void plan_touch_buffers(struct plan_layout *l)
{
    for (uint32_t i = 0; i < l->n_steps; i++)
        touch_all(l, &l->steps[i]);
}
