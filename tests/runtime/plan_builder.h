/* Makes small plans in memory, for tests of the runtime. Growing memory; exits when there is none. */
#ifndef GPUCC_TESTS_PLAN_BUILDER_H
#define GPUCC_TESTS_PLAN_BUILDER_H

#include "plan_format.h"

#include <stddef.h>
#include <stdint.h>

struct plan_builder {
    struct bytes { unsigned char *data; size_t size; } sections[PLAN_SECTION_COUNT]; /* one program */
    struct plan_header header;
    struct plan_target target;
    struct plan_program program;
};

/* A plan for one target, without steps. name "portable" sets the flag. */
void builder_init(struct plan_builder *b, const char *target, uint32_t sm);
void builder_free(struct plan_builder *b);

/* Each appends a record and returns its index (of a string: its offset). */
uint32_t builder_string(struct plan_builder *b, const char *text);
uint32_t builder_add(struct plan_builder *b, enum plan_section_kind kind, const void *record,
                     size_t bytes);
#define ADD(b, KIND, ...)                                                                          \
    builder_add((b), PLAN_##KIND, &(struct KIND##_RECORD){__VA_ARGS__},                            \
                sizeof(struct KIND##_RECORD))
#define VALUES_RECORD plan_value
#define TAPS_RECORD plan_tap
#define DIMS_RECORD plan_dim
#define SYMBOLS_RECORD plan_symbol
#define SCALARS_RECORD plan_scalar
#define BUFFERS_RECORD plan_buffer
#define READS_RECORD plan_read
#define KERNELS_RECORD plan_kernel
#define ARGS_RECORD plan_arg
#define STEPS_RECORD plan_step

/* A tensor value; inputs must all come before outputs. dims: -1 = free, called "n". */
uint32_t builder_tensor(struct plan_builder *b, int is_output, const char *name, int dtype, int rank,
                        const int64_t *dims);
uint32_t builder_const(struct plan_builder *b, int64_t value);
uint32_t builder_scalar(struct plan_builder *b, enum plan_scalar_op op, uint32_t a, uint32_t c);
uint32_t builder_buffer(struct plan_builder *b, enum plan_buffer_kind kind, uint32_t index,
                        uint32_t size_slot);
uint32_t builder_weight(struct plan_builder *b, const void *bytes, size_t size);
/* A kernel with the given PTX text; a target that is not portable also gets a stand-in for a cubin. */
uint32_t builder_kernel(struct plan_builder *b, const char *symbol, const char *ptx,
                        uint32_t threads);
/* A launch; args are `n` records to copy. */
uint32_t builder_launch(struct plan_builder *b, uint32_t kernel, uint32_t grid_slot,
                        const struct plan_arg *args, uint32_t n);

/* The plan's bytes, to be freed by the caller. Steps and scalars that were added after the fields
 * program.main_steps and .bind_scalars were set belong to bodies and reads; if they are not set, all
 * are the main ones. */
unsigned char *builder_finish(struct plan_builder *b, size_t *size);

/* Recomputes all hashes of a plan whose header and section table still make sense. */
void repair_hashes(unsigned char *plan, size_t size);

/*
 * x[n] f32 → y[n] = x + 1, by kernel "add_one"(x, y, i32 n) in blocks of 32 threads, through an arena
 * buffer: two launches, so y = x + 2. n free (-1) or fixed.
 */
unsigned char *plan_add_two(int64_t n, const char *target, uint32_t sm, size_t *size);

/* x f32[6] → y = the first count(x > 0) elements of x + 1; READ_DIM reads the count in between. For the
 * mock driver alone, like the next. */
unsigned char *plan_positive(size_t *size);

/* x i64[4] → y: COPY, then a LOOP of three iterations that counts y up; in its second an IF fills 7 bytes
 * of the last element with 1s before that. */
unsigned char *plan_loop(size_t *size);

extern const char add_one_ptx[];

#endif
