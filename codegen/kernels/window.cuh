/*
 * Windows: a thread per result looks at the TAPS elements of its window.
 *
 * The generator prints before this file
 *   RESULTS TAPS THREADS UNROLL
 *   MAX, MEAN, LP     one of them 1; P: the power of LP
 *   ELEMENT, RESULT   types of an element and of a result in registers
 *   SUM LOWEST        the type that is summed in; what every element is at least
 *   bool tap(result, t, x, at)    does tap t of the window count? Then its element goes to *x and,
 *                                 for an arg_max, its place in the operand to *at
 *   store(result, RESULT)         ANSWER: the RESULT that is stored, by the names below
 */
extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t result = (idx_t)blockIdx.x * THREADS + threadIdx.x;
    if (result >= RESULTS)
        return;

#if MAX
    ELEMENT greatest = LOWEST;
    idx_t where = -1;
#else
    SUM sum = 0;
#if MEAN
    int count = 0;
#endif
#endif
#pragma unroll UNROLL
    for (int t = 0; t < TAPS; t++) {
        ELEMENT x;
        idx_t at = 0;
        if (!tap(ARGS, result, t, &x, &at))
            continue;
#if MAX
        const bool greater = where < 0 || x > greatest || (x != x && greatest == greatest);
        greatest = greater ? x : greatest;
        where = greater ? at : where;
#elif MEAN
        sum += x;
        count++;
#else
        const SUM size = x < 0 ? -x : x;
        sum += P == 1 ? size : P == 2 ? size * size : g_pow(size, (SUM)P);
#endif
    }
    store(ARGS, result, ANSWER);
}
