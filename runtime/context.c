#include "context.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- creation ---- */

static enum gpucc_status allocate(struct gpucc_context *context)
{
    const struct program *p = context->program;
    const struct plan_header *header = context->plan->header;
    size_t elements = 0, raw = 0;
    for (uint32_t i = 0; i < p->n_reads; i++) {
        size_t bytes = p->reads[i].elements * (size_t)rt_element_bytes(p->reads[i].dtype);
        elements += p->reads[i].elements;
        raw = bytes > raw ? bytes : raw;
    }
    /* One more of each, so that none is empty. */
#define TAKE(field, n) ((context->field = calloc((size_t)(n) + 1, sizeof *context->field)) != NULL)
    bool done = TAKE(dims, header->n_inputs * (size_t)PLAN_MAX_RANK) && TAKE(slots, p->n_scalars) &&
                TAKE(elements, elements) && TAKE(iteration, p->n_steps) &&
                TAKE(first_element, p->n_reads) && TAKE(buffers, p->n_buffers) &&
                TAKE(regions, p->n_segments) && TAKE(items, p->n_buffers) &&
                TAKE(item_of, p->n_buffers) && TAKE(scratch, p->n_buffers) &&
                TAKE(inputs, header->n_inputs) && TAKE(outputs, header->n_outputs) &&
                TAKE(arg_words, PLAN_MAX_ARGS) && TAKE(arg_pointers, PLAN_MAX_ARGS) &&
                (context->raw = malloc(raw + 1)) != NULL;
#undef TAKE
    return done ? GPUCC_OK : rt_fail(GPUCC_LIMIT, "out of memory");
}

static bool is_straight(const struct program *p)
{
    for (uint32_t i = 0; i < p->info->main_steps; i++)
        if (p->steps[i].kind != PLAN_STEP_LAUNCH && p->steps[i].kind != PLAN_STEP_COPY &&
            p->steps[i].kind != PLAN_STEP_FILL)
            return false;
    return p->info->main_steps > 0;
}

static void initialize(struct gpucc_context *context)
{
    const struct program *p = context->program;
    const struct gpucc_plan *plan = context->plan;
    context->scalars = (struct scalar_state){context->slots, context->dims, context->elements,
                                             context->first_element, context->iteration};
    context->straight = is_straight(p);
    context->version = 1;
    for (uint32_t i = 0; i < PLAN_MAX_ARGS; i++)
        context->arg_pointers[i] = &context->arg_words[i];
    for (uint32_t i = 0; i < plan->header->n_inputs; i++) {
        context->inputs[i].buffer = PLAN_NONE;
        for (uint32_t j = 0; j < plan->values[i].rank; j++)
            context->dims[i * PLAN_MAX_RANK + j] = plan->dims[plan->values[i].first_dim + j].value;
    }
    for (uint32_t i = 0, first = 0; i < p->n_reads; i++) {
        context->first_element[i] = first;
        first += p->reads[i].elements;
    }
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        context->buffers[i].segment = rt_segment_of(p, p->buffers[i].size);
        context->regions[context->buffers[i].segment].n_buffers++;
        if (p->buffers[i].kind == PLAN_BUFFER_INPUT)
            context->inputs[p->buffers[i].index].buffer = i;
        if (p->buffers[i].kind == PLAN_BUFFER_OUTPUT)
            context->outputs[p->buffers[i].index].buffer = i;
    }
}

static bool has_free_dims(const struct gpucc_plan *plan)
{
    for (uint32_t i = 0; i < plan->header->n_inputs; i++)
        for (uint32_t j = 0; j < plan->values[i].rank; j++)
            if (plan->dims[plan->values[i].first_dim + j].value < 0)
                return true;
    return false;
}

static enum gpucc_status create_on_device(struct gpucc_context *context)
{
    const struct driver *driver = &context->device->driver;
    enum gpucc_status status =
        rt_load(context->plan, context->device, context->program, &context->loaded);
    if (status == GPUCC_OK)
        status = rt_driver_status(
            driver, driver->stream_create(&context->stream, DRIVER_STREAM_NON_BLOCKING),
            "making a stream");
    context->last_stream = context->stream;
    if (status == GPUCC_OK &&
        !has_free_dims(context->plan)) { /* a static plan takes all it needs */
        status = rt_prepare(context);
        if (status == GPUCC_OK)
            status = rt_capture(context);
    }
    return status;
}

