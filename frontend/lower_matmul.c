/* Products of matrices, and determinants. */
#include "lower.h"

#include <math.h>

bool lower_matmul(struct call *c)
{
    if (c->in[0]->type != c->in[1]->type)
        return call_error(c, "its operands differ in type");
    return call_result(c, build_matmul(c->b, c->in[0], c->in[1], c->in[0]->type));
}

/* x * factor; integers take whole factors alone. */
static struct value *scaled(struct call *c, struct value *x, double factor)
{
    if (!x || factor == 1)
        return x;
    if (!dtype_is_float(x->type) && factor != floor(factor))
        return call_unsupported(c, "a factor of %g for integers", factor), NULL;
    return v_mul_number(c, x, factor);
}

bool lower_gemm(struct call *c)
{
    struct value *x[2];
    for (int i = 0; i < 2; i++) {
        x[i] = c->in[i];
        if (x[i]->rank != 2)
            return call_error(c, "operand %d has rank %d, not 2", i, x[i]->rank);
        if (attr_int(c, i ? "transB" : "transA", 0))
            x[i] = build_transpose(c->b, x[i], (int[]){1, 0});
    }
    if (c->in[0]->type != c->in[1]->type)
        return call_error(c, "its operands differ in type");
    struct value *y = build_matmul(c->b, x[0], x[1], c->in[0]->type);
    y = scaled(c, y, attr_float(c, "alpha", 1));
    if (c->in[2])
        y = v_add(c, y, scaled(c, c->in[2], attr_float(c, "beta", 1)));
    return call_result(c, y);
}

enum { MOST_COFACTORS = 4, MOST_ELIMINATED = 64 }; /* rows of a matrix, by how it is done */

/* Cofactors along the first row. */
static struct value *by_cofactors(struct call *c, struct value *const *m, int n, int stride)
{
    if (n == 1)
        return m[0];
    struct value *sum = NULL, *minor[MOST_COFACTORS * MOST_COFACTORS];
    for (int k = 0; k < n; k++) {
        for (int i = 1; i < n; i++)
            for (int j = 0, to = 0; j < n; j++)
                if (j != k)
                    minor[(i - 1) * (n - 1) + to++] = m[i * stride + j];
        struct value *term = v_mul(c, m[k], by_cofactors(c, minor, n - 1, n - 1));
        sum = k == 0 ? term : k % 2 ? v_sub(c, sum, term) : v_add(c, sum, term);
    }
    return sum;
}

static struct value *small_determinant(struct call *c, int n)
{
    struct value *x = c->in[0], *element[MOST_COFACTORS * MOST_COFACTORS];
    for (int i = 0; i < n * n; i++) {
        struct value *row =
            build_slice_axis(c->b, x, x->rank - 2, d_const(c, i / n), d_const(c, 1));
        row = build_slice_axis(c->b, row, x->rank - 1, d_const(c, i % n), d_const(c, 1));
        element[i] = build_squeeze(c->b, row, 3u << (x->rank - 2));
        if (!element[i])
            return NULL;
    }
    return by_cofactors(c, element, n, n);
}

static struct value *tail(struct call *c, struct value *x, int axis)
{
    return x ? build_slice_axis(c->b, x, axis, d_const(c, 1), D(sub, x->shape[axis], d_const(c, 1)))
             : NULL;
}

static struct value *head(struct call *c, struct value *x, int axis)
{
    return build_slice_axis(c->b, x, axis, d_const(c, 0), d_const(c, 1));
}

/*
 * One step of Gaussian elimination with partial pivoting on m [B, n, n]: *det is multiplied by the
 * pivot, with the sign of the exchange of rows; the result is what is left, [B, n - 1, n - 1].
 */
static struct value *eliminate(struct call *c, struct value *m, struct value **det)
{
    if (!m)
        return NULL;
    struct value *column = build_unary(c->b, OP_abs, head(c, m, 2));
    struct value *at = build_arg(c->b, OP_arg_max, column, 1, false, true); /* [B, 1, 1] */
    const struct dim *rows[3] = {d_const(c, 1), m->shape[1], d_const(c, 1)};
    struct value *is_pivot = v_eq(c, build_iota(c->b, DT_I64, 3, rows, 1), at);
    struct value *picked = build_select(c->b, is_pivot, m, v_number(c, m, 0));
    struct value *pivot_row = build_reduce(c->b, OP_reduce_sum, picked, 2, true);
    struct value *pivot = head(c, pivot_row, 2);
    struct value *first = v_eq(c, at, v_number(c, at, 0));
    *det = v_mul(c, *det, build_select(c->b, first, pivot, build_unary(c->b, OP_neg, pivot)));
    /* A pivot of 0 makes the determinant 0, whatever is left. */
    struct value *none = v_eq(c, pivot, v_number(c, pivot, 0));
    struct value *divisor = build_select(c->b, none, v_number(c, pivot, 1), pivot);
    struct value *exchanged = build_select(c->b, is_pivot, head(c, m, 1), m);
    struct value *below = tail(c, exchanged, 1);
    struct value *factor = v_div(c, below ? head(c, below, 2) : NULL, divisor);
    struct value *product = v_mul(c, factor, tail(c, pivot_row, 2));
    return v_sub(c, tail(c, below, 2), product);
}

static struct value *large_determinant(struct call *c, int n)
{
    struct value *x = c->in[0];
    const struct dim *matrices[3] = {d_const(c, 1), d_const(c, n), d_const(c, n)};
    for (int i = 0; i < x->rank - 2; i++)
        matrices[0] = D(mul, matrices[0], x->shape[i]);
    struct value *m = build_reshape(c->b, v_widen(c, x), 3, matrices);
    struct value *det = m ? v_number(c, m, 1) : NULL;
    for (int i = 0; i < n - 1; i++)
        m = eliminate(c, m, &det);
    return build_cast(c->b, build_reshape(c->b, v_mul(c, det, m), x->rank - 2, x->shape), x->type);
}

bool lower_det(struct call *c)
{
    struct value *x = c->in[0];
    int64_t n, m;
    if (x->rank < 2 || !dim_is_const(x->shape[x->rank - 1], &n) ||
        !dim_is_const(x->shape[x->rank - 2], &m) || n < 1 || n > MOST_ELIMINATED)
        return call_unsupported(c, "matrices larger than %d x %d, or of free size", MOST_ELIMINATED,
                                MOST_ELIMINATED);
    if (n != m)
        return call_error(c, "its matrices are not square");
    return call_result(c, n <= MOST_COFACTORS ? small_determinant(c, (int)n)
                                              : large_determinant(c, (int)n));
}
