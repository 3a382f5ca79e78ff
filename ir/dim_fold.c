/*
 * Dims: arithmetic that simplifies. Each constructor returns the canonical form, or leaves an atom
 * where nothing is known. A rule may only use facts that hold for every value within the symbols'
 * bounds.
 */
#include "dim_table.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_DIVISION_STEPS = 64, MOST_LOOK_INSIDE = 4, MOST_REMAINDER_TERMS = 12, MOST_SHIFT = 16 };

/* -- Sums and products -- */

static int varying_terms(const struct dim *d)
{
    return d->n_terms - (d->n_terms > 0 && d->terms[d->n_terms - 1].n_atoms == 0);
}

/* sum with its term f * floordiv(x, q) written as c * (mod(x, q) - x), where f = -c * q; sum itself
 * where that is no shorter. */
static const struct dim *as_remainder(struct dim_table *t, const struct dim *sum,
                                      const struct dim_term *term, const struct dim *x, int64_t q)
{
    if (term->coefficient % q != 0)
        return sum;
    const struct dim *f = dim_const(t, term->coefficient);
    const struct dim *c = dim_const(t, -(term->coefficient / q));
    const struct dim *rest = dim_sub(t, sum, dim_mul(t, f, term->atoms[0]));
    const struct dim *remainder = dim_sub(t, dim_mod(t, x, dim_const(t, q)), x);
    const struct dim *shorter = dim_add(t, rest, dim_mul(t, c, remainder));
    return varying_terms(shorter) < varying_terms(sum) ? shorter : sum;
}

static bool is_quotient(const struct dim_term *term, int64_t *k)
{
    return term->n_atoms == 1 && term->atoms[0]->kind == DIM_FLOORDIV &&
           dim_is_const(term->atoms[0]->b, k) && *k > 1;
}

/* x - k * floordiv(x, k) as mod(x, k); x may itself be floordiv(y, p) + c, which the floordiv of it
 * has absorbed: floordiv(y, p) - 2 * floordiv(y, 2 * p). */
static const struct dim *fold_remainders(struct dim_table *t, const struct dim *sum)
{
    if (sum->n_terms < 2 || sum->n_terms > MOST_REMAINDER_TERMS || sum->overflows)
        return sum;
    for (int i = 0; i < sum->n_terms; i++) {
        const struct dim_term *term = &sum->terms[i];
        int64_t k, p;
        if (!is_quotient(term, &k))
            continue;
        const struct dim *folded = as_remainder(t, sum, term, term->atoms[0]->a, k);
        for (int j = 0; folded == sum && j < sum->n_terms; j++) {
            if (j == i || !is_quotient(&sum->terms[j], &p) || k % p != 0 || k == p)
                continue;
            for (int64_t shift = 0; shift < k / p && shift < MOST_SHIFT; shift++) {
                const struct dim *x = dim_add(t, sum->terms[j].atoms[0], dim_const(t, shift));
                if (dim_floordiv(t, x, dim_const(t, k / p)) == term->atoms[0])
                    folded = as_remainder(t, sum, term, x, k / p);
            }
        }
        if (folded != sum)
            return folded;
    }
    return sum;
}

static const struct dim *make_sum(struct dim_table *t, int n, struct dim_term *terms)
{
    return fold_remainders(t, dim_intern_sum(t, n, terms));
}

static const struct dim *add_scaled(struct dim_table *t, const struct dim *a, const struct dim *b,
                                    int64_t scale)
{
    int n = a->n_terms + b->n_terms;
    struct dim_term *terms = ARENA_ARRAY(t->arena, (size_t)n, struct dim_term);
    if (a->n_terms)
        memcpy(terms, a->terms, (size_t)a->n_terms * sizeof *terms);
    for (int i = 0; i < b->n_terms; i++) {
        struct dim_term *term = &terms[a->n_terms + i];
        *term = b->terms[i];
        if (__builtin_mul_overflow(term->coefficient, scale, &term->coefficient))
            return NULL;
    }
    return make_sum(t, n, terms);
}

const struct dim *dim_add(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    if (dim_is(a, 0))
        return b;
    return dim_is(b, 0) ? a : add_scaled(t, a, b, 1);
}

const struct dim *dim_sub(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    if (dim_is(b, 0))
        return a;
    const struct dim *d = a == b ? dim_const(t, 0) : add_scaled(t, a, b, -1);
    return d ? d : dim_add(t, a, dim_mul(t, dim_const(t, -1), b));
}

static bool is_flag(const struct dim *d)
{
    return d->kind == DIM_EQ || d->kind == DIM_LT;
}

