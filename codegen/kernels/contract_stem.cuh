/*
 * First layers: convolutions of images with at most 4 channels, by the tensor cores.
 *
 * A block makes TILE_H x TILE_W results of TILE_N filters. The pixels under them lie in shared memory
 * once, 4 channels each (what is missing is 0), so that overlapping windows cost no copy: depth is
 * counted as (tap, channel), and since a register of a fragment is two channels of one tap, every
 * lane reads its own straight from the pixels, whatever the stride. A warp's 16 rows are neighbours
 * of one line, 4 * STRIDE_W elements apart: no two words of a read share a bank up to stride 2.
 * The filters lie beside them as ldmatrix wants them, padded by 16 bytes a filter.
 *
 * The generator prints before this file (and mma.cuh)
 *   CHANNELS FILTERS IN_H IN_W OUT_H OUT_W    sizes
 *   TAPS_H TAPS_W STRIDE_H STRIDE_W DILATION_H DILATION_W LOW_H LOW_W
 *   TILE_H TILE_W TILE_N, C_VECTOR, VALUE            the operands' type
 *   W_VECTOR W_CHANNELS_LAST                         how filters lie: taps or channels innermost
 *   load_x(image, c, h, w)                           an element
 *   load_w(i, to)                                    the filters' W_VECTOR elements from i * W_VECTOR on
 *   store(image, h, w, n, sum)                       C_VECTOR filters from n * C_VECTOR on
 */
#define WARPS 4
#define THREADS (32 * WARPS)
#define TAPS (TAPS_H * TAPS_W)
#define STEPS ((TAPS + 3) / 4) /* of 16 deep: 4 taps, 4 channels */
#define DEEP (16 * STEPS)
#define SPAN_H ((TILE_H - 1) * STRIDE_H + (TAPS_H - 1) * DILATION_H + 1)
#define SPAN_W ((TILE_W - 1) * STRIDE_W + (TAPS_W - 1) * DILATION_W + 1)
#define GROUPS (TILE_H / WARPS) /* lines of a warp */
#define COLUMNS (TILE_N / 8)

struct operands {
    VALUE filter[TILE_N][DEEP + 8];
    VALUE pixel[SPAN_H * SPAN_W][4];
};

/* A warp's sums of one line, on their way to whole vectors. The pitch turns neighbouring rows by 4
 * banks. */
typedef float line_of_sums[16][TILE_N + 4];

union memory {
    operands in;
    line_of_sums out[WARPS];
};

/* Lines are read from a whole sector on, a pixel a thread. */
static __device__ __forceinline__ void fill_pixels(PARAMS, operands &to, idx_t image, idx_t first_h,
                                                   idx_t first_w)
{
    constexpr int sector = 8, line = (SPAN_W + 2 * (sector - 1)) / sector * sector;
    const int ahead = (int)(first_w & (sector - 1));
    for (int i = threadIdx.x; i < SPAN_H * line; i += THREADS) {
        const int row = i / line, column = i % line - ahead;
        const idx_t h = first_h + row, w = first_w + column;
        VALUE x[4];
#pragma unroll
        for (int c = 0; c < 4; c++)
            x[c] = VALUE(0.0f);
        if (h >= 0 && h < IN_H && w >= 0 && w < IN_W)
#pragma unroll
            for (int c = 0; c < CHANNELS; c++)
                x[c] = load_x(ARGS, image, c, h, w);
        if (column >= 0 && column < SPAN_W)
#pragma unroll
            for (int c = 0; c < 4; c++)
                to.pixel[row * SPAN_W + column][c] = x[c];
    }
}

