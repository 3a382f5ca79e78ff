/* What fuse_kernels estimates: the work of nodes, how often values are computed, and kinds of
 * nodes. */
#include "fuse.h"

/* Operations a scalar op takes on a GPU, where it is not 1. */
static const unsigned char op_cost[OP_COUNT] = {
    [OP_div] = 8,        [OP_mod] = 12,      [OP_rem] = 12,      [OP_pow] = 40,
    [OP_sqrt] = 8,       [OP_rsqrt] = 8,     [OP_recip] = 8,     [OP_exp] = 12,
    [OP_log] = 16,       [OP_log1p] = 24,    [OP_expm1] = 24,    [OP_sin] = 24,
    [OP_cos] = 24,       [OP_tan] = 32,      [OP_asin] = 24,     [OP_acos] = 24,
    [OP_atan] = 24,      [OP_sinh] = 32,     [OP_cosh] = 32,     [OP_tanh] = 24,
    [OP_asinh] = 32,     [OP_acosh] = 32,    [OP_atanh] = 32,    [OP_erf] = 24,
    [OP_sigmoid] = 6,    [OP_gelu] = 16,     [OP_gelu_tanh] = 8, [OP_mish] = 10,
    [OP_hard_swish] = 2, [OP_softplus] = 32, [OP_gather] = 4,    [OP_gather_elements] = 4,
    [OP_gather_nd] = 6,  [OP_concat] = 2,    [OP_pad] = 2,       [OP_random] = 60,
};

int64_t fuse_cost_of(const struct node *node)
{
    return op_cost[node->op] ? op_cost[node->op] : 1;
}

int64_t fuse_multiply(int64_t a, int64_t b)
{
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

int64_t fuse_add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int64_t fuse_rounded_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

int64_t fuse_to_ns(int64_t cycles)
{
    return fuse_multiply(cycles, 10) / FUSE_CYCLES_PER_10_NS;
}

int64_t fuse_size(const struct fusion *f, const struct dim *d)
{
    int64_t size;
    return dim_eval(d, f->typical, &size) && size > 0 ? size : 1;
}

int64_t fuse_elements(const struct fusion *f, const struct value *v)
{
    int64_t n = 1;
    for (int i = 0; i < v->rank; i++)
        n = fuse_multiply(n, fuse_size(f, v->shape[i]));
    return n;
}

/* How often a core's kernel reads each element of its operand, about. */
int64_t fuse_core_reads(const struct fusion *f, const struct node *core, int operand)
{
    enum { TILE = 64 };
    const struct value *y = core->out[0], *other;
    int64_t reads = 1;
    switch (op_info[core->op].class) {
    case OC_ROW: return 3;
    case OC_SCAN: return 2;
    case OC_SORT: return 16;
    case OC_SELECT: return 8;
    case OC_CONTRACT:
        other = core->in[1 - operand];
        reads = fuse_elements(f, y);
        if (core->op == OP_matmul)
            reads = fuse_size(f, y->shape[operand == 0 ? y->rank - 1 : y->rank - 2]);
        else
            reads = fuse_multiply(fuse_elements(f, other), 1) / fuse_size(f, other->shape[1]);
        if (core->op == OP_conv) /* a window meets an element once in so many steps */
            for (int i = 0; i < core->attr.conv.stride.n && reads > 0; i++)
                reads /= core->attr.conv.stride.v[i] > 0 ? core->attr.conv.stride.v[i] : 1;
        if (core->op != OP_matmul && operand == 1)
            reads = fuse_elements(f, y) / fuse_size(f, y->shape[1]);
        return fuse_rounded_up(reads, TILE);
    case OC_ATTENTION:
        if (operand == 0 || operand == 3)
            return 1;
        reads = fuse_rounded_up(fuse_size(f, y->shape[2]), TILE);
        return fuse_multiply(reads, fuse_size(f, y->shape[1])) /
               fuse_size(f, core->in[operand]->shape[1]);
    case OC_WINDOW:
        reads = fuse_multiply(fuse_elements(f, y), 1);
        return fuse_add(1, reads / fuse_elements(f, core->in[0]));
    default: return 1;
    }
}

/* --- Kinds of nodes ------------------------------------------------------------------------- */

bool fuse_is_core(const struct node *node)
{
    switch (op_info[node->op].class) {
    case OC_REDUCE:
    case OC_ROW:
    case OC_CONTRACT:
    case OC_ATTENTION:
    case OC_WINDOW:
    case OC_SCAN:
    case OC_SCATTER:
    case OC_SORT:
    case OC_SELECT:
    case OC_CONTROL:
    case OC_LIST: return true;
    default: return false;
    }
}

bool fuse_is_scalar(const struct node *node)
{
    return op_info[node->op].class == OC_SCALAR;
}

/* Values of their own: always made where they are read. */
bool fuse_is_generator(const struct node *node)
{
    return node->op == OP_iota || node->op == OP_size;
}

/* Must be in memory for the graph's reader or for the host. */
bool fuse_is_wanted(const struct graph *g, const struct value *v)
{
    if (v->is_output)
        return true;
    for (int i = 0; i < g->root->n_symbols; i++)
        if (g->root->symbols[i].kind == SYMBOL_ELEMENT && g->root->symbols[i].value == v)
            return true;
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->kernel == KERNEL_IN_PLACE)
            return true;
    return false;
}
