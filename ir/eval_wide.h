/* Inside the evaluator: integers of all types as int64 that compare as the type's own do (u64 has
 * its top bit flipped). */
#ifndef GPUCC_IR_EVAL_WIDE_H
#define GPUCC_IR_EVAL_WIDE_H

#include "eval_array.h"

static inline int64_t flip_top(int64_t x)
{
    return (int64_t)((uint64_t)x ^ UINT64_C(1) << 63);
}

static inline void flip_u64(enum dtype type, int64_t *x, int64_t n)
{
    for (int64_t i = 0; i < n && type == DT_U64; i++)
        x[i] = flip_top(x[i]);
}

/* All elements of a dense array, in scratch memory. */
static inline int64_t *ordered_ints(struct eval_call *c, const struct array *a)
{
    int64_t *x = array_ints(c, a);
    flip_u64(a->type, x, array_elements(a));
    return x;
}

/* Stores n ordered integers into a dense array of the type they came from; x is used up. */
static inline void store_ordered(const struct array *a, int64_t *x, int64_t n)
{
    flip_u64(a->type, x, n);
    store_ints(a->data, a->type, x, n, false);
}

/* Bounds of a type, as ordered integers. */
static inline int64_t lowest_int(enum dtype type)
{
    if (type == DT_U64)
        return INT64_MIN;
    return dtype_info[type].cls == DC_S ? -1 - (INT64_MAX >> (64 - dtype_info[type].bits)) : 0;
}

static inline int64_t highest_int(enum dtype type)
{
    int bits = dtype_info[type].bits;
    if (type == DT_BOOL)
        return 1;
    if (type == DT_U64)
        return INT64_MAX;
    return dtype_info[type].cls == DC_S ? INT64_MAX >> (64 - bits) : (INT64_C(1) << bits) - 1;
}

#endif
