/*
 * The cost model: choices that depend on sizes and the target, in integer arithmetic, from tables
 * that can be read. Its figures are model estimates, not calibrated on a device.
 */
#ifndef GPUCC_CODEGEN_COST_H
#define GPUCC_CODEGEN_COST_H

#include "kernel.h"

/* a / b, rounded up; a is not negative, b is positive. */
static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

/* A tile of contract.cuh. */
struct tile {
    int m, n, k;            /* results and depth of a block's tile */
    int thread_m, thread_n; /* results of a thread; multiples of 4 */
    int percent;            /* time per product, of the best tile's */
    int slices;             /* groups of threads that share the work along K */
};

/* Threads of one slice. */
static inline int tile_threads(const struct tile *t)
{
    return t->m / t->thread_m * (t->n / t->thread_n);
}

/* Sizes of a contraction, guessed where they depend on the run. */
struct extents {
    int64_t batches, m, n, k;
};

/* The tile with which the target finishes first. filter_depth: the tile's k, which then has
 * n >= tile_threads; 0: any. */
struct tile cost_tile(const struct target *target, const struct extents *x, int filter_depth);
/* A tile of contract_mma.cuh. */
struct mma_tile {
    int m, n, warp_m, warp_n; /* results of a block and of a warp */
    int depth_bytes, stages;  /* of an operand's row, and how many of them are in shared memory */
    int percent;              /* time per product, of the best tile's */
    int split;                /* blocks that share the depth */
};

static inline int mma_threads(const struct mma_tile *t)
{
    return t->m / t->warp_m * (t->n / t->warp_n) * 32;
}

/* Rows of the left operand that are made by the kernel, by one thread strip by strip. They are made
 * once: a tile has all columns, and all of its depth is in shared memory. */
struct made_rows {
    int vector, strip; /* elements of the depth and rows of a strip; vector 0: nothing is made */
    int instructions;  /* for a strip */
};

struct mma_problem {
    struct extents size;
    int element;      /* bytes */
    int products;     /* instructions per step: 3 where f32 is split */
    int64_t peak;     /* operations per nanosecond of the device */
    bool rounds_a, rounds_b; /* an operand's fragments are rounded to tf32 in the loop */
    int most_sums;    /* of a warp, that leave it registers enough */
    bool small_warps; /* an operand comes through registers */
    bool copies, may_split;
    int64_t operand_bytes; /* of both operands in memory, each element once */
    struct made_rows made;
    int64_t pooled; /* rows that a tile has all of; 0: any */
    bool pooled_alone; /* they are all there are, so that others of the tile may be missing */
};

/* For tests of all tiles: only those of this size, split into so many parts; 0: any. */
extern struct mma_only { int m, n, split; } cost_mma_only;

/* The tile and split that finish first; m is 0 where none fits the target. */
struct mma_tile cost_mma_tile(const struct target *target, const struct mma_problem *x);

/* Too little is shared for tiles: one thread or one warp per result is better. */
bool cost_prefers_direct(const struct extents *x);

/* How many threads work on one row of `length` elements, of which there are `rows`: 1, 32 (a warp)
 * or BLOCK_THREADS. contiguous: a row's elements are neighbours in memory. */
enum { BLOCK_THREADS = 256 };
int cost_lanes(const struct target *target, int64_t rows, int64_t length, bool contiguous);

/* Threads of a block, when `lanes` of them work on each of so many results: at most BLOCK_THREADS,
 * and fewer where that puts more multiprocessors to work. */
int cost_block(const struct target *target, int64_t results, int lanes);

/* d's value where it is known; else with every symbol at what is typical of free dims, kept within
 * the symbol's bounds. At least 1. */
int64_t cost_guess(const struct graph *g, const struct dim *d);

#endif
