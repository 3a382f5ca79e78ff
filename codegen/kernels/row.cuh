/*
 * Rows: y[column] from the whole row x, for softmax, log_softmax and normalize. LANES threads work on
 * a row, in vectors of VECTOR neighbouring columns; vector i*LANES + lane is this lane's i-th. Each
 * lane keeps HELD vectors of its row in registers; HELD 0: the row is too long for that, or its
 * length is not known, and it is read again in every pass.
 *
 * Sums are taken of differences to the maximum or to the mean, so nothing overflows or cancels.
 *
 * The generator prints before this file
 *   ROWS LENGTH THREADS LANES VECTOR HELD
 *   STAT LOWEST                                  float, or double for f64; its -infinity
 *   SOFTMAX, LOG_SOFTMAX, NORMALIZE              one of them 1
 *   CENTER EPSILON                               of normalize
 *   load(row, vector, to), store(row, vector, y)
 */
struct row {
    STAT held[HELD ? HELD : 1][VECTOR];

    /* visit(vector, x) for each vector of this lane. */
    template <typename F> __device__ __forceinline__ void each(PARAMS, idx_t r, F visit)
    {
        const int lane = threadIdx.x % LANES;
        if (HELD) {
#pragma unroll
            for (int i = 0; i < HELD; i++)
                if ((i + 1) * LANES * VECTOR <= LENGTH || (i * LANES + lane) * VECTOR < LENGTH)
                    visit((idx_t)(i * LANES + lane), held[i]);
        } else {
            for (idx_t vector = lane; vector * VECTOR < LENGTH; vector += LANES) {
                load(ARGS, r, vector, held[0]);
                visit(vector, held[0]);
            }
        }
    }
};

static __device__ __forceinline__ STAT sum_of(STAT a, STAT b)
{
    return a + b;
}

static __device__ __forceinline__ STAT greater_of(STAT a, STAT b)
{
    return a > b ? a : b;
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    /* Surplus warps go through the motions with the last row: all meet at the barriers. */
    const idx_t own = (idx_t)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const idx_t r = own < ROWS ? own : ROWS - 1;
    row x;
    if (HELD)
        x.each(ARGS, r, [&](idx_t vector, STAT *to) { load(ARGS, r, vector, to); });

#if NORMALIZE
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
    const STAT scale = 1 / g_sqrt(over_lanes(square, sum_of) / (STAT)LENGTH + (STAT)EPSILON);
#else
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
            if (SOFTMAX)
                v[i] = power; /* of a held row: what is left is to divide */
            sum += power;
        }
    });
    sum = over_lanes(sum, sum_of);
    const STAT scale = LOG_SOFTMAX ? g_log(sum) : 1 / sum;
#endif

    if (own >= ROWS)
        return;
    x.each(ARGS, r, [&](idx_t vector, STAT *v) {
        STAT y[VECTOR];
#pragma unroll
        for (int i = 0; i < VECTOR; i++)
#if NORMALIZE
            y[i] = (v[i] - mean) * scale;
#elif LOG_SOFTMAX
            y[i] = v[i] - greatest - scale;
#else
            y[i] = (HELD ? v[i] : g_exp(v[i] - greatest)) * scale;
#endif
        store(ARGS, r, vector, y);
    });
}
