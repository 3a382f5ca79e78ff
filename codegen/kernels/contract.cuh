/*
 * C[batch][m][n] = Σ_k A[batch][m][k] · B[batch][k][n], summed in float, tiled through shared
 * memory.
 *
 * A block computes a tile of TILE_M x TILE_N results, a thread THREAD_M x THREAD_N of them, as
 * patches of 4 x 4 that lie THREADS_M*4 rows and THREADS_N*4 columns apart, so that the threads of
 * a warp read neighbouring 16-byte pieces of shared memory:
 *
 *            n ->   thread 0  thread 1 ...   thread 0  thread 1 ...
 *      m   +------+---------+---------+----+---------+---------+---
 *      |   |  ty  |  4 x 4  |  4 x 4  |    |  4 x 4  |  4 x 4  |
 *      v   |  ... |
 *
 * K is walked in tiles of TILE_K. While one tile is multiplied, the next one is on its way from
 * global memory into registers; shared memory holds two tiles, so one barrier a tile is enough.
 *
 * Where there are too few tiles to keep the device busy, SLICES groups of threads in a block share
 * the work along K: each takes every SLICES-th tile, and their sums are added at the end, in
 * order.
 *
 * The generator prints before this file
 *   BATCHES EXTENT_M EXTENT_N EXTENT_K    sizes; GUARD_M, GUARD_N, GUARD_K: tiles stick out there
 *   TILE_M TILE_N TILE_K THREAD_M THREAD_N SLICES
 *   load_a(batch, m, tile_k, k, to), load_b(batch, tile_k, k, n, to)
 *       k counts within the tile. A_VECTOR, B_VECTOR neighbours along K (A_ALONG_K, B_ALONG_K) or
 *       else along M or N; that index then counts vectors, not elements
 *   store(batch, m, n, sum)    C_VECTOR neighbours along N; n counts vectors
 *
 * A convolution's TILE_K is made of whole rows of its filter, and its tiles have TILE_N >= GROUP: a
 * thread then loads taps of one pixel, each at a k the compiler knows, and neither has to divide.
 */
#define THREADS_M (TILE_M / THREAD_M)
#define THREADS_N (TILE_N / THREAD_N)
#define GROUP (THREADS_M * THREADS_N) /* the threads of a slice */
#define THREADS (GROUP * SLICES)

/* The number of this thread in its slice. */
static __device__ __forceinline__ int me()
{
    return SLICES == 1 ? threadIdx.x : threadIdx.x % GROUP;
}

/* The part of one operand's tile that a thread carries from global to shared memory. */
template <int EXTENT, int VECTOR, bool ALONG_K> struct operand {
    static constexpr int line = (ALONG_K ? TILE_K : EXTENT) / VECTOR; /* vectors in a row */
    static constexpr int vectors = EXTENT * TILE_K / VECTOR;
    static constexpr int share = (vectors + GROUP - 1) / GROUP;
    /* Turned tiles are padded: rows 4 apart then begin 16 banks apart. */
    static constexpr int pitch = EXTENT + (ALONG_K ? 4 : 0);

    float held[share][VECTOR];

    /* Vector i of this thread: its place in its line, and which line. Same as number % line and
     * number / line, written so that i is out of the division where it can be. */
    static __device__ __forceinline__ int along(int i)
    {
        return GROUP % line == 0   ? me() % line
               : line % GROUP == 0 ? me() + i % (line / GROUP) * GROUP
                                     : (me() + i * GROUP) % line;
    }
    static __device__ __forceinline__ int across(int i)
    {
        return GROUP % line == 0   ? me() / line + i * (GROUP / line)
               : line % GROUP == 0 ? i / (line / GROUP)
                                     : (me() + i * GROUP) / line;
    }
    static __device__ __forceinline__ bool exists(int i)
    {
        return (i + 1) * GROUP <= vectors || me() + i * GROUP < vectors;
    }

    __device__ __forceinline__ void clear(int i)
    {
#pragma unroll
        for (int v = 0; v < VECTOR; v++)
            held[i][v] = 0.0f;
    }

    __device__ __forceinline__ void put(float (*tile)[pitch]) const
    {
#pragma unroll
        for (int i = 0; i < share; i++)
#pragma unroll
            for (int v = 0; v < VECTOR && exists(i); v++)
                if (ALONG_K)
                    tile[along(i) * VECTOR + v][across(i)] = held[i][v];
                else
                    tile[across(i)][along(i) * VECTOR + v] = held[i][v];
    }
};

