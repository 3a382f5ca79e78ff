/*
 * Kernels of our own, compiled by NVRTC where one is found, against the same thing in C. Exits
 * with 77 (skipped) and says so where there is none.
 */
#include "device.h"

#include <dlfcn.h>
#include <glob.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *nvrtcProgram;

static CUmodule module;

/* The first library that matches, or NULL. */
static void *open_match(const char *pattern)
{
    glob_t g;
    if (glob(pattern, 0, NULL, &g))
        return NULL;
    void *lib = dlopen(g.gl_pathv[0], RTLD_NOW);
    globfree(&g);
    return lib;
}

static void *open_nvrtc(void)
{
    const char *chosen = getenv("GPUCC_NVRTC");
    static const char *const patterns[] = {"/usr/local/cuda*/lib64/libnvrtc.so.1[23]",
                                           "/usr/local/cuda*/targets/*/lib/libnvrtc.so.1[23]",
                                           NVRTC_WHEEL "/libnvrtc.so.1[23]"};
    void *lib = chosen ? dlopen(chosen, RTLD_NOW) : NULL;
    lib = lib ? lib : dlopen("libnvrtc.so.13", RTLD_NOW);
    if (!lib)
        open_match(NVRTC_WHEEL "/libnvrtc-builtins.so.*"); /* the wheel has no RPATH to it */
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns && !lib; i++)
        lib = open_match(patterns[i]);
    return lib;
}

#define SYMBOL(result, name, ...)                                                                  \
    result (*name)(__VA_ARGS__);                                                                   \
    *(void **)(void *)&name = dlsym(lib, #name);                                                   \
    assert_non_null(*(void **)(void *)&name)

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long n = ftell(f);
    rewind(f);
    char *text = calloc(1, (size_t)n + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)n, f), n);
    fclose(f);
    return text;
}

/* kernels.cu as PTX. */
static char *compile(void *lib)
{
    SYMBOL(int, nvrtcCreateProgram, nvrtcProgram *, const char *, const char *, int,
           const char *const *, const char *const *);
    SYMBOL(int, nvrtcCompileProgram, nvrtcProgram, int, const char *const *);
    SYMBOL(int, nvrtcGetPTXSize, nvrtcProgram, size_t *);
    SYMBOL(int, nvrtcGetPTX, nvrtcProgram, char *);
    SYMBOL(int, nvrtcGetProgramLogSize, nvrtcProgram, size_t *);
    SYMBOL(int, nvrtcGetProgramLog, nvrtcProgram, char *);
    SYMBOL(int, nvrtcDestroyProgram, nvrtcProgram *);
    nvrtcProgram p;
    char *source = read_file(KERNELS);
    assert_int_equal(nvrtcCreateProgram(&p, source, "kernels.cu", 0, NULL, NULL), 0);
    const char *const options[] = {"--gpu-architecture=compute_80", "-lineinfo"};
    int rc = nvrtcCompileProgram(p, 2, options);
    if (rc) {
        size_t n;
        nvrtcGetProgramLogSize(p, &n);
        char *log = malloc(n);
        nvrtcGetProgramLog(p, log);
        print_error("%s\n", log);
        free(log);
    }
    assert_int_equal(rc, 0);
    size_t n;
    assert_int_equal(nvrtcGetPTXSize(p, &n), 0);
    char *ptx = malloc(n);
    assert_non_null(ptx);
    assert_int_equal(nvrtcGetPTX(p, ptx), 0);
    nvrtcDestroyProgram(&p);
    free(source);
    return ptx;
}

static uint32_t seed = 1;

static float random_float(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)((seed >> 8) & 0xffff) / 32768.0f - 1.0f;
}

/* |a - b| <= tolerance * (1 + |b|), or both the same infinity or NaN. */
static int close_enough(double a, double b, double tolerance)
{
    return fabs(a - b) <= tolerance * (1.0 + fabs(b)) || a == b || (a != a && b != b);
}

