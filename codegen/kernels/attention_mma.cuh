/*
 * Tiles of queries by tensor cores: a warp owns 16 queries, whose scores, powers and sums stay in
 * registers. Tiles of keys and values come to shared memory ahead of time, STAGES of them. The result of
 * the first product lies in registers as the second one wants its left operand; of 32-bit elements it
 * does when each 8 keys are taken in another order, which sums do not see.
 *
 * What keeps the loop short: one base register for all addresses in shared memory, one barrier per tile
 * of keys, the scale inside the exponent (PLAIN), and sums that are only rescaled when a greatest score
 * has risen by more than 8 powers of two: until then powers are at most 256, which halves hold.
 *
 * The generator prints before this file
 *   PACK                  of two floats to halves
 *   PLAIN                 products become scores by the scale alone
 */
constexpr int scores = TILE_KEYS / 8, results = v_lines::padded / 8; /* tiles of 8 columns */
constexpr int result_pitch = v_lines::padded + 8;                    /* floats */
constexpr int depth_steps = k_lines::padded / step_size;
/* Tiles of results whose columns alternate, so that a thread reads as many neighbouring values. */
constexpr int woven = ELEMENT == 2 ? 1 : results % 4 == 0 ? 4 : 2;

/* --- A warp ---------------------------------------------------------------------------------- */

#if ELEMENT == 2
static __device__ __forceinline__ u32 pack(float low, float high)
{
    u32 both;
    asm(PACK " %0, %2, %1;" : "=r"(both) : "f"(low), "f"(high));
    return both;
}
#endif

/* sum += a * b, where `low` is what rounding took from a and b. */
static __device__ __forceinline__ void add_product(float *sum, const u32 *a, const u32 *low_a,
                                                   const u32 *b, const u32 *low_b)
{
    if (ROUND == 2) {
        mma(sum, low_a, b);
        mma(sum, a, low_b);
    }
    mma(sum, a, b);
}

struct warp {
    static constexpr float exponent = 1.442695041f * (PLAIN ? SCALE : 1.0f);

    idx_t plane, row[2], end[2];            /* queries of this thread, and the keys that they see */
    idx_t least, most;                      /* keys that all queries of the warp see; that any does */
    u32 q[ELEMENT == 2 ? depth_steps : 1][4], q_from, k_from, v_from; /* q: halves stay in registers */
    float y[results][4], greatest[2], sum[2];

    __device__ __forceinline__ warp(PARAMS, idx_t plane, idx_t first, u32 stages) : plane(plane)
    {
        const int lane = threadIdx.x % 32;
        first += threadIdx.x / 32 * 16;
        least = keys_before(ARGS, first);
        most = keys_before(ARGS, first + 15);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            row[h] = first + lane / 4 + 8 * h;
            end[h] = keys_before(ARGS, row[h]);
            row[h] = row[h] < QUERIES ? row[h] : QUERIES - 1;
            greatest[h] = LOWEST;
            sum[h] = 0;
        }
        k_from = stages + ((lane & 7) + (lane >> 4 << 3)) * k_lines::pitch + (lane >> 3 & 1) * 16;
        v_from = k_bytes + (ELEMENT == 2 ? stages + (lane & 15) * v_lines::pitch + (lane >> 4) * 16
                                         : lane % 4 * 2 * v_lines::pitch + lane / 4 * woven * 4);
#pragma unroll
        for (int j = 0; j < results; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                y[j][e] = 0;
    }

    __device__ __forceinline__ void load_queries(u32 at)
    {
        const int lane = threadIdx.x % 32;
        q_from = at + (threadIdx.x / 32 * 16 + (lane & 15)) * k_lines::pitch + (lane >> 4) * 16;
#pragma unroll
        for (int k = 0; ELEMENT == 2 && k < depth_steps; k++)
            load_matrices(q[k], q_from + k * 32);
    }

