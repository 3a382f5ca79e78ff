/*
 * C[batch][m][n] = Σ_k A[batch][m][k] · B[batch][k][n] by the tensor cores (mma.cuh).
 *
 * A block computes a tile of TILE_M x TILE_N results, a warp WARP_M x WARP_N of them. K is walked
 * in tiles of DEPTH. STAGES tiles of both operands are in shared memory or on their way: while one
 * is multiplied, the copies of the one STAGES - 1 behind it are started. A tile costs one wait and
 * one barrier, which stand before its last step: that step already loads the first fragments of the
 * next tile, so that the tensor cores never wait for a barrier.
 *
 * SPLIT blocks share the depth of one tile. Each leaves its sums in parts; the last one to arrive,
 * by the tile's counter, adds them in order, stores the results and sets the counter back to 0.
 *
 * The generator prints before this file
 *   BATCHES EXTENT_M EXTENT_N EXTENT_K    sizes; GUARD_M, GUARD_N, GUARD_K: tiles stick out there
 *   TILE_M TILE_N WARP_M WARP_N DEPTH STAGES SPLIT THREADS
 *   MOVE_A, MOVE_B    how operands come into shared memory: copied<…>, tapped<…> or carried<…>
 *   A_ALONG_K, B_ALONG_K    what is contiguous there: K, or M and N
 *   A_TYPE A_COPY A_PIECE A_LINEAR A_MEMORY_ALONG_K, and of B    see contract_move.cuh
 *   A_ROUNDED, B_ROUNDED    needs no rounding on the way
 *   A_ORIGIN A_ROW_STRIDE A_K_STRIDE row_a(batch, row), and of B    if it is copied
 *   load_a(batch, row, k, to), and of B                             if it is carried
 *   AXES CHANNELS PADDED TAPS DILATIONS TAP_STRIDES IMAGE MARGIN first_tap_a(batch, row, at)
 *                     if A is an image, see contract_taps.cuh
 *   WINDOWS           if A is made by this kernel, see contract_windows.cuh: no MOVE_A then
 *   COMMIT() WAIT() WAIT_ALL()    of the copies, if there are any
 *   PARTS, COUNTERS   with SPLIT > 1: memory for them; the counters are 0 between launches
 *   ROUNDS            how often the warps put sums into shared memory for store
 *   store(batch, m, n, sum)    C_VECTOR neighbours along N, or along M with C_ALONG_M; that index
 *                              counts vectors
 *   WINDOW            if so many neighbouring rows are reduced to one, see contract_window.cuh
 *   POOLED            if rows are reduced to one: terms and another store, see contract_pool.cuh
 */
#define DEPTH_BYTES (DEPTH * ELEMENT)
#define WARPS_M (TILE_M / WARP_M)
#define GROUPS (WARP_M / 16)
#define COLUMNS (WARP_N / 8)

typedef shared_tile<TILE_M, DEPTH_BYTES, A_ALONG_K> tile_a;
typedef shared_tile<TILE_N, DEPTH_BYTES, B_ALONG_K> tile_b;

/* What the movers want to know of the operands. */
struct side_a {
    typedef tile_a tile;
    typedef A_TYPE type;
    static constexpr bool along_k = A_MEMORY_ALONG_K, tile_along_k = A_ALONG_K;
    static constexpr bool guard_rows = GUARD_M, guard_k = GUARD_K, linear = A_LINEAR;
    static constexpr int copy = A_COPY, piece = A_PIECE;
    static __device__ __forceinline__ idx_t rows(PARAMS) { return EXTENT_M; }
    static __device__ __forceinline__ idx_t depth(PARAMS) { return EXTENT_K; }
#if A_COPY
    static __device__ __forceinline__ const type *origin(PARAMS) { return A_ORIGIN; }
#elif !defined(WINDOWS)
    static __device__ __forceinline__ void load(PARAMS, idx_t batch, idx_t row, idx_t k, type *to)
    {
        load_a(ARGS, batch, row, k, to);
    }
#endif
#if A_COPY && !defined(AXES)
    static __device__ __forceinline__ idx_t row_stride(PARAMS) { return A_ROW_STRIDE; }
    static __device__ __forceinline__ idx_t k_stride(PARAMS) { return A_K_STRIDE; }
    static __device__ __forceinline__ idx_t row(PARAMS, idx_t batch, idx_t row)
    {
        return row_a(ARGS, batch, row);
    }
#endif
#ifdef AXES
    static constexpr int axes = AXES, channels = CHANNELS;
    static constexpr bool padded = PADDED;
    static __device__ __forceinline__ constexpr int taps(int x)
    {
        constexpr int all[] = {TAPS};
        return all[x];
    }
    static __device__ __forceinline__ constexpr int dilation(int x)
    {
        constexpr int all[] = {DILATIONS};
        return all[x];
    }
    static __device__ __forceinline__ idx_t tap_stride(PARAMS, int x)
    {
        const idx_t all[] = {TAP_STRIDES};
        return all[x];
    }
    static __device__ __forceinline__ idx_t extent(PARAMS, int x)
    {
        const idx_t all[] = {IMAGE};
        return all[x];
    }
    static __device__ __forceinline__ idx_t first_tap(PARAMS, idx_t batch, idx_t row, idx_t *at)
    {
        return first_tap_a(ARGS, batch, row, at);
    }
    static __device__ __forceinline__ idx_t margin(PARAMS) { return MARGIN; }
#endif
};

