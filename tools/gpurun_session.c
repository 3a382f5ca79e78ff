#include "gpurun.h"
#include "../emulator/gpucc_emu.h"
#include "../ir/scalar.h"
#include "../runtime/context.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EMULATOR "libgpucc_emu.so"

bool session_failed(struct session *session, enum gpucc_status status)
{
    diag_error(session->diag, (enum status)status, session->options->plan, "%s",
               gpucc_last_error());
    return false;
}

/* ---- opening ---- */

/* ../lib beside the folder of this program, else where the loader looks. */
static void find_emulator(char *path, size_t bytes)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = 0;
        char *slash = strrchr(program, '/');
        if (slash != NULL) {
            *slash = 0;
            int used = snprintf(path, bytes, "%s/../lib/" EMULATOR, program);
            if (used > 0 && (size_t)used < bytes && access(path, R_OK) == 0)
                return;
        }
    }
    snprintf(path, bytes, EMULATOR);
}

static int highest_sm(const struct gpucc_plan *plan)
{
    uint32_t sm = 0;
    for (uint32_t i = 0; i < plan->header->n_targets; i++)
        if (plan->targets[i].sm > sm)
            sm = plan->targets[i].sm;
    return (int)sm;
}

static bool configure_emulator(struct session *session, const char *path)
{
    const struct gpurun_options *o = session->options;
    session->emulator = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int (*configure)(const struct gpucc_emu_options *) = NULL;
    if (session->emulator != NULL)
        *(void **)&configure = dlsym(session->emulator, "gpucc_emu_configure");
    if (configure == NULL) {
        diag_error(session->diag, STATUS_ENVIRONMENT, NULL, "no emulator: %s", dlerror());
        return false;
    }
    struct gpucc_emu_options options = {.sm = o->sm != 0 ? o->sm : highest_sm(session->plan),
                                        .threads = o->threads,
                                        .race = o->race,
                                        .statistics = o->statistics};
    if (configure(&options) == 0)
        return true;
    diag_error(session->diag, STATUS_USAGE, NULL, "the emulator cannot be an sm_%d", options.sm);
    return false;
}

static bool open_device(struct session *session)
{
    const struct gpurun_options *o = session->options;
    char emulator[PATH_MAX + sizeof "/../lib/" EMULATOR];
    if (o->emulator) {
        find_emulator(emulator, sizeof emulator);
        if (!configure_emulator(session, emulator))
            return false;
    }
    enum gpucc_status status =
        gpucc_device_open(o->emulator ? emulator : NULL, o->ordinal, &session->device);
    if (status == GPUCC_OK) {
        session->device->isolate = o->isolate;
        return true;
    }
    diag_error(session->diag, (enum status)status, NULL, "%s%s", gpucc_last_error(),
               o->emulator ? "" : "; --device=emu runs the plan on the emulator");
    return false;
}

bool session_open(struct session *session, struct diag *diag, const struct gpurun_options *options)
{
    *session = (struct session){.diag = diag, .options = options};
    enum gpucc_status status =
        gpucc_plan_open(options->plan, options->skip_hash ? GPUCC_SKIP_HASH : 0, &session->plan);
    if (status != GPUCC_OK) {
        diag_error(diag, (enum status)status, NULL, "%s", gpucc_last_error());
        return false;
    }
    session->n_outputs = gpucc_plan_output_count(session->plan);
    session->inputs =
        calloc((size_t)gpucc_plan_input_count(session->plan) + 1, sizeof *session->inputs);
    if (session->inputs == NULL) {
        diag_error(diag, STATUS_LIMIT, NULL, "out of memory");
        return false;
    }
    session->n_inputs = gpucc_plan_input_count(session->plan);
    if (!open_device(session))
        return false;
    status = gpucc_context_create(session->plan, session->device, &session->context);
    return status == GPUCC_OK || session_failed(session, status);
}

void session_close(struct session *session)
{
    gpucc_context_destroy(session->context);
    gpucc_device_close(session->device);
    gpucc_plan_close(session->plan);
    for (int i = 0; i < session->n_inputs; i++)
        tensor_free(&session->inputs[i]);
    free(session->inputs);
    if (session->emulator != NULL)
        dlclose(session->emulator);
}

/* ---- inputs ---- */

