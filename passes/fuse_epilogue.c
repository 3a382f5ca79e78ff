/* What a core's kernel takes along behind the core: maps, views that keep rows whole, and the
 * halves of pairs of neighbours. */
#include "fuse.h"
#include "match.h"

#include <string.h>

enum { LEAST_PAIRS = 16 /* in a row, for a product that hands over neighbours */ };

/* Index spaces behind one core: the core's own, and what views make of others. */
struct space {
    int parent;
    const struct node *view;
};
struct spaces {
    int n;
    struct space at[MOST_NODES];
};

bool fuse_has_room(const struct fusion *f, int kernel, const struct node *node)
{
    const struct fused_kernel *k = &f->kernels[kernel];
    return k->n_nodes < MOST_NODES && k->n_buffers + node->n_in + node->n_out <= MOST_BUFFERS;
}

struct note *fuse_note_of(const struct value *v)
{
    return v->data;
}

void fuse_note_results(struct fusion *f, struct node *node, int space, int64_t evaluations)
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
    return a->op == OP_reshape || a->op == OP_slice ||
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

/* Every other element of rows behind a product: kernels hand over neighbours of a row together, so
 * that one thread has both elements of a pair. Whichever of them the node takes, its space is that
 * of pairs. */
static bool takes_pairs(const struct node *core, const struct node *node)
{
    int64_t columns, start;
    if (node->op != OP_slice || core->op != OP_matmul)
        return false;
    const struct value *x = node->in[0], *y = core->out[0];
    const struct attr_slice *slice = &node->attr.slice;
    const int last = y->rank - 1;
    if (!dtype_is_float(y->type) || dtype_info[y->type].bits > 32 ||
        !dtype_is_float(core->in[0]->type) || core->in[0]->type == DT_F64 ||
        !value_same_shape(x, y) || !dim_is_const(y->shape[last], &columns) ||
        columns < 2 * LEAST_PAIRS || columns % 4 != 0)
        return false;
    for (int i = 0; i < last; i++)
        if (!dim_is(slice->start.d[i], 0) || !dim_is(slice->step.d[i], 1) ||
            slice->size.d[i] != x->shape[i])
            return false;
    return dim_is(slice->step.d[last], 2) && dim_is(slice->size.d[last], columns / 2) &&
           dim_is_const(slice->start.d[last], &start) && start >= 0 && start <= 1;
}

bool fuse_keeps_rows(struct graph *g, const struct node *transpose)
{
    const struct perm *perm = &transpose->attr.transpose.perm;
    return (perm->n > 0 && perm->axis[perm->n - 1] == perm->n - 1) ||
           match_keeps_rows(g, transpose);
}

/* Is v, or what maps and reshapes alone make of it, an output? */
static bool becomes_output(const struct graph *g, const struct value *v)
{
    enum { MOST_STEPS = 8 };
    for (int i = 0; i < MOST_STEPS && !fuse_is_wanted(g, v); i++) {
        const struct node *next = value_single_use(v) ? v->uses->node : NULL;
        if (!next || (!fuse_is_scalar(next) && next->op != OP_reshape))
            return false;
        v = next->out[0];
    }
    return fuse_is_wanted(g, v);
}

/* A transpose that only an output is made of would be a kernel by itself. Products on tensor cores
 * store the results of a column side by side as well. */
static bool turns_output(const struct fusion *f, const struct node *core,
                         const struct node *transpose)
{
    enum { FEW = 8 }; /* rows or columns, for which products are made without tiles */
    const struct value *y = core->out[0];
    return core->op == OP_matmul && fuse_is_for_tensor_cores(core) &&
           value_single_use(transpose->in[0]) && fuse_size(f, y->shape[y->rank - 1]) > FEW &&
           fuse_elements(f, y) / fuse_size(f, y->shape[y->rank - 1]) > FEW &&
           becomes_output(f->g, transpose->out[0]);
}

/* Which space the node's result would have behind kernel k's core; -1: it cannot be there. */
static int space_behind(const struct fusion *f, const struct node *node, int kernel,
                        struct spaces *spaces)
{
    int space = -1;
    for (int i = 0; i < node->n_in; i++) {
        const struct value *x = node->in[i];
        if (!x->def || x->def->kernel != kernel)
            continue;
        if (!fuse_note_of(x) || (space >= 0 && fuse_note_of(x)->space != space))
            return -1;
        space = fuse_note_of(x)->space;
    }
    if (space < 0 || fuse_is_scalar(node))
        return space;
    bool pairs = space == 0 && takes_pairs(f->kernels[kernel].core, node);
    if (node->op == OP_reshape || pairs)
        return find_space(spaces, space, node);
    bool stays = node->op == OP_transpose
                     ? fuse_keeps_rows(f->g, node) || turns_output(f, f->kernels[kernel].core, node)
                     : match_cuts_product(node);
    return stays ? find_space(spaces, space, node) : -1;
}

