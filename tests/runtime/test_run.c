/* Running plans on the mock driver. */
#include "check.h"
#include "context.h"
#include "fixture.h"
#include "plan_builder.h"

static int heap_calls;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *block, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    heap_calls++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    heap_calls++;
    return __real_calloc(n, bytes);
}

void *__wrap_realloc(void *block, size_t bytes)
{
    heap_calls++;
    return __real_realloc(block, bytes);
}

static void assert_error(const char *part)
{
    if (strstr(gpucc_last_error(), part) == NULL)
        fail_msg("'%s' is not in '%s'", part, gpucc_last_error());
}

static void start_add_two(struct fixture *f, int64_t n)
{
    size_t size;
    unsigned char *bytes = plan_add_two(n, "sm_90a", 90, &size);
    start(f, bytes, size);
    OK(gpucc_context_create(f->plan, f->device, &f->context));
}

static void static_plan_runs_without_allocating(void **state)
{
    (void)state;
    struct fixture f;
    float x[5] = {1, 2, 3, 4, 5}, y[5];
    start_add_two(&f, 5);
    assert_int_equal(f.mock->cubins_loaded, 1);
    assert_int_equal(f.mock->graphs, 1);
    int heap = heap_calls, device = f.mock->allocations;
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, sizeof y));
    for (int run = 0; run < 3; run++) {
        x[0] = (float)run;
        OK(gpucc_context_run_sync(f.context));
        assert_float_equal(y[0], run + 2, 0);
        assert_float_equal(y[4], 7, 0);
    }
    assert_int_equal(heap_calls, heap);
    assert_int_equal(f.mock->allocations, device);
    assert_int_equal(f.mock->graphs, 1);
    assert_int_equal(f.mock->graph_launches, 3);
    assert_int_equal(f.mock->launches, 6);
    stop(&f);
}

static void a_run_stops_behind_a_tap_and_shows_it(void **state)
{
    (void)state;
    struct fixture f;
    struct gpucc_tap tap;
    int64_t n = 3;
    float x[3] = {1, 2, 3}, y[3] = {0}, seen[3];
    start_add_two(&f, -1);
    OK(gpucc_context_set_input_shape(f.context, 0, 1, &n));
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, sizeof y));
    assert_int_equal(gpucc_context_tap_count(f.context), 2);
    OK(gpucc_context_describe_tap(f.context, 0, &tap));
    assert_string_equal(tap.name, "middle");
    assert_string_equal(tap.nodes, "node (Add)");
    assert_int_equal(tap.dims[0], -1);
    assert_int_equal(gpucc_context_read_tap(f.context, 0, seen, sizeof seen), GPUCC_USAGE);
    assert_error("before its step has run");

    OK(gpucc_context_run_to_tap(f.context, 0));
    assert_int_equal(f.mock->launches, 1);
    OK(gpucc_context_describe_tap(f.context, 0, &tap));
    assert_int_equal(tap.dims[0], 3);
    OK(gpucc_context_read_tap(f.context, 0, seen, sizeof seen));
    assert_float_equal(seen[2], 4, 0);
    assert_float_equal(y[2], 0, 0);
    assert_int_equal(gpucc_context_read_tap(f.context, 0, seen, 8), GPUCC_USAGE);
    assert_int_equal(gpucc_context_read_tap(f.context, 1, seen, sizeof seen), GPUCC_USAGE);

    OK(gpucc_context_run_to_tap(f.context, 2)); /* to the end */
    assert_int_equal(f.mock->launches, 2);
    assert_float_equal(y[2], 5, 0);
    OK(gpucc_context_read_tap(f.context, 1, seen, sizeof seen));
    assert_float_equal(seen[0], 3, 0);
    x[0] = 7;
    OK(gpucc_context_run_to_tap(f.context, 0)); /* from the start again */
    assert_int_equal(f.mock->launches, 3);
    OK(gpucc_context_read_tap(f.context, 0, seen, sizeof seen));
    assert_float_equal(seen[0], 8, 0);
    assert_int_equal(gpucc_context_run_to_tap(f.context, 3), GPUCC_USAGE);
    OK(gpucc_context_run_sync(f.context));
    assert_float_equal(y[0], 9, 0);
    stop(&f);
}

