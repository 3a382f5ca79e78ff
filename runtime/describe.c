/* What a plan says of itself: its inputs and outputs, and whether it runs on a device. */
#include "device.h"
#include "list.h"
#include "plan.h"

#include <inttypes.h>
#include <string.h>

int gpucc_plan_input_count(const struct gpucc_plan *plan)
{
    return (int)plan->header->n_inputs;
}

int gpucc_plan_output_count(const struct gpucc_plan *plan)
{
    return (int)plan->header->n_outputs;
}

/* ONNX's sizes; types below a byte take one in a buffer. */
uint32_t rt_element_bytes(uint32_t dtype)
{
    static const uint8_t bytes[] = {0, 4,  1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8,
                                    8, 16, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return dtype < sizeof bytes ? bytes[dtype] : 0;
}

static void describe(const struct gpucc_plan *plan, const struct plan_value *value,
                     struct gpucc_value_info *info)
{
    memset(info, 0, sizeof *info);
    info->name = rt_string(plan, value->name);
    info->kind = (enum gpucc_kind)value->kind;
    info->dtype = value->dtype;
    uint32_t dtype;
    if (rt_is_list(plan, value, &dtype)) {
        info->dtype = (int)dtype;
        info->holds_sequence = rt_is_optional_sequence(plan, value);
    }
    info->element_bytes = rt_element_bytes((uint32_t)info->dtype);
    info->rank = value->rank;
    info->shared_input = value->alias == PLAN_NONE ? -1 : (int)value->alias;
    for (int i = 0; i < GPUCC_MAX_RANK; i++)
        info->dim_names[i] = "";
    for (int i = 0; i < info->rank; i++) {
        const struct plan_dim *dim = &plan->dims[value->first_dim + (uint32_t)i];
        info->dims[i] = dim->value;
        if (dim->value < 0)
            info->dim_names[i] = rt_string(plan, dim->text);
    }
}

enum gpucc_status gpucc_plan_describe_input(const struct gpucc_plan *plan, int input,
                                            struct gpucc_value_info *info)
{
    if (input < 0 || input >= gpucc_plan_input_count(plan))
        return rt_fail(GPUCC_USAGE, "no input number %d: the plan has %d", input,
                       gpucc_plan_input_count(plan));
    describe(plan, &plan->values[input], info);
    return GPUCC_OK;
}

enum gpucc_status gpucc_plan_describe_output(const struct gpucc_plan *plan, int output,
                                             struct gpucc_value_info *info)
{
    if (output < 0 || output >= gpucc_plan_output_count(plan))
        return rt_fail(GPUCC_USAGE, "no output number %d: the plan has %d", output,
                       gpucc_plan_output_count(plan));
    describe(plan, &plan->values[plan->header->n_inputs + (uint32_t)output], info);
    return GPUCC_OK;
}

static int find(const struct gpucc_plan *plan, uint32_t first, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(rt_string(plan, plan->values[first + i].name), name) == 0)
            return (int)i;
    return -1;
}

int gpucc_plan_find_input(const struct gpucc_plan *plan, const char *name)
{
    return find(plan, 0, plan->header->n_inputs, name);
}

int gpucc_plan_find_output(const struct gpucc_plan *plan, const char *name)
{
    return find(plan, plan->header->n_inputs, plan->header->n_outputs, name);
}

/* ---- does it run here? ---- */

/* How well a target fits a device: 0 not at all; own machine code beats that of a lower minor
 * version, which beats portable PTX. */
static int fitness(const struct plan_target *target, uint32_t sm)
{
    if (target->flags & PLAN_TARGET_EXACT)
        return target->sm == sm ? 1000 : 0;
    if (target->flags & PLAN_TARGET_PORTABLE)
        return target->sm <= sm ? 1 : 0;
    if (target->sm / 10 != sm / 10 || target->sm > sm)
        return 0;
    return 100 + (int)(target->sm % 10);
}

