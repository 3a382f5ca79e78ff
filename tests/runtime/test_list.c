/* Lists as inputs and outputs, on the mock driver. */
#include "check.h"
#include "fixture.h"
#include "plan_builder.h"

enum { F32 = 1, STEPS = 6 };

#define USAGE(call, part)                                                                          \
    do {                                                                                           \
        assert_int_equal((call), GPUCC_USAGE);                                                     \
        if (strstr(gpucc_last_error(), (part)) == NULL)                                            \
            fail_msg("'%s' is not in '%s'", (part), gpucc_last_error());                           \
    } while (0)

static void add_value(struct plan_builder *b, const char *name, int kind, uint32_t element)
{
    ADD(b, VALUES, .name = builder_string(b, name), .kind = (uint8_t)kind, .element = element,
        .alias = PLAN_NONE);
}

static void add_step(struct plan_builder *b, uint32_t kind, uint32_t to, uint32_t from,
                     uint32_t tensor, uint32_t position, uint32_t n_dims)
{
    struct plan_step step = {.kind = kind, .nodes = builder_string(b, "list (Node)")};
    step.u.list.to = to;
    step.u.list.from = from;
    step.u.list.tensor = tensor;
    step.u.list.position = position;
    step.u.list.n_args = n_dims;
    if (kind == PLAN_STEP_LIST_INSERT || kind == PLAN_STEP_LIST_AT)
        step.u.list.dtype = F32;
    builder_add(b, PLAN_STEPS, &step, sizeof step);
}

/*
 * Inputs x, a sequence, o, an optional sequence, and t f32[2]. Outputs y: x with t in front and
 * without its second element; z f32[2]: the last but one of y; n i64: is o there?; p: o as it is.
 */
static unsigned char *make_plan(size_t *size)
{
    struct plan_builder b;
    int64_t two = 2;
    builder_init(&b, "sm_90a", 90);
    add_value(&b, "x", PLAN_SEQUENCE, 7);
    add_value(&b, "o", PLAN_OPTIONAL, 8);
    b.header.n_inputs = 2;
    builder_tensor(&b, 0, "t", F32, 1, &two);
    add_value(&b, "y", PLAN_SEQUENCE, 9);
    b.header.n_outputs = 1;
    builder_tensor(&b, 1, "z", F32, 1, &two);
    builder_tensor(&b, 1, "n", 7, 0, NULL);
    b.header.n_outputs++;
    add_value(&b, "p", PLAN_OPTIONAL, 8);
    ADD(&b, VALUES, .dtype = F32, .element = PLAN_NONE, .alias = PLAN_NONE);
    add_value(&b, "", PLAN_SEQUENCE, 9);
    ADD(&b, VALUES, .dtype = F32, .element = PLAN_NONE, .alias = PLAN_NONE);
    uint32_t none = builder_const(&b, 0), eight = builder_const(&b, 8);
    uint32_t one = builder_const(&b, 1), n = builder_const(&b, 2);
    builder_add(&b, PLAN_SHAPES, &n, sizeof n);
    uint32_t x = builder_buffer(&b, PLAN_BUFFER_INPUT, 0, none);
    uint32_t o = builder_buffer(&b, PLAN_BUFFER_INPUT, 1, none);
    uint32_t t = builder_buffer(&b, PLAN_BUFFER_INPUT, 2, eight);
    uint32_t y = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, none);
    uint32_t z = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 1, eight);
    uint32_t there = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 2, eight);
    uint32_t p = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 3, none);
    builder_add(&b, PLAN_ARGS, &(struct plan_arg){PLAN_ARG_I64, n, PLAN_NONE, 0},
                sizeof(struct plan_arg));
    add_step(&b, PLAN_STEP_LIST_COPY, y, x, PLAN_NONE, PLAN_NONE, 0);
    add_step(&b, PLAN_STEP_LIST_INSERT, y, y, t, none, 1);
    add_step(&b, PLAN_STEP_LIST_ERASE, y, y, PLAN_NONE, one, 0);
    add_step(&b, PLAN_STEP_LIST_AT, PLAN_NONE, y, z, one, 1);
    add_step(&b, PLAN_STEP_LIST_LENGTH, PLAN_NONE, o, there, PLAN_NONE, 0);
    add_step(&b, PLAN_STEP_LIST_COPY, p, o, PLAN_NONE, PLAN_NONE, 0);
    ((struct plan_step *)(void *)b.sections[PLAN_STEPS].data)[4].u.list.optional = 1;
    unsigned char *bytes = builder_finish(&b, size);
    builder_free(&b);
    return bytes;
}

static void start_lists(struct fixture *f)
{
    size_t size;
    unsigned char *bytes = make_plan(&size);
    start(f, bytes, size);
    OK(gpucc_context_create(f->plan, f->device, &f->context));
}

static const float data[6] = {1, 2, 3, 4, 5, 6};
static const int64_t shape[2] = {2, 3}, pair[1] = {2};
static const struct gpucc_list_item items[] = {
    {data, sizeof data, 2, shape}, {data, 8, 1, pair}, {data + 1, 8, 1, pair}};

static void bind(struct fixture *f, int n, const float *t)
{
    OK(gpucc_context_bind_input_list(f->context, 0, GPUCC_HOST, n, items));
    OK(gpucc_context_bind_input_list(f->context, 1, GPUCC_HOST, -1, NULL));
    OK(gpucc_context_bind_input(f->context, 2, GPUCC_HOST, t, 8));
}

