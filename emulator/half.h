/* f16 and bf16: to and from wider formats, every rounding as IEEE 754 asks. */
#ifndef EMU_HALF_H
#define EMU_HALF_H

#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__F16C__) && !defined(EMU_PLAIN_C)
#include <immintrin.h>
#endif

/*
 * Rounds v to a format of 16 bits with so many bits of mantissa and exponent.
 * mode: 0 to nearest even, MOD_RZ, MOD_RM or MOD_RP.
 */
static inline uint16_t double_to_16(double v, int mantissa, int exponent, int mode)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 63 << 15);
    int bias = (1 << (exponent - 1)) - 1;
    uint16_t infinity = (uint16_t)(((1 << exponent) - 1) << mantissa);
    if (v != v) {
        return 0x7fff; /* the NaN that a GPU makes */
    }
    double magnitude = fabs(v);
    if (magnitude == 0.0 || isinf(magnitude)) {
        return sign | (magnitude == 0.0 ? 0 : infinity);
    }
    int e;
    frexp(magnitude, &e); /* magnitude = m * 2^e, m in [1/2, 1) */
    int lowest = 1 - bias;
    int unit = (e - 1 < lowest ? lowest : e - 1) - mantissa; /* exponent of the last bit */
    double scaled = ldexp(magnitude, -unit), whole = floor(scaled), rest = scaled - whole;
    int up = mode == 0    ? rest > 0.5 || (rest == 0.5 && fmod(whole, 2.0) != 0.0)
             : mode == 8  ? rest > 0.0 && sign
             : mode == 12 ? rest > 0.0 && !sign
                          : 0;
    double rounded = ldexp(whole + up, unit);
    if (rounded >= ldexp(1.0, bias + 1)) {
        int keep = mode == 4 || (mode == 8 && !sign) || (mode == 12 && sign);
        return sign | (uint16_t)(keep ? infinity - 1 : infinity);
    }
    if (rounded < ldexp(1.0, lowest)) {
        return sign | (uint16_t)ldexp(rounded, mantissa - lowest);
    }
    frexp(rounded, &e);
    uint16_t fraction = (uint16_t)(ldexp(rounded, mantissa - (e - 1)) - ldexp(1.0, mantissa));
    return (uint16_t)(sign | (e - 1 + bias) << mantissa | fraction);
}

static inline uint16_t double_to_f16(double v, int mode)
{
    return double_to_16(v, 10, 5, mode);
}

static inline uint16_t double_to_bf16(double v, int mode)
{
    return double_to_16(v, 7, 8, mode);
}

/* a + b rounded to odd: rounding that once more to fewer bits is as good as rounding once. */
static inline double sum_odd(double a, double b)
{
    double s = a + b, t = s - a;
    double error = (a - (s - t)) + (b - t);
    if (error != 0.0 && error == error && !isinf(s)) {
        uint64_t bits;
        memcpy(&bits, &s, sizeof bits);
        if (!(bits & 1)) {
            bits += (error > 0.0) == (s > 0.0) ? 1 : UINT64_MAX;
        }
        memcpy(&s, &bits, sizeof bits);
    }
    return s;
}

static inline float f16_to_float(uint16_t h)
{
    uint32_t exponent = h >> 10 & 31, mantissa = h & 1023, bits;
    float f;
    if (exponent == 0) {
        f = (float)mantissa * 0x1p-24f;
        return h & 0x8000 ? -f : f;
    }
    bits = (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | mantissa << 13;
    bits |= (uint32_t)(h & 0x8000) << 16;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* n is a multiple of 8, or small. */
static inline void f16_to_floats(const uint16_t *from, float *to, int n)
{
    int i = 0;
#if defined(__F16C__) && !defined(EMU_PLAIN_C)
    for (; i + 8 <= n; i += 8) {
        __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(h));
    }
#endif
    for (; i < n; i++) {
        to[i] = f16_to_float(from[i]);
    }
}

/* Round to nearest even, in integers: exact and quick without help from the CPU. */
static inline uint16_t float_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return 0x7fff;
    }
    if (magnitude >= 0x477ff000u) { /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00);
    }
    if (magnitude < 0x38800000u) { /* subnormal: units of 2^-24 */
        float m;
        memcpy(&m, &magnitude, sizeof m);
        m += 0.5f; /* now the last bit of m is worth 2^-24 */
        memcpy(&magnitude, &m, sizeof m);
        return (uint16_t)(sign | (magnitude - 0x3f000000u));
    }
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (magnitude - 0x38000000u) >> 13);
}

static inline void floats_to_f16(const float *from, uint16_t *to, int n)
{
    int i = 0;
#if defined(__F16C__) && !defined(EMU_PLAIN_C)
    for (; i + 8 <= n; i += 8) {
        __m256 f = _mm256_loadu_ps(from + i);
        __m128i h = _mm256_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128((__m128i *)(void *)(to + i), h);
    }
    for (int k = 0; k < i; k++) { /* any NaN becomes the one that a GPU makes */
        to[k] = (to[k] & 0x7fff) > 0x7c00 ? 0x7fff : to[k];
    }
#endif
    for (; i < n; i++) {
        to[i] = float_to_f16(from[i]);
    }
}

static inline void bf16_to_floats(const uint16_t *from, float *to, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)from[i] << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

static inline void floats_to_bf16(const float *from, uint16_t *to, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        to[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fff : rounded);
    }
}

#endif
