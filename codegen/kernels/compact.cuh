/*
 * Where the true elements are, in order, and how many there are, in two launches:
 *
 *   COUNTING 1   block b counts the true ones of its PER_BLOCK elements into counts[b]
 *   COUNTING 0   block b adds up the counts before its own, goes through its elements again, and
 *                writes each true one's place behind those before it
 *
 *      element       0  1  2  3  4  5        before(i): true ones in front of element i
 *      true             x     x  x           a true one's place goes to  before(i),
 *      places        1  3  4  0  0  0        a false one leaves its 0 at total + i - before(i)
 *
 * So every element writes once, and nothing has to be cleared. A single block needs no counts.
 *
 * The generator prints before this file
 *   COUNTING BLOCKS LENGTH MOST PER_BLOCK THREADS LANES (= THREADS)
 *   COUNTS PLACES TOTAL    buffers: one number a block, the places (MOST of them), how many; those
 *                          that the launch uses
 *   is_true(i)
 */
static __device__ __forceinline__ idx_t add(idx_t a, idx_t b)
{
    return a + b;
}

/* The true elements among those of this block. */
static __device__ __forceinline__ idx_t count_block(PARAMS)
{
    const idx_t first = (idx_t)blockIdx.x * PER_BLOCK;
    idx_t n = 0;
    for (int k = threadIdx.x; k < PER_BLOCK; k += THREADS)
        if (first + k < LENGTH && is_true(ARGS, first + k))
            n++;
    return over_lanes(n, add);
}

#if COUNTING
extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t n = count_block(ARGS);
    if (threadIdx.x == 0)
        COUNTS[blockIdx.x] = n;
}
#else
/* True ones in the threads before this one; *all = in all of them. */
static __device__ __forceinline__ int before_in_block(bool is, int *all)
{
    __shared__ int of_warp[THREADS / 32];
    const unsigned votes = __ballot_sync(~0u, is);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int before = __popc(votes & ((1u << lane) - 1));
    if (lane == 0)
        of_warp[warp] = __popc(votes);
    __syncthreads();
    *all = 0;
#pragma unroll
    for (int i = 0; i < THREADS / 32; i++) {
        before += i < warp ? of_warp[i] : 0;
        *all += of_warp[i];
    }
    __syncthreads(); /* the next round writes of_warp */
    return before;
}

static __device__ __forceinline__ void place_block(PARAMS, idx_t before, idx_t total)
{
    const idx_t first = (idx_t)blockIdx.x * PER_BLOCK;
    for (int k = threadIdx.x; k < PER_BLOCK && first + k - threadIdx.x < LENGTH; k += THREADS) {
        const idx_t i = first + k;
        const bool exists = i < LENGTH, is = exists && is_true(ARGS, i);
        int found;
        const idx_t at = before + before_in_block(is, &found);
        const idx_t to = is ? at : total + i - at;
        if (exists && to < MOST)
            PLACES[to] = is ? i : 0;
        before += found;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    idx_t before = 0, total = 0;
    if (BLOCKS == 1) {
        total = count_block(ARGS);
    } else {
        for (idx_t b = threadIdx.x; b < BLOCKS; b += THREADS) {
            total += COUNTS[b];
            before += b < blockIdx.x ? COUNTS[b] : 0;
        }
        total = over_lanes(total, add);
        before = over_lanes(before, add);
    }
    place_block(ARGS, before, total);
    if (blockIdx.x == 0 && threadIdx.x == 0)
        *TOTAL = total;
}
#endif
