/* Tensors made from sizes and positions, and operators that are masks over positions. */
#include "lower.h"

#include <math.h>

/* The scalar in input i as i64. */
static struct value *scalar_i64(struct call *c, int i)
{
    return build_cast(c->b, build_reshape(c->b, c->in[i], 0, NULL), DT_I64);
}

/* max(ceil((limit - start) / delta), 0), for floats computed as a tensor. */
static const struct dim *range_count(struct call *c)
{
    const struct dim *zero = d_const(c, 0), *d[MAX_ELEMENTS];
    if (!dtype_is_float(c->in[0]->type)) {
        const struct dim *start = call_dim(c, 0), *limit = call_dim(c, 1), *delta = call_dim(c, 2);
        if (!start || !limit || !delta)
            return NULL;
        if (dim_is(delta, 0))
            return call_error(c, "a delta of 0"), NULL;
        return D(max, D(sub, zero, D(floordiv, D(sub, start, limit), delta)), zero);
    }
    struct value *span = v_div(c, v_sub(c, c->in[1], c->in[0]), c->in[2]);
    struct value *count = build_cast(c->b, build_unary(c->b, OP_ceil, span), DT_I64);
    int n = value_dims(c, count, "its count of elements", d);
    if (n >= 0 && n != 1)
        call_error(c, "its limits must be scalars");
    return n == 1 ? D(max, d[0], zero) : NULL;
}

bool lower_range(struct call *c)
{
    enum dtype type = c->in[0]->type;
    for (int i = 0; i < 3; i++)
        if (c->in[i]->type != type)
            return call_error(c, "start, limit and delta differ in type");
    const struct dim *count = range_count(c);
    if (!count)
        return false;
    struct value *index = build_cast(c->b, build_iota(c->b, DT_I64, 1, &count, 0), type);
    struct value *start = build_reshape(c->b, c->in[0], 0, NULL);
    struct value *delta = build_reshape(c->b, c->in[2], 0, NULL);
    return call_result(c, v_add(c, v_mul(c, index, delta), start));
}

bool lower_eye_like(struct call *c)
{
    const struct value *x = c->in[0];
    enum dtype type = attr_dtype(c, "dtype", x->type);
    if (x->rank != 2)
        return call_error(c, "its operand has rank %d, not 2", x->rank);
    struct value *row = build_iota(c->b, DT_I64, 2, x->shape, 0);
    struct value *column = build_iota(c->b, DT_I64, 2, x->shape, 1);
    struct value *k = build_int(c->b, DT_I64, attr_int(c, "k", 0));
    return call_result(c, build_cast(c->b, v_eq(c, v_add(c, row, k), column), type));
}

bool lower_trilu(struct call *c)
{
    struct value *x = c->in[0];
    if (x->rank < 2)
        return call_error(c, "its operand has rank %d", x->rank);
    struct value *row = build_iota(c->b, DT_I64, 2, x->shape + x->rank - 2, 0);
    struct value *column = build_iota(c->b, DT_I64, 2, x->shape + x->rank - 2, 1);
    struct value *diagonal = c->in[1] ? v_add(c, row, scalar_i64(c, 1)) : row;
    struct value *keep =
        attr_int(c, "upper", 1) ? v_le(c, diagonal, column) : v_le(c, column, diagonal);
    struct value *zero = x->type == DT_BOOL ? build_int(c->b, DT_BOOL, 0) : v_number(c, x, 0);
    return call_result(c, build_select(c->b, keep, x, zero));
}

/* a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N) */
bool lower_window(struct call *c)
{
    enum { HANN, HAMMING, BLACKMAN };
    static const double factors[][3] = {
        [HANN] = {0.5, 0.5, 0},
        [HAMMING] = {25.0 / 46, 21.0 / 46, 0},
        [BLACKMAN] = {0.42, 0.5, 0.08},
    };
    const double *a = factors[c->row->variant];
    enum dtype to = attr_dtype(c, "output_datatype", DT_F32);
    const struct dim *size = call_dim(c, 0);
    if (!size)
        return false;
    enum dtype type = to == DT_F64 ? DT_F64 : DT_F32;
    struct value *n = build_cast(c->b, build_iota(c->b, DT_I64, 1, &size, 0), type);
    struct value *whole = build_cast(c->b, build_dim(c->b, size), type);
    if (!attr_int(c, "periodic", 1))
        whole = v_add_number(c, whole, -1);
    struct value *angle = v_div(c, v_mul_number(c, n, 2 * M_PI), whole);
    struct value *wave = v_mul_number(c, build_unary(c->b, OP_cos, angle), -a[1]);
    if (a[2] != 0) {
        struct value *twice = build_unary(c->b, OP_cos, v_mul_number(c, angle, 2));
        wave = v_add(c, wave, v_mul_number(c, twice, a[2]));
    }
    return call_result(c, build_cast(c->b, v_add_number(c, wave, a[0]), to));
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

/* Cofactors along the first row; the matrices must be small, and their size known. */
static struct value *determinant(struct call *c, struct value *const *m, int n, int stride)
{
    if (n == 1)
        return m[0];
    struct value *sum = NULL, *minor[16];
    for (int k = 0; k < n; k++) {
        for (int i = 1; i < n; i++)
            for (int j = 0, to = 0; j < n; j++)
                if (j != k)
                    minor[(i - 1) * (n - 1) + to++] = m[i * stride + j];
        struct value *term = v_mul(c, m[k], determinant(c, minor, n - 1, n - 1));
        sum = k == 0 ? term : k % 2 ? v_sub(c, sum, term) : v_add(c, sum, term);
    }
    return sum;
}

bool lower_det(struct call *c)
{
    struct value *x = c->in[0], *element[16];
    int64_t n, m;
    if (x->rank < 2 || !dim_is_const(x->shape[x->rank - 1], &n) ||
        !dim_is_const(x->shape[x->rank - 2], &m) || n < 1 || n > 4)
        return call_unsupported(c, "matrices larger than 4 x 4, or of free size");
    if (n != m)
        return call_error(c, "its matrices are not square");
    for (int i = 0; i < n * n; i++) {
        struct value *row =
            build_slice_axis(c->b, x, x->rank - 2, d_const(c, i / n), d_const(c, 1));
        row = build_slice_axis(c->b, row, x->rank - 1, d_const(c, i % n), d_const(c, 1));
        element[i] = build_squeeze(c->b, row, 3u << (x->rank - 2));
        if (!element[i])
            return false;
    }
    return call_result(c, determinant(c, element, (int)n, (int)n));
}

/* A branch that is known at compile time takes the node's place. */
bool lower_if(struct call *c)
{
    int64_t condition[MAX_ELEMENTS];
    if (call_known(c, 0, condition) != 1)
        return call_unsupported(c, "a condition that is not known at compile time");
    const Onnx__AttributeProto *a = call_attr(c, condition[0] ? "then_branch" : "else_branch",
                                              ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH);
    if (!a)
        return c->failed ? false : call_error(c, "a branch is missing");
    return call_inline_graph(c, a->g, c->n_out, c->out);
}
