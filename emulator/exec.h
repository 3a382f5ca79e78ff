/*
 * How a handler is written. The exec_*.c files are compiled once for each kind of CPU
 * (EMU_ISA is the suffix of the names); what differs is mostly what the compiler makes of the
 * loops.
 */
#ifndef EMU_EXEC_H
#define EMU_EXEC_H

#include <string.h>

#include "machine.h"

#define EMU_PASTE_(a, b) a##_##b
#define EMU_PASTE(a, b)  EMU_PASTE_(a, b)
#define EMU_NAME(name)   EMU_PASTE(name, EMU_ISA)

#define HANDLER(name)                                                                              \
    void EMU_NAME(exec_##name)(struct warp * w, const struct insn *in, const struct insn *end)

/* The loop over lanes; registers never overlap except when they are the same. */
#ifdef __clang__
#define EACH_LANE _Pragma("clang loop vectorize(assume_safety)") for (int i = 0; i < LANES; i++)
#else
#define EACH_LANE _Pragma("GCC ivdep") for (int i = 0; i < LANES; i++)
#endif
#define REG(type, slot) ((type *)(void *)(w->regs + (slot)))
#define PREDICATE(slot) (*REG(uint32_t, slot))

/* d = f(a), d = f(a, b), d = f(a, b, c) with a, b, c called x, y, z */
#define MAP1(name, TD, TA, expression)                                                             \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            TD *d = REG(TD, in->d);                                                                \
            const TA *a = REG(TA, in->a);                                                          \
            EACH_LANE                                                                              \
            {                                                                                      \
                TA x = a[i];                                                                       \
                d[i] = (TD)(expression);                                                           \
            }                                                                                      \
        }                                                                                          \
    }
#define MAP2(name, TD, TA, TB, expression)                                                         \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            TD *d = REG(TD, in->d);                                                                \
            const TA *a = REG(TA, in->a);                                                          \
            const TB *b = REG(TB, in->b);                                                          \
            EACH_LANE                                                                              \
            {                                                                                      \
                TA x = a[i];                                                                       \
                TB y = b[i];                                                                       \
                d[i] = (TD)(expression);                                                           \
            }                                                                                      \
        }                                                                                          \
    }
#define MAP3(name, TD, TA, TB, TC, expression)                                                     \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            TD *d = REG(TD, in->d);                                                                \
            const TA *a = REG(TA, in->a);                                                          \
            const TB *b = REG(TB, in->b);                                                          \
            const TC *c = REG(TC, in->c);                                                          \
            EACH_LANE                                                                              \
            {                                                                                      \
                TA x = a[i];                                                                       \
                TB y = b[i];                                                                       \
                TC z = c[i];                                                                       \
                d[i] = (TD)(expression);                                                           \
            }                                                                                      \
        }                                                                                          \
    }

typedef int8_t s8;
typedef uint8_t u8;
typedef int16_t s16;
typedef uint16_t u16;
typedef int32_t s32;
typedef uint32_t u32;
typedef int64_t s64;
typedef uint64_t u64;
__extension__ typedef __int128 s128;
__extension__ typedef unsigned __int128 u128;

static inline u32 float_bits(float f)
{
    u32 u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float bits_float(u32 u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline u64 double_bits(double f)
{
    u64 u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline double bits_double(u64 u)
{
    double f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Subnormal numbers to zero of the same sign. */
static inline float flush(float f)
{
    u32 u = float_bits(f);
    return bits_float((u & 0x7f800000u) ? u : u & 0x80000000u);
}

/* Writes result to the lanes of w->mask of a predicate. */
static inline void set_predicate(struct warp *w, u32 slot, u32 result)
{
    u32 *p = REG(u32, slot);
    *p = (*p & ~w->mask) | (result & w->mask);
}

/* The lanes of which t[i] is not zero. */
static inline u32 lane_mask(const u32 t[LANES])
{
    u32 m = 0;
    for (int i = 0; i < LANES; i++) {
        m |= (u32)(t[i] != 0) << i;
    }
    return m;
}

#endif
