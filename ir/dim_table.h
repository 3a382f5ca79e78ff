/* Private to the dim files: the table, and the two ways to make a dim in it. */
#ifndef GPUCC_IR_DIM_TABLE_H
#define GPUCC_IR_DIM_TABLE_H

#include "dim.h"

struct dim_symbol_entry {
    const char *name;
    const struct dim *dim;
};

struct dim_table {
    struct arena *arena;
    struct dim **buckets;
    uint32_t n_buckets, n_dims;
    struct dim_symbol_entry *symbols;
    int n_symbols, cap_symbols;
};

/* The dim of this kind (FLOORDIV … LT) and operands, unsimplified. */
const struct dim *dim_intern_atom(struct dim_table *t, enum dim_kind kind, const struct dim *a,
                                  const struct dim *b);
/* The sum of the terms: sorts and merges them in place. They must live in the table's arena; the
 * dim may keep them. */
const struct dim *dim_intern_sum(struct dim_table *t, int n, struct dim_term *terms);

/* A product of sums is written out up to this many terms. */
enum { MOST_TERMS = 256 };
/* a * b with sums as they are: longer products. */
const struct dim *dim_mul_whole(struct dim_table *t, const struct dim *a, const struct dim *b);

/* A total order by structure, the same in every table with equally numbered symbols. */
int dim_compare(const struct dim *a, const struct dim *b);

int64_t floordiv64(int64_t a, int64_t b); /* b not 0, not INT64_MIN / -1 */
int64_t floormod64(int64_t a, int64_t b); /* b not 0 */

#endif
