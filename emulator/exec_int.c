/* Integer arithmetic, logic, shifts, bit fields. Shift counts beyond the width saturate. */
#include "exec.h"

#define INT_OPS(w, U)                                                                              \
    MAP2(add_##w, U, U, U, x + y)                                                                  \
    MAP2(sub_##w, U, U, U, x - y)                                                                  \
    MAP2(mul_##w, U, U, U, (U)((u64)x * y))                                                        \
    MAP3(mad_##w, U, U, U, U, (U)((u64)x * y + z))                                                 \
    MAP2(and_##w, U, U, U, x &y)                                                                   \
    MAP2(or_##w, U, U, U, x | y)                                                                   \
    MAP2(xor_##w, U, U, U, x ^ y)                                                                  \
    MAP1(not_##w, U, U, ~x)                                                                        \
    MAP1(cnot_##w, U, U, x == 0)                                                                   \
    MAP1(neg_##w, U, U, 0u - x)                                                                    \
    MAP2(shl_##w, U, U, u32, y > sizeof(U) * 8 - 1 ? 0 : (u64)x << (y & 63))                       \
    MAP1(mov_##w, U, U, x)

INT_OPS(16, u16)
INT_OPS(32, u32)
INT_OPS(64, u64)

#define SIGNED_OPS(t, S)                                                                           \
    MAP1(abs_##t, S, S, x < 0 ? (S)(0 - (u64)x) : x)                                               \
    MAP2(shr_##t, S, S, u32, x >> (y > sizeof(S) * 8 - 1 ? sizeof(S) * 8 - 1 : y))                 \
    MAP2(div_##t, S, S, S, y == 0 ? -1 : y == -1 ? (S)(0 - (u64)x) : x / y)                        \
    MAP2(rem_##t, S, S, S, y == 0 ? x : y == -1 ? 0 : x % y)
SIGNED_OPS(s16, s16)
SIGNED_OPS(s32, s32)
SIGNED_OPS(s64, s64)

#define UNSIGNED_OPS(t, U)                                                                         \
    MAP2(shr_##t, U, U, u32, y > sizeof(U) * 8 - 1 ? 0 : x >> y)                                   \
    MAP2(div_##t, U, U, U, y == 0 ? (U)-1 : x / y)                                                 \
    MAP2(rem_##t, U, U, U, y == 0 ? x : x % y)
UNSIGNED_OPS(u16, u16)
UNSIGNED_OPS(u32, u32)
UNSIGNED_OPS(u64, u64)

#define ORDERED_OPS(t, T, WIDE, BITS)                                                              \
    MAP2(min_##t, T, T, T, x < y ? x : y)                                                          \
    MAP2(max_##t, T, T, T, x > y ? x : y)                                                          \
    MAP2(mulhi_##t, T, T, T, ((WIDE)x * y) >> BITS)                                                \
    MAP3(madhi_##t, T, T, T, T, (T)((WIDE)x * y >> BITS) + (u64)z)                                 \
    MAP3(sad_##t, T, T, T, T, (u64)z + (x < y ? (u64)y - (u64)x : (u64)x - (u64)y))
ORDERED_OPS(s16, s16, s32, 16)
ORDERED_OPS(u16, u16, u32, 16)
ORDERED_OPS(s32, s32, s64, 32)
ORDERED_OPS(u32, u32, u64, 32)
ORDERED_OPS(s64, s64, s128, 64)
ORDERED_OPS(u64, u64, u128, 64)

#define WIDE_OPS(t, T, WIDE)                                                                       \
    MAP2(mulwide_##t, WIDE, T, T, (WIDE)x *y)                                                      \
    MAP3(madwide_##t, WIDE, T, T, WIDE, (u64)((WIDE)x * y) + (u64)z)
WIDE_OPS(s16, s16, s32)
WIDE_OPS(u16, u16, u32)
WIDE_OPS(s32, s32, s64)
WIDE_OPS(u32, u32, u64)

static inline s32 saturate(s64 v)
{
    return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (s32)v;
}
MAP2(add_sat_s32, s32, s32, s32, saturate((s64)x + y))
MAP2(sub_sat_s32, s32, s32, s32, saturate((s64)x - y))

/* Two 16-bit lanes in a word. */
#define PACKED(name, T, expression)                                                                \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            T *d = REG(T, in->d);                                                                  \
            const T *a = REG(T, in->a), *b = REG(T, in->b);                                        \
            for (int i = 0; i < 2 * LANES; i++) {                                                  \
                T x = a[i], y = b[i];                                                              \
                d[i] = (T)(expression);                                                            \
            }                                                                                      \
        }                                                                                          \
    }
PACKED(add_16x2, u16, x + y)
PACKED(min_s16x2, s16, x < y ? x : y)
PACKED(max_s16x2, s16, x > y ? x : y)
PACKED(min_u16x2, u16, x < y ? x : y)
PACKED(max_u16x2, u16, x > y ? x : y)

/* ---- Carries: the flag CC is a predicate, source c and destination d2 ---- */

#define CARRY(name, U, WIDE, expression)                                                           \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            U *d = REG(U, in->d);                                                                  \
            const U *a = REG(U, in->a), *b = REG(U, in->b), *m = REG(U, in->e);                    \
            u32 carry = in->c == NO_SLOT ? 0 : PREDICATE(in->c), out = 0;                          \
            for (int i = 0; i < LANES; i++) {                                                      \
                WIDE x = a[i], y = b[i], c = carry >> i & 1, z = m[i];                             \
                (void)z;                                                                           \
                WIDE r = (expression);                                                             \
                d[i] = (U)r;                                                                       \
                out |= (u32)((r >> (8 * sizeof(U))) & 1) << i;                                     \
            }                                                                                      \
            if (in->d2 != NO_SLOT) {                                                               \
                set_predicate(w, in->d2, out);                                                     \
            }                                                                                      \
        }                                                                                          \
    }
CARRY(addc_32, u32, u64, x + y + c)
CARRY(addc_64, u64, u128, x + y + c)
CARRY(subc_32, u32, u64, x - y - c)
CARRY(subc_64, u64, u128, x - y - c)
CARRY(madc_lo_32, u32, u64, (u64)(u32)(x *y) + z + c)
CARRY(madc_lo_64, u64, u128, (u128)(u64)(x *y) + z + c)
CARRY(madc_hi_u32, u32, u64, (x * y >> 32) + z + c)
CARRY(madc_hi_u64, u64, u128, (x * y >> 64) + z + c)
CARRY(madc_hi_s32, u32, u64, (u64)(u32)((s64)(s32)x *(s32)y >> 32) + z + c)
CARRY(madc_hi_s64, u64, u128, (u128)(u64)((s128)(s64)x *(s64)y >> 64) + z + c)

/* ---- Bits ---- */

static inline u32 reverse32(u32 x)
{
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(x);
}
MAP1(brev_32, u32, u32, reverse32(x))
MAP1(brev_64, u64, u64, (u64)reverse32((u32)x) << 32 | reverse32((u32)(x >> 32)))
MAP1(popc_32, u32, u32, __builtin_popcount(x))
MAP1(popc_64, u32, u64, __builtin_popcountll(x))
MAP1(clz_32, u32, u32, x ? __builtin_clz(x) : 32)
MAP1(clz_64, u32, u64, x ? __builtin_clzll(x) : 64)

/* Position of the highest bit that differs from the sign, or all ones. */
static inline u32 find_high(u64 x, int width, int shift_amount)
{
    if (!x) {
        return UINT32_MAX;
    }
    int position = 63 - __builtin_clzll(x);
    return (u32)(shift_amount ? width - 1 - position : position);
}
MAP1(bfind_u32, u32, u32, find_high(x, 32, in->mod))
MAP1(bfind_u64, u32, u64, find_high(x, 64, in->mod))
MAP1(bfind_s32, u32, s32, find_high((u32)(x < 0 ? ~x : x), 32, in->mod))
MAP1(bfind_s64, u32, s64, find_high((u64)(x < 0 ? ~x : x), 64, in->mod))

static inline u64 low_bits(u32 n)
{
    return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* n bits of x from bit s on; a signed field is filled with its own top bit, or with that of x
 * where it reaches beyond. */
static inline u64 extract(u64 x, u32 s, u32 n, int width, int is_signed)
{
    s &= 255;
    n &= 255;
    u64 field = s >= (u32)width ? 0 : x >> s;
    field &= low_bits(n < (u32)width ? n : (u32)width);
    if (!is_signed || !n) {
        return field;
    }
    u32 top = s + n - 1 < (u32)width - 1 ? s + n - 1 : (u32)width - 1;
    if (x >> top & 1) {
        u32 have = s > top ? 0 : top - s + 1;
        field |= ~low_bits(have);
    }
    return field;
}
MAP3(bfe_u32, u32, u32, u32, u32, extract(x, y, z, 32, 0))
MAP3(bfe_s32, u32, u32, u32, u32, extract(x, y, z, 32, 1))
MAP3(bfe_u64, u64, u64, u32, u32, extract(x, y, z, 64, 0))
MAP3(bfe_s64, u64, u64, u32, u32, extract(x, y, z, 64, 1))

static inline u64 insert(u64 field, u64 into, u32 s, u32 n, u32 width)
{
    s &= 255;
    n &= 255;
    if (s >= width) {
        return into;
    }
    u64 mask = low_bits(n) << s;
    return (into & ~mask) | (field << s & mask);
}
#define BFI(name, U, WIDTH)                                                                        \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            U *d = REG(U, in->d);                                                                  \
            const U *a = REG(U, in->a), *b = REG(U, in->b);                                        \
            const u32 *s = REG(u32, in->c), *n = REG(u32, in->e);                                  \
            EACH_LANE d[i] = (U)insert(a[i], b[i], s[i], n[i], WIDTH);                             \
        }                                                                                          \
    }
BFI(bfi_32, u32, 32)
BFI(bfi_64, u64, 64)

/* Funnel shifts: of y:x, by z; the high word after a left shift, the low after a right one. */
MAP3(shf_l, u32, u32, u32, u32,
     (((u64)y << 32 | x) << (in->mod == MOD_CLAMP ? (z > 32 ? 32 : z) : z & 31)) >> 32)
MAP3(shf_r, u32, u32, u32, u32,
     ((u64)y << 32 | x) >> (in->mod == MOD_CLAMP ? (z > 32 ? 32 : z) : z & 31))

static inline u32 pick(u64 bytes, u32 selector)
{
    u32 byte = (u32)(bytes >> (8 * (selector & 7))) & 255;
    return selector & 8 ? (byte & 128 ? 255 : 0) : byte;
}

static inline u32 permute(u32 x, u32 y, u32 selectors)
{
    u64 bytes = (u64)y << 32 | x;
    return pick(bytes, selectors) | pick(bytes, selectors >> 4) << 8 |
           pick(bytes, selectors >> 8) << 16 | pick(bytes, selectors >> 12) << 24;
}

/* The selectors that the modes of prmt stand for, by the low bits of its third operand. */
static const u16 permute_modes[][4] = {
    {0x3210, 0x4321, 0x5432, 0x6543}, /* f4e */
    {0x5670, 0x6701, 0x7012, 0x0123}, /* b4e */
    {0x0000, 0x1111, 0x2222, 0x3333}, /* rc8 */
    {0x3210, 0x3211, 0x3222, 0x3333}, /* ecl */
    {0x0000, 0x1110, 0x2210, 0x3210}, /* ecr */
    {0x1010, 0x3232, 0x1010, 0x3232}, /* rc16 */
};
MAP3(prmt, u32, u32, u32, u32, permute(x, y, z))
MAP3(prmt_mode, u32, u32, u32, u32, permute(x, y, permute_modes[in->mod][z & 3]))

static inline u32 logic3(u32 x, u32 y, u32 z, u32 table)
{
    u32 r = 0;
    for (u32 k = 0; k < 8; k++) {
        u32 term = (k & 4 ? x : ~x) & (k & 2 ? y : ~y) & (k & 1 ? z : ~z);
        r |= table >> k & 1 ? term : 0;
    }
    return r;
}
MAP3(lop3, u32, u32, u32, u32, logic3(x, y, z, (u32)in->imm))

/* Four products of bytes; mod: bit 0 a is signed, bit 1 b is signed. */
static inline u32 dot4(u32 x, u32 y, u32 z, int mod)
{
    for (int k = 0; k < 32; k += 8) {
        s32 p = mod & 1 ? (s8)(x >> k) : (u8)(x >> k);
        s32 q = mod & 2 ? (s8)(y >> k) : (u8)(y >> k);
        z += (u32)(p * q);
    }
    return z;
}
MAP3(dp4a, u32, u32, u32, u32, dot4(x, y, z, in->mod))

/* Two products of 16-bit halves of x with bytes of y: the low two (imm 0) or the high two. */
static inline u32 dot2(u32 x, u32 y, u32 z, int mod)
{
    y >>= mod & 4 ? 16 : 0;
    for (int k = 0; k < 2; k++) {
        s32 p = mod & 1 ? (s16)(x >> (16 * k)) : (u16)(x >> (16 * k));
        s32 q = mod & 2 ? (s8)(y >> (8 * k)) : (u8)(y >> (8 * k));
        z += (u32)p * (u32)q;
    }
    return z;
}
MAP3(dp2a, u32, u32, u32, u32, dot2(x, y, z, in->mod))

/* ---- Moves ---- */

MAP2(pack_16, u32, u16, u16, x | (u32)y << 16)
MAP2(pack_32, u64, u32, u32, x | (u64)y << 32)
MAP1(part_16, u16, u32, x >> in->imm)
MAP1(part_16_64, u16, u64, x >> in->imm)
MAP1(part_32, u32, u64, x >> in->imm)

HANDLER(pack_16x4)
{
    for (; in < end; in++) {
        u64 *d = REG(u64, in->d);
        const u16 *a = REG(u16, in->a), *b = REG(u16, in->b), *c = REG(u16, in->c),
                  *e = REG(u16, in->e);
        EACH_LANE d[i] = a[i] | (u64)b[i] << 16 | (u64)c[i] << 32 | (u64)e[i] << 48;
    }
}

#define SELECT(name, T)                                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            T *d = REG(T, in->d);                                                                  \
            const T *a = REG(T, in->a), *b = REG(T, in->b);                                        \
            u32 p = PREDICATE(in->c);                                                              \
            EACH_LANE d[i] = p >> i & 1 ? a[i] : b[i];                                             \
        }                                                                                          \
    }
SELECT(selp_16, u16)
SELECT(selp_32, u32)
SELECT(selp_64, u64)

#define SIGN_SELECT(name, T, TC) MAP3(name, T, T, T, TC, z >= 0 ? x : y)
SIGN_SELECT(slct_16_s32, u16, s32)
SIGN_SELECT(slct_32_s32, u32, s32)
SIGN_SELECT(slct_64_s32, u64, s32)
SIGN_SELECT(slct_16_f32, u16, float)
SIGN_SELECT(slct_32_f32, u32, float)
SIGN_SELECT(slct_64_f32, u64, float)

#define PREDICATE_OP(name, expression)                                                             \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        for (; in < end; in++) {                                                                   \
            u32 x = PREDICATE(in->a), y = in->b == NO_SLOT ? 0 : PREDICATE(in->b);                 \
            (void)y;                                                                               \
            set_predicate(w, in->d, expression);                                                   \
        }                                                                                          \
    }
PREDICATE_OP(and_pred, x &y)
PREDICATE_OP(or_pred, x | y)
PREDICATE_OP(xor_pred, x ^ y)
PREDICATE_OP(not_pred, ~x)
PREDICATE_OP(mov_pred, x)