typedef operand<TILE_M, A_VECTOR, A_ALONG_K> operand_a;
typedef operand<TILE_N, B_VECTOR, B_ALONG_K> operand_b;

/* Both take what sticks out of the operand as 0. */
static __device__ __forceinline__ void fetch_a(PARAMS, operand_a &a, idx_t batch, idx_t tile_m,
                                               idx_t tile_k)
{
    constexpr int vm = A_ALONG_K ? 1 : A_VECTOR, vk = A_ALONG_K ? A_VECTOR : 1;
#pragma unroll
    for (int i = 0; i < operand_a::share; i++) {
        const int fast = operand_a::along(i), slow = operand_a::across(i);
        const idx_t m = tile_m * (TILE_M / vm) + (A_ALONG_K ? slow : fast);
        const int k = A_ALONG_K ? fast : slow;
        if (operand_a::exists(i) && (!GUARD_M || m * vm < EXTENT_M) &&
            (!GUARD_K || tile_k * TILE_K + k * vk < EXTENT_K))
            load_a(ARGS, batch, m, tile_k, k, a.held[i]);
        else
            a.clear(i);
    }
}

static __device__ __forceinline__ void fetch_b(PARAMS, operand_b &b, idx_t batch, idx_t tile_n,
                                               idx_t tile_k)
{
    constexpr int vn = B_ALONG_K ? 1 : B_VECTOR, vk = B_ALONG_K ? B_VECTOR : 1;
#pragma unroll
    for (int i = 0; i < operand_b::share; i++) {
        const int fast = operand_b::along(i), slow = operand_b::across(i);
        const idx_t n = tile_n * (TILE_N / vn) + (B_ALONG_K ? slow : fast);
        const int k = B_ALONG_K ? fast : slow;
        if (operand_b::exists(i) && (!GUARD_N || n * vn < EXTENT_N) &&
            (!GUARD_K || tile_k * TILE_K + k * vk < EXTENT_K))
            load_b(ARGS, batch, tile_k, k, n, b.held[i]);
        else
            b.clear(i);
    }
}

/* What a slice has in shared memory: two tiles of each operand. */
struct tiles {
    float a[2][TILE_K][operand_a::pitch];
    float b[2][TILE_K][operand_b::pitch];
};

/* Four neighbours at `from`, as one 16-byte load. */
static __device__ __forceinline__ void read4(float *to, const float *from)
{
    const float4 four = *(const float4 *)from;
    to[0] = four.x;
    to[1] = four.y;
    to[2] = four.z;
    to[3] = four.w;
}

/* All slices' sums, side by side: 16 bytes of each thread, of each piece of four, of each slice. */
struct sums {
    float4 at[SLICES][THREAD_M * THREAD_N / 4][GROUP];

    __device__ __forceinline__ void put(int slice, float (*sum)[THREAD_N])
    {
#pragma unroll
        for (int i = 0; i < THREAD_M * THREAD_N / 4; i++) {
            const float *from = &sum[i * 4 / THREAD_N][i * 4 % THREAD_N];
            at[slice][i][me()] = make_float4(from[0], from[1], from[2], from[3]);
        }
    }

