/*
 * Windows over an image in which channels are neighbours in memory, each with one filter of its
 * own.
 *
 * A strip is STRIP_H x STRIP_W results of VECTOR channels. Its sums are made by one thread, which
 * walks over the rows of pixels under the strip: a row is loaded once, 16 bytes a pixel, and serves
 * every result and tap that meets it.
 *
 * The generator prints before this file
 *   IN_H IN_W OUT_H OUT_W TAPS_H TAPS_W STRIDE_H STRIDE_W DILATION_H DILATION_W LOW_H LOW_W
 *   STRIP_H STRIP_W VECTOR SUM
 *   load_x(image, h, w, c, to), load_w(r, s, c, to)    VECTOR channels from c * VECTOR on
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

/* The sums of the strip whose first result is at row h and column w. */
static __device__ __forceinline__ void sum_strip(PARAMS, idx_t image, idx_t h, idx_t w, idx_t c,
                                                 SUM (*sum)[STRIP_W][VECTOR])
{
    const idx_t first_h = h * STRIDE_H - LOW_H, first_w = w * STRIDE_W - LOW_W;
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
        const idx_t at_h = first_h + i;
#pragma unroll
        for (int j = 0; j < SPAN_W; j++) {
            const idx_t at_w = first_w + j;
            if (at_h >= 0 && at_h < IN_H && at_w >= 0 && at_w < IN_W) {
                load_x(ARGS, image, at_h, at_w, c, x[j]);
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
}
