/*
 * Floating point: f32, f64, and f16 and bf16 (computed in a wider format and rounded once).
 * The plain forms are loops; the ones with a rounding mode, .ftz or .sat share a second handler.
 */
#include "exec.h"

#include <fenv.h>
#include <math.h>

#include "half.h"

/* Sets the rounding mode that mod asks for until round_end(). */
static inline void round_begin(u8 mod)
{
    static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    if (mod & MOD_ROUND) {
        fesetround(modes[(mod & MOD_ROUND) / MOD_RZ]);
    }
}

static inline void round_end(u8 mod)
{
    if (mod & MOD_ROUND) {
        fesetround(FE_TONEAREST);
    }
}

/* To [0, 1]; NaN becomes 0. */
static inline float saturate(float f)
{
    return f > 0.0f ? (f < 1.0f ? f : 1.0f) : 0.0f;
}

static inline float input(float f, u8 mod)
{
    return mod & MOD_FTZ ? flush(f) : f;
}

static inline float output(float f, u8 mod)
{
    f = mod & MOD_FTZ ? flush(f) : f;
    return mod & MOD_SAT ? saturate(f) : f;
}

#define F32_MAP1(name, expression)                                                                 \
    MAP1(name##_f32, float, float, expression)                                                     \
    HANDLER(name##_f32_mod)                                                                        \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float *d = REG(float, in->d);                                                          \
            const float *a = REG(float, in->a);                                                    \
            u8 mod = in->mod;                                                                      \
            round_begin(mod);                                                                      \
            for (int i = 0; i < LANES; i++) {                                                      \
                float x = input(a[i], mod);                                                        \
                d[i] = output((float)(expression), mod);                                           \
            }                                                                                      \
            round_end(mod);                                                                        \
        }                                                                                          \
    }
#define F32_MAP2(name, expression)                                                                 \
    MAP2(name##_f32, float, float, float, expression)                                              \
    HANDLER(name##_f32_mod)                                                                        \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float *d = REG(float, in->d);                                                          \
            const float *a = REG(float, in->a), *b = REG(float, in->b);                            \
            u8 mod = in->mod;                                                                      \
            round_begin(mod);                                                                      \
            for (int i = 0; i < LANES; i++) {                                                      \
                float x = input(a[i], mod), y = input(b[i], mod);                                  \
                d[i] = output((float)(expression), mod);                                           \
            }                                                                                      \
            round_end(mod);                                                                        \
        }                                                                                          \
    }

static inline float max_number(float x, float y)
{
    float m = x > y ? x : y > x ? y : bits_float(float_bits(x) & float_bits(y));
    m = y != y ? x : m;
    m = x != x ? y : m;
    return m != m ? bits_float(0x7fffffffu) : m;
}

static inline float min_number(float x, float y)
{
    float m = x < y ? x : y < x ? y : bits_float(float_bits(x) | float_bits(y));
    m = y != y ? x : m;
    m = x != x ? y : m;
    return m != m ? bits_float(0x7fffffffu) : m;
}

static inline float any_nan(float x, float y, float otherwise)
{
    return x != x || y != y ? bits_float(0x7fffffffu) : otherwise;
}

static inline double max_double(double x, double y)
{
    double m = x > y ? x : y > x ? y : bits_double(double_bits(x) & double_bits(y));
    m = y != y ? x : m;
    return x != x ? y : m;
}

static inline double min_double(double x, double y)
{
    double m = x < y ? x : y < x ? y : bits_double(double_bits(x) | double_bits(y));
    m = y != y ? x : m;
    return x != x ? y : m;
}

F32_MAP2(add, x + y)
F32_MAP2(sub, x - y)
F32_MAP2(mul, x *y)
F32_MAP2(div, x / y)
F32_MAP2(max, max_number(x, y))
F32_MAP2(min, min_number(x, y))
F32_MAP2(max_nan, any_nan(x, y, max_number(x, y)))
F32_MAP2(min_nan, any_nan(x, y, min_number(x, y)))
F32_MAP1(abs, bits_float(float_bits(x) & 0x7fffffffu))
F32_MAP1(neg, bits_float(float_bits(x) ^ 0x80000000u))
F32_MAP1(rcp, 1.0f / x)
F32_MAP1(sqrt, sqrtf(x))
F32_MAP1(rsqrt, 1.0 / sqrt((double)x))
MAP2(copysign_f32, u32, u32, u32, (x & 0x80000000u) | (y & 0x7fffffffu))
MAP2(copysign_f64, u64, u64, u64, (x & UINT64_C(1) << 63) | (y & ~(UINT64_C(1) << 63)))