static int order_atoms(const void *a, const void *b)
{
    return dim_compare(*(const struct dim *const *)a, *(const struct dim *const *)b);
}

/* The product of n atoms and a coefficient; extra is one more factor or NULL. */
static struct dim_term multiply_terms(struct dim_table *t, const struct dim_term *x,
                                      const struct dim_term *y)
{
    int n = 0;
    const struct dim **atoms =
        ARENA_ARRAY(t->arena, (size_t)(x->n_atoms + y->n_atoms + 1), const struct dim *);
    for (int i = 0; i < x->n_atoms; i++)
        atoms[n++] = x->atoms[i];
    for (int i = 0; i < y->n_atoms; i++)
        atoms[n++] = y->atoms[i];
    struct dim_term product = {.atoms = atoms};
    if (__builtin_mul_overflow(x->coefficient, y->coefficient, &product.coefficient)) {
        product.coefficient = x->coefficient; /* unfolded: the other one stands as an atom */
        atoms[n++] = dim_const(t, y->coefficient);
    }
    qsort(atoms, (size_t)n, sizeof *atoms, order_atoms);
    for (int i = 0; i < n; i++) /* a flag times itself is the flag */
        if (i == 0 || atoms[i] != atoms[i - 1] || !is_flag(atoms[i]))
            atoms[product.n_atoms++] = atoms[i];
    return product;
}

const struct dim *dim_mul_whole(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    if (dim_is(a, 0) || dim_is(b, 1))
        return a;
    if (dim_is(b, 0) || dim_is(a, 1))
        return b;
    struct dim_term whole_a = {1, 1, &a->self}, whole_b = {1, 1, &b->self};
    struct dim_term *term = ARENA_NEW(t->arena, struct dim_term);
    *term = multiply_terms(t, a->n_terms == 1 ? a->terms : &whole_a,
                           b->n_terms == 1 ? b->terms : &whole_b);
    return make_sum(t, 1, term);
}

const struct dim *dim_mul(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    if (dim_is(a, 0) || dim_is(b, 1))
        return a;
    if (dim_is(b, 0) || dim_is(a, 1))
        return b;
    const struct dim_term *x = a->terms, *y = b->terms;
    int n_x = a->n_terms, n_y = b->n_terms;
    if ((int64_t)n_x * n_y > MOST_TERMS && n_x > 1 && n_y > 1)
        return dim_mul_whole(t, a, b);
    int n = 0;
    struct dim_term *terms = ARENA_ARRAY(t->arena, (size_t)n_x * (size_t)n_y, struct dim_term);
    for (int i = 0; i < n_x; i++)
        for (int k = 0; k < n_y; k++)
            terms[n++] = multiply_terms(t, &x[i], &y[k]);
    return make_sum(t, n, terms);
}

/* -- Division -- */

/* x / y as a product, when y's atoms are among x's and the coefficients divide. */
static bool divide_terms(struct dim_table *t, const struct dim_term *x, const struct dim_term *y,
                         struct dim_term *quotient)
{
    if (y->coefficient == 0 || y->coefficient == -1 || x->coefficient % y->coefficient != 0 ||
        y->n_atoms > x->n_atoms)
        return false;
    const struct dim **atoms = ARENA_ARRAY(t->arena, (size_t)x->n_atoms + 1, const struct dim *);
    int n = 0, k = 0;
    for (int i = 0; i < x->n_atoms; i++) {
        if (k < y->n_atoms && x->atoms[i] == y->atoms[k])
            k++;
        else
            atoms[n++] = x->atoms[i];
    }
    *quotient = (struct dim_term){x->coefficient / y->coefficient, n, atoms};
    return k == y->n_atoms;
}

static const struct dim *one_term(struct dim_table *t, struct dim_term term)
{
    struct dim_term *copy = ARENA_NEW(t->arena, struct dim_term);
    *copy = term;
    return make_sum(t, 1, copy);
}

/* a = q * b + r as polynomials; r is what b's leading product does not divide. */
static void divide_polynomials(struct dim_table *t, const struct dim *a, const struct dim *b,
                               const struct dim **q, const struct dim **r)
{
    *q = dim_const(t, 0);
    *r = a;
    for (int step = 0; step < MOST_DIVISION_STEPS; step++) {
        struct dim_term part = {0, 0, NULL};
        int i = 0;
        while (i < (*r)->n_terms && !divide_terms(t, &(*r)->terms[i], &b->terms[0], &part))
            i++;
        if (b->n_terms == 0 || i == (*r)->n_terms)
            return;
        const struct dim *piece = one_term(t, part);
        const struct dim *rest = dim_sub(t, *r, dim_mul(t, piece, b));
        if (rest->weight > (*r)->weight + b->weight)
            return; /* no progress */
        *q = dim_add(t, *q, piece);
        *r = rest;
    }
}

