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

static void define_sum(struct emitter *e, const char *identity, const char *combine)
{
    emit_define(e, "IDENTITY", "%s", identity);
    emit_define(e, "COMBINE", "%s", combine);
}

static void define_extreme(struct emitter *e, enum dtype type, bool greatest)
{
    const char *identity = literal_extreme(e, type, greatest);
    if (type == DT_BOOL)
        define_sum(e, identity, greatest ? "a || b" : "a && b");
    else
        define_sum(e, identity,
                   emit_scalar_text(e, greatest ? OP_max : OP_min, type, "a", "b", NULL));
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
    define_sum(e,
               arena_printf(e->g->arena, "(best{%s, %s})", literal_extreme(e, type, greatest),
                            last ? "-1" : "LENGTH"),
               "better(a, b)");
}

static void define_operation(struct emitter *e, const struct node *node)
{
    switch (node->op) {
    case OP_reduce_sum: define_sum(e, "0", "a + b"); break;
    case OP_reduce_prod: define_sum(e, "1", "a * b"); break;
    case OP_reduce_max: define_extreme(e, node->in[0]->type, true); break;
    case OP_reduce_min: define_extreme(e, node->in[0]->type, false); break;
    default: define_arg(e, node);
    }
}

static void emit_term(struct emitter *e, const struct axes *axes, struct node *node)
{
    const struct index *at[MAX_RANK];
    emit_function(e, "ELEMENT", "term", "idx_t result, idx_t k");
    axes_index(e, axes, index_var(e->ix, "result", axes->rows), index_var(e->ix, "k", axes->length),
               at);
    emit_line(e, "return %s;", emit_value(e, node->in[0], at));
    emit_function_end(e);
}

static void emit_store(struct emitter *e, const struct axes *axes, struct node *node)
{
    struct value *y = node->out[0];
    const struct index *at[MAX_RANK];
    emit_function(e, "void", "store",
                  arena_printf(e->g->arena, "idx_t result, %s y", emit_register_type(y->type)));
    axes_result(e, axes, index_var(e->ix, "result", axes->rows), at);
    emit_result(e, y, at, "y");
    emit_epilogue(e, at);
    emit_function_end(e);
}

bool family_reduce(struct codegen *c, const struct group *group)
{
    struct emitter *e = emit_begin(c, group, "reduce");
    struct node *node = group->core;
    struct axes axes;
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
    emit_define(e, "ELEMENT", "%s", emit_register_type(node->in[0]->type));
    emit_define(e, "PARTIAL", "%s", partial_type(node));
    emit_define(e, "LIFT(x, k)", "%s", is_arg(node) ? "best{x, k}" : "x");
    emit_define(e, "ANSWER(x)", "%s", is_arg(node) ? "x.at" : "x");
    define_operation(e, node);
    emit_term(e, &axes, node);
    emit_store(e, &axes, node);
    launch_over(e, axes.rows, threads / lanes, threads);
    if (is_arg(node))
        emit_skeleton(e, "best.cuh");
    emit_skeleton(e, "lanes.cuh");
    emit_skeleton(e, "reduce.cuh");
    return emit_finish(e);
}
