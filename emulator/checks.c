#include "checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "async.h"
#include "memory.h"
#include "touched.h"

static const char *const verbs[] = {
    [ACCESS_LOAD] = "load", [ACCESS_STORE] = "store", [ACCESS_ATOMIC] = "atomic"};

_Noreturn void fault_address(struct warp *w, const struct insn *in, int lane, uint64_t address,
                             uint32_t bytes, enum access access, const char *space, uint64_t size)
{
    if (address & (bytes - 1)) {
        fault(w, in, lane, "misaligned %s of %" PRIu32 " bytes at 0x%" PRIx64 " of %s",
              verbs[access], bytes, address, space);
    }
    fault(w, in, lane,
          "out-of-bounds %s of %" PRIu32 " bytes at 0x%" PRIx64 " of %s, which has %" PRIu64
          " bytes",
          verbs[access], bytes, address, space, size);
}

static uint64_t in_shared(struct warp *w, const struct insn *in, int lane, uint64_t address,
                          uint32_t bytes, enum access access)
{
    struct block *b = w->block;
    if ((address & (bytes - 1)) || b->shared_bytes < bytes || address > b->shared_bytes - bytes) {
        fault_address(w, in, lane, address, bytes, access, "shared memory", b->shared_bytes);
    }
    return (uint64_t)(uintptr_t)b->shared + address;
}

void check_shared(struct warp *w, const struct insn *in, const uint64_t address[LANES],
                  uint32_t bytes, enum access access)
{
    for (uint32_t m = w->mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        in_shared(w, in, lane, address[lane], bytes, access);
    }
}

void check_written(struct warp *w, const struct insn *in, const uint32_t offset[LANES],
                   uint32_t bytes)
{
    for (uint32_t m = w->mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        for (uint32_t k = 0; k < bytes; k++) {
            if (!w->block->written[offset[lane] + k]) {
                fault(w, in, lane, "read of shared memory that nobody wrote, byte 0x%" PRIx32,
                      offset[lane] + k);
            }
        }
    }
}

/* A generic address in the window of shared memory, with what an access there entails. */
static uint64_t generic_shared(struct warp *w, const struct insn *in, int lane, uint64_t address,
                               uint32_t bytes, enum access access)
{
    struct block *b = w->block;
    uint64_t host = in_shared(w, in, lane, address, bytes, access);
    uint32_t offset[LANES], mask = w->mask;
    for (int i = 0; i < LANES; i++) {
        offset[i] = (uint32_t)address;
    }
    w->mask = UINT32_C(1) << lane;
    if (b->n_pending) {
        for (uint32_t k = 0; k < bytes; k += 4) {
            if (b->pending[(offset[lane] + k) / 4]) {
                async_fault(w, in, offset, bytes, access);
            }
        }
    }
    if (b->race) {
        race_access(w, in, offset, bytes, access);
    }
    if (access != ACCESS_STORE) {
        check_written(w, in, offset, bytes);
    }
    if (access != ACCESS_LOAD) {
        memset(b->written + address, 1, bytes);
    }
    w->mask = mask;
    return host;
}

void note_touched(struct warp *w, const struct insn *in, int lane, const void *host,
                  enum access access)
{
    if (!touched_mark(w->block->touched, host, access != ACCESS_STORE, access != ACCESS_LOAD)) {
        fault(w, in, lane, "the emulator is out of memory for its statistics");
    }
}

void note_all_touched(struct warp *w, const struct insn *in, const uint64_t host[LANES],
                      enum access access)
{
    uint64_t before = 0; /* neighbours often share a sector */
    for (uint32_t m = w->mask; m; m &= m - 1) {
        int i = __builtin_ctz(m);
        if (host[i] / SECTOR_BYTES != before) {
            note_touched(w, in, i, (const void *)(uintptr_t)host[i], access);
        }
        before = host[i] / SECTOR_BYTES;
    }
}

void resolve_slow(struct warp *w, const struct insn *in, const uint64_t address[LANES],
                  uint32_t bytes, enum access access, uint64_t host[LANES])
{
    const struct block *b = w->block;
    uint64_t local = b->kernel->local_bytes, any = 0;
    for (uint32_t m = w->mask; m; m &= m - 1) {
        int i = __builtin_ctz(m);
        uint64_t a = address[i];
        bool generic = in->generic;
        if (generic && a - WINDOW_SHARED < WINDOW_BYTES) {
            host[i] = generic_shared(w, in, i, a - WINDOW_SHARED, bytes, access);
        } else if (generic && a - WINDOW_LOCAL < WINDOW_BYTES) {
            a -= WINDOW_LOCAL;
            if ((a & (bytes - 1)) || local < bytes || a > local - bytes) {
                fault_address(w, in, i, a, bytes, access, "local memory", local);
            }
            host[i] = (uint64_t)(uintptr_t)w->local + (uint64_t)i * local + a;
        } else if (generic && a - WINDOW_PARAM < WINDOW_BYTES && access == ACCESS_LOAD) {
            a -= WINDOW_PARAM;
            if ((a & (bytes - 1)) || b->param_bytes < bytes || a > b->param_bytes - bytes) {
                fault_address(w, in, i, a, bytes, access, "the kernel's parameters",
                              b->param_bytes);
            }
            host[i] = (uint64_t)(uintptr_t)b->params + a;
        } else {
            char why[200];
            if (a & (bytes - 1)) {
                fault_address(w, in, i, a, bytes, access, "global memory", 0);
            }
            void *p = memory_host(a, bytes, access != ACCESS_LOAD, why, sizeof why);
            if (!p) {
                fault(w, in, i, "out-of-bounds %s of %" PRIu32 " bytes: %s", verbs[access], bytes,
                      why);
            }
            host[i] = (uint64_t)(uintptr_t)p;
            if (b->count) {
                note_touched(w, in, i, p, access);
            }
            if (b->global_race) {
                race_global(w, in, UINT32_C(1) << i, address, bytes, access);
            }
        }
        any = host[i];
    }
    for (int i = 0; i < LANES; i++) {
        host[i] = w->mask >> i & 1 ? host[i] : any;
    }
    if (b->count) {
        count_global(w, host, bytes);
    }
}

