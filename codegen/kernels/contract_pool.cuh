/*
 * The results of contract_mma.cuh where a reduction over the pixels of each image stands behind them
 * in the same kernel. A tile has all pixels of one image as its rows: what the maps in between make
 * of the sums never leaves the block.
 *
 * A thread has the same columns of every line it takes, and combines their terms in the order of
 * the lines; what the threads of a column have is then combined in the order of the threads. So
 * the results are the same in every run.
 *
 * The generator prints before contract_mma.cuh
 *   POOLED                 that this is so
 *   IDENTITY, COMBINE      what combining begins with, and the expression for a ∘ b
 *   terms(batch, m, n, sum, term)    what the maps make of C_VECTOR sums that are neighbours along N
 *   store(batch, image, n, y)        a result
 */
static __device__ __forceinline__ float combine(float a, float b)
{
    return COMBINE;
}

static __device__ __forceinline__ void pool_rows(PARAMS, const work &my, int warp_m, int warp_n,
                                                 char *memory, SUM (*sum)[COLUMNS][4])
{
    constexpr int teams = THREADS / results::vectors; /* that share the lines of a round */
    static_assert(teams > 0 && THREADS % results::vectors == 0, "each thread has columns of its own");
    const int column = threadIdx.x % results::vectors * C_VECTOR;
    const int team = threadIdx.x / results::vectors;
    const idx_t first_n = my.n * TILE_N;
    results &all = *reinterpret_cast<results *>(memory);
    float total[C_VECTOR];
#pragma unroll
    for (int v = 0; v < C_VECTOR; v++)
        total[v] = IDENTITY;
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        if (round > 0)
            __syncthreads();
        all.put(warp_m, warp_n, round, sum);
        __syncthreads();
#pragma unroll 2
        for (int line = team; line < results::height; line += teams) {
            const idx_t m = my.m * TILE_M + all.row_of(line, round);
            if ((GUARD_M && m >= EXTENT_M) || (GUARD_N && first_n + column >= EXTENT_N))
                continue;
            SUM own[C_VECTOR];
            float term[C_VECTOR];
            all.take(line, column, own);
            terms(ARGS, my.batch, m, (first_n + column) / C_VECTOR, own, term);
#pragma unroll
            for (int v = 0; v < C_VECTOR; v++)
                total[v] = combine(total[v], term[v]);
        }
    }
    __syncthreads();
    float *totals = reinterpret_cast<float *>(memory); /* by team and column */
#pragma unroll
    for (int v = 0; v < C_VECTOR; v++)
        totals[team * TILE_N + column + v] = total[v];
    __syncthreads();
    const int n = threadIdx.x;
    if (n >= TILE_N || (GUARD_N && first_n + n >= EXTENT_N))
        return;
    float y = totals[n];
#pragma unroll
    for (int other = 1; other < teams; other++)
        y = combine(y, totals[other * TILE_N + n]);
    store(ARGS, my.batch, my.m, first_n + n, y);
}
