/* The graph: making nodes and values, and the only functions that edit use lists. */
#include "graph.h"

#include <stdio.h>
#include <string.h>

#include "infer.h"

struct graph *graph_create(struct arena *arena, struct diag *diag)
{
    struct graph *g = ARENA_NEW(arena, struct graph);
    g->arena = arena;
    g->diag = diag;
    g->dims = dim_table_create(arena);
    g->root = g;
    return g;
}

struct graph *graph_create_body(struct graph *outer)
{
    struct graph *g = ARENA_NEW(outer->arena, struct graph);
    g->arena = outer->arena;
    g->diag = outer->diag;
    g->dims = outer->dims;
    g->outer = outer;
    g->root = outer->root;
    g->origin = outer->origin;
    return g;
}

void graph_remark(struct graph *g, const char *pass, const struct node *node, const char *format,
                  ...)
{
    struct remark *remark = ARENA_NEW(g->arena, struct remark);
    va_list args;
    va_start(args, format);
    struct text text = {.arena = g->arena};
    text_vprintf(&text, format, args);
    va_end(args);
    disarm(text.data, "");
    *remark = (struct remark){pass, node ? node->origin : NULL, text.data ? text.data : "", NULL};
    struct graph *root = g->root;
    *(root->remarks ? root->last_remark : &root->remarks) = remark;
    root->last_remark = &remark->next;
}

/* array with room for one more than n elements. */
static void *grow(struct graph *g, void *array, int n, int *cap, size_t size)
{
    if (n < *cap)
        return array;
    *cap = *cap ? 2 * *cap : 8;
    void *grown = arena_array(g->arena, (size_t)*cap, size);
    if (n)
        memcpy(grown, array, (size_t)n * size);
    return grown;
}

static const struct dim *const *copy_dims(struct graph *g, int n, const struct dim *const *d)
{
    if (n == 0)
        return NULL;
    const struct dim **copy = ARENA_ARRAY(g->arena, (size_t)n, const struct dim *);
    memcpy(copy, d, (size_t)n * sizeof *copy);
    return copy;
}

static struct value *new_value(struct graph *g, struct node *def, int index, enum dtype type,
                               int rank, const struct dim *const *shape)
{
    struct value *v = ARENA_NEW(g->arena, struct value);
    v->id = g->root->next_id++;
    v->type = type;
    v->rank = rank;
    v->shape = copy_dims(g, rank, shape);
    v->graph = g;
    v->def = def;
    v->index = index;
    return v;
}

struct value *graph_add_input(struct graph *g, const char *name, enum dtype type, int rank,
                              const struct dim *const *shape)
{
    int cap = g->cap_inputs;
    g->inputs = grow(g, g->inputs, g->n_inputs, &cap, sizeof *g->inputs);
    g->cap_inputs = cap;
    struct value *v = new_value(g, NULL, g->n_inputs, type, rank, shape);
    v->name = name ? arena_strdup(g->arena, name) : NULL;
    return g->inputs[g->n_inputs++] = v;
}

void graph_add_output(struct graph *g, struct value *v, const char *name)
{
    int cap = g->cap_outputs, cap_names = g->cap_outputs, cap_alias = g->cap_outputs;
    g->output_alias = grow(g, g->output_alias, g->n_outputs, &cap_alias, sizeof *g->output_alias);
    g->outputs = grow(g, g->outputs, g->n_outputs, &cap, sizeof *g->outputs);
    g->output_names = grow(g, g->output_names, g->n_outputs, &cap_names, sizeof *g->output_names);
    g->cap_outputs = cap;
    v->is_output = true;
    g->outputs[g->n_outputs] = v;
    g->output_alias[g->n_outputs] = -1;
    g->output_names[g->n_outputs++] = name ? arena_strdup(g->arena, name) : NULL;
}

bool value_shares_memory(const struct graph *g, const struct value *v)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (g->output_alias[i] >= 0 && (g->outputs[i] == v || g->inputs[g->output_alias[i]] == v))
            return true;
    return false;
}

const struct dim *graph_symbol(struct graph *g, const char *name, struct symbol_source source,
                               int64_t lower, int64_t upper)
{
    const struct dim *d = dim_symbol(g->dims, name, lower, upper);
    struct graph *root = g->root;
    while (root->n_symbols <= d->symbol) { /* what dim_parse made has no source yet: FREE */
        int cap = root->cap_symbols;
        root->symbols = grow(g, root->symbols, root->n_symbols, &cap, sizeof *root->symbols);
        root->cap_symbols = cap;
        root->n_symbols++;
    }
    root->symbols[d->symbol] = source;
    return d;
}

/* -- Constraints -- */

static bool provably_true(struct graph *g, int kind, const struct dim *a, const struct dim *b)
{
    switch (kind) {
    case MUST_BROADCAST: return a == b || dim_is(a, 1);
    case MUST_LESS_EQUAL: return dim_le(g->dims, a, b);
    default: return a == b;
    }
}