static void lists_go_in_and_come_out(void **state)
{
    (void)state;
    struct fixture f;
    float t[2] = {7, 8}, z[2], element[6];
    int64_t there, dims[GPUCC_MAX_RANK];
    int n, rank;
    void *address;
    size_t bytes;
    start_lists(&f);
    bind(&f, 3, t);
    OK(gpucc_context_bind_output(f.context, 1, GPUCC_HOST, z, sizeof z));
    OK(gpucc_context_bind_output(f.context, 2, GPUCC_HOST, &there, sizeof there));
    for (int run = 0; run < 3; run++) {
        OK(gpucc_context_run_sync(f.context));
        OK(gpucc_context_output_length(f.context, 0, &n));
        assert_int_equal(n, 3); /* t, and x without its first */
        OK(gpucc_context_output_item(f.context, 0, 2, &rank, dims, &address, &bytes));
        assert_int_equal(rank, 1);
        assert_int_equal(dims[0], 2);
        OK(gpucc_context_read_item(f.context, 0, 2, element, bytes));
        assert_float_equal(element[1], 3, 0);
        assert_float_equal(z[1], 2, 0);
        OK(gpucc_context_output_length(f.context, 3, &n));
        assert_int_equal(n, -1);
        assert_int_equal(there, 0);
    }
    OK(gpucc_context_bind_input_list(f.context, 1, GPUCC_HOST, 0, NULL));
    OK(gpucc_context_run_sync(f.context));
    OK(gpucc_context_output_length(f.context, 3, &n));
    assert_int_equal(n, 0);
    assert_int_equal(there, 1);
    stop(&f);
}

static void elements_are_what_the_steps_say_or_the_run_fails(void **state)
{
    (void)state;
    struct fixture f;
    float t[2] = {7, 8};
    struct gpucc_list_item other = items[0];
    start_lists(&f);
    bind(&f, 0, t);
    USAGE(gpucc_context_run_sync(f.context), "position 1 is not in a list of 1");
    USAGE(gpucc_context_run_sync(f.context), "list (Node)");
    OK(gpucc_context_bind_input_list(f.context, 0, GPUCC_HOST, 2,
                                     (struct gpucc_list_item[]){items[1], other}));
    USAGE(gpucc_context_run_sync(f.context), "element 1 of the list has another type or shape");
    stop(&f);
}

static void wrong_use_of_lists_is_an_error(void **state)
{
    (void)state;
    struct fixture f;
    struct gpucc_value_info info;
    struct gpucc_list_item small = {data, 4, 1, pair};
    float t[2] = {7, 8};
    int64_t dims[GPUCC_MAX_RANK];
    int n, rank;
    start_lists(&f);
    OK(gpucc_plan_describe_input(f.plan, 1, &info));
    assert_int_equal(info.kind, GPUCC_OPTIONAL);
    assert_int_equal(info.holds_sequence, 1);
    assert_int_equal(info.dtype, F32);
    USAGE(gpucc_context_bind_input(f.context, 0, GPUCC_HOST, data, 8), "'x' is no tensor");
    USAGE(gpucc_context_set_input_shape(f.context, 0, 1, pair), "'x' is no tensor");
    USAGE(gpucc_context_bind_input_list(f.context, 2, GPUCC_HOST, 0, NULL), "is no sequence");
    USAGE(gpucc_context_bind_input_list(f.context, 0, GPUCC_HOST, -1, NULL), "-1 elements");
    USAGE(gpucc_context_bind_input_list(f.context, 0, GPUCC_HOST, 1, &small), "needs 8 bytes");
    USAGE(gpucc_context_run_sync(f.context), "is not bound");
    USAGE(gpucc_context_output_length(f.context, 0, &n), "has not run");
    bind(&f, 3, t);
    OK(gpucc_context_run_sync(f.context));
    USAGE(gpucc_context_output_length(f.context, 1, &n), "is no sequence");
    USAGE(gpucc_context_output_shape(f.context, 0, &rank, dims), "'y' is no tensor");
    USAGE(gpucc_context_read_item(f.context, 0, 3, t, 8), "no element number 3");
    USAGE(gpucc_context_read_item(f.context, 0, 2, t, 4), "has 8 bytes, not 4");
    stop(&f);
}

/* Each field of each step, damaged behind right hashes. */
static void planted_faults_in_list_steps_are_named(void **state)
{
    (void)state;
    size_t size;
    for (int step = 0; step < STEPS; step++)
        for (int word = 0; word < 8; word++) {
            unsigned char *bytes = make_plan(&size);
            const struct plan_header *header = (const void *)bytes;
            struct plan_section *section =
                (void *)(bytes + sizeof *header + header->n_targets * sizeof(struct plan_target));
            while (section->kind != PLAN_STEPS)
                section++;
            struct plan_step *steps = (void *)(bytes + section->offset);
            steps[step].u.words[word] = 77;
            repair_hashes(bytes, size);
            struct gpucc_plan *plan;
            assert_int_equal(gpucc_plan_open_memory(bytes, size, 0, &plan), GPUCC_BAD_PLAN);
            if (strstr(gpucc_last_error(), "LIST_") == NULL)
                fail_msg("step %d, word %d: %s", step, word, gpucc_last_error());
            free(bytes);
        }
}

RUN_TESTS(TEST(lists_go_in_and_come_out), TEST(elements_are_what_the_steps_say_or_the_run_fails),
          TEST(wrong_use_of_lists_is_an_error), TEST(planted_faults_in_list_steps_are_named))
