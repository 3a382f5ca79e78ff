/* --explain=fusion: which nodes are one kernel, in which parts; --explain=precision: their types.
 */
#include "../codegen/emit.h"
#include "explain.h"

#include <inttypes.h>
#include <string.h>

enum part { PROLOGUE, CORE, EPILOGUE, MAP, PART_COUNT };

static const char *const part_names[PART_COUNT] = {"prologue", "core", "epilogue", "map"};

/* The part of each of the group's nodes, in the arena. */
static const enum part *parts_of(const struct graph *g, const struct group *group)
{
    size_t n = (size_t)group->n_nodes + 1;
    bool *behind = ARENA_ARRAY(g->arena, n, bool);
    enum part *parts = ARENA_ARRAY(g->arena, n, enum part);
    explain_behind_core(group, behind);
    for (int i = 0; i < group->n_nodes; i++)
        parts[i] = !group->core                              ? MAP
                   : explain_is_core(group, group->nodes[i]) ? CORE
                   : behind[i]                               ? EPILOGUE
                                                             : PROLOGUE;
    return parts;
}

/* "conv f32[…], f32[…] -> f32[…]" for a core, the op's name for others; equal neighbours once. */
static void print_node(struct text *out, const struct graph *g, const struct node *node, bool full)
{
    text_printf(out, "%s", op_info[node->op].name);
    for (int i = 0; full && i < node->n_in; i++) {
        text_printf(out, "%s", i ? ", " : " ");
        explain_value(out, g, node->in[i]);
    }
    for (int i = 0; full && i < node->n_out; i++) {
        text_printf(out, "%s", i ? ", " : " -> ");
        explain_value(out, g, node->out[i]);
    }
}

/* The ops of a part in order; false when it has none. */
static bool print_part(struct text *out, const struct graph *g, const struct group *group,
                       const enum part *parts, enum part part)
{
    const struct node *before = NULL;
    int n = 0, repeats = 0;
    for (int i = 0; i <= group->n_nodes; i++) {
        const struct node *node = i < group->n_nodes ? group->nodes[i] : NULL;
        if (node && parts[i] != part)
            continue;
        if (node && before && node->op == before->op) {
            repeats++;
            continue;
        }
        if (repeats)
            text_printf(out, " (%d times)", repeats + 1);
        if (!node)
            break;
        text_printf(out, "%s", n++ ? ", " : "");
        print_node(out, g, node, part == CORE);
        before = node;
        repeats = 0;
    }
    return n > 0;
}

static void json_part(struct explain *x, const struct group *group, const enum part *parts,
                      enum part part)
{
    json_open(&x->out, part_names[part], '[');
    for (int i = 0; i < group->n_nodes; i++) {
        const struct node *node = group->nodes[i];
        if (parts[i] != part)
            continue;
        json_open(&x->out, NULL, '{');
        json_string(&x->out, "op", op_info[node->op].name);
        json_string(&x->out, "nodes", node->origin ? node->origin : "");
        json_close(&x->out, '}');
    }
    json_close(&x->out, ']');
}

static void json_values(struct explain *x, const char *key, struct value *const *values, int n)
{
    json_open(&x->out, key, '[');
    for (int i = 0; i < n; i++) {
        struct text shape = {.arena = x->g->arena};
        struct value unnamed = *values[i];
        unnamed.name = NULL;
        explain_value(&shape, x->g, &unnamed);
        json_open(&x->out, NULL, '{');
        json_string(&x->out, "name", values[i]->name ? values[i]->name : "");
        json_string(&x->out, "type", shape.data);
        json_close(&x->out, '}');
    }
    json_close(&x->out, ']');
}

static void json_kernel(struct explain *x, const struct kernel *kernel)
{
    const struct group *group = kernel->group;
    const enum part *parts = parts_of(x->g, group);
    json_string(&x->out, "kernel", kernel->symbol);
    json_string(&x->out, "family", kernel->family);
    json_bool(&x->out, "tensor_cores", explain_uses_tensor_cores(kernel));
    for (int part = 0; part < PART_COUNT; part++)
        json_part(x, group, parts, (enum part)part);
    json_values(x, "reads", kernel->reads, kernel->n_reads);
    json_values(x, "writes", kernel->writes, kernel->n_writes);
}

static void text_values(struct text *out, const struct graph *g, const char *label,
                        struct value *const *values, int n)
{
    text_printf(out, "      %-9s ", label);
    for (int i = 0; i < n; i++) {
        text_printf(out, "%s", i ? "; " : "");
        explain_value(out, g, values[i]);
    }
    text_printf(out, "\n");
}

static void text_kernel(struct explain *x, const struct kernel *kernel)
{
    struct text *out = &x->out.text;
    const enum part *parts = parts_of(x->g, kernel->group);
    text_printf(out, "%s%s: %s\n", kernel->symbol,
                explain_uses_tensor_cores(kernel) ? " (tensor cores)" : "", kernel->nodes);
    for (int part = 0; part < PART_COUNT; part++) {
        struct text ops = {.arena = x->g->arena};
        if (print_part(&ops, x->g, kernel->group, parts, (enum part)part))
            text_printf(out, "      %-9s %s\n", part_names[part], ops.data);
    }
    text_values(out, x->g, "reads", kernel->reads, kernel->n_reads);
    text_values(out, x->g, "writes", kernel->writes, kernel->n_writes);
}

