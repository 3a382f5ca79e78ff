/* Shape rules of contractions and windows. */
#include "infer.h"

#include <float.h>
#include <math.h>

/* -- Contractions -- */

/* Both operands floats or both integers; the result's type is given. */
static bool check_contraction(struct inference *inf, enum dtype to)
{
    enum dtype a = rule_in(inf, 0)->type, b = rule_in(inf, 1)->type;
    bool floats = dtype_is_float(a) && dtype_is_float(b) && dtype_is_float(to);
    bool ints = dtype_is_int(a) && dtype_is_int(b) && dtype_is_int(to);
    inf->out[0].type = to;
    if (!floats && !ints)
        FAIL(inf, "operands and result must be all floats or all integers");
    return true;
}

bool shape_matmul(struct inference *inf)
{
    const struct value *x = rule_in(inf, 0), *y = rule_in(inf, 1);
    enum dtype to = inf->node->attr.matmul.to;
    if (to <= DT_NONE || to >= DT_COUNT)
        FAIL(inf, "there is no element type %d", (int)to);
    if (!check_contraction(inf, to))
        return false;
    if (x->rank < 2 || y->rank != x->rank)
        FAIL(inf, "operands must have the same rank of 2 or more");
    int r = x->rank;
    for (int i = 0; i < r - 2; i++) {
        if (!rule_axis_equal(inf, x->shape[i], y->shape[i], i, "of the operands"))
            return false;
        rule_push(inf, 0, x->shape[i]);
    }
    rule_push(inf, 0, x->shape[r - 2]);
    rule_push(inf, 0, y->shape[r - 1]);
    return rule_equal(inf, x->shape[r - 1], y->shape[r - 2], "inner size");
}

static bool check_spatial(struct inference *inf, const char *name, const struct ints *ints, int n)
{
    if (!rule_count(inf, name, ints->n, n))
        return false;
    for (int i = 0; i < n; i++)
        if (ints->v[i] < 1 || ints->v[i] > INT32_MAX)
            FAIL(inf, "%s of %lld", name, (long long)ints->v[i]);
    return true;
}

static bool check_filter(struct inference *inf, enum dtype to, int64_t group,
                         const struct ints *stride, const struct ints *dilation)
{
    const struct value *x = rule_in(inf, 0), *w = rule_in(inf, 1);
    if (to <= DT_NONE || to >= DT_COUNT)
        FAIL(inf, "there is no element type %d", (int)to);
    if (!check_contraction(inf, to))
        return false;
    if (x->rank < 3 || w->rank != x->rank)
        FAIL(inf, "operands must have the same rank of 3 or more");
    if (group < 1)
        FAIL(inf, "group is %lld", (long long)group);
    return check_spatial(inf, "stride", stride, x->rank - 2) &&
           check_spatial(inf, "dilation", dilation, x->rank - 2);
}

/* How many windows of `kernel` (dilated) fit on `padded` elements: their floor((p - reach) / s)
 * + 1. */
static const struct dim *window_count(struct dim_table *t, const struct dim *padded,
                                      const struct dim *kernel, int64_t stride, int64_t dilation)
{
    const struct dim *one = dim_const(t, 1);
    const struct dim *reach =
        dim_add(t, dim_mul(t, dim_const(t, dilation), dim_sub(t, kernel, one)), one);
    return dim_add(t, dim_floordiv(t, dim_sub(t, padded, reach), dim_const(t, stride)), one);
}

bool shape_conv(struct inference *inf)
{
    const struct attr_conv *attr = &inf->node->attr.conv;
    const struct value *x = rule_in(inf, 0), *w = rule_in(inf, 1);
    struct dim_table *t = inf->g->dims;
    if (!check_filter(inf, attr->to, attr->group, &attr->stride, &attr->dilation) ||
        !rule_count(inf, "low", attr->low.n, x->rank - 2) ||
        !rule_count(inf, "high", attr->high.n, x->rank - 2))
        return false;
    const struct dim *group = dim_const(t, attr->group);
    if (!rule_equal(inf, x->shape[1], dim_mul(t, w->shape[1], group),
                    "channels of operand and filter times group") ||
        !rule_equal(inf, dim_mod(t, w->shape[0], group), dim_const(t, 0),
                    "filters that are left over when split into groups"))
        return false;
    rule_push(inf, 0, x->shape[0]);
    rule_push(inf, 0, w->shape[0]);
    for (int i = 0; i < x->rank - 2; i++) {
        const struct dim *padded =
            dim_add(t, x->shape[i + 2], dim_add(t, attr->low.d[i], attr->high.d[i]));
        rule_push(inf, 0,
                  window_count(t, padded, w->shape[i + 2], attr->stride.v[i], attr->dilation.v[i]));
    }
    return true;
}

bool shape_conv_transpose(struct inference *inf)
{
    const struct attr_conv_transpose *attr = &inf->node->attr.conv_transpose;
    const struct value *x = rule_in(inf, 0), *w = rule_in(inf, 1);
    struct dim_table *t = inf->g->dims;
    if (!check_filter(inf, attr->to, attr->group, &attr->stride, &attr->dilation) ||
        !rule_count(inf, "low", attr->low.n, x->rank - 2) ||
        !rule_count(inf, "size", attr->size.n, x->rank - 2) ||
        !rule_equal(inf, x->shape[1], w->shape[0], "channels of operand and filter"))
        return false;
    const struct dim *group = dim_const(t, attr->group);
    if (!rule_equal(inf, dim_mod(t, w->shape[0], group), dim_const(t, 0),
                    "channels that are left over when split into groups"))
        return false;
    rule_push(inf, 0, x->shape[0]);
    rule_push(inf, 0, dim_mul(t, w->shape[1], group));
    for (int i = 0; i < x->rank - 2; i++)
        rule_push(inf, 0, attr->size.d[i]);
    return true;
}

