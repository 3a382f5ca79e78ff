/* In the place of fuse_kernels where that is left out: every node is a kernel, or a constant. */
#include "fuse.h"

static bool split_graph(struct graph *g)
{
    struct fusion f = {0};
    fusion_begin(&f, g);
    for (struct node *node = g->last; node; node = node->prev) {
        if (node->kernel != KERNEL_UNASSIGNED)
            continue;
        int kernel = fusion_new_kernel(&f, node);
        f.kernels[kernel].core = node->body[0] ? node : NULL;
        if (node->body[0])
            fusion_await(&f, kernel);
    }
    fusion_order(&f);
    graph_renumber(g->root);
    return true;
}

bool pass_split_kernels(struct graph *g)
{
    return pass_each_graph(g, split_graph);
}
