/*
 * A driver for tests: device memory is a fixed piece of host memory, a kernel is a C function found by
 * its name, streams are in order and synchronous, graphs are recorded and replayed. It allocates
 * nothing from the heap, and counts what it is asked to do.
 *
 * Kernels: add_one(f32 x[], f32 y[], i32 n): y = x + 1.
 *          count_up(i64 x[], i32 n): x[i] += 1.
 *          positive(f32 x[], i64 count[1], i32 n): how many x are > 0.
 */
#ifndef GPUCC_TESTS_MOCK_DRIVER_H
#define GPUCC_TESTS_MOCK_DRIVER_H

#include <stdint.h>

struct mock_state {
    int sm, driver_version;         /* what it answers; the test may change it */
    int launches, copies, fills;    /* since the library was opened, replayed ones too */
    int allocations, frees, modules, modules_unloaded;
    int graphs, graph_launches;
    int retained;                   /* primary context references */
    int cubins_loaded, ptx_loaded;
    int fail_launch;                /* this launch (counted from 1) fails; 0: none */
    int spoilt;                     /* the context cannot be entered any more */
    int no_graphs;                  /* capture answers "not supported" */
};

#endif
