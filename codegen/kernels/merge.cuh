/*
 * The first K elements of a line in an order, and where they were; a block works on a line of any
 * length. What moves is the elements' places, in two buffers of LENGTH places each (WORK).
 *
 *   1. Chunks of CHUNK places are sorted in shared memory by a bitonic network (see sort.cuh).
 *   2. Sorted runs are merged, two by two, until one is left. Every place finds by bisection how many
 *      of the other run come before it, and so where it goes:
 *
 *          run a   2 5 9          5 comes after one of its own run and two of the other: place 3
 *          run b   1 4 6          merged   1 2 4 5 6 9
 *
 * Of equal elements the one with the lower place comes first, so no two are alike, and the order is
 * the same in every run.
 *
 * The generator prints before this file
 *   LENGTH K THREADS CHUNK (a power of two)
 *   WORK                          buffer of 2 * LENGTH places a line
 *   before(line, a, b)            does element a come before b?
 *   store(line, i, at)            result i is the element that was at `at`
 */
static __device__ __forceinline__ bool in_order(PARAMS, idx_t line, idx_t a, idx_t b)
{
    if (a >= LENGTH || b >= LENGTH) /* places behind the end come last */
        return a < b;
    return before(ARGS, line, a, b) || (a < b && !before(ARGS, line, b, a));
}

static __device__ __forceinline__ void sort_chunk(PARAMS, idx_t line, idx_t first, idx_t *to)
{
    __shared__ idx_t sorted[CHUNK];
    for (int i = threadIdx.x; i < CHUNK; i += THREADS)
        sorted[i] = first + i;
    __syncthreads();
    for (int size = 2; size <= CHUNK; size *= 2)
        for (int half = size / 2; half > 0; half /= 2) {
            for (int pair = threadIdx.x; pair < CHUNK / 2; pair += THREADS) {
                const int low = pair / half * half * 2 + pair % half, high = low + half;
                const idx_t a = sorted[low], b = sorted[high];
                if (in_order(ARGS, line, b, a) == ((low & size) == 0)) {
                    sorted[low] = b;
                    sorted[high] = a;
                }
            }
            __syncthreads();
        }
    for (int i = threadIdx.x; i < CHUNK && first + i < LENGTH; i += THREADS)
        to[first + i] = sorted[i];
    __syncthreads(); /* before the next chunk comes */
}

/* How many places of the sorted run from[0 … n) come before x. */
static __device__ __forceinline__ idx_t count_before(PARAMS, idx_t line, const idx_t *from, idx_t n,
                                                     idx_t x)
{
    idx_t low = 0;
    while (low < n) {
        const idx_t middle = low + (n - low) / 2;
        if (in_order(ARGS, line, from[middle], x))
            low = middle + 1;
        else
            n = middle;
    }
    return low;
}

/* Runs of `run` places become runs of twice as many. */
static __device__ __forceinline__ void merge_runs(PARAMS, idx_t line, const idx_t *from, idx_t *to,
                                                  idx_t run)
{
    for (idx_t i = threadIdx.x; i < LENGTH; i += THREADS) {
        const idx_t number = i / run, own = number * run, other = (number ^ 1) * run;
        const idx_t there = other < LENGTH ? min(run, LENGTH - other) : 0;
        const idx_t passed = count_before(ARGS, line, from + other, there, from[i]);
        to[min(own, other) + (i - own) + passed] = from[i];
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t line = blockIdx.x, length = LENGTH;
    idx_t *from = WORK + (long long)line * 2 * length, *to = from + length;
    for (idx_t first = 0; first < length; first += CHUNK)
        sort_chunk(ARGS, line, first, from);
    for (long long run = CHUNK; run < length; run *= 2) {
        merge_runs(ARGS, line, from, to, (idx_t)run);
        idx_t *const merged = to;
        to = from;
        from = merged;
    }
    for (idx_t i = threadIdx.x; i < K; i += THREADS)
        store(ARGS, line, i, from[i]);
}
