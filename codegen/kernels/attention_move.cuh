/*
 * Attention by tensor cores: how queries, keys and values come to shared memory, and lie there.
 *
 * The generator prints before this file
 *   TYPE WARPS STAGES TILE_KEYS, and what mma.cuh wants
 *   GUARD_KEYS            there may be no whole tiles of keys
 *   K_COPIED V_COPIED     rows are copied: K_ORIGIN, K_STRIDE and row_k(plane, row); else load_k(…)
 */
constexpr int threads = 32 * WARPS, tile_queries = 16 * WARPS;
constexpr int chunk_size = 16 / ELEMENT; /* elements moved at once */
constexpr int step_size = 32 / ELEMENT;  /* elements of depth in an instruction */

/*
 * Rows of EXTENT elements in shared memory, padded to whole MULTIPLEs, and to an odd number of chunks, so
 * that the same chunk of 8 lines lies in all the banks. Chunks are therefore written as they are read: 8
 * neighbouring lanes write one chunk of 8 lines, or 8 neighbouring chunks of one.
 */
template <int EXTENT, int MULTIPLE> struct lines {
    static constexpr int chunks = EXTENT / chunk_size;
    static constexpr int padded = (EXTENT + MULTIPLE - 1) / MULTIPLE * MULTIPLE;
    static constexpr int all_chunks = padded / chunk_size, pitch = (all_chunks | 1) * 16; /* bytes */

    /* What the lanes of a request copy: so many chunks of a line. */
    static constexpr bool long_lines = chunks % 8 == 0;
    static constexpr int across = long_lines ? chunks : chunks % 4 == 0 ? 4 : 2;

    /* Where the i-th chunk of many lines is. */
    static __device__ __forceinline__ int row(int i)
    {
        return long_lines ? i / chunks : i / 8 / chunks * 8 + i % 8;
    }
    static __device__ __forceinline__ int chunk(int i)
    {
        return long_lines ? i % chunks : i / 8 % chunks;
    }

    static __device__ __forceinline__ void clear_padding(char *to, int count)
    {
        constexpr int more = all_chunks - chunks;
        for (int i = threadIdx.x; more > 0 && i < count * more; i += threads)
            *reinterpret_cast<uint4 *>(to + i % count * pitch + (chunks + i / count) * 16) = uint4{};
    }
};
typedef lines<DEPTH, step_size> k_lines;
typedef lines<WIDTH, 16> v_lines;

constexpr int q_bytes = tile_queries * k_lines::pitch, k_bytes = TILE_KEYS * k_lines::pitch;
constexpr int stage_bytes = k_bytes + TILE_KEYS * v_lines::pitch;

/* Where many warps read what has come, each thread first rounds what it copied to tf32. A few of them do it
 * in between, on what they read; and always where f32 is split, which takes both parts. */
constexpr bool rounds_early = ROUND == 1 && WARPS >= 4;

static __device__ __forceinline__ void round_chunk(TYPE *x)
{
    u32 *const bits = reinterpret_cast<u32 *>(x);
    if (rounds_early)
        round_tf32<4>(bits, nullptr);
}

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

/* Every thread copies one chunk of a line, the chunks of it that lie `across` further, and the same of
 * every so many lines after it. */
template <class SIDE, class LINES> struct copied {
    static constexpr int across = LINES::across, per_pass = threads / across;
    static constexpr int passes = (TILE_KEYS + per_pass - 1) / per_pass;
    static constexpr int parts = (LINES::chunks + across - 1) / across;

    const TYPE *next;
    idx_t left;                             /* keys from this thread's first row on */
    char *own; /* where this thread's first chunk goes */
    u32 to;
    int row, chunk;

    __device__ __forceinline__ copied(PARAMS, idx_t plane, char *memory, u32 base)
    {
        const int lane = threadIdx.x;
        chunk = LINES::long_lines ? lane % across : lane / 8 % across;
        row = LINES::long_lines ? lane / across : lane / 8 / across * 8 + lane % 8;
        next = SIDE::origin(ARGS, plane) + row * SIDE::stride(ARGS) + chunk * chunk_size;
        left = KEYS - row;
        to = base + row * LINES::pitch + chunk * 16;
        own = memory + row * LINES::pitch + chunk * 16;
    }

    /* Goes on behind so many keys. */
    __device__ __forceinline__ void skip(PARAMS, idx_t keys)
    {
        next += keys * SIDE::stride(ARGS);
        left -= keys;
    }

    /* f(pass, part) for all chunks of this thread. */
    template <class F> __device__ __forceinline__ void each(F f) const
    {
        if (LINES::long_lines && threads % LINES::chunks != 0 && row >= per_pass)
            return;
#pragma unroll
        for (int i = 0; i < passes; i++)
#pragma unroll
            for (int part = 0; part < parts; part++) {
                if (TILE_KEYS % per_pass != 0 && row + i * per_pass >= TILE_KEYS)
                    continue;
                if ((part + 1) * across > LINES::chunks && chunk + part * across >= LINES::chunks)
                    continue;
                f(i, part);
            }
    }

    template <bool WHOLE> __device__ __forceinline__ void fetch_tile(u32 stage, idx_t stride) const
    {
        each([&](int i, int part) {
            const u32 at = to + stage + i * per_pass * LINES::pitch + part * across * 16;
            const TYPE *const from = next + i * per_pass * stride + part * across * chunk_size;
            if (WHOLE)
                copy_chunk(at, from);
            else
                copy_async<16>(at, from, i * per_pass < left);
        });
    }

    __device__ __forceinline__ void fetch(PARAMS, u32 stage)
    {
        const idx_t stride = SIDE::stride(ARGS);
        if (!GUARD_KEYS || left >= TILE_KEYS - row)
            fetch_tile<true>(stage, stride);
        else
            fetch_tile<false>(stage, stride);
        next += TILE_KEYS * stride;
        left -= TILE_KEYS;
    }

    /* What this thread copied, when it has come. */
    __device__ __forceinline__ void round(u32 stage) const
    {
        each([&](int i, int part) {
            TYPE *const at = reinterpret_cast<TYPE *>(own + stage + i * per_pass * LINES::pitch +
                                                      part * across * 16);
            vec<TYPE, chunk_size> x = load<chunk_size>(at);
            round_chunk(x.at);
            store<TYPE, chunk_size>(at, x);
        });
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

    __device__ __forceinline__ void skip(PARAMS, idx_t keys) { first += keys; }

    __device__ __forceinline__ void fetch(PARAMS, u32 stage)
    {
#pragma unroll 2
        for (int i = threadIdx.x; i < TILE_KEYS * LINES::chunks; i += threads) {
            const int row = LINES::row(i), chunk = LINES::chunk(i);
            vec<TYPE, chunk_size> x{};
            if (first + row < KEYS)
                SIDE::load(ARGS, plane, first + row, chunk, x.at);
            round_chunk(x.at);
            store<TYPE, chunk_size>(
                reinterpret_cast<TYPE *>(to + stage + row * LINES::pitch + chunk * 16), x);
        }
        first += TILE_KEYS;
    }

    __device__ __forceinline__ void round(u32) const {} /* done on the way */
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
        const int row = k_lines::row(i), chunk = k_lines::chunk(i);
        vec<TYPE, chunk_size> x{};
        if (first + row < QUERIES)
            load_q(ARGS, plane, first + row, chunk, x.at);
        round_chunk(x.at);
        store<TYPE, chunk_size>(reinterpret_cast<TYPE *>(to + row * k_lines::pitch + chunk * 16), x);
    }
    k_lines::clear_padding(to, tile_queries);
}
