/*
 * A convolution and the reduction over all pixels behind it, a mean or an extreme, as one kernel
 * whose tiles have all pixels of an image as their rows (contract_pool.cuh). What is saved is a
 * launch and a trip through memory. What it costs is that tiles cannot be smaller: fewer blocks
 * then share the depth, and a tile that is higher than the image multiplies nothing in its last
 * rows.
 */
#include "fuse.h"

enum {
    LEAST_PIXELS = 16, /* with fewer rows products are made one by one */
    LEAST_ROWS = 16,   /* of a tile; others have twice as many, or so again */
    MOST_ROWS = 128,
    MOST_COLUMNS = 128,
    MOST_PARTS = 8,     /* of the depth, each a block's */
    ANNOUNCE_NS = 1400, /* for which a part is waited for */
    DEPTH_BYTES = 128,  /* that a block multiplies at a time, for which it needs … */
    STEP_CYCLES = 150,  /* … so long at least */
    INTAKE = 51,        /* bytes that a multiprocessor takes in in a cycle */
};

/* The product that a convolution is. */
struct product {
    int64_t images, pixels, columns, depth_bytes;
};

static struct product product_of(const struct fusion *f, const struct node *conv)
{
    const struct value *y = conv->out[0], *w = conv->in[1];
    struct product x = {.images = fuse_size(f, y->shape[0]), .columns = fuse_size(f, y->shape[1])};
    x.pixels = fuse_elements(f, y) / x.images / x.columns;
    x.depth_bytes =
        fuse_multiply(fuse_elements(f, w) / x.columns, (int64_t)dtype_size(conv->in[0]->type));
    return x;
}

/* Nanoseconds in which blocks of so many rows take in what they multiply, with the number of
 * columns and of parts that suits best. */
static int64_t time_of_rows(const struct product *x, int64_t rows)
{
    int64_t best = INT64_MAX;
    for (int64_t columns = LEAST_ROWS; columns <= MOST_COLUMNS; columns *= 2)
        for (int64_t parts = 1; parts <= MOST_PARTS; parts++) {
            int64_t tiles =
                fuse_multiply(fuse_rounded_up(fuse_multiply(x->images, x->pixels), rows),
                              fuse_rounded_up(x->columns, columns));
            int64_t depth = fuse_rounded_up(x->depth_bytes, parts);
            int64_t taken = fuse_multiply(depth, rows + columns) / INTAKE;
            int64_t steps = fuse_multiply(fuse_rounded_up(depth, DEPTH_BYTES), STEP_CYCLES);
            int64_t waves = fuse_rounded_up(fuse_multiply(tiles, parts), FUSE_MULTIPROCESSORS);
            int64_t time = fuse_to_ns(fuse_multiply(waves, taken > steps ? taken : steps));
            time = time < INT64_MAX - ANNOUNCE_NS && parts > 1 ? time + ANNOUNCE_NS : time;
            best = time < best ? time : best;
        }
    return best;
}

/* Rows of the tile that has all pixels of an image, and of no other; 0: there is none. */
static int64_t rows_of_an_image(const struct product *x, bool alone)
{
    int64_t rows = LEAST_ROWS;
    while (rows < x->pixels)
        rows *= 2;
    return rows <= MOST_ROWS && (alone || rows == x->pixels) ? rows : 0;
}

static uint32_t axes_of(const struct node *node)
{
    return node->op == OP_reduce_sum ? node->attr.reduce_sum.axes : node->attr.reduce_max.axes;
}

/* Do blocks of tensor cores make the result, a channel from all? */
static bool is_for_tensor_cores(const struct node *conv)
{
    enum dtype type = conv->in[0]->type;
    return conv->op == OP_conv && conv->attr.conv.group == 1 && conv->in[1]->type == type &&
           (type == DT_F16 || type == DT_BF16 || (type == DT_F32 && conv->math != MATH_EXACT));
}

/* Does the kernel leave nothing but what the node reads, made by maps of the core's result alone?
 */
static bool serves_only(const struct fusion *f, int kernel, const struct node *node)
{
    const struct fused_kernel *k = &f->kernels[kernel];
    for (int i = 0; i < k->n_nodes; i++) {
        const struct node *own = k->nodes[i];
        if ((own != k->core && !fuse_is_scalar(own)) || fuse_is_wanted(f->g, own->out[0]))
            return false;
        for (const struct use *use = own->out[0]->uses; use; use = use->next)
            if (use->node->kernel != kernel && use->node != node)
                return false;
    }
    return true;
}

