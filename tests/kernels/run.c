/*
 * Runs the kernels of a graph and compares with the reference evaluator:
 *
 *     kernels_run DRIVER FILE.ir…
 *
 * DRIVER is libgpucc_emu.so, or libcuda.so.1 where there is a GPU. Inputs are random, the same at
 * every run. Free symbols take several values in turn, 0 and 1 among them where their bounds allow.
 */
#include "../../codegen/nvrtc.h"
#include "../../codegen/target.h"
#include "../../ir/eval.h"
#include "../../ir/scalar.h"
#include "../../ir/text.h"
#include "../../passes/passes.h"

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
    struct graph *g;
    struct program *program;
    struct tensor *inputs, *expected;
    int64_t *symbols;
    struct buffer *buffers;
    int n_buffers;
};

static void print_diag(const struct diag *diag)
{
    for (const struct diag_message *m = diag->first; m; m = m->next)
        fprintf(stderr, "%s: %s\n", m->where ? m->where : "error", m->text);
}

static bool driver_error(const struct run *r, const char *what, int code)
{
    fprintf(stderr, "%s: error %d %s\n", what, code,
            r->driver->last_error ? r->driver->last_error() : "");
    return false;
}

static bool shape_of(const struct run *r, const struct value *v, struct tensor *t)
{
    size_t n = 1;
    *t = (struct tensor){.type = v->type, .rank = v->rank};
    for (int i = 0; i < v->rank; i++) {
        if (!dim_eval(v->shape[i], r->symbols, &t->shape[i]) || t->shape[i] < 0)
            return false;
        n *= (size_t)t->shape[i];
    }
    t->size = n * dtype_size(v->type);
    return true;
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
    if (!shape_of(r, v, &t))
        return NULL;
    struct buffer *b = &r->buffers[r->n_buffers++];
    *b = (struct buffer){.value = v, .size = t.size};
    if (r->driver->mem_alloc(&b->pointer, t.size ? t.size : 1) != 0)
        return NULL;
    if (data && t.size && r->driver->to_device(b->pointer, data, t.size, NULL) != 0)
        return NULL;
    return b;
}

static struct buffer *buffer_of(struct run *r, const struct value *v)
{
    struct buffer *b = find_buffer(r, v);
    if (b)
        return b;
    if (!v->def)
        return add_buffer(r, v, r->inputs[v->index].data);
    if (v->def->kernel != KERNEL_CONSTANT)
        return add_buffer(r, v, NULL);
    struct tensor t;
    if (!eval_constant(r->g, v, &t))
        return NULL;
    b = add_buffer(r, v, t.data);
    tensor_free(&t);
    return b;
}

static bool compile(struct run *r, const struct kernel *k, void **module)
{
    struct nvrtc_job job = {
        .source = k->source, .symbol = k->symbol, .arch = r->program->target->nvrtc_arch};
    struct binary binary;
    if (!nvrtc_compile(r->nvrtc, &job, &binary, r->g->diag))
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
        if (!dim_eval(k->grid[i], r->symbols, &grid[i]))
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
        if (!dim_eval(arg->dim, r->symbols, &value))
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
    for (int i = 0; ok && i < r->g->root->n_symbols; i++) {
        const struct symbol_source *s = &r->g->root->symbols[i];
        if (s->kind == SYMBOL_ELEMENT && s->value == v)
            r->symbols[i] = tensor_get_int(&t, s->element);
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

/* --- Numbers -------------------------------------------------------------------------------- */

static uint64_t random_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dull >> 16;
}

static void set_element(const struct tensor *t, int64_t i, double x)
{
    unsigned char *at = (unsigned char *)t->data + (size_t)i * dtype_size(t->type);
    float f = (float)x;
    int64_t n = (int64_t)x;
    uint16_t half;
    uint8_t small;
    switch (t->type) {
    case DT_F32: memcpy(at, &f, 4); break;
    case DT_F64: memcpy(at, &x, 8); break;
    case DT_F16:
        half = float_to_f16(f);
        memcpy(at, &half, 2);
        break;
    case DT_BF16:
        half = float_to_bf16(f);
        memcpy(at, &half, 2);
        break;
    case DT_F8E4M3FN:
        small = (uint8_t)small_encode(f, small_f8e4m3fn, true);
        *at = small;
        break;
    case DT_F8E4M3FNUZ:
        small = (uint8_t)small_encode(f, small_f8e4m3fnuz, true);
        *at = small;
        break;
    case DT_F8E5M2:
        small = (uint8_t)small_encode(f, small_f8e5m2, true);
        *at = small;
        break;
    case DT_F8E5M2FNUZ:
        small = (uint8_t)small_encode(f, small_f8e5m2fnuz, true);
        *at = small;
        break;
    case DT_F4E2M1:
        small = (uint8_t)small_encode(f, small_f4e2m1, true);
        *at = small;
        break;
    default: memcpy(at, &n, dtype_size(t->type)); break; /* little-endian */
    }
}

/* Floats in [-2, 2), integers in [-8, 8) or [0, 16), small ones within their range. */
static void fill(struct tensor *t, uint64_t *state)
{
    int64_t n = tensor_elements(t);
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = random_bits(state);
        double x = (double)(bits % 4096) / 1024 - 2;
        if (dtype_info[t->type].cls == DC_B)
            x = (double)(bits % 2);
        else if (dtype_is_int(t->type)) {
            int64_t range = dtype_info[t->type].bits < 4 ? 4 : 16;
            x = (double)(bits % (uint64_t)range);
            x -= dtype_info[t->type].cls == DC_S ? (double)(range / 2) : 0;
        }
        set_element(t, i, x);
    }
}

