/* Thousands of damaged plans: each is refused or runs without a fault of the runtime. Half of them
 * have right hashes, so that the checks behind the hashes do the work. */
#include "check.h"
#include "gpucc_runtime.h"
#include "mock_driver.h"
#include "plan_builder.h"

#include <dlfcn.h>

enum { ROUNDS = 20000 };

static uint64_t seed = 1;

static uint32_t random_below(uint32_t limit)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % limit;
}

static void mutate(unsigned char *bytes, size_t size)
{
    static const uint64_t values[] = {
        0, 1, 2, 255, 4095, 65536, INT32_MAX, UINT32_MAX, (uint64_t)INT64_MAX, UINT64_MAX};
    size_t at = random_below((uint32_t)size);
    switch (random_below(4)) {
    case 0: bytes[at] ^= (unsigned char)(1 << random_below(8)); break;
    case 1: { /* a word becomes an interesting one */
        uint32_t value = (uint32_t)values[random_below(10)];
        at &= ~(size_t)3;
        if (at + 4 <= size)
            memcpy(bytes + at, &value, 4);
        break;
    }
    case 2: {
        uint64_t value = values[random_below(10)];
        at &= ~(size_t)7;
        if (at + 8 <= size)
            memcpy(bytes + at, &value, 8);
        break;
    }
    default: { /* a record moves */
        size_t from = random_below((uint32_t)size), n = 1 + random_below(40);
        if (from + n <= size && at + n <= size)
            memmove(bytes + at, bytes + from, n);
    }
    }
}

static int opened, created;

/* Kernels would do as damaged arguments tell them, as on a GPU; so the steps' launches are not run,
 * but all that comes before them is. */
static void use(const unsigned char *bytes, size_t size, struct gpucc_device *device,
                struct mock_state *mock)
{
    struct gpucc_plan *plan;
    struct gpucc_context *context;
    const char *target;
    if (gpucc_plan_open_memory(bytes, size, 0, &plan) != GPUCC_OK)
        return;
    opened++;
    gpucc_plan_fits(plan, device, &target);
    for (int i = 0; i < gpucc_plan_input_count(plan) && i < 4; i++) {
        struct gpucc_value_info info;
        assert_int_equal(gpucc_plan_describe_input(plan, i, &info), GPUCC_OK);
        gpucc_plan_find_input(plan, info.name);
    }
    if (gpucc_context_create(plan, device, &context) == GPUCC_OK) {
        created++;
        float x[40] = {0}, y[40];
        int64_t n = 40, dims[GPUCC_MAX_RANK];
        int rank;
        gpucc_context_set_input_shape(context, 0, 1, &n);
        gpucc_context_bind_input(context, 0, GPUCC_HOST, x, sizeof x);
        gpucc_context_bind_output(context, 0, GPUCC_HOST, y, sizeof y);
        mock->fail_launch = mock->launches + 1;
        gpucc_context_run_sync(context);
        gpucc_context_output_shape(context, 0, &rank, dims);
        gpucc_context_reserve(context);
        gpucc_context_destroy(context);
    }
    gpucc_plan_close(plan);
}

static unsigned char *make_plan(int kind, size_t *size)
{
    switch (kind) {
    case 0: return plan_add_two(-1, "sm_90a", 90, size);
    case 1: return plan_add_two(40, "sm_90a", 90, size);
    case 2: return plan_positive(size);
    default: return plan_loop(size);
    }
}

static void damaged_plans_do_no_harm(void **state)
{
    (void)state;
    void *library = dlopen(MOCK_DRIVER, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    struct mock_state *mock = dlsym(library, "mock");
    struct gpucc_device *device;
    assert_int_equal(gpucc_device_open(MOCK_DRIVER, 0, &device), GPUCC_OK);
    for (int round = 0; round < ROUNDS; round++) {
        size_t size;
        unsigned char *bytes = make_plan(round / 2 % 4, &size);
        for (uint32_t i = 1 + random_below(3); i > 0; i--)
            mutate(bytes, size);
        if (round % 2 == 0)
            repair_hashes(bytes, size);
        use(bytes, size, device, mock);
        free(bytes);
    }
    assert_int_equal(mock->allocations, mock->frees);
    assert_int_equal(mock->modules, mock->modules_unloaded);
    assert_true(opened > ROUNDS / 10); /* not only the first check was met */
    assert_true(created > ROUNDS / 20);
    gpucc_device_close(device);
    dlclose(library);
}

RUN_TESTS(TEST(damaged_plans_do_no_harm))
