/* Dims become straight-line code: run here by a few lines that follow the format's table. */
#include "test.h"

#include "../../codegen/scalar_program.h"

#include <stdlib.h>
#include <string.h>

struct fixture {
    struct arena arena;
    jmp_buf out_of_memory;
    struct diag diag;
    struct graph *g;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->arena.on_oom = &f->out_of_memory;
    f->g = graph_create(&f->arena, &f->diag);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    arena_free(&f->arena);
    diag_free(&f->diag);
    free(f);
    return 0;
}

static const struct dim *input_dim(struct graph *g, const char *name, int input, int axis)
{
    struct symbol_source source = {.kind = SYMBOL_INPUT_DIM, .input = input, .axis = axis};
    return graph_symbol(g, name, source, 0, INT64_MAX);
}

static const struct dim *parse(struct graph *g, const char *text)
{
    return dim_parse(g->dims, &text);
}

static const char *texts[64];
static uint32_t n_texts;

static uint32_t string(void *context, const char *text)
{
    (void)context;
    texts[++n_texts] = text;
    return n_texts;
}

/* A program without READ steps. */
static struct scalar_program *create(struct graph *g)
{
    struct scalar_segment *root = ARENA_NEW(g->arena, struct scalar_segment);
    *root = (struct scalar_segment){.outer = -1, .body = g};
    return scalar_create(g, 1, root);
}

