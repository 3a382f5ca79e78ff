/*
 * Depthwise convolution where channels are neighbours in memory: each has one filter of its own, so
 * nothing is shared but the pixels under overlapping windows.
 *
 * A thread makes STRIP_H x STRIP_W results of VECTOR channels. It walks over the rows of pixels under
 * its strip: a row is loaded once, 16 bytes a pixel, and serves every result and tap that meets it.
 * Threads that follow one another take neighbouring channels.
 *
 * The generator prints before this file
 *   IMAGES CHANNELS IN_H IN_W OUT_H OUT_W   sizes
 *   TAPS_H TAPS_W STRIDE_H STRIDE_W DILATION_H DILATION_W LOW_H LOW_W
 *   STRIP_H STRIP_W VECTOR THREADS SUM
 *   load_x(image, h, w, c, to), load_w(r, s, c, to), store(image, h, w, c, sum)
 *       VECTOR channels from c * VECTOR on
 */

/* Pixels under a strip. */
#define SPAN_H ((STRIP_H - 1) * STRIDE_H + (TAPS_H - 1) * DILATION_H + 1)
#define SPAN_W ((STRIP_W - 1) * STRIDE_W + (TAPS_W - 1) * DILATION_W + 1)

/* The result that tap `tap` reaches from pixel `at` under the strip, or -1. */
static __device__ __forceinline__ constexpr int reached(int at, int tap, int stride, int dilation,
                                                        int strip)
{
    const int from = at - tap * dilation;
    return from >= 0 && from % stride == 0 && from / stride < strip ? from / stride : -1;
}

extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t item = (idx_t)blockIdx.x * THREADS + threadIdx.x;
    const idx_t vectors = CHANNELS / VECTOR;
    const idx_t strips = (OUT_W + STRIP_W - 1) / STRIP_W, bands = (OUT_H + STRIP_H - 1) / STRIP_H;
    if (item >= vectors * strips * bands * IMAGES)
        return;
    const idx_t c = item % vectors, strip = item / vectors % strips;
    const idx_t band = item / (vectors * strips) % bands, image = item / (vectors * strips * bands);
    const idx_t first_h = band * STRIP_H * STRIDE_H - LOW_H;
    const idx_t first_w = strip * STRIP_W * STRIDE_W - LOW_W;

    SUM sum[STRIP_H][STRIP_W][VECTOR];
#pragma unroll
    for (int i = 0; i < STRIP_H; i++)
#pragma unroll
        for (int j = 0; j < STRIP_W; j++)
#pragma unroll
            for (int v = 0; v < VECTOR; v++)
                sum[i][j][v] = 0;

#pragma unroll
    for (int i = 0; i < SPAN_H; i++) {
        SUM x[SPAN_W][VECTOR];
        const idx_t h = first_h + i;
#pragma unroll
        for (int j = 0; j < SPAN_W; j++) {
            const idx_t w = first_w + j;
            if (h >= 0 && h < IN_H && w >= 0 && w < IN_W) {
                load_x(ARGS, image, h, w, c, x[j]);
            } else {
#pragma unroll
                for (int v = 0; v < VECTOR; v++)
                    x[j][v] = 0;
            }
        }
#pragma unroll
        for (int r = 0; r < TAPS_H; r++) {
            const int row = reached(i, r, STRIDE_H, DILATION_H, STRIP_H);
            if (row < 0)
                continue;
#pragma unroll
            for (int s = 0; s < TAPS_W; s++) {
                SUM tap[VECTOR];
                load_w(ARGS, r, s, c, tap);
#pragma unroll
                for (int j = 0; j < STRIP_W; j++)
#pragma unroll
                    for (int v = 0; v < VECTOR; v++)
                        sum[row][j][v] += x[j * STRIDE_W + s * DILATION_W][v] * tap[v];
            }
        }
    }

#pragma unroll
    for (int i = 0; i < STRIP_H; i++)
#pragma unroll
        for (int j = 0; j < STRIP_W; j++) {
            const idx_t h = band * STRIP_H + i, w = strip * STRIP_W + j;
            if (h < OUT_H && w < OUT_W)
                store(ARGS, image, h, w, c, sum[i][j]);
        }
}
