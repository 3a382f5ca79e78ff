/* Convolutions, floating and integer. */
#include "window.h"

/* A bias of rank 1 belongs to axis 1 of y. */
static struct value *add_bias(struct call *c, struct value *y, struct value *bias)
{
    if (!y || !bias)
        return y;
    if (bias->rank != 1)
        return call_error(c, "its bias has rank %d", bias->rank), NULL;
    return v_add(c, y, build_unsqueeze(c->b, bias, ((1u << (y->rank - 2)) - 1) << 1));
}

static bool check_operands(struct call *c, const struct value *x, const struct value *w)
{
    if (x->rank < 3)
        return call_error(c, "its operand has rank %d", x->rank);
    if (w->rank != x->rank)
        return call_error(c, "its weights have rank %d, not %d", w->rank, x->rank);
    int64_t n;
    const int64_t *kernel;
    int given = attr_ints(c, "kernel_shape", &kernel);
    if (given && given != x->rank - 2)
        return call_error(c, "kernel_shape has %d sizes", given);
    for (int i = 0; i < given; i++)
        if (dim_is_const(w->shape[2 + i], &n) && n != kernel[i])
            return call_error(c, "kernel_shape is not the shape of its weights");
    return !c->failed;
}

struct value *convolve(struct call *c, struct value *x, struct value *w, enum dtype to)
{
    struct window win;
    if (!x || !w || !check_operands(c, x, w) ||
        !window_attributes(c, x->rank - 2, w->shape + 2, &win) || !window_slide(c, x, false, &win))
        return NULL;
    union attr attr = {.conv = {
                           .to = to,
                           .group = attr_int(c, "group", 1),
                           .stride = win.stride,
                           .dilation = win.dilation,
                           .low = call_dims_copy(c, win.n, win.low),
                           .high = call_dims_copy(c, win.n, win.high),
                       }};
    if (attr.conv.group < 1)
        return call_error(c, "group is %lld", (long long)attr.conv.group), NULL;
    return build_tensor(c->b, OP_conv, 2, (struct value *[]){x, w}, &attr);
}

bool lower_conv(struct call *c)
{
    struct value *y = convolve(c, c->in[0], c->in[1], c->in[0]->type);
    return call_result(c, add_bias(c, y, c->in[2]));
}

/* low and size, from output_shape or from the pads. */
static bool transposed_size(struct call *c, const struct value *x, struct window *w)
{
    int64_t extra[MAX_RANK], wanted[MAX_RANK];
    const int64_t *given;
    bool has_shape = attr_ints(c, "output_shape", &given) > 0;
    if (!attr_ints_exactly(c, "output_padding", w->n, 0, extra) ||
        !attr_ints_exactly(c, "output_shape", w->n, 0, wanted))
        return false;
    bool same = w->auto_pad == AUTO_SAME_UPPER || w->auto_pad == AUTO_SAME_LOWER;
    for (int i = 0; i < w->n; i++) {
        const struct dim *in = x->shape[2 + i], *stride = d_const(c, w->stride.v[i]);
        const struct dim *natural = D(add, D(mul, D(sub, in, d_const(c, 1)), stride),
                                      D(add, w->extent[i], d_const(c, extra[i])));
        if (has_shape || same) {
            w->size[i] = has_shape ? d_const(c, wanted[i]) : D(mul, in, stride);
            const struct dim *total = D(max, D(sub, natural, w->size[i]), d_const(c, 0));
            const struct dim *half = D(floordiv, total, d_const(c, 2));
            w->low[i] = w->auto_pad == AUTO_SAME_UPPER ? half : D(sub, total, half);
            continue;
        }
        bool valid = w->auto_pad == AUTO_VALID;
        w->low[i] = d_const(c, valid ? 0 : w->pads[i]);
        w->size[i] = D(sub, natural, d_const(c, valid ? 0 : w->pads[i] + w->pads[w->n + i]));
        if (!graph_constrain(c->b->g, MUST_LESS_EQUAL, d_const(c, 0), w->size[i],
                             "%s: its padding must not exceed its result along spatial axis %d",
                             c->b->g->origin, i))
            return false;
    }
    return true;
}

bool lower_conv_transpose(struct call *c)
{
    struct value *x = c->in[0], *weights = c->in[1];
    struct window w;
    if (!check_operands(c, x, weights) ||
        !window_attributes(c, x->rank - 2, weights->shape + 2, &w) || !transposed_size(c, x, &w))
        return false;
    union attr attr = {.conv_transpose = {
                           .to = x->type,
                           .group = attr_int(c, "group", 1),
                           .stride = w.stride,
                           .dilation = w.dilation,
                           .low = call_dims_copy(c, w.n, w.low),
                           .size = call_dims_copy(c, w.n, w.size),
                       }};
    if (attr.conv_transpose.group < 1)
        return call_error(c, "group is %lld", (long long)attr.conv_transpose.group);
    struct value *y =
        build_tensor(c->b, OP_conv_transpose, 2, (struct value *[]){x, weights}, &attr);
    return call_result(c, add_bias(c, y, c->in[2]));
}

/* A depthwise convolution that sees the past only, with what it saw last as its state. */
bool lower_causal_conv(struct call *c)
{
    static const char *const activations[] = {"none", "silu", "swish", NULL};
    struct value *x = c->in[0], *w = c->in[1], *past = c->in[3];
    if (x->rank != 3 || w->rank != 3)
        return call_error(c, "operands of rank %d and %d, not 3", x->rank, w->rank);
    int64_t channels;
    if (!dim_is_const(w->shape[0], &channels))
        return call_unsupported(c, "a free count of channels");
    const struct dim *zero = d_const(c, 0), *reach = D(sub, w->shape[2], d_const(c, 1));
    struct value *seen =
        past ? build_concat(c->b, 2, (struct value *[]){past, x}, 2)
             : build_pad(c->b, x, (const struct dim *[]){zero, zero, reach},
                         (const struct dim *[]){zero, zero, zero}, PAD_CONSTANT, v_number(c, x, 0));
    if (!seen)
        return false;
    union attr attr = {.conv = {.to = x->type,
                                .group = channels,
                                .stride = {1, {1}},
                                .dilation = {1, {1}},
                                .low = call_dims_copy(c, 1, &zero),
                                .high = call_dims_copy(c, 1, &zero)}};
    struct value *y = build_tensor(c->b, OP_conv, 2, (struct value *[]){seen, w}, &attr);
    y = add_bias(c, y, c->in[2]);
    if (attr_choice(c, "activation", activations, 0) && y) {
        struct value *wide = v_widen(c, y);
        y = build_cast(c->b, v_mul(c, wide, build_unary(c->b, OP_sigmoid, wide)), x->type);
    }
    c->out[1] = build_slice_axis(c->b, seen, 2, D(sub, seen->shape[2], reach), reach);
    return call_result(c, y);
}
