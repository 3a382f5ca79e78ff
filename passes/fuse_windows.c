/*
 * A depthwise convolution and the 1x1 convolution behind it as one kernel, whose blocks make the
 * rows that they multiply (contract_windows.cuh). Where one tile has all columns, each of those
 * results is wanted once: what is saved is a launch and a trip through memory. What it costs is
 * threads: only the blocks of the product's tiles work on them, and each does so before it
 * multiplies.
 */
#include "fuse.h"

enum {
    MOST_COLUMNS = 128, /* of the product's tiles whose warps have registers left */
    LEAST_COLUMNS = 16,
    /* With fewer rows, and less depth, products are made one by one, and so are windows. */
    LEAST_ROWS = 32,
    LEAST_DEPTH = 16,
    MOST_TAPS = 25,
    MOST_STEP = 4,
};

enum {
    BLOCK_THREADS = 128,
    ISSUE_CYCLES = 3, /* between a warp's instructions */
    SCHEDULERS = 4,
    MOST_PRODUCTS = 50, /* of a channel's strip; contract_depthwise.c has it too */
};

/* A depthwise convolution in numbers. */
struct windows {
    int64_t rows, channels, columns; /* of the product: pixels, depth, results of a pixel */
    int vector, strip;               /* channels and pixels that a thread makes */
    int64_t cost[2];                 /* a thread's instructions for one pixel and for a strip */
};

/* A known multiple of n? */
static bool is_multiple(const struct dim *d, int n)
{
    int64_t size;
    return dim_is_const(d, &size) && size % n == 0;
}

static bool is_channels_last(const struct value *v)
{
    return v->layout && v->rank >= 3 && v->layout->perm.axis[v->rank - 1] == 1;
}

static bool is_depthwise(const struct node *node)
{
    const struct value *x = node->in[0], *y = node->out[0], *w = node->in[1];
    int64_t taps = 1, n;
    if (node->op != OP_conv || y->rank > 4 || !dim_is(w->shape[1], 1) ||
        !dim_is(x->shape[1], node->attr.conv.group) || x->shape[1] != y->shape[1] ||
        node->attr.conv.group < 2)
        return false;
    for (int i = 2; i < y->rank; i++) {
        if (!dim_is_const(w->shape[i], &n) || n > MOST_TAPS ||
            node->attr.conv.stride.v[i - 2] > MOST_STEP ||
            node->attr.conv.dilation.v[i - 2] > MOST_STEP)
            return false;
        taps *= n;
    }
    return taps <= MOST_TAPS;
}

static bool is_pointwise(const struct node *node)
{
    const struct attr_conv *a = &node->attr.conv;
    const struct value *w = node->in[1];
    if (node->op != OP_conv || a->group != 1)
        return false;
    for (int i = 2; i < w->rank; i++)
        if (!dim_is(w->shape[i], 1) || a->stride.v[i - 2] != 1 || !dim_is(a->low.d[i - 2], 0) ||
            !dim_is(a->high.d[i - 2], 0))
            return false;
    return true;
}

/* The 1x1 convolution that reads v, as it is or behind maps. */
static struct node *pointwise_behind(const struct value *v, int depth)
{
    for (const struct use *use = v->uses; use; use = use->next) {
        if (is_pointwise(use->node) && use->operand == 0)
            return use->node;
        struct node *found = fuse_is_scalar(use->node) && depth > 0
                                 ? pointwise_behind(use->node->out[0], depth - 1)
                                 : NULL;
        if (found)
            return found;
    }
    return NULL;
}

/* Does the kernel leave nothing but the product's left operand, made by maps, for the product only?
 */
static bool serves_only(const struct fusion *f, int kernel, const struct node *product)
{
    const struct fused_kernel *k = &f->kernels[kernel];
    for (int i = 0; i < k->n_nodes; i++) {
        const struct node *node = k->nodes[i];
        if ((node != k->core && !fuse_is_scalar(node)) || fuse_is_wanted(f->g, node->out[0]))
            return false;
        for (const struct use *use = node->out[0]->uses; use; use = use->next)
            if (use->node->kernel != kernel && (use->node != product || use->operand != 0))
                return false;
    }
    return product->in[0]->def && product->in[0]->def->kernel == kernel;
}

