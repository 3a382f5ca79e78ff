/* Activations: formulas over scalar ops. Narrow floats are computed in f32 and rounded once. */
#include "lower.h"

#include <math.h>

/* Stores a formula of the first input in the input's type. */
static bool activation(struct call *c, struct value *v)
{
    return call_result(c, v ? build_cast(c->b, v, c->in[0]->type) : NULL);
}

static struct value *zero_of(struct call *c, struct value *x)
{
    return v_number(c, x, 0);
}

static struct value *is_negative(struct call *c, struct value *x)
{
    return v_lt(c, x, zero_of(c, x));
}

bool lower_relu(struct call *c)
{
    return call_result(c, v_max(c, c->in[0], zero_of(c, c->in[0])));
}

bool lower_leaky_relu(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    double alpha = attr_float(c, "alpha", (double)0.01f);
    struct value *bent = v_mul_number(c, x, alpha);
    return activation(c, build_select(c->b, is_negative(c, x), bent, x));
}

/* The slope broadcasts to x; before opset 7 a slope of rank 1 belonged to the channels. */
bool lower_prelu(struct call *c)
{
    struct value *x = c->in[0], *slope = c->in[1];
    if (c->opset < 7 && slope->rank == 1 && x->rank > 2)
        slope = build_unsqueeze(c->b, slope, ((1u << (x->rank - 2)) - 1) << 1);
    struct value *bent = v_mul(c, x, slope);
    return call_result(c, build_select(c->b, is_negative(c, x), bent, x));
}

bool lower_thresholded_relu(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    struct value *alpha = v_number(c, x, attr_float(c, "alpha", 1));
    struct value *zero = zero_of(c, x);
    return activation(c, build_select(c->b, v_lt(c, alpha, x), x, zero));
}

/* x < 0 ? a * (exp(x) - 1) : b * x */
static struct value *exponential_unit(struct call *c, struct value *x, double a, double b)
{
    struct value *bent = v_mul_number(c, build_unary(c->b, OP_expm1, x), a);
    struct value *straight = b == 1 ? x : v_mul_number(c, x, b);
    return build_select(c->b, is_negative(c, x), bent, straight);
}

bool lower_elu(struct call *c)
{
    return activation(c, exponential_unit(c, v_widen(c, c->in[0]), attr_float(c, "alpha", 1), 1));
}

bool lower_selu(struct call *c)
{
    bool first = c->opset < 6; /* its defaults had fewer digits */
    double alpha = attr_float(c, "alpha", first ? 1.6732 : 1.67326319217681884765625);
    double gamma = attr_float(c, "gamma", first ? 1.0507 : 1.05070102214813232421875);
    return activation(c, exponential_unit(c, v_widen(c, c->in[0]), alpha * gamma, gamma));
}

bool lower_celu(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    double alpha = attr_float(c, "alpha", 1);
    struct value *bent = build_unary(c->b, OP_expm1, v_mul_number(c, x, 1 / alpha));
    struct value *scaled = v_mul_number(c, bent, alpha);
    return activation(c, build_select(c->b, is_negative(c, x), scaled, x));
}

static struct value *gelu(struct call *c, struct value *x, bool by_tanh)
{
    struct value *inner;
    if (by_tanh) {
        struct value *cube = v_mul(c, v_mul(c, x, x), x);
        inner = v_add(c, x, v_mul_number(c, cube, 0.044715));
        inner = build_unary(c->b, OP_tanh, v_mul_number(c, inner, sqrt(M_2_PI)));
    } else {
        inner = build_unary(c->b, OP_erf, v_mul_number(c, x, M_SQRT1_2));
    }
    struct value *gate = v_add_number(c, inner, 1);
    return v_mul(c, v_mul_number(c, x, 0.5), gate);
}

bool lower_gelu(struct call *c)
{
    static const char *const forms[] = {"none", "tanh", NULL};
    return activation(c,
                      gelu(c, v_widen(c, c->in[0]), attr_choice(c, "approximate", forms, 0) == 1));
}