static void without_graphs_the_steps_are_issued(void **state)
{
    (void)state;
    struct fixture f;
    size_t size;
    float x[5] = {1, 2, 3, 4, 5}, y[5];
    unsigned char *bytes = plan_add_two(5, "sm_90a", 90, &size);
    start(&f, bytes, size);
    f.mock->no_graphs = 1;
    OK(gpucc_context_create(f.plan, f.device, &f.context));
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, sizeof y));
    OK(gpucc_context_run_sync(f.context));
    OK(gpucc_context_run_sync(f.context));
    assert_float_equal(y[4], 7, 0);
    assert_int_equal(f.mock->graph_launches, 0);
    assert_int_equal(f.mock->launches, 4);
    stop(&f);
}

static void free_dim_runs_at_any_size(void **state)
{
    (void)state;
    struct fixture f;
    float x[100], y[100];
    start_add_two(&f, -1);
    static const int64_t sizes[] = {1, 33, 0, 7, 100};
    for (int i = 0; i < 5; i++) {
        int64_t n = sizes[i], dims[GPUCC_MAX_RANK];
        int rank;
        for (int j = 0; j < 100; j++)
            x[j] = (float)(j * i), y[j] = -1;
        OK(gpucc_context_set_input_shape(f.context, 0, 1, &n));
        OK(gpucc_context_output_shape(f.context, 0, &rank, dims));
        assert_int_equal(dims[0], n);
        OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
        OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, sizeof y));
        int launches = f.mock->launches;
        OK(gpucc_context_run_sync(f.context));
        assert_int_equal(f.mock->launches - launches, n > 0 ? 2 : 0);
        for (int j = 0; j < n; j++)
            assert_float_equal(y[j], j * i + 2, 0);
        for (int64_t j = n; j < 100; j++)
            assert_float_equal(y[j], -1, 0);
    }
    stop(&f);
}

static void reserved_context_allocates_nothing_for_smaller_shapes(void **state)
{
    (void)state;
    struct fixture f;
    float x[100] = {0}, y[100];
    start_add_two(&f, -1);
    int64_t n = 100;
    OK(gpucc_context_set_input_shape(f.context, 0, 1, &n));
    OK(gpucc_context_reserve(f.context));
    int heap = heap_calls, device = f.mock->allocations;
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, sizeof y));
    for (n = 1; n <= 100; n += 9) {
        OK(gpucc_context_set_input_shape(f.context, 0, 1, &n));
        OK(gpucc_context_run_sync(f.context));
    }
    assert_int_equal(heap_calls, heap);
    assert_int_equal(f.mock->allocations, device);
    stop(&f);
}

static void device_memory_is_used_in_place(void **state)
{
    (void)state;
    struct fixture f;
    /* The mock's device memory is the host's. */
    _Alignas(16) float x[5] = {1, 2, 3, 4, 5};
    _Alignas(16) float y[5];
    _Alignas(16) float other[5];
    _Alignas(16) float room[8];
    start_add_two(&f, 5);
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_DEVICE, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_DEVICE, y, sizeof y));
    OK(gpucc_context_run(f.context, NULL));
    OK(gpucc_context_wait(f.context));
    assert_float_equal(y[2], 5, 0);
    assert_int_equal(f.mock->copies, 0);
    assert_int_equal(f.mock->graph_launches, 0); /* the first with these addresses */
    OK(gpucc_context_run(f.context, NULL));
    assert_int_equal(f.mock->graph_launches, 1);
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_DEVICE, other, sizeof other));
    OK(gpucc_context_run(f.context, NULL));
    assert_float_equal(other[4], 7, 0);
    assert_int_equal(f.mock->graph_launches, 1);
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_DEVICE, room + 1, sizeof other));
    assert_int_equal(gpucc_context_run(f.context, NULL), GPUCC_USAGE);
    assert_error("output 'y' must be 16-byte aligned");
    stop(&f);
}

