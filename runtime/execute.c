/* Carries out the steps. */
#include "context.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { GRID_YZ_MAX = 65535, NOT_SUPPORTED = 801 /* CUDA_ERROR_NOT_SUPPORTED */ };

static const char *nodes_of(const struct gpucc_context *context, const struct plan_step *step)
{
    return rt_string(context->plan, step->nodes);
}

static enum gpucc_status driver_failed(const struct gpucc_context *context,
                                       const struct plan_step *step, int result, const char *what)
{
    enum gpucc_status status = rt_driver_status(&context->device->driver, result, what);
    rt_fail_within("step %td, %s: ", step - context->program->steps, nodes_of(context, step));
    return status;
}

enum gpucc_status rt_address(const struct gpucc_context *context, const struct plan_step *step,
                             uint32_t index, uint32_t offset_slot, int64_t bytes, uint64_t *result)
{
    const struct buffer_state *buffer = &context->buffers[index];
    int64_t offset = offset_slot == PLAN_NONE ? 0 : context->slots[offset_slot];
    if (!context->regions[buffer->segment].placed)
        return rt_fail(GPUCC_BAD_PLAN, "step %td, %s: buffer %u is used before its size is known",
                       step - context->program->steps, nodes_of(context, step), index);
    if (offset < 0 || bytes < 0 || offset > buffer->bytes || bytes > buffer->bytes - offset)
        return rt_fail(GPUCC_BAD_PLAN,
                       "step %td, %s: bytes %" PRId64 " + %" PRId64
                       " are outside buffer %u of %" PRId64,
                       step - context->program->steps, nodes_of(context, step), offset, bytes,
                       index, buffer->bytes);
    *result = buffer->address + (uint64_t)offset;
    return GPUCC_OK;
}

static enum gpucc_status set_args(struct gpucc_context *context, const struct plan_step *step)
{
    const struct program *p = context->program;
    for (uint32_t i = 0; i < step->u.launch.n_args; i++) {
        const struct plan_arg *arg = &p->args[step->u.launch.first_arg + i];
        uint64_t *word = &context->arg_words[i];
        if (arg->kind == PLAN_ARG_BUFFER) {
            enum gpucc_status status = rt_address(context, step, arg->index, arg->offset, 0, word);
            if (status != GPUCC_OK)
                return status;
            continue;
        }
        int64_t value = context->slots[arg->index];
        if (arg->kind == PLAN_ARG_I32 && (value < INT32_MIN || value > INT32_MAX))
            return rt_fail(GPUCC_LIMIT,
                           "step %td, %s: the size %" PRId64 " is too large for a kernel "
                           "that computes with 32 bits",
                           step - p->steps, nodes_of(context, step), value);
        *word = (uint64_t)value; /* little-endian: an int is its low half */
    }
    return GPUCC_OK;
}

static enum gpucc_status launch(struct gpucc_context *context, void *stream,
                                const struct plan_step *step)
{
    const struct driver *driver = &context->device->driver;
    const struct plan_kernel *kernel = &context->program->kernels[step->u.launch.kernel];
    void *function = context->loaded->functions[step->u.launch.kernel];
    unsigned grid[3];
    bool empty = false;
    for (int i = 0; i < 3; i++) {
        int64_t blocks = context->slots[step->u.launch.grid[i]];
        if (blocks < 0 || blocks > (i == 0 ? INT32_MAX : GRID_YZ_MAX))
            return rt_fail(
                GPUCC_LIMIT, "step %td, %s: a grid cannot have %" PRId64 " blocks along %c",
                step - context->program->steps, nodes_of(context, step), blocks, "xyz"[i]);
        grid[i] = (unsigned)blocks;
        empty |= blocks == 0;
    }
    enum gpucc_status status = empty ? GPUCC_OK : set_args(context, step);
    if (empty || status != GPUCC_OK)
        return status;

    int result;
    if (kernel->cluster[0] == 0 && kernel->flags == 0) {
        result = driver->launch(function, grid[0], grid[1], grid[2], kernel->block[0],
                                kernel->block[1], kernel->block[2], kernel->shared_bytes, stream,
                                context->arg_pointers, NULL);
    } else {
        struct driver_launch_attribute attributes[2];
        struct driver_launch_config config = {
            {grid[0], grid[1], grid[2]},
            {kernel->block[0], kernel->block[1], kernel->block[2]},
            kernel->shared_bytes,
            stream,
            attributes,
            0};
        memset(attributes, 0, sizeof attributes);
        if (kernel->cluster[0] != 0) {
            attributes[config.n_attributes].id = DRIVER_LAUNCH_CLUSTER;
            memcpy(attributes[config.n_attributes++].value.words, kernel->cluster,
                   sizeof kernel->cluster);
        }
        if (kernel->flags & PLAN_KERNEL_COOPERATIVE) {
            attributes[config.n_attributes].id = DRIVER_LAUNCH_COOPERATIVE;
            attributes[config.n_attributes++].value.flag = 1;
        }
        if (driver->launch_ex == NULL)
            return rt_fail(GPUCC_ENVIRONMENT, "the driver lacks cuLaunchKernelEx: it is too old");
        result = driver->launch_ex(&config, function, context->arg_pointers, NULL);
    }
    if (result != 0)
        return driver_failed(context, step, result, rt_string(context->plan, kernel->symbol));
    return GPUCC_OK;
}

