/*
 * Precision: values get the type that --precision and --keep ask for, with casts where types meet.
 * Inputs and outputs of the model keep theirs, and so do states of loops, whose rounding would add
 * up. Constants are cast where they are used: that is a recipe, carried out while the plan is
 * written. Which nodes stay as they are whatever was asked for is in precision_rules.c.
 */
#include "passes.h"

#include "../ir/build.h"
#include "precision_rules.h"

#include <string.h>

/* ---- Casts --------------------------------------------------------------------------------- */

static struct value *insert_cast(struct graph *g, struct node *before, struct value *v,
                                 enum dtype to)
{
    struct builder b = {g, before};
    return build_cast(&b, v, to);
}

/* What a cast of v would change again: v is a cast of something of that type that loses nothing. */
static struct value *uncast(struct value *v, enum dtype to)
{
    const struct node *node = v->def;
    if (!node || node->op != OP_cast || node->in[0]->type != to || !precision_is_float(v->type))
        return NULL;
    return precision_lowers(v->type, to) ? NULL : node->in[0];
}

static bool is_new(const struct assignment *a, const struct value *v)
{
    return v->id >= a->n;
}

/* v in another type. The cast stands right behind v (for all readers), in front of views of
 * constants, so that what is repeated is cast once. */
static struct value *as_type(struct assignment *a, struct value *v, enum dtype type)
{
    if (v->type == type)
        return v;
    struct value *back = uncast(v, type);
    if (back)
        return back;
    struct graph *g = v->graph;
    const char *origin = g->root->origin;
    struct value_facts *f = is_new(a, v) ? NULL : facts_of(a, v);
    struct value **known = f ? &f->as[narrow_index(type)] : NULL;
    if (known && *known)
        return *known;
    struct node *node = v->def, *before = node ? node->next : g->first;
    struct value *made;
    g->origin = node ? node->origin : NULL;
    if (f && f->constant && node && op_info[node->op].class == OC_VIEW && node->n_in == 1) {
        struct value *in = as_type(a, node->in[0], type);
        made = in ? graph_insert(g, before, node->op, 1, &in, &node->attr)->out[0] : NULL;
    } else {
        made = insert_cast(g, before, v, type);
    }
    g->origin = origin;
    if (known)
        *known = made;
    return made;
}

static void cast_operand(struct assignment *a, struct node *node, int operand, enum dtype type)
{
    struct value *v = node->in[operand];
    struct value *made = precision_is_float(v->type) ? as_type(a, v, type) : v;
    if (made && made != v)
        node_set_operand(v->graph, node, operand, made);
}

/* ---- Nodes --------------------------------------------------------------------------------- */

static enum dtype original_of(const struct assignment *a, const struct value *v)
{
    return is_new(a, v) ? v->type : facts_of(a, v)->original;
}

/* Attributes that name results' types. */
static void set_type_attributes(struct node *node, enum dtype type)
{
    const struct op_info *info = &op_info[node->op];
    for (int i = 0; i < info->n_fields; i++) {
        enum dtype *field = (enum dtype *)(void *)((char *)&node->attr + info->fields[i].offset);
        if (info->fields[i].kind == AK_DTYPE && precision_is_float(*field))
            *field = type;
    }
}

static void set_results(struct assignment *a, struct node *node, enum dtype type)
{
    set_type_attributes(node, type);
    for (int i = 0; i < node->n_out; i++)
        if (precision_is_float(original_of(a, node->out[i])))
            node->out[i]->type = type;
}

static void set_math(const struct assignment *a, struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    enum precision_level precision = choice->natural ? PRECISION_MODEL : choice->precision;
    bool f32 = node->in[0]->type == DT_F32;
    node->math = f32 && precision == PRECISION_TF32     ? MATH_TF32
                 : f32 && precision == PRECISION_FP32X3 ? MATH_F32X3
                                                        : MATH_EXACT;
}

/* Puts the product in f8 in the node's place. */
static bool make_eight(struct assignment *a, struct graph *g, struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    if (!choice->eight || choice->natural || choice->precision != PRECISION_FP8)
        return false;
    g->root->origin = g->origin = node->origin;
    struct value *product = precision_product_f8(g, node, node->in[0], node->in[1]);
    if (!product)
        return false;
    value_replace_uses(g, node->out[0], product);
    uint32_t id = product->id; /* what is known of the node's result holds for the product */
    product->id = node->out[0]->id;
    node->out[0]->id = id;
    return true;
}

