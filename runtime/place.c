/* Sizes of buffers, and where they lie. */
#include "context.h"

#include <inttypes.h>
#include <string.h>

static bool round_up(int64_t bytes, int64_t *rounded)
{
    if (__builtin_add_overflow(bytes, PLAN_BUFFER_ALIGN - 1, rounded))
        return false;
    *rounded &= ~(int64_t)(PLAN_BUFFER_ALIGN - 1);
    return true;
}

/* An input or an output. */
static bool is_bound(const struct plan_buffer *buffer)
{
    return buffer->kind == PLAN_BUFFER_INPUT || buffer->kind == PLAN_BUFFER_OUTPUT;
}

static const struct plan_value *value_of(const struct gpucc_plan *plan,
                                         const struct plan_buffer *buffer)
{
    return &plan->values[buffer->index +
                         (buffer->kind == PLAN_BUFFER_OUTPUT ? plan->header->n_inputs : 0)];
}

/* The buffer of the input in whose memory an output lies, or PLAN_NONE. */
static uint32_t shared_buffer(const struct gpucc_context *context, uint32_t index)
{
    const struct plan_buffer *buffer = &context->program->buffers[index];
    if (buffer->kind != PLAN_BUFFER_OUTPUT)
        return PLAN_NONE;
    uint32_t input = value_of(context->plan, buffer)->alias;
    return input == PLAN_NONE ? PLAN_NONE : context->inputs[input].buffer;
}

/* An input must be as large as its shape says: the kernels read that much. */
static enum gpucc_status check_input_size(const struct gpucc_context *context, uint32_t index)
{
    const struct plan_buffer *buffer = &context->program->buffers[index];
    const struct plan_value *value = &context->plan->values[buffer->index];
    int64_t bytes = rt_element_bytes(value->dtype);
    const char *name = rt_string(context->plan, value->name);
    for (uint32_t i = 0; i < value->rank; i++)
        if (__builtin_mul_overflow(bytes, context->dims[buffer->index * PLAN_MAX_RANK + i], &bytes))
            return rt_fail(GPUCC_LIMIT, "input '%s' has too many elements", name);
    if (bytes != context->buffers[index].bytes)
        return rt_fail(GPUCC_BAD_PLAN, "input '%s' should have %" PRId64 " bytes, not %" PRId64,
                       name, bytes, context->buffers[index].bytes);
    return GPUCC_OK;
}

static enum gpucc_status set_sizes(struct gpucc_context *context, uint32_t segment)
{
    const struct program *p = context->program;
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        struct buffer_state *state = &context->buffers[i];
        if (state->segment != segment)
            continue;
        state->bytes = context->scalars.slots[p->buffers[i].size];
        if (state->bytes < 0)
            return rt_fail(GPUCC_BAD_PLAN, "buffer %u would have %" PRId64 " bytes", i,
                           state->bytes);
        if (p->buffers[i].kind == PLAN_BUFFER_INPUT &&
            context->plan->values[p->buffers[i].index].kind == PLAN_TENSOR) {
            enum gpucc_status status = check_input_size(context, i);
            if (status != GPUCC_OK)
                return status;
        }
        if (p->buffers[i].kind == PLAN_BUFFER_WEIGHT) {
            const struct plan_weight *weight = &context->plan->weights[p->buffers[i].index];
            if ((uint64_t)state->bytes > weight->bytes)
                return rt_fail(GPUCC_BAD_PLAN, "buffer %u is larger than its weights", i);
            state->address = context->loaded->weight_at[p->buffers[i].index];
        }
        state->room = state->bytes;
    }
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        uint32_t shared =
            context->buffers[i].segment == segment ? shared_buffer(context, i) : PLAN_NONE;
        if (shared != PLAN_NONE && context->buffers[shared].room < context->buffers[i].bytes)
            context->buffers[shared].room = context->buffers[i].bytes;
        if (shared != PLAN_NONE)
            context->buffers[i].room = 0;
    }
    return GPUCC_OK;
}