static bool provably_false(struct graph *g, int kind, const struct dim *a, const struct dim *b)
{
    if (kind == MUST_LESS_EQUAL)
        return dim_is(dim_lt(g->dims, b, a), 1);
    bool differ = dim_is(dim_eq(g->dims, a, b), 0);
    if (kind == MUST_BROADCAST)
        return differ && dim_is(dim_eq(g->dims, a, dim_const(g->dims, 1)), 0);
    return differ;
}

static const char *dim_string(struct graph *g, const struct dim *d)
{
    struct text text = {.arena = g->arena};
    dim_print(&text, g->dims, d);
    return text.data;
}

bool graph_constrain(struct graph *g, int kind, const struct dim *a, const struct dim *b,
                     const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (provably_true(g, kind, a, b))
        return true;
    if (provably_false(g, kind, a, b)) {
        static const char *const relation[] = {[MUST_EQUAL] = "equal",
                                               [MUST_BROADCAST] = "be 1 or equal",
                                               [MUST_LESS_EQUAL] = "be at most"};
        size_t n = g->origin ? strlen(g->origin) : 0; /* the place need not be said twice */
        bool twice = n && strncmp(text, g->origin, n) == 0 && strncmp(text + n, ": ", 2) == 0;
        diag_error(g->diag, STATUS_BAD_MODEL, g->origin, "%s: %s must %s %s",
                   twice ? text + n + 2 : text, dim_string(g, a), relation[kind], dim_string(g, b));
        return false;
    }
    struct constraint **link = &g->constraints;
    for (; *link; link = &(*link)->next) {
        struct constraint *c = *link;
        bool same = c->a == a && c->b == b, swapped = c->a == b && c->b == a;
        if ((c->kind == MUST_EQUAL && (same || swapped)) || ((int)c->kind == kind && same))
            return true;
    }
    struct constraint *c = *link = ARENA_NEW(g->arena, struct constraint);
    c->kind = kind;
    c->a = a;
    c->b = b;
    c->text = arena_strdup(g->arena, text);
    return true;
}

bool graph_dims_equal(const struct graph *g, const struct dim *a, const struct dim *b)
{
    if (a == b)
        return true;
    for (; g; g = g->outer)
        for (const struct constraint *c = g->constraints; c; c = c->next)
            if (c->kind == MUST_EQUAL && ((c->a == a && c->b == b) || (c->a == b && c->b == a)))
                return true;
    return false;
}

/* -- Use lists: link_use, unlink_use and nobody else edit them; the latest use comes first -- */

static void link_use(struct node *node, int operand, struct value *v)
{
    struct use *use = &node->use[operand];
    node->in[operand] = v;
    *use = (struct use){node, operand, v->uses, &v->uses};
    if (v->uses)
        v->uses->link = &use->next;
    v->uses = use;
}

static void unlink_use(struct use *use)
{
    *use->link = use->next;
    if (use->next)
        use->next->link = use->link;
}

void node_set_operand(struct graph *g, struct node *node, int operand, struct value *v)
{
    (void)g;
    unlink_use(&node->use[operand]);
    link_use(node, operand, v);
}

void value_replace_uses(struct graph *g, struct value *from, struct value *to)
{
    if (from == to)
        return;
    for (struct use *use = from->uses, *next; use; use = next) {
        next = use->next;
        node_set_operand(g, use->node, use->operand, to);
    }
    for (int i = 0; from->is_output && i < g->n_outputs; i++)
        if (g->outputs[i] == from) {
            g->outputs[i] = to;
            to->is_output = true;
        }
    from->is_output = false;
    if (!to->name && to->def)
        to->name = from->name; /* it is the ONNX value now */
    struct graph *root = g->root;
    for (int i = 0; i < root->n_symbols; i++)
        if (root->symbols[i].kind == SYMBOL_ELEMENT && root->symbols[i].value == from)
            root->symbols[i].value = to;
}

void node_set_operands(struct graph *g, struct node *node, int n_in, struct value *const *in)
{
    for (int i = 0; i < node->n_in; i++)
        unlink_use(&node->use[i]);
    node->n_in = n_in;
    node->in = ARENA_ARRAY(g->arena, (size_t)n_in, struct value *);
    node->use = ARENA_ARRAY(g->arena, (size_t)n_in, struct use);
    for (int i = 0; i < n_in; i++)
        link_use(node, i, in[i]);
}

/* -- Nodes -- */

static void link_node(struct graph *g, struct node *node, struct node *before)
{
    node->next = before;
    node->prev = before ? before->prev : g->last;
    *(node->prev ? &node->prev->next : &g->first) = node;
    *(before ? &before->prev : &g->last) = node;
}

static void unlink_node(struct graph *g, struct node *node)
{
    *(node->prev ? &node->prev->next : &g->first) = node->next;
    *(node->next ? &node->next->prev : &g->last) = node->prev;
    node->prev = node->next = NULL;
}

