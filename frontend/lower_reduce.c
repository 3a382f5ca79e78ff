/*
 * Reductions. Axes that are not known at compile time (graph inputs) cost nothing: the operand is
 * reshaped from [d0, d1, …] to [o0, r0, o1, r1, …], where r is d for the axes to be reduced and 1
 * for others, o the other way round, and the odd axes are reduced.
 */
#include "lower.h"

/* What is reduced, and how the result is shaped. */
struct plan {
    struct value *x; /* operand in the view to reduce */
    uint32_t axes;   /* of x */
    int rank;        /* of the result */
    const struct dim *shape[MAX_RANK];
};

/* Axes of the attribute, or of input 1 from the opset on that moved them there; -1 after reporting.
 */
static int reduction_axes(struct call *c, const struct dim *axes[MAX_ELEMENTS])
{
    int moved = c->row->variant == REDUCE_SUM ? 13 : 18;
    if (c->opset >= moved)
        return c->in[1] ? call_dims(c, 1, axes) : 0;
    const int64_t *given;
    int n = attr_ints(c, "axes", &given);
    for (int i = 0; i < n; i++)
        axes[i] = d_const(c, given[i]);
    return c->failed ? -1 : n;
}

static bool plan_reduction(struct call *c, int n, const struct dim *const *given, struct plan *p)
{
    struct value *x = c->in[0];
    const struct dim *goes[MAX_RANK], *view[2 * MAX_RANK], *one = d_const(c, 1);
    bool keep = attr_int(c, "keepdims", 1) != 0, known = true;
    if (n > x->rank)
        return call_error(c, "%d axes for an operand of rank %d", n, x->rank);
    if (!mark_axes(c, n, given, x->rank, goes))
        return false;
    p->axes = 0;
    for (int i = 0; i < x->rank; i++) {
        known &= dim_is_const(goes[i], NULL);
        p->axes |= dim_is(goes[i], 1) ? 1u << i : 0;
        p->shape[i] = D(select, goes[i], one, x->shape[i]);
        view[2 * i] = p->shape[i];
        view[2 * i + 1] = D(select, goes[i], x->shape[i], one);
    }
    p->x = x;
    p->rank = keep ? x->rank : x->rank - n;
    if (!keep)
        unmarked_sizes(c, x->rank, x->shape, goes, p->rank, p->shape);
    if (known)
        return true;
    if (2 * x->rank > MAX_RANK)
        return call_unsupported(c, "axes that are not known, of an operand of rank %d", x->rank);
    p->axes = 0xaaaaaaaau & ((1u << 2 * x->rank) - 1);
    p->x = build_reshape(c->b, x, 2 * x->rank, view);
    return p->x;
}

/* log(sum(exp(x))) around the maximum, so that nothing overflows. */
static struct value *log_sum_exp(struct call *c, struct value *x, uint32_t axes)
{
    struct value *most = build_reduce(c->b, OP_reduce_max, x, axes, true);
    struct value *zero = v_number(c, x, 0);
    most = build_select(c->b, build_unary(c->b, OP_is_inf, most), zero, most);
    struct value *sum =
        build_reduce(c->b, OP_reduce_sum, build_unary(c->b, OP_exp, v_sub(c, x, most)), axes, true);
    return v_add(c, build_unary(c->b, OP_log, sum), most);
}

static struct value *reduce(struct call *c, enum reduction kind, struct value *x, uint32_t axes)
{
    static const enum op ops[] = {[REDUCE_SUM] = OP_reduce_sum,
                                  [REDUCE_MAX] = OP_reduce_max,
                                  [REDUCE_MIN] = OP_reduce_min,
                                  [REDUCE_PROD] = OP_reduce_prod};
    struct builder *b = c->b;
    switch (kind) {
    case REDUCE_SUM:
    case REDUCE_MAX:
    case REDUCE_MIN:
    case REDUCE_PROD: return build_reduce(b, ops[kind], x, axes, true);
    case REDUCE_MEAN: return build_mean(b, x, axes, true);
    case REDUCE_L1: return build_reduce(b, OP_reduce_sum, build_unary(b, OP_abs, x), axes, true);
    case REDUCE_SUM_SQUARE: return build_reduce(b, OP_reduce_sum, v_mul(c, x, x), axes, true);
    case REDUCE_L2: return build_unary(b, OP_sqrt, reduce(c, REDUCE_SUM_SQUARE, x, axes));
    case REDUCE_LOG_SUM: return build_unary(b, OP_log, reduce(c, REDUCE_SUM, x, axes));
    case REDUCE_LOG_SUM_EXP: return log_sum_exp(c, x, axes);
    }
    return NULL;
}

