/* Elementwise arithmetic, logic and conversions. */
#include "lower.h"

#include <string.h>

bool lower_unary(struct call *c)
{
    return call_result(c, build_unary(c->b, c->row->variant, c->in[0]));
}

/* Integers go through f64 and are rounded towards zero. */
bool lower_erf(struct call *c)
{
    struct value *x = c->in[0];
    bool whole = !dtype_is_float(x->type);
    struct value *y = build_unary(c->b, OP_erf, whole ? build_cast(c->b, x, DT_F64) : x);
    return call_result(c, build_cast(c->b, y, x->type));
}

/* Before opset 7, y was put at `axis` of x when `broadcast` asked for it. */
static struct value *align_operand(struct call *c, struct value *x, struct value *y)
{
    if (c->opset >= 7 || !attr_int(c, "broadcast", 0))
        return y;
    if (y->rank == 0)
        return y;
    int axis = call_axis(c, attr_int(c, "axis", x->rank - y->rank), x->rank);
    if (axis < 0 || axis + y->rank > x->rank)
        return call_error(c, "its operands do not broadcast"), NULL;
    return build_unsqueeze(c->b, y, ((1u << (x->rank - axis - y->rank)) - 1) << y->rank);
}

static bool same_types(struct call *c)
{
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i]->type != c->in[0]->type)
            return call_error(c, "its operands are %s and %s", dtype_info[c->in[0]->type].text,
                              dtype_info[c->in[i]->type].text);
    return true;
}

bool lower_binary(struct call *c)
{
    return same_types(c) && call_result(c, build_binary(c->b, c->row->variant, c->in[0],
                                                        align_operand(c, c->in[0], c->in[1])));
}

/* a > b is b < a. */
bool lower_greater(struct call *c)
{
    return same_types(c) &&
           call_result(c, build_binary(c->b, c->row->variant, align_operand(c, c->in[0], c->in[1]),
                                       c->in[0]));
}

/* A float as a whole number, towards zero, where x may miss a whole one by its rounding error. */
static struct value *truncate_near(struct call *c, struct value *x)
{
    struct value *whole = build_unary(c->b, OP_round, x);
    struct value *off = build_unary(c->b, OP_abs, v_sub(c, x, whole));
    struct value *error = v_mul_number(c, build_unary(c->b, OP_abs, x), 1e-15);
    return build_select(c->b, v_le(c, off, error), whole, x);
}

/* The result has the base's type; a float power of a whole number is taken in f64. */
bool lower_pow(struct call *c)
{
    struct value *x = c->in[0], *y = align_operand(c, x, c->in[1]);
    if (!y)
        return false;
    bool mixed = dtype_is_float(y->type) && !dtype_is_float(x->type);
    enum dtype type = mixed ? DT_F64 : x->type;
    struct value *exponent = build_cast(c->b, y, type);
    struct value *power = build_binary(c->b, OP_pow, build_cast(c->b, x, type), exponent);
    return call_result(c, build_cast(c->b, mixed ? truncate_near(c, power) : power, x->type));
}

bool lower_mod(struct call *c)
{
    bool fmod = attr_int(c, "fmod", 0) != 0;
    if (!fmod && dtype_is_float(c->in[0]->type))
        return call_error(c, "floats need fmod=1");
    return same_types(c) &&
           call_result(c, build_binary(c->b, fmod ? OP_rem : OP_mod, c->in[0], c->in[1]));
}

bool lower_bit_shift(struct call *c)
{
    static const char *const directions[] = {"LEFT", "RIGHT", NULL};
    int direction = attr_choice(c, "direction", directions, -1);
    if (direction < 0)
        return c->failed ? false : call_error(c, "attribute 'direction' is missing");
    return same_types(c) &&
           call_result(c, build_binary(c->b, direction ? OP_shr : OP_shl, c->in[0], c->in[1]));
}

bool lower_is_inf(struct call *c)
{
    struct value *x = c->in[0], *zero = v_number(c, x, 0);
    struct value *inf = build_unary(c->b, OP_is_inf, x);
    if (!attr_int(c, "detect_negative", 1))
        inf = v_and(c, inf, v_lt(c, zero, x));
    if (!attr_int(c, "detect_positive", 1))
        inf = v_and(c, inf, v_lt(c, x, zero));
    return call_result(c, inf);
}

bool lower_where(struct call *c)
{
    if (c->in[1]->type != c->in[2]->type)
        return call_error(c, "its choices are %s and %s", dtype_info[c->in[1]->type].text,
                          dtype_info[c->in[2]->type].text);
    return call_result(c, build_select(c->b, c->in[0], c->in[1], c->in[2]));
}

static struct value *fold_inputs(struct call *c, enum op op)
{
    struct value *v = c->in[0];
    for (int i = 1; i < c->n_in; i++)
        v = build_binary(c->b, op, v, c->in[i]);
    return v;
}

bool lower_variadic(struct call *c)
{
    return same_types(c) && call_result(c, fold_inputs(c, c->row->variant));
}

bool lower_mean(struct call *c)
{
    struct value *sum = same_types(c) ? fold_inputs(c, OP_add) : NULL;
    return call_result(c, v_div(c, sum, v_number(c, sum, c->n_in)));
}

/* saturate matters for narrow floats alone: integers always wrap, floats of 16 bits overflow to
 * inf. */
static struct value *convert(struct call *c, struct value *x, enum dtype to)
{
    const char *round = attr_string(c, "round_mode", "up");
    if (to == DT_F8E8M0 && strcmp(round, "up") != 0)
        return call_unsupported(c, "round_mode '%s'", round), NULL;
    return attr_int(c, "saturate", 1) ? build_cast(c->b, x, to) : build_cast_wrap(c->b, x, to);
}

bool lower_cast(struct call *c)
{
    enum dtype to = attr_dtype(c, "to", DT_NONE);
    if (to == DT_NONE)
        return c->failed ? false : call_error(c, "attribute 'to' is missing");
    return call_result(c, convert(c, c->in[0], to));
}

bool lower_cast_like(struct call *c)
{
    return call_result(c, convert(c, c->in[0], c->in[1]->type));
}

bool lower_bit_cast(struct call *c)
{
    enum dtype to = attr_dtype(c, "to", DT_NONE);
    if (to == DT_NONE || dtype_info[to].bits != dtype_info[c->in[0]->type].bits)
        return c->failed ? false : call_error(c, "it must name a type of the same width");
    return call_result(c, build_bitcast(c->b, c->in[0], to));
}
