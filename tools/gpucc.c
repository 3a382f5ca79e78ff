/*
 * gpucc: an ONNX model in, a plan out. The way of the data is build() below; what can go wrong is
 * reported by the libraries and printed here.
 */
#include "../codegen/atomic_file.h"
#include "../codegen/compile.h"
#include "../codegen/plan_write.h"
#include "../ir/text.h"
#include "../passes/passes.h"
#include "calibration.h"
#include "depfile.h"
#include "emit_forms.h"
#include "explain.h"
#include "options.h"
#include "print_ops.h"
#include "tensor_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct build {
    struct options options;
    struct diag diag;
    struct arena arena;
    jmp_buf out_of_memory;
    struct tensor *frozen; /* options.n_frozen of them */
    struct calibration calibration;
    const char *assignment; /* of precisions, for --save-precision */
    struct model *model;    /* NULL for a graph in text form */
    struct graph *graph;
    struct program *programs[MAX_TARGETS];
    struct compiled_set compiled;
    struct nvrtc *nvrtc;
    bool terminal;  /* stderr is one: show progress */
    bool line_open; /* a progress line stands there */
    double started;
};

/* ---- what the user sees -------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void clear_progress(struct build *b)
{
    if (b->line_open)
        fprintf(stderr, "\r\033[K");
    b->line_open = false;
}

static void progress(struct build *b, const char *text)
{
    if (!b->terminal)
        return;
    fprintf(stderr, "\r\033[Kgpucc: %s", text);
    b->line_open = true;
}

static void compile_progress(void *context, int done, int total)
{
    char text[64];
    snprintf(text, sizeof text, "compiled %d of %d kernels", done, total);
    progress(context, text);
}

/* A line of -v, with the time since the start. */
static void say(struct build *b, const char *format, ...)
{
    if (!b->options.verbose)
        return;
    clear_progress(b);
    va_list args;
    va_start(args, format);
    fprintf(stderr, "gpucc: %6.3f s  ", now() - b->started);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
}

/* Most memory this program held, in KiB; getrusage would count the shell it was forked from. */
static long peak_memory(void)
{
    long peak = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            break;
    if (status)
        fclose(status);
    return peak;
}

/* The model's name, where a message says a node of it and no file. */
static const char *model_of(const struct build *b, const struct diag_message *m)
{
    const char *path = b->options.input, *slash = path ? strrchr(path, '/') : NULL;
    const char *name = slash ? slash + 1 : path;
    bool about_model = m->status == STATUS_BAD_MODEL || m->status == STATUS_UNSUPPORTED ||
                       m->status == STATUS_LIMIT || m->status == STATUS_OK;
    return (b->model || b->graph) && about_model && m->where &&
                   strncmp(m->where, name, strlen(name)) && strncmp(m->where, path, strlen(path))
               ? name
               : NULL;
}

static void print_messages(struct build *b)
{
    clear_progress(b);
    for (const struct diag_message *m = b->diag.first; m; m = m->next) {
        const char *model = model_of(b, m);
        fprintf(stderr, "gpucc: %s%s%s%s%s%s\n", model ? model : "", model ? ": " : "",
                m->where ? m->where : "", m->where ? ": " : "",
                m->status == STATUS_OK ? "warning: " : "", m->text);
    }
    if (b->diag.status == STATUS_UNSUPPORTED)
        fprintf(stderr, "gpucc: express these by operators it knows, or add them: "
                        "docs/add-an-op.md\n");
    if (b->diag.status != STATUS_OK && !b->diag.first)
        fprintf(stderr, "gpucc: out of memory\n");
}

static void say_kernels(struct build *b)
{
    for (int i = 0; i < b->compiled.n && b->options.verbose; i++) {
        const struct compiled *c = &b->compiled.at[i];
        struct resources r;
        if (c->binary.cubin &&
            cubin_resources(c->binary.cubin, c->binary.cubin_size, c->kernel->symbol, &r))
            say(b, "%-8s %-40s %3d registers, %d bytes spilled or local%s", c->target->name,
                c->kernel->symbol, r.registers, r.local_bytes, c->cached ? " (cached)" : "");
        else
            say(b, "%-8s %-40s PTX only%s", c->target->name, c->kernel->symbol,
                c->cached ? " (cached)" : "");
        if (c->binary.log)
            say(b, "NVRTC remarks:\n%s", c->binary.log);
    }
}

