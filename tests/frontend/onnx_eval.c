/*
 * onnx_eval MODEL.onnx [--rtol R] [--atol A] [DIR…]: imports a model and runs it in the reference
 * evaluator on the data sets DIR (input_0.pb, …, output_0.pb, …), comparing |a - b| <= A + R |b|
 * (1e-7 and 1e-3).
 *
 * Last line of output: "ok", "unsupported", "bad", "wrong" with the first reason. Exit status 0 if
 * ok.
 */
#include "../../frontend/frontend.h"
#include "../../ir/text.h"
#include "../../tools/tensor_io.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double relative = 1e-3, absolute = 1e-7;
static char **folders; /* data sets, ended by NULL */

static int verdict(const char *kind, struct diag *diag)
{
    const struct diag_message *m = diag ? diag->first : NULL;
    while (m && m->status == STATUS_OK)
        m = m->next;
    printf("%s %s: %s\n", kind, m && m->where ? m->where : "", m ? m->text : "");
    return strcmp(kind, "ok") != 0;
}

static bool same(const struct tensor *got, const struct tensor *want, char *why, size_t room)
{
    bool shapes = got->rank == want->rank && got->type == want->type;
    for (int i = 0; shapes && i < got->rank; i++)
        shapes = got->shape[i] == want->shape[i];
    if (!shapes) {
        int at = snprintf(why, room, "got %s[", dtype_info[got->type].text);
        for (int i = 0; i < got->rank; i++)
            at += snprintf(why + at, room - (size_t)at, "%lld ", (long long)got->shape[i]);
        at += snprintf(why + at, room - (size_t)at, "] want %s[", dtype_info[want->type].text);
        for (int i = 0; i < want->rank; i++)
            at += snprintf(why + at, room - (size_t)at, "%lld ", (long long)want->shape[i]);
        snprintf(why + at, room - (size_t)at, "]");
        return false;
    }
    for (int64_t i = 0; i < tensor_elements(want); i++) {
        if (!dtype_is_float(want->type)) {
            int64_t a = tensor_get_int(got, i), b = tensor_get_int(want, i);
            if (a == b)
                continue;
            snprintf(why, room, "element %lld: got %lld want %lld", (long long)i, (long long)a,
                     (long long)b);
            return false;
        }
        double a = tensor_get_float(got, i), b = tensor_get_float(want, i);
        if ((isnan(a) && isnan(b)) || a == b || fabs(a - b) <= absolute + relative * fabs(b))
            continue;
        snprintf(why, room, "element %lld: got %.9g want %.9g", (long long)i, a, b);
        return false;
    }
    return true;
}

static bool same_list(const struct tensor *got, const struct tensor *want, char *why, size_t room)
{
    int64_t n = tensor_list_length(got);
    if (n != tensor_list_length(want)) {
        snprintf(why, room, "got %lld elements want %lld", (long long)n,
                 (long long)tensor_list_length(want));
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        struct tensor a = tensor_list_at(got, i), b = tensor_list_at(want, i);
        if (!same(&a, &b, why, room))
            return false;
    }
    return true;
}

/* A file's tensor, or list where `type` is a list's; its data is malloc'ed. */
static bool read_value(const char *path, enum dtype type, struct tensor *t)
{
    struct diag diag = {0};
    struct tensor_want want = {"", dtype_is_list(type) ? type : DT_NONE, -1, NULL};
    bool done = tensor_read(&diag, path, &want, t);
    diag_free(&diag);
    return done;
}

/* 0: right; else a verdict was printed. */
static int run_set(struct graph *g, const char *folder)
{
    struct tensor in[64] = {0}, out[64] = {0};
    char path[4096], why[512];
    for (int i = 0; i < g->n_inputs && i < 64; i++) {
        snprintf(path, sizeof path, "%s/input_%d.pb", folder, i);
        if (!read_value(path, g->inputs[i]->type, &in[i])) {
            printf("wrong %s cannot be read\n", path);
            return 1;
        }
    }
    int status = 0;
    if (!eval_graph(g, in, out))
        status = verdict("wrong", g->diag);
    for (int i = 0; i < g->n_outputs && i < 64; i++) {
        struct tensor want = {0};
        enum dtype type = g->outputs[i]->type;
        snprintf(path, sizeof path, "%s/output_%d.pb", folder, i);
        if (status == 0 && !read_value(path, type, &want))
            status = 1, printf("wrong %s cannot be read\n", path);
        if (status == 0 &&
            !(dtype_is_list(type) ? same_list : same)(&out[i], &want, why, sizeof why))
            status = 1, printf("wrong output %d: %s\n", i, why);
        tensor_free(&out[i]);
        tensor_free(&want);
    }
    for (int i = 0; i < g->n_inputs && i < 64; i++)
        tensor_free(&in[i]);
    return status;
}

static int check(struct model *model, struct arena *arena, struct diag *diag)
{
    struct graph *g = frontend_load(arena, diag, model, NULL);
    for (const struct diag_message *m = diag->first; m; m = m->next)
        fprintf(stderr, "%s: %s%s\n", m->where ? m->where : "",
                m->status ? "" : "warning: ", m->text);
    if (!g)
        return verdict(diag->status == STATUS_UNSUPPORTED ? "unsupported" : "bad", diag);
    if (!graph_verify(g, "model"))
        return verdict("bad", diag);
    if (*folders && strcmp(*folders, "--print") == 0) {
        struct text text = {0};
        graph_print(&text, g, PRINT_ORIGINS);
        fputs(text.data, stdout);
        text_free(&text);
        return 0;
    }
    int status = 0;
    for (; *folders && status == 0; folders++)
        status = run_set(g, *folders);
    return status ? status : verdict("ok", NULL);
}

/* Sets the tolerances, and folders to the arguments behind them. */
static void read_flags(char **argv)
{
    for (; argv[0] && argv[1] && strncmp(argv[0], "--", 2) == 0; argv += 2)
        *(strcmp(argv[0], "--rtol") == 0 ? &relative : &absolute) = atof(argv[1]);
    folders = argv;
}

int main(int argc, char **argv)
{
    struct diag diag = {0};
    struct model *model = argc > 1 ? model_open(&diag, argv[1]) : NULL;
    if (!model) {
        verdict("bad", &diag);
        diag_free(&diag);
        return 1;
    }
    jmp_buf oom;
    struct arena arena = {.on_oom = &oom};
    read_flags(argv + 2);
    int status = setjmp(oom) ? verdict("bad: out of memory", NULL) : check(model, &arena, &diag);
    arena_free(&arena);
    model_close(model);
    diag_free(&diag);
    return status;
}
