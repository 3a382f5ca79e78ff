/* Estimates in integer arithmetic. */
#include "cost.h"

/* What a free dim (batch, sequence length) is taken for. */
enum { TYPICAL_SYMBOL = 32 };

/* Sizes are cut off here, so that products of four stay far from overflow. */
enum { LARGE = 1 << 15 };

/* clang-format off */
/*   m    n   k thread percent */
static const struct tile tiles[] = {
    {128, 128,  8, 8, 8, 100},
    {128,  64,  8, 8, 8, 104},
    { 64, 128,  8, 8, 8, 104},
    { 64,  64,  8, 8, 8, 112},
    {128,  32,  8, 8, 8, 116},
    { 32, 128,  8, 8, 8, 116},
    { 64,  32,  8, 8, 4, 130},
    { 32,  64,  8, 4, 8, 130},
    { 16, 128,  8, 4, 8, 140},
    {128,  16,  8, 8, 4, 140},
    { 32,  32,  8, 4, 8, 160},
    { 32,  32, 16, 4, 4, 170},
    { 16,  64, 16, 4, 4, 180},
};
/* clang-format on */

static int64_t at_most(int64_t value, int64_t limit)
{
    return value < limit ? value : limit;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Time of the multiprocessor that has most to do, in products of the best tile times 100. */
static int64_t tile_cost(const struct target *target, const struct extents *x, const struct tile *t)
{
    int64_t tiles_m = ceil_div(at_most(x->m, LARGE), t->m);
    int64_t tiles_n = ceil_div(at_most(x->n, LARGE), t->n);
    int64_t blocks = tiles_m * tiles_n * at_most(x->batches, LARGE);
    return ceil_div(blocks, target->multiprocessors) * t->m * t->n * t->percent;
}

const struct tile *cost_tile(const struct target *target, const struct extents *x, bool wide)
{
    const struct tile *best = NULL;
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        if (wide && tiles[i].n < tile_threads(&tiles[i]))
            continue;
        if (!best || tile_cost(target, x, &tiles[i]) < tile_cost(target, x, best))
            best = &tiles[i];
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
