/* Cumulative sums and products along an axis. */
#include "eval_array.h"

#define DEFINE_LINE(name, T, WIDE, operator)                                                       \
    static void name(T *x, int64_t n, int64_t step, bool exclusive, WIDE sum)                      \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++, x += step) {                                               \
            WIDE next = sum operator(WIDE) * x;                                                    \
            *x = (T)(exclusive ? sum : next);                                                      \
            sum = next;                                                                            \
        }                                                                                          \
    }
DEFINE_LINE(sum_reals, double, double, +)
DEFINE_LINE(sum_ints, int64_t, uint64_t, +)
DEFINE_LINE(prod_reals, double, double, *)
DEFINE_LINE(prod_ints, int64_t, uint64_t, *)

struct scan {
    int64_t axis;
    bool exclusive, reverse, product;
};

static bool run_scan(struct eval_call *c, struct scan s)
{
    const struct array *x = &c->in[0];
    int64_t length = x->shape[s.axis], inner = span(x, (int)s.axis + 1, x->rank);
    int64_t lines = span(x, 0, (int)s.axis) * inner, total = array_elements(x);
    int64_t step = s.reverse ? -inner : inner, first = s.reverse ? (length - 1) * inner : 0;
    bool real = dtype_is_float(x->type);
    double *reals = real ? array_reals(c, x) : NULL;
    int64_t *ints = real ? NULL : array_ints(c, x);
    for (int64_t line = 0; line < lines && length; line++) {
        int64_t at = line / inner * length * inner + line % inner + first;
        if (real)
            (s.product ? prod_reals : sum_reals)(reals + at, length, step, s.exclusive, s.product);
        else
            (s.product ? prod_ints : sum_ints)(ints + at, length, step, s.exclusive, s.product);
    }
    if (real)
        store_reals(c->out[0].data, c->out[0].type, reals, total, true);
    else
        store_ints(c->out[0].data, c->out[0].type, ints, total, false);
    return true;
}

bool eval_op_scan_sum(struct eval_call *c)
{
    const struct attr_scan_sum *a = &c->node->attr.scan_sum;
    return run_scan(c, (struct scan){a->axis, a->exclusive, a->reverse, false});
}

bool eval_op_scan_prod(struct eval_call *c)
{
    const struct attr_scan_prod *a = &c->node->attr.scan_prod;
    return run_scan(c, (struct scan){a->axis, a->exclusive, a->reverse, true});
}
