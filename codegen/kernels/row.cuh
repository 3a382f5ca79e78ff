/*
 * Rows, for softmax.cuh and normalize.cuh: LANES threads work on a row, in vectors of VECTOR
 * neighbours; vector i*LANES + lane is this lane's i-th. Each lane keeps HELD vectors of its row in
 * registers; HELD 0: the row is too long for that, or its length is not known, and it is read again
 * in every pass.
 *
 * The generator prints before this file
 *   ROWS LENGTH THREADS LANES VECTOR HELD
 *   STAT         what is computed in: float, or double for f64
 *   load(row, vector, to), store(row, vector, y)
 */
struct row {
    STAT held[HELD ? HELD : 1][VECTOR];

    __device__ __forceinline__ void hold(PARAMS, idx_t r)
    {
        if (HELD)
            each(ARGS, r, [&](idx_t vector, STAT *to) { load(ARGS, r, vector, to); });
    }

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

/* This thread's row. Those beyond the last go through the motions with the last, and store
 * nothing: all threads of a block must meet at the barriers. */
static __device__ __forceinline__ idx_t own_row()
{
    return (idx_t)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
}

static __device__ __forceinline__ STAT sum_of(STAT a, STAT b)
{
    return a + b;
}
