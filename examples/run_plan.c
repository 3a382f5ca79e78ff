/*
 * The smallest program that runs a plan: every input is zeros, every output's sum is printed.
 *
 *   run_plan PLAN [DRIVER]     DRIVER: default libcuda.so.1; the path of libgpucc_emu.so, say
 */
#include <stdio.h>
#include <stdlib.h>

#include "gpucc_runtime.h"

static void must(enum gpucc_status status)
{
    if (status == GPUCC_OK)
        return;
    fprintf(stderr, "run_plan: %s\n", gpucc_last_error());
    exit(status);
}

/* Zeros for an input, free dims 1. They are the caller's until the run is over. */
static void *bind_zeros(struct gpucc_context *context, const struct gpucc_value_info *info,
                        int input)
{
    int64_t dims[GPUCC_MAX_RANK];
    size_t bytes = info->element_bytes;
    for (int i = 0; i < info->rank; i++) {
        dims[i] = info->dims[i] < 0 ? 1 : info->dims[i];
        bytes *= (size_t)dims[i];
    }
    void *zeros = calloc(1, bytes > 0 ? bytes : 1);
    must(gpucc_context_set_input_shape(context, input, info->rank, dims));
    must(gpucc_context_bind_input(context, input, GPUCC_HOST, zeros, bytes));
    return zeros;
}

static void print_output(struct gpucc_context *context, const struct gpucc_value_info *info,
                         int output)
{
    void *on_device;
    size_t bytes;
    double sum = 0;
    must(gpucc_context_output_data(context, output, &on_device, &bytes));
    float *elements = malloc(bytes > 0 ? bytes : 1);
    must(gpucc_context_read_output(context, output, elements, bytes));
    if (info->dtype == 1) /* ONNX's FLOAT */
        for (size_t i = 0; i < bytes / sizeof *elements; i++)
            sum += elements[i];
    printf("%s: %zu bytes, sum %g\n", info->name, bytes, sum);
    free(elements);
}

int main(int argc, char **argv)
{
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    struct gpucc_context *context;
    struct gpucc_value_info info;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: run_plan PLAN [DRIVER]\n");
        return 2;
    }
    must(gpucc_plan_open(argv[1], 0, &plan));
    must(gpucc_device_open(argc == 3 ? argv[2] : NULL, 0, &device));
    must(gpucc_context_create(plan, device, &context));

    int n_inputs = gpucc_plan_input_count(plan), n_outputs = gpucc_plan_output_count(plan);
    void **buffers = calloc((size_t)n_inputs + 1, sizeof *buffers);
    for (int i = 0; i < n_inputs; i++) {
        must(gpucc_plan_describe_input(plan, i, &info));
        buffers[i] = bind_zeros(context, &info, i);
    }
    must(gpucc_context_run_sync(context));
    for (int i = 0; i < n_outputs; i++) {
        must(gpucc_plan_describe_output(plan, i, &info));
        print_output(context, &info, i);
    }

    for (int i = 0; i < n_inputs; i++)
        free(buffers[i]);
    free(buffers);
    gpucc_context_destroy(context);
    gpucc_device_close(device);
    gpucc_plan_close(plan);
    return 0;
}
