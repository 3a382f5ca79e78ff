/*
 * Index expressions: how a kernel's loop variables become positions in tensors.
 *
 * An index is an interned sum  constant + Σ coefficient * atom,  where constant and coefficients are
 * dims (known or symbolic) and an atom is a variable in [0, extent), a floordiv or a mod of another
 * index by a dim. Equal expressions are equal pointers. The constructors use the variables' ranges:
 * x/1, (a*8 + b)/8 with b < 8, a mod that changes nothing, (x/d)*d + x%d all vanish, so a reshape
 * followed by its inverse costs nothing.
 *
 * Everything lives in the arena given at creation.
 */
#ifndef GPUCC_CODEGEN_INDEX_H
#define GPUCC_CODEGEN_INDEX_H

#include "../ir/graph.h"

enum atom_kind { ATOM_VAR, ATOM_DIV, ATOM_MOD };

struct atom {
    enum atom_kind kind;
    const char *name;               /* VAR: its name in the CUDA text */
    const struct dim *extent;       /* VAR: values are [0, extent) */
    const struct index *of;         /* DIV, MOD: the operand */
    const struct dim *by;           /* DIV, MOD: the divisor, positive */
    uint32_t id;                    /* creation order: a deterministic key */
};

struct index_term { const struct dim *coefficient; const struct atom *atom; };

struct index {
    const struct dim *constant;
    int n_terms;
    const struct index_term *terms; /* by atom id; coefficients are not zero */
    uint32_t id;
    struct index *chain;            /* hash chain, private */
};

struct index_table;

struct index_table *index_table_create(struct arena *arena, struct dim_table *dims);

/* A new variable; two calls with one name and extent give the same. The name must be visible in the
 * CUDA text wherever the index is printed. */
const struct index *index_var(struct index_table *t, const char *name, const struct dim *extent);
const struct index *index_const(struct index_table *t, int64_t value);
const struct index *index_dim(struct index_table *t, const struct dim *value);
const struct index *index_add(struct index_table *t, const struct index *a, const struct index *b);
const struct index *index_sub(struct index_table *t, const struct index *a, const struct index *b);
const struct index *index_mul(struct index_table *t, const struct index *a, const struct dim *k);
/* by > 0; a >= 0 must hold (what is not provably so is still computed as C does: towards zero). */
const struct index *index_div(struct index_table *t, const struct index *a, const struct dim *by);
const struct index *index_mod(struct index_table *t, const struct index *a, const struct dim *by);

bool index_is_const(const struct index *a, int64_t *value);     /* value may be NULL */
/* Provably 0 <= a, and provably a < bound. */
bool index_nonnegative(struct index_table *t, const struct index *a);
bool index_below(struct index_table *t, const struct index *a, const struct dim *bound);
/* Provably a multiple of n for every value of the variables, the constant left out. */
bool index_terms_divisible(struct index_table *t, const struct index *a, int64_t n);

/* Whether the atom is in a, or in what a divides. */
bool index_depends(const struct index *a, const struct atom *on);
/* The coefficient of a variable that a depends on in no other way (0: not at all); NULL: it does. */
const struct dim *index_coefficient(struct index_table *t, const struct index *a,
                                    const struct index *variable);

/* Row-major: Σ index[i] * Π shape[i+1 …]. */
const struct index *index_linear(struct index_table *t, int rank, const struct dim *const *shape,
                                 const struct index *const *index);
/* The inverse: index[i] of the element at `linear`. */
void index_delinear(struct index_table *t, const struct index *linear, int rank,
                    const struct dim *const *shape, const struct index **index);
/* The element of a tensor of shape `from` that a reshape to shape `to` shows at to_index. Axes that
 * stay, split or merge are matched, so that only mixed groups go through a linear index. */
void index_reshape(struct index_table *t, int to_rank, const struct dim *const *to,
                   const struct index *const *to_index, int from_rank,
                   const struct dim *const *from, const struct index **from_index);

#endif
