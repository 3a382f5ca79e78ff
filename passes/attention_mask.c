/*
 * Which keys queries see, as exporters compute it: comparisons of indices, conjunctions of them,
 * and constants. What holds for all indices goes; j <= i + offset becomes causality; the rest stays
 * a mask.
 */
#include "attention.h"

#include <math.h>

#include "../ir/eval.h"

/* --- Integers that are linear in their index ---------------------------------------------------
 */

/* constant + Σ by[i] * index[i] */
struct linear {
    const struct dim *constant;
    int64_t by[MAX_RANK];
};

enum { DEPTH = 12, MOST_FACTOR = 1 << 20 };

static bool linear(struct graph *g, struct value *v, int depth, struct linear *l);

/* The same numbers in another shape: only axes of size 1 come and go. */
static bool reshaped(struct graph *g, const struct value *from, const struct value *to, int depth,
                     struct linear *l)
{
    struct linear in;
    int k = 0;
    if (!linear(g, from->def->in[0], depth, &in))
        return false;
    const struct value *x = from->def->in[0];
    l->constant = in.constant;
    for (int i = 0; i < to->rank; i++) {
        l->by[i] = 0;
        if (dim_is(to->shape[i], 1))
            continue;
        while (k < x->rank && dim_is(x->shape[k], 1))
            k++;
        if (k == x->rank || x->shape[k] != to->shape[i])
            return false;
        l->by[i] = in.by[k++];
    }
    while (k < x->rank && dim_is(x->shape[k], 1))
        k++;
    return k == x->rank;
}

static bool combined(struct graph *g, const struct node *node, int depth, struct linear *l)
{
    struct linear a, b;
    int64_t sign = node->op == OP_sub ? -1 : 1;
    if (!linear(g, node->in[0], depth, &a) || !linear(g, node->in[1], depth, &b))
        return false;
    l->constant = node->op == OP_sub ? dim_sub(g->dims, a.constant, b.constant)
                                     : dim_add(g->dims, a.constant, b.constant);
    for (int i = 0; i < node->out[0]->rank; i++)
        l->by[i] = a.by[i] + sign * b.by[i];
    return true;
}

static bool viewed(struct graph *g, struct value *v, int depth, struct linear *l)
{
    const struct node *node = v->def;
    struct linear in;
    if (node->op == OP_reshape)
        return reshaped(g, v, v, depth, l);
    if (!linear(g, node->in[0], depth, &in))
        return false;
    l->constant = in.constant;
    for (int i = 0; i < v->rank; i++) {
        if (node->op == OP_transpose)
            l->by[i] = in.by[node->attr.transpose.perm.axis[i]];
        else if (node->in[0]->shape[i] == v->shape[i])
            l->by[i] = in.by[i];
        else if (dim_is(node->in[0]->shape[i], 1))
            l->by[i] = 0;
        else
            return false;
    }
    return true;
}

static bool linear(struct graph *g, struct value *v, int depth, struct linear *l)
{
    const struct node *node = v->def;
    *l = (struct linear){.constant = dim_const(g->dims, 0)};
    if (!node || depth == 0 || !dtype_is_int(v->type))
        return false;
    if (dim_is(value_elements(g, v), 1) && graph_known_elements(g, v, &l->constant, 1))
        return true;
    switch (node->op) {
    case OP_iota: l->by[node->attr.iota.axis] = 1; return true;
    case OP_add:
    case OP_sub: return combined(g, node, depth - 1, l);
    case OP_reshape:
    case OP_transpose:
    case OP_expand: return viewed(g, v, depth - 1, l);
    case OP_cast: return dtype_is_int(node->in[0]->type) && linear(g, node->in[0], depth - 1, l);
    default: return false;
    }
}

/* --- Comparisons -------------------------------------------------------------------------------
 */

/* What a bool is where it says that a linear number is not negative. */
static bool not_negative(struct graph *g, struct value *seen, struct linear *l)
{
    const struct node *node = seen->def;
    struct linear a, b;
    if (!node || (node->op != OP_le && node->op != OP_lt) || seen->rank < 2 ||
        !linear(g, node->in[0], DEPTH, &a) || !linear(g, node->in[1], DEPTH, &b))
        return false;
    l->constant = dim_sub(g->dims, b.constant, a.constant);
    if (node->op == OP_lt)
        l->constant = dim_sub(g->dims, l->constant, dim_const(g->dims, 1));
    for (int i = 0; i < seen->rank; i++) {
        l->by[i] = b.by[i] - a.by[i];
        if (l->by[i] > MOST_FACTOR || l->by[i] < -MOST_FACTOR)
            return false;
    }
    return true;
}

static bool holds_always(struct graph *g, const struct value *seen, const struct linear *l)
{
    const struct dim *least = l->constant, *one = dim_const(g->dims, 1);
    for (int i = 0; i < seen->rank; i++)
        if (l->by[i] < 0)
            least = dim_add(g->dims, least,
                            dim_mul(g->dims, dim_const(g->dims, l->by[i]),
                                    dim_sub(g->dims, seen->shape[i], one)));
    return dim_le(g->dims, dim_const(g->dims, 0), least);
}

