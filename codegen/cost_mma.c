/* Tiles and splits of the tensor cores' contraction: which of the table finishes first. */
#include "cost.h"

/* clang-format off */
/*
 * Depth and stages are what fills shared memory well: 128 bytes of depth are one line of banks.
 * percent: time of a step of the loop, of what the tensor cores need: instructions of the loop and
 * reads of shared memory, which grow with the warps' rims.
 *
 * A target has the tiles of which two stages fit its shared memory, with as many stages as fit:
 * behind each row, for those of 64 KB a block (sm_75, which copies nothing in the background and so
 * has two), of 99 KB (sm_86, sm_89, sm_120) and of 163 KB and more (sm_80, sm_90, sm_100).
 *    m    n  warp_m warp_n bytes stages percent split   64 KB, 99 KB, 163 KB
 */
static const struct mma_tile tiles[] = {
    {256, 128, 64, 64, 128, 3, 100, 1},    /* - 2 3 */
    {128, 256, 64, 64, 128, 3, 100, 1},    /* - 2 3 */
    {128, 128, 64, 64, 128, 3, 100, 1},    /* 2 3 3 */
    {128,  64, 64, 32, 128, 4, 110, 1},    /* 2 4 4 */
    { 64, 128, 32, 64, 128, 4, 110, 1},    /* 2 4 4 */
    { 64,  64, 32, 32, 128, 5, 130, 1},    /* 2 5 5 */
    {128,  32, 32, 32, 128, 5, 130, 1},    /* 2 4 5 */
    { 32, 128, 32, 32, 128, 5, 130, 1},    /* 2 4 5 */
    { 64,  32, 32, 16, 128, 6, 160, 1},    /* 2 6 6 */
    { 32,  64, 16, 32, 128, 6, 160, 1},    /* 2 6 6 */
    { 32,  32, 16, 16, 128, 6, 220, 1},    /* 2 6 6 */
    { 16,  64, 16, 16, 128, 6, 220, 1},    /* 2 6 6 */
    { 64,  16, 16, 16, 128, 6, 220, 1},    /* 2 6 6 */
    { 16,  32, 16,  8, 128, 6, 300, 1},    /* 2 6 6 */
    { 32,  16, 16,  8, 128, 6, 300, 1},    /* 2 6 6 */
    { 32,   8, 16,  8, 128, 6, 400, 1},    /* 2 6 6 */
    { 16,  16, 16,  8, 128, 6, 400, 1},    /* 2 6 6 */
    { 16,   8, 16,  8, 128, 6, 600, 1},    /* 2 6 6 */
};
/* clang-format on */

/* Nanoseconds: from a copy's start to data, which mostly come from memory; from the last store to
 * where the next kernel may read it; a part of a split depth written, announced and asked for. */
enum { FIRST_DATA = 800, VISIBLE = 350, ANNOUNCE = 1400 };
/* Tiles of the depth that a part has at least. */
enum { LEAST_DEPTH = 4 };
/* A larger saving than this is worth splitting the depth: blocks that wait are not free. */
enum { LEAST_SAVING = 1000 };
/* Cycles that a block takes for a tile of the depth, be it as small as may be: its wait, barrier,
 * first fragments and sums, which depend on the sums before. */
enum { ROUND_TRIP = 150 };
/* Bytes an SM takes in: of 64 a cycle 80 %. The second-level cache's, per nanosecond and SM. */
enum { INTAKE = 51, CACHE = 35 };

struct mma_only cost_mma_only;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Time of a step, see the table; fragments that are rounded take instructions as well, which the
 * products share that they are for. */
static int64_t percent_of(const struct mma_problem *x, const struct mma_tile *t)
{
    enum { ROUNDING = 640 };
    return t->percent + (x->rounds_a ? ROUNDING / t->warp_n : 0) +
           (x->rounds_b ? ROUNDING / t->warp_m : 0);
}

static int64_t shared_bytes(const struct mma_tile *t)
{
    return (int64_t)t->stages * (t->m + t->n) * t->depth_bytes;
}

/* Sizes are cut off, so that products stay far from overflow. */
static int64_t cut(int64_t size)
{
    enum { LARGE = 1 << 16 };
    return size < LARGE ? size : LARGE;
}

/* Nanoseconds in which a block makes its rows. A warp issues an instruction in so many cycles; with
 * more warps than that, each scheduler one in every cycle. */
static int64_t time_to_make(const struct target *target, const struct mma_problem *x,
                            const struct mma_tile *t, int64_t share, int64_t own_k)
{
    enum { CYCLES = 3, SCHEDULERS = 4 };
    int64_t clock = target->peak.clock ? target->peak.clock : 1;
    if (!x->made.vector)
        return 0;
    int64_t depth = t->depth_bytes / x->element * own_k, k = cut(x->size.k);
    int64_t strips = (depth < k ? depth : k) / x->made.vector * (t->m / x->made.strip);
    int64_t each = ceil_div(strips, mma_threads(t)) * x->made.instructions;
    int64_t warps = share * (mma_threads(t) / 32);
    return each * larger(CYCLES, warps / SCHEDULERS) * 1000 / clock;
}