    __device__ __forceinline__ void multiply(u32 stage, float (*s)[4])
    {
#pragma unroll
        for (int j = 0; j < scores; j++)
            s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
#pragma unroll
        for (int k = 0; k < depth_steps; k++) {
            u32 *const a = q[ELEMENT == 2 ? k : 0], low_a[4];
            if (ELEMENT == 4)
                load_matrices(a, q_from + k * 32);
            if (ROUND && !rounds_early)
                round_tf32<4>(a, low_a);
#pragma unroll
            for (int j = 0; j < scores; j += 2) {
                u32 b[4], low_b[4];
                load_matrices(b, k_from + stage + j * 8 * k_lines::pitch + k * 32);
                if (ROUND && !rounds_early)
                    round_tf32<4>(b, low_b);
                add_product(s[j], a, low_a, b, low_b);
                add_product(s[j + 1], a, low_a, b + 2, low_b + 2);
            }
        }
    }

    /* From products to scores; what is hidden is LOWEST. */
    __device__ __forceinline__ void judge(PARAMS, idx_t first, float (*s)[4]) const
    {
        if (PLAIN && ((!GUARD_KEYS && !CAUSAL) || first + TILE_KEYS <= least))
            return;
#pragma unroll
        for (int j = 0; j < scores; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const idx_t key = first + j * 8 + threadIdx.x % 4 * 2 + e % 2;
                const bool seen = key < end[e / 2];
                if (PLAIN)
                    s[j][e] = seen ? s[j][e] : LOWEST;
                else
                    s[j][e] = seen ? score(ARGS, plane, row[e / 2], key, s[j][e]) : LOWEST;
            }
    }

    __device__ __forceinline__ void rescale(const float *now)
    {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float factor = g_power_of_two((greatest[h] - base_of(now[h])) * exponent);
            greatest[h] = now[h];
            sum[h] *= factor;
#pragma unroll
            for (int j = 0; j < results; j++) {
                y[j][2 * h] *= factor;
                y[j][2 * h + 1] *= factor;
            }
        }
    }

    __device__ __forceinline__ void exponentiate(float (*s)[4])
    {
        float now[2] = {greatest[0], greatest[1]};
#pragma unroll
        for (int j = 0; j < scores; j++)
#pragma unroll
            for (int h = 0; h < 2; h++)
                now[h] = fmaxf(now[h], fmaxf(s[j][2 * h], s[j][2 * h + 1]));
#pragma unroll
        for (int h = 0; h < 2; h++) {
            now[h] = fmaxf(now[h], __shfl_xor_sync(~0u, now[h], 1));
            now[h] = fmaxf(now[h], __shfl_xor_sync(~0u, now[h], 2));
        }
        const float rise = fmaxf(now[0] - greatest[0], now[1] - greatest[1]);
        if (__any_sync(~0u, rise * exponent > 8.0f))
            rescale(now);
        const float base[2] = {base_of(greatest[0]), base_of(greatest[1])};
        const float shift[2] = {base[0] * exponent, base[1] * exponent};
#pragma unroll
        for (int j = 0; j < scores; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                /* A bias may be the lowest number, whose product with the exponent is infinite. */
                const float power = PLAIN ? fmaf(s[j][e], exponent, -shift[e / 2])
                                          : (s[j][e] - base[e / 2]) * exponent;
                s[j][e] = g_power_of_two(power);
                sum[e / 2] += s[j][e];
            }
    }

#if ELEMENT == 2
    __device__ __forceinline__ void add_values(const char *, u32 stage, float (*s)[4])
    {
#pragma unroll
        for (int k = 0; k < TILE_KEYS / 16; k++) {
            const float *low = s[2 * k], *high = s[2 * k + 1];
            const u32 p[4] = {pack(low[0], low[1]), pack(low[2], low[3]), pack(high[0], high[1]),
                              pack(high[2], high[3])};
#pragma unroll
            for (int j = 0; j < results; j += 2) {
                u32 b[4];
                load_matrices_transposed(b, v_from + stage + k * 16 * v_lines::pitch + j * 16);
                mma(y[j], p, b);
                mma(y[j + 1], p, b + 2);
            }
        }
    }
