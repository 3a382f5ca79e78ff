/* A device: a driver library with one of its GPUs' primary context. */
#ifndef GPUCC_RUNTIME_DEVICE_H
#define GPUCC_RUNTIME_DEVICE_H

#include "driver.h"

struct gpucc_device {
    struct driver driver;
    int ordinal;
    void *primary;                      /* retained CUcontext */
    int shared_bytes;                   /* the most shared memory that a block can have */
    bool isolate;                       /* every buffer and weight in an allocation of its own: a
                                           driver that checks bounds sees straying into another */
    struct gpucc_device_info info;
};

/* Makes the primary context current for the calling thread, until rt_device_leave. */
enum gpucc_status rt_device_enter(const struct gpucc_device *device);
void rt_device_leave(const struct gpucc_device *device);

/* GPUCC_LIMIT when the device has no room. *pointer is 0 for 0 bytes. */
enum gpucc_status rt_device_alloc(const struct gpucc_device *device, int64_t bytes, const char *what,
                                  uint64_t *pointer);
void rt_device_free(const struct gpucc_device *device, uint64_t pointer); /* 0 is allowed */

#endif
