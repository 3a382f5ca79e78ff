/*
 * Operators that give the same elements another shape. Sizes, axes and repeats may be graph inputs:
 * all of it is arithmetic of dims, which folds where they are known.
 */
#include "lower.h"

static bool rank_fits(struct call *c, int rank)
{
    return rank <= MAX_RANK || call_unsupported(c, "rank %d, and gpucc goes to %d", rank, MAX_RANK);
}

/*
 * A size that only the run knows, as max(d, 0): products of such stay products, where
 * multiplied-out sums of cases would grow without bound.
 */
static const struct dim *opaque_size(struct call *c, const struct dim *d)
{
    return D(max, d, d_const(c, 0));
}

/*
 * Reshape's sizes: 0 copies the operand's (unless allowzero), -1 takes what is left. A size that
 * comes from other sizes is taken as it is: where it is 0, so is the count of elements.
 */
static bool reshape_sizes(struct call *c, const struct value *x, int n, const struct dim **d)
{
    const struct dim *zero = d_const(c, 0), *one = d_const(c, 1), *given = one;
    const struct dim *is_rest[MAX_RANK];
    bool unknown[MAX_RANK];
    bool allow_zero = attr_int(c, "allowzero", 0) != 0;
    int rests = 0;
    for (int i = 0; i < n; i++) {
        bool coded = dim_is_const(d[i], NULL) || dim_from_data(c, d[i]);
        is_rest[i] = coded ? D(eq, d[i], d_const(c, -1)) : zero;
        if (!graph_constrain(c->b->g, MUST_LESS_EQUAL, d_const(c, -1), d[i],
                             "%s: size %d is negative", c->b->g->origin, i))
            return false;
        if (!allow_zero && coded) {
            if (i >= x->rank && dim_is(d[i], 0))
                return call_error(c, "size %d is 0, but its operand has rank %d", i, x->rank);
            if (i < x->rank)
                d[i] = D(select, D(eq, d[i], zero), x->shape[i], d[i]);
        }
        rests += dim_is(is_rest[i], 1);
        unknown[i] = coded && !dim_is_const(is_rest[i], NULL);
        const struct dim *factor = D(select, is_rest[i], one, d[i]);
        given = D(mul, given, unknown[i] ? opaque_size(c, factor) : factor);
    }
    if (rests > 1)
        return call_error(c, "more than one size is -1");
    if (rests && dim_is(given, 0))
        return call_error(c, "a size of -1 beside a size of 0");
    const struct dim *all = value_elements(c->b->g, x);
    for (int i = 0; i < n; i++) {
        if (!dim_is(is_rest[i], 0)) {
            const struct dim *rest = D(divide_exact, all, given);
            d[i] = D(select, is_rest[i], rest ? rest : D(floordiv, all, given), d[i]);
        }
        if (unknown[i])
            d[i] = opaque_size(c, d[i]);
        int64_t value;
        if (dim_is_const(d[i], &value) && value < 0)
            return call_error(c, "size %d is %lld", i, (long long)value);
    }
    return true;
}

bool lower_reshape(struct call *c)
{
    const struct dim *d[MAX_ELEMENTS];
    const int64_t *given;
    int n = c->opset < 5 ? attr_ints(c, "shape", &given) : call_dims(c, 1, d);
    if (n < 0 || !rank_fits(c, n))
        return false;
    for (int i = 0; i < n && c->opset < 5; i++)
        d[i] = d_const(c, given[i]);
    return reshape_sizes(c, c->in[0], n, d) && call_result(c, build_reshape(c->b, c->in[0], n, d));
}

bool lower_flatten(struct call *c)
{
    const struct value *x = c->in[0];
    int64_t axis = attr_int(c, "axis", 1);
    if (axis < -x->rank || axis > x->rank)
        return call_error(c, "axis %lld is out of range for rank %d", (long long)axis, x->rank);
    axis = axis < 0 ? axis + x->rank : axis;
    const struct dim *d[2] = {d_const(c, 1), d_const(c, 1)};
    for (int i = 0; i < x->rank; i++)
        d[i >= axis] = D(mul, d[i >= axis], x->shape[i]);
    return call_result(c, build_reshape(c->b, c->in[0], 2, d));
}

/* Axes of an attribute (until opset 12) or of input 1 as dims; -1 after reporting, 0: none given.
 */
static int axes_of(struct call *c, const struct dim *d[MAX_ELEMENTS])
{
    if (c->opset >= 13)
        return c->in[1] ? call_dims(c, 1, d) : 0;
    const int64_t *given;
    int n = attr_ints(c, "axes", &given);
    for (int i = 0; i < n; i++)
        d[i] = d_const(c, given[i]);
    return c->failed ? -1 : n;
}

/* Of d[0..n), the element that the dim `index` selects. */
static const struct dim *choose(struct call *c, const struct dim *index, int n,
                                const struct dim *const *d)
{
    int64_t known;
    if (dim_is_const(index, &known) && known >= 0 && known < n)
        return d[known];
    const struct dim *sum = d_const(c, 0);
    for (int i = 0; i < n; i++)
        sum = D(add, sum, D(mul, D(eq, index, d_const(c, i)), d[i]));
    return sum;
}

bool lower_unsqueeze(struct call *c)
{
    const struct value *x = c->in[0];
    const struct dim *axes[MAX_ELEMENTS], *is_new[MAX_RANK], *d[MAX_RANK];
    int n = axes_of(c, axes), rank = x->rank + n;
    if (n < 0 || !rank_fits(c, rank) || !mark_axes(c, n, axes, rank, is_new))
        return false;
    const struct dim *taken = d_const(c, 0);
    for (int i = 0; i < rank; i++) {
        const struct dim *is_old = D(sub, d_const(c, 1), is_new[i]);
        d[i] = dim_is(is_new[i], 1)
                   ? is_new[i]
                   : D(add, is_new[i], D(mul, is_old, choose(c, taken, x->rank, x->shape)));
        taken = D(add, taken, is_old);
    }
    return call_result(c, build_reshape(c->b, c->in[0], rank, d));
}

