#include "list.h"
#include "context.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIST = 1 << 20 }; /* elements */

struct list_item {
    uint32_t references; /* lists that hold it */
    uint32_t dtype;
    int rank;
    int64_t dims[PLAN_MAX_RANK];
    int64_t bytes;
    uint64_t address;
};

/* ---- what a plan says ---- */

bool rt_is_optional_sequence(const struct gpucc_plan *plan, const struct plan_value *value)
{
    return value->kind == PLAN_OPTIONAL && plan->values[value->element].kind == PLAN_SEQUENCE;
}

bool rt_is_list(const struct gpucc_plan *plan, const struct plan_value *value, uint32_t *dtype)
{
    if (value->kind != PLAN_SEQUENCE && value->kind != PLAN_OPTIONAL)
        return false;
    const struct plan_value *element = &plan->values[value->element];
    if (rt_is_optional_sequence(plan, value))
        element = &plan->values[element->element];
    *dtype = element->dtype;
    return element->kind == PLAN_TENSOR && rt_element_bytes(element->dtype) > 0;
}

/* ---- elements ---- */

static void release(struct gpucc_context *context, struct list_item *item)
{
    if (--item->references > 0)
        return;
    context->device->driver.stream_synchronize(context->last_stream); /* it may be being copied */
    rt_device_free(context->device, item->address);
    free(item);
}

