/* Products of matrices. */
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
