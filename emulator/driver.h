/* What the driver's files share: one device, one lock, options, counters, the last error. */
#ifndef EMU_DRIVER_H
#define EMU_DRIVER_H

#include <stdbool.h>

#include "cu.h"
#include "gpucc_emu.h"
#include "machine.h"

#define API __attribute__((visibility("default")))

struct CUmod_st {
    struct module *module;
    struct kernel *kernels;
    uint64_t *allocations; /* of its variables */
    size_t n_allocations;
    struct CUmod_st *next;
};

struct driver {
    bool initialized, configured;
    int sticky; /* a failed launch spoils the context: CUresult */
    struct gpucc_emu_options options;
    struct gpucc_emu_counters counters;
    struct CUmod_st *modules;
    int pushed;          /* depth of the stack of contexts */
    int streams, events; /* alive */
    char error[1024];
};
extern struct driver driver;

/* Every entry point holds the lock. driver_enter fails if cuInit was not called, or with the
 * error of an earlier launch. */
CUresult driver_enter(void);
CUresult driver_leave(CUresult result);
void driver_lock(void);
void driver_unlock(void);

/* Notes a message; returns code. */
__attribute__((format(printf, 2, 3))) CUresult driver_error(CUresult code, const char *format, ...);

/* Reads the environment once. */
void driver_configure_once(void);

/* Shared memory that a block may have when its kernel asks for it, on a device of that SM. */
int driver_shared_optin(int sm);

/* Adds the counts of more to those of to. */
void gpucc_emu_add(struct gpucc_emu_counters *to, const struct gpucc_emu_counters *more);

/* Loads PTX: parses, decodes all kernels, allocates variables. */
CUresult module_load(const char *text, CUmodule *out);
void module_unload(CUmodule m);

#endif