static void list_targets(const struct gpucc_plan *plan, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < plan->header->n_targets; i++) {
        const char *name = plan->targets[i].name;
        size_t length = strlen(name), comma = i > 0 ? 2 : 0;
        if (used + comma + length + 1 > bytes)
            return;
        memcpy(text + used, ", ", comma);
        memcpy(text + used + comma, name, length + 1);
        used += comma + length;
    }
}

static const char *advice(int sm)
{
    return sm == 90       ? "rebuild it with --target=sm_90a"
           : sm / 10 == 8 ? "rebuild it with --target=sm_80"
           : sm > 80      ? "rebuild it with --target=portable"
           : sm >= 75     ? "rebuild it with --target=sm_75"
                          : "gpucc has no target for it";
}

/* A kernel of the program for which a block of the device has too little shared memory, or NULL.
 * (Of machine code that runs on a higher minor version: 8.0 has 163 KB, 8.6 and 8.9 have 99.) */
static const struct plan_kernel *too_large(const struct program *program, int shared_bytes)
{
    for (uint32_t i = 0; i < program->n_kernels; i++)
        if ((uint64_t)program->kernels[i].shared_bytes + program->kernels[i].static_shared_bytes >
            (uint64_t)shared_bytes)
            return &program->kernels[i];
    return NULL;
}

const struct program *rt_plan_choose(const struct gpucc_plan *plan,
                                     const struct gpucc_device *device)
{
    const int sm = device->info.sm, driver_version = device->info.driver_version;
    const struct plan_target *best = NULL, *too_new = NULL, *too_big = NULL;
    int best_fitness = 0;
    for (uint32_t i = 0; i < plan->header->n_targets; i++) {
        const struct plan_target *target = &plan->targets[i];
        int fit = fitness(target, (uint32_t)sm);
        if (fit > 0 && target->min_driver > (uint32_t)driver_version) {
            too_new = target;
        } else if (fit > 0 && too_large(&plan->programs[i], device->shared_bytes)) {
            too_big = target;
        } else if (fit > best_fitness) {
            best_fitness = fit;
            best = target;
        }
    }
    if (best != NULL)
        return &plan->programs[best - plan->targets];
    if (too_big != NULL) {
        const struct program *program = &plan->programs[too_big - plan->targets];
        const struct plan_kernel *kernel = too_large(program, device->shared_bytes);
        rt_fail(
            GPUCC_BAD_PLAN,
            "target %s: kernel %s takes %" PRIu64 " bytes of shared memory, but a block of this "
            "device has %d: rebuild the plan with --target=sm_%d",
            too_big->name, rt_string(plan, kernel->symbol),
            (uint64_t)kernel->shared_bytes + kernel->static_shared_bytes, device->shared_bytes, sm);
        return NULL;
    }
    if (too_new != NULL) {
        rt_fail(
            GPUCC_BAD_PLAN,
            "target %s needs a driver for CUDA %u.%u, but this one is for CUDA %d.%d: update the "
            "driver, or rebuild the plan with GPUCC_NVRTC naming an NVRTC %d.%d",
            too_new->name, too_new->min_driver / 1000, too_new->min_driver % 1000 / 10,
            driver_version / 1000, driver_version % 1000 / 10, driver_version / 1000,
            driver_version % 1000 / 10);
        return NULL;
    }
    char names[256];
    list_targets(plan, names, sizeof names);
    rt_fail(GPUCC_BAD_PLAN, "the plan is for %s, but this device is sm_%d: %s", names, sm,
            advice(sm));
    return NULL;
}

enum gpucc_status gpucc_plan_fits(const struct gpucc_plan *plan, const struct gpucc_device *device,
                                  const char **target)
{
    const struct program *program = rt_plan_choose(plan, device);
    if (program == NULL)
        return GPUCC_BAD_PLAN;
    enum gpucc_status status = rt_program_supported(plan, program);
    if (status == GPUCC_OK)
        *target = program->target->name;
    return status;
}