/* A kernel's result that lies in memory by itself, its channels as whole vectors. */
static bool is_stored_in_vectors(const struct value *x)
{
    bool stored = x->def && x->def->kernel >= 0;
    for (const struct use *use = x->uses; use; use = use->next)
        stored &= use->node->kernel != KERNEL_IN_PLACE;
    return stored && is_channels_last(x) && is_multiple(x->shape[1], 8);
}

static bool is_for_tensor_cores(const struct node *product)
{
    enum dtype type = product->in[0]->type;
    return product->in[1]->type == type &&
           (type == DT_F16 || type == DT_BF16 || (type == DT_F32 && product->math != MATH_EXACT));
}

/* Instructions of a thread for a strip: loads, with their addresses, guards and conversions, of
 * pixels and taps, and sums. */
static int64_t strip_cost(const struct fusion *f, const struct node *node, int strip)
{
    enum { LOAD = 12, PRODUCT = 8 };
    const struct value *w = node->in[1];
    int64_t rows = w->rank == 4 ? fuse_size(f, w->shape[2]) : 1;
    int64_t columns = fuse_size(f, w->shape[w->rank - 1]);
    int64_t span = (strip - 1) * node->attr.conv.stride.v[w->rank - 3] +
                   (columns - 1) * node->attr.conv.dilation.v[w->rank - 3] + 1;
    return rows * (span * LOAD + columns * LOAD + columns * strip * PRODUCT);
}

static struct windows windows_of(const struct fusion *f, const struct node *node,
                                 const struct node *product)
{
    const struct value *y = node->out[0];
    struct windows x = {.channels = fuse_size(f, y->shape[1]),
                        .columns = fuse_size(f, product->out[0]->shape[1]),
                        .vector = (int)(16 / dtype_size(y->type)),
                        .strip = 4};
    x.rows = fuse_elements(f, y) / x.channels;
    int64_t taps = fuse_elements(f, node->in[1]) / x.channels;
    while (taps * x.strip > MOST_PRODUCTS && x.strip > 2)
        x.strip /= 2;
    while (!is_multiple(y->shape[y->rank - 1], x.strip) && x.strip > 1)
        x.strip /= 2;
    x.cost[0] = strip_cost(f, node, 1);
    x.cost[1] = strip_cost(f, node, x.strip);
    return x;
}

/* Time in which a kernel of its own makes the results. */
static int64_t time_apart(const struct windows *x)
{
    int64_t strips = fuse_multiply(x->rows / x->strip, x->channels / x->vector);
    int64_t issued = fuse_multiply(strips / 32, x->cost[1]) / (FUSE_MULTIPROCESSORS * SCHEDULERS);
    int64_t alone = ISSUE_CYCLES * x->cost[0];
    return fuse_to_ns(issued > alone ? issued : alone);
}

/* Time in which the product's blocks do, with the tile that suits best. */
static int64_t time_together(const struct windows *x, int64_t *blocks)
{
    int64_t best = INT64_MAX;
    for (int tile = x->columns <= 64 ? 16 : 32; tile <= 64; tile *= 2) {
        int64_t n = fuse_rounded_up(x->rows, tile),
                waves = fuse_rounded_up(n, FUSE_MULTIPROCESSORS);
        int64_t strips = fuse_multiply(tile / x->strip, x->channels / x->vector);
        int64_t each = fuse_multiply(fuse_rounded_up(strips, BLOCK_THREADS), x->cost[1]);
        int64_t time = fuse_to_ns(fuse_multiply(each, waves > ISSUE_CYCLES ? waves : ISSUE_CYCLES));
        if (time < best) {
            best = time;
            *blocks = n;
        }
    }
    return best;
}

