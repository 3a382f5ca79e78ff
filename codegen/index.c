/* Index expressions, see index.h. */
#include "index.h"

#include <string.h>

enum { BUCKETS = 1024 };

struct index_table {
    struct arena *arena;
    struct dim_table *dims;
    struct index *bucket[BUCKETS];
    const struct atom **atoms;
    int n_atoms, cap_atoms;
    uint32_t n_indices;
};

struct index_table *index_table_create(struct arena *arena, struct dim_table *dims)
{
    struct index_table *t = ARENA_NEW(arena, struct index_table);
    t->arena = arena;
    t->dims = dims;
    return t;
}

/* --- Interning ------------------------------------------------------------------------------- */

static const struct atom *intern_atom(struct index_table *t, const struct atom *key)
{
    for (int i = 0; i < t->n_atoms; i++) {
        const struct atom *a = t->atoms[i];
        if (a->kind != key->kind || a->extent != key->extent || a->of != key->of ||
            a->by != key->by)
            continue;
        if (a->kind != ATOM_VAR || strcmp(a->name, key->name) == 0)
            return a;
    }
    if (t->n_atoms == t->cap_atoms) {
        int cap = t->cap_atoms ? t->cap_atoms * 2 : 32;
        const struct atom **grown = ARENA_ARRAY(t->arena, (size_t)cap, const struct atom *);
        if (t->n_atoms)
            memcpy(grown, t->atoms, (size_t)t->n_atoms * sizeof *grown);
        t->atoms = grown;
        t->cap_atoms = cap;
    }
    struct atom *a = ARENA_NEW(t->arena, struct atom);
    *a = *key;
    a->id = (uint32_t)t->n_atoms;
    t->atoms[t->n_atoms++] = a;
    return a;
}

static const struct index *intern(struct index_table *t, const struct dim *constant, int n,
                                  const struct index_term *terms)
{
    uint32_t hash = constant->id * 2654435761u;
    for (int i = 0; i < n; i++)
        hash = (hash ^ (terms[i].coefficient->id * 31u + terms[i].atom->id)) * 16777619u;
    struct index **bucket = &t->bucket[hash % BUCKETS];
    for (struct index *x = *bucket; x; x = x->chain) {
        bool same = x->constant == constant && x->n_terms == n;
        for (int i = 0; same && i < n; i++)
            same = x->terms[i].coefficient == terms[i].coefficient &&
                   x->terms[i].atom == terms[i].atom;
        if (same)
            return x;
    }
    struct index *x = ARENA_NEW(t->arena, struct index);
    struct index_term *copy = ARENA_ARRAY(t->arena, (size_t)n + 1, struct index_term);
    if (n)
        memcpy(copy, terms, (size_t)n * sizeof *copy);
    *x = (struct index){constant, n, copy, t->n_indices++, *bucket};
    *bucket = x;
    return x;
}

static const struct index *atom_index(struct index_table *t, const struct atom *atom)
{
    struct index_term term = {dim_const(t->dims, 1), atom};
    return intern(t, dim_const(t->dims, 0), 1, &term);
}

const struct index *index_var(struct index_table *t, const char *name, const struct dim *extent)
{
    if (dim_is(extent, 1))
        return index_const(t, 0);
    struct atom key = {.kind = ATOM_VAR, .name = name, .extent = extent};
    return atom_index(t, intern_atom(t, &key));
}

const struct index *index_const(struct index_table *t, int64_t value)
{
    return index_dim(t, dim_const(t->dims, value));
}

const struct index *index_dim(struct index_table *t, const struct dim *value)
{
    return intern(t, value, 0, NULL);
}

/* --- Sums ----------------------------------------------------------------------------------- */

/* A sum under construction: terms by atom id, no zeros. */
struct sum {
    const struct dim *constant;
    int n, capacity;
    struct index_term *terms;
};

static void sum_begin(struct index_table *t, struct sum *s, int capacity)
{
    s->constant = dim_const(t->dims, 0);
    s->n = 0;
    s->capacity = capacity;
    s->terms = ARENA_ARRAY(t->arena, (size_t)capacity + 1, struct index_term);
}

static void sum_remove(struct sum *s, int i)
{
    memmove(s->terms + i, s->terms + i + 1, (size_t)(s->n - i - 1) * sizeof *s->terms);
    s->n--;
}

