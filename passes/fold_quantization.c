/*
 * Contractions of quantized values become contractions of their 8-bit numbers. With
 * a = (p - z)·s and b = (q - y)·t
 *
 *     Σ a·b = s·t · (Σ p·q  -  z·Σ (q - y)  -  y·Σ p)
 *
 * where all sums are i32 and exact. z·Σ(q - y) is a vector over the result's columns (channels),
 * and a constant where q is; y·Σ p needs a sum over the other operand, so weights lose their zero
 * point first where they fit into 8 bits without it. A convolution's padding is z, not 0: it
 * becomes a pad of the operand. What stood behind the contraction (bias, activation, residual,
 * quantization) stays as it is, in floats, and goes into its epilogue.
 *
 * Weights of four bits that floats are multiplied by are packed, two in a byte.
 *
 * A quantization of a value that was dequantized with the same scale and zero point, and has only
 * been moved since, is a move of the 8-bit numbers.
 */
#include "passes.h"

#include "quantized.h"

#define PASS "fold_quantization"

/* --- The parts of the formula ---------------------------------------------------------------- */

struct product {
    struct builder b;
    struct node *node;
    struct quantized x, w; /* x is a matmul's left operand, a convolution's image */
    bool is_conv;
};

static struct value *wide(struct builder *b, struct value *q)
{
    return build_cast(b, q, DT_I32);
}

/* q - zero, in i32. */
static struct value *centered(struct builder *b, const struct quantized *v)
{
    return v->zero ? build_binary(b, OP_sub, wide(b, v->q), v->zero) : wide(b, v->q);
}

/* Takes the zero point into the numbers, where they are constants and stay 8 bits wide. */
static void drop_zero(struct builder *b, struct quantized *v)
{
    double least, greatest;
    if (!v->zero || !quantized_is_constant(v->q) || !quantized_is_constant(v->zero))
        return;
    struct value *difference = centered(b, v);
    if (!difference || !quantized_range(b->g, difference, &least, &greatest))
        return;
    enum dtype type = least >= -128 && greatest <= 127 ? DT_I8
                      : least >= 0 && greatest <= 255  ? DT_U8
                                                       : DT_NONE;
    if (type == DT_NONE)
        return;
    v->q = build_cast(b, difference, type);
    v->zero = NULL;
}

/* A vector over w's output channels in a shape that broadcasts to the result: axis 1. */
static struct value *along_channels(struct product *p, struct value *v)
{
    const struct dim *shape[MAX_RANK];
    for (int i = 0; i < p->x.q->rank; i++)
        shape[i] = i == 1 ? v->shape[0] : build_d(&p->b, 1);
    return build_reshape(&p->b, v, p->x.q->rank, shape);
}

/* A scale or zero point of w, in a shape that broadcasts to the result. */
static struct value *of_result(struct product *p, struct value *v)
{
    if (!p->is_conv)
        return v;
    const struct dim *size = v->shape[0];
    return along_channels(p, build_reshape(&p->b, v, 1, &size));
}

/* Σ (q - y) over what a result of w sums up. */
static struct value *sums_of_w(struct product *p)
{
    struct builder *b = &p->b;
    struct value *w = centered(b, &p->w);
    if (!w)
        return NULL;
    if (!p->is_conv)
        return build_reduce(b, OP_reduce_sum, w, 1u << (w->rank - 2), true);
    uint32_t all_but_first = ((1u << w->rank) - 1) & ~1u;
    struct value *sums = build_reduce(b, OP_reduce_sum, w, all_but_first, false);
    return sums ? along_channels(p, sums) : NULL;
}

/* Σ p for every result: a convolution by ones, one channel for each group. */
static struct value *sums_of_windows(struct product *p, const union attr *attr)
{
    struct builder *b = &p->b;
    struct value *w = p->w.q, *y = p->node->out[0];
    int64_t groups = attr->conv.group;
    const struct dim *shape[MAX_RANK + 1], *group = build_d(b, groups);
    for (int i = 0; i < w->rank; i++)
        shape[i] = i ? w->shape[i] : group;
    struct value *one = build_cast(b, build_int(b, DT_I32, 1), DT_I8);
    const struct dim *ones[MAX_RANK];
    for (int i = 0; i < w->rank; i++)
        ones[i] = build_d(b, 1);
    one = build_expand(b, build_reshape(b, one, w->rank, ones), w->rank, shape);
    struct value *in[] = {p->x.q, one};
    struct value *sums = build_tensor(b, OP_conv, 2, in, attr);
    if (!sums || groups == 1)
        return sums;
    /* All channels of a group have the same sums. */
    shape[0] = sums->shape[0];
    for (int i = 1; i < y->rank; i++)
        shape[i + 1] = i == 1 ? build_d(b, 1) : y->shape[i];
    shape[1] = group;
    sums = build_reshape(b, sums, y->rank + 1, shape);
    shape[2] = dim_floordiv(b->g->dims, y->shape[1], group);
    return build_reshape(b, build_expand(b, sums, y->rank + 1, shape), y->rank, y->shape);
}

