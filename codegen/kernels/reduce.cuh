/*
 * result = term(0) ∘ term(1) ∘ … ∘ term(LENGTH - 1), by LANES threads, k strided by LANES.
 *
 * ACROSS 0: the threads of a result are neighbours, for terms that are neighbours in memory.
 * ACROSS 1: 32 neighbouring threads work on 32 neighbouring results, and the block's LANES warps on
 *           the same 32, for results whose terms are neighbours of one another's:
 *
 *               result   0   1  ...  31
 *      warp 0  k =       0   0  ...   0     then the warps' parts are combined
 *      warp 1            1   1  ...   1     through shared memory
 *
 * Also contractions with too little reuse to share are done by this, with products for terms.
 *
 * The generator prints before this file
 *   RESULTS LENGTH THREADS LANES ACROSS UNROLL
 *   PARTIAL      the type in which terms are combined
 *   LIFT(x, k)   term k as a PARTIAL
 *   IDENTITY     what combining begins with
 *   COMBINE      a ∘ b
 *   ANSWER(x)    the result made of the last PARTIAL
 *   term(result, k), store(result, answer)
 */
static __device__ __forceinline__ PARTIAL combine(PARTIAL a, PARTIAL b)
{
    return COMBINE;
}

static __device__ __forceinline__ PARTIAL over_warps(PARTIAL x)
{
    __shared__ PARTIAL part[ACROSS ? LANES : 1][32];
    const int column = threadIdx.x % 32, warp = threadIdx.x / 32;
    part[warp][column] = x;
    __syncthreads();
    if (warp == 0)
#pragma unroll
        for (int i = 1; i < LANES; i++)
            x = combine(x, part[i][column]);
    return x;
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const int lane = ACROSS ? threadIdx.x / 32 : threadIdx.x % LANES;
    const int column = ACROSS ? threadIdx.x % 32 : threadIdx.x / LANES;
    const idx_t result = (idx_t)blockIdx.x * (THREADS / LANES) + column;
    const bool exists = result < RESULTS;

    PARTIAL x = IDENTITY;
    if (exists)
#pragma unroll UNROLL
        for (idx_t k = lane; k < LENGTH; k += LANES)
            x = combine(x, (PARTIAL)LIFT(term(ARGS, result, k), k));
    x = ACROSS ? over_warps(x) : over_lanes(x, combine);
    if (exists && lane == 0)
        store(ARGS, result, ANSWER(x));
}
