/* Scans: cumulative sums and products along an axis. */
#include "common.h"
#include "cost.h"

enum { SCAN_THREADS = 128, LINE_THREADS = 1024 /* for a line that a block works on */ };

static const struct index *const *element(struct emitter *e, const struct axes *axes,
                                          const struct index **at)
{
    const struct index *i = index_var(e->ix, "i", axes->length);
    axes_index(e, axes, index_var(e->ix, "line", axes->rows), i, at);
    return at;
}

bool family_scan(struct codegen *c, const struct group *group)
{
    struct emitter *e = emit_begin(c, group, "scan");
    struct node *node = group->core;
    struct value *x = node->in[0], *y = node->out[0];
    bool sum = node->op == OP_scan_sum;
    int64_t axis = sum ? node->attr.scan_sum.axis : node->attr.scan_prod.axis;
    bool exclusive = sum ? node->attr.scan_sum.exclusive : node->attr.scan_prod.exclusive;
    bool reverse = sum ? node->attr.scan_sum.reverse : node->attr.scan_prod.reverse;
    const struct index *at[MAX_RANK];
    struct axes axes;
    axes_split(e->g, x, 1u << axis, &axes);
    int lanes = cost_lanes(e->target, cost_guess(e->g, axes.rows), cost_guess(e->g, axes.length),
                           axes.trailing);
    lanes = lanes > 32 ? LINE_THREADS : lanes;
    int threads = lanes > 32 ? LINE_THREADS : SCAN_THREADS;

    emit_define(e, "LINES", "%s", emit_dim(e, axes.rows));
    emit_define(e, "LENGTH", "%s", emit_dim(e, axes.length));
    emit_define(e, "THREADS", "%d", threads);
    emit_define(e, "LANES", "%d", lanes);
    emit_define(e, "EXCLUSIVE", "%d", exclusive);
    emit_define(e, "REVERSE", "%d", reverse);
    emit_define(e, "SUM", "%s", sum_type(x->type));
    emit_define(e, "COMBINE", "%s", sum ? "a + b" : "a * b");
    emit_define(e, "IDENTITY", "%d", !sum);

    emit_function(e, emit_register_type(x->type), "load", "idx_t line, idx_t i");
    emit_line(e, "return %s;", emit_value(e, x, element(e, &axes, at)));
    emit_function_end(e);

    emit_function(
        e, "void", "store",
        arena_printf(e->g->arena, "idx_t line, idx_t i, %s y", emit_register_type(y->type)));
    emit_result(e, y, element(e, &axes, at), "y");
    emit_epilogue(e, at);
    emit_function_end(e);

    launch_over(e, axes.rows, threads / lanes, threads);
    emit_skeleton(e, "scan.cuh");
    return emit_finish(e);
}
