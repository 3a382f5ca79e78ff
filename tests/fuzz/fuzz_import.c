/* An ONNX file into a graph: decoding, lowering with shape inference, verification. */
#include "../../frontend/frontend.h"
#include "fuzz.h"

#include <fcntl.h>
#include <setjmp.h>
#include <unistd.h>

enum { ARENA_BYTES = 512 << 20 };

/* A folder of this process with weights.bin, what external data may name; removed at the end. */
static char folder[64], path[96], weights[96];

static void clean_up(void)
{
    unlink(path);
    unlink(weights);
    rmdir(folder);
}

static void put(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(name, "wb");
    bool good = file && fwrite(data, 1, size, file) == size;
    if (!file || fclose(file) != 0 || !good)
        fuzz_broken("the model's file can be written", name);
}

static void set_up(void)
{
    static const char bytes[4096] = "weights";
    const char *memory = "/dev/shm"; /* many times faster than a disk */
    snprintf(folder, sizeof folder, "%s/fuzz-import-XXXXXX",
             access(memory, W_OK) ? "/tmp" : memory);
    if (!mkdtemp(folder))
        fuzz_broken("a folder can be made", folder);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    snprintf(weights, sizeof weights, "%s/weights.bin", folder);
    put(weights, bytes, sizeof bytes);
    atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*path)
        set_up();
    put(path, data, size);
    struct diag diag = {0};
    jmp_buf out_of_memory;
    struct arena arena = {.limit = ARENA_BYTES, .on_oom = &out_of_memory};
    struct model *model = model_open(&diag, path);
    volatile bool imported = false;
    if (setjmp(out_of_memory))
        diag_error(&diag, STATUS_LIMIT, path, "out of memory");
    else if (model) {
        struct graph *graph = frontend_load(&arena, &diag, model, NULL);
        if (graph && diag.errors)
            fuzz_broken("a graph comes without errors", diag.first->text);
        if (graph && !graph_verify(graph, "import"))
            fuzz_broken("what the importer makes is sound", diag.last ? diag.last->text : "");
        imported = graph != NULL;
    }
    const char *why = diag.first ? diag.first->text : NULL;
    fuzz_reason(imported, why);
    fuzz_result(size, imported || diag.status == STATUS_UNSUPPORTED, why);
    arena_free(&arena);
    model_close(model);
    diag_free(&diag);
    return 0;
}
