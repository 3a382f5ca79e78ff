/*
 * Tiles of queries by tensor cores: a warp owns 16 queries, whose scores, powers and sums stay in
 * registers. Tiles of keys and values come to shared memory ahead of time, STAGES of them. The result of
 * the first product lies in registers as the second one wants its left operand.
 *
 * What keeps the loop short: one base register for all addresses in shared memory, one barrier per tile
 * of keys, the scale inside the exponent (PLAIN), and sums that are only rescaled when a greatest score
 * has risen by more than 8 powers of two: until then powers are at most 256, which halves hold.
 *
 * The generator prints before this file
 *   TYPE PACK WARPS STAGES TILE_KEYS PLAIN
 *   GUARD_KEYS            there may be no whole tiles of keys
 *   K_COPIED V_COPIED     rows are copied: K_ORIGIN, K_STRIDE and row_k(plane, row); else load_k(…)
 */
constexpr int threads = 32 * WARPS, tile_queries = 16 * WARPS;

/* Rows of EXTENT elements in shared memory: padded to whole steps of 16, and to an odd number of chunks,
 * so that the same chunk of 8 lines lies in all the banks. */
template <int EXTENT> struct lines {
    static constexpr int chunks = EXTENT / 8, padded = (EXTENT + 15) / 16 * 16;
    static constexpr int pitch = (padded / 8 | 1) * 16; /* bytes */

    static __device__ __forceinline__ void clear_padding(char *to, int count)
    {
        if (padded > EXTENT)
            for (int i = threadIdx.x; i < count; i += threads)
                *reinterpret_cast<uint4 *>(to + i * pitch + chunks * 16) = uint4{};
    }
};
typedef lines<DEPTH> k_lines;
typedef lines<WIDTH> v_lines;

constexpr int q_bytes = tile_queries * k_lines::pitch, k_bytes = TILE_KEYS * k_lines::pitch;
constexpr int stage_bytes = k_bytes + TILE_KEYS * v_lines::pitch;
constexpr int scores = TILE_KEYS / 8, results = v_lines::padded / 8; /* tiles of 8 columns */
constexpr int result_pitch = v_lines::padded + 8;                    /* floats */

/* --- Keys and values ------------------------------------------------------------------------- */

#if K_COPIED
struct side_k {
    static __device__ __forceinline__ const TYPE *origin(PARAMS, idx_t plane)
    {
        return K_ORIGIN + row_k(ARGS, plane, 0);
    }
    static __device__ __forceinline__ idx_t stride(PARAMS) { return K_STRIDE; }
};
#else
struct side_k {
    static __device__ __forceinline__ void load(PARAMS, idx_t plane, idx_t row, int chunk, TYPE *to)
    {
        load_k(ARGS, plane, row, chunk, to);
    }
};
#endif
#if V_COPIED
struct side_v {
    static __device__ __forceinline__ const TYPE *origin(PARAMS, idx_t plane)
    {
        return V_ORIGIN + row_v(ARGS, plane, 0);
    }
    static __device__ __forceinline__ idx_t stride(PARAMS) { return V_STRIDE; }
};
#else
struct side_v {
    static __device__ __forceinline__ void load(PARAMS, idx_t plane, idx_t row, int chunk, TYPE *to)
    {
        load_v(ARGS, plane, row, chunk, to);
    }
};
#endif

static __device__ __forceinline__ void copy_chunk(u32 to, const TYPE *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from));
}

