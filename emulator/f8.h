/* f8: e4m3 (no infinity, one NaN) and e5m2 (the upper byte of an f16). */
#ifndef EMU_F8_H
#define EMU_F8_H

#include <stdint.h>
#include <string.h>

#include "half.h"

static inline float e5m2_to_float(uint8_t v)
{
    return f16_to_float((uint16_t)(v << 8));
}

static inline float e4m3_to_float(uint8_t v)
{
    uint32_t exponent = v >> 3 & 15, mantissa = v & 7, bits;
    float f;
    if ((v & 0x7f) == 0x7f) {
        bits = 0x7fffffff;
    } else if (exponent == 0) {
        f = (float)mantissa * 0x1p-9f;
        return v & 0x80 ? -f : f;
    } else {
        bits = (exponent + 120) << 23 | mantissa << 20 | (uint32_t)(v & 0x80) << 24;
    }
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To nearest even; what is too large, infinity too, becomes the largest number. */
static inline uint8_t float_to_f8(float f, int mantissa, int exponent, uint8_t largest)
{
    uint32_t bits, fraction = 23 - (uint32_t)mantissa;
    memcpy(&bits, &f, sizeof bits);
    uint32_t magnitude = bits & 0x7fffffffu, bias = (1u << (exponent - 1)) - 1;
    uint8_t sign = (uint8_t)(bits >> 24 & 0x80);
    if (magnitude > 0x7f800000u) {
        return 0x7f;
    }
    float lowest, m;
    uint32_t lowest_bits = (128 - bias) << 23; /* the smallest normal number */
    memcpy(&lowest, &lowest_bits, sizeof lowest);
    memcpy(&m, &magnitude, sizeof m);
    if (m < lowest) { /* adding this leaves the last bit of the result as the last bit of m */
        uint32_t unit_bits = (128 - bias + fraction) << 23, sum;
        float unit;
        memcpy(&unit, &unit_bits, sizeof unit);
        m += unit;
        memcpy(&sum, &m, sizeof sum);
        return (uint8_t)(sign | (sum - unit_bits));
    }
    uint32_t rounded = magnitude + ((1u << (fraction - 1)) - 1) + (magnitude >> fraction & 1);
    uint32_t value = (rounded >> fraction) - ((127 - bias) << mantissa);
    return (uint8_t)(sign | (value > largest ? largest : value));
}

static inline uint8_t float_to_e4m3(float f)
{
    return float_to_f8(f, 3, 4, 0x7e);
}

static inline uint8_t float_to_e5m2(float f)
{
    return float_to_f8(f, 2, 5, 0x7b);
}

#endif
