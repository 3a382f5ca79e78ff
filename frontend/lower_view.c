/* Parts of tensors put elsewhere: Concat, Split, Slice, Pad and their kin. Places may be inputs. */
#include "lower.h"

#include <string.h>

bool lower_concat(struct call *c)
{
    if (c->opset >= 4 && !attr_given(c, "axis"))
        return call_error(c, "attribute 'axis' is missing");
    int axis = call_axis(c, attr_int(c, "axis", 1), c->in[0]->rank);
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i]->type != c->in[0]->type)
            return call_error(c, "input %d is of another type than the first", i);
    return axis >= 0 && call_result(c, build_concat(c->b, c->n_in, c->in, axis));
}

/* Sizes of Split's parts: given, or equal; with num_outputs the last may be smaller. */
static bool split_sizes(struct call *c, const struct dim *whole,
                        const struct dim *size[MAX_ELEMENTS])
{
    const int64_t *given;
    int n = 0, parts = c->n_out;
    if (parts < 1 || parts > MAX_ELEMENTS)
        return call_error(c, "%d outputs", parts);
    if (c->opset < 13)
        n = attr_ints(c, "split", &given);
    for (int i = 0; i < n; i++)
        size[i] = d_const(c, given[i]);
    if (c->in[1])
        n = call_dims(c, 1, size);
    if (n < 0 || c->failed)
        return false;
    if (n > 0 || c->in[1])
        return n == parts || call_error(c, "%d sizes for %d outputs", n, parts);
    if (attr_int(c, "num_outputs", parts) != parts)
        return call_error(c, "num_outputs is not its count of outputs");
    const struct dim *chunk = D(ceildiv, whole, d_const(c, parts));
    for (int i = 0; i < parts; i++) {
        const struct dim *left = D(sub, whole, D(mul, chunk, d_const(c, i)));
        size[i] = dim_is(D(mod, whole, d_const(c, parts)), 0)
                      ? chunk
                      : D(max, D(min, chunk, left), d_const(c, 0));
    }
    return c->opset >= 18 ||
           graph_constrain(c->b->g, MUST_EQUAL, D(mul, chunk, d_const(c, parts)), whole,
                           "%s: it splits into %d equal parts", c->b->g->origin, parts);
}

bool lower_split(struct call *c)
{
    const struct dim *size[MAX_ELEMENTS], *start = d_const(c, 0);
    int axis = call_axis(c, attr_int(c, "axis", 0), c->in[0]->rank);
    if (axis < 0 || !split_sizes(c, c->in[0]->shape[axis], size))
        return false;
    const struct dim *sum = start;
    for (int i = 0; i < c->n_out; i++)
        sum = D(add, sum, size[i]);
    if (!graph_constrain(c->b->g, MUST_EQUAL, sum, c->in[0]->shape[axis],
                         "%s: its parts must add up to its operand", c->b->g->origin))
        return false;
    for (int i = 0; i < c->n_out; i++) {
        c->out[i] = build_slice_axis(c->b, c->in[0], axis, start, size[i]);
        if (!c->out[i])
            return false;
        start = D(add, start, size[i]);
    }
    return true;
}

/* A position of a slice as ONNX gives it, made an index within [low, high] of an axis of size d. */
static const struct dim *clamp_position(struct call *c, const struct dim *p, const struct dim *d,
                                        const struct dim *low, const struct dim *high)
{
    int64_t known, lower, upper;
    /* Exporters write INT32_MAX or INT64_MAX for "to the end", and the negated for "to the start".
     */
    if (dim_is_const(p, &known) && known >= INT32_MAX)
        return high;
    if (dim_is_const(p, &known) && known <= -INT32_MAX)
        return D(min, low, high);
    dim_bounds(p, &lower, &upper);
    if (lower < 0)
        p = D(add, p, D(mul, D(lt, p, d_const(c, 0)), d));
    return D(min, D(max, p, low), high); /* of an empty axis, backwards, high is -1 */
}

struct range {
    const struct dim *start, *step, *size;
};

/* What [start : end : step] means for an axis of size d. The sign of step decides the limits. */
static struct range slice_range(struct call *c, const struct dim *start, const struct dim *end,
                                const struct dim *step, const struct dim *d)
{
    const struct dim *zero = d_const(c, 0), *back = D(lt, step, zero);
    const struct dim *low = D(sub, zero, back), *high = D(sub, d, back);
    const struct dim *from = clamp_position(c, start, d, zero, high);
    const struct dim *to = clamp_position(c, end, d, low, d);
    const struct dim *span = D(sub, to, from), *count;
    int64_t by;
    if (dim_is_const(step, &by) && by != INT64_MIN)
        count = D(ceildiv, by < 0 ? D(sub, from, to) : span, d_const(c, by < 0 ? -by : by));
    else /* ceil(span / step), whatever the sign of step */
        count = D(sub, zero, D(floordiv, D(sub, from, to), step));
    return (struct range){from, step, D(max, count, zero)};
}