static void unbound_output_stays_with_the_context(void **state)
{
    (void)state;
    struct fixture f;
    float x[5] = {1, 2, 3, 4, 5}, y[5];
    void *pointer;
    size_t bytes;
    start_add_two(&f, 5);
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    assert_int_equal(gpucc_context_output_data(f.context, 0, &pointer, &bytes), GPUCC_USAGE);
    OK(gpucc_context_run_sync(f.context));
    OK(gpucc_context_output_data(f.context, 0, &pointer, &bytes));
    assert_int_equal(bytes, sizeof y);
    OK(gpucc_context_read_output(f.context, 0, y, sizeof y));
    assert_float_equal(y[0], 3, 0);
    assert_int_equal(gpucc_context_read_output(f.context, 0, y, 4), GPUCC_USAGE);
    stop(&f);
}

static void contexts_share_the_loaded_program(void **state)
{
    (void)state;
    struct fixture f;
    struct gpucc_context *second;
    float x[5] = {1, 2, 3, 4, 5}, y[5], x2[5] = {10, 20, 30, 40, 50}, y2[5];
    start_add_two(&f, 5);
    f.mock->no_graphs = 1; /* the mock holds one graph */
    OK(gpucc_context_create(f.plan, f.device, &second));
    assert_int_equal(f.mock->modules, 1);
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, sizeof y));
    OK(gpucc_context_bind_input(second, 0, GPUCC_HOST, x2, sizeof x2));
    OK(gpucc_context_bind_output(second, 0, GPUCC_HOST, y2, sizeof y2));
    OK(gpucc_context_run_sync(second));
    OK(gpucc_context_run_sync(f.context));
    assert_float_equal(y[1], 4, 0);
    assert_float_equal(y2[1], 22, 0);
    gpucc_context_destroy(second);
    assert_int_equal(f.mock->modules_unloaded, 0);
    stop(&f);
}

static void wrong_use_is_an_error_that_names_the_input(void **state)
{
    (void)state;
    struct fixture f;
    float x[5] = {0}, y[5];
    int64_t n = 5, negative = -1, two[2] = {1, 5};
    struct gpucc_device *none;
    start_add_two(&f, -1);
    assert_int_equal(gpucc_context_run_sync(f.context), GPUCC_USAGE);
    assert_error("the shape of input 'x' has free dims");
    assert_int_equal(gpucc_context_set_input_shape(f.context, 0, 2, two), GPUCC_USAGE);
    assert_error("input 'x' has rank 1, not 2");
    assert_int_equal(gpucc_context_set_input_shape(f.context, 0, 1, &negative), GPUCC_USAGE);
    assert_int_equal(gpucc_context_set_input_shape(f.context, 1, 1, &n), GPUCC_USAGE);
    OK(gpucc_context_set_input_shape(f.context, 0, 1, &n));
    assert_int_equal(gpucc_context_run_sync(f.context), GPUCC_USAGE);
    assert_error("input 'x' is not bound");
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, 16));
    assert_int_equal(gpucc_context_run_sync(f.context), GPUCC_USAGE);
    assert_error("output 'y' needs 20 bytes, but 16 are bound");
    assert_int_equal(gpucc_device_open("/nonexistent/driver.so", 0, &none), GPUCC_ENVIRONMENT);
    assert_error("/nonexistent/driver.so");
    assert_int_equal(gpucc_device_open(MOCK_DRIVER, 1, &none), GPUCC_ENVIRONMENT);
    stop(&f);
}

static void driver_failure_names_step_and_kernel(void **state)
{
    (void)state;
    struct fixture f;
    float x[5] = {0}, y[5];
    int64_t n = 5;
    start_add_two(&f, -1);
    OK(gpucc_context_set_input_shape(f.context, 0, 1, &n));
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, sizeof y));
    f.mock->fail_launch = 2;
    assert_int_equal(gpucc_context_run_sync(f.context), GPUCC_ENVIRONMENT);
    assert_error("step 1, node (Add): add_one: unspecified launch failure");
    stop(&f);
}

