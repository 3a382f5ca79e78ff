/* A driver library, opened at run time: the table of driver_symbols.def. */
#ifndef GPUCC_RUNTIME_DRIVER_H
#define GPUCC_RUNTIME_DRIVER_H

#include "error.h"

struct driver_launch_attribute {        /* CUlaunchAttribute */
    int id;
    int padding;
    union { unsigned words[16]; int flag; } value;
};

struct driver_launch_config {           /* CUlaunchConfig */
    unsigned grid[3], block[3];
    unsigned shared_bytes;
    void *stream;
    struct driver_launch_attribute *attributes;
    unsigned n_attributes;
};

/* The driver's constants that we use, as cuda.h numbers them. */
enum {
    DRIVER_ATTRIBUTE_SM_MAJOR = 75,     /* of a device */
    DRIVER_ATTRIBUTE_SM_MINOR = 76,
    DRIVER_ATTRIBUTE_SHARED_BYTES = 97, /* most shared memory of a block, for functions that ask */
    DRIVER_FUNCTION_SHARED_BYTES = 8,   /* most dynamic shared memory of a function */
    DRIVER_LAUNCH_COOPERATIVE = 2,
    DRIVER_LAUNCH_CLUSTER = 4,
    DRIVER_JIT_ERROR_LOG = 5,
    DRIVER_JIT_ERROR_LOG_BYTES = 6,
    DRIVER_STREAM_NON_BLOCKING = 1,
    DRIVER_CAPTURE_THREAD_LOCAL = 1,
    DRIVER_OUT_OF_MEMORY = 2,
    DRIVER_NO_DEVICE = 100
};

struct driver {
    void *library;
    bool runs_ptx_only;                 /* the emulator: modules are PTX, never cubins */
    bool has_graphs;
    const char *(*explain)(void);       /* the emulator: what went wrong, in full; else NULL */
#define REQUIRED
#define OPTIONAL
#define DRIVER(member, symbol, need, parameters) int (*member) parameters;
#include "driver_symbols.def"
#undef DRIVER
#undef REQUIRED
#undef OPTIONAL
};

/* path NULL: the system's libcuda. */
enum gpucc_status rt_driver_open(const char *path, struct driver *driver);
void rt_driver_close(struct driver *driver);

/* GPUCC_OK for 0, else the last error says what `doing` was and how the driver calls the error. */
enum gpucc_status rt_driver_status(const struct driver *driver, int result, const char *doing);

#endif
