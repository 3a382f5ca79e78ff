/* Steps of optimizers. Inputs: rate, count of steps, then per kind of tensor one for each
 * parameter. */
#include "lower.h"

/* Inputs of parameter i of n: its value, its gradient, and up to two states. */
struct parameter {
    struct value *x, *gradient, *state[2];
};

/* Count of parameters that have this many states each, or -1 after reporting. */
static int count_parameters(struct call *c, int states)
{
    int kinds = 2 + states, n = (c->n_in - 2) / kinds;
    if (n < 1 || 2 + n * kinds != c->n_in)
        return call_error(c, "%d inputs are not 2 and %d per parameter", c->n_in, kinds), -1;
    if ((1 + states) * n > c->n_out)
        return call_error(c, "%d outputs for %d parameters", c->n_out, n), -1;
    return n;
}

/* The gradient with that of the regularization term. */
static struct parameter parameter(struct call *c, int i, int n)
{
    struct parameter p = {.x = c->in[2 + i], .state = {c->in[2 + 2 * n + i]}};
    if (2 + 3 * n + i < c->n_in)
        p.state[1] = c->in[2 + 3 * n + i];
    double norm = attr_float(c, "norm_coefficient", 0);
    p.gradient = v_add(c, v_mul_number(c, p.x, norm), c->in[2 + n + i]);
    return p;
}

/* A scalar of the parameter's type from input i, 0 rate or 1 count of steps. */
static struct value *setting(struct call *c, int i, const struct parameter *p)
{
    return build_cast(c->b, build_reshape(c->b, c->in[i], 0, NULL), p->x->type);
}

static struct value *root(struct call *c, struct value *v)
{
    return build_unary(c->b, OP_sqrt, v);
}

bool lower_adagrad(struct call *c)
{
    int n = count_parameters(c, 1);
    for (int i = 0; i < n; i++) {
        struct parameter p = parameter(c, i, n);
        struct value *decay = v_mul_number(c, setting(c, 1, &p), attr_float(c, "decay_factor", 0));
        struct value *slowed = v_add_number(c, decay, 1);
        struct value *rate = v_div(c, setting(c, 0, &p), slowed);
        struct value *h = v_add(c, p.state[0], v_mul(c, p.gradient, p.gradient));
        struct value *scale = v_add_number(c, root(c, h), attr_float(c, "epsilon", 1e-6));
        c->out[i] = v_sub(c, p.x, v_div(c, v_mul(c, rate, p.gradient), scale));
        c->out[n + i] = h;
    }
    return n > 0;
}

bool lower_momentum(struct call *c)
{
    static const char *const modes[] = {"standard", "nesterov", NULL};
    bool nesterov = attr_choice(c, "mode", modes, 0) == 1;
    double alpha = attr_float(c, "alpha", 0), beta = attr_float(c, "beta", 0);
    int n = count_parameters(c, 1);
    for (int i = 0; i < n; i++) {
        struct parameter p = parameter(c, i, n);
        struct value *steps = setting(c, 1, &p);
        struct value *one = v_number(c, p.x, 1);
        struct value *share = v_number(c, p.x, beta);
        struct value *factor = build_select(c->b, v_lt(c, v_number(c, p.x, 0), steps), share, one);
        struct value *added = v_mul(c, factor, p.gradient);
        struct value *v = v_add(c, v_mul_number(c, p.state[0], alpha), added);
        struct value *step = nesterov ? v_add(c, p.gradient, v_mul_number(c, v, alpha)) : v;
        c->out[i] = v_sub(c, p.x, v_mul(c, setting(c, 0, &p), step));
        c->out[n + i] = v;
    }
    return n > 0;
}

/* a old + (1 - a) new */
static struct value *blend(struct call *c, double a, struct value *old, struct value *new)
{
    struct value *newer = v_mul_number(c, new, 1 - a);
    return v_add(c, v_mul_number(c, old, a), newer);
}

bool lower_adam(struct call *c)
{
    double alpha = attr_float(c, "alpha", (double)0.9f);
    double beta = attr_float(c, "beta", (double)0.999f);
    double after = attr_float(c, "norm_coefficient_post", 0);
    int n = count_parameters(c, 2);
    for (int i = 0; i < n; i++) {
        struct parameter p = parameter(c, i, n);
        struct value *rate = setting(c, 0, &p), *steps = setting(c, 1, &p);
        struct value *v = blend(c, alpha, p.state[0], p.gradient);
        struct value *h = blend(c, beta, p.state[1], v_mul(c, p.gradient, p.gradient));
        /* From the first step on, both averages are corrected for having begun at zero. */
        struct value *one = v_number(c, p.x, 1), *zero = v_number(c, p.x, 0);
        struct value *missing_v =
            v_sub(c, one, build_binary(c->b, OP_pow, v_number(c, p.x, alpha), steps));
        struct value *missing_h =
            v_sub(c, one, build_binary(c->b, OP_pow, v_number(c, p.x, beta), steps));
        struct value *corrected = v_div(c, v_mul(c, rate, root(c, missing_h)), missing_v);
        rate = build_select(c->b, v_lt(c, zero, steps), corrected, rate);
        struct value *scale = v_add_number(c, root(c, h), attr_float(c, "epsilon", 1e-6));
        struct value *x = v_sub(c, p.x, v_mul(c, rate, v_div(c, v, scale)));
        c->out[i] = after != 0 ? v_mul_number(c, x, 1 - after) : x;
        c->out[n + i] = v;
        c->out[2 * n + i] = h;
    }
    return n > 0;
}