HANDLER(fma_f32)
{
    for (; in < end; in++) {
        float *d = REG(float, in->d);
        const float *a = REG(float, in->a), *b = REG(float, in->b), *c = REG(float, in->c);
        EACH_LANE d[i] = fmaf(a[i], b[i], c[i]);
    }
}

HANDLER(fma_f32_mod)
{
    for (; in < end; in++) {
        float *d = REG(float, in->d);
        const float *a = REG(float, in->a), *b = REG(float, in->b), *c = REG(float, in->c);
        u8 mod = in->mod;
        round_begin(mod);
        for (int i = 0; i < LANES; i++) {
            d[i] = output(fmaf(input(a[i], mod), input(b[i], mod), input(c[i], mod)), mod);
        }
        round_end(mod);
    }
}

#define F64_MAP2(name, expression)                                                                 \
    MAP2(name##_f64, double, double, double, expression)                                           \
    HANDLER(name##_f64_mod)                                                                        \
    {                                                                                              \
        round_begin(in->mod);                                                                      \
        EMU_NAME(exec_##name##_f64)(w, in, end);                                                   \
        round_end(in->mod);                                                                        \
    }
F64_MAP2(add, x + y)
F64_MAP2(sub, x - y)
F64_MAP2(mul, x *y)
F64_MAP2(div, x / y)
MAP2(max_f64, double, double, double, max_double(x, y))
MAP2(min_f64, double, double, double, min_double(x, y))
MAP1(abs_f64, u64, u64, x & ~(UINT64_C(1) << 63))
MAP1(neg_f64, u64, u64, x ^ UINT64_C(1) << 63)
MAP1(sqrt_f64, double, double, sqrt(x))
MAP1(rcp_f64, double, double, 1.0 / x)
MAP1(rsqrt_f64, double, double, 1.0 / sqrt(x))
/* .approx.ftz.f64: the high word of the result, the low one zero. */
MAP1(rcp_approx_f64, u64, double, double_bits(1.0 / x) & UINT64_C(0xffffffff00000000))
MAP1(rsqrt_approx_f64, u64, double, double_bits(1.0 / sqrt(x)) & UINT64_C(0xffffffff00000000))
MAP3(fma_f64, double, double, double, double, fma(x, y, z))
HANDLER(fma_f64_mod)
{
    round_begin(in->mod);
    EMU_NAME(exec_fma_f64)(w, in, end);
    round_end(in->mod);
}
#define F64_ROUND1(name)                                                                           \
    HANDLER(name##_f64_mod)                                                                        \
    {                                                                                              \
        round_begin(in->mod);                                                                      \
        EMU_NAME(exec_##name##_f64)(w, in, end);                                                   \
        round_end(in->mod);                                                                        \
    }
F64_ROUND1(sqrt)
F64_ROUND1(rcp)

/* ---- Approximations ---- */

/* 2^x in double: a polynomial of exp(f ln 2) on [-1/2, 1/2], error below 1e-12, then scaled. */
static inline double exp2_double(double x)
{
    x = x > 1100.0 ? 1100.0 : x < -1100.0 ? -1100.0 : x; /* NaN passes */
    double n = nearbyint(x), f = (x - n) * 0.69314718055994530942;
    double p = 1.0 / 39916800.0;
    p = p * f + 1.0 / 3628800.0;
    p = p * f + 1.0 / 362880.0;
    p = p * f + 1.0 / 40320.0;
    p = p * f + 1.0 / 5040.0;
    p = p * f + 1.0 / 720.0;
    p = p * f + 1.0 / 120.0;
    p = p * f + 1.0 / 24.0;
    p = p * f + 1.0 / 6.0;
    p = p * f + 0.5;
    p = p * f + 1.0;
    p = p * f + 1.0;
    /* In two steps, so that results below the range of double become 0 and above it infinite. */
    s32 k = n == n ? (s32)n : 0, half = k / 2;
    double s = bits_double((u64)(s64)(half + 1023) << 52);
    double t = bits_double((u64)(s64)(k - half + 1023) << 52);
    return p * s * t;
}

F32_MAP1(ex2, exp2_double((double)x))
F32_MAP1(lg2, log2((double)x))
F32_MAP1(sin, sin((double)x))
F32_MAP1(cos, cos((double)x))
F32_MAP1(tanh, tanh((double)x))

enum {
    CLASS_FINITE,
    CLASS_INFINITE,
    CLASS_NUMBER,
    CLASS_NAN,
    CLASS_NORMAL,
    CLASS_SUBNORMAL,
};

/* testp: what a number is; magnitude: bits without sign; one_exponent: of the smallest normal. */
static inline int is_class(int what, u64 magnitude, u64 infinity, u64 smallest_normal)
{
    switch (what) {
    case CLASS_FINITE: return magnitude < infinity;
    case CLASS_INFINITE: return magnitude == infinity;
    case CLASS_NUMBER: return magnitude <= infinity;
    case CLASS_NAN: return magnitude > infinity;
    case CLASS_NORMAL: return magnitude >= smallest_normal && magnitude < infinity;
    default: return magnitude < smallest_normal && magnitude != 0;
    }
}

HANDLER(testp_f32)
{
    for (; in < end; in++) {
        const u32 *a = REG(u32, in->a);
        u32 t[LANES];
        for (int i = 0; i < LANES; i++) {
            t[i] = (u32)is_class(in->mod, a[i] & 0x7fffffffu, 0x7f800000u, 0x00800000u);
        }
        set_predicate(w, in->d, lane_mask(t));
    }
}

HANDLER(testp_f64)
{
    for (; in < end; in++) {
        const u64 *a = REG(u64, in->a);
        u32 t[LANES];
        for (int i = 0; i < LANES; i++) {
            t[i] = (u32)is_class(in->mod, a[i] & ~(UINT64_C(1) << 63), UINT64_C(0x7ff) << 52,
                                 UINT64_C(1) << 52);
        }
        set_predicate(w, in->d, lane_mask(t));
    }
}

/* ---- f16, bf16, and pairs of them: N numbers side by side, computed in f32 ---- */

static inline float half_output(float f, u8 mod)
{
    f = mod & MOD_SAT ? saturate(f) : f;
    return mod & MOD_RELU && !(f > 0.0f) && f == f ? 0.0f : f;
}

#define HALF_MAP2(name, FORMAT, N, expression)                                                     \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float a[N], b[N];                                                                      \
            FORMAT##_to_floats(REG(u16, in->a), a, N);                                             \
            FORMAT##_to_floats(REG(u16, in->b), b, N);                                             \
            for (int i = 0; i < N; i++) {                                                          \
                float x = a[i], y = b[i];                                                          \
                a[i] = half_output(expression, in->mod);                                           \
            }                                                                                      \
            floats_to_##FORMAT(a, REG(u16, in->d), N);                                             \
        }                                                                                          \
    }
#define HALF_MAP1(name, FORMAT, N, expression)                                                     \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float a[N];                                                                            \
            FORMAT##_to_floats(REG(u16, in->a), a, N);                                             \
            for (int i = 0; i < N; i++) {                                                          \
                float x = a[i];                                                                    \
                a[i] = (float)(expression);                                                        \
            }                                                                                      \
            floats_to_##FORMAT(a, REG(u16, in->d), N);                                             \
        }                                                                                          \
    }
/* A product plus a number, rounded once: in double, with the last bit made odd if inexact. */
#define HALF_FMA(name, FORMAT, N)                                                                  \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float a[N], b[N], c[N];                                                                \
            u16 *d = REG(u16, in->d);                                                              \
            FORMAT##_to_floats(REG(u16, in->a), a, N);                                             \
            FORMAT##_to_floats(REG(u16, in->b), b, N);                                             \
            FORMAT##_to_floats(REG(u16, in->c), c, N);                                             \
            for (int i = 0; i < N; i++) {                                                          \
                u16 r = double_to_##FORMAT(sum_odd((double)a[i] * b[i], c[i]), 0);                 \
                if (in->mod) {                                                                     \
                    float f;                                                                       \
                    FORMAT##_to_floats(&r, &f, 1);                                                 \
                    f = half_output(f, in->mod);                                                   \
                    floats_to_##FORMAT(&f, &r, 1);                                                 \
                }                                                                                  \
                d[i] = r;                                                                          \
            }                                                                                      \
        }                                                                                          \
    }
