/*
 * The results of contract_mma.cuh where a pool of windows of pixels stands behind them in the same
 * kernel. Rows are counted window by window, WINDOW of them in each, and a warp has whole
 * windows: a thread takes its columns of all rows of a window, and stores what becomes of them.
 *
 * The generator prints before contract_mma.cuh
 *   WINDOW                         rows of a window
 *   store(batch, window, n, sum)   C_VECTOR sums, neighbours along N, of each row of a window; n
 *                                  counts vectors
 */
__device__ __forceinline__ void results::store_all(PARAMS, const work &my, int round) const
{
    static_assert(rows % WINDOW == 0 && !C_ALONG_M,
                  "windows are whole, and their channels vectors");
    constexpr int total = lines / WINDOW * vectors;
#pragma unroll 1
    for (int i = threadIdx.x; i < total; i += THREADS) {
        const int along = i % vectors * C_VECTOR, across = i / vectors * WINDOW;
        const idx_t at_m = my.m * TILE_M + row_of(across, round), at_n = my.n * TILE_N + along;
        if ((GUARD_M && at_m >= EXTENT_M) || (GUARD_N && at_n >= EXTENT_N))
            continue;
        SUM sum[WINDOW * C_VECTOR];
#pragma unroll
        for (int j = 0; j < WINDOW; j++)
            take(across + j, along, sum + j * C_VECTOR);
        store(ARGS, my.batch, at_m / WINDOW, at_n / C_VECTOR, sum);
    }
}
