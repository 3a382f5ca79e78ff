/* Bytes, operations and time of a kernel. */
#include "estimate.h"
#include "cost.h"
#include "emit.h"

#include <string.h>

const char *const unit_names[UNIT_COUNT] = {"fp32",       "fp64",      "tensor tf32",
                                            "tensor f16", "tensor i8", "tensor f8"};
const char *const bound_names[BOUND_COUNT] = {"bandwidth", "tensor", "arithmetic", "latency"};

/*
 * What does not depend on size, in nanoseconds: the gap between two kernels of a CUDA graph, the
 * way of the first data from memory, and the time until the last result can be seen.
 */
enum { GAP = 1500, FIRST_DATA = 500, LAST_RESULT = 350 };

/* Of the bytes that an SM could take in by its clock, 64 a cycle, and of memory's peak. */
enum { BYTES_PER_CYCLE = 64, INTAKE_PERCENT = 80, MEMORY_PERCENT = 92 };

/* Sums and products of these cannot overflow where they are used. */
static int64_t at_most(int64_t value)
{
    const int64_t limit = INT64_C(1) << 60;
    return value < limit ? value : limit;
}

static int64_t times(int64_t a, int64_t b)
{
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? at_most(INT64_MAX) : at_most(product);
}

static int64_t plus(int64_t a, int64_t b)
{
    return at_most(a + b);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static int64_t elements(const struct graph *g, const struct value *v)
{
    int64_t n = 1;
    for (int i = 0; i < v->rank; i++)
        n = dim_is(v->shape[i], 0) ? 0 : times(n, cost_guess(g, v->shape[i]));
    return n;
}

int64_t estimate_bytes(const struct graph *g, const struct value *v)
{
    return times(elements(g, v), (int64_t)dtype_size(v->type));
}

static bool is_in(const struct group *group, const struct node *node)
{
    for (int i = 0; i < group->n_nodes; i++)
        if (group->nodes[i] == node)
            return true;
    return false;
}

/* Elements of the image that a convolution's taps meet. A pixel that none meets is passed over only
 * where its channels are neighbours: otherwise it shares sectors with those that are met. */
static int64_t pixels_met(const struct graph *g, const struct node *conv)
{
    const struct value *x = conv->in[0], *w = conv->in[1], *y = conv->out[0];
    bool apart = x->layout && x->layout->perm.axis[x->rank - 1] == 1;
    int64_t n = times(cost_guess(g, x->shape[0]), cost_guess(g, x->shape[1]));
    for (int i = 2; i < x->rank; i++) {
        int64_t all = cost_guess(g, x->shape[i]);
        int64_t met = times(cost_guess(g, y->shape[i]), cost_guess(g, w->shape[i]));
        n = times(n, apart && met < all ? met : all);
    }
    return n;
}

/* Elements of its first operand that the node takes. */
static int64_t elements_taken(const struct graph *g, const struct node *node)
{
    switch (node->op) {
    case OP_gather:
    case OP_gather_elements:
    case OP_gather_nd:
    case OP_slice: return elements(g, node->out[0]);
    case OP_conv: return pixels_met(g, node);
    default: return elements(g, node->in[0]);
    }
}

/* Bytes of v that a kernel of the group reads. */
static int64_t bytes_read(const struct graph *g, const struct group *group, const struct value *v)
{
    int64_t all = estimate_bytes(g, v), some = 0;
    for (const struct use *use = v->uses; use; use = use->next) {
        if (!is_in(group, use->node))
            continue;
        int64_t taken = use->operand == 0 ? elements_taken(g, use->node) : elements(g, v);
        some = plus(some, times(taken, (int64_t)dtype_size(v->type)));
    }
    return some && some < all ? some
                              : all; /* no use in it: what another kernel of the group left */
}

/* ---- arithmetic ----------------------------------------------------------------------------- */

/* Products of a contraction, or of attention. */
static int64_t products(const struct graph *g, const struct node *node)
{
    const struct value *a = node->in[0], *w = node->in[1], *y = node->out[0];
    if (node->op == OP_matmul)
        return times(elements(g, y), cost_guess(g, a->shape[a->rank - 1]));
    if (node->op == OP_attention) { /* of queries and keys, and of weights and values */
        int64_t keys = cost_guess(g, w->shape[2]);
        return times(keys, plus(elements(g, a), elements(g, y)));
    }
    int64_t filter = elements(g, w) / cost_guess(g, w->shape[0]);
    if (node->op == OP_conv)
        return times(elements(g, y), filter);
    return times(elements(g, a), filter); /* conv_transpose: w is [C, M/group, …] */
}

static enum unit unit_of(const struct node *node, bool tensor)
{
    enum dtype type = node->in[0]->type;
    if (type == DT_F64)
        return UNIT_FP64;
    if (!tensor)
        return UNIT_FP32;
    switch (type) {
    case DT_F16:
    case DT_BF16: return UNIT_HALF;
    case DT_I8:
    case DT_U8: return UNIT_I8;
    case DT_F8E4M3FN:
    case DT_F8E5M2: return UNIT_F8;
    default: return UNIT_TF32;
    }
}

static void add_contraction(struct estimate *e, const struct graph *g, const struct node *node,
                            bool tensor)
{
    int64_t parts = node->math == MATH_F32X3 && tensor ? 3 : 1;
    enum unit unit = unit_of(node, tensor);
    e->operations[unit] = plus(e->operations[unit], times(2 * parts, products(g, node)));
}

static int64_t window_elements(const struct node *node)
{
    const struct ints *kernel = &node->attr.pool_max.kernel;
    int64_t n = 1;
    for (int i = 0; i < kernel->n; i++)
        n = times(n, kernel->v[i]);
    return n;
}

/* Operations of what is no contraction, of which none runs on tensor cores. */
static int64_t operations(const struct graph *g, const struct node *node)
{
    enum { ROW_PASSES = 8, SORT_PASSES = 32 };
    switch (op_info[node->op].class) {
    case OC_SCALAR: return elements(g, node->out[0]);
    case OC_REDUCE:
    case OC_SCAN: return elements(g, node->in[0]);
    case OC_ROW: return times(ROW_PASSES, elements(g, node->in[0]));
    case OC_WINDOW: return times(elements(g, node->out[0]), window_elements(node));
    case OC_SORT:
    case OC_SELECT: return times(SORT_PASSES, elements(g, node->in[0]));
    case OC_SCATTER: return elements(g, node->in[2]);
    default: return 0;
    }
}

static void add_operations(struct estimate *e, const struct graph *g, const struct kernel *kernel)
{
    bool tensor = strstr(kernel->source, "mma.sync") != NULL;
    for (int i = 0; i < kernel->group->n_nodes; i++) {
        const struct node *node = kernel->group->nodes[i];
        if (op_info[node->op].class == OC_CONTRACT || node->op == OP_attention) {
            add_contraction(e, g, node, tensor && node == kernel->group->core);
            continue;
        }
        bool wide = node->n_out > 0 && node->out[0]->type == DT_F64;
        enum unit unit = wide ? UNIT_FP64 : UNIT_FP32;
        e->operations[unit] = plus(e->operations[unit], operations(g, node));
    }
}

/* ---- time ----------------------------------------------------------------------------------- */

static int64_t rate(const struct peak *peak, enum unit unit)
{
    const int rates[UNIT_COUNT] = {peak->fp32, peak->fp64, peak->tf32,
                                   peak->half, peak->i8,   peak->f8};
    return rates[unit] ? rates[unit] : peak->fp32;
}

/* So much longer it takes than if the work were spread evenly over all SMs: of 1000. */
static int64_t spread(const struct target *target, int64_t blocks)
{
    int64_t sms = target->multiprocessors;
    return blocks > 0 ? ceil_div(blocks, sms) * sms * 1000 / blocks : 1000;
}

static void set_time(struct estimate *e, const struct target *target)
{
    const struct peak *peak = &target->peak;
    int64_t bytes = plus(e->bytes_read, e->bytes_written);
    int64_t sms = e->blocks < target->multiprocessors ? e->blocks : target->multiprocessors;
    int64_t intake = (sms > 0 ? sms : 1) * BYTES_PER_CYCLE * peak->clock / 1000 * INTAKE_PERCENT;
    int64_t memory = (int64_t)peak->bandwidth * MEMORY_PERCENT;
    int64_t bandwidth = intake < memory ? intake : memory; /* GB/s times 100 */
    int64_t time[BOUND_COUNT] = {0};
    time[BOUND_BANDWIDTH] = times(bytes, 100) / bandwidth;
    for (int unit = 0; unit < UNIT_COUNT; unit++) {
        enum bound bound = unit == UNIT_FP32 || unit == UNIT_FP64 ? BOUND_ARITHMETIC : BOUND_TENSOR;
        int64_t even = times(e->operations[unit], 1000) / rate(peak, (enum unit)unit);
        time[bound] = plus(time[bound], times(even, spread(target, e->blocks)) / 1000000);
    }
    time[BOUND_LATENCY] = GAP + FIRST_DATA + LAST_RESULT;
    e->bound = BOUND_LATENCY;
    int64_t work = 0;
    for (int i = 0; i < BOUND_COUNT; i++) {
        if (time[i] > time[e->bound])
            e->bound = (enum bound)i;
        if (i != BOUND_LATENCY && time[i] > work)
            work = time[i];
    }
    e->nanoseconds = plus(work, time[BOUND_LATENCY]);
}

/* What the blocks of a split kernel leave for the last of them, which counts them in a buffer that
 * is zero between launches, and reads it all. */
static int64_t bytes_of_parts(const struct graph *g, const struct kernel *kernel)
{
    bool counts = false;
    int64_t parts = 0;
    for (int i = 0; i < kernel->n_writes; i++) {
        const struct value *v = kernel->writes[i];
        bool result = false;
        for (int k = 0; v->def && k < v->def->n_out; k++)
            result |= v->def->out[k] == v;
        counts |= v->zeroed;
        parts = plus(parts, result ? 0 : estimate_bytes(g, v));
    }
    return counts ? parts : 0;
}

struct estimate estimate_kernel(const struct graph *g, const struct target *target,
                                const struct kernel *kernel)
{
    struct estimate e = {.blocks = 1};
    for (int i = 0; i < 3; i++)
        if (kernel->grid[i])
            e.blocks = times(e.blocks, cost_guess(g, kernel->grid[i]));
    for (int i = 0; i < kernel->n_reads; i++)
        e.bytes_read = plus(e.bytes_read, bytes_read(g, kernel->group, kernel->reads[i]));
    for (int i = 0; i < kernel->n_writes; i++)
        e.bytes_written = plus(e.bytes_written, estimate_bytes(g, kernel->writes[i]));
    e.bytes_read = plus(e.bytes_read, bytes_of_parts(g, kernel));
    add_operations(&e, g, kernel);
    set_time(&e, target);
    return e;
}

struct estimate estimate_move(const struct target *target, int64_t read, int64_t written)
{
    struct estimate e = {
        .bytes_read = read, .bytes_written = written, .blocks = target->multiprocessors};
    set_time(&e, target);
    return e;
}
