/*
 * Places buffers in one arena by their lifetimes. A pure function: the compiler calls it for fixed
 * dims, the runtime after a dim changed, so both agree to the byte.
 */
#ifndef GPUCC_PLANNER_H
#define GPUCC_PLANNER_H

#include <stdbool.h>
#include <stdint.h>

struct planner_item {
    uint32_t first, last;       /* steps, both included; last >= first */
    int64_t size;               /* bytes, >= 0; 0 takes no room */
    uint32_t alias;             /* lies at the start of that item, or UINT32_MAX. That item is no
                                   alias itself, at least as large, and alive all the while */
    int64_t offset;             /* result */
};

/*
 * Fills every offset (a multiple of alignment, a power of two) so that no two items that are alive at
 * the same step share a byte, aliases aside, and sets *total to the arena's bytes. Sizes are rounded up
 * to the alignment. Each item goes into the tightest gap: the largest first, or, where that takes more
 * than what is alive at once and the other way takes less, those that live longest, or begin first;
 * then so again from both ends of what is alive at once.
 * Ties by size, then by index, so the result is deterministic. scratch: n words, the caller's.
 * Allocates nothing. False when an item breaks the rules above or the total would overflow int64;
 * offsets are then undefined.
 */
bool planner_place(struct planner_item *items, uint32_t n, int64_t alignment, uint32_t *scratch,
                   int64_t *total);

#endif
