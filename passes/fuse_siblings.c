/* Kernels that read the same and become one: reductions in one pass, and maps. */
#include "fuse.h"

/* --- Reductions ----------------------------------------------------------------------------- */

enum { MOST_SIBLINGS = 4 };

static bool is_reduction(const struct node *node)
{
    return node && (node->op == OP_reduce_sum || node->op == OP_reduce_prod ||
                    node->op == OP_reduce_max || node->op == OP_reduce_min);
}

/* Is x the value v, or computed from it by maps? */
static bool is_made_of(const struct value *x, const struct value *v, int depth)
{
    if (x == v)
        return true;
    bool made = false;
    for (int i = 0; x->def && fuse_is_scalar(x->def) && i < x->def->n_in && depth > 0; i++)
        made |= is_made_of(x->def->in[i], v, depth - 1);
    return made;
}

/* Do both go over the elements of a value, as they are or behind maps? */
static bool share_terms(const struct node *a, const struct node *b)
{
    const struct value *x = a->in[0], *y = b->in[0];
    bool shared = is_made_of(x, y, 3) || is_made_of(y, x, 3);
    for (int i = 0; x->def && fuse_is_scalar(x->def) && i < x->def->n_in && !shared; i++) {
        const struct value *operand = x->def->in[i];
        bool spread = operand->def &&
                      (operand->def->op == OP_expand || operand->def->kernel == KERNEL_CONSTANT);
        shared = !spread && is_made_of(y, operand, 3);
    }
    return shared;
}

static bool same_pass(struct fusion *f, int into, int from)
{
    const struct fused_kernel *k = &f->kernels[into], *l = &f->kernels[from];
    if (!is_reduction(k->core) || !is_reduction(l->core) || l->n_nodes != 1 ||
        k->n_nodes == MOST_SIBLINGS)
        return false;
    return k->core->attr.reduce_sum.axes == l->core->attr.reduce_sum.axes &&
           value_same_shape(k->core->in[0], l->core->in[0]) && share_terms(k->core, l->core) &&
           !fusion_depends(f, into, from) && !fusion_depends(f, from, into);
}

void fuse_sibling_reductions(struct fusion *f)
{
    for (int into = f->n - 1; into >= 0; into--) /* from the first in the graph on */
        for (int from = into - 1; from >= 0; from--) {
            if (!same_pass(f, into, from))
                continue;
            graph_remark(f->g, "fuse_kernels", f->kernels[from].core,
                         "%s shares a pass with %s: both go over the same elements",
                         op_info[f->kernels[from].core->op].name,
                         op_info[f->kernels[into].core->op].name);
            fusion_merge(f, into, from);
        }
}

/* --- Maps ----------------------------------------------------------------------------------- */

static bool can_merge(struct fusion *f, int a, int b)
{
    const struct fused_kernel *k = &f->kernels[a], *l = &f->kernels[b];
    return a != b && !k->core && !l->core && l->n_nodes > 0 &&
           k->n_nodes + l->n_nodes <= MOST_NODES && k->n_buffers + l->n_buffers <= MOST_BUFFERS &&
           value_same_shape(k->space, l->space) && !fusion_depends(f, a, b) &&
           !fusion_depends(f, b, a);
}

/* Merges maps into this one that have as many elements and read, maybe elsewhere in it, a value
 * that this one reads. */
static void merge_maps(struct fusion *f, int kernel)
{
    enum { MOST_USES = 64 }; /* that are looked at: a constant may have one in every node */
    for (int i = 0; i < f->kernels[kernel].n_nodes && !f->kernels[kernel].core; i++) {
        const struct node *node = f->kernels[kernel].nodes[i];
        for (int k = 0; k < node->n_in; k++) {
            const struct value *x = node->in[k];
            if (!x->def || x->def->kernel == kernel || x->def->kernel == KERNEL_CONSTANT)
                continue;
            int uses = 0;
            for (const struct use *use = x->uses; use && uses < MOST_USES; use = use->next, uses++)
                if (use->node->kernel >= 0 && can_merge(f, kernel, use->node->kernel))
                    fusion_merge(f, kernel, use->node->kernel);
        }
    }
}

void fuse_sibling_maps(struct fusion *f)
{
    for (int i = 0; i < f->n; i++)
        merge_maps(f, i);
}
