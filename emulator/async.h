/*
 * cp.async: copies that a warp has issued and not yet waited for. Data arrives when the copy is
 * issued (eager), or only when its lanes wait for its group (lazy); in both cases the place is
 * taken until then, and who reads or writes it faults.
 */
#ifndef EMU_ASYNC_H
#define EMU_ASYNC_H

#include "checks.h"
#include "machine.h"

struct async_copy {
    uint32_t mask;          /* lanes whose copy is under way */
    uint32_t bytes;         /* of a lane: 4, 8 or 16 */
    uint32_t offset[LANES]; /* into shared memory */
    uint32_t take[LANES];   /* bytes from the source; the others become zero */
    uint32_t group;         /* how many groups the warp had committed before */
    uint32_t groups[LANES]; /* and each lane, once they are apart */
    uint64_t source[LANES]; /* host address */
};

/* Room for one more copy of w, or a fault. */
struct async_copy *async_new(struct warp *w, const struct insn *in);

/* The host address of fewer bytes than lane copies, checked. */
uint64_t async_source(struct warp *w, const struct insn *in, int lane, uint64_t address,
                      uint32_t bytes);

/* Moves the data of some lanes of a copy. */
void async_move(struct warp *w, const struct async_copy *c, uint32_t lanes);

/* Notes for the places of some lanes of a copy whether it is under way. */
void async_mark(struct warp *w, const struct async_copy *c, uint32_t lanes, uint8_t under_way);

/* The lanes in w->mask commit a group. */
void async_commit(struct warp *w);

/* The copies of w's lanes in w->mask arrive, but those of the last groups committed. */
void async_wait(struct warp *w, uint32_t groups);

/* The same for all, whether committed or not. */
void async_wait_all(struct warp *w);

/* A block starts: nothing is under way. */
void async_reset(struct block *b);

/* Faults: an access to bytes into which a copy is under way. */
void async_fault(struct warp *w, const struct insn *in, const uint32_t offset[LANES],
                 uint32_t bytes, enum access access);

#endif
