/*
 * Views in front of products on tensor cores that break the vectors in which these read:
 *
 *     x ─▶ columns 1 … 1024 ─▶ · w       neighbours are neighbours still, but no 8 of them lie at
 * an address that is a multiple of 16 bytes: each is loaded by itself
 *
 * A product's tiles read an operand again and again, once for each tile across, and a convolution's
 * taps as well. Where that costs more than a kernel that writes the operand out once, as its reader
 * wants it, it gets that kernel. Both costs are estimates, and are said either way.
 */
#include "fuse.h"

enum {
    VECTOR = 16, /* bytes, and the most elements that are asked about */
    DEEPEST = 24,
};

/* Neighbouring axes, of which the last is the innermost: what is counted along them as one. */
struct axes {
    int low, high;
};

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* The largest power of two up to VECTOR that surely divides d. */
static int factor(const struct fusion *f, const struct dim *d)
{
    int n = VECTOR;
    while (n > 1 && !dim_is(dim_mod(f->g->dims, d, dim_const(f->g->dims, n)), 0))
        n /= 2;
    return n;
}

static const struct dim *product_of(const struct fusion *f, const struct value *v, int low,
                                    int high)
{
    const struct dim *n = dim_const(f->g->dims, 1);
    for (int i = low; i <= high; i++)
        n = dim_mul(f->g->dims, n, v->shape[i]);
    return n;
}

/* --- Runs ------------------------------------------------------------------------------------ */
/* A run: so many elements along the axes, a power of two, from each multiple of that number on, lie
 * side by side in memory at a multiple of their size. */

static int run_of(const struct fusion *f, const struct value *v, struct axes along, int depth);

/* Of a slice of a concat in whose memory v lies. */
static int run_in_concat(const struct fusion *f, const struct value *v, const struct use *use,
                         struct axes along);

static int run_in_memory(const struct fusion *f, const struct value *v, struct axes along)
{
    const struct dim *n = dim_const(f->g->dims, 1);
    int at = along.high;
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->kernel == KERNEL_IN_PLACE)
            return run_in_concat(f, v, use, along);
    for (int i = v->rank - 1; i >= 0 && at >= along.low; i--) {
        int axis = v->layout ? v->layout->perm.axis[i] : i;
        if (axis != at && dim_is(v->shape[axis], 1))
            continue;
        if (axis != at)
            break;
        n = dim_mul(f->g->dims, n, v->shape[axis]);
        at--;
    }
    return at == along.high ? 1 : factor(f, n);
}

static int run_in_concat(const struct fusion *f, const struct value *v, const struct use *use,
                         struct axes along)
{
    const struct node *concat = use->node;
    const int axis = concat->attr.concat.axis;
    const struct dim *start = dim_const(f->g->dims, 0);
    for (int i = 0; i < use->operand; i++)
        start = dim_add(f->g->dims, start, concat->in[i]->shape[axis]);
    if (axis < along.low || axis > along.high)
        return run_in_memory(f, concat->out[0], along);
    along.low = axis;
    start = dim_mul(f->g->dims, start, product_of(f, v, axis + 1, along.high));
    int run = smaller(factor(f, start), run_in_memory(f, concat->out[0], along));
    return smaller(run, factor(f, product_of(f, v, along.low, along.high)));
}

static int run_of_reshape(const struct fusion *f, const struct node *node, struct axes along,
                          int depth)
{
    const struct value *x = node->in[0], *y = node->out[0];
    const struct dim *inner = product_of(f, y, along.high + 1, y->rank - 1);
    const struct dim *own = product_of(f, y, along.low, along.high);
    for (int b = x->rank - 1; b >= 0; b--) {
        if (dim_is(x->shape[b], 1) || product_of(f, x, b + 1, x->rank - 1) != inner)
            continue;
        for (int low = b; low >= 0; low--)
            if (product_of(f, x, low, b) == own)
                return run_of(f, x, (struct axes){low, b}, depth);
        return smaller(factor(f, own), run_of(f, x, (struct axes){b, b}, depth));
    }
    return 1;
}

