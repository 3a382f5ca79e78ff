/*
 * An opened plan. Whoever holds a struct gpucc_plan may rely on everything that verify.c checks: every
 * index, range, string and type in it is sound, whatever its hashes say.
 */
#ifndef GPUCC_RUNTIME_PLAN_H
#define GPUCC_RUNTIME_PLAN_H

#include "error.h"
#include "plan_format.h"

#include <pthread.h>

/* Scalars that a READ_DIM step runs. Buffers whose size is computed there are placed then. */
struct segment { uint32_t first, n; };

struct program {                        /* the sections of one target, in the mapped file */
    const struct plan_target *target;
    const struct plan_program *info;
    const struct plan_scalar *scalars;
    const struct plan_buffer *buffers;
    const uint32_t *shapes;
    const struct plan_read *reads;
    const struct plan_kernel *kernels;
    const struct plan_arg *args;
    const struct plan_step *steps;
    const struct plan_tap *taps;
    uint32_t n_info, n_scalars, n_buffers, n_shapes, n_reads, n_kernels, n_args, n_steps, n_taps;
    uint32_t n_segments;
    struct segment *segments;           /* owned; [0] is the bind segment, then by READ_DIM steps */
};

struct gpucc_plan {
    const unsigned char *bytes;         /* mapped, copied, or the caller's */
    size_t size;
    bool mapped, copied;
    const struct plan_header *header;
    const struct plan_target *targets;
    const struct plan_section *sections;

    const char *strings;
    const struct plan_value *values;
    const struct plan_dim *dims;
    const struct plan_symbol *symbols;
    const struct plan_weight *weights;
    const char *recipes;
    const unsigned char *code, *weight_data;
    uint32_t n_strings, n_values, n_dims, n_symbols, n_weights;
    uint64_t n_recipes, n_code, n_weight_data;

    struct program *programs;           /* owned; header->n_targets */

    pthread_mutex_t lock;               /* guards loaded */
    struct loaded *loaded;              /* programs on devices, see load.c */
};

/* Fills the plan's section pointers from its bytes, checking header, section table and hashes. */
enum gpucc_status rt_plan_sections(struct gpucc_plan *plan, unsigned flags);

/* Checks everything inside the sections, and fills each program's segments. */
enum gpucc_status rt_plan_verify(struct gpucc_plan *plan);
enum gpucc_status rt_program_verify(const struct gpucc_plan *plan, struct program *program);

/* Which segment computes a slot. */
uint32_t rt_segment_of(const struct program *program, uint32_t slot);

static inline const char *rt_string(const struct gpucc_plan *plan, uint32_t offset)
{
    return plan->strings + offset;
}

/* Bytes of an element in a buffer, by ONNX's code; 0 for strings and unknown codes. */
uint32_t rt_element_bytes(uint32_t dtype);

/* The program of a plan for a device, by the header and what its kernels need of shared memory; NULL
 * with the reason and the flag to rebuild with in the last error. */
const struct program *rt_plan_choose(const struct gpucc_plan *plan,
                                     const struct gpucc_device *device);

/* UNSUPPORTED, naming the first step or value that this runtime refuses. */
enum gpucc_status rt_program_supported(const struct gpucc_plan *plan,
                                       const struct program *program);

/* "COPY", …; "" for an unknown kind. */
const char *rt_step_name(uint32_t kind);

#endif