/* -- Attention -- */

/* H, a multiple of the heads of keys and values. */
static bool check_groups(struct inference *inf, const struct dim *heads, const struct dim *groups)
{
    int64_t h, n;
    if (heads == groups)
        return true;
    if (!dim_is_const(heads, &h) || !dim_is_const(groups, &n) || n < 1 || h % n != 0)
        FAIL(inf, "the number of heads must be a multiple of that of the keys'");
    return true;
}

static bool check_attention(struct inference *inf)
{
    const struct attr_attention *attr = &inf->node->attr.attention;
    const struct value *q = rule_in(inf, 0);
    if (!dtype_is_float(attr->to))
        FAIL(inf, "its result must be floats");
    for (int i = 0; i < 3; i++)
        if (!dtype_is_float(rule_in(inf, i)->type) || rule_in(inf, i)->rank != 4)
            FAIL(inf, "operand %d must be floats of rank 4", i);
    if (!rule_same_type(inf, q, rule_in(inf, 1)))
        return false;
    for (int i = 0; i < 3; i += 2) {
        int64_t size;
        if (!dim_is_const(rule_in(inf, i)->shape[3], &size) || size < 1)
            FAIL(inf, "the size of operand %d's heads must be known, and not 0", i);
    }
    if (!(attr->softcap >= 0) || attr->softcap > FLT_MAX || !isfinite(attr->scale))
        FAIL(inf, "scale must be finite, and softcap neither infinite nor negative");
    if (!attr->causal && !dim_is(attr->offset, 0))
        FAIL(inf, "offset means nothing where it is not causal");
    return true;
}

static bool check_bias(struct inference *inf, const struct dim *const *scores)
{
    const struct value *bias = rule_in(inf, 3);
    if ((!dtype_is_float(bias->type) && bias->type != DT_BOOL) || bias->rank != 4)
        FAIL(inf, "operand 3 must be floats or bool of rank 4");
    for (int i = 0; i < 4; i++)
        if (!rule_axis_equal(inf, bias->shape[i], scores[i], i, "of the scores"))
            return false;
    return true;
}

bool shape_attention(struct inference *inf)
{
    if (!check_attention(inf))
        return false;
    const struct value *q = rule_in(inf, 0), *k = rule_in(inf, 1), *v = rule_in(inf, 2);
    const struct dim *scores[4] = {q->shape[0], q->shape[1], q->shape[2], k->shape[2]};
    inf->out[0].type = inf->node->attr.attention.to;
    for (int i = 0; i < 3; i++)
        rule_push(inf, 0, q->shape[i]);
    rule_push(inf, 0, v->shape[3]);
    return rule_axis_equal(inf, q->shape[0], k->shape[0], 0, "of the operands") &&
           rule_axis_equal(inf, k->shape[0], v->shape[0], 0, "of the operands") &&
           rule_axis_equal(inf, k->shape[1], v->shape[1], 1, "of keys and values") &&
           rule_axis_equal(inf, k->shape[2], v->shape[2], 2, "of keys and values") &&
           rule_axis_equal(inf, q->shape[3], k->shape[3], 3, "of the operands") &&
           check_groups(inf, q->shape[1], k->shape[1]) &&
           (inf->node->n_in < 4 || check_bias(inf, scores));
}

/* -- Windows -- */

static bool window(struct inference *inf, const struct ints *kernel, const struct ints *stride,
                   const struct ints *dilation, const struct dims *low, const struct dims *high,
                   const struct dims *size)
{
    const struct value *x = rule_in(inf, 0);
    int n = x->rank - 2;
    if (n < 1)
        FAIL(inf, "the operand must have a rank of 3 or more");
    if (!rule_number(inf) || !check_spatial(inf, "kernel", kernel, n) ||
        !check_spatial(inf, "stride", stride, n) || !check_spatial(inf, "dilation", dilation, n) ||
        !rule_count(inf, "low", low->n, n) || !rule_count(inf, "high", high->n, n) ||
        !rule_count(inf, "size", size->n, n))
        return false;
    inf->out[0].type = x->type;
    rule_push(inf, 0, x->shape[0]);
    rule_push(inf, 0, x->shape[1]);
    for (int i = 0; i < n; i++)
        rule_push(inf, 0, size->d[i]);
    return true;
}

#define WINDOW(inf, attr)                                                                          \
    window((inf), &(attr)->kernel, &(attr)->stride, &(attr)->dilation, &(attr)->low,               \
           &(attr)->high, &(attr)->size)

bool shape_pool_max(struct inference *inf)
{
    return WINDOW(inf, &inf->node->attr.pool_max);
}

bool shape_pool_arg_max(struct inference *inf)
{
    if (!WINDOW(inf, &inf->node->attr.pool_arg_max))
        return false;
    inf->out[0].type = DT_I64;
    return true;
}

bool shape_pool_mean(struct inference *inf)
{
    return rule_float(inf) && WINDOW(inf, &inf->node->attr.pool_mean);
}

bool shape_pool_lp(struct inference *inf)
{
    if (inf->node->attr.pool_lp.p < 1)
        FAIL(inf, "p is %lld", (long long)inf->node->attr.pool_lp.p);
    return rule_float(inf) && WINDOW(inf, &inf->node->attr.pool_lp);
}