/* NULL: both become one kernel. Else why not. saved: nanoseconds. */
static const char *why_apart(const struct fusion *f, const struct node *node,
                             const struct node *product, int64_t *saved)
{
    struct arena *arena = f->g->arena;
    const struct value *y = node->out[0];
    const struct fused_kernel *from = &f->kernels[node->kernel];
    const struct fused_kernel *into = &f->kernels[product->kernel];
    if (!serves_only(f, node->kernel, product))
        return "something else reads what it leaves, or stands between them";
    if (!is_for_tensor_cores(product))
        return "that is not done by tensor cores";
    if (!is_stored_in_vectors(node->in[0]) ||
        (y->type != DT_F16 && y->type != DT_BF16 && y->type != DT_F32))
        return "what it reads does not lie in memory as whole vectors of channels";
    if (from->n_nodes + into->n_nodes > MOST_NODES ||
        from->n_buffers + into->n_buffers > MOST_BUFFERS)
        return "the kernel has no room";
    struct windows x = windows_of(f, node, product);
    if (x.columns > MOST_COLUMNS || x.columns < LEAST_COLUMNS)
        return arena_printf(arena, "no tile has just its %lld columns", (long long)x.columns);
    if (x.rows < LEAST_ROWS || x.channels < LEAST_DEPTH)
        return arena_printf(arena, "%lld pixels of %lld channels are no tile for tensor cores",
                            (long long)x.rows, (long long)x.channels);
    int64_t blocks = 0, together = time_together(&x, &blocks), apart = time_apart(&x);
    int64_t bytes = fuse_multiply(2 * (int64_t)dtype_size(y->type), fuse_elements(f, y));
    *saved = FUSE_LAUNCH_NS + bytes / FUSE_BYTES_PER_NS + apart - together;
    if (*saved > 0)
        return NULL;
    return arena_printf(
        arena,
        "made by the product's %lld blocks its results take %lld ns, in a kernel of its "
        "own %lld ns, its launch and %lld bytes %lld ns",
        (long long)blocks, (long long)together, (long long)apart, (long long)bytes,
        (long long)(FUSE_LAUNCH_NS + bytes / FUSE_BYTES_PER_NS));
}

/* Says why the convolution in front of the depthwise one does not join them too: windows of
 * neighbouring tiles overlap, and what lies under both would be made by both. */
static void tell_of_halo(const struct fusion *f, const struct node *node)
{
    enum { TILE = 8 }; /* pixels along an axis: the squarest tile of 64 rows */
    const struct value *x = node->in[0], *w = node->in[1];
    const struct node *expansion = f->kernels[x->def->kernel].core;
    int64_t under = 1, own = 1;
    if (!expansion || !is_pointwise(expansion) || expansion->out[0]->rank != x->rank)
        return;
    for (int i = 2; i < w->rank; i++) {
        int64_t stride = node->attr.conv.stride.v[i - 2];
        under *= (TILE - 1) * stride +
                 (fuse_size(f, w->shape[i]) - 1) * node->attr.conv.dilation.v[i - 2] + 1;
        own *= TILE * stride;
    }
    int64_t percent = 100 * under / own - 100;
    int64_t products = fuse_multiply(fuse_elements(f, x), fuse_size(f, expansion->in[1]->shape[1]));
    graph_remark(
        f->g, "fuse_kernels", expansion,
        "1x1 conv kept apart from the depthwise conv behind it: tiles of 8x8 pixels would make "
        "%lld %% of its results again, %lld products more, to save %d ns and %lld bytes",
        (long long)percent, (long long)(fuse_multiply(products, percent) / 100), FUSE_LAUNCH_NS,
        (long long)fuse_multiply(2 * (int64_t)dtype_size(x->type), fuse_elements(f, x)));
}

void fuse_windows(struct fusion *f)
{
    enum { MOST_MAPS = 16 };
    for (int i = 0; i < f->n; i++) {
        struct node *node = f->kernels[i].core;
        struct node *product = f->kernels[i].n_nodes > 0 && node && is_depthwise(node)
                                   ? pointwise_behind(node->out[0], MOST_MAPS)
                                   : NULL;
        int64_t saved = 0;
        if (!product || product->kernel < 0)
            continue;
        const char *why = why_apart(f, node, product, &saved);
        if (why) {
            graph_remark(f->g, "fuse_kernels", node,
                         "depthwise conv kept apart from the 1x1 conv behind it: %s", why);
            continue;
        }
        graph_remark(
            f->g, "fuse_kernels", node,
            "depthwise conv made by the 1x1 conv behind it, in tiles of all columns: saves "
            "about %lld ns",
            (long long)saved);
        tell_of_halo(f, node);
        fusion_merge(f, product->kernel, i);
    }
}