const struct dim *dim_divide_exact(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    if (dim_is(b, 0))
        return NULL;
    const struct dim *q, *r;
    divide_polynomials(t, a, b, &q, &r);
    return dim_is(r, 0) ? q : NULL;
}

static int64_t gcd64(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a < 0 ? -a : a;
}

/* Greatest common divisor of k and the coefficients of a's products; the constant does not count.
 */
static int64_t common_factor(const struct dim *a, int64_t k)
{
    for (int i = 0; i < a->n_terms; i++)
        if (a->terms[i].n_atoms > 0)
            k = gcd64(k, a->terms[i].coefficient);
    return k;
}

/* sum floor(c / k) * product: what a sum is divided by k > 0, term by term. */
static const struct dim *floor_terms(struct dim_table *t, const struct dim *a, int64_t k)
{
    struct dim_term *terms = ARENA_ARRAY(t->arena, (size_t)a->n_terms, struct dim_term);
    for (int i = 0; i < a->n_terms; i++) {
        terms[i] = a->terms[i];
        terms[i].coefficient = floordiv64(terms[i].coefficient, k);
    }
    return make_sum(t, a->n_terms, terms);
}

/* The part of a whose coefficients k divides, already divided; *rest gets the remainder, whose
 * constant is in [0, k). */
static const struct dim *take_multiples(struct dim_table *t, const struct dim *a, int64_t k,
                                        const struct dim **rest)
{
    struct dim_term *whole = ARENA_ARRAY(t->arena, (size_t)a->n_terms, struct dim_term);
    struct dim_term *left = ARENA_ARRAY(t->arena, (size_t)a->n_terms, struct dim_term);
    for (int i = 0; i < a->n_terms; i++) {
        whole[i] = left[i] = a->terms[i];
        int64_t c = a->terms[i].coefficient;
        bool exact = c % k == 0, constant = a->terms[i].n_atoms == 0;
        whole[i].coefficient = exact || constant ? floordiv64(c, k) : 0;
        left[i].coefficient = exact ? 0 : constant ? floormod64(c, k) : c;
    }
    *rest = make_sum(t, a->n_terms, left);
    return make_sum(t, a->n_terms, whole);
}

static bool within(const struct dim *d, int64_t lower, int64_t upper)
{
    return d->lower >= lower && d->upper <= upper;
}

/* d = atom + c with the atom a floordiv by a positive constant: floordiv(x, p) + c. */
static bool is_quotient_plus(const struct dim *d, const struct dim **x, int64_t *p, int64_t *c)
{
    *c = 0;
    if (d->n_terms == 2 && d->terms[1].n_atoms == 0)
        *c = d->terms[1].coefficient;
    else if (d->n_terms != 1)
        return false;
    if (d->terms[0].n_atoms != 1 || d->terms[0].coefficient != 1)
        return false;
    const struct dim *atom = d->terms[0].atoms[0];
    if (atom->kind != DIM_FLOORDIV || !dim_is_const(atom->b, p) || *p <= 0)
        return false;
    *x = atom->a;
    return true;
}

/* floor(rest / k), where no coefficient of rest is a multiple of k > 1. */
static const struct dim *floordiv_rest(struct dim_table *t, const struct dim *rest, int64_t k)
{
    int64_t factor = common_factor(rest, k);
    if (factor > 1) { /* floor((f*x + c) / (f*k)) = floor((x + floor(c / f)) / k) */
        rest = floor_terms(t, rest, factor);
        k /= factor;
        if (k == 1)
            return rest;
    }
    if (within(rest, 0, k - 1))
        return dim_const(t, 0);
    const struct dim *x;
    int64_t p, c, shift, divisor;
    if (is_quotient_plus(rest, &x, &p, &c) && !__builtin_mul_overflow(c, p, &shift) &&
        !__builtin_mul_overflow(p, k, &divisor)) /* floor((floor(x/p) + c) / k) */
        return dim_floordiv(t, dim_add(t, x, dim_const(t, shift)), dim_const(t, divisor));
    return dim_intern_atom(t, DIM_FLOORDIV, rest, dim_const(t, k));
}

