#include "window.h"

static bool in_range(struct call *c, const char *what, int n, const int64_t *v, int64_t least)
{
    for (int i = 0; i < n; i++)
        if (v[i] < least || v[i] > INT32_MAX)
            return call_error(c, "%s of %lld", what, (long long)v[i]);
    return true;
}

bool window_attributes(struct call *c, int n, const struct dim *const *kernel, struct window *w)
{
    static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", NULL};
    *w = (struct window){.n = n, .stride.n = n, .dilation.n = n};
    w->auto_pad = (enum auto_pad)attr_choice(c, "auto_pad", names, AUTO_NOTSET);
    if (!attr_ints_exactly(c, "strides", n, 1, w->stride.v) ||
        !attr_ints_exactly(c, "dilations", n, 1, w->dilation.v) ||
        !attr_ints_exactly(c, "pads", 2 * n, 0, w->pads) ||
        !in_range(c, "stride", n, w->stride.v, 1) ||
        !in_range(c, "dilation", n, w->dilation.v, 1) || !in_range(c, "padding", 2 * n, w->pads, 0))
        return false;
    const struct dim *one = d_const(c, 1);
    for (int i = 0; i < n; i++)
        w->extent[i] = D(add, D(mul, D(sub, kernel[i], one), d_const(c, w->dilation.v[i])), one);
    return true;
}

/* Pads so that the size is ceil(in / stride). */
static void pad_same(struct call *c, const struct dim *in, int i, struct window *w)
{
    const struct dim *stride = d_const(c, w->stride.v[i]), *zero = d_const(c, 0);
    w->size[i] = D(ceildiv, in, stride);
    const struct dim *reach =
        D(add, D(mul, D(sub, w->size[i], d_const(c, 1)), stride), w->extent[i]);
    const struct dim *total = D(max, D(sub, reach, in), zero);
    const struct dim *half = D(floordiv, total, d_const(c, 2)), *rest = D(sub, total, half);
    w->low[i] = w->auto_pad == AUTO_SAME_UPPER ? half : rest;
    w->high[i] = w->auto_pad == AUTO_SAME_UPPER ? rest : half;
}

bool window_slide(struct call *c, const struct value *x, bool ceil, struct window *w)
{
    for (int i = 0; i < w->n; i++) {
        const struct dim *in = x->shape[2 + i], *one = d_const(c, 1);
        const struct dim *stride = d_const(c, w->stride.v[i]);
        if (w->auto_pad == AUTO_SAME_UPPER || w->auto_pad == AUTO_SAME_LOWER) {
            pad_same(c, in, i, w);
            continue;
        }
        bool valid = w->auto_pad == AUTO_VALID;
        w->low[i] = d_const(c, valid ? 0 : w->pads[i]);
        w->high[i] = d_const(c, valid ? 0 : w->pads[w->n + i]);
        const struct dim *padded = D(add, in, D(add, w->low[i], w->high[i]));
        if (!graph_constrain(c->b->g, MUST_LESS_EQUAL, w->extent[i], padded,
                             "%s: the window must fit its padded operand along spatial axis %d",
                             c->b->g->origin, i))
            return false;
        const struct dim *room = D(sub, padded, w->extent[i]);
        if (!ceil) {
            w->size[i] = D(add, D(floordiv, room, stride), one);
            continue;
        }
        /* Rounded up, but no window starts in the padding behind the operand. */
        const struct dim *last = D(ceildiv, room, stride);
        const struct dim *behind = D(lt, D(add, in, w->low[i]), D(add, D(mul, last, stride), one));
        w->size[i] = D(sub, D(add, last, one), behind);
    }
    return true;
}

struct dims call_dims_copy(struct call *c, int n, const struct dim *const *d)
{
    const struct dim **copy = ARENA_ARRAY(c->b->g->arena, n, const struct dim *);
    for (int i = 0; i < n; i++)
        copy[i] = d[i];
    return (struct dims){n, copy};
}
