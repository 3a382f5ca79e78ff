/*
 * A plan into the runtime: opened with its hashes ignored (else nothing behind them is ever
 * reached), described, and prepared on a driver that launches no kernel: kernels do as damaged
 * arguments tell them, as on a GPU.
 */
#include "fuzz.h"
#include "context.h"
#include "mock_driver.h"

#include <dlfcn.h>

static struct gpucc_device *device;
static struct mock_state *mock;

static void set_up(void)
{
    void *library = dlopen(MOCK_DRIVER, RTLD_NOW | RTLD_LOCAL);
    mock = library ? dlsym(library, "mock") : NULL;
    if (!mock || gpucc_device_open(MOCK_DRIVER, 0, &device) != GPUCC_OK)
        fuzz_broken("the driver opens", MOCK_DRIVER);
}

static void describe(const struct gpucc_plan *plan)
{
    struct gpucc_value_info info;
    for (int i = 0; i < gpucc_plan_input_count(plan) && i < 8; i++)
        if (gpucc_plan_describe_input(plan, i, &info) == GPUCC_OK)
            gpucc_plan_find_input(plan, info.name);
    for (int i = 0; i < gpucc_plan_output_count(plan) && i < 8; i++)
        if (gpucc_plan_describe_output(plan, i, &info) == GPUCC_OK)
            gpucc_plan_find_output(plan, info.name);
}

static void prepare(struct gpucc_plan *plan)
{
    static char in[4096], out[4096];
    struct gpucc_context *context;
    const char *target;
    gpucc_plan_fits(plan, device, &target);
    if (gpucc_context_create(plan, device, &context) != GPUCC_OK)
        return;
    context->most_iterations = 1000;
    int inputs = gpucc_plan_input_count(plan), outputs = gpucc_plan_output_count(plan);
    for (int i = 0; i < inputs && i < 8; i++) {
        struct gpucc_value_info info;
        int64_t dims[GPUCC_MAX_RANK];
        gpucc_plan_describe_input(plan, i, &info);
        for (int axis = 0; axis < info.rank; axis++)
            dims[axis] = info.dims[axis] < 0 ? 5 : info.dims[axis];
        gpucc_context_set_input_shape(context, i, info.rank, dims);
        gpucc_context_bind_input(context, i, GPUCC_HOST, in, sizeof in);
    }
    for (int i = 0; i < outputs && i < 8; i++)
        gpucc_context_bind_output(context, i, GPUCC_HOST, out, sizeof out);
    mock->fail_launch = mock->launches + 1;
    gpucc_context_run_sync(context);
    gpucc_context_reserve(context);
    for (int i = 0; i < outputs && i < 8; i++) {
        int rank;
        int64_t dims[GPUCC_MAX_RANK];
        gpucc_context_output_shape(context, i, &rank, dims);
    }
    gpucc_context_destroy(context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!device)
        set_up();
    struct gpucc_plan *plan;
    bool opened = gpucc_plan_open_memory(data, size, GPUCC_SKIP_HASH, &plan) == GPUCC_OK;
    fuzz_reason(opened, gpucc_last_error());
    fuzz_result(size, opened, gpucc_last_error());
    if (!opened)
        return 0;
    describe(plan);
    prepare(plan);
    gpucc_plan_close(plan);
    if (mock->allocations != mock->frees || mock->modules != mock->modules_unloaded)
        fuzz_broken("the device's memory is freed", "an allocation or a module is left");
    return 0;
}
