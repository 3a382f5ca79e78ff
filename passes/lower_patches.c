/*
 * Convolutions of images with few channels whose windows lie side by side, as products:
 *
 *     conv(x, w), stride = kernel          x [N, C, H*kh, W*kw] seen as [N*H*W, C*kh*kw]
 *                                  ─▶      times w [O, C*kh*kw] transposed, seen as [N, O, H, W]
 *
 * The depth runs as the weights lie, and ends with a line of a window, which is contiguous in
 * memory: so patches are read in vectors, where a convolution that counts its depth by channels
 * reads them element by element. Nothing is copied: what stands around the product are views.
 *
 * What follows by channel, such as the bias, goes along in front of the views, and tokens
 * [N, H*W, O] that others make of the result are left as the product writes them.
 */
#include "passes.h"

#include "../ir/build.h"
#include "match.h"

enum {
    MOST_CHANNELS = 7, /* more make vectors of channels */
    LINE = 4,          /* elements of a window's line that are read at once */
    MOST_MAPS = 16,
};

/* A convolution that becomes a product; its result as [N, D…, O], channels last. */
struct patches {
    struct builder b;
    struct node *conv;
    int rank;
    struct value *last;
};

/* --- What suits ------------------------------------------------------------------------------ */

static bool lie_side_by_side(const struct node *conv)
{
    const struct attr_conv *attr = &conv->attr.conv;
    const struct value *w = conv->in[1];
    int64_t taps = 1;
    for (int i = 0; i < attr->stride.n; i++) {
        if (!dim_is(w->shape[2 + i], attr->stride.v[i]) || !dim_is(attr->low.d[i], 0) ||
            !dim_is(attr->high.d[i], 0) || (attr->dilation.v[i] != 1 && attr->stride.v[i] != 1))
            return false;
        if (__builtin_mul_overflow(taps, attr->stride.v[i], &taps))
            return false;
    }
    return taps > 1 && attr->stride.v[attr->stride.n - 1] % LINE == 0;
}

static bool suits(const struct node *node)
{
    int64_t channels;
    /* Windows seen apart have two axes for each of the image. */
    return node->op == OP_conv && node->attr.conv.group == 1 &&
           2 * node->out[0]->rank <= MAX_RANK && dtype_is_float(node->in[0]->type) &&
           !node->out[0]->is_output && dim_is_const(node->in[0]->shape[1], &channels) &&
           channels <= MOST_CHANNELS && lie_side_by_side(node);
}

/* --- The product ----------------------------------------------------------------------------- */

static const struct dim *product(struct builder *b, const struct dim *const *shape, int n)
{
    const struct dim *all = build_d(b, 1);
    for (int i = 0; i < n; i++)
        all = dim_mul(b->g->dims, all, shape[i]);
    return all;
}

/* The part of the image that windows cover. */
static struct value *covered(struct patches *p)
{
    struct value *x = p->conv->in[0];
    const struct ints *kernel = &p->conv->attr.conv.stride;
    for (int i = 0; i < kernel->n && x; i++) {
        const struct dim *size =
            dim_mul(p->b.g->dims, p->conv->out[0]->shape[2 + i], build_d(&p->b, kernel->v[i]));
        if (size != x->shape[2 + i])
            x = build_slice_axis(&p->b, x, 2 + i, build_d(&p->b, 0), size);
    }
    return x;
}

/* [N*D…, C*K…]: a window in each row. */
static struct value *rows_of_windows(struct patches *p)
{
    const struct value *y = p->conv->out[0], *w = p->conv->in[1];
    int spatial = p->rank - 2, n = 2;
    const struct dim *apart[MAX_RANK], *two[2];
    int perm[MAX_RANK];
    apart[0] = y->shape[0];
    apart[1] = w->shape[1];
    for (int i = 0; i < spatial; i++) {
        apart[n++] = y->shape[2 + i];
        apart[n++] = w->shape[2 + i];
    }
    perm[0] = 0;
    perm[1 + spatial] = 1;
    for (int i = 0; i < spatial; i++) {
        perm[1 + i] = 2 + 2 * i;
        perm[2 + spatial + i] = 3 + 2 * i;
    }
    two[0] = dim_mul(p->b.g->dims, y->shape[0], product(&p->b, y->shape + 2, spatial));
    two[1] = product(&p->b, w->shape + 1, p->rank - 1);
    struct value *x = build_reshape(&p->b, covered(p), n, apart);
    return build_reshape(&p->b, build_transpose(&p->b, x, perm), 2, two);
}

