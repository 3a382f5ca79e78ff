/* Reductions over any axes: sums, products, extremes, and where the extremes are. */
#include "common.h"
#include "cost.h"

enum { MAX_UNROLL = 4 };

static bool is_arg(const struct node *node)
{
    return node->op == OP_arg_max || node->op == OP_arg_min;
}

static uint32_t axes_of(const struct node *node)
{
    switch (node->op) {
    case OP_reduce_sum: return node->attr.reduce_sum.axes;
    case OP_reduce_prod: return node->attr.reduce_prod.axes;
    case OP_reduce_max: return node->attr.reduce_max.axes;
    case OP_reduce_min: return node->attr.reduce_min.axes;
    case OP_arg_max: return 1u << node->attr.arg_max.axis;
    default: return 1u << node->attr.arg_min.axis;
    }
}

/* The type terms are combined in. */
static const char *partial_type(const struct node *node)
{
    enum dtype type = node->in[0]->type;
    if (is_arg(node))
        return "best";
    if (node->op == OP_reduce_max || node->op == OP_reduce_min)
        return emit_register_type(type);
    return sum_type(type);
}

/* What combining begins with, and a ∘ b, of one reduction. */
struct combination {
    const char *identity, *combine;
};

static struct combination extreme(struct emitter *e, enum dtype type, bool greatest, const char *a,
                                  const char *b)
{
    const char *combine = type == DT_BOOL
                              ? arena_printf(e->g->arena, "%s %s %s", a, greatest ? "||" : "&&", b)
                              : emit_scalar_text(e, greatest ? OP_max : OP_min, type, a, b, NULL);
    return (struct combination){literal_extreme(e, type, greatest), combine};
}

/* Of any reduction but arg_max and arg_min. */
static struct combination combination_of(struct emitter *e, const struct node *node, const char *a,
                                         const char *b)
{
    enum dtype type = node->in[0]->type;
    switch (node->op) {
    case OP_reduce_sum:
        return (struct combination){"0", arena_printf(e->g->arena, "%s + %s", a, b)};
    case OP_reduce_prod:
        return (struct combination){"1", arena_printf(e->g->arena, "%s * %s", a, b)};
    default: return extreme(e, type, node->op == OP_reduce_max, a, b);
    }
}

static void define_combination(struct emitter *e, struct combination c)
{
    emit_define(e, "IDENTITY", "%s", c.identity);
    emit_define(e, "COMBINE", "%s", c.combine);
}

static void define_arg(struct emitter *e, const struct node *node)
{
    enum dtype type = node->in[0]->type;
    bool greatest = node->op == OP_arg_max;
    bool last = greatest ? node->attr.arg_max.last : node->attr.arg_min.last;
    const char *order = greatest ? "a > b" : "a < b";
    define_key(e, type);
    emit_define(e, "BEATS", dtype_is_float(type) ? "(%s || (a != a && b == b))" : "%s", order);
    emit_define(e, "LAST", "%d", last);
    const char *identity = arena_printf(e->g->arena, "(best{%s, %s})",
                                        literal_extreme(e, type, greatest), last ? "-1" : "LENGTH");
    define_combination(e, (struct combination){identity, "better(a, b)"});
}

/* --- Siblings: several reductions of as many terms in one pass ----------------------------------
 */

enum { MOST_SIBLINGS = 4 };
struct siblings {
    int n;
    struct node *node[MOST_SIBLINGS];
};

static bool find_siblings(struct emitter *e, const struct group *group, struct siblings *s)
{
    s->n = 0;
    for (int i = 0; i < group->n_nodes; i++) {
        if (!emit_is_core(e, group->nodes[i]))
            continue;
        if (s->n == MOST_SIBLINGS || (s->n > 0 && is_arg(group->nodes[i]))) {
            emit_unsupported(e, group->nodes[i], "is one reduction too many for one pass");
            return false;
        }
        s->node[s->n++] = group->nodes[i];
    }
    return true;
}

/* Member number i of n that are nested in pairs: x.a, x.b.a, x.b.b. */
static const char *member(struct emitter *e, const char *x, int i, int n)
{
    for (int k = 0; k < i; k++)
        x = arena_printf(e->g->arena, "%s.b", x);
    return i < n - 1 ? arena_printf(e->g->arena, "%s.a", x) : x;
}

/* Types, and values of such types, nested in pairs; values NULL: the type. */
static const char *nested(struct emitter *e, int n, const char *const *types,
                          const char *const *values)
{
    const char *type = types[n - 1], *value = values ? values[n - 1] : NULL;
    for (int i = n - 2; i >= 0; i--) {
        type = arena_printf(e->g->arena, "g_pair<%s, %s>", types[i], type);
        if (values)
            value = arena_printf(e->g->arena, "%s{%s, %s}", type, values[i], value);
    }
    return values ? value : type;
}

