/*
 * Other pools around contractions are kernels of their own: of contractions, only those hand over
 * more than results one by one, or as neighbours of a row, whose tiles have all pixels of an image
 * (fuse_means.c) or take them window by window (fuse_window_pools.c). What that costs, and what fusing
 * them by computing again would cost, is said here, from sizes.
 *
 *     conv ─▶ pool          a tile of pixels holds some rows of windows whole; what lies across
 *                           tiles would be convolved again
 *     mean ─▶ matmul        each block of the product would need all the means
 */
#include "fuse.h"

enum {
    TILE = 64,          /* pixels or columns of a tile */
    BLOCK_COLUMNS = 16, /* of a product of few rows */
    BYTE_WORK = 2,      /* operations that an SM does while it takes in a byte */
};

/* Operations of one result of a contraction. */
static int64_t depth_work(const struct fusion *f, const struct node *core)
{
    const struct value *w = core->in[1];
    int64_t depth = core->op == OP_matmul ? fuse_size(f, w->shape[w->rank - 2])
                                          : fuse_elements(f, w) / fuse_size(f, w->shape[0]);
    return fuse_multiply(2, depth);
}

/* The contraction whose kernel leaves v, or NULL. */
static const struct node *contraction_of(const struct fusion *f, const struct value *v)
{
    const struct node *core =
        v->def && v->def->kernel >= 0 ? f->kernels[v->def->kernel].core : NULL;
    return core && op_info[core->op].class == OC_CONTRACT ? core : NULL;
}

/* What a launch and v's trip through memory are worth; its writing only where nobody else reads it.
 */
static int64_t worth(const struct fusion *f, const struct value *v)
{
    int64_t trip = fuse_multiply(FUSE_MEMORY_WORK, fuse_elements(f, v));
    bool alone = value_single_use(v) && !fuse_is_wanted(f->g, v);
    return fuse_add(FUSE_LAUNCH_WORK, alone ? trip : trip / 2);
}

/* Rows of windows that lie in one tile, if tiles take the pixels in their order. */
static int64_t whole_rows(const struct fusion *f, const struct node *pool, int64_t *held)
{
    const struct value *x = pool->in[0];
    const int64_t height = pool->attr.pool_max.kernel.v[0], step = pool->attr.pool_max.stride.v[0];
    int64_t pixels = 1, tiles;
    for (int i = 3; i < x->rank; i++)
        pixels = fuse_multiply(pixels, fuse_size(f, x->shape[i]));
    *held = TILE / pixels; /* rows of pixels in a tile */
    if (*held < height || step <= 0)
        return 0;
    tiles = fuse_rounded_up(fuse_size(f, x->shape[2]), *held);
    return fuse_multiply((*held - height) / step + 1, tiles);
}

static const char *verdict(int64_t work, int64_t saved)
{
    return work > saved ? "that does not pay"
                        : "that would pay, but no form of contraction does so with such windows or "
                          "operands";
}

static void remark_pool(const struct fusion *f, const struct node *pool)
{
    const struct value *x = pool->in[0], *y = pool->out[0];
    const struct node *conv = contraction_of(f, x);
    const struct ints *kernel = &pool->attr.pool_max.kernel;
    if (!conv || x->rank < 3 || kernel->n < 1 || kernel->v[0] < 1)
        return;
    int64_t rows = fuse_size(f, y->shape[2]), window = 1, held;
    int64_t whole = whole_rows(f, pool, &held), saved = worth(f, x);
    whole = whole < rows ? whole : rows;
    for (int i = 1; i < kernel->n; i++)
        window = fuse_multiply(window, kernel->v[i]);
    /* Of the rows of a window that lies across tiles, one tile has some, and at least one. */
    int64_t had = held < 1 ? 1 : held < kernel->v[0] ? held : kernel->v[0] - 1;
    window = fuse_multiply(window, kernel->v[0] - had);
    int64_t work = fuse_multiply(fuse_elements(f, y) / rows, rows - whole);
    work = fuse_multiply(fuse_multiply(work, window), depth_work(f, conv));
    graph_remark(
        f->g, "fuse_kernels", pool,
        "%s kept apart from %s in front of it: tiles of %d pixels hold %lld of %lld rows of "
        "windows whole, to compute the rest of the others again takes %lld operations, a "
        "launch and a trip to memory are worth %lld: %s",
        op_info[pool->op].name, op_info[conv->op].name, TILE, (long long)whole, (long long)rows,
        (long long)work, (long long)saved, verdict(work, saved));
}

/* The product that reads what a kernel leaves, or NULL. */
static const struct node *product_behind(const struct fused_kernel *k)
{
    for (int i = 0; i < k->n_nodes; i++)
        for (const struct use *use = k->nodes[i]->out[0]->uses; use; use = use->next)
            if (use->node->kernel != k->nodes[i]->kernel && use->node->op == OP_matmul)
                return use->node;
    return NULL;
}

/* A sum over pixels, or another reduction of what a contraction leaves, in front of a product. */
static void remark_sum(const struct fusion *f, const struct node *sum)
{
    const struct value *x = sum->in[0];
    const struct node *conv = contraction_of(f, x);
    const struct node *product = product_behind(&f->kernels[sum->kernel]);
    int64_t bytes = fuse_multiply(fuse_elements(f, x), (int64_t)dtype_size(x->type));
    if (!conv || !product)
        return;
    int64_t columns = fuse_size(f, product->out[0]->shape[product->out[0]->rank - 1]);
    int64_t blocks = fuse_rounded_up(columns, BLOCK_COLUMNS), saved = worth(f, x);
    int64_t work = fuse_multiply(fuse_multiply(blocks, bytes), BYTE_WORK * FUSE_WAITING);
    graph_remark(f->g, "fuse_kernels", sum,
                 "%s kept apart from matmul behind it: to read its %lld bytes in each of %lld "
                 "blocks takes %lld operations, a launch and a trip to memory are worth %lld: %s",
                 op_info[sum->op].name, (long long)bytes, (long long)blocks, (long long)work,
                 (long long)saved, verdict(work, saved));
}

void fuse_remark_pools(const struct fusion *f)
{
    for (int i = 0; i < f->n; i++) {
        const struct node *core = f->kernels[i].core;
        if (!core || f->kernels[i].n_nodes == 0)
            continue;
        if (op_info[core->op].class == OC_WINDOW)
            remark_pool(f, core);
        else if (core->op == OP_reduce_sum || core->op == OP_reduce_max)
            remark_sum(f, core);
    }
}