/* ---- Statistics ---- */

void count_sectors(struct warp *w, uint32_t lanes, const uint64_t host[LANES],
                   const uint32_t bytes[LANES])
{
    uint64_t sectors[LANES];
    uint32_t wanted[LANES], n = 0, sum = 0;   /* a bit for each byte of a sector */
    for (uint32_t m = lanes; m; m &= m - 1) { /* an aligned access lies in one sector */
        int lane = __builtin_ctz(m);
        uint64_t address = host[lane], sector = address / 32;
        uint32_t ones = bytes[lane] < 32 ? (UINT32_C(1) << bytes[lane]) - 1 : UINT32_MAX;
        uint32_t i = n; /* most are those of the lane before, or follow it */
        while (i > 0 && sectors[i - 1] > sector) {
            i--;
        }
        if (i == 0 || sectors[i - 1] != sector) {
            memmove(sectors + i + 1, sectors + i, (n - i) * sizeof *sectors);
            memmove(wanted + i + 1, wanted + i, (n++ - i) * sizeof *wanted);
            sectors[i] = sector;
            wanted[i++] = 0;
        }
        wanted[i - 1] |= ones << address % 32;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += (uint32_t)__builtin_popcount(wanted[i]);
    }
    w->block->statistics.global_sectors += n;
    w->block->statistics.global_bytes += sum;
}

void count_global(struct warp *w, const uint64_t host[LANES], uint32_t bytes)
{
    uint32_t all[LANES];
    for (int i = 0; i < LANES; i++) {
        all[i] = bytes;
    }
    w->block->statistics.global_requests++;
    count_sectors(w, w->mask, host, all);
}

/* Does no bank have to give two words to the lanes from start on? */
static bool no_conflict(const struct warp *w, const uint32_t offset[LANES], uint32_t bytes,
                        uint32_t start, uint32_t group)
{
    uint32_t word_of[32], seen = 0;
    for (uint32_t i = start; i < start + group; i++) {
        for (uint32_t k = 0; (w->mask >> i & 1) && k < (bytes + 3) / 4; k++) {
            uint32_t word = offset[i] / 4 + k, bank = word % 32;
            if ((seen >> bank & 1) && word_of[bank] != word) {
                return false;
            }
            seen |= UINT32_C(1) << bank;
            word_of[bank] = word;
        }
    }
    return true;
}

/* Passes over the banks for the lanes from start on: the most words that one bank must give. */
static uint32_t passes(const struct warp *w, const uint32_t offset[LANES], uint32_t bytes,
                       uint32_t start, uint32_t group)
{
    if (no_conflict(w, offset, bytes, start, group)) {
        return (w->mask >> start & (UINT32_MAX >> (32 - group))) != 0;
    }
    uint32_t words[LANES * 4], n = 0, most = 0;
    uint8_t banks[32] = {0};
    for (uint32_t i = start; i < start + group; i++) {
        for (uint32_t k = 0; (w->mask >> i & 1) && k < (bytes + 3) / 4; k++) {
            uint32_t word = offset[i] / 4 + k, j = 0;
            while (j < n && words[j] != word) {
                j++;
            }
            if (j == n) {
                words[n++] = word;
                uint32_t use = ++banks[word % 32];
                most = use > most ? use : most;
            }
        }
    }
    return most;
}

/*
 * 32 banks of 4 bytes; accesses of 8 and 16 bytes (rows of matrices among them) go by half and
 * quarter warps. What a group needs beyond one pass are its conflicts.
 */
void count_shared(struct warp *w, const struct insn *in, const uint32_t offset[LANES],
                  uint32_t bytes, enum shared_kind kind)
{
    struct statistics *s = &w->block->statistics;
    uint32_t group = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8, conflicts = 0;
    s->shared_requests++;
    for (uint32_t start = 0; start < LANES; start += group) {
        uint32_t n = passes(w, offset, bytes, start, group);
        s->shared_wavefronts += n;
        conflicts += n ? n - 1 : 0;
    }
    s->conflicts[kind] += conflicts;
    s->loop_conflicts += in->main_loop ? conflicts : 0;
}