/* In the order of memory, W_VECTOR at once; depth that no tap or channel has is 0. */
static __device__ __forceinline__ void fill_filters(PARAMS, operands &to, int first)
{
    constexpr int depth = CHANNELS * TAPS;
    for (int i = threadIdx.x; i < TILE_N * DEEP; i += THREADS)
        if (i % DEEP / 4 >= TAPS || i % 4 >= CHANNELS)
            to.filter[i / DEEP][i % DEEP] = VALUE(0.0f);
    for (int i = threadIdx.x; i < TILE_N * depth / W_VECTOR; i += THREADS) {
        VALUE w[W_VECTOR];
        if (first * depth + i * W_VECTOR < FILTERS * depth)
            load_w(ARGS, first * depth / W_VECTOR + i, w);
#pragma unroll
        for (int v = 0; v < W_VECTOR; v++) {
            const int n = (i * W_VECTOR + v) / depth, at = (i * W_VECTOR + v) % depth;
            const int tap = W_CHANNELS_LAST ? at / CHANNELS : at % TAPS;
            const int c = W_CHANNELS_LAST ? at % CHANNELS : at / TAPS;
            to.filter[n][4 * tap + c] = first + n < FILTERS ? w[v] : VALUE(0.0f);
        }
    }
}

/* Two channels of one tap of the window that begins at pixel `from`; behind the last tap 0, whatever
 * lies there. */
static __device__ __forceinline__ u32 window_pair(const operands &in, int from, int tap)
{
    const int at = from + tap / TAPS_W * DILATION_H * SPAN_W + tap % TAPS_W * DILATION_W;
    return tap < TAPS ? *(const u32 *)&in.pixel[at][threadIdx.x % 2 * 2] : 0;
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    __shared__ __align__(16) char bytes[sizeof(memory)];
    memory &shared = *reinterpret_cast<memory *>(bytes);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const idx_t tiles_w = (OUT_W + TILE_W - 1) / TILE_W, tiles_h = (OUT_H + TILE_H - 1) / TILE_H;
    const idx_t tiles_n = (FILTERS + TILE_N - 1) / TILE_N;
    const idx_t out_w = (idx_t)blockIdx.x % tiles_w * TILE_W;
    const idx_t out_h = (idx_t)blockIdx.x / tiles_w % tiles_h * TILE_H;
    const int first = (idx_t)blockIdx.x / (tiles_w * tiles_h) % tiles_n * TILE_N;
    const idx_t image = (idx_t)blockIdx.x / (tiles_w * tiles_h * tiles_n);

    fill_pixels(ARGS, shared.in, image, out_h * STRIDE_H - LOW_H, out_w * STRIDE_W - LOW_W);
    fill_filters(ARGS, shared.in, first);
    __syncthreads();

    float sum[GROUPS][COLUMNS][4];
#pragma unroll
    for (int i = 0; i < GROUPS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
#pragma unroll
            for (int v = 0; v < 4; v++)
                sum[i][j][v] = 0.0f;

    const u32 filters = (u32)__cvta_generic_to_shared(
        &shared.in.filter[lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        u32 a[4 * GROUPS], b[2 * COLUMNS];
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
#pragma unroll
            for (int v = 0; v < 4; v++) {
                const int line = (warp * GROUPS + i) * STRIDE_H;
                const int from = line * SPAN_W + (lane / 4 + v % 2 * 8) * STRIDE_W;
                a[4 * i + v] = window_pair(shared.in, from, 4 * step + lane % 4 / 2 + v / 2 * 2);
            }
#pragma unroll
        for (int j = 0; j < COLUMNS; j += 2)
            load_matrices(b + 2 * j,
                          filters + (j * 8 * (DEEP + 8) + step * 16) * (int)sizeof(VALUE));
        multiply<GROUPS, COLUMNS>(sum, a, b);
    }

    __syncthreads();
    line_of_sums &out = shared.out[warp];
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
#pragma unroll
            for (int v = 0; v < 4; v += 2)
                *(float2 *)&out[lane / 4 + v / 2 * 8][j * 8 + lane % 4 * 2] =
                    make_float2(sum[i][j][v], sum[i][j][v + 1]);
        __syncwarp();
        const idx_t h = out_h + warp * GROUPS + i;
#pragma unroll
        for (int at = 0; at < 16 * TILE_N; at += 32 * C_VECTOR) {
            const int row = (at + lane * C_VECTOR) / TILE_N, n = (at + lane * C_VECTOR) % TILE_N;
            const idx_t w = out_w + row;
            if (h < OUT_H && w < OUT_W && first + n < FILTERS)
                store(ARGS, image, h, w, (first + n) / C_VECTOR, &out[row][n]);
        }
        __syncwarp();
    }
}