/* Nanoseconds of the whole kernel. peak: operations per nanosecond of all tensor cores. */
static int64_t time_of(const struct target *target, const struct mma_problem *x,
                       const struct mma_tile *t)
{
    int64_t depth = t->depth_bytes / x->element, tiles_k = ceil_div(cut(x->size.k), depth);
    int64_t own_k = ceil_div(tiles_k, t->split), sms = target->multiprocessors;
    int64_t outputs = ceil_div(cut(x->size.m), t->m) * ceil_div(cut(x->size.n), t->n);
    int64_t blocks = outputs * cut(x->size.batches) * t->split;
    int64_t share = ceil_div(blocks, sms), copied = own_k * (t->m + t->n) * t->depth_bytes;
    int64_t clock = target->peak.clock ? target->peak.clock : 1;
    int64_t from_cache =
        larger(share * copied * 1000 / (INTAKE * clock), blocks / sms * copied / CACHE);
    int64_t step =
        2 * t->m * t->n * depth * x->products * percent_of(x, t) / 100 * sms / larger(x->peak, 1);
    int64_t memory = cut(x->size.batches) * (cut(x->size.m) + cut(x->size.n)) * cut(x->size.k) *
                     x->element / larger(target->peak.bandwidth, 1);
    int64_t least = own_k * ROUND_TRIP * 1000 / clock;
    int64_t body = larger(larger(from_cache, share * own_k * step), larger(memory, least));
    int64_t sums = (int64_t)t->m * t->n * 4;
    int64_t reduce = t->split == 1 ? 0 : ANNOUNCE + sums * (t->split + 1) * 1000 / (INTAKE * clock);
    return FIRST_DATA + body + step + reduce + VISIBLE + (share - 1) * 100 +
           time_to_make(target, x, t, share, own_k);
}

/* Parts are written and read once more: a traffic that must stay small beside the operands'. */
static bool is_cheap_to_split(const struct mma_problem *x, int parts)
{
    enum { SHARE = 4 };
    int64_t sums = cut(x->size.batches) * cut(x->size.m) * cut(x->size.n);
    return 2 * parts * 4 * sums <= x->operand_bytes / SHARE;
}

/* Is there room for more blocks than one a tile? */
static bool splits(const struct target *target, const struct mma_problem *x,
                   const struct mma_tile *t)
{
    int64_t tiles_k = ceil_div(cut(x->size.k), t->depth_bytes / x->element);
    int64_t outputs = ceil_div(cut(x->size.m), t->m) * ceil_div(cut(x->size.n), t->n);
    if (cost_mma_only.split)
        return t->split <= tiles_k;
    return t->split == 1 ||
           (tiles_k / t->split >= LEAST_DEPTH && is_cheap_to_split(x, t->split) &&
            outputs * cut(x->size.batches) * (t->split - 1) < target->multiprocessors);
}

static bool suits(const struct target *target, const struct mma_problem *x,
                  const struct mma_tile *t)
{
    const struct mma_only *only = &cost_mma_only;
    bool large = t->warp_m * t->warp_n > 32 * 64;
    if ((only->m && t->m != only->m) || (only->n && t->n != only->n))
        return false;
    if (x->made.vector && (t->n < cut(x->size.n) || t->m % x->made.strip != 0))
        return false;
    if (x->pooled && (x->pooled_alone ? t->m < x->pooled : t->m != x->pooled))
        return false;
    return shared_bytes(t) <= target->shared_bytes && !(large && x->small_warps) &&
           t->warp_m * t->warp_n <= x->most_sums;
}

struct mma_tile cost_mma_tile(const struct target *target, const struct mma_problem *x)
{
    enum { MOST_PARTS = 8 };
    struct mma_tile best = {0};
    int64_t best_time = INT64_MAX;
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        struct mma_tile t = tiles[i];
        int64_t tiles_k = ceil_div(cut(x->size.k), t.depth_bytes / x->element);
        int most = tiles_k + 1 < t.stages ? (int)tiles_k + 1 : t.stages;
        t.stages = x->copies ? most < 2 ? 2 : most : 2;
        while (t.stages > 2 && shared_bytes(&t) > target->shared_bytes)
            t.stages--;
        if (!suits(target, x, &t))
            continue;
        for (t.split = 1; t.split <= (x->may_split ? MOST_PARTS : 1); t.split++) {
            if (!splits(target, x, &t))
                break;
            if (cost_mma_only.split && t.split != cost_mma_only.split)
                continue;
            if (x->made.vector)
                t.stages = (int)ceil_div(tiles_k, t.split);
            if (shared_bytes(&t) > target->shared_bytes)
                continue; /* of a part's depth, maybe */
            int64_t time = time_of(target, x, &t) + (t.split > 1 ? LEAST_SAVING : 0);
            if (time < best_time) {
                best = t;
                best_time = time;
            }
        }
    }
    return best;
}
