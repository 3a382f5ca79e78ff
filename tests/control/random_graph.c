/*
 * What is random: how bodies nest; which values they take and give (inputs, constants, one value
 * twice, states that change places); conditions and trips that are known, depend on an index, or on
 * elements that a body computes; ends before the last trip. All tensors are f32[SIZE], with values
 * that stay near 1.
 */
#include "random_graph.h"

#include <stdio.h>

enum { SIZE = 4, MOST_VALUES = 64, MOST_INDICES = 4, MOST_NODES_IN_BODY = 6 };

struct maker {
    struct text symbols; /* declared at the top */
    uint64_t state;
    int next_id, next_symbol;
    int budget; /* of control nodes */
};

/* What one graph sees. */
struct scope {
    struct scope *outer;
    struct text *out;
    int values[MOST_VALUES];
    int n_values;
    char index[16];      /* of the loop whose body this is, or "" */
    struct text sources; /* behind the nodes */
    int depth;
};

static uint32_t draw(struct maker *m, uint32_t n)
{
    m->state = m->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(m->state >> 33) % n;
}

static void indent(const struct scope *s)
{
    text_printf(s->out, "%*s", 2 * s->depth, "");
}

static int any_value(struct maker *m, const struct scope *s)
{
    return s->values[draw(m, (uint32_t)s->n_values)];
}

static int add_value(struct scope *s, int id)
{
    if (s->n_values < MOST_VALUES)
        s->values[s->n_values++] = id;
    return id;
}

/* The index of some loop around, or n. */
static const char *any_dim(struct maker *m, const struct scope *s)
{
    for (; s; s = s->outer)
        if (s->index[0] && draw(m, 2))
            return s->index;
    return "n";
}

/* A symbol that is 1 where the sum of a value of this graph is less than something. */
static void make_condition(struct maker *m, struct scope *s, char *name, size_t size)
{
    int sum = m->next_id++, limit = m->next_id++, less = m->next_id++;
    snprintf(name, size, "c%d", m->next_symbol++);
    text_printf(&m->symbols, "symbol %s in [0, 1]\n", name);
    indent(s);
    text_printf(s->out, "%%%d = reduce_sum %%%d {axes=[0]}\n", sum, any_value(m, s));
    indent(s);
    text_printf(s->out, "%%%d = constant {type=f32, shape=[], data=[%d]} : f32[]\n", limit,
                (int)draw(m, 5) - 2);
    indent(s);
    text_printf(s->out, "%%%d = lt %%%d, %%%d\n", less, sum, limit);
    text_printf(&s->sources, "%*ssource %s = element %%%d, 0\n", 2 * s->depth, "", name, less);
}

static void make_map(struct maker *m, struct scope *s)
{
    static const char *const unary[] = {"neg", "abs", "tanh", "sin", "floor"};
    static const char *const binary[] = {"min", "max", "sub", "mul"};
    int a = any_value(m, s), b = any_value(m, s), id = m->next_id++;
    indent(s);
    if (draw(m, 2)) {
        text_printf(s->out, "%%%d = %s %%%d\n", id, unary[draw(m, 5)], a);
    } else {
        int bounded = m->next_id++;
        text_printf(s->out, "%%%d = %s %%%d, %%%d\n", bounded, binary[draw(m, 4)], a, b);
        indent(s);
        text_printf(s->out, "%%%d = sin %%%d\n", id, bounded);
    }
    add_value(s, id);
}

/* A reduction, so that kernels do not all become one. */
static void make_sum(struct maker *m, struct scope *s)
{
    int sum = m->next_id++, bounded = m->next_id++, one = m->next_id++, wide = m->next_id++;
    indent(s);
    text_printf(s->out, "%%%d = reduce_sum %%%d {axes=[0]}\n", sum, any_value(m, s));
    indent(s);
    text_printf(s->out, "%%%d = tanh %%%d\n", bounded, sum);
    indent(s);
    text_printf(s->out, "%%%d = reshape %%%d {shape=[1]}\n", one, bounded);
    indent(s);
    text_printf(s->out, "%%%d = expand %%%d {shape=[%d]}\n", wide, one, SIZE);
    add_value(s, wide);
}