static void sgemm_multiplies(void **state)
{
    (void)state;
    enum { M = 100, N = 70, K = 50 };
    static float a[M * K], b[K * N], c[M * N];
    for (int i = 0; i < M * K; i++) {
        a[i] = random_float();
    }
    for (int i = 0; i < K * N; i++) {
        b[i] = random_float();
    }
    for (int race = 0; race < 2; race++) {
        device_start(race, 2);
        CUdeviceptr da = device_put(a, sizeof a), db = device_put(b, sizeof b);
        CUdeviceptr dc = device_new(sizeof c);
        int m = M, n = N, k = K;
        void *params[] = {&da, &db, &dc, &m, &n, &k};
        CUfunction f = device_function(module, "sgemm");
        assert_int_equal(cuLaunchKernel(f, 2, 2, 1, 256, 1, 1, 0, NULL, params, NULL), 0);
        device_get(c, dc, sizeof c);
        for (int i = 0; i < M; i++) {
            for (int j = 0; j < N; j++) {
                float sum = 0.0f;
                for (int q = 0; q < K; q++) {
                    sum = fmaf(a[i * K + q], b[q * N + j], sum);
                }
                assert_true(c[i * N + j] == sum);
            }
        }
    }
}

static void softmax_sums_to_one(void **state)
{
    (void)state;
    enum { ROWS = 20, N = 333 };
    static float x[ROWS * N], y[ROWS * N];
    for (int i = 0; i < ROWS * N; i++) {
        x[i] = 8.0f * random_float();
    }
    device_start(1, 2);
    CUdeviceptr dx = device_put(x, sizeof x), dy = device_new(sizeof y);
    int n = N;
    void *params[] = {&dx, &dy, &n};
    device_run(device_function(module, "softmax"), (struct shape){ROWS, 128, 0}, params);
    device_get(y, dy, sizeof y);
    for (int r = 0; r < ROWS; r++) {
        double sum = 0.0;
        for (int i = 0; i < N; i++) {
            sum += exp((double)x[r * N + i]);
        }
        for (int i = 0; i < N; i++) {
            assert_true(close_enough(y[r * N + i], exp((double)x[r * N + i]) / sum, 1e-6));
        }
    }
}

static void functions_are_within_a_few_ulp(void **state)
{
    (void)state;
    enum { N = 1000 };
    static float x[N], y[N][16];
    for (int i = 0; i < N; i++) {
        x[i] = random_float() * (i % 5 == 0 ? 3e5f : i % 5 == 1 ? 3e2f : 4.0f);
    }
    x[0] = 1e30f, x[1] = -3.4e38f, x[2] = 0.0f, x[3] = 1e-40f;
    device_start(0, 2);
    CUdeviceptr dx = device_put(x, sizeof x), dy = device_new(sizeof y);
    int n = N;
    void *params[] = {&dx, &dy, &n};
    device_run(device_function(module, "functions"), (struct shape){8, 128, 0}, params);
    device_get(y, dy, sizeof y);
    for (int i = 0; i < N; i++) {
        double v = (double)x[i], p = fabs(v);
        const double want[16] = {sin(v),
                                 cos(v),
                                 tan(v),
                                 (double)(float)exp(v),
                                 log(p),
                                 (double)(float)pow(p, (double)1.7f),
                                 tanh(v),
                                 erf(v),
                                 (double)fmodf(x[i], 0.37f),
                                 sqrt(p),
                                 atan2(v, 2.0),
                                 (double)(float)lgamma((double)(fabsf(x[i]) + 0.5f)),
                                 v / (double)3.7f,
                                 1.0 / sqrt((double)(fabsf(x[i]) + 1.0f)),
                                 round(v),
                                 cbrt(v)};
        for (int k = 0; k < 16; k++) {
            if (!close_enough((double)y[i][k], want[k], k == 2 ? 1e-4 : 3e-6)) {
                fail_msg("function %d of %g: %g, not %g", k, v, (double)y[i][k], want[k]);
            }
        }
    }
}