/* Offsets of the segment's ARENA buffers, in items; *total = bytes of the arena. */
static enum gpucc_status place_arena(struct gpucc_context *context, uint32_t segment,
                                     int64_t *total)
{
    const struct program *p = context->program;
    bool fixed = p->info->arena_bytes >= 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        const struct plan_buffer *buffer = &p->buffers[i];
        if (buffer->kind != PLAN_BUFFER_ARENA || context->buffers[i].segment != segment)
            continue;
        context->item_of[i] = n;
        context->items[n++] = (struct planner_item){.first = buffer->first,
                                                    .last = buffer->last,
                                                    .size = context->buffers[i].bytes,
                                                    .alias = buffer->alias,
                                                    .offset = buffer->offset};
    }
    for (uint32_t i = 0; i < n; i++) /* from buffers to items */
        if (context->items[i].alias != PLAN_NONE)
            context->items[i].alias = context->item_of[context->items[i].alias];
    *total = 0;
    if (!fixed) {
        if (planner_place(context->items, n, PLAN_BUFFER_ALIGN, context->scratch, total))
            return GPUCC_OK;
        return rt_fail(GPUCC_LIMIT, "the activations are too large to be placed");
    }
    if (segment == 0)
        *total = p->info->arena_bytes;
    for (uint32_t i = 0; i < n; i++) {
        int64_t bytes;
        if (!round_up(context->items[i].size, &bytes) ||
            bytes > p->info->arena_bytes - context->items[i].offset)
            return rt_fail(GPUCC_BAD_PLAN, "an activation does not fit the arena");
    }
    return GPUCC_OK;
}

/* Appends staging for the segment's inputs and outputs; offsets go to buffers[].staging. */
static bool place_staging(struct gpucc_context *context, uint32_t segment, int64_t *total)
{
    const struct program *p = context->program;
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        struct buffer_state *state = &context->buffers[i];
        int64_t bytes;
        if (state->segment != segment || !is_bound(&p->buffers[i]))
            continue;
        state->staging = (uint64_t)*total;
        if (!round_up(state->room, &bytes) || __builtin_add_overflow(*total, bytes, total))
            return false;
    }
    return true;
}

/* Replaces memory of which *size bytes are there by `bytes` of it, once nobody uses it any more. */
static enum gpucc_status replace(struct gpucc_context *context, int64_t bytes, uint64_t *memory,
                                 int64_t *size)
{
    const struct gpucc_device *device = context->device;
    int result = device->driver.stream_synchronize(context->last_stream);
    if (result != 0)
        return rt_driver_status(&device->driver, result, "waiting for the last run");
    rt_device_free(device, *memory);
    *size = 0;
    enum gpucc_status status = rt_device_alloc(device, bytes, "activations", memory);
    if (status == GPUCC_OK)
        *size = bytes;
    return status;
}

/* The segment's buffers in one allocation: the arena, then staging. */
static enum gpucc_status give_region(struct gpucc_context *context, uint32_t segment, int64_t bytes)
{
    const struct program *p = context->program;
    struct region *region = &context->regions[segment];
    enum gpucc_status status = GPUCC_OK;
    if (bytes > region->capacity)
        status = replace(context, bytes, &region->memory, &region->capacity);
    for (uint32_t i = 0; i < p->n_buffers && status == GPUCC_OK; i++) {
        struct buffer_state *state = &context->buffers[i];
        if (state->segment != segment)
            continue;
        if (p->buffers[i].kind == PLAN_BUFFER_ARENA)
            state->address = region->memory + (uint64_t)context->items[context->item_of[i]].offset;
        else if (is_bound(&p->buffers[i]))
            state->address = state->staging += region->memory;
    }
    return status;
}

/* Memory like replace's, all zero once nobody waits for that. */
static enum gpucc_status replace_by_zeros(struct gpucc_context *context, int64_t bytes,
                                          uint64_t *memory, int64_t *size)
{
    const struct driver *driver = &context->device->driver;
    enum gpucc_status status = replace(context, bytes, memory, size);
    if (status != GPUCC_OK || bytes == 0)
        return status;
    int result = driver->fill8(*memory, 0, (size_t)bytes, context->stream);
    if (result == 0)
        result = driver->stream_synchronize(context->stream);
    return rt_driver_status(driver, result, "clearing memory");
}

