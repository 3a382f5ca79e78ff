#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum gpucc_status load_module(const struct gpucc_plan *plan, const struct loaded *loaded,
                                     const struct plan_kernel *kernel, void **module)
{
    const struct driver *driver = &loaded->device->driver;
    const char *symbol = rt_string(plan, kernel->symbol);
    bool ptx = driver->runs_ptx_only || kernel->cubin_bytes == 0;
    if (ptx && kernel->ptx_bytes == 0)
        return rt_fail(GPUCC_BAD_PLAN, "kernel %s has no PTX, which the emulator needs", symbol);
    char log[512] = "";
    int options[] = {DRIVER_JIT_ERROR_LOG, DRIVER_JIT_ERROR_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    int result = driver->module_load(
        module, plan->code + (ptx ? kernel->ptx_offset : kernel->cubin_offset), 2, options, values);
    if (result == 0)
        return GPUCC_OK;
    log[sizeof log - 1] = 0;
    char doing[sizeof log + 128];
    snprintf(doing, sizeof doing, "loading kernel %s%s%s", symbol, log[0] != 0 ? ": " : "", log);
    return rt_driver_status(driver, result, doing);
}

static bool same_code(const struct plan_kernel *a, const struct plan_kernel *b)
{
    return a->cubin_offset == b->cubin_offset && a->cubin_bytes == b->cubin_bytes &&
           a->ptx_offset == b->ptx_offset && a->ptx_bytes == b->ptx_bytes;
}

static enum gpucc_status load_kernels(const struct gpucc_plan *plan, struct loaded *loaded)
{
    const struct driver *driver = &loaded->device->driver;
    const struct plan_kernel *kernels = loaded->program->kernels;
    void *module = NULL;
    for (uint32_t i = 0; i < loaded->program->n_kernels; i++) {
        if (i == 0 || !same_code(&kernels[i], &kernels[i - 1])) {
            enum gpucc_status status = load_module(plan, loaded, &kernels[i], &loaded->modules[i]);
            if (status != GPUCC_OK)
                return status;
            module = loaded->modules[i];
        }
        int result = driver->module_function(&loaded->functions[i], module,
                                             rt_string(plan, kernels[i].symbol));
        /* 48 KB come without asking, less the static ones, which of PTX are not known: ask always.
         */
        if (result == 0 && kernels[i].shared_bytes > 0)
            result = driver->function_set(loaded->functions[i], DRIVER_FUNCTION_SHARED_BYTES,
                                          (int)kernels[i].shared_bytes);
        if (result != 0)
            return rt_driver_status(driver, result, rt_string(plan, kernels[i].symbol));
    }
    return GPUCC_OK;
}

/* The driver reads as many parameters as the kernel has, however many it is given; so their number
 * and sizes must be right. Drivers before 12.4 cannot say. */
static enum gpucc_status check_parameters(const struct gpucc_plan *plan,
                                          const struct loaded *loaded)
{
    static const size_t kind_bytes[] = {8, 4, 8, 128};
    const struct driver *driver = &loaded->device->driver;
    const struct program *p = loaded->program;
    for (uint32_t i = 0; driver->function_parameter != NULL && i < p->n_steps; i++) {
        if (p->steps[i].kind != PLAN_STEP_LAUNCH)
            continue;
        uint32_t kernel = p->steps[i].u.launch.kernel, n = p->steps[i].u.launch.n_args;
        for (uint32_t j = 0; j <= n; j++) {
            size_t offset, bytes;
            bool exists =
                driver->function_parameter(loaded->functions[kernel], j, &offset, &bytes) == 0;
            uint32_t arg = p->steps[i].u.launch.first_arg + j;
            if (exists != (j < n) || (exists && bytes != kind_bytes[p->args[arg].kind]))
                return rt_fail(GPUCC_BAD_PLAN, "step %u: argument %u is not what kernel %s takes",
                               i, j, rt_string(plan, p->kernels[kernel].symbol));
        }
    }
    return GPUCC_OK;
}

static enum gpucc_status upload(const struct gpucc_device *device, const void *bytes, uint64_t size,
                                uint64_t *pointer)
{
    const struct driver *driver = &device->driver;
    enum gpucc_status status = rt_device_alloc(device, (int64_t)size, "weights", pointer);
    if (status != GPUCC_OK || size == 0)
        return status;
    return rt_driver_status(driver, driver->copy_to_device(*pointer, bytes, size, NULL),
                            "uploading the weights");
}

static enum gpucc_status upload_weights(const struct gpucc_plan *plan, struct loaded *loaded)
{
    const struct gpucc_device *device = loaded->device;
    enum gpucc_status status = GPUCC_OK;
    if (!device->isolate)
        status = upload(device, plan->weight_data, plan->n_weight_data, &loaded->weights);
    for (uint32_t i = 0; i < plan->n_weights && status == GPUCC_OK; i++) {
        const struct plan_weight *weight = &plan->weights[i];
        if (device->isolate)
            status = upload(device, plan->weight_data + weight->offset, weight->bytes,
                            &loaded->weight_at[i]);
        else
            loaded->weight_at[i] = loaded->weights + weight->offset;
    }
    if (status != GPUCC_OK)
        return status;
    return rt_driver_status(&device->driver, device->driver.stream_synchronize(NULL),
                            "uploading the weights");
}

static void unload(const struct gpucc_plan *plan, struct loaded *loaded)
{
    const struct driver *driver = &loaded->device->driver;
    for (uint32_t i = 0; loaded->modules != NULL && i < loaded->program->n_kernels; i++)
        if (loaded->modules[i] != NULL)
            driver->module_unload(loaded->modules[i]);
    rt_device_free(loaded->device, loaded->weights);
    bool isolated = loaded->device->isolate && loaded->weight_at != NULL;
    for (uint32_t i = 0; isolated && i < plan->n_weights; i++)
        rt_device_free(loaded->device, loaded->weight_at[i]);
    free(loaded->weight_at);
    free(loaded->modules);
    free(loaded->functions);
    free(loaded);
}

static enum gpucc_status load_new(struct gpucc_plan *plan, const struct gpucc_device *device,
                                  const struct program *program, struct loaded **result)
{
    struct loaded *loaded = calloc(1, sizeof *loaded);
    if (loaded == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    loaded->device = device;
    loaded->program = program;
    loaded->modules = calloc(program->n_kernels + (size_t)1, sizeof *loaded->modules);
    loaded->functions = calloc(program->n_kernels + (size_t)1, sizeof *loaded->functions);
    loaded->weight_at = calloc(plan->n_weights + (size_t)1, sizeof *loaded->weight_at);
    enum gpucc_status status = GPUCC_OK;
    if (loaded->modules == NULL || loaded->functions == NULL || loaded->weight_at == NULL)
        status = rt_fail(GPUCC_LIMIT, "out of memory");
    if (status == GPUCC_OK)
        status = load_kernels(plan, loaded);
    if (status == GPUCC_OK)
        status = check_parameters(plan, loaded);
    if (status == GPUCC_OK)
        status = upload_weights(plan, loaded);
    if (status != GPUCC_OK) {
        unload(plan, loaded);
        return status;
    }
    loaded->next = plan->loaded;
    plan->loaded = loaded;
    *result = loaded;
    return GPUCC_OK;
}

enum gpucc_status rt_load(struct gpucc_plan *plan, const struct gpucc_device *device,
                          const struct program *program, struct loaded **result)
{
    enum gpucc_status status = GPUCC_OK;
    pthread_mutex_lock(&plan->lock);
    struct loaded *loaded = plan->loaded;
    while (loaded != NULL && (loaded->device != device || loaded->program != program))
        loaded = loaded->next;
    if (loaded == NULL)
        status = load_new(plan, device, program, &loaded);
    if (status == GPUCC_OK) {
        loaded->contexts++;
        *result = loaded;
    }
    pthread_mutex_unlock(&plan->lock);
    return status;
}

void rt_unload(struct gpucc_plan *plan, struct loaded *loaded)
{
    pthread_mutex_lock(&plan->lock);
    if (--loaded->contexts == 0) {
        struct loaded **link = &plan->loaded;
        while (*link != loaded)
            link = &(*link)->next;
        *link = loaded->next;
        unload(plan, loaded);
    }
    pthread_mutex_unlock(&plan->lock);
}
