/* Opening plans: what is refused, and why. */
#include "check.h"
#include "device.h"
#include "plan.h"
#include "plan_builder.h"

#include <stdio.h>
#include <unistd.h>

static enum gpucc_status open_bytes(const unsigned char *bytes, size_t size, unsigned flags)
{
    struct gpucc_plan *plan;
    enum gpucc_status status = gpucc_plan_open_memory(bytes, size, flags, &plan);
    if (status == GPUCC_OK)
        gpucc_plan_close(plan);
    return status;
}

static void assert_error(const char *part)
{
    if (strstr(gpucc_last_error(), part) == NULL)
        fail_msg("'%s' is not in '%s'", part, gpucc_last_error());
}

static void describes_inputs_and_outputs(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = plan_add_two(-1, "sm_80", 80, &size);
    struct gpucc_plan *plan;
    struct gpucc_value_info info;
    assert_int_equal(gpucc_plan_open_memory(bytes, size, 0, &plan), GPUCC_OK);
    assert_int_equal(gpucc_plan_input_count(plan), 1);
    assert_int_equal(gpucc_plan_output_count(plan), 1);
    assert_int_equal(gpucc_plan_describe_output(plan, 0, &info), GPUCC_OK);
    assert_string_equal(info.name, "y");
    assert_int_equal(info.dtype, 1);
    assert_int_equal(info.element_bytes, 4);
    assert_int_equal(info.rank, 1);
    assert_int_equal(info.dims[0], -1);
    assert_string_equal(info.dim_names[0], "n");
    assert_int_equal(gpucc_plan_find_input(plan, "x"), 0);
    assert_int_equal(gpucc_plan_find_input(plan, "y"), -1);
    assert_int_equal(gpucc_plan_describe_input(plan, 1, &info), GPUCC_USAGE);
    gpucc_plan_close(plan);
    free(bytes);
}

static void opens_from_a_file_and_from_unaligned_memory(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = plan_add_two(5, "sm_80", 80, &size), *moved = malloc(size + 1);
    char path[] = "/tmp/gpucc-test-XXXXXX";
    int file = mkstemp(path);
    struct gpucc_plan *plan;
    assert_true(file >= 0 && write(file, bytes, size) == (ssize_t)size);
    close(file);
    assert_int_equal(gpucc_plan_open(path, 0, &plan), GPUCC_OK);
    gpucc_plan_close(plan);
    unlink(path);
    assert_int_equal(gpucc_plan_open(path, 0, &plan), GPUCC_IO);
    assert_error(path);
    memcpy(moved + 1, bytes, size);
    assert_int_equal(open_bytes(moved + 1, size, 0), GPUCC_OK);
    free(moved);
    free(bytes);
}

static void any_flipped_bit_is_noticed(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = plan_add_two(5, "sm_80", 80, &size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= (unsigned char)(1 << i % 8);
        assert_int_equal(open_bytes(bytes, size, 0), GPUCC_BAD_PLAN);
        bytes[i] ^= (unsigned char)(1 << i % 8);
    }
    assert_int_equal(open_bytes(bytes, size, 0), GPUCC_OK);
    free(bytes);
}

static void any_cut_is_noticed_without_hashes(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = plan_add_two(5, "sm_80", 80, &size);
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *exact = malloc(cut + 1); /* so that ASan sees a read past the cut */
        memcpy(exact, bytes, cut);
        assert_int_equal(open_bytes(exact, cut, GPUCC_SKIP_HASH), GPUCC_BAD_PLAN);
        free(exact);
    }
    free(bytes);
}

/* ---- one planted fault each; hashes are right ---- */

struct fault {
    enum plan_section_kind section;
    uint32_t record;
    size_t offset; /* in the record */
    uint32_t value;
    const char *error; /* part of the message; NULL: legal */
};

#define FIELD(type, member) offsetof(struct type, member)

/* Takes the plan's bytes. */
static void set_field(unsigned char *bytes, size_t size, const struct fault *fault)
{
    struct plan_section section;
    memcpy(&section,
           bytes + sizeof(struct plan_header) + sizeof(struct plan_target) +
               (fault->section - 1) * sizeof section,
           sizeof section);
    memcpy(bytes + section.offset + fault->record * section.record_bytes + fault->offset,
           &fault->value, section.record_bytes == 1 ? 1 : 4);
    repair_hashes(bytes, size);
}

static void plant(unsigned char *bytes, size_t size, const struct fault *fault)
{
    set_field(bytes, size, fault);
    assert_int_equal(open_bytes(bytes, size, 0), fault->error ? GPUCC_BAD_PLAN : GPUCC_OK);
    if (fault->error != NULL)
        assert_error(fault->error);
    free(bytes);
}

