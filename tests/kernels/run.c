/*
 * Runs the kernels of a graph and compares with the reference evaluator:
 *
 *     kernels_run DRIVER FILE.ir…
 *
 * DRIVER is libgpucc_emu.so, or libcuda.so.1 where there is a GPU. Inputs are random, the same at
 * every run. Free symbols take several values in turn, 0 and 1 among them where their bounds allow.
 * A line "# target sm_89" names the target (else it is portable), and "# tile 64 32 2" the tile of
 * the tensor cores and the parts of its depth.
 */
#include "../../codegen/layout.h"
#include "../../codegen/cost.h"
#include "../../codegen/nvrtc.h"
#include "../../codegen/target.h"
#include "../../passes/passes.h"
#include "case.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- The driver ----------------------------------------------------------------------------- */

#define DRIVER(X)                                                                                  \
    X(init, "cuInit", (unsigned))                                                                  \
    X(device_get, "cuDeviceGet", (int *, int))                                                     \
    X(retain, "cuDevicePrimaryCtxRetain", (void **, int))                                          \
    X(push, "cuCtxPushCurrent_v2", (void *))                                                       \
    X(module_load, "cuModuleLoadDataEx", (void **, const void *, unsigned, int *, void **))        \
    X(module_unload, "cuModuleUnload", (void *))                                                   \
    X(function, "cuModuleGetFunction", (void **, void *, const char *))                            \
    X(function_set, "cuFuncSetAttribute", (void *, int, int))                                      \
    X(launch, "cuLaunchKernel",                                                                    \
      (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,       \
       void **, void **))                                                                          \
    X(mem_alloc, "cuMemAlloc_v2", (uint64_t *, size_t))                                            \
    X(mem_free, "cuMemFree_v2", (uint64_t))                                                        \
    X(to_device, "cuMemcpyHtoDAsync_v2", (uint64_t, const void *, size_t, void *))                 \
    X(to_host, "cuMemcpyDtoHAsync_v2", (void *, uint64_t, size_t, void *))                         \
    X(synchronize, "cuStreamSynchronize", (void *))

struct driver {
    const char *(*last_error)(void); /* of the emulator, or NULL */
#define X(name, symbol, parameters) int(*name) parameters;
    DRIVER(X)
#undef X
};

static bool driver_open(struct driver *d, const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *context = NULL;
    int device = 0;
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
#define X(name, symbol, parameters)                                                                \
    *(void **)&d->name = dlsym(library, symbol);                                                   \
    if (!d->name) {                                                                                \
        fprintf(stderr, "%s lacks %s\n", path, symbol);                                            \
        return false;                                                                              \
    }
    DRIVER(X)
#undef X
    *(void **)&d->last_error = dlsym(library, "gpucc_emu_last_error");
    return d->init(0) == 0 && d->device_get(&device, 0) == 0 && d->retain(&context, device) == 0 &&
           d->push(context) == 0;
}

/* --- One run of one graph ------------------------------------------------------------------- */

/* A value's memory on the device. */
struct buffer {
    const struct value *value;
    uint64_t pointer;
    size_t size;
};

struct run {
    struct driver *driver;
    struct nvrtc *nvrtc;
    struct graph_case c;
    struct program *program;
    struct buffer *buffers;
    int n_buffers;
};

static bool driver_error(const struct run *r, const char *what, int code)
{
    fprintf(stderr, "%s: error %d %s\n", what, code,
            r->driver->last_error ? r->driver->last_error() : "");
    return false;
}

static struct buffer *find_buffer(struct run *r, const struct value *v)
{
    for (int i = 0; i < r->n_buffers; i++)
        if (r->buffers[i].value == v)
            return &r->buffers[i];
    return NULL;
}

/* Device memory for v, exactly as large as it is, so that the emulator sees what lies outside. */
static struct buffer *add_buffer(struct run *r, const struct value *v, const void *data)
{
    struct tensor t;
    if (!case_shape(&r->c, v, &t))
        return NULL;
    struct buffer *b = &r->buffers[r->n_buffers++];
    *b = (struct buffer){.value = v, .size = t.size};
    if (r->driver->mem_alloc(&b->pointer, t.size ? t.size : 1) != 0)
        return NULL;
    if (data && t.size && r->driver->to_device(b->pointer, data, t.size, NULL) != 0)
        return NULL;
    return b;
}

static struct buffer *add_zeroed(struct run *r, const struct value *v)
{
    struct tensor t;
    if (!case_shape(&r->c, v, &t))
        return NULL;
    void *zeros = calloc(t.size + 1, 1);
    struct buffer *b = zeros ? add_buffer(r, v, zeros) : NULL;
    free(zeros);
    return b;
}