/* The segment's ZEROED buffers in one allocation. Whatever lies in it is zero between runs, so
 * buffers may take other places in it when their sizes change. */
static enum gpucc_status give_zeroed(struct gpucc_context *context, uint32_t segment)
{
    const struct program *p = context->program;
    struct region *region = &context->regions[segment];
    int64_t total = 0, bytes;
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        struct buffer_state *state = &context->buffers[i];
        if (state->segment != segment || p->buffers[i].kind != PLAN_BUFFER_ZEROED)
            continue;
        state->staging = (uint64_t)total;
        if (!round_up(state->bytes, &bytes) || __builtin_add_overflow(total, bytes, &total))
            return rt_fail(GPUCC_LIMIT, "the cleared buffers are too large");
    }
    enum gpucc_status status = GPUCC_OK;
    if (total > region->zeroed_bytes)
        status = replace_by_zeros(context, total, &region->zeroed, &region->zeroed_bytes);
    for (uint32_t i = 0; i < p->n_buffers && status == GPUCC_OK; i++)
        if (context->buffers[i].segment == segment && p->buffers[i].kind == PLAN_BUFFER_ZEROED)
            context->buffers[i].address = region->zeroed + context->buffers[i].staging;
    return status;
}

/* The same, with an allocation for each buffer. */
static enum gpucc_status give_each(struct gpucc_context *context, uint32_t segment)
{
    const struct program *p = context->program;
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        struct buffer_state *state = &context->buffers[i];
        enum plan_buffer_kind kind = p->buffers[i].kind;
        if (state->segment != segment || kind == PLAN_BUFFER_WEIGHT ||
            p->buffers[i].alias != PLAN_NONE || shared_buffer(context, i) != PLAN_NONE)
            continue;
        int64_t bytes = is_bound(&p->buffers[i]) ? state->room : state->bytes;
        enum gpucc_status status = GPUCC_OK;
        if (bytes != state->own_bytes)
            status = (kind == PLAN_BUFFER_ZEROED ? replace_by_zeros : replace)(
                context, bytes, &state->own, &state->own_bytes);
        if (status != GPUCC_OK)
            return status;
        state->address = state->staging = state->own;
    }
    for (uint32_t i = 0; i < p->n_buffers; i++)
        if (context->buffers[i].segment == segment && p->buffers[i].alias != PLAN_NONE)
            context->buffers[i].address = context->buffers[p->buffers[i].alias].address;
    return GPUCC_OK;
}

enum gpucc_status rt_place_segment(struct gpucc_context *context, uint32_t segment,
                                   enum scalar_mode mode)
{
    const struct program *p = context->program;
    struct region *region = &context->regions[segment];
    int64_t total;
    region->placed = false;
    context->version++;
    enum gpucc_status status =
        rt_scalars_run(context->plan, p, p->segments[segment], &context->scalars, mode);
    if (status != GPUCC_OK || region->n_buffers == 0)
        return status;
    status = set_sizes(context, segment);
    if (status == GPUCC_OK)
        status = place_arena(context, segment, &total);
    if (status == GPUCC_OK && !place_staging(context, segment, &total))
        status = rt_fail(GPUCC_LIMIT, "the inputs and outputs are too large");
    if (status == GPUCC_OK)
        status = context->device->isolate ? give_each(context, segment)
                                          : give_region(context, segment, total);
    if (status == GPUCC_OK && !context->device->isolate)
        status = give_zeroed(context, segment);
    region->placed = status == GPUCC_OK;
    return status;
}

