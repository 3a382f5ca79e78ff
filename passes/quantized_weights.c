/*
 * Weights of four bits. A tensor of such a type takes a byte for each number; as a product's
 * weights two share one: element k of a row is the low half of byte k / 2 where k is even, else the
 * high half. k runs along rows of the packed constant, whatever the order before, so that kernels
 * read many neighbours at once.
 */
#include "quantized.h"

enum { DEEPEST = 24 };

static bool is_four_bits(const struct value *v)
{
    return v->type == DT_I4 || v->type == DT_U4;
}

/* The cast that widens a 4-bit constant which v is made of, by maps and views. `axis` is v's axis
 * of k, and becomes the constant's; -1: unknown. */
static struct node *find_widening(struct value *v, int *axis, int depth)
{
    struct node *node = v->def, *found = NULL;
    if (!node || depth == 0 || !value_single_use(v))
        return NULL;
    if (node->op == OP_cast && is_four_bits(node->in[0]))
        return quantized_is_constant(node->in[0]) ? node : NULL;
    if (op_info[node->op].class == OC_SCALAR) {
        for (int i = 0; i < node->n_in && i < 2 && !found; i++)
            found = find_widening(node->in[i], axis, depth - 1);
        return found;
    }
    if (node->op == OP_transpose && *axis >= 0)
        *axis = node->attr.transpose.perm.axis[*axis];
    else if (node->op == OP_reshape || node->op == OP_slice)
        *axis = -1;
    else if (node->op != OP_transpose)
        return NULL;
    return find_widening(node->in[0], axis, depth - 1);
}

/* x with two axes exchanged. */
static struct value *exchange(struct builder *b, struct value *x, int i, int k)
{
    int perm[MAX_RANK];
    for (int axis = 0; axis < x->rank; axis++)
        perm[axis] = axis == i ? k : axis == k ? i : axis;
    return i == k ? x : build_transpose(b, x, perm);
}

/* Every other element along the last axis. */
static struct value *alternate(struct builder *b, struct value *x, int first)
{
    const struct dim *start[MAX_RANK], *step[MAX_RANK], *size[MAX_RANK];
    int last = x->rank - 1;
    for (int i = 0; i < x->rank; i++) {
        start[i] = build_d(b, i == last ? first : 0);
        step[i] = build_d(b, i == last ? 2 : 1);
        size[i] = x->shape[i];
    }
    size[last] = dim_floordiv(b->g->dims, x->shape[last], build_d(b, 2));
    return build_slice(b, x, start, step, size);
}

/* Numbers 0 … 15 along the last axis, two in a byte. */
static struct value *pack(struct builder *b, struct value *x)
{
    struct value *four = build_int(b, DT_U8, 4);
    struct value *high = build_binary(b, OP_shl, alternate(b, x, 1), four);
    return build_binary(b, OP_or, alternate(b, x, 0), high);
}

struct value *quantized_unpack(struct builder *b, struct value *bytes)
{
    static const uint8_t shifts[2] = {0, 4};
    const struct dim *pairs[MAX_RANK], *flat[MAX_RANK];
    int rank = bytes ? bytes->rank : 0;
    if (rank < 1 || rank >= MAX_RANK)
        return NULL;
    for (int i = 0; i < rank; i++)
        pairs[i] = flat[i] = bytes->shape[i];
    pairs[rank] = build_d(b, 2);
    flat[rank - 1] = dim_mul(b->g->dims, flat[rank - 1], pairs[rank]);
    struct value *x = build_unsqueeze(b, bytes, 1u << rank);
    struct value *shift = build_constant(b, DT_U8, 1, (const int64_t[]){2}, shifts, NULL);
    x = build_binary(b, OP_shr, build_expand(b, x, rank + 1, pairs), shift);
    return build_reshape(b, build_binary(b, OP_and, x, build_int(b, DT_U8, 15)), rank, flat);
}

/* What the cast gives, from packed bytes. */
static struct value *packed(struct builder *b, struct node *cast, int axis)
{
    struct value *x = cast->in[0];
    bool is_signed = x->type == DT_I4;
    enum dtype to = cast->out[0]->type;
    int last = x->rank - 1;
    if (axis < 0)
        axis = last;
    if (x->rank < 1 || !dim_is(dim_mod(b->g->dims, x->shape[axis], build_d(b, 2)), 0))
        return NULL;
    x = build_cast(b, exchange(b, x, axis, last), DT_I32);
    if (is_signed)
        x = build_binary(b, OP_add, x, build_int(b, DT_I32, 8));
    x = quantized_unpack(b, pack(b, build_cast(b, x, DT_U8)));
    if (!x)
        return NULL;
    x = build_cast(b, exchange(b, x, axis, last), to);
    if (x && is_signed)
        x = build_binary(b, OP_sub, x,
                         dtype_is_float(to) ? build_float(b, to, 8) : build_int(b, to, 8));
    return x;
}

bool quantized_pack_weights(struct graph *g, struct node *matmul)
{
    bool changed = false;
    for (int i = 0; i < 2; i++) {
        int axis = matmul->in[i]->rank - (i == 0 ? 1 : 2);
        struct node *cast = find_widening(matmul->in[i], &axis, DEEPEST);
        struct builder b = {g, cast};
        struct value *x = cast ? packed(&b, cast, axis) : NULL;
        if (!x)
            continue;
        value_replace_uses(g, cast->out[0], x);
        changed = true;
    }
    return changed;
}
