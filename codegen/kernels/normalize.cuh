/*
 * normalize: (x - mean) / √(variance + EPSILON), where variance is summed of differences to the
 * mean, in a pass of its own, so that nothing cancels. CENTER 0: the mean is taken as 0 (root mean
 * square). For the rest see row.cuh.
 */
extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t own = own_row(), r = own < ROWS ? own : ROWS - 1;
    row x;
    x.hold(ARGS, r);

    STAT mean = 0, square = 0;
    if (CENTER) {
        x.each(ARGS, r, [&](idx_t, STAT *v) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++)
                mean += v[i];
        });
        mean = over_lanes(mean, sum_of) / (STAT)LENGTH;
    }
    x.each(ARGS, r, [&](idx_t, STAT *v) {
#pragma unroll
        for (int i = 0; i < VECTOR; i++)
            square += (v[i] - mean) * (v[i] - mean);
    });
    const STAT variance = over_lanes(square, sum_of) / (STAT)LENGTH;
    if (own >= ROWS)
        return;

    const STAT scale = 1 / g_sqrt(variance + (STAT)EPSILON);
    x.each(ARGS, r, [&](idx_t vector, STAT *v) {
        STAT y[VECTOR];
#pragma unroll
        for (int i = 0; i < VECTOR; i++)
            y[i] = (v[i] - mean) * scale;
        store(ARGS, r, vector, y);
    });
}