static void remark_kept(const struct assignment *a, struct graph *g, const struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    const char *op = op_info[node->op].name, *level = precision_names[choice->precision];
    bool as_model = choice->precision == PRECISION_MODEL || choice->precision == PRECISION_FP32;
    if (choice->natural && choice->why)
        graph_remark(g, "set_precision", node, "%s stays in %s: %s", op,
                     dtype_info[node_float_type(a, node)].text, choice->why);
    else if (choice->pattern && choice->precision != a->wanted->wanted)
        graph_remark(g, "set_precision", node, "%s is in %s by --keep '%s'", op, level,
                     choice->pattern);
    else if (a->wanted->load && as_model && !choice->pattern && !moves_elements(node))
        graph_remark(g, "set_precision", node, "%s keeps %s by --load-precision", op,
                     precision_kept_type(a));
}

static void set_node(struct assignment *a, struct graph *g, struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    enum dtype original = node_float_type(a, node);
    if (!choice || original == DT_NONE || facts_of(a, node->out[0])->constant)
        return;
    remark_kept(a, g, node);
    if (is_contraction(node) && make_eight(a, g, node))
        return;
    enum dtype type = choice->type;
    if (node->op != OP_cast)
        for (int i = 0; i < node->n_in && !precision_keeps_operand(node, i); i++)
            cast_operand(a, node, i, type);
    set_results(a, node, type);
    if (multiplies(node))
        set_math(a, node);
    if (node->op == OP_cast && node->in[0]->type == node->out[0]->type)
        value_replace_uses(g, node->out[0], node->in[0]);
}

/* ---- Control flow -------------------------------------------------------------------------- */

static void set_graph(struct assignment *a, struct graph *g);

static void set_body_output(struct assignment *a, struct graph *body, int output, enum dtype type)
{
    struct value *v = body->outputs[output], *made = v;
    if (precision_is_float(v->type))
        made = as_type(a, v, type);
    if (!made || made == v)
        return;
    body->outputs[output] = made;
    made->is_output = true;
    v->is_output = false;
    for (int i = 0; i < body->n_outputs; i++)
        v->is_output |= body->outputs[i] == v;
}

static void set_control(struct assignment *a, struct node *node)
{
    for (int i = 0; i < node->n_in; i++) {
        if (!precision_is_float(node->in[i]->type))
            continue;
        enum dtype type = facts_of(a, node->body[0]->inputs[i])->planned;
        cast_operand(a, node, i, type);
        for (int k = 0; k < 2 && node->body[k]; k++)
            node->body[k]->inputs[i]->type = type;
    }
    for (int k = 0; k < 2 && node->body[k]; k++)
        set_graph(a, node->body[k]);
    for (int i = 0; i < node->n_out; i++) {
        if (!precision_is_float(node->out[i]->type))
            continue;
        enum dtype type = facts_of(a, node->out[i])->planned;
        for (int k = 0; k < 2 && node->body[k]; k++)
            set_body_output(a, node->body[k], i, type);
        node->out[i]->type = type;
    }
}

/* ---- The whole ----------------------------------------------------------------------------- */

static void set_graph(struct assignment *a, struct graph *g)
{
    for (struct node *node = g->first, *next; node; node = next) {
        next = node->next;
        if (node->body[0])
            set_control(a, node);
        else
            set_node(a, g, node);
    }
}

/* The model's outputs have the model's types. */
static void set_outputs(struct assignment *a, enum dtype *types)
{
    struct graph *g = a->g;
    for (int i = 0; i < g->n_outputs; i++)
        if (g->outputs[i]->type != types[i])
            set_body_output(a, g, i, types[i]);
}

/* A contraction all of whose readers want f32 need not round its sums. */
static void keep_sums(struct graph *g, struct node *node)
{
    struct value *v = node->out[0];
    if (!is_contraction(node) || v->is_output || !v->uses || !precision_lowers(v->type, DT_F32) ||
        !precision_is_float(v->type))
        return;
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->op != OP_cast || use->node->attr.cast.to != DT_F32)
            return;
    set_type_attributes(node, DT_F32);
    v->type = DT_F32;
    struct use *uses = v->uses; /* the casts'; replacing them puts others in front of these */
    while (uses) {
        struct node *cast = uses->node;
        uses = uses->next;
        value_replace_uses(g, cast->out[0], v);
        node_remove(g, cast);
    }
}

static void keep_sums_of_graph(struct graph *g)
{
    for (struct node *node = g->first; node; node = node->next) {
        keep_sums(g, node);
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                keep_sums_of_graph(node->body[i]);
    }
}

static bool is_narrow(enum dtype type)
{
    return precision_is_float(type) && type != DT_F32;
}

static bool has_narrow_floats(const struct assignment *a)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (is_narrow(a->facts[i].original))
            return true;
    return false;
}

