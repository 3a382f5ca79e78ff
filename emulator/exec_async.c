/* cp.async, ldmatrix, stmatrix, movmatrix: tiles of shared memory for the tensor cores. */
#include "exec_memory.h"

#include <inttypes.h>

/* ---- ldmatrix, stmatrix: lanes 8 i to 8 i + 7 give the rows of matrix i ---- */

enum { ROW = 16, MATRIX = 8 }; /* bytes of a row; rows */

/* The offsets of the rows, checked. */
static inline void matrix_rows(struct warp *w, const struct insn *in, enum access access,
                               enum shared_kind kind, u32 offset[LANES])
{
    u32 all = w->mask;
    w->mask &= in->n == 4 ? ALL_LANES : (UINT32_C(1) << (MATRIX * in->n)) - 1;
    shared_offsets(w, in, ROW, access, offset);
    resolve_shared_at(w, in, ROW, access, kind, offset);
    w->mask = all;
}

/* The 8 rows at base + offset to a register, turned or not; does a word look like poison? */
#ifdef EMU_SSE
static inline void transpose_rows(__m128i r[MATRIX])
{
    __m128i s[MATRIX];
    for (int pass = 0; pass < 3; pass++) {
        for (int i = 0; i < MATRIX; i++) {
            s[i] = i % 2 ? _mm_unpackhi_epi16(r[i / 2], r[i / 2 + 4])
                         : _mm_unpacklo_epi16(r[i / 2], r[i / 2 + 4]);
        }
        memcpy(r, s, sizeof s);
    }
}

static inline int load_matrix(const u8 *base, const u32 offset[MATRIX], void *to, int turn)
{
    __m128i r[MATRIX], hit = _mm_setzero_si128();
    __m128i poison = _mm_set1_epi32((int)(POISON * 0x01010101u));
    for (int i = 0; i < MATRIX; i++) {
        r[i] = _mm_loadu_si128((const __m128i *)(const void *)(base + offset[i]));
        hit = _mm_or_si128(hit, _mm_cmpeq_epi32(r[i], poison));
    }
    if (turn) {
        transpose_rows(r);
    }
    for (int i = 0; i < MATRIX; i++) {
        _mm_storeu_si128((__m128i *)to + i, r[i]);
    }
    return _mm_movemask_epi8(hit);
}

static inline void transpose_matrix(const void *from, void *to)
{
    __m128i r[MATRIX];
    memcpy(r, from, sizeof r);
    transpose_rows(r);
    memcpy(to, r, sizeof r);
}
#else
static inline void transpose_matrix(const void *from, void *to)
{
    const u16 *rows = from;
    for (int i = 0; i < MATRIX * MATRIX; i++) {
        ((u16 *)to)[i] = rows[i % MATRIX * MATRIX + i / MATRIX];
    }
}

static inline int load_matrix(const u8 *base, const u32 offset[MATRIX], void *to, int turn)
{
    u32 rows[LANES], hit = 0;
    for (int i = 0; i < MATRIX; i++) {
        memcpy(rows + i * 4, base + offset[i], ROW);
    }
    EACH_LANE hit |= rows[i] == POISON * 0x01010101u;
    if (turn) {
        transpose_matrix(rows, to);
    } else {
        memcpy(to, rows, sizeof rows);
    }
    return hit != 0;
}
#endif

static void check_matrix(struct warp *w, const struct insn *in, const u32 offset[LANES])
{
    u32 all = w->mask;
    w->mask &= in->n == 4 ? ALL_LANES : (UINT32_C(1) << (MATRIX * in->n)) - 1;
    check_written(w, in, offset, ROW);
    w->mask = all;
}

HANDLER(ldmatrix)
{
    for (; in < end; in++) {
        u32 offset[LANES];
        int hit = 0;
        matrix_rows(w, in, ACCESS_LOAD, SHARED_MATRIX, offset);
        for (int r = 0; r < in->n; r++) {
            hit |= load_matrix(w->block->shared, offset + r * MATRIX, REG(u32, in->v[r]),
                               in->mod & MOD_TRANS);
        }
        if (__builtin_expect(hit, 0)) {
            check_matrix(w, in, offset);
        }
    }
}

HANDLER(stmatrix)
{
    for (; in < end; in++) {
        u32 offset[LANES];
        matrix_rows(w, in, ACCESS_STORE, SHARED_STORE, offset);
        for (int r = 0; r < in->n; r++) {
            u32 rows[LANES];
            memcpy(rows, REG(u32, in->v[r]), sizeof rows);
            if (in->mod & MOD_TRANS) {
                transpose_matrix(REG(u16, in->v[r]), rows);
            }
            for (int i = 0; i < MATRIX; i++) {
                u32 to = offset[r * MATRIX + i];
                memcpy(w->block->shared + to, rows + i * 4, ROW);
                memset(w->block->written + to, 1, ROW);
            }
        }
    }
}

