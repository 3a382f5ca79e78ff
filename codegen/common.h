/* What the families share above the emitter. */
#ifndef GPUCC_CODEGEN_COMMON_H
#define GPUCC_CODEGEN_COMMON_H

#include "emit.h"

/* The axes of a value in two groups, each in the order of memory: those that stay and those that are
 * reduced. */
struct axes {
    int n_kept, n_reduced;
    int kept[MAX_RANK], reduced[MAX_RANK];
    const struct dim *kept_shape[MAX_RANK], *reduced_shape[MAX_RANK];
    const struct dim *rows, *length; /* products of the two */
    bool trailing;                   /* the reduced ones are the last: a row is contiguous */
};

void axes_split(struct graph *g, const struct value *x, uint32_t mask, struct axes *out);

/* Index of the element of a value split so that is number `column` of row `row`. */
void axes_index(struct emitter *e, const struct axes *a, const struct index *row,
                const struct index *column, const struct index **at);

/* Index of result number `row` of a reduction, whose result has the axes that stay. */
void axes_result(struct emitter *e, const struct axes *a, const struct index *row,
                 const struct index **at);

/* width * name + lane, for a variable that counts vectors of `width` elements of an extent. */
const struct index *lane_index(struct emitter *e, const char *name, const struct dim *extent,
                               int width, int lane);

/* Is d known, and a multiple of width, and not 0? */
bool dim_divisible(const struct dim *d, int64_t width);

/* A guard and one more condition; a guard of NULL holds always. */
const char *both(struct emitter *e, const char *guard, const char *more);

/* The least (lowest) or greatest value of the type, as a literal of its register type; infinite for
 * floats. */
const char *literal_extreme(struct emitter *e, enum dtype type, bool lowest);

/* Defines KEY and PLACE for best.cuh: types of equal size, so that a pair has no padding, wide
 * enough for elements of this type and for indices. */
void define_key(struct emitter *e, enum dtype type);

/* The type sums are kept in. Integers are summed without sign, so that they wrap as the
 * evaluator's. */
const char *sum_type(enum dtype type);

/* LANES of reduce.cuh with ACROSS: the warps of a block of BLOCK_THREADS. */
enum { ACROSS_LANES = 8 };

/* ceil(results / per_block) blocks of `threads` threads. */
void launch_over(struct emitter *e, const struct dim *results, int per_block, int threads);

#endif