static int run_of_transpose(const struct fusion *f, const struct node *node, struct axes along,
                            int depth)
{
    const int8_t *from = node->attr.transpose.perm.axis;
    int run = VECTOR;
    for (int i = along.high; i > along.low; i--)
        if (from[i - 1] != from[i] - 1) {
            along.low = i;
            run = factor(f, product_of(f, node->out[0], i, along.high));
        }
    along = (struct axes){from[along.low], from[along.high]};
    return smaller(run, run_of(f, node->in[0], along, depth));
}

static int run_of_slice(const struct fusion *f, const struct node *node, struct axes along,
                        int depth)
{
    const struct attr_slice *a = &node->attr.slice;
    const struct value *x = node->in[0], *y = node->out[0];
    int run = VECTOR;
    for (int i = along.high; i >= along.low; i--) {
        if (dim_is(a->start.d[i], 0) && dim_is(a->step.d[i], 1) && y->shape[i] == x->shape[i])
            continue;
        const struct dim *inner = product_of(f, y, i + 1, along.high);
        if (!dim_is(a->step.d[i], 1)) {
            if (i == along.high)
                return 1;
            along.low = i + 1;
            run = smaller(run, factor(f, inner));
            break;
        }
        run = smaller(run, factor(f, dim_mul(f->g->dims, a->start.d[i], inner)));
        run = smaller(run, factor(f, product_of(f, y, i, along.high)));
        along.low = i;
        break;
    }
    return smaller(run, run_of(f, x, along, depth));
}

static int run_of_expand(const struct fusion *f, const struct node *node, struct axes along,
                         int depth)
{
    const struct value *x = node->in[0], *y = node->out[0];
    int run = VECTOR;
    for (int i = along.high; i >= along.low; i--) {
        if (x->shape[i] == y->shape[i])
            continue;
        if (i == along.high)
            return VECTOR; /* one for all */
        along.low = i + 1;
        run = factor(f, product_of(f, y, i + 1, along.high));
    }
    return smaller(run, run_of(f, x, along, depth));
}

static int run_of_pad(const struct fusion *f, const struct node *node, struct axes along, int depth)
{
    const struct attr_pad *a = &node->attr.pad;
    for (int i = along.low; i <= along.high; i++)
        if (!dim_is(a->low.d[i], 0) || !dim_is(a->high.d[i], 0))
            return 1;
    return run_of(f, node->in[0], along, depth);
}

/* Rows that are gathered lie as they did. */
static int run_of_gather(const struct fusion *f, const struct node *node, struct axes along,
                         int depth)
{
    const int shift = node->in[1]->rank - 1, axis = node->attr.gather.axis;
    if (along.high < axis)
        return run_of(f, node->in[0], along, depth);
    if (along.high <= axis + shift)
        return 1;
    struct axes from = {along.low > axis + shift ? along.low : axis + shift + 1, along.high};
    int run = factor(f, product_of(f, node->out[0], from.low, from.high));
    from = (struct axes){from.low - shift, from.high - shift};
    return smaller(run, run_of(f, node->in[0], from, depth));
}

static int run_through(const struct fusion *f, const struct node *node, struct axes along,
                       int depth)
{
    int run = VECTOR;
    switch (node->op) {
    case OP_reshape: return run_of_reshape(f, node, along, depth);
    case OP_transpose: return run_of_transpose(f, node, along, depth);
    case OP_slice: return run_of_slice(f, node, along, depth);
    case OP_expand: return run_of_expand(f, node, along, depth);
    case OP_pad: return run_of_pad(f, node, along, depth);
    case OP_gather: return run_of_gather(f, node, along, depth);
    default: break;
    }
    for (int i = 0; i < node->n_in; i++)
        run = smaller(run, run_of(f, node->in[i], along, depth));
    return run;
}

/* Can the node be computed where its result is read? Others are kernels, whose results are memory.
 */
