#include "layout.h"

#include <string.h>

int layout_axis(const struct value *v, int i)
{
    return v->layout ? v->layout->perm.axis[i] : i;
}

bool layout_same(const struct value *a, const struct value *b)
{
    for (int i = 0; i < a->rank; i++)
        if (layout_axis(a, i) != layout_axis(b, i))
            return false;
    return true;
}

const struct node *layout_concat(const struct value *v, int *operand)
{
    /* Constants, which no kernel writes, are in no concat; they may be read all over the graph. */
    if (!v->def || v->def->kernel == KERNEL_CONSTANT)
        return NULL;
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->kernel == KERNEL_IN_PLACE) {
            *operand = use->operand;
            return use->node;
        }
    return NULL;
}

struct value *layout_whole(struct value *v)
{
    int operand;
    for (const struct node *concat; (concat = layout_concat(v, &operand)) != NULL;)
        v = concat->out[0];
    return v;
}

const struct dim *layout_start(struct graph *g, const struct node *concat, int operand)
{
    const struct dim *start = dim_const(g->dims, 0);
    for (int i = 0; i < operand; i++)
        start = dim_add(g->dims, start, concat->in[i]->shape[concat->attr.concat.axis]);
    return start;
}

/* Walks memory axis `axis` of v; from: the first element of what is left, in row-major order. */
static char *arrange(const struct value *v, const int64_t *extent, const int64_t *stride, int axis,
                     const char *from, char *to)
{
    size_t size = dtype_size(v->type);
    if (axis == v->rank) {
        memcpy(to, from, size);
        return to + size;
    }
    int along = layout_axis(v, axis);
    for (int64_t i = 0; i < extent[along]; i++)
        to = arrange(v, extent, stride, axis + 1, from + (size_t)(i * stride[along]) * size, to);
    return to;
}

void layout_arrange(const struct value *v, const void *from, void *to)
{
    int64_t extent[MAX_RANK] = {0}, stride[MAX_RANK] = {0}, elements = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        dim_is_const(v->shape[i], &extent[i]);
        stride[i] = elements;
        elements *= extent[i];
    }
    arrange(v, extent, stride, 0, from, to);
}
