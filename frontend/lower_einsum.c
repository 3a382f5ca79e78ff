/*
 * Einsum. Each operand carries a label per axis; operands are joined from left to right: labels
 * that neither the result nor a later operand has are contracted by a matmul as soon as they can
 * be.
 */
#include "lower.h"

#include <ctype.h>
#include <string.h>

enum { LETTERS = 52, MAX_LABELS = LETTERS + MAX_RANK }; /* … then axes of "...", from the right */

struct labelled {
    struct value *v;
    int rank;
    uint8_t label[MAX_RANK];
};

static int letter(char ch)
{
    return ch >= 'a' && ch <= 'z' ? ch - 'a' + 26 : ch >= 'A' && ch <= 'Z' ? ch - 'A' : -1;
}

/* Reads labels up to one of `stop`; rank < 0: as many as there are (for the result). */
static const char *parse_term(struct call *c, const char *at, const char *stop, int rank, int dots,
                              struct labelled *t)
{
    int letters = 0;
    for (const char *p = at; *p && !strchr(stop, *p) && *p != '-'; p++)
        letters += letter(*p) >= 0;
    int n_dots = rank < 0 ? dots : rank - letters;
    bool seen_dots = false;
    t->rank = 0;
    for (; *at && !strchr(stop, *at); at++) {
        if (*at == ' ')
            continue;
        if (*at == '-' && at[1] == '>')
            break;
        if (strncmp(at, "...", 3) == 0 && !seen_dots) {
            seen_dots = true;
            for (int i = n_dots - 1; i >= 0 && t->rank < MAX_RANK; i--)
                t->label[t->rank++] = (uint8_t)(LETTERS + i);
            at += 2;
        } else if (letter(*at) >= 0 && t->rank < MAX_RANK) {
            t->label[t->rank++] = (uint8_t)letter(*at);
        } else {
            return call_error(c, "its equation cannot be read at '%s'", at), NULL;
        }
    }
    if (rank >= 0 && t->rank != rank)
        return call_error(c, "its equation names %d axes of an operand of rank %d", t->rank, rank),
               NULL;
    return at;
}

static int find_label(const struct labelled *t, int label)
{
    for (int i = 0; i < t->rank; i++)
        if (t->label[i] == label)
            return i;
    return -1;
}

/* Drops axis i of t's labels; its value has dropped it already. */
static void drop_axis(struct labelled *t, int i)
{
    memmove(t->label + i, t->label + i + 1, (size_t)(t->rank - i - 1));
    t->rank--;
}

/* A label twice in one operand takes the diagonal: zeros elsewhere, and a sum over one of the axes.
 */
static void take_diagonals(struct call *c, struct labelled *t)
{
    for (int i = 0; i < t->rank; i++)
        for (int j = t->rank - 1; j > i && t->v; j--) {
            if (t->label[i] != t->label[j])
                continue;
            const struct dim *shape[MAX_RANK];
            memcpy(shape, t->v->shape, (size_t)t->rank * sizeof *shape);
            struct value *column = build_iota(c->b, DT_I64, t->rank, shape, j);
            struct value *on = v_eq(c, build_iota(c->b, DT_I64, t->rank, shape, i), column);
            struct value *diagonal = build_select(c->b, on, t->v, v_number(c, t->v, 0));
            t->v = build_reduce(c->b, OP_reduce_sum, diagonal, 1u << j, false);
            drop_axis(t, j);
        }
}

static void sum_label(struct call *c, struct labelled *t, int axis)
{
    t->v = build_reduce(c->b, OP_reduce_sum, t->v, 1u << axis, false);
    drop_axis(t, axis);
}

/* t with the axes of the n labels in this order; a label it lacks becomes an axis of size 1. */
static struct value *arrange(struct call *c, const struct labelled *t, int n, const uint8_t *labels)
{
    int perm[MAX_RANK], have = 0;
    uint32_t missing = 0;
    for (int i = 0; i < n; i++) {
        int at = find_label(t, labels[i]);
        if (at < 0)
            missing |= 1u << i;
        else
            perm[have++] = at;
    }
    return t->v ? build_unsqueeze(c->b, build_transpose(c->b, t->v, perm), missing) : NULL;
}

struct kinds {
    uint8_t batch[MAX_RANK], left[MAX_RANK], right[MAX_RANK], sum[MAX_RANK];
    int n_batch, n_left, n_right, n_sum;
};

static bool classify(const struct labelled *x, const struct labelled *y, const bool *needed,
                     struct kinds *k)
{
    *k = (struct kinds){0};
    for (int i = 0; i < x->rank; i++) {
        uint8_t label = x->label[i];
        if (find_label(y, label) < 0)
            k->left[k->n_left++] = label;
        else if (needed[label])
            k->batch[k->n_batch++] = label;
        else
            k->sum[k->n_sum++] = label;
    }
    for (int i = 0; i < y->rank; i++)
        if (find_label(x, y->label[i]) < 0) {
            if (k->n_batch + k->n_left + k->n_right >= MAX_RANK)
                return false;
            k->right[k->n_right++] = y->label[i];
        }
    return k->n_batch + k->n_left + k->n_sum <= MAX_RANK &&
           k->n_batch + k->n_right + k->n_sum <= MAX_RANK && k->n_batch + 2 <= MAX_RANK;
}

/* v's axes [batch…, first…, second…] joined to [batch…, first, second]. */
static struct value *join_axes(struct call *c, struct value *v, int n_batch, int n_first)
{
    const struct dim *d[MAX_RANK];
    if (!v)
        return NULL;
    d[n_batch] = d[n_batch + 1] = d_const(c, 1);
    for (int i = 0; i < v->rank; i++) {
        if (i < n_batch) {
            d[i] = v->shape[i];
            continue;
        }
        const struct dim **to = &d[n_batch + (i >= n_batch + n_first)];
        *to = D(mul, *to, v->shape[i]);
    }
    return build_reshape(c->b, v, n_batch + 2, d);
}

