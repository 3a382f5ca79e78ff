/* Sorting: top_k, by a network in shared memory or by selecting one element after the other. */
#include "common.h"

#include <math.h>

/* So few are selected sooner than the line is sorted. */
enum { FEW = 8, SORT_BYTES = 32768 };

/* Elements the network sorts: the line's length, filled up to a power of two; 0: it selects. */
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

static void define_order(struct emitter *e, const struct node *node)
{
    enum dtype type = node->in[0]->type;
    bool largest = node->attr.top_k.largest, floats = dtype_is_float(type);
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

bool family_sort(struct codegen *c, const struct group *group)
{
    struct emitter *e = emit_begin(c, group, "sort");
    struct node *node = group->core;
    struct value *x = node->in[0], *values = node->out[0], *places = node->out[1];
    const struct index *at[MAX_RANK];
    struct axes axes;
    axes_split(e->g, x, 1u << node->attr.top_k.axis, &axes);
    int size = network_size(e, node, &axes);
    int threads = size > 0 && size < 512 ? (size < 64 ? 32 : size / 2) : 256;

    emit_define(e, "LENGTH", "%s", emit_dim(e, axes.length));
    emit_define(e, "K", "%s", emit_dim(e, node->attr.top_k.k));
    emit_define(e, "THREADS", "%d", threads);
    emit_define(e, "LANES", "THREADS");
    emit_define(e, "SIZE", "%d", size);
    define_order(e, node);

    const struct index *line = index_var(e->ix, "line", axes.rows);
    emit_function(e, "KEY", "load", "idx_t line, idx_t i");
    axes_index(e, &axes, line, index_var(e->ix, "i", axes.length), at);
    emit_line(e, "return %s;", emit_value(e, x, at));
    emit_function_end(e);

    emit_function(e, "void", "store",
                  arena_printf(e->g->arena, "idx_t line, idx_t i, %s x, long long place",
                               emit_register_type(x->type)));
    at[node->attr.top_k.axis] = index_var(e->ix, "i", node->attr.top_k.k);
    emit_result(e, values, at, "x");
    emit_result(e, places, at, "place");
    emit_epilogue(e, at);
    emit_function_end(e);

    emit_launch(e, axes.rows, threads, 0);
    emit_skeleton(e, "best.cuh");
    emit_skeleton(e, "lanes.cuh");
    emit_skeleton(e, "sort.cuh");
    return emit_finish(e);
}
