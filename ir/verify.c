/*
 * The verifier: everything a graph promises, checked in one walk. It reports all faults it finds,
 * each with the line of the node that has it.
 */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "infer.h"
#include "text.h"

struct verifier {
    struct graph *g;
    const char *blame;
    enum status status;
    struct value **defined;    /* by id: values defined so far; next_id entries */
    size_t n_operands, n_uses; /* operand slots of all nodes; uses in all lists */
    bool good;
};

static void fault(struct verifier *v, const struct node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* node NULL: of the graph as a whole. */
static void fault(struct verifier *v, const struct node *node, const char *format, ...)
{
    struct text text = {0};
    const char *where = node && node->origin ? node->origin : NULL;
    va_list args;
    v->good = false;
    if (v->status == STATUS_INTERNAL)
        text_printf(&text, "after %s: ", v->blame);
    if (node && node->n_out > 0 && node->out[0])
        text_printf(&text, "%%%u = %s: ", (unsigned)node->out[0]->id, op_info[node->op].name);
    va_start(args, format);
    text_vprintf(&text, format, args);
    va_end(args);
    diag_error(v->g->diag, v->status, where, "%s", text.data ? text.data : "a fault");
    text_free(&text);
}

static bool is_defined(const struct verifier *v, const struct value *value)
{
    return value && value->id < v->g->root->next_id && v->defined[value->id] == value;
}

/* -- Values -- */

static void check_layout(struct verifier *v, const struct value *value)
{
    const struct layout *layout = value->layout;
    uint32_t seen = 0;
    if (!layout)
        return;
    for (int i = 0; i < layout->perm.n && i < MAX_RANK; i++)
        if (layout->perm.axis[i] >= 0 && layout->perm.axis[i] < MAX_RANK)
            seen |= (uint32_t)1 << layout->perm.axis[i];
    if (layout->perm.n != value->rank || seen != ((uint32_t)1 << value->rank) - 1)
        fault(v, value->def, "the layout of %%%u permutes other axes than the value has",
              (unsigned)value->id);
    for (int i = 0; i < value->rank; i++)
        if (layout->align[i] < 0 || layout->block[i] < 0)
            fault(v, value->def, "the layout of %%%u has a negative size", (unsigned)value->id);
}

static void check_uses(struct verifier *v, const struct value *value)
{
    struct use *const *link = &value->uses;
    for (const struct use *use = value->uses; use; link = &use->next, use = use->next) {
        /* A list that runs in a circle must not keep us here. */
        if (++v->n_uses > v->n_operands) {
            fault(v, value->def, "%%%u is read by a node that is not in the graph",
                  (unsigned)value->id);
            return;
        }
        if (use->link != link)
            fault(v, value->def, "the use list of %%%u is linked wrongly", (unsigned)value->id);
        if (!use->node || use->operand < 0 || use->operand >= use->node->n_in ||
            use->node->in[use->operand] != value || &use->node->use[use->operand] != use)
            fault(v, value->def, "the use list of %%%u holds a use that reads something else",
                  (unsigned)value->id);
    }
}

static bool define(struct verifier *v, struct value *value, const struct node *def, int index)
{
    if (value->id >= v->g->root->next_id || v->defined[value->id]) {
        fault(v, def, "id %%%u is taken twice", (unsigned)value->id);
        return false;
    }
    v->defined[value->id] = value;
    if (value->def != def || value->index != index)
        fault(v, def, "%%%u does not know where it is defined", (unsigned)value->id);
    if (value->rank < 0 || value->rank > MAX_RANK) {
        fault(v, def, "%%%u has rank %d", (unsigned)value->id, value->rank);
        return false;
    }
    for (int i = 0; i < value->rank; i++)
        if (!value->shape[i] || value->shape[i]->upper < 0)
            fault(v, def, "axis %d of %%%u has no size or a negative one", i, (unsigned)value->id);
    if (value->type <= DT_NONE || value->type >= DT_COUNT)
        fault(v, def, "%%%u has element type %d", (unsigned)value->id, (int)value->type);
    check_layout(v, value);
    return true;
}

/* -- Nodes -- */

static void check_result(struct verifier *v, const struct node *node, int result,
                         const struct inferred *rule)
{
    const struct value *value = node->out[result];
    bool same = value->type == rule->type && value->rank == rule->rank;
    for (int i = 0; same && i < value->rank; i++)
        same = graph_dims_equal(v->g, value->shape[i], rule->shape[i]);
    if (same)
        return;
    struct value wanted = {.type = rule->type, .rank = rule->rank, .shape = rule->shape};
    struct text has = {0}, rules = {0};
    text_type(&has, v->g, value);
    text_type(&rules, v->g, &wanted);
    fault(v, node, "result %d is %s, but the shape rule gives %s", result,
          has.data ? has.data : "?", rules.data ? rules.data : "?");
    text_free(&has);
    text_free(&rules);
}

static void check_types(struct verifier *v, const struct node *node)
{
    struct inference inf = {.g = v->g, .node = node};
    if (!infer_node(&inf)) {
        fault(v, node, "%s", inf.fault);
        return;
    }
    for (int i = 0; i < node->n_out; i++)
        check_result(v, node, i, &inf.out[i]);
}

static bool check_operands(struct verifier *v, const struct node *node)
{
    bool good = true;
    for (int i = 0; i < node->n_in; i++) {
        const struct use *use = &node->use[i];
        if (!is_defined(v, node->in[i])) {
            fault(v, node, "operand %d is not defined before it is read", i);
            good = false;
        } else if (use->node != node || use->operand != i || !use->link || *use->link != use) {
            fault(v, node, "operand %d is missing in the use list of %%%u", i,
                  (unsigned)node->in[i]->id);
        }
    }
    v->n_operands += (size_t)node->n_in;
    return good;
}

static void check_node(struct verifier *v, const struct node *node)
{
    if ((int)node->op < 0 || node->op >= OP_COUNT) {
        fault(v, NULL, "a node has op %d", (int)node->op);
        return;
    }
    if (op_info[node->op].results >= 0 && node->n_out != op_info[node->op].results) {
        fault(v, node, "has %d results, not %d", node->n_out, op_info[node->op].results);
        return;
    }
    if (node->kernel < KERNEL_CONSTANT || node->kernel >= v->g->n_kernels)
        fault(v, node, "belongs to kernel %d of %d", node->kernel, v->g->n_kernels);
    bool good = check_operands(v, node);
    for (int i = 0; i < node->n_out; i++)
        good &= define(v, node->out[i], node, i);
    if (good)
        check_types(v, node);
}

static void check_nodes(struct verifier *v)
{
    const struct node *prev = NULL;
    for (const struct node *node = v->g->first; node; prev = node, node = node->next) {
        if (node->prev != prev) {
            fault(v, node, "the list of nodes is linked wrongly here");
            return;
        }
        check_node(v, node);
    }
    if (v->g->last != prev)
        fault(v, NULL, "the list of nodes ends before its last node");
}

/* -- Outputs, symbols, constraints -- */

static void check_outputs(struct verifier *v)
{
    const struct graph *g = v->g;
    for (int i = 0; i < g->n_outputs; i++)
        if (!is_defined(v, g->outputs[i]))
            fault(v, NULL, "output %d is not defined", i);
        else if (!g->outputs[i]->is_output)
            fault(v, NULL, "output %d, %%%u, does not know that it is one", i,
                  (unsigned)g->outputs[i]->id);
    for (uint32_t id = 0; id < g->root->next_id; id++) {
        bool listed = false;
        if (!v->defined[id] || !v->defined[id]->is_output)
            continue;
        for (int i = 0; i < g->n_outputs; i++)
            listed |= g->outputs[i] == v->defined[id];
        if (!listed)
            fault(v, v->defined[id]->def, "%%%u is no output of the graph", (unsigned)id);
    }
}

static void check_element(struct verifier *v, int symbol, const struct symbol_source *source)
{
    const char *name = dim_symbol_name(v->g->dims, symbol);
    int64_t n;
    if (!is_defined(v, source->value)) {
        fault(v, NULL, "symbol %s comes from a value that is not defined", name);
        return;
    }
    enum dtype type = source->value->type;
    if (!dtype_is_int(type) && type != DT_BOOL)
        fault(v, NULL, "symbol %s comes from a tensor of %s", name, dtype_info[type].text);
    if (source->element < 0 || (value_elements_const(source->value, &n) && source->element >= n))
        fault(v, NULL, "symbol %s comes from an element outside %%%u", name,
              (unsigned)source->value->id);
}

static void check_symbols(struct verifier *v)
{
    const struct graph *g = v->g;
    for (int i = 0; i < g->root->n_symbols; i++) {
        const struct symbol_source *s = &g->root->symbols[i];
        if (s->kind == SYMBOL_ELEMENT)
            check_element(v, i, s);
        else if (s->kind == SYMBOL_INPUT_DIM &&
                 (s->input < 0 || s->input >= g->n_inputs || s->axis < 0 ||
                  s->axis >= g->inputs[s->input]->rank))
            fault(v, NULL, "symbol %s comes from dim %d of input %d, which is not there",
                  dim_symbol_name(g->dims, i), s->axis, s->input);
    }
    for (const struct constraint *c = g->constraints; c; c = c->next)
        if ((int)c->kind < MUST_EQUAL || c->kind > MUST_LESS_EQUAL || !c->a || !c->b)
            fault(v, NULL, "a constraint is no constraint");
}

bool graph_verify(struct graph *g, const char *blame)
{
    bool model = strcmp(blame, "model") == 0;
    struct verifier v = {
        .g = g, .blame = blame, .status = model ? STATUS_BAD_MODEL : STATUS_INTERNAL, .good = true};
    /* From the arena, since infer_node may jump out of here. */
    v.defined = ARENA_ARRAY(g->arena, (size_t)g->root->next_id, struct value *);
    for (int i = 0; i < g->n_inputs; i++)
        define(&v, g->inputs[i], NULL, i);
    check_nodes(&v);
    for (uint32_t id = 0; id < g->root->next_id; id++)
        if (v.defined[id])
            check_uses(&v, v.defined[id]);
    if (v.good && v.n_uses != v.n_operands)
        fault(&v, NULL, "%zu operands but %zu uses", v.n_operands, v.n_uses);
    check_outputs(&v);
    check_symbols(&v);
    return v.good;
}
