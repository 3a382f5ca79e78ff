/* Runs by parts, and what each part leaves in memory. */
#include "context.h"

#include <stdlib.h>
#include <string.h>

int gpucc_context_tap_count(const struct gpucc_context *context)
{
    return (int)context->program->n_taps;
}

static enum gpucc_status check_tap(const struct gpucc_context *context, int tap, uint32_t n)
{
    if (tap >= 0 && (uint32_t)tap < n)
        return GPUCC_OK;
    return rt_fail(GPUCC_USAGE, "no tap number %d: the plan has %u", tap, context->program->n_taps);
}

/* Is the step behind which the tap can be read over? */
static bool is_there(const struct gpucc_context *context, const struct plan_tap *tap)
{
    return context->finished || context->next_step > tap->step;
}

static int64_t slot_of(const struct gpucc_context *context, const struct plan_tap *tap,
                       uint32_t arg)
{
    return context->slots[context->program->args[tap->first_arg + arg].index];
}

enum gpucc_status gpucc_context_describe_tap(const struct gpucc_context *context, int number,
                                             struct gpucc_tap *result)
{
    const struct program *p = context->program;
    enum gpucc_status status = check_tap(context, number, p->n_taps);
    if (status != GPUCC_OK)
        return status;
    const struct plan_tap *tap = &p->taps[number];
    memset(result, 0, sizeof *result);
    result->name = rt_string(context->plan, tap->name);
    result->nodes = rt_string(context->plan, p->steps[tap->step].nodes);
    result->step = (int)tap->step;
    result->dtype = (int)tap->dtype;
    result->element_bytes = (int)rt_element_bytes(tap->dtype);
    result->rank = (int)tap->rank;
    for (uint32_t i = 0; i < tap->rank; i++)
        result->dims[i] = is_there(context, tap) ? slot_of(context, tap, i) : -1;
    return GPUCC_OK;
}

static enum gpucc_status run_to(struct gpucc_context *context, uint32_t end)
{
    enum gpucc_status status = GPUCC_OK;
    if (context->next_step == 0 || context->next_step > end || !context->ready)
        status = rt_begin(context, context->stream);
    uint32_t first = context->next_step;
    context->next_step = 0; /* until the steps went through */
    if (status == GPUCC_OK)
        status = rt_run_steps(context, context->stream, first, end - first);
    if (status == GPUCC_OK && end == context->program->info->main_steps)
        status = rt_end(context, context->stream);
    if (status == GPUCC_OK)
        status = rt_wait(context);
    if (status == GPUCC_OK)
        context->next_step = end;
    return status;
}

enum gpucc_status gpucc_context_run_to_tap(struct gpucc_context *context, int tap)
{
    const struct program *p = context->program;
    enum gpucc_status status = check_tap(context, tap, p->n_taps + 1);
    if (status == GPUCC_OK)
        status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    status =
        run_to(context, (uint32_t)tap < p->n_taps ? p->taps[tap].step + 1 : p->info->main_steps);
    rt_device_leave(context->device);
    return status;
}

/* Bytes of the buffer from the tap's first element to its last; -1: sizes that cannot be. */
static int64_t span_of(const struct gpucc_context *context, const struct plan_tap *tap,
                       int64_t *elements)
{
    int64_t last = 0, element = rt_element_bytes(tap->dtype), reach;
    *elements = 1;
    for (uint32_t i = 0; i < tap->rank; i++) {
        int64_t dim = slot_of(context, tap, i), stride = slot_of(context, tap, tap->rank + i);
        if (dim < 0 || stride < 0 || __builtin_mul_overflow(*elements, dim, elements) ||
            (dim > 0 && (__builtin_mul_overflow(dim - 1, stride, &reach) ||
                         __builtin_add_overflow(last, reach, &last))))
            return -1;
    }
    if (*elements == 0)
        return 0;
    if (__builtin_add_overflow(last, 1, &last) || __builtin_mul_overflow(last, element, &last))
        return -1;
    return last;
}

/* Row-major elements from where they lie. */
static void collect(const struct gpucc_context *context, const struct plan_tap *tap,
                    int64_t elements, const unsigned char *from, unsigned char *to)
{
    int64_t at[PLAN_MAX_RANK] = {0}, offset = 0;
    size_t bytes = rt_element_bytes(tap->dtype);
    for (int64_t i = 0; i < elements; i++) {
        memcpy(to + (size_t)i * bytes, from + (size_t)offset * bytes, bytes);
        for (uint32_t axis = tap->rank; axis-- > 0;) {
            int64_t dim = slot_of(context, tap, axis);
            int64_t stride = slot_of(context, tap, tap->rank + axis);
            offset += stride;
            if (++at[axis] < dim)
                break;
            offset -= dim * stride;
            at[axis] = 0;
        }
    }
}

static enum gpucc_status read_tap(struct gpucc_context *context, const struct plan_tap *tap,
                                  void *buffer, size_t bytes)
{
    const struct driver *driver = &context->device->driver;
    int64_t elements, span = span_of(context, tap, &elements);
    uint64_t from;
    if (span < 0 || bytes / rt_element_bytes(tap->dtype) != (uint64_t)elements ||
        bytes % rt_element_bytes(tap->dtype) != 0)
        return rt_fail(GPUCC_USAGE, "tap '%s' has not %zu bytes",
                       rt_string(context->plan, tap->name), bytes);
    enum gpucc_status status = rt_address(context, &context->program->steps[tap->step], tap->buffer,
                                          tap->offset, span, &from);
    if (status != GPUCC_OK || span == 0)
        return status;
    unsigned char *raw = malloc((size_t)span);
    if (raw == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    int result = driver->copy_to_host(raw, from, (size_t)span, context->stream);
    status = rt_driver_status(driver, result, "copying a value from the device");
    if (status == GPUCC_OK)
        status = rt_wait(context);
    if (status == GPUCC_OK)
        collect(context, tap, elements, raw, buffer);
    free(raw);
    return status;
}

enum gpucc_status gpucc_context_read_tap(struct gpucc_context *context, int number, void *buffer,
                                         size_t bytes)
{
    enum gpucc_status status = check_tap(context, number, context->program->n_taps);
    if (status != GPUCC_OK)
        return status;
    const struct plan_tap *tap = &context->program->taps[number];
    if (!is_there(context, tap))
        return rt_fail(GPUCC_USAGE, "tap '%s' is read before its step has run",
                       rt_string(context->plan, tap->name));
    status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    status = read_tap(context, tap, buffer, bytes);
    rt_device_leave(context->device);
    return status;
}
