/*
 * Assigns every node to a kernel. A kernel is a core (a reduction, contraction, …: at most one)
 * with what surrounds it, or a map: scalar maps, views and gathers alone. A node of control flow is
 * a kernel by itself: what it reads lies in memory. The kernels of its bodies are numbered by
 * themselves.
 *
 * 1. What depends on constants alone is computed while the plan is written (KERNEL_CONSTANT).
 * 2. Every core gets a kernel, but reductions that go over one operand in the same way, which share
 *    one. From the last core to the first, it takes the scalar maps behind it (its epilogue)
 *    as long as they stay in its index space. Normalizations of few rows have no kernel of their
 * own but stand in front of the products that read them (fuse_normalize.c), and depthwise
 *    convolutions may share that of the 1x1 convolution behind them (fuse_windows.c), as may
 *    reductions over all pixels (fuse_means.c) and pools of windows (fuse_window_pools.c) that of the
 *    convolution in front.
 * 3. The rest is visited backwards: a node goes into the kernels that read it, as a copy in each
 *    (their prologue), where that is cheaper than a launch and a trip through memory; otherwise it
 *    becomes the result of a map kernel, joining one that reads it if that can be.
 * 4. Maps with as many elements that read a value in common become one.
 * 5. Kernels are numbered in an order in which they can run.
 *
 * A prologue can make no cycle: it only moves work to its reader. An epilogue or a joined map can,
 * so each is checked by a search backwards through whole kernels.
 */
#include "fuse.h"

enum { MOST_READERS = 16 /* kernels that get a copy of a node */ };

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
        bool core = fuse_is_core(by) && !fuse_is_in_front(f, by);
        int64_t n = core ? fuse_multiply(fuse_elements(f, node->out[0]),
                                         fuse_core_reads(f, by, use->operand))
                         : fuse_note_of(by->out[0])->evaluations;
        r->evaluations[i] = n > r->evaluations[i] ? n : r->evaluations[i];
        r->same_space[i] |= !core && fuse_is_scalar(by) && fuse_note_of(by->out[0])->space == 0;
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
        if (def->op == OP_concat || (fuse_is_scalar(def) && continues_concat(def, depth - 1)))
            return true;
    }
    return false;
}

/* Does attention read the node, maybe through views that its kernel has already, as keys or values?
 */
static bool feeds_keys(const struct node *core, const struct node *node)
{
    for (const struct use *use = node->out[0]->uses; use; use = use->next) {
        const struct node *by = use->node;
        bool view = by->kernel == core->kernel && op_info[by->op].class == OC_VIEW && by->n_in == 1;
        if (by == core ? use->operand == 1 || use->operand == 2 : view && feeds_keys(core, by))
            return true;
    }
    return false;
}

/* May the node stand in front of this kernel's core at all? */
static bool takes(const struct fusion *f, int kernel, const struct node *node)
{
    const struct node *core = f->kernels[kernel].core;
    if (!fuse_has_room(f, kernel, node))
        return false;
    enum op_class class = core ? op_info[core->op].class : OC_SCALAR;
    if (class == OC_CONTROL || class == OC_LIST)
        return false;
    if (!core)
        return true;
    /* Keys and values are read once for each tile of queries, and copied where views lead to them.
     */
    if (class == OC_ATTENTION && feeds_keys(core, node))
        return op_info[node->op].class == OC_VIEW && node->n_in == 1;
    /* A choice between sources in the inner loop of a heavy core costs more than the copy. */
    if (class != OC_CONTRACT && class != OC_WINDOW && class != OC_SORT)
        return true;
    return node->op != OP_concat && !(fuse_is_scalar(node) && continues_concat(node, 6));
}

/* A transpose that leaves neighbours in memory along an axis of the matrices that alone read it
 * changes their addresses only: products read vectors along either axis, but narrow and rounded
 * ones along the depth. */
static bool is_free_for_products(const struct node *node)
{
    const struct perm *perm = &node->attr.transpose.perm;
    if (node->op != OP_transpose || perm->n < 2)
        return false;
    bool swapped = perm->axis[perm->n - 2] == perm->n - 1;
    for (const struct use *use = node->out[0]->uses; use; use = use->next) {
        const struct node *by = use->node;
        bool exact = by->math == MATH_EXACT && dtype_info[node->out[0]->type].bits >= 16;
        if (by->op != OP_matmul || (swapped && use->operand == 0 && !exact))
            return false;
    }
    return swapped || perm->axis[perm->n - 1] == perm->n - 1;
}

static const char *core_of(const struct fusion *f, int kernel)
{
    const struct node *core = f->kernels[kernel].core;
    return core ? op_info[core->op].name : "map";
}

