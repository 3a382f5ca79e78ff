/*
 * Outputs that lie in the memory of an input (--alias). Kernels write such an output in place where
 * every element of the input is read before it is overwritten: by earlier steps, or by a kernel of
 * maps whose thread reads element i of the input, if any, and writes element i of the output.
 * Elsewhere the output is made in a buffer of its own, and copied when all else is done.
 */
#include "plan_layout.h"

#include <string.h>

static struct value *input_of(const struct plan_layout *l, int k)
{
    return l->g->inputs[l->g->output_alias[k]];
}

static const struct plan_live_buffer *buffer_in(const struct plan_layout *l, int k)
{
    return &l->buffers[l->g->output_alias[k]]; /* the first buffers are the inputs, … */
}

static const struct plan_live_buffer *buffer_out(const struct plan_layout *l, int k)
{
    return &l->buffers[l->g->n_inputs + k]; /* … then the outputs */
}

bool plan_is_in_place(const struct plan_layout *l, const struct value *from, const struct value *to)
{
    for (int k = 0; k < l->g->n_outputs; k++)
        if (l->g->output_alias[k] >= 0 && !l->copied[k] && l->g->outputs[k] == to &&
            input_of(l, k) == from && l->place[to->id].buffer == (uint32_t)(l->g->n_inputs + k))
            return true;
    return false;
}

/* Parts behind the first are appended in memory too. */
static bool appends(const struct node *concat)
{
    for (int i = 0; i < concat->attr.concat.axis; i++)
        if (!dim_is(concat->out[0]->shape[i], 1))
            return false;
    return true;
}

bool plan_keeps_elements(const struct plan_layout *l, const struct value *from,
                         const struct value *to)
{
    bool *same = ARENA_ARRAY(l->g->arena, (size_t)l->g->root->next_id + 1, bool);
    memset(same, 0, ((size_t)l->g->root->next_id + 1) * sizeof *same);
    same[from->id] = true;
    for (const struct node *node = l->g->first; node; node = node->next) {
        if (node->kernel != to->def->kernel)
            continue;
        for (int i = 0; i < node->n_in; i++) {
            enum op_class class = op_info[node->op].class;
            bool first = i == 0 && (node->op == OP_reshape || class == OC_SCATTER ||
                                    (node->op == OP_concat && appends(node)));
            if (!same[node->in[i]->id])
                continue;
            if (class != OC_SCALAR && !first)
                return false;
            same[node->out[0]->id] = class != OC_SCATTER;
        }
    }
    return true;
}

/* The main step at that time is a kernel with no core: each thread does its own elements. */
static bool is_map(const struct plan_layout *l, uint32_t time)
{
    for (uint32_t i = 0; i < l->bodies[0].n_steps; i++)
        if (l->steps[i].time == time)
            return l->steps[i].step.kind == STEP_LAUNCH &&
                   (!strcmp(l->steps[i].step.kernel->family, "map") ||
                    !strcmp(l->steps[i].step.kernel->family, "copy"));
    return false;
}

/* Why output k cannot be written in place, or NULL. */
static const char *obstacle(const struct plan_layout *l, int k)
{
    const struct plan_live_buffer *in = buffer_in(l, k), *out = buffer_out(l, k);
    const struct value *from = input_of(l, k), *to = l->g->outputs[k];
    if (!in->used || !out->used || in->last < out->first)
        return NULL;
    if (in->last > out->first)
        return "a later step still reads the input";
    if (!to->def || !is_map(l, out->first))
        return "the kernel that writes it reads the input in another order";
    if (dtype_size(from->type) != dtype_size(to->type))
        return "its elements have another size";
    return plan_keeps_elements(l, from, to) ? NULL : "its elements lie elsewhere than the input's";
}

bool plan_settle_aliases(struct plan_layout *l, bool *again)
{
    struct graph *g = l->g;
    *again = false;
    for (int k = 0; k < g->n_outputs; k++) {
        const char *why = g->output_alias[k] >= 0 ? obstacle(l, k) : NULL;
        if (!why)
            continue;
        if (l->copied[k]) {
            diag_error(l->b->diag, STATUS_UNSUPPORTED, g->output_names[k],
                       "cannot lie in the memory of '%s': %s", input_of(l, k)->name, why);
            return false;
        }
        if (l->program == l->b->programs[0]) /* once, not for each target */
            diag_warning(l->b->diag, g->output_names[k],
                         "is made beside '%s' and copied into it: %s", input_of(l, k)->name, why);
        *again = l->copied[k] = true;
    }
    return true;
}
