/* A program on a device: its kernels loaded and the plan's weights uploaded, shared by contexts. */
#ifndef GPUCC_RUNTIME_LOAD_H
#define GPUCC_RUNTIME_LOAD_H

#include "device.h"
#include "plan.h"

struct loaded {
    const struct gpucc_device *device;
    const struct program *program;
    int contexts;                       /* how many use it; guarded by the plan's lock */
    void **modules;                     /* by kernel; NULL: that of the kernel before */
    void **functions;                   /* by kernel */
    uint64_t weights;                   /* WEIGHT_DATA on the device; 0: each has its own place */
    uint64_t *weight_at;                /* by WEIGHTS record: address */
    struct loaded *next;
};

/* The loaded program, made if there is none. The device's context must be current. */
enum gpucc_status rt_load(struct gpucc_plan *plan, const struct gpucc_device *device,
                          const struct program *program, struct loaded **loaded);
/* Gives it back; the last one unloads it. The device's context must be current. */
void rt_unload(struct gpucc_plan *plan, struct loaded *loaded);

#endif