static struct buffer *buffer_of(struct run *r, const struct value *v)
{
    struct buffer *b = find_buffer(r, v);
    if (b)
        return b;
    if (!v->def)
        return add_buffer(r, v, r->c.inputs[v->index].data);
    if (v->zeroed)
        return add_zeroed(r, v);
    if (v->def->kernel != KERNEL_CONSTANT)
        return add_buffer(r, v, NULL);
    struct tensor t;
    if (!eval_constant(r->c.g, v, &t))
        return NULL;
    void *arranged = malloc(t.size + 1);
    if (arranged && t.size)
        layout_arrange(v, t.data, arranged);
    b = arranged ? add_buffer(r, v, arranged) : NULL;
    free(arranged);
    tensor_free(&t);
    return b;
}

static bool compile(struct run *r, const struct kernel *k, void **module)
{
    struct nvrtc_job job = {
        .source = k->source, .symbol = k->symbol, .arch = r->program->target->nvrtc_arch};
    struct binary binary;
    if (!nvrtc_compile(r->nvrtc, &job, &binary, r->c.g->diag))
        return false;
    int code = r->driver->module_load(module, binary.ptx, 0, NULL, NULL);
    binary_free(&binary);
    return code == 0 || driver_error(r, k->symbol, code);
}

enum { MOST_ARGS = 4096 }; /* CUDA allows 32764 bytes */

static bool launch(struct run *r, const struct kernel *k)
{
    void *module = NULL, *function = NULL;
    uint64_t values[MOST_ARGS];
    void *parameters[MOST_ARGS];
    int64_t grid[3];
    for (int i = 0; i < 3; i++)
        if (!dim_eval(k->grid[i], r->c.symbols, &grid[i]))
            return false;
    for (int i = 0; i < k->n_args && i < MOST_ARGS; i++) {
        const struct kernel_arg *arg = &k->args[i];
        int64_t value = 0;
        parameters[i] = &values[i];
        if (arg->kind == ARG_BUFFER) {
            struct buffer *b = buffer_of(r, arg->value);
            if (!b)
                return false;
            values[i] = b->pointer;
            continue;
        }
        if (!dim_eval(arg->dim, r->c.symbols, &value))
            return false;
        if (arg->kind == ARG_I32)
            memcpy(&values[i], &(int32_t){(int32_t)value}, 4);
        else
            memcpy(&values[i], &value, 8);
    }
    if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0)
        return true;
    if (!compile(r, k, &module))
        return false;
    int code = r->driver->function(&function, module, k->symbol);
    if (code == 0 && k->shared_bytes > 48 * 1024)
        code = r->driver->function_set(function, 8, k->shared_bytes);
    if (code == 0)
        code =
            r->driver->launch(function, (unsigned)grid[0], (unsigned)grid[1], (unsigned)grid[2],
                              (unsigned)k->block[0], (unsigned)k->block[1], (unsigned)k->block[2],
                              (unsigned)k->shared_bytes, NULL, parameters, NULL);
    if (code == 0)
        code = r->driver->synchronize(NULL);
    r->driver->module_unload(module);
    return code == 0 || driver_error(r, k->symbol, code);
}

/* Symbols that are elements of a value that the device now knows. */
static bool read_back(struct run *r, const struct value *v)
{
    struct buffer *b = buffer_of(r, v);
    void *data = b ? malloc(b->size + 1) : NULL;
    if (!data)
        return false;
    bool ok = b->size == 0 || r->driver->to_host(data, b->pointer, b->size, NULL) == 0;
    struct tensor t = {.type = v->type, .data = data, .size = b->size};
    for (int i = 0; ok && i < r->c.g->root->n_symbols; i++) {
        const struct symbol_source *s = &r->c.g->root->symbols[i];
        if (s->kind == SYMBOL_ELEMENT && s->value == v)
            r->c.symbols[i] = tensor_get_int(&t, s->element);
    }
    free(data);
    return ok;
}

static bool run_steps(struct run *r)
{
    for (int i = 0; i < r->program->n_steps; i++) {
        const struct step *step = &r->program->steps[i];
        if (step->kind == STEP_LAUNCH && !launch(r, step->kernel))
            return false;
        if (step->kind == STEP_READ && !read_back(r, step->value))
            return false;
    }
    return true;
}

static bool check_outputs(struct run *r)
{
    bool ok = true;
    for (int i = 0; i < r->c.g->n_outputs; i++) {
        struct buffer *b = buffer_of(r, r->c.g->outputs[i]);
        struct tensor found = r->c.expected[i];
        if (!b || b->size != found.size) {
            fprintf(stderr, "%s has the wrong size\n", r->c.g->output_names[i]);
            return false;
        }
        found.data = malloc(found.size + 1);
        if (found.size && r->driver->to_host(found.data, b->pointer, found.size, NULL) != 0)
            ok = false;
        ok = ok && case_compare(r->c.g, &r->c.expected[i], &found, r->c.g->output_names[i]);
        free(found.data);
    }
    return ok;
}

