/* Dims: the table of interned expressions, their order, bounds and values. */
#include "dim_table.h"

#include <stdlib.h>
#include <string.h>

struct dim_table *dim_table_create(struct arena *arena)
{
    struct dim_table *t = ARENA_NEW(arena, struct dim_table);
    t->arena = arena;
    t->n_buckets = 256;
    t->buckets = ARENA_ARRAY(arena, t->n_buckets, struct dim *);
    return t;
}

int64_t floordiv64(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

int64_t floormod64(int64_t a, int64_t b)
{
    if (b == -1)
        return 0; /* INT64_MIN % -1 traps */
    int64_t r = a % b;
    return (r != 0 && (r < 0) != (b < 0)) ? r + b : r;
}

/* -- Bounds: in a lower bound INT64_MIN is minus infinity, in an upper one INT64_MAX infinity. --
 */

struct range {
    int64_t lower, upper;
};

static const struct range everything = {INT64_MIN, INT64_MAX};

/* A lower bound of INT64_MAX or an upper one of INT64_MIN would be taken for the other infinity. */
static struct range make_range(int64_t lower, int64_t upper)
{
    return (struct range){lower == INT64_MAX ? INT64_MAX - 1 : lower,
                          upper == INT64_MIN ? INT64_MIN + 1 : upper};
}

static int64_t saturating_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return a < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static int64_t saturating_mul(int64_t a, int64_t b)
{
    int64_t product;
    bool infinite = a == INT64_MIN || a == INT64_MAX || b == INT64_MIN || b == INT64_MAX;
    if (a == 0 || b == 0)
        return 0;
    if (infinite || __builtin_mul_overflow(a, b, &product))
        return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
    return product;
}

static struct range range_add(struct range a, struct range b)
{
    bool below = a.lower == INT64_MIN || b.lower == INT64_MIN;
    bool above = a.upper == INT64_MAX || b.upper == INT64_MAX;
    return make_range(below ? INT64_MIN : saturating_add(a.lower, b.lower),
                      above ? INT64_MAX : saturating_add(a.upper, b.upper));
}

static struct range range_mul(struct range a, struct range b)
{
    int64_t corner[4] = {saturating_mul(a.lower, b.lower), saturating_mul(a.lower, b.upper),
                         saturating_mul(a.upper, b.lower), saturating_mul(a.upper, b.upper)};
    int64_t lower = corner[0], upper = corner[0];
    for (int i = 1; i < 4; i++) {
        lower = corner[i] < lower ? corner[i] : lower;
        upper = corner[i] > upper ? corner[i] : upper;
    }
    return make_range(lower, upper);
}

/* A bound divided by a positive bound; infinities stay, x / infinity is 0 or -1. */
static int64_t divide_bound(int64_t a, int64_t b)
{
    if (a == INT64_MIN || a == INT64_MAX)
        return a;
    if (b == INT64_MAX)
        return a < 0 ? -1 : 0;
    return floordiv64(a, b);
}

static struct range range_atom(enum dim_kind kind, struct range a, struct range b)
{
    struct range r = everything;
    switch (kind) {
    case DIM_FLOORDIV:
        if (b.lower >= 1) {
            r.lower = divide_bound(a.lower, a.lower >= 0 ? b.upper : b.lower);
            r.upper = divide_bound(a.upper, a.upper >= 0 ? b.lower : b.upper);
        }
        break;
    case DIM_MOD:
        if (b.lower >= 1) {
            r.lower = 0;
            r.upper = b.upper == INT64_MAX ? INT64_MAX : b.upper - 1;
            if (a.lower >= 0 && a.upper < r.upper)
                r.upper = a.upper;
        }
        break;
    case DIM_MIN:
        r.lower = a.lower < b.lower ? a.lower : b.lower;
        r.upper = a.upper < b.upper ? a.upper : b.upper;
        break;
    case DIM_MAX:
        r.lower = a.lower > b.lower ? a.lower : b.lower;
        r.upper = a.upper > b.upper ? a.upper : b.upper;
        break;
    default: /* EQ, LT */ r = (struct range){0, 1};
    }
    return r;
}

static struct range range_sum(int n, const struct dim_term *terms)
{
    struct range sum = {0, 0};
    for (int i = 0; i < n; i++) {
        struct range product = make_range(terms[i].coefficient, terms[i].coefficient);
        for (int k = 0; k < terms[i].n_atoms; k++) {
            const struct dim *atom = terms[i].atoms[k];
            product = range_mul(product, (struct range){atom->lower, atom->upper});
        }
        sum = range_add(sum, product);
    }
    return sum;
}

void dim_bounds(const struct dim *d, int64_t *lower, int64_t *upper)
{
    *lower = d->lower;
    *upper = d->upper;
}

/* -- Order -- */

static int compare_int(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Products of many atoms first, constants last; then by the atoms. */
static int compare_products(const struct dim_term *a, const struct dim_term *b)
{
    int order = compare_int(b->n_atoms, a->n_atoms);
    for (int i = 0; order == 0 && i < a->n_atoms; i++)
        order = dim_compare(a->atoms[i], b->atoms[i]);
    return order;
}

int dim_compare(const struct dim *a, const struct dim *b)
{
    if (a == b)
        return 0;
    int order = compare_int(a->kind == DIM_CONST, b->kind == DIM_CONST); /* constants last */
    if (order == 0)
        order = compare_int(a->kind, b->kind);
    if (order == 0 && a->kind == DIM_CONST)
        return compare_int(a->value, b->value);
    if (order == 0 && a->kind == DIM_SYMBOL)
        return compare_int(a->symbol, b->symbol);
    if (order == 0)
        order = compare_int(a->weight, b->weight);
    if (order == 0) /* before looking inside: shared parts would be visited over and over */
        order = (a->hash > b->hash) - (a->hash < b->hash);
    if (order != 0)
        return order;
    if (a->kind != DIM_SUM) {
        order = dim_compare(a->a, b->a);
        return order ? order : dim_compare(a->b, b->b);
    }
    order = compare_int(a->n_terms, b->n_terms);
    for (int i = 0; order == 0 && i < a->n_terms; i++) {
        order = compare_products(&a->terms[i], &b->terms[i]);
        if (order == 0)
            order = compare_int(a->terms[i].coefficient, b->terms[i].coefficient);
    }
    return order;
}

/* -- Interning -- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static uint64_t structure_hash(const struct dim *d)
{
    uint64_t hash = mix(0x6470u, (uint64_t)d->kind);
    switch (d->kind) {
    case DIM_CONST: return mix(hash, (uint64_t)d->value);
    case DIM_SYMBOL: return mix(hash, (uint64_t)d->symbol);
    case DIM_SUM:
        for (int i = 0; i < d->n_terms; i++) {
            hash = mix(hash, (uint64_t)d->terms[i].coefficient);
            for (int k = 0; k < d->terms[i].n_atoms; k++)
                hash = mix(hash, d->terms[i].atoms[k]->hash);
        }
        return hash;
    default: return mix(mix(hash, d->a->hash), d->b->hash);
    }
}

static bool same_terms(const struct dim *a, const struct dim *b)
{
    if (a->n_terms != b->n_terms)
        return false;
    for (int i = 0; i < a->n_terms; i++) {
        const struct dim_term *x = &a->terms[i], *y = &b->terms[i];
        if (x->coefficient != y->coefficient || x->n_atoms != y->n_atoms)
            return false;
        for (int k = 0; k < x->n_atoms; k++)
            if (x->atoms[k] != y->atoms[k])
                return false;
    }
    return true;
}

static bool same_structure(const struct dim *a, const struct dim *b)
{
    if (a->hash != b->hash || a->kind != b->kind)
        return false;
    if (a->kind == DIM_SUM)
        return same_terms(a, b);
    return a->value == b->value && a->symbol == b->symbol && a->a == b->a && a->b == b->b;
}

static uint32_t structure_weight(const struct dim *d)
{
    uint64_t weight = 1;
    if (d->kind >= DIM_FLOORDIV)
        weight += (uint64_t)d->a->weight + d->b->weight;
    if (d->kind == DIM_SUM)
        for (int i = 0; i < d->n_terms; i++)
            for (int k = 0; k < d->terms[i].n_atoms; k++)
                weight += d->terms[i].atoms[k]->weight;
    return weight > UINT32_MAX ? UINT32_MAX : (uint32_t)weight;
}

/* A constant that stands as an atom, or beside another constant, could not be folded. */
static bool structure_overflows(const struct dim *d)
{
    if (d->kind >= DIM_FLOORDIV)
        return d->a->overflows || d->b->overflows;
    for (int i = 0; d->kind == DIM_SUM && i < d->n_terms; i++) {
        if (i > 0 && compare_products(&d->terms[i - 1], &d->terms[i]) == 0)
            return true;
        for (int k = 0; k < d->terms[i].n_atoms; k++)
            if (d->terms[i].atoms[k]->kind == DIM_CONST || d->terms[i].atoms[k]->overflows)
                return true;
    }
    return false;
}

static void grow_buckets(struct dim_table *t)
{
    uint32_t n = t->n_buckets * 4;
    struct dim **buckets = ARENA_ARRAY(t->arena, n, struct dim *);
    for (uint32_t i = 0; i < t->n_buckets; i++)
        for (struct dim *d = t->buckets[i], *next; d; d = next) {
            next = d->chain;
            d->chain = buckets[d->hash % n];
            buckets[d->hash % n] = d;
        }
    t->buckets = buckets;
    t->n_buckets = n;
}

/* The dim that equals key in kind, value, symbol, a, b and (sums) terms. `range` is of a new one.
 */
static const struct dim *intern(struct dim_table *t, struct dim *key, struct range range)
{
    key->hash = structure_hash(key);
    for (struct dim *d = t->buckets[key->hash % t->n_buckets]; d; d = d->chain)
        if (same_structure(d, key))
            return d;
    if (t->n_dims >= 2 * t->n_buckets)
        grow_buckets(t);
    struct dim *d = ARENA_NEW(t->arena, struct dim);
    *d = *key;
    d->id = t->n_dims++;
    d->weight = structure_weight(d);
    d->overflows = structure_overflows(d);
    d->lower = range.lower;
    d->upper = range.upper;
    d->self = d;
    if (d->kind == DIM_CONST) {
        d->one = (struct dim_term){d->value, 0, NULL};
        d->terms = &d->one;
        d->n_terms = d->value != 0;
    } else if (d->kind != DIM_SUM) {
        d->one = (struct dim_term){1, 1, &d->self};
        d->terms = &d->one;
        d->n_terms = 1;
    }
    d->chain = t->buckets[d->hash % t->n_buckets];
    t->buckets[d->hash % t->n_buckets] = d;
    return d;
}

const struct dim *dim_const(struct dim_table *t, int64_t value)
{
    struct dim key = {.kind = DIM_CONST, .value = value};
    return intern(t, &key, make_range(value, value));
}

const struct dim *dim_intern_atom(struct dim_table *t, enum dim_kind kind, const struct dim *a,
                                  const struct dim *b)
{
    struct dim key = {.kind = kind, .a = a, .b = b};
    return intern(
        t, &key,
        range_atom(kind, (struct range){a->lower, a->upper}, (struct range){b->lower, b->upper}));
}

static int order_terms(const void *a, const void *b)
{
    const struct dim_term *x = a, *y = b;
    int order = compare_products(x, y);
    return order ? order : compare_int(x->coefficient, y->coefficient);
}

/* Sorts the terms, adds equal products together and drops zeros; the number left. */
static int merge_terms(int n, struct dim_term *terms)
{
    qsort(terms, (size_t)n, sizeof *terms, order_terms);
    int kept = 0;
    for (int i = 0; i < n; i++) {
        int64_t sum;
        if (kept > 0 && compare_products(&terms[kept - 1], &terms[i]) == 0 &&
            !__builtin_add_overflow(terms[kept - 1].coefficient, terms[i].coefficient, &sum)) {
            terms[kept - 1].coefficient = sum;
            kept -= sum == 0;
        } else if (terms[i].coefficient != 0) {
            terms[kept++] = terms[i];
        }
    }
    return kept;
}

const struct dim *dim_intern_sum(struct dim_table *t, int n, struct dim_term *terms)
{
    n = n ? merge_terms(n, terms) : 0;
    if (n == 0)
        return dim_const(t, 0);
    if (n == 1 && terms[0].n_atoms == 0)
        return dim_const(t, terms[0].coefficient);
    if (n == 1 && terms[0].n_atoms == 1 && terms[0].coefficient == 1)
        return terms[0].atoms[0];
    struct dim key = {.kind = DIM_SUM, .n_terms = n, .terms = terms};
    return intern(t, &key, range_sum(n, terms));
}

/* -- Symbols -- */

/* ONNX allows any characters in a name; in text it must read as a word. */
static char word_char(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (!first && c >= '0' && c <= '9') ? c : '_';
}

static bool same_word(const char *word, const char *name)
{
    for (int i = 0; name[i]; i++)
        if (word[i] != word_char(name[i], i == 0))
            return false;
    return word[strlen(name)] == '\0' && word[0];
}

const struct dim *dim_symbol_find(const struct dim_table *t, const char *name)
{
    for (int i = 0; i < t->n_symbols; i++)
        if (same_word(t->symbols[i].name, name))
            return t->symbols[i].dim;
    return NULL;
}

const struct dim *dim_symbol(struct dim_table *t, const char *name, int64_t lower, int64_t upper)
{
    char *word = arena_strdup(t->arena, name[0] ? name : "_");
    for (int i = 0; word[i]; i++)
        word[i] = word_char(word[i], i == 0);
    const char *unique = word;
    for (int suffix = 2; dim_symbol_find(t, unique); suffix++)
        unique = arena_printf(t->arena, "%s_%d", word, suffix);
    if (t->n_symbols == t->cap_symbols) {
        int cap = t->cap_symbols ? 2 * t->cap_symbols : 16;
        struct dim_symbol_entry *grown =
            ARENA_ARRAY(t->arena, (size_t)cap, struct dim_symbol_entry);
        if (t->n_symbols)
            memcpy(grown, t->symbols, (size_t)t->n_symbols * sizeof *grown);
        t->symbols = grown;
        t->cap_symbols = cap;
    }
    struct dim key = {.kind = DIM_SYMBOL, .symbol = t->n_symbols};
    /* Arithmetic on ranges needs one: where no value meets the bounds, no run gets here. */
    const struct dim *d = intern(t, &key, make_range(lower, upper < lower ? lower : upper));
    t->symbols[t->n_symbols++] = (struct dim_symbol_entry){unique, d};
    return d;
}

int dim_symbol_count(const struct dim_table *t)
{
    return t->n_symbols;
}

const char *dim_symbol_name(const struct dim_table *t, int symbol)
{
    return t->symbols[symbol].name;
}

const struct dim *dim_symbol_at(const struct dim_table *t, int symbol)
{
    return t->symbols[symbol].dim;
}

/* -- Values -- */

bool dim_is_const(const struct dim *d, int64_t *value)
{
    if (d->kind != DIM_CONST)
        return false;
    if (value)
        *value = d->value;
    return true;
}

bool dim_is(const struct dim *d, int64_t value)
{
    return d->kind == DIM_CONST && d->value == value;
}

static bool eval_sum(const struct dim *d, const int64_t *symbols, int64_t *value)
{
    int64_t sum = 0;
    for (int i = 0; i < d->n_terms; i++) {
        int64_t product = d->terms[i].coefficient, atom;
        for (int k = 0; k < d->terms[i].n_atoms; k++)
            if (!dim_eval(d->terms[i].atoms[k], symbols, &atom) ||
                __builtin_mul_overflow(product, atom, &product))
                return false;
        if (__builtin_add_overflow(sum, product, &sum))
            return false;
    }
    *value = sum;
    return true;
}

bool dim_eval(const struct dim *d, const int64_t *symbols, int64_t *value)
{
    int64_t a, b;
    switch (d->kind) {
    case DIM_CONST: *value = d->value; return true;
    case DIM_SYMBOL: *value = symbols[d->symbol]; return true;
    case DIM_SUM: return eval_sum(d, symbols, value);
    default: break;
    }
    if (!dim_eval(d->a, symbols, &a) || !dim_eval(d->b, symbols, &b))
        return false;
    switch (d->kind) {
    case DIM_FLOORDIV:
        if (b == 0 || (a == INT64_MIN && b == -1))
            return false;
        *value = floordiv64(a, b);
        return true;
    case DIM_MOD:
        if (b == 0)
            return false;
        *value = floormod64(a, b);
        return true;
    case DIM_MIN: *value = a < b ? a : b; return true;
    case DIM_MAX: *value = a > b ? a : b; return true;
    case DIM_EQ: *value = a == b; return true;
    default: *value = a < b; return true;
    }
}