/* The caller's attributes, with the arrays that they point to. */
static void copy_attr(struct graph *g, struct node *node, const union attr *attr)
{
    const struct op_info *info = &op_info[node->op];
    if (!attr)
        return;
    node->attr = *attr;
    for (int i = 0; i < info->n_fields; i++) {
        if (info->fields[i].kind != AK_DIMS)
            continue;
        struct dims *dims = (struct dims *)((char *)&node->attr + info->fields[i].offset);
        if (dims->n > 0 && dims->n <= MAX_RANK && dims->d)
            dims->d = copy_dims(g, dims->n, dims->d);
    }
}

static const char *operand_types(struct graph *g, const struct node *node)
{
    struct text text = {.arena = g->arena};
    for (int i = 0; i < node->n_in; i++) {
        const struct value *v = node->in[i];
        text_printf(&text, "%s%s[", i ? ", " : " ", dtype_info[v->type].text);
        for (int k = 0; k < v->rank; k++) {
            text_printf(&text, "%s", k ? ", " : "");
            dim_print(&text, g->dims, v->shape[k]);
        }
        text_printf(&text, "]");
    }
    return text.data ? text.data : "";
}

struct node *graph_insert_control(struct graph *g, struct node *before, enum op op, int n_in,
                                  struct value *const *in, const union attr *attr,
                                  struct graph *body, struct graph *else_body)
{
    struct node *node = ARENA_NEW(g->arena, struct node);
    node->op = op;
    node->n_in = n_in;
    node->in = ARENA_ARRAY(g->arena, (size_t)n_in, struct value *);
    node->use = ARENA_ARRAY(g->arena, (size_t)n_in, struct use);
    for (int i = 0; i < n_in; i++)
        node->in[i] = in[i];
    node->body[0] = body;
    node->body[1] = else_body;
    if (body)
        body->owner = node;
    if (else_body)
        else_body->owner = node;
    copy_attr(g, node, attr);
    node->origin = g->origin;
    node->kernel = KERNEL_UNASSIGNED;

    struct inference inf = {.g = g, .node = node, .record = true};
    if (!infer_node(&inf)) {
        diag_error(g->diag, inf.status, g->origin, "%s%s: %s", op_info[op].name,
                   operand_types(g, node), inf.fault);
        return NULL;
    }
    if (op == OP_loop)
        loop_drop_checks(node);
    node->n_out = inf.n_out;
    node->out = ARENA_ARRAY(g->arena, (size_t)node->n_out, struct value *);
    for (int i = 0; i < node->n_out; i++)
        node->out[i] = new_value(g, node, i, inf.out[i].type, inf.out[i].rank, inf.out[i].shape);
    for (int i = 0; i < n_in; i++)
        link_use(node, i, in[i]);
    link_node(g, node, before);
    return node;
}

struct node *graph_insert(struct graph *g, struct node *before, enum op op, int n_in,
                          struct value *const *in, const union attr *attr)
{
    return graph_insert_control(g, before, op, n_in, in, attr, NULL, NULL);
}

void node_remove(struct graph *g, struct node *node)
{
    node_forget_symbols(node);
    for (int i = 0; i < node->n_in; i++)
        unlink_use(&node->use[i]);
    unlink_node(g, node);
}

void node_move_before(struct graph *g, struct node *node, struct node *before)
{
    if (node == before)
        return;
    unlink_node(g, node);
    link_node(g, node, before);
}

void node_move(struct graph *from, struct node *node, struct graph *to, struct node *before)
{
    unlink_node(from, node);
    link_node(to, node, before);
    for (int i = 0; i < node->n_out; i++)
        node->out[i]->graph = to;
    for (int i = 0; i < 2; i++)
        if (node->body[i])
            node->body[i]->outer = to;
}

/* -- Questions about values -- */

bool value_has_uses(const struct value *v)
{
    return v->uses || v->is_output;
}

bool value_single_use(const struct value *v)
{
    return v->uses && !v->uses->next && !v->is_output;
}

bool value_is_const(const struct value *v)
{
    return v->def && v->def->op == OP_constant;
}

const struct dim *value_elements(struct graph *g, const struct value *v)
{
    const struct dim *product = dim_const(g->dims, 1);
    for (int i = 0; i < v->rank; i++)
        product = dim_mul(g->dims, product, v->shape[i]);
    return product;
}

bool value_elements_const(const struct value *v, int64_t *n)
{
    int64_t product = 1, d;
    for (int i = 0; i < v->rank; i++)
        if (!dim_is_const(v->shape[i], &d) || __builtin_mul_overflow(product, d, &product))
            return false;
    *n = product;
    return true;
}

bool value_same_shape(const struct value *a, const struct value *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return true;
}

static uint32_t renumber_from(struct graph *g, uint32_t id)
{
    uint32_t order = 0;
    for (int i = 0; i < g->n_inputs; i++)
        g->inputs[i]->id = id++;
    for (struct node *node = g->first; node; node = node->next) {
        node->order = order++;
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                id = renumber_from(node->body[i], id);
        for (int i = 0; i < node->n_out; i++)
            node->out[i]->id = id++;
    }
    return id;
}

void graph_renumber(struct graph *g)
{
    g->root->next_id = renumber_from(g->root, 0);
}