static void doubles_are_within_a_few_ulp(void **state)
{
    (void)state;
    enum { N = 500 };
    static double x[N], y[N][8];
    for (int i = 0; i < N; i++) {
        x[i] = (double)random_float() * (i % 3 ? 5.0 : 1e9);
    }
    device_start(0, 2);
    CUdeviceptr dx = device_put(x, sizeof x), dy = device_new(sizeof y);
    int n = N;
    void *params[] = {&dx, &dy, &n};
    device_run(device_function(module, "doubles"), (struct shape){4, 128, 0}, params);
    device_get(y, dy, sizeof y);
    for (int i = 0; i < N; i++) {
        double v = x[i], p = fabs(v);
        const double want[8] = {sin(v),  exp(v * 1e-3), log(p),  pow(p, 1.3),
                                v / 7.0, sqrt(p),       tanh(v), floor(v) + fmod(v, 3.0)};
        for (int k = 0; k < 8; k++) {
            if (!close_enough(y[i][k], want[k], 1e-13)) {
                fail_msg("function %d of %g: %.17g, not %.17g", k, v, y[i][k], want[k]);
            }
        }
    }
}

static int64_t reversed(uint64_t v)
{
    uint64_t r = 0;
    for (int i = 0; i < 64; i++) {
        r |= (v >> i & 1) << (63 - i);
    }
    return (int64_t)r;
}

static void integers_are_exact(void **state)
{
    (void)state;
    enum { N = 1000 };
    static int64_t x[N][2], y[N][12];
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 2; k++) {
            seed = seed * 1664525u + 1013904223u;
            uint64_t high = seed;
            seed = seed * 1664525u + 1013904223u;
            x[i][k] = (int64_t)(high << 32 | seed) >> (7 * (i + 3 * k) % 60);
        }
    }
    device_start(0, 2);
    CUdeviceptr dx = device_put(x, sizeof x), dy = device_new(sizeof y);
    int n = N;
    void *params[] = {&dx, &dy, &n};
    device_run(device_function(module, "integers"), (struct shape){8, 128, 0}, params);
    device_get(y, dy, sizeof y);
    for (int i = 0; i < N; i++) {
        int64_t a = x[i][0], b = x[i][1];
        uint64_t u = (uint64_t)a, w = (uint64_t)b;
        __extension__ typedef __int128 wide;
        wide product = (wide)a * b;
        const int64_t want[12] = {b ? a / b : 0,
                                  b ? a % b : 0,
                                  w ? (int64_t)(u / w) : 0,
                                  w ? (int64_t)(u % w) : 0,
                                  (int64_t)(product >> 64),
                                  (int64_t)(u * w),
                                  __builtin_popcountll(u) + 100 * (w ? __builtin_clzll(w) : 64),
                                  (int32_t)a / ((int32_t)b | 1),
                                  (int16_t)a % ((int16_t)b | 1),
                                  (int8_t)a * (uint8_t)b,
                                  reversed(u),
                                  -1};
        for (int k = 0; k < 11; k++) {
            if (y[i][k] != want[k]) {
                fail_msg("result %d of %" PRId64 ", %" PRId64 ": %" PRId64 ", not %" PRId64, k, a,
                         b, y[i][k], want[k]);
            }
        }
    }
}