/* ---- steps of a build ---------------------------------------------------------------------- */

/* A file's bytes, mapped; they stay for the life of the process. NULL after reporting. */
static const char *map_file(struct build *b, const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO may have no writer */
    struct stat status;
    void *bytes = MAP_FAILED;
    if (fd >= 0 && !fstat(fd, &status)) {
        *size = (size_t)status.st_size;
        if (S_ISDIR(status.st_mode))
            errno = EISDIR;
        else if (*size)
            bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
        else
            bytes = (void *)""; /* an empty file, or something that cannot be mapped */
    }
    if (bytes == MAP_FAILED)
        diag_error(&b->diag, status_of_errno(errno), path, "%s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return bytes == MAP_FAILED ? NULL : bytes;
}

/* The text form starts with the word "graph", behind comments (';') and blanks. No ONNX file does.
 */
static bool is_text_form(const char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size && bytes[at] && strchr(" \t\r\n;#", bytes[at])) {
        if (bytes[at] == ';' || bytes[at] == '#')
            while (at < size && bytes[at] != '\n')
                at++;
        else
            at++;
    }
    return size - at >= 5 && !memcmp(bytes + at, "graph", 5);
}

/* The files of --freeze, for the frontend. */
static bool read_frozen(struct build *b)
{
    struct options *o = &b->options;
    int n = o->n_frozen;
    struct frontend_frozen *list = ARENA_ARRAY(&b->arena, (size_t)n, struct frontend_frozen);
    b->frozen = ARENA_ARRAY(&b->arena, (size_t)n, struct tensor);
    memset(b->frozen, 0, (size_t)n * sizeof *b->frozen);
    for (int i = 0; i < n; i++) {
        struct tensor_want want = {.name = o->frozen[i].input, .type = DT_NONE, .rank = -1};
        if (!tensor_read(&b->diag, o->frozen[i].path, &want, &b->frozen[i]))
            return false;
        list[i] = (struct frontend_frozen){o->frozen[i].input, &b->frozen[i]};
    }
    o->frontend.frozen = list;
    o->frontend.n_frozen = n;
    return true;
}

/* Options that a graph in text form has no use for: one edits the text. */
static bool wants_onnx(const struct options *o)
{
    const struct frontend_options *f = &o->frontend;
    return f->n_shapes || f->n_io || f->n_outputs || f->n_dropped || f->n_aliases || o->n_frozen;
}

static bool load(struct build *b)
{
    const struct options *o = &b->options;
    size_t size;
    const char *bytes = map_file(b, o->input, &size);
    if (!bytes)
        return false;
    if (is_text_form(bytes, size)) {
        if (wants_onnx(o))
            diag_error(&b->diag, STATUS_USAGE, o->input,
                       "--shape, --freeze, --output, --no-output, --io and --alias are for ONNX "
                       "models; a graph in text form can be edited");
        else
            b->graph = graph_parse(&b->arena, &b->diag, o->input, bytes, size);
        if (b->graph && !graph_verify(b->graph, "model"))
            return false;
    } else {
        b->model = model_open(&b->diag, o->input);
        if (b->model && read_frozen(b))
            b->graph = frontend_load(&b->arena, &b->diag, b->model, &o->frontend);
    }
    return b->graph && !b->diag.errors;
}

/* What was kept in its type, and why. */
static void say_kept(struct build *b)
{
    for (const struct remark *r = b->graph->remarks; r; r = r->next)
        if (!strcmp(r->pass, "set_precision"))
            say(b, "%s: %s", r->origin ? r->origin : "the graph", r->text);
}

/* Tells the passes what was asked for, with the files that it takes. */
static bool set_precision(struct build *b)
{
    struct options *o = &b->options;
    struct precision *p = &o->precision;
    size_t size;
    if (o->load_precision) {
        const char *text = map_file(b, o->load_precision, &size);
        if (!text)
            return false;
        if (memchr(text, 0, size)) {
            diag_error(&b->diag, STATUS_USAGE, o->load_precision,
                       "--load-precision: the file is no text");
            return false;
        }
        p->load = arena_strndup(&b->arena, text, size);
    }
    if (p->searches) {
        progress(b, "measuring");
        if (!calibration_make(&b->calibration, b->graph, o->calibration))
            return false;
        p->runs = (const struct tensor *const *)b->calibration.runs;
        p->n_runs = b->calibration.n;
        p->warning = b->calibration.warning;
    }
    if (o->save_precision)
        p->save = &b->assignment;
    if (precision_changes(p) || p->save)
        b->graph->precision = p;
    return true;
}

