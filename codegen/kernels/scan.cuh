/*
 * Cumulative sums and products: y[i] = x[0] ∘ … ∘ x[i], along lines, by LANES threads a line: one
 * that walks it, or a warp that takes 32 elements at a time and carries on what came before.
 *
 *      lane       0     1       2     ...           carry
 *                x32   x33     x34                  x0 ∘ … ∘ x31
 *      scanned   x32   x32∘33  x32∘…∘34             each then combined with it
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

/* x of this lane and those before it. */
static __device__ __forceinline__ SUM scan_warp(SUM x, int lane)
{
#pragma unroll
    for (int distance = 1; distance < LANES; distance *= 2) {
        const SUM before = __shfl_up_sync(~0u, x, distance);
        if (lane >= distance)
            x = combine(before, x);
    }
    return x;
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
        const SUM x = scan_warp(exists ? (SUM)load(ARGS, line, at) : (SUM)IDENTITY, lane);
        SUM before = IDENTITY;
        if (LANES > 1) {
            const SUM neighbour = __shfl_up_sync(~0u, x, 1);
            before = lane > 0 ? neighbour : before;
        }
        if (exists)
            store(ARGS, line, at, combine(carry, EXCLUSIVE ? before : x));
        carry = combine(carry, LANES > 1 ? __shfl_sync(~0u, x, LANES - 1) : x);
    }
}
