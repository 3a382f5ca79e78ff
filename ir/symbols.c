/* Symbols and the dims they stand in: who uses them, and putting other dims in their place. */
#include "graph.h"

#include "infer.h"

/* -- Dims -- */

void dim_visit_symbols(const struct dim *d, dim_visit *visit, void *context)
{
    switch (d->kind) {
    case DIM_CONST: return;
    case DIM_SYMBOL: visit(context, d); return;
    case DIM_SUM:
        for (int t = 0; t < d->n_terms; t++)
            for (int a = 0; a < d->terms[t].n_atoms; a++)
                dim_visit_symbols(d->terms[t].atoms[a], visit, context);
        return;
    default:
        dim_visit_symbols(d->a, visit, context);
        dim_visit_symbols(d->b, visit, context);
        return;
    }
}

static bool has_replacement(const struct dim *d, int n, const struct dim *const *to)
{
    switch (d->kind) {
    case DIM_CONST: return false;
    case DIM_SYMBOL: return d->symbol < n && to[d->symbol];
    case DIM_SUM:
        for (int t = 0; t < d->n_terms; t++)
            for (int a = 0; a < d->terms[t].n_atoms; a++)
                if (has_replacement(d->terms[t].atoms[a], n, to))
                    return true;
        return false;
    default: return has_replacement(d->a, n, to) || has_replacement(d->b, n, to);
    }
}

static const struct dim *replace(struct dim_table *table, const struct dim *d, int n,
                                 const struct dim *const *to)
{
    typedef const struct dim *combine(struct dim_table *, const struct dim *, const struct dim *);
    static combine *const combines[] = {
        [DIM_FLOORDIV] = dim_floordiv, [DIM_MOD] = dim_mod, [DIM_MIN] = dim_min,
        [DIM_MAX] = dim_max,           [DIM_EQ] = dim_eq,   [DIM_LT] = dim_lt,
    };
    const struct dim *sum, *product;
    switch (d->kind) {
    case DIM_CONST: return d;
    case DIM_SYMBOL: return d->symbol < n && to[d->symbol] ? to[d->symbol] : d;
    case DIM_SUM:
        sum = dim_const(table, 0);
        for (int t = 0; t < d->n_terms; t++) {
            product = dim_const(table, d->terms[t].coefficient);
            for (int a = 0; a < d->terms[t].n_atoms; a++)
                product = dim_mul(table, product, replace(table, d->terms[t].atoms[a], n, to));
            sum = dim_add(table, sum, product);
        }
        return sum;
    default:
        return combines[d->kind](table, replace(table, d->a, n, to), replace(table, d->b, n, to));
    }
}

const struct dim *dim_replace(struct dim_table *t, const struct dim *d, int n,
                              const struct dim *const *to)
{
    return has_replacement(d, n, to) ? replace(t, d, n, to) : d;
}

/* -- Dims of nodes and graphs -- */

void node_visit_dims(const struct node *node, dim_visit *visit, void *context)
{
    const struct op_info *info = &op_info[node->op];
    for (int i = 0; i < node->n_out; i++)
        for (int k = 0; k < node->out[i]->rank; k++)
            visit(context, node->out[i]->shape[k]);
    for (int i = 0; i < info->n_fields; i++) {
        const void *p = (const char *)&node->attr + info->fields[i].offset;
        const struct dims *dims = p;
        if (info->fields[i].kind == AK_DIM)
            visit(context, *(const struct dim *const *)p);
        for (int k = 0; info->fields[i].kind == AK_DIMS && k < dims->n; k++)
            visit(context, dims->d[k]);
    }
}

void graph_visit_dims(const struct graph *g, dim_visit *visit, void *context)
{
    for (const struct constraint *c = g->constraints; c; c = c->next) {
        visit(context, c->a);
        visit(context, c->b);
    }
    for (int i = 0; i < g->n_inputs; i++)
        for (int k = 0; k < g->inputs[i]->rank; k++)
            visit(context, g->inputs[i]->shape[k]);
    for (const struct node *node = g->first; node; node = node->next) {
        node_visit_dims(node, visit, context);
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                graph_visit_dims(node->body[i], visit, context);
    }
}

/* -- Other dims for symbols -- */