static void sum_add_term(struct index_table *t, struct sum *s, const struct dim *coefficient,
                         const struct atom *atom)
{
    int i = 0;
    while (i < s->n && s->terms[i].atom->id < atom->id)
        i++;
    if (i < s->n && s->terms[i].atom == atom) {
        s->terms[i].coefficient = dim_add(t->dims, s->terms[i].coefficient, coefficient);
        if (dim_is(s->terms[i].coefficient, 0))
            sum_remove(s, i);
        return;
    }
    if (dim_is(coefficient, 0))
        return;
    if (s->n == s->capacity) {
        struct index_term *grown =
            ARENA_ARRAY(t->arena, (size_t)s->capacity * 2 + 2, struct index_term);
        memcpy(grown, s->terms, (size_t)s->n * sizeof *grown);
        s->terms = grown;
        s->capacity = s->capacity * 2 + 1;
    }
    memmove(s->terms + i + 1, s->terms + i, (size_t)(s->n - i) * sizeof *s->terms);
    s->terms[i] = (struct index_term){coefficient, atom};
    s->n++;
}

static void sum_add(struct index_table *t, struct sum *s, const struct index *a,
                    const struct dim *k)
{
    s->constant = dim_add(t->dims, s->constant, dim_mul(t->dims, a->constant, k));
    for (int i = 0; i < a->n_terms; i++)
        sum_add_term(t, s, dim_mul(t->dims, a->terms[i].coefficient, k), a->terms[i].atom);
}

/*
 * Joins what a division took apart, in place; true when something was joined:
 *   k*d * (x / d) + k * (x % d)              = k * x
 *   k*c * ((x / c) % b) + k * (x % c)        = k * (x % (b*c))
 *   k*b * (x / (b*c)) + k * ((x / c) % b)    = k * (x / c)
 */
static bool sum_join(struct index_table *t, struct sum *s)
{
    for (int i = 0; i < s->n; i++) {
        const struct atom *mod = s->terms[i].atom;
        const struct dim *k = s->terms[i].coefficient;
        if (mod->kind != ATOM_MOD)
            continue;
        const struct dim *kd = dim_mul(t->dims, k, mod->by);
        const struct index *above = index_div(t, mod->of, mod->by);
        for (int j = 0; j < s->n; j++) {
            const struct atom *other = s->terms[j].atom;
            const struct index *joined = NULL;
            if (s->terms[j].coefficient != kd)
                continue;
            if (above == atom_index(t, other))
                joined = mod->of;
            else if (other->kind == ATOM_MOD && other->of == above)
                joined = index_mod(t, mod->of, dim_mul(t->dims, mod->by, other->by));
            if (!joined)
                continue;
            sum_remove(s, i > j ? i : j);
            sum_remove(s, i > j ? j : i);
            sum_add(t, s, joined, k);
            return true;
        }
    }
    return false;
}

static const struct index *sum_end(struct index_table *t, struct sum *s)
{
    while (sum_join(t, s))
        ;
    return intern(t, s->constant, s->n, s->terms);
}

const struct index *index_add(struct index_table *t, const struct index *a, const struct index *b)
{
    struct sum s;
    sum_begin(t, &s, a->n_terms + b->n_terms);
    sum_add(t, &s, a, dim_const(t->dims, 1));
    sum_add(t, &s, b, dim_const(t->dims, 1));
    return sum_end(t, &s);
}

const struct index *index_sub(struct index_table *t, const struct index *a, const struct index *b)
{
    return index_add(t, a, index_mul(t, b, dim_const(t->dims, -1)));
}

const struct index *index_mul(struct index_table *t, const struct index *a, const struct dim *k)
{
    if (dim_is(k, 1))
        return a;
    struct sum s;
    sum_begin(t, &s, a->n_terms);
    sum_add(t, &s, a, k);
    return sum_end(t, &s);
}

bool index_depends(const struct index *a, const struct atom *on)
{
    for (int i = 0; i < a->n_terms; i++) {
        const struct atom *atom = a->terms[i].atom;
        if (atom == on || (atom->of && index_depends(atom->of, on)))
            return true;
    }
    return false;
}

const struct dim *index_coefficient(struct index_table *t, const struct index *a,
                                    const struct index *variable)
{
    const struct dim *found = dim_const(t->dims, 0);
    if (variable->n_terms == 0)
        return found;
    for (int i = 0; i < a->n_terms; i++) {
        const struct atom *atom = a->terms[i].atom;
        if (atom == variable->terms[0].atom)
            found = a->terms[i].coefficient;
        else if (atom->of && index_depends(atom->of, variable->terms[0].atom))
            return NULL;
    }
    return found;
}

/* --- Ranges --------------------------------------------------------------------------------- */

static void range(struct index_table *t, const struct index *a, const struct dim **low,
                  const struct dim **high);

/* The most an atom can be; the least is 0. NULL: unknown. */
static const struct dim *atom_high(struct index_table *t, const struct atom *atom)
{
    const struct dim *one = dim_const(t->dims, 1), *low, *high;
    switch (atom->kind) {
    case ATOM_VAR: return dim_sub(t->dims, atom->extent, one);
    case ATOM_MOD: return dim_sub(t->dims, atom->by, one);
    case ATOM_DIV:
        range(t, atom->of, &low, &high);
        return high ? dim_floordiv(t->dims, high, atom->by) : NULL;
    }
    return NULL;
}

