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
    struct graph *g; /* the root or the body at hand */
    const char *blame;
    enum status status;
    struct value **defined; /* by id: values defined so far, in any graph; next_id entries */
    struct graph **scope;   /* by symbol: the body in which alone it is known; NULL: everywhere */
    bool scoped;            /* some symbol has a scope */
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

/* -- Dims: a symbol of a body is known there alone -- */

struct dim_check {
    struct verifier *v;
    const struct graph *g; /* where the dim is used */
    const struct node *node;
};

static void check_symbol(void *context, const struct dim *symbol)
{
    const struct dim_check *c = context;
    const struct graph *root = c->g->root;
    const struct graph *scope =
        symbol->symbol < root->n_symbols ? c->v->scope[symbol->symbol] : NULL;
    if (scope && !graph_is_within(c->g, scope))
        fault(c->v, c->node, "symbol %s is used outside its body",
              dim_symbol_name(root->dims, symbol->symbol));
}

static void check_dim(void *context, const struct dim *d)
{
    dim_visit_symbols(d, check_symbol, context);
}

static void check_dims(struct verifier *v, const struct node *node)
{
    struct dim_check check = {v, v->g, node};
    if (!v->scoped)
        return;
    if (node->op == OP_loop) { /* its index is the body's, and `again` is evaluated at its end */
        check.g = node->body[0];
        check_dim(&check, node->attr.loop.again);
        check.g = v->g;
        check_dim(&check, node->attr.loop.trips);
        for (int i = 0; i < node->n_out; i++)
            for (int k = 0; k < node->out[i]->rank; k++)
                check_dim(&check, node->out[i]->shape[k]);
    } else {
        node_visit_dims(node, check_dim, &check);
    }
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
    if (value->def != def || value->index != index || value->graph != v->g)
        fault(v, def, "%%%u does not know where it is defined", (unsigned)value->id);
    if (value->rank < 0 || value->rank > MAX_RANK) {
        fault(v, def, "%%%u has rank %d", (unsigned)value->id, value->rank);
        return false;
    }
    for (int i = 0; i < value->rank; i++)
        if (!value->shape[i] || value->shape[i]->upper < 0)
            fault(v, def, "axis %d of %%%u has no size or a negative one", i, (unsigned)value->id);
    bool is_list = dtype_is_list(value->type) && value->rank == 0;
    if (value->type <= DT_NONE || (value->type >= DT_COUNT && !is_list))
        fault(v, def, "%%%u has element type %d", (unsigned)value->id, (int)value->type);
    check_layout(v, value);
    return true;
}

/* -- Memory: layouts, and concats made in place -- */

/* Read or written by the host or by other graphs, in row-major order. */
static bool is_handed_over(const struct value *value)
{
    if (!value->def || value->is_output)
        return true;
    enum op_class class = op_info[value->def->op].class;
    bool whole = class == OC_CONTROL || class == OC_LIST || class == OC_SELECT;
    for (const struct use *use = value->uses; use && !whole; use = use->next) {
        class = op_info[use->node->op].class;
        whole = class == OC_CONTROL || class == OC_LIST;
    }
    return whole;
}

static void check_part(struct verifier *v, const struct node *concat, int operand)
{
    const struct value *part = concat->in[operand], *whole = concat->out[0];
    int concats = 0;
    if (!part->def || part->def->kernel == KERNEL_CONSTANT || is_handed_over(part))
        fault(v, concat, "operand %d needs memory of its own", operand);
    for (const struct use *use = part->uses; use; use = use->next)
        concats += use->node->kernel == KERNEL_IN_PLACE;
    if (concats != 1)
        fault(v, concat, "operand %d lies in %d places", operand, concats);
    for (int i = 0; i < part->rank; i++)
        if ((part->layout ? part->layout->perm.axis[i] : i) !=
            (whole->layout ? whole->layout->perm.axis[i] : i))
            fault(v, concat, "operand %d has another layout than the result", operand);
}

static void check_memory(struct verifier *v, const struct value *value)
{
    const struct node *node = value->def;
    if (value->layout && is_handed_over(value))
        fault(v, node, "%%%u has a layout, but is no value of one graph's kernels alone",
              (unsigned)value->id);
    if (!node || node->kernel != KERNEL_IN_PLACE)
        return;
    if (node->op != OP_concat) {
        fault(v, node, "is no concat that could be in place");
        return;
    }
    for (int i = 0; i < node->n_in; i++)
        check_part(v, node, i);
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
        } else if (node->in[i]->graph != v->g) {
            fault(v, node, "operand %d is of another body", i);
            good = false;
        } else if (use->node != node || use->operand != i || !use->link || *use->link != use) {
            fault(v, node, "operand %d is missing in the use list of %%%u", i,
                  (unsigned)node->in[i]->id);
        }
    }
    v->n_operands += (size_t)node->n_in;
    return good;
}

static void check_graph(struct verifier *v);