#else
    /* Powers of 8 keys: a thread has those of two neighbouring keys, and takes these for the two that
     * the instruction means. */
    __device__ __forceinline__ void add_values(const char *stages, u32 stage, float (*s)[4])
    {
#pragma unroll
        for (int k = 0; k < TILE_KEYS / 8; k++) {
            u32 low_p[4], p[4] = {__float_as_uint(s[k][0]), __float_as_uint(s[k][2]),
                                  __float_as_uint(s[k][1]), __float_as_uint(s[k][3])};
            round_tf32<4>(p, low_p);
#pragma unroll
            for (int j = 0; j < results; j += woven) {
                const char *const at = stages + v_from + stage + k * 8 * v_lines::pitch + j * 32;
                const vec<u32, woven> even = load<woven>(reinterpret_cast<const u32 *>(at));
                const vec<u32, woven> odd =
                    load<woven>(reinterpret_cast<const u32 *>(at + v_lines::pitch));
#pragma unroll
                for (int w = 0; w < woven; w++) {
                    u32 b[2] = {even.at[w], odd.at[w]}, low_b[2];
                    if (!rounds_early)
                        round_tf32<2>(b, low_b);
                    add_product(y[j + w], p, low_p, b, low_b);
                }
            }
        }
    }
#endif

    __device__ __forceinline__ void take(PARAMS, const char *stages, u32 stage, idx_t first)
    {
        float s[scores][4];
        if (CAUSAL && first >= most)
            return;
        multiply(stage, s);
        judge(ARGS, first, s);
        exponentiate(s);
        add_values(stages, stage, s);
    }

    /* Sums of all the keys that were taken, times `factor` of its sum of powers, to shared memory. */
    template <class F> __device__ __forceinline__ void gather_results(float *to, F factor)
    {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            sum[h] += __shfl_xor_sync(~0u, sum[h], 1);
            sum[h] += __shfl_xor_sync(~0u, sum[h], 2);
            const float by = factor(sum[h]);
#pragma unroll
            for (int j = 0; j < results; j += woven) {
                vec<float, 2 * woven> x; /* neighbours: two columns of each tile that is woven */
#pragma unroll
                for (int i = 0; i < 2 * woven; i++)
                    x.at[i] = y[j + i % woven][2 * h + i / woven] * by;
                store<float, 2 * woven>(
                    &to[(lane / 4 + 8 * h) * result_pitch + j * 8 + lane % 4 * 2 * woven], x);
            }
        }
        __syncwarp();
    }

    /* f(row, chunk, elements) for each chunk of the warp's results in shared memory. */
    template <class F> __device__ __forceinline__ void each_chunk(const float *from, F f) const
    {
#pragma unroll 2
        for (int i = threadIdx.x % 32; i < 16 * v_lines::chunks; i += 32) {
            const int own = i / v_lines::chunks, chunk = i % v_lines::chunks;
            float x[chunk_size];
#pragma unroll
            for (int part = 0; part < chunk_size; part += 4) {
                const vec<float, 4> piece =
                    load<4>(&from[own * result_pitch + chunk * chunk_size + part]);
#pragma unroll
                for (int j = 0; j < 4; j++)
                    x[part + j] = piece.at[j];
            }
            f(own, chunk, x);
        }
    }

    /* Results change lanes in shared memory, so that each stores whole chunks. first: of the warp. */
    __device__ __forceinline__ void finish(PARAMS, float *memory, idx_t first)
    {
        gather_results(memory, [&](float sum) { return share_of(ARGS, sum); });
        each_chunk(memory, [&](int own, int chunk, const float *x) {
            if (first + own < QUERIES)
                ::store(ARGS, plane, first + own, chunk, x);
        });
    }

#if SPLITS
    /* Not the last of the keys: sums as they are. */
    __device__ __forceinline__ void leave(PARAMS, float *memory, idx_t first, float *part)
    {
        const int lane = threadIdx.x % 32;
        gather_results(memory, [](float) { return 1.0f; });
        each_chunk(memory, [&](int own, int chunk, const float *x) {
            if (first + own < QUERIES)
                for (int j = 0; j < chunk_size; j++)
                    part[own * part_length + chunk * chunk_size + j] = x[j];
        });
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float *const own = part + (lane / 4 + 8 * h) * part_length;
            if (lane % 4 == 0 && first + lane / 4 + 8 * h < QUERIES) {
                own[WIDTH] = PLAIN ? greatest[h] * SCALE : greatest[h];
                own[WIDTH + 1] = sum[h];
            }
        }
    }
#endif
};

