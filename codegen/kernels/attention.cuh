/*
 * What all forms of attention share. The generator prints before this file
 *   PLANES QUERIES KEYS   extents; a plane is a head of an image of the batch
 *   DEPTH WIDTH           elements of a key and of a value
 *   STAT                  what scores and sums are kept in; LOWEST is its -infinity
 *   SCALE                 of products; SOFTCAPPED: then scores stay within SOFTCAP
 *   BIASED MASKED         bias(ARGS, plane, row, key) is added; or it tells which scores count
 *   CAUSAL OFFSET         query i sees the keys up to i + OFFSET
 *   ZERO                  0 for a query that sees no key; else NaN
 *   SPLITS SPLIT          so many blocks share the keys of a query; SPLITS: these may be more than one.
 *                         Then each leaves a part in PARTS, and the last one to arrive, by COUNTERS, joins
 *                         them in their order. Counters are 0 between launches.
 */
static __device__ __forceinline__ float power_of(float a)
{
    return g_power_of_two(a * 1.442695041f);
}

static __device__ __forceinline__ double power_of(double a)
{
    return exp(a);
}

template <class T> static __device__ __forceinline__ T greater_of(T a, T b)
{
    return a > b ? a : b;
}

/* The number of keys that query `row` may see. */
static __device__ __forceinline__ idx_t keys_before(PARAMS, idx_t row)
{
    const idx_t keys = KEYS;
#if CAUSAL
    const idx_t last = row + OFFSET + 1;
    return last < 0 ? 0 : last < keys ? last : keys;
#else
    return keys;
#endif
}

/* From a product to a score, but for what CAUSAL hides. Query and key exist. */
static __device__ __forceinline__ STAT score(PARAMS, idx_t plane, idx_t row, idx_t key,
                                             STAT product)
{
    STAT s = product * SCALE;
#if SOFTCAPPED
    s = SOFTCAP * tanh(s * (1 / SOFTCAP));
#endif
#if BIASED
    s += bias(ARGS, plane, row, key);
#elif MASKED
    s = bias(ARGS, plane, row, key) ? s : LOWEST;
#endif
    return s;
}

/* What sums are relative to: the greatest score, or 0 where no key has been seen. */
template <class T> static __device__ __forceinline__ T base_of(T greatest)
{
    return greatest == LOWEST ? 0 : greatest;
}

/* One by the sum of all powers. */
static __device__ __forceinline__ STAT share_of(PARAMS, STAT sum)
{
    return sum == 0 && (ZERO || KEYS == 0) ? 0 : 1 / sum;
}

#if SPLITS
/* What a block leaves of a query: sums relative to the greatest score; that; and the sum of powers. */
constexpr int part_length = WIDTH + 2;

/* What another multiprocessor wrote: not from this one's cache. */
static __device__ __forceinline__ float load_part(const float *from)
{
    float x;
    asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(x) : "l"(from) : "memory");
    return x;
}

/* True for the block that comes last, which then sees what all left. */
static __device__ __forceinline__ bool is_last_part(PARAMS, idx_t number, idx_t split)
{
    __shared__ unsigned ticket;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        ticket = atomicAdd(COUNTERS + number, 1);
    __syncthreads();
    if (ticket != split - 1)
        return false;
    __threadfence();
    if (threadIdx.x == 0)
        COUNTERS[number] = 0;
    return true;
}

/* A vector of a query's results; its parts lie `pitch` apart. */
template <int VECTOR>
static __device__ __forceinline__ void join_parts(PARAMS, const float *parts, idx_t pitch,
                                                  idx_t split, int vector, float *y)
{
    float most = LOWEST, sum = 0;
#pragma unroll 8
    for (idx_t i = 0; i < split; i++)
        most = greater_of(most, load_part(parts + i * pitch + WIDTH));
#pragma unroll
    for (int j = 0; j < VECTOR; j++)
        y[j] = 0;
#pragma unroll 4
    for (idx_t i = 0; i < split; i++) {
        const float *const part = parts + i * pitch;
        const float factor = power_of(load_part(part + WIDTH) - base_of(most));
        sum += factor * load_part(part + WIDTH + 1);
#pragma unroll
        for (int j = 0; j < VECTOR; j++)
            y[j] += factor * load_part(part + vector * VECTOR + j);
    }
    const float share = share_of(ARGS, sum);
#pragma unroll
    for (int j = 0; j < VECTOR; j++)
        y[j] *= share;
}
#endif
