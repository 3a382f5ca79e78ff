/* Buffers that are zero when a context takes them, on the mock driver. */
#include "check.h"
#include "fixture.h"
#include "plan_builder.h"

/* y[n] = how often each element of a zeroed buffer of n was counted up, one of them in this run.
 * The kernel leaves no zeros behind, which shows that the buffer is kept. */
static unsigned char *plan_counting(size_t *size)
{
    struct plan_builder b;
    int64_t n = -1;
    builder_init(&b, "portable", 80);
    builder_tensor(&b, 0, "x", 1, 1, &n);
    builder_tensor(&b, 1, "y", 7, 1, &n);
    uint32_t elements = builder_scalar(&b, PLAN_SC_INPUT_DIM, 0, 0);
    uint32_t bytes = builder_scalar(&b, PLAN_SC_MUL, elements, builder_const(&b, 8));
    uint32_t x_bytes = builder_scalar(&b, PLAN_SC_MUL, elements, builder_const(&b, 4));
    uint32_t one = builder_const(&b, 1);
    builder_add(&b, PLAN_SHAPES, &elements, sizeof elements);
    builder_buffer(&b, PLAN_BUFFER_INPUT, 0, x_bytes);
    uint32_t counts = builder_buffer(&b, PLAN_BUFFER_ZEROED, 0, bytes);
    uint32_t y = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, bytes);
    struct plan_arg args[] = {{PLAN_ARG_BUFFER, counts, PLAN_NONE, 0},
                              {PLAN_ARG_I32, elements, 0, 0}};
    builder_launch(&b, builder_kernel(&b, "count_up", "count_up", 32), one, args, 2);
    struct plan_step step = {.kind = PLAN_STEP_COPY};
    step.u.copy.to = y;
    step.u.copy.from = counts;
    step.u.copy.to_offset = step.u.copy.from_offset = PLAN_NONE;
    step.u.copy.bytes = bytes;
    builder_add(&b, PLAN_STEPS, &step, sizeof step);
    struct plan_buffer *buffers = (void *)b.sections[PLAN_BUFFERS].data;
    buffers[counts].last = buffers[y].first = buffers[y].last = 1;
    unsigned char *plan = builder_finish(&b, size);
    builder_free(&b);
    return plan;
}

static void check_counts(struct gpucc_context *context, int64_t n, int64_t first, int64_t last)
{
    float x[300] = {0};
    int64_t y[300];
    OK(gpucc_context_set_input_shape(context, 0, 1, &n));
    OK(gpucc_context_bind_input(context, 0, GPUCC_HOST, x, (size_t)n * sizeof *x));
    OK(gpucc_context_bind_output(context, 0, GPUCC_HOST, y, (size_t)n * sizeof *y));
    OK(gpucc_context_run_sync(context));
    assert_int_equal(y[0], first);
    assert_int_equal(y[n - 1], last);
}

static void zeroed_memory_is_cleared_once_and_kept(void **state)
{
    (void)state;
    struct fixture f;
    size_t size;
    unsigned char *bytes = plan_counting(&size);
    start(&f, bytes, size);
    OK(gpucc_context_create(f.plan, f.device, &f.context));
    check_counts(f.context, 4, 1, 1);
    check_counts(f.context, 4, 2, 2);
    assert_int_equal(f.mock->fills, 1);
    check_counts(f.context, 300, 1, 1); /* more than it has: new memory */
    assert_int_equal(f.mock->fills, 2);
    check_counts(f.context, 4, 2, 2);
    check_counts(f.context, 300, 3, 2);
    assert_int_equal(f.mock->fills, 2);
    stop(&f);
}

static void each_context_has_zeroed_memory_of_its_own(void **state)
{
    (void)state;
    struct fixture f;
    struct gpucc_context *second;
    size_t size;
    unsigned char *bytes = plan_counting(&size);
    start(&f, bytes, size);
    OK(gpucc_context_create(f.plan, f.device, &f.context));
    OK(gpucc_context_create(f.plan, f.device, &second));
    check_counts(f.context, 4, 1, 1);
    check_counts(second, 4, 1, 1);
    check_counts(f.context, 4, 2, 2);
    gpucc_context_destroy(second);
    stop(&f);
}

RUN_TESTS(TEST(zeroed_memory_is_cleared_once_and_kept),
          TEST(each_context_has_zeroed_memory_of_its_own))
