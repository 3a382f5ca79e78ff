/*
 * A convolution and the maxima or means of windows of its result, as one kernel: windows that
 * neither overlap nor stick out. Its tiles take the pixels window by window (contraction_result),
 * so that each has whole windows as neighbouring rows and nothing is convolved twice. What is saved
 * is a launch, and the result's trip through memory: the way back alone where others read it as
 * well.
 */
#include "fuse.h"

enum {
    WAYS = 2,          /* there and back */
    VECTOR_BYTES = 16, /* of channels: with fewer another form multiplies */
    LEAST_ROWS = 8,    /* … as with fewer pixels or filters */
};

static bool is_pool(const struct node *node)
{
    return node->op == OP_pool_max || node->op == OP_pool_mean;
}

/* Members of both kernels are numbers that maps make of others at the same pixel, but for the two
 * cores. */
static bool is_of_maps(const struct fusion *f, int kernel)
{
    const struct fused_kernel *k = &f->kernels[kernel];
    for (int i = 0; i < k->n_nodes; i++)
        if (k->nodes[i] != k->core && !fuse_is_scalar(k->nodes[i]))
            return false;
    return true;
}

/* Does a slice cut what is pooled? Its kernel stores them as vectors, which are cut one by one. */
static bool is_cut(const struct fusion *f, int kernel)
{
    const struct fused_kernel *k = &f->kernels[kernel];
    for (int i = 0; i < k->n_nodes; i++)
        if (k->nodes[i]->op == OP_slice)
            return true;
    return false;
}

static bool is_float(const struct value *v)
{
    return v->type == DT_F16 || v->type == DT_BF16 || v->type == DT_F32;
}

/* Do tiles of tensor cores, of all channels alike, make the result of an image whose channels are
 * neighbours in memory? In other images pixels are, which windows take out of their order. */
static bool suits(const struct node *conv)
{
    const struct value *x = conv->in[0];
    return conv->op == OP_conv && conv->attr.conv.group == 1 && fuse_is_for_tensor_cores(conv) &&
           conv->in[1]->type == x->type && is_float(x) && is_float(conv->out[0]) && x->layout &&
           x->layout->perm.axis[x->rank - 1] == 1;
}

/* Is there enough of everything for tiles? */
static bool fills_tiles(const struct fusion *f, const struct node *conv)
{
    const struct value *x = conv->in[0], *y = conv->out[0];
    int64_t filters = fuse_size(f, y->shape[1]), pixels = fuse_elements(f, y) / filters;
    return fuse_multiply(fuse_size(f, x->shape[1]), (int64_t)dtype_size(x->type)) >= VECTOR_BYTES &&
           filters >= LEAST_ROWS && pixels >= LEAST_ROWS;
}

/* Are windows of so many pixels all there is of images of known size, and each pixel in one? */
static bool is_whole(const struct node *pool, int64_t *pixels)
{
    const struct value *x = pool->in[0], *y = pool->out[0];
    *pixels = 1;
    for (int i = 0; i < x->rank - 2; i++) {
        int64_t size = pool->attr.pool_max.kernel.v[i], in, out;
        if (size < 1 || size > FUSE_MOST_WINDOW || pool->attr.pool_max.stride.v[i] != size ||
            pool->attr.pool_max.dilation.v[i] != 1 || !dim_is(pool->attr.pool_max.low.d[i], 0) ||
            !dim_is_const(x->shape[2 + i], &in) || !dim_is_const(y->shape[2 + i], &out) ||
            in % size != 0 || in / size != out)
            return false;
        *pixels *= size;
        if (*pixels > FUSE_MOST_WINDOW)
            return false;
    }
    return *pixels == 2 || *pixels == 4;
}

/* Does anything else read what the convolution's kernel leaves? */
static bool has_other_readers(const struct fusion *f, int kernel, const struct node *pool)
{
    const struct fused_kernel *k = &f->kernels[kernel];
    for (int i = 0; i < k->n_nodes; i++) {
        const struct value *v = k->nodes[i]->out[0];
        if (fuse_is_wanted(f->g, v))
            return true;
        for (const struct use *use = v->uses; use; use = use->next)
            if (use->node->kernel != kernel && use->node != pool)
                return true;
    }
    return false;
}

