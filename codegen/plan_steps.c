/*
 * The steps of a program in the plan's order: the main steps, then the bodies, in the order of the
 * steps that own them. Around what codegen_program made there is what it leaves to the writer:
 * READs of constants and inputs that hold sizes come first; a body begins by running its scalars;
 * COPYs to outputs that no kernel writes come last.
 */
#include "plan_layout.h"

#include <string.h>

/* ---- symbols that the program's numbers depend on ------------------------------------------- */

static void need_symbol(void *context, const struct dim *d)
{
    bool *needed = context;
    needed[d->symbol] = true;
}

static void need(bool *needed, const struct dim *d)
{
    if (d)
        dim_visit_symbols(d, need_symbol, needed);
}

static void need_shape(bool *needed, const struct value *v)
{
    for (int i = 0; v && i < v->rank; i++)
        need(needed, v->shape[i]);
}

static void need_graph(bool *needed, const struct graph *g)
{
    for (int i = 0; i < g->n_outputs; i++)
        need_shape(needed, g->outputs[i]);
    for (int i = 0; i < g->n_inputs; i++)
        need_shape(needed, g->inputs[i]);
    for (const struct constraint *c = g->constraints; c; c = c->next) {
        need(needed, c->a);
        need(needed, c->b);
    }
}

static void need_node(void *context, const struct dim *d)
{
    need(context, d);
}

static void need_control(bool *needed, const struct node *node)
{
    if (op_info[node->op].class == OC_LIST) {
        node_visit_dims(node, need_node, needed);
        for (int i = 0; i < node->n_in; i++)
            need_shape(needed, node->in[i]);
    } else if (node->op == OP_branch) {
        need(needed, node->attr.branch.condition);
    } else {
        need(needed, node->attr.loop.trips);
        need(needed, node->attr.loop.again);
    }
}

static void need_program(bool *needed, const struct graph *g, const struct program *program)
{
    need_graph(needed, g);
    for (int i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        need_shape(needed, step->value);
        need_shape(needed, step->source);
        if (step->node)
            need_control(needed, step->node);
        for (int k = 0; k < 2; k++)
            if (step->body[k])
                need_program(needed, step->node->body[k], step->body[k]);
        if (step->kind != STEP_LAUNCH)
            continue;
        for (int d = 0; d < 3; d++)
            need(needed, step->kernel->grid[d]);
        for (int a = 0; a < step->kernel->n_args; a++) {
            need_shape(needed, step->kernel->args[a].value);
            need(needed, step->kernel->args[a].dim);
        }
    }
}

static bool is_read(const struct program *program, const struct value *v)
{
    for (int i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        if (step->kind == STEP_READ && step->value == v)
            return true;
        for (int k = 0; k < 2; k++)
            if (step->body[k] && is_read(step->body[k], v))
                return true;
    }
    return false;
}

/* ---- one body ------------------------------------------------------------------------------- */

struct planned_step *plan_add_step(struct plan_layout *l, uint32_t body, struct step step,
                                   const char *nodes)
{
    struct plan_body *b = &l->bodies[body];
    if (b->n_steps == b->cap_steps) {
        b->cap_steps = b->cap_steps ? 2 * b->cap_steps : 16;
        struct planned_step *larger = ARENA_ARRAY(l->g->arena, b->cap_steps, struct planned_step);
        if (b->n_steps)
            memcpy(larger, b->steps, b->n_steps * sizeof *larger);
        b->steps = larger;
    }
    struct planned_step *planned = &b->steps[b->n_steps++];
    *planned = (struct planned_step){.step = step, .nodes = nodes ? nodes : "", .body = body};
    return planned;
}

void plan_add_copy(struct plan_layout *l, uint32_t body, struct value *v, struct plan_place to,
                   struct plan_place from, const char *nodes)
{
    if (to.buffer == from.buffer && to.offset == from.offset)
        return;
    struct planned_step *planned =
        plan_add_step(l, body, (struct step){.kind = STEP_COPY, .value = v, .source = v}, nodes);
    planned->to = to;
    planned->from = from;
    planned->bytes = plan_bytes(l, v);
}

const char *plan_origin(const struct value *v)
{
    return v && v->def && v->def->origin ? v->def->origin : "";
}

/* A body begins with the scalars that are known only in it; the main steps with READs of constants
 * and inputs that the program itself does not read. One that a kernel should have computed is
 * reported by the scalar program. */
static void begin_body(struct plan_layout *l, uint32_t body, const bool *needed)
{
    if (body) {
        plan_add_step(l, body, (struct step){.kind = STEP_READ}, l->bodies[body].node->origin);
        return;
    }
    const struct graph *root = l->g->root;
    for (int i = 0; i < root->n_symbols; i++) {
        struct value *v = root->symbols[i].value;
        bool missing = needed[i] && root->symbols[i].kind == SYMBOL_ELEMENT &&
                       (!v->def || plan_is_weight(v)) && !is_read(l->program, v);
        for (uint32_t k = 0; k < l->bodies[0].n_steps && missing; k++)
            missing = l->bodies[0].steps[k].step.value != v;
        if (missing)
            plan_add_step(l, 0, (struct step){.kind = STEP_READ, .value = v}, plan_origin(v));
    }
}

static uint32_t add_body(struct plan_layout *l, struct plan_body body)
{
    if (l->n_bodies == l->cap_bodies) {
        l->cap_bodies = l->cap_bodies ? 2 * l->cap_bodies : 16;
        struct plan_body *larger = ARENA_ARRAY(l->g->arena, l->cap_bodies, struct plan_body);
        if (l->n_bodies)
            memcpy(larger, l->bodies, l->n_bodies * sizeof *larger);
        l->bodies = larger;
    }
    l->bodies[l->n_bodies] = body;
    return l->n_bodies++;
}