/* NULL: a copy of the node goes into each kernel that reads it. Else why not. */
static const char *why_apart(const struct fusion *f, const struct node *node,
                             const struct readers *r)
{
    struct arena *arena = f->g->arena;
    int64_t elements = fuse_elements(f, node->out[0]), evaluations = 0, budget, work;
    if (fuse_is_wanted(f->g, node->out[0]))
        return "";
    if (r->n > MOST_READERS)
        return "more kernels read it than get copies";
    for (int i = 0; i < r->n; i++) {
        if (!takes(f, r->kernel[i], node))
            return arena_printf(arena, "a kernel that reads it (%s) does not take it",
                                core_of(f, r->kernel[i]));
        if (__builtin_add_overflow(evaluations, r->evaluations[i], &evaluations))
            evaluations = INT64_MAX;
    }
    if (fuse_is_generator(node) || is_free_for_products(node))
        return NULL;
    const char *broken = fuse_breaks_vectors(f, node);
    if (broken)
        return broken;
    if (fuse_is_scalar(node) && r->n > 1 && (node->op != OP_cast || fuse_narrows_map(node)) &&
        !fuse_narrow_source(node))
        return arena_printf(arena, "%d kernels read it", r->n);
    budget = FUSE_LAUNCH_WORK + fuse_multiply(FUSE_MEMORY_WORK, elements) / 2;
    work = fuse_multiply(fuse_cost_of(node), evaluations - elements);
    if (work > budget)
        return arena_printf(arena, "to compute it again in front of %s takes %lld operations",
                            core_of(f, r->kernel[0]), (long long)work);
    const struct node *dear = fuse_dear_source(f, node, evaluations - elements, budget);
    return dear ? arena_printf(arena, "%s in front of it is too dear to compute again for %s",
                               op_info[dear->op].name, core_of(f, r->kernel[0]))
                : NULL;
}

/* A copy of the node in every kernel that reads it; the first gets the node itself. */
static void put_into_readers(struct fusion *f, struct node *node, const struct readers *r)
{
    for (int i = r->n - 1; i >= 0; i--) {
        struct node *copy = i == 0 ? node : node_clone(f->g, node, node);
        copy->order = node->order;
        fusion_join(f, r->kernel[i], copy);
        fuse_note_results(f, copy, r->same_space[i] ? 0 : -1, r->evaluations[i]);
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
        if (k->core || !r->same_space[i] || !fuse_has_room(f, r->kernel[i], node) ||
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
    if (readers.n > 1 && fuse_is_scalar(node)) {
        merge_readers(f, node, &readers);
        find_readers(f, node, &readers);
    }
    if (readers.n == 0 && !fuse_is_wanted(f->g, node->out[0]))
        return; /* dead */
    const char *why = why_apart(f, node, &readers);
    if (!why) {
        put_into_readers(f, node, &readers);
        return;
    }
    int kernel = map_to_join(f, node, &readers);
    if (kernel >= 0) {
        fusion_join(f, kernel, node);
    } else {
        fusion_new_kernel(f, node);
        if (*why)
            graph_remark(f->g, "fuse_kernels", node, "%s kept apart: %s", op_info[node->op].name,
                         why);
    }
    fuse_note_results(f, node, 0, fuse_elements(f, node->out[0]));
}

/* --- The pass ------------------------------------------------------------------------------- */

static int new_core(struct fusion *f, struct node *node)
{
    int kernel = fusion_new_kernel(f, node);
    f->kernels[kernel].core = node;
    if (node->body[0])
        fusion_await(f, kernel);
    return kernel;
}

/* Those without a kernel go in front of products, or get one where that does not pay. */
static void place_normalizations(struct fusion *f)
{
    for (struct node *node = f->g->last, *before; node; node = before) {
        before = node->prev;
        if (node->op == OP_normalize && node->kernel == KERNEL_UNASSIGNED &&
            !fuse_put_into_products(f, node))
            fuse_take_epilogue(f, new_core(f, node));
    }
}

static bool fuse_graph(struct graph *g)
{
    struct fusion f = {0};
    fuse_narrow_early(g);
    fusion_begin(&f, g);
    for (struct node *node = g->last; node; node = node->prev)
        if (node->kernel == KERNEL_UNASSIGNED && fuse_is_core(node) &&
            !(node->op == OP_normalize && fuse_may_go_into_products(&f, node)))
            new_core(&f, node);
    fuse_sibling_reductions(&f);
    for (int i = 0; i < f.n; i++)
        if (f.kernels[i].n_nodes > 0)
            fuse_take_epilogue(&f, i);
    place_normalizations(&f);
    fuse_windows(&f);
    fuse_means(&f);
    fuse_window_pools(&f);
    fuse_store_narrow(&f);
    for (struct node *node = g->last, *before; node; node = before) {
        before = node->prev;
        if (node->kernel == KERNEL_UNASSIGNED)
            place(&f, node);
    }
    fuse_sibling_maps(&f);
    fuse_remark_pools(&f);
    fusion_order(&f);
    graph_renumber(g->root);
    return true;
}

bool pass_fuse_kernels(struct graph *g)
{
    return pass_each_graph(g, fuse_graph);
}
