/*
 * Makes plans of graphs with control flow, runs them and compares with the reference evaluator:
 *
 *     control_run DRIVER FILE.ir…            graphs in files; free symbols take several values in
 * turn control_run DRIVER --random SEED N     N random graphs, bodies in bodies
 *
 * Each graph becomes two plans: of the graph as it is, and of what all passes make of it. Every
 * buffer has an allocation of its own, so that the emulator sees what lies outside; then they share
 * memory as they do for users.
 */
#include "../../codegen/plan_write.h"
#include "../../codegen/target.h"
#include "../../passes/passes.h"
#include "../../runtime/device.h"
#include "../kernels/case.h"
#include "random_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct harness {
    const char *driver;
    struct nvrtc *nvrtc;
    char path[64]; /* of the plan */
};

/* --- Compiling ------------------------------------------------------------------------------ */

static bool compile(struct harness *h, struct graph *g, bool all_passes)
{
    struct pass_options options = {.verify = true, .round_trip = true};
    struct compile_options how = {.jobs = 2};
    struct compiled_set set = {0};
    bool changed;
    if (all_passes
            ? !passes_run(g, &options)
            : !pass_run_by_name(g, "fuse_kernels", &changed) || !graph_verify(g, "fuse_kernels"))
        return false;
    struct program *program = codegen_program(g, target_find("portable"));
    bool good = program && compiled_collect(&set, &program, 1, g->diag) &&
                compile_all(h->nvrtc, &set, &how, g->diag) &&
                plan_write(h->path, g, &program, 1, &set, h->nvrtc, g->diag);
    compiled_free(&set);
    return good;
}

/* --- Running -------------------------------------------------------------------------------- */

static bool runtime_failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, gpucc_last_error());
    return false;
}

static bool check_output(struct gpucc_context *context, const struct graph_case *c, int i)
{
    struct tensor found = c->expected[i];
    int64_t dims[GPUCC_MAX_RANK];
    int rank;
    if (gpucc_context_output_shape(context, i, &rank, dims) != GPUCC_OK)
        return runtime_failed("shape of an output");
    if (rank != found.rank || memcmp(dims, found.shape, (size_t)rank * sizeof *dims) != 0) {
        fprintf(stderr, "%s has the wrong shape\n", c->g->output_names[i]);
        return false;
    }
    found.data = malloc(found.size + 1);
    bool good =
        found.data && (gpucc_context_read_output(context, i, found.data, found.size) == GPUCC_OK ||
                       runtime_failed("reading an output"));
    good = good && case_compare(c->g, &c->expected[i], &found, c->g->output_names[i]);
    free(found.data);
    return good;
}

/* Runs twice: the second time all is placed, and where nothing depends on data it is a CUDA graph.
 */
static bool run(struct gpucc_context *context, const struct graph_case *c)
{
    for (int i = 0; i < c->g->n_inputs; i++) {
        const struct tensor *t = &c->inputs[i];
        if (gpucc_context_set_input_shape(context, i, t->rank, t->shape) != GPUCC_OK ||
            gpucc_context_bind_input(context, i, GPUCC_HOST, t->data, t->size) != GPUCC_OK)
            return runtime_failed("setting an input");
    }
    for (int turn = 0; turn < 2; turn++) {
        if (gpucc_context_run_sync(context) != GPUCC_OK)
            return runtime_failed("running");
        for (int i = 0; i < c->g->n_outputs; i++)
            if (!check_output(context, c, i))
                return false;
    }
    return true;
}