static bool may_ride(const struct node *node)
{
    switch (node->op) {
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_expand:
    case OP_pad:
    case OP_gather: return true;
    default: return fuse_is_scalar(node);
    }
}

static int run_of(const struct fusion *f, const struct value *v, struct axes along, int depth)
{
    const struct node *node = v->def;
    if (!node || node->kernel != KERNEL_UNASSIGNED || depth == 0 || !may_ride(node) ||
        (fuse_is_scalar(node) && !value_single_use(v)))
        return node && fuse_is_generator(node) ? VECTOR : run_in_memory(f, v, along);
    return run_through(f, node, along, depth - 1);
}

/* --- What reads it --------------------------------------------------------------------------- */

/* A product that reads the node's result, and how. */
struct reading {
    bool image; /* of a convolution whose windows have several taps */
    int ways;   /* one of which suffices: … */
    struct axes along[2];
    int64_t loads;         /* elements, as often as tiles read them */
    int64_t blocks, warps; /* of a block */
};

bool fuse_is_for_tensor_cores(const struct node *core)
{
    enum dtype type = core->in[0]->type;
    return type == DT_F16 || type == DT_BF16 || dtype_size(type) == 1 ||
           (type == DT_F32 && core->math != MATH_EXACT);
}

static bool is_pointwise(const struct node *conv)
{
    const struct attr_conv *a = &conv->attr.conv;
    for (int i = 2; i < conv->in[1]->rank; i++)
        if (!dim_is(conv->in[1]->shape[i], 1) || a->stride.v[i - 2] != 1 ||
            !dim_is(a->low.d[i - 2], 0) || !dim_is(a->high.d[i - 2], 0))
            return false;
    return true;
}

/* Rows and columns of a product of a convolution; how many taps meet a pixel. */
static int64_t taps_of(const struct fusion *f, const struct node *conv)
{
    const struct value *w = conv->in[1];
    int64_t taps = 1;
    for (int i = 2; i < w->rank; i++)
        taps = fuse_multiply(
            taps, fuse_rounded_up(fuse_size(f, w->shape[i]), conv->attr.conv.stride.v[i - 2]));
    return taps;
}

/* The tiles are as large as still gives each multiprocessor one. */
static void count_loads(const struct fusion *f, struct reading *r, const struct value *x,
                        int64_t batches, int64_t rows, int64_t across)
{
    enum { LARGEST = 64, LEAST = 16 };
    for (int64_t tile = LARGEST; tile >= LEAST; tile /= 2) {
        int64_t tiles = fuse_rounded_up(across, tile);
        r->blocks = fuse_multiply(fuse_multiply(batches, fuse_rounded_up(rows, tile)), tiles);
        r->loads = fuse_multiply(fuse_elements(f, x), tiles);
        r->warps = tile > LEAST ? 4 : 2;
        if (r->blocks >= FUSE_MULTIPROCESSORS)
            return;
    }
}

static bool look_at(const struct fusion *f, const struct node *core, int operand, struct reading *r)
{
    enum { FEW = 8 }; /* rows, for which products are made without tiles */
    const struct value *x = core->in[operand], *y = core->out[0];
    const int last = x->rank - 1;
    if (!fuse_is_for_tensor_cores(core) || operand > 1)
        return false;
    if (core->op == OP_matmul) {
        int64_t rows = fuse_size(f, y->shape[y->rank - 2 + operand]);
        int64_t across = fuse_size(f, y->shape[y->rank - 1 - operand]);
        *r = (struct reading){.ways = 2, .along = {{last, last}, {last - 1, last - 1}}};
        count_loads(f, r, x, fuse_elements(f, y) / fuse_multiply(rows, across), rows, across);
        return rows > FEW && across > FEW;
    }
    if (core->op != OP_conv || operand != 0 || core->attr.conv.group != 1)
        return false;
    int64_t filters = fuse_size(f, y->shape[1]);
    *r = (struct reading){.image = !is_pointwise(core), .along = {{1, 1}, {2, last}}};
    r->ways = r->image ? 1 : 2;
    count_loads(f, r, x, 1, fuse_elements(f, y) / filters, filters);
    r->loads = fuse_multiply(r->loads, taps_of(f, core));
    return true;
}

