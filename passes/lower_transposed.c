/*
 * Transposed convolutions with strides, which would multiply mostly zeros, as convolutions with
 * more channels, whose pixels are then put side by side.
 *
 * With stride s, result o and tap t meet at o + low = s*i + t. Write o + low = s*j + r and
 * t = r + s*q: then i = j - q, whatever the phase r. So all s phases of pixel j are sums over the
 * same few pixels i, those of a convolution with ceil(k / s) taps, which has a channel for each
 * phase and each channel of the result:
 *
 *     u[j][r, c] = sum over q of x[j - q] * w[r + s*q]       y[s*j + r - low][c] = u[j][r, c]
 *
 * A phase that has a tap less than others gets a zero, by which an infinite pixel makes NaN.
 *
 * With kernel = stride that is a product. What stands around the convolution are views: the
 * filters' are computed with the plan, and the result is stored where it belongs.
 */
#include "passes.h"

#include "../ir/build.h"

enum { MOST_DEPTH = 8 };

struct transposed {
    struct builder b;
    struct node *node;
    int spatial;
    int64_t stride[MAX_RANK], taps[MAX_RANK]; /* of the convolution */
    const struct dim *pixels[MAX_RANK];       /* of its result */
};

/* --- What suits ------------------------------------------------------------------------------ */

static bool is_constant(const struct value *v, int depth)
{
    if (!v->def || depth == 0)
        return false;
    if (v->def->op == OP_constant)
        return true;
    bool constant = v->def->n_in > 0 && !v->def->body[0];
    for (int i = 0; i < v->def->n_in && constant; i++)
        constant = is_constant(v->def->in[i], depth - 1);
    return constant;
}

/* Sizes along one axis; false when they are not known well enough. */
static bool describe_axis(struct transposed *t, int axis)
{
    const struct attr_conv_transpose *attr = &t->node->attr.conv_transpose;
    struct dim_table *dims = t->b.g->dims;
    int64_t stride = attr->stride.v[axis], kernel, low, more;
    if (!dim_is_const(t->node->in[1]->shape[2 + axis], &kernel) || kernel < 1 || stride < 1 ||
        (attr->dilation.v[axis] != 1 && kernel != 1) || !dim_is_const(attr->low.d[axis], &low) ||
        low < 0 || kernel > INT32_MAX || stride > INT32_MAX)
        return false;
    const struct dim *end = dim_add(dims, attr->size.d[axis], attr->low.d[axis]);
    t->stride[axis] = stride;
    t->taps[axis] = (kernel + stride - 1) / stride;
    t->pixels[axis] = dim_ceildiv(dims, end, build_d(&t->b, stride));
    const struct dim *behind = dim_sub(dims, t->pixels[axis], t->node->in[0]->shape[2 + axis]);
    return dim_is_const(behind, &more) && more >= 0;
}

static bool suits(struct transposed *t, struct graph *g, struct node *node)
{
    int64_t phases = 1;
    if (node->op != OP_conv_transpose || node->attr.conv_transpose.group != 1 ||
        !dtype_is_float(node->in[0]->type) || !is_constant(node->in[1], MOST_DEPTH))
        return false;
    *t = (struct transposed){.b = {g, node}, .node = node, .spatial = node->out[0]->rank - 2};
    if (2 + 2 * t->spatial > MAX_RANK)
        return false;
    for (int i = 0; i < t->spatial; i++) {
        if (!describe_axis(t, i) || __builtin_mul_overflow(phases, t->stride[i], &phases))
            return false;
    }
    return phases > 1;
}

/* --- Filters --------------------------------------------------------------------------------- */

/* Zeros behind the taps, so that each phase has as many. */
static struct value *whole_phases(struct transposed *t, struct value *w)
{
    const struct dim *low[MAX_RANK], *high[MAX_RANK];
    bool whole = true;
    for (int i = 0; i < w->rank; i++) {
        low[i] = high[i] = build_d(&t->b, 0);
        if (i < 2)
            continue;
        high[i] =
            dim_sub(t->b.g->dims, build_d(&t->b, t->taps[i - 2] * t->stride[i - 2]), w->shape[i]);
        whole &= dim_is(high[i], 0);
    }
    return whole ? w : build_pad(&t->b, w, low, high, PAD_CONSTANT, NULL);
}

/* [C, O, (q, s)…] with q backwards: a convolution meets its taps in the other order. */
static struct value *turned(struct transposed *t, struct value *w)
{
    const struct dim *start[MAX_RANK], *step[MAX_RANK];
    for (int i = 0; i < w->rank; i++) {
        bool taps = i >= 2 && i % 2 == 0;
        start[i] = taps ? dim_sub(t->b.g->dims, w->shape[i], build_d(&t->b, 1)) : build_d(&t->b, 0);
        step[i] = build_d(&t->b, taps ? -1 : 1);
    }
    return build_slice(&t->b, w, start, step, w->shape);
}

