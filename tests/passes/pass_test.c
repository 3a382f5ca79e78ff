/*
 * pass_test [--bless] FILE…: passes on a graph in text.
 *
 *   # RUN: fold_constants, remove_dead     the passes, in order
 *   # PRECISION: fp16, Softmax=fp32       optional: --precision and --keep of set_precision
 *   # WITH: n=3, m=1                       optional: sizes for the run below (default: all are 2)
 *   graph …                                the operand
 *   # EXPECT
 *   graph …                                what the printer must write after the passes
 *
 * --bless rewrites the expectation. Whatever the expectation, both graphs are also evaluated on the
 * same numbers and must agree: to the bit, or, behind the passes of rounds_elsewhere, to 1e-5;
 * behind set_precision to 2e-2.
 */
#include "../../ir/eval.h"
#include "../../ir/text.h"
#include "../../passes/passes.h"
#include "../../passes/precision.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char expect_mark[] = "# EXPECT\n";

struct test {
    const char *file;
    char *text;           /* the whole file */
    size_t operand;       /* length of the operand's part, directives included */
    const char *expected; /* behind the mark */
    char run[256], with[256], precision[256]; /* the directives' lists */
    struct arena arena;
    struct diag diag;
};

static bool fail(const struct test *t, const char *what)
{
    fprintf(stderr, "%s: %s\n", t->file, what);
    for (const struct diag_message *m = t->diag.first; m; m = m->next)
        fprintf(stderr, "  %s: %s\n", m->where ? m->where : "", m->text);
    return false;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = text ? fread(text, 1, (1 << 20) - 1, file) : 0;
    fclose(file);
    if (text)
        text[n] = 0;
    return text;
}

static void read_directive(const char *text, const char *name, char list[256])
{
    const char *at = strstr(text, name);
    list[0] = 0;
    if (at)
        snprintf(list, 256, "%.*s", (int)strcspn(at + strlen(name), "\n"), at + strlen(name));
}

/* What set_precision is asked for: a precision, and rules of --keep behind it. */
static bool ask_for_precision(struct test *t, struct graph *g)
{
    struct precision *precision = ARENA_NEW(&t->arena, struct precision);
    struct precision_rule *rules = ARENA_ARRAY(&t->arena, 16, struct precision_rule);
    char *list = arena_strdup(&t->arena, t->precision);
    precision->rules = rules;
    for (char *word = strtok(list, ", "); word; word = strtok(NULL, ", ")) {
        char *equal = strchr(word, '=');
        enum precision_level level = precision_parse(equal ? equal + 1 : word);
        if (level == PRECISION_COUNT || precision->n_rules == 16)
            return fail(t, "no such precision");
        if (equal)
            rules[precision->n_rules++] = (struct precision_rule){word, level};
        else
            precision->wanted = level;
        if (equal)
            *equal = 0;
    }
    g->precision = precision;
    return true;
}

/* Calls the passes of the list. */
static bool run_passes(struct test *t, struct graph *g)
{
    char list[256];
    bool changed;
    snprintf(list, sizeof(list), "%s", t->run);
    for (char *name = strtok(list, ", "); name; name = strtok(NULL, ", ")) {
        if (!pass_run_by_name(g, name, &changed))
            return fail(t, "no pass of that name");
        if (t->diag.errors || !graph_verify(g, name))
            return fail(t, "a pass broke the graph");
    }
    return t->run[0] || fail(t, "no '# RUN:' line");
}

/* ---- Evaluation of both graphs. */

static int64_t symbol_value(const struct test *t, const char *name)
{
    char key[256];
    snprintf(key, sizeof(key), " %s=", name);
    const char *at = strstr(t->with, key);
    return at ? strtoll(at + strlen(key), NULL, 10) : 2;
}

/* Numbers that look random; floats with what is special about floats among them. */
static void fill(struct tensor *x, bool special, uint32_t *seed)
{
    static const double specials[] = {-0.0, (double)NAN, (double)INFINITY, -(double)INFINITY, 0.0};
    size_t width = dtype_size(x->type);
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        *seed = *seed * 1664525 + 1013904223;
        double number = (double)(*seed >> 8) / (1 << 22) - 2;
        if (special && i < 5)
            number = specials[i];
        float single = (float)number;
        uint64_t bits = *seed >> 24 & (x->type == DT_BOOL ? 1 : dtype_is_int(x->type) ? 3 : 0x3f);
        char *at = (char *)x->data + (size_t)i * width;
        if (x->type == DT_F32)
            memcpy(at, &single, width);
        else if (x->type == DT_F64)
            memcpy(at, &number, width);
        else
            memcpy(at, &bits, width);
    }
}

/* Passes that change the order of roundings, and may give a limit for what was NaN. */
static bool rounds_elsewhere(const struct test *t)
{
    return strstr(t->run, "fold_batch_norm") || strstr(t->run, "recognize_") ||
           strstr(t->run, "merge_contractions") || strstr(t->run, "fold_quantization") ||
           strstr(t->run, "lower_transposed");
}

static bool make_inputs(struct test *t, struct graph *g, struct tensor *inputs)
{
    uint32_t seed = 1;
    bool special = !rounds_elsewhere(t) && !t->precision[0];
    int n = dim_symbol_count(g->dims);
    int64_t *symbols = arena_array(&t->arena, (size_t)n + 1, sizeof(*symbols));
    for (int i = 0; i < n; i++)
        symbols[i] = symbol_value(t, dim_symbol_name(g->dims, i));
    for (int i = 0; i < g->n_inputs; i++) {
        const struct value *v = g->inputs[i];
        inputs[i] = (struct tensor){.type = v->type, .rank = v->rank};
        for (int k = 0; k < v->rank; k++)
            if (!dim_eval(v->shape[k], symbols, &inputs[i].shape[k]))
                return fail(t, "an input's size cannot be computed");
        inputs[i].size = (size_t)tensor_elements(&inputs[i]) * dtype_size(v->type);
        inputs[i].data = arena_alloc(&t->arena, inputs[i].size + 1);
        fill(&inputs[i], special, &seed);
    }
    return true;
}