static bool save_assignment(struct build *b)
{
    const char *path = b->options.save_precision;
    if (!path || !b->assignment || atomic_file_put(path, b->assignment, strlen(b->assignment)))
        return true;
    diag_error(&b->diag, status_of_errno(errno), path, "%s", strerror(errno));
    return false;
}

static bool run_passes(struct build *b)
{
    if (!set_precision(b))
        return false;
    struct pass_options options = {.verify = true,
                                   .round_trip = b->options.round_trip,
                                   .dump_after = b->options.dump_after,
                                   .skip = b->options.skip};
    bool good = passes_run(b->graph, &options) && !b->diag.errors;
    say_kept(b);
    return good && save_assignment(b);
}

static bool generate(struct build *b)
{
    const struct target_list *targets = &b->options.targets;
    for (int i = 0; i < targets->n; i++) {
        b->programs[i] = codegen_program(b->graph, targets->at[i]);
        if (!b->programs[i] || b->diag.errors)
            return false;
        say(b, "%s: %d steps", targets->at[i]->name, b->programs[i]->n_steps);
    }
    return compiled_collect(&b->compiled, b->programs, targets->n, &b->diag);
}

static bool check_targets(struct build *b)
{
    const struct target_list *targets = &b->options.targets;
    for (int i = 0; i < targets->n; i++)
        if (!nvrtc_knows_sm(b->nvrtc, targets->at[i]->sm)) {
            diag_error(&b->diag, STATUS_ENVIRONMENT, nvrtc_file(b->nvrtc),
                       "this NVRTC (%.4s) cannot compile for %s", nvrtc_build_id(b->nvrtc),
                       targets->at[i]->name);
            return false;
        }
    return true;
}

static bool compile(struct build *b)
{
    struct compile_options options = {.jobs = b->options.jobs,
                                      .line_info = b->options.line_info,
                                      .no_cache = b->options.no_cache,
                                      .progress = compile_progress,
                                      .context = b};
    b->nvrtc = nvrtc_open(&b->diag);
    if (!b->nvrtc || !check_targets(b))
        return false;
    say(b, "NVRTC %s", nvrtc_file(b->nvrtc));
    if (!compile_all(b->nvrtc, &b->compiled, &options, &b->diag))
        return false;
    say_kernels(b);
    return !b->options.save_temps || compiled_save(&b->compiled, b->programs, b->options.targets.n,
                                                   b->options.save_temps, &b->diag);
}

static bool write_form(struct build *b)
{
    const struct options *o = &b->options;
    struct text out = {0};
    bool good =
        emit_form(o->emit, b->graph, b->programs[0], &b->compiled, b->nvrtc, &out, &b->diag);
    if (good && o->output) {
        good = atomic_file_put(o->output, out.data ? out.data : "", out.length);
    } else if (good && o->emit == EMIT_CUBIN && isatty(STDOUT_FILENO)) {
        diag_error(&b->diag, STATUS_USAGE, NULL, "machine code is not for a terminal; use -o");
        text_free(&out);
        return false;
    } else if (good) {
        good = fwrite(out.data ? out.data : "", 1, out.length, stdout) == out.length &&
               !fflush(stdout);
    }
    if (!good && !b->diag.errors)
        diag_error(&b->diag, status_of_errno(errno), o->output ? o->output : "stdout", "%s",
                   strerror(errno));
    text_free(&out);
    return good;
}

static bool write_depfile(struct build *b)
{
    int of_model = b->model ? model_file_count(b->model) : 1, n = of_model + b->options.n_frozen;
    const char **files = ARENA_ARRAY(&b->arena, (size_t)n, const char *);
    for (int i = 0; i < of_model; i++)
        files[i] = b->model ? model_file(b->model, i) : b->options.input;
    for (int i = of_model; i < n; i++)
        files[i] = b->options.frozen[i - of_model].path;
    return depfile_write(b->options.output, n, files, &b->diag);
}

