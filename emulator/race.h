/* Races on shared memory: vector clocks over the warps of a block. */
#ifndef EMU_RACE_H
#define EMU_RACE_H

#include <stdint.h>

#include "machine.h"

/* to becomes the later of both, by warp. */
static inline void race_join(uint32_t to[MAX_WARPS], const uint32_t from[MAX_WARPS])
{
    for (int i = 0; i < MAX_WARPS; i++) {
        to[i] = from[i] > to[i] ? from[i] : to[i];
    }
}

#endif
