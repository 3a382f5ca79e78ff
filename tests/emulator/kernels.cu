// Kernels for nvrtc_test.c: each works through a part of PTX that NVRTC makes of ordinary CUDA C.
typedef unsigned short u16;

extern "C" __global__ void __launch_bounds__(256)
    sgemm(const float *a, const float *b, float *c, int m, int n, int k)
{
    __shared__ float as[16][64], bs[16][64];
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16, row = blockIdx.y * 64, col = blockIdx.x * 64;
    float sum[4][4] = {};
    for (int k0 = 0; k0 < k; k0 += 16) {
        for (int i = threadIdx.x; i < 1024; i += 256) {
            int r = i / 16, q = i % 16;
            as[q][r] = row + r < m && k0 + q < k ? a[(row + r) * k + k0 + q] : 0.0f;
            r = i % 64, q = i / 64;
            bs[q][r] = col + r < n && k0 + q < k ? b[(k0 + q) * n + col + r] : 0.0f;
        }
        __syncthreads();
        for (int q = 0; q < 16; q++) {
            for (int i = 0; i < 4; i++) {
                for (int j = 0; j < 4; j++) {
                    sum[i][j] = fmaf(as[q][ty * 4 + i], bs[q][tx * 4 + j], sum[i][j]);
                }
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            int r = row + ty * 4 + i, q = col + tx * 4 + j;
            if (r < m && q < n) {
                c[r * n + q] = sum[i][j];
            }
        }
    }
}

__device__ float over_block(float v, float *shared, bool largest)
{
    for (int by = 16; by; by /= 2) {
        float o = __shfl_xor_sync(0xffffffffu, v, by);
        v = largest ? fmaxf(v, o) : v + o;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = v;
    }
    __syncthreads();
    v = shared[0];
    for (int w = 1; w < blockDim.x / 32; w++) {
        v = largest ? fmaxf(v, shared[w]) : v + shared[w];
    }
    return v;
}

extern "C" __global__ void softmax(const float *x, float *y, int n)
{
    __shared__ float shared[32];
    const float *row = x + (long long)blockIdx.x * n;
    float most = -3e38f, sum = 0.0f;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        most = fmaxf(most, row[i]);
    }
    most = over_block(most, shared, true);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        sum += expf(row[i] - most);
    }
    sum = over_block(sum, shared, false);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        y[(long long)blockIdx.x * n + i] = expf(row[i] - most) / sum;
    }
}

// Slow paths (large arguments), tables, local arrays, loops of different lengths.
extern "C" __global__ void functions(const float *x, float *y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        float v = x[i];
        float *o = y + i * 16;
        o[0] = sinf(v), o[1] = cosf(v), o[2] = tanf(v), o[3] = expf(v);
        o[4] = logf(fabsf(v)), o[5] = powf(fabsf(v), 1.7f), o[6] = tanhf(v), o[7] = erff(v);
        o[8] = fmodf(v, 0.37f), o[9] = sqrtf(fabsf(v)), o[10] = atan2f(v, 2.0f),
        o[11] = lgammaf(fabsf(v) + 0.5f);
        o[12] = v / 3.7f, o[13] = rsqrtf(fabsf(v) + 1.0f), o[14] = roundf(v), o[15] = cbrtf(v);
    }
}

extern "C" __global__ void doubles(const double *x, double *y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        double v = x[i];
        double *o = y + i * 8;
        o[0] = sin(v), o[1] = exp(v * 1e-3), o[2] = log(fabs(v)), o[3] = pow(fabs(v), 1.3);
        o[4] = v / 7.0, o[5] = sqrt(fabs(v)), o[6] = tanh(v), o[7] = floor(v) + fmod(v, 3.0);
    }
}

extern "C" __global__ void integers(const long long *x, long long *y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        long long a = x[2 * i], b = x[2 * i + 1];
        unsigned long long u = a, w = b;
        long long *o = y + i * 12;
        o[0] = b ? a / b : 0, o[1] = b ? a % b : 0, o[2] = w ? u / w : 0, o[3] = w ? u % w : 0;
        o[4] = __mul64hi(a, b), o[5] = a * b, o[6] = __popcll(a) + __clzll(b) * 100;
        o[7] = (int)a / ((int)b | 1), o[8] = (short)a % ((short)b | 1),
        o[9] = (signed char)a * (unsigned char)b;
        o[10] = __brevll(a), o[11] = (long long)((float)a) + (long long)(double)b;
    }
}