/* 1 for queries, -1 for keys, nothing else. */
static bool is_diagonal(const struct value *seen, const struct linear *l)
{
    for (int i = 0; i < seen->rank - 2; i++)
        if (l->by[i] != 0 && !dim_is(seen->shape[i], 1))
            return false;
    return l->by[seen->rank - 2] == 1 && l->by[seen->rank - 1] == -1;
}

/* --- Constants ---------------------------------------------------------------------------------
 */

enum { MOST_CONSTANT = 1 << 22 };

/* The constant matrix that v is a window of; *ahead: how much further down than to the right the
 * window begins. NULL: it is none. mask: only which numbers are 0 counts. */
static const struct value *window_of(struct graph *g, const struct value *v, bool mask,
                                     const struct dim **ahead)
{
    *ahead = dim_const(g->dims, 0);
    for (; v->def && !value_is_const(v); v = v->def->in[0]) {
        const struct node *node = v->def;
        const struct value *x = node->n_in == 1 ? node->in[0] : NULL;
        int r = v->rank;
        if (!x || r < 2 || x->rank < 2)
            return NULL;
        bool same =
            x->shape[x->rank - 1] == v->shape[r - 1] && x->shape[x->rank - 2] == v->shape[r - 2];
        const struct attr_slice *cut = node->op == OP_slice ? &node->attr.slice : NULL;
        if (cut) {
            for (int i = 0; i < r; i++)
                if (!dim_is(cut->step.d[i], 1) || (i < r - 2 && !dim_is(x->shape[i], 1)))
                    return NULL;
            const struct dim *start = dim_sub(g->dims, cut->start.d[r - 2], cut->start.d[r - 1]);
            *ahead = dim_add(g->dims, *ahead, start);
        } else if (!(same && (node->op == OP_expand || node->op == OP_reshape)) &&
                   !(mask && node->op == OP_cast)) {
            return NULL;
        }
    }
    return v->def ? v : NULL;
}

/* Reads the elements of one constant matrix; how many columns of row i are the first ones that
 * count. All else must not count. */
static bool matrix_is_causal(const struct value *v, bool mask, bool *infinite, int64_t *offset)
{
    int64_t n, rows, columns;
    *infinite = false;
    if (!v || v->rank < 2 || !value_elements_const(v, &n) || n > MOST_CONSTANT ||
        !v->def->attr.constant.data->bytes || !dim_is_const(v->shape[v->rank - 2], &rows) ||
        !dim_is_const(v->shape[v->rank - 1], &columns) || n != rows * columns || rows < 2)
        return false;
    const struct constant *c = v->def->attr.constant.data;
    struct tensor t = {.type = v->type, .size = c->size, .data = (void *)(uintptr_t)c->bytes};
    bool all_infinite = true, all_lost = true;
    for (*offset = -1; *offset + 1 < columns; ++*offset) { /* row 0 tells it */
        double x = tensor_get_float(&t, *offset + 1);
        if (mask ? x == 0 : x != 0)
            break;
    }
    for (int64_t i = 0; i < n; i++) {
        bool counts = i % columns <= i / columns + *offset;
        double x = tensor_get_float(&t, i);
        if (mask ? (x != 0) != counts : counts && x != 0)
            return false;
        all_infinite &= counts || mask || x == -(double)INFINITY;
        all_lost &= counts || mask || x <= SCORE_LOST;
    }
    *infinite = all_infinite;
    return all_infinite || (all_lost && *offset >= 0);
}

/* The same of a window of a matrix. */
static bool window_is_causal(struct graph *g, const struct value *v, bool mask, bool *infinite,
                             const struct dim **offset)
{
    const struct dim *ahead;
    const struct value *matrix = window_of(g, v, mask, &ahead);
    int64_t number;
    if (!matrix || (!mask && !dtype_is_float(matrix->type)) ||
        !matrix_is_causal(matrix, mask, infinite, &number))
        return false;
    *offset = dim_add(g->dims, ahead, dim_const(g->dims, number));
    return mask || *infinite || dim_le(g->dims, dim_const(g->dims, 0), *offset);
}

bool bias_is_causal(struct graph *g, struct value *bias, bool *infinite, const struct dim **offset)
{
    return window_is_causal(g, bias, false, infinite, offset);
}

/* --- Gates -------------------------------------------------------------------------------------
 */

static struct value *unspread(struct value *v)
{
    while (v->def && v->def->op == OP_expand)
        v = v->def->in[0];
    return v;
}

static bool constant_of(const struct value *v, struct tensor *t, int64_t *n)
{
    if (!v || !value_is_const(v) || !value_elements_const(v, n) || *n > MOST_CONSTANT ||
        !v->def->attr.constant.data->bytes)
        return false;
    const struct constant *c = v->def->attr.constant.data;
    *t = (struct tensor){.type = v->type, .size = c->size, .data = (void *)(uintptr_t)c->bytes};
    return true;
}

