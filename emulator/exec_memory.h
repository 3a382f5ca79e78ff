/* Addresses of all lanes to places in memory, checked at once; for the handlers that access it. */
#ifndef EMU_EXEC_MEMORY_H
#define EMU_EXEC_MEMORY_H

#include "async.h"
#include "checks.h"
#include "exec.h"
#include "memory.h"

#if defined(__SSE2__) && !defined(EMU_PLAIN_C)
#include <immintrin.h>
#define EMU_SSE 1
#endif

/* What resolving found out about the lanes' addresses. */
enum layout { SCATTERED, CONTIGUOUS };

/* a[lane] + imm of every lane, whether it takes part or not. */
static inline void lane_addresses(struct warp *w, const struct insn *in, u64 address[LANES])
{
    u64 imm = (u64)in->imm;
    if (in->address32) {
        const u32 *a = REG(u32, in->a);
        u32 low = (u32)imm;
        EACH_LANE address[i] = (u32)(a[i] + low);
    } else {
        const u64 *a = REG(u64, in->a);
        EACH_LANE address[i] = a[i] + imm;
    }
}

/*
 * Host addresses of bytes at global addresses. Lanes that do not take part get the address of one
 * that does, so that a load may read them all.
 */
static inline enum layout resolve_global_at(struct warp *w, const struct insn *in,
                                            u64 address[LANES], u32 bytes, enum access access,
                                            u64 host[LANES])
{
    u32 mask = w->mask;
    int first = __builtin_ctz(mask);
    u64 id = address[first] >> SLICE_BITS;
    if (mask != ALL_LANES) {
        u64 one = address[first];
        EACH_LANE address[i] = mask >> i & 1 ? address[i] : one;
    }
    if (__builtin_expect(id && id < memory_count, 1)) {
        const struct allocation *a = &memory_table[id];
        u64 base = id << SLICE_BITS, bad = 0, low = 0, different = 0, limit = a->size - bytes;
        u64 to_host = (u64)(uintptr_t)a->host, expected = address[0] - base;
        EACH_LANE
        {
            u64 offset = address[i] - base;
            bad |= offset | (limit - offset);
            low |= offset;
            different |= offset ^ (expected + (u64)i * bytes);
            host[i] = to_host + offset;
        }
        bool fits = !(bad >> 63) && a->size >= bytes && !(low & (bytes - 1)) && !a->freed;
        if (__builtin_expect(fits && !(access != ACCESS_LOAD && a->read_only), 1)) {
            if (w->block->count) {
                count_global(w, host, bytes);
                note_all_touched(w, in, host, access);
            }
            if (w->block->global_race) {
                race_global(w, in, mask, address, bytes, access);
            }
            return mask == ALL_LANES && !different ? CONTIGUOUS : SCATTERED;
        }
    }
    resolve_slow(w, in, address, bytes, access, host);
    return SCATTERED;
}

static inline enum layout resolve_global(struct warp *w, const struct insn *in, u32 bytes,
                                         enum access access, u64 host[LANES])
{
    u64 address[LANES];
    lane_addresses(w, in, address);
    return resolve_global_at(w, in, address, bytes, access, host);
}

/* Race mode: what an operation that is done now tells of other blocks. */
static inline void hear_others(struct warp *w, const struct insn *in, const u64 address[LANES],
                               enum access access)
{
    if (__builtin_expect(w->block->global_race != NULL, 0)) {
        race_hear(w, in, address, access);
    }
}

/* Offsets into shared memory of every lane, whether it takes part or not. */
static inline void shared_offsets(struct warp *w, const struct insn *in, u32 bytes,
                                  enum access access, u32 offset[LANES])
{
    u32 imm = (u32)in->imm;
    if (in->address32) {
        const u32 *a = REG(u32, in->a);
        EACH_LANE offset[i] = a[i] + imm;
        return;
    }
    const u64 *a = REG(u64, in->a);
    u64 high = 0, imm64 = (u64)in->imm;
    EACH_LANE
    {
        u64 full = a[i] + imm64;
        offset[i] = (u32)full;
        high |= full; /* of any lane: the slow path looks only at those of the mask */
    }
    if (__builtin_expect(high >> 32 != 0, 0)) {
        u64 address[LANES];
        lane_addresses(w, in, address);
        check_shared(w, in, address, bytes, access);
    }
}

/* Faults if a copy into one of the bytes is still under way. */
static inline void check_pending(struct warp *w, const struct insn *in, const u32 offset[LANES],
                                 u32 bytes, enum access access)
{
    if (!w->block->n_pending) {
        return;
    }
    const u8 *pending = w->block->pending;
    u32 hit = 0;
    if (bytes == 16) {
        for (int i = 0; i < LANES; i++) {
            u32 four;
            memcpy(&four, pending + offset[i] / 4, sizeof four);
            hit |= four;
        }
    } else {
        for (int i = 0; i < LANES; i++) {
            for (u32 k = 0; k < bytes; k += 4) {
                hit |= pending[(offset[i] + k) / 4];
            }
        }
    }
    if (__builtin_expect(hit != 0, 0)) {
        async_fault(w, in, offset, bytes, access);
    }
}

/* Checks the offsets; lanes that do not take part get that of one that does. */
static inline enum layout resolve_shared_at(struct warp *w, const struct insn *in, u32 bytes,
                                            enum access access, enum shared_kind kind,
                                            u32 offset[LANES])
{
    u32 mask = w->mask;
    if (mask != ALL_LANES) {
        u32 one = offset[__builtin_ctz(mask)];
        EACH_LANE offset[i] = mask >> i & 1 ? offset[i] : one;
    }
    u32 size = w->block->shared_bytes, last = 0, low = 0, different = 0, start = offset[0];
    EACH_LANE
    {
        last = offset[i] > last ? offset[i] : last;
        low |= offset[i];
        different |= offset[i] ^ (start + (u32)i * bytes);
    }
    if (__builtin_expect(size < bytes || last > size - bytes || (low & (bytes - 1)), 0)) {
        u64 address[LANES];
        EACH_LANE address[i] = offset[i];
        check_shared(w, in, address, bytes, access);
    }
    check_pending(w, in, offset, bytes, access);
    if (w->block->count) {
        count_shared(w, in, offset, bytes, kind);
    }
    if (w->block->race) {
        race_access(w, in, offset, bytes, access);
    }
    return mask == ALL_LANES && !different ? CONTIGUOUS : SCATTERED;
}

static inline enum layout resolve_shared(struct warp *w, const struct insn *in, u32 bytes,
                                         enum access access, u32 offset[LANES])
{
    shared_offsets(w, in, bytes, access, offset);
    enum shared_kind kind = access == ACCESS_LOAD ? SHARED_LOAD : SHARED_STORE;
    return resolve_shared_at(w, in, bytes, access, kind, offset);
}

static inline void mark_written(struct warp *w, const u32 offset[LANES], u32 bytes,
                                enum layout layout)
{
    u8 *written = w->block->written;
    if (layout == CONTIGUOUS) {
        memset(written + offset[0], 1, (size_t)LANES * bytes);
        return;
    }
    switch (bytes) { /* a constant size is a store, not a call */
#define MARK(size)                                                                                 \
    case size:                                                                                     \
        for (u32 m = w->mask; m; m &= m - 1) {                                                     \
            memset(written + offset[__builtin_ctz(m)], 1, size);                                   \
        }                                                                                          \
        break;
        MARK(1)
        MARK(2)
        MARK(4)
        MARK(8)
        MARK(16)
        MARK(32)
#undef MARK
    default: break; /* there are no others */
    }
}

#endif
