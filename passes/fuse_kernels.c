/*
 * Assigns every node to a kernel. A kernel is a core (a reduction, contraction, …: at most one)
 * with what surrounds it, or a map: scalar maps, views and gathers alone. A node of control flow is
 * a kernel by itself: what it reads lies in memory. The kernels of its bodies are numbered by
 * themselves.
 *
 * 1. What depends on constants alone is computed while the plan is written (KERNEL_CONSTANT).
 * 2. Every core gets a kernel. From the last core to the first, it takes the scalar maps behind it
 *    (its epilogue) as long as they stay in its index space.
 * 3. The rest is visited backwards: a node goes into the kernels that read it, as a copy in each
 *    (their prologue), where that is cheaper than a launch and a trip through memory; otherwise it
 *    becomes the result of a map kernel, joining one that reads it if that can be.
 * 4. Kernels are numbered in an order in which they can run.
 *
 * A prologue can make no cycle: it only moves work to its reader. An epilogue or a joined map can,
 * so each is checked by a search backwards through whole kernels.
 */
#include "fuse.h"

#include <string.h>

#include "../ir/eval.h"

enum {
    MOST_BUFFERS = 200,    /* in one kernel: parameters take 8 of 4096 bytes each */
    MOST_READERS = 16,     /* kernels that get a copy of a node */
    TYPICAL_SIZE = 32,     /* what a free dim is taken for in estimates */
    LAUNCH_WORK = 1 << 26, /* operations that a launch's latency is worth */
    MEMORY_WORK = 64,      /* operations that writing and reading an element is worth */
};

/* What the pass knows of a value that a kernel computes; value->data points to it. */
struct note {
    int space;           /* epilogue: which index space, see find_space; map: 0 when the value
                            is computed at the kernel's own index, else -1 */
    int64_t evaluations; /* estimate: how many elements its kernel computes, repeats counted */
};

/* Index spaces behind one core: the core's own, and what views make of others. */
struct space {
    int parent;
    const struct node *view;
};
struct spaces {
    int n;
    struct space at[MOST_NODES];
};

/* --- Costs ---------------------------------------------------------------------------------- */

/* Operations a scalar op takes on a GPU, where it is not 1. */
static const unsigned char op_cost[OP_COUNT] = {
    [OP_div] = 8,       [OP_mod] = 12,      [OP_rem] = 12,   [OP_pow] = 40,
    [OP_sqrt] = 8,      [OP_rsqrt] = 8,     [OP_recip] = 8,  [OP_exp] = 12,
    [OP_log] = 16,      [OP_log1p] = 24,    [OP_expm1] = 24, [OP_sin] = 24,
    [OP_cos] = 24,      [OP_tan] = 32,      [OP_asin] = 24,  [OP_acos] = 24,
    [OP_atan] = 24,     [OP_sinh] = 32,     [OP_cosh] = 32,  [OP_tanh] = 24,
    [OP_asinh] = 32,    [OP_acosh] = 32,    [OP_atanh] = 32, [OP_erf] = 24,
    [OP_sigmoid] = 20,  [OP_softplus] = 32, [OP_gather] = 4, [OP_gather_elements] = 4,
    [OP_gather_nd] = 6, [OP_concat] = 2,    [OP_pad] = 2,    [OP_random] = 60,
};

static int64_t cost_of(const struct node *node)
{
    return op_cost[node->op] ? op_cost[node->op] : 1;
}

static int64_t saturating_mul(int64_t a, int64_t b)
{
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static int64_t size_estimate(const struct fusion *f, const struct dim *d)
{
    int64_t size;
    return dim_eval(d, f->typical, &size) && size > 0 ? size : 1;
}

static int64_t elements_estimate(const struct fusion *f, const struct value *v)
{
    int64_t n = 1;
    for (int i = 0; i < v->rank; i++)
        n = saturating_mul(n, size_estimate(f, v->shape[i]));
    return n;
}

/* How often a core's kernel reads each element of its operand, about. */
static int64_t core_reads(const struct fusion *f, const struct node *core, int operand)
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
        reads = elements_estimate(f, y);
        if (core->op == OP_matmul)
            reads = size_estimate(f, y->shape[operand == 0 ? y->rank - 1 : y->rank - 2]);
        else
            reads =
                saturating_mul(elements_estimate(f, other), 1) / size_estimate(f, other->shape[1]);
        if (core->op != OP_matmul && operand == 1)
            reads = elements_estimate(f, y) / size_estimate(f, y->shape[1]);
        return (reads + TILE - 1) / TILE;
    case OC_WINDOW:
        reads = saturating_mul(elements_estimate(f, y), 1);
        return 1 + reads / elements_estimate(f, core->in[0]);
    default: return 1;
    }
}

