/*
 * Loads, stores and atomics. Addresses of all lanes are checked at once; only where that fails
 * does a slow path look at each lane, to do it in another space or to say what is wrong.
 */
#include "exec.h"

#include "atomics.h"
#include "exec_memory.h"

/* ---- Moving elements between memory and registers ---- */

#define GATHER(TD, TM)                                                                             \
    for (int i = 0; i < LANES; i++) {                                                              \
        TM v;                                                                                      \
        memcpy(&v, (const void *)(uintptr_t)(host[i] + offset), sizeof v);                         \
        ((TD *)to)[i] = (TD)v;                                                                     \
    }

static inline void gather(void *to, const u64 host[LANES], u32 offset, const struct insn *in)
{
    switch (in->size << 8 | in->width << 4 | in->sign) {
    case 0x120: GATHER(u16, u8) break;
    case 0x121: GATHER(s16, s8) break;
    case 0x140: GATHER(u32, u8) break;
    case 0x141: GATHER(s32, s8) break;
    case 0x180: GATHER(u64, u8) break;
    case 0x181: GATHER(s64, s8) break;
    case 0x220:
    case 0x221: GATHER(u16, u16) break;
    case 0x240: GATHER(u32, u16) break;
    case 0x241: GATHER(s32, s16) break;
    case 0x280: GATHER(u64, u16) break;
    case 0x281: GATHER(s64, s16) break;
    case 0x440:
    case 0x441: GATHER(u32, u32) break;
    case 0x480: GATHER(u64, u32) break;
    case 0x481: GATHER(s64, s32) break;
    default: GATHER(u64, u64) break;
    }
}

/* to[i] = from[i] for the lanes of mask */
static inline void blend(void *to, const void *from, u32 width, u32 mask)
{
    if (width == 4) {
        u32 *d = to;
        const u32 *s = from;
        EACH_LANE d[i] = mask >> i & 1 ? s[i] : d[i];
    } else if (width == 8) {
        u64 *d = to;
        const u64 *s = from;
        EACH_LANE d[i] = mask >> i & 1 ? s[i] : d[i];
    } else {
        u16 *d = to;
        const u16 *s = from;
        EACH_LANE d[i] = mask >> i & 1 ? s[i] : d[i];
    }
}

/*
 * Four words of each lane, at from(i), into four registers. Tells whether a word looks like the
 * poison of fresh shared memory.
 */
#ifdef __AVX2__
#define LOAD_WORDS4(from)                                                                          \
    __m256i poison = _mm256_set1_epi32((int)(POISON * 0x01010101u)), hit = _mm256_setzero_si256(); \
    for (int i = 0; i < LANES; i += 8) {                                                           \
        __m256 r[4];                                                                               \
        for (int k = 0; k < 4; k++) {                                                              \
            r[k] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from(i + k))),         \
                                        _mm_loadu_ps(from(i + 4 + k)), 1);                         \
            hit = _mm256_or_si256(hit, _mm256_cmpeq_epi32(_mm256_castps_si256(r[k]), poison));     \
        }                                                                                          \
        __m256 p = _mm256_unpacklo_ps(r[0], r[1]), q = _mm256_unpackhi_ps(r[0], r[1]);             \
        __m256 s = _mm256_unpacklo_ps(r[2], r[3]), t = _mm256_unpackhi_ps(r[2], r[3]);             \
        _mm256_storeu_ps(d[0] + i, _mm256_shuffle_ps(p, s, 0x44));                                 \
        _mm256_storeu_ps(d[1] + i, _mm256_shuffle_ps(p, s, 0xee));                                 \
        _mm256_storeu_ps(d[2] + i, _mm256_shuffle_ps(q, t, 0x44));                                 \
        _mm256_storeu_ps(d[3] + i, _mm256_shuffle_ps(q, t, 0xee));                                 \
    }                                                                                              \
    bool poisoned = !_mm256_testz_si256(hit, hit)
