/*
 * For each byte of shared memory: the last write (warp and its clock), and the clock of the last
 * read by each warp. An access races with an earlier one of another warp that no barrier orders
 * before it. Lanes of one warp run in lockstep here; only two of them storing different values
 * to one place in one instruction are told.
 *
 * A copy by cp.async counts as a write of its warp when it is issued and again when that warp has
 * waited for it: only a barrier after the wait orders it before the reads of other warps. What
 * happens in between is told by async.c.
 */
#include "race.h"

#include <stdlib.h>
#include <string.h>

#include "checks.h"

struct shadow {
    uint32_t clock; /* of the last write; 0: none */
    uint8_t warp;
    bool atomic;
};

struct race {
    uint32_t bytes, n_warps;
    struct shadow *writes;
    uint32_t *reads; /* [byte * n_warps + warp] */
};

struct race *race_create(uint32_t shared_bytes, uint32_t n_warps)
{
    struct race *r = calloc(1, sizeof *r);
    if (!r) {
        return NULL;
    }
    r->bytes = shared_bytes;
    r->n_warps = n_warps;
    r->writes = calloc((size_t)shared_bytes + 1, sizeof *r->writes);
    r->reads = calloc((size_t)shared_bytes * n_warps + 1, sizeof *r->reads);
    if (!r->writes || !r->reads) {
        race_free(r);
        return NULL;
    }
    return r;
}

void race_reset(struct race *r, struct block *b)
{
    memset(r->writes, 0, r->bytes * sizeof *r->writes);
    memset(r->reads, 0, (size_t)r->bytes * r->n_warps * sizeof *r->reads);
    b->n_acquired = 0;
    for (uint32_t i = 0; i < b->n_warps; i++) {
        memset(b->warps[i].clock, 0, sizeof b->warps[i].clock);
        memset(b->warps[i].fenced, 0, sizeof b->warps[i].fenced);
        b->warps[i].clock[i] = 1;
    }
}

void race_free(struct race *r)
{
    if (r) {
        free(r->writes);
        free(r->reads);
        free(r);
    }
}

static void check_byte(struct warp *w, const struct insn *in, int lane, uint32_t byte,
                       enum access access)
{
    struct race *r = w->block->race;
    struct shadow *s = &r->writes[byte];
    static const char *const verbs[] = {"read", "write", "atomic"};
    bool both_atomic = access == ACCESS_ATOMIC && s->atomic;
    if (s->clock > w->clock[s->warp] && s->warp != w->index && !both_atomic) {
        fault(w, in, lane,
              "race on shared memory: %s at byte %u while warp %u writes it, with no "
              "barrier in between",
              verbs[access], byte, s->warp);
    }
    uint32_t *reads = &r->reads[(size_t)byte * r->n_warps];
    if (access == ACCESS_LOAD) {
        reads[w->index] = w->clock[w->index];
        return;
    }
    for (uint32_t i = 0; i < r->n_warps; i++) {
        if (i != w->index && reads[i] > w->clock[i]) {
            fault(w, in, lane,
                  "race on shared memory: %s at byte %u while warp %u reads it, with "
                  "no barrier in between",
                  verbs[access], byte, i);
        }
    }
    *s = (struct shadow){w->clock[w->index], (uint8_t)w->index, access == ACCESS_ATOMIC};
}

/* Two lanes store different values to the same place. */
void race_lanes(struct warp *w, const struct insn *in, const uint32_t offset[LANES])
{
    for (uint32_t m = w->mask; m; m &= m - 1) {
        int i = __builtin_ctz(m);
        for (uint32_t n = m & (m - 1); n; n &= n - 1) {
            int j = __builtin_ctz(n);
            if (offset[i] != offset[j]) {
                continue;
            }
            for (uint32_t k = 0; k < in->n; k++) {
                const char *v = w->regs + in->v[k];
                if (memcmp(v + i * in->width, v + j * in->width, in->size)) {
                    fault(w, in, j,
                          "race on shared memory: lanes %d and %d of a warp store "
                          "different values to byte %u",
                          i, j, offset[i]);
                }
            }
        }
    }
}

void race_access(struct warp *w, const struct insn *in, const uint32_t offset[LANES],
                 uint32_t bytes, enum access access)
{
    for (uint32_t m = w->mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        for (uint32_t k = 0; k < bytes; k++) {
            check_byte(w, in, lane, offset[lane] + k, access);
        }
    }
}

void race_arrive(struct warp *w, const uint32_t offset[LANES], uint32_t bytes, uint32_t lanes)
{
    for (uint32_t m = lanes; m; m &= m - 1) {
        for (uint32_t k = 0; k < bytes; k++) {
            w->block->race->writes[offset[__builtin_ctz(m)] + k] =
                (struct shadow){w->clock[w->index], (uint8_t)w->index, false};
        }
    }
}