static struct value *columns_of_filters(struct patches *p)
{
    struct value *w = p->conv->in[1];
    const struct dim *two[2] = {w->shape[0], product(&p->b, w->shape + 1, w->rank - 1)};
    static const int perm[2] = {1, 0};
    return build_transpose(&p->b, build_reshape(&p->b, w, 2, two), perm);
}

/* --- What follows ---------------------------------------------------------------------------- */

static const int *to_last(int rank, int *perm)
{
    perm[0] = 0;
    perm[rank - 1] = 1;
    for (int i = 2; i < rank; i++)
        perm[i - 1] = i;
    return perm;
}

static const int *to_first(int rank, int *perm)
{
    perm[0] = 0;
    perm[1] = rank - 1;
    for (int i = 2; i < rank; i++)
        perm[i] = i - 1;
    return perm;
}

/* What v repeats along all axes but the channels', with the channels last; NULL: it varies. */
static struct value *by_channel(struct patches *p, struct value *v)
{
    struct value *x = v->def && v->def->op == OP_expand ? v->def->in[0] : v;
    int perm[MAX_RANK];
    if (x == v || x->rank != v->rank)
        return NULL;
    for (int i = 0; i < x->rank; i++)
        if (i != 1 && !dim_is(x->shape[i], 1))
            return NULL;
    x = build_transpose(&p->b, x, to_last(x->rank, perm));
    return x ? build_expand(&p->b, x, p->last->rank, p->last->shape) : NULL;
}

/* Computes a map on the channels' last order instead of on `first`, its transpose. */
static bool take_map(struct patches *p, struct node *node, const struct value *first)
{
    struct value *in[3];
    if (op_info[node->op].class != OC_SCALAR || node->n_in > 3)
        return false;
    p->b.before = node;
    for (int i = 0; i < node->n_in; i++) {
        in[i] = node->in[i] == first ? p->last : by_channel(p, node->in[i]);
        if (!in[i])
            return false;
    }
    struct node *map = graph_insert(p->b.g, node, node->op, node->n_in, in, &node->attr);
    if (!map)
        return false;
    p->last = map->out[0];
    return true;
}

/* [N, O, D…] to [N, O, P]: then [N, D…, O] is [N, P, O]. */
static bool take_tokens(struct patches *p, struct node *node)
{
    const struct value *x = node->in[0], *y = node->out[0];
    const struct dim *shape[3];
    if (node->op != OP_reshape || y->rank != 3 || x->rank == 3 || y->shape[0] != x->shape[0] ||
        y->shape[1] != x->shape[1])
        return false;
    shape[0] = y->shape[0];
    shape[1] = y->shape[2];
    shape[2] = y->shape[1];
    p->b.before = node;
    struct value *tokens = build_reshape(&p->b, p->last, 3, shape);
    if (!tokens)
        return false;
    p->last = tokens;
    return true;
}

static bool rewrite(struct graph *g, struct node *node)
{
    int perm[MAX_RANK], operand;
    if (!suits(node))
        return false;
    struct patches p = {.b = {g, node}, .conv = node, .rank = node->out[0]->rank};
    struct value *y = node->out[0];
    struct value *columns = columns_of_filters(&p);
    struct value *rows = build_matmul(&p.b, rows_of_windows(&p), columns, node->attr.conv.to);
    const struct dim *shape[MAX_RANK];
    to_last(p.rank, perm);
    for (int i = 0; i < p.rank; i++)
        shape[i] = y->shape[perm[i]];
    p.last = build_reshape(&p.b, rows, p.rank, shape);
    if (!p.last)
        return false;
    rows->def->math = node->math;
    for (int i = 0; i < MOST_MAPS; i++) {
        struct node *reader = match_reader(y, &operand);
        if (!reader || (!take_map(&p, reader, y) && !take_tokens(&p, reader)))
            break;
        y = reader->out[0];
    }
    if (y->is_output)
        return false; /* somebody would have to transpose it */
    struct value *first = build_transpose(&p.b, p.last, to_first(p.last->rank, perm));
    if (!first)
        return false;
    graph_remark(g, "lower_patches", node, "windows side by side: a product of patches by filters");
    value_replace_uses(g, y, first);
    return true;
}

bool pass_lower_patches(struct graph *g)
{
    if (!pass_each_node(g, rewrite))
        return false;
    pass_simplify(g);    /* transposes there and back */
    pass_remove_dead(g); /* the convolutions, and what was done behind them */
    return true;
}