const struct dim *dim_floordiv(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    int64_t k;
    if (dim_is(b, 1))
        return a;
    if (a->overflows || b->overflows)
        return dim_intern_atom(t, DIM_FLOORDIV, a, b);
    if (dim_is_const(b, &k) && k > 1) {
        const struct dim *rest, *whole = take_multiples(t, a, k, &rest);
        return dim_is(rest, 0) ? whole : dim_add(t, whole, floordiv_rest(t, rest, k));
    }
    if (a->kind == DIM_CONST && b->kind == DIM_CONST && b->value != 0 &&
        !(a->value == INT64_MIN && b->value == -1))
        return dim_const(t, floordiv64(a->value, b->value));
    if (b->lower < 1)
        return dim_intern_atom(t, DIM_FLOORDIV, a, b);
    const struct dim *q, *r;
    divide_polynomials(t, a, b, &q, &r);
    if (dim_is(r, 0) || (r->lower >= 0 && dim_le(t, dim_add(t, r, dim_const(t, 1)), b)))
        return q;
    return dim_add(t, q, dim_intern_atom(t, DIM_FLOORDIV, r, b));
}

const struct dim *dim_ceildiv(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    return dim_floordiv(t, dim_sub(t, dim_add(t, a, b), dim_const(t, 1)), b);
}

/* a with every coefficient in [0, k), and mod(x, m) replaced by x where k divides m. */
static const struct dim *reduce_modulo(struct dim_table *t, const struct dim *a, int64_t k)
{
    const struct dim *sum = dim_const(t, 0);
    for (int i = 0; i < a->n_terms; i++) {
        struct dim_term term = a->terms[i];
        term.coefficient = floormod64(term.coefficient, k);
        const struct dim *atom = term.n_atoms == 1 ? term.atoms[0] : NULL;
        int64_t m;
        if (atom && atom->kind == DIM_MOD && dim_is_const(atom->b, &m) && m % k == 0)
            sum = dim_add(t, sum,
                          dim_mul(t, dim_const(t, term.coefficient), reduce_modulo(t, atom->a, k)));
        else
            sum = dim_add(t, sum, one_term(t, term));
    }
    return sum;
}

static const struct dim *mod_const(struct dim_table *t, const struct dim *a, int64_t k)
{
    /* Once more where x came out of a mod(x, m): its coefficients were multiplied again. */
    const struct dim *r = reduce_modulo(t, reduce_modulo(t, a, k), k);
    if (within(r, 0, k - 1))
        return r;
    int64_t factor = common_factor(r, k);
    if (factor == k) /* k divides all but the constant, which is in [0, k) */
        return r;
    if (factor > 1) { /* mod(f*x + c, f*k) = f * mod(x + floor(c / f), k) + mod(c, f) */
        int64_t c = r->n_terms && r->terms[r->n_terms - 1].n_atoms == 0
                        ? r->terms[r->n_terms - 1].coefficient
                        : 0;
        const struct dim *inner = dim_mod(t, floor_terms(t, r, factor), dim_const(t, k / factor));
        return dim_add(t, dim_mul(t, dim_const(t, factor), inner), dim_const(t, c % factor));
    }
    return dim_intern_atom(t, DIM_MOD, r, dim_const(t, k));
}

const struct dim *dim_mod(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    int64_t k;
    if (a->kind == DIM_CONST && b->kind == DIM_CONST && b->value != 0)
        return dim_const(t, floormod64(a->value, b->value));
    if (dim_is(b, 1))
        return dim_const(t, 0);
    if (a->overflows || b->overflows)
        return dim_intern_atom(t, DIM_MOD, a, b);
    if (b->lower >= 1 && a->lower >= 0 && dim_le(t, dim_add(t, a, dim_const(t, 1)), b))
        return a;
    if (dim_is_const(b, &k) && k > 1)
        return mod_const(t, a, k);
    if (b->lower < 1)
        return dim_intern_atom(t, DIM_MOD, a, b);
    const struct dim *q, *r;
    divide_polynomials(t, a, b, &q, &r);
    if (dim_is(r, 0) || (r->lower >= 0 && dim_le(t, dim_add(t, r, dim_const(t, 1)), b)))
        return r;
    return dim_intern_atom(t, DIM_MOD, r, b);
}

/* -- Comparisons -- */

/* Provably a <= b, by their difference or because b is a max of something that a is under … */
static bool less_equal(struct dim_table *t, const struct dim *a, const struct dim *b, int depth)
{
    bool bounded = a->upper != INT64_MAX && b->lower != INT64_MIN;
    if (a == b || (bounded && a->upper <= b->lower) || dim_sub(t, a, b)->upper <= 0)
        return true;
    if (depth-- == 0)
        return false;
    if (b->kind == DIM_MAX && (less_equal(t, a, b->a, depth) || less_equal(t, a, b->b, depth)))
        return true;
    if (a->kind == DIM_MIN && (less_equal(t, a->a, b, depth) || less_equal(t, a->b, b, depth)))
        return true;
    if (a->kind == DIM_MAX && less_equal(t, a->a, b, depth) && less_equal(t, a->b, b, depth))
        return true;
    return b->kind == DIM_MIN && less_equal(t, a, b->a, depth) && less_equal(t, a, b->b, depth);
}