/* Is nothing but this reduction and what lies behind it in its kernel? */
static bool is_alone(const struct fusion *f, const struct node *node)
{
    const struct fused_kernel *k = &f->kernels[node->kernel];
    for (int i = 0; i < k->n_nodes; i++)
        if (k->nodes[i] != node && fuse_is_core(k->nodes[i]))
            return false;
    return true;
}

static bool is_float(const struct value *v)
{
    return v->type == DT_F16 || v->type == DT_BF16 || v->type == DT_F32;
}

/* All spatial axes, and no other, of an image of known size? */
static bool takes_all_pixels(const struct node *node)
{
    const struct value *x = node->in[0];
    for (int i = 2; i < x->rank; i++)
        if (!dim_is_const(x->shape[i], NULL))
            return false;
    return x->rank > 2 && axes_of(node) == (1u << x->rank) - 4;
}

/* NULL: both become one kernel. Else why not. saved: nanoseconds. */
static const char *why_apart(const struct fusion *f, const struct node *node,
                             const struct node *conv, int64_t *saved)
{
    struct arena *arena = f->g->arena;
    const struct fused_kernel *from = &f->kernels[node->kernel];
    const struct fused_kernel *into = &f->kernels[conv->kernel];
    if (!serves_only(f, conv->kernel, node) || !is_alone(f, node))
        return "something else reads what it leaves, or stands between them";
    if (!is_for_tensor_cores(conv) || !is_float(node->in[0]) || !is_float(node->out[0]))
        return "that is not done by tensor cores, or not in floats";
    if (from->n_nodes + into->n_nodes > MOST_NODES ||
        from->n_buffers + into->n_buffers > MOST_BUFFERS)
        return "the kernel has no room";
    if (!takes_all_pixels(node))
        return "it does not take all pixels of an image, or their number is not known";
    struct product x = product_of(f, conv);
    int64_t rows = rows_of_an_image(&x, dim_is(conv->out[0]->shape[0], 1));
    if (rows == 0 || x.pixels < LEAST_PIXELS)
        return arena_printf(arena, "no tile has the %lld pixels of an image just so",
                            (long long)x.pixels);
    int64_t apart = INT64_MAX, together = time_of_rows(&x, rows);
    for (int64_t any = LEAST_ROWS; any <= MOST_ROWS; any *= 2) {
        int64_t time = time_of_rows(&x, any);
        apart = time < apart ? time : apart;
    }
    int64_t trip =
        fuse_multiply(2 * (int64_t)dtype_size(node->in[0]->type), fuse_elements(f, node->in[0])) /
        FUSE_BYTES_PER_NS;
    int64_t worth = FUSE_LAUNCH_NS + trip;
    *saved = worth - (together - apart);
    if (*saved > 0)
        return NULL;
    return arena_printf(arena,
                        "in tiles of %lld rows the convolution takes %lld ns longer, a launch and "
                        "a trip to memory %lld",
                        (long long)rows, (long long)(together - apart), (long long)worth);
}

void fuse_means(struct fusion *f)
{
    for (int i = 0; i < f->n; i++) {
        struct node *node = f->kernels[i].core;
        if (f->kernels[i].n_nodes == 0 || !node ||
            (node->op != OP_reduce_sum && node->op != OP_reduce_max))
            continue;
        const struct node *def = node->in[0]->def;
        const struct node *conv = def && def->kernel >= 0 ? f->kernels[def->kernel].core : NULL;
        int64_t saved = 0;
        if (!conv || conv->op != OP_conv)
            continue;
        const char *why = why_apart(f, node, conv, &saved);
        if (why) {
            graph_remark(f->g, "fuse_kernels", node,
                         "%s kept apart from the conv in front of it: %s", op_info[node->op].name,
                         why);
            continue;
        }
        graph_remark(f->g, "fuse_kernels", node,
                     "%s made by the conv in front of it, in tiles of all pixels of an image: "
                     "saves about %lld ns",
                     op_info[node->op].name, (long long)saved);
        fusion_merge(f, conv->kernel, i);
    }
}
