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

static const struct dim *elements_behind(struct graph *g, const struct value *v, int axis)
{
    const struct dim *n = dim_const(g->dims, 1);
    for (int i = axis + 1; i < v->rank; i++)
        n = dim_mul(g->dims, n, v->shape[i]);
    return n;
}

int match_axis_behind(struct graph *g, const struct node *view, int axis, int64_t *stride)
{
    const struct value *x = view->in[0], *y = view->out[0];
    int64_t was, is;
    if (view->op == OP_transpose)
        for (int i = 0; i < y->rank; i++)
            if (view->attr.transpose.perm.axis[i] == axis)
                return i;
    if (view->op != OP_reshape)
        return -1;
    const struct dim *inner = elements_behind(g, x, axis);
    for (int i = 0; i < y->rank; i++) {
        const struct dim *own = elements_behind(g, y, i);
        if (dim_is(y->shape[i], 1))
            continue;
        if (own == inner)
            return i;
        if (dim_is_const(inner, &was) && dim_is_const(own, &is) && is > 0 && was > is &&
            was % is == 0 && !__builtin_mul_overflow(*stride, was / is, stride))
            return i;
    }
    return -1;
}

static int innermost(const struct value *v)
{
    return v->layout ? v->layout->perm.axis[v->rank - 1] : v->rank - 1;
}

bool match_keeps_rows(struct graph *g, const struct node *transpose)
{
    enum { MOST_STRIDE = 4, MOST_VIEWS = 8 };
    const struct node *view = transpose, *before = transpose->in[0]->def;
    if (before && before->op == OP_reshape)
        view = before;
    int64_t stride = 1;
    int axis = view->in[0]->rank > 0 ? innermost(view->in[0]) : -1, operand;
    for (int i = 0; i < MOST_VIEWS && axis >= 0; i++) {
        axis = match_axis_behind(g, view, axis, &stride);
        const struct node *next = match_reader(view->out[0], &operand);
        if (view != before && (!next || (next->op != OP_reshape && next->op != OP_transpose)))
            return axis >= 0 && axis == innermost(view->out[0]) && stride <= MOST_STRIDE;
        view = view == before ? transpose : next;
    }
    return false;
}

bool match_cuts_product(const struct node *slice)
{
    enum { MOST_VIEWS = 8 };
    if (slice->op != OP_slice)
        return false;
    for (int i = 0; i < slice->attr.slice.step.n; i++)
        if (!dim_is(slice->attr.slice.step.d[i], 1))
            return false;
    const struct value *v = slice->in[0];
    for (int i = 0; i < MOST_VIEWS && v->def && value_single_use(v); i++) {
        if (op_info[v->def->op].class == OC_CONTRACT)
            return i > 0;
        if (v->def->op != OP_reshape && v->def->op != OP_transpose)
            return false;
        v = v->def->in[0];
    }
    return false;
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