static void planted_faults_are_named(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        {PLAN_STRINGS, 0, 0, 'x', "STRINGS"},
        {PLAN_VALUES, 0, FIELD(plan_value, name), 9999, "VALUES: record 0"},
        {PLAN_VALUES, 1, FIELD(plan_value, first_dim), 2, "VALUES: record 1"},
        {PLAN_VALUES, 0, FIELD(plan_value, element), 0, "VALUES: record 0"},
        {PLAN_VALUES, 0, FIELD(plan_value, alias), 0, "VALUES: record 0"}, /* for outputs only */
        {PLAN_DIMS, 0, FIELD(plan_dim, symbol), 0, "DIMS: record 0"},
        {PLAN_PROGRAM, 0, FIELD(plan_program, main_steps), 3, "PROGRAM"},
        {PLAN_PROGRAM, 0, FIELD(plan_program, main_steps), 1, "some belong to no step"},
        {PLAN_PROGRAM, 0, FIELD(plan_program, bind_scalars), 99, "PROGRAM"},
        {PLAN_SCALARS, 0, FIELD(plan_scalar, op), 99, "SCALARS: record 0"},
        {PLAN_SCALARS, 0, FIELD(plan_scalar, a), 1, "SCALARS: record 0"}, /* no such input */
        {PLAN_SCALARS, 0, FIELD(plan_scalar, b), 1, "SCALARS: record 0"}, /* no such axis */
        {PLAN_SCALARS, 2, FIELD(plan_scalar, b), 2, "SCALARS: record 2"}, /* not before it */
        {PLAN_BUFFERS, 0, FIELD(plan_buffer, index), 1, "BUFFERS: record 0"},
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, size), 99, "BUFFERS: record 1"},
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, alignment), 3, "BUFFERS: record 1"},
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, last), 2, "BUFFERS: record 1"},
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, alias), 1, "BUFFERS: record 1"}, /* of itself */
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, alias), 0, "BUFFERS: record 1"}, /* of an input */
        {PLAN_BUFFERS, 2, FIELD(plan_buffer, kind), PLAN_BUFFER_INPUT, "second of its input"},
        {PLAN_BUFFERS, 2, FIELD(plan_buffer, kind), PLAN_BUFFER_ARENA, "output 0 has none"},
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, kind), PLAN_BUFFER_WEIGHT, "BUFFERS: record 1"},
        {PLAN_SHAPES, 0, 0, 99, "SHAPES"},
        {PLAN_KERNELS, 0, FIELD(plan_kernel, symbol), 0, "KERNELS: record 0"},
        {PLAN_KERNELS, 0, FIELD(plan_kernel, cubin_bytes), 8, "KERNELS: record 0"},
        {PLAN_KERNELS, 0, FIELD(plan_kernel, cubin_offset), 1, "KERNELS: record 0"},
        {PLAN_KERNELS, 0, FIELD(plan_kernel, ptx_offset), 1u << 30, "KERNELS: record 0"},
        {PLAN_KERNELS, 0, FIELD(plan_kernel, ptx_bytes), 20, "KERNELS: record 0"}, /* no NUL */
        {PLAN_KERNELS, 0, FIELD(plan_kernel, block), 0, "KERNELS: record 0"},
        {PLAN_KERNELS, 0, FIELD(plan_kernel, block), 2048, "KERNELS: record 0"},
        {PLAN_KERNELS, 0, FIELD(plan_kernel, cluster), 2, "KERNELS: record 0"},
        {PLAN_ARGS, 0, FIELD(plan_arg, kind), 9, "ARGS: record 0"},
        {PLAN_ARGS, 0, FIELD(plan_arg, index), 3, "ARGS: record 0"},
        {PLAN_ARGS, 0, FIELD(plan_arg, offset), 99, "ARGS: record 0"},
        {PLAN_ARGS, 2, FIELD(plan_arg, index), 99, "ARGS: record 2"},
        {PLAN_TAPS, 0, FIELD(plan_tap, step), 2, "TAPS: record 0"},
        {PLAN_TAPS, 1, FIELD(plan_tap, step), 2, "TAPS: record 1"},
        {PLAN_TAPS, 0, FIELD(plan_tap, step), 1, NULL},
        {PLAN_TAPS, 0, FIELD(plan_tap, buffer), 3, "TAPS: record 0"},
        {PLAN_TAPS, 0, FIELD(plan_tap, offset), 99, "TAPS: record 0"},
        {PLAN_TAPS, 0, FIELD(plan_tap, name), 0, "TAPS: record 0"},
        {PLAN_TAPS, 0, FIELD(plan_tap, name), 1u << 30, "TAPS: record 0"},
        {PLAN_TAPS, 0, FIELD(plan_tap, dtype), 8, "TAPS: record 0"}, /* strings */
        {PLAN_TAPS, 0, FIELD(plan_tap, rank), 17, "TAPS: record 0"},
        {PLAN_TAPS, 0, FIELD(plan_tap, rank), 2, "TAPS: record 0"},      /* beyond ARGS */
        {PLAN_TAPS, 0, FIELD(plan_tap, first_arg), 0, "TAPS: record 0"}, /* a buffer */
        {PLAN_TAPS, 1, FIELD(plan_tap, reserved), 1, "TAPS: record 1"},
        {PLAN_STEPS, 0, FIELD(plan_step, kind), 99, "STEPS: record 0"},
        {PLAN_STEPS, 0, FIELD(plan_step, u.launch.kernel), 1, "STEPS: record 0"},
        {PLAN_STEPS, 1, FIELD(plan_step, u.launch.n_args), 6, "STEPS: record 1"},
        {PLAN_STEPS, 0, FIELD(plan_step, u.launch.n_args), UINT32_MAX, "STEPS: record 0"},
        {PLAN_STEPS, 0, FIELD(plan_step, u.launch.grid), 99, "STEPS: record 0"},
        {PLAN_STEPS, 0, FIELD(plan_step, kind), PLAN_STEP_IF, "STEPS: record 0 (IF)"},
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, first), 1, NULL},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        size_t size;
        unsigned char *bytes = plan_add_two(5, "sm_80", 80, &size);
        plant(bytes, size, &faults[i]);
    }
}