static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    enum { N = 65536 };
    static float x[N], z[N];
    static uint16_t y[N];
    for (int i = 0; i < N; i++) {
        x[i] = ldexpf(random_float(), i % 44 - 26);
    }
    device_start(0, 2);
    CUdeviceptr dx = device_put(x, sizeof x), dy = device_new(sizeof y), dz = device_new(sizeof z);
    int n = N;
    void *params[] = {&dx, &dy, &dz, &n};
    device_run(device_function(module, "halves"), (struct shape){N / 128, 128, 0}, params);
    device_get(y, dy, sizeof y);
    device_get(z, dz, sizeof z);
    for (int i = 0; i < N; i++) {
        int e = y[i] >> 10 & 31, e2 = i >> 10 & 31;
        double m = y[i] & 1023, m2 = i & 1023;
        double back = ldexp(e ? m + 1024 : m, (e ? e : 1) - 25) * (y[i] & 0x8000 ? -1 : 1);
        double other = ldexp(e2 ? m2 + 1024 : m2, (e2 ? e2 : 1) - 25) * (i & 0x8000 ? -1 : 1);
        double half_ulp = ldexp(1.0, (e ? e : 1) - 26);
        if (e < 31 && fabs(back - (double)x[i]) > half_ulp) {
            fail_msg("%g became %g", (double)x[i], back);
        }
        if (e < 31 && e2 < 31) {
            assert_true(z[i] == (float)back + (float)other);
        }
    }
}

static void bytes_go_through_shared_memory(void **state)
{
    (void)state;
    enum { N = 1000 };
    static signed char x[N];
    static unsigned char y[N], z[N];
    for (int i = 0; i < N; i++) {
        x[i] = (signed char)(127.0f * random_float());
    }
    device_start(1, 2);
    CUdeviceptr dx = device_put(x, N), dy = device_new(N), dz = device_new(N);
    int n = N;
    void *params[] = {&dx, &dy, &dz, &n};
    device_run(device_function(module, "bytes"), (struct shape){8, 128, 128}, params);
    device_get(y, dy, N);
    device_get(z, dz, N);
    for (int i = 0; i < N; i++) {
        int v = x[i] * 3 + 5;
        assert_int_equal(y[i], v < 0 ? 0 : v > 255 ? 255 : v);
        assert_int_equal(z[i], ((i ^ 1) < N ? x[i ^ 1] : 0) > x[i]);
    }
}

static int collatz(int v, int depth)
{
    int steps = 0;
    while (v != 1 && steps < depth) {
        v = v & 1 ? 3 * v + 1 : v / 2;
        steps++;
    }
    return steps;
}

static void branches_and_calls(void **state)
{
    (void)state;
    enum { N = 5000 };
    static int y[N];
    static const int primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};
    device_start(0, 2);
    CUdeviceptr dy = device_new(sizeof y);
    int n = N;
    void *params[] = {&dy, &n};
    device_run(device_function(module, "branches"), (struct shape){(N + 127) / 128, 128, 0},
               params);
    device_get(y, dy, sizeof y);
    for (int i = 0; i < N; i++) {
        const int want[11] = {collatz(i + 1, 1000), i * 3,  i ^ 0x55, primes[i & 7], -i, i << 3,
                              collatz(i, 10) * 7,   i / 13, 1000 - i, i * i,         42};
        assert_int_equal(y[i], want[i % 11]);
    }
}