/* --- Kinds of nodes ------------------------------------------------------------------------- */

static bool is_core(const struct node *node)
{
    switch (op_info[node->op].class) {
    case OC_REDUCE:
    case OC_ROW:
    case OC_CONTRACT:
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

static bool is_scalar(const struct node *node)
{
    return op_info[node->op].class == OC_SCALAR;
}

/* Values of their own: always made where they are read. */
static bool is_generator(const struct node *node)
{
    return node->op == OP_iota || node->op == OP_size;
}

/* Must be in memory for the graph's reader or for the host. */
static bool is_wanted(const struct graph *g, const struct value *v)
{
    if (v->is_output)
        return true;
    for (int i = 0; i < g->root->n_symbols; i++)
        if (g->root->symbols[i].kind == SYMBOL_ELEMENT && g->root->symbols[i].value == v)
            return true;
    return false;
}

/*
 * Elements of the constants that v is made of, 0 when it is made of anything else. An expand of a
 * constant adds none: where a kernel reads it, it stays a view; where it only serves to compute
 * another constant, it is evaluated with that.
 */
static int64_t constant_elements(const struct value *v)
{
    int64_t n;
    if (!v->def || !value_elements_const(v, &n))
        return 0;
    if (v->def->kernel == KERNEL_CONSTANT)
        return n > 0 ? n : 1;
    return v->def->op == OP_expand ? constant_elements(v->def->in[0]) : 0;
}

/* Known when the plan is written, and not larger for it than what it is made of. */
static bool depends_on_constants(const struct node *node)
{
    int64_t n, in = 0, out = 0;
    if (node->op == OP_constant)
        return true;
    if (node->n_in == 0 || node->body[0] || !eval_is_portable(node) || !pass_knows_attributes(node))
        return false;
    for (int i = 0; i < node->n_in; i++) {
        n = constant_elements(node->in[i]);
        if (n == 0)
            return false;
        in += n;
    }
    for (int i = 0; i < node->n_out; i++) {
        if (!value_elements_const(node->out[i], &n))
            return false;
        out += n;
    }
    return out <= in;
}

/* Gives the constants that read `expand` a copy that is evaluated with them. */
static void expand_for_constants(struct graph *g, struct node *expand)
{
    struct node *copy = NULL;
    for (struct use *use = expand->out[0]->uses, *next; use; use = next) {
        next = use->next;
        if (use->node->kernel != KERNEL_CONSTANT)
            continue;
        if (!copy) {
            copy = node_clone(g, expand, expand);
            copy->kernel = KERNEL_CONSTANT;
        }
        node_set_operand(g, use->node, use->operand, copy->out[0]);
    }
}

/* --- Epilogues ------------------------------------------------------------------------------ */

static bool has_room(const struct fusion *f, int kernel, const struct node *node)
{
    const struct fused_kernel *k = &f->kernels[kernel];
    return k->n_nodes < MOST_NODES && k->n_buffers + node->n_in + node->n_out <= MOST_BUFFERS;
}

static struct note *note_of(const struct value *v)
{
    return v->data;
}

static void note_results(struct fusion *f, struct node *node, int space, int64_t evaluations)
{
    for (int i = 0; i < node->n_out; i++) {
        struct note *note = ARENA_NEW(f->g->arena, struct note);
        *note = (struct note){space, evaluations};
        node->out[i]->data = note;
    }
}

static bool same_view(const struct node *a, const struct node *b)
{
    if (a->op != b->op || !value_same_shape(a->out[0], b->out[0]))
        return false;
    return a->op == OP_reshape ||
           memcmp(&a->attr.transpose.perm, &b->attr.transpose.perm, sizeof(struct perm)) == 0;
}

/* The index space that a view makes of another one: equal chains of views lead to the same. */
static int find_space(struct spaces *s, int parent, const struct node *view)
{
    for (int i = 1; i < s->n; i++)
        if (s->at[i].parent == parent && same_view(s->at[i].view, view))
            return i;
    s->at[s->n] = (struct space){parent, view};
    return s->n++;
}

/* Which space the node's result would have behind kernel k's core; -1: it cannot be there. */
static int space_behind(const struct node *node, int kernel, struct spaces *spaces)
{
    int space = -1;
    for (int i = 0; i < node->n_in; i++) {
        const struct value *x = node->in[i];
        if (!x->def || x->def->kernel != kernel)
            continue;
        if (!note_of(x) || (space >= 0 && note_of(x)->space != space))
            return -1;
        space = note_of(x)->space;
    }
    if (space < 0 || is_scalar(node))
        return space;
    if (node->op == OP_reshape)
        return find_space(spaces, space, node);
    if (node->op == OP_transpose) { /* where rows stay whole */
        const struct perm *perm = &node->attr.transpose.perm;
        if (perm->n > 0 && perm->axis[perm->n - 1] == perm->n - 1)
            return find_space(spaces, space, node);
    }
    return -1;
}

/* Is the value, or what it is a view of, written to memory by this kernel anyway? */
static bool is_stored(const struct fusion *f, const struct value *v, int kernel)
{
    for (;; v = v->def->in[0]) {
        if (!v->def || v->def->kernel != kernel)
            return false; /* no result of this kernel */
        if (is_wanted(f->g, v))
            return true;
        for (const struct use *use = v->uses; use; use = use->next)
            if (use->node->kernel != kernel)
                return true;
        if (v->def == f->kernels[kernel].core || is_scalar(v->def))
            return false;
    }
}

/* A view at the end of the epilogue stays only where it saves something: its operand is not stored
 * too, or its result must be in memory anyway. */
static void drop_last_views(struct fusion *f, int kernel)
{
    struct fused_kernel *k = &f->kernels[kernel];
    while (k->n_nodes > 1) {
        struct node *node = k->nodes[k->n_nodes - 1];
        bool stored = is_stored(f, node->in[0], kernel), read = false;
        for (const struct use *use = node->out[0]->uses; use; use = use->next)
            read |= use->node->kernel == kernel;
        if (is_scalar(node) || !stored || read || is_wanted(f->g, node->out[0]))
            return;
        node->kernel = KERNEL_UNASSIGNED;
        node->out[0]->data = NULL;
        k->n_buffers -= node->n_in + node->n_out;
        k->n_nodes--;
    }
}

static void take_epilogue(struct fusion *f, int kernel)
{
    struct fused_kernel *k = &f->kernels[kernel];
    struct spaces spaces = {.n = 1};
    note_results(f, k->core, 0, elements_estimate(f, k->core->out[0]));
    enum op_class class = op_info[k->core->op].class;
    if (class == OC_SCATTER || class == OC_SELECT || class == OC_CONTROL || class == OC_LIST)
        return; /* its result is not in registers */
    for (int i = 0; i < k->n_nodes; i++) {
        for (int o = 0; o < k->nodes[i]->n_out; o++) {
            for (struct use *use = k->nodes[i]->out[o]->uses; use; use = use->next) {
                struct node *node = use->node;
                if (node->kernel != KERNEL_UNASSIGNED || !has_room(f, kernel, node))
                    continue;
                int space = space_behind(node, kernel, &spaces);
                if (space < 0 || fusion_makes_cycle(f, kernel, node))
                    continue;
                fusion_join(f, kernel, node);
                note_results(f, node, space, elements_estimate(f, node->out[0]));
                k = &f->kernels[kernel];
            }
        }
    }
    drop_last_views(f, kernel);
}

/* --- Prologues and maps --------------------------------------------------------------------- */

/* The kernels that read a node's results. */
struct readers {
    int n; /* MOST_READERS + 1: too many */
    int kernel[MOST_READERS];
    int64_t evaluations[MOST_READERS]; /* elements that each would compute */
    bool same_space[MOST_READERS];     /* read at the (map) kernel's own index by a scalar op */
};

static void find_readers(const struct fusion *f, const struct node *node, struct readers *r)
{
    r->n = 0;
    for (const struct use *use = node->out[0]->uses; use; use = use->next) {
        const struct node *by = use->node;
        int i = 0;
        if (by->kernel < 0)
            continue; /* dead */
        while (i < r->n && r->kernel[i] != by->kernel)
            i++;
        if (i == MOST_READERS) {
            r->n = MOST_READERS + 1;
            return;
        }
        if (i == r->n) {
            r->kernel[i] = by->kernel;
            r->evaluations[i] = 0;
            r->same_space[i] = false;
            r->n++;
        }
        bool core = by == f->kernels[by->kernel].core;
        int64_t n = core ? saturating_mul(elements_estimate(f, node->out[0]),
                                          core_reads(f, by, use->operand))
                         : note_of(by->out[0])->evaluations;
        r->evaluations[i] = n > r->evaluations[i] ? n : r->evaluations[i];
        r->same_space[i] |= !core && is_scalar(by) && note_of(by->out[0])->space == 0;
    }
}

/* Does the node continue, by scalar ops, a concat that no heavy core takes? Then they are one map.
 */
static bool continues_concat(const struct node *node, int depth)
{
    for (int i = 0; i < node->n_in && depth > 0; i++) {
        const struct node *def = node->in[i]->def;
        if (!def || def->kernel != KERNEL_UNASSIGNED)
            continue;
        if (def->op == OP_concat || (is_scalar(def) && continues_concat(def, depth - 1)))
            return true;
    }
    return false;
}

/* May the node stand in front of this kernel's core at all? */
static bool takes(const struct fusion *f, int kernel, const struct node *node)
{
    const struct node *core = f->kernels[kernel].core;
    if (!has_room(f, kernel, node))
        return false;
    enum op_class class = core ? op_info[core->op].class : OC_SCALAR;
    if (class == OC_CONTROL || class == OC_LIST)
        return false;
    if (!core)
        return true;
    /* A choice between sources in the inner loop of a heavy core costs more than the copy. */
    if (class != OC_CONTRACT && class != OC_WINDOW && class != OC_SORT)
        return true;
    return node->op != OP_concat && !(is_scalar(node) && continues_concat(node, 6));
}

static bool should_inline(const struct fusion *f, const struct node *node, const struct readers *r)
{
    int64_t elements = elements_estimate(f, node->out[0]), evaluations = 0, budget;
    if (r->n > MOST_READERS || is_wanted(f->g, node->out[0]))
        return false;
    for (int i = 0; i < r->n; i++) {
        if (!takes(f, r->kernel[i], node))
            return false;
        if (__builtin_add_overflow(evaluations, r->evaluations[i], &evaluations))
            return false;
    }
    if (is_generator(node))
        return true;
    if (is_scalar(node) && r->n > 1 && node->op != OP_cast)
        return false;
    budget = LAUNCH_WORK + saturating_mul(MEMORY_WORK, elements) / 2;
    return saturating_mul(cost_of(node), evaluations - elements) <= budget;
}

/* A copy of the node in every kernel that reads it; the first gets the node itself. */
static void put_into_readers(struct fusion *f, struct node *node, const struct readers *r)
{
    for (int i = r->n - 1; i >= 0; i--) {
        struct node *copy = i == 0 ? node : node_clone(f->g, node, node);
        copy->order = node->order;
        fusion_join(f, r->kernel[i], copy);
        note_results(f, copy, r->same_space[i] ? 0 : -1, r->evaluations[i]);
        for (struct use *use = node->out[0]->uses, *next; copy != node && use; use = next) {
            next = use->next;
            if (use->node->kernel == r->kernel[i])
                node_set_operand(f->g, use->node, use->operand, copy->out[0]);
        }
    }
}

/* A map that reads the node at its own index, and that no other reader of the node is needed for.
 */
static int map_to_join(struct fusion *f, const struct node *node, const struct readers *r)
{
    for (int i = 0; i < r->n && r->n <= MOST_READERS; i++) {
        const struct fused_kernel *k = &f->kernels[r->kernel[i]];
        if (k->core || !r->same_space[i] || !has_room(f, r->kernel[i], node) ||
            !value_same_shape(k->space, node->out[0]))
            continue;
        bool cycle = false;
        for (int other = 0; other < r->n && !cycle; other++)
            cycle = other != i && fusion_depends(f, r->kernel[i], r->kernel[other]);
        if (!cycle)
            return r->kernel[i];
    }
    return -1;
}

/* Maps that read the node at their own index become one, if none needs another: then it is read, or
 * computed, once. */
static void merge_readers(struct fusion *f, const struct node *node, const struct readers *r)
{
    int into = -1;
    for (int i = 0; i < r->n && r->n <= MOST_READERS; i++) {
        const struct fused_kernel *k = &f->kernels[r->kernel[i]];
        if (k->core || !r->same_space[i] || !value_same_shape(k->space, node->out[0]))
            continue;
        if (into < 0)
            into = r->kernel[i];
        else if (f->kernels[into].n_nodes + k->n_nodes < MOST_NODES &&
                 f->kernels[into].n_buffers + k->n_buffers < MOST_BUFFERS &&
                 !fusion_depends(f, into, r->kernel[i]) && !fusion_depends(f, r->kernel[i], into))
            fusion_merge(f, into, r->kernel[i]);
    }
}

static void place(struct fusion *f, struct node *node)
{
    struct readers readers;
    find_readers(f, node, &readers);
    if (readers.n > 1 && is_scalar(node)) {
        merge_readers(f, node, &readers);
        find_readers(f, node, &readers);
    }
    if (readers.n == 0 && !is_wanted(f->g, node->out[0]))
        return; /* dead */
    if (should_inline(f, node, &readers)) {
        put_into_readers(f, node, &readers);
        return;
    }
    int kernel = map_to_join(f, node, &readers);
    if (kernel >= 0)
        fusion_join(f, kernel, node);
    else
        fusion_new_kernel(f, node);
    note_results(f, node, 0, elements_estimate(f, node->out[0]));
}

/* --- The pass ------------------------------------------------------------------------------- */

/* Outputs that are inputs, constants or other outputs get a buffer of their own. Those of a body
 * are copied to where its node wants them. */
static void copy_outputs(struct graph *g)
{
    for (int i = 0; i < g->n_outputs; i++) {
        struct value *v = g->outputs[i];
        bool copy = !v->def || v->def->op == OP_constant;
        if (dtype_is_list(v->type))
            continue; /* no kernel writes lists: a step copies it */
        for (int k = 0; k < i && !copy; k++)
            copy = g->outputs[k] == v;
        if (!copy)
            continue;
        union attr attr = {.reshape = {{v->rank, v->shape}}};
        struct node *node = graph_insert(g, NULL, OP_reshape, 1, &v, &attr);
        if (!node)
            return;
        g->outputs[i] = node->out[0];
        node->out[0]->is_output = true;
        node->out[0]->name = g->output_names[i];
        bool still = false;
        for (int k = 0; k < g->n_outputs; k++)
            still |= g->outputs[k] == v;
        v->is_output = still;
    }
}

void fusion_begin(struct fusion *f, struct graph *g)
{
    if (!g->outer)
        copy_outputs(g);
    graph_renumber(g->root);
    uint32_t n_orders = 0;
    for (struct node *node = g->first; node; node = node->next) {
        n_orders = node->order + 1;
        for (int i = 0; i < node->n_out; i++)
            node->out[i]->data = NULL;
        bool wanted = node->n_out > 0 && is_wanted(g, node->out[0]);
        node->kernel = KERNEL_UNASSIGNED;
        if (node->op == OP_constant || (!wanted && depends_on_constants(node)))
            node->kernel = KERNEL_CONSTANT;
    }
    for (struct node *node = g->last, *before; node; node = before) {
        before = node->prev;
        if (node->op == OP_expand && node->kernel == KERNEL_UNASSIGNED)
            expand_for_constants(g, node);
        if (node->kernel == KERNEL_UNASSIGNED && !is_wanted(g, node->out[0]) &&
            !value_has_uses(node->out[0]) && node->n_out == 1)
            node_remove(g, node);
    }
    f->g = g;
    f->seen = ARENA_ARRAY(g->arena, (size_t)n_orders + 1, uint32_t);
    f->typical = ARENA_ARRAY(g->arena, (size_t)dim_symbol_count(g->dims) + 1, int64_t);
    for (int i = 0; i < dim_symbol_count(g->dims); i++)
        f->typical[i] = TYPICAL_SIZE;
    for (int i = 0; i < g->root->n_symbols; i++)
        f->reads_back |=
            g->root->symbols[i].kind == SYMBOL_ELEMENT && g->root->symbols[i].value->def;
}

static bool fuse_graph(struct graph *g)
{
    struct fusion f = {0};
    fusion_begin(&f, g);
    for (struct node *node = g->last; node; node = node->prev)
        if (node->kernel == KERNEL_UNASSIGNED && is_core(node)) {
            int kernel = fusion_new_kernel(&f, node);
            f.kernels[kernel].core = node;
            if (node->body[0])
                fusion_await(&f, kernel);
        }
    for (int i = 0; i < f.n; i++)
        take_epilogue(&f, i);
    for (struct node *node = g->last, *before; node; node = before) {
        before = node->prev;
        if (node->kernel == KERNEL_UNASSIGNED)
            place(&f, node);
    }
    fusion_order(&f);
    graph_renumber(g->root);
    return true;
}

bool pass_fuse_kernels(struct graph *g)
{
    return pass_each_graph(g, fuse_graph);
}
