/*
 * Windows: a thread looks at the TAPS elements of the windows of WIDTH results. These are one, or
 * channels that are neighbours in memory: tap t of each counts or does not, for all of them alike.
 *
 * The generator prints before this file
 *   VECTORS WIDTH TAPS THREADS UNROLL
 *   MAX, ARG_MAX, MEAN, LP    one of them 1; P: the power of LP
 *   ELEMENT, RESULT   types of an element and of a result in registers
 *   SUM LOWEST        the type that is summed in; what every element is at least
 *   bool tap(result, t, x, at)    does tap t of the windows count? Then its elements go to x and,
 *                                 for an arg_max, their places in the operand to at
 *   store(result, y)              the results; ANSWER: y[i], by the names below
 * result counts vectors.
 */
extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t result = (idx_t)blockIdx.x * THREADS + threadIdx.x;
    if (result >= VECTORS)
        return;

#if MAX || ARG_MAX
    ELEMENT greatest[WIDTH];
#if ARG_MAX
    idx_t where[WIDTH];
#endif
#else
    SUM sum[WIDTH];
#if MEAN
    int count = 0;
#endif
#endif
#pragma unroll
    for (int i = 0; i < WIDTH; i++) {
#if MAX || ARG_MAX
        greatest[i] = LOWEST;
#if ARG_MAX
        where[i] = -1;
#endif
#else
        sum[i] = 0;
#endif
    }
#pragma unroll UNROLL
    for (int t = 0; t < TAPS; t++) {
        ELEMENT x[WIDTH];
        idx_t at[WIDTH];
        if (!tap(ARGS, result, t, x, at))
            continue;
#if MEAN
        count++;
#endif
#pragma unroll
        for (int i = 0; i < WIDTH; i++) {
#if MAX
            greatest[i] = x[i] > greatest[i] || x[i] != x[i] ? x[i] : greatest[i];
#elif ARG_MAX
            const bool greater =
                where[i] < 0 || x[i] > greatest[i] || (x[i] != x[i] && greatest[i] == greatest[i]);
            greatest[i] = greater ? x[i] : greatest[i];
            where[i] = greater ? at[i] : where[i];
#elif MEAN
            sum[i] += x[i];
#else
            const SUM size = x[i] < 0 ? -x[i] : x[i];
            sum[i] += P == 1 ? size : P == 2 ? size * size : g_pow(size, (SUM)P);
#endif
        }
    }
    RESULT y[WIDTH];
#pragma unroll
    for (int i = 0; i < WIDTH; i++)
        y[i] = ANSWER;
    store(ARGS, result, y);
}
