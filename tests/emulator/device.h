/* A little of the driver API for tests; everything here fails the test if a call fails. */
#ifndef TESTS_EMULATOR_DEVICE_H
#define TESTS_EMULATOR_DEVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cu.h"
#include "gpucc_emu.h"

/* Starts the device; TEST_PORTABLE=1 in the environment chooses the plain C handlers. */
void device_start(int race, int threads);

CUdeviceptr device_put(const void *bytes, size_t n);
CUdeviceptr device_new(size_t n);
void device_get(void *to, CUdeviceptr from, size_t n);

/* Loads PTX with a header put before it. */
CUmodule device_module(const char *body);
CUfunction device_function(CUmodule m, const char *name);

struct shape {
    unsigned grid, block, shared;
};
/* Launches and returns the CUresult. */
CUresult device_launch(CUfunction f, struct shape s, void **params);
void device_run(CUfunction f, struct shape s, void **params);

#define PTX_HEADER ".version 8.0\n.target sm_90\n.address_size 64\n"

#endif