/* Bounds of an index as dims, NULL where unknown. */
static void range(struct index_table *t, const struct index *a, const struct dim **low,
                  const struct dim **high)
{
    *low = *high = a->constant;
    for (int i = 0; i < a->n_terms; i++) {
        int64_t least, most;
        const struct dim *c = a->terms[i].coefficient, *top = atom_high(t, a->terms[i].atom);
        dim_bounds(c, &least, &most);
        if (least >= 0)
            *high = *high && top ? dim_add(t->dims, *high, dim_mul(t->dims, c, top)) : NULL;
        else if (most <= 0)
            *low = *low && top ? dim_add(t->dims, *low, dim_mul(t->dims, c, top)) : NULL;
        else
            *low = *high = NULL;
    }
}

bool index_is_const(const struct index *a, int64_t *value)
{
    return a->n_terms == 0 && dim_is_const(a->constant, value);
}

bool index_nonnegative(struct index_table *t, const struct index *a)
{
    const struct dim *low, *high;
    int64_t least, most;
    range(t, a, &low, &high);
    if (!low)
        return false;
    dim_bounds(low, &least, &most);
    return least >= 0;
}

bool index_below(struct index_table *t, const struct index *a, const struct dim *bound)
{
    const struct dim *low, *high;
    range(t, a, &low, &high);
    return high && dim_le(t->dims, dim_add(t->dims, high, dim_const(t->dims, 1)), bound);
}

bool index_terms_divisible(struct index_table *t, const struct index *a, int64_t n)
{
    for (int i = 0; i < a->n_terms; i++)
        if (!dim_is(dim_mod(t->dims, a->terms[i].coefficient, dim_const(t->dims, n)), 0))
            return false;
    return true;
}

/* --- Division ------------------------------------------------------------------------------- */

/* c = by * result exactly? */
static const struct dim *exact(struct index_table *t, const struct dim *c, const struct dim *by)
{
    const struct dim *q = dim_floordiv(t->dims, c, by);
    return dim_mul(t->dims, q, by) == c ? q : NULL;
}

/* a = by * quotient + rest, with as much as possible in the quotient. False, and all in the rest,
 * when the rest could then be negative (C divides towards zero). */
static bool split(struct index_table *t, const struct index *a, const struct dim *by,
                  const struct index **quotient, const struct index **rest)
{
    struct sum q, r;
    sum_begin(t, &q, a->n_terms);
    sum_begin(t, &r, a->n_terms);
    for (int i = 0; i < a->n_terms; i++) {
        const struct index_term *term = &a->terms[i];
        const struct dim *part = exact(t, term->coefficient, by);
        if (part)
            sum_add_term(t, &q, part, term->atom);
        else
            sum_add_term(t, &r, term->coefficient, term->atom);
    }
    int64_t constant, divisor;
    const struct dim *part = exact(t, a->constant, by);
    if (part) {
        q.constant = part;
    } else if (dim_is_const(a->constant, &constant) && dim_is_const(by, &divisor)) {
        q.constant = dim_floordiv(t->dims, a->constant, by);
        r.constant = dim_mod(t->dims, a->constant, by);
    } else {
        r.constant = a->constant;
    }
    *quotient = sum_end(t, &q);
    *rest = sum_end(t, &r);
    if (index_nonnegative(t, *rest))
        return true;
    *quotient = index_const(t, 0);
    *rest = a;
    return false;
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a < 0 ? -a : a;
}

/*
 * A factor g of `by` such that a = g*coarse + fine with 0 <= fine < g: the fine part is then of no
 * importance for a / by = coarse / (by/g), and a % by = g * (coarse % (by/g)) + fine. The largest
 * such g, or NULL.
 */
static const struct dim *common_factor(struct index_table *t, const struct index *a,
                                       const struct dim *by, const struct index **coarse,
                                       const struct index **fine)
{
    const struct dim *best = NULL;
    for (int i = 0; i < a->n_terms; i++) {
        int64_t c, d, least, most;
        const struct dim *g = a->terms[i].coefficient;
        const struct index *q, *r;
        if (dim_is_const(g, &c) && dim_is_const(by, &d))
            g = dim_const(t->dims, gcd(c, d));
        dim_bounds(g, &least, &most);
        if (least < 1 || dim_is(g, 1) || !exact(t, by, g) || (best && dim_le(t->dims, g, best)))
            continue;
        if (!split(t, a, g, &q, &r) || !index_below(t, r, g))
            continue;
        best = g;
        *coarse = q;
        *fine = r;
    }
    return best;
}