static enum gpucc_status copy(struct gpucc_context *context, void *stream,
                              const struct plan_step *step)
{
    int64_t bytes = context->slots[step->u.copy.bytes];
    uint64_t to, from;
    enum gpucc_status status =
        rt_address(context, step, step->u.copy.to, step->u.copy.to_offset, bytes, &to);
    if (status == GPUCC_OK)
        status =
            rt_address(context, step, step->u.copy.from, step->u.copy.from_offset, bytes, &from);
    if (status != GPUCC_OK || bytes == 0)
        return status;
    int result = context->device->driver.copy_on_device(to, from, (size_t)bytes, stream);
    return result == 0 ? GPUCC_OK : driver_failed(context, step, result, "copying");
}

static enum gpucc_status fill(struct gpucc_context *context, void *stream,
                              const struct plan_step *step)
{
    const struct driver *driver = &context->device->driver;
    int64_t bytes = context->slots[step->u.fill.bytes];
    uint64_t to;
    enum gpucc_status status =
        rt_address(context, step, step->u.fill.to, step->u.fill.to_offset, bytes, &to);
    if (status != GPUCC_OK || bytes == 0)
        return status;
    if (to % 4 != 0)
        return rt_fail(GPUCC_BAD_PLAN, "step %td, %s: a fill that is not 4-byte aligned",
                       step - context->program->steps, nodes_of(context, step));
    size_t words = (size_t)bytes / 4;
    int result = words > 0 ? driver->fill32(to, step->u.fill.pattern, words, stream) : 0;
    for (unsigned i = 0; i < bytes % 4 && result == 0; i++) /* the cut-off word, byte by byte */
        result = driver->fill8(to + 4 * words + i, (unsigned char)(step->u.fill.pattern >> 8 * i),
                               1, stream);
    return result == 0 ? GPUCC_OK : driver_failed(context, step, result, "filling");
}

/* The segment that a READ_DIM step runs: its scalars tell, as each segment has a range of its own,
 * except empty ones, which do nothing. */
static enum gpucc_status run_segment(struct gpucc_context *context, const struct plan_step *step)
{
    if (step->u.read.n_scalars == 0)
        return GPUCC_OK;
    uint32_t segment = rt_segment_of(context->program, step->u.read.first_scalar);
    enum gpucc_status status = rt_place_segment(context, segment, SCALARS_EXACT);
    return status == GPUCC_OK ? rt_bind_segment(context, segment) : status;
}

static enum gpucc_status read_dim(struct gpucc_context *context, void *stream,
                                  const struct plan_step *step)
{
    const struct driver *driver = &context->device->driver;
    if (step->u.read.read == PLAN_NONE)
        return run_segment(context, step);
    const struct plan_read *read = &context->program->reads[step->u.read.read];
    int64_t bytes = (int64_t)read->elements * rt_element_bytes(read->dtype);
    uint64_t from;
    enum gpucc_status status = rt_address(context, step, read->buffer, PLAN_NONE, bytes, &from);
    if (status != GPUCC_OK)
        return status;
    int result = driver->copy_to_host(context->raw, from, (size_t)bytes, stream);
    if (result == 0)
        result = driver->stream_synchronize(stream);
    if (result != 0)
        return driver_failed(context, step, result, "reading a size");
    if (!rt_widen(read->dtype, context->raw, read->elements,
                  context->elements + context->first_element[step->u.read.read]))
        return rt_fail(GPUCC_LIMIT, "step %td, %s: a size does not fit 64 bits",
                       step - context->program->steps, nodes_of(context, step));
    return run_segment(context, step);
}

