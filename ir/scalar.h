/*
 * Scalar arithmetic on the host: the g_ functions that ir/ops.def's expressions call, and
 * conversions between all element types. codegen/kernels/prelude.cuh has the same functions for
 * CUDA; the comment at each function is the meaning that both have.
 *
 * f32 functions of libm are computed in double and rounded once: that is right to the last bit
 * almost always, and does not depend on the libm at hand. f64 functions are libm's. Integers wrap
 * in their own type; a file that compiles expressions of ops.def for signed integers must be built
 * with -fwrapv.
 */
#ifndef GPUCC_IR_SCALAR_H
#define GPUCC_IR_SCALAR_H

#include "dtype.h"

#include <math.h>
#include <string.h>

/* ---- The g_ functions: one definition per type, picked by the type of the first operand. */

/* clang-format off */
#define G_SIGNED(X)   X(i8, int8_t) X(i16, int16_t) X(i32, int32_t) X(i64, int64_t)
#define G_UNSIGNED(X) X(u8, uint8_t) X(u16, uint16_t) X(u32, uint32_t) X(u64, uint64_t)

#define G_PICK_FLOAT(f, a) _Generic((a), float: f##_f32, double: f##_f64)
#define G_PICK_INT(f, a)                                                                           \
    _Generic((a), int8_t: f##_i8, int16_t: f##_i16, int32_t: f##_i32, int64_t: f##_i64,            \
                  uint8_t: f##_u8, uint16_t: f##_u16, uint32_t: f##_u32, uint64_t: f##_u64)
#define G_PICK(f, a)                                                                               \
    _Generic((a), float: f##_f32, double: f##_f64,                                                 \
                  int8_t: f##_i8, int16_t: f##_i16, int32_t: f##_i32, int64_t: f##_i64,            \
                  uint8_t: f##_u8, uint16_t: f##_u16, uint32_t: f##_u32, uint64_t: f##_u64)

#define g_div(a, b) G_PICK(g_div, a)(a, b)
#define g_mod(a, b) G_PICK(g_mod, a)(a, b)
#define g_rem(a, b) G_PICK(g_rem, a)(a, b)
#define g_pow(a, b) G_PICK(g_pow, a)(a, b)
#define g_min(a, b) G_PICK(g_min, a)(a, b)
#define g_max(a, b) G_PICK(g_max, a)(a, b)
#define g_abs(a)    G_PICK(g_abs, a)(a)
#define g_sign(a)   G_PICK(g_sign, a)(a)
#define g_shl(a, b) G_PICK_INT(g_shl, a)(a, b)
#define g_shr(a, b) G_PICK_INT(g_shr, a)(a, b)

#define g_floor(a)    G_PICK_FLOAT(g_floor, a)(a)
#define g_ceil(a)     G_PICK_FLOAT(g_ceil, a)(a)
#define g_round(a)    G_PICK_FLOAT(g_round, a)(a)
#define g_sqrt(a)     G_PICK_FLOAT(g_sqrt, a)(a)
#define g_rsqrt(a)    G_PICK_FLOAT(g_rsqrt, a)(a)
#define g_recip(a)    G_PICK_FLOAT(g_recip, a)(a)
#define g_exp(a)      G_PICK_FLOAT(g_exp, a)(a)
#define g_log(a)      G_PICK_FLOAT(g_log, a)(a)
#define g_log1p(a)    G_PICK_FLOAT(g_log1p, a)(a)
#define g_expm1(a)    G_PICK_FLOAT(g_expm1, a)(a)
#define g_sin(a)      G_PICK_FLOAT(g_sin, a)(a)
#define g_cos(a)      G_PICK_FLOAT(g_cos, a)(a)
#define g_tan(a)      G_PICK_FLOAT(g_tan, a)(a)
#define g_asin(a)     G_PICK_FLOAT(g_asin, a)(a)
#define g_acos(a)     G_PICK_FLOAT(g_acos, a)(a)
#define g_atan(a)     G_PICK_FLOAT(g_atan, a)(a)
#define g_sinh(a)     G_PICK_FLOAT(g_sinh, a)(a)
#define g_cosh(a)     G_PICK_FLOAT(g_cosh, a)(a)
#define g_tanh(a)     G_PICK_FLOAT(g_tanh, a)(a)
#define g_asinh(a)    G_PICK_FLOAT(g_asinh, a)(a)
#define g_acosh(a)    G_PICK_FLOAT(g_acosh, a)(a)
#define g_atanh(a)    G_PICK_FLOAT(g_atanh, a)(a)
#define g_erf(a)      G_PICK_FLOAT(g_erf, a)(a)
#define g_sigmoid(a)  G_PICK_FLOAT(g_sigmoid, a)(a)
#define g_gelu(a)     G_PICK_FLOAT(g_gelu, a)(a)
#define g_gelu_tanh(a) G_PICK_FLOAT(g_gelu_tanh, a)(a)
#define g_mish(a)     G_PICK_FLOAT(g_mish, a)(a)
#define g_hard_swish(a) G_PICK_FLOAT(g_hard_swish, a)(a)
#define g_softplus(a) G_PICK_FLOAT(g_softplus, a)(a)
#define g_round_tf32(a) G_PICK_FLOAT(g_round_tf32, a)(a)
#define g_isinf(a)    G_PICK_FLOAT(g_isinf, a)(a)
/* clang-format on */

/* Floats. div: IEEE. rem: C's fmod, sign of a, a rem 0 = NaN. mod: rem moved by b where their signs
 * differ; x mod 0 = NaN. min, max: NaN if either is; of two equal ones the second. sign: +0 for
 * both zeros, NaN stays. */
#define G_FLOAT(S, T, FMOD, FABS)                                                                  \
    static inline T g_div_##S(T a, T b)                                                            \
    {                                                                                              \
        return a / b;                                                                              \
    }                                                                                              \
    static inline T g_rem_##S(T a, T b)                                                            \
    {                                                                                              \
        return FMOD(a, b);                                                                         \
    }                                                                                              \
    static inline T g_mod_##S(T a, T b)                                                            \
    {                                                                                              \
        T r = FMOD(a, b);                                                                          \
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;                                           \
    }                                                                                              \
    static inline T g_min_##S(T a, T b)                                                            \
    {                                                                                              \
        return a != a || a < b ? a : b;                                                            \
    }                                                                                              \
    static inline T g_max_##S(T a, T b)                                                            \
    {                                                                                              \
        return a != a || a > b ? a : b;                                                            \
    }                                                                                              \
    static inline T g_abs_##S(T a)                                                                 \
    {                                                                                              \
        return FABS(a);                                                                            \
    }                                                                                              \
    static inline T g_sign_##S(T a)                                                                \
    {                                                                                              \
        return a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a;                                            \
    }                                                                                              \
    static inline bool g_isinf_##S(T a)                                                            \
    {                                                                                              \
        return FABS(a) == (T)INFINITY;                                                             \
    }
G_FLOAT(f32, float, fmodf, fabsf)
G_FLOAT(f64, double, fmod, fabs)
#undef G_FLOAT

/* floor, ceil, sqrt: IEEE, exact. round: halves to even. */
#define G_EXACT(name, F32, F64)                                                                    \
    static inline float name##_f32(float a)                                                        \
    {                                                                                              \
        return F32(a);                                                                             \
    }                                                                                              \
    static inline double name##_f64(double a)                                                      \
    {                                                                                              \
        return F64(a);                                                                             \
    }
G_EXACT(g_floor, floorf, floor)
G_EXACT(g_ceil, ceilf, ceil)
G_EXACT(g_round, rintf, rint)
G_EXACT(g_sqrt, sqrtf, sqrt)
#undef G_EXACT

/* A float to the 10 bits behind the point that tf32 has, halves away from 0; a double as a float.
 */
static inline float g_round_tf32_f32(float a)
{
    uint32_t bits;
    if (!(fabsf(a) < INFINITY))
        return a;
    memcpy(&bits, &a, sizeof bits);
    bits = (bits + 0x1000) & ~0x1fffu;
    memcpy(&a, &bits, sizeof bits);
    return a;
}
static inline double g_round_tf32_f64(double a)
{
    return g_round_tf32_f32((float)a);
}

/* Functions of one real number with libm's special cases. rsqrt = 1 / sqrt(a), recip = 1 / a,
 * sigmoid = 1 / (1 + exp(-a)) and softplus = log(1 + exp(a)) without overflow. gelu has
 * its limit at minus infinity, 0; gelu_tanh, mish and hard_swish are NaN there, as written out. */
#define G_REAL(name, expression)                                                                   \
    static inline double name##_f64(double a)                                                      \
    {                                                                                              \
        return expression;                                                                         \
    }                                                                                              \
    static inline float name##_f32(float a)                                                        \
    {                                                                                              \
        return (float)name##_f64(a);                                                               \
    }
G_REAL(g_rsqrt, 1 / sqrt(a))
G_REAL(g_recip, 1 / a)
G_REAL(g_exp, exp(a))
G_REAL(g_log, log(a))
G_REAL(g_log1p, log1p(a))
G_REAL(g_expm1, expm1(a))
G_REAL(g_sin, sin(a))
G_REAL(g_cos, cos(a))
G_REAL(g_tan, tan(a))
G_REAL(g_asin, asin(a))
G_REAL(g_acos, acos(a))
G_REAL(g_atan, atan(a))
G_REAL(g_sinh, sinh(a))
G_REAL(g_cosh, cosh(a))
G_REAL(g_tanh, tanh(a))
G_REAL(g_asinh, asinh(a))
G_REAL(g_acosh, acosh(a))
G_REAL(g_atanh, atanh(a))
G_REAL(g_erf, erf(a))
G_REAL(g_sigmoid, a < 0 ? exp(a) / (1 + exp(a)) : 1 / (1 + exp(-a)))
G_REAL(g_gelu, a < -40 ? 0 : a * 0.5 * erfc(-a * 0.70710678118654752))
G_REAL(g_gelu_tanh, a * 0.5 * (1 + tanh(0.79788456080286536 * (a + 0.044715 * a * a * a))))
G_REAL(g_mish, a *tanh((a > 0 ? a : 0) + log1p(exp(-fabs(a)))))
G_REAL(g_hard_swish, a *(a<-3 ? 0 : a> 3 ? 1 : a *(1.0 / 6) + 0.5))
G_REAL(g_softplus, (a > 0 ? a : 0) + log1p(exp(-fabs(a))))
#undef G_REAL

/* C's pow. */
static inline double g_pow_f64(double a, double b)
{
    return pow(a, b);
}
static inline float g_pow_f32(float a, float b)
{
    return (float)pow(a, b);
}

/* Integers. div: towards zero; lowest / -1 wraps to lowest. rem: sign of a. mod: sign of b.
 * Division by 0 gives 0 in all three. pow: wraps; 0 to a negative power is 0. Shifts by a negative
 * count or by the width or more give 0. abs of the lowest is itself. */
#define G_INT(S, T)                                                                                \
    static inline T g_min_##S(T a, T b)                                                            \
    {                                                                                              \
        return a < b ? a : b;                                                                      \
    }                                                                                              \
    static inline T g_max_##S(T a, T b)                                                            \
    {                                                                                              \
        return a > b ? a : b;                                                                      \
    }                                                                                              \
    static inline T g_shl_##S(T a, T b)                                                            \
    {                                                                                              \
        return (uint64_t)b < 8 * sizeof(T) ? (T)((uint64_t)a << b) : 0;                            \
    }                                                                                              \
    static inline T g_shr_##S(T a, T b)                                                            \
    {                                                                                              \
        return (uint64_t)b < 8 * sizeof(T) ? (T)(a >> b) : 0;                                      \
    }                                                                                              \
    static inline T g_power_##S(T a, T b)                                                          \
    {                                                                                              \
        uint64_t power = 1, square = (uint64_t)a;                                                  \
        for (uint64_t n = (uint64_t)b; n; n >>= 1, square *= square)                               \
            power *= n & 1 ? square : 1;                                                           \
        return (T)power;                                                                           \
    }
G_SIGNED(G_INT)
G_UNSIGNED(G_INT)
#undef G_INT

#define G_INT_SIGNED(S, T)                                                                         \
    static inline T g_div_##S(T a, T b)                                                            \
    {                                                                                              \
        return b == 0 ? 0 : b == -1 ? (T)(0 - (uint64_t)a) : (T)(a / b);                           \
    }                                                                                              \
    static inline T g_rem_##S(T a, T b)                                                            \
    {                                                                                              \
        return b == 0 || b == -1 ? 0 : (T)(a % b);                                                 \
    }                                                                                              \
    static inline T g_mod_##S(T a, T b)                                                            \
    {                                                                                              \
        T r = g_rem_##S(a, b);                                                                     \
        return r != 0 && (r < 0) != (b < 0) ? (T)(r + b) : r;                                      \
    }                                                                                              \
    static inline T g_abs_##S(T a)                                                                 \
    {                                                                                              \
        return a < 0 ? (T)(0 - (uint64_t)a) : a;                                                   \
    }                                                                                              \
    static inline T g_sign_##S(T a)                                                                \
    {                                                                                              \
        return (T)((a > 0) - (a < 0));                                                             \
    }                                                                                              \
    static inline T g_pow_##S(T a, T b)                                                            \
    {                                                                                              \
        if (b >= 0)                                                                                \
            return g_power_##S(a, b);                                                              \
        return a == 1 ? 1 : a == -1 ? (T)(b & 1 ? -1 : 1) : 0;                                     \
    }
G_SIGNED(G_INT_SIGNED)
#undef G_INT_SIGNED

#define G_INT_UNSIGNED(S, T)                                                                       \
    static inline T g_div_##S(T a, T b)                                                            \
    {                                                                                              \
        return b == 0 ? 0 : (T)(a / b);                                                            \
    }                                                                                              \
    static inline T g_rem_##S(T a, T b)                                                            \
    {                                                                                              \
        return b == 0 ? 0 : (T)(a % b);                                                            \
    }                                                                                              \
    static inline T g_mod_##S(T a, T b)                                                            \
    {                                                                                              \
        return g_rem_##S(a, b);                                                                    \
    }                                                                                              \
    static inline T g_abs_##S(T a)                                                                 \
    {                                                                                              \
        return a;                                                                                  \
    }                                                                                              \
    static inline T g_sign_##S(T a)                                                                \
    {                                                                                              \
        return a != 0;                                                                             \
    }                                                                                              \
    static inline T g_pow_##S(T a, T b)                                                            \
    {                                                                                              \
        return g_power_##S(a, b);                                                                  \
    }
G_UNSIGNED(G_INT_UNSIGNED)
#undef G_INT_UNSIGNED

/* ---- Floats of 16 bits and less: a sign, `exponent` bits biased by `bias`, `mantissa` bits. */

struct small_float {
    int exponent, mantissa, bias;
    uint32_t max;       /* code of the largest finite number */
    uint32_t infinity;  /* code, 0: the type has none */
    uint32_t nan;       /* code of NaN, 0: the type has none; other codes above infinity
                           (or above max) are NaN too */
    bool unsigned_zero; /* "fnuz": the code of -0 is the one NaN */
};

static const struct small_float small_f16 = {5, 10, 15, 0x7bff, 0x7c00, 0x7e00, false};
static const struct small_float small_bf16 = {8, 7, 127, 0x7f7f, 0x7f80, 0x7fc0, false};
static const struct small_float small_f8e4m3fn = {4, 3, 7, 0x7e, 0, 0x7f, false};
static const struct small_float small_f8e4m3fnuz = {4, 3, 8, 0x7f, 0, 0x80, true};
static const struct small_float small_f8e5m2 = {5, 2, 15, 0x7b, 0x7c, 0x7e, false};
static const struct small_float small_f8e5m2fnuz = {5, 2, 16, 0x7f, 0, 0x80, true};
static const struct small_float small_f4e2m1 = {2, 1, 1, 0x7, 0, 0, false};

static inline uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float bits_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* x >> shift, rounded to nearest even. */
static inline uint32_t shift_to_even(uint32_t x, int shift)
{
    if (shift <= 0 || shift > 31)
        return shift <= 0 ? x : 0;
    uint32_t half = UINT32_C(1) << (shift - 1), rest = x & (2 * half - 1), whole = x >> shift;
    return whole + (rest > half || (rest == half && (whole & 1)));
}

/* Rounds to nearest even. Beyond the largest finite number (infinities too): saturate gives that
 * number, else infinity where the type has one, else NaN. NaN keeps its sign; a type without NaN
 * gives its -0 for it. */
static inline uint32_t small_encode(float x, struct small_float f, bool saturate)
{
    uint32_t bits = float_bits(x), magnitude = bits & 0x7fffffff;
    uint32_t sign = bits >> 31 << (f.exponent + f.mantissa);
    if (f.unsigned_zero)
        sign &= magnitude <= 0x7f800000 ? UINT32_MAX : 0;
    if (magnitude > 0x7f800000)
        return f.nan ? sign | f.nan : UINT32_C(1) << (f.exponent + f.mantissa);
    int exponent = magnitude < 0x800000 ? -126 : (int)(magnitude >> 23) - 127;
    uint32_t significand = (magnitude & 0x7fffff) | (magnitude < 0x800000 ? 0 : 0x800000);
    int lowest = 1 - f.bias; /* exponent of the smallest normal number */
    uint32_t code;
    if (magnitude == 0x7f800000)
        code = UINT32_MAX;
    else if (exponent < lowest)
        code = shift_to_even(significand, 23 - f.mantissa + lowest - exponent);
    else /* the significand's leading bit adds the one that the exponent lacks */
        code = ((uint32_t)(exponent - lowest) << f.mantissa) +
               shift_to_even(significand, 23 - f.mantissa);
    if (code > f.max) {
        saturate = saturate || !f.nan;
        if (!saturate && !f.infinity)
            return f.unsigned_zero ? f.nan : sign | f.nan;
        code = saturate ? f.max : f.infinity;
    }
    return f.unsigned_zero && code == 0 ? 0 : sign | code;
}

/* Exact. */
static inline float small_decode(uint32_t code, struct small_float f)
{
    uint32_t top = UINT32_C(1) << (f.exponent + f.mantissa), magnitude = code & (top - 1);
    uint32_t sign = code & top ? UINT32_C(0x80000000) : 0;
    if (f.unsigned_zero && code == top)
        return bits_float(0x7fc00000);
    if (f.infinity && magnitude == f.infinity)
        return bits_float(sign | 0x7f800000);
    if (magnitude > f.max)
        return bits_float(sign | 0x7fc00000);
    int exponent = (int)(magnitude >> f.mantissa);
    uint32_t mantissa = magnitude & ((UINT32_C(1) << f.mantissa) - 1);
    if (exponent == 0 || exponent <= f.bias - 127) {
        float x = ldexpf((float)mantissa, 1 - f.bias - f.mantissa);
        return sign ? -x : x;
    }
    return bits_float(sign | (uint32_t)(exponent - f.bias + 127) << 23 |
                      mantissa << (23 - f.mantissa));
}

/* f16: the same as the general ones, without branches that a loop would not like. */
static inline float f16_to_float(uint16_t code)
{
    uint32_t sign = (uint32_t)(code & 0x8000) << 16, rest = code & 0x7fff;
    if (rest >= 0x7c00)
        return bits_float(sign | 0x7f800000 | (rest > 0x7c00 ? UINT32_C(0x400000) : 0));
    float x = bits_float(rest << 13) * 0x1p112f; /* rebias by a multiplication: subnormals too */
    return bits_float(float_bits(x) | sign);
}

static inline uint16_t float_to_f16(float x)
{
    return (uint16_t)small_encode(x, small_f16, false);
}

static inline float bf16_to_float(uint16_t code)
{
    return bits_float((uint32_t)code << 16);
}

static inline uint16_t float_to_bf16(float x)
{
    uint32_t bits = float_bits(x), sign = bits >> 16 & 0x8000;
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(sign | small_bf16.nan);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* f8e8m0: 2^(code - 127), 255 is NaN. The sign is dropped, a fraction rounds up. saturate: 0 gives
 * the smallest, infinity the largest; else both, and what lies beyond them, give NaN. */
static inline float f8e8m0_to_float(uint8_t code)
{
    return code == 255 ? bits_float(0x7fc00000)
                       : bits_float(code == 0 ? 0x400000 : (uint32_t)code << 23);
}

static inline uint8_t float_to_f8e8m0(float x, bool saturate)
{
    uint32_t magnitude = float_bits(x) & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return 255;
    uint32_t code = magnitude < 0x800000 ? magnitude > 0x400000
                                         : (magnitude >> 23) + ((magnitude & 0x7fffff) != 0);
    if (!saturate && (magnitude < 0x400000 || code > 254))
        return 255;
    return code > 254 ? 254 : (uint8_t)code;
}

/*
 * random: Philox4x32 with 10 rounds of J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3" (SC 2011): the first 64 of the 128 bits that belong to a counter and
 * a key. There is no state: number a of the sequence with key b is the same wherever and in
 * whatever order it is asked for. Narrower types take the low bits.
 */
static inline uint64_t g_random(uint64_t counter, uint64_t key)
{
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t x = UINT64_C(0xd2511f53) * c0, y = UINT64_C(0xcd9e8d57) * c2;
        c0 = (uint32_t)(y >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)y;
        c2 = (uint32_t)(x >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)x;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return (uint64_t)c1 << 32 | c0;
}

/* ---- Casts, by ONNX's rules.
 *
 * float → float: rounds to nearest even. Out of range: infinity; f8 types follow `saturate`; f4e2m1
 *   always saturates. f64 → 16 bits or less goes through f32.
 * integer → float: rounds to nearest even; integers → 16 bits or less go through f32.
 * float → integer: towards zero, NaN gives 0. i32, i64: saturates. u64: saturates, but negative
 * ones wrap as i64. All narrower integers and u32 wrap what an i64 (saturated) holds. integer →
 * integer: the low bits.   anything → bool: is not zero (NaN is not).
 */
static inline int64_t float_to_i64(double x)
{
    if (x != x)
        return 0;
    return x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : (int64_t)x;
}

static inline int32_t float_to_i32(double x)
{
    if (x != x)
        return 0;
    return x >= 0x1p31 ? INT32_MAX : x < -0x1p31 ? INT32_MIN : (int32_t)x;
}

static inline uint64_t float_to_u64(double x)
{
    if (x >= 0x1p63)
        return x >= 0x1p64 ? UINT64_MAX : (uint64_t)x;
    return (uint64_t)float_to_i64(x);
}

/* The low bits as a signed number. */
static inline int8_t wrap_i4(int64_t x)
{
    return (int8_t)(((x & 15) ^ 8) - 8);
}

static inline int8_t wrap_i2(int64_t x)
{
    return (int8_t)(((x & 3) ^ 2) - 2);
}

#endif