static void define_operations(struct emitter *e, const struct siblings *s)
{
    const char *types[MOST_SIBLINGS] = {NULL}, *elements[MOST_SIBLINGS] = {NULL};
    const char *lifted[MOST_SIBLINGS] = {NULL};
    const char *identities[MOST_SIBLINGS] = {NULL}, *combined[MOST_SIBLINGS] = {NULL};
    for (int i = 0; i < s->n; i++) {
        const struct node *node = s->node[i];
        struct combination c =
            combination_of(e, node, member(e, "a", i, s->n), member(e, "b", i, s->n));
        types[i] = partial_type(node);
        elements[i] = emit_register_type(node->in[0]->type);
        lifted[i] = arena_printf(e->g->arena, "(%s)(%s)", types[i], member(e, "(x)", i, s->n));
        identities[i] = arena_printf(e->g->arena, "(%s)(%s)", types[i], c.identity);
        combined[i] = arena_printf(e->g->arena, "(%s)(%s)", types[i], c.combine);
    }
    define_combination(e, (struct combination){
                              arena_printf(e->g->arena, "(%s)", nested(e, s->n, types, identities)),
                              nested(e, s->n, types, combined)});
    emit_define(e, "ELEMENT", "%s", nested(e, s->n, elements, NULL));
    emit_define(e, "PARTIAL", "%s", nested(e, s->n, types, NULL));
    emit_define(e, "LIFT(x, k)", "(%s)", nested(e, s->n, types, lifted));
    emit_define(e, "ANSWER(x)", "x");
}

static void define_operation(struct emitter *e, const struct node *node)
{
    emit_define(e, "ELEMENT", "%s", emit_register_type(node->in[0]->type));
    emit_define(e, "PARTIAL", "%s", partial_type(node));
    emit_define(e, "LIFT(x, k)", "%s", is_arg(node) ? "best{x, k}" : "x");
    emit_define(e, "ANSWER(x)", "%s", is_arg(node) ? "x.at" : "x");
    if (is_arg(node))
        define_arg(e, node);
    else
        define_combination(e, combination_of(e, node, "a", "b"));
}

static void emit_term(struct emitter *e, const struct axes *axes, const struct siblings *s)
{
    const struct index *at[MAX_RANK];
    const char *types[MOST_SIBLINGS] = {NULL}, *terms[MOST_SIBLINGS] = {NULL};
    emit_function(e, "ELEMENT", "term", "idx_t result, idx_t k");
    const struct index *k = index_var(e->ix, "k", axes->length);
    axes_index(e, axes, index_var(e->ix, "result", axes->rows), k, at);
    for (int i = 0; i < s->n; i++) {
        types[i] = emit_register_type(s->node[i]->in[0]->type);
        terms[i] = emit_value(e, s->node[i]->in[0], at);
    }
    emit_line(e, "return %s;", nested(e, s->n, types, terms));
    emit_function_end(e);
}

static void emit_store(struct emitter *e, const struct axes *axes, const struct siblings *s)
{
    const struct value *y = s->node[0]->out[0];
    const struct index *at[MAX_RANK];
    emit_function(
        e, "void", "store",
        s->n > 1 ? "idx_t result, PARTIAL y"
                 : arena_printf(e->g->arena, "idx_t result, %s y", emit_register_type(y->type)));
    axes_result(e, axes, index_var(e->ix, "result", axes->rows), at);
    for (int i = 0; i < s->n; i++) {
        struct value *result = s->node[i]->out[0];
        const char *name = member(e, "y", i, s->n);
        if (s->n > 1) {
            const char *own = emit_fresh(e, "y");
            emit_line(e, "const %s %s = %s;", emit_register_type(result->type), own, name);
            name = own;
        }
        emit_result(e, result, at, name);
    }
    emit_epilogue(e, at);
    emit_function_end(e);
}

bool family_reduce(struct codegen *c, const struct group *group)
{
    struct emitter *e = emit_begin(c, group, "reduce");
    struct node *node = group->core;
    struct axes axes;
    struct siblings siblings;
    if (!find_siblings(e, group, &siblings))
        return emit_finish(e);
    axes_split(e->g, node->in[0], axes_of(node), &axes);
    int64_t rows = cost_guess(e->g, axes.rows);
    int lanes = cost_lanes(e->target, rows, cost_guess(e->g, axes.length), axes.trailing);
    bool across = lanes > 1 && !axes.trailing;
    lanes = across ? ACROSS_LANES : lanes;
    int threads = across ? BLOCK_THREADS : cost_block(e->target, rows, lanes);

    emit_define(e, "RESULTS", "%s", emit_dim(e, axes.rows));
    emit_define(e, "LENGTH", "%s", emit_dim(e, axes.length));
    emit_define(e, "THREADS", "%d", threads);
    emit_define(e, "LANES", "%d", lanes);
    emit_define(e, "ACROSS", "%d", across);
    emit_define(e, "UNROLL", "%d", MAX_UNROLL);
    if (siblings.n > 1)
        define_operations(e, &siblings);
    else
        define_operation(e, node);
    emit_term(e, &axes, &siblings);
    emit_store(e, &axes, &siblings);
    launch_over(e, axes.rows, threads / lanes, threads);
    if (is_arg(node))
        emit_skeleton(e, "best.cuh");
    emit_skeleton(e, "lanes.cuh");
    if (siblings.n > 1)
        emit_skeleton(e, "pair.cuh");
    emit_skeleton(e, "reduce.cuh");
    return emit_finish(e);
}