static const struct atom *single_atom(const struct index *a)
{
    return a->n_terms == 1 && dim_is(a->constant, 0) && dim_is(a->terms[0].coefficient, 1)
               ? a->terms[0].atom
               : NULL;
}

const struct index *index_div(struct index_table *t, const struct index *a, const struct dim *by)
{
    const struct index *quotient, *rest, *coarse, *fine;
    if (dim_is(by, 1))
        return a;
    split(t, a, by, &quotient, &rest);
    if (index_nonnegative(t, rest) && index_below(t, rest, by))
        return quotient;
    const struct dim *g = common_factor(t, rest, by, &coarse, &fine);
    if (g)
        return index_add(t, quotient, index_div(t, coarse, exact(t, by, g)));
    const struct atom *inner = single_atom(rest);
    if (inner && inner->kind == ATOM_DIV)
        return index_add(t, quotient, index_div(t, inner->of, dim_mul(t->dims, inner->by, by)));
    struct atom key = {.kind = ATOM_DIV, .of = rest, .by = by};
    return index_add(t, quotient, atom_index(t, intern_atom(t, &key)));
}

const struct index *index_mod(struct index_table *t, const struct index *a, const struct dim *by)
{
    const struct index *quotient, *rest, *coarse, *fine;
    if (dim_is(by, 1))
        return index_const(t, 0);
    split(t, a, by, &quotient, &rest);
    if (index_nonnegative(t, rest) && index_below(t, rest, by))
        return rest;
    const struct dim *g = common_factor(t, rest, by, &coarse, &fine);
    if (g)
        return index_add(t, index_mul(t, index_mod(t, coarse, exact(t, by, g)), g), fine);
    const struct atom *inner = single_atom(rest);
    if (inner && inner->kind == ATOM_MOD && exact(t, inner->by, by))
        return index_mod(t, inner->of, by);
    struct atom key = {.kind = ATOM_MOD, .of = rest, .by = by};
    return atom_index(t, intern_atom(t, &key));
}

/* --- Shapes --------------------------------------------------------------------------------- */

const struct index *index_linear(struct index_table *t, int rank, const struct dim *const *shape,
                                 const struct index *const *index)
{
    const struct dim *stride = dim_const(t->dims, 1);
    struct sum s;
    sum_begin(t, &s, rank * 2);
    for (int i = rank - 1; i >= 0; i--) {
        sum_add(t, &s, index[i], stride);
        stride = dim_mul(t->dims, stride, shape[i]);
    }
    return sum_end(t, &s);
}

void index_delinear(struct index_table *t, const struct index *linear, int rank,
                    const struct dim *const *shape, const struct index **index)
{
    const struct dim *stride = dim_const(t->dims, 1);
    int first = 0;
    while (first < rank && dim_is(shape[first], 1))
        index[first++] = index_const(t, 0);
    for (int i = rank - 1; i >= first; i--) {
        const struct index *q = index_div(t, linear, stride);
        index[i] = i == first ? q : index_mod(t, q, shape[i]);
        stride = dim_mul(t->dims, stride, shape[i]);
    }
}

/* The shortest runs of axes from `to` and `from` that have equally many elements. */
static void match_group(struct index_table *t, int to_rank, const struct dim *const *to,
                        int from_rank, const struct dim *const *from, int *n_to, int *n_from)
{
    for (int total = 2; total <= to_rank + from_rank; total++) {
        for (int a = 1; a < total && a <= to_rank; a++) {
            const struct dim *x = dim_const(t->dims, 1), *y = x;
            int b = total - a;
            if (b > from_rank)
                continue;
            for (int i = 0; i < a; i++)
                x = dim_mul(t->dims, x, to[i]);
            for (int i = 0; i < b; i++)
                y = dim_mul(t->dims, y, from[i]);
            if (x == y) {
                *n_to = a;
                *n_from = b;
                return;
            }
        }
    }
    *n_to = to_rank;
    *n_from = from_rank;
}

void index_reshape(struct index_table *t, int to_rank, const struct dim *const *to,
                   const struct index *const *to_index, int from_rank,
                   const struct dim *const *from, const struct index **from_index)
{
    int i = 0, j = 0;
    for (;;) {
        while (i < to_rank && dim_is(to[i], 1))
            i++;
        while (j < from_rank && dim_is(from[j], 1))
            from_index[j++] = index_const(t, 0);
        if (j == from_rank)
            return;
        int n_to = 0, n_from = from_rank - j;
        if (i < to_rank)
            match_group(t, to_rank - i, to + i, from_rank - j, from + j, &n_to, &n_from);
        if (n_to == 1 && n_from == 1)
            from_index[j] = to_index[i];
        else
            index_delinear(t, index_linear(t, n_to, to + i, to_index + i), n_from, from + j,
                           from_index + j);
        i += n_to;
        j += n_from;
    }
}