HANDLER(movmatrix)
{
    for (; in < end; in++) {
        u16 rows[2 * LANES];
        memcpy(rows, REG(u16, in->a), sizeof rows);
        transpose_matrix(rows, REG(u16, in->d));
    }
}

/* ---- cp.async ---- */

/* Bytes that each lane takes from its source. */
static inline void source_sizes(struct warp *w, const struct insn *in, u32 take[LANES])
{
    u32 bytes = in->size;
    EACH_LANE take[i] = bytes;
    if (in->e != NO_SLOT) {
        const u32 *e = REG(u32, in->e);
        for (u32 m = w->mask; m; m &= m - 1) {
            int i = __builtin_ctz(m);
            take[i] = e[i];
            if (e[i] > bytes) {
                fault(w, in, i, "a source of %" PRIu32 " bytes for a copy of %" PRIu32, e[i],
                      bytes);
            }
        }
    }
    if (in->d2 != NO_SLOT) { /* ignore-src */
        u32 ignored = PREDICATE(in->d2);
        EACH_LANE take[i] = ignored >> i & 1 ? 0 : take[i];
    }
}

/* Host addresses of what lanes take, which may be less than they copy, or nothing. */
static inline void source_addresses(struct warp *w, const struct insn *in, const u32 take[LANES],
                                    u64 host[LANES])
{
    u64 address[LANES], part[LANES];
    const u64 *b = REG(u64, in->b), imm = (u64)(in->imm >> 32);
    u32 all = w->mask, whole = 0, parts = 0, bytes = in->size;
    for (int i = 0; i < LANES; i++) {
        address[i] = b[i] + imm;
        whole |= (u32)(take[i] == bytes) << i;
        parts |= (u32)(take[i] != bytes && take[i]) << i;
    }
    parts &= all;
    for (u32 m = parts; m; m &= m - 1) {
        int i = __builtin_ctz(m);
        part[i] = async_source(w, in, i, address[i], take[i]);
        if (w->block->global_race) {
            race_global(w, in, UINT32_C(1) << i, address, take[i], ACCESS_LOAD);
        }
    }
    if (parts && w->block->count) {
        count_sectors(w, parts, part, take);
    }
    w->mask = all & whole;
    if (w->mask) {
        resolve_global_at(w, in, address, bytes, ACCESS_LOAD, host);
    }
    w->mask = all;
    for (u32 m = all & ~whole; m; m &= m - 1) {
        int i = __builtin_ctz(m);
        host[i] = parts >> i & 1 ? part[i] : 0;
    }
}

HANDLER(cp_async)
{
    for (; in < end; in++) {
        u32 offset[LANES], take[LANES], bytes = in->size;
        u64 host[LANES];
        const u32 low = (u32)in->imm;
        if (in->address32) {
            const u32 *a = REG(u32, in->a);
            EACH_LANE offset[i] = a[i] + low;
        } else {
            const u64 *a = REG(u64, in->a);
            u64 wide[LANES], high = 0;
            EACH_LANE wide[i] = a[i] + (u64)(s64)(s32)low;
            for (u32 m = w->mask; m; m &= m - 1) {
                high |= wide[__builtin_ctz(m)] >> 32;
            }
            if (high) {
                check_shared(w, in, wide, bytes, ACCESS_STORE);
            }
            EACH_LANE offset[i] = (u32)wide[i];
        }
        source_sizes(w, in, take);
        source_addresses(w, in, take, host);
        resolve_shared_at(w, in, bytes, ACCESS_STORE, SHARED_ASYNC, offset);
        struct async_copy *c = async_new(w, in);
        c->mask = w->mask;
        c->bytes = bytes;
        memcpy(c->offset, offset, sizeof offset);
        memcpy(c->take, take, sizeof take);
        memcpy(c->source, host, sizeof host);
        if (!w->block->lazy) {
            async_move(w, c, c->mask);
        }
        async_mark(w, c, c->mask, 1);
    }
}

HANDLER(cp_async_commit)
{
    for (; in < end; in++) {
        async_commit(w);
    }
}

HANDLER(cp_async_wait)
{
    for (; in < end; in++) {
        async_wait(w, (u32)in->imm);
    }
}

HANDLER(cp_async_wait_all)
{
    for (; in < end; in++) {
        async_wait_all(w);
    }
}
