/*
 * Conversions. A value of 8 bits travels in a register of 16. The decoder widens and narrows
 * registers around a conversion, so that here each type has one width.
 */
#include "exec.h"

#include <fenv.h>
#include <math.h>

#include "f8.h"
#include "half.h"

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

static inline float saturate(float f)
{
    return f > 0.0f ? (f < 1.0f ? f : 1.0f) : 0.0f;
}

/* ---- Integer to integer; C is the register's type, T the value's ---- */

#define CLAMP_s(x, lo, hi)                                                                         \
    ((s64)(x) < (lo) ? (lo) : (x) > 0 && (u64)(x) > (hi) ? (s64)(hi) : (s64)(x))
#define CLAMP_u(x, lo, hi) ((u64)(x) > (hi) ? (hi) : (u64)(x))
#define INT_TO_INT(dt, DC, DT, lo, hi, st, SC, ST, sign)                                           \
    MAP1(cvt_##dt##_##st, DC, SC, (DT)(ST)x)                                                       \
    MAP1(cvt_sat_##dt##_##st, DC, SC, (DT)CLAMP_##sign((ST)x, lo, hi))
#define TO_INT(st, SC, ST, sign)                                                                   \
    INT_TO_INT(s8, s16, s8, INT8_MIN, INT8_MAX, st, SC, ST, sign)                                  \
    INT_TO_INT(u8, u16, u8, 0, UINT8_MAX, st, SC, ST, sign)                                        \
    INT_TO_INT(s16, s16, s16, INT16_MIN, INT16_MAX, st, SC, ST, sign)                              \
    INT_TO_INT(u16, u16, u16, 0, UINT16_MAX, st, SC, ST, sign)                                     \
    INT_TO_INT(s32, s32, s32, INT32_MIN, INT32_MAX, st, SC, ST, sign)                              \
    INT_TO_INT(u32, u32, u32, 0, UINT32_MAX, st, SC, ST, sign)                                     \
    INT_TO_INT(s64, s64, s64, INT64_MIN, (u64)INT64_MAX, st, SC, ST, sign)                         \
    INT_TO_INT(u64, u64, u64, 0, UINT64_MAX, st, SC, ST, sign)
#pragma GCC diagnostic ignored "-Wtype-limits"
TO_INT(s8, s16, s8, s)
TO_INT(u8, u16, u8, u)
TO_INT(s16, s16, s16, s)
TO_INT(u16, u16, u16, u)
TO_INT(s32, s32, s32, s)
TO_INT(u32, u32, u32, u)
TO_INT(s64, s64, s64, s)
TO_INT(u64, u64, u64, u)

/* ---- Floating point to integer: clamped to the range; NaN is 0, in 64 bits the lowest ---- */

static inline double to_integral(double v, u8 mod)
{
    switch (mod & MOD_ROUND) {
    case MOD_RZ: return trunc(v);
    case MOD_RM: return floor(v);
    case MOD_RP: return ceil(v);
    default: return nearbyint(v);
    }
}

#define FLOAT_TO_INT(dt, DC, DT, lo, hi, nan, st, SC, load)                                        \
    HANDLER(cvt_##dt##_##st)                                                                       \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            DC *d = REG(DC, in->d);                                                                \
            const SC *a = REG(SC, in->a);                                                          \
            u8 mod = in->mod;                                                                      \
            for (int i = 0; i < LANES; i++) {                                                      \
                double v = to_integral(load(a[i], mod), mod);                                      \
                d[i] = v >= hi ? (DT)(hi - 1) : v <= lo ? (DT)lo : v == v ? (DT)v : (DT)nan;       \
            }                                                                                      \
        }                                                                                          \
    }
/* The limits of 64 bits are not doubles: hi - 1 is written out. */
#define FLOAT_TO_INT64(dt, DT, lo, hi, top, nan, st, SC, load)                                     \
    HANDLER(cvt_##dt##_##st)                                                                       \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            DT *d = REG(DT, in->d);                                                                \
            const SC *a = REG(SC, in->a);                                                          \
            u8 mod = in->mod;                                                                      \
            for (int i = 0; i < LANES; i++) {                                                      \
                double v = to_integral(load(a[i], mod), mod);                                      \
                d[i] = v >= hi ? top : v <= lo ? (DT)lo : v == v ? (DT)v : (DT)nan;                \
            }                                                                                      \
        }                                                                                          \
    }