enum gpucc_status gpucc_context_create(struct gpucc_plan *plan, struct gpucc_device *device,
                                       struct gpucc_context **result)
{
    const struct program *program = rt_plan_choose(plan, device);
    if (program == NULL)
        return GPUCC_BAD_PLAN;
    enum gpucc_status status = rt_program_supported(plan, program);
    if (status != GPUCC_OK)
        return status;
    struct gpucc_context *context = calloc(1, sizeof *context);
    if (context == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    context->plan = plan;
    context->device = device;
    context->program = program;
    context->most_iterations = RT_MOST_ITERATIONS;
    status = allocate(context);
    if (status == GPUCC_OK) {
        initialize(context);
        status = rt_device_enter(device);
        if (status == GPUCC_OK) {
            status = create_on_device(context);
            rt_device_leave(device);
        }
    }
    if (status == GPUCC_OK)
        *result = context;
    else
        gpucc_context_destroy(context);
    return status;
}

static void destroy_on_device(struct gpucc_context *context)
{
    const struct driver *driver = &context->device->driver;
    if (context->stream != NULL) {
        driver->stream_synchronize(context->last_stream);
        driver->stream_destroy(context->stream);
    }
    if (context->graph != NULL)
        driver->graph_exec_destroy(context->graph);
    for (uint32_t i = 0; i < context->program->n_segments; i++) {
        rt_device_free(context->device, context->regions[i].memory);
        rt_device_free(context->device, context->regions[i].zeroed);
    }
    for (uint32_t i = 0; i < context->program->n_buffers && context->buffers != NULL; i++) {
        rt_device_free(context->device, context->buffers[i].own);
        rt_list_clear(context, &context->buffers[i].list);
    }
    if (context->loaded != NULL)
        rt_unload(context->plan, context->loaded);
}

void gpucc_context_destroy(struct gpucc_context *context)
{
    if (context == NULL)
        return;
    if (context->regions != NULL) {
        /* A context that a kernel has spoilt may refuse; what the host holds is freed all the same.
         */
        bool entered = context->device->driver.push(context->device->primary) == 0;
        destroy_on_device(context);
        if (entered)
            rt_device_leave(context->device);
    }
    for (uint32_t i = 0; i < context->plan->header->n_inputs && context->inputs != NULL; i++)
        free(context->inputs[i].list);
    free(context->dims);
    free(context->slots);
    free(context->elements);
    free(context->iteration);
    free(context->first_element);
    free(context->raw);
    free(context->buffers);
    free(context->regions);
    free(context->items);
    free(context->item_of);
    free(context->scratch);
    free(context->inputs);
    free(context->outputs);
    free(context->arg_words);
    free(context->arg_pointers);
    free(context);
}

/* ---- shapes and buffers ---- */

static enum gpucc_status check_index(int index, uint32_t n, const char *what)
{
    if (index >= 0 && (uint32_t)index < n)
        return GPUCC_OK;
    return rt_fail(GPUCC_USAGE, "no %s number %d: the plan has %u", what, index, n);
}

static enum gpucc_status check_tensor(const struct gpucc_plan *plan, const struct plan_value *value,
                                      const char *what)
{
    if (value->kind == PLAN_TENSOR)
        return GPUCC_OK;
    return rt_fail(GPUCC_USAGE, "%s '%s' is no tensor", what, rt_string(plan, value->name));
}

enum gpucc_status gpucc_context_set_input_shape(struct gpucc_context *context, int input, int rank,
                                                const int64_t *dims)
{
    const struct gpucc_plan *plan = context->plan;
    enum gpucc_status status = check_index(input, plan->header->n_inputs, "input");
    if (status == GPUCC_OK)
        status = check_tensor(plan, &plan->values[input], "input");
    if (status != GPUCC_OK)
        return status;
    const struct plan_value *value = &plan->values[input];
    const char *name = rt_string(plan, value->name);
    if (rank != value->rank)
        return rt_fail(GPUCC_USAGE, "input '%s' has rank %d, not %d", name, value->rank, rank);
    int64_t *now = context->dims + (size_t)input * PLAN_MAX_RANK;
    for (int i = 0; i < rank; i++) {
        int64_t fixed = plan->dims[value->first_dim + (uint32_t)i].value;
        if (dims[i] < 0)
            return rt_fail(GPUCC_USAGE, "dim %d of input '%s' cannot be %" PRId64, i, name,
                           dims[i]);
        if (fixed >= 0 && dims[i] != fixed)
            return rt_fail(GPUCC_USAGE,
                           "dim %d of input '%s' is %" PRId64 " in this plan, not %" PRId64, i,
                           name, fixed, dims[i]);
    }
    if (rank > 0 && memcmp(now, dims, (size_t)rank * sizeof *dims) != 0) {
        memcpy(now, dims, (size_t)rank * sizeof *dims);
        context->ready = false;
    }
    return GPUCC_OK;
}

enum gpucc_status gpucc_context_reserve(struct gpucc_context *context)
{
    enum gpucc_status status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    status = rt_prepare(context);
    for (uint32_t i = 1; i < context->program->n_segments && status == GPUCC_OK; i++) {
        status = rt_place_segment(context, i, SCALARS_LARGEST);
        context->regions[i].placed = false;
        context->finished = false; /* what a run found out is overwritten */
    }
    rt_device_leave(context->device);
    return status;
}

/* Slots that hold the shape of an output. */
static const uint32_t *shape_slots(const struct gpucc_context *context, int output, int *rank)
{
    const struct plan_value *values = context->plan->values + context->plan->header->n_inputs;
    const uint32_t *slots = context->program->shapes;
    for (int i = 0; i < output; i++)
        slots += values[i].rank;
    *rank = values[output].rank;
    return slots;
}

/* The device's context need not be current. */
static enum gpucc_status prepare(struct gpucc_context *context)
{
    enum gpucc_status status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    status = rt_prepare(context);
    rt_device_leave(context->device);
    return status;
}

/* For a question about an output: that it is a tensor, and the sizes as far as they are known. */
static enum gpucc_status prepare_output(struct gpucc_context *context, int output)
{
    const struct plan_header *header = context->plan->header;
    enum gpucc_status status = check_index(output, header->n_outputs, "output");
    if (status == GPUCC_OK)
        status = check_tensor(
            context->plan, &context->plan->values[header->n_inputs + (uint32_t)output], "output");
    return status == GPUCC_OK ? prepare(context) : status;
}

enum gpucc_status gpucc_context_output_shape(struct gpucc_context *context, int output, int *rank,
                                             int64_t *dims)
{
    const struct program *p = context->program;
    enum gpucc_status status = prepare_output(context, output);
    if (status != GPUCC_OK)
        return status;
    const uint32_t *slots = shape_slots(context, output, rank);
    for (int i = 0; i < *rank; i++)
        dims[i] =
            slots[i] < p->info->bind_scalars || context->finished ? context->slots[slots[i]] : -1;
    return GPUCC_OK;
}

enum gpucc_status gpucc_context_output_bound(struct gpucc_context *context, int output,
                                             size_t *bytes)
{
    const struct program *p = context->program;
    enum gpucc_status status = prepare_output(context, output);
    if (status != GPUCC_OK)
        return status;
    int rank;
    const uint32_t *shape = shape_slots(context, output, &rank);
    size_t n_slots = (size_t)p->n_scalars + 1;
    struct scalar_state largest = context->scalars;
    largest.slots = malloc(n_slots * sizeof *largest.slots);
    if (largest.slots == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    memcpy(largest.slots, context->slots, n_slots * sizeof *largest.slots);
    for (uint32_t i = 1; i < p->n_segments && status == GPUCC_OK; i++)
        status = rt_scalars_run(context->plan, p, p->segments[i], &largest, SCALARS_LARGEST);
    const struct plan_value *value =
        &context->plan->values[context->plan->header->n_inputs + (uint32_t)output];
    int64_t most = rt_element_bytes(value->dtype);
    for (int i = 0; i < rank && status == GPUCC_OK; i++)
        if (__builtin_mul_overflow(most, largest.slots[shape[i]], &most))
            status = rt_fail(GPUCC_LIMIT, "output '%s' may have too many elements",
                             rt_string(context->plan, value->name));
    free(largest.slots);
    if (status == GPUCC_OK)
        *bytes = most < 0 ? 0 : (size_t)most;
    return status;
}

static enum gpucc_status bind(const struct gpucc_plan *plan, const struct plan_value *values,
                              struct binding *bindings, int index, uint32_t n, const char *what,
                              enum gpucc_memory memory, void *buffer, size_t bytes)
{
    enum gpucc_status status = check_index(index, n, what);
    if (status == GPUCC_OK)
        status = check_tensor(plan, &values[index], what);
    if (status != GPUCC_OK)
        return status;
    if (memory != GPUCC_HOST && memory != GPUCC_DEVICE)
        return rt_fail(GPUCC_USAGE, "memory is GPUCC_HOST or GPUCC_DEVICE");
    bindings[index].bound = buffer != NULL;
    bindings[index].memory = memory;
    bindings[index].pointer = buffer;
    bindings[index].bytes = bytes;
    return GPUCC_OK;
}

enum gpucc_status gpucc_context_bind_input(struct gpucc_context *context, int input,
                                           enum gpucc_memory memory, const void *buffer,
                                           size_t bytes)
{
    const struct gpucc_plan *plan = context->plan;
    return bind(plan, plan->values, context->inputs, input, plan->header->n_inputs, "input", memory,
                (void *)buffer, bytes);
}

enum gpucc_status gpucc_context_bind_output(struct gpucc_context *context, int output,
                                            enum gpucc_memory memory, void *buffer, size_t bytes)
{
    const struct gpucc_plan *plan = context->plan;
    return bind(plan, plan->values + plan->header->n_inputs, context->outputs, output,
                plan->header->n_outputs, "output", memory, buffer, bytes);
}

/* ---- running ---- */

static enum gpucc_status copy_inputs(struct gpucc_context *context, void *stream)
{
    const struct driver *driver = &context->device->driver;
    for (uint32_t i = 0; i < context->plan->header->n_inputs; i++) {
        const struct binding *binding = &context->inputs[i];
        if (!binding->bound || binding->memory != GPUCC_HOST || binding->buffer == PLAN_NONE)
            continue;
        const struct buffer_state *buffer = &context->buffers[binding->buffer];
        int result = buffer->bytes == 0 ? 0
                                        : driver->copy_to_device(buffer->address, binding->pointer,
                                                                 (size_t)buffer->bytes, stream);
        if (result != 0)
            return rt_driver_status(driver, result, "copying an input to the device");
    }
    return GPUCC_OK;
}

/* Bytes of an output after a run: its shape, which may be smaller than its buffer. */
static enum gpucc_status output_bytes(struct gpucc_context *context, int output, int64_t *bytes)
{
    const struct plan_value *value =
        &context->plan->values[context->plan->header->n_inputs + (uint32_t)output];
    int64_t dims[GPUCC_MAX_RANK];
    int rank;
    enum gpucc_status status = gpucc_context_output_shape(context, output, &rank, dims);
    if (status != GPUCC_OK)
        return status;
    const char *name = rt_string(context->plan, value->name);
    *bytes = rt_element_bytes(value->dtype);
    for (int i = 0; i < rank; i++)
        if (dims[i] < 0)
            return rt_fail(GPUCC_USAGE, "the shape of output '%s' is known after a run only", name);
        else if (__builtin_mul_overflow(*bytes, dims[i], bytes))
            return rt_fail(GPUCC_LIMIT, "output '%s' has too many elements", name);
    if (*bytes > context->buffers[context->outputs[output].buffer].bytes)
        return rt_fail(GPUCC_BAD_PLAN, "output '%s' is larger than its buffer", name);
    return GPUCC_OK;
}

static enum gpucc_status copy_outputs(struct gpucc_context *context, void *stream)
{
    const struct driver *driver = &context->device->driver;
    for (uint32_t i = 0; i < context->plan->header->n_outputs; i++) {
        const struct binding *binding = &context->outputs[i];
        if (!binding->bound || binding->memory != GPUCC_HOST)
            continue;
        int64_t bytes;
        enum gpucc_status status = output_bytes(context, (int)i, &bytes);
        if (status != GPUCC_OK)
            return status;
        int result = bytes == 0 ? 0
                                : driver->copy_to_host(binding->pointer,
                                                       context->buffers[binding->buffer].address,
                                                       (size_t)bytes, stream);
        if (result != 0)
            return rt_driver_status(driver, result, "copying an output from the device");
    }
    return GPUCC_OK;
}

enum gpucc_status rt_begin(struct gpucc_context *context, void *stream)
{
    enum gpucc_status status = rt_prepare(context);
    context->finished = false;
    context->next_step = 0;
    context->iterations = 0;
    if (status == GPUCC_OK)
        status = rt_bind_segment(context, 0);
    if (status == GPUCC_OK)
        status = copy_inputs(context, stream);
    if (status == GPUCC_OK)
        status = rt_list_inputs(context, stream);
    context->last_stream = stream;
    return status;
}

enum gpucc_status rt_end(struct gpucc_context *context, void *stream)
{
    context->finished = true;
    return copy_outputs(context, stream);
}

static enum gpucc_status run(struct gpucc_context *context, void *stream)
{
    enum gpucc_status status = rt_begin(context, stream);
    if (status == GPUCC_OK)
        status = rt_execute(context, stream);
    return status == GPUCC_OK ? rt_end(context, stream) : status;
}

enum gpucc_status rt_wait(struct gpucc_context *context)
{
    const struct driver *driver = &context->device->driver;
    return rt_driver_status(driver, driver->stream_synchronize(context->last_stream),
                            "waiting for the run");
}

enum gpucc_status gpucc_context_run(struct gpucc_context *context, void *stream)
{
    enum gpucc_status status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    status = run(context, stream);
    rt_device_leave(context->device);
    return status;
}

enum gpucc_status gpucc_context_run_sync(struct gpucc_context *context)
{
    enum gpucc_status status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    status = run(context, context->stream);
    if (status == GPUCC_OK)
        status = rt_wait(context);
    rt_device_leave(context->device);
    return status;
}

enum gpucc_status gpucc_context_wait(struct gpucc_context *context)
{
    enum gpucc_status status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    status = rt_wait(context);
    rt_device_leave(context->device);
    return status;
}

enum gpucc_status gpucc_context_output_data(struct gpucc_context *context, int output,
                                            void **device_pointer, size_t *bytes)
{
    int64_t size;
    enum gpucc_status status = check_index(output, context->plan->header->n_outputs, "output");
    if (status != GPUCC_OK)
        return status;
    if (!context->finished)
        return rt_fail(GPUCC_USAGE, "the context has not run since its shapes were set");
    status = output_bytes(context, output, &size);
    if (status != GPUCC_OK)
        return status;
    *device_pointer = (void *)(uintptr_t)context->buffers[context->outputs[output].buffer].address;
    *bytes = (size_t)size;
    return GPUCC_OK;
}

enum gpucc_status gpucc_context_read_output(struct gpucc_context *context, int output, void *buffer,
                                            size_t bytes)
{
    const struct driver *driver = &context->device->driver;
    void *from;
    size_t size;
    enum gpucc_status status = gpucc_context_output_data(context, output, &from, &size);
    if (status != GPUCC_OK)
        return status;
    if (bytes != size)
        return rt_fail(GPUCC_USAGE, "output number %d has %zu bytes, not %zu", output, size, bytes);
    status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    int result = size == 0 ? 0
                           : driver->copy_to_host(buffer, (uint64_t)(uintptr_t)from, size,
                                                  context->last_stream);
    status = rt_driver_status(driver, result, "copying an output from the device");
    if (status == GPUCC_OK)
        status = rt_wait(context);
    rt_device_leave(context->device);
    return status;
}