/* tf32 holds all of a 16-bit model's numbers, and its own rounding is more than tf32's: there is
 * nothing to hold the budget against that tf32 has of its own. */
static bool is_tf32_alone(const struct precision *wanted)
{
    return wanted->assumed && wanted->wanted == PRECISION_TF32;
}

static bool needs_search(const struct assignment *a)
{
    const struct precision *wanted = a->wanted;
    if (!wanted->searches || !is_tf32_alone(wanted) || !has_narrow_floats(a))
        return wanted->searches;
    graph_remark(a->g, "set_precision", NULL,
                 "a 16-bit model's numbers fit tf32, so that its errors are not measured");
    return false;
}

/* The levels with the least cost that the errors allow. */
static bool search_levels(struct assignment *a, struct measure *measure)
{
    const char *wrong = !measure                  ? "the model does not run on the inputs"
                        : !measure_tells(measure) ? "no output has a finite number on the inputs"
                                                  : NULL;
    if (wrong)
        diag_error(a->g->diag, STATUS_USAGE, NULL,
                   "%s that errors are measured on: --calib=DIR names others, --max-error=none "
                   "leaves measuring out",
                   wrong);
    return !wrong && precision_search(a, measure);
}

/* What auto stands for, or what was saved; measure is there for what auto chose. */
static bool choose_levels(struct assignment *a, struct measure **measure)
{
    const struct precision *wanted = a->wanted;
    precision_find_natural(a);
    precision_find_eight(a);
    if (wanted->load && !precision_load(a, wanted->load))
        return false;
    if (needs_search(a)) {
        if (wanted->warning)
            diag_warning(a->g->diag, NULL, "%s", wanted->warning);
        *measure = measure_open(a);
        if (!search_levels(a, *measure)) {
            measure_close(*measure);
            return false;
        }
    }
    precision_find_natural(a);
    precision_plan(a);
    if (wanted->save)
        *wanted->save = precision_save(a);
    return true;
}

/* The error of the graph as it is now. */
static bool check_result(struct assignment *a, struct measure *measure)
{
    double error;
    if (!measure_result(measure, &error))
        return false;
    graph_remark(a->g, "set_precision", NULL,
                 "all together move the outputs by %.3g, of %.3g allowed, on %d sets of inputs",
                 error, a->wanted->max_error, a->wanted->n_runs);
    if (!(error <= a->wanted->max_error))
        diag_error(a->g->diag, STATUS_TOLERANCE, NULL,
                   "--max-error cannot be met: the outputs moved by %.3g", error);
    return error <= a->wanted->max_error;
}

static bool carry_out(struct graph *g, bool raised)
{
    enum dtype *types = ARENA_ARRAY(g->arena, (size_t)g->n_outputs + 1, enum dtype);
    for (int i = 0; i < g->n_outputs; i++)
        types[i] = g->outputs[i]->type;
    struct assignment *a = precision_assign(g);
    struct measure *measure = NULL;
    if (!a)
        return false;
    a->raised = raised;
    if (!choose_levels(a, &measure))
        return false;
    set_graph(a, g);
    set_outputs(a, types);
    keep_sums_of_graph(g);
    bool good = !measure || check_result(a, measure);
    measure_close(measure);
    pass_remove_dead(g);
    pass_fold_constants(g);
    pass_remove_dead(g);
    return good;
}

static bool has_narrow_values(const struct graph *g)
{
    for (const struct node *node = g->first; node; node = node->next) {
        for (int i = 0; i < node->n_out; i++)
            if (is_narrow(node->out[i]->type))
                return true;
        for (int i = 0; i < 2; i++)
            if (node->body[i] && has_narrow_values(node->body[i]))
                return true;
    }
    return false;
}

/* A budget holds a 16-bit model, too, and that model's own rounding may be more. So what is
 * measured is chosen from f32 down: layers that the wanted precision costs too much, or that gain
 * nothing by it, are in f32. */
static bool starts_in_f32(const struct graph *g)
{
    const struct precision *wanted = g->precision;
    return wanted->load ? precision_text_is_raised(wanted->load)
                        : wanted->searches && !is_tf32_alone(wanted) && has_narrow_values(g);
}

static bool raise_to_f32(struct graph *g)
{
    const struct precision *wanted = g->precision, f32 = {.wanted = PRECISION_FP32};
    g->precision = &f32;
    bool good = carry_out(g, false);
    g->precision = wanted;
    return good;
}

bool pass_set_precision(struct graph *g)
{
    if (!precision_changes(g->precision))
        return false;
    bool raised = starts_in_f32(g);
    return (!raised || raise_to_f32(g)) && carry_out(g, raised);
}
