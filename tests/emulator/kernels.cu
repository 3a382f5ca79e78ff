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
        o[8] = fmodf(v, 0.37f), o[9] = sqrtf(fabsf(v)), o[10] = atan2f(v, 2.0f), o[11] = lgammaf(fabsf(v) + 0.5f);
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
        o[7] = (int)a / ((int)b | 1), o[8] = (short)a % ((short)b | 1), o[9] = (signed char)a * (unsigned char)b;
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