static void a_spoilt_context_is_freed_all_the_same(void **state)
{
    (void)state;
    struct fixture f;
    start_add_two(&f, -1);
    f.mock->spoilt = 1;
    stop(&f);
}

static void wrong_arguments_for_a_kernel_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct plan_builder b;
    size_t size;
    builder_init(&b, "sm_90a", 90);
    struct plan_arg args[] = {{PLAN_ARG_I32, builder_const(&b, 1), PLAN_NONE, 0}};
    builder_launch(&b, builder_kernel(&b, "count_up", "count_up", 32), builder_const(&b, 1), args,
                   1);
    unsigned char *bytes = builder_finish(&b, &size);
    start(&f, bytes, size);
    assert_int_equal(gpucc_context_create(f.plan, f.device, &f.context), GPUCC_BAD_PLAN);
    assert_error("argument 0 is not what kernel count_up takes");
    stop(&f);
    builder_free(&b);
}

/* ---- data-dependent sizes, branches, loops ---- */

static void data_dependent_output_is_sized_in_the_run(void **state)
{
    (void)state;
    struct fixture f;
    size_t size;
    unsigned char *bytes = plan_positive(&size);
    int64_t dims[GPUCC_MAX_RANK];
    int rank;
    start(&f, bytes, size);
    OK(gpucc_context_create(f.plan, f.device, &f.context));
    OK(gpucc_context_reserve(f.context));
    OK(gpucc_context_output_shape(f.context, 0, &rank, dims));
    assert_int_equal(dims[0], -1);
    size_t most;
    OK(gpucc_context_output_bound(f.context, 0, &most));
    assert_int_equal(most, 24);
    float x[6] = {1, -1, 2, -1, 3, -1}, y[6];
    int device = f.mock->allocations;
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    for (int positive = 3; positive >= 0; positive--) {
        OK(gpucc_context_run_sync(f.context));
        OK(gpucc_context_output_shape(f.context, 0, &rank, dims));
        assert_int_equal(dims[0], positive);
        OK(gpucc_context_read_output(f.context, 0, y, 4 * (size_t)positive));
        for (int i = 0; i < positive; i++)
            assert_float_equal(y[i], x[i] + 1, 0);
        x[4 - 2 * (3 - positive) < 0 ? 0 : 4 - 2 * (3 - positive)] = -1;
    }
    assert_int_equal(f.mock->allocations, device);
    stop(&f);
}

/* y = x counted up three times by a loop, whose second iteration fills 7 bytes of the last element.
 */
static void loops_and_branches_run_their_bodies(void **state)
{
    (void)state;
    struct fixture f;
    size_t size;
    unsigned char *plan = plan_loop(&size);
    int64_t in[4] = {10, 20, 30, 40}, out[4];
    start(&f, plan, size);
    OK(gpucc_context_create(f.plan, f.device, &f.context));
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, in, sizeof in));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, out, sizeof out));
    OK(gpucc_context_run_sync(f.context));
    assert_int_equal(out[0], 13);
    assert_int_equal(out[2], 33);
    /* Filled in iteration 1 after one count, its top byte left 0; then counted twice more. */
    assert_int_equal(out[3], 0x0001010101010101 + 2);
    assert_int_equal(f.mock->launches, 3);
    stop(&f);
}

static void a_loop_that_does_not_end_is_a_limit(void **state)
{
    (void)state;
    struct fixture f;
    size_t size;
    unsigned char *plan = plan_loop(&size);
    int64_t in[4] = {0}, out[4];
    start(&f, plan, size);
    OK(gpucc_context_create(f.plan, f.device, &f.context));
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, in, sizeof in));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, out, sizeof out));
    f.context->most_iterations = 2; /* of three */
    assert_int_equal(gpucc_context_run_sync(f.context), GPUCC_LIMIT);
    assert_error("more than 2 iterations");
    f.context->most_iterations = 3; /* of each run: they do not add up */
    OK(gpucc_context_run_sync(f.context));
    OK(gpucc_context_run_sync(f.context));
    stop(&f);
}

