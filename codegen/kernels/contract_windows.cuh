/*
 * The loop of contract_mma.cuh where A is a depthwise convolution's result, which this kernel
 * makes.
 *
 * A tile has all columns, so each of A's elements is wanted by one block. That makes its whole
 * depth first: the copies of all of B are started, then every thread makes strips (windows.cuh) of
 * A and puts them into shared memory, and behind one barrier everything is multiplied. STAGES tiles
 * of both operands, all of a part of the depth, are in shared memory at once.
 *
 * The generator prints besides
 *   finish(image, h, w, c, sum, to)    from VECTOR sums to elements of A
 * A strip lies in one row of the image: STRIP_H is 1, and STRIP_W divides OUT_W.
 */
static_assert(VECTOR * ELEMENT == 16, "a strip's channels fill a chunk");
static_assert(TILE_M % STRIP_W == 0, "a tile has whole strips");

/* Chunks of a row of A in a part of the depth lie in one tile after the other. */
static __device__ __forceinline__ u32 place_of(int line, int chunk)
{
    return chunk / tile_a::chunks * STAGE_BYTES + tile_a::place(line, chunk % tile_a::chunks);
}

static __device__ __forceinline__ void put_chunk(u32 to, const A_TYPE *from)
{
    u32 word[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        word[i] = ELEMENT == 4
                      ? bits_of(from[i])
                      : bits_of(from[2 * i % VECTOR]) | bits_of(from[(2 * i + 1) % VECTOR]) << 16;
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(word[0]), "r"(word[1]),
                 "r"(word[2]), "r"(word[3])
                 : "memory");
}

/* A's rows and channels of this block. */
static __device__ __forceinline__ void make_rows(PARAMS, const work &my, u32 base)
{
    constexpr int strips = TILE_M / STRIP_W;
    const idx_t first = my.first_k * (DEPTH / VECTOR);
    const int all = (int)my.n_k * tile_a::chunks;
    const idx_t left = EXTENT_K / VECTOR - first;
    const int chunks = GUARD_K && left < all ? (int)left : all;
#pragma unroll 1
    for (int item = threadIdx.x; item < strips * chunks; item += THREADS) {
        const int chunk = item % chunks, line = item / chunks * STRIP_W;
        const idx_t row = my.m * TILE_M + line;
        A_TYPE element[STRIP_W][VECTOR];
        if (GUARD_M && row >= EXTENT_M) {
#pragma unroll
            for (int j = 0; j < STRIP_W; j++)
#pragma unroll
                for (int v = 0; v < VECTOR; v++)
                    element[j][v] = A_TYPE(0.0f);
        } else {
            const idx_t w = row % OUT_W, h = row / OUT_W % OUT_H, image = row / (OUT_W * OUT_H);
            SUM sum[1][STRIP_W][VECTOR];
            sum_strip(ARGS, image, h, w, first + chunk, sum);
#pragma unroll
            for (int j = 0; j < STRIP_W; j++)
                finish(ARGS, image, h, w + j, first + chunk, sum[0][j], element[j]);
        }
#pragma unroll
        for (int j = 0; j < STRIP_W; j++)
            put_chunk(base + place_of(line + j, chunk), element[j]);
    }
    if (GUARD_K) {
        const int none = all - chunks;
        const A_TYPE zero[VECTOR] = {};
        for (int item = threadIdx.x; item < TILE_M * none; item += THREADS)
            put_chunk(base + place_of(item / none, chunks + item % none), zero);
    }
}

static __device__ __forceinline__ void walk(PARAMS, const work &my, u32 base, int warp_m,
                                            int warp_n, SUM (*sum)[COLUMNS][4])
{
    MOVE_B move_b;
    fragments<tile_a, WARP_M, A_ALONG_K, true> from_a;
    fragments<tile_b, WARP_N, B_ALONG_K, false> from_b;
    u32 a[4 * GROUPS], b[WARP_N < 16 ? 4 : 2 * COLUMNS];

    move_b.begin(ARGS, base + tile_a::bytes, my.batch, my.n * TILE_N, my.first_k * DEPTH);
#pragma unroll 1
    for (int tile = 0; tile < my.n_k; tile++) {
        move_b.fetch(ARGS, tile * STAGE_BYTES, true);
        move_b.put(tile * STAGE_BYTES);
        move_b.advance(ARGS);
    }
    COMMIT();
    make_rows(ARGS, my, base);
    WAIT_ALL();
    __syncthreads();
    from_a.begin(base, warp_m);
    from_b.begin(base + tile_a::bytes, warp_n);
#pragma unroll 1
    for (int tile = 0; tile < my.n_k; tile++) {
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            from_a.load(a, tile * STAGE_BYTES, step);
            from_b.load(b, tile * STAGE_BYTES, step);
            prepare<sizeof a / 4>(a);
            prepare<sizeof b / 4>(b);
            multiply<GROUPS, COLUMNS>(sum, a, b);
        }
    }
}