/* Every thread copies one chunk of a line, and the same chunk of every so many lines after it. */
template <class SIDE, class LINES> struct copied {
    static constexpr int per_pass = threads / LINES::chunks;
    static constexpr int passes = (TILE_KEYS + per_pass - 1) / per_pass;

    const TYPE *next;
    idx_t left;                             /* keys from this thread's first row on */
    u32 to;
    int row;

    __device__ __forceinline__ copied(PARAMS, idx_t plane, char *, u32 base)
    {
        const int chunk = threadIdx.x % LINES::chunks;
        row = threadIdx.x / LINES::chunks;
        next = SIDE::origin(ARGS, plane) + row * SIDE::stride(ARGS) + chunk * 8;
        left = KEYS - row;
        to = base + row * LINES::pitch + chunk * 16;
    }

    __device__ __forceinline__ void fetch(PARAMS, u32 stage)
    {
        const idx_t stride = SIDE::stride(ARGS);
        if (threads % LINES::chunks != 0 && row >= per_pass)
            return;
        if (!GUARD_KEYS || left >= TILE_KEYS - row) {
#pragma unroll
            for (int i = 0; i < passes; i++)
                if (TILE_KEYS % per_pass == 0 || row + i * per_pass < TILE_KEYS)
                    copy_chunk(to + stage + i * per_pass * LINES::pitch, next + i * per_pass * stride);
        } else {
#pragma unroll
            for (int i = 0; i < passes; i++)
                if (TILE_KEYS % per_pass == 0 || row + i * per_pass < TILE_KEYS)
                    copy_async<16>(to + stage + i * per_pass * LINES::pitch,
                                   next + i * per_pass * stride, i * per_pass < left);
        }
        next += TILE_KEYS * stride;
        left -= TILE_KEYS;
    }
};

/* What is computed, or lies badly in memory, passes through registers. */
template <class SIDE, class LINES> struct carried {
    idx_t plane, first;
    char *to;

    __device__ __forceinline__ carried(PARAMS, idx_t plane, char *base, u32)
        : plane(plane), first(0), to(base)
    {
    }

    __device__ __forceinline__ void fetch(PARAMS, u32 stage)
    {
#pragma unroll 2
        for (int i = threadIdx.x; i < TILE_KEYS * LINES::chunks; i += threads) {
            const int row = i / LINES::chunks, chunk = i % LINES::chunks;
            vec<TYPE, 8> x{};
            if (first + row < KEYS)
                SIDE::load(ARGS, plane, first + row, chunk, x.at);
            store<TYPE, 8>(reinterpret_cast<TYPE *>(to + stage + row * LINES::pitch + chunk * 16), x);
        }
        first += TILE_KEYS;
    }
};

#if K_COPIED
typedef copied<side_k, k_lines> k_mover;
#else
typedef carried<side_k, k_lines> k_mover;
#endif
#if V_COPIED
typedef copied<side_v, v_lines> v_mover;
#else
typedef carried<side_v, v_lines> v_mover;
#endif

static __device__ __forceinline__ void fetch_queries(PARAMS, idx_t plane, idx_t first, char *to)
{
#pragma unroll 2
    for (int i = threadIdx.x; i < tile_queries * k_lines::chunks; i += threads) {
        const int row = i / k_lines::chunks, chunk = i % k_lines::chunks;
        vec<TYPE, 8> x{};
        if (first + row < QUERIES)
            load_q(ARGS, plane, first + row, chunk, x.at);
        store<TYPE, 8>(reinterpret_cast<TYPE *>(to + row * k_lines::pitch + chunk * 16), x);
    }
    k_lines::clear_padding(to, tile_queries);
}

/* --- A warp ---------------------------------------------------------------------------------- */

static __device__ __forceinline__ u32 pack(float low, float high)
{
    u32 both;
    asm(PACK " %0, %2, %1;" : "=r"(both) : "f"(low), "f"(high));
    return both;
}

struct warp {
    static constexpr float exponent = 1.442695041f * (PLAIN ? SCALE : 1.0f);

    idx_t plane, row[2], end[2];            /* queries of this thread, and the keys that they see */
    idx_t least, most;                      /* keys that all queries of the warp see; that any does */
    u32 q[k_lines::padded / 16][4], k_from, v_from;
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
        v_from = stages + k_bytes + (lane & 15) * v_lines::pitch + (lane >> 4) * 16;
#pragma unroll
        for (int j = 0; j < results; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                y[j][e] = 0;
    }

    __device__ __forceinline__ void load_queries(u32 at)
    {
        const int lane = threadIdx.x % 32;
        at += (threadIdx.x / 32 * 16 + (lane & 15)) * k_lines::pitch + (lane >> 4) * 16;
#pragma unroll
        for (int k = 0; k < k_lines::padded / 16; k++)
            load_matrices(q[k], at + k * 32);
    }

