/* Nodes with bodies: copies, edits of what goes in and out, and bodies in their node's place. */
#include "ir_test.h"

/* Two loops, one in the other; k is an element that the outer body computes. */
static const char nested[] =
    "graph \"nested\"\n"
    "symbol n in [0, inf]\n"
    "symbol i in [0, inf]\n"
    "symbol j in [0, inf]\n"
    "symbol k in [0, 9]\n"
    "%0 = input \"x\" : i64[4]\n"
    "%1 = input \"y\" : i64[4]\n"
    "%10, %11, %12 = loop %0, %1, %0 {trips=n, index=i, again=lt(k, i), states=2} {\n"
    "  check less_equal i, 8 : \"i\"\n"
    "  %2 = input : i64[4]\n"
    "  %3 = input : i64[4]\n"
    "  %4 = input : i64[4]\n"
    "  %8 = loop %2, %4 {trips=k + i, index=j, again=1, states=1} {\n"
    "    %5 = input : i64[4]\n"
    "    %6 = input : i64[4]\n"
    "    %7 = add %5, %6 : i64[4]\n"
    "    output %7\n"
    "  } : i64[4]\n"
    "  source k = element %4, 1\n"
    "  output %3\n"
    "  output %8\n"
    "  output %2\n"
    "} : i64[4], i64[4], i64[n, 4]\n"
    "output \"y\" = %10\n"
    "output \"z\" = %11\n"
    "output \"s\" = %12\n";

static struct node *parse_loop(struct world *w)
{
    w->g = graph_parse(&w->arena, &w->diag, "test", nested, strlen(nested));
    if (!w->g)
        fail_msg("%s", w->diag.first->text);
    return w->g->first;
}

static void assert_prints(struct world *w, const char *expected)
{
    struct text text = {0};
    if (!graph_verify(w->g, "edit"))
        fail_msg("%s", w->diag.first->text);
    graph_renumber(w->g);
    graph_print(&text, w->g, 0);
    const char *at = strstr(text.data, expected);
    if (!at)
        fail_msg("%s\nis not in\n%s", expected, text.data);
    text_free(&text);
}

static void a_copy_has_symbols_of_its_own(void **state)
{
    struct world *w = *state;
    struct node *loop = parse_loop(w), *copy = node_clone(w->g, loop, NULL);
    assert_non_null(copy);
    assert_ptr_not_equal(copy->attr.loop.index, loop->attr.loop.index);
    assert_prints(w, "%19, %20, %21 = loop %0, %1, %0 {trips=n, index=i_2, again=lt(k_2, i_2), "
                     "states=2} {\n"
                     "  check less_equal i_2, 8 : \"i\"\n"
                     "  %12 = input : i64[4]\n"
                     "  %13 = input : i64[4]\n"
                     "  %14 = input : i64[4]\n"
                     "  %18 = loop %12, %14 {trips=i_2 + k_2, index=j_2, again=1, states=1} {\n"
                     "    %15 = input : i64[4]\n"
                     "    %16 = input : i64[4]\n"
                     "    %17 = add %15, %16 : i64[4]\n"
                     "    output %17\n"
                     "  } : i64[4]\n"
                     "  source k_2 = element %14, 1\n"
                     "  output %13\n");
}

static void the_operand_of_a_dropped_state_is_captured(void **state)
{
    struct world *w = *state;
    struct node *loop = parse_loop(w);
    w->g->n_outputs = 2;
    w->g->outputs[0] = loop->out[1];
    w->g->outputs[1] = loop->out[2];
    loop->out[0]->is_output = false;
    control_drop_result(w->g, loop, 0);
    assert_prints(w, "= loop %1, %0, %0 {trips=n, index=i, again=lt(k, i), states=1} {\n");
    assert_prints(w, "  output %8\n  output %4\n} : i64[4], i64[n, 4]\n");
}

static void a_capture_is_an_input_of_the_body(void **state)
{
    struct world *w = *state;
    struct node *loop = parse_loop(w);
    struct value *inside = control_capture(w->g, loop, w->g->inputs[1])[0];
    struct node *inner = loop->body[0]->first;
    node_set_operand(loop->body[0], inner, 1, inside);
    assert_prints(w, "= loop %0, %1, %0, %1 {");
    assert_prints(w, "= loop %2, %5 {trips=i + k, index=j");
    node_set_operand(loop->body[0], inner, 1, loop->body[0]->inputs[2]);
    control_drop_operand(w->g, loop, 3);
    assert_prints(w, "= loop %0, %1, %0 {");
}

static void other_dims_for_symbols_reach_all_bodies(void **state)
{
    struct world *w = *state;
    struct node *loop = parse_loop(w);
    const struct dim *to[4] = {dim_const(w->g->dims, 3), NULL, NULL, dim_const(w->g->dims, 2)};
    assert_true(graph_replace_symbols(w->g, 4, to));
    w->g->symbols[3] = (struct symbol_source){.kind = SYMBOL_FREE};
    assert_prints(w, "{trips=3, index=i, again=lt(2, i), states=2} {\n");
    assert_prints(w, "{trips=i + 2, index=j,");
    assert_prints(w, "} : i64[4], i64[4], i64[3, 4]\n");
    assert_type(w, loop->out[2], "i64[3, 4]");
}

static void a_body_takes_the_place_of_its_node(void **state)
{
    struct world *w = *state;
    struct node *loop = parse_loop(w);
    struct graph *body = loop->body[0];
    const struct dim *to[2] = {NULL, dim_const(w->g->dims, 0)};
    struct builder b = {body, NULL};
    assert_true(graph_replace_symbols(body, 2, to));
    body->outputs[2] = build_unsqueeze(&b, body->outputs[2], 1);
    assert_true(control_inline(w->g, loop, body));
    assert_prints(w, "%5 = loop %0, %0 {trips=k, index=j, again=1, states=1} {\n"
                     "  %2 = input : i64[4]\n"
                     "  %3 = input : i64[4]\n"
                     "  %4 = add %2, %3 : i64[4]\n"
                     "  output %4\n"
                     "} : i64[4]\n"
                     "%6 = reshape %0 {shape=[1, 4]} : i64[1, 4]\n"
                     "source k = element %0, 1\n"
                     "output \"y\" = %1\n"
                     "output \"z\" = %5\n"
                     "output \"s\" = %6\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(a_copy_has_symbols_of_its_own),      RULE(the_operand_of_a_dropped_state_is_captured),
        RULE(a_capture_is_an_input_of_the_body),  RULE(other_dims_for_symbols_reach_all_bodies),
        RULE(a_body_takes_the_place_of_its_node),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
