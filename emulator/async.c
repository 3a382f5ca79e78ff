#include "async.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

struct async_copy *async_new(struct warp *w, const struct insn *in)
{
    if (w->n_copies == w->copies_cap && w->first_copy > w->copies_cap / 2) {
        w->n_copies -= w->first_copy;
        memmove(w->copies, w->copies + w->first_copy, w->n_copies * sizeof *w->copies);
        w->first_copy = 0;
    }
    if (w->n_copies == w->copies_cap) {
        uint32_t cap = w->copies_cap ? w->copies_cap * 2 : 64;
        struct async_copy *more = cap <= 65536 ? realloc(w->copies, cap * sizeof *w->copies) : NULL;
        if (!more) {
            fault(w, in, -1, "%" PRIu32 " copies of a warp are under way", w->n_copies);
        }
        w->copies = more;
        w->copies_cap = cap;
    }
    w->block->n_pending++;
    struct async_copy *c = &w->copies[w->n_copies++];
    c->group = w->commit;
    if (w->commits_apart) {
        memcpy(c->groups, w->commits, sizeof c->groups);
    }
    return c;
}

uint64_t async_source(struct warp *w, const struct insn *in, int lane, uint64_t address,
                      uint32_t bytes)
{
    char why[200];
    if (address & (in->size - 1)) {
        fault(w, in, lane, "misaligned copy of %d bytes from 0x%" PRIx64, in->size, address);
    }
    void *p = memory_host(address, bytes, false, why, sizeof why);
    if (!p) {
        fault(w, in, lane, "out-of-bounds load of %" PRIu32 " bytes: %s", bytes, why);
    }
    return (uint64_t)(uintptr_t)p;
}

void async_move(struct warp *w, const struct async_copy *c, uint32_t lanes)
{
    struct block *b = w->block;
    bool whole = c->bytes == 16;
    for (int i = 0; i < LANES; i++) {
        whole &= c->take[i] == 16 || !(lanes >> i & 1);
    }
    for (uint32_t m = lanes; m && whole; m &= m - 1) {
        int i = __builtin_ctz(m);
        memcpy(b->shared + c->offset[i], (const void *)(uintptr_t)c->source[i], 16);
        memset(b->written + c->offset[i], 1, 16);
    }
    for (uint32_t m = lanes; m && !whole; m &= m - 1) {
        int i = __builtin_ctz(m);
        unsigned char *to = b->shared + c->offset[i];
        memset(to, 0, c->bytes);
        if (c->take[i]) {
            memcpy(to, (const void *)(uintptr_t)c->source[i], c->take[i]);
        }
        memset(b->written + c->offset[i], 1, c->bytes);
    }
}

void async_mark(struct warp *w, const struct async_copy *c, uint32_t lanes, uint8_t under_way)
{
    unsigned char *pending = w->block->pending;
    for (uint32_t m = lanes; m; m &= m - 1) {
        uint32_t word = c->offset[__builtin_ctz(m)] / 4;
        if (c->bytes == 16) {
            memset(pending + word, under_way, 4);
        } else {
            memset(pending + word, under_way, c->bytes / 4);
        }
    }
}

/* The place of the lanes' copies is free again. */
static void arrive(struct warp *w, struct async_copy *c, uint32_t lanes)
{
    struct block *b = w->block;
    if (b->lazy) {
        async_move(w, c, lanes);
    }
    async_mark(w, c, lanes, 0);
    if (b->race) {
        race_arrive(w, c->offset, c->bytes, lanes);
    }
    c->mask &= ~lanes;
    b->n_pending -= !c->mask;
}

/* Forgets the oldest copies, which have arrived. */
static void sweep(struct warp *w)
{
    while (w->first_copy < w->n_copies && !w->copies[w->first_copy].mask) {
        w->first_copy++;
    }
    if (w->first_copy == w->n_copies) {
        w->first_copy = w->n_copies = 0;
    }
}

/* From now on each lane counts its groups by itself. */
static void come_apart(struct warp *w)
{
    w->commits_apart = true;
    for (int i = 0; i < LANES; i++) {
        w->commits[i] = w->commit;
        for (uint32_t n = w->first_copy; n < w->n_copies; n++) {
            w->copies[n].groups[i] = w->copies[n].group;
        }
    }
}

void async_commit(struct warp *w)
{
    if (!w->commits_apart && w->mask == w->live) {
        w->commit++;
        return;
    }
    if (!w->commits_apart) {
        come_apart(w);
    }
    for (int i = 0; i < LANES; i++) {
        w->commits[i] += w->mask >> i & 1;
    }
}

/* The lanes whose copy is older than their last groups. */
static uint32_t due(const struct warp *w, const struct async_copy *c, uint32_t groups)
{
    uint32_t lanes = 0;
    if (!w->commits_apart) {
        return (uint64_t)c->group + groups < w->commit ? ALL_LANES : 0;
    }
    for (int i = 0; i < LANES; i++) {
        lanes |= (uint32_t)((uint64_t)c->groups[i] + groups < w->commits[i]) << i;
    }
    return lanes;
}

void async_wait(struct warp *w, uint32_t groups)
{
    for (uint32_t n = w->first_copy; n < w->n_copies; n++) {
        struct async_copy *c = &w->copies[n];
        uint32_t lanes = due(w, c, groups);
        if (!lanes && !w->commits_apart) {
            break; /* nor is any after it */
        }
        lanes &= c->mask & w->mask;
        if (lanes) {
            arrive(w, c, lanes);
        }
    }
    sweep(w);
}

void async_wait_all(struct warp *w)
{
    for (uint32_t n = w->first_copy; n < w->n_copies; n++) {
        uint32_t lanes = w->copies[n].mask & w->mask;
        if (lanes) {
            arrive(w, &w->copies[n], lanes);
        }
    }
    sweep(w);
}

void async_reset(struct block *b)
{
    if (b->n_pending) {
        memset(b->pending, 0, b->shared_bytes / 4 + 4);
        b->n_pending = 0;
    }
    for (uint32_t i = 0; i < b->n_warps; i++) {
        b->warps[i].first_copy = b->warps[i].n_copies = 0;
        b->warps[i].commit = 0;
        b->warps[i].commits_apart = false;
    }
}

/* The warp that has a copy into byte under way. */
static uint32_t owner(const struct block *b, uint32_t byte)
{
    for (uint32_t i = 0; i < b->n_warps; i++) {
        const struct warp *w = &b->warps[i];
        for (uint32_t n = w->first_copy; n < w->n_copies; n++) {
            const struct async_copy *c = &w->copies[n];
            for (uint32_t m = c->mask; m; m &= m - 1) {
                if (byte / 4 - c->offset[__builtin_ctz(m)] / 4 < c->bytes / 4) {
                    return i;
                }
            }
        }
    }
    return 0;
}

void async_fault(struct warp *w, const struct insn *in, const uint32_t offset[LANES],
                 uint32_t bytes, enum access access)
{
    static const char *const verbs[] = {
        [ACCESS_LOAD] = "read", [ACCESS_STORE] = "write", [ACCESS_ATOMIC] = "atomic"};
    const struct block *b = w->block;
    for (uint32_t m = w->mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        for (uint32_t k = 0; k < bytes; k += 4) {
            uint32_t byte = offset[lane] + k;
            if (b->pending[byte / 4]) {
                fault(w, in, lane,
                      "%s of shared memory at byte 0x%" PRIx32 " while a cp.async of warp %" PRIu32
                      " into it is under way: no wait covers its group",
                      verbs[access], byte, owner(b, byte));
            }
        }
    }
}
