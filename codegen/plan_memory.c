/* Memory of one program: where its buffers lie, and how much is alive at once. */
#include "../runtime/planner.h"
#include "plan_layout.h"

#include <string.h>

enum { MAX_FORMULAS = 4 };

static bool is_activation(const struct plan_live_buffer *buffer)
{
    return buffer->kind == PLAN_BUFFER_ARENA && buffer->used;
}

/* One that takes memory of its own. */
static bool takes_memory(const struct plan_live_buffer *buffer)
{
    return is_activation(buffer) && buffer->alias == PLAN_NONE;
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + PLAN_BUFFER_ALIGN - 1) / PLAN_BUFFER_ALIGN * PLAN_BUFFER_ALIGN;
}

/* Most bytes alive at one step, by sweeping over where each buffer begins and ends. One that could
 * lie in memory that ends at its first step, but does not, counts from the next step on: this is
 * what no plan gets below. */
static int64_t peak_of(const struct plan_layout *l)
{
    int64_t *change = ARENA_ARRAY(l->g->arena, (size_t)l->n_steps + 2, int64_t);
    for (uint32_t i = 0; i < l->n_buffers; i++) {
        int64_t bytes = 0;
        if (takes_memory(&l->buffers[i]) && dim_is_const(l->buffers[i].size, &bytes)) {
            change[l->buffers[i].first + l->buffers[i].may_share] += round_up(bytes);
            change[l->buffers[i].last + 1] -= round_up(bytes);
        }
    }
    int64_t alive = 0, most = 0;
    for (uint32_t i = 0; i <= l->n_steps; i++) {
        alive += change[i];
        most = alive > most ? alive : most;
    }
    return most;
}

/* "32*n + 4*m": printed one by one, since one sum of many formulas takes long to make canonical. */
static void print_all_sizes(const struct plan_layout *l, struct text *out)
{
    for (uint32_t i = 0; i < l->n_buffers; i++)
        if (takes_memory(&l->buffers[i])) {
            text_printf(out, "%s", out->length ? " + " : "");
            dim_print(out, l->g->dims, l->buffers[i].size);
        }
}

/*
 * The peak as a formula: the greatest of the steps' sums. Sums that another provably reaches are
 * left out; if more than a few remain they are added up, which bounds the peak from above.
 */
static const char *peak_formula(struct plan_layout *l)
{
    struct graph *g = l->g;
    const struct dim **alive = ARENA_ARRAY(g->arena, (size_t)l->n_steps + 1, const struct dim *);
    for (uint32_t i = 0; i <= l->n_steps; i++)
        alive[i] = dim_const(g->dims, 0);
    for (uint32_t i = 0; i < l->n_buffers; i++) {
        if (!takes_memory(&l->buffers[i]))
            continue;
        for (uint32_t s = l->buffers[i].first; s <= l->buffers[i].last; s++)
            alive[s] = dim_add(g->dims, alive[s], l->buffers[i].size);
    }
    const struct dim *kept[MAX_FORMULAS];
    int n = 0;
    bool bounded = true;
    for (uint32_t s = 0; s < l->n_steps && bounded; s++) {
        bool reached = false;
        int still = 0;
        for (int k = 0; k < n && !reached; k++)
            reached = dim_le(g->dims, alive[s], kept[k]);
        if (reached)
            continue;
        for (int k = 0; k < n; k++)
            if (!dim_le(g->dims, kept[k], alive[s]))
                kept[still++] = kept[k];
        n = still;
        bounded = n < MAX_FORMULAS;
        if (bounded)
            kept[n++] = alive[s];
    }
    struct text text = {.arena = g->arena};
    if (!bounded || !n) {
        print_all_sizes(l, &text);
    } else {
        text_printf(&text, "%s", n > 1 ? "max(" : "");
        for (int k = 0; k < n; k++) {
            text_printf(&text, "%s", k ? ", " : "");
            dim_print(&text, g->dims, kept[k]);
        }
        text_printf(&text, "%s", n > 1 ? ")" : "");
    }
    return text.data ? text.data : "0";
}

/* Offsets for all activations when their sizes are known; else the runtime places them. */
static bool place(struct plan_layout *l, struct planner_item *items, int64_t *arena_bytes)
{
    *arena_bytes = 0;
    for (uint32_t i = 0; i < l->n_buffers; i++) {
        const struct plan_live_buffer *buffer = &l->buffers[i];
        items[i] = (struct planner_item){
            .first = buffer->first, .last = buffer->last, .alias = buffer->alias};
        if (is_activation(buffer) && !dim_is_const(buffer->size, &items[i].size))
            *arena_bytes = -1;
    }
    if (*arena_bytes < 0)
        return true;
    uint32_t *scratch = ARENA_ARRAY(l->g->arena, (size_t)l->n_buffers + 1, uint32_t);
    if (planner_place(items, l->n_buffers, PLAN_BUFFER_ALIGN, scratch, arena_bytes))
        return true;
    diag_error(l->b->diag, STATUS_LIMIT, NULL, "activations need more than 2^63 bytes");
    return false;
}

bool plan_place_buffers(struct plan_layout *l, struct plan_program *record)
{
    struct planner_item *items =
        ARENA_ARRAY(l->g->arena, (size_t)l->n_buffers + 1, struct planner_item);
    if (!place(l, items, &record->arena_bytes))
        return false;
    bool fixed = record->arena_bytes >= 0;
    record->peak_bytes = fixed ? peak_of(l) : -1;
    record->peak_formula = fixed ? 0 : plan_string(l->b, peak_formula(l));
    for (uint32_t i = 0; i < l->n_buffers; i++) {
        const struct plan_live_buffer *buffer = &l->buffers[i];
        bool placed = buffer->kind == PLAN_BUFFER_ARENA && fixed;
        bool bound = buffer->kind == PLAN_BUFFER_INPUT || buffer->kind == PLAN_BUFFER_OUTPUT;
        struct plan_buffer row = {.kind = buffer->kind,
                                  .index = buffer->index,
                                  .size = scalar_slot(l->scalars, buffer->size),
                                  .alignment = bound ? PLAN_IO_ALIGN : PLAN_BUFFER_ALIGN,
                                  .first = buffer->first,
                                  .last = buffer->last,
                                  .offset = placed ? items[i].offset : -1,
                                  .alias = buffer->alias};
        PLAN_PUSH(&l->own[PLAN_BUFFERS], &row);
    }
    return true;
}