/* A pipelined product of halves in so many parts of the depth; 0 or a CUresult. */
static CUresult run_pipeline(const char *name, int m, int n, int k, int parts, int race)
{
    enum { MOST = 200 * 136 };
    static uint16_t a[MOST], b[MOST];
    static float c[MOST];
    uint32_t zeros[16] = {0};
    assert_true(m * k <= MOST && n * k <= MOST && m * n <= MOST);
    for (int i = 0; i < m * k || i < n * k; i++) { /* -8 to 7, of which sums are exact */
        static const uint16_t values[16] = {0xc800, 0xc700, 0xc600, 0xc500, 0xc400, 0xc200,
                                            0xc000, 0xbc00, 0x0000, 0x3c00, 0x4000, 0x4200,
                                            0x4400, 0x4500, 0x4600, 0x4700};
        a[i % MOST] = values[(int)(random_float() * 8.0f + 8.0f) & 15];
        b[i % MOST] = values[(int)(random_float() * 8.0f + 8.0f) & 15];
    }
    device_start(race, 2);
    CUdeviceptr da = device_put(a, (size_t)(m * k) * 2), db = device_put(b, (size_t)(n * k) * 2);
    CUdeviceptr dc = device_new((size_t)(m * n) * 4), counter = device_put(zeros, sizeof zeros);
    CUdeviceptr sums = device_new((size_t)(m * n * parts) * 4);
    void *params[] = {&da, &db, &dc, &sums, &counter, &m, &n, &k};
    CUresult rc = cuLaunchKernel(device_function(module, name), (unsigned)(n + 63) / 64,
                                 (unsigned)(m + 63) / 64, (unsigned)parts, 128, 1, 1, 3 * 8192,
                                 NULL, params, NULL);
    if (rc) {
        return rc;
    }
    device_get(c, dc, (size_t)(m * n) * 4);
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            int sum = 0;
            for (int q = 0; q < k; q++) {
                /* values[i] is i - 8; halves back to it by their exponent and mantissa */
                int x = a[i * k + q], y = b[j * k + q];
                int u = x & 0x7fff ? ((1024 + (x & 1023)) >> (25 - (x >> 10 & 31))) : 0;
                int v = y & 0x7fff ? ((1024 + (y & 1023)) >> (25 - (y >> 10 & 31))) : 0;
                sum += (x & 0x8000 ? -u : u) * (y & 0x8000 ? -v : v);
            }
            assert_true(c[i * n + j] == (float)sum);
        }
    }
    return 0;
}

static void a_pipeline_of_tensor_cores_multiplies(void **state)
{
    (void)state;
    static const int sizes[][4] = {{64, 64, 32, 1},   {64, 128, 160, 1}, {100, 70, 136, 1},
                                   {100, 70, 136, 3}, {33, 9, 8, 1},     {128, 64, 200, 7}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int race = 0; race < 2; race++) {
            CUresult rc = run_pipeline("pipeline_right", sizes[i][0], sizes[i][1], sizes[i][2],
                                       sizes[i][3], race);
            if (rc) {
                print_error("%s\n", gpucc_emu_last_error());
            }
            assert_int_equal(rc, 0);
        }
    }
}

static void its_mistakes_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *name, *what;
    } bugs[] = {
        {"pipeline_waits_too_little", "no wait covers its group"},
        {"pipeline_without_barrier", "shared memory"},
        {"pipeline_copies_too_early", "while a cp.async of warp"},
        {"pipeline_copies_beyond", "out-of-bounds load"},
        {"pipeline_row_off", "misaligned load of 16 bytes"},
    };
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) {
        for (int race = 0; race < 2; race++) {
            CUresult rc = run_pipeline(bugs[i].name, 100, 70, 136, 1, race);
            if (!rc || !strstr(gpucc_emu_last_error(), bugs[i].what)) {
                print_error("%s, race %d: %d %s\n", bugs[i].name, race, (int)rc,
                            gpucc_emu_last_error());
            }
            assert_true(rc && strstr(gpucc_emu_last_error(), bugs[i].what));
            gpucc_emu_forgive();
        }
    }
}

int main(void)
{
    void *lib = open_nvrtc();
    if (!lib) {
        fprintf(stderr, "SKIPPED: no NVRTC found (set GPUCC_NVRTC)\n");
        return 77;
    }
    device_start(0, 2);
    char *ptx = compile(lib);
    CUresult rc = cuModuleLoadData(&module, ptx);
    free(ptx);
    if (rc) {
        fprintf(stderr, "%s\n", gpucc_emu_last_error());
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgemm_multiplies),
        cmocka_unit_test(softmax_sums_to_one),
        cmocka_unit_test(functions_are_within_a_few_ulp),
        cmocka_unit_test(doubles_are_within_a_few_ulp),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bytes_go_through_shared_memory),
        cmocka_unit_test(branches_and_calls),
        cmocka_unit_test(a_pipeline_of_tensor_cores_multiplies),
        cmocka_unit_test(its_mistakes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
