/*
 * Depthwise convolution where channels are neighbours in memory: each has one filter of its own, so
 * nothing is shared but the pixels under overlapping windows. A thread makes a strip (windows.cuh);
 * threads that follow one another take neighbouring channels.
 *
 * The generator prints before this file, beside what windows.cuh wants,
 *   IMAGES CHANNELS THREADS
 *   store(image, h, w, c, sum)    VECTOR channels from c * VECTOR on
 */
extern "C" __global__ void __launch_bounds__(THREADS) KERNEL(PARAMS)
{
    const idx_t item = (idx_t)blockIdx.x * THREADS + threadIdx.x;
    const idx_t vectors = CHANNELS / VECTOR;
    const idx_t strips = (OUT_W + STRIP_W - 1) / STRIP_W, bands = (OUT_H + STRIP_H - 1) / STRIP_H;
    if (item >= vectors * strips * bands * IMAGES)
        return;
    const idx_t c = item % vectors, strip = item / vectors % strips;
    const idx_t band = item / (vectors * strips) % bands, image = item / (vectors * strips * bands);

    SUM sum[STRIP_H][STRIP_W][VECTOR];
    sum_strip(ARGS, image, band * STRIP_H, strip * STRIP_W, c, sum);

#pragma unroll
    for (int i = 0; i < STRIP_H; i++)
#pragma unroll
        for (int j = 0; j < STRIP_W; j++) {
            const idx_t h = band * STRIP_H + i, w = strip * STRIP_W + j;
            if (h < OUT_H && w < OUT_W)
                store(ARGS, image, h, w, c, sum[i][j]);
        }
}
