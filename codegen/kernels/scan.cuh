/*
 * Cumulative sums and products: y[i] = x[0] ∘ … ∘ x[i], along lines, by LANES threads a line: one
 * that walks it, a warp, or a block; these take LANES elements at a time and carry on what came
 * before.
 *
 *      lane       0     1       2     ...           carry
 *                x32   x33     x34                  x0 ∘ … ∘ x31
 *      scanned   x32   x32∘33  x32∘…∘34             each then combined with it
 *
 * The warps of a block scan their elements each, and then combine them with the totals of those
 * before.
 *
 * The generator prints before this file
 *   LINES LENGTH THREADS LANES
 *   EXCLUSIVE           y[i] leaves x[i] out and begins with IDENTITY
 *   REVERSE             from the last element to the first
 *   SUM COMBINE IDENTITY   the type that is combined in, a ∘ b, and what changes nothing
 *   load(line, i), store(line, i, SUM)
 */
static __device__ __forceinline__ SUM combine(SUM a, SUM b)
{
    return COMBINE;
}

/* x of this lane and those before it in its warp. */
static __device__ __forceinline__ SUM scan_warp(SUM x, int lane)
{
#pragma unroll
    for (int distance = 1; distance < (LANES < 32 ? LANES : 32); distance *= 2) {
        const SUM before = __shfl_up_sync(~0u, x, distance);
        if (lane >= distance)
            x = combine(before, x);
    }
    return x;
}

/* The warps' totals, combined: of those before this one, and of all. */
static __device__ __forceinline__ SUM before_warp(SUM total, int warp, SUM *all)
{
    __shared__ SUM of_warp[LANES / 32 > 0 ? LANES / 32 : 1];
    SUM before = IDENTITY;
    if (threadIdx.x % 32 == 31)
        of_warp[warp] = total;
    __syncthreads();
    *all = IDENTITY;
#pragma unroll
    for (int i = 0; i < LANES / 32; i++) {
        before = i == warp ? *all : before;
        *all = combine(*all, of_warp[i]);
    }
    __syncthreads(); /* of_warp is written again */
    return before;
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t line = (idx_t)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const int lane = threadIdx.x % LANES;
    if (line >= LINES)
        return;

    SUM carry = IDENTITY;
    for (idx_t first = 0; first < LENGTH; first += LANES) {
        const idx_t i = first + lane, at = REVERSE ? LENGTH - 1 - i : i;
        const bool exists = i < LENGTH;
        SUM x = scan_warp(exists ? (SUM)load(ARGS, line, at) : (SUM)IDENTITY, lane % 32);
        SUM before = IDENTITY, all = x;
        if (LANES > 1) {
            const SUM neighbour = __shfl_up_sync(~0u, x, 1);
            before = lane % 32 > 0 ? neighbour : before;
            all = __shfl_sync(~0u, x, LANES < 32 ? LANES - 1 : 31);
        }
        const SUM start = LANES > 32 ? combine(carry, before_warp(x, lane / 32, &all)) : carry;
        if (exists)
            store(ARGS, line, at, combine(start, EXCLUSIVE ? before : x));
        carry = combine(carry, all);
    }
}
