/* What attention.c and attention_mma.c share. */
#ifndef GPUCC_CODEGEN_ATTENTION_H
#define GPUCC_CODEGEN_ATTENTION_H

#include "common.h"
#include "cost.h"

/* One attention node: planes are batch and head. */
struct attention {
    struct codegen *c;
    struct emitter *e;
    const struct node *core;
    const struct attr_attention *attr;
    struct value *q, *k, *v, *bias, *y; /* bias: or mask, or NULL */
    const struct dim *planes, *queries, *keys;
    const struct dim *shared; /* heads that share keys and values */
    int depth, width;         /* elements of a key, and of a value */
};

/* Index of q's or y's element, and of k's or v's, for a head of the queries. */
void attention_query(const struct attention *a, const struct index *row, const struct index *d,
                     const struct index **at);
void attention_key(const struct attention *a, const struct index *row, const struct index *d,
                   const struct index **at);

/* Prints `load_<letter>`: `width` elements of an operand as numbers of type `to`. */
void attention_load(const struct attention *a, char letter, int width, const char *to);
/* Prints `store`: `width` neighbouring results. */
void attention_store(const struct attention *a, int width);
/* Defines what all skeletons want to know: the score's attributes and the extents. */
void attention_define(const struct attention *a, const char *stat);

/* The widest vector of v's elements along its last axis, of which rows of `extent` are made. */
int attention_vector(const struct attention *a, struct value *v, int extent);

/* How many blocks there are where each of `blocks`, of so many queries, may be several that share
 * the keys; defines what these want to know. */
const struct dim *attention_split(const struct attention *a, const struct dim *blocks, int rows);

/* The dynamic shared memory that a block may take: its few words of static memory count as well. */
static inline int64_t attention_shared(const struct target *target)
{
    enum { STATIC_BYTES = 256 };
    return target->shared_bytes - STATIC_BYTES;
}

/* By tensor cores, where types, sizes and target suit. */
bool attention_mma(struct attention *a);

#endif