/* Largest error allowed, relative to the element and to the largest element. */
static double tolerance(enum dtype type)
{
    switch (type) {
    case DT_F64: return 1e-12;
    case DT_F32: return 1e-5;
    case DT_F16: return 4e-3;
    case DT_BF16: return 3e-2;
    default: return dtype_is_float(type) ? 0.26 : 0;
    }
}

static bool compare(const struct tensor *expected, const struct tensor *found, const char *name)
{
    int64_t n = tensor_elements(expected);
    double largest = 0, allowed = tolerance(expected->type);
    for (int64_t i = 0; i < n; i++) {
        double x = fabs(tensor_get_float(expected, i));
        largest = isfinite(x) && x > largest ? x : largest;
    }
    for (int64_t i = 0; i < n; i++) {
        double x = tensor_get_float(expected, i), y = tensor_get_float(found, i);
        bool same =
            dtype_is_float(expected->type)
                ? (isnan(x) && isnan(y)) || x == y || fabs(x - y) <= allowed * (fabs(x) + largest)
                : tensor_get_int(expected, i) == tensor_get_int(found, i);
        if (!same) {
            fprintf(stderr, "%s: element %lld of %lld is %.9g, not %.9g\n", name, (long long)i,
                    (long long)n, y, x);
            return false;
        }
    }
    return true;
}

static bool check_outputs(struct run *r)
{
    bool ok = true;
    for (int i = 0; i < r->g->n_outputs; i++) {
        struct buffer *b = buffer_of(r, r->g->outputs[i]);
        struct tensor found = r->expected[i];
        if (!b || b->size != found.size) {
            fprintf(stderr, "%s has the wrong size\n", r->g->output_names[i]);
            return false;
        }
        found.data = malloc(found.size + 1);
        if (found.size && r->driver->to_host(found.data, b->pointer, found.size, NULL) != 0)
            ok = false;
        ok = ok && compare(&r->expected[i], &found, r->g->output_names[i]);
        free(found.data);
    }
    return ok;
}

/* --- Symbols -------------------------------------------------------------------------------- */

/* Every free symbol becomes a dim of an input: one that has it, or a new one made for it. */
static void source_symbols(struct graph *g)
{
    for (int s = 0; s < g->root->n_symbols; s++) {
        const struct dim *d = dim_symbol_at(g->dims, s);
        for (int i = 0; i < g->n_inputs && g->root->symbols[s].kind == SYMBOL_FREE; i++)
            for (int axis = 0; axis < g->inputs[i]->rank; axis++)
                if (g->inputs[i]->shape[axis] == d)
                    g->root->symbols[s] =
                        (struct symbol_source){SYMBOL_INPUT_DIM, i, axis, NULL, 0};
        if (g->root->symbols[s].kind != SYMBOL_FREE)
            continue;
        struct value *v = graph_add_input(g, dim_symbol_name(g->dims, s), DT_BOOL, 1, &d);
        g->root->symbols[s] = (struct symbol_source){SYMBOL_INPUT_DIM, v->index, 0, NULL, 0};
    }
}

