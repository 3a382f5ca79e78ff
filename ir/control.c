/* Nodes with bodies: what they read and give, copies of bodies, and a body in its node's place. */
#include "graph.h"

#include <string.h>

/* -- Operands and results -- */

struct value *const *control_capture(struct graph *g, struct node *node, struct value *v)
{
    struct value **in = ARENA_ARRAY(g->arena, (size_t)node->n_in + 1, struct value *);
    memcpy(in, node->in, (size_t)node->n_in * sizeof *in);
    in[node->n_in] = v;
    node_set_operands(g, node, node->n_in + 1, in);
    struct value **inside = ARENA_ARRAY(g->arena, 2, struct value *);
    for (int i = 0; i < 2; i++)
        if (node->body[i])
            inside[i] = graph_add_input(node->body[i], NULL, v->type, v->rank, v->shape);
    return inside;
}

void control_drop_operand(struct graph *g, struct node *node, int operand)
{
    struct value **in = ARENA_ARRAY(g->arena, (size_t)node->n_in, struct value *);
    int n = 0;
    for (int i = 0; i < node->n_in; i++)
        if (i != operand)
            in[n++] = node->in[i];
    node_set_operands(g, node, n, in);
    for (int b = 0; b < 2; b++) {
        struct graph *body = node->body[b];
        if (!body)
            continue;
        body->n_inputs--;
        for (int i = operand; i < body->n_inputs; i++) {
            body->inputs[i] = body->inputs[i + 1];
            body->inputs[i]->index = i;
        }
    }
}

/* One entry fewer; its value may be another output still. */
static void drop_output(struct graph *body, int output)
{
    struct value *v = body->outputs[output];
    body->n_outputs--;
    for (int i = output; i < body->n_outputs; i++) {
        body->outputs[i] = body->outputs[i + 1];
        body->output_names[i] = body->output_names[i + 1];
    }
    v->is_output = false;
    for (int i = 0; i < body->n_outputs; i++)
        v->is_output |= body->outputs[i] == v;
}

/* Operand `state` goes behind all others, and so does what stands for it in the body. */
static void state_to_capture(struct graph *g, struct node *node, int state)
{
    struct graph *body = node->body[0];
    struct value **in = ARENA_ARRAY(g->arena, (size_t)node->n_in, struct value *);
    struct value *input = body->inputs[state];
    int n = 0, last = node->n_in - 1;
    for (int i = 0; i < node->n_in; i++)
        if (i != state)
            in[n++] = node->in[i];
    in[last] = node->in[state];
    node_set_operands(g, node, node->n_in, in);
    for (int i = state; i < last; i++) {
        body->inputs[i] = body->inputs[i + 1];
        body->inputs[i]->index = i;
    }
    body->inputs[last] = input;
    input->index = last;
    node->attr.loop.states--;
}

void control_drop_result(struct graph *g, struct node *node, int result)
{
    for (int i = 0; i < 2; i++)
        if (node->body[i])
            drop_output(node->body[i], result);
    node->n_out--;
    for (int i = result; i < node->n_out; i++) {
        node->out[i] = node->out[i + 1];
        node->out[i]->index = i;
    }
    if (node->op == OP_loop && result < node->attr.loop.states)
        state_to_capture(g, node, result);
}

/* -- Checks that hold for every index -- */

struct occurrence {
    const struct dim *index;
    int n;
};

static void count_index(void *context, const struct dim *symbol)
{
    struct occurrence *o = context;
    o->n += symbol == o->index;
}

