/* What the cmocka tests of ir/ share: a graph of one's own for each test. */
#ifndef GPUCC_TESTS_IR_TEST_H
#define GPUCC_TESTS_IR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../ir/build.h"
#include "../../ir/text.h"

struct world {
    struct arena arena;
    struct diag diag;
    struct graph *g;
    struct builder b;
    const struct dim *n, *m; /* free sizes, 0 or more */
};

static inline int world_open(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->g = graph_create(&w->arena, &w->diag); /* out of memory: abort, which fails the test */
    w->b.g = w->g;
    struct symbol_source source = {.kind = SYMBOL_FREE};
    w->n = graph_symbol(w->g, "n", source, 0, INT64_MAX);
    w->m = graph_symbol(w->g, "m", source, 0, INT64_MAX);
    *state = w;
    return 0;
}

static inline int world_close(void **state)
{
    struct world *w = *state;
    arena_free(&w->arena);
    diag_free(&w->diag);
    free(w);
    return 0;
}

/* A dim from text. */
static inline const struct dim *parse_dim(struct world *w, const char *text)
{
    const struct dim *d = dim_parse(w->g->dims, &text);
    assert_non_null(d);
    assert_string_equal(text, "");
    return d;
}

static inline void assert_dim(struct world *w, const struct dim *d, const char *expected)
{
    struct text text = {0};
    dim_print(&text, w->g->dims, d);
    assert_string_equal(text.data, expected);
    text_free(&text);
}

/* An input whose type is written as in text: "f32[n, 3]". */
static inline struct value *input(struct world *w, const char *type)
{
    const struct dim *shape[MAX_RANK];
    const char *open = strchr(type, '['), *at = open + 1;
    int rank = 0;
    while (*at != ']') {
        shape[rank] = dim_parse(w->g->dims, &at);
        assert_non_null(shape[rank++]);
        at += *at == ',';
    }
    return graph_add_input(w->g, "x", dtype_parse(type, (size_t)(open - type)), rank, shape);
}

static inline void assert_type(struct world *w, const struct value *v, const char *expected)
{
    struct text text = {0};
    if (!v && w->diag.last)
        fail_msg("%s", w->diag.last->text);
    assert_non_null(v);
    text_type(&text, w->g, v);
    assert_string_equal(text.data, expected);
    text_free(&text);
}

static inline void assert_error(struct world *w, enum status status, const char *part)
{
    assert_int_equal(w->diag.status, status);
    if (!strstr(w->diag.last->text, part))
        fail_msg("'%s' does not say '%s'", w->diag.last->text, part);
}

static inline int constraint_count(const struct world *w)
{
    int n = 0;
    for (const struct constraint *c = w->g->constraints; c; c = c->next)
        n++;
    return n;
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

#endif
