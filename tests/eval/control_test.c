/* Control flow in the evaluator: branches, loops, and bodies inside bodies. */
#include "eval_test.h"

/* What a graph of i64 scalars a and b gives, all its outputs in a row. */
static void assert_results(const char *text, int64_t a, int64_t b, const char *expected)
{
    struct world w;
    struct text got = {0};
    struct tensor in[2] = {tensor_of(DT_I64, 0, NULL, &a), tensor_of(DT_I64, 0, NULL, &b)};
    struct tensor out[4];
    world_open(&w, text);
    if (!eval_graph(w.g, in, out))
        fail_msg("%s", w.diag.first->text);
    for (int i = 0; i < w.g->n_outputs; i++) {
        text_printf(&got, i ? " |" : "");
        for (int64_t k = 0; k < tensor_elements(&out[i]); k++)
            text_printf(&got, "%s%lld", i || k ? " " : "", (long long)tensor_get_int(&out[i], k));
        tensor_free(&out[i]);
    }
    assert_string_equal(got.data ? got.data : "", expected);
    text_free(&got);
    world_close(&w);
}

static void assert_fails(const char *text, int64_t a, int64_t b, enum status status,
                         const char *part)
{
    struct world w;
    struct tensor in[2] = {tensor_of(DT_I64, 0, NULL, &a), tensor_of(DT_I64, 0, NULL, &b)};
    struct tensor out[4];
    world_open(&w, text);
    assert_false(eval_graph(w.g, in, out));
    assert_int_equal(w.diag.status, status);
    if (!strstr(w.diag.first->text, part) || w.diag.errors != 1)
        fail_msg("'%s' does not say '%s' alone", w.diag.first->text, part);
    world_close(&w);
}

#define TWO_INPUTS                                                                                 \
    "graph \"test\"\nsymbol a in [0, inf]\nsymbol b in [0, inf]\nsymbol i in [0, inf]\n"           \
    "symbol j in [0, inf]\nsymbol s in [0, inf]\n%0 = input \"a\" : i64[]\n"                       \
    "%1 = input \"b\" : i64[]\nsource a = element %0, 0\nsource b = element %1, 0\n"

static void a_branch_runs_one_of_its_bodies(void **state)
{
    (void)state;
    static const char text[] = TWO_INPUTS "%5, %6 = branch %0, %1 {condition=a} {\n"
                                          "  %2 = input : i64[]\n"
                                          "  %3 = input : i64[]\n"
                                          "  %4 = add %2, %3\n"
                                          "  output %4\n"
                                          "  output %3\n"
                                          "} {\n"
                                          "  %7 = input : i64[]\n"
                                          "  %8 = input : i64[]\n"
                                          "  %9 = mul %8, %8\n"
                                          "  output %9\n"
                                          "  output %7\n"
                                          "}\n"
                                          "output \"y\" = %5\noutput \"z\" = %6\n";
    assert_results(text, 1, 5, "6 | 5");
    assert_results(text, 0, 5, "25 | 0");
    assert_results(text, 7, 5, "12 | 5");
}

static void the_size_of_a_branch_is_that_of_the_body_that_runs(void **state)
{
    (void)state;
    static const char text[] = TWO_INPUTS "%4 = branch {condition=eq(a, 0)} {\n"
                                          "  %2 = constant {type=i64, shape=[2], data=[8, 9]}\n"
                                          "  output %2\n"
                                          "} {\n"
                                          "  %3 = iota {type=i64, shape=[b], axis=0}\n"
                                          "  output %3\n"
                                          "} : i64[2*eq(a, 0) - b*eq(a, 0) + b]\n"
                                          "output \"y\" = %4\n";
    assert_results(text, 0, 4, "8 9");
    assert_results(text, 1, 4, "0 1 2 3");
}

/* Fibonacci: the states are swapped, every second number is on the stack. */
static const char swapped[] = TWO_INPUTS "%8, %9, %10 = loop %0, %1 {trips=b, index=i, "
                                         "again=1, states=2} {\n"
                                         "  %2 = input : i64[]\n"
                                         "  %3 = input : i64[]\n"
                                         "  %4 = add %2, %3\n"
                                         "  output %3\n"
                                         "  output %4\n"
                                         "  output %2\n"
                                         "} : i64[], i64[], i64[b]\n"
                                         "output \"y\" = %8\noutput \"z\" = %9\n"
                                         "output \"all\" = %10\n";

static void a_loop_runs_as_often_as_it_says(void **state)
{
    (void)state;
    assert_results(swapped, 3, 1, "1 | 4 | 3");
    assert_results(swapped, 1, 4, "14 | 23 | 1 4 5 9");
}

static void a_loop_without_trips_passes_its_operands(void **state)
{
    (void)state;
    assert_results(swapped, 3, 0, "3 | 0 |");
}

static void a_loop_ends_when_again_is_zero(void **state)
{
    (void)state;
    static const char text[] = TWO_INPUTS "%9 = loop %0 {trips=100, index=i, again=s, states=1} {\n"
                                          "  %2 = input : i64[]\n"
                                          "  %3 = add %2, %2\n"
                                          "  %4 = constant {type=i64, shape=[], data=[50]}\n"
                                          "  %5 = lt %3, %4\n"
                                          "  source s = element %5, 0\n"
                                          "  output %3\n"
                                          "}\n"
                                          "output \"y\" = %9\n";
    assert_results(text, 3, 0, "96");
    assert_results(text, 60, 0, "120");
}