/* Is difference at least 0 for each index below trips? Where it is linear, its ends tell. */
static bool is_nonnegative(struct graph *g, const struct dim *difference,
                           const struct attr_loop *loop)
{
    struct occurrence o = {loop->index, 0};
    const struct dim **to = ARENA_ARRAY(g->arena, (size_t)o.index->symbol + 1, const struct dim *);
    dim_visit_symbols(difference, count_index, &o);
    for (int t = 0; t < difference->n_terms && o.n == 1; t++) {
        const struct dim_term *term = &difference->terms[t];
        if (term->n_atoms != 1 || term->atoms[0] != o.index)
            continue;
        const struct dim *zero = dim_const(g->dims, 0), *one = dim_const(g->dims, 1);
        to[o.index->symbol] = term->coefficient < 0 ? dim_sub(g->dims, loop->trips, one) : zero;
        return dim_le(g->dims, zero, dim_replace(g->dims, difference, o.index->symbol + 1, to));
    }
    return false;
}

static bool drop_checks(struct graph *body, const struct attr_loop *loop)
{
    bool changed = false;
    for (struct constraint **link = &body->constraints; *link;) {
        const struct constraint *c = *link;
        if (c->kind == MUST_LESS_EQUAL &&
            is_nonnegative(body, dim_sub(body->dims, c->b, c->a), loop)) {
            *link = c->next;
            changed = true;
        } else {
            link = &(*link)->next;
        }
    }
    for (struct node *node = body->first; node; node = node->next)
        for (int i = 0; i < 2; i++)
            changed |= node->body[i] && drop_checks(node->body[i], loop);
    return changed;
}

bool loop_drop_checks(struct node *node)
{
    return drop_checks(node->body[0], &node->attr.loop);
}

/* -- Copies -- */

struct copier {
    struct value **value;      /* by id of the original */
    const struct dim **symbol; /* by symbol: the copy's own, or NULL */
    int n_symbols;             /* of the originals */
};

static void copy_symbol(struct copier *c, struct graph *root, int symbol)
{
    int64_t lower, upper;
    struct symbol_source source = {
        .kind = root->symbols[symbol].kind == SYMBOL_LOOP_INDEX ? SYMBOL_LOOP_INDEX : SYMBOL_FREE};
    dim_bounds(dim_symbol_at(root->dims, symbol), &lower, &upper);
    c->symbol[symbol] =
        graph_symbol(root, dim_symbol_name(root->dims, symbol), source, lower, upper);
}

/* The indices of the node and of all loops in its bodies. */
static void copy_indices(struct copier *c, struct graph *root, const struct node *node)
{
    if (node->op == OP_loop)
        copy_symbol(c, root, node->attr.loop.index->symbol);
    for (int i = 0; i < 2; i++)
        for (struct node *n = node->body[i] ? node->body[i]->first : NULL; n; n = n->next)
            copy_indices(c, root, n);
}

static void start_copy(struct copier *c, struct graph *root, const struct node *node)
{
    c->value = ARENA_ARRAY(root->arena, root->next_id, struct value *);
    c->n_symbols = root->n_symbols;
    c->symbol = ARENA_ARRAY(root->arena, (size_t)c->n_symbols + 1, const struct dim *);
    copy_indices(c, root, node);
    for (int i = 0; i < c->n_symbols; i++)
        for (int k = 0; k < 2 && root->symbols[i].kind == SYMBOL_ELEMENT && !c->symbol[i]; k++)
            if (node->body[k] && graph_is_within(root->symbols[i].value->graph, node->body[k]))
                copy_symbol(c, root, i);
}

/* The new symbols are elements of the new values. */
static void finish_copy(const struct copier *c, struct graph *root)
{
    for (int i = 0; i < c->n_symbols; i++)
        if (c->symbol[i] && root->symbols[i].kind == SYMBOL_ELEMENT) {
            struct symbol_source source = root->symbols[i];
            source.value = c->value[source.value->id];
            root->symbols[c->symbol[i]->symbol] = source;
        }
}

static const struct dim *const *copy_shape(const struct copier *c, struct graph *g,
                                           const struct value *v)
{
    const struct dim **shape = ARENA_ARRAY(g->arena, (size_t)v->rank, const struct dim *);
    for (int i = 0; i < v->rank; i++)
        shape[i] = dim_replace(g->dims, v->shape[i], c->n_symbols, c->symbol);
    return shape;
}

