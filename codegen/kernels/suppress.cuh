/*
 * Of each line of boxes, from best to worst, those that no better one of the chosen overlaps too
 * much. A block works on a line: it looks for the next box that is still alive, keeps it, and all
 * threads compare theirs with it, so there are as many rounds as boxes are kept.
 *
 * Sums and products are rounded one by one: a box at the threshold is judged as the evaluator does.
 *
 * The generator prints before this file
 *   LINES LENGTH CENTER THREADS LANES (= THREADS)
 *   ALIVE                 the result's buffer, which also keeps the state
 *   side(line, i, k)      number k of box i
 *   is_candidate(line, i), limit(), threshold()
 */
struct box {
    float low_y, low_x, high_y, high_x, area;
};

static __device__ __forceinline__ box box_at(PARAMS, idx_t line, idx_t i)
{
    const float a = side(ARGS, line, i, 0), b = side(ARGS, line, i, 1);
    const float c = side(ARGS, line, i, 2), d = side(ARGS, line, i, 3);
    box x;
    if (CENTER) {
        const float half_width = __fmul_rn(c, 0.5f), half_height = __fmul_rn(d, 0.5f);
        x.low_y = __fsub_rn(b, half_height);
        x.low_x = __fsub_rn(a, half_width);
        x.high_y = __fadd_rn(b, half_height);
        x.high_x = __fadd_rn(a, half_width);
    } else {
        x.low_y = fminf(a, c);
        x.low_x = fminf(b, d);
        x.high_y = fmaxf(a, c);
        x.high_x = fmaxf(b, d);
    }
    x.area = __fmul_rn(__fsub_rn(x.high_y, x.low_y), __fsub_rn(x.high_x, x.low_x));
    return x;
}

static __device__ __forceinline__ bool overlap(box a, box b, float threshold)
{
    const float height = __fsub_rn(fminf(a.high_y, b.high_y), fmaxf(a.low_y, b.low_y));
    const float width = __fsub_rn(fminf(a.high_x, b.high_x), fmaxf(a.low_x, b.low_x));
    if (!(height > 0) || !(width > 0))
        return false;
    const float both = __fmul_rn(height, width);
    const float either = __fsub_rn(__fadd_rn(a.area, b.area), both);
    return a.area > 0 && b.area > 0 && either > 0 && __fdiv_rn(both, either) > threshold;
}

static __device__ __forceinline__ idx_t lesser(idx_t a, idx_t b)
{
    return a < b ? a : b;
}

/* The first box from i on that is alive, or LENGTH; all threads get it. */
static __device__ __forceinline__ idx_t next_alive(PARAMS, const bool *alive, idx_t i)
{
    while (i < LENGTH) {
        const idx_t mine = i + threadIdx.x;
        const idx_t found =
            over_lanes(mine < LENGTH && alive[mine] ? mine : (idx_t)LENGTH, lesser);
        if (found < LENGTH)
            return found;
        i += THREADS;
    }
    return LENGTH;
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t line = blockIdx.x;
    bool *const alive = ALIVE + (long long)line * LENGTH;
    for (idx_t i = threadIdx.x; i < LENGTH; i += THREADS)
        alive[i] = is_candidate(ARGS, line, i);
    __syncthreads();

    long long left = limit(ARGS);
    const float most = threshold(ARGS);
    idx_t i = 0;
    for (; left > 0; left--, i++) {
        i = next_alive(ARGS, alive, i);
        if (i >= LENGTH)
            return;
        const box best = box_at(ARGS, line, i);
        for (idx_t k = i + 1 + threadIdx.x; k < LENGTH; k += THREADS)
            if (alive[k] && overlap(best, box_at(ARGS, line, k), most))
                alive[k] = false;
        __syncthreads();
    }
    for (idx_t k = i + threadIdx.x; k < LENGTH; k += THREADS)
        alive[k] = false;
}
