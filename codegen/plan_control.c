/*
 * What moves values into bodies, from one iteration to the next, and out of them.
 *
 *   input of a body       lies where the operand does; a loop's state: where the result does
 *   result of a branch    is written by the body that runs
 *   state of a loop       is copied there before the loop; the body writes the next one over it
 *                         where none of its later steps reads the old one, else to a buffer of
 *                         its own, which is copied back when the body ends
 *   element of a stack    is written by the body to slot `index` of the result
 *
 * An output that no step of the body can write there is copied when the body ends: an input, a
 * constant, a value listed twice. The outputs of the main steps are results in the caller's memory.
 */
#include "plan_layout.h"

/* ---- who touches what ----------------------------------------------------------------------- */

static bool touches(const struct step *step, const struct value *v)
{
    if (step->value == v || step->source == v)
        return true;
    for (int i = 0; step->kernel && i < step->kernel->n_args; i++)
        if (step->kernel->args[i].value == v)
            return true;
    const struct node *node = step->node;
    for (int i = 0; node && i < node->n_in + node->n_out; i++)
        if (v == (i < node->n_in ? node->in[i] : node->out[i - node->n_in]))
            return true;
    return false;
}

/* First step that touches v; n_steps if none does. */
static int first_touch(const struct program *program, const struct value *v)
{
    int i = 0;
    while (i < program->n_steps && !touches(&program->steps[i], v))
        i++;
    return i;
}

/* Last step that touches v; -1 if none does. */
static int last_touch(const struct program *program, const struct value *v)
{
    int i = program->n_steps - 1;
    while (i >= 0 && !touches(&program->steps[i], v))
        i--;
    return i;
}

static bool is_read(const struct program *program, const struct value *v)
{
    for (int i = 0; i < program->n_steps; i++)
        if (program->steps[i].kind == STEP_READ && program->steps[i].value == v)
            return true;
    return false;
}

/* ---- places --------------------------------------------------------------------------------- */

static bool is_state(const struct plan_body *b, int output)
{
    return b->node && b->node->op == OP_loop && output < b->node->attr.loop.states;
}

static bool is_stack(const struct plan_body *b, int output)
{
    return b->node && b->node->op == OP_loop && !is_state(b, output);
}

static bool same_place(struct plan_place a, struct plan_place b)
{
    return a.buffer == b.buffer && a.offset == b.offset;
}

/* Where output k of a body belongs; buffer PLAN_NONE: nobody wants it. */
static struct plan_place destination(struct plan_layout *l, uint32_t body, int k)
{
    const struct plan_body *b = &l->bodies[body];
    if (!b->node) /* the first buffers are the inputs, then the outputs */
        return (struct plan_place){(uint32_t)(b->g->n_inputs + k), NULL};
    struct plan_place place = l->place[b->node->out[k]->id];
    if (is_state(b, k) && !same_place(l->place[b->g->inputs[k]->id], place))
        return l->place[b->g->outputs[k]->id]; /* the other slot of two */
    if (!is_stack(b, k) || place.buffer == PLAN_NONE)
        return place;
    struct dim_table *dims = b->g->dims;
    const struct dim *slot =
        dim_mul(dims, b->node->attr.loop.index, plan_bytes(l, b->g->outputs[k]));
    place.offset = place.offset ? dim_add(dims, place.offset, slot) : slot;
    return place;
}

/* May a kernel write the state after an iteration over the one before? */
static bool replaces_state(const struct program *program, const struct graph *g, int k)
{
    const struct value *old = g->inputs[k];
    return !old->is_output && last_touch(program, old) < first_touch(program, g->outputs[k]);
}

/* Made or read by a step that takes whole buffers. */
static bool wants_buffer(const struct node *node)
{
    return op_info[node->op].class == OC_CONTROL || op_info[node->op].class == OC_LIST;
}

/* Only kernels know offsets. */
static bool is_for_kernels(const struct program *program, const struct value *v)
{
    if (is_read(program, v) || (v->def && wants_buffer(v->def)))
        return false;
    for (const struct use *use = v->uses; use; use = use->next)
        if (wants_buffer(use->node))
            return false;
    return true;
}

/* May kernels write v into its slot of a stack? They want vectors to be aligned. */
static bool fits_slot(struct plan_layout *l, const struct plan_body *b, const struct value *v)
{
    int64_t bytes;
    return dim_is_const(plan_bytes(l, v), &bytes) && bytes % PLAN_IO_ALIGN == 0 &&
           is_for_kernels(b->program, v);
}

