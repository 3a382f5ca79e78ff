/* Lanes exchange pairs member by member. g_pair: see prelude.cuh. For lanes.cuh, which stands before. */
template <class A, class B>
static __device__ __forceinline__ g_pair<A, B> from_lane_at(g_pair<A, B> x, int distance)
{
    return g_pair<A, B>{from_lane_at(x.a, distance), from_lane_at(x.b, distance)};
}