/* Formulas of several ops are computed in f32 at least; roots and logs of integers in f64. */
static struct value *reduce_as(struct call *c, enum reduction kind, struct value *operand,
                               uint32_t axes)
{
    bool formula = kind == REDUCE_L2 || kind == REDUCE_LOG_SUM || kind == REDUCE_LOG_SUM_EXP ||
                   kind == REDUCE_SUM_SQUARE;
    struct value *x = formula ? v_widen(c, operand) : operand;
    if (formula && kind != REDUCE_SUM_SQUARE && !dtype_is_float(operand->type))
        x = build_cast(c->b, x, DT_F64);
    return build_cast(c->b, reduce(c, kind, x, axes), operand->type);
}

bool lower_reduce(struct call *c)
{
    enum reduction kind = c->row->variant;
    const struct dim *axes[MAX_ELEMENTS];
    int n = reduction_axes(c, axes);
    if (n < 0)
        return false;
    /* No axes are all axes, or none: then only the formula around the reduction is left. */
    bool none = n == 0 && attr_int(c, "noop_with_empty_axes", 0) != 0;
    for (int i = 0; n == 0 && i < c->in[0]->rank; i++)
        axes[i] = d_const(c, i);
    struct plan p;
    if (!plan_reduction(c, n ? n : c->in[0]->rank, axes, &p))
        return false;
    if (none)
        return call_result(c, reduce_as(c, kind, c->in[0], 0));
    struct value *y = reduce_as(c, kind, p.x, p.axes);
    return call_result(c, build_reshape(c->b, y, p.rank, p.shape));
}

bool lower_arg(struct call *c)
{
    int axis = call_axis(c, attr_int(c, "axis", 0), c->in[0]->rank);
    return axis >= 0 && call_result(c, build_arg(c->b, c->row->variant, c->in[0], axis,
                                                 attr_int(c, "select_last_index", 0) != 0,
                                                 attr_int(c, "keepdims", 1) != 0));
}

/* Cumulative along an axis that may be an input: x is seen as [axes before, axis, axes behind]. */
bool lower_cumulative(struct call *c)
{
    struct value *x = c->in[0];
    const struct dim *axis = call_dim(c, 1), *one = d_const(c, 1);
    int64_t known;
    if (!axis || (dim_is_const(axis, &known) && call_axis(c, known, x->rank) < 0))
        return false;
    axis = dim_axis(c, axis, x->rank);
    const struct dim *view[3] = {one, one, one};
    for (int i = 0; i < x->rank; i++) {
        const struct dim *at = d_const(c, i);
        view[0] = D(mul, view[0], D(select, D(lt, at, axis), x->shape[i], one));
        view[1] = D(mul, view[1], D(select, D(eq, at, axis), x->shape[i], one));
        view[2] = D(mul, view[2], D(select, D(lt, axis, at), x->shape[i], one));
    }
    struct value *v = build_reshape(c->b, x, 3, view);
    union attr attr = {
        .scan_sum = {1, attr_int(c, "exclusive", 0) != 0, attr_int(c, "reverse", 0) != 0}};
    if (c->row->variant == OP_scan_prod)
        attr = (union attr){.scan_prod = {1, attr.scan_sum.exclusive, attr.scan_sum.reverse}};
    v = v ? build_tensor(c->b, c->row->variant, 1, &v, &attr) : NULL;
    return call_result(c, build_reshape(c->b, v, x->rank, x->shape));
}