/* A copy that leaves its buffer, by sizes that only the run knows. */
static void copy_outside_its_buffer_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct plan_builder b;
    size_t size;
    int64_t n = 4;
    builder_init(&b, "sm_90a", 90);
    builder_tensor(&b, 0, "x", 7, 1, &n);
    builder_tensor(&b, 1, "y", 7, 1, &n);
    uint32_t four = builder_const(&b, 4), bytes = builder_const(&b, 32),
             more = builder_const(&b, 40);
    builder_add(&b, PLAN_SHAPES, &four, sizeof four);
    struct plan_step copy = {.kind = PLAN_STEP_COPY};
    copy.u.copy.from = builder_buffer(&b, PLAN_BUFFER_INPUT, 0, bytes);
    copy.u.copy.to = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, bytes);
    copy.u.copy.to_offset = copy.u.copy.from_offset = PLAN_NONE;
    copy.u.copy.bytes = more;
    builder_add(&b, PLAN_STEPS, &copy, sizeof copy);
    unsigned char *plan = builder_finish(&b, &size);
    builder_free(&b);
    start(&f, plan, size);
    assert_int_equal(gpucc_context_create(f.plan, f.device, &f.context), GPUCC_BAD_PLAN);
    assert_error("outside buffer");
    stop(&f);
}

static void weights_are_uploaded_once(void **state)
{
    (void)state;
    struct fixture f;
    struct plan_builder b;
    size_t size;
    float one_to_four[] = {1, 2, 3, 4}, y[4];
    int64_t n = 4;
    struct gpucc_context *second;
    builder_init(&b, "portable", 80);
    builder_tensor(&b, 1, "y", 1, 1, &n);
    uint32_t four = builder_const(&b, 4), bytes = builder_const(&b, 16), one = builder_const(&b, 1);
    builder_add(&b, PLAN_SHAPES, &four, sizeof four);
    uint32_t w = builder_buffer(&b, PLAN_BUFFER_WEIGHT,
                                builder_weight(&b, one_to_four, sizeof one_to_four), bytes);
    uint32_t out = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, bytes);
    struct plan_arg args[] = {{PLAN_ARG_BUFFER, w, PLAN_NONE, 0},
                              {PLAN_ARG_BUFFER, out, PLAN_NONE, 0},
                              {PLAN_ARG_I32, four, 0, 0}};
    builder_launch(&b, builder_kernel(&b, "add_one", add_one_ptx, 32), one, args, 3);
    unsigned char *plan = builder_finish(&b, &size);
    builder_free(&b);
    start(&f, plan, size);
    f.mock->no_graphs = 1;
    OK(gpucc_context_create(f.plan, f.device, &f.context));
    OK(gpucc_context_create(f.plan, f.device, &second));
    assert_int_equal(f.mock->copies, 1);
    assert_int_equal(f.mock->ptx_loaded, 1);
    OK(gpucc_context_bind_output(second, 0, GPUCC_HOST, y, sizeof y));
    OK(gpucc_context_run_sync(second));
    assert_float_equal(y[3], 5, 0);
    gpucc_context_destroy(second);
    stop(&f);
}