/* Nanoseconds that the loads take, `run` elements at once. A multiprocessor's warps issue an
 * instruction in so many cycles each, and all of them so many in a cycle. Of neighbours that a warp
 * loads one by one, two share a sector; of sectors it takes in four in a cycle. */
static int64_t time_of(const struct reading *r, int run)
{
    enum { WARP = 32, CYCLES = 3, SCHEDULERS = 4, LOADS_PER_CYCLE = 8 };
    /* An element's way into shared memory. A tap finds its pixel by itself, and whether there is
     * one. */
    enum { ROW_INSTRUCTIONS = 5, TAP_INSTRUCTIONS = 30 };
    int64_t busy = r->blocks < FUSE_MULTIPROCESSORS ? r->blocks : FUSE_MULTIPROCESSORS;
    int64_t each = r->loads / run / (busy > 0 ? busy : 1);
    int64_t warps = fuse_multiply(fuse_rounded_up(r->blocks, FUSE_MULTIPROCESSORS), r->warps);
    warps = warps < CYCLES * SCHEDULERS ? warps : CYCLES * SCHEDULERS;
    int64_t issued = fuse_multiply(each, (r->image ? TAP_INSTRUCTIONS : ROW_INSTRUCTIONS) * CYCLES);
    int64_t issuing = issued / WARP / (warps > 0 ? warps : 1), taking = each / LOADS_PER_CYCLE;
    return fuse_to_ns(issuing > taking ? issuing : taking);
}

/* --- The verdict ----------------------------------------------------------------------------- */

static int best_run(const struct fusion *f, const struct node *node, const struct reading *r,
                    bool written)
{
    int best = 1, most = VECTOR / (int)dtype_size(node->out[0]->type);
    for (int i = 0; i < r->ways; i++) {
        int run = written ? run_in_memory(f, node->out[0], r->along[i])
                          : run_through(f, node, r->along[i], DEEPEST);
        best = run > best ? run : best;
    }
    return smaller(best, most);
}

const char *fuse_breaks_vectors(const struct fusion *f, const struct node *node)
{
    struct arena *arena = f->g->arena;
    const struct value *y = node->out[0];
    int64_t lost = 0, size = (int64_t)dtype_size(y->type);
    const struct node *reader = NULL;
    int run = VECTOR;
    if (node->n_out != 1 || !may_ride(node) || node->op == OP_expand || size == 0 || size > 4)
        return NULL;
    for (const struct use *use = y->uses; use; use = use->next) {
        struct reading r;
        if (op_info[use->node->op].class != OC_CONTRACT || !look_at(f, use->node, use->operand, &r))
            continue;
        int as_view = best_run(f, node, &r, false), as_written = best_run(f, node, &r, true);
        if (as_view >= as_written)
            continue;
        int64_t more = time_of(&r, as_view) - time_of(&r, as_written);
        lost = more < INT64_MAX - lost ? lost + more : INT64_MAX;
        run = smaller(run, as_view);
        reader = use->node;
    }
    if (!reader)
        return NULL;
    int64_t bytes = fuse_multiply(2 * size, fuse_elements(f, y));
    int64_t kernel = FUSE_LAUNCH_NS + bytes / FUSE_BYTES_PER_NS;
    if (lost > kernel)
        return arena_printf(arena,
                            "read through it, %s loads %d bytes at once, which costs %lld ns, a "
                            "kernel that writes it out %lld ns",
                            op_info[reader->op].name, run * (int)size, (long long)lost,
                            (long long)kernel);
    graph_remark(f->g, "fuse_kernels", node,
                 "%s not written out for %s, which loads %d bytes at once through it: that costs "
                 "%lld ns, a kernel of its own %lld ns",
                 op_info[node->op].name, op_info[reader->op].name, run * (int)size, (long long)lost,
                 (long long)kernel);
    return NULL;
}
