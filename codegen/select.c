/* Which elements count: compact (two launches, counting and placing) and suppress. */
#include "common.h"
#include "emit_state.h"

enum { THREADS = 256, PER_BLOCK = 4096 };

/* -- compact -- */

static bool compact_kernel(struct codegen *c, const struct group *group, struct value *counts,
                           const struct dim *blocks, bool counting)
{
    struct emitter *e = emit_begin(c, group, counting ? "count" : "compact");
    const struct node *core = group->core;
    struct value *x = core->in[0];
    emit_define(e, "COUNTING", "%d", counting);
    emit_define(e, "BLOCKS", "%s", emit_dim(e, blocks));
    emit_define(e, "LENGTH", "%s", emit_dim(e, x->shape[0]));
    emit_define(e, "MOST", "%s", emit_dim(e, core->attr.compact.most));
    emit_define(e, "PER_BLOCK", "%d", PER_BLOCK);
    emit_define(e, "THREADS", "%d", THREADS);
    emit_define(e, "LANES", "THREADS");
    emit_define(e, "COUNTS", "%s", counts ? emit_buffer(e, counts, counting) : "TOTAL");
    if (!counting) {
        emit_define(e, "PLACES", "%s", emit_buffer(e, core->out[0], true));
        emit_define(e, "TOTAL", "%s", emit_buffer(e, core->out[1], true));
    }

    const struct index *i = index_var(e->ix, "i", x->shape[0]);
    emit_function(e, "bool", "is_true", "idx_t i");
    emit_line(e, "return %s;", emit_value(e, x, &i));
    emit_function_end(e);

    emit_launch(e, blocks, THREADS, 0);
    emit_skeleton(e, "lanes.cuh");
    emit_skeleton(e, "compact.cuh");
    return emit_finish(e);
}

static bool compact(struct codegen *c, const struct group *group)
{
    struct graph *g = c->g;
    const struct dim *one = dim_const(g->dims, 1), *n = group->core->in[0]->shape[0];
    /* At least one: the count must be written. */
    const struct dim *blocks =
        dim_max(g->dims, dim_ceildiv(g->dims, n, dim_const(g->dims, PER_BLOCK)), one);
    if (dim_is(blocks, 1))
        return compact_kernel(c, group, NULL, blocks, false);
    struct value *counts = emit_workspace(c, group, DT_I64, blocks);
    return compact_kernel(c, group, counts, blocks, true) &&
           compact_kernel(c, group, counts, blocks, false);
}

/* -- suppress -- */

static void scalar_function(struct emitter *e, const char *type, const char *name, struct value *v)
{
    emit_function(e, type, name, "");
    emit_line(e, "return %s;", emit_value(e, v, NULL));
    emit_function_end(e);
}

static bool suppress(struct codegen *c, const struct group *group)
{
    struct emitter *e = emit_begin(c, group, "suppress");
    const struct node *core = group->core;
    struct value *boxes = core->in[0], *candidates = core->in[1];
    const struct dim *lines = candidates->shape[0], *length = candidates->shape[1];
    emit_define(e, "LENGTH", "%s", emit_dim(e, length));
    emit_define(e, "CENTER", "%d", core->attr.suppress.center);
    emit_define(e, "THREADS", "%d", THREADS);
    emit_define(e, "LANES", "THREADS");
    emit_define(e, "ALIVE", "%s", emit_buffer(e, core->out[0], true));

    const struct index *at[3] = {index_var(e->ix, "line", lines)};
    at[1] = index_var(e->ix, "i", length);
    at[2] = index_var(e->ix, "k", dim_const(e->g->dims, 4));
    emit_function(e, "float", "side", "idx_t line, idx_t i, idx_t k");
    emit_line(e, "return %s;", emit_value(e, boxes, at));
    emit_function_end(e);
    emit_function(e, "bool", "is_candidate", "idx_t line, idx_t i");
    emit_line(e, "return %s;", emit_value(e, candidates, at));
    emit_function_end(e);
    scalar_function(e, "long long", "limit", core->in[2]);
    scalar_function(e, "float", "threshold", core->in[3]);

    emit_launch(e, lines, THREADS, 0);
    emit_skeleton(e, "lanes.cuh");
    emit_skeleton(e, "suppress.cuh");
    return emit_finish(e);
}

bool family_select(struct codegen *c, const struct group *group)
{
    return group->core->op == OP_compact ? compact(c, group) : suppress(c, group);
}