static void place_output(struct plan_layout *l, uint32_t body, int k)
{
    const struct plan_body *b = &l->bodies[body];
    struct value *v = b->g->outputs[k];
    if (!b->node && l->copied[k])
        return;
    if (!v->def || plan_is_weight(v) || plan_has_place(l, v) ||
        (is_state(b, k) && !replaces_state(b->program, b->g, k)) ||
        (is_stack(b, k) && !fits_slot(l, b, v)))
        return;
    l->place[v->id] = destination(l, body, k);
}

void plan_place_body(struct plan_layout *l, uint32_t body)
{
    const struct plan_body *b = &l->bodies[body];
    struct graph *g = b->g;
    if (!b->node) {
        for (int i = 0; i < g->n_inputs; i++)
            l->place[g->inputs[i]->id].buffer =
                plan_add_buffer(l, PLAN_BUFFER_INPUT, (uint32_t)i, g->inputs[i], 0);
        for (int i = 0; i < g->n_outputs; i++)
            plan_add_buffer(l, PLAN_BUFFER_OUTPUT, (uint32_t)i, g->outputs[i], 0);
    }
    for (int i = 0; b->node && i < g->n_inputs; i++)
        if (!plan_has_place(l, g->inputs[i]))
            l->place[g->inputs[i]->id] = is_state(b, i)
                                             ? l->place[b->node->out[i]->id]
                                             : plan_place_of(l, b->outer, b->node->in[i]);
    for (int k = 0; k < g->n_outputs; k++)
        place_output(l, body, k);
}

/* ---- around a loop -------------------------------------------------------------------------- */

/* Can state k lie in two slots in turn, so that nothing is copied between iterations? */
static bool takes_turns(const struct step *step, int k)
{
    const struct graph *g = step->node->body[0];
    const struct value *now = g->outputs[k];
    bool can = dim_is(step->node->attr.loop.again, 1) && now->def && !plan_is_weight(now) &&
               is_for_kernels(step->body[0], now) && is_for_kernels(step->body[0], g->inputs[k]);
    for (int j = 0; j < k; j++)
        can &= g->outputs[j] != now;
    return can && !replaces_state(step->body[0], g, k);
}

/* Slot 0 or 1 of a state, by the number of iterations before. */
static const struct dim *slot_of(struct plan_layout *l, const struct dim *slot,
                                 const struct dim *iterations)
{
    struct dim_table *dims = l->g->dims;
    return dim_mul(dims, slot, dim_mod(dims, iterations, dim_const(dims, 2)));
}

static struct plan_place last_slot(struct plan_layout *l, const struct node *node, int k)
{
    struct dim_table *dims = l->g->dims;
    uint32_t both = l->place[node->body[0]->inputs[k]->id].buffer;
    const struct dim *slot = dim_floordiv(dims, l->buffers[both].size, dim_const(dims, 2));
    const struct dim *trips = dim_max(dims, node->attr.loop.trips, dim_const(dims, 0));
    return (struct plan_place){both, slot_of(l, slot, trips)};
}

/* Gives state k two slots. The result is read in the last one if only kernels read it. */
static void place_in_turn(struct plan_layout *l, uint32_t body, const struct node *node, int k)
{
    struct dim_table *dims = l->g->dims;
    struct graph *g = node->body[0];
    const struct dim *align = dim_const(dims, PLAN_BUFFER_ALIGN);
    const struct dim *bytes = plan_bytes(l, node->out[k]), *index = node->attr.loop.index;
    const struct dim *slot = dim_mul(
        dims, align,
        dim_floordiv(dims, dim_add(dims, bytes, dim_const(dims, PLAN_BUFFER_ALIGN - 1)), align));
    uint32_t both = plan_add_buffer(l, PLAN_BUFFER_ARENA, 0, node->out[k], body);
    l->buffers[both].size = dim_mul(dims, slot, dim_const(dims, 2));
    l->place[g->inputs[k]->id] = (struct plan_place){both, slot_of(l, slot, index)};
    l->place[g->outputs[k]->id] =
        (struct plan_place){both, slot_of(l, slot, dim_add(dims, index, dim_const(dims, 1)))};
    struct value *result = node->out[k];
    if (!plan_has_place(l, result) && !result->is_output && result->uses) {
        bool kernels = !is_read(l->bodies[body].program, result);
        for (const struct use *use = result->uses; use; use = use->next)
            kernels &= !wants_buffer(use->node);
        if (kernels)
            l->place[result->id] = last_slot(l, node, k);
    }
}

