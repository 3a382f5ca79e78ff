#include "mock_driver.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define API __attribute__((visibility("default")))
/* Prototypes come from the runtime's own table, so that the two cannot drift apart. */
#include "driver.h"
#define DRIVER(member, symbol, need, parameters) int mock_##member parameters __asm__(symbol) API;
#define REQUIRED
#define OPTIONAL
#include "driver_symbols.def"
#undef DRIVER

enum { OK, INVALID = 1, NO_MEMORY = 2, NOT_FOUND = 500, LAUNCH_FAILED = 719, UNSUPPORTED = 801 };
enum { MEMORY_BYTES = 16 << 20, MAX_BLOCKS = 256, MAX_PARAMETERS = 4, MAX_RECORDED = 256 };

#ifndef MOCK_DRIVER_VERSION
#define MOCK_DRIVER_VERSION 13000
#endif
API struct mock_state mock = {.sm = 90, .driver_version = MOCK_DRIVER_VERSION};

static _Alignas(4096) unsigned char memory[MEMORY_BYTES];
static struct block {
    size_t offset, bytes;
    bool used;
} blocks[MAX_BLOCKS];
static size_t memory_used;

struct function {
    const char *name;
    int n;
    size_t bytes[MAX_PARAMETERS];
    void (*run)(const uint64_t *arguments);
};

static void add_one(const uint64_t *a)
{
    const float *x = (const float *)(uintptr_t)a[0];
    float *y = (float *)(uintptr_t)a[1];
    for (int32_t i = 0; i < (int32_t)a[2]; i++)
        y[i] = x[i] + 1;
}

static void count_up(const uint64_t *a)
{
    int64_t *x = (int64_t *)(uintptr_t)a[0];
    for (int32_t i = 0; i < (int32_t)a[1]; i++)
        x[i]++;
}

static void positive(const uint64_t *a)
{
    const float *x = (const float *)(uintptr_t)a[0];
    int64_t *count = (int64_t *)(uintptr_t)a[1];
    *count = 0;
    for (int32_t i = 0; i < (int32_t)a[2]; i++)
        *count += x[i] > 0;
}

static struct function functions[] = {{"add_one", 3, {8, 8, 4}, add_one},
                                      {"count_up", 2, {8, 4}, count_up},
                                      {"positive", 3, {8, 8, 4}, positive}};

/* One queued operation; recorded while a capture is on. */
struct operation {
    enum { LAUNCH, COPY, FILL32, FILL8 } kind;
    const struct function *function;
    uint64_t words[MAX_PARAMETERS]; /* LAUNCH: arguments; else to, from or value, bytes */
};

static struct operation recorded[MAX_RECORDED];
static int n_recorded;
static bool capturing;
static void *const some_handle = &mock;

static int perform(const struct operation *op)
{
    unsigned char *to = (unsigned char *)(uintptr_t)op->words[0];
    switch (op->kind) {
    case LAUNCH:
        if (++mock.launches == mock.fail_launch)
            return LAUNCH_FAILED;
        op->function->run(op->words);
        return OK;
    case COPY:
        mock.copies++;
        memcpy(to, (const void *)(uintptr_t)op->words[1], op->words[2]);
        return OK;
    case FILL32:
        mock.fills++;
        for (uint64_t i = 0; i < op->words[2]; i++)
            memcpy(to + 4 * i, &op->words[1], 4);
        return OK;
    default:
        mock.fills++;
        memset(to, (int)op->words[1], op->words[2]);
        return OK;
    }
}

static int queue(struct operation op)
{
    if (!capturing)
        return perform(&op);
    if (n_recorded == MAX_RECORDED)
        return NO_MEMORY;
    recorded[n_recorded++] = op;
    return OK;
}

/* ---- the driver's functions ---- */

int mock_init(unsigned flags)
{
    return flags == 0 ? OK : INVALID;
}

int mock_driver_version(int *version)
{
    *version = mock.driver_version;
    return OK;
}

int mock_device_get(int *device, int ordinal)
{
    *device = ordinal;
    return OK;
}

int mock_device_count(int *count)
{
    *count = 1;
    return OK;
}

int mock_device_attribute(int *value, int attribute, int device)
{
    (void)device;
    *value = attribute == DRIVER_ATTRIBUTE_SHARED_BYTES ? 99 << 10
             : attribute == DRIVER_ATTRIBUTE_SM_MAJOR   ? mock.sm / 10
                                                        : mock.sm % 10;
    return OK;
}

int mock_device_name(char *name, int bytes, int device)
{
    (void)device;
    memset(name, 0, (size_t)bytes);
    memcpy(name, "mock", bytes > 4 ? 4 : 0);
    return OK;
}

int mock_primary_retain(void **context, int device)
{
    (void)device;
    mock.retained++;
    *context = some_handle;
    return OK;
}

int mock_primary_release(int device)
{
    (void)device;
    mock.retained--;
    return OK;
}

int mock_push(void *context)
{
    return context == some_handle && !mock.spoilt ? OK : INVALID;
}

int mock_pop(void **context)
{
    *context = some_handle;
    return OK;
}

int mock_module_load(void **module, const void *image, unsigned n, int *options, void **values)
{
    (void)n, (void)options, (void)values;
    bool cubin = memcmp(image, ELFMAG, SELFMAG) == 0;
    *(cubin ? &mock.cubins_loaded : &mock.ptx_loaded) += 1;
    const char *text = cubin ? (const char *)image + sizeof(Elf64_Ehdr) : image;
    mock.modules++;
    *module = (void *)text;
    return OK;
}

int mock_module_unload(void *module)
{
    (void)module;
    mock.modules_unloaded++;
    return OK;
}