static enum gpucc_status loop(struct gpucc_context *context, void *stream,
                              const struct plan_step *step)
{
    int64_t trips =
        step->u.loop.trips == PLAN_NONE ? INT64_MAX : context->slots[step->u.loop.trips];
    int64_t *iteration = &context->iteration[step - context->program->steps];
    for (*iteration = 0; *iteration < trips; ++*iteration) {
        if (context->iterations++ >= context->most_iterations)
            return rt_fail(GPUCC_LIMIT, "step %td, %s: more than %lld iterations",
                           step - context->program->steps, nodes_of(context, step),
                           (long long)context->most_iterations);
        enum gpucc_status status =
            rt_run_steps(context, stream, step->u.loop.first, step->u.loop.n);
        if (status != GPUCC_OK)
            return status;
        if (step->u.loop.again != PLAN_NONE && context->slots[step->u.loop.again] == 0)
            break;
    }
    return GPUCC_OK;
}

static enum gpucc_status run_step(struct gpucc_context *context, void *stream,
                                  const struct plan_step *step)
{
    switch (step->kind) {
    case PLAN_STEP_LAUNCH: return launch(context, stream, step);
    case PLAN_STEP_COPY: return copy(context, stream, step);
    case PLAN_STEP_FILL: return fill(context, stream, step);
    case PLAN_STEP_READ_DIM: return read_dim(context, stream, step);
    case PLAN_STEP_IF:
        if (context->slots[step->u.branch.condition] != 0)
            return rt_run_steps(context, stream, step->u.branch.first_then, step->u.branch.n_then);
        return rt_run_steps(context, stream, step->u.branch.first_else, step->u.branch.n_else);
    case PLAN_STEP_LOOP: return loop(context, stream, step);
    case PLAN_STEP_LIST_NEW:
    case PLAN_STEP_LIST_COPY:
    case PLAN_STEP_LIST_INSERT:
    case PLAN_STEP_LIST_ERASE:
    case PLAN_STEP_LIST_AT:
    case PLAN_STEP_LIST_LENGTH:
    case PLAN_STEP_LIST_SHAPE: return rt_list_step(context, stream, step);
    default: /* refused when the context was created */
        return rt_fail(GPUCC_UNSUPPORTED, "this runtime cannot execute %s",
                       rt_step_name(step->kind));
    }
}

/* Recursion is bounded: the verifier checked the depth of bodies. */
enum gpucc_status rt_run_steps(struct gpucc_context *context, void *stream, uint32_t first,
                               uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++) {
        enum gpucc_status status = run_step(context, stream, &context->program->steps[i]);
        if (status != GPUCC_OK)
            return status;
    }
    return GPUCC_OK;
}

enum gpucc_status rt_capture(struct gpucc_context *context)
{
    const struct driver *driver = &context->device->driver;
    if (!context->straight || !driver->has_graphs)
        return GPUCC_OK;
    if (context->graph != NULL)
        driver->graph_exec_destroy(context->graph);
    context->graph = NULL;
    context->graph_version = 0;
    int result = driver->capture_begin(context->stream, DRIVER_CAPTURE_THREAD_LOCAL);
    if (result == NOT_SUPPORTED) {
        context->straight = false; /* steps are issued one by one */
        return GPUCC_OK;
    }
    if (result != 0)
        return rt_driver_status(driver, result, "starting to record a CUDA graph");
    void *graph = NULL;
    enum gpucc_status status =
        rt_run_steps(context, context->stream, 0, context->program->info->main_steps);
    result = driver->capture_end(context->stream, &graph);
    if (status == GPUCC_OK)
        status = rt_driver_status(driver, result, "recording a CUDA graph");
    if (status == GPUCC_OK)
        status = rt_driver_status(driver, driver->graph_instantiate(&context->graph, graph, 0),
                                  "making a CUDA graph");
    if (graph != NULL)
        driver->graph_destroy(graph);
    if (status == GPUCC_OK)
        context->graph_version = context->version;
    return status;
}

/* The first run after a change issues the steps; a second one alike makes the graph. So a caller
 * who binds other buffers each time does not pay for a graph each time. */
enum gpucc_status rt_execute(struct gpucc_context *context, void *stream)
{
    const struct driver *driver = &context->device->driver;
    if (context->graph_version != context->version && context->run_version == context->version) {
        enum gpucc_status status = rt_capture(context);
        if (status != GPUCC_OK)
            return status;
    }
    context->run_version = context->version;
    if (context->graph_version == context->version && context->graph != NULL)
        return rt_driver_status(driver, driver->graph_launch(context->graph, stream),
                                "launching the CUDA graph");
    return rt_run_steps(context, stream, 0, context->program->info->main_steps);
}