static bool describe_input(struct session *session, int input, struct gpucc_value_info *info)
{
    enum gpucc_status status = gpucc_plan_describe_input(session->plan, input, info);
    if (status != GPUCC_OK)
        return session_failed(session, status);
    if (info->kind <= GPUCC_OPTIONAL && info->element_bytes > 0)
        return true;
    diag_error(session->diag, STATUS_USAGE, session->options->plan,
               "input '%s' is made of no numeric tensors", info->name);
    return false;
}

/* "8x3x224x224"; nothing after the '=' is a scalar, but options refuse that. */
static bool parse_dims(const char *text, int *rank, int64_t *dims)
{
    for (*rank = 0; *rank < MAX_RANK; text++) {
        char *end;
        errno = 0;
        long long dim = strtoll(text, &end, 10);
        if (end == text || dim < 0 || errno != 0)
            return false;
        dims[(*rank)++] = dim;
        text = end;
        if (*text == 0)
            return true;
        if (*text != 'x')
            return false;
    }
    return false;
}

/* Puts what --shape says into info->dims. */
static bool apply_shape(struct session *session, struct gpucc_value_info *info)
{
    const struct gpurun_options *o = session->options;
    for (int i = 0; i < o->n_shapes; i++) {
        int64_t dims[MAX_RANK];
        int rank;
        if (strcmp(o->shapes[i].name, info->name) != 0)
            continue;
        bool fits = parse_dims(o->shapes[i].text, &rank, dims) && rank == info->rank;
        for (int j = 0; fits && j < rank; j++)
            fits = info->dims[j] < 0 || info->dims[j] == dims[j];
        if (!fits) {
            struct text type = {0};
            tensor_print_type(&type, (enum dtype)info->dtype, info->rank, info->dims);
            diag_error(session->diag, STATUS_USAGE, session->options->plan,
                       "--shape %s=%s: the input is %s", info->name, o->shapes[i].text, type.data);
            text_free(&type);
            return false;
        }
        memcpy(info->dims, dims, sizeof *dims * (size_t)rank);
    }
    return true;
}

/* Says which names there are instead. */
static bool no_such_input(struct session *session, const char *name)
{
    int n = gpucc_plan_input_count(session->plan);
    struct text names = {0};
    struct gpucc_value_info info;
    for (int i = 0; i < n; i++)
        if (gpucc_plan_describe_input(session->plan, i, &info) == GPUCC_OK)
            text_add_name(&names, i, info.name);
    diag_error(session->diag, STATUS_USAGE, session->options->plan, "no input called '%s', but %s",
               name, names.data && !names.failed ? names.data : "none at all");
    text_free(&names);
    return false;
}

static bool check_names(struct session *session, const char *option, const struct named_text *list,
                        int n)
{
    for (int i = 0; i < n; i++) {
        if (gpucc_plan_find_input(session->plan, list[i].name) < 0)
            return no_such_input(session, list[i].name);
        for (int k = 0; k < i; k++)
            if (strcmp(list[k].name, list[i].name) == 0) {
                diag_error(session->diag, STATUS_USAGE, session->options->plan,
                           "%s %s: is given twice", option, list[i].name);
                return false;
            }
    }
    return true;
}

static enum dtype type_of(const struct gpucc_value_info *info)
{
    int kind = info->kind == GPUCC_SEQUENCE   ? DT_SEQUENCE
               : info->kind == GPUCC_OPTIONAL ? DT_OPTIONAL
                                              : 0;
    return (enum dtype)((info->holds_sequence ? DT_OPTIONAL_SEQUENCE : kind) + info->dtype);
}

static bool bind_list(struct session *session, int input, const struct tensor *list)
{
    int64_t n = tensor_list_length(list);
    size_t count = n > 0 ? (size_t)n : 0;
    struct tensor *elements = calloc(count + 1, sizeof *elements);
    struct gpucc_list_item *items = calloc(count + 1, sizeof *items);
    enum gpucc_status status = GPUCC_OK;
    if (elements == NULL || items == NULL || n > INT_MAX) {
        diag_error(session->diag, STATUS_LIMIT, NULL, "out of memory");
        free(elements);
        free(items);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        elements[i] = tensor_list_at(list, (int64_t)i);
        items[i] = (struct gpucc_list_item){elements[i].data, elements[i].size, elements[i].rank,
                                            elements[i].shape};
    }
    status = gpucc_context_bind_input_list(session->context, input, GPUCC_HOST, (int)n, items);
    free(elements);
    free(items);
    return status == GPUCC_OK || session_failed(session, status);
}