#else
#define LOAD_WORDS4(from)                                                                          \
    bool poisoned = false;                                                                         \
    for (int i = 0; i < LANES; i++) {                                                              \
        u32 v[4];                                                                                  \
        memcpy(v, from(i), sizeof v);                                                              \
        for (int k = 0; k < 4; k++) {                                                              \
            memcpy(d[k] + i, &v[k], sizeof v[k]);                                                  \
            poisoned |= v[k] == POISON * 0x01010101u;                                              \
        }                                                                                          \
    }
#endif

static inline void load_words4(struct warp *w, const struct insn *in, const u64 host[LANES])
{
    float *d[4] = {REG(float, in->v[0]), REG(float, in->v[1]), REG(float, in->v[2]),
                   REG(float, in->v[3])};
#define FROM(i) ((const float *)(uintptr_t)host[i])
    LOAD_WORDS4(FROM);
#undef FROM
    (void)poisoned;
}

static inline bool load_shared_words4(struct warp *w, const struct insn *in,
                                      const u32 offset[LANES])
{
    float *d[4] = {REG(float, in->v[0]), REG(float, in->v[1]), REG(float, in->v[2]),
                   REG(float, in->v[3])};
    const u8 *base = w->block->shared;
#define FROM(i) ((const float *)(const void *)(base + offset[i]))
    LOAD_WORDS4(FROM);
#undef FROM
    return poisoned;
}

static inline void store_words4(struct warp *w, const struct insn *in, const u64 host[LANES])
{
    const float *s[4];
    for (int k = 0; k < 4; k++) {
        s[k] = REG(float, in->v[k]);
    }
#ifdef EMU_SSE
    for (int i = 0; i < LANES; i += 4) {
        __m128 a = _mm_loadu_ps(s[0] + i), b = _mm_loadu_ps(s[1] + i);
        __m128 c = _mm_loadu_ps(s[2] + i), d = _mm_loadu_ps(s[3] + i);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps((float *)(uintptr_t)host[i], a);
        _mm_storeu_ps((float *)(uintptr_t)host[i + 1], b);
        _mm_storeu_ps((float *)(uintptr_t)host[i + 2], c);
        _mm_storeu_ps((float *)(uintptr_t)host[i + 3], d);
    }
#else
    for (int i = 0; i < LANES; i++) {
        float v[4] = {s[0][i], s[1][i], s[2][i], s[3][i]};
        memcpy((void *)(uintptr_t)host[i], v, sizeof v);
    }
#endif
}

static inline void load_lanes(struct warp *w, const struct insn *in, const u64 host[LANES],
                              enum layout layout)
{
    bool all = (w->mask | ~w->live) == ALL_LANES; /* a lane that has exited has no registers */
    if (all && in->n == 4 && in->size == 4 && in->width == 4) {
        load_words4(w, in, host);
        return;
    }
    for (int k = 0; k < in->n; k++) {
        void *to = w->regs + in->v[k];
        if (layout == CONTIGUOUS && in->n == 1 && in->size == in->width) {
            memcpy(to, (const void *)(uintptr_t)host[0], (size_t)LANES * in->size);
        } else if (all) {
            gather(to, host, (u32)(k * in->size), in);
        } else {
            u64 value[LANES];
            gather(value, host, (u32)(k * in->size), in);
            blend(to, value, in->width, w->mask);
        }
    }
}

#define SCATTER(TS, TM)                                                                            \
    for (u32 m = w->mask; m; m &= m - 1) {                                                         \
        int i = __builtin_ctz(m);                                                                  \
        TM v = (TM)((const TS *)from)[i];                                                          \
        memcpy((void *)(uintptr_t)(host[i] + offset), &v, sizeof v);                               \
    }