/* [C, O, k…] as [s… * O, C, q…]. */
static struct value *filters(struct transposed *t)
{
    struct value *w = t->node->in[1];
    const struct dim *apart[MAX_RANK], *shape[MAX_RANK];
    int perm[MAX_RANK], n = t->spatial;
    apart[0] = w->shape[0];
    apart[1] = w->shape[1];
    shape[0] = w->shape[1];
    shape[1] = w->shape[0];
    for (int i = 0; i < n; i++) {
        apart[2 + 2 * i] = shape[2 + i] = build_d(&t->b, t->taps[i]);
        apart[3 + 2 * i] = build_d(&t->b, t->stride[i]);
        shape[0] = dim_mul(t->b.g->dims, shape[0], apart[3 + 2 * i]);
        perm[i] = 3 + 2 * i;
        perm[n + 2 + i] = 2 + 2 * i;
    }
    perm[n] = 1;
    perm[n + 1] = 0;
    w = whole_phases(t, w);
    w = w ? build_reshape(&t->b, w, 2 + 2 * n, apart) : NULL;
    w = w ? turned(t, w) : NULL;
    return build_reshape(&t->b, build_transpose(&t->b, w, perm), 2 + n, shape);
}

/* --- The convolution and its pixels ---------------------------------------------------------- */

static struct value *convolution(struct transposed *t)
{
    struct value *in[2] = {t->node->in[0], filters(t)};
    struct dim_table *dims = t->b.g->dims;
    union attr attr = {.conv = {.to = t->node->attr.conv_transpose.to, .group = 1}};
    int n = t->spatial;
    const struct dim **low = ARENA_ARRAY(t->b.g->arena, (size_t)n + 1, const struct dim *);
    const struct dim **high = ARENA_ARRAY(t->b.g->arena, (size_t)n + 1, const struct dim *);
    for (int i = 0; i < n; i++) {
        attr.conv.stride.v[i] = attr.conv.dilation.v[i] = 1;
        low[i] = build_d(&t->b, t->taps[i] - 1);
        high[i] = dim_sub(dims, t->pixels[i], t->node->in[0]->shape[2 + i]);
    }
    attr.conv.stride.n = attr.conv.dilation.n = n;
    attr.conv.low = (struct dims){n, low};
    attr.conv.high = (struct dims){n, high};
    return in[1] ? build_tensor(&t->b, OP_conv, 2, in, &attr) : NULL;
}

/* [N, s… * O, J…] as [N, O, (J*s)…], of which the result is cut. */
static struct value *side_by_side(struct transposed *t, struct value *u)
{
    const struct value *y = t->node->out[0];
    const struct dim *apart[MAX_RANK], *whole[MAX_RANK], *start[MAX_RANK], *step[MAX_RANK];
    int perm[MAX_RANK], n = t->spatial;
    apart[0] = whole[0] = y->shape[0];
    apart[1 + n] = whole[1] = y->shape[1];
    perm[0] = 0;
    perm[1] = 1 + n;
    for (int i = 0; i < 2 + n; i++) {
        start[i] = build_d(&t->b, 0);
        step[i] = build_d(&t->b, 1);
    }
    for (int i = 0; i < n; i++) {
        apart[1 + i] = build_d(&t->b, t->stride[i]);
        apart[2 + n + i] = t->pixels[i];
        perm[2 + 2 * i] = 2 + n + i;
        perm[3 + 2 * i] = 1 + i;
        whole[2 + i] = dim_mul(t->b.g->dims, t->pixels[i], apart[1 + i]);
        start[2 + i] = t->node->attr.conv_transpose.low.d[i];
    }
    u = build_transpose(&t->b, build_reshape(&t->b, u, 2 + 2 * n, apart), perm);
    u = build_reshape(&t->b, u, 2 + n, whole);
    return !u || value_same_shape(u, y) ? u : build_slice(&t->b, u, start, step, y->shape);
}

static bool rewrite(struct graph *g, struct node *node)
{
    struct transposed t;
    if (!suits(&t, g, node))
        return false;
    struct value *u = convolution(&t);
    if (!u)
        return false;
    u->def->math = node->math;
    struct value *y = side_by_side(&t, u);
    if (!y)
        return false;
    graph_remark(g, "lower_transposed", node,
                 "a convolution that has a channel for each phase of the stride");
    value_replace_uses(g, node->out[0], y);
    node_remove(g, node);
    return true;
}

bool pass_lower_transposed(struct graph *g)
{
    return pass_each_node(g, rewrite);
}
