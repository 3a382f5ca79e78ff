/*
 * The K elements of a line that come first in an order, and where they were; a block works on a
 * line. Equal elements stay in order; NaN counts as greater than every number.
 *
 * SIZE > 0: the line, filled up to SIZE (a power of two) with what comes last, is sorted in shared
 * memory by a bitonic network. In a step, pairs `half` apart are put in order within pieces of
 * `size`, alternately upwards and downwards, until one piece is left:
 *
 *      size 2     size 4            size 8
 *      ↑ ↓ ↑ ↓    ↑ ↑ ↓ ↓ (twice)   ↑ ↑ ↑ ↑ (three times)
 *
 * SIZE 0: the line is read K times, each time for the first of those that come after the last
 * found.
 *
 * The generator prints before this file what best.cuh needs, and
 *   LENGTH K THREADS SIZE
 *   WORST    an element nothing comes after
 *   load(line, i), store(line, i, x, at)
 */
static __device__ __forceinline__ bool comes_first(best a, best b)
{
    return beats(a.x, b.x) || (!beats(b.x, a.x) && a.at < b.at);
}

static __device__ __forceinline__ void sort_line(PARAMS, idx_t line)
{
    __shared__ best sorted[SIZE > 0 ? SIZE : 1];
    for (int i = threadIdx.x; i < SIZE; i += THREADS)
        sorted[i] = best{i < LENGTH ? load(ARGS, line, i) : (KEY)WORST, i};
    __syncthreads();

    for (int size = 2; size <= SIZE; size *= 2)
        for (int half = size / 2; half > 0; half /= 2) {
            for (int pair = threadIdx.x; pair < SIZE / 2; pair += THREADS) {
                const int low = pair / half * half * 2 + pair % half, high = low + half;
                const bool upwards = (low & size) == 0;
                const best a = sorted[low], b = sorted[high];
                if (comes_first(b, a) == upwards) {
                    sorted[low] = b;
                    sorted[high] = a;
                }
            }
            __syncthreads();
        }
    for (int i = threadIdx.x; i < K; i += THREADS)
        store(ARGS, line, i, sorted[i].x, sorted[i].at);
}

static __device__ __forceinline__ void select_from_line(PARAMS, idx_t line)
{
    best last = {WORST, LENGTH};
    for (idx_t rank = 0; rank < K; rank++) {
        best first = {WORST, LENGTH};
        for (idx_t i = threadIdx.x; i < LENGTH; i += THREADS) {
            const best x = {load(ARGS, line, i), i};
            if (rank == 0 || comes_first(last, x))
                first = better(first, x);
        }
        last = over_lanes(first, better);
        if (threadIdx.x == 0)
            store(ARGS, line, rank, last.x, last.at);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t line = blockIdx.x;
    if (SIZE > 0)
        sort_line(ARGS, line);
    else
        select_from_line(ARGS, line);
}