static inline void store_lanes(struct warp *w, const struct insn *in, const u64 host[LANES],
                               enum layout layout)
{
    if (w->mask == ALL_LANES && in->n == 4 && in->size == 4 && in->width == 4) {
        store_words4(w, in, host);
        return;
    }
    for (u32 k = 0; k < in->n; k++) {
        const void *from = w->regs + in->v[k];
        u32 offset = k * in->size;
        if (layout == CONTIGUOUS && in->n == 1 && in->size == in->width) {
            memcpy((void *)(uintptr_t)host[0], from, (size_t)LANES * in->size);
            continue;
        }
        switch (in->size << 4 | in->width) {
        case 0x12: SCATTER(u16, u8) break;
        case 0x14: SCATTER(u32, u8) break;
        case 0x18: SCATTER(u64, u8) break;
        case 0x22: SCATTER(u16, u16) break;
        case 0x24: SCATTER(u32, u16) break;
        case 0x28: SCATTER(u64, u16) break;
        case 0x44: SCATTER(u32, u32) break;
        case 0x48: SCATTER(u64, u32) break;
        default: SCATTER(u64, u64) break;
        }
    }
}

/* ---- Loads and stores ---- */

HANDLER(ld_global)
{
    for (; in < end; in++) {
        u64 host[LANES], address[LANES];
        lane_addresses(w, in, address);
        enum layout layout =
            resolve_global_at(w, in, address, (u32)in->n * in->size, ACCESS_LOAD, host);
        load_lanes(w, in, host, layout);
        hear_others(w, in, address, ACCESS_LOAD);
    }
}

HANDLER(st_global)
{
    for (; in < end; in++) {
        u64 host[LANES];
        enum layout layout = resolve_global(w, in, (u32)in->n * in->size, ACCESS_STORE, host);
        store_lanes(w, in, host, layout);
    }
}

/* Does a loaded register hold the poison of fresh shared memory in a lane that was loaded? */
static inline bool looks_poisoned(struct warp *w, const struct insn *in)
{
    u64 hit = 0;
    for (int k = 0; k < in->n; k++) {
        if (in->size == 4 && in->width == 4) {
            const u32 *v = REG(u32, in->v[k]);
            u32 h = 0;
            EACH_LANE h |= v[i] == POISON * 0x01010101u;
            hit |= h;
        } else if (in->size == 8) {
            const u64 *v = REG(u64, in->v[k]);
            EACH_LANE hit |=
                (v[i] & 0xffffffffu) == POISON * 0x01010101u || v[i] >> 32 == POISON * 0x01010101u;
        } else {
            return true;
        }
    }
    return hit != 0;
}

HANDLER(ld_shared)
{
    for (; in < end; in++) {
        u32 offset[LANES], bytes = (u32)in->n * in->size;
        u64 host[LANES], base = (u64)(uintptr_t)w->block->shared;
        enum layout layout = resolve_shared(w, in, bytes, ACCESS_LOAD, offset);
        bool poison;
        if (w->mask == ALL_LANES && in->n == 4 && in->size == 4 && in->width == 4) {
            poison = load_shared_words4(w, in, offset);
        } else {
            EACH_LANE host[i] = base + offset[i];
            load_lanes(w, in, host, layout);
            poison = looks_poisoned(w, in);
        }
        if (__builtin_expect(poison, 0)) {
            check_written(w, in, offset, bytes);
        }
    }
}

HANDLER(st_shared)
{
    for (; in < end; in++) {
        u32 offset[LANES], bytes = (u32)in->n * in->size;
        u64 host[LANES], base = (u64)(uintptr_t)w->block->shared;
        enum layout layout = resolve_shared(w, in, bytes, ACCESS_STORE, offset);
        EACH_LANE host[i] = base + offset[i];
        if (w->block->race) {
            race_lanes(w, in, offset);
        }
        mark_written(w, offset, bytes, layout);
        store_lanes(w, in, host, layout);
    }
}

