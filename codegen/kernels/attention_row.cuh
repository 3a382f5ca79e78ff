/*
 * One query a block. LANES threads take a key together, each K_VECTOR elements at a time, and keep
 * the sums of their keys' values; what the groups of threads have is joined at the end. Every group
 * has a greatest score of its own until then.
 */
constexpr int warps = THREADS / 32;
constexpr int groups = THREADS / LANES; /* keys at once */
constexpr int k_vectors = DEPTH / K_VECTOR, v_vectors = WIDTH / V_VECTOR;
constexpr int k_own = (k_vectors + LANES - 1) / LANES, v_own = (v_vectors + LANES - 1) / LANES;

template <class F> static __device__ __forceinline__ STAT over_groups(STAT x, F combine)
{
#pragma unroll
    for (int distance = LANES; distance < 32; distance *= 2)
        x = combine(x, (STAT)__shfl_xor_sync(~0u, x, distance));
    return x;
}

struct query {
    idx_t plane, row;
    int lane; /* of LANES */
    STAT q[k_own][K_VECTOR], y[v_own][V_VECTOR];
    STAT greatest, sum;

    __device__ __forceinline__ query(PARAMS, idx_t number)
        : plane(number / QUERIES), row(number % QUERIES), lane(threadIdx.x % LANES),
          greatest(LOWEST), sum(0)
    {
#pragma unroll
        for (int i = 0; i < k_own; i++)
            if (k_vectors % LANES == 0 || lane + i * LANES < k_vectors)
                load_q(ARGS, plane, row, lane + i * LANES, q[i]);
#pragma unroll
        for (int i = 0; i < v_own; i++)
#pragma unroll
            for (int j = 0; j < V_VECTOR; j++)
                y[i][j] = 0;
    }

    __device__ __forceinline__ STAT product(PARAMS, idx_t key) const
    {
        STAT s = 0;
#pragma unroll
        for (int i = 0; i < k_own; i++)
            if (k_vectors % LANES == 0 || lane + i * LANES < k_vectors) {
                STAT k[K_VECTOR];
                load_k(ARGS, plane, key, lane + i * LANES, k);
#pragma unroll
                for (int j = 0; j < K_VECTOR; j++)
                    s += q[i][j] * k[j];
            }
        return s;
    }

    __device__ __forceinline__ void rescale(STAT base)
    {
        const STAT factor = power_of(greatest - base);
        sum *= factor;
#pragma unroll
        for (int i = 0; i < v_own; i++)
#pragma unroll
            for (int j = 0; j < V_VECTOR; j++)
                y[i][j] *= factor;
    }

    __device__ __forceinline__ void add(PARAMS, idx_t key, STAT power)
    {
        sum += power;
#pragma unroll
        for (int i = 0; i < v_own; i++)
            if (v_vectors % LANES == 0 || lane + i * LANES < v_vectors) {
                STAT v[V_VECTOR];
                load_v(ARGS, plane, key, lane + i * LANES, v);
#pragma unroll
                for (int j = 0; j < V_VECTOR; j++)
                    y[i][j] += power * v[j];
            }
    }

    /* BATCH keys of every group, from `first` on; those from `end` on do not count. All threads of
     * a warp come here together. */
    __device__ __forceinline__ void take(PARAMS, idx_t first, idx_t end)
    {
        STAT s[BATCH], now = greatest;
        const idx_t own = first + threadIdx.x / LANES;
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            s[i] = own + i * groups < end ? product(ARGS, own + i * groups) : (STAT)0;
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
#pragma unroll
            for (int distance = LANES / 2; distance > 0; distance /= 2)
                s[i] += (STAT)__shfl_xor_sync(~0u, s[i], distance);
            const idx_t key = own + i * groups;
            s[i] = key < end ? score(ARGS, plane, row, key, s[i]) : LOWEST;
            now = greater_of(now, s[i]);
        }
        const STAT base = base_of(now);
        rescale(base);
        greatest = now;
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (own + i * groups < end)
                add(ARGS, own + i * groups, power_of(s[i] - base));
    }
};

#if SPLITS
static __device__ __forceinline__ void leave_part(float *to, const float (*sums)[WIDTH],
                                                  float greatest, float sum)
{
    for (int i = threadIdx.x; i < WIDTH; i += THREADS) {
        float y = 0;
#pragma unroll
        for (int w = 0; w < warps; w++)
            y += sums[w][i];
        to[i] = y;
    }
    if (threadIdx.x == 0) {
        to[WIDTH] = greatest;
        to[WIDTH + 1] = sum;
    }
}

static __device__ __forceinline__ void join(PARAMS, const float *parts, idx_t split, idx_t plane,
                                            idx_t row)
{
    for (int vector = threadIdx.x; vector < v_vectors; vector += THREADS) {
        float y[V_VECTOR];
        join_parts<V_VECTOR>(ARGS, parts, part_length, split, vector, y);
        store(ARGS, plane, row, vector, y);
    }
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    extern __shared__ __align__(16) char memory[];
    __shared__ STAT of_warp[2][warps];
    STAT(&sums)[warps][WIDTH] = *reinterpret_cast<STAT(*)[warps][WIDTH]>(memory);
    const int warp = threadIdx.x / 32;

    const idx_t split = SPLITS ? SPLIT : 1, number = blockIdx.x / split;
    query my(ARGS, number);
    const idx_t keys = keys_before(ARGS, my.row), step = groups * BATCH;
    const idx_t share_keys = (keys + split * step - 1) / (split * step) * step;
    const idx_t from = blockIdx.x % split * share_keys;
    const idx_t end = from + share_keys > keys ? keys : from + share_keys;
    for (idx_t first = from; first < end; first += step)
        my.take(ARGS, first, end);

    STAT most = over_groups(my.greatest, greater_of<STAT>);
    if (threadIdx.x % 32 == 0)
        of_warp[0][warp] = most;
    __syncthreads();
    most = of_warp[0][0];
#pragma unroll
    for (int i = 1; i < warps; i++)
        most = greater_of(most, of_warp[0][i]);

    my.rescale(base_of(most));
    auto plus = [](STAT a, STAT b) { return a + b; };
    my.sum = over_groups(my.sum, plus);
    if (threadIdx.x % 32 == 0)
        of_warp[1][warp] = my.sum;
#pragma unroll
    for (int i = 0; i < v_own; i++)
#pragma unroll
        for (int j = 0; j < V_VECTOR; j++) {
            const STAT y = over_groups(my.y[i][j], plus);
            const int vector = my.lane + i * LANES;
            if (threadIdx.x % 32 < LANES && vector < v_vectors)
                sums[warp][vector * V_VECTOR + j] = y;
        }
    __syncthreads();

    STAT sum = 0;
#pragma unroll
    for (int i = 0; i < warps; i++)
        sum += of_warp[1][i];
#if SPLITS
    if (split > 1) {
        float *const parts = PARTS + (long long)number * split * part_length;
        leave_part(parts + blockIdx.x % split * part_length, sums, most, sum);
        if (is_last_part(ARGS, number, split))
            join(ARGS, parts, split, my.plane, my.row);
        return;
    }
#endif
    const STAT share = share_of(ARGS, sum);
    for (int vector = threadIdx.x; vector < v_vectors; vector += THREADS) {
        STAT y[V_VECTOR];
#pragma unroll
        for (int j = 0; j < V_VECTOR; j++) {
            y[j] = 0;
#pragma unroll
            for (int i = 0; i < warps; i++)
                y[j] += sums[i][vector * V_VECTOR + j];
            y[j] *= share;
        }
        store(ARGS, my.plane, my.row, vector, y);
    }
}