bool dim_le(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    return less_equal(t, a, b, MOST_LOOK_INSIDE);
}

/* `kind` of more than two: the operands of nested ones, in order, without those that another one
 * makes superfluous. */
struct choice {
    const struct dim *of[8];
    int n;
};

static bool beats(struct dim_table *t, enum dim_kind kind, const struct dim *a, const struct dim *b)
{
    return kind == DIM_MAX ? dim_le(t, b, a) : dim_le(t, a, b);
}

/* False: no room. */
static bool choose_from(struct dim_table *t, enum dim_kind kind, struct choice *choice,
                        const struct dim *d)
{
    if (d->kind == kind)
        return choose_from(t, kind, choice, d->a) && choose_from(t, kind, choice, d->b);
    int n = 0;
    for (int i = 0; i < choice->n; i++) {
        if (beats(t, kind, choice->of[i], d))
            return true;
        if (!beats(t, kind, d, choice->of[i]))
            choice->of[n++] = choice->of[i];
    }
    choice->n = n;
    if (n == 8)
        return false;
    while (n > 0 && dim_compare(choice->of[n - 1], d) > 0) {
        choice->of[n] = choice->of[n - 1];
        n--;
    }
    choice->of[n] = d;
    choice->n++;
    return true;
}

static const struct dim *extreme(struct dim_table *t, enum dim_kind kind, const struct dim *a,
                                 const struct dim *b)
{
    struct choice choice = {.n = 0};
    if (!choose_from(t, kind, &choice, a) || !choose_from(t, kind, &choice, b))
        return dim_intern_atom(t, kind, a, b);
    const struct dim *d = choice.of[choice.n - 1];
    for (int i = choice.n - 2; i >= 0; i--)
        d = dim_intern_atom(t, kind, choice.of[i], d);
    return d;
}

const struct dim *dim_min(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    return extreme(t, DIM_MIN, a, b);
}

const struct dim *dim_max(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    return extreme(t, DIM_MAX, a, b);
}

const struct dim *dim_eq(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    const struct dim *difference = dim_sub(t, a, b);
    if (dim_is(difference, 0))
        return dim_const(t, 1);
    if (difference->lower > 0 || difference->upper < 0 || a->lower > b->upper ||
        b->lower > a->upper)
        return dim_const(t, 0);
    const struct dim *flag = a->kind == DIM_CONST ? b : a, *other = flag == a ? b : a;
    if (within(flag, 0, 1) && other->kind == DIM_CONST) /* the flag itself, or its opposite */
        return other->value ? flag : dim_sub(t, dim_const(t, 1), flag);
    return dim_compare(a, b) < 0 ? dim_intern_atom(t, DIM_EQ, a, b)
                                 : dim_intern_atom(t, DIM_EQ, b, a);
}

const struct dim *dim_lt(struct dim_table *t, const struct dim *a, const struct dim *b)
{
    if (dim_le(t, dim_add(t, a, dim_const(t, 1)), b))
        return dim_const(t, 1);
    return dim_le(t, b, a) ? dim_const(t, 0) : dim_intern_atom(t, DIM_LT, a, b);
}

const struct dim *dim_select(struct dim_table *t, const struct dim *condition, const struct dim *a,
                             const struct dim *b)
{
    int64_t known;
    if (a == b)
        return a;
    if (dim_is_const(condition, &known))
        return known ? a : b;
    if (condition->kind == DIM_LT) { /* p < q ? a : b and p <= q ? a : b as min or max */
        const struct dim *lhs = dim_sub(t, condition->a, condition->b), *d = dim_sub(t, a, b);
        const struct dim *one = dim_const(t, 1), *minus = dim_sub(t, dim_const(t, 0), d);
        if (lhs == d || lhs == dim_sub(t, d, one))
            return dim_min(t, a, b);
        if (lhs == minus || lhs == dim_sub(t, minus, one))
            return dim_max(t, a, b);
    }
    if (condition->kind == DIM_EQ && (condition->a == b || condition->b == b) &&
        (condition->a == a || condition->b == a))
        return b; /* a == b ? a : b */
    return dim_add(t, b, dim_mul(t, condition, dim_sub(t, a, b)));
}