/* A lane's own memory; lanes follow each other, local_bytes apart. */
static inline void resolve_local(struct warp *w, const struct insn *in, u32 bytes,
                                 enum access access, u64 host[LANES])
{
    u64 address[LANES], size = w->block->kernel->local_bytes;
    lane_addresses(w, in, address);
    int first = __builtin_ctz(w->mask);
    for (int i = 0; i < LANES; i++) {
        u64 a = w->mask >> i & 1 ? address[i] : address[first];
        if (size < bytes || a > size - bytes || (a & (bytes - 1))) {
            fault_address(w, in, i, a, bytes, access, "local memory", size);
        }
        host[i] = (u64)(uintptr_t)w->local + (u64)i * size + a;
    }
}

HANDLER(ld_local)
{
    for (; in < end; in++) {
        u64 host[LANES];
        resolve_local(w, in, (u32)in->n * in->size, ACCESS_LOAD, host);
        load_lanes(w, in, host, SCATTERED);
    }
}

HANDLER(st_local)
{
    for (; in < end; in++) {
        u64 host[LANES];
        resolve_local(w, in, (u32)in->n * in->size, ACCESS_STORE, host);
        store_lanes(w, in, host, SCATTERED);
    }
}

/* Parameters of the kernel: addresses in the window, nearly always a constant. */
HANDLER(ld_param)
{
    for (; in < end; in++) {
        u64 address[LANES], host[LANES];
        u32 bytes = (u32)in->n * in->size;
        u64 size = w->block->param_bytes;
        lane_addresses(w, in, address);
        int first = __builtin_ctz(w->mask);
        for (int i = 0; i < LANES; i++) {
            u64 a = (w->mask >> i & 1 ? address[i] : address[first]) - WINDOW_PARAM;
            if (size < bytes || a > size - bytes || (a & (bytes - 1))) {
                fault_address(w, in, i, a, bytes, ACCESS_LOAD, "the kernel's parameters", size);
            }
            host[i] = (u64)(uintptr_t)w->block->params + a;
        }
        load_lanes(w, in, host, SCATTERED);
    }
}

/* ---- Atomics: one lane after the other ---- */

#define ATOMIC(T)                                                                                  \
    do {                                                                                           \
        const T *b = REG(T, in->b), *c = in->c == NO_SLOT ? b : REG(T, in->c);                     \
        for (u32 m = w->mask; m; m &= m - 1) {                                                     \
            int i = __builtin_ctz(m);                                                              \
            T *p = (T *)(uintptr_t)host[i];                                                        \
            T old = __atomic_load_n(p, __ATOMIC_RELAXED), wanted;                                  \
            do {                                                                                   \
                wanted = (T)atomic_result(in->op, old, b[i], c[i]);                                \
            } while (!__atomic_compare_exchange_n(p, &old, wanted, 0, __ATOMIC_SEQ_CST,            \
                                                  __ATOMIC_SEQ_CST));                              \
            if (in->d != NO_SLOT) {                                                                \
                REG(T, in->d)[i] = old;                                                            \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static inline void atomic_lanes(struct warp *w, const struct insn *in, const u64 host[LANES])
{
    if (in->size == 8) {
        ATOMIC(u64);
    } else if (in->size == 4) {
        ATOMIC(u32);
    } else {
        ATOMIC(u16);
    }
}

HANDLER(atom_global)
{
    for (; in < end; in++) {
        u64 host[LANES], address[LANES];
        lane_addresses(w, in, address);
        resolve_global_at(w, in, address, in->size, ACCESS_ATOMIC, host);
        atomic_lanes(w, in, host);
        hear_others(w, in, address, ACCESS_ATOMIC);
    }
}

HANDLER(atom_shared)
{
    for (; in < end; in++) {
        u32 offset[LANES];
        u64 host[LANES], base = (u64)(uintptr_t)w->block->shared;
        resolve_shared(w, in, in->size, ACCESS_ATOMIC, offset);
        EACH_LANE host[i] = base + offset[i];
        if (in->op != ATOMIC_EXCH) {
            check_written(w, in, offset, in->size);
        }
        mark_written(w, offset, in->size, SCATTERED);
        atomic_lanes(w, in, host);
    }
}