/* Each body has one owner, which lies before it; loops and branches name what there is. */
static void planted_faults_of_bodies_are_named(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        {PLAN_PROGRAM, 0, FIELD(plan_program, main_steps), 3, "STEPS: record 1 (LOOP)"},
        {PLAN_STEPS, 1, FIELD(plan_step, u.loop.trips), 99, "STEPS: record 1 (LOOP)"},
        {PLAN_STEPS, 1, FIELD(plan_step, u.loop.trips), PLAN_NONE, "STEPS: record 1 (LOOP)"},
        {PLAN_STEPS, 1, FIELD(plan_step, u.loop.again), 99, "STEPS: record 1 (LOOP)"},
        {PLAN_STEPS, 1, FIELD(plan_step, u.loop.first), 1, "STEPS: record 1 (LOOP)"}, /* itself */
        {PLAN_STEPS, 1, FIELD(plan_step, u.loop.first), 3, "STEPS: record 1 (LOOP)"}, /* a gap */
        {PLAN_STEPS, 1, FIELD(plan_step, u.loop.n), 99, "STEPS: record 1 (LOOP)"},
        {PLAN_STEPS, 1, FIELD(plan_step, u.loop.n), 4, "STEPS: record 3 (IF)"}, /* takes its own */
        {PLAN_STEPS, 1, FIELD(plan_step, u.loop.n), 0, "STEPS: record 3 (IF)"},
        {PLAN_STEPS, 2, FIELD(plan_step, u.read.first_scalar), 0, "STEPS: record 2 (READ_DIM)"},
        {PLAN_STEPS, 2, FIELD(plan_step, u.read.n_scalars), 99, "STEPS: record 2 (READ_DIM)"},
        {PLAN_STEPS, 2, FIELD(plan_step, u.read.n_scalars), 1, "some belong to no step"},
        {PLAN_STEPS, 3, FIELD(plan_step, u.branch.condition), 99, "STEPS: record 3 (IF)"},
        {PLAN_STEPS, 3, FIELD(plan_step, u.branch.first_then), 2, "STEPS: record 3 (IF)"},
        {PLAN_STEPS, 3, FIELD(plan_step, u.branch.n_then), 2, "STEPS: record 3 (IF)"},
        {PLAN_STEPS, 3, FIELD(plan_step, u.branch.n_then), 0, "some belong to no step"},
        {PLAN_STEPS, 3, FIELD(plan_step, u.branch.n_else), 1, "STEPS: record 3 (IF)"},
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, last), 5, NULL}, /* the last step of a body */
        {PLAN_BUFFERS, 1, FIELD(plan_buffer, last), 6, "BUFFERS: record 1"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        size_t size;
        unsigned char *bytes = plan_loop(&size);
        plant(bytes, size, &faults[i]);
    }
}

/* ---- does it run here? ---- */

