/* The slow sides of memory accesses: other spaces, statements of what is wrong, counts, races. */
#ifndef EMU_CHECKS_H
#define EMU_CHECKS_H

#include "machine.h"

enum access { ACCESS_LOAD, ACCESS_STORE, ACCESS_ATOMIC };

/* What accesses of shared memory are counted as: ld; ldmatrix; st, atom and stmatrix; cp.async. */
enum shared_kind { SHARED_LOAD, SHARED_MATRIX, SHARED_STORE, SHARED_ASYNC };

/* Looks at each lane's address, in any space; faults, or fills in host addresses. */
void resolve_slow(struct warp *w, const struct insn *in, const uint64_t address[LANES],
                  uint32_t bytes, enum access access, uint64_t host[LANES]);

/* Faults if a lane's shared address is out of bounds or misaligned. */
void check_shared(struct warp *w, const struct insn *in, const uint64_t address[LANES],
                  uint32_t bytes, enum access access);

/* Faults if a lane reads bytes of shared memory that nobody wrote. */
void check_written(struct warp *w, const struct insn *in, const uint32_t offset[LANES],
                   uint32_t bytes);

_Noreturn void fault_address(struct warp *w, const struct insn *in, int lane, uint64_t address,
                             uint32_t bytes, enum access access, const char *space, uint64_t size);

/* Statistics: a lane's access of global memory. */
void note_touched(struct warp *w, const struct insn *in, int lane, const void *host,
                  enum access access);
/* … of those of all lanes. */
void note_all_touched(struct warp *w, const struct insn *in, const uint64_t host[LANES],
                      enum access access);
/* Counts the sectors that lanes touch, and the bytes in them, each once; count_global also a
 * request of the lanes in w->mask. */
void count_sectors(struct warp *w, uint32_t lanes, const uint64_t host[LANES],
                   const uint32_t bytes[LANES]);
void count_global(struct warp *w, const uint64_t host[LANES], uint32_t bytes);
void count_shared(struct warp *w, const struct insn *in, const uint32_t offset[LANES],
                  uint32_t bytes, enum shared_kind kind);

/* Race mode: notes the access and faults if nothing orders it with another. */
void race_access(struct warp *w, const struct insn *in, const uint32_t offset[LANES],
                 uint32_t bytes, enum access access);

/* Race mode: faults if lanes store different values to one place. */
void race_lanes(struct warp *w, const struct insn *in, const uint32_t offset[LANES]);

/* Race mode: what the lanes copied is there now, for w. */
void race_arrive(struct warp *w, const uint32_t offset[LANES], uint32_t bytes, uint32_t lanes);

/* Race mode: the same of global memory, among the blocks of a launch, too. */
void race_global(struct warp *w, const struct insn *in, uint32_t lanes,
                 const uint64_t address[LANES], uint32_t bytes, enum access access);
/* … and takes what an atomic operation, or a load in the device's scope, has seen of other blocks,
 * when it is done. */
void race_hear(struct warp *w, const struct insn *in, const uint64_t address[LANES],
               enum access access);
void race_fence(struct warp *w);              /* one that the whole device sees */
struct global_race *global_race_create(void); /* for a launch; NULL if memory is out */
void global_race_free(struct global_race *r); /* NULL is fine */

/* Shadow memory for so many bytes of shared memory; NULL if memory is out. */
struct race *race_create(uint32_t shared_bytes, uint32_t n_warps);
void race_reset(struct race *r, struct block *b);
void race_free(struct race *r);

#endif
