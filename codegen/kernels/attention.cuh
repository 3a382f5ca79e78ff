/*
 * What all forms of attention share. The generator prints before this file
 *   PLANES QUERIES KEYS   extents; a plane is a head of an image of the batch
 *   DEPTH WIDTH           elements of a key and of a value
 *   STAT                  what scores and sums are kept in; LOWEST is its -infinity
 *   SCALE                 of products; SOFTCAPPED: then scores stay within SOFTCAP
 *   BIASED MASKED         bias(ARGS, plane, row, key) is added; or it tells which scores count
 *   CAUSAL OFFSET         query i sees the keys up to i + OFFSET
 *   ZERO                  0 for a query that sees no key; else NaN
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