#define LOAD_F64(x, mod)  ((void)(mod), x)
#define LOAD_F32(x, mod)  ((double)((mod)&MOD_FTZ ? flush(x) : (x)))
#define LOAD_F16(x, mod)  ((void)(mod), (double)f16_to_float(x))
#define LOAD_BF16(x, mod) ((void)(mod), (double)bits_float((u32)(x) << 16))
#define FROM_FLOAT(st, SC, load)                                                                   \
    FLOAT_TO_INT(s8, s16, s8, -128.0, 128.0, 0, st, SC, load)                                      \
    FLOAT_TO_INT(u8, u16, u8, 0.0, 256.0, 0, st, SC, load)                                         \
    FLOAT_TO_INT(s16, s16, s16, -32768.0, 32768.0, 0, st, SC, load)                                \
    FLOAT_TO_INT(u16, u16, u16, 0.0, 65536.0, 0, st, SC, load)                                     \
    FLOAT_TO_INT(s32, s32, s32, -0x1p31, 0x1p31, 0, st, SC, load)                                  \
    FLOAT_TO_INT(u32, u32, u32, 0.0, 0x1p32, 0, st, SC, load)                                      \
    FLOAT_TO_INT64(s64, s64, -0x1p63, 0x1p63, INT64_MAX, INT64_MIN, st, SC, load)                  \
    FLOAT_TO_INT64(u64, u64, 0.0, 0x1p64, UINT64_MAX, UINT64_C(1) << 63, st, SC, load)
FROM_FLOAT(f64, double, LOAD_F64)
FROM_FLOAT(f32, float, LOAD_F32)
FROM_FLOAT(f16, u16, LOAD_F16)
FROM_FLOAT(bf16, u16, LOAD_BF16)

/* ---- Integer to floating point ---- */

#define INT_TO_FLOAT(dt, DT, st, SC, ST)                                                           \
    HANDLER(cvt_##dt##_##st)                                                                       \
    {                                                                                              \
        u8 mod = in->mod;                                                                          \
        round_begin(mod);                                                                          \
        for (; in < end; in++) {                                                                   \
            DT *d = REG(DT, in->d);                                                                \
            const SC *a = REG(SC, in->a);                                                          \
            EACH_LANE d[i] = (DT)(ST)a[i];                                                         \
        }                                                                                          \
        round_end(mod);                                                                            \
    }
/* To 16 bits by way of a double made odd where it is inexact, so that one rounding counts. */
static inline double odd_from_s64(s64 x)
{
    s64 low = x & 2047;
    return x > INT64_C(1) << 52 || x < -(INT64_C(1) << 52)
               ? (double)((x - low) | (low ? 2048 : 0)) /* fits: multiples of 2048 */
               : (double)x;
}
static inline double odd_from_u64(u64 x)
{
    return x >> 63 ? (double)((x & ~UINT64_C(4095)) | (x & 4095 ? 4096 : 0)) : odd_from_s64((s64)x);
}
#define INT_TO_HALF(FORMAT, st, SC, ST, wide)                                                      \
    HANDLER(cvt_##FORMAT##_##st)                                                                   \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            u16 *d = REG(u16, in->d);                                                              \
            const SC *a = REG(SC, in->a);                                                          \
            for (int i = 0; i < LANES; i++) {                                                      \
                d[i] = double_to_##FORMAT(wide((ST)a[i]), in->mod & MOD_ROUND);                    \
            }                                                                                      \
        }                                                                                          \
    }
#define FROM_INT(st, SC, ST, wide)                                                                 \
    INT_TO_FLOAT(f32, float, st, SC, ST)                                                           \
    INT_TO_FLOAT(f64, double, st, SC, ST)                                                          \
    INT_TO_HALF(f16, st, SC, ST, wide)                                                             \
    INT_TO_HALF(bf16, st, SC, ST, wide)
FROM_INT(s8, s16, s8, (double))
FROM_INT(u8, u16, u8, (double))
FROM_INT(s16, s16, s16, (double))
FROM_INT(u16, u16, u16, (double))
FROM_INT(s32, s32, s32, (double))
FROM_INT(u32, u32, u32, (double))
FROM_INT(s64, s64, s64, odd_from_s64)
FROM_INT(u64, u64, u64, odd_from_u64)