/* An element without its data. */
static enum gpucc_status make_item(struct gpucc_context *context, uint32_t dtype, int rank,
                                   const int64_t *dims, struct list_item **result)
{
    int64_t bytes = rt_element_bytes(dtype);
    for (int i = 0; i < rank; i++)
        if (dims[i] < 0 || __builtin_mul_overflow(bytes, dims[i], &bytes))
            return rt_fail(GPUCC_LIMIT, "an element of a list has a size that cannot be");
    struct list_item *item = calloc(1, sizeof *item);
    if (item == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    item->dtype = dtype;
    item->rank = rank;
    item->bytes = bytes;
    if (rank > 0)
        memcpy(item->dims, dims, (size_t)rank * sizeof *dims);
    enum gpucc_status status =
        rt_device_alloc(context->device, bytes, "an element of a list", &item->address);
    if (status == GPUCC_OK)
        *result = item;
    else
        free(item);
    return status;
}

/* ---- lists ---- */

void rt_list_clear(struct gpucc_context *context, struct list *list)
{
    for (int64_t i = 0; i < list->n; i++)
        release(context, list->items[i]);
    free(list->items);
    *list = (struct list){0, NULL};
}

/* Makes `to` the elements of `from`, without that at `skip`, with `item` (or NULL) at `gap`. */
static enum gpucc_status edit(struct gpucc_context *context, struct list *to,
                              const struct list *from, int64_t skip, int64_t gap,
                              struct list_item *item)
{
    int64_t n = 0, most = (from->n > 0 ? from->n : 0) + 1;
    struct list made = {from->n < 0 ? -1 : 0, NULL};
    if (most > MAX_LIST)
        return rt_fail(GPUCC_LIMIT, "a list of more than %d elements", MAX_LIST);
    made.items = malloc((size_t)most * sizeof *made.items);
    if (made.items == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    for (int64_t i = 0; i < most; i++) {
        if (item != NULL && i == gap)
            made.items[n++] = item;
        if (i < from->n && i != skip)
            made.items[n++] = from->items[i];
    }
    for (int64_t i = 0; i < n; i++)
        made.items[i]->references++;
    if (n > 0)
        made.n = n;
    rt_list_clear(context, to);
    *to = made;
    return GPUCC_OK;
}

/* ---- steps ---- */

#define STEP_FAIL(status, context, step, ...)                                                      \
    (rt_fail(status, __VA_ARGS__),                                                                 \
     rt_fail_within("step %td, %s: ", (step) - (context)->program->steps,                          \
                    rt_string((context)->plan, (step)->nodes)),                                    \
     status)

static enum gpucc_status check_position(const struct gpucc_context *context,
                                        const struct plan_step *step, int64_t n, int64_t *at)
{
    *at = context->slots[step->u.list.position];
    if (*at >= 0 && *at < n)
        return GPUCC_OK;
    return STEP_FAIL(GPUCC_USAGE, context, step,
                     "position %" PRId64 " is not in a list of %" PRId64, *at, n);
}

static void step_dims(const struct gpucc_context *context, const struct plan_step *step,
                      int64_t *dims)
{
    for (uint32_t i = 0; i < step->u.list.n_args; i++)
        dims[i] = context->slots[context->program->args[step->u.list.first_arg + i].index];
}

static enum gpucc_status copy_on_device(struct gpucc_context *context, void *stream, uint64_t to,
                                        uint64_t from, int64_t bytes)
{
    const struct driver *driver = &context->device->driver;
    int result = bytes == 0 ? 0 : driver->copy_on_device(to, from, (size_t)bytes, stream);
    return rt_driver_status(driver, result, "copying an element of a list");
}

static enum gpucc_status insert(struct gpucc_context *context, void *stream,
                                const struct plan_step *step, struct list *to,
                                const struct list *from)
{
    int64_t dims[PLAN_MAX_RANK], n = from->n > 0 ? from->n : 0;
    int64_t at = context->slots[step->u.list.position];
    uint64_t address;
    struct list_item *item = NULL;
    enum gpucc_status status = GPUCC_OK;
    if (at == -1)
        at = n;
    else
        status = check_position(context, step, n + 1, &at);
    if (status != GPUCC_OK)
        return status;
    step_dims(context, step, dims);
    status = make_item(context, step->u.list.dtype, (int)step->u.list.n_args, dims, &item);
    if (status != GPUCC_OK)
        return status;
    item->references = 1; /* ours */
    status = rt_address(context, step, step->u.list.tensor, PLAN_NONE, item->bytes, &address);
    if (status == GPUCC_OK)
        status = copy_on_device(context, stream, item->address, address, item->bytes);
    if (status == GPUCC_OK)
        status = edit(context, to, from, -1, at, item);
    release(context, item);
    return status;
}

static enum gpucc_status take(struct gpucc_context *context, void *stream,
                              const struct plan_step *step, const struct list *from)
{
    int64_t dims[PLAN_MAX_RANK], at;
    uint64_t address;
    enum gpucc_status status = check_position(context, step, from->n, &at);
    if (status != GPUCC_OK)
        return status;
    step_dims(context, step, dims);
    const struct list_item *item = from->items[at];
    bool fits = item->dtype == step->u.list.dtype && item->rank == (int)step->u.list.n_args;
    for (int i = 0; fits && i < item->rank; i++)
        fits = item->dims[i] == dims[i];
    if (!fits)
        return STEP_FAIL(GPUCC_USAGE, context, step,
                         "element %" PRId64 " of the list has another type or shape", at);
    status = rt_address(context, step, step->u.list.tensor, PLAN_NONE, item->bytes, &address);
    return status == GPUCC_OK ? copy_on_device(context, stream, address, item->address, item->bytes)
                              : status;
}

/* n words to the step's tensor. The driver has taken them when it returns: they are pageable. */
static enum gpucc_status write_words(struct gpucc_context *context, void *stream,
                                     const struct plan_step *step, int n, const int64_t *words)
{
    const struct driver *driver = &context->device->driver;
    size_t bytes = (size_t)n * sizeof *words;
    uint64_t to;
    enum gpucc_status status =
        rt_address(context, step, step->u.list.tensor, PLAN_NONE, (int64_t)bytes, &to);
    if (status != GPUCC_OK)
        return status;
    return rt_driver_status(driver, driver->copy_to_device(to, words, bytes, stream),
                            "writing the size of a list");
}

static enum gpucc_status write_shape(struct gpucc_context *context, void *stream,
                                     const struct plan_step *step, const struct list *from)
{
    int64_t at;
    enum gpucc_status status = check_position(context, step, from->n, &at);
    if (status != GPUCC_OK)
        return status;
    const struct list_item *item = from->items[at];
    if (item->rank != (int)step->u.list.n_args)
        return STEP_FAIL(GPUCC_USAGE, context, step,
                         "element %" PRId64 " of the list has rank %d, not %u", at, item->rank,
                         step->u.list.n_args);
    return write_words(context, stream, step, item->rank, item->dims);
}

static enum gpucc_status write_length(struct gpucc_context *context, void *stream,
                                      const struct plan_step *step, const struct list *from)
{
    int64_t length = step->u.list.optional ? from->n >= 0 : from->n;
    return write_words(context, stream, step, 1, &length);
}

enum gpucc_status rt_list_step(struct gpucc_context *context, void *stream,
                               const struct plan_step *step)
{
    const struct list none = {0, NULL}, missing = {-1, NULL};
    struct list *to = step->u.list.to == PLAN_NONE ? NULL : &context->buffers[step->u.list.to].list;
    const struct list *from =
        step->u.list.from == PLAN_NONE ? &none : &context->buffers[step->u.list.from].list;
    int64_t at;
    enum gpucc_status status;
    switch (step->kind) {
    case PLAN_STEP_LIST_NEW:
        return edit(context, to, step->u.list.optional ? &missing : &none, -1, -1, NULL);
    case PLAN_STEP_LIST_COPY:
        if (step->u.list.optional && from->n < 0)
            return STEP_FAIL(GPUCC_USAGE, context, step, "the optional holds nothing");
        return edit(context, to, from, -1, -1, NULL);
    case PLAN_STEP_LIST_INSERT: return insert(context, stream, step, to, from);
    case PLAN_STEP_LIST_ERASE:
        status = check_position(context, step, from->n, &at);
        return status == GPUCC_OK ? edit(context, to, from, at, -1, NULL) : status;
    case PLAN_STEP_LIST_AT: return take(context, stream, step, from);
    case PLAN_STEP_LIST_SHAPE: return write_shape(context, stream, step, from);
    default: return write_length(context, stream, step, from);
    }
}

/* ---- inputs and outputs ---- */

/* An element with a caller's data. */
static enum gpucc_status import_item(struct gpucc_context *context, void *stream, uint32_t dtype,
                                     enum gpucc_memory memory, const struct list_bound *bound,
                                     struct list_item **item)
{
    const struct driver *driver = &context->device->driver;
    enum gpucc_status status = make_item(context, dtype, bound->rank, bound->dims, item);
    if (status != GPUCC_OK || (*item)->bytes == 0)
        return status;
    size_t bytes = (size_t)(*item)->bytes;
    int result = memory == GPUCC_HOST
                     ? driver->copy_to_device((*item)->address, bound->data, bytes, stream)
                     : driver->copy_on_device((*item)->address, (uint64_t)(uintptr_t)bound->data,
                                              bytes, stream);
    if (result == 0)
        return GPUCC_OK;
    (*item)->references = 1;
    release(context, *item);
    return rt_driver_status(driver, result, "copying an element of an input to the device");
}

enum gpucc_status rt_list_inputs(struct gpucc_context *context, void *stream)
{
    const struct gpucc_plan *plan = context->plan;
    enum gpucc_status status = GPUCC_OK;
    for (uint32_t i = 0; i < plan->header->n_inputs && status == GPUCC_OK; i++) {
        const struct list_binding *bound = context->inputs[i].list;
        uint32_t dtype;
        if (context->inputs[i].buffer == PLAN_NONE || !rt_is_list(plan, &plan->values[i], &dtype))
            continue;
        if (bound == NULL)
            return rt_fail(GPUCC_USAGE, "input '%s' is not bound",
                           rt_string(plan, plan->values[i].name));
        struct list *list = &context->buffers[context->inputs[i].buffer].list;
        rt_list_clear(context, list);
        list->n = bound->n < 0 ? -1 : 0;
        list->items = calloc((size_t)(bound->n > 0 ? bound->n : 0) + 1, sizeof *list->items);
        if (list->items == NULL)
            return rt_fail(GPUCC_LIMIT, "out of memory");
        for (int k = 0; k < bound->n && status == GPUCC_OK; k++) {
            struct list_item **item = &list->items[k];
            status = import_item(context, stream, dtype, bound->memory, &bound->item[k], item);
            if (status == GPUCC_OK) {
                (*item)->references = 1;
                list->n++;
            }
        }
    }
    return status;
}

static enum gpucc_status check_item(const struct gpucc_context *context, int input, uint32_t dtype,
                                    int k, const struct gpucc_list_item *item)
{
    const char *name = rt_string(context->plan, context->plan->values[input].name);
    int64_t bytes = rt_element_bytes(dtype);
    if (item->rank < 0 || item->rank > GPUCC_MAX_RANK)
        return rt_fail(GPUCC_USAGE, "element %d of input '%s' has rank %d", k, name, item->rank);
    for (int i = 0; i < item->rank; i++)
        if (item->dims[i] < 0 || __builtin_mul_overflow(bytes, item->dims[i], &bytes))
            return rt_fail(GPUCC_USAGE, "dim %d of element %d of input '%s' cannot be %" PRId64, i,
                           k, name, item->dims[i]);
    if (item->bytes < (uint64_t)bytes || (item->data == NULL && bytes > 0))
        return rt_fail(GPUCC_USAGE,
                       "element %d of input '%s' needs %" PRId64 " bytes, but %zu are bound", k,
                       name, bytes, item->data != NULL ? item->bytes : 0);
    return GPUCC_OK;
}

enum gpucc_status gpucc_context_bind_input_list(struct gpucc_context *context, int input,
                                                enum gpucc_memory memory, int n,
                                                const struct gpucc_list_item *items)
{
    const struct gpucc_plan *plan = context->plan;
    uint32_t dtype;
    if (input < 0 || (uint32_t)input >= plan->header->n_inputs ||
        !rt_is_list(plan, &plan->values[input], &dtype))
        return rt_fail(GPUCC_USAGE, "input number %d is no sequence or optional", input);
    const struct plan_value *value = &plan->values[input];
    bool may_miss = rt_is_optional_sequence(plan, value);
    int most = value->kind == PLAN_OPTIONAL && !may_miss ? 1 : MAX_LIST - 1;
    if (n < (may_miss ? -1 : 0) || n > most)
        return rt_fail(GPUCC_USAGE, "input '%s' cannot have %d elements",
                       rt_string(plan, value->name), n);
    if (memory != GPUCC_HOST && memory != GPUCC_DEVICE)
        return rt_fail(GPUCC_USAGE, "memory is GPUCC_HOST or GPUCC_DEVICE");
    for (int i = 0; i < n; i++) {
        enum gpucc_status status = check_item(context, input, dtype, i, &items[i]);
        if (status != GPUCC_OK)
            return status;
    }
    struct list_binding *bound =
        malloc(sizeof *bound + (size_t)(n > 0 ? n : 0) * sizeof bound->item[0]);
    if (bound == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    bound->memory = memory;
    bound->n = n;
    for (int i = 0; i < n; i++) {
        bound->item[i].data = items[i].data;
        bound->item[i].bytes = items[i].bytes;
        bound->item[i].rank = items[i].rank;
        if (items[i].rank > 0)
            memcpy(bound->item[i].dims, items[i].dims, (size_t)items[i].rank * sizeof(int64_t));
    }
    free(context->inputs[input].list);
    context->inputs[input].list = bound;
    return GPUCC_OK;
}

static enum gpucc_status find_output(const struct gpucc_context *context, int output,
                                     const struct list **list)
{
    const struct gpucc_plan *plan = context->plan;
    uint32_t dtype;
    if (output < 0 || (uint32_t)output >= plan->header->n_outputs ||
        !rt_is_list(plan, &plan->values[plan->header->n_inputs + (uint32_t)output], &dtype))
        return rt_fail(GPUCC_USAGE, "output number %d is no sequence or optional", output);
    if (!context->finished)
        return rt_fail(GPUCC_USAGE, "the context has not run since its shapes were set");
    *list = &context->buffers[context->outputs[output].buffer].list;
    return GPUCC_OK;
}

enum gpucc_status gpucc_context_output_length(struct gpucc_context *context, int output, int *n)
{
    const struct list *list = NULL;
    enum gpucc_status status = find_output(context, output, &list);
    if (status == GPUCC_OK)
        *n = (int)list->n;
    return status;
}

enum gpucc_status gpucc_context_output_item(struct gpucc_context *context, int output, int item,
                                            int *rank, int64_t *dims, void **device_pointer,
                                            size_t *bytes)
{
    const struct list *list = NULL;
    enum gpucc_status status = find_output(context, output, &list);
    if (status != GPUCC_OK)
        return status;
    if (item < 0 || item >= list->n)
        return rt_fail(GPUCC_USAGE, "no element number %d: output number %d has %" PRId64, item,
                       output, list->n);
    const struct list_item *found = list->items[item];
    *rank = found->rank;
    memcpy(dims, found->dims, (size_t)found->rank * sizeof *dims);
    *device_pointer = (void *)(uintptr_t)found->address;
    *bytes = (size_t)found->bytes;
    return GPUCC_OK;
}

enum gpucc_status gpucc_context_read_item(struct gpucc_context *context, int output, int item,
                                          void *buffer, size_t bytes)
{
    const struct driver *driver = &context->device->driver;
    int64_t dims[GPUCC_MAX_RANK];
    int rank;
    void *from;
    size_t size;
    enum gpucc_status status =
        gpucc_context_output_item(context, output, item, &rank, dims, &from, &size);
    if (status != GPUCC_OK)
        return status;
    if (bytes != size)
        return rt_fail(GPUCC_USAGE, "element %d of output number %d has %zu bytes, not %zu", item,
                       output, size, bytes);
    status = rt_device_enter(context->device);
    if (status != GPUCC_OK)
        return status;
    int result = size == 0 ? 0
                           : driver->copy_to_host(buffer, (uint64_t)(uintptr_t)from, size,
                                                  context->last_stream);
    if (result == 0)
        result = driver->stream_synchronize(context->last_stream);
    status = rt_driver_status(driver, result, "copying an element of an output from the device");
    rt_device_leave(context->device);
    return status;
}