#if SPLITS
/* The results of a tile of queries from its parts. */
static __device__ __forceinline__ void join(PARAMS, const float *parts, idx_t split, idx_t plane,
                                            idx_t first)
{
    for (int i = threadIdx.x; i < tile_queries * v_lines::chunks; i += threads) {
        const int own = i / v_lines::chunks, chunk = i % v_lines::chunks;
        float x[chunk_size];
        if (first + own < QUERIES) {
            join_parts<chunk_size>(ARGS, parts + own * part_length, tile_queries * part_length,
                                   split, chunk, x);
            store(ARGS, plane, first + own, chunk, x);
        }
    }
}
#endif

/* One block at least: the compiler then spills nothing to make room for more. */
extern "C" __global__ void __launch_bounds__(threads, 1) KERNEL(PARAMS)
{
    extern __shared__ __align__(128) char memory[];
    const u32 base = (u32)__cvta_generic_to_shared(memory);
    const idx_t tiles = (QUERIES + tile_queries - 1) / tile_queries;
    const idx_t split = SPLITS ? SPLIT : 1, whole = blockIdx.x / split;
    const idx_t plane = whole / tiles, number = whole % tiles;
    /* Those with the most keys first. */
    const idx_t first = (CAUSAL ? tiles - 1 - number : number) * tile_queries;
    const idx_t last = first + tile_queries < QUERIES ? first + tile_queries : QUERIES;
    const idx_t end = keys_before(ARGS, last - 1), all = (end + TILE_KEYS - 1) / TILE_KEYS;
    /* This block's tiles of keys: from `start` on, before n. */
    const idx_t own = (all + split - 1) / split, start = SPLITS ? blockIdx.x % split * own : 0;
    const idx_t n = start + own < all ? start + own : all;

    k_mover k(ARGS, plane, memory + q_bytes, base + q_bytes);
    v_mover v(ARGS, plane, memory + q_bytes + k_bytes, base + q_bytes + k_bytes);
#if SPLITS
    k.skip(ARGS, start * TILE_KEYS);
    v.skip(ARGS, start * TILE_KEYS);
#endif
#pragma unroll
    for (int i = 0; i < STAGES; i++) {
        k_lines::clear_padding(memory + q_bytes + i * stage_bytes, TILE_KEYS);
        v_lines::clear_padding(memory + q_bytes + k_bytes + i * stage_bytes, TILE_KEYS);
    }
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (start + i < n) {
            k.fetch(ARGS, i * stage_bytes);
            v.fetch(ARGS, i * stage_bytes);
        }
        copy_commit();
    }
    fetch_queries(ARGS, plane, first, memory);
    warp my(ARGS, plane, first, base + q_bytes);
    __syncthreads();
    my.load_queries(base);

    u32 reading = 0, writing = (STAGES - 1) * stage_bytes;
#pragma unroll 1
    for (idx_t i = start; i < n; i++) {
        copy_wait<STAGES - 2>();
        if (rounds_early) {
            k.round(reading);
            v.round(reading);
        }
        __syncthreads(); /* tile i has come, tile i - 1 has been read by all */
        if (i + STAGES - 1 < n) {
            k.fetch(ARGS, writing);
            v.fetch(ARGS, writing);
        }
        copy_commit();
        my.take(ARGS, memory + q_bytes, reading, i * TILE_KEYS);
        reading = reading == (STAGES - 1) * stage_bytes ? 0 : reading + stage_bytes;
        writing = writing == (STAGES - 1) * stage_bytes ? 0 : writing + stage_bytes;
    }
    copy_wait<0>();
    __syncthreads();
    const int row = threadIdx.x / 32 * 16; /* the warp's first query */
    float *const results_of_warp = reinterpret_cast<float *>(memory) + row * result_pitch;
#if SPLITS
    if (split > 1) {
        float *const parts = PARTS + (long long)whole * split * tile_queries * part_length;
        my.leave(ARGS, results_of_warp, first + row,
                 parts + (blockIdx.x % split * tile_queries + row) * part_length);
        if (is_last_part(ARGS, whole, split))
            join(ARGS, parts, split, plane, first);
        return;
    }
#endif
    my.finish(ARGS, results_of_warp, first + row);
}