/* Where a state is when its loop begins. Slots in turn are known before the body is laid out. */
static struct plan_place first_place(const struct plan_layout *l, const struct node *node, int k)
{
    const struct value *state = node->body[0]->inputs[k];
    if (plan_has_place(l, state))
        return (struct plan_place){l->place[state->id].buffer, NULL};
    return l->place[node->out[k]->id];
}

/* What a state begins with may be made where the state lies, if the loop alone reads it. Not so
 * where that is the state of a loop around this one: then its old value may still be read. */
static void place_first_state(struct plan_layout *l, uint32_t body, const struct node *node, int k)
{
    struct value *v = node->in[k];
    struct plan_place place = first_place(l, node, k);
    if (v->def && value_single_use(v) && !plan_is_weight(v) && !plan_has_place(l, v) &&
        l->buffers[place.buffer].home == body)
        l->place[v->id] = place;
}

void plan_place_results(struct plan_layout *l, uint32_t body)
{
    const struct program *program = l->bodies[body].program;
    for (int i = program->n_steps - 1; i >= 0; i--) { /* a loop's results may begin a later loop */
        const struct step *step = &program->steps[i];
        const struct node *node = step->node;
        int states = node && node->op == OP_loop ? (int)node->attr.loop.states : 0;
        for (int k = 0; node && k < node->n_out; k++) {
            bool in_turn = k < states && takes_turns(step, k);
            if (in_turn)
                place_in_turn(l, body, node, k);
            if ((k < states && !in_turn) || value_has_uses(node->out[k]) ||
                is_read(program, node->out[k]))
                plan_place_of(l, body, node->out[k]);
        }
        for (int k = 0; k < states; k++)
            place_first_state(l, body, node, k);
    }
}

void plan_begin_loop(struct plan_layout *l, uint32_t body, const struct node *node)
{
    for (int k = 0; k < node->attr.loop.states; k++)
        plan_add_copy(l, body, node->in[k], first_place(l, node, k),
                      plan_place_of(l, body, node->in[k]), node->origin);
}

void plan_end_loop(struct plan_layout *l, uint32_t body, const struct node *node)
{
    for (int k = 0; k < node->attr.loop.states; k++)
        if (plan_has_place(l, node->body[0]->inputs[k]) && plan_has_place(l, node->out[k]))
            plan_add_copy(l, body, node->out[k], l->place[node->out[k]->id], last_slot(l, node, k),
                          node->origin);
}

/* ---- the end of a body ---------------------------------------------------------------------- */

static void copy_output(struct plan_layout *l, uint32_t body, int k, struct plan_place from)
{
    const struct plan_body *b = &l->bodies[body];
    struct value *v = b->g->outputs[k];
    struct plan_place to = destination(l, body, k);
    if (to.buffer != PLAN_NONE)
        plan_add_copy(l, body, v, to, from, b->node ? b->node->origin : plan_origin(v));
}

/* Saves a state that becomes another state, where copying would overwrite it before it is read. */
static struct plan_place save_state(struct plan_layout *l, uint32_t body, int k)
{
    const struct plan_body *b = &l->bodies[body];
    struct value *v = b->g->outputs[k];
    struct plan_place from = plan_place_of(l, body, v);
    if (v->def || v->index == k || !is_state(b, v->index) || b->g->outputs[v->index] == v)
        return from;
    struct plan_place saved = {plan_add_buffer(l, PLAN_BUFFER_ARENA, 0, v, body), NULL};
    plan_add_copy(l, body, v, saved, from, b->node->origin);
    return saved;
}

/* What output k is copied over may still be read by the copies of others. */
static bool overwrites(const struct plan_body *b, int k)
{
    return is_state(b, k) || b->g->output_alias[k] >= 0;
}

void plan_end_body(struct plan_layout *l, uint32_t body)
{
    struct plan_body *b = &l->bodies[body];
    struct plan_place *from =
        ARENA_ARRAY(l->g->arena, (size_t)b->g->n_outputs + 1, struct plan_place);
    for (int k = 0; k < b->g->n_outputs; k++)
        from[k] =
            is_state(b, k) ? save_state(l, body, k) : plan_place_of(l, body, b->g->outputs[k]);
    for (int k = 0; k < b->g->n_outputs; k++)
        if (!overwrites(b, k))
            copy_output(l, body, k, from[k]);
    for (int k = 0; k < b->g->n_outputs; k++)
        if (overwrites(b, k))
            copy_output(l, body, k, from[k]);
}
