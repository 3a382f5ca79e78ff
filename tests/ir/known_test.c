/* Shape arithmetic in tensors is followed back to dims. */
#include "ir_test.h"

static void assert_known(struct world *w, struct value *v, int n, const char *const *expected)
{
    const struct dim *elements[8];
    assert_non_null(v);
    assert_true(graph_known_elements(w->g, v, elements, 8));
    for (int i = 0; i < n; i++)
        assert_dim(w, elements[i], expected[i]);
}

#define ASSERT_KNOWN(w, v, ...)                                                                    \
    assert_known(w, v, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),              \
                 (const char *[]){__VA_ARGS__})

static struct value *sizes(struct world *w)
{
    const struct dim *d[3] = {w->n, build_d(&w->b, 3),
                              dim_add(w->g->dims, w->m, build_d(&w->b, 1))};
    return build_dims(&w->b, 3, d);
}

static void dims_put_into_a_tensor_come_back(void **state)
{
    struct world *w = *state;
    ASSERT_KNOWN(w, sizes(w), "n", "3", "m + 1");
    ASSERT_KNOWN(w, build_dim(&w->b, parse_dim(w, "2*n")), "2*n");
    ASSERT_KNOWN(w, build_int(&w->b, DT_I32, -7), "-7");
}

static void views_of_sizes_are_followed(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *s = sizes(w), *last = build_slice_axis(b, s, 0, build_d(b, 2), build_d(b, 1));
    ASSERT_KNOWN(w, build_concat(b, 2, (struct value *[]){last, s}, 0), "m + 1", "n", "3", "m + 1");
    ASSERT_KNOWN(w, build_gather(b, s, build_ints(b, 2, (int64_t[]){-1, 0}), 0), "m + 1", "n");
    ASSERT_KNOWN(w, build_reduce(b, OP_reduce_prod, s, 1, false), "3*n*m + 3*n");
    ASSERT_KNOWN(w, build_expand(b, build_dim(b, w->n), 1, (const struct dim *[]){build_d(b, 2)}),
                 "n", "n");
}

static void arithmetic_on_sizes_is_followed(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *s = sizes(w), *two = build_int(b, DT_I64, 2), *zero = build_int(b, DT_I64, 0);
    ASSERT_KNOWN(w, build_binary(b, OP_div, s, two), "floordiv(n, 2)", "1", "floordiv(m + 1, 2)");
    ASSERT_KNOWN(w, build_binary(b, OP_mul, s, two), "2*n", "6", "2*m + 2");
    ASSERT_KNOWN(w, build_select(b, build_binary(b, OP_eq, s, zero), two, s),
                 "-n*eq(n, 0) + n + 2*eq(n, 0)", "3", "m + 1");
}

static void exact_detours_through_floats_are_followed(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *half = build_binary(b, OP_mul, build_cast(b, build_dim(b, w->n), DT_F32),
                                      build_float(b, DT_F32, 0.5));
    ASSERT_KNOWN(w, build_cast(b, build_unary(b, OP_floor, half), DT_I64), "floordiv(n, 2)");
}

static void places_of_what_is_known_to_be_true_are_known(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *n = build_ints(b, 4, (int64_t[]){5, 0, 0, 7}), *zero = build_int(b, DT_I64, 0);
    struct value *mask = build_unary(b, OP_not, build_binary(b, OP_eq, n, zero));
    union attr attr = {.compact = {build_d(b, 3)}};
    struct value *places = build_tensor(b, OP_compact, 1, &mask, &attr);
    ASSERT_KNOWN(w, places, "0", "3", "0");
    ASSERT_KNOWN(w, places->def->out[1], "2");
}

static void what_depends_on_data_is_unknown(void **state)
{
    struct world *w = *state;
    const struct dim *element;
    assert_false(graph_known_elements(w->g, input(w, "i64[]"), &element, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(dims_put_into_a_tensor_come_back),
        RULE(views_of_sizes_are_followed),
        RULE(places_of_what_is_known_to_be_true_are_known),
        RULE(arithmetic_on_sizes_is_followed),
        RULE(exact_detours_through_floats_are_followed),
        RULE(what_depends_on_data_is_unknown),
    };
    return cmocka_run_group_tests_name("known", tests, NULL, NULL);
}