__device__ u16 to_half(float f)
{
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

__device__ float from_half(u16 h)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

extern "C" __global__ void halves(const float *x, u16 *y, float *z, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = to_half(x[i]);
        z[i] = from_half(y[i]) + from_half((u16)i);
    }
}

extern "C" __global__ void bytes(const signed char *x, unsigned char *y, bool *z, int n)
{
    extern __shared__ signed char shared[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    shared[threadIdx.x] = i < n ? x[i] : 0;
    __syncthreads();
    if (i < n) {
        int v = shared[threadIdx.x] * 3 + 5;
        y[i] = v < 0 ? 0 : v > 255 ? 255 : v;
        z[i] = shared[threadIdx.x ^ 1] > shared[threadIdx.x];
    }
}

__constant__ int primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};

__noinline__ __device__ int collatz(int v, int depth)
{
    int steps = 0;
    while (v != 1 && steps < depth) {
        v = v & 1 ? 3 * v + 1 : v / 2;
        steps++;
    }
    return steps;
}

extern "C" __global__ void branches(int *y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) {
        return;
    }
    int r;
    switch (i % 11) {
    case 0: r = collatz(i + 1, 1000); break;
    case 1: r = i * 3; break;
    case 2: r = i ^ 0x55; break;
    case 3: r = primes[i & 7]; break;
    case 4: r = -i; break;
    case 5: r = i << 3; break;
    case 6: r = collatz(i, 10) * 7; break;
    case 7: r = i / 13; break;
    case 8: r = 1000 - i; break;
    case 9: r = i * i; break;
    default: r = 42;
    }
    y[i] = r;
}

/*
 * C[m][n] = sum over k of A[m][k] * B[n][k], as a pipeline of the tensor cores: tiles of 64 x 64 x
 * 32 in 3 slots of shared memory, which cp.async fills two steps ahead. gridDim.z blocks share the
 * depth; the last one to arrive adds their sums in order. k is a multiple of 8. BUG plants a
 * mistake.
 */
enum { TILE = 64, DEPTH = 32, SLOT_BYTES = 2 * TILE * DEPTH * 2, SLOTS = 3 };
enum bug { NO_BUG, WAITS_TOO_LITTLE, NO_BARRIER, COPIES_TOO_EARLY, COPIES_BEYOND, ROW_OFF };

static __device__ unsigned place_of(int row, int chunk) /* 16-byte chunks, turned by row */
{
    return (unsigned)(row * DEPTH * 2 + (chunk ^ (row >> 1 & 3)) * 16);
}

template <bug BUG>
static __device__ void copy_tile(unsigned to, const u16 *from, int first_row, int rows, int first_k,
                                 int k)
{
    for (int i = threadIdx.x; i < TILE * 4; i += 128) {
        int row = i / 4, chunk = i % 4;
        bool inside = first_row + row < rows && first_k + chunk * 8 < k;
        const u16 *p = from + (long long)(first_row + row) * k + first_k + chunk * 8;
        int bytes = inside || BUG == COPIES_BEYOND ? 16 : 0;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     :
                     : "r"(to + place_of(row, chunk)), "l"(p), "r"(bytes)
                     : "memory");
    }
}

static __device__ void load_matrices(unsigned (&r)[4], unsigned from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}

template <bug BUG>
static __device__ void multiply_tile(float (&sums)[2][4][4], unsigned a, unsigned b, int m, int n)
{
    int lane = threadIdx.x % 32;
    for (int step = 0; step < DEPTH / 16; step++) {
        unsigned x[2][4], y[2][4];
        for (int i = 0; i < 2; i++) {
            int off = BUG == ROW_OFF && lane == 5 ? 8 : 0;
            load_matrices(x[i], a + place_of(m + i * 16 + lane % 16, step * 2 + lane / 16) + off);
            load_matrices(
                y[i], b + place_of(n + i * 16 + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
        }
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 4; j++)
                asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                             "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                             : "+f"(sums[i][j][0]), "+f"(sums[i][j][1]), "+f"(sums[i][j][2]),
                               "+f"(sums[i][j][3])
                             : "r"(x[i][0]), "r"(x[i][1]), "r"(x[i][2]), "r"(x[i][3]),
                               "r"(y[j / 2][j % 2 * 2]), "r"(y[j / 2][j % 2 * 2 + 1]));
    }
}