struct side_b {
    typedef tile_b tile;
    typedef B_TYPE type;
    static constexpr bool along_k = B_MEMORY_ALONG_K, tile_along_k = B_ALONG_K;
    static constexpr bool guard_rows = GUARD_N, guard_k = GUARD_K, linear = B_LINEAR;
    static constexpr int copy = B_COPY, piece = B_PIECE;
    static __device__ __forceinline__ idx_t rows(PARAMS) { return EXTENT_N; }
    static __device__ __forceinline__ idx_t depth(PARAMS) { return EXTENT_K; }
#if B_COPY
    static __device__ __forceinline__ const type *origin(PARAMS) { return B_ORIGIN; }
    static __device__ __forceinline__ idx_t row_stride(PARAMS) { return B_ROW_STRIDE; }
    static __device__ __forceinline__ idx_t k_stride(PARAMS) { return B_K_STRIDE; }
    static __device__ __forceinline__ idx_t row(PARAMS, idx_t batch, idx_t row)
    {
        return row_b(ARGS, batch, row);
    }
#else
    static __device__ __forceinline__ void load(PARAMS, idx_t batch, idx_t row, idx_t k, type *to)
    {
        load_b(ARGS, batch, row, k, to);
    }
#endif
};

enum { STAGE_BYTES = tile_a::bytes + tile_b::bytes, STEPS = DEPTH_BYTES / 32 };

/* The stage behind this one, in bytes. */
static __device__ __forceinline__ u32 next_stage(u32 stage)
{
    return stage == (STAGES - 1) * STAGE_BYTES ? 0 : stage + STAGE_BYTES;
}

/* What a block works on. */
struct work {
    idx_t batch, m, n;        /* batch, and number of the tile along M and N */
    int part;                 /* of the depth */
    u32 tile;                 /* its number among all */
    idx_t first_k, n_k;       /* tiles along K */

    __device__ __forceinline__ work(PARAMS)
    {
        /* Blocks that follow one another share columns: B is read once, A stays in L2. */
        const idx_t tiles_m = (EXTENT_M + TILE_M - 1) / TILE_M;
        const idx_t tiles_n = (EXTENT_N + TILE_N - 1) / TILE_N;
        const idx_t tiles_k = (EXTENT_K + DEPTH - 1) / DEPTH;
        tile = blockIdx.x / SPLIT;
        part = blockIdx.x % SPLIT;
        m = (idx_t)tile % tiles_m;
        n = (idx_t)tile / tiles_m % tiles_n;
        batch = BATCHES == 1 ? 0 : (idx_t)tile / tiles_m / tiles_n;
        first_k = SPLIT == 1 ? 0 : part * tiles_k / SPLIT;
        n_k = SPLIT == 1 ? tiles_k : (part + 1) * tiles_k / SPLIT - first_k;
    }
};

/* --- The loop -------------------------------------------------------------------------------- */

#ifdef WINDOWS /* see contract_windows.cuh */
static __device__ __forceinline__ void walk(PARAMS, const work &my, u32 base, int warp_m,
                                            int warp_n, SUM (*sum)[COLUMNS][4]);
