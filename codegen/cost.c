/* Estimates in integer arithmetic. */
#include "cost.h"

/* What a free dim (batch, sequence length) is taken for. */
enum { TYPICAL_SYMBOL = 32 };

/* Sizes are cut off here, so that products of four stay far from overflow. */
enum { LARGE = 1 << 15 };

/* clang-format off */
/*   m    n   k thread percent, slices */
static const struct tile tiles[] = {
    {128, 128,  8, 8, 8, 100, 1},
    {128,  64,  8, 8, 8, 104, 1},
    { 64, 128,  8, 8, 8, 104, 1},
    { 64,  64,  8, 8, 8, 112, 1},
    {128,  32,  8, 8, 8, 116, 1},
    { 32, 128,  8, 8, 8, 116, 1},
    { 64,  32,  8, 8, 4, 130, 1},
    { 32,  64,  8, 4, 8, 130, 1},
    { 16, 128,  8, 4, 8, 140, 1},
    {128,  16,  8, 8, 4, 140, 1},
    { 32,  32,  8, 4, 8, 160, 1},
    { 32,  32, 16, 4, 4, 170, 1},
    { 16,  64, 16, 4, 4, 180, 1},
};
/* clang-format on */

static int64_t at_most(int64_t value, int64_t limit)
{
    return value < limit ? value : limit;
}

/* Shared memory of a block of contract.cuh that all launches may have, and what the tile takes of
 * it: two tiles of each operand, and afterwards all slices' sums. */
enum { SHARED_BYTES = 48 << 10, TILE_PAD = 4 };

static bool fits(const struct tile *t)
{
    int tiles = 2 * t->k * (t->m + t->n + 2 * TILE_PAD), sums = t->slices > 1 ? t->m * t->n : 0;
    return t->slices * 4 * (tiles > sums ? tiles : sums) <= SHARED_BYTES;
}

/*
 * Time of the multiprocessor that has most to do, in products of the best tile times 100. Its
 * schedulers need BUSY_WARPS warps to hide latency: with fewer, time goes up in proportion. Filling
 * the first tiles and storing the results take about as long as ENDS rounds of the loop.
 */
static int64_t tile_cost(const struct target *target, const struct extents *x, const struct tile *t)
{
    enum { BUSY_WARPS = 8, ENDS = 2 };
    int64_t tiles_m = ceil_div(at_most(x->m, LARGE), t->m);
    int64_t tiles_n = ceil_div(at_most(x->n, LARGE), t->n);
    int64_t blocks = tiles_m * tiles_n * at_most(x->batches, LARGE);
    int64_t share = ceil_div(blocks, target->multiprocessors);
    int64_t warps = at_most(share * t->slices * tile_threads(t) / 32, BUSY_WARPS);
    int64_t rounds = ceil_div(at_most(x->k, LARGE), t->k * t->slices) + ENDS;
    return share * t->m * t->n * rounds * t->k * t->slices / 8 * t->percent * BUSY_WARPS / warps;
}

struct tile cost_tile(const struct target *target, const struct extents *x, int filter_depth)
{
    enum { MOST_SLICES = 8 };
    struct tile best = tiles[0];
    int64_t best_cost = INT64_MAX;
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        struct tile tile = tiles[i];
        if (filter_depth && tile.n < tile_threads(&tile))
            continue;
        tile.k = filter_depth ? filter_depth : tile.k;
        for (tile.slices = 1; tile.slices <= MOST_SLICES && fits(&tile); tile.slices *= 2) {
            int64_t cost = tile_cost(target, x, &tile);
            if (cost < best_cost) {
                best = tile;
                best_cost = cost;
            }
        }
    }
    return best;
}

bool cost_prefers_direct(const struct extents *x)
{
    enum { FEW = 8, LITTLE_WORK = 1 << 12 };
    if (x->m < FEW || x->n < FEW || x->k < 4)
        return true;
    return at_most(x->m, LARGE) * at_most(x->n, LARGE) <= LITTLE_WORK / at_most(x->k, LARGE);
}

int cost_lanes(const struct target *target, int64_t rows, int64_t length, bool contiguous)
{
    enum { SHORT_ROW = 16, WARP_ROW = 1024 };
    const int64_t threads =
        (int64_t)target->multiprocessors * 1024; /* that hide memory's latency */
    if (length <= SHORT_ROW || (!contiguous && rows >= threads / 8))
        return 1;
    if (length <= WARP_ROW || rows * 32 >= threads * 4)
        return 32;
    return BLOCK_THREADS;
}

int cost_block(const struct target *target, int64_t results, int lanes)
{
    int threads = BLOCK_THREADS;
    while (threads > 32 && threads > lanes &&
           ceil_div(at_most(results, INT32_MAX), threads / lanes) < target->multiprocessors)
        threads /= 2;
    return threads;
}

int64_t cost_guess(const struct graph *g, const struct dim *d)
{
    int64_t value;
    if (dim_is_const(d, &value))
        return value > 1 ? value : 1;
    int n = dim_symbol_count(g->dims);
    int64_t *symbols = ARENA_ARRAY(g->arena, (size_t)n + 1, int64_t);
    for (int i = 0; i < n; i++) {
        int64_t lower, upper;
        dim_bounds(dim_symbol_at(g->dims, i), &lower, &upper);
        symbols[i] = lower > TYPICAL_SYMBOL ? lower : at_most(upper, TYPICAL_SYMBOL);
    }
    if (!dim_eval(d, symbols, &value))
        return TYPICAL_SYMBOL;
    return value > 1 ? value : 1;
}
