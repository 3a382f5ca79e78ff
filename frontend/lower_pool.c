/* Pools: windows that slide over all axes from the third on, or cover them. */
#include "window.h"

/* Reads kernel_shape and the window's attributes. */
static bool pool_window(struct call *c, struct ints *kernel, struct window *w)
{
    struct value *x = c->in[0];
    const int64_t *given;
    if (x->rank < 3)
        return call_error(c, "its operand has rank %d", x->rank);
    int n = x->rank - 2;
    if (attr_ints(c, "kernel_shape", &given) != n)
        return call_error(c, "kernel_shape must have %d sizes", n);
    const struct dim *dims[MAX_RANK];
    kernel->n = n;
    for (int i = 0; i < n; i++) {
        if (given[i] < 1 || given[i] > INT32_MAX)
            return call_error(c, "kernel of %lld", (long long)given[i]);
        kernel->v[i] = given[i];
        dims[i] = d_const(c, given[i]);
    }
    return window_attributes(c, n, dims, w) &&
           window_slide(c, x, attr_int(c, "ceil_mode", 0) != 0, w);
}

bool lower_max_pool(struct call *c)
{
    struct ints kernel;
    struct window w;
    if (!pool_window(c, &kernel, &w))
        return false;
    struct dims low = call_dims_copy(c, w.n, w.low), high = call_dims_copy(c, w.n, w.high);
    struct dims size = call_dims_copy(c, w.n, w.size);
    union attr attr = {.pool_max = {kernel, w.stride, w.dilation, low, high, size}};
    c->out[0] = build_tensor(c->b, OP_pool_max, 1, c->in, &attr);
    if (call_wants(c, 1)) {
        bool row_major = attr_int(c, "storage_order", 0) == 0;
        attr = (union attr){
            .pool_arg_max = {kernel, w.stride, w.dilation, low, high, size, row_major}};
        c->out[1] = build_tensor(c->b, OP_pool_arg_max, 1, c->in, &attr);
    }
    return c->out[0];
}

bool lower_average_pool(struct call *c)
{
    struct ints kernel;
    struct window w;
    if (!pool_window(c, &kernel, &w))
        return false;
    union attr attr = {.pool_mean = {
                           .kernel = kernel,
                           .stride = w.stride,
                           .dilation = w.dilation,
                           .low = call_dims_copy(c, w.n, w.low),
                           .high = call_dims_copy(c, w.n, w.high),
                           .size = call_dims_copy(c, w.n, w.size),
                           .count_pad = attr_int(c, "count_include_pad", 0) != 0,
                       }};
    return call_result(c, build_tensor(c->b, OP_pool_mean, 1, c->in, &attr));
}

bool lower_lp_pool(struct call *c)
{
    struct ints kernel;
    struct window w;
    if (!pool_window(c, &kernel, &w))
        return false;
    union attr attr = {.pool_lp = {
                           .kernel = kernel,
                           .stride = w.stride,
                           .dilation = w.dilation,
                           .low = call_dims_copy(c, w.n, w.low),
                           .high = call_dims_copy(c, w.n, w.high),
                           .size = call_dims_copy(c, w.n, w.size),
                           .p = attr_int(c, "p", 2),
                       }};
    if (attr.pool_lp.p < 1)
        return call_error(c, "p is %lld", (long long)attr.pool_lp.p);
    return call_result(c, build_tensor(c->b, OP_pool_lp, 1, c->in, &attr));
}

/* Bit mask of all spatial axes; 0 after reporting. */
static uint32_t spatial_axes(struct call *c)
{
    if (c->in[0]->rank >= 3)
        return ((1u << c->in[0]->rank) - 1) & ~3u;
    call_error(c, "its operand has rank %d", c->in[0]->rank);
    return 0;
}

bool lower_global_average(struct call *c)
{
    uint32_t axes = spatial_axes(c);
    return axes && call_result(c, build_mean(c->b, c->in[0], axes, true));
}

bool lower_global_max(struct call *c)
{
    uint32_t axes = spatial_axes(c);
    return axes && call_result(c, build_reduce(c->b, OP_reduce_max, c->in[0], axes, true));
}

bool lower_global_lp(struct call *c)
{
    uint32_t axes = spatial_axes(c);
    if (!axes)
        return false;
    struct value *x = v_widen(c, c->in[0]);
    double p = (double)attr_int(c, "p", 2);
    struct value *exponent = v_number(c, x, p);
    struct value *power = build_binary(c->b, OP_pow, build_unary(c->b, OP_abs, x), exponent);
    struct value *sum = build_reduce(c->b, OP_reduce_sum, power, axes, true);
    struct value *root = build_binary(c->b, OP_pow, sum, v_number(c, x, 1 / p));
    return call_result(c, build_cast(c->b, root, c->in[0]->type));
}
