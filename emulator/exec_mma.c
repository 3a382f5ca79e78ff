/*
 * mma.sync: D = A * B + C by a whole warp.
 *
 * A register of a fragment, over 32 lanes, is a row-major tile of 8 rows by 4 words: of A 8 rows
 * of its M, of B 8 columns (its N), each word holding consecutive k. Registers of A alternate
 * between the upper and the lower 8 rows and then go along k; those of B go along k. An
 * accumulator register holds the even or the odd columns of 8 rows by 8.
 *
 * So accumulators are used where they lie: in vectors of (rows, 4 columns of one parity). A is
 * spread to match, each element 4 times in a row, and B is transposed to rows of k, even columns
 * first. Kernels multiply a few fragments of A with many of B in a row; spread fragments are kept
 * for the length of one call (see MMA_A_ENTRIES).
 *
 * Numerics: every product is exact; products are added to the accumulator one after the other,
 * k ascending, each sum rounded to nearest even in f32 (f64 for f64). Accumulators in f16 are
 * rounded once at the end of an instruction. A GPU adds the products of one instruction in
 * another, undocumented way. tf32 operands lose their low 13 bits. Integers wrap, or are clamped
 * once at the end with .satfinite. A NaN that comes out is 0x7fffffff.
 */
#include "exec.h"

#include <math.h>

#include "f8.h"
#include "half.h"

#if (defined(__AVX512F__) || defined(__AVX2__)) && !defined(EMU_PLAIN_C)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum {
    WORDS = 4,   /* of a row of a register */
    K_MAX = 32,  /* elements of 32 bits along k, once expanded */
    PART = 8,    /* rows of a register */
    SPREAD = 64, /* 16 rows, each element 4 times */
};

enum element { F16, BF16, TF32, F8, S8, S4 };

struct fragments {
    u32 a[MMA_A_ENTRIES][K_MAX][SPREAD] __attribute__((aligned(64)));
    u32 b[MMA_B_ENTRIES][K_MAX][PART] __attribute__((aligned(64)));
    u32 known_a, known_b; /* entries filled in this call */
};

/* Elements of 32 bits that a word becomes: a float, or two integers of 16 bits. */
INLINE int per_word(enum element t)
{
    return t == TF32 ? 1 : t == F16 || t == BF16 || t == S8 ? 2 : 4;
}

INLINE int nibble(u32 v, int is_signed)
{
    return (int)(v & 15) - (is_signed && v & 8 ? 16 : 0);
}

/* One register to 8 rows of 4 * per_word elements. */
INLINE void expand(enum element t, int variant, const void *from, u32 *to)
{
    const u8 *bytes = from;
    const u32 *words = from;
    switch (t) {
    case F16: f16_to_floats(from, (float *)(void *)to, 2 * LANES); break;
    case BF16: bf16_to_floats(from, (float *)(void *)to, 2 * LANES); break;
    case TF32: EACH_LANE to[i] = words[i] & 0xffffe000u; break;
    case F8:
        for (int i = 0; i < 4 * LANES; i++) {
            to[i] = float_bits(variant ? e5m2_to_float(bytes[i]) : e4m3_to_float(bytes[i]));
        }
        break;
    case S8:
        for (int i = 0; i < 4 * LANES; i++) {
            ((s16 *)(void *)to)[i] = variant ? (s8)bytes[i] : (s16)bytes[i];
        }
        break;
    case S4:
        for (int i = 0; i < 4 * LANES; i++) {
            ((s16 *)(void *)to)[2 * i] = (s16)nibble(bytes[i], variant);
            ((s16 *)(void *)to)[2 * i + 1] = (s16)nibble(bytes[i] >> 4, variant);
        }
        break;
    }
}

#if defined(__AVX2__) && !defined(EMU_PLAIN_C)
INLINE void repeat4(u32 to[4], const u32 *from)
{
    _mm_store_ps((float *)(void *)to, _mm_broadcast_ss((const float *)(const void *)from));
}

