/*
 * Sorting: top_k by selecting one element after the other, by a network in shared memory, or by
 * merging; sort_rows by merging.
 */
#include "common.h"
#include "emit_state.h"

#include <math.h>

/* So few are selected sooner than the line is sorted: in shared memory, by merging. */
enum { FEW = 8, FEW_OF_MANY = 64, SORT_BYTES = 32768, MERGE_THREADS = 512, CHUNK = 1024 };

/* Elements the network sorts: the line's length, filled up to a power of two; 0: the line is too
 * long for it, or its length is not known. */
static int network_size(const struct emitter *e, const struct node *node, const struct axes *axes)
{
    int64_t length, k;
    int place = e->wide || dtype_size(node->in[0]->type) == 8 ? 16 : 8;
    if (!dim_is_const(axes->length, &length) || length > SORT_BYTES / place || length < 2 ||
        (dim_is_const(node->attr.top_k.k, &k) && k <= FEW))
        return 0;
    int size = 2;
    while (size < length)
        size *= 2;
    return size;
}

/* KEY, BEATS, and what nothing comes after. */
static void define_order(struct emitter *e, enum dtype type, bool largest)
{
    bool floats = dtype_is_float(type);
    const char *worst =
        floats && !largest ? emit_literal(e, type, (double)NAN) : literal_extreme(e, type, largest);
    define_key(e, type);
    if (largest)
        emit_define(e, "BEATS", "%s", floats ? "(a > b || (a != a && b == b))" : "a > b");
    else
        emit_define(e, "BEATS", "%s", floats ? "(a < b || (a == a && b != b))" : "a < b");
    emit_define(e, "LAST", "0");
    emit_define(e, "WORST", "%s", worst);
}

/* load(line, i): the elements along the sorted axis. */
static void print_load(struct emitter *e, struct value *x, const struct axes *axes)
{
    const struct index *at[MAX_RANK], *line = index_var(e->ix, "line", axes->rows);
    emit_function(e, "KEY", "load", "idx_t line, idx_t i");
    axes_index(e, axes, line, index_var(e->ix, "i", axes->length), at);
    emit_line(e, "return %s;", emit_value(e, x, at));
    emit_function_end(e);
}

/* Index of result i of a line. */
static void result_index(struct emitter *e, const struct node *node, const struct axes *axes,
                         const struct index **at)
{
    const struct dim *k = node->attr.top_k.k;
    const struct index *i = index_var(e->ix, "i", axes->length);
    axes_index(e, axes, index_var(e->ix, "line", axes->rows), i, at);
    at[node->attr.top_k.axis] = index_var(e->ix, "i", k);
}

/* -- In shared memory, or by selection -- */

static bool top_k(struct codegen *c, const struct group *group, const struct axes *axes)
{
    struct emitter *e = emit_begin(c, group, "sort");
    struct node *node = group->core;
    struct value *x = node->in[0];
    const struct index *at[MAX_RANK];
    int size = network_size(e, node, axes);
    int threads = size > 0 && size < 512 ? (size < 64 ? 32 : size / 2) : 256;

    emit_define(e, "LENGTH", "%s", emit_dim(e, axes->length));
    emit_define(e, "K", "%s", emit_dim(e, node->attr.top_k.k));
    emit_define(e, "THREADS", "%d", threads);
    emit_define(e, "LANES", "THREADS");
    emit_define(e, "SIZE", "%d", size);
    define_order(e, x->type, node->attr.top_k.largest);
    print_load(e, x, axes);

    emit_function(e, "void", "store",
                  arena_printf(e->g->arena, "idx_t line, idx_t i, %s x, long long place",
                               emit_register_type(x->type)));
    result_index(e, node, axes, at);
    emit_result(e, node->out[0], at, "x");
    emit_result(e, node->out[1], at, "place");
    emit_epilogue(e, at);
    emit_function_end(e);

    emit_launch(e, axes->rows, threads, 0);
    emit_skeleton(e, "best.cuh");
    emit_skeleton(e, "lanes.cuh");
    emit_skeleton(e, "sort.cuh");
    return emit_finish(e);
}

/* -- By merging -- */