/* ONNX Runtime's Gelu of x + bias; the variant tells the approximation by tanh. */
bool lower_bias_gelu(struct call *c)
{
    struct value *x = c->in[1] ? v_add(c, c->in[0], c->in[1]) : c->in[0];
    return activation(c, gelu(c, v_widen(c, x), c->row->variant == GELU_TANH));
}

/* min(max(alpha * x + beta, 0), 1) */
static struct value *hard_sigmoid(struct call *c, struct value *x, double alpha, double beta)
{
    struct value *v = v_add_number(c, v_mul_number(c, x, alpha), beta);
    struct value *one = v_number(c, x, 1);
    return v_min(c, v_max(c, v, v_number(c, x, 0)), one);
}

bool lower_hard_sigmoid(struct call *c)
{
    return activation(c, hard_sigmoid(c, v_widen(c, c->in[0]), attr_float(c, "alpha", (double)0.2f),
                                      attr_float(c, "beta", 0.5)));
}

bool lower_hard_swish(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    return activation(c, v_mul(c, x, hard_sigmoid(c, x, 1.0 / 6, 0.5)));
}

bool lower_mish(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    struct value *gate = build_unary(c->b, OP_tanh, build_unary(c->b, OP_softplus, x));
    return activation(c, v_mul(c, x, gate));
}

static struct value *swish(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    double alpha = attr_float(c, "alpha", 1);
    struct value *gate = alpha == 1 ? x : v_mul_number(c, x, alpha);
    return v_mul(c, x, build_unary(c->b, OP_sigmoid, gate));
}

bool lower_swish(struct call *c)
{
    return activation(c, swish(c));
}

bool lower_swiglu(struct call *c)
{
    struct value *factor = v_widen(c, c->in[1]);
    return activation(c, v_mul(c, swish(c), factor));
}

bool lower_softsign(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    return activation(c, v_div(c, x, v_add_number(c, build_unary(c->b, OP_abs, x), 1)));
}

/* Integers are shrunk as floats, as the operator's real-valued attributes ask. */
bool lower_shrink(struct call *c)
{
    struct value *x = v_widen(c, c->in[0]);
    if (!dtype_is_float(x->type))
        x = build_cast(c->b, x, DT_F64);
    double lambda = attr_float(c, "lambd", 0.5), bias = attr_float(c, "bias", 0);
    struct value *below = v_lt(c, x, v_number(c, x, -lambda));
    struct value *above = v_lt(c, v_number(c, x, lambda), x);
    struct value *zero = v_number(c, x, 0);
    struct value *inner = build_select(c->b, above, v_add_number(c, x, -bias), zero);
    return activation(c, build_select(c->b, below, v_add_number(c, x, bias), inner));
}

struct value *lower_clip_values(struct call *c, struct value *x, struct value *low,
                                struct value *high)
{
    if (low)
        x = v_max(c, x, low);
    return high ? v_min(c, x, high) : x;
}

bool lower_clip_attributes(struct call *c)
{
    struct value *x = c->in[0];
    struct value *low = attr_given(c, "min") ? v_number(c, x, attr_float(c, "min", 0)) : NULL;
    struct value *high = attr_given(c, "max") ? v_number(c, x, attr_float(c, "max", 0)) : NULL;
    return call_result(c, lower_clip_values(c, x, low, high));
}

/* A limit of one element, whatever its rank, becomes a scalar. */
static struct value *scalar_input(struct call *c, struct value *v)
{
    return v && v->rank ? build_reshape(c->b, v, 0, NULL) : v;
}

bool lower_clip(struct call *c)
{
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i] && c->in[i]->type != c->in[0]->type)
            return call_error(c, "input %d is of another type than the first", i);
    struct value *high = scalar_input(c, c->in[2]);
    return call_result(c, lower_clip_values(c, c->in[0], scalar_input(c, c->in[1]), high));
}

bool lower_identity(struct call *c)
{
    return call_result(c, c->in[0]);
}