static struct node *copy_node(struct copier *c, struct graph *to, struct node *before,
                              const struct node *node, struct value *const *in);

static struct graph *copy_body(struct copier *c, struct graph *outer, const struct graph *body)
{
    struct graph *copy = graph_create_body(outer);
    copy->name = body->name;
    copy->n_kernels = body->n_kernels;
    for (const struct constraint *k = body->constraints; k; k = k->next)
        if (!graph_constrain(copy, k->kind, dim_replace(copy->dims, k->a, c->n_symbols, c->symbol),
                             dim_replace(copy->dims, k->b, c->n_symbols, c->symbol), "%s", k->text))
            return NULL;
    for (int i = 0; i < body->n_inputs; i++) {
        const struct value *v = body->inputs[i];
        c->value[v->id] = graph_add_input(copy, v->name, v->type, v->rank, copy_shape(c, copy, v));
    }
    for (const struct node *node = body->first; node; node = node->next) {
        struct value **in = ARENA_ARRAY(copy->arena, (size_t)node->n_in, struct value *);
        for (int i = 0; i < node->n_in; i++)
            in[i] = c->value[node->in[i]->id];
        if (!copy_node(c, copy, NULL, node, in))
            return NULL;
    }
    for (int i = 0; i < body->n_outputs; i++)
        graph_add_output(copy, c->value[body->outputs[i]->id], body->output_names[i]);
    return copy;
}

static struct node *copy_node(struct copier *c, struct graph *to, struct node *before,
                              const struct node *node, struct value *const *in)
{
    union attr attr = node->attr;
    struct graph *body[2] = {NULL, NULL};
    const char *origin = to->origin;
    attr_replace_symbols(to, node->op, &attr, c->n_symbols, c->symbol);
    for (int i = 0; i < 2; i++)
        if (node->body[i] && !(body[i] = copy_body(c, to, node->body[i])))
            return NULL;
    to->origin = node->origin;
    struct node *copy =
        graph_insert_control(to, before, node->op, node->n_in, in, &attr, body[0], body[1]);
    to->origin = origin;
    for (int i = 0; copy && i < node->n_out; i++) {
        if (c->value)
            c->value[node->out[i]->id] = copy->out[i];
        copy->out[i]->shape = copy_shape(c, to, node->out[i]); /* equal by a check, perhaps */
        copy->out[i]->layout = node->out[i]->layout;
        copy->out[i]->name = node->out[i]->name;
    }
    if (copy) {
        copy->kernel = node->kernel;
        copy->math = node->math;
    }
    return copy;
}

struct node *node_clone(struct graph *g, struct node *node, struct node *before)
{
    struct copier c = {0};
    if (node->body[0])
        start_copy(&c, g->root, node);
    struct node *copy = copy_node(&c, g, before, node, node->in);
    if (copy && node->body[0])
        finish_copy(&c, g->root);
    return copy;
}

/* -- In place -- */

static void move_nodes(struct graph *g, struct graph *body, struct node *before)
{
    for (struct node *node = body->first, *next; node; node = next) {
        next = node->next;
        node_move(body, node, g, before);
        node->kernel = KERNEL_UNASSIGNED;
    }
    body->first = body->last = NULL;
}

bool control_inline(struct graph *g, struct node *node, struct graph *body)
{
    bool good = true;
    for (int i = 0; i < body->n_outputs; i++)
        body->outputs[i]->is_output = false;
    for (const struct constraint *c = body->constraints; c; c = c->next)
        good &= graph_constrain(g, c->kind, c->a, c->b, "%s", c->text);
    for (int i = 0; i < body->n_inputs; i++)
        value_replace_uses(body, body->inputs[i], node->in[i]);
    move_nodes(g, body, node);
    for (int i = 0; i < node->n_out; i++) {
        struct value *v = body->outputs[i];
        value_replace_uses(g, node->out[i], v->def ? v : node->in[v->index]);
    }
    node_remove(g, node);
    return good;
}
