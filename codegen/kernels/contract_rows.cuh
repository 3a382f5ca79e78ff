/*
 * Rows of x that a normalization makes, for contract_skinny.cuh: (x - mean) / √(variance + EPSILON),
 * and the maps behind it. ROW_WARPS warps of each block share a row. They leave it in shared memory as
 * numbers of x's type, where load_x finds it. As in normalize.cuh, variance is summed of differences to
 * the mean.
 *
 * The generator prints before this file
 *   STAGED STAGED_VECTOR      x's type; how many of a row's elements are loaded at once
 *   ROW_VECTOR ROW_WARPS CENTER EPSILON
 *   load_row(few, vector, to)                   vector `vector` of row `few`, not normalized
 *   make_row(few, vector, normalized, to)       stores what becomes of it
 * and what contract_skinny.cuh asks for but load_x, which is here.
 */
#define ROW_VECTORS (EXTENT_K / ROW_VECTOR)
#define HELD        ((ROW_VECTORS + 32 * ROW_WARPS - 1) / (32 * ROW_WARPS))
#define ALL_WARPS   (WARPS_MANY * WARPS_K)

static __device__ __forceinline__ STAGED *staged_row(idx_t few)
{
    __shared__ __align__(16) char memory[ROWS * EXTENT_K * sizeof(STAGED)];
    return reinterpret_cast<STAGED *>(memory) + few * EXTENT_K;
}

static __device__ __forceinline__ void load_x(PARAMS, idx_t, idx_t few, idx_t k, SUM *to)
{
#pragma unroll
    for (int i = 0; i < DEPTH; i += STAGED_VECTOR) {
        const vec<STAGED, STAGED_VECTOR> x = load<STAGED_VECTOR>(staged_row(few) + k * DEPTH + i);
#pragma unroll
        for (int j = 0; j < STAGED_VECTOR; j++)
            to[i + j] = (SUM)(float)x.at[j];
    }
}

/* The sum over the warps of a row, added in their order. All threads of the block call it. */
static __device__ __forceinline__ float over_row(float x, int warp)
{
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        x += __shfl_xor_sync(~0u, x, distance);
    if (ROW_WARPS > 1) {
        __shared__ float of_warp[ALL_WARPS];
        __syncthreads(); /* the one before may still be read */
        if (threadIdx.x % 32 == 0)
            of_warp[warp] = x;
        __syncthreads();
        x = of_warp[warp / ROW_WARPS * ROW_WARPS];
#pragma unroll
        for (int i = 1; i < ROW_WARPS; i++)
            x += of_warp[warp / ROW_WARPS * ROW_WARPS + i];
    }
    return x;
}

/* A warp beyond the last row has no vectors: it only meets others at the barriers of over_row. */
static __device__ __forceinline__ void stage_row(PARAMS, int few, int warp)
{
    const int stride = 32 * ROW_WARPS;
    const int first = few < ROWS ? warp % ROW_WARPS * 32 + threadIdx.x % 32 : ROW_VECTORS;
    float x[HELD][ROW_VECTOR], mean = 0, square = 0;
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (first + i * stride < ROW_VECTORS) {
            load_row(ARGS, few, first + i * stride, x[i]);
#pragma unroll
            for (int j = 0; j < ROW_VECTOR; j++)
                mean += x[i][j];
        }
    mean = CENTER ? over_row(mean, warp) / EXTENT_K : 0;
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (first + i * stride < ROW_VECTORS) {
#pragma unroll
            for (int j = 0; j < ROW_VECTOR; j++) {
                x[i][j] -= mean;
                square += x[i][j] * x[i][j];
            }
        }
    const float scale = 1 / g_sqrt(over_row(square, warp) / EXTENT_K + (float)EPSILON);
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (first + i * stride < ROW_VECTORS) {
#pragma unroll
            for (int j = 0; j < ROW_VECTOR; j++)
                x[i][j] *= scale;
            make_row(ARGS, few, first + i * stride, x[i],
                     staged_row(few) + (first + i * stride) * ROW_VECTOR);
        }
}

static __device__ __forceinline__ void stage_rows(PARAMS)
{
    const int warp = threadIdx.x / 32;
    for (int few = warp / ROW_WARPS; few - warp / ROW_WARPS < ROWS; few += ALL_WARPS / ROW_WARPS)
        if (ROW_WARPS > 1 || few < ROWS)
            stage_row(ARGS, few, warp);
    __syncthreads();
}