/* Nodes of a graph in text form come from "FILE:LINE". Plans do not depend on names of files. */
static bool forget_file_name(struct graph *g)
{
    for (struct node *node = g->first; node; node = node->next) {
        const char *line = node->origin ? strrchr(node->origin, ':') : NULL;
        if (line)
            node->origin = arena_printf(g->arena, "line %s", line + 1);
    }
    return false;
}

/* --check: the model has a plan; only NVRTC and the disk could still say no. */
static bool check(struct build *b)
{
    const struct options *o = &b->options;
    return plan_check(b->graph, b->programs, o->targets.n, &b->diag) &&
           (o->explain_json || printf("%s: ok\n", o->input) > 0); /* JSON stays JSON */
}

static bool print_explanation(struct build *b)
{
    const struct options *o = &b->options;
    struct text out = {0};
    if (!explain(b->graph, b->programs, o->targets.n, o->explain, o->explain_json, &b->diag, &out))
        return false;
    clear_progress(b);
    return fwrite(out.data, 1, out.length, stdout) == out.length;
}

static bool build(struct build *b)
{
    const struct options *o = &b->options;
    progress(b, "reading");
    if (!load(b))
        return false;
    say(b, "read %s", o->input);
    if (!run_passes(b))
        return false;
    say(b, "passes done");
    if (!b->model)
        pass_each_graph(b->graph, forget_file_name);
    bool code = o->emit != EMIT_IR;
    if ((code || o->explain) && !generate(b))
        return false;
    if (o->explain && (!print_explanation(b) || (!o->output && !o->check)))
        return b->diag.status == STATUS_OK;
    if (o->check)
        return check(b);
    if (code && (o->emit != EMIT_CUDA || o->save_temps) && !compile(b))
        return false;
    progress(b, "writing");
    if (o->emit != EMIT_PLAN)
        return write_form(b) && (!o->depfile || write_depfile(b));
    if (!plan_write(o->output, b->graph, b->programs, o->targets.n, &b->compiled, b->nvrtc,
                    &b->diag))
        return false;
    say(b, "wrote %s; peak memory %ld KiB", o->output, peak_memory());
    return !o->depfile || write_depfile(b);
}

static void print_version(struct build *b)
{
    printf("gpucc %s\n", GPUCC_VERSION);
    struct diag diag = {0};
    b->nvrtc = nvrtc_open(&diag);
    if (b->nvrtc)
        printf("NVRTC %s, %s\n", nvrtc_build_id(b->nvrtc), nvrtc_file(b->nvrtc));
    else
        printf("NVRTC: %s\n", diag.first ? diag.first->text : "none");
    diag_free(&diag);
}

static void print_text(void (*write)(struct text *out))
{
    struct text out = {0};
    write(&out);
    fputs(out.failed ? "" : out.data, stdout);
    text_free(&out);
}

static void run(struct build *b, int argc, char **argv)
{
    if (setjmp(b->out_of_memory)) {
        diag_error(&b->diag, STATUS_LIMIT, NULL, "out of memory");
        return;
    }
    b->arena.on_oom = &b->out_of_memory;
    if (!options_parse(&b->arena, &b->diag, argc, argv, &b->options))
        return;
    if (b->options.help)
        print_text(options_help);
    else if (b->options.print_passes)
        print_text(options_passes);
    else if (b->options.version)
        print_version(b);
    else if (b->options.print_ops && !print_ops(stdout))
        diag_error(&b->diag, STATUS_LIMIT, NULL, "out of memory");
    else if (b->options.print_ops)
        return;
    else if (!build(b) && b->diag.status == STATUS_OK)
        diag_error(&b->diag, STATUS_INTERNAL, b->options.input, "failed without a reason");
}

int main(int argc, char **argv)
{
    static struct build b;
    b.started = now();
    b.terminal = isatty(STDERR_FILENO);
    run(&b, argc, argv);
    print_messages(&b);
    enum status status = b.diag.status;
    compiled_free(&b.compiled);
    calibration_free(&b.calibration);
    for (int i = 0; b.frozen && i < b.options.n_frozen; i++)
        tensor_free(&b.frozen[i]);
    arena_free(&b.arena);
    model_close(b.model);
    nvrtc_close(b.nvrtc);
    diag_free(&b.diag);
    if ((fflush(stdout) || ferror(stdout)) && status == STATUS_OK) {
        fprintf(stderr, "gpucc: stdout: %s\n", strerror(errno));
        status = STATUS_IO;
    }
    return (int)status;
}