static void choice_is_by_header_and_names_the_flag(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        uint32_t sm;
        int device, driver;
        const char *error;
    } cases[] = {
        {"sm_80", 80, 80, 13000, NULL},
        {"sm_80", 80, 86, 13000, NULL}, /* machine code runs on a higher minor version */
        {"sm_86", 86, 80, 13000, "--target=sm_80"},
        {"sm_80", 80, 90, 13000, "--target=sm_90a"},
        {"sm_90a", 90, 90, 13000, NULL},
        {"sm_90a", 90, 100, 13000, "--target=portable"},
        {"portable", 80, 120, 13000, NULL},
        {"portable", 80, 75, 13000, "the plan is for portable"},
        {"sm_80", 80, 80, 11000, "needs a driver for CUDA 12.0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        unsigned char *bytes = plan_add_two(5, cases[i].target, cases[i].sm, &size);
        struct gpucc_plan *plan;
        struct gpucc_device device = {
            .info = {.sm = cases[i].device, .driver_version = cases[i].driver}};
        const char *target = NULL;
        assert_int_equal(gpucc_plan_open_memory(bytes, size, 0, &plan), GPUCC_OK);
        enum gpucc_status status = gpucc_plan_fits(plan, &device, &target);
        if (cases[i].error == NULL) {
            assert_int_equal(status, GPUCC_OK);
            assert_string_equal(target, cases[i].target);
        } else {
            assert_int_equal(status, GPUCC_BAD_PLAN);
            assert_error(cases[i].error);
        }
        gpucc_plan_close(plan);
        free(bytes);
    }
}

/* Machine code for 8.0 runs on 8.6, whose blocks have less shared memory. */
static void kernels_that_want_more_shared_memory_than_there_is_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t dynamic, fixed;
        int device_bytes;
        const char *error;
    } cases[] = {
        {101376, 0, 101376, NULL},
        {101376, 16, 101376, "101392 bytes of shared memory"},
        {147456, 0, 101376, "--target=sm_86"},
        {147456, 0, 166912, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        unsigned char *bytes = plan_add_two(5, "sm_80", 80, &size);
        const struct fault dynamic = {PLAN_KERNELS, 0, FIELD(plan_kernel, shared_bytes),
                                      cases[i].dynamic, NULL},
                           fixed = {PLAN_KERNELS, 0, FIELD(plan_kernel, static_shared_bytes),
                                    cases[i].fixed, NULL};
        set_field(bytes, size, &dynamic);
        set_field(bytes, size, &fixed);
        struct gpucc_plan *plan;
        struct gpucc_device device = {.shared_bytes = cases[i].device_bytes,
                                      .info = {.sm = 86, .driver_version = 13000}};
        const char *target = NULL;
        assert_int_equal(gpucc_plan_open_memory(bytes, size, 0, &plan), GPUCC_OK);
        enum gpucc_status status = gpucc_plan_fits(plan, &device, &target);
        assert_int_equal(status, cases[i].error ? GPUCC_BAD_PLAN : GPUCC_OK);
        if (cases[i].error != NULL)
            assert_error(cases[i].error);
        gpucc_plan_close(plan);
        free(bytes);
    }
}

static void other_versions_and_files_are_refused(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = plan_add_two(5, "sm_80", 80, &size);
    bytes[offsetof(struct plan_header, version)] = 2;
    assert_int_equal(open_bytes(bytes, size, 0), GPUCC_BAD_PLAN);
    assert_error("version 2");
    bytes[0] = 'x';
    assert_int_equal(open_bytes(bytes, size, 0), GPUCC_BAD_PLAN);
    assert_error("no gpucc plan");
    assert_int_equal(open_bytes(bytes, 0, 0), GPUCC_BAD_PLAN);
    free(bytes);
}

static void reserved_steps_are_refused_by_name(void **state)
{
    (void)state;
    struct plan_builder b;
    size_t size;
    builder_init(&b, "sm_80", 80);
    struct plan_step step = {.kind = PLAN_STEP_HOST_CALL,
                             .nodes = builder_string(&b, "seq (StringSplit)")};
    builder_add(&b, PLAN_STEPS, &step, sizeof step);
    unsigned char *bytes = builder_finish(&b, &size);
    struct gpucc_plan *plan;
    struct gpucc_device device = {.info = {.sm = 80, .driver_version = 13000}};
    const char *target;
    assert_int_equal(gpucc_plan_open_memory(bytes, size, 0, &plan), GPUCC_OK);
    assert_int_equal(gpucc_plan_fits(plan, &device, &target), GPUCC_UNSUPPORTED);
    assert_error("seq (StringSplit)");
    assert_error("HOST_CALL");
    gpucc_plan_close(plan);
    builder_free(&b);
    free(bytes);
}

RUN_TESTS(TEST(describes_inputs_and_outputs), TEST(opens_from_a_file_and_from_unaligned_memory),
          TEST(any_flipped_bit_is_noticed), TEST(any_cut_is_noticed_without_hashes),
          TEST(planted_faults_are_named), TEST(planted_faults_of_bodies_are_named),
          TEST(choice_is_by_header_and_names_the_flag),
          TEST(kernels_that_want_more_shared_memory_than_there_is_are_refused),
          TEST(other_versions_and_files_are_refused), TEST(reserved_steps_are_refused_by_name))
