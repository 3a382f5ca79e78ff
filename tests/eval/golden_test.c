/*
 * eval_golden_test [--bless] FILE…: graphs without inputs, whose outputs stand at the end of the
 * file as
 * "# EXPECT name: numbers". --bless rewrites these lines.
 */
#include "../../ir/eval.h"
#include "../../ir/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char expect_mark[] = "# EXPECT ";

enum { MOST_TEXT = 1 << 16, MOST_OUTPUTS = 8 };

static int fail(const char *file, const char *what, const struct diag *diag)
{
    fprintf(stderr, "%s: %s\n", file, what);
    for (const struct diag_message *m = diag->first; m; m = m->next)
        fprintf(stderr, "  %s: %s\n", m->where ? m->where : "", m->text);
    return 1;
}

static void print_numbers(struct text *out, const struct tensor *t)
{
    for (int64_t i = 0; i < tensor_elements(t); i++) {
        double x = tensor_get_float(t, i);
        if (isnan(x)) /* its sign means nothing */
            text_printf(out, " nan");
        else
            text_printf(out, " %.9g", x);
    }
}

/* The EXPECT lines that the graph deserves. */
static bool print_outputs(struct text *out, struct graph *g)
{
    struct tensor values[MOST_OUTPUTS];
    if (g->n_inputs || g->n_outputs > MOST_OUTPUTS || !eval_graph(g, NULL, values))
        return false;
    for (int i = 0; i < g->n_outputs; i++) {
        text_printf(out, "%s%s:", expect_mark, g->output_names[i]);
        print_numbers(out, &values[i]);
        text_printf(out, "\n");
        tensor_free(&values[i]);
    }
    return true;
}

static int bless(const char *file, const char *text, size_t length, const struct text *got)
{
    FILE *f = fopen(file, "wb");
    bool ok = f && fwrite(text, 1, length, f) == length &&
              fwrite(got->data, 1, got->length, f) == got->length;
    return (f && fclose(f)) || !ok ? fail(file, "cannot be written", &(struct diag){0}) : 0;
}

static int run_file(const char *file, bool blessing)
{
    static char text[MOST_TEXT];
    FILE *f = fopen(file, "rb");
    if (!f)
        return fail(file, "cannot be read", &(struct diag){0});
    text[fread(text, 1, MOST_TEXT - 1, f)] = 0;
    fclose(f);
    const char *expected = strstr(text, expect_mark);
    size_t length = expected ? (size_t)(expected - text) : strlen(text);
    struct arena arena = {0}; /* on_oom unset: out of memory aborts, which fails the test */
    struct diag diag = {0};
    struct text got = {0};
    int failed = 0;
    struct graph *g = graph_parse(&arena, &diag, file, text, length);
    if (!g || !graph_verify(g, "model") || !print_outputs(&got, g))
        failed = fail(file, "cannot be evaluated", &diag);
    else if (blessing)
        failed = bless(file, text, length, &got);
    else if (!expected || strcmp(expected, got.data) != 0) {
        failed = fail(file, "other numbers came out", &diag);
        fprintf(stderr, "--- expected\n%s--- got\n%s", expected ? expected : "", got.data);
    }
    text_free(&got);
    diag_free(&diag);
    arena_free(&arena);
    return failed;
}

int main(int argc, char **argv)
{
    bool blessing = argc > 1 && strcmp(argv[1], "--bless") == 0;
    int failed = 0;
    for (int i = 1 + blessing; i < argc; i++)
        failed |= run_file(argv[i], blessing);
    return failed;
}