/* The index of a loop as numbers, or an element that it chooses. */
static void make_of_index(struct maker *m, struct scope *s)
{
    const char *dim = any_dim(m, s);
    int a = m->next_id++, b = m->next_id++, c = m->next_id++, d = m->next_id++;
    indent(s);
    if (draw(m, 2)) {
        text_printf(s->out, "%%%d = size {value=%s}\n", a, dim);
        indent(s);
        text_printf(s->out, "%%%d = cast %%%d {to=f32, saturate=false}\n", b, a);
    } else {
        text_printf(s->out,
                    "%%%d = slice %%%d {start=[mod(%s, %d)], step=[1], size=[min(2, %d - mod(%s, "
                    "%d))]}\n",
                    a, any_value(m, s), dim, SIZE, SIZE, dim, SIZE);
        indent(s);
        text_printf(s->out, "%%%d = reduce_max %%%d {axes=[0]}\n", b, a);
    }
    indent(s);
    text_printf(s->out, "%%%d = reshape %%%d {shape=[1]}\n", c, b);
    indent(s);
    text_printf(s->out, "%%%d = expand %%%d {shape=[%d]}\n", d, c, SIZE);
    add_value(s, d);
}

static void make_constant(struct maker *m, struct scope *s)
{
    int id = m->next_id++;
    indent(s);
    text_printf(s->out, "%%%d = constant {type=f32, shape=[%d], data=[%d, 1, -1, 0.5]} : f32[%d]\n",
                id, SIZE, (int)draw(m, 3), SIZE);
    add_value(s, id);
}

static void make_node(struct maker *m, struct scope *s);

static void begin_body(struct maker *m, struct scope *outer, struct scope *s, int n_in)
{
    *s = (struct scope){.outer = outer, .out = outer->out, .depth = outer->depth + 1};
    for (int i = 0; i < n_in; i++) {
        indent(s);
        text_printf(s->out, "%%%d = input : f32[%d]\n", m->next_id, SIZE);
        add_value(s, m->next_id++);
    }
    if (!s->n_values)
        make_constant(m, s);
    for (int n = (int)draw(m, MOST_NODES_IN_BODY); n > 0; n--)
        make_node(m, s);
}

static void end_body(struct maker *m, struct scope *s, int n_out)
{
    if (s->sources.length)
        text_printf(s->out, "%s", s->sources.data);
    for (int i = 0; i < n_out; i++) {
        indent(s);
        text_printf(s->out, "output %%%d\n", any_value(m, s));
    }
    text_free(&s->sources);
}

/* "%7, %8 = op %1, %2 {": results from first_id on. */
static void print_head(struct maker *m, struct scope *s, const char *op, int first, int n_out,
                       int n_in)
{
    indent(s);
    for (int i = 0; i < n_out; i++)
        text_printf(s->out, "%s%%%d", i ? ", " : "", first + i);
    text_printf(s->out, " = %s", op);
    for (int i = 0; i < n_in; i++)
        text_printf(s->out, "%s%%%d", i ? ", " : " ", any_value(m, s));
}

static void make_branch(struct maker *m, struct scope *s)
{
    int n_in = (int)draw(m, 4), n_out = 1 + (int)draw(m, 3), first = m->next_id;
    char condition[32];
    m->next_id += n_out;
    if (draw(m, 2))
        make_condition(m, s, condition, sizeof condition);
    else
        snprintf(condition, sizeof condition, "mod(%s, 2)", any_dim(m, s));
    print_head(m, s, "branch", first, n_out, n_in);
    text_printf(s->out, " {condition=%s} {\n", condition);
    for (int i = 0; i < 2; i++) {
        struct scope body;
        begin_body(m, s, &body, n_in);
        end_body(m, &body, n_out);
        indent(s);
        text_printf(s->out, i ? "}\n" : "} {\n");
    }
    for (int i = 0; i < n_out; i++)
        add_value(s, first + i);
}

/* Rows of a stack, added up. */
static void use_stack(struct maker *m, struct scope *s, int stack)
{
    int sum = m->next_id++, id = m->next_id++;
    indent(s);
    text_printf(s->out, "%%%d = reduce_sum %%%d {axes=[0]}\n", sum, stack);
    indent(s);
    text_printf(s->out, "%%%d = tanh %%%d\n", id, sum);
    add_value(s, id);
}

