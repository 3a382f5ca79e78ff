/*
 * y = x · w, where x has a few rows and w is large: w is read once, 16 bytes at a time.
 *
 *      a block:   WARPS_MANY x LANES_MANY x COLUMNS rows of w, all of k
 *      a thread:  COLUMNS of these, every (WARPS_K * LANES_K)th step of STEP elements along k
 *
 * ALONG_K: a step is one vector of w along k for each of the thread's columns; else STEP is 1, and
 * the columns are the vector. What threads have of the same result is added over the lanes of a
 * warp, and then over its warps in their order.
 *
 * The generator prints before this file
 *   BATCHES EXTENT_FEW EXTENT_MANY EXTENT_K
 *   ROWS COLUMNS STORED STEP ALONG_K LANES_MANY WARPS_MANY WARPS_K
 *   SUM DEPTH                      the type in which sums are kept; how many of it hold a step
 *   ADD(sum, x, w)                 adds the product of two of these
 *   load_w(batch, many, k, to)     vector k of row `many`; not ALONG_K: vector `many` of depth k
 *   load_x(batch, few, k, to)      a step of row `few`
 *   store(batch, few, many, sum)   STORED neighbours; many counts these
 *   FEW_FIRST                      results of neighbouring rows of x are neighbours in memory
 *   STAGE_ROWS                     1: x is made by contract_rows.cuh, which then stands before this
 */
#define THREADS    (32 * WARPS_MANY * WARPS_K)
#define LANES_K    (32 / LANES_MANY)
#define BLOCK_MANY (WARPS_MANY * LANES_MANY * COLUMNS)

static __device__ __forceinline__ void fetch_w(PARAMS, idx_t batch, idx_t many, idx_t k,
                                               SUM (*w)[DEPTH])
{
    if (ALONG_K) {
#pragma unroll
        for (int i = 0; i < COLUMNS; i++)
            load_w(ARGS, batch, many + i < EXTENT_MANY ? many + i : EXTENT_MANY - 1, k, w[i]);
    } else {
        load_w(ARGS, batch, many < EXTENT_MANY ? many / COLUMNS : 0, k, &w[0][0]);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    __shared__ SUM part[WARPS_K][ROWS][BLOCK_MANY];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int lane_many = lane % LANES_MANY, lane_k = lane / LANES_MANY;
    const int warp_many = warp % WARPS_MANY, warp_k = warp / WARPS_MANY;
    const idx_t groups = (EXTENT_MANY + BLOCK_MANY - 1) / BLOCK_MANY;
    const idx_t passes = (EXTENT_FEW + ROWS - 1) / ROWS;
    const idx_t first_many = (idx_t)blockIdx.x % groups * BLOCK_MANY;
    const idx_t first_few = passes == 1 ? 0 : (idx_t)blockIdx.x / groups % passes * ROWS;
    const idx_t batch = BATCHES == 1 ? 0 : (idx_t)blockIdx.x / groups / passes;
    const int mine = (warp_many * LANES_MANY + lane_many) * COLUMNS;

#if STAGE_ROWS
    stage_rows(ARGS);
#endif
    SUM sum[ROWS][COLUMNS];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
            sum[i][j] = 0;

#pragma unroll 4
    for (idx_t k = warp_k * LANES_K + lane_k; k < EXTENT_K / STEP; k += WARPS_K * LANES_K) {
        SUM w[COLUMNS][DEPTH], x[DEPTH];
        fetch_w(ARGS, batch, first_many + mine, k, w);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            load_x(ARGS, batch, first_few + i < EXTENT_FEW ? first_few + i : EXTENT_FEW - 1, k, x);
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
#pragma unroll
                for (int d = 0; d < DEPTH; d++)
                    ADD(sum[i][j], x[d], w[j][d]);
        }
    }

#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
#pragma unroll
            for (int distance = 16; distance >= LANES_MANY; distance /= 2)
                sum[i][j] += __shfl_xor_sync(~0u, sum[i][j], distance);
            if (lane_k == 0)
                part[warp_k][i][mine + j] = sum[i][j];
        }
    __syncthreads();
    const int groups_of_row = BLOCK_MANY / STORED;
    for (int i = threadIdx.x; i < ROWS * groups_of_row; i += THREADS) {
        const int row = FEW_FIRST ? i % ROWS : i / groups_of_row;
        const int column = (FEW_FIRST ? i / ROWS : i % groups_of_row) * STORED;
        SUM all[STORED];
#pragma unroll
        for (int l = 0; l < STORED; l++) {
            all[l] = part[0][row][column + l];
#pragma unroll
            for (int j = 1; j < WARPS_K; j++)
                all[l] += part[j][row][column + l];
        }
        if (first_few + row < EXTENT_FEW && first_many + column < EXTENT_MANY)
            store(ARGS, batch, first_few + row, (first_many + column) / STORED, all);
    }
}