/* Starts a kernel that sorts `rows` lines, with what both kinds have in common. */
static struct emitter *begin_merge(struct codegen *c, const struct group *group,
                                   const struct dim *rows, const struct dim *length,
                                   const struct dim *k)
{
    struct graph *g = c->g;
    const struct dim *places =
        dim_mul(g->dims, dim_mul(g->dims, rows, length), dim_const(g->dims, 2));
    struct emitter *e = emit_begin(c, group, "merge");
    struct value *work = emit_workspace(c, group, e->wide ? DT_I64 : DT_I32, places);
    emit_define(e, "LENGTH", "%s", emit_dim(e, length));
    emit_define(e, "K", "%s", emit_dim(e, k));
    emit_define(e, "THREADS", "%d", MERGE_THREADS);
    emit_define(e, "CHUNK", "%d", CHUNK);
    emit_define(e, "WORK", "%s", emit_buffer(e, work, true));
    emit_launch(e, rows, MERGE_THREADS, 0);
    return e;
}

static bool merge_top_k(struct codegen *c, const struct group *group, const struct axes *axes)
{
    struct node *node = group->core;
    struct value *x = node->in[0];
    const struct index *at[MAX_RANK];
    struct emitter *e = begin_merge(c, group, axes->rows, axes->length, node->attr.top_k.k);
    define_order(e, x->type, node->attr.top_k.largest);
    print_load(e, x, axes);

    emit_function(e, "bool", "before", "idx_t line, idx_t i, idx_t j");
    emit_line(e, "const KEY a = load(ARGS, line, i), b = load(ARGS, line, j);");
    emit_line(e, "return BEATS;");
    emit_function_end(e);

    emit_function(e, "void", "store", "idx_t line, idx_t i, idx_t place");
    emit_line(e, "const %s x = load(ARGS, line, place);", emit_register_type(x->type));
    result_index(e, node, axes, at);
    emit_result(e, node->out[0], at, "x");
    emit_result(e, node->out[1], at, "place");
    emit_epilogue(e, at);
    emit_function_end(e);
    emit_skeleton(e, "merge.cuh");
    return emit_finish(e);
}

static bool merge_rows(struct codegen *c, const struct group *group)
{
    struct node *node = group->core;
    struct value *x = node->in[0], *y = node->out[0];
    const struct dim *one = dim_const(c->g->dims, 1), *n = x->shape[0], *columns = x->shape[1];
    struct emitter *e = begin_merge(c, group, one, n, n);
    const struct index *at[2] = {index_var(e->ix, "i", n)};
    at[1] = index_var(e->ix, "k", columns);
    define_order(e, x->type, node->attr.sort_rows.descending);

    emit_function(e, "KEY", "load", "idx_t i, idx_t k");
    emit_line(e, "return %s;", emit_value(e, x, at));
    emit_function_end(e);
    emit_function(e, "bool", "beats", "KEY a, KEY b");
    emit_line(e, "return BEATS;");
    emit_function_end(e);

    emit_function(e, "bool", "before", "idx_t, idx_t i, idx_t j");
    emit_open(e, "for (idx_t k = 0; k < %s; k++)", emit_dim(e, columns));
    emit_line(e, "const KEY a = load(ARGS, i, k), b = load(ARGS, j, k);");
    emit_line(e, "if (beats(ARGS, a, b))");
    emit_line(e, "    return true;");
    emit_line(e, "if (beats(ARGS, b, a))");
    emit_line(e, "    return false;");
    emit_close(e);
    emit_line(e, "return false;");
    emit_function_end(e);

    emit_function(e, "void", "store", "idx_t, idx_t i, idx_t place");
    emit_result(e, y, at, "place");
    emit_epilogue(e, at);
    emit_function_end(e);
    emit_skeleton(e, "merge.cuh");
    return emit_finish(e);
}

bool family_sort(struct codegen *c, const struct group *group)
{
    struct node *node = group->core;
    struct axes axes;
    int64_t length, k;
    if (node->op == OP_sort_rows)
        return merge_rows(c, group);
    axes_split(c->g, node->in[0], 1u << node->attr.top_k.axis, &axes);
    bool few = dim_is_const(node->attr.top_k.k, &k) && k <= FEW_OF_MANY;
    int place = dtype_size(node->in[0]->type) == 8 ? 16 : 8;
    bool fits = dim_is_const(axes.length, &length) && length <= SORT_BYTES / place;
    return few || fits ? top_k(c, group, &axes) : merge_top_k(c, group, &axes);
}