/* Row column of from, n apart, to column column / 2 + column % 2 * 4 of to. */
INLINE void transpose8(const u32 *from, int n, u32 to[][PART])
{
    static const int place[PART] = {0, 2, 4, 6, 1, 3, 5, 7};
    __m256 r[PART], s[PART];
    for (int i = 0; i < PART; i++) {
        r[i] = _mm256_loadu_ps((const float *)(const void *)(from + place[i] * n));
    }
    for (int i = 0; i < PART; i += 2) {
        s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < PART; i += 4) {
        r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_store_ps((float *)(void *)to[i], _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_store_ps((float *)(void *)to[i + 4], _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
#else
INLINE void repeat4(u32 to[4], const u32 *from)
{
    to[0] = to[1] = to[2] = to[3] = *from;
}

INLINE void transpose8(const u32 *from, int n, u32 to[][PART])
{
    for (int k = 0; k < PART; k++) {
        for (int column = 0; column < PART; column++) {
            to[k][column / 2 + column % 2 * 4] = from[column * n + k];
        }
    }
}
#endif

INLINE void spread_a(struct warp *w, enum element t, int variant, const u32 *slots, int parts,
                     int chunks, u32 a[K_MAX][SPREAD])
{
    int n = WORDS * per_word(t);
    for (int r = 0; r < parts * chunks; r++) {
        u32 x[PART * 4 * WORDS] __attribute__((aligned(64)));
        int k0 = r / parts * n, row0 = r % parts * PART;
        expand(t, variant, REG(u32, slots[r]), x);
        for (int row = 0; row < PART; row++) {
            for (int k = 0; k < n; k++) {
                repeat4(&a[k0 + k][(row0 + row) * 4], &x[row * n + k]);
            }
        }
    }
}

INLINE void transpose_b(struct warp *w, enum element t, int variant, const u32 *slots, int chunks,
                        u32 b[K_MAX][PART])
{
    int n = WORDS * per_word(t);
    for (int r = 0; r < chunks; r++) {
        u32 x[PART * 4 * WORDS] __attribute__((aligned(64)));
        expand(t, variant, REG(u32, slots[r]), x);
        for (int k = 0; k + PART <= n; k += PART) {
            transpose8(x + k, n, b + r * n + k);
        }
        for (int k = 0; n < PART && k < n; k++) {
            for (int column = 0; column < PART; column++) {
                b[r * n + k][column / 2 + column % 2 * 4] = x[column * n + k];
            }
        }
    }
}

/* The spread fragments of in, from this call or anew. */
INLINE void fetch(struct warp *w, const struct insn *in, struct fragments *f, enum element t,
                  int parts, int chunks, const u32 (**a)[SPREAD], const u32 (**b)[PART])
{
    u32 entry_a = in->imm & 255, entry_b = in->imm >> 8 & 255;
    const u32 *slots_a = in->v + in->n, *slots_b = slots_a + in->size;
    if (in->imm & MMA_NEW_A || !(f->known_a >> entry_a & 1)) {
        spread_a(w, t, in->mod & 1, slots_a, parts, chunks, f->a[entry_a]);
        f->known_a |= UINT32_C(1) << entry_a;
    }
    if (in->imm & MMA_NEW_B || !(f->known_b >> entry_b & 1)) {
        transpose_b(w, t, in->mod >> 1 & 1, slots_b, chunks, f->b[entry_b]);
        f->known_b |= UINT32_C(1) << entry_b;
    }
    *a = (const u32(*)[SPREAD])f->a[entry_a];
    *b = (const u32(*)[PART])f->b[entry_b];
}

/* ---- Sums over k: acc[parity][row, column / 2] += a[k][row] * b[k][column] ---- */

#if defined(__AVX512F__) && !defined(EMU_PLAIN_C)
INLINE void multiply_floats(const u32 (*a)[SPREAD], const u32 (*b)[PART], int n, int exact,
                            float *acc[2][2])
{
    __m512 sum[2][4], nan = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fffffff));
    (void)exact;
    for (int i = 0; i < 8; i++) {
        sum[i / 4][i % 4] = _mm512_loadu_ps(acc[i / 4][i % 4 / 2] + i % 2 * 16);
    }
    for (int k = 0; k < n; k++) {
        __m512 even = _mm512_broadcast_f32x4(_mm_load_ps((const float *)(const void *)b[k]));
        __m512 odd = _mm512_broadcast_f32x4(_mm_load_ps((const float *)(const void *)(b[k] + 4)));
        for (int i = 0; i < 4; i++) {
            __m512 x = _mm512_load_ps(a[k] + i * 16);
            sum[0][i] = _mm512_fmadd_ps(x, even, sum[0][i]);
            sum[1][i] = _mm512_fmadd_ps(x, odd, sum[1][i]);
        }
    }
    for (int i = 0; i < 8; i++) {
        __m512 s = sum[i / 4][i % 4];
        s = _mm512_mask_mov_ps(s, _mm512_cmp_ps_mask(s, s, _CMP_UNORD_Q), nan);
        _mm512_storeu_ps(acc[i / 4][i % 4 / 2] + i % 2 * 16, s);
    }
}
#elif defined(__AVX2__) && !defined(EMU_PLAIN_C)
INLINE void multiply_floats(const u32 (*a)[SPREAD], const u32 (*b)[PART], int n, int exact,
                            float *acc[2][2])
{
    __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    (void)exact;
    for (int parity = 0; parity < 2; parity++) {
        __m256 sum[8];
        for (int i = 0; i < 8; i++) {
            sum[i] = _mm256_loadu_ps(acc[parity][i / 4] + i % 4 * 8);
        }
        for (int k = 0; k < n; k++) {
            __m256 y = _mm256_broadcast_ps((const __m128 *)(const void *)(b[k] + 4 * parity));
            for (int i = 0; i < 8; i++) {
                __m256 x = _mm256_load_ps((const float *)(const void *)(a[k] + i * 8));
                sum[i] = _mm256_fmadd_ps(x, y, sum[i]);
            }
        }
        for (int i = 0; i < 8; i++) {
            __m256 bad = _mm256_cmp_ps(sum[i], sum[i], _CMP_UNORD_Q);
            _mm256_storeu_ps(acc[parity][i / 4] + i % 4 * 8, _mm256_blendv_ps(sum[i], nan, bad));
        }
    }
}
#else
INLINE void multiply_floats(const u32 (*a)[SPREAD], const u32 (*b)[PART], int n, int exact,
                            float *acc[2][2])
{
    for (int at = 0; at < 4; at++) {
        float *s = acc[at / 2][at % 2];
        for (int k = 0; k < n; k++) {
            const float *x = (const float *)(const void *)(a[k] + at % 2 * LANES);
            const float *y = (const float *)(const void *)(b[k] + at / 2 * 4);
            for (int i = 0; i < LANES; i++) {
                s[i] = exact ? s[i] + x[i] * y[i % 4] : fmaf(x[i], y[i % 4], s[i]);
            }
        }
        for (int i = 0; i < LANES; i++) {
            s[i] = s[i] == s[i] ? s[i] : bits_float(0x7fffffff);
        }
    }
}
#endif

/* Pairs of 16 bits, sums of 32 bits that wrap. */
INLINE void multiply_pairs(const u32 (*a)[SPREAD], const u32 (*b)[PART], int n, int parts,
                           u32 *acc[2][2])
{
#if defined(__AVX512BW__) && !defined(EMU_PLAIN_C)
    for (int part = 0; part < parts; part++) {
        __m512i sum[4];
        for (int i = 0; i < 4; i++) {
            sum[i] = _mm512_loadu_si512(acc[i / 2][part] + i % 2 * 16);
        }
        for (int k = 0; k < n; k++) {
            const __m128i *y = (const __m128i *)(const void *)b[k];
            __m512i even = _mm512_broadcast_i32x4(y[0]), odd = _mm512_broadcast_i32x4(y[1]);
            for (int i = 0; i < 2; i++) {
                __m512i x = _mm512_load_si512(a[k] + part * LANES + i * 16);
                sum[i] = _mm512_add_epi32(sum[i], _mm512_madd_epi16(x, even));
                sum[2 + i] = _mm512_add_epi32(sum[2 + i], _mm512_madd_epi16(x, odd));
            }
        }
        for (int i = 0; i < 4; i++) {
            _mm512_storeu_si512(acc[i / 2][part] + i % 2 * 16, sum[i]);
        }
    }
#elif defined(__AVX2__) && !defined(EMU_PLAIN_C)
    for (int at = 0; at < 2 * parts; at++) {
        __m256i *s = (__m256i *)(void *)acc[at % 2][at / 2], sum[4];
        for (int i = 0; i < 4; i++) {
            sum[i] = _mm256_loadu_si256(s + i);
        }
        for (int k = 0; k < n; k++) {
            const __m128i *y = (const __m128i *)(const void *)(b[k] + at % 2 * 4);
            const __m256i *x = (const __m256i *)(const void *)(a[k] + at / 2 * LANES);
            for (int i = 0; i < 4; i++) {
                __m256i product = _mm256_madd_epi16(x[i], _mm256_broadcastsi128_si256(*y));
                sum[i] = _mm256_add_epi32(sum[i], product);
            }
        }
        for (int i = 0; i < 4; i++) {
            _mm256_storeu_si256(s + i, sum[i]);
        }
    }
#else
    for (int at = 0; at < 2 * parts; at++) {
        u32 *s = acc[at % 2][at / 2];
        for (int k = 0; k < n; k++) {
            const u32 *x = a[k] + at / 2 * LANES, *y = b[k] + at % 2 * 4;
            for (int i = 0; i < LANES; i++) {
                s32 low = (s16)x[i] * (s16)y[i % 4];
                s32 high = (s16)(x[i] >> 16) * (s16)(y[i % 4] >> 16);
                s[i] += (u32)low + (u32)high;
            }
        }
    }
#endif
}

INLINE void multiply_pairs_saturate(const u32 (*a)[SPREAD], const u32 (*b)[PART], int n, int parts,
                                    u32 *acc[2][2])
{
    for (int at = 0; at < 2 * parts; at++) {
        u32 *s = acc[at % 2][at / 2];
        for (int i = 0; i < LANES; i++) {
            s64 sum = (s32)s[i];
            for (int k = 0; k < n; k++) {
                u32 x = a[k][at / 2 * LANES + i], y = b[k][at % 2 * 4 + i % 4];
                sum += (s16)x * (s16)y + (s16)(x >> 16) * (s16)(y >> 16);
            }
            s[i] = (u32)(sum < INT32_MIN ? INT32_MIN : sum > INT32_MAX ? INT32_MAX : sum);
        }
    }
}

/* ---- Handlers ---- */

/* C of f16: pairs of columns, to even and odd ones and back. */
INLINE void unpack_accumulators(struct warp *w, const u32 slots[2], float out[4][LANES])
{
    for (int part = 0; part < 2; part++) {
        float f[2 * LANES];
        f16_to_floats(REG(u16, slots[part]), f, 2 * LANES);
        EACH_LANE
        {
            out[2 * part][i] = f[2 * i];
            out[2 * part + 1][i] = f[2 * i + 1];
        }
    }
}

INLINE void pack_accumulators(struct warp *w, const u32 slots[2], float sums[4][LANES])
{
    for (int part = 0; part < 2; part++) {
        float f[2 * LANES];
        EACH_LANE
        {
            f[2 * i] = sums[2 * part][i];
            f[2 * i + 1] = sums[2 * part + 1][i];
        }
        floats_to_f16(f, REG(u16, slots[part]), 2 * LANES);
    }
}

/* C to where D is; the two may share registers in any order. */
INLINE void copy_registers(struct warp *w, const u32 *to, const u32 *from, int n)
{
    if (!memcmp(to, from, sizeof *to * (size_t)n)) {
        return;
    }
    u32 copy[4][LANES];
    for (int i = 0; i < n; i++) {
        memcpy(copy[i], REG(u32, from[i]), sizeof copy[i]);
    }
    for (int i = 0; i < n; i++) {
        memcpy(REG(u32, to[i]), copy[i], sizeof copy[i]);
    }
}

INLINE void mma_floats(struct warp *w, const struct insn *in, const struct insn *end,
                       enum element t, int half_sums)
{
    struct fragments f;
    f.known_a = f.known_b = 0;
    for (; in < end; in++) {
        const u32 *d = in->v, *c = in->v + in->n + in->size + in->width;
        const u32(*a)[SPREAD], (*b)[PART];
        float sums[4][LANES];
        float *acc[2][2];
        int n = WORDS * per_word(t), exact = t == F16 || t == F8;
        fetch(w, in, &f, t, 2, in->width, &a, &b);
        if (half_sums) {
            unpack_accumulators(w, c, sums);
        } else {
            copy_registers(w, d, c, 4);
        }
        for (int i = 0; i < 4; i++) {
            acc[i % 2][i / 2] = half_sums ? sums[i] : REG(float, d[i]);
        }
        if (in->width == 2) {
            multiply_floats(a, b, 2 * n, exact, acc);
        } else {
            multiply_floats(a, b, n, exact, acc);
        }
        if (half_sums) {
            pack_accumulators(w, d, sums);
        }
    }
}

INLINE void mma_integers(struct warp *w, const struct insn *in, const struct insn *end,
                         enum element t)
{
    struct fragments f;
    f.known_a = f.known_b = 0;
    for (; in < end; in++) {
        const u32 *d = in->v, *c = in->v + in->n + in->size + in->width;
        const u32(*a)[SPREAD], (*b)[PART];
        u32 *acc[2][2];
        int parts = in->n / 2, n = in->width * WORDS * per_word(t);
        fetch(w, in, &f, t, parts, in->width, &a, &b);
        copy_registers(w, d, c, in->n);
        for (int i = 0; i < 2 * parts; i++) {
            acc[i % 2][i / 2] = REG(u32, d[i]);
        }
        if (in->mod & MOD_SATURATE) {
            multiply_pairs_saturate(a, b, n, parts, acc);
        } else if (parts == 2) {
            multiply_pairs(a, b, n, 2, acc);
        } else {
            multiply_pairs(a, b, n, 1, acc);
        }
    }
}

#define MMA(name, how)                                                                             \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        how;                                                                                       \
    }
MMA(mma_f16, mma_floats(w, in, end, F16, 0))
MMA(mma_f16_f16, mma_floats(w, in, end, F16, 1))
MMA(mma_bf16, mma_floats(w, in, end, BF16, 0))
MMA(mma_tf32, mma_floats(w, in, end, TF32, 0))
MMA(mma_f8, mma_floats(w, in, end, F8, 0))
MMA(mma_f8_f16, mma_floats(w, in, end, F8, 1))
MMA(mma_s8, mma_integers(w, in, end, S8))
MMA(mma_s4, mma_integers(w, in, end, S4))

/* Bits: counts of ones in the rows of A and the columns of B, xor or and. */
HANDLER(mma_b1)
{
    for (; in < end; in++) {
        const u32 *va = in->v + in->n, *vb = va + in->size, *vc = vb + in->width;
        u32 sums[4][LANES];
        int parts = in->n / 2;
        for (int r = 0; r < in->n; r++) {
            const u32 *c = REG(u32, vc[r]);
            for (int i = 0; i < LANES; i++) {
                u32 row = (u32)i / 4, column = (u32)(i % 4 * 2 + r % 2), count = 0;
                for (int word = 0; word < WORDS * in->width; word++) {
                    u32 x = REG(u32, va[r / 2 + word / WORDS * parts])[row * 4 + (u32)word % WORDS];
                    u32 y = REG(u32, vb[word / WORDS])[column * 4 + (u32)word % WORDS];
                    count += (u32)__builtin_popcount(in->mod & MOD_B1_AND ? x & y : x ^ y);
                }
                sums[r][i] = c[i] + count;
            }
        }
        for (int r = 0; r < in->n; r++) {
            memcpy(REG(u32, in->v[r]), sums[r], sizeof sums[r]);
        }
    }
}

HANDLER(mma_f64)
{
    for (; in < end; in++) {
        const u32 *va = in->v + in->n, *vb = va + in->size, *vc = vb + in->width;
        double sums[4][LANES];
        int parts = in->n / 2;
        for (int r = 0; r < in->n; r++) {
            const double *c = REG(double, vc[r]);
            for (int i = 0; i < LANES; i++) {
                int row = i / 4, column = i % 4 * 2 + r % 2;
                double s = c[i];
                for (int k = 0; k < 4 * in->width; k++) {
                    double x = REG(double, va[r / 2 + k / 4 * parts])[row * 4 + k % 4];
                    double y = REG(double, vb[k / 4])[column * 4 + k % 4];
                    s = fma(x, y, s);
                }
                sums[r][i] = s == s ? s : bits_double(UINT64_C(0x7fffffffffffffff));
            }
        }
        for (int r = 0; r < in->n; r++) {
            memcpy(REG(double, in->v[r]), sums[r], sizeof sums[r]);
        }
    }
}

/*
 * m8n8k4 of f16, which sm_70 brought: four products at once, each by 4 lanes and the 4 lanes 16
 * further on, with layouts of their own (PTX ISA). An element of a quarter's operand or result is
 * held by lane, in its half (of f32: register) i.
 */
struct spot {
    int lane, i;
};

INLINE struct spot old_operand(int quarter, int along, int across, int turned)
{
    /* along: 0 to 7, M or N; across: 0 to 3, K. turned: i counts along instead of across */
    int lane = quarter * 4 + (along & 4 ? 16 : 0);
    return turned ? (struct spot){lane + across, along & 3}
                  : (struct spot){lane + (along & 3), across};
}

INLINE struct spot old_sum(int quarter, int row, int column, int wide)
{
    int lane = quarter * 4 + (row & 4 ? 16 : 0);
    if (!wide) {
        return (struct spot){lane + (row & 3), column};
    }
    return (struct spot){lane + (row & 1) + (column & 2), (row & 2) | (column & 4) | (column & 1)};
}

INLINE u16 *half_at(struct warp *w, const u32 *slots, struct spot x)
{
    return &REG(u16, slots[x.i / 2])[x.lane * 2 + x.i % 2];
}

HANDLER(mma_f16_old)
{
    for (; in < end; in++) {
        const u32 *va = in->v + in->n, *vb = va + in->size, *vc = vb + in->width;
        int wide_c = !(in->mod & MOD_HALF_C), wide_d = in->n == 8;
        float sums[4][8][8];
        for (int at = 0; at < 4 * 64; at++) {
            int q = at / 64, row = at / 8 % 8, column = at % 8;
            struct spot c = old_sum(q, row, column, wide_c);
            float s = wide_c ? REG(float, vc[c.i])[c.lane] : f16_to_float(*half_at(w, vc, c));
            for (int k = 0; k < 4; k++) {
                struct spot a = old_operand(q, row, k, in->mod & MOD_COLUMNS_A);
                struct spot b = old_operand(q, column, k, in->mod & MOD_ROWS_B);
                s += f16_to_float(*half_at(w, va, a)) * f16_to_float(*half_at(w, vb, b));
            }
            sums[q][row][column] = s == s ? s : bits_float(0x7fffffff);
        }
        for (int at = 0; at < 4 * 64; at++) {
            int q = at / 64, row = at / 8 % 8, column = at % 8;
            struct spot d = old_sum(q, row, column, wide_d);
            float s = sums[q][row][column];
            if (wide_d) {
                REG(float, in->v[d.i])[d.lane] = s;
            } else {
                *half_at(w, in->v, d) = float_to_f16(s);
            }
        }
    }
}
