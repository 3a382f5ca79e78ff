/*
 * scatter_nd whose indices are constants that count through a box, in order: what exporters make of
 * x[:, a:b] = updates. It is the updates between what stays of x in front of the box and behind it,
 * axis by axis:
 *
 *     scatter_nd x[8, 64], 2..4, u[3, 64]  ─▶  concat(x[0:2], u, x[5:8])
 *
 * which nobody has to go through index by index, and which a concat without copies may write in
 * place. An operand that lies in the memory of the result (--alias) stays: there the updates alone
 * are written.
 */
#include "passes.h"

#include <string.h>

#include "../ir/build.h"

struct box {
    int axes; /* how many axes the indices speak of */
    int64_t start[MAX_RANK], size[MAX_RANK], extent[MAX_RANK];
};

static bool lies_in_the_result(const struct graph *g, const struct value *x)
{
    while (x->def && x->def->op == OP_scatter_nd)
        x = x->def->in[0];
    for (int i = 0; i < g->n_outputs && g->output_alias; i++)
        if (g->output_alias[i] >= 0 && g->inputs[g->output_alias[i]] == x)
            return true;
    return false;
}

static bool known_sizes(const struct node *node, struct box *box)
{
    const struct value *y = node->out[0], *indices = node->in[1];
    int64_t depth;
    box->axes = indices->rank - 1;
    if (!dim_is_const(indices->shape[box->axes], &depth) || depth != box->axes || depth < 1)
        return false;
    for (int i = 0; i < box->axes; i++)
        if (!dim_is_const(indices->shape[i], &box->size[i]) || box->size[i] < 1 ||
            !dim_is_const(y->shape[i], &box->extent[i]) || box->size[i] > box->extent[i])
            return false;
    return true;
}

static int64_t index_at(const struct box *box, const int64_t *row, int axis)
{
    return row[axis] < 0 ? row[axis] + box->extent[axis] : row[axis];
}

/* Do the rows of the indices count through the box that begins at the first of them? */
static bool counts_through(const int64_t *rows, struct box *box)
{
    int64_t at[MAX_RANK] = {0};
    for (int i = 0; i < box->axes; i++) {
        box->start[i] = index_at(box, rows, i);
        if (box->start[i] < 0 || box->start[i] > box->extent[i] - box->size[i])
            return false;
    }
    for (int axis = 0; axis >= 0; rows += box->axes) {
        for (int i = 0; i < box->axes; i++)
            if (index_at(box, rows, i) != box->start[i] + at[i])
                return false;
        for (axis = box->axes - 1; axis >= 0 && ++at[axis] == box->size[axis]; axis--)
            at[axis] = 0;
    }
    return true;
}

static bool is_box(const struct node *node, struct box *box)
{
    const struct value *indices = node->in[1];
    if (node->op != OP_scatter_nd || node->attr.scatter_nd.combine != COMBINE_NONE ||
        !value_is_const(indices) || indices->type != DT_I64 || indices->rank < 2 ||
        !known_sizes(node, box))
        return false;
    const void *bytes = indices->def->attr.constant.data->bytes;
    return bytes && counts_through(bytes, box);
}

/* x with the updates in the box of the axes from `axis`: those before are the box's already. */
static struct value *with_updates(struct builder *b, const struct box *box, int axis,
                                  struct value *x, struct value *updates)
{
    if (axis == box->axes)
        return updates;
    int64_t start = box->start[axis], end = start + box->size[axis], extent = box->extent[axis];
    struct value *parts[3];
    int n = 0;
    if (start > 0)
        parts[n++] = build_slice_axis(b, x, axis, build_d(b, 0), build_d(b, start));
    parts[n++] = with_updates(
        b, box, axis + 1,
        build_slice_axis(b, x, axis, build_d(b, start), build_d(b, box->size[axis])), updates);
    if (end < extent)
        parts[n++] = build_slice_axis(b, x, axis, build_d(b, end), build_d(b, extent - end));
    return build_concat(b, n, parts, axis);
}

static bool rewrite(struct graph *g, struct node *node)
{
    struct box box;
    if (!is_box(node, &box) || lies_in_the_result(g, node->in[0]))
        return false;
    struct builder b = {g, node};
    struct value *result = with_updates(&b, &box, 0, node->in[0], node->in[2]);
    if (!result || !value_same_shape(result, node->out[0]))
        return false;
    graph_remark(g, "lower_scatters", node,
                 "its indices count through a box: the updates lie between slices of the operand");
    value_replace_uses(g, node->out[0], result);
    return true;
}

bool pass_lower_scatters(struct graph *g)
{
    if (!pass_each_node(g, rewrite))
        return false;
    pass_remove_dead(g); /* the scatters */
    pass_simplify(g);    /* slices that take everything, concats of one, slices of these */
    pass_remove_dead(g);
    return true;
}