/* --- A file --------------------------------------------------------------------------------- */

/* What the file's comments ask for. */
static const struct target *choose_target(const struct text *text)
{
    const char *target = strstr(text->data, "# target "), *tile = strstr(text->data, "# tile ");
    char name[32] = "portable";
    struct mma_only only = {0};
    if (target)
        sscanf(target, "# target %31s", name);
    if (tile && sscanf(tile, "# tile %d %d %d", &only.m, &only.n, &only.split) != 3)
        return NULL;
    cost_mma_only = only;
    return target_find(name);
}

/* Has a kernel the tile that the file asks for? */
static bool has_tile(const struct program *program)
{
    char define[40];
    snprintf(define, sizeof define, "#define TILE_M %d\n", cost_mma_only.m);
    bool found = cost_mma_only.m == 0;
    for (int i = 0; i < program->n_steps; i++)
        if (program->steps[i].kind == STEP_LAUNCH)
            found |= strstr(program->steps[i].kernel->source, define) != NULL &&
                     strstr(program->steps[i].kernel->source, "#define MMA ") != NULL;
    if (!found)
        fprintf(stderr, "no kernel has the tile\n");
    return found;
}

/* The file's graph with its free symbols near `base`. */
static bool run_once(struct driver *driver, struct nvrtc *nvrtc, struct arena *arena,
                     struct diag *diag, const char *file, const struct text *text, int64_t base,
                     bool *ran)
{
    struct run r = {.driver = driver, .nvrtc = nvrtc};
    bool possible = false;
    bool ok = case_make(&r.c, arena, diag, file, text, base, &possible);
    *ran |= possible;
    if (ok && possible) {
        pass_fuse_kernels(r.c.g);
        ok = graph_verify(r.c.g, "fuse_kernels");
        const struct target *target = choose_target(text);
        r.program = ok && target ? codegen_program(r.c.g, target) : NULL;
        size_t n = (size_t)r.c.g->n_inputs + 64;
        for (const struct node *node = r.c.g->first; node; node = node->next)
            n += (size_t)node->n_out;
        r.buffers = ARENA_ARRAY(arena, n, struct buffer);
        ok = r.program && has_tile(r.program) && run_steps(&r) && check_outputs(&r);
    }
    for (int i = 0; i < r.n_buffers; i++)
        r.driver->mem_free(r.buffers[i].pointer);
    case_free(&r.c);
    return ok;
}

/* The same, with an arena of its own. */
static bool run_at(struct driver *driver, struct nvrtc *nvrtc, const char *file,
                   const struct text *text, int64_t base, bool *ran)
{
    struct arena arena = {0};
    struct diag diag = {0};
    jmp_buf oom;
    arena.on_oom = &oom;
    volatile bool ok = false;
    if (setjmp(oom) == 0)
        ok = run_once(driver, nvrtc, &arena, &diag, file, text, base, ran);
    case_print_diag(&diag);
    if (!ok)
        fprintf(stderr, "%s: failed with free symbols near %d\n", file, (int)base);
    diag_free(&diag);
    arena_free(&arena);
    return ok;
}

static bool run_file(struct driver *driver, struct nvrtc *nvrtc, const char *file,
                     const struct text *text)
{
    static const int64_t bases[] = {0, 1, 6, 33};
    int n = strstr(text->data, "symbol ") ? 4 : 1;
    bool ran = false;
    for (int i = 0; i < n; i++)
        if (!run_at(driver, nvrtc, file, text, bases[i], &ran))
            return false;
    if (!ran)
        fprintf(stderr, "%s: no choice of symbols meets its constraints\n", file);
    return ran;
}

int main(int argc, char **argv)
{
    struct driver driver;
    struct diag diag = {0};
    int failed = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: kernels_run DRIVER FILE.ir…\n");
        return 2;
    }
    struct nvrtc *nvrtc = nvrtc_open(&diag);
    if (!nvrtc || !driver_open(&driver, argv[1])) {
        case_print_diag(&diag);
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        struct text text = {0};
        if (!case_read_file(argv[i], &text) || !run_file(&driver, nvrtc, argv[i], &text)) {
            printf("FAILED %s\n", argv[i]);
            failed++;
        }
        text_free(&text);
    }
    nvrtc_close(nvrtc);
    diag_free(&diag);
    printf("%d of %d passed\n", argc - 2 - failed, argc - 2);
    return failed ? 1 : 0;
}