/* Does the value come from the kernel by way of others? */
static bool comes_from(struct fusion *f, const struct node *def, int kernel)
{
    if (def->kernel >= 0)
        return fusion_depends(f, def->kernel, kernel);
    for (int i = 0; i < def->n_in; i++)
        if (def->in[i]->def && def->in[i]->def->kernel == kernel)
            return true;
    return fusion_makes_cycle(f, kernel, def);
}

/* Would both as one wait for themselves, by what is done with what is pooled? */
static bool makes_cycle(struct fusion *f, int from, int into)
{
    const struct fused_kernel *k = &f->kernels[from];
    for (int i = 0; i < k->n_nodes; i++)
        for (int o = 0; o < k->nodes[i]->n_in; o++) {
            const struct node *def = k->nodes[i]->in[o]->def;
            if (def && def->kernel != from && def->kernel != into && comes_from(f, def, into))
                return true;
        }
    return false;
}

/* NULL: both become one kernel. Else why not. */
static const char *why_apart(struct fusion *f, const struct node *pool, const struct node *conv,
                             bool others)
{
    const struct fused_kernel *from = &f->kernels[pool->kernel];
    const struct fused_kernel *into = &f->kernels[conv->kernel];
    int64_t n;
    if (!is_of_maps(f, conv->kernel) || from->core != pool || is_cut(f, pool->kernel))
        return "something stands between them, or cuts what is pooled";
    if (!suits(conv) || !is_float(pool->in[0]))
        return "that is not done by tensor cores from channels that are neighbours in memory, or "
               "not in floats";
    if (!value_elements_const(conv->in[1], &n) || n == 0)
        return "its depth is not known";
    if (!fills_tiles(f, conv))
        return "so few channels, filters or pixels are no tile for tensor cores";
    if (from->n_nodes + into->n_nodes > MOST_NODES ||
        from->n_buffers + into->n_buffers > MOST_BUFFERS)
        return "the kernel has no room";
    if (others && (f->reads_back || makes_cycle(f, pool->kernel, conv->kernel)))
        return "what is done with its result waits for another reader of the convolution's";
    return NULL;
}

static void join(struct fusion *f, struct node *pool, const struct node *conv, int64_t pixels)
{
    bool others = has_other_readers(f, conv->kernel, pool);
    const char *why = why_apart(f, pool, conv, others);
    if (why) {
        graph_remark(f->g, "fuse_kernels", pool, "%s kept apart from the conv in front of it: %s",
                     op_info[pool->op].name, why);
        return;
    }
    const struct value *x = pool->in[0];
    int64_t bytes =
        fuse_multiply((others ? 1 : WAYS) * (int64_t)dtype_size(x->type), fuse_elements(f, x));
    graph_remark(f->g, "fuse_kernels", pool,
                 "%s made by the conv in front of it, which takes its pixels in windows of %lld: "
                 "saves a launch and %lld bytes, about %lld ns%s",
                 op_info[pool->op].name, (long long)pixels, (long long)bytes,
                 (long long)(FUSE_LAUNCH_NS + bytes / FUSE_BYTES_PER_NS),
                 others ? "; others read the conv's result, which is stored, too" : "");
    fusion_merge(f, conv->kernel, pool->kernel);
}

void fuse_window_pools(struct fusion *f)
{
    for (int i = 0; i < f->n; i++) {
        struct node *node = f->kernels[i].core;
        int64_t pixels;
        if (f->kernels[i].n_nodes == 0 || !node || !is_pool(node) || !is_whole(node, &pixels))
            continue;
        const struct node *def = node->in[0]->def;
        const struct node *conv = def && def->kernel >= 0 ? f->kernels[def->kernel].core : NULL;
        if (conv && conv->op == OP_conv)
            join(f, node, conv, pixels);
    }
}
