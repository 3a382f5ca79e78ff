/* Graphs in the evaluator: sizes, constraints, elements that are sizes, limits. */
#include "eval_test.h"

static struct tensor numbers(float *data, int64_t n)
{
    return tensor_of(DT_F32, 1, &n, data);
}

static void assert_error(const struct world *w, enum status status, const char *part)
{
    assert_int_equal(w->diag.status, status);
    if (!strstr(w->diag.first->text, part))
        fail_msg("'%s' does not say '%s'", w->diag.first->text, part);
}

static const char doubled[] = "graph \"test\"\n"
                              "symbol n in [0, inf]\n"
                              "%0 = input \"x\" : f32[n]\n"
                              "%1 = add %0, %0\n"
                              "%2 = concat %1, %0 {axis=0}\n"
                              "source n = dim 0, 0\n"
                              "output \"y\" = %2\n"
                              "output \"z\" = %0\n";

static void sizes_come_from_the_inputs(void **state)
{
    (void)state;
    struct world w;
    float x[3] = {1, 2, 3};
    world_open(&w, doubled);
    for (int64_t n = 0; n <= 3; n++) {
        struct tensor in = numbers(x, n), out[2];
        assert_true(eval_graph(w.g, &in, out));
        assert_int_equal(out[0].shape[0], 2 * n);
        assert_int_equal(out[1].shape[0], n);
        for (int64_t i = 0; i < n; i++)
            assert_true(((float *)out[0].data)[i] == 2 * x[i]);
        tensor_free(&out[0]);
        tensor_free(&out[1]);
    }
    world_close(&w);
}

static void wrong_inputs_are_named(void **state)
{
    (void)state;
    struct world w;
    float x[4] = {0};
    int64_t square[] = {2, 2};
    struct tensor in = tensor_of(DT_F32, 2, square, x), out[2];
    world_open(&w, doubled);
    assert_false(eval_graph(w.g, &in, out));
    assert_error(&w, STATUS_USAGE, "input 'x'");
    world_close(&w);

    world_open(&w, "graph \"test\"\n%0 = input \"x\" : f32[3]\noutput \"y\" = %0\n");
    in = numbers(x, 4);
    assert_false(eval_graph(w.g, &in, out));
    assert_error(&w, STATUS_USAGE, "axis 0 has size 4");
    world_close(&w);
}

static void broken_constraints_are_reported(void **state)
{
    (void)state;
    struct world w;
    float x[3] = {0};
    struct tensor in[2] = {numbers(x, 2), numbers(x, 3)}, out;
    world_open(&w, "graph \"test\"\n"
                   "symbol n in [0, inf]\nsymbol m in [0, inf]\n"
                   "%0 = input \"x\" : f32[n]\n%1 = input \"y\" : f32[m]\n"
                   "source n = dim 0, 0\nsource m = dim 1, 0\n"
                   "check equal n, m : \"x and y are equally long\"\n"
                   "output \"y\" = %0\n");
    assert_false(eval_graph(w.g, in, &out));
    assert_error(&w, STATUS_BAD_MODEL, "x and y are equally long");
    world_close(&w);
}

static const char counted[] = "graph \"test\"\n"
                              "symbol k in [0, 4]\n"
                              "%0 = input \"x\" : f32[4]\n"
                              "%1 = input \"count\" : i64[2]\n"
                              "%2 = neg %1\n"
                              "%3 = slice %0 {start=[0], step=[1], size=[k]}\n"
                              "source k = element %2, 1\n"
                              "output \"y\" = %3\n";

static void elements_of_a_result_become_sizes(void **state)
{
    (void)state;
    struct world w;
    float x[4] = {1, 2, 3, 4};
    int64_t count[2] = {7, -3}, two = 2;
    struct tensor in[2] = {numbers(x, 4), tensor_of(DT_I64, 1, &two, count)}, out;
    world_open(&w, counted);
    assert_true(eval_graph(w.g, in, &out));
    assert_int_equal(out.shape[0], 3);
    tensor_free(&out);
    count[1] = -5; /* beyond the symbol's bounds */
    assert_false(eval_graph(w.g, in, &out));
    assert_error(&w, STATUS_BAD_MODEL, "k is 5");
    world_close(&w);
}