static bool check_bodies(struct verifier *v, const struct node *node)
{
    struct graph *g = v->g;
    bool good = true;
    for (int i = 0; i < 2; i++) {
        bool wanted = node->op == OP_loop ? i == 0 : node->op == OP_branch;
        if (wanted != (node->body[i] != NULL) ||
            (wanted && (node->body[i]->outer != g || node->body[i]->owner != node))) {
            fault(v, node, "has a body too many or too few, or one of another graph");
            good = false;
        } else if (wanted) {
            v->g = node->body[i];
            check_graph(v);
            v->g = g;
        }
    }
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
    if (node->kernel < KERNEL_IN_PLACE || node->kernel >= v->g->n_kernels)
        fault(v, node, "belongs to kernel %d of %d", node->kernel, v->g->n_kernels);
    bool good = check_operands(v, node);
    good &= check_bodies(v, node);
    for (int i = 0; i < node->n_out; i++)
        good &= define(v, node->out[i], node, i);
    if (!good)
        return;
    check_dims(v, node);
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

static void check_is_output(struct verifier *v, const struct value *value)
{
    for (int i = 0; value->is_output && i < v->g->n_outputs; i++)
        if (v->g->outputs[i] == value)
            return;
    if (value->is_output)
        fault(v, value->def, "%%%u is no output of the graph", (unsigned)value->id);
}

static void check_outputs(struct verifier *v)
{
    const struct graph *g = v->g;
    for (int i = 0; i < g->n_outputs; i++)
        if (!is_defined(v, g->outputs[i]) || g->outputs[i]->graph != g)
            fault(v, NULL, "output %d is not defined", i);
        else if (!g->outputs[i]->is_output)
            fault(v, NULL, "output %d, %%%u, does not know that it is one", i,
                  (unsigned)g->outputs[i]->id);
    for (int i = 0; i < g->n_inputs; i++)
        check_is_output(v, g->inputs[i]);
    for (const struct node *node = g->first; node; node = node->next)
        for (int i = 0; i < node->n_out; i++)
            check_is_output(v, node->out[i]);
}

static void check_constraints(struct verifier *v)
{
    struct dim_check check = {v, v->g, NULL};
    for (const struct constraint *c = v->g->constraints; c; c = c->next) {
        if ((int)c->kind < MUST_EQUAL || c->kind > MUST_LESS_EQUAL || !c->a || !c->b) {
            fault(v, NULL, "a constraint is no constraint");
            continue;
        }
        if (v->scoped) {
            check_dim(&check, c->a);
            check_dim(&check, c->b);
        }
    }
}

/* v->g, which may be a body. */
static void check_graph(struct verifier *v)
{
    struct dim_check check = {v, v->g, NULL};
    for (int i = 0; i < v->g->n_inputs; i++) {
        const struct value *input = v->g->inputs[i];
        if (!define(v, v->g->inputs[i], NULL, i) || !v->scoped)
            continue;
        for (int k = 0; k < input->rank; k++)
            check_dim(&check, input->shape[k]);
    }
    check_nodes(v);
    check_outputs(v);
    check_constraints(v);
}

/* -- Symbols -- */

static void check_element(struct verifier *v, int symbol, const struct symbol_source *source)
{
    const char *name = dim_symbol_name(v->g->dims, symbol);
    int64_t n;
    if (!is_defined(v, source->value)) {
        fault(v, NULL, "symbol %s comes from a value that is not defined", name);
        return;
    }
    enum dtype type = source->value->type;
    if (source->value->layout)
        fault(v, NULL, "symbol %s comes from a value that has a layout", name);
    if (!dtype_can_be_size(type))
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
        else if (s->kind == SYMBOL_LOOP_INDEX && !v->scope[i])
            fault(v, NULL, "symbol %s is the index of no loop", dim_symbol_name(g->dims, i));
    }
}

static void find_scopes(struct verifier *v, const struct graph *g)
{
    for (const struct node *node = g->first; node; node = node->next) {
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                find_scopes(v, node->body[i]);
        if (node->op != OP_loop || !node->attr.loop.index ||
            node->attr.loop.index->kind != DIM_SYMBOL || !node->body[0])
            continue; /* found by the shape rule */
        int index = node->attr.loop.index->symbol;
        if (index >= g->root->n_symbols || g->root->symbols[index].kind != SYMBOL_LOOP_INDEX ||
            v->scope[index]) {
            fault(v, node, "its index is no symbol of its own");
            continue;
        }
        v->scope[index] = node->body[0];
        v->scoped = true;
    }
}

bool graph_verify(struct graph *g, const char *blame)
{
    bool model = strcmp(blame, "model") == 0;
    struct verifier v = {
        .g = g, .blame = blame, .status = model ? STATUS_BAD_MODEL : STATUS_INTERNAL, .good = true};
    /* From the arena, since infer_node may jump out of here. */
    v.defined = ARENA_ARRAY(g->arena, (size_t)g->next_id, struct value *);
    v.scope = ARENA_ARRAY(g->arena, (size_t)g->n_symbols, struct graph *);
    find_scopes(&v, g);
    for (int i = 0; i < g->n_symbols; i++)
        if (g->symbols[i].kind == SYMBOL_ELEMENT && g->symbols[i].value->graph != g) {
            v.scope[i] = g->symbols[i].value->graph;
            v.scoped = true;
        }
    check_graph(&v);
    for (uint32_t id = 0; id < g->next_id; id++)
        if (v.defined[id])
            check_uses(&v, v.defined[id]);
    if (v.good && v.n_uses != v.n_operands)
        fault(&v, NULL, "%zu operands but %zu uses", v.n_operands, v.n_uses);
    for (uint32_t id = 0; id < g->next_id && v.good; id++)
        if (v.defined[id])
            check_memory(&v, v.defined[id]);
    check_symbols(&v);
    return v.good;
}