static struct value *sums_of_x(struct product *p, const union attr *attr)
{
    if (p->is_conv)
        return sums_of_windows(p, attr);
    struct value *x = wide(&p->b, p->x.q);
    return x ? build_reduce(&p->b, OP_reduce_sum, x, 1u << (x->rank - 1), true) : NULL;
}

/* The image with its padding filled with the zero point; the convolution then has none. */
static void pad_with_zero_point(struct product *p, struct attr_conv *attr)
{
    struct builder *b = &p->b;
    const struct dim *low[MAX_RANK], *high[MAX_RANK], *none = build_d(b, 0);
    const struct dim **zeros = ARENA_ARRAY(b->g->arena, MAX_RANK, const struct dim *);
    for (int i = 0; i < p->x.q->rank; i++) {
        low[i] = i < 2 ? none : attr->low.d[i - 2];
        high[i] = i < 2 ? none : attr->high.d[i - 2];
        zeros[i] = none;
    }
    struct value *fill = build_cast(b, build_reshape(b, p->x.zero, 0, NULL), p->x.q->type);
    p->x.q = build_pad(b, p->x.q, low, high, PAD_CONSTANT, fill);
    attr->low.d = attr->high.d = zeros;
}

static bool has_padding(const struct attr_conv *attr)
{
    for (int i = 0; i < attr->low.n; i++)
        if (!dim_is(attr->low.d[i], 0) || !dim_is(attr->high.d[i], 0))
            return true;
    return false;
}

/* Σ (p - z)(q - y) in i32. */
static struct value *integer_product(struct product *p)
{
    struct builder *b = &p->b;
    union attr attr = p->node->attr;
    if (p->is_conv) {
        attr.conv.to = DT_I32;
        if (p->x.zero && has_padding(&attr.conv))
            pad_with_zero_point(p, &attr.conv);
    } else {
        attr.matmul.to = DT_I32;
    }
    struct value *in[] = {p->x.q, p->w.q};
    struct value *y = in[0] ? build_tensor(b, p->node->op, 2, in, &attr) : NULL;
    if (y && p->x.zero)
        y = build_binary(b, OP_sub, y, build_binary(b, OP_mul, sums_of_w(p), p->x.zero));
    if (y && p->w.zero) { /* one after the other: arguments are evaluated in any order */
        struct value *zero = of_result(p, p->w.zero), *sums = sums_of_x(p, &attr);
        y = build_binary(b, OP_sub, y, build_binary(b, OP_mul, sums, zero));
    }
    return y;
}

static struct value *scale_of_product(struct product *p)
{
    struct value *s = p->x.scale, *t = p->w.scale ? of_result(p, p->w.scale) : NULL;
    return s && t ? build_binary(&p->b, OP_mul, s, t) : s ? s : t;
}

/* --- Division by the next scale --------------------------------------------------------------- */

/* What comes between a product and the quantization of it, that a division may pass. */
static bool is_passed(const struct node *node, int operand)
{
    return (node->op == OP_add || node->op == OP_max || node->op == OP_min) &&
           quantized_is_constant(quantized_unexpanded(node->in[1 - operand]));
}

/*
 * (n·scale + bias) / next, with n in i32 and constants for the others, becomes
 * n·(scale / next) + bias / next, as ONNX Runtime's integer operators have it; likewise with an
 * activation between.
 */
static void pass_division(struct graph *g, struct value *numbers, struct value *scale,
                          struct value *y)
{
    enum { MOST = 4 };
    struct use *way[MOST];
    int n = 0;
    double least, greatest;
    if (!quantized_is_constant(scale))
        return;
    struct value *v = y;
    while (n < MOST && value_single_use(v) && is_passed(v->uses->node, v->uses->operand)) {
        way[n++] = v->uses;
        v = v->uses->node->out[0];
    }
    if (!value_single_use(v) || v->uses->node->op != OP_div || v->uses->operand != 0)
        return;
    struct node *div = v->uses->node;
    struct value *next = quantized_unexpanded(div->in[1]);
    if (!quantized_range(g, next, &least, &greatest) || least <= 0)
        return;
    struct builder b = {g, div};
    struct value *result = build_binary(&b, OP_mul, numbers, build_binary(&b, OP_div, scale, next));
    for (int i = 0; i < n && result; i++) {
        struct value *other = quantized_unexpanded(way[i]->node->in[1 - way[i]->operand]);
        result = build_binary(&b, way[i]->node->op, result, build_binary(&b, OP_div, other, next));
    }
    if (result)
        value_replace_uses(g, div->out[0], result);
}

/* --- The pass --------------------------------------------------------------------------------- */

/* Could so many products of bytes exceed an i32? */
static bool may_overflow(const struct product *p)
{
    const struct value *w = p->w.q;
    int64_t depth = 1, size;
    if (!p->is_conv)
        return dim_is_const(w->shape[w->rank - 2], &size) && size > INT32_MAX / 255 / 255;
    for (int i = 1; i < w->rank; i++)
        if (dim_is_const(w->shape[i], &size) && __builtin_mul_overflow(depth, size, &depth))
            return true;
    return depth > INT32_MAX / 255 / 255;
}

