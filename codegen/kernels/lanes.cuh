/*
 * LANES threads work on one result: 1, a warp (32), or the whole block. over_lanes combines what
 * each of them has; all of them get the same combination, made in the same order in every run.
 * combine must be commutative.
 */
template <typename T> static __device__ __forceinline__ T from_lane_at(T x, int distance)
{
    return (T)__shfl_xor_sync(~0u, x, distance);
}

template <typename T, typename F> static __device__ __forceinline__ T over_lanes(T x, F combine)
{
#pragma unroll
    for (int distance = (LANES < 32 ? LANES : 32) / 2; distance > 0; distance /= 2)
        x = combine(x, from_lane_at(x, distance));
    if (LANES > 32) {
        __shared__ T of_warp[(LANES + 31) / 32];
        __syncthreads(); /* the one before may still be read */
        if (threadIdx.x % 32 == 0)
            of_warp[threadIdx.x / 32] = x;
        __syncthreads();
        x = of_warp[0];
#pragma unroll
        for (int i = 1; i < LANES / 32; i++)
            x = combine(x, of_warp[i]);
    }
    return x;
}
