/*
 * The first k of a long line: a block would have to sort it alone. So it is cut into segments that
 * a block sorts in shared memory, all at once; what comes first of each is a line k / SEGMENT as
 * long, and so on until one segment is left:
 *
 *     20000 elements ─▶ 5 segments of 4096, the first 100 of each ─▶ 500 elements ─▶ the first 100
 *
 * The last segment is filled up with what comes last. Elements that are alike stay in order: within
 * a segment, and because segments are in order.
 */
#include "passes.h"

#include <math.h>

#include "../ir/build.h"

enum { SEGMENT_BYTES = 16384, FEW = 64, MUCH_WORK = 1 << 20 };

/* An element that nothing comes after, or NULL for types where there is none to be had. */
static struct value *last_of_all(struct builder *b, enum dtype type, bool largest)
{
    int bits = dtype_info[type].bits;
    switch (type) {
    case DT_F16:
    case DT_BF16:
    case DT_F32:
    case DT_F64: return build_float(b, type, largest ? -(double)INFINITY : (double)NAN);
    case DT_I8:
    case DT_I16:
    case DT_I32:
    case DT_I64: {
        int64_t most = INT64_MAX >> (64 - bits);
        return build_int(b, type, largest ? -most - 1 : most);
    }
    case DT_U8:
    case DT_U16:
    case DT_U32: return build_int(b, type, largest ? 0 : ((int64_t)1 << bits) - 1);
    default: return NULL;
    }
}

/* A line being cut down, the last axis of values; places: where the elements were at first, or NULL
 * for where they are. */
struct lines {
    struct value *values, *places, *fill; /* fill: what comes last of all */
    int rank;
    int64_t length;
};

static struct value *with_last(struct builder *b, struct value *x, int rank, int n,
                               const int64_t *last)
{
    const struct dim *shape[MAX_RANK];
    for (int i = 0; i < rank - n; i++)
        shape[i] = x->shape[i];
    for (int i = 0; i < n; i++)
        shape[rank - n + i] = build_d(b, last[i]);
    return build_reshape(b, x, rank, shape);
}

/* The first k of each line, or of each segment: values, and places along the last axis. */
static struct value *first_of(struct builder *b, struct value *x, int64_t k, bool largest)
{
    union attr attr = {.top_k = {x->rank - 1, build_d(b, k), largest}};
    return build_tensor(b, OP_top_k, 1, &x, &attr);
}

static struct value *pick(struct builder *b, struct value *places, struct value *which)
{
    union attr attr = {.gather_elements = {which->rank - 1}};
    return places ? build_tensor(b, OP_gather_elements, 2, (struct value *[]){places, which}, &attr)
                  : which;
}

static bool cut(struct builder *b, struct lines *l, int64_t segment, int64_t k, bool largest)
{
    int64_t count = (l->length + segment - 1) / segment, missing = count * segment - l->length;
    const struct dim *low[MAX_RANK], *high[MAX_RANK];
    struct value *x = l->values;
    for (int i = 0; i < l->rank; i++)
        low[i] = high[i] = build_d(b, 0);
    high[l->rank - 1] = build_d(b, missing);
    if (missing)
        x = build_pad(b, x, low, high, PAD_CONSTANT, l->fill);
    x = x ? with_last(b, x, l->rank + 1, 2, (int64_t[]){count, segment}) : NULL;
    struct value *best = x ? first_of(b, x, k, largest) : NULL;
    if (!best)
        return false;
    struct value *first = build_iota(b, DT_I64, best->rank, best->shape, l->rank - 1);
    first = build_binary(b, OP_mul, first, build_int(b, DT_I64, segment));
    struct value *where = build_binary(b, OP_add, best->def->out[1], first);
    l->length = count * k;
    l->values = with_last(b, best, l->rank, 1, &l->length);
    where = where ? with_last(b, where, l->rank, 1, &l->length) : NULL;
    l->places = where ? pick(b, l->places, where) : NULL;
    return l->values && l->places;
}

/* Moves the axis to the end, or (back) the end to the axis. */
static struct value *turn(struct builder *b, struct value *x, int axis, bool back)
{
    int perm[MAX_RANK];
    if (!x || axis == x->rank - 1)
        return x;
    for (int i = 0; i < x->rank; i++) {
        int moved = i < axis ? i : i == x->rank - 1 ? axis : i + 1;
        if (back)
            perm[moved] = i;
        else
            perm[i] = moved;
    }
    return build_transpose(b, x, perm);
}

static int64_t segment_of(const struct node *node)
{
    return SEGMENT_BYTES / (dtype_size(node->in[0]->type) == 8 ? 8 : 4);
}

static bool is_long(const struct node *node)
{
    int64_t n, k;
    const struct value *x = node->in[0];
    bool known =
        dim_is_const(node->attr.top_k.k, &k) && dim_is_const(x->shape[node->attr.top_k.axis], &n);
    return known && n > segment_of(node) && n <= INT32_MAX && k > 0 && 4 * k <= segment_of(node) &&
           (k > FEW || n * k > MUCH_WORK) && x->rank < MAX_RANK;
}

static bool split(struct graph *g, struct node *node)
{
    if (node->op != OP_top_k)
        return false;
    struct builder b = {g, node};
    int axis = (int)node->attr.top_k.axis;
    bool largest = node->attr.top_k.largest;
    int64_t k, segment = segment_of(node);
    if (!is_long(node) || !dim_is_const(node->attr.top_k.k, &k))
        return false;
    struct lines l = {.values = turn(&b, node->in[0], axis, false), .rank = node->in[0]->rank};
    l.fill = last_of_all(&b, node->in[0]->type, largest);
    if (!l.values || !l.fill)
        return false;
    dim_is_const(l.values->shape[l.rank - 1], &l.length);
    while (l.length > segment)
        if (!cut(&b, &l, segment, k, largest))
            return false;
    struct value *best = first_of(&b, l.values, k, largest);
    struct value *values = turn(&b, best, axis, true);
    struct value *places =
        best ? turn(&b, pick(&b, l.places, best->def->out[1]), axis, true) : NULL;
    if (!values || !places)
        return false;
    value_replace_uses(g, node->out[0], values);
    value_replace_uses(g, node->out[1], places);
    node_remove(g, node);
    return true;
}

bool pass_split_top_k(struct graph *g)
{
    return pass_each_node(g, split);
}
