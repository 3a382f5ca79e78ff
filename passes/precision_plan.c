/* The type that every node computes in and every value has, from the choices: what set_precision
 * will make, and what errors are measured for. */
#include "precision_rules.h"

static bool scatters_unchanged(const struct node *node)
{
    enum combine combine = node->op == OP_scatter_nd ? node->attr.scatter_nd.combine
                                                     : node->attr.scatter_elements.combine;
    return combine != COMBINE_ADD && combine != COMBINE_MUL;
}

/* An op that selects or moves elements computes nothing: it takes them in the type that they have,
 * unless they come from outside or are constants. */
bool moves_elements(const struct node *node)
{
    switch (op_info[node->op].class) {
    case OC_VIEW:
    case OC_SORT:
    case OC_SELECT:
    case OC_GATHER: return true;
    case OC_REDUCE:
        return node->op == OP_reduce_max || node->op == OP_reduce_min || node->op == OP_arg_max ||
               node->op == OP_arg_min;
    case OC_SCATTER: return scatters_unchanged(node);
    case OC_WINDOW: return node->op == OP_pool_max || node->op == OP_pool_arg_max;
    default: return false;
    }
}

static enum dtype planned_of(const struct assignment *a, const struct value *v)
{
    return facts_of(a, v)->planned;
}

/* A comparison needs no rounding of what is there in more bits. */
static bool compares(const struct node *node)
{
    return node->op == OP_eq || node->op == OP_lt || node->op == OP_le;
}

/* The type of elements that are moved, or compared. */
static enum dtype moved_type(const struct assignment *a, const struct node *node, enum dtype wanted)
{
    enum dtype type = DT_NONE;
    const struct choice *choice = choice_of(a, node);
    if (!(moves_elements(node) || compares(node)) || choice->natural || choice->explicit)
        return wanted;
    for (int i = 0; i < node->n_in; i++) {
        const struct value *v = node->in[i];
        if (!precision_is_float(v->type) || facts_of(a, v)->constant)
            continue;
        if (!v->def || (type != DT_NONE && type != planned_of(a, v)))
            return wanted;
        type = planned_of(a, v);
    }
    return type == DT_NONE ? wanted : type;
}

static void plan_graph(struct assignment *a, struct graph *g);

static void plan_node(struct assignment *a, struct node *node)
{
    struct choice *choice = choice_of(a, node);
    bool constant = node->n_out && facts_of(a, node->out[0])->constant;
    if (!choice || node_float_type(a, node) == DT_NONE)
        return;
    choice->type = constant ? node_float_type(a, node) : moved_type(a, node, node_type(a, node));
    for (int i = 0; i < node->n_out && !constant; i++)
        if (precision_is_float(facts_of(a, node->out[i])->original))
            facts_of(a, node->out[i])->planned = choice->type;
}

/* ---- Control flow -------------------------------------------------------------------------- */

/* The type that all readers of a body's input compute in; DT_NONE where they differ. */
static enum dtype readers_type(const struct assignment *a, const struct value *v)
{
    enum dtype type = DT_NONE;
    if (v->is_output)
        return DT_NONE;
    for (const struct use *use = v->uses; use; use = use->next) {
        enum dtype each = use->node->body[0] ? planned_of(a, v) : node_type(a, use->node);
        if (type != DT_NONE && each != type)
            return DT_NONE;
        type = each;
    }
    return type;
}

/* A capture arrives in the type in which the body reads it, so that it is cast once and not in each
 * iteration. */
static enum dtype capture_type(struct assignment *a, const struct node *node, int operand)
{
    struct value *v = node->in[operand];
    const struct value_facts *f = facts_of(a, v);
    enum dtype type = DT_NONE;
    for (int k = 0; k < 2 && node->body[k]; k++) {
        enum dtype each = readers_type(a, node->body[k]->inputs[operand]);
        type = type == DT_NONE || type == each ? each : f->planned;
    }
    if (!precision_is_float(type))
        return f->planned;
    bool fits = !f->constant || !precision_lowers(type, f->original) ||
                constant_fit(a, v, type) == FIT_GOOD;
    return fits ? type : f->planned;
}

/* States keep the model's type, or a wider one. */
static enum dtype state_type(const struct assignment *a, enum dtype original)
{
    enum dtype type = precision_type(a->wanted->wanted, original);
    return precision_lowers(type, original) ? original : type;
}

static enum dtype result_type(const struct assignment *a, const struct node *node, int result)
{
    int states = node->op == OP_loop ? (int)node->attr.loop.states : 0;
    enum dtype own = state_type(a, facts_of(a, node->out[result])->original);
    enum dtype first = planned_of(a, node->body[0]->outputs[result]);
    if (result < states)
        return own;
    return !node->body[1] || planned_of(a, node->body[1]->outputs[result]) == first ? first : own;
}

static void plan_control(struct assignment *a, struct node *node)
{
    int states = node->op == OP_loop ? (int)node->attr.loop.states : 0;
    for (int k = 0; k < 2 && node->body[k]; k++)
        for (int i = 0; i < node->n_in; i++) {
            struct value *inner = node->body[k]->inputs[i];
            facts_of(a, inner)->planned = planned_of(a, node->in[i]);
        }
    for (int i = 0; i < node->n_in; i++) {
        if (!precision_is_float(node->in[i]->type))
            continue;
        enum dtype type = i < states ? state_type(a, facts_of(a, node->in[i])->original)
                                     : capture_type(a, node, i);
        for (int k = 0; k < 2 && node->body[k]; k++)
            facts_of(a, node->body[k]->inputs[i])->planned = type;
    }
    for (int k = 0; k < 2 && node->body[k]; k++)
        plan_graph(a, node->body[k]);
    for (int i = 0; i < node->n_out; i++)
        if (precision_is_float(node->out[i]->type))
            facts_of(a, node->out[i])->planned = result_type(a, node, i);
}

static void plan_graph(struct assignment *a, struct graph *g)
{
    for (struct node *node = g->first; node; node = node->next) {
        for (int i = 0; i < node->n_out; i++)
            facts_of(a, node->out[i])->planned = facts_of(a, node->out[i])->original;
        if (node->body[0])
            plan_control(a, node);
        else
            plan_node(a, node);
    }
}

/* A contraction all of whose readers are wider need not round its sums for them. */
static void keep_sums(const struct assignment *a, const struct graph *g)
{
    for (const struct node *node = g->first; node; node = node->next) {
        const struct value *v = node->n_out ? node->out[0] : NULL;
        bool wide =
            is_contraction(node) && v->uses && !v->is_output && facts_of(a, v)->original == DT_F32;
        for (const struct use *use = wide ? v->uses : NULL; use && wide; use = use->next) {
            const struct choice *reader = choice_of(a, use->node);
            wide = reader && reader->type == DT_F32;
        }
        if (wide)
            facts_of(a, v)->planned = DT_F32;
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                keep_sums(a, node->body[i]);
    }
}

void precision_plan(struct assignment *a)
{
    for (int i = 0; i < a->g->n_inputs; i++)
        facts_of(a, a->g->inputs[i])->planned = facts_of(a, a->g->inputs[i])->original;
    plan_graph(a, a->g);
    keep_sums(a, a->g);
}