    /* Row i of this thread, summed over the slices. */
    __device__ __forceinline__ void add(int i, float *sum) const
    {
#pragma unroll
        for (int j = 0; j < THREAD_N; j += 4) {
            float4 four = at[0][(i * THREAD_N + j) / 4][me()];
#pragma unroll
            for (int slice = 1; slice < SLICES; slice++) {
                const float4 more = at[slice][(i * THREAD_N + j) / 4][me()];
                four.x += more.x;
                four.y += more.y;
                four.z += more.z;
                four.w += more.w;
            }
            sum[j] = four.x;
            sum[j + 1] = four.y;
            sum[j + 2] = four.z;
            sum[j + 3] = four.w;
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1) KERNEL(PARAMS)
{
    /* The sums take the place of the tiles when these are done. */
    constexpr int tile_bytes = SLICES * sizeof(tiles), sum_bytes = SLICES > 1 ? sizeof(sums) : 0;
    __shared__ __align__(16) char memory[tile_bytes > sum_bytes ? tile_bytes : sum_bytes];

    /* Blocks that follow one another share columns: B is read once, A stays in L2. */
    const idx_t tiles_m = (EXTENT_M + TILE_M - 1) / TILE_M;
    const idx_t tiles_n = (EXTENT_N + TILE_N - 1) / TILE_N;
    const idx_t rounds = (EXTENT_K + TILE_K * SLICES - 1) / (TILE_K * SLICES);
    const idx_t tile_m = (idx_t)blockIdx.x % tiles_m;
    const idx_t tile_n = (idx_t)blockIdx.x / tiles_m % tiles_n;
    const idx_t batch = BATCHES == 1 ? 0 : (idx_t)blockIdx.x / tiles_m / tiles_n;
    const int my_m = me() / THREADS_N * 4, my_n = me() % THREADS_N * 4;
    const int slice = SLICES == 1 ? 0 : threadIdx.x / GROUP;
    tiles &shared = reinterpret_cast<tiles *>(memory)[slice];

    operand_a a;
    operand_b b;
    float sum[THREAD_M][THREAD_N];
#pragma unroll
    for (int i = 0; i < THREAD_M; i++)
#pragma unroll
        for (int j = 0; j < THREAD_N; j++)
            sum[i][j] = 0.0f;

    fetch_a(ARGS, a, batch, tile_m, slice);
    fetch_b(ARGS, b, batch, tile_n, slice);
    a.put(shared.a[0]);
    b.put(shared.b[0]);
    __syncthreads();

    int now = 0;
    for (idx_t round = 0; round < rounds; round++) {
        const bool more = round + 1 < rounds;
        if (more) {
            const idx_t tile_k = (round + 1) * SLICES + slice;
            fetch_a(ARGS, a, batch, tile_m, tile_k);
            fetch_b(ARGS, b, batch, tile_n, tile_k);
        }
#pragma unroll
        for (int k = 0; k < TILE_K; k++) {
            float column[THREAD_M], row[THREAD_N];
#pragma unroll
            for (int i = 0; i < THREAD_M; i += 4)
                read4(column + i, &shared.a[now][k][my_m + i * THREADS_M]);
#pragma unroll
            for (int j = 0; j < THREAD_N; j += 4)
                read4(row + j, &shared.b[now][k][my_n + j * THREADS_N]);
#pragma unroll
            for (int i = 0; i < THREAD_M; i++)
#pragma unroll
                for (int j = 0; j < THREAD_N; j++)
                    sum[i][j] += column[i] * row[j];
        }
        if (more) {
            now ^= 1;
            a.put(shared.a[now]);
            b.put(shared.b[now]);
            __syncthreads();
        }
    }

    sums &all = *reinterpret_cast<sums *>(memory);
    if (SLICES > 1) {
        __syncthreads();
        all.put(slice, sum);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < THREAD_M; i++) {
        const idx_t m = tile_m * TILE_M + my_m + i / 4 * 4 * THREADS_M + i % 4;
        if (i % SLICES != slice || (GUARD_M && m >= EXTENT_M))
            continue;
        if (SLICES > 1)
            all.add(i, sum[i]);
#pragma unroll
        for (int j = 0; j < THREAD_N; j += C_VECTOR) {
            const int vector = (my_n + j / 4 * 4 * THREADS_N + j % 4) / C_VECTOR;
            const idx_t n = tile_n * (TILE_N / C_VECTOR) + vector;
            if (!GUARD_N || n * C_VECTOR < EXTENT_N)
                store(ARGS, batch, m, n, &sum[i][j]);
        }
    }
}
