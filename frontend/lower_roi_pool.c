/*
 * MaxRoiPool: the largest element of each bin of a region. Bins are of any size, known only at run
 * time, so an axis at a time is reduced whole, with elements outside of the bin left out.
 */
#include "lower.h"

#include <math.h>

struct regions {
    struct value *corners; /* [regions, 5]: image, x, y, x, y */
    double scale;
};

/* Column i of the regions, f32 [regions]. */
static struct value *column(struct call *c, const struct regions *r, int i)
{
    return build_squeeze(c->b, build_slice_axis(c->b, r->corners, 1, d_const(c, i), d_const(c, 1)),
                         1u << 1);
}

/* A corner in the features, as a whole number: halves away from zero, as C rounds. */
static struct value *corner(struct call *c, const struct regions *r, int i)
{
    struct value *v = v_mul_number(c, column(c, r, i), r->scale);
    struct value *size = v_add_number(c, build_unary(c->b, OP_abs, v), 0.5);
    struct value *magnitude = build_unary(c->b, OP_floor, size);
    return v_mul(c, build_unary(c->b, OP_sign, v), magnitude);
}

/* bool [regions, bins, size]: the places of an axis that belong to a bin. first: the column of the
 * corner where regions begin; the one two on is where they end. */
static struct value *membership(struct call *c, const struct regions *r, int first, int64_t bins,
                                const struct dim *size)
{
    const struct dim *n = d_const(c, bins);
    struct value *start = corner(c, r, first), *end = corner(c, r, first + 2);
    struct value *length = v_add_number(c, v_sub(c, end, start), 1);
    length = length ? v_max(c, length, v_number(c, length, 1)) : NULL;
    struct value *step = v_div(c, length, v_number(c, length, (double)bins));
    step = build_unsqueeze(c->b, step, 1u << 1);
    struct value *bin = build_cast(c->b, build_iota(c->b, DT_I64, 1, &n, 0), DT_F32);
    struct value *place = build_cast(c->b, build_iota(c->b, DT_I64, 1, &size, 0), DT_F32);
    start = build_unsqueeze(c->b, start, 1u << 1);
    struct value *from = v_add(c, build_unary(c->b, OP_floor, v_mul(c, bin, step)), start);
    struct value *to = v_mul(c, v_add_number(c, bin, 1), step);
    to = v_add(c, build_unary(c->b, OP_ceil, to), start);
    struct value *below = v_lt(c, place, build_unsqueeze(c->b, to, 1u << 2));
    return v_and(c, v_le(c, build_unsqueeze(c->b, from, 1u << 2), place), below);
}

/* The largest elements of x along its last axis, in each bin: x [regions, C, A, size], in
 * [regions, bins, size] → [regions, C, A, bins]; where there is none, what x cannot be less than.
 */
static struct value *largest(struct call *c, struct value *x, struct value *in)
{
    x = build_unsqueeze(c->b, x, 1u << 3);
    in = build_unsqueeze(c->b, in, 1u << 1 | 1u << 2);
    if (!x || !in)
        return NULL;
    struct value *kept = build_select(c->b, in, x, build_float(c->b, x->type, -INFINITY));
    return build_reduce(c->b, OP_reduce_max, kept, 1u << 4, false);
}

bool lower_max_roi_pool(struct call *c)
{
    struct value *x = c->in[0], *rows = c->in[1];
    const int64_t *bins;
    if (attr_ints(c, "pooled_shape", &bins) != 2 || bins[0] < 1 || bins[1] < 1)
        return c->failed ? false : call_error(c, "pooled_shape must be two positive numbers");
    if (x->rank != 4 || rows->rank != 2 || !dtype_is_float(x->type) || rows->type != x->type)
        return call_error(c, "it takes images of rank 4 and regions of rank 2, of one float type");
    if (!graph_constrain(c->b->g, MUST_EQUAL, rows->shape[1], d_const(c, 5),
                         "%s: a region is five numbers", c->place))
        return false;
    struct regions r = {.corners = build_cast(c->b, rows, DT_F32)};
    r.scale = attr_float(c, "spatial_scale", 1);
    struct value *image = build_cast(c->b, column(c, &r, 0), DT_I64);
    struct value *v = build_gather(c->b, x, image, 0); /* [regions, C, H, W] */
    v = largest(c, v, membership(c, &r, 1, bins[1], x->shape[3]));
    v = v ? build_transpose(c->b, v, (int[]){0, 1, 3, 2}) : NULL; /* [regions, C, bins, H] */
    v = largest(c, v, membership(c, &r, 2, bins[0], x->shape[2]));
    v = v ? build_transpose(c->b, v, (int[]){0, 1, 3, 2}) : NULL;
    if (!v)
        return false;
    struct value *lowest = build_float(c->b, v->type, -INFINITY); /* a bin without a place is 0 */
    struct value *zero = v_number(c, v, 0);
    return call_result(c, build_select(c->b, v_eq(c, v, lowest), zero, v));
}