/* ---- Floating point to floating point ---- */

MAP1(cvt_f64_f32, double, float, in->mod &MOD_FTZ ? flush(x) : x)
HANDLER(cvt_f32_f64)
{
    u8 mod = in->mod;
    round_begin(mod);
    for (; in < end; in++) {
        float *d = REG(float, in->d);
        const double *a = REG(double, in->a);
        for (int i = 0; i < LANES; i++) {
            float f = (float)a[i];
            f = mod & MOD_FTZ ? flush(f) : f;
            d[i] = mod & MOD_SAT ? saturate(f) : f;
        }
    }
    round_end(mod);
}

/* Same format, perhaps saturated; the integral ones round to an integer in the same format. */
MAP1(cvt_f32_f32, float, float, in->mod &MOD_SAT ? saturate(x) : in->mod &MOD_FTZ ? flush(x) : x)
#define INTEGRAL(name, expression)                                                                 \
    HANDLER(cvt_##name##_f32)                                                                      \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float *d = REG(float, in->d);                                                          \
            const float *a = REG(float, in->a);                                                    \
            u8 mod = in->mod;                                                                      \
            EACH_LANE                                                                              \
            {                                                                                      \
                float x = mod & MOD_FTZ ? flush(a[i]) : a[i];                                      \
                float r = expression##f(x);                                                        \
                d[i] = mod & MOD_SAT ? saturate(r) : r;                                            \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    MAP1(cvt_##name##_f64, double, double, expression(x))                                          \
    HANDLER(cvt_##name##_f16)                                                                      \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float a[LANES];                                                                        \
            f16_to_floats(REG(u16, in->a), a, LANES);                                              \
            EACH_LANE a[i] = expression##f(a[i]);                                                  \
            floats_to_f16(a, REG(u16, in->d), LANES);                                              \
        }                                                                                          \
    }
INTEGRAL(rni, nearbyint)
INTEGRAL(rzi, trunc)
INTEGRAL(rmi, floor)
INTEGRAL(rpi, ceil)
MAP1(cvt_sat_f64_f64, double, double, x > 0.0 ? (x < 1.0 ? x : 1.0) : 0.0)

#define HALF_CONVERSIONS(FORMAT)                                                                   \
    HANDLER(cvt_f32_##FORMAT)                                                                      \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            FORMAT##_to_floats(REG(u16, in->a), REG(float, in->d), LANES);                         \
            if (in->mod & MOD_SAT) {                                                               \
                float *d = REG(float, in->d);                                                      \
                EACH_LANE d[i] = saturate(d[i]);                                                   \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    HANDLER(cvt_f64_##FORMAT)                                                                      \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float a[LANES];                                                                        \
            double *d = REG(double, in->d);                                                        \
            FORMAT##_to_floats(REG(u16, in->a), a, LANES);                                         \
            EACH_LANE d[i] = a[i];                                                                 \
        }                                                                                          \
    }                                                                                              \
    static u16 EMU_NAME(FORMAT##_from_double)(double v, u8 mod)                                    \
    {                                                                                              \
        v = mod & MOD_SAT ? (v > 0.0 ? (v < 1.0 ? v : 1.0) : 0.0) : v;                             \
        v = mod & MOD_RELU && !(v > 0.0) && v == v ? 0.0 : v;                                      \
        return double_to_##FORMAT(v, mod & MOD_ROUND);                                             \
    }                                                                                              \
    HANDLER(cvt_##FORMAT##_f32)                                                                    \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            const float *a = REG(float, in->a);                                                    \
            u16 *d = REG(u16, in->d);                                                              \
            if (!in->mod) {                                                                        \
                floats_to_##FORMAT(a, d, LANES);                                                   \
                continue;                                                                          \
            }                                                                                      \
            for (int i = 0; i < LANES; i++) {                                                      \
                float x = in->mod & MOD_FTZ ? flush(a[i]) : a[i];                                  \
                d[i] = EMU_NAME(FORMAT##_from_double)((double)x, in->mod);                         \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    HANDLER(cvt_##FORMAT##_f64)                                                                    \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            const double *a = REG(double, in->a);                                                  \
            u16 *d = REG(u16, in->d);                                                              \
            for (int i = 0; i < LANES; i++) {                                                      \
                d[i] = EMU_NAME(FORMAT##_from_double)(a[i], in->mod);                              \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    /* d = {a, b}: a in the upper half */                                                          \
    HANDLER(cvt_##FORMAT##x2_f32)                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            const float *a = REG(float, in->a), *b = REG(float, in->b);                            \
            u32 *d = REG(u32, in->d);                                                              \
            u16 high[LANES], low[LANES];                                                           \
            if (!in->mod) {                                                                        \
                floats_to_##FORMAT(a, high, LANES);                                                \
                floats_to_##FORMAT(b, low, LANES);                                                 \
            } else {                                                                               \
                for (int i = 0; i < LANES; i++) {                                                  \
                    high[i] = EMU_NAME(FORMAT##_from_double)((double)a[i], in->mod);               \
                    low[i] = EMU_NAME(FORMAT##_from_double)((double)b[i], in->mod);                \
                }                                                                                  \
            }                                                                                      \
            EACH_LANE d[i] = (u32)high[i] << 16 | low[i];                                          \
        }                                                                                          \
    }
HALF_CONVERSIONS(f16)
HALF_CONVERSIONS(bf16)

HANDLER(cvt_f16_f16)
{
    for (; in < end; in++) {
        float a[LANES];
        f16_to_floats(REG(u16, in->a), a, LANES);
        for (int i = 0; i < LANES && in->mod & MOD_SAT; i++) {
            a[i] = saturate(a[i]);
        }
        floats_to_f16(a, REG(u16, in->d), LANES);
    }
}

/* ---- Operands of tensor cores ---- */

/* tf32: f32 with 10 bits of mantissa. */
#define TF32(name, expression)                                                                     \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            u32 *d = REG(u32, in->d), relu = in->mod & MOD_RELU;                                   \
            const u32 *a = REG(u32, in->a);                                                        \
            EACH_LANE                                                                              \
            {                                                                                      \
                u32 x = a[i], y = (expression)&0xffffe000u;                                        \
                y = (x & 0x7fffffffu) > 0x7f800000u ? 0x7fffffffu : y;                             \
                d[i] = relu && x >> 31 && y != 0x7fffffffu ? 0 : y;                                \
            }                                                                                      \
        }                                                                                          \
    }
TF32(cvt_tf32_rna, x + 0x1000u)
TF32(cvt_tf32_rn, x + 0xfffu + (x >> 13 & 1))
TF32(cvt_tf32_rz, x)

/* d = {a, b}: a in the upper byte */
#define F8_CONVERSIONS(FORMAT)                                                                     \
    static u8 EMU_NAME(FORMAT##_from)(float x, u8 mod)                                             \
    {                                                                                              \
        return float_to_##FORMAT(mod & MOD_RELU && x < 0.0f ? 0.0f : x);                           \
    }                                                                                              \
    HANDLER(cvt_##FORMAT##x2_f32)                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            const float *a = REG(float, in->a), *b = REG(float, in->b);                            \
            u16 *d = REG(u16, in->d);                                                              \
            for (int i = 0; i < LANES; i++) {                                                      \
                u16 high = EMU_NAME(FORMAT##_from)(a[i], in->mod);                                 \
                d[i] = (u16)(high << 8 | EMU_NAME(FORMAT##_from)(b[i], in->mod));                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    HANDLER(cvt_##FORMAT##x2_f16x2)                                                                \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float x[2 * LANES];                                                                    \
            u8 *d = REG(u8, in->d);                                                                \
            f16_to_floats(REG(u16, in->a), x, 2 * LANES);                                          \
            for (int i = 0; i < 2 * LANES; i++) {                                                  \
                d[i] = EMU_NAME(FORMAT##_from)(x[i], in->mod);                                     \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    HANDLER(cvt_f16x2_##FORMAT##x2)                                                                \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            float x[2 * LANES];                                                                    \
            const u8 *a = REG(u8, in->a);                                                          \
            for (int i = 0; i < 2 * LANES; i++) {                                                  \
                float f = FORMAT##_to_float(a[i]);                                                 \
                x[i] = in->mod & MOD_RELU && f < 0.0f ? 0.0f : f;                                  \
            }                                                                                      \
            floats_to_f16(x, REG(u16, in->d), 2 * LANES);                                          \
        }                                                                                          \
    }
F8_CONVERSIONS(e4m3)
F8_CONVERSIONS(e5m2)
