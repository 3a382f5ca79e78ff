/* What atomics compute. */
#ifndef EMU_ATOMICS_H
#define EMU_ATOMICS_H

#include <stdint.h>
#include <string.h>

#include "half.h"

enum atomic_op {
    ATOMIC_ADD,
    ATOMIC_MIN_S32,
    ATOMIC_MAX_S32,
    ATOMIC_MIN_S64,
    ATOMIC_MAX_S64,
    ATOMIC_MIN_U,
    ATOMIC_MAX_U,
    ATOMIC_AND,
    ATOMIC_OR,
    ATOMIC_XOR,
    ATOMIC_EXCH,
    ATOMIC_CAS,
    ATOMIC_INC,
    ATOMIC_DEC,
    ATOMIC_ADD_F32,
    ATOMIC_ADD_F64,
    ATOMIC_ADD_F16,
    ATOMIC_ADD_F16X2,
    ATOMIC_ADD_BF16,
    ATOMIC_ADD_BF16X2,
};

static inline uint64_t add_halves(uint32_t a, uint32_t b, int n, int brain)
{
    uint16_t x[2] = {(uint16_t)a, (uint16_t)(a >> 16)}, y[2] = {(uint16_t)b, (uint16_t)(b >> 16)};
    float f[2], g[2];
    if (brain) {
        bf16_to_floats(x, f, 2);
        bf16_to_floats(y, g, 2);
    } else {
        f16_to_floats(x, f, 2);
        f16_to_floats(y, g, 2);
    }
    f[0] += g[0];
    f[1] += g[1];
    if (brain) {
        floats_to_bf16(f, x, 2);
    } else {
        floats_to_f16(f, x, 2);
    }
    return n == 1 ? x[0] : x[0] | (uint32_t)x[1] << 16;
}

/* What takes the place of old, given the operands b and c. */
static inline uint64_t atomic_result(int op, uint64_t old, uint64_t b, uint64_t c)
{
    switch ((enum atomic_op)op) {
    case ATOMIC_ADD: return old + b;
    case ATOMIC_MIN_S32: return (int32_t)old < (int32_t)b ? old : b;
    case ATOMIC_MAX_S32: return (int32_t)old > (int32_t)b ? old : b;
    case ATOMIC_MIN_S64: return (int64_t)old < (int64_t)b ? old : b;
    case ATOMIC_MAX_S64: return (int64_t)old > (int64_t)b ? old : b;
    case ATOMIC_MIN_U: return old < b ? old : b;
    case ATOMIC_MAX_U: return old > b ? old : b;
    case ATOMIC_AND: return old & b;
    case ATOMIC_OR: return old | b;
    case ATOMIC_XOR: return old ^ b;
    case ATOMIC_EXCH: return b;
    case ATOMIC_CAS: return old == b ? c : old;
    case ATOMIC_INC: return old >= b ? 0 : old + 1;
    case ATOMIC_DEC: return old == 0 || old > b ? b : old - 1;
    case ATOMIC_ADD_F32: {
        uint32_t x = (uint32_t)old, y = (uint32_t)b;
        float f, g;
        memcpy(&f, &x, sizeof f);
        memcpy(&g, &y, sizeof g);
        f += g;
        memcpy(&x, &f, sizeof x);
        return x;
    }
    case ATOMIC_ADD_F64: {
        double f, g;
        memcpy(&f, &old, sizeof f);
        memcpy(&g, &b, sizeof g);
        f += g;
        memcpy(&old, &f, sizeof f);
        return old;
    }
    case ATOMIC_ADD_F16: return add_halves((uint32_t)old, (uint32_t)b, 1, 0);
    case ATOMIC_ADD_F16X2: return add_halves((uint32_t)old, (uint32_t)b, 2, 0);
    case ATOMIC_ADD_BF16: return add_halves((uint32_t)old, (uint32_t)b, 1, 1);
    case ATOMIC_ADD_BF16X2: return add_halves((uint32_t)old, (uint32_t)b, 2, 1);
    }
    return old;
}

#endif
