/* From a graph whose nodes have kernels to a program: groups, families, steps. */
#include "program.h"
#include "in_place.h"
#include "../runtime/plan_format.h"
#include "emit_state.h"

#include <string.h>

static family *const family_of[] = {
    [OC_REDUCE] = family_reduce, [OC_ROW] = family_row,       [OC_CONTRACT] = family_contract,
    [OC_WINDOW] = family_window, [OC_SCAN] = family_scan,     [OC_SCATTER] = family_scatter,
    [OC_SORT] = family_sort,     [OC_SELECT] = family_select, [OC_ATTENTION] = family_attention,
};

static bool is_control(const struct node *node)
{
    return op_info[node->op].class == OC_CONTROL;
}

static bool is_list(const struct node *node)
{
    return op_info[node->op].class == OC_LIST;
}

static bool is_core(const struct node *node)
{
    enum op_class class = op_info[node->op].class;
    return is_control(node) || is_list(node) ||
           (class < sizeof family_of / sizeof *family_of && family_of[class]);
}

void codegen_append(struct codegen *c, struct step step)
{
    struct program *p = c->program;
    if (p->n_steps == c->cap_steps) {
        int cap = c->cap_steps ? c->cap_steps * 2 : 64;
        struct step *grown = ARENA_ARRAY(c->g->arena, (size_t)cap, struct step);
        if (p->n_steps)
            memcpy(grown, p->steps, (size_t)p->n_steps * sizeof *grown);
        p->steps = grown;
        c->cap_steps = cap;
    }
    p->steps[p->n_steps++] = step;
}

/* Do symbols stand for elements of v? Then the host reads it back. */
static bool is_read_back(const struct graph *g, const struct value *v)
{
    for (int i = 0; i < g->root->n_symbols; i++)
        if (g->root->symbols[i].kind == SYMBOL_ELEMENT && g->root->symbols[i].value == v)
            return true;
    return false;
}

/* Must v be in memory after kernel `id`? */
static bool leaves(const struct graph *g, const struct value *v, int id)
{
    if (v->is_output || is_read_back(g, v))
        return true;
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->kernel != id)
            return true;
    return false;
}

/* The groups of all kernels, by id. */
static struct group *collect_groups(struct graph *g)
{
    struct group *groups = ARENA_ARRAY(g->arena, (size_t)g->n_kernels + 1, struct group);
    for (struct node *n = g->first; n; n = n->next)
        if (n->kernel >= 0)
            groups[n->kernel].n_nodes++;
    for (int i = 0; i < g->n_kernels; i++) {
        groups[i].id = i;
        groups[i].nodes = ARENA_ARRAY(g->arena, (size_t)groups[i].n_nodes + 1, struct node *);
        groups[i].n_nodes = 0;
    }
    for (struct node *n = g->first; n; n = n->next) {
        if (n->kernel < 0)
            continue;
        struct group *group = &groups[n->kernel];
        group->nodes[group->n_nodes++] = n;
        if (is_core(n) && (!group->core || group->core->op == OP_normalize ||
                           (group->core->op == OP_conv && n->op == OP_conv)))
            group->core = n; /* the one behind a normalization or a depthwise convolution */
    }
    for (int i = 0; i < g->n_kernels; i++) {
        struct group *group = &groups[i];
        int most = 0;
        for (int k = 0; k < group->n_nodes; k++)
            most += group->nodes[k]->n_out;
        group->outputs = ARENA_ARRAY(g->arena, (size_t)most + 1, struct value *);
        for (int k = 0; k < group->n_nodes; k++)
            for (int o = 0; o < group->nodes[k]->n_out; o++)
                if (leaves(g, group->nodes[k]->out[o], i))
                    group->outputs[group->n_outputs++] = group->nodes[k]->out[o];
    }
    return groups;
}

/* Strings have no kernels, and a parameter block holds about 500 pointers. */
static bool can_be_kernel(struct codegen *c, const struct group *group)
{
    bool can = true;
    for (int i = 0; i < group->n_nodes; i++) {
        const struct node *node = group->nodes[i];
        for (int k = 0; can && k < node->n_in + node->n_out; k++) {
            const struct value *v = k < node->n_in ? node->in[k] : node->out[k - node->n_in];
            if (emit_storage_type(v->type) ||
                (dtype_is_list(v->type) && (is_control(node) || is_list(node))))
                continue;
            diag_error(c->g->diag, STATUS_UNSUPPORTED, node->origin, "%s: %s has no kernels",
                       op_info[node->op].name, dtype_info[v->type].text);
            can = false;
        }
    }
    return can;
}

/* Nothing to compute: every result is known to have no elements. */
static bool is_empty(struct graph *g, const struct group *group)
{
    for (int i = 0; i < group->n_outputs; i++)
        if (!dim_is(value_elements(g, group->outputs[i]), 0))
            return false;
    return true;
}

static bool is_too_deep(const struct graph *body)
{
    int depth = 0;
    for (; body->outer; body = body->outer)
        depth++;
    return depth > PLAN_MAX_DEPTH;
}

static void add_control(struct codegen *c, struct node *node)
{
    struct step step = {.kind = node->op == OP_loop ? STEP_LOOP : STEP_BRANCH, .node = node};
    for (int i = 0; i < 2 && node->body[i]; i++) {
        if (is_too_deep(node->body[i])) {
            diag_error(c->g->diag, STATUS_LIMIT, node->origin,
                       "%s: bodies in bodies, more than %d deep", op_info[node->op].name,
                       PLAN_MAX_DEPTH);
            c->failed = true;
            return;
        }
        step.body[i] = codegen_program(node->body[i], c->target);
        c->failed |= !step.body[i];
    }
    codegen_append(c, step);
}

static void add_kernel(struct codegen *c, const struct group *group)
{
    if (is_empty(c->g, group))
        return;
    if (!can_be_kernel(c, group))
        c->failed = true;
    else if (group->core && is_control(group->core))
        add_control(c, group->core);
    else if (group->core && is_list(group->core))
        codegen_append(c, (struct step){.kind = STEP_LIST, .node = group->core});
    else if (!(group->core ? family_of[op_info[group->core->op].class] : family_map)(c, group))
        c->failed = true;
}

bool program_each_launch(const struct program *program,
                         bool (*visit)(void *context, const struct kernel *kernel), void *context)
{
    for (int i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        if (step->kind == STEP_LAUNCH && !visit(context, step->kernel))
            return false;
        for (int k = 0; k < 2; k++)
            if (step->body[k] && !program_each_launch(step->body[k], visit, context))
                return false;
    }
    return true;
}

struct program *codegen_program(struct graph *g, const struct target *target)
{
    struct codegen c = {.g = g, .target = target};
    c.program = ARENA_NEW(g->arena, struct program);
    c.program->target = target;
    struct group *groups = collect_groups(g);
    in_place_choose(g, g->n_kernels, groups);
    for (int i = 0; i < g->n_inputs; i++)
        if (is_read_back(g, g->inputs[i]))
            codegen_append(&c, (struct step){.kind = STEP_READ, .value = g->inputs[i]});
    for (int i = 0; i < g->n_kernels; i++) {
        add_kernel(&c, &groups[i]);
        for (int k = 0; k < groups[i].n_outputs; k++)
            if (is_read_back(g, groups[i].outputs[k]))
                codegen_append(&c, (struct step){.kind = STEP_READ, .value = groups[i].outputs[k]});
    }
    return c.failed ? NULL : c.program;
}