static void fusion_step(struct explain *x, const struct step *step, int number, int depth)
{
    struct text *out = &x->out.text;
    if (x->json) {
        json_open(&x->out, NULL, '{');
        json_int(&x->out, "step", number);
        json_int(&x->out, "depth", depth);
        json_string(&x->out, "nodes", explain_nodes(step));
        if (step->kernel) {
            json_kernel(x, step->kernel);
        } else {
            struct text move = {.arena = x->g->arena};
            explain_move(&move, x->g, step);
            json_string(&x->out, "does", move.data);
        }
        json_close(&x->out, '}');
        return;
    }
    text_printf(out, "%4d  %*s", number, 2 * depth, "");
    if (step->kernel) {
        text_kernel(x, step->kernel);
        return;
    }
    explain_move(out, x->g, step);
    text_printf(out, "%s%s\n", *explain_nodes(step) ? ": " : "", explain_nodes(step));
}

/* A concat whose operands are written where they lie in its result has no step. */
static void in_place(struct explain *x)
{
    bool any = false;
    if (x->json)
        json_open(&x->out, "in_place", '[');
    for (const struct node *node = x->g->first; node; node = node->next) {
        if (node->kernel != KERNEL_IN_PLACE)
            continue;
        if (x->json)
            json_string(&x->out, NULL, node->origin ? node->origin : "");
        else
            text_printf(&x->out.text, "%s  %s\n", any ? "" : "no copy needed\n",
                        node->origin ? node->origin : op_info[node->op].name);
        any = true;
    }
    if (x->json)
        json_close(&x->out, ']');
}

bool explain_fusion(struct explain *x)
{
    if (x->json) {
        json_open(&x->out, "fusion", '{');
        json_open(&x->out, "steps", '[');
    }
    explain_each_step(x, fusion_step);
    if (x->json)
        json_close(&x->out, ']');
    in_place(x);
    if (!x->json)
        text_printf(&x->out.text, "remarks of the passes\n");
    if (!explain_remarks(x, "remarks", NULL) && !x->json)
        text_printf(&x->out.text, "  none\n");
    if (x->json)
        json_close(&x->out, '}');
    return true;
}

/* ---- precision ------------------------------------------------------------------------------ */

/* What the sums of a core are kept in. */
static enum dtype sum_type(const struct node *node)
{
    enum dtype type = node->in[0]->type;
    return dtype_is_float(type) && type != DT_F64 ? DT_F32 : node->out[0]->type;
}

static const char *math_of(const struct node *node)
{
    static const char *const names[MATH_COUNT] = {
        [MATH_EXACT] = "", [MATH_TF32] = "tf32", [MATH_F32X3] = "tf32 x 3"};
    bool contracts = op_info[node->op].class == OC_CONTRACT;
    return contracts && node->in[0]->type == DT_F32 ? names[node->math] : "";
}

/* "f16, f16 -> f16". */
static void print_types(struct text *out, const struct value *const *in, int n_in,
                        const struct value *const *made, int n_out)
{
    for (int i = 0; i < n_in; i++)
        text_printf(out, "%s%s", i ? ", " : "", dtype_info[in[i]->type].text);
    text_printf(out, " -> ");
    for (int i = 0; i < n_out; i++)
        text_printf(out, "%s%s", i ? ", " : "", dtype_info[made[i]->type].text);
}

static void precision_step(struct explain *x, const struct step *step, int number, int depth)
{
    const struct kernel *kernel = step->kernel;
    if (!kernel)
        return;
    const struct node *core = kernel->group->core;
    struct text types = {.arena = x->g->arena}, buffers = {.arena = x->g->arena};
    print_types(&buffers, (const struct value *const *)kernel->reads, kernel->n_reads,
                (const struct value *const *)kernel->writes, kernel->n_writes);
    if (core && core->n_in && core->n_out)
        print_types(&types, (const struct value *const *)core->in, core->n_in,
                    (const struct value *const *)core->out, core->n_out);
    const char *math = core && core->n_in && core->n_out ? math_of(core) : "";
    const char *sums = types.data ? dtype_info[sum_type(core)].text : "";
    if (x->json) {
        json_open(&x->out, NULL, '{');
        json_int(&x->out, "step", number);
        json_string(&x->out, "nodes", kernel->nodes);
        json_string(&x->out, "buffers", buffers.data);
        json_string(&x->out, "core", core ? op_info[core->op].name : "");
        json_string(&x->out, "core_types", types.data ? types.data : "");
        json_string(&x->out, "computed_in", *math ? math : sums);
        json_bool(&x->out, "tensor_cores", explain_uses_tensor_cores(kernel));
        json_close(&x->out, '}');
        return;
    }
    text_printf(&x->out.text, "%4d  %*s%s: %s", number, 2 * depth, "", kernel->nodes, buffers.data);
    if (types.data)
        text_printf(&x->out.text, "; %s %s, %s%s%s%s", op_info[core->op].name, types.data,
                    *math ? "multiplied as " : "", math, *math ? ", " : "computed in ", sums);
    text_printf(&x->out.text, "%s\n", explain_uses_tensor_cores(kernel) ? ", on tensor cores" : "");
}

bool explain_precision(struct explain *x)
{
    if (x->json) {
        json_open(&x->out, "precision", '{');
        json_open(&x->out, "kernels", '[');
    }
    explain_each_step(x, precision_step);
    if (x->json)
        json_close(&x->out, ']');
    else
        text_printf(&x->out.text, "why\n");
    if (!explain_remarks(x, "remarks", "set_precision") && !x->json)
        text_printf(&x->out.text, "  %s\n",
                    x->g->root->precision ? "nothing was kept apart"
                                          : "no precision was asked for: every value has the "
                                            "model's type");
    if (x->json)
        json_close(&x->out, '}');
    return true;
}
