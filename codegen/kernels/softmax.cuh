/*
 * softmax: exp(x - greatest) / Σ exp(x - greatest), or with LOG its logarithm. Nothing overflows,
 * since no exponent is above 0. LOWEST: the -infinity of STAT. For the rest see row.cuh.
 */
static __device__ __forceinline__ STAT greater_of(STAT a, STAT b)
{
    return a > b ? a : b;
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t own = own_row(), r = own < ROWS ? own : ROWS - 1;
    row x;
    x.hold(ARGS, r);

    STAT greatest = LOWEST, sum = 0;
    x.each(ARGS, r, [&](idx_t, STAT *v) {
#pragma unroll
        for (int i = 0; i < VECTOR; i++)
            greatest = greater_of(greatest, v[i]);
    });
    greatest = over_lanes(greatest, greater_of);

    x.each(ARGS, r, [&](idx_t, STAT *v) {
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            const STAT power = g_exp(v[i] - greatest);
            if (!LOG)
                v[i] = power; /* in a held row: what is left is to divide */
            sum += power;
        }
    });
    sum = over_lanes(sum, sum_of);
    if (own >= ROWS)
        return;

    const STAT scale = LOG ? g_log(sum) : 1 / sum;
    x.each(ARGS, r, [&](idx_t vector, STAT *v) {
        STAT y[VECTOR];
#pragma unroll
        for (int i = 0; i < VECTOR; i++)
            if (LOG)
                y[i] = v[i] - greatest - scale;
            else
                y[i] = (HELD ? v[i] : g_exp(v[i] - greatest)) * scale;
        store(ARGS, r, vector, y);
    });
}
