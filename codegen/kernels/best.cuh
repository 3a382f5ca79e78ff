/*
 * Partial results of arg_max and arg_min: an element and where it is. The generator prints before
 * this file
 *   KEY, PLACE   their types
 *   BEATS        does a win over b? A NaN beats every number.
 *   LAST         1: of equal elements the last counts, 0: the first
 */
struct best {
    KEY x;
    PLACE at; /* what stands for no element loses every tie */
};

static __device__ __forceinline__ bool beats(KEY a, KEY b)
{
    return BEATS;
}

static __device__ __forceinline__ best better(best a, best b)
{
    if (beats(a.x, b.x))
        return a;
    if (beats(b.x, a.x))
        return b;
    return (LAST ? a.at > b.at : a.at < b.at) ? a : b;
}

static __device__ __forceinline__ best from_lane_at(best a, int distance)
{
    return best{(KEY)__shfl_xor_sync(~0u, a.x, distance),
                __shfl_xor_sync(~0u, a.at, distance)};
}