#else
static __device__ __forceinline__ void walk(PARAMS, const work &my, u32 base, int warp_m,
                                            int warp_n, SUM (*sum)[COLUMNS][4])
{
    MOVE_A move_a;
    MOVE_B move_b;
    fragments<tile_a, WARP_M, A_ALONG_K, true> from_a;
    fragments<tile_b, WARP_N, B_ALONG_K, false> from_b;
    u32 a[2][4 * GROUPS], b[2][WARP_N < 16 ? 4 : 2 * COLUMNS];

    move_a.begin(ARGS, base, my.batch, my.m * TILE_M, my.first_k * DEPTH);
    move_b.begin(ARGS, base + tile_a::bytes, my.batch, my.n * TILE_N, my.first_k * DEPTH);
    from_a.begin(base, warp_m);
    from_b.begin(base + tile_a::bytes, warp_n);

#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        move_a.fetch(ARGS, i * STAGE_BYTES, i < my.n_k);
        move_b.fetch(ARGS, i * STAGE_BYTES, i < my.n_k);
        move_a.put(i * STAGE_BYTES);
        move_b.put(i * STAGE_BYTES);
        move_a.advance(ARGS);
        move_b.advance(ARGS);
        COMMIT();
    }
    WAIT();
    __syncthreads();
    from_a.load(a[0], 0, 0);
    from_b.load(b[0], 0, 0);
    if (!A_ROUNDED)
        prepare<sizeof a[0] / 4>(a[0]);
    if (!B_ROUNDED)
        prepare<sizeof b[0] / 4>(b[0]);

    u32 reading = 0, writing = (STAGES - 1) * STAGE_BYTES;
#pragma unroll 1
    for (idx_t tile = 0; tile < my.n_k; tile++) {
        if (MOVE_A::early)
            move_a.fetch(ARGS, writing, tile + STAGES - 1 < my.n_k);
        if (MOVE_B::early)
            move_b.fetch(ARGS, writing, tile + STAGES - 1 < my.n_k);
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            if (step == STEPS - 1) {
                move_a.put(writing);
                move_b.put(writing);
                writing = next_stage(writing);
                WAIT();
                __syncthreads();
                reading = next_stage(reading);
            }
            from_a.load(a[(step + 1) % 2], reading, (step + 1) % STEPS);
            from_b.load(b[(step + 1) % 2], reading, (step + 1) % STEPS);
            /* The stage that was read before the last barrier is free. */
            if (step == 0) {
                if (!MOVE_A::early)
                    move_a.fetch(ARGS, writing, tile + STAGES - 1 < my.n_k);
                if (!MOVE_B::early)
                    move_b.fetch(ARGS, writing, tile + STAGES - 1 < my.n_k);
                COMMIT();
            }
            multiply<GROUPS, COLUMNS>(sum, a[step % 2], b[step % 2]);
            if (!A_ROUNDED)
                prepare<sizeof a[0] / 4>(a[(step + 1) % 2]);
            if (!B_ROUNDED)
                prepare<sizeof b[0] / 4>(b[(step + 1) % 2]);
        }
        move_a.advance(ARGS);
        move_b.advance(ARGS);
    }
}
#endif

/* --- Sums of parts --------------------------------------------------------------------------- */

#if SPLIT > 1
/* Four sums of every thread lie side by side. */
static __device__ __forceinline__ SUM *part_of(PARAMS, const work &my, int part, int i)
{
    return PARTS + (((long long)my.tile * SPLIT + part) * (GROUPS * COLUMNS) + i) * (4 * THREADS) +
           4 * threadIdx.x;
}

/* What another multiprocessor wrote: not from this one's cache. */
static __device__ __forceinline__ void load_part(float *to, const float *from)
{
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3])
                 : "l"(from)
                 : "memory");
}

static __device__ __forceinline__ void load_part(int *to, const int *from)
{
    asm volatile("ld.global.cg.v4.s32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "l"(from)
                 : "memory");
}