/* Takes over the tensor: sets the input's shape and binds its data. */
static bool bind_input(struct session *session, int input, struct tensor tensor)
{
    tensor_free(&session->inputs[input]);
    session->inputs[input] = tensor;
    if (dtype_is_list(tensor.type))
        return bind_list(session, input, &tensor);
    enum gpucc_status status =
        gpucc_context_set_input_shape(session->context, input, tensor.rank, tensor.shape);
    if (status == GPUCC_OK)
        status =
            gpucc_context_bind_input(session->context, input, GPUCC_HOST, tensor.data, tensor.size);
    return status == GPUCC_OK || session_failed(session, status);
}

static bool read_input(struct session *session, int input, const char *path)
{
    struct gpucc_value_info info;
    struct tensor tensor;
    if (!describe_input(session, input, &info) || !apply_shape(session, &info))
        return false;
    struct tensor_want want = {info.name, type_of(&info), info.rank, info.dims};
    return tensor_read(session->diag, path, &want, &tensor) && bind_input(session, input, tensor);
}

static bool randomize_input(struct session *session, int input)
{
    struct gpucc_value_info info;
    struct tensor tensor;
    if (!describe_input(session, input, &info) || !apply_shape(session, &info))
        return false;
    for (int i = 0; i < info.rank; i++)
        if (info.dims[i] < 0)
            info.dims[i] = 1;
    if (info.kind != GPUCC_TENSOR) /* an empty list */
        return tensor_make_list(session->diag, info.name, type_of(&info), 0, NULL, &tensor) &&
               bind_input(session, input, tensor);
    if (!tensor_make(session->diag, info.name, (enum dtype)info.dtype, info.rank, info.dims,
                     &tensor))
        return false;
    tensor_randomize(&tensor, session->options->seed + (uint64_t)input);
    return bind_input(session, input, tensor);
}

bool session_inputs_from_folder(struct session *session, const char *folder)
{
    for (int i = 0; i < session->n_inputs; i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/input_%d.pb", folder, i) >= (int)sizeof path) {
            diag_error(session->diag, STATUS_USAGE, folder, "the path is too long");
            return false;
        }
        if (!read_input(session, i, path))
            return false;
    }
    return true;
}

bool session_inputs_from_options(struct session *session, bool seed_by_default)
{
    const struct gpurun_options *o = session->options;
    if (!check_names(session, "--input", o->inputs, o->n_inputs) ||
        !check_names(session, "--shape", o->shapes, o->n_shapes))
        return false;
    if (o->inputs_folder != NULL)
        return session_inputs_from_folder(session, o->inputs_folder);
    bool random = o->seeded || (seed_by_default && o->n_inputs == 0);
    for (int i = 0; i < session->n_inputs; i++) {
        struct gpucc_value_info info;
        const char *path = NULL;
        if (!describe_input(session, i, &info))
            return false;
        for (int j = 0; j < o->n_inputs; j++)
            if (strcmp(o->inputs[j].name, info.name) == 0)
                path = o->inputs[j].text;
        if (path == NULL && !random) {
            diag_error(session->diag, STATUS_USAGE, o->plan,
                       "input '%s' is missing: give --input %s=FILE, --inputs DIR or --seed N",
                       info.name, info.name);
            return false;
        }
        if (path != NULL ? !read_input(session, i, path) : !randomize_input(session, i))
            return false;
    }
    return true;
}

/* ---- running ---- */

bool session_run(struct session *session)
{
    enum gpucc_status status = gpucc_context_run_sync(session->context);
    return status == GPUCC_OK || session_failed(session, status);
}

bool session_keep_inputs(struct session *session)
{
    const struct gpucc_context *context = session->context;
    for (int i = 0; i < session->n_inputs; i++) {
        uint32_t buffer = context->inputs[i].buffer;
        if (buffer == PLAN_NONE || context->buffers[buffer].room == 0)
            continue;
        enum gpucc_status status = gpucc_context_bind_input(
            session->context, i, GPUCC_DEVICE, (void *)(uintptr_t)context->buffers[buffer].staging,
            (size_t)context->buffers[buffer].room);
        if (status != GPUCC_OK)
            return session_failed(session, status);
    }
    return true;
}

