/*
 * Branches that find out how large their results are, by NonZero and the like. Such a size has no
 * name outside of its branch. So both branches are computed where the node stands, and the
 * condition chooses between the results.
 */
#include "import.h"
#include "list.h"

bool branch_finds_sizes(const struct body *body)
{
    for (int k = 0; k < body->graph->n_outputs; k++) {
        const struct value *v = body->graph->outputs[k];
        for (int i = 0; i < v->rank; i++)
            if (graph_dim_is_inner(body->graph, v->shape[i]))
                return true;
    }
    return false;
}

/* The one axis along which results of two branches differ; -1 after reporting. */
static int differing_axis(struct call *c, const struct value *a, const struct value *b)
{
    int axis = -1, n = 0;
    for (int i = 0; i < a->rank && a->rank == b->rank; i++)
        if (a->shape[i] != b->shape[i]) {
            axis = i;
            n++;
        }
    if (a->type == b->type && n == 1)
        return axis;
    call_unsupported(c, "branches whose results differ in more than the size of an axis");
    return -1;
}

/* a or b; of results that differ in size, as much as the condition (0 or 1) gives, all or nothing:
 *
 *     concat(a[0 : condition * n], b[0 : (1 - condition) * m])
 */
static struct value *choose(struct call *c, const struct dim *condition, struct value *a,
                            struct value *b)
{
    if (is_list(a) || is_list(b))
        return call_unsupported(c, "a sequence beside a result whose size a branch finds out"),
               NULL;
    if (a->type == b->type && value_same_shape(a, b))
        return build_select(c->b, build_cast(c->b, build_dim(c->b, condition), DT_BOOL), a, b);
    int axis = differing_axis(c, a, b);
    if (axis < 0)
        return NULL;
    const struct dim *zero = d_const(c, 0), *other = D(sub, d_const(c, 1), condition);
    struct value *part[2];
    part[0] = build_slice_axis(c->b, a, axis, zero, D(mul, condition, a->shape[axis]));
    part[1] = build_slice_axis(c->b, b, axis, zero, D(mul, other, b->shape[axis]));
    return part[0] && part[1] ? build_concat(c->b, 2, part, axis) : NULL;
}

bool branch_compute_both(struct call *c, const Onnx__GraphProto *const *graph,
                         const struct dim *condition)
{
    struct value **other = ARENA_ARRAY(c->b->g->arena, (size_t)c->n_out + 1, struct value *);
    if (!call_inline_graph(c, graph[0], 0, NULL, c->n_out, c->out) ||
        !call_inline_graph(c, graph[1], 0, NULL, c->n_out, other))
        return false;
    condition = D(sub, d_const(c, 1), D(eq, condition, d_const(c, 0)));
    for (int k = 0; k < c->n_out; k++)
        if (!(c->out[k] = choose(c, condition, c->out[k], other[k])))
            return false;
    return true;
}