/*
 * Slices axis axes[k] from start[k] to end[k]. Where an axis is not known, every axis i gets the
 * sum over k of (axes[k] == i) * what k asks for.
 */
static bool slice(struct call *c, int n, const struct dim *const *starts,
                  const struct dim *const *ends, const struct dim *const *axes,
                  const struct dim *const *steps)
{
    const struct value *x = c->in[0];
    const struct dim *start[MAX_RANK], *step[MAX_RANK], *size[MAX_RANK], *zero = d_const(c, 0);
    for (int k = 0; k < n; k++) {
        int64_t known;
        if (dim_is_const(axes[k], &known) && call_axis(c, known, x->rank) < 0)
            return false;
        if (dim_is(steps[k], 0))
            return call_error(c, "a step of 0");
    }
    for (int i = 0; i < x->rank; i++) {
        const struct dim *untouched = d_const(c, 1);
        start[i] = step[i] = size[i] = zero;
        for (int k = 0; k < n; k++) {
            const struct dim *here = D(eq, dim_axis(c, axes[k], x->rank), d_const(c, i));
            if (dim_is(here, 0))
                continue;
            struct range r = slice_range(c, starts[k], ends[k], steps[k], x->shape[i]);
            start[i] = D(add, start[i], D(mul, here, r.start));
            step[i] = D(add, step[i], D(mul, here, r.step));
            size[i] = D(add, size[i], D(mul, here, r.size));
            untouched = D(sub, untouched, here);
        }
        if (!graph_constrain(c->b->g, MUST_LESS_EQUAL, zero, untouched,
                             "%s: axis %d is sliced twice", c->b->g->origin, i))
            return false;
        step[i] = D(add, step[i], untouched);
        size[i] = D(add, size[i], D(mul, untouched, x->shape[i]));
    }
    return call_result(c, build_slice(c->b, c->in[0], start, step, size));
}

bool lower_slice_attributes(struct call *c)
{
    const struct dim *d[4][MAX_ELEMENTS];
    const int64_t *starts, *ends, *axes;
    int n = attr_ints(c, "starts", &starts);
    int n_ends = attr_ints(c, "ends", &ends), n_axes = attr_ints(c, "axes", &axes);
    if (n_ends != n || (n_axes && n_axes != n))
        return call_error(c, "starts, ends and axes differ in count");
    for (int i = 0; i < n; i++) {
        d[0][i] = d_const(c, starts[i]);
        d[1][i] = d_const(c, ends[i]);
        d[2][i] = d_const(c, n_axes ? axes[i] : i);
        d[3][i] = d_const(c, 1);
    }
    return slice(c, n, d[0], d[1], d[2], d[3]);
}

bool lower_slice(struct call *c)
{
    const struct dim *d[4][MAX_ELEMENTS];
    int n = -1;
    for (int j = 0; j < 4; j++) {
        bool given = c->in[1 + j];
        int count = given ? call_dims(c, 1 + j, d[j]) : n;
        if (count < 0)
            return false;
        if (j > 0 && count != n)
            return call_error(c, "starts, ends, axes and steps differ in count");
        n = count;
        for (int i = 0; i < n && !given; i++)
            d[j][i] = d_const(c, j == 2 ? i : 1);
    }
    return slice(c, n, d[0], d[1], d[2], d[3]);
}

/* Pads per axis from a list of all begins, then all ends, of the axes named (or all). */
static bool pad_amounts(struct call *c, int n, const struct dim *const *pads,
                        const struct dim **low, const struct dim **high)
{
    int rank = c->in[0]->rank, n_axes = rank;
    const struct dim *axes[MAX_ELEMENTS];
    if (c->in[3] && (n_axes = call_dims(c, 3, axes)) < 0)
        return false;
    if (n != 2 * n_axes)
        return call_error(c, "%d pads for %d axes", n, n_axes);
    for (int i = 0; i < rank; i++) {
        low[i] = c->in[3] ? d_const(c, 0) : pads[i];
        high[i] = c->in[3] ? d_const(c, 0) : pads[rank + i];
        for (int k = 0; k < n_axes && c->in[3]; k++) {
            const struct dim *here = D(eq, dim_axis(c, axes[k], rank), d_const(c, i));
            low[i] = D(add, low[i], D(mul, here, pads[k]));
            high[i] = D(add, high[i], D(mul, here, pads[n_axes + k]));
        }
    }
    return true;
}

