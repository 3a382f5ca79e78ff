/*
 * Which values of the model the main steps leave in memory, for those who compare a run step by
 * step. A value whose elements have another order in memory than ONNX's, and one that is a slice of
 * a concat made in place, are described by strides.
 */
#include "emit.h"
#include "plan_layout.h"

#include <string.h>

struct planned_tap {
    uint32_t step;
    const struct value *v;      /* the model's value … */
    const struct value *stored; /* … which is that one, or a view of it was stored … */
    const struct value *whole;  /* … in this, or that is it itself */
    const struct dim *offset;   /* bytes from where whole lies; NULL: 0 */
    const struct dim *strides[MAX_RANK];
};

/* The concat in whose result v is written in place, or NULL. */
static const struct node *concat_around(const struct value *v, int *operand)
{
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->kernel == KERNEL_IN_PLACE) {
            *operand = use->operand;
            return use->node;
        }
    return NULL;
}

/* Strides of a value with memory of its own, in elements. */
static void strides_of(struct dim_table *dims, const struct value *v, const struct dim **strides)
{
    const struct dim *stride = dim_const(dims, 1);
    for (int i = v->rank - 1; i >= 0; i--) {
        int axis = v->layout && v->layout->perm.n ? v->layout->perm.axis[i] : i;
        strides[axis] = stride;
        stride = dim_mul(dims, stride, v->shape[axis]);
    }
}

static void find_place(struct graph *g, struct planned_tap *tap)
{
    enum { MOST_CONCATS = 32 };
    struct dim_table *dims = g->dims;
    const struct node *concats[MOST_CONCATS];
    int operands[MOST_CONCATS], n = 0;
    tap->whole = tap->stored;
    while (n < MOST_CONCATS && (concats[n] = concat_around(tap->whole, &operands[n])) != NULL)
        tap->whole = concats[n++]->out[0];
    strides_of(dims, tap->whole, tap->strides);
    for (int i = 0; i < n; i++) {
        int64_t axis = concats[i]->attr.concat.axis;
        const struct dim *start = dim_const(dims, 0);
        for (int k = 0; k < operands[i]; k++)
            start = dim_add(dims, start, concats[i]->in[k]->shape[axis]);
        start = dim_mul(dims, dim_mul(dims, start, tap->strides[axis]),
                        dim_const(dims, (int64_t)dtype_size(tap->stored->type)));
        tap->offset = tap->offset ? dim_add(dims, tap->offset, start) : start;
    }
}

/* A value that the model does not know may be a view of one that it does, or that one rounded. */
static void find_name(struct graph *g, struct planned_tap *tap)
{
    bool dense = tap->whole == tap->stored && !tap->whole->layout;
    for (tap->v = tap->stored; !tap->v->name && tap->v->def; tap->v = tap->v->def->in[0]) {
        const struct node *def = tap->v->def;
        const struct dim *strides[MAX_RANK];
        if (def->op == OP_reshape && dense) {
            strides_of(g->dims, def->in[0], tap->strides);
            continue;
        }
        if (def->op == OP_cast && dtype_is_float(tap->v->type) && dtype_is_float(def->in[0]->type))
            continue;
        if (def->op != OP_transpose)
            return;
        for (int i = 0; i < tap->v->rank; i++)
            strides[def->attr.transpose.perm.axis[i]] = tap->strides[i];
        memcpy(tap->strides, strides, (size_t)tap->v->rank * sizeof *strides);
        dense = false;
    }
}

static bool is_computed(const struct plan_layout *l, const struct value *v)
{
    return v->def && v->def->out[v->index] == v && v->graph == l->g && !dtype_is_list(v->type) &&
           !dim_is(value_elements(l->g, v), 0);
}

static void add_tap(struct plan_layout *l, bool *seen, uint32_t step, const struct value *v)
{
    if (!is_computed(l, v) || seen[v->id])
        return;
    struct planned_tap tap = {.step = step, .stored = v};
    find_place(l->g, &tap);
    find_name(l->g, &tap);
    if (!plan_has_place(l, tap.whole) || !tap.v->name || !*tap.v->name)
        return;
    seen[v->id] = true;
    l->taps[l->n_taps++] = tap;
}

/* COPYs behind a step of control flow finish its results. */
static uint32_t last_of(const struct plan_layout *l, uint32_t step)
{
    uint32_t last = step;
    while (last + 1 < l->bodies[0].n_steps && l->steps[last + 1].step.kind == STEP_COPY)
        last++;
    return l->steps[step].step.node ? last : step;
}

/* Values that a step makes, or, where it is one of several kernels of a group, the last of them. */
static int made_by(const struct planned_step *planned, struct value *const **made)
{
    const struct step *step = &planned->step;
    const struct group *group = step->kernel ? step->kernel->group : NULL;
    const struct node *node = step->kernel ? NULL : step->node;
    *made = group ? group->outputs : node ? node->out : NULL;
    return group ? group->n_outputs : node ? node->n_out : 0;
}

/* The step that writes a value last counts, so they are collected from the end and turned round. */
void plan_want_taps(struct plan_layout *l)
{
    struct value *const *made;
    size_t most = 0;
    for (uint32_t i = 0; i < l->bodies[0].n_steps; i++)
        most += (size_t)made_by(&l->steps[i], &made);
    bool *seen = ARENA_ARRAY(l->g->arena, (size_t)l->g->root->next_id + 1, bool);
    l->taps = ARENA_ARRAY(l->g->arena, most + 1, struct planned_tap);
    for (uint32_t i = l->bodies[0].n_steps; i-- > 0;)
        for (int n = made_by(&l->steps[i], &made); n-- > 0;)
            add_tap(l, seen, last_of(l, i), made[n]);
    for (uint32_t i = 0; i < l->n_taps / 2; i++) {
        struct planned_tap tap = l->taps[i];
        l->taps[i] = l->taps[l->n_taps - 1 - i];
        l->taps[l->n_taps - 1 - i] = tap;
    }
    for (uint32_t i = 0; i < l->n_taps; i++) {
        const struct planned_tap *tap = &l->taps[i];
        for (int axis = 0; axis < tap->v->rank; axis++) {
            scalar_want(l->scalars, tap->v->shape[axis]);
            scalar_want(l->scalars, tap->strides[axis]);
        }
        if (tap->offset)
            scalar_want(l->scalars, tap->offset);
    }
}

static void add_arg(struct plan_layout *l, const struct dim *d)
{
    struct plan_arg arg = {
        .kind = PLAN_ARG_I64, .index = scalar_slot(l->scalars, d), .offset = PLAN_NONE};
    PLAN_PUSH(&l->own[PLAN_ARGS], &arg);
}

void plan_add_taps(struct plan_layout *l)
{
    for (uint32_t i = 0; i < l->n_taps; i++) {
        const struct planned_tap *tap = &l->taps[i];
        struct plan_tap record = {
            .step = tap->step,
            .buffer = l->place[tap->whole->id].buffer,
            .offset = tap->offset ? scalar_slot(l->scalars, tap->offset) : PLAN_NONE,
            .name = plan_string(l->b, tap->v->name),
            .dtype = tap->stored->type,
            .rank = (uint32_t)tap->v->rank,
            .first_arg = (uint32_t)(l->own[PLAN_ARGS].length / sizeof(struct plan_arg))};
        for (int axis = 0; axis < tap->v->rank; axis++)
            add_arg(l, tap->v->shape[axis]);
        for (int axis = 0; axis < tap->v->rank; axis++)
            add_arg(l, tap->strides[axis]);
        PLAN_PUSH(&l->own[PLAN_TAPS], &record);
    }
}
