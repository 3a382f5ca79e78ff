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
    static const double factors[][3] = {
        [WINDOW_HANN] = {0.5, 0.5, 0},
        [WINDOW_HAMMING] = {25.0 / 46, 21.0 / 46, 0},
        [WINDOW_BLACKMAN] = {0.42, 0.5, 0.08},
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