static __device__ void store_tile(float *to, const float (&sums)[2][4][4], int first_m, int first_n,
                                  int m, int n)
{
    int lane = threadIdx.x % 32;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++)
            for (int r = 0; r < 4; r++) {
                int row = first_m + i * 16 + lane / 4 + r / 2 * 8;
                int column = first_n + j * 8 + lane % 4 * 2 + r % 2;
                if (row < m && column < n)
                    to[(long long)row * n + column] = sums[i][j][r];
            }
}

/* The last block of a tile adds what all have left. */
static __device__ void add_parts(float *c, const float *parts, unsigned *counter, int m, int n)
{
    __shared__ unsigned arrived;
    __syncthreads();
    if (threadIdx.x == 0)
        asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
                     : "=r"(arrived)
                     : "l"(counter + blockIdx.y * gridDim.x + blockIdx.x)
                     : "memory");
    __syncthreads();
    if (arrived != gridDim.z - 1)
        return;
    for (int i = threadIdx.x; i < TILE * TILE; i += 128) {
        int row = blockIdx.y * TILE + i / TILE, column = blockIdx.x * TILE + i % TILE;
        float sum = 0.0f;
        for (int z = 0; z < gridDim.z && row < m && column < n; z++)
            sum += parts[((long long)z * m + row) * n + column];
        if (row < m && column < n)
            c[(long long)row * n + column] = sum;
    }
}

template <bug BUG>
static __device__ void pipeline(const u16 *a, const u16 *b, float *c, float *parts,
                                unsigned *counter, int m, int n, int k)
{
    extern __shared__ __align__(128) unsigned char slots[];
    unsigned base = (unsigned)__cvta_generic_to_shared(slots);
    int warp = threadIdx.x / 32, warp_m = warp % 2 * 32, warp_n = warp / 2 * 32;
    int tiles = (k + DEPTH - 1) / DEPTH, own = (tiles + gridDim.z - 1) / gridDim.z;
    int first = blockIdx.z * own, last = min(first + own, tiles);
    float sums[2][4][4] = {};
    auto copy = [&](int tile) {
        unsigned to = base + (unsigned)((tile - first) % SLOTS * SLOT_BYTES);
        if (tile < last) {
            copy_tile<BUG>(to, a, blockIdx.y * TILE, m, tile * DEPTH, k);
            copy_tile<BUG>(to + SLOT_BYTES / 2, b, blockIdx.x * TILE, n, tile * DEPTH, k);
        }
        asm volatile("cp.async.commit_group;" : : : "memory");
    };
    for (int i = 0; i < SLOTS - 1; i++)
        copy(first + i);
    for (int tile = first; tile < last; tile++) {
        unsigned from = base + (unsigned)((tile - first) % SLOTS * SLOT_BYTES);
        if (BUG == COPIES_TOO_EARLY)
            copy(tile + SLOTS - 1);
        asm volatile(
            "cp.async.wait_group %0;"
            :
            : "n"(BUG == WAITS_TOO_LITTLE || BUG == COPIES_TOO_EARLY ? SLOTS - 1 : SLOTS - 2)
            : "memory");
        if (BUG != NO_BARRIER)
            __syncthreads();
        if (BUG != COPIES_TOO_EARLY)
            copy(tile + SLOTS - 1);
        multiply_tile<BUG>(sums, from, from + SLOT_BYTES / 2, warp_m, warp_n);
    }
    long long part = (long long)blockIdx.z * m * n;
    store_tile(gridDim.z > 1 ? parts + part : c, sums, blockIdx.y * TILE + warp_m,
               blockIdx.x * TILE + warp_n, m, n);
    if (gridDim.z > 1)
        add_parts(c, parts, counter, m, n);
}

#define PIPELINE(name, bug)                                                                        \
    extern "C" __global__ void __launch_bounds__(128)                                              \
        name(const u16 *a, const u16 *b, float *c, float *parts, unsigned *counter, int m, int n,  \
             int k)                                                                                \
    {                                                                                              \
        pipeline<bug>(a, b, c, parts, counter, m, n, k);                                           \
    }
PIPELINE(pipeline_right, NO_BUG)
PIPELINE(pipeline_waits_too_little, WAITS_TOO_LITTLE)
PIPELINE(pipeline_without_barrier, NO_BARRIER)
PIPELINE(pipeline_copies_too_early, COPIES_TOO_EARLY)
PIPELINE(pipeline_copies_beyond, COPIES_BEYOND)
PIPELINE(pipeline_row_off, ROW_OFF)
