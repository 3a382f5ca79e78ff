/* Launches: the blocks of a grid over host threads. */
#ifndef EMU_LAUNCH_H
#define EMU_LAUNCH_H

#include "gpucc_emu.h"
#include "machine.h"

struct launch_shape {
    uint32_t grid[3], block[3], dynamic_shared;
};

/*
 * Runs all blocks; params holds the kernel's parameter block. Adds to *counters what was executed.
 * A CUresult; if it is not 0, a text in message. Block order and threads are as options say.
 */
int launch_run(struct kernel *k, const struct launch_shape *shape, const unsigned char *params,
               const struct gpucc_emu_options *options, struct gpucc_emu_counters *counters,
               char *message, size_t size);

#endif
