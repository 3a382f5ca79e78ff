/*
 * What a kernel should take on a target: a model estimate from its shapes, its grid and the peak
 * figures in target.c, in integer arithmetic. Nothing here was calibrated on a device.
 */
#ifndef GPUCC_CODEGEN_ESTIMATE_H
#define GPUCC_CODEGEN_ESTIMATE_H

#include "kernel.h"

/* The units that do arithmetic, as far as their rates differ. */
enum unit { UNIT_FP32, UNIT_FP64, UNIT_TF32, UNIT_HALF, UNIT_I8, UNIT_F8, UNIT_COUNT };

extern const char *const unit_names[UNIT_COUNT]; /* "fp32", …, "tensor f16", … */

enum bound { BOUND_BANDWIDTH, BOUND_TENSOR, BOUND_ARITHMETIC, BOUND_LATENCY, BOUND_COUNT };

extern const char *const bound_names[BOUND_COUNT];

struct estimate {
    int64_t bytes_read, bytes_written; /* each buffer once, of gathered, sliced and strided ones what
                                          is taken */
    int64_t operations[UNIT_COUNT];    /* a multiply-add is two */
    int64_t blocks;
    int64_t nanoseconds;
    enum bound bound;               /* the term that is longest */
};

/* Free dims are taken for what cost_guess takes them for. */
struct estimate estimate_kernel(const struct graph *g, const struct target *target,
                                const struct kernel *kernel);

/* A COPY or FILL of so many bytes. */
struct estimate estimate_move(const struct target *target, int64_t read, int64_t written);

/* Bytes of a value, at those sizes. */
int64_t estimate_bytes(const struct graph *g, const struct value *v);

#endif