/* Without axes, all axes of size 1 go: which ones must be known, since they decide the rank. A size
 * that only the run tells is taken for another one, and the plan checks that it is. */
static bool squeeze_all(struct call *c)
{
    uint32_t mask = 0;
    for (int i = 0; i < c->in[0]->rank; i++) {
        const struct dim *d = c->in[0]->shape[i], *one = d_const(c, 1);
        if (d == one)
            mask |= 1u << i;
        else if (!graph_constrain(c->b->g, MUST_EQUAL, D(eq, d, one), d_const(c, 0),
                                  "%s: it names no axes, and this plan keeps axis %d; is its "
                                  "size 1 (1 yes, 0 no)",
                                  c->b->g->origin, i))
            return false;
    }
    return call_result(c, build_squeeze(c->b, c->in[0], mask));
}

bool lower_squeeze(struct call *c)
{
    const struct value *x = c->in[0];
    const struct dim *axes[MAX_ELEMENTS], *goes[MAX_RANK], *d[MAX_RANK];
    int n = axes_of(c, axes), rank = x->rank - n;
    if (n == 0 && !(c->opset >= 13 && c->in[1]))
        return squeeze_all(c);
    if (n < 0)
        return false;
    if (rank < 0)
        return call_error(c, "%d axes, but its operand has rank %d", n, x->rank);
    if (!mark_axes(c, n, axes, x->rank, goes))
        return false;
    for (int i = 0; i < x->rank; i++) {
        const struct dim *one = d_const(c, 1);
        if (!graph_constrain(c->b->g, MUST_EQUAL, D(select, goes[i], x->shape[i], one), one,
                             "%s: axis %d is to be squeezed and must have size 1", c->b->g->origin,
                             i))
            return false;
    }
    unmarked_sizes(c, x->rank, x->shape, goes, rank, d);
    return call_result(c, build_reshape(c->b, c->in[0], rank, d));
}

bool lower_transpose(struct call *c)
{
    int rank = c->in[0]->rank, perm[MAX_RANK];
    int64_t given[MAX_RANK];
    uint32_t mask;
    if (!attr_given(c, "perm")) {
        for (int i = 0; i < rank; i++)
            perm[i] = rank - 1 - i;
        return call_result(c, build_transpose(c->b, c->in[0], perm));
    }
    if (!attr_ints_exactly(c, "perm", rank, 0, given) || !call_axes(c, rank, given, rank, &mask))
        return false;
    for (int i = 0; i < rank; i++)
        perm[i] = call_axis(c, given[i], rank);
    return call_result(c, build_transpose(c->b, c->in[0], perm));
}

/* The size that x (of an axis) and a requested size broadcast to. */
static const struct dim *broadcast(struct call *c, const struct dim *x, const struct dim *size)
{
    const struct dim *one = d_const(c, 1);
    int64_t known;
    if (x == size || size == one)
        return x;
    if (x == one || (dim_is_const(size, &known) && known != 1))
        return size; /* the builder checks that x is 1 or the same */
    const struct dim *both = D(select, D(eq, size, one), x, size);
    if (!dim_is_const(x, &known))
        return both;
    return graph_constrain(c->b->g, MUST_BROADCAST, size, x, "%s: size of its result",
                           c->b->g->origin)
               ? x
               : NULL;
}

bool lower_expand(struct call *c)
{
    const struct value *x = c->in[0];
    const struct dim *given[MAX_ELEMENTS], *d[MAX_RANK];
    int n = call_dims(c, 1, given), rank = n > x->rank ? n : x->rank;
    if (n < 0 || !rank_fits(c, rank))
        return false;
    for (int i = 0; i < rank; i++) {
        int at = i - (rank - x->rank), wanted = i - (rank - n);
        d[i] = at < 0       ? given[wanted]
               : wanted < 0 ? x->shape[at]
                            : broadcast(c, x->shape[at], given[wanted]);
        if (!d[i])
            return false;
    }
    return call_result(c, build_expand(c->b, c->in[0], rank, d));
}

/* [d0, d1, …] → [1, d0, 1, d1, …] → [r0, d0, r1, d1, …] → [r0 d0, r1 d1, …]; only for repeats not 1
 */
bool lower_tile(struct call *c)
{
    const struct value *x = c->in[0];
    const struct dim *repeats[MAX_ELEMENTS], *thin[2 * MAX_RANK], *wide[2 * MAX_RANK];
    const struct dim *joined[MAX_RANK];
    int n = call_dims(c, 1, repeats), rank = 0;
    if (n < 0)
        return false;
    if (n != x->rank)
        return call_error(c, "%d repeats for an operand of rank %d", n, x->rank);
    for (int i = 0; i < n; i++) {
        int64_t known;
        if (dim_is_const(repeats[i], &known) && known < 0)
            return call_error(c, "%lld repeats", (long long)known);
        joined[i] = D(mul, repeats[i], x->shape[i]);
        if (!dim_is(repeats[i], 1)) {
            thin[rank] = d_const(c, 1);
            wide[rank++] = repeats[i];
        }
        thin[rank] = wide[rank] = x->shape[i];
        rank++;
    }
    if (!rank_fits(c, rank))
        return false;
    struct value *v = build_reshape(c->b, c->in[0], rank, thin);
    return call_result(c, build_reshape(c->b, build_expand(c->b, v, rank, wide), n, joined));
}
