/*
 * Algebraic identities, only those that hold for every value: NaN, infinities and the sign of zero
 * included (x + 0.0 is not x for x = -0.0, so it stays).
 */
#include "passes.h"

#include <math.h>
#include <stdlib.h>

#include "../ir/build.h"
#include "match.h"

static bool is_uniform(const struct value *v, double wanted)
{
    double number;
    return match_uniform(v, &number) && number == wanted && signbit(number) == signbit(wanted);
}

/* --- Scalar ops: the value that replaces the node's result, or NULL ------------------------- */

static struct value *simplify_add(struct value *x, struct value *y)
{
    double zero = dtype_is_float(x->type) ? -0.0 : 0.0;
    return is_uniform(y, zero) ? x : is_uniform(x, zero) ? y : NULL;
}

static struct value *simplify_div(struct builder *b, struct value *x, struct value *y)
{
    double divisor;
    int exponent;
    if (!match_uniform(y, &divisor))
        return NULL;
    if (divisor == 1)
        return x;
    /* A power of two has an exact reciprocal; stay clear of the subnormals of every float type. */
    if (!dtype_is_float(x->type) || fabs(frexp(divisor, &exponent)) != 0.5 || abs(exponent) > 8)
        return NULL;
    struct value *factor = build_float(b, x->type, 1 / divisor);
    return build_binary(b, OP_mul, x, factor);
}

static struct value *simplify_pow(struct builder *b, struct value *x, struct value *y)
{
    if (is_uniform(y, 1))
        return x;
    if (is_uniform(y, 2))
        return build_binary(b, OP_mul, x, x);
    return NULL;
}

static struct value *simplify_scalar(struct builder *b, struct node *node)
{
    struct value *x = node->in[0], *y = node->n_in > 1 ? node->in[1] : NULL;
    double number;
    switch (node->op) {
    case OP_add: return simplify_add(x, y);
    case OP_sub: return is_uniform(y, 0) ? x : NULL;
    case OP_mul: return is_uniform(y, 1) ? x : is_uniform(x, 1) ? y : NULL;
    case OP_div: return simplify_div(b, x, y);
    case OP_pow: return simplify_pow(b, x, y);
    case OP_min:
    case OP_max:
    case OP_and:
    case OP_or: return x == y ? x : NULL;
    case OP_neg:
    case OP_not:
    case OP_bit_not: return x->def && x->def->op == node->op ? x->def->in[0] : NULL;
    case OP_cast:
    case OP_bitcast: return node->out[0]->type == x->type ? x : NULL;
    case OP_select:
        if (y == node->in[2])
            return y;
        return match_uniform(x, &number) ? node->in[number != 0 ? 1 : 2] : NULL;
    default: return NULL;
    }
}

/* --- Views ----------------------------------------------------------------------------------- */

static bool all_are(const struct dims *dims, int64_t wanted)
{
    for (int i = 0; i < dims->n; i++)
        if (!dim_is(dims->d[i], wanted))
            return false;
    return true;
}

/* Axes with more than one element keep their order: the elements stay where they are. */
static bool keeps_order(const struct value *x, const struct perm *perm)
{
    int last = -1;
    for (int i = 0; i < perm->n; i++) {
        if (dim_is(x->shape[perm->axis[i]], 1))
            continue;
        if (perm->axis[i] < last)
            return false;
        last = perm->axis[i];
    }
    return true;
}

static struct value *simplify_transpose(struct builder *b, struct node *node)
{
    struct value *x = node->in[0];
    const struct perm *perm = &node->attr.transpose.perm;
    if (keeps_order(x, perm))
        return build_reshape(b, x, x->rank, node->out[0]->shape);
    if (!x->def || x->def->op != OP_transpose)
        return NULL;
    int both[MAX_RANK];
    for (int i = 0; i < perm->n; i++)
        both[i] = x->def->attr.transpose.perm.axis[perm->axis[i]];
    return build_transpose(b, x->def->in[0], both);
}

