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