static int64_t divide(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Runs all segments. Returns the text of the check that failed, or NULL. */
static const char *run(const struct scalar_program *s, const int64_t *dims, const int64_t *elements,
                       int64_t *slots)
{
    uint32_t n;
    const uint32_t *begin;
    const struct plan_scalar *code = scalar_code(s, &n, &begin);
    for (uint32_t i = 0; i < n; i++) {
        bool two = code[i].op >= PLAN_SC_ADD;
        int64_t a = two ? slots[code[i].a] : 0, b = two ? slots[code[i].b] : 0;
        bool holds = true;
        switch (code[i].op) {
        case PLAN_SC_CONST: slots[i] = code[i].value; break;
        case PLAN_SC_INPUT_DIM: slots[i] = dims[code[i].b]; break;
        case PLAN_SC_ELEMENT: slots[i] = elements[code[i].b]; break;
        case PLAN_SC_LOOP_INDEX: slots[i] = 5; break;
        case PLAN_SC_ADD: slots[i] = a + b; break;
        case PLAN_SC_MUL: slots[i] = a * b; break;
        case PLAN_SC_FLOORDIV: slots[i] = divide(a, b); break;
        case PLAN_SC_MOD: slots[i] = a - b * divide(a, b); break;
        case PLAN_SC_MIN: slots[i] = a < b ? a : b; break;
        case PLAN_SC_MAX: slots[i] = a > b ? a : b; break;
        case PLAN_SC_EQ: slots[i] = a == b; break;
        case PLAN_SC_LT: slots[i] = a < b; break;
        case PLAN_SC_MUST_EQUAL: holds = a == b; break;
        case PLAN_SC_MUST_BROADCAST: holds = a == b || a == 1; break;
        case PLAN_SC_MUST_LESS_EQUAL: holds = a <= b; break;
        default: fail_msg("op %u is never emitted", code[i].op);
        }
        if (!holds)
            return texts[code[i].text];
    }
    return NULL;
}

static void formulas_keep_their_values(void **state)
{
    struct fixture *f = *state;
    struct graph *g = f->g;
    const struct dim *shape[] = {input_dim(g, "n", 0, 0), input_dim(g, "m", 0, 1)};
    graph_add_input(g, "x", DT_F32, 2, shape);
    static const char *const formulas[] = {
        "n",
        "7",
        "2*n*m + 3*n - 5",
        "floordiv(n - 3, 2) + 1",
        "mod(n*m, 7)",
        "min(n, m) * max(n, 4)",
        "eq(n, m) + lt(n, m)",
        "floordiv(n - 9, 4)",
    };
    enum { N = sizeof formulas / sizeof formulas[0] };
    const struct dim *dims[N];
    struct scalar_program *s = create(g);
    for (int i = 0; i < N; i++)
        scalar_want(s, dims[i] = parse(g, formulas[i]));
    assert_true(scalar_emit(s, string, NULL));
    for (int64_t n = 1; n < 12; n++) {
        int64_t symbols[] = {n, 5}, slots[256];
        assert_null(run(s, symbols, NULL, slots));
        for (int i = 0; i < N; i++) {
            int64_t wanted;
            assert_true(dim_eval(dims[i], symbols, &wanted));
            assert_int_equal(slots[scalar_slot(s, dims[i])], wanted);
        }
    }
}

static void equal_subexpressions_are_computed_once(void **state)
{
    struct fixture *f = *state;
    const struct dim *n = input_dim(f->g, "n", 0, 0);
    graph_add_input(f->g, "x", DT_F32, 1, &n);
    struct scalar_program *s = create(f->g);
    scalar_want(s, parse(f->g, "floordiv(n, 4)"));
    scalar_want(s, parse(f->g, "floordiv(n, 4)"));
    scalar_want(s, parse(f->g, "3*floordiv(n, 4)"));
    assert_true(scalar_emit(s, string, NULL));
    uint32_t count;
    const uint32_t *begin;
    const struct plan_scalar *code = scalar_code(s, &count, &begin);
    int divisions = 0;
    for (uint32_t i = 0; i < count; i++)
        divisions += code[i].op == PLAN_SC_FLOORDIV;
    assert_int_equal(divisions, 1);
}

static void constraints_are_checked_with_their_text(void **state)
{
    struct fixture *f = *state;
    struct graph *g = f->g;
    const struct dim *shape[] = {input_dim(g, "n", 0, 0), input_dim(g, "m", 0, 1)};
    graph_add_input(g, "x", DT_F32, 2, shape);
    assert_true(graph_constrain(g, MUST_EQUAL, shape[0], shape[1], "node 'add': %s", "n != m"));
    struct scalar_program *s = create(g);
    assert_true(scalar_emit(s, string, NULL));
    int64_t slots[64], same[] = {3, 3}, other[] = {3, 4};
    assert_null(run(s, same, NULL, slots));
    assert_string_equal(run(s, other, NULL, slots), "node 'add': n != m");
}

static void an_input_must_have_the_shape_it_declares(void **state)
{
    struct fixture *f = *state;
    struct graph *g = f->g;
    const struct dim *n = input_dim(g, "n", 0, 0);
    const struct dim *shape[] = {n, parse(g, "2*n + 1")};
    graph_add_input(g, "x", DT_F32, 2, shape);
    struct scalar_program *s = create(g);
    assert_true(scalar_emit(s, string, NULL));
    int64_t slots[64], right[] = {3, 7}, wrong[] = {3, 8};
    assert_null(run(s, right, NULL, slots));
    assert_non_null(strstr(run(s, wrong, NULL, slots), "input 'x', axis 1"));
}

static void bounds_that_were_relied_on_are_checked(void **state)
{
    struct fixture *f = *state;
    struct symbol_source source = {.kind = SYMBOL_INPUT_DIM};
    const struct dim *n = graph_symbol(f->g, "n", source, 2, 10);
    graph_add_input(f->g, "x", DT_F32, 1, &n);
    struct scalar_program *s = create(f->g);
    assert_true(scalar_emit(s, string, NULL));
    int64_t slots[64], few = 1, right = 10, many = 11;
    assert_null(run(s, &right, NULL, slots));
    assert_string_equal(run(s, &few, NULL, slots), "n must be at least 2");
    assert_string_equal(run(s, &many, NULL, slots), "n must be at most 10");
}

static void what_depends_on_an_element_runs_after_its_read(void **state)
{
    struct fixture *f = *state;
    struct graph *g = f->g;
    const struct dim *shape[] = {input_dim(g, "n", 0, 0)}, *two = dim_const(g->dims, 2);
    graph_add_input(g, "x", DT_F32, 1, shape);
    struct value *v = graph_add_input(g, "shape", DT_I64, 1, &two);
    struct symbol_source source = {.kind = SYMBOL_ELEMENT, .value = v, .element = 1};
    const struct dim *k = graph_symbol(g, "k", source, 0, INT64_MAX);
    const struct dim *both = dim_mul(g->dims, k, shape[0]);
    const struct scalar_segment segments[] = {{.outer = -1, .body = g}, {.read = v, .outer = 0}};
    struct scalar_program *s = scalar_create(g, 2, segments);
    scalar_want(s, both);
    scalar_want(s, shape[0]);
    assert_int_equal(scalar_segment_of(s, shape[0]), 0);
    assert_int_equal(scalar_segment_of(s, both), 1);
    assert_true(scalar_emit(s, string, NULL));
    uint32_t count;
    const uint32_t *begin;
    scalar_code(s, &count, &begin);
    assert_true(scalar_slot(s, shape[0]) < begin[1]);
    assert_true(scalar_slot(s, both) >= begin[1]);
    int64_t slots[64], dims[] = {6}, elements[] = {1, 7};
    assert_null(run(s, dims, elements, slots));
    assert_int_equal(slots[scalar_slot(s, both)], 42);
}

static void a_size_that_nothing_computes_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct scalar_program *s = create(f->g);
    scalar_want(s, dim_symbol(f->g->dims, "lost", 0, INT64_MAX));
    assert_false(scalar_emit(s, string, NULL));
    assert_int_equal(f->diag.status, STATUS_INTERNAL);
    assert_non_null(strstr(f->diag.first->text, "lost"));
}

#define WITH_GRAPH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_GRAPH(formulas_keep_their_values),
        WITH_GRAPH(equal_subexpressions_are_computed_once),
        WITH_GRAPH(constraints_are_checked_with_their_text),
        WITH_GRAPH(an_input_must_have_the_shape_it_declares),
        WITH_GRAPH(bounds_that_were_relied_on_are_checked),
        WITH_GRAPH(what_depends_on_an_element_runs_after_its_read),
        WITH_GRAPH(a_size_that_nothing_computes_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