/* A slice that takes everything but along one axis, where it leaves nothing out between. */
static bool is_piece(const struct value *v, int axis)
{
    if (!v->def || v->def->op != OP_slice)
        return false;
    const struct node *slice = v->def;
    for (int i = 0; i < v->rank; i++)
        if (!dim_is(slice->attr.slice.step.d[i], 1) ||
            (i != axis &&
             (!dim_is(slice->attr.slice.start.d[i], 0) || v->shape[i] != slice->in[0]->shape[i])))
            return false;
    return true;
}

/* Does piece b of a value begin where piece a of it ends? */
static bool follows(struct graph *g, const struct value *a, const struct value *b, int axis)
{
    if (!is_piece(a, axis) || !is_piece(b, axis) || a->def->in[0] != b->def->in[0])
        return false;
    const struct dim *end = dim_add(g->dims, a->def->attr.slice.start.d[axis], a->shape[axis]);
    return end == b->def->attr.slice.start.d[axis];
}

/* The node, if it puts together what this concat alone takes further. */
static const struct node *inner_concat(const struct value *v, int axis)
{
    const struct node *inner = v->def;
    bool same = inner && inner->op == OP_concat && inner->attr.concat.axis == axis;
    return same && !v->is_output && v->uses && !v->uses->next ? inner : NULL;
}

/* The operands, those of inner concats in the place of these. */
static struct value **all_operands(struct builder *b, const struct node *node, int axis, int *n)
{
    int most = 0;
    for (int i = 0; i < node->n_in; i++) {
        const struct node *inner = inner_concat(node->in[i], axis);
        most += inner ? inner->n_in : 1;
    }
    struct value **all = ARENA_ARRAY(b->g->arena, (size_t)most, struct value *);
    *n = 0;
    for (int i = 0; i < node->n_in; i++) {
        const struct node *inner = inner_concat(node->in[i], axis);
        for (int k = 0; k < (inner ? inner->n_in : 1); k++)
            all[(*n)++] = inner ? inner->in[k] : node->in[i];
    }
    return all;
}

/* Concats of concats are one; operands that are empty are left out; pieces of one value that lie
 * side by side in it are one piece of it, or the value itself: halves that a Split made, for one.
 */
static struct value *simplify_concat(struct builder *b, struct node *node)
{
    int axis = (int)node->attr.concat.axis, n = 0, n_all;
    struct value **all = all_operands(b, node, axis, &n_all);
    struct value **kept = ARENA_ARRAY(b->g->arena, (size_t)n_all, struct value *);
    for (int i = 0; i < n_all; i++) {
        struct value *v = all[i];
        if (dim_is(v->shape[axis], 0))
            continue;
        if (n > 0 && follows(b->g, kept[n - 1], v, axis)) {
            const struct value *first = kept[--n];
            v = build_slice_axis(b, v->def->in[0], axis, first->def->attr.slice.start.d[axis],
                                 dim_add(b->g->dims, first->shape[axis], v->shape[axis]));
            if (!v)
                return NULL;
        }
        kept[n++] = v;
    }
    if (n == 0 || n == node->n_in)
        return node->n_in == 1 ? node->in[0] : NULL;
    return n == 1 ? kept[0] : build_concat(b, n, kept, axis);
}

/* A piece of what was put together: of the operands that it is made of. */
static struct value *simplify_slice(struct builder *b, struct node *node)
{
    struct value *x = node->in[0], *y = node->out[0], **kept;
    int64_t start, end, at = 0, extent;
    if (value_same_shape(x, y) && all_are(&node->attr.slice.start, 0) &&
        all_are(&node->attr.slice.step, 1))
        return x;
    if (!x->def || x->def->op != OP_concat)
        return NULL;
    int axis = (int)x->def->attr.concat.axis, n = 0;
    if (!is_piece(y, axis) || !dim_is_const(node->attr.slice.start.d[axis], &start) ||
        !dim_is_const(y->shape[axis], &end))
        return NULL;
    end += start;
    kept = ARENA_ARRAY(b->g->arena, (size_t)x->def->n_in, struct value *);
    for (int i = 0; i < x->def->n_in && at < end; i++, at += extent) {
        struct value *v = x->def->in[i];
        if (!dim_is_const(v->shape[axis], &extent))
            return NULL;
        int64_t from = start > at ? start - at : 0, to = end < at + extent ? end - at : extent;
        if (to <= from)
            continue;
        if (to - from < extent)
            v = build_slice_axis(b, v, axis, build_d(b, from), build_d(b, to - from));
        if (!v)
            return NULL;
        kept[n++] = v;
    }
    return n > 1 ? build_concat(b, n, kept, axis) : n == 1 ? kept[0] : NULL;
}