/* What is on a stack behind the last iteration is unspecified: a loop that ends early has none. */
static void make_loop(struct maker *m, struct scope *s)
{
    int n_in = (int)draw(m, 5), states = n_in ? (int)draw(m, (uint32_t)n_in + 1) : 0;
    int first = m->next_id, how = (int)draw(m, 4), trips = (int)draw(m, 4);
    int stacks = how >= 2 || !states ? 1 + (int)draw(m, 2) : 0;
    bool whole = stacks > 0;
    char again[32] = "1", index[16];
    snprintf(index, sizeof index, "i%d", m->next_symbol++);
    text_printf(&m->symbols, "symbol %s in [0, inf]\n", index);
    m->next_id += states + stacks;
    struct text *out = s->out, body_text = {0};
    const char *dim = any_dim(m, s);
    print_head(m, s, "loop", first, states + stacks, n_in);
    struct scope *outer = s, body;
    struct scope shown = *outer;
    shown.out = &body_text;
    /* The body first: it may make the symbol that says whether to go on. */
    body = (struct scope){.outer = &shown, .out = &body_text, .depth = s->depth + 1};
    snprintf(body.index, sizeof body.index, "%s", index);
    for (int i = 0; i < n_in; i++) {
        indent(&body);
        text_printf(body.out, "%%%d = input : f32[%d]\n", m->next_id, SIZE);
        add_value(&body, m->next_id++);
    }
    if (!body.n_values)
        make_constant(m, &body);
    for (int n = (int)draw(m, MOST_NODES_IN_BODY); n > 0; n--)
        make_node(m, &body);
    if (!whole && draw(m, 2))
        make_condition(m, &body, again, sizeof again);
    else if (!whole && draw(m, 2))
        snprintf(again, sizeof again, "lt(%s, %d)", index, (int)draw(m, 3));
    end_body(m, &body, states + stacks);
    if (draw(m, 2))
        text_printf(out, " {trips=%d", trips);
    else
        text_printf(out, " {trips=mod(%s + %d, 3)", dim, trips);
    text_printf(out, ", index=%s, again=%s, states=%d} {\n%s", index, again, states,
                body_text.data);
    indent(s);
    text_printf(out, "}\n");
    text_free(&body_text);
    for (int i = 0; i < states; i++)
        add_value(s, first + i);
    for (int i = 0; i < stacks; i++)
        if (draw(m, 4))
            use_stack(m, s, first + states + i);
}

static void make_node(struct maker *m, struct scope *s)
{
    uint32_t kind = draw(m, 10);
    if (kind < 4 && m->budget > 0 && s->depth < 4) {
        m->budget--;
        if (kind < 2)
            make_branch(m, s);
        else
            make_loop(m, s);
    } else if (kind < 6) {
        make_map(m, s);
    } else if (kind < 7) {
        make_sum(m, s);
    } else if (kind < 9) {
        make_of_index(m, s);
    } else {
        make_constant(m, s);
    }
}

void random_graph(struct text *out, uint64_t seed)
{
    struct maker m = {.state = seed * 2654435761u + 12345, .next_id = 2, .budget = 5};
    struct text nodes = {0};
    struct scope root = {.out = &nodes, .values = {0}, .n_values = 1};
    for (int i = 0; i < 5 || (m.budget > 3 && i < 50); i++)
        make_node(&m, &root);
    text_printf(out, "graph \"random %llu\"\nsymbol n in [0, 8]\n%s", (unsigned long long)seed,
                m.symbols.length ? m.symbols.data : "");
    text_printf(out, "%%0 = input \"x\" : f32[%d]\n%%1 = input \"y\" : f32[n]\n%s", SIZE,
                nodes.data);
    text_printf(out, "source n = dim 1, 0\n%s", root.sources.length ? root.sources.data : "");
    for (int i = 0; i < 3; i++)
        text_printf(out, "output \"o%d\" = %%%d\n", i, any_value(&m, &root));
    text_free(&root.sources);
    text_free(&nodes);
    text_free(&m.symbols);
}