bool lower_pad(struct call *c)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap", NULL};
    static const enum pad_mode modes[] = {PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP};
    const struct dim *pads[MAX_ELEMENTS], *low[MAX_RANK], *high[MAX_RANK];
    const int64_t *given;
    enum pad_mode mode = modes[attr_choice(c, "mode", names, 0)];
    int n = c->opset < 11 ? attr_ints(c, "pads", &given) : call_dims(c, 1, pads);
    for (int i = 0; i < n && c->opset < 11; i++)
        pads[i] = d_const(c, given[i]);
    if (n < 0 || !pad_amounts(c, n, pads, low, high))
        return false;
    struct value *fill = NULL;
    if (mode == PAD_CONSTANT)
        fill = c->in[2] ? build_reshape(c->b, c->in[2], 0, NULL)
                        : v_number(c, c->in[0], attr_float(c, "value", 0));
    if (mode == PAD_CONSTANT && !fill)
        return false;
    return call_result(c, build_pad(c->b, c->in[0], low, high, mode, fill));
}

/* Blocks of channels become blocks of the image: which of the split axes goes where. */
bool lower_depth_to_space(struct call *c)
{
    static const char *const modes[] = {"DCR", "CRD", NULL};
    struct value *x = c->in[0];
    int64_t size = attr_int(c, "blocksize", 0);
    if (x->rank != 4 || size < 1 || size > INT16_MAX)
        return call_error(c, "blocksize %lld for an operand of rank %d", (long long)size, x->rank);
    const struct dim *s = d_const(c, size),
                     *depth = D(floordiv, x->shape[1], d_const(c, size * size));
    bool depth_first = attr_choice(c, "mode", modes, 0) == 0;
    const struct dim *split[6] = {
        x->shape[0], depth_first ? s : depth, s, depth_first ? depth : s, x->shape[2], x->shape[3]};
    const int *perm = depth_first ? (int[]){0, 3, 4, 1, 5, 2} : (int[]){0, 1, 4, 2, 5, 3};
    const struct dim *joined[4] = {x->shape[0], depth, D(mul, x->shape[2], s),
                                   D(mul, x->shape[3], s)};
    struct value *v = build_transpose(c->b, build_reshape(c->b, x, 6, split), perm);
    return call_result(c, build_reshape(c->b, v, 4, joined));
}

bool lower_space_to_depth(struct call *c)
{
    struct value *x = c->in[0];
    int64_t size = attr_int(c, "blocksize", 0);
    if (x->rank != 4 || size < 1 || size > INT16_MAX)
        return call_error(c, "blocksize %lld for an operand of rank %d", (long long)size, x->rank);
    const struct dim *s = d_const(c, size);
    const struct dim *h = D(floordiv, x->shape[2], s), *w = D(floordiv, x->shape[3], s);
    const struct dim *split[6] = {x->shape[0], x->shape[1], h, s, w, s};
    const struct dim *joined[4] = {x->shape[0], D(mul, x->shape[1], d_const(c, size * size)), h, w};
    struct value *v =
        build_transpose(c->b, build_reshape(c->b, x, 6, split), (int[]){0, 3, 5, 1, 2, 4});
    return call_result(c, build_reshape(c->b, v, 4, joined));
}

/* Each axis named is cropped or padded with zeros, around its middle, to the size asked for. */
bool lower_center_crop_pad(struct call *c)
{
    struct value *x = c->in[0];
    const struct dim *wanted[MAX_ELEMENTS], *zero = d_const(c, 0), *two = d_const(c, 2);
    const struct dim *start[MAX_RANK], *step[MAX_RANK], *size[MAX_RANK], *low[MAX_RANK],
        *high[MAX_RANK];
    const int64_t *given;
    int n = call_dims(c, 1, wanted), n_axes = attr_ints(c, "axes", &given);
    if (n < 0)
        return false;
    if (n != (n_axes ? n_axes : x->rank))
        return call_error(c, "%d sizes for %d axes", n, n_axes ? n_axes : x->rank);
    for (int i = 0; i < x->rank; i++) {
        start[i] = low[i] = high[i] = zero;
        step[i] = d_const(c, 1);
        size[i] = x->shape[i];
    }
    for (int k = 0; k < n; k++) {
        int axis = call_axis(c, n_axes ? given[k] : k, x->rank);
        if (axis < 0)
            return false;
        const struct dim *d = x->shape[axis], *s = wanted[k];
        start[axis] = D(floordiv, D(max, D(sub, d, s), zero), two);
        size[axis] = D(min, d, s);
        const struct dim *missing = D(sub, s, size[axis]);
        low[axis] = D(floordiv, missing, two);
        high[axis] = D(sub, missing, low[axis]);
    }
    struct value *v = build_slice(c->b, x, start, step, size);
    return call_result(c, build_pad(c->b, v, low, high, PAD_CONSTANT, v_number(c, x, 0)));
}