static bool multiply(struct call *c, struct labelled *x, struct labelled *y, const bool *needed)
{
    struct kinds k;
    if (!x->v || !y->v)
        return false; /* reported where it was built */
    if (!classify(x, y, needed, &k))
        return call_unsupported(c, "more than %d axes in a product", MAX_RANK);
    struct labelled out = {0};
    for (int i = 0; i < k.n_batch; i++)
        out.label[out.rank++] = k.batch[i];
    for (int i = 0; i < k.n_left; i++)
        out.label[out.rank++] = k.left[i];
    for (int i = 0; i < k.n_right; i++)
        out.label[out.rank++] = k.right[i];
    if (k.n_sum == 0) {
        struct value *other = arrange(c, y, out.rank, out.label);
        out.v = v_mul(c, arrange(c, x, out.rank, out.label), other);
        *x = out;
        return x->v;
    }
    uint8_t left[2 * MAX_RANK], right[2 * MAX_RANK];
    int n_left = k.n_batch + k.n_left + k.n_sum, n_right = k.n_batch + k.n_sum + k.n_right;
    memcpy(left, k.batch, MAX_RANK);
    memcpy(left + k.n_batch, k.left, MAX_RANK);
    memcpy(left + k.n_batch + k.n_left, k.sum, (size_t)k.n_sum);
    memcpy(right, k.batch, MAX_RANK);
    memcpy(right + k.n_batch, k.sum, MAX_RANK);
    memcpy(right + k.n_batch + k.n_sum, k.right, (size_t)k.n_right);
    struct value *a = arrange(c, x, n_left, left), *b = arrange(c, y, n_right, right);
    b = join_axes(c, b, k.n_batch, k.n_sum);
    struct value *v = build_matmul(c->b, join_axes(c, a, k.n_batch, k.n_left), b, x->v->type);
    if (!v)
        return false;
    const struct dim *d[MAX_RANK];
    memcpy(d, v->shape, (size_t)k.n_batch * sizeof *d);
    memcpy(d + k.n_batch, a->shape + k.n_batch, (size_t)k.n_left * sizeof *d);
    memcpy(d + k.n_batch + k.n_left, b->shape + k.n_batch + k.n_sum, (size_t)k.n_right * sizeof *d);
    out.v = build_reshape(c->b, v, out.rank, d);
    *x = out;
    return x->v;
}

/* Without "->", the result has "..." and then the letters that occur once, in order. */
static void implicit_result(const struct labelled *terms, int n, int dots, struct labelled *out)
{
    int times[MAX_LABELS] = {0};
    for (int t = 0; t < n; t++)
        for (int i = 0; i < terms[t].rank; i++)
            times[terms[t].label[i]]++;
    out->rank = 0;
    for (int i = dots - 1; i >= 0; i--)
        out->label[out->rank++] = (uint8_t)(LETTERS + i);
    for (int i = 0; i < LETTERS && out->rank < MAX_RANK; i++)
        if (times[i] == 1)
            out->label[out->rank++] = (uint8_t)i;
}

static bool parse_equation(struct call *c, struct labelled *terms, struct labelled *out)
{
    const char *at = attr_string(c, "equation", NULL);
    int dots = 0;
    if (!at)
        return c->failed ? false : call_error(c, "attribute 'equation' is missing");
    for (int i = 0; i < c->n_in; i++) {
        terms[i].v = c->in[i];
        if (i > 0 && *at++ != ',')
            return call_error(c, "its equation has fewer terms than %d", c->n_in);
        at = parse_term(c, at, ",", c->in[i]->rank, 0, &terms[i]);
        if (!at)
            return false;
        for (int k = 0; k < terms[i].rank; k++)
            if (terms[i].label[k] >= LETTERS && terms[i].label[k] - LETTERS >= dots)
                dots = terms[i].label[k] - LETTERS + 1;
    }
    if (strncmp(at, "->", 2) != 0) {
        implicit_result(terms, c->n_in, dots, out);
        return !*at || call_error(c, "its equation has more terms than %d", c->n_in);
    }
    return parse_term(c, at + 2, "", -1, dots, out);
}

bool lower_einsum(struct call *c)
{
    struct labelled *terms = ARENA_ARRAY(c->b->g->arena, c->n_in, struct labelled), out = {0};
    if (!parse_equation(c, terms, &out))
        return false;
    for (int t = 0; t < c->n_in; t++)
        take_diagonals(c, &terms[t]);
    for (int t = 0; t < c->n_in; t++) {
        /* What the result and the terms behind t still need. */
        bool needed[MAX_LABELS] = {false};
        for (int i = 0; i < out.rank; i++)
            needed[out.label[i]] = true;
        for (int u = t + 1; u < c->n_in; u++)
            for (int i = 0; i < terms[u].rank; i++)
                needed[terms[u].label[i]] = true;
        struct labelled *joined = &terms[0];
        if (t > 0 && !multiply(c, joined, &terms[t], needed))
            return false;
        for (int i = joined->rank - 1; i >= 0; i--)
            if (!needed[joined->label[i]])
                sum_label(c, joined, i);
    }
    for (int i = 0; i < out.rank; i++)
        if (find_label(&terms[0], out.label[i]) < 0)
            return call_error(c, "its equation gives the result an axis that no operand has");
    return call_result(c, arrange(c, &terms[0], out.rank, out.label));
}