#define HALF_OPS(t, FORMAT, N)                                                                     \
    HALF_MAP2(add_##t, FORMAT, N, x + y)                                                           \
    HALF_MAP2(sub_##t, FORMAT, N, x - y)                                                           \
    HALF_MAP2(mul_##t, FORMAT, N, x *y)                                                            \
    HALF_MAP2(max_##t, FORMAT, N, max_number(x, y))                                                \
    HALF_MAP2(min_##t, FORMAT, N, min_number(x, y))                                                \
    HALF_MAP2(max_nan_##t, FORMAT, N, any_nan(x, y, max_number(x, y)))                             \
    HALF_MAP2(min_nan_##t, FORMAT, N, any_nan(x, y, min_number(x, y)))                             \
    HALF_FMA(fma_##t, FORMAT, N)                                                                   \
    HALF_MAP1(ex2_##t, FORMAT, N, exp2_double((double)x))                                          \
    HALF_MAP1(tanh_##t, FORMAT, N, tanh((double)x))
HALF_OPS(f16, f16, LANES)
HALF_OPS(f16x2, f16, 2 * LANES)
HALF_OPS(bf16, bf16, LANES)
HALF_OPS(bf16x2, bf16, 2 * LANES)

MAP1(abs_16, u16, u16, x & 0x7fff)
MAP1(neg_h16, u16, u16, x ^ 0x8000)
MAP1(abs_16x2, u32, u32, x & 0x7fff7fffu)
MAP1(neg_16x2, u32, u32, x ^ 0x80008000u)

/* ---- Comparisons: setp; d2 gets the opposite, c (a predicate) may be combined ---- */

static inline void compared(struct warp *w, const struct insn *in, u32 result)
{
    u32 c = in->c == NO_SLOT ? 0 : PREDICATE(in->c), other = ~result;
    switch (in->mod & MOD_COMBINE) {
    case MOD_AND:
        result &= c;
        other &= c;
        break;
    case MOD_OR:
        result |= c;
        other |= c;
        break;
    case MOD_XOR:
        result ^= c;
        other ^= c;
        break;
    }
    set_predicate(w, in->d, result);
    if (in->d2 != NO_SLOT) {
        set_predicate(w, in->d2, other);
    }
}

#define COMPARE(name, T, expression)                                                               \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            const T *a = REG(T, in->a), *b = REG(T, in->b);                                        \
            u32 r = 0;                                                                             \
            for (int i = 0; i < LANES; i++) {                                                      \
                T x = a[i], y = b[i];                                                              \
                r |= (u32)(expression) << i;                                                       \
            }                                                                                      \
            compared(w, in, r);                                                                    \
        }                                                                                          \
    }
#define COMPARE_ALL(M, t, T)                                                                       \
    M(setp_eq_##t, T, x == y)                                                                      \
    M(setp_ne_##t, T, ORDERED_NE)                                                                  \
    M(setp_lt_##t, T, x < y)                                                                       \
    M(setp_le_##t, T, x <= y)                                                                      \
    M(setp_gt_##t, T, x > y)                                                                       \
    M(setp_ge_##t, T, x >= y)
#define COMPARE_UNORDERED(M, t, T)                                                                 \
    M(setp_equ_##t, T, !(x < y || x > y))                                                          \
    M(setp_neu_##t, T, !(x == y))                                                                  \
    M(setp_ltu_##t, T, !(x >= y))                                                                  \
    M(setp_leu_##t, T, !(x > y))                                                                   \
    M(setp_gtu_##t, T, !(x <= y))                                                                  \
    M(setp_geu_##t, T, !(x < y))                                                                   \
    M(setp_num_##t, T, x == x && y == y)                                                           \
    M(setp_nan_##t, T, x != x || y != y)
#define ORDERED_NE x != y
COMPARE_ALL(COMPARE, s16, s16)
COMPARE_ALL(COMPARE, u16, u16)
COMPARE_ALL(COMPARE, s32, s32)
COMPARE_ALL(COMPARE, u32, u32)
COMPARE_ALL(COMPARE, s64, s64)
COMPARE_ALL(COMPARE, u64, u64)
#undef ORDERED_NE
#define ORDERED_NE (x < y || x > y)
COMPARE_ALL(COMPARE, f32, float)
COMPARE_UNORDERED(COMPARE, f32, float)
COMPARE_ALL(COMPARE, f64, double)
COMPARE_UNORDERED(COMPARE, f64, double)

#define COMPARE_FTZ(name, T, expression)                                                           \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            const float *a = REG(float, in->a), *b = REG(float, in->b);                            \
            u32 r = 0;                                                                             \
            for (int i = 0; i < LANES; i++) {                                                      \
                float x = flush(a[i]), y = flush(b[i]);                                            \
                r |= (u32)(expression) << i;                                                       \
            }                                                                                      \
            compared(w, in, r);                                                                    \
        }                                                                                          \
    }
COMPARE_ALL(COMPARE_FTZ, ftz, float)
COMPARE_UNORDERED(COMPARE_FTZ, ftz, float)

#define COMPARE_HALF(name, FORMAT, expression)                                                     \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float a[LANES], b[LANES];                                                              \
            FORMAT##_to_floats(REG(u16, in->a), a, LANES);                                         \
            FORMAT##_to_floats(REG(u16, in->b), b, LANES);                                         \
            u32 r = 0;                                                                             \
            for (int i = 0; i < LANES; i++) {                                                      \
                float x = a[i], y = b[i];                                                          \
                r |= (u32)(expression) << i;                                                       \
            }                                                                                      \
            compared(w, in, r);                                                                    \
        }                                                                                          \
    }
COMPARE_ALL(COMPARE_HALF, f16, f16)
COMPARE_UNORDERED(COMPARE_HALF, f16, f16)
COMPARE_ALL(COMPARE_HALF, bf16, bf16)
COMPARE_UNORDERED(COMPARE_HALF, bf16, bf16)