/* Why the product stays as it is, or NULL. */
static const char *objection(const struct product *p)
{
    static const char too_large[] = "its sums may be too large for 32 bits";
    bool bytes = dtype_is_int(p->x.q->type), floats = dtype_is_float(p->x.q->type);
    int rank = p->x.q->rank;
    if (bytes != dtype_is_int(p->w.q->type) || floats != dtype_is_float(p->w.q->type))
        return "one operand is an integer and the other a float";
    if (p->is_conv) {
        if (!quantized_varies_along(p->x.scale, 0) || !quantized_varies_along(p->x.zero, 0))
            return "its image has several scales or zero points";
        if (!quantized_varies_along(p->w.scale, 1) || !quantized_varies_along(p->w.zero, 1))
            return "its weights' scale varies within a sum";
        return bytes && may_overflow(p) ? too_large : NULL;
    }
    uint32_t all = (1u << rank) - 1;
    if (!quantized_varies_along(p->x.scale, all & ~(1u << (rank - 1))) ||
        !quantized_varies_along(p->x.zero, all & ~(1u << (rank - 1))) ||
        !quantized_varies_along(p->w.scale, all & ~(1u << (rank - 2))) ||
        !quantized_varies_along(p->w.zero, all & ~(1u << (rank - 2))))
        return "a scale or zero point varies within a sum";
    return bytes && may_overflow(p) ? too_large : NULL;
}

/* The integers, or 8-bit floats, multiplied, in the type of the node's result. */
static struct value *folded(struct product *p)
{
    struct builder *b = &p->b;
    enum dtype to = p->node->out[0]->type;
    struct value *y;
    if (dtype_is_int(p->x.q->type)) {
        drop_zero(b, &p->w);
        y = integer_product(p);
        if (!y || dtype_is_int(to))
            return y;
        y = build_cast(b, y, DT_F32);
    } else {
        union attr attr = p->node->attr;
        *(p->is_conv ? &attr.conv.to : &attr.matmul.to) = DT_F32;
        struct value *in[] = {p->x.q, p->w.q};
        y = build_tensor(b, p->node->op, 2, in, &attr);
    }
    struct value *scale = scale_of_product(p), *numbers = y;
    if (!scale)
        return build_cast(b, y, to);
    y = build_binary(b, OP_mul, y, scale);
    if (y && to == DT_F32) {
        value_replace_uses(b->g, p->node->out[0], y);
        pass_division(b->g, numbers, scale, y);
    }
    return build_cast(b, y, to);
}

static bool fold_contraction(struct graph *g, struct node *node)
{
    struct product p = {.b = {g, node}, .node = node, .is_conv = node->op == OP_conv};
    enum dtype to = node->out[0]->type;
    if (node->in[0]->type != node->in[1]->type || dtype_info[node->in[0]->type].bits < 16 ||
        (dtype_is_int(to) && to != DT_I32) || to == DT_F64)
        return false;
    bool x = quantized_match(&p.b, node->in[0], &p.x), w = quantized_match(&p.b, node->in[1], &p.w);
    if (!x && !w)
        return false;
    const char *why = node->op == OP_conv_transpose ? "a transposed convolution has no integer form"
                      : !x                          ? "its first operand is not 8 bits wide"
                      : !w                          ? "its second operand is not 8 bits wide"
                                                    : objection(&p);
    if (why) {
        graph_remark(g, PASS, node, "multiplies in %s: %s", dtype_info[node->in[0]->type].text,
                     why);
        return false;
    }
    struct value *y = folded(&p);
    if (!y)
        return false;
    graph_remark(g, PASS, node, "multiplies %s by %s%s", dtype_info[p.x.q->type].text,
                 dtype_info[p.w.q->type].text,
                 p.w.zero ? "; its weights' zero point takes a sum over the other operand" : "");
    value_replace_uses(g, node->out[0], y);
    return true;
}

/* Quantizing what was dequantized alike. */
static bool fold_return(struct graph *g, struct node *node)
{
    struct builder b = {g, node};
    struct value *y = node->out[0], *real;
    struct quantized to, from;
    if (!quantized_match_result(g, y, &real, &to) || !quantized_varies_along(to.scale, 0) ||
        !quantized_varies_along(to.zero, 0) || !quantized_match(&b, real, &from) ||
        from.q->type != y->type || !quantized_same(g, from.scale, to.scale) ||
        !quantized_same(g, from.zero, quantized_zero(g, to.zero)))
        return false;
    value_replace_uses(g, y, from.q);
    return true;
}

static bool fold(struct graph *g, struct node *node)
{
    if (node->op == OP_cast)
        return fold_return(g, node);
    if (op_info[node->op].class != OC_CONTRACT)
        return false;
    return fold_contraction(g, node) || (node->op == OP_matmul && quantized_pack_weights(g, node));
}

bool pass_fold_quantization(struct graph *g)
{
    if (!pass_each_node(g, fold))
        return false;
    pass_fold_constants(g);
    pass_remove_dead(g);
    pass_remove_common(g);
    return true;
}