/* Leaves this block's sums. True for the block that arrives last: it then has the sums of all. */
static __device__ __forceinline__ bool join(PARAMS, const work &my, u32 *ticket,
                                            SUM (*sum)[COLUMNS][4])
{
#pragma unroll
    for (int i = 0; i < GROUPS * COLUMNS; i++) {
        const SUM *s = sum[i / COLUMNS][i % COLUMNS];
        store<SUM, 4>(part_of(ARGS, my, my.part, i), {s[0], s[1], s[2], s[3]});
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        *ticket = atomicAdd(COUNTERS + my.tile, 1);
    __syncthreads();
    if (*ticket != SPLIT - 1)
        return false;
    __threadfence();
    if (threadIdx.x == 0)
        COUNTERS[my.tile] = 0;
#pragma unroll
    for (int i = 0; i < GROUPS * COLUMNS; i++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            sum[i / COLUMNS][i % COLUMNS][e] = 0;
    /* From part 0 on, whichever block this is: the results are the same in every run. */
#pragma unroll 2
    for (int part = 0; part < SPLIT; part++)
#pragma unroll
        for (int i = 0; i < GROUPS * COLUMNS; i++) {
            vec<SUM, 4> more;
            load_part(more.at, part_of(ARGS, my, part, i));
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[i / COLUMNS][i % COLUMNS][e] += more.at[e];
        }
    return true;
}
#endif

/* --- Results --------------------------------------------------------------------------------- */

/*
 * The sums of some of every warp's rows in shared memory, lines of which are stored as vectors.
 * Lines are padded so that a warp's fragments are written to all banks alike.
 */
struct results {
    static constexpr int rows = WARP_M / ROUNDS;         /* of a warp at once */
    static constexpr int height = rows * WARPS_M;
    static constexpr int line = C_ALONG_M ? height : TILE_N;
    static constexpr int lines = C_ALONG_M ? TILE_N : height;
    static constexpr int pitch = line + (C_ALONG_M ? 4 : 8);
    static constexpr int vectors = line / C_VECTOR;      /* in a line */

    SUM at[lines * pitch];

    __device__ __forceinline__ void put(int warp_m, int warp_n, int round, SUM (*sum)[COLUMNS][4])
    {
        const int lane = threadIdx.x % 32;
        const int row = warp_m / WARP_M * rows + lane / 4, column = warp_n + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < rows / 16; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const SUM *s = &sum[round * (rows / 16) + i][j][2 * half];
                    const int m = row + i * 16 + half * 8, n = column + j * 8;
                    if (C_ALONG_M) {
                        at[n * pitch + m] = s[0];
                        at[(n + 1) * pitch + m] = s[1];
                    } else {
                        store<SUM, 2>(&at[m * pitch + n], {s[0], s[1]});
                    }
                }
    }

    /* C_VECTOR sums of a line. */
    __device__ __forceinline__ void take(int across, int along, SUM *sum) const
    {
        constexpr int at_once = C_VECTOR < 4 ? C_VECTOR : 4;
#pragma unroll
        for (int v = 0; v < C_VECTOR; v += at_once) {
            const vec<SUM, at_once> piece = load<at_once>(&at[across * pitch + along + v]);
#pragma unroll
            for (int lane = 0; lane < at_once; lane++)
                sum[v + lane] = piece.at[lane];
        }
    }

    /* The tile's row of which number `low` of those that are here comes. */
    static __device__ __forceinline__ int row_of(int low, int round)
    {
        return low / rows * WARP_M + round * rows + low % rows;
    }

#ifdef WINDOW
    __device__ __forceinline__ void store_all(PARAMS, const work &my, int round) const;
#elif !defined(POOLED)
    __device__ __forceinline__ void store_all(PARAMS, const work &my, int round) const
    {
        constexpr int total = lines * vectors;
#pragma unroll 2
        for (int i = threadIdx.x; i < total; i += THREADS) {
            const int along = i % vectors * C_VECTOR, across = i / vectors;
            const int low_m = C_ALONG_M ? along : across, low_n = C_ALONG_M ? across : along;
            const idx_t at_m = my.m * TILE_M + row_of(low_m, round), at_n = my.n * TILE_N + low_n;
            if ((GUARD_M && at_m >= EXTENT_M) || (GUARD_N && at_n >= EXTENT_N))
                continue;
            SUM sum[C_VECTOR];
            take(across, along, sum);
            store(ARGS, my.batch, C_ALONG_M ? at_m / C_VECTOR : at_m,
                  C_ALONG_M ? at_n : at_n / C_VECTOR, sum);
        }
    }
#endif
};

#ifdef POOLED /* see contract_pool.cuh */
static __device__ __forceinline__ void pool_rows(PARAMS, const work &my, int warp_m, int warp_n,
                                                 char *memory, SUM (*sum)[COLUMNS][4]);
#endif

extern "C" __global__ void __launch_bounds__(THREADS, 1) KERNEL(PARAMS)
{
    extern __shared__ __align__(128) char memory[];
    const work my(ARGS);
    const int warp = threadIdx.x / 32;
    const int warp_m = warp % WARPS_M * WARP_M, warp_n = warp / WARPS_M * WARP_N;

    SUM sum[GROUPS][COLUMNS][4];
#pragma unroll
    for (int i = 0; i < GROUPS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[i][j][e] = 0;

    walk(ARGS, my, (u32)__cvta_generic_to_shared(memory), warp_m, warp_n, sum);
    WAIT_ALL();
    __syncthreads();
#if SPLIT > 1
    if (!join(ARGS, my, (u32 *)memory, sum))
        return;
    __syncthreads();
#endif
#ifdef POOLED
    pool_rows(ARGS, my, warp_m, warp_n, memory, sum);
#else
    results &all = *reinterpret_cast<results *>(memory);
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        if (round > 0)
            __syncthreads();
        all.put(warp_m, warp_n, round, sum);
        __syncthreads();
        all.store_all(ARGS, my, round);
    }
#endif
}