int mock_module_function(void **function, void *module, const char *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strcmp(functions[i].name, name) == 0 && strstr(module, name) != NULL) {
            *function = &functions[i];
            return OK;
        }
    return NOT_FOUND;
}

int mock_function_set(void *function, int attribute, int value)
{
    (void)function, (void)value;
    return attribute == DRIVER_FUNCTION_SHARED_BYTES ? OK : INVALID;
}

int mock_function_parameter(void *function, size_t index, size_t *offset, size_t *bytes)
{
    const struct function *f = function;
    if (index >= (size_t)f->n)
        return INVALID;
    *offset = 8 * index;
    *bytes = f->bytes[index];
    return OK;
}

int mock_launch(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
                void **parameters, void **extra)
{
    (void)shared_bytes, (void)stream, (void)extra;
    if (grid_x * grid_y * grid_z == 0 || block_x * block_y * block_z == 0)
        return INVALID;
    struct operation op = {.kind = LAUNCH, .function = function};
    for (int i = 0; i < op.function->n; i++)
        memcpy(&op.words[i], parameters[i], op.function->bytes[i]);
    return queue(op);
}

int mock_launch_ex(const struct driver_launch_config *config, void *function, void **parameters,
                   void **extra)
{
    return mock_launch(function, config->grid[0], config->grid[1], config->grid[2],
                       config->block[0], config->block[1], config->block[2], config->shared_bytes,
                       config->stream, parameters, extra);
}

int mock_mem_alloc(uint64_t *pointer, size_t bytes)
{
    if (capturing)
        return INVALID;
    for (int i = 0; i < MAX_BLOCKS; i++) {
        if (blocks[i].used || (blocks[i].bytes > 0 && blocks[i].bytes < bytes))
            continue;
        if (blocks[i].bytes == 0) { /* a new block */
            size_t rounded = (bytes + 255) & ~(size_t)255;
            if (rounded < bytes || rounded > MEMORY_BYTES - memory_used)
                return NO_MEMORY;
            blocks[i] = (struct block){memory_used, rounded, false};
            memory_used += rounded;
        }
        blocks[i].used = true;
        mock.allocations++;
        memset(memory + blocks[i].offset, 0xa5, blocks[i].bytes); /* nobody may count on zeros */
        *pointer = (uintptr_t)(memory + blocks[i].offset);
        return OK;
    }
    return NO_MEMORY;
}

int mock_mem_free(uint64_t pointer)
{
    for (int i = 0; i < MAX_BLOCKS; i++)
        if (blocks[i].used && pointer == (uintptr_t)(memory + blocks[i].offset)) {
            blocks[i].used = false;
            mock.frees++;
            return OK;
        }
    return INVALID;
}

int mock_copy_to_device(uint64_t to, const void *from, size_t bytes, void *stream)
{
    (void)stream;
    return queue((struct operation){COPY, NULL, {to, (uintptr_t)from, bytes, 0}});
}

int mock_copy_to_host(void *to, uint64_t from, size_t bytes, void *stream)
{
    (void)stream;
    return queue((struct operation){COPY, NULL, {(uintptr_t)to, from, bytes, 0}});
}

int mock_copy_on_device(uint64_t to, uint64_t from, size_t bytes, void *stream)
{
    (void)stream;
    return queue((struct operation){COPY, NULL, {to, from, bytes, 0}});
}

int mock_fill32(uint64_t to, unsigned value, size_t count, void *stream)
{
    (void)stream;
    return queue((struct operation){FILL32, NULL, {to, value, count, 0}});
}

int mock_fill8(uint64_t to, unsigned char value, size_t count, void *stream)
{
    (void)stream;
    return queue((struct operation){FILL8, NULL, {to, value, count, 0}});
}

int mock_stream_create(void **stream, unsigned flags)
{
    (void)flags;
    *stream = some_handle;
    return OK;
}

int mock_stream_synchronize(void *stream)
{
    (void)stream;
    return capturing ? INVALID : OK;
}

int mock_stream_destroy(void *stream)
{
    (void)stream;
    return OK;
}

int mock_event_create(void **event, unsigned flags)
{
    return mock_stream_create(event, flags);
}

int mock_event_record(void *event, void *stream)
{
    (void)event, (void)stream;
    return OK;
}

int mock_event_synchronize(void *event)
{
    (void)event;
    return OK;
}

int mock_event_elapsed(float *milliseconds, void *from, void *to)
{
    (void)from, (void)to;
    *milliseconds = 1;
    return OK;
}

int mock_event_destroy(void *event)
{
    (void)event;
    return OK;
}

int mock_error_name(int error, const char **text)
{
    *text = error == LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR_OTHER";
    return OK;
}

int mock_error_string(int error, const char **text)
{
    *text = error == LAUNCH_FAILED ? "unspecified launch failure" : "mock error";
    return OK;
}

/* One graph at a time: enough for one context. */
int mock_capture_begin(void *stream, int mode)
{
    (void)stream, (void)mode;
    if (mock.no_graphs)
        return UNSUPPORTED;
    capturing = true;
    n_recorded = 0;
    return OK;
}

int mock_capture_end(void *stream, void **graph)
{
    (void)stream;
    capturing = false;
    *graph = some_handle;
    return OK;
}

int mock_graph_instantiate(void **executable, void *graph, unsigned long long flags)
{
    (void)flags;
    mock.graphs++;
    *executable = graph;
    return OK;
}

int mock_graph_launch(void *executable, void *stream)
{
    (void)executable, (void)stream;
    int result = OK;
    mock.graph_launches++;
    for (int i = 0; i < n_recorded && result == OK; i++)
        result = perform(&recorded[i]);
    return result;
}

int mock_graph_destroy(void *graph)
{
    (void)graph;
    return OK;
}

int mock_graph_exec_destroy(void *executable)
{
    (void)executable;
    return OK;
}