    __device__ __forceinline__ void multiply(u32 stage, float (*s)[4]) const
    {
#pragma unroll
        for (int j = 0; j < scores; j++)
            s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
#pragma unroll
        for (int k = 0; k < k_lines::padded / 16; k++)
#pragma unroll
            for (int j = 0; j < scores; j += 2) {
                u32 b[4];
                load_matrices(b, k_from + stage + j * 8 * k_lines::pitch + k * 32);
                mma(s[j], q[k], b);
                mma(s[j + 1], q[k], b + 2);
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

    __device__ __forceinline__ void add_values(u32 stage, float (*s)[4])
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

    __device__ __forceinline__ void take(PARAMS, u32 stage, idx_t first)
    {
        float s[scores][4];
        if (CAUSAL && first >= most)
            return;
        multiply(stage, s);
        judge(ARGS, first, s);
        exponentiate(s);
        add_values(stage, s);
    }

    /* Results change lanes in shared memory, so that each stores whole chunks. */
    __device__ __forceinline__ void finish(PARAMS, float *to, idx_t first)
    {
        const int lane = threadIdx.x % 32;
        to += threadIdx.x / 32 * 16 * result_pitch;
        first += threadIdx.x / 32 * 16;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            sum[h] += __shfl_xor_sync(~0u, sum[h], 1);
            sum[h] += __shfl_xor_sync(~0u, sum[h], 2);
            const float share = share_of(ARGS, sum[h]);
#pragma unroll
            for (int j = 0; j < results; j++)
                store<float, 2>(&to[(lane / 4 + 8 * h) * result_pitch + j * 8 + lane % 4 * 2],
                                {y[j][2 * h] * share, y[j][2 * h + 1] * share});
        }
        __syncwarp();
#pragma unroll 2
        for (int i = lane; i < 16 * v_lines::chunks; i += 32) {
            const int own = i / v_lines::chunks, chunk = i % v_lines::chunks;
            float x[8];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const vec<float, 4> piece = load<4>(&to[own * result_pitch + chunk * 8 + half * 4]);
#pragma unroll
                for (int j = 0; j < 4; j++)
                    x[half * 4 + j] = piece.at[j];
            }
            if (first + own < QUERIES)
                ::store(ARGS, plane, first + own, chunk, x);
        }
    }
};

extern "C" __global__ void __launch_bounds__(threads) KERNEL(PARAMS)
{
    extern __shared__ __align__(128) char memory[];
    const u32 base = (u32)__cvta_generic_to_shared(memory);
    const idx_t tiles = (QUERIES + tile_queries - 1) / tile_queries;
    const idx_t plane = blockIdx.x / tiles, number = blockIdx.x % tiles;
    /* Those with the most keys first. */
    const idx_t first = (CAUSAL ? tiles - 1 - number : number) * tile_queries;
    const idx_t last = first + tile_queries < QUERIES ? first + tile_queries : QUERIES;
    const idx_t end = keys_before(ARGS, last - 1), n = (end + TILE_KEYS - 1) / TILE_KEYS;

    k_mover k(ARGS, plane, memory + q_bytes, base + q_bytes);
    v_mover v(ARGS, plane, memory + q_bytes + k_bytes, base + q_bytes + k_bytes);
#pragma unroll
    for (int i = 0; i < STAGES; i++) {
        k_lines::clear_padding(memory + q_bytes + i * stage_bytes, TILE_KEYS);
        v_lines::clear_padding(memory + q_bytes + k_bytes + i * stage_bytes, TILE_KEYS);
    }
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < n) {
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
    for (idx_t i = 0; i < n; i++) {
        copy_wait<STAGES - 2>();
        __syncthreads(); /* tile i has come, tile i - 1 has been read by all */
        if (i + STAGES - 1 < n) {
            k.fetch(ARGS, writing);
            v.fetch(ARGS, writing);
        }
        copy_commit();
        my.take(ARGS, reading, i * TILE_KEYS);
        reading = reading == (STAGES - 1) * stage_bytes ? 0 : reading + stage_bytes;
        writing = writing == (STAGES - 1) * stage_bytes ? 0 : writing + stage_bytes;
    }
    copy_wait<0>();
    __syncthreads();
    my.finish(ARGS, reinterpret_cast<float *>(memory), first);
}
