/*
 * Weights side by side. Floats are one constant in the end. Those that kernels make of quantized
 * numbers, by casts, zero points and scales, stay what they are: only the constants are joined,
 * each where it enters the expression.
 *
 *     (cast(q) - z)·s,  (cast(r) - y)·t     ─▶     (cast([q r]) - [z y])·[s t]
 */
#include "merge_weights.h"

#include "quantized.h"

enum { MOST_DEPTH = 8, DEEPEST = 24 };

static bool are_floats(const struct value *v, int depth)
{
    if (!v->def || depth == 0 || !dtype_is_float(v->type))
        return false;
    if (v->def->op == OP_constant)
        return true;
    bool weight = v->def->n_in > 0 && !v->def->body[0];
    for (int i = 0; i < v->def->n_in && weight; i++)
        weight = are_floats(v->def->in[i], depth - 1);
    return weight;
}

bool weights_are_floats(const struct value *v)
{
    return are_floats(v, MOST_DEPTH);
}

struct value *weights_copy(struct builder *b, struct value *v)
{
    struct node *copy = node_clone(b->g, v->def, b->before);
    struct builder front = {b->g, copy};
    for (int i = 0; i < copy->n_in; i++)
        node_set_operand(b->g, copy, i, weights_copy(&front, v->def->in[i]));
    return copy->out[v->index];
}

struct value *weights_join(struct builder *b, int n, struct value **parts, int axis,
                           enum weights_order order)
{
    const struct dim *shape[MAX_RANK + 1];
    int rank = parts[0]->rank;
    if (order == WEIGHTS_BEHIND)
        return build_concat(b, n, parts, axis);
    if (rank == MAX_RANK)
        return NULL;
    for (int i = 0; i < rank; i++)
        shape[i + (i > axis)] = parts[0]->shape[i];
    shape[axis + 1] = build_d(b, 1);
    for (int i = 0; i < n; i++)
        parts[i] = build_reshape(b, parts[i], rank + 1, shape);
    struct value *turns = build_concat(b, n, parts, axis + 1);
    for (int i = axis + 1; i < rank; i++)
        shape[i] = shape[i + 1];
    shape[axis] = dim_mul(b->g->dims, shape[axis], build_d(b, n));
    return build_reshape(b, turns, rank, shape);
}

/* --- Expressions that are alike ------------------------------------------------------------- */

static const struct dim *elements_before(struct graph *g, const struct value *v, int axis)
{
    const struct dim *n = dim_const(g->dims, 1);
    for (int i = 0; i < axis; i++)
        n = dim_mul(g->dims, n, v->shape[i]);
    return n;
}

/* The axis of a view's operand that is this one of its result, whole and in its order; or -1. */
static int axis_in_front(struct graph *g, const struct node *view, int axis)
{
    const struct value *x = view->in[0], *y = view->out[0];
    const struct dim *before = elements_before(g, y, axis);
    switch (view->op) {
    case OP_transpose: return view->attr.transpose.perm.axis[axis];
    case OP_slice:
        return dim_is(view->attr.slice.start.d[axis], 0) &&
                       dim_is(view->attr.slice.step.d[axis], 1) && x->shape[axis] == y->shape[axis]
                   ? axis
                   : -1;
    case OP_reshape:
        for (int i = 0; i < x->rank; i++)
            if (x->shape[i] == y->shape[axis] && elements_before(g, x, i) == before)
                return i;
        return -1;
    default: return -1;
    }
}

/* Does the expand repeat its operand along this axis of its result? */
static bool is_repeated(const struct node *expand, int axis)
{
    const struct value *x = expand->in[0];
    int own = axis - (expand->out[0]->rank - x->rank);
    return own < 0 || dim_is(x->shape[own], 1);
}

/* The shape of an expand's operand if it were repeated along `axis` alone. */
static void shape_along(struct builder *b, const struct node *expand, int axis,
                        const struct dim **shape)
{
    const struct value *x = expand->in[0], *y = expand->out[0];
    const int missing = y->rank - x->rank;
    for (int i = 0; i < y->rank; i++)
        shape[i] = i == axis ? y->shape[i] : i < missing ? build_d(b, 1) : x->shape[i - missing];
}

/* Could the operands of both be joined behind that? */
static bool same_along(struct graph *g, const struct node *a, const struct node *b, int axis)
{
    struct builder builder = {g, NULL};
    const struct dim *of_a[MAX_RANK], *of_b[MAX_RANK];
    bool same = quantized_is_constant(a->in[0]) && quantized_is_constant(b->in[0]);
    shape_along(&builder, a, axis, of_a);
    shape_along(&builder, b, axis, of_b);
    for (int i = 0; i < a->out[0]->rank && same; i++)
        same = i == axis || of_a[i] == of_b[i];
    return same;
}

static bool is_map(const struct node *node)
{
    switch (node->op) {
    case OP_add:
    case OP_sub:
    case OP_mul:
    case OP_div:
    case OP_and:
    case OP_or:
    case OP_shl:
    case OP_shr: return true;
    case OP_cast: return node->attr.cast.saturate;
    default: return false;
    }
}

static bool same_but_along(const struct value *a, const struct value *b, int axis)
{
    bool same = a->rank == b->rank && a->type == b->type && axis < a->rank &&
                dim_is_const(a->shape[axis], NULL) && dim_is_const(b->shape[axis], NULL);
    for (int i = 0; i < a->rank && same; i++)
        same = i == axis || a->shape[i] == b->shape[i];
    return same;
}

