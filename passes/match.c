/* Matching of values by how they are computed. */
#include "match.h"

#include <math.h>
#include <string.h>

#include "../ir/eval.h"

bool match_uniform(const struct value *v, double *number)
{
    while (v->def && (v->def->op == OP_expand || v->def->op == OP_reshape))
        v = v->def->in[0];
    int64_t n;
    if (!value_is_const(v) || !value_elements_const(v, &n) || n != 1)
        return false;
    const struct constant *c = v->def->attr.constant.data;
    if (!c->bytes)
        return false;
    struct tensor t = {.type = v->type, .size = c->size, .data = (void *)(uintptr_t)c->bytes};
    if (v->type == DT_I64 || v->type == DT_U64) {
        int64_t i = tensor_get_int(&t, 0);
        *number = (double)i;
        return i > -(INT64_C(1) << 53) && i < INT64_C(1) << 53;
    }
    *number = tensor_get_float(&t, 0);
    return true;
}

struct value *match_spread(struct value *v)
{
    while (v->def && (v->def->op == OP_expand || v->def->op == OP_reshape))
        v = v->def->in[0];
    return v;
}

bool match_near(enum dtype type, double a, double b)
{
    double relative = type == DT_BF16 ? 8e-3 : type == DT_F16 ? 1e-3 : 2e-5;
    return fabs(a - b) <= relative * fabs(b);
}

struct node *match_reader(const struct value *v, int *operand)
{
    if (!value_single_use(v))
        return NULL;
    *operand = v->uses->operand;
    return v->uses->node;
}

/* --- Polynomials ---------------------------------------------------------------------------- */

static bool multiply(const double a[POLYNOMIAL], const double b[POLYNOMIAL], double c[POLYNOMIAL])
{
    double product[2 * POLYNOMIAL - 1] = {0};
    for (int i = 0; i < POLYNOMIAL; i++)
        for (int k = 0; k < POLYNOMIAL; k++)
            product[i + k] += a[i] * b[k];
    for (int i = POLYNOMIAL; i < 2 * POLYNOMIAL - 1; i++)
        if (product[i] != 0)
            return false;
    memcpy(c, product, POLYNOMIAL * sizeof *c);
    return true;
}

static bool power(const double a[POLYNOMIAL], double exponent, double c[POLYNOMIAL])
{
    double result[POLYNOMIAL] = {1};
    if (exponent != 1 && exponent != 2 && exponent != 3)
        return false;
    for (int i = 0; i < (int)exponent; i++)
        if (!multiply(result, a, result))
            return false;
    memcpy(c, result, sizeof result);
    return true;
}

static bool is_number(const double a[POLYNOMIAL])
{
    return a[1] == 0 && a[2] == 0 && a[3] == 0;
}

static bool combine(enum op op, const double a[POLYNOMIAL], const double b[POLYNOMIAL],
                    double c[POLYNOMIAL])
{
    switch (op) {
    case OP_add:
    case OP_sub:
        for (int i = 0; i < POLYNOMIAL; i++)
            c[i] = op == OP_add ? a[i] + b[i] : a[i] - b[i];
        return true;
    case OP_mul: return multiply(a, b, c);
    case OP_div:
        for (int i = 0; i < POLYNOMIAL; i++)
            c[i] = a[i] / b[0];
        return is_number(b) && b[0] != 0;
    case OP_pow: return is_number(b) && power(a, b[0], c);
    default: return false;
    }
}

static bool polynomial(const struct value *v, const struct value *x, int depth,
                       double c[POLYNOMIAL])
{
    double a[POLYNOMIAL], b[POLYNOMIAL], number;
    memset(c, 0, POLYNOMIAL * sizeof *c);
    if (v == x) {
        c[1] = 1;
        return true;
    }
    if (match_uniform(v, &number)) {
        c[0] = number;
        return isfinite(number);
    }
    if (!v->def || depth == 0)
        return false;
    if (v->def->op == OP_neg && polynomial(v->def->in[0], x, depth - 1, a)) {
        for (int i = 0; i < POLYNOMIAL; i++)
            c[i] = -a[i];
        return true;
    }
    return op_info[v->def->op].class == OC_SCALAR && v->def->n_in == 2 &&
           polynomial(v->def->in[0], x, depth - 1, a) &&
           polynomial(v->def->in[1], x, depth - 1, b) && combine(v->def->op, a, b, c);
}

bool match_polynomial(const struct value *v, const struct value *x, double c[POLYNOMIAL])
{
    return polynomial(v, x, 8, c);
}
