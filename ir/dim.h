/*
 * Dims: sizes that may depend on the run. A dim is an interned, canonical expression over integer
 * symbols, so equal expressions are equal pointers (within one graph's table):
 *
 *   dim   = sum of  coefficient * product of atoms      (canonical order, no zero terms)
 *   atom  = symbol | floordiv(dim, dim) | mod(dim, dim) | min(dim, dim) | max(dim, dim)
 *         | eq(dim, dim) | lt(dim, dim)                  (the last two are 0 or 1)
 *
 * Values are int64. floordiv and mod round towards minus infinity. Every constructor folds what it
 * can: constants, x*0, floordiv(a*b, b) where b > 0 is known, min/max of operands whose order the
 * symbols' bounds decide, and so on. An overflow while folding leaves the expression unfolded (a
 * constant or a sum then stands as an atom); the runtime's scalar program checks every operation.
 */
#ifndef GPUCC_IR_DIM_H
#define GPUCC_IR_DIM_H

#include "diag.h"

struct dim;                         /* interned; compare by pointer */
struct dim_table;                   /* one per graph */

struct dim_table *dim_table_create(struct arena *arena);

/* lower and upper are what is known of the symbol's value: a tensor's dim has lower 0. The name is
 * for people: characters other than letters, digits and '_' become '_', and it is made unique in
 * the table by a suffix. dim_symbol_find sees names in the same way. */
const struct dim *dim_symbol(struct dim_table *t, const char *name, int64_t lower, int64_t upper);
const struct dim *dim_const(struct dim_table *t, int64_t value);
const struct dim *dim_add(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_sub(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_mul(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_floordiv(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_ceildiv(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_mod(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_min(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_max(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_eq(struct dim_table *t, const struct dim *a, const struct dim *b);
const struct dim *dim_lt(struct dim_table *t, const struct dim *a, const struct dim *b);
/* condition (0 or 1) ? a : b, as a sum of products. */
const struct dim *dim_select(struct dim_table *t, const struct dim *condition, const struct dim *a,
                             const struct dim *b);

/* a = q * b as polynomials, whatever the symbols' values (so zero sizes do no harm): q, else NULL.
 * What a reshape's -1 wants. */
const struct dim *dim_divide_exact(struct dim_table *t, const struct dim *a, const struct dim *b);

bool dim_is_const(const struct dim *d, int64_t *value);         /* value may be NULL */
bool dim_is(const struct dim *d, int64_t value);                /* provably this constant */
/* A sound range of d's value, from the bounds of its symbols. INT64_MIN/MAX = unbounded. */
void dim_bounds(const struct dim *d, int64_t *lower, int64_t *upper);
/* Provably a <= b (false: unknown or not). */
bool dim_le(struct dim_table *t, const struct dim *a, const struct dim *b);

/* Structure, for those who translate dims: the scalar program, CUDA parameters, the printer. */
enum dim_kind { DIM_CONST, DIM_SYMBOL, DIM_SUM, DIM_FLOORDIV, DIM_MOD, DIM_MIN, DIM_MAX, DIM_EQ,
                DIM_LT };

struct dim_term {                   /* coefficient * atom[0] * atom[1] * ... */
    int64_t coefficient;
    int n_atoms;
    const struct dim *const *atoms;
};

struct dim {
    enum dim_kind kind;
    int64_t value;                  /* DIM_CONST */
    int symbol;                     /* DIM_SYMBOL: index into the table's symbols */
    const struct dim *a, *b;        /* operands of FLOORDIV … LT */
    int n_terms;                    /* any kind: the dim as a sum of products; 0 has no terms */
    const struct dim_term *terms;
    uint32_t id;                    /* creation order: a deterministic key */
    uint32_t weight;                /* nodes of the expression written out as a tree, saturating */
    int64_t lower, upper;           /* see dim_bounds */
    bool overflows;                 /* a part of it was left unfolded, because it overflows */
    uint64_t hash;                  /* of the structure: the same in every table */
    const struct dim *self;         /* where terms finds this dim as its own atom */
    struct dim_term one;            /* terms of every kind but DIM_SUM */
    struct dim *chain;              /* hash chain, private */
};

int dim_symbol_count(const struct dim_table *t);
const char *dim_symbol_name(const struct dim_table *t, int symbol);
const struct dim *dim_symbol_at(const struct dim_table *t, int symbol);
const struct dim *dim_symbol_find(const struct dim_table *t, const char *name); /* or NULL */

/* Value of d, given the value of each symbol; false on overflow or division by zero. */
bool dim_eval(const struct dim *d, const int64_t *symbols, int64_t *value);

/* Calls visit for each place of a symbol in d. */
typedef void dim_visit(void *context, const struct dim *d);
void dim_visit_symbols(const struct dim *d, dim_visit *visit, void *context);
/* d with to[i], where it is not NULL, in place of symbol i < n. */
const struct dim *dim_replace(struct dim_table *t, const struct dim *d, int n,
                              const struct dim *const *to);

/* "2*batch*seq + floordiv(n - 3, 2)". */
void dim_print(struct text *out, const struct dim_table *t, const struct dim *d);
/* Parses at *text and advances it. Unknown symbols are created with bounds [0, INT64_MAX].
 * NULL on a syntax error. */
const struct dim *dim_parse(struct dim_table *t, const char **text);

#endif