static bool same_slices(const struct node *a, const struct node *b)
{
    bool same = true;
    for (int i = 0; i < a->out[0]->rank && same; i++)
        same = a->attr.slice.start.d[i] == b->attr.slice.start.d[i] &&
               a->attr.slice.step.d[i] == b->attr.slice.step.d[i];
    return same;
}

/* *quantized: some constant is not of floats. */
static bool are_alike(struct graph *g, const struct value *a, const struct value *b, int axis,
                      int depth, bool *quantized)
{
    const struct node *x = a->def, *y = b->def;
    if (!x || !y || depth == 0 || x->op != y->op || !same_but_along(a, b, axis))
        return false;
    if (x->op == OP_constant) {
        *quantized |= !dtype_is_float(a->type);
        return true;
    }
    if (x->op == OP_expand) {
        const struct value *p = x->in[0], *q = y->in[0];
        if (is_repeated(x, axis) || is_repeated(y, axis))
            return same_along(g, x, y, axis);
        return p->rank == q->rank &&
               are_alike(g, p, q, axis - (a->rank - p->rank), depth - 1, quantized);
    }
    if (is_map(x)) {
        bool alike = x->op != OP_cast || y->attr.cast.saturate;
        for (int i = 0; i < x->n_in && alike; i++)
            alike = are_alike(g, x->in[i], y->in[i], axis, depth - 1, quantized);
        return alike;
    }
    int inner = axis_in_front(g, x, axis);
    return inner >= 0 && inner == axis_in_front(g, y, axis) &&
           (x->op != OP_slice || same_slices(x, y)) &&
           are_alike(g, x->in[0], y->in[0], inner, depth - 1, quantized);
}

bool weights_are_alike(struct graph *g, const struct value *a, const struct value *b, int axis)
{
    bool quantized = false;
    return are_alike(g, a, b, axis, DEEPEST, &quantized) && quantized;
}

/* --- The joined expression ------------------------------------------------------------------ */

/* Constants of which some are repeated along the axis: one, if all are the same number, else each
 * as often as that. */
static struct value *join_repeated(struct builder *b, int n, struct value *const *v, int axis,
                                   enum weights_order order)
{
    struct value *parts[WEIGHTS_MOST], *x = v[0]->def->in[0];
    const struct dim *shape[MAX_RANK];
    bool same = is_repeated(v[0]->def, axis);
    for (int i = 1; i < n && same; i++)
        same = is_repeated(v[i]->def, axis) && quantized_same(b->g, x, v[i]->def->in[0]);
    if (same)
        return weights_copy(b, x);
    for (int i = 0; i < n; i++) {
        shape_along(b, v[i]->def, axis, shape);
        parts[i] = build_expand(b, weights_copy(b, v[i]->def->in[0]), v[i]->rank, shape);
    }
    return weights_join(b, n, parts, axis, order);
}

/* What the node makes of these operands, of this shape. */
static struct value *made_like(struct builder *b, const struct node *node, struct value *const *x,
                               const struct dim *const *shape)
{
    const int rank = node->out[0]->rank;
    int perm[MAX_RANK];
    switch (node->op) {
    case OP_cast: return build_cast(b, x[0], node->out[0]->type);
    case OP_reshape: return build_reshape(b, x[0], rank, shape);
    case OP_expand: return build_expand(b, x[0], rank, shape);
    case OP_slice:
        return build_slice(b, x[0], node->attr.slice.start.d, node->attr.slice.step.d, shape);
    case OP_transpose:
        for (int i = 0; i < rank; i++)
            perm[i] = node->attr.transpose.perm.axis[i];
        return build_transpose(b, x[0], perm);
    default: return build_binary(b, node->op, x[0], x[1]);
    }
}

struct value *weights_join_alike(struct builder *b, int n, struct value *const *v, int axis,
                                 enum weights_order order)
{
    const struct node *node = v[0]->def;
    struct value *parts[WEIGHTS_MOST], *x[2] = {NULL, NULL};
    const struct dim *shape[MAX_RANK];
    bool repeated = false;
    for (int i = 0; i < n; i++) {
        parts[i] = node->op == OP_constant ? weights_copy(b, v[i]) : NULL;
        repeated |= node->op == OP_expand && is_repeated(v[i]->def, axis);
    }
    if (node->op == OP_constant)
        return weights_join(b, n, parts, axis, order);
    int inner = is_map(node)            ? axis
                : node->op == OP_expand ? axis - (v[0]->rank - node->in[0]->rank)
                                        : axis_in_front(b->g, node, axis);
    for (int k = 0; k < node->n_in; k++) {
        for (int i = 0; i < n; i++)
            parts[i] = v[i]->def->in[k];
        x[k] = repeated ? join_repeated(b, n, v, axis, order)
                        : weights_join_alike(b, n, parts, inner, order);
        if (!x[k])
            return NULL;
    }
    for (int i = 0; i < v[0]->rank; i++)
        shape[i] = v[0]->shape[i];
    for (int i = 1; i < n; i++)
        shape[axis] = dim_add(b->g->dims, shape[axis], v[i]->shape[axis]);
    return made_like(b, node, x, shape);
}