static bool output_element(struct session *session, const struct gpucc_value_info *info, int output,
                           int element, struct tensor *tensor)
{
    int64_t dims[GPUCC_MAX_RANK];
    void *address;
    size_t bytes;
    int rank;
    enum gpucc_status status =
        gpucc_context_output_item(session->context, output, element, &rank, dims, &address, &bytes);
    if (status != GPUCC_OK)
        return session_failed(session, status);
    if (!tensor_make(session->diag, info->name, (enum dtype)info->dtype, rank, dims, tensor))
        return false;
    status = gpucc_context_read_item(session->context, output, element, tensor->data, tensor->size);
    return status == GPUCC_OK || session_failed(session, status);
}

static bool output_list(struct session *session, const struct gpucc_value_info *info, int output,
                        struct tensor *list)
{
    int n;
    enum gpucc_status status = gpucc_context_output_length(session->context, output, &n);
    if (status != GPUCC_OK)
        return session_failed(session, status);
    struct tensor *elements = calloc((size_t)(n > 0 ? n : 0) + 1, sizeof *elements);
    bool done = elements != NULL;
    if (!done)
        diag_error(session->diag, STATUS_LIMIT, NULL, "out of memory");
    for (int i = 0; i < n && done; i++)
        done = output_element(session, info, output, i, &elements[i]);
    done = done && tensor_make_list(session->diag, info->name, type_of(info), n, elements, list);
    for (int i = 0; elements != NULL && i < n; i++)
        tensor_free(&elements[i]);
    free(elements);
    return done;
}

bool session_output(struct session *session, int output, struct tensor *tensor)
{
    struct gpucc_value_info info;
    int64_t dims[GPUCC_MAX_RANK];
    int rank;
    enum gpucc_status status = gpucc_plan_describe_output(session->plan, output, &info);
    if (status == GPUCC_OK && info.kind != GPUCC_TENSOR)
        return output_list(session, &info, output, tensor);
    if (status == GPUCC_OK)
        status = gpucc_context_output_shape(session->context, output, &rank, dims);
    if (status != GPUCC_OK)
        return session_failed(session, status);
    if (!tensor_make(session->diag, info.name, (enum dtype)info.dtype, rank, dims, tensor))
        return false;
    status = gpucc_context_read_output(session->context, output, tensor->data, tensor->size);
    if (status == GPUCC_OK)
        return true;
    tensor_free(tensor);
    return session_failed(session, status);
}

/* ---- random inputs ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* One float element in the encoding of its type. */
static uint64_t encode(enum dtype type, double x)
{
    uint64_t bits = 0;
    float narrow = (float)x;
    switch (type) {
    case DT_F64: memcpy(&bits, &x, sizeof x); return bits;
    case DT_F16: return float_to_f16(narrow);
    case DT_BF16: return float_to_bf16(narrow);
    case DT_F8E4M3FN: return small_encode(narrow, small_f8e4m3fn, true);
    case DT_F8E4M3FNUZ: return small_encode(narrow, small_f8e4m3fnuz, true);
    case DT_F8E5M2: return small_encode(narrow, small_f8e5m2, true);
    case DT_F8E5M2FNUZ: return small_encode(narrow, small_f8e5m2fnuz, true);
    case DT_F4E2M1: return small_encode(narrow, small_f4e2m1, true);
    case DT_F8E8M0: return float_to_f8e8m0(narrow, true);
    default: /* f32, and the parts of a complex number */ return float_bits(narrow);
    }
}

void tensor_randomize(struct tensor *tensor, uint64_t seed)
{
    enum dtype type = tensor->type == DT_C64    ? DT_F32
                      : tensor->type == DT_C128 ? DT_F64
                                                : tensor->type;
    size_t bytes = dtype_size(type);
    uint8_t *to = tensor->data;
    uint64_t state = seed * 0xd1342543de82ef95u + 1;
    for (size_t at = 0; at + bytes <= tensor->size; at += bytes) {
        uint64_t random = next_random(&state);
        uint64_t code = random >> 63; /* integers, bool */
        if (dtype_is_float(type)) /* 24 bits, so that every float type's [-1, 1) is exact in f32 */
            code = encode(type, (double)(random >> 40) * 0x1p-23 - 1);
        memcpy(to + at, &code, bytes);
    }
}
