/* The memory of one program, from the layout that the plan writer makes. */
#include "plan_report.h"
#include "plan_layout.h"

#include <string.h>

static void note_value(const struct plan_layout *l, const struct value *v,
                       struct plan_report_buffer *by_number)
{
    uint32_t buffer = v->id <= l->g->root->next_id ? l->place[v->id].buffer : PLAN_NONE;
    if (buffer == PLAN_NONE || l->buffers[buffer].value == v)
        return;
    struct plan_report_buffer *row = &by_number[buffer];
    size_t n = 0;
    while (row->inside && row->inside[n])
        n++;
    const struct value **larger = ARENA_ARRAY(l->g->arena, n + 2, const struct value *);
    if (n)
        memcpy(larger, row->inside, n * sizeof *larger);
    larger[n] = v;
    row->inside = larger;
}

/* Values that share a buffer with the one that it was made for. */
static void note_inside(const struct plan_layout *l, const struct graph *g,
                        struct plan_report_buffer *by_number)
{
    for (const struct node *node = g->first; node; node = node->next) {
        for (int i = 0; i < node->n_out; i++)
            note_value(l, node->out[i], by_number);
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                note_inside(l, node->body[i], by_number);
    }
}

/* All steps of a program, those of bodies right behind their owners; their number. */
static uint32_t list_steps(const struct program *program, const struct step **list, uint32_t n)
{
    for (int i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        if (list)
            list[n] = step;
        n++;
        for (int k = 0; k < 2; k++)
            if (step->body[k])
                n = list_steps(step->body[k], list, n);
    }
    return n;
}

/* For each time of the plan the number of the program's step: a plan has more of them, which move
 * values and read sizes where bodies begin and end, and counts these to the step before. */
static const uint32_t *steps_by_time(const struct plan_layout *l, uint32_t *n_steps)
{
    struct arena *arena = l->g->arena;
    uint32_t n = *n_steps = list_steps(l->program, NULL, 0), at = 0;
    const struct step **list = ARENA_ARRAY(arena, (size_t)n + 1, const struct step *);
    const struct step **of = ARENA_ARRAY(arena, (size_t)l->n_steps + 1, const struct step *);
    uint32_t *numbers = ARENA_ARRAY(arena, (size_t)l->n_steps + 1, uint32_t);
    list_steps(l->program, list, 0);
    for (uint32_t i = 0; i < l->n_steps; i++)
        of[l->steps[i].time] = l->steps[i].of;
    for (uint32_t time = 0; time < l->n_steps; time++) {
        uint32_t next = at;
        while (of[time] && next < n && list[next] != of[time])
            next++;
        at = next < n ? next : at; /* what follows a loop's body belongs to the loop */
        numbers[time] = at;
    }
    return numbers;
}

bool plan_report(struct graph *g, struct program *const *programs, int n_programs, int index,
                 struct diag *diag, struct plan_report *report)
{
    struct plan_builder *b = plan_lay_out(g, programs, n_programs, diag);
    if (!b)
        return false;
    const struct plan_layout *l = &b->kept[index];
    const struct plan_buffer *records = (const void *)b->own[index][PLAN_BUFFERS].data;
    const struct plan_program *program = (const void *)b->own[index][PLAN_PROGRAM].data;
    struct plan_report_buffer *rows =
        ARENA_ARRAY(g->arena, (size_t)l->n_buffers + 1, struct plan_report_buffer);
    uint32_t n_steps;
    const uint32_t *numbers = steps_by_time(l, &n_steps);
    for (uint32_t i = 0; i < l->n_buffers; i++) {
        const struct plan_live_buffer *buffer = &l->buffers[i];
        rows[i] = (struct plan_report_buffer){.kind = buffer->kind,
                                              .value = buffer->value,
                                              .size = buffer->size,
                                              .first = numbers[buffer->first],
                                              .last = numbers[buffer->last],
                                              .used = buffer->used,
                                              .offset = records[i].offset,
                                              .alias = records[i].alias};
    }
    note_inside(l, g, rows);
    *report =
        (struct plan_report){.buffers = rows,
                             .n_buffers = l->n_buffers,
                             .n_steps = n_steps,
                             .arena_bytes = program->arena_bytes,
                             .live_bytes = program->peak_bytes,
                             .live_formula = b->shared[PLAN_STRINGS].data + program->peak_formula};
    return true;
}