/* One plan, one context, for all sizes of its free symbols. */
static bool run_sizes(struct gpucc_context *context, const char *name, const struct text *text)
{
    static const int64_t bases[] = {3, 0, 1, 6, 4};
    size_t n = strstr(text->data, "= dim ") ? sizeof bases / sizeof *bases : 1;
    volatile bool good = true;
    for (volatile size_t i = 0; i < n && good; i++) {
        struct arena arena = {0};
        struct diag diag = {0};
        jmp_buf oom;
        bool possible;
        struct graph_case c = {0};
        arena.on_oom = &oom;
        good = setjmp(oom) == 0 && case_make(&c, &arena, &diag, name, text, bases[i], &possible) &&
               (!possible || run(context, &c));
        case_print_diag(&diag);
        if (!good)
            fprintf(stderr, "%s: failed with free symbols near %d\n", name, (int)bases[i]);
        case_free(&c);
        diag_free(&diag);
        arena_free(&arena);
    }
    return good;
}

static bool run_plan(struct harness *h, const char *name, const struct text *text, bool isolate)
{
    struct gpucc_plan *plan = NULL;
    struct gpucc_device *device = NULL;
    struct gpucc_context *context = NULL;
    bool good = gpucc_plan_open(h->path, 0, &plan) == GPUCC_OK &&
                gpucc_device_open(h->driver, 0, &device) == GPUCC_OK;
    if (good) {
        device->isolate = isolate;
        good = gpucc_context_create(plan, device, &context) == GPUCC_OK;
    }
    good = good ? run_sizes(context, name, text) : runtime_failed(name);
    gpucc_context_destroy(context);
    gpucc_plan_close(plan);
    gpucc_device_close(device);
    return good;
}

/* --- A graph -------------------------------------------------------------------------------- */

static bool make_plan(struct harness *h, const char *name, const struct text *text, bool all_passes)
{
    struct arena arena = {0};
    struct diag diag = {0};
    jmp_buf oom;
    volatile bool good = false;
    arena.on_oom = &oom;
    if (setjmp(oom) == 0) {
        struct graph *g = graph_parse(&arena, &diag, name, text->data, text->length);
        good = g && graph_verify(g, "model") && compile(h, g, all_passes);
    }
    case_print_diag(&diag);
    diag_free(&diag);
    arena_free(&arena);
    return good;
}

static bool run_graph(struct harness *h, const char *name, const struct text *text)
{
    for (int all_passes = 0; all_passes < 2; all_passes++)
        if (!make_plan(h, name, text, all_passes) || !run_plan(h, name, text, true) ||
            !run_plan(h, name, text, false)) {
            printf("FAILED %s %s\n", name, all_passes ? "(all passes)" : "");
            return false;
        }
    return true;
}

static int run_random(struct harness *h, uint64_t seed, int n)
{
    int failed = 0;
    for (int i = 0; i < n; i++) {
        struct text text = {0};
        char name[64];
        random_graph(&text, seed + (uint64_t)i);
        snprintf(name, sizeof name, "random graph %llu", (unsigned long long)seed + i);
        if (!run_graph(h, name, &text)) {
            printf("%s", text.data);
            failed++;
        }
        text_free(&text);
    }
    return failed;
}

static int run_files(struct harness *h, int n, char **files)
{
    int failed = 0;
    for (int i = 0; i < n; i++) {
        struct text text = {0};
        failed += !case_read_file(files[i], &text) || !run_graph(h, files[i], &text);
        text_free(&text);
    }
    return failed;
}

int main(int argc, char **argv)
{
    struct diag diag = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: control_run DRIVER {FILE.ir… | --random SEED N}\n");
        return 2;
    }
    struct harness h = {.driver = argv[1], .nvrtc = nvrtc_open(&diag)};
    case_print_diag(&diag);
    diag_free(&diag);
    if (!h.nvrtc)
        return 1;
    snprintf(h.path, sizeof h.path, "/tmp/control-%ld.plan", (long)getpid());
    bool random = strcmp(argv[2], "--random") == 0 && argc == 5;
    int n = random ? atoi(argv[4]) : argc - 2;
    int failed =
        random ? run_random(&h, strtoull(argv[3], NULL, 10), n) : run_files(&h, n, argv + 2);
    remove(h.path);
    nvrtc_close(h.nvrtc);
    printf("%d of %d passed\n", n - failed, n);
    return failed ? 1 : 0;
}