static void huge_results_are_refused(void **state)
{
    (void)state;
    struct world w;
    struct tensor out;
    world_open(&w, "graph \"test\"\n%0 = constant {type=f32, shape=[1, 1], data=[0]}\n"
                   "%1 = expand %0 {shape=[4000000000, 4000000]}\noutput \"y\" = %1\n");
    assert_false(eval_graph(w.g, NULL, &out));
    assert_int_equal(w.diag.status, STATUS_LIMIT);
    world_close(&w);
}

static void padding_beyond_all_tensors_is_refused(void **state)
{
    (void)state;
    struct world w;
    struct tensor out;
    world_open(&w, "graph \"test\"\n%0 = constant {type=f32, shape=[1], data=[0]}\n"
                   "%1 = pad %0 {low=[-9223372036854775807], high=[9223372036854775807], mode=edge}"
                   "\noutput \"y\" = %1\n");
    assert_false(eval_graph(w.g, NULL, &out));
    assert_int_equal(w.diag.status, STATUS_LIMIT);
    world_close(&w);
}

static void constants_without_elements_are_an_error(void **state)
{
    (void)state;
    struct world w;
    struct tensor out;
    world_open(&w, "graph \"test\"\n%0 = constant {type=f32, shape=[2], data=opaque \"w\" 8}\n"
                   "%1 = exp %0\noutput \"y\" = %1\n");
    assert_false(eval_graph(w.g, NULL, &out));
    assert_error(&w, STATUS_BAD_MODEL, "not given");
    world_close(&w);
}

static void one_constant_is_evaluated_by_itself(void **state)
{
    (void)state;
    struct world w;
    struct tensor out;
    world_open(&w, "graph \"test\"\n"
                   "%0 = input \"x\" : f32[2]\n"
                   "%1 = constant {type=f32, shape=[2], data=[1, 2]}\n"
                   "%2 = add %1, %1\n%3 = mul %2, %1\n%4 = add %3, %0\n"
                   "output \"y\" = %4\n");
    const struct node *product = w.g->first->next->next;
    assert_true(eval_constant(w.g, product->out[0], &out));
    assert_true(tensor_get_float(&out, 0) == 2 && tensor_get_float(&out, 1) == 8);
    tensor_free(&out);
    assert_false(eval_constant(w.g, w.g->outputs[0], &out));
    assert_int_equal(w.diag.status, STATUS_INTERNAL);
    world_close(&w);
}

/* A chain far deeper than a recursion would survive, with sharing that a tree walk would not. */
static void long_chains_of_shared_constants_are_quick(void **state)
{
    (void)state;
    enum { LENGTH = 20000 };
    struct world w;
    struct text text = {0};
    struct tensor out;
    text_printf(&text, "graph \"test\"\n%%0 = constant {type=u32, shape=[1], data=[1]}\n");
    for (int i = 1; i <= LENGTH; i++)
        text_printf(&text, "%%%d = add %%%d, %%%d\n", i, i - 1, i - 1);
    text_printf(&text, "output \"y\" = %%%d\n", LENGTH);
    world_open(&w, text.data);
    assert_true(eval_constant(w.g, w.g->outputs[0], &out));
    assert_int_equal(tensor_get_int(&out, 0), 0); /* 2^20000 mod 2^32 */
    tensor_free(&out);
    text_free(&text);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_come_from_the_inputs),
        cmocka_unit_test(wrong_inputs_are_named),
        cmocka_unit_test(broken_constraints_are_reported),
        cmocka_unit_test(elements_of_a_result_become_sizes),
        cmocka_unit_test(huge_results_are_refused),
        cmocka_unit_test(padding_beyond_all_tensors_is_refused),
        cmocka_unit_test(constants_without_elements_are_an_error),
        cmocka_unit_test(one_constant_is_evaluated_by_itself),
        cmocka_unit_test(long_chains_of_shared_constants_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
