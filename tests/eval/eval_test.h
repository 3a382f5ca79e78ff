/* What the evaluator's tests share: a graph from text, numbers in, numbers out. */
#ifndef GPUCC_TESTS_EVAL_TEST_H
#define GPUCC_TESTS_EVAL_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../ir/eval.h"
#include "../../ir/text.h"

struct world {
    struct arena arena; /* on_oom unset: out of memory aborts, which fails the test */
    struct diag diag;
    struct graph *g;
};

static inline void world_open(struct world *w, const char *text)
{
    *w = (struct world){0};
    w->g = graph_parse(&w->arena, &w->diag, "test", text, strlen(text));
    if (!w->g || !graph_verify(w->g, "model"))
        fail_msg("%s\n%s", w->diag.first->text, text);
}

static inline void world_close(struct world *w)
{
    arena_free(&w->arena);
    diag_free(&w->diag);
}

/* A tensor around data, for an input. */
static inline struct tensor tensor_of(enum dtype type, int rank, const int64_t *shape, void *data)
{
    struct tensor t = {.type = type, .rank = rank, .data = data, .size = dtype_size(type)};
    for (int i = 0; i < rank; i++) {
        t.shape[i] = shape[i];
        t.size *= (size_t)shape[i];
    }
    return t;
}

/* The values of `line`, a node that defines %9 from literals (written as text before it), must
 * print as `expected`: "1 2 -inf nan". */
static inline void assert_values(const char *lines, const char *expected)
{
    struct world w;
    struct text text = {0}, got = {0};
    text_printf(&text, "graph \"test\"\n%s\noutput \"y\" = %%9\n", lines);
    world_open(&w, text.data);
    struct tensor out;
    if (!eval_graph(w.g, NULL, &out))
        fail_msg("%s\n%s", w.diag.first->text, lines);
    for (int64_t i = 0; i < tensor_elements(&out); i++) {
        double x = tensor_get_float(&out, i);
        text_printf(&got, i ? " " : "");
        if (isnan(x))
            text_printf(&got, "nan"); /* NaN's sign means nothing */
        else
            text_printf(&got, "%.6g", x);
    }
    assert_string_equal(got.data ? got.data : "", expected);
    tensor_free(&out);
    text_free(&got);
    text_free(&text);
    world_close(&w);
}

#endif