/* What is bound is there, is large enough and aligned. */
static enum gpucc_status check_binding(const struct gpucc_context *context, uint32_t index,
                                       const struct binding *binding)
{
    const struct plan_buffer *buffer = &context->program->buffers[index];
    const struct buffer_state *state = &context->buffers[index];
    bool input = buffer->kind == PLAN_BUFFER_INPUT;
    bool on_device = binding->bound && binding->memory == GPUCC_DEVICE;
    int64_t bytes = on_device && state->room > state->bytes ? state->room : state->bytes;
    const char *what = input ? "input" : "output";
    const char *name = rt_string(context->plan, value_of(context->plan, buffer)->name);
    if (input && !binding->bound && state->bytes > 0)
        return rt_fail(GPUCC_USAGE, "input '%s' is not bound", name);
    if (binding->bound &&
        (binding->bytes < (uint64_t)bytes || (binding->pointer == NULL && bytes > 0)))
        return rt_fail(GPUCC_USAGE, "%s '%s' needs %" PRId64 " bytes, but %zu are bound", what,
                       name, bytes, binding->pointer != NULL ? binding->bytes : 0);
    if (on_device && (uintptr_t)binding->pointer % buffer->alignment != 0)
        return rt_fail(GPUCC_USAGE, "%s '%s' must be %u-byte aligned on the device", what, name,
                       buffer->alignment);
    return GPUCC_OK;
}

static enum gpucc_status bind_buffer(struct gpucc_context *context, uint32_t index)
{
    const struct plan_buffer *buffer = &context->program->buffers[index];
    struct buffer_state *state = &context->buffers[index];
    const struct binding *binding = buffer->kind == PLAN_BUFFER_INPUT
                                        ? &context->inputs[buffer->index]
                                        : &context->outputs[buffer->index];
    enum gpucc_status status = check_binding(context, index, binding);
    if (status != GPUCC_OK)
        return status;
    bool on_device = binding->bound && binding->memory == GPUCC_DEVICE;
    uint32_t shared = shared_buffer(context, index);
    uint64_t address = on_device             ? (uint64_t)(uintptr_t)binding->pointer
                       : shared != PLAN_NONE ? context->buffers[shared].address
                                             : state->staging;
    if (shared != PLAN_NONE && address != context->buffers[shared].address && state->bytes > 0) {
        const struct plan_value *value = value_of(context->plan, buffer);
        return rt_fail(GPUCC_USAGE,
                       "output '%s' lies in the memory of input '%s': bind the same address of the "
                       "device to both, or leave the output unbound",
                       rt_string(context->plan, value->name),
                       rt_string(context->plan, context->plan->values[value->alias].name));
    }
    if (address != state->address) {
        state->address = address;
        context->version++;
    }
    return GPUCC_OK;
}

enum gpucc_status rt_bind_segment(struct gpucc_context *context, uint32_t segment)
{
    static const enum plan_buffer_kind kinds[] = {PLAN_BUFFER_INPUT, PLAN_BUFFER_OUTPUT};
    enum gpucc_status status = GPUCC_OK;
    for (int k = 0; k < 2; k++) /* an output may lie where an input does */
        for (uint32_t i = 0; i < context->program->n_buffers && status == GPUCC_OK; i++)
            if (context->buffers[i].segment == segment &&
                context->program->buffers[i].kind == kinds[k] &&
                value_of(context->plan, &context->program->buffers[i])->kind == PLAN_TENSOR)
                status = bind_buffer(context, i);
    return status;
}

enum gpucc_status rt_prepare(struct gpucc_context *context)
{
    if (context->ready)
        return GPUCC_OK;
    const struct plan_header *header = context->plan->header;
    for (uint32_t i = 0; i < header->n_inputs; i++)
        for (uint32_t j = 0; j < context->plan->values[i].rank; j++)
            if (context->dims[i * PLAN_MAX_RANK + j] < 0)
                return rt_fail(GPUCC_USAGE, "the shape of input '%s' has free dims and is not set",
                               rt_string(context->plan, context->plan->values[i].name));
    for (uint32_t i = 0; i < context->program->n_segments; i++)
        context->regions[i].placed = false;
    context->finished = false;
    enum gpucc_status status = rt_place_segment(context, 0, SCALARS_EXACT);
    context->ready = status == GPUCC_OK;
    return status;
}