/* Is the value, or what it is a view of, written to memory by this kernel anyway? */
static bool is_stored(const struct fusion *f, const struct value *v, int kernel)
{
    for (;; v = v->def->in[0]) {
        if (!v->def || v->def->kernel != kernel)
            return false; /* no result of this kernel */
        if (fuse_is_wanted(f->g, v))
            return true;
        for (const struct use *use = v->uses; use; use = use->next)
            if (use->node->kernel != kernel)
                return true;
        if (fuse_is_core(v->def) || fuse_is_scalar(v->def))
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
        if (fuse_is_scalar(node) || !stored || read || fuse_is_wanted(f->g, node->out[0]))
            return;
        node->kernel = KERNEL_UNASSIGNED;
        node->out[0]->data = NULL;
        k->n_buffers -= node->n_in + node->n_out;
        k->n_nodes--;
    }
}

/* Takes member i out again. */
static void leave(struct fused_kernel *k, int i)
{
    struct node *node = k->nodes[i];
    node->kernel = KERNEL_UNASSIGNED;
    node->out[0]->data = NULL;
    k->n_buffers -= node->n_in + node->n_out;
    k->n_nodes--;
    memmove(k->nodes + i, k->nodes + i + 1, (size_t)(k->n_nodes - i) * sizeof(*k->nodes));
}

/* Does the kernel leave the node's result for others, and need not? */
static bool is_for_others(const struct fusion *f, int kernel, const struct node *node)
{
    for (const struct use *use = node->out[0]->uses; use; use = use->next)
        if (use->node->kernel == kernel)
            return false;
    return !fuse_is_wanted(f->g, node->out[0]);
}

/* What only widens a narrow result of the kernel for others is theirs to do: a byte is stored. */
static void drop_widening(struct fusion *f, int kernel)
{
    struct fused_kernel *k = &f->kernels[kernel];
    for (int i = k->n_nodes - 1; i > 0; i--) {
        struct node *node = k->nodes[i];
        const struct value *narrow = fuse_is_scalar(node) ? fuse_narrow_source(node) : NULL;
        if (narrow && narrow->def && narrow->def->kernel == kernel &&
            is_for_others(f, kernel, node))
            leave(k, i);
    }
}

/* Do kernels read the node's result that go over it once, in no hurry? */
static bool is_reduced(const struct fusion *f, const struct node *node)
{
    for (const struct use *use = node->out[0]->uses; use; use = use->next) {
        enum op_class class = op_info[use->node->op].class;
        if (use->node->kernel < 0 || !fuse_has_room(f, use->node->kernel, node) ||
            (class != OC_REDUCE && class != OC_ROW && class != OC_WINDOW))
            return false;
    }
    return node->out[0]->uses != NULL;
}

void fuse_store_narrow(struct fusion *f)
{
    for (int kernel = 0; kernel < f->n; kernel++) {
        struct fused_kernel *k = &f->kernels[kernel];
        for (int i = k->n_nodes - 1; i > 0; i--) {
            const struct node *node = k->nodes[i];
            const struct node *from = node->op == OP_cast ? node->in[0]->def : NULL;
            if (from && from->kernel == kernel &&
                dtype_size(node->out[0]->type) > dtype_size(node->in[0]->type) &&
                is_for_others(f, kernel, node) && is_reduced(f, node))
                leave(k, i);
        }
    }
}

void fuse_take_epilogue(struct fusion *f, int kernel)
{
    struct fused_kernel *k = &f->kernels[kernel];
    struct spaces spaces = {.n = 1};
    for (int i = 0; i < k->n_nodes; i++) /* the core and its siblings */
        fuse_note_results(f, k->nodes[i], 0, fuse_elements(f, k->nodes[i]->out[0]));
    enum op_class class = op_info[k->core->op].class;
    if (class == OC_SCATTER || class == OC_SELECT || class == OC_CONTROL || class == OC_LIST)
        return; /* its result is not in registers */
    for (int i = 0; i < k->n_nodes; i++) {
        for (int o = 0; o < k->nodes[i]->n_out; o++) {
            for (struct use *use = k->nodes[i]->out[o]->uses; use; use = use->next) {
                struct node *node = use->node;
                if (node->kernel != KERNEL_UNASSIGNED || !fuse_has_room(f, kernel, node))
                    continue;
                int space = space_behind(f, node, kernel, &spaces);
                if (space < 0)
                    continue;
                if (fusion_makes_cycle(f, kernel, node)) {
                    graph_remark(f->g, "fuse_kernels", node,
                                 "%s not taken behind %s: its other operand waits for that",
                                 op_info[node->op].name, op_info[k->core->op].name);
                    continue;
                }
                fusion_join(f, kernel, node);
                fuse_note_results(f, node, space, fuse_elements(f, node->out[0]));
                k = &f->kernels[kernel];
            }
        }
    }
    drop_widening(f, kernel);
    drop_last_views(f, kernel);
}