static struct value *simplify_view(struct builder *b, struct node *node)
{
    struct value *x = node->in[0], *y = node->out[0];
    switch (node->op) {
    case OP_reshape:
        if (x->def && x->def->op == OP_reshape)
            return build_reshape(b, x->def->in[0], y->rank, y->shape);
        return value_same_shape(x, y) ? x : NULL;
    case OP_transpose: return simplify_transpose(b, node);
    case OP_expand:
        if (value_same_shape(x, y))
            return x;
        return x->def && x->def->op == OP_expand ? build_expand(b, x->def->in[0], y->rank, y->shape)
                                                 : NULL;
    case OP_slice: return simplify_slice(b, node);
    case OP_pad:
        return all_are(&node->attr.pad.low, 0) && all_are(&node->attr.pad.high, 0) ? x : NULL;
    case OP_concat: return simplify_concat(b, node);
    default: return NULL;
    }
}

/* A sum, product, maximum or minimum over axes that hold one element each. */
static struct value *simplify_reduce(struct builder *b, struct node *node)
{
    struct value *x = node->in[0], *y = node->out[0];
    if (node->op == OP_arg_max || node->op == OP_arg_min)
        return NULL;
    for (int i = 0; i < x->rank; i++)
        if ((node->attr.reduce_sum.axes >> i & 1) && !dim_is(x->shape[i], 1))
            return NULL;
    return build_reshape(b, x, y->rank, y->shape);
}

/* One known element of a known axis: a slice, which is a view. */
static struct value *simplify_gather(struct builder *b, struct node *node)
{
    struct value *x = node->in[0], *y = node->out[0], *index = node->in[1];
    int axis = (int)node->attr.gather.axis;
    int64_t size, n;
    double at;
    if (node->op != OP_gather || !dim_is_const(x->shape[axis], &size) || size < 1 ||
        !value_elements_const(index, &n) || n != 1 || !match_uniform(index, &at))
        return NULL;
    at = at < 0 ? at + (double)size : at; /* from the end; beyond it is the last one */
    at = at < 0 ? 0 : at > (double)size - 1 ? (double)size - 1 : at;
    struct value *one = build_slice_axis(b, x, axis, build_d(b, (int64_t)at), build_d(b, 1));
    return build_reshape(b, one, y->rank, y->shape);
}

static bool simplify_graph(struct graph *g)
{
    bool changed = false;
    const char *origin = g->origin;
    for (struct node *node = g->first, *next; node; node = next) {
        struct builder b = {g, node};
        struct node *before = node->prev;
        struct value *simpler = NULL;
        next = node->next;
        g->origin = node->origin;
        switch (op_info[node->op].class) {
        case OC_SCALAR: simpler = simplify_scalar(&b, node); break;
        case OC_VIEW: simpler = simplify_view(&b, node); break;
        case OC_REDUCE: simpler = simplify_reduce(&b, node); break;
        case OC_GATHER: simpler = simplify_gather(&b, node); break;
        default: break;
        }
        if (simpler && simpler != node->out[0]) {
            value_replace_uses(g, node->out[0], simpler);
            node_remove(g, node);
            next = before ? before->next : g->first; /* what was made instead may be simpler yet */
            changed = true;
        }
    }
    g->origin = origin;
    return changed;
}

bool pass_simplify(struct graph *g)
{
    return pass_each_graph(g, simplify_graph);
}