/* x → y by three launches through two buffers at the given offsets of a fixed arena. */
static unsigned char *plan_fixed_arena(int64_t first, int64_t second, int64_t arena, size_t *size)
{
    struct plan_builder b;
    int64_t n = 100;
    builder_init(&b, "sm_90a", 90);
    builder_tensor(&b, 0, "x", 1, 1, &n);
    builder_tensor(&b, 1, "y", 1, 1, &n);
    uint32_t elements = builder_const(&b, 100), bytes = builder_const(&b, 400);
    uint32_t one = builder_const(&b, 1), kernel = builder_kernel(&b, "add_one", add_one_ptx, 32);
    builder_add(&b, PLAN_SHAPES, &elements, sizeof elements);
    uint32_t at[] = {builder_buffer(&b, PLAN_BUFFER_INPUT, 0, bytes),
                     builder_buffer(&b, PLAN_BUFFER_ARENA, 0, bytes),
                     builder_buffer(&b, PLAN_BUFFER_ARENA, 0, bytes),
                     builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, bytes)};
    struct plan_buffer *buffers = (void *)b.sections[PLAN_BUFFERS].data;
    for (int i = 0; i < 3; i++) {
        struct plan_arg args[] = {{PLAN_ARG_BUFFER, at[i], PLAN_NONE, 0},
                                  {PLAN_ARG_BUFFER, at[i + 1], PLAN_NONE, 0},
                                  {PLAN_ARG_I32, elements, 0, 0}};
        builder_launch(&b, kernel, one, args, 3);
        buffers[at[i]].last = (uint32_t)i;
        buffers[at[i + 1]].first = buffers[at[i + 1]].last = (uint32_t)i;
    }
    buffers[at[1]].offset = first;
    buffers[at[2]].offset = second;
    b.program.arena_bytes = b.program.peak_bytes = arena;
    unsigned char *plan = builder_finish(&b, size);
    builder_free(&b);
    return plan;
}

static void fixed_arena_is_used_as_the_plan_says(void **state)
{
    (void)state;
    struct fixture f;
    size_t size;
    float x[100] = {7}, y[100];
    unsigned char *bytes = plan_fixed_arena(0, 512, 1024, &size);
    start(&f, bytes, size);
    OK(gpucc_context_create(f.plan, f.device, &f.context));
    OK(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, x, sizeof x));
    OK(gpucc_context_bind_output(f.context, 0, GPUCC_HOST, y, sizeof y));
    OK(gpucc_context_run_sync(f.context));
    assert_float_equal(y[0], 10, 0);
    assert_float_equal(y[99], 3, 0);
    stop(&f);
}

static void buffer_beyond_the_fixed_arena_is_refused(void **state)
{
    (void)state;
    static const struct {
        int64_t second, arena;
        enum gpucc_status opens, runs;
    } cases[] = {
        {512, 768, GPUCC_OK, GPUCC_BAD_PLAN},
        {1024, 1024, GPUCC_OK, GPUCC_BAD_PLAN},
        {1280, 1024, GPUCC_BAD_PLAN, GPUCC_OK},
        {500, 1024, GPUCC_BAD_PLAN, GPUCC_OK}, /* not aligned */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        struct fixture f;
        struct gpucc_plan *plan;
        unsigned char *bytes = plan_fixed_arena(0, cases[i].second, cases[i].arena, &size);
        if (cases[i].opens != GPUCC_OK) {
            assert_int_equal(gpucc_plan_open_memory(bytes, size, 0, &plan), cases[i].opens);
            free(bytes);
            continue;
        }
        start(&f, bytes, size);
        assert_int_equal(gpucc_context_create(f.plan, f.device, &f.context), cases[i].runs);
        assert_error("does not fit the arena");
        stop(&f);
    }
}

RUN_TESTS(TEST(fixed_arena_is_used_as_the_plan_says),
          TEST(buffer_beyond_the_fixed_arena_is_refused), TEST(static_plan_runs_without_allocating),
          TEST(a_run_stops_behind_a_tap_and_shows_it), TEST(without_graphs_the_steps_are_issued),
          TEST(free_dim_runs_at_any_size),
          TEST(reserved_context_allocates_nothing_for_smaller_shapes),
          TEST(device_memory_is_used_in_place), TEST(unbound_output_stays_with_the_context),
          TEST(contexts_share_the_loaded_program), TEST(wrong_use_is_an_error_that_names_the_input),
          TEST(driver_failure_names_step_and_kernel), TEST(a_spoilt_context_is_freed_all_the_same),
          TEST(wrong_arguments_for_a_kernel_are_refused),
          TEST(data_dependent_output_is_sized_in_the_run),
          TEST(loops_and_branches_run_their_bodies), TEST(a_loop_that_does_not_end_is_a_limit),
          TEST(copy_outside_its_buffer_is_refused), TEST(weights_are_uploaded_once))