static bool same_element(const struct tensor *a, const struct tensor *b, int64_t i, double relative)
{
    size_t width = dtype_size(a->type);
    if (!dtype_is_float(a->type) || relative == 0) {
        bool both_nan = dtype_is_float(a->type) && isnan(tensor_get_float(a, i)) &&
                        isnan(tensor_get_float(b, i));
        return both_nan || !memcmp((char *)a->data + (size_t)i * width,
                                   (char *)b->data + (size_t)i * width, width);
    }
    double x = tensor_get_float(a, i), y = tensor_get_float(b, i);
    return x == y || fabs(x - y) <= relative * (fabs(x) + 1);
}

static bool same_tensor(const struct tensor *a, const struct tensor *b, double relative)
{
    if (a->type != b->type || a->rank != b->rank || a->size != b->size)
        return false;
    for (int64_t i = 0; i < tensor_elements(a); i++)
        if (!same_element(a, b, i, relative))
            return false;
    return true;
}

/* Constants without elements are legal in text, but cannot be evaluated. */
static bool has_opaque_constant(const struct graph *g)
{
    for (const struct node *n = g->first; n; n = n->next)
        if (n->op == OP_constant && !n->attr.constant.data->bytes)
            return true;
    return false;
}

static bool same_numbers(struct test *t, struct graph *before, struct graph *after)
{
    struct tensor *inputs = arena_array(&t->arena, (size_t)before->n_inputs + 1, sizeof(*inputs));
    struct tensor *x = arena_array(&t->arena, (size_t)before->n_outputs + 1, sizeof(*x));
    struct tensor *y = arena_array(&t->arena, (size_t)before->n_outputs + 1, sizeof(*y));
    double relative = t->precision[0] ? 2e-2 : rounds_elsewhere(t) ? 1e-5 : 0;
    if (has_opaque_constant(before))
        return true;
    if (before->n_inputs != after->n_inputs || before->n_outputs != after->n_outputs)
        return fail(t, "the passes changed the interface");
    if (!make_inputs(t, before, inputs))
        return false;
    bool ok = eval_graph(before, inputs, x) || fail(t, "the operand cannot be evaluated");
    if (ok && !eval_graph(after, inputs, y))
        ok = fail(t, "the result cannot be evaluated");
    for (int i = 0; ok && i < before->n_outputs; i++)
        if (!same_tensor(&x[i], &y[i], relative))
            ok = fail(t, "the passes changed the numbers");
    for (int i = 0; i < before->n_outputs; i++) {
        tensor_free(&x[i]);
        tensor_free(&y[i]);
    }
    return ok;
}

/* ---- One file. */

static bool bless(struct test *t, const struct text *printed)
{
    FILE *file = fopen(t->file, "wb");
    if (!file)
        return fail(t, "cannot be written");
    fprintf(file, "%.*s%s%s", (int)t->operand, t->text, expect_mark, printed->data);
    return fclose(file) == 0 || fail(t, "cannot be written");
}

static bool compare(struct test *t, const struct text *printed)
{
    if (strcmp(printed->data, t->expected) == 0)
        return true;
    fail(t, "the passes gave another graph");
    fprintf(stderr, "--- expected\n%s--- got\n%s", t->expected, printed->data);
    return false;
}

static bool run_test(struct test *t, bool blessing)
{
    const char *mark = strstr(t->text, expect_mark);
    t->operand = mark ? (size_t)(mark - t->text) : strlen(t->text);
    t->expected = mark ? mark + strlen(expect_mark) : "";
    read_directive(t->text, "# RUN:", t->run);
    read_directive(t->text, "# WITH:", t->with);
    read_directive(t->text, "# PRECISION:", t->precision);
    struct graph *before = graph_parse(&t->arena, &t->diag, t->file, t->text, t->operand);
    struct graph *g = graph_parse(&t->arena, &t->diag, t->file, t->text, t->operand);
    if (!g || !before || !graph_verify(g, "model"))
        return fail(t, "the operand is no graph");
    if (t->precision[0] && !ask_for_precision(t, g))
        return false;
    if (!run_passes(t, g))
        return false;
    struct text printed = {0};
    graph_print(&printed, g, 0);
    bool ok = same_numbers(t, before, g);
    ok = ok && (blessing ? bless(t, &printed) : compare(t, &printed));
    text_free(&printed);
    return ok;
}

static bool run_file(const char *path, bool blessing)
{
    struct test t = {.file = path, .text = read_file(path)};
    if (!t.text)
        return fail(&t, "cannot be read");
    jmp_buf oom;
    bool ok = false;
    t.arena.on_oom = &oom;
    if (setjmp(oom) == 0)
        ok = run_test(&t, blessing);
    else
        fail(&t, "out of memory");
    arena_free(&t.arena);
    diag_free(&t.diag);
    free(t.text);
    return ok;
}

int main(int argc, char **argv)
{
    int first = argc > 1 && strcmp(argv[1], "--bless") == 0 ? 2 : 1, failures = 0;
    for (int i = first; i < argc; i++)
        failures += !run_file(argv[i], first == 2);
    return failures > 0;
}