static const struct dim *const *replace_list(struct graph *g, int rank, const struct dim *const *d,
                                             int n, const struct dim *const *to)
{
    bool changed = false;
    for (int i = 0; i < rank; i++)
        changed |= has_replacement(d[i], n, to);
    if (!changed)
        return d;
    const struct dim **list = ARENA_ARRAY(g->arena, (size_t)rank, const struct dim *);
    for (int i = 0; i < rank; i++)
        list[i] = dim_replace(g->dims, d[i], n, to);
    return list;
}

void attr_replace_symbols(struct graph *g, enum op op, union attr *attr, int n,
                          const struct dim *const *to)
{
    const struct op_info *info = &op_info[op];
    for (int i = 0; i < info->n_fields; i++) {
        void *p = (char *)attr + info->fields[i].offset;
        const struct dim **d = p;
        struct dims *dims = p;
        if (info->fields[i].kind == AK_DIM)
            *d = dim_replace(g->dims, *d, n, to);
        else if (info->fields[i].kind == AK_DIMS)
            dims->d = replace_list(g, dims->n, dims->d, n, to);
    }
}

/* Types of the results by the rule, where they are no more what the rule gives. */
static bool infer_again(struct graph *g, struct node *node)
{
    struct inference inf = {.g = g, .node = node};
    if (!infer_node(&inf)) {
        diag_error(g->diag, inf.status, node->origin, "%s: %s", op_info[node->op].name, inf.fault);
        return false;
    }
    for (int i = 0; i < node->n_out; i++) {
        struct value *v = node->out[i];
        bool same = v->rank == inf.out[i].rank;
        for (int k = 0; k < v->rank && same; k++)
            same = graph_dims_equal(g, v->shape[k], inf.out[i].shape[k]);
        if (same)
            continue;
        const struct dim **shape = ARENA_ARRAY(g->arena, (size_t)v->rank, const struct dim *);
        for (int k = 0; k < v->rank; k++)
            shape[k] = inf.out[i].shape[k];
        v->shape = shape;
    }
    return true;
}

bool graph_replace_symbols(struct graph *g, int n, const struct dim *const *to)
{
    struct constraint *c = g->constraints;
    bool good = true;
    g->constraints = NULL;
    for (; c; c = c->next)
        good &= graph_constrain(g, c->kind, dim_replace(g->dims, c->a, n, to),
                                dim_replace(g->dims, c->b, n, to), "%s", c->text);
    for (int i = 0; i < g->n_inputs; i++)
        g->inputs[i]->shape = replace_list(g, g->inputs[i]->rank, g->inputs[i]->shape, n, to);
    for (struct node *node = g->first; node; node = node->next) {
        attr_replace_symbols(g, node->op, &node->attr, n, to);
        for (int i = 0; i < 2; i++)
            good &= !node->body[i] || graph_replace_symbols(node->body[i], n, to);
        for (int i = 0; i < node->n_out; i++) {
            struct value *v = node->out[i];
            v->shape = replace_list(g, v->rank, v->shape, n, to);
        }
        good = good && infer_again(g, node);
    }
    return good;
}

/* -- Symbols that a graph computes -- */

bool graph_is_within(const struct graph *g, const struct graph *outer)
{
    while (g && g != outer)
        g = g->outer;
    return g == outer;
}

static void forget_indices(struct graph *root, const struct node *node)
{
    if (node->op == OP_loop)
        root->symbols[node->attr.loop.index->symbol].kind = SYMBOL_FREE;
    for (int i = 0; i < 2; i++)
        for (struct node *n = node->body[i] ? node->body[i]->first : NULL; n; n = n->next)
            forget_indices(root, n);
}

void graph_forget_body(struct graph *body)
{
    for (int i = 0; i < body->root->n_symbols; i++) {
        struct symbol_source *source = &body->root->symbols[i];
        if (source->kind == SYMBOL_ELEMENT && graph_is_within(source->value->graph, body))
            *source = (struct symbol_source){.kind = SYMBOL_FREE};
    }
    for (struct node *n = body->first; n; n = n->next)
        forget_indices(body->root, n);
}

void node_forget_symbols(struct node *node)
{
    for (int k = 0; k < 2; k++)
        if (node->body[k])
            graph_forget_body(node->body[k]);
    if (node->body[0])
        forget_indices(node->body[0]->root, node);
}