/* The step of a control node; its bodies come to the end of the list. */
static void add_control(struct plan_layout *l, uint32_t body, const struct step *step)
{
    if (step->kind == STEP_LOOP)
        plan_begin_loop(l, body, step->node);
    uint32_t at = l->bodies[body].n_steps;
    plan_add_step(l, body, *step, step->node->origin);
    for (int k = 0; k < 2 && step->body[k]; k++) {
        uint32_t inner = add_body(l, (struct plan_body){.g = step->node->body[k],
                                                        .program = step->body[k],
                                                        .node = step->node,
                                                        .outer = body,
                                                        .owner = at});
        l->bodies[body].steps[at].inner[k] = inner;
    }
    if (step->kind == STEP_LOOP)
        plan_end_loop(l, body, step->node);
}

static void collect_body(struct plan_layout *l, uint32_t body, const bool *needed)
{
    const struct program *program = l->bodies[body].program;
    plan_place_body(l, body);
    plan_place_results(l, body);
    begin_body(l, body, needed);
    for (int i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        struct planned_step *planned;
        uint32_t before = l->bodies[body].n_steps;
        switch (step->kind) {
        case STEP_BRANCH:
        case STEP_LOOP: add_control(l, body, step); break;
        case STEP_LIST: plan_add_step(l, body, *step, step->node->origin); break;
        case STEP_LAUNCH:
            if (!step->source || !plan_is_in_place(l, step->source, step->value))
                plan_add_step(l, body, *step, step->kernel->nodes);
            break;
        case STEP_READ: plan_add_step(l, body, *step, plan_origin(step->value)); break;
        case STEP_COPY:
            plan_add_copy(l, body, step->value, plan_place_of(l, body, step->value),
                          plan_place_of(l, body, step->source), plan_origin(step->value));
            break;
        case STEP_FILL:
            planned = plan_add_step(l, body, *step, plan_origin(step->value));
            planned->to = plan_place_of(l, body, step->value);
            planned->bytes = plan_bytes(l, step->value);
            break;
        }
        for (uint32_t k = before; k < l->bodies[body].n_steps; k++)
            l->bodies[body].steps[k].of = step;
    }
    plan_end_body(l, body);
}

/* ---- all of them ---------------------------------------------------------------------------- */

/* One list, in which owners are known by their numbers. */
static void number_steps(struct plan_layout *l)
{
    for (uint32_t b = 0; b < l->n_bodies; b++) {
        struct plan_body *body = &l->bodies[b];
        body->first = l->n_steps;
        l->n_steps += body->n_steps;
        if (b)
            body->owner += l->bodies[body->outer].first;
    }
    l->steps = ARENA_ARRAY(l->g->arena, (size_t)l->n_steps + 1, struct planned_step);
    for (uint32_t b = 0; b < l->n_bodies; b++)
        if (l->bodies[b].n_steps)
            memcpy(l->steps + l->bodies[b].first, l->bodies[b].steps,
                   l->bodies[b].n_steps * sizeof *l->steps);
}

/* Depth was bounded when the program was made. */
static uint32_t set_times(struct plan_layout *l, uint32_t body, uint32_t time)
{
    struct plan_body *b = &l->bodies[body];
    for (uint32_t i = b->first; i < b->first + b->n_steps; i++) {
        l->steps[i].time = time++;
        for (int k = 0; k < 2; k++)
            if (l->steps[i].inner[k])
                time = set_times(l, l->steps[i].inner[k], time);
    }
    b->end = time ? time - 1 : 0;
    return time;
}

/* Each READ runs a segment of scalars of its own, numbered in the plan's order. */
static void make_segments(struct plan_layout *l)
{
    size_t n = 1;
    for (uint32_t i = 0; i < l->n_steps; i++)
        n += l->steps[i].step.kind == STEP_READ;
    l->segments = ARENA_ARRAY(l->g->arena, n, struct scalar_segment);
    l->segments[0] = (struct scalar_segment){.outer = -1, .body = l->g};
    l->n_segments = 1;
    for (uint32_t b = 0; b < l->n_bodies; b++) {
        const struct plan_body *body = &l->bodies[b];
        int now = b ? l->steps[body->owner].segment : 0;
        for (uint32_t i = body->first; i < body->first + body->n_steps; i++) {
            struct planned_step *step = &l->steps[i];
            if (step->step.kind == STEP_READ) {
                struct scalar_segment *segment = &l->segments[l->n_segments];
                *segment = (struct scalar_segment){.read = step->step.value, .outer = now};
                if (!step->step.value) {
                    segment->body = body->g;
                    if (body->node->op == OP_loop) {
                        segment->index = body->node->attr.loop.index;
                        segment->loop = body->owner;
                    }
                }
                now = l->n_segments++;
            }
            step->segment = now;
        }
    }
}

void plan_lay_out_steps(struct plan_layout *l)
{
    struct graph *g = l->g;
    size_t ids = (size_t)g->root->next_id + 1;
    bool *needed = ARENA_ARRAY(g->arena, (size_t)dim_symbol_count(g->dims) + 1, bool);
    need_program(needed, g, l->program);
    l->place = ARENA_ARRAY(g->arena, ids, struct plan_place);
    for (size_t i = 0; i < ids; i++)
        l->place[i].buffer = PLAN_NONE;
    add_body(l, (struct plan_body){.g = g, .program = l->program});
    for (uint32_t b = 0; b < l->n_bodies; b++)
        collect_body(l, b, needed);
    number_steps(l);
    set_times(l, 0, 0);
    make_segments(l);
    plan_touch_buffers(l);
}