static void again_may_depend_on_the_index(void **state)
{
    (void)state;
    static const char text[] =
        TWO_INPUTS "%9 = loop %0 {trips=100, index=i, again=lt(i, b), states=1} {\n"
                   "  %2 = input : i64[]\n"
                   "  %3 = size {value=i}\n"
                   "  %4 = add %2, %3\n"
                   "  output %4\n"
                   "}\n"
                   "output \"y\" = %9\n";
    assert_results(text, 1000, 4, "1010");
}

/* Row i of a triangle has i ones, of which a loop inside counts the sum. */
static void sizes_may_depend_on_the_index_of_a_loop_around(void **state)
{
    (void)state;
    static const char text[] =
        TWO_INPUTS "%12 = loop %0 {trips=b, index=i, again=1, states=0} {\n"
                   "  %2 = input : i64[]\n"
                   "  %10, %11 = loop %2 {trips=i + 1, index=j, again=1, states=1} {\n"
                   "    %3 = input : i64[]\n"
                   "    %4 = size {value=10*i + j}\n"
                   "    %5 = add %3, %4\n"
                   "    output %5\n"
                   "    output %4\n"
                   "  }\n"
                   "  %6 = reduce_sum %11 {axes=[0]}\n"
                   "  %7 = mul %6, %10\n"
                   "  output %7\n"
                   "}\n"
                   "output \"y\" = %12\n";
    assert_results(text, 1, 3, "0 462 4032");
    assert_results(text, 1, 0, "");
}

static void a_symbol_of_a_body_is_read_in_each_iteration(void **state)
{
    (void)state;
    static const char text[] = TWO_INPUTS "%12 = loop %0 {trips=3, index=i, again=1, states=1} {\n"
                                          "  %2 = input : i64[]\n"
                                          "  %3 = branch %2 {condition=lt(s, 10)} {\n"
                                          "    %4 = input : i64[]\n"
                                          "    %5 = add %4, %4\n"
                                          "    output %5\n"
                                          "  } {\n"
                                          "    %6 = input : i64[]\n"
                                          "    %7 = iota {type=i64, shape=[s], axis=0}\n"
                                          "    %8 = reduce_max %7 {axes=[0]}\n"
                                          "    output %8\n"
                                          "  }\n"
                                          "  source s = element %2, 0\n"
                                          "  output %3\n"
                                          "}\n"
                                          "output \"y\" = %12\n";
    assert_results(text, 2, 0, "16"); /* 4 8 16 */
    assert_results(text, 6, 0, "10"); /* 12 11 10 */
}

static void checks_of_a_body_hold_when_it_runs(void **state)
{
    (void)state;
    static const char text[] = TWO_INPUTS "%5 = branch {condition=a} {\n"
                                          "  check equal b, 3 : \"b must be 3\"\n"
                                          "  %2 = size {value=b}\n"
                                          "  output %2\n"
                                          "} {\n"
                                          "  %3 = size {value=a}\n"
                                          "  output %3\n"
                                          "}\n"
                                          "output \"y\" = %5\n";
    assert_results(text, 0, 4, "0");
    assert_results(text, 1, 3, "3");
    assert_fails(text, 1, 4, STATUS_BAD_MODEL, "b must be 3");
}

static void endless_loops_are_refused(void **state)
{
    (void)state;
    static const char text[] = TWO_INPUTS "%5 = loop %0 {trips=a, index=i, again=1, states=1} {\n"
                                          "  %2 = input : i64[]\n"
                                          "  output %2\n"
                                          "}\n"
                                          "output \"y\" = %5\n";
    assert_results(text, 1000, 0, "1000");
    assert_fails(text, INT64_C(1) << 40, 0, STATUS_LIMIT, "too many iterations");
}

static void a_state_that_changes_its_shape_is_found(void **state)
{
    (void)state;
    static const char text[] = TWO_INPUTS "%6 = iota {type=i64, shape=[a], axis=0}\n"
                                          "%5 = loop %6 {trips=2, index=i, again=1, states=1} {\n"
                                          "  %2 = input : i64[a]\n"
                                          "  %3 = iota {type=i64, shape=[b], axis=0}\n"
                                          "  output %3\n"
                                          "}\n"
                                          "output \"y\" = %5\n";
    assert_results(text, 3, 3, "0 1 2");
    assert_fails(text, 3, 4, STATUS_BAD_MODEL, "after and before an iteration");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_branch_runs_one_of_its_bodies),
        cmocka_unit_test(the_size_of_a_branch_is_that_of_the_body_that_runs),
        cmocka_unit_test(a_loop_runs_as_often_as_it_says),
        cmocka_unit_test(a_loop_without_trips_passes_its_operands),
        cmocka_unit_test(a_loop_ends_when_again_is_zero),
        cmocka_unit_test(again_may_depend_on_the_index),
        cmocka_unit_test(sizes_may_depend_on_the_index_of_a_loop_around),
        cmocka_unit_test(a_symbol_of_a_body_is_read_in_each_iteration),
        cmocka_unit_test(checks_of_a_body_hold_when_it_runs),
        cmocka_unit_test(endless_loops_are_refused),
        cmocka_unit_test(a_state_that_changes_its_shape_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