static void choose_symbols(const struct graph *g, int64_t base, int64_t *symbols)
{
    for (int s = 0; s < g->root->n_symbols; s++) {
        int64_t least, most, size = base > 1 ? base + 3 * s : base;
        dim_bounds(dim_symbol_at(g->dims, s), &least, &most);
        symbols[s] = size < least ? least : size > most ? most : size;
    }
}

/* Inputs whose elements are symbols hold the values chosen for them. */
static void set_elements(const struct graph *g, const int64_t *symbols, struct tensor *inputs)
{
    for (int s = 0; s < g->root->n_symbols; s++) {
        const struct symbol_source *source = &g->root->symbols[s];
        if (source->kind == SYMBOL_ELEMENT && !source->value->def &&
            source->element < tensor_elements(&inputs[source->value->index]))
            set_element(&inputs[source->value->index], source->element, (double)symbols[s]);
    }
}

static bool constraints_hold(const struct graph *g, const int64_t *symbols)
{
    for (const struct constraint *c = g->constraints; c; c = c->next) {
        int64_t a, b;
        if (!dim_eval(c->a, symbols, &a) || !dim_eval(c->b, symbols, &b))
            return false;
        bool holds = c->kind == MUST_LESS_EQUAL ? a <= b
                     : c->kind == MUST_EQUAL    ? a == b
                                                : a == b || a == 1;
        if (!holds)
            return false;
    }
    return true;
}

/* --- A file --------------------------------------------------------------------------------- */

static void free_run(struct run *r)
{
    for (int i = 0; i < r->n_buffers; i++)
        r->driver->mem_free(r->buffers[i].pointer);
    for (int i = 0; r->inputs && i < r->g->n_inputs; i++)
        free(r->inputs[i].data);
    for (int i = 0; r->expected && i < r->g->n_outputs; i++)
        tensor_free(&r->expected[i]);
}

/* The file's graph with its free symbols near `base`. */
static bool run_once(struct driver *driver, struct nvrtc *nvrtc, struct arena *arena,
                     struct diag *diag, const char *file, const struct text *text, int64_t base,
                     bool *ran)
{
    struct run r = {.driver = driver, .nvrtc = nvrtc};
    uint64_t state = 88172645463325252ull;
    r.g = graph_parse(arena, diag, file, text->data, text->length);
    if (!r.g)
        return false;
    source_symbols(r.g);
    r.symbols = ARENA_ARRAY(arena, (size_t)r.g->root->n_symbols + 64, int64_t);
    choose_symbols(r.g, base, r.symbols);
    if (!constraints_hold(r.g, r.symbols))
        return true;
    *ran = true;
    struct tensor *inputs = ARENA_ARRAY(arena, (size_t)r.g->n_inputs + 1, struct tensor);
    bool ok = true;
    for (int i = 0; i < r.g->n_inputs && ok; i++) {
        ok = shape_of(&r, r.g->inputs[i], &inputs[i]);
        inputs[i].data = ok ? calloc(inputs[i].size + 1, 1) : NULL;
        if (inputs[i].data)
            fill(&inputs[i], &state);
    }
    r.inputs = inputs;
    if (ok)
        set_elements(r.g, r.symbols, inputs);
    struct tensor *expected = ARENA_ARRAY(arena, (size_t)r.g->n_outputs + 1, struct tensor);
    ok = ok && eval_graph(r.g, r.inputs, expected);
    r.expected = expected;
    if (ok) {
        pass_fuse_kernels(r.g);
        ok = graph_verify(r.g, "fuse_kernels");
    }
    r.program = ok ? codegen_program(r.g, target_find("portable")) : NULL;
    size_t n = (size_t)r.g->n_inputs + 64;
    for (const struct node *node = r.g->first; node; node = node->next)
        n += (size_t)node->n_out;
    r.buffers = ARENA_ARRAY(arena, n, struct buffer);
    ok = r.program && run_steps(&r) && check_outputs(&r);
    free_run(&r);
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
    print_diag(&diag);
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

static bool read_file(const char *path, struct text *text)
{
    char chunk[4096];
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        text_append(text, chunk, n);
    bool ok = !ferror(file) && text->length > 0;
    fclose(file);
    return ok;
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
        print_diag(&diag);
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        struct text text = {0};
        if (!read_file(argv[i], &text) || !run_file(&driver, nvrtc, argv[i], &text)) {
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