/* Only 0 and 1, or made of bool. */
static bool is_gate(struct graph *g, const struct value *gate)
{
    const struct dim *ahead;
    struct tensor t;
    int64_t n;
    if (gate->def && gate->def->op == OP_cast && gate->def->in[0]->type == DT_BOOL)
        return true;
    if (!constant_of(window_of(g, gate, true, &ahead), &t, &n))
        return false;
    for (int64_t i = 0; i < n; i++) {
        double x = tensor_get_float(&t, i);
        if (x != 0 && x != 1)
            return false;
    }
    return true;
}

/* Two constants, element by element. */
static bool constants_hide(const struct value *gate, const struct value *bias, double *fill)
{
    struct tensor seen, added;
    int64_t n, m;
    if (!constant_of(gate, &seen, &n) || !constant_of(bias, &added, &m) || n != m ||
        gate->rank != bias->rank)
        return false;
    for (int i = 0; i < gate->rank; i++)
        if (gate->shape[i] != bias->shape[i])
            return false;
    *fill = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = tensor_get_float(&added, i);
        bool hidden = tensor_get_float(&seen, i) == 0;
        if (hidden ? *fill != 0 && x != *fill : x != 0)
            return false;
        *fill = hidden ? x : *fill;
    }
    return *fill != 0;
}

bool gate_hides(struct graph *g, struct value *gate, struct value *bias, double *fill)
{
    gate = unspread(gate);
    bias = unspread(bias);
    if (!is_gate(g, gate))
        return false;
    if (constants_hide(gate, bias, fill))
        return true;
    const struct node *product = bias->def; /* fill * (1 - gate) */
    for (int i = 0; i < 2 && product && product->op == OP_mul; i++) {
        const struct node *rest = unspread(product->in[i])->def;
        double one;
        if (match_uniform(product->in[1 - i], fill) && rest && rest->op == OP_sub &&
            match_uniform(rest->in[0], &one) && one == 1 && unspread(rest->in[1]) == gate)
            return true;
    }
    return false;
}

bool mask_is_causal(struct graph *g, struct value *seen, const struct dim **offset)
{
    struct linear l;
    bool infinite;
    if (window_is_causal(g, seen, true, &infinite, offset))
        return dim_le(g->dims, dim_const(g->dims, 0), *offset);
    while (seen->def && seen->def->op == OP_expand)
        seen = seen->def->in[0];
    if (seen->def && seen->def->op == OP_and)
        for (int i = 0; i < 2; i++) {
            struct value *other = seen->def->in[1 - i];
            double number;
            bool always = match_uniform(other, &number) && number != 0;
            struct linear side;
            if (always || (not_negative(g, other, &side) && holds_always(g, other, &side)))
                return mask_is_causal(g, seen->def->in[i], offset);
        }
    if (!not_negative(g, seen, &l) || !is_diagonal(seen, &l) ||
        !dim_le(g->dims, dim_const(g->dims, 0), l.constant))
        return false;
    *offset = l.constant;
    return true;
}

void scores_hide_above(struct scores *s, const struct dim *offset, const struct dim *keys)
{
    struct dim_table *dims = s->b->g->dims;
    if (dim_le(dims, keys, dim_add(dims, offset, dim_const(dims, 1))))
        return; /* even the first query sees all */
    s->causal = true;
    s->offset = offset;
}

/* --- Masks -------------------------------------------------------------------------------------
 */

static bool and_mask(struct scores *s, struct value *seen, int rank, const struct dim *const *shape)
{
    seen = build_expand(s->b, seen, rank, shape);
    s->mask = s->mask ? build_binary(s->b, OP_and, s->mask, seen) : seen;
    return s->mask != NULL;
}

static bool take_mask(struct scores *s, struct value *seen, int rank,
                      const struct dim *const *shape, int depth)
{
    struct graph *g = s->b->g;
    struct linear l;
    double number;
    const struct dim *offset;
    bool infinite;
    bool may_be_causal = !s->causal && scores_in_rows(s, rank, shape);
    if (may_be_causal && window_is_causal(g, seen, true, &infinite, &offset)) {
        scores_hide_above(s, offset, shape[rank - 1]);
        return true;
    }
    while (seen->def && seen->def->op == OP_expand)
        seen = seen->def->in[0];
    if (match_uniform(seen, &number) && number != 0)
        return true;
    if (seen->def && seen->def->op == OP_and && depth > 0)
        return take_mask(s, seen->def->in[0], rank, shape, depth - 1) &&
               take_mask(s, seen->def->in[1], rank, shape, depth - 1);
    if (not_negative(g, seen, &l)) {
        if (holds_always(g, seen, &l))
            return true;
        if (is_diagonal(seen, &l) && may_be_causal) {
            scores_hide_above(s, l.constant, shape[rank - 1]);
            return true;
        }
    }
    return and_mask(s, seen, rank, shape);
}

bool scores_mask(struct scores *s, struct value *seen, int rank, const struct dim *const *shape)
{
    enum { CONJUNCTIONS = 6 };
    return take_mask(s, seen, rank, shape, CONJUNCTIONS);
}
