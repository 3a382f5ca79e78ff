/* What becomes of If, Loop and of recurrence: which node, with what operands, or none. */
#include "fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

static Onnx__GraphProto *subgraph(Onnx__NodeProto *node, const char *attribute)
{
    Onnx__AttributeProto *a = add_attribute(node, attribute, ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH);
    a->g = new_model(17)->graph;
    return a->g;
}

static void body_node(Onnx__GraphProto *g, const char *op, const char *inputs, const char *outputs)
{
    add_node(&g->node, &g->n_node, op, inputs, outputs);
}

/* An i64 scalar, whose value must live as long as the model. */
static void add_number(Onnx__GraphProto *g, const char *name, const int64_t *value)
{
    Onnx__TensorProto *t = new_tensor(name, DT_I64, 0, NULL);
    set_raw(t, value, sizeof *value);
    add_initializer(g, t);
}

static const struct node *find(const struct graph *g, enum op op)
{
    for (const struct node *node = g->first; node; node = node->next)
        if (node->op == op)
            return node;
    return NULL;
}

/* y = c ? op(x) : Neg(x), of f32 [n, 4]. */
static Onnx__ModelProto *branching(const char *op)
{
    Onnx__ModelProto *m = new_model(17);
    add_input(m->graph, "c", DT_BOOL, "");
    add_input(m->graph, "x", DT_F32, "n,4");
    Onnx__NodeProto *node = graph_node(m, "If", "c", "y");
    Onnx__GraphProto *yes = subgraph(node, "then_branch"), *no = subgraph(node, "else_branch");
    body_node(yes, op, "x", "a");
    add_output(yes, "a", DT_F32);
    body_node(no, "Neg", "x", "b");
    add_output(no, "b", DT_F32);
    add_output(m->graph, "y", DT_F32);
    return m;
}

/* The model as a graph, and its first node of the op, which must be there. */
static const struct node *load_with(struct loaded *l, Onnx__ModelProto *m, enum op op)
{
    save_model(m);
    load(l, NULL);
    assert_non_null(l->graph);
    const struct node *node = find(l->graph, op);
    assert_non_null(node);
    return node;
}

static void branches_share_what_they_capture(void **state)
{
    (void)state;
    save_model(branching("Relu"));
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    const struct node *branch = find(l.graph, OP_branch);
    assert_non_null(branch);
    assert_int_equal(branch->n_in, 1);
    assert_ptr_equal(branch->in[0], l.graph->inputs[1]);
    assert_int_equal(branch->body[0]->n_inputs, 1);
    assert_int_equal(branch->body[1]->n_inputs, 1);
    assert_true(graph_verify(l.graph, "model"));
    unload(&l);
}

static void a_result_whose_rank_depends_on_the_run_is_refused(void **state)
{
    (void)state;
    save_model(branching("Size"));
    struct loaded l;
    load(&l, NULL);
    assert_null(l.graph);
    unload(&l);
}

/* A loop over i64 "m" trips, from a condition that holds; the body gets step, going and `states`.
 */
static Onnx__GraphProto *looping(Onnx__ModelProto *m, const char *inputs, const char *outputs)
{
    Onnx__NodeProto *node = graph_node(m, "Loop", inputs, outputs);
    for (size_t i = 0; i < node->n_input; i++)
        if (strcmp(node->input[i], "_") == 0)
            node->input[i] = (char *)"";
    Onnx__GraphProto *body = subgraph(node, "body");
    add_input(body, "step", DT_I64, "");
    add_input(body, "going", DT_BOOL, "");
    return body;
}

static void a_state_that_is_handed_on_is_a_capture(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(17);
    add_input(m->graph, "m", DT_I64, "");
    add_input(m->graph, "x", DT_F32, "4");
    add_input(m->graph, "w", DT_F32, "4");
    Onnx__GraphProto *body = looping(m, "m,_,x,w", "y,z");
    add_input(body, "s", DT_F32, "4");
    add_input(body, "same", DT_F32, "4");
    body_node(body, "Mul", "s,same", "t");
    add_output(body, "going", DT_BOOL);
    add_output(body, "t", DT_F32);
    add_output(body, "same", DT_F32);
    add_output(m->graph, "y", DT_F32);
    struct loaded l;
    const struct node *loop = load_with(&l, m, OP_loop);
    assert_int_equal(loop->attr.loop.states, 1);
    assert_int_equal(loop->n_in, 2);
    assert_ptr_equal(loop->in[1], l.graph->inputs[2]);
    assert_true(graph_verify(l.graph, "model"));
    unload(&l);
}

static void a_state_that_grows_is_a_stack(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(17);
    add_input(m->graph, "m", DT_I64, "");
    add_input(m->graph, "x", DT_F32, "2,3");
    add_input(m->graph, "v", DT_F32, "2,1");
    Onnx__GraphProto *body = looping(m, "m,_,x", "y");
    add_input(body, "s", DT_F32, "");
    Onnx__NodeProto *concat = add_node(&body->node, &body->n_node, "Concat", "s,v", "t");
    Onnx__AttributeProto *axis = add_attribute(concat, "axis", ONNX__ATTRIBUTE_PROTO__TYPE__INT);
    axis->has_i = true;
    axis->i = 1;
    add_output(body, "going", DT_BOOL);
    add_output(body, "t", DT_F32);
    add_output(m->graph, "y", DT_F32);
    struct loaded l;
    const struct node *loop = load_with(&l, m, OP_loop);
    assert_int_equal(loop->attr.loop.states, 0);
    const struct value *y = l.graph->outputs[0];
    assert_int_equal(y->rank, 2);
    assert_ptr_equal(y->shape[1],
                     dim_add(l.graph->dims, loop->attr.loop.trips, dim_const(l.graph->dims, 3)));
    assert_true(graph_verify(l.graph, "model"));
    unload(&l);
}

static void a_counter_of_iterations_is_a_dim(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(17);
    add_input(m->graph, "m", DT_I64, "");
    const int64_t five = 5, two = 2;
    add_number(m->graph, "start", &five);
    add_number(m->graph, "two", &two);
    Onnx__GraphProto *body = looping(m, "m,_,start", "y");
    add_input(body, "s", DT_I64, "");
    body_node(body, "Add", "s,two", "t");
    add_output(body, "going", DT_BOOL);
    add_output(body, "t", DT_I64);
    add_output(m->graph, "y", DT_I64);
    save_model(m);
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    const struct dim *trips = find(l.graph, OP_loop)->attr.loop.trips, *end;
    assert_int_equal(find(l.graph, OP_loop)->attr.loop.states, 0);
    assert_true(graph_known_elements(l.graph, l.graph->outputs[0], &end, 1));
    struct dim_table *t = l.graph->dims;
    assert_ptr_equal(end, dim_add(t, dim_const(t, 5), dim_mul(t, dim_const(t, 2), trips)));
    unload(&l);
}

/* A loop without M whose body says whether it goes on by `op` of `inputs`. */
static Onnx__ModelProto *endless(const char *op, const char *inputs)
{
    Onnx__ModelProto *m = new_model(17);
    add_input(m->graph, "n", DT_I64, "");
    add_input(m->graph, "c", DT_BOOL, "");
    add_input(m->graph, "x", DT_F32, "4");
    Onnx__GraphProto *body = looping(m, "_,c,x", "y,each");
    add_input(body, "s", DT_F32, "4");
    body_node(body, "Neg", "s", "t");
    body_node(body, op, inputs, "on");
    add_output(body, "on", DT_BOOL);
    add_output(body, "t", DT_F32);
    add_output(body, "s", DT_F32);
    add_output(m->graph, "each", DT_F32);
    return m;
}

static void a_limit_in_the_condition_bounds_the_stacks(void **state)
{
    (void)state;
    save_model(endless("Less", "step,n"));
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    assert_non_null(find(l.graph, OP_loop));
    unload(&l);
}

static void stacks_of_a_loop_without_a_limit_are_refused(void **state)
{
    (void)state;
    save_model(endless("Identity", "c"));
    struct loaded l;
    load(&l, NULL);
    assert_null(l.graph);
    assert_int_equal(l.diag.status, STATUS_UNSUPPORTED);
    assert_true(says(&l, "not bounded"));
    unload(&l);
}

/* y, last = op(x [steps, 2, 3], …) with hidden size 4. */
static void load_recurrent(struct loaded *l, const char *op, int gates, const char *steps)
{
    Onnx__ModelProto *m = new_model(17);
    char shape[32];
    snprintf(shape, sizeof shape, "%s,2,3", steps);
    add_input(m->graph, "x", DT_F32, shape);
    snprintf(shape, sizeof shape, "1,%d,3", 4 * gates);
    add_input(m->graph, "w", DT_F32, shape);
    snprintf(shape, sizeof shape, "1,%d,4", 4 * gates);
    add_input(m->graph, "r", DT_F32, shape);
    graph_node(m, op, "x,w,r", "y,last");
    add_output(m->graph, "y", DT_F32);
    add_output(m->graph, "last", DT_F32);
    save_model(m);
    load(l, NULL);
}

static void recurrence_is_a_loop_of_as_many_trips_as_steps(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        int gates, states;
    } kinds[] = {{"RNN", 1, 1}, {"GRU", 3, 1}, {"LSTM", 4, 2}};
    for (int i = 0; i < 3; i++) {
        struct loaded l;
        load_recurrent(&l, kinds[i].op, kinds[i].gates, "steps");
        assert_non_null(l.graph);
        const struct node *loop = find(l.graph, OP_loop);
        assert_non_null(loop);
        assert_ptr_equal(loop->attr.loop.trips, l.graph->inputs[0]->shape[0]);
        assert_int_equal(loop->attr.loop.states, kinds[i].states);
        assert_int_equal(loop->n_out, kinds[i].states + 1);
        unload(&l);
    }
}

static void recurrence_of_one_step_needs_no_loop(void **state)
{
    (void)state;
    struct loaded l;
    load_recurrent(&l, "LSTM", 4, "1");
    assert_non_null(l.graph);
    assert_null(find(l.graph, OP_loop));
    unload(&l);
}

static void weights_of_another_size_are_refused(void **state)
{
    (void)state;
    struct loaded l;
    load_recurrent(&l, "LSTM", 3, "steps");
    assert_null(l.graph);
    assert_int_equal(l.diag.status, STATUS_BAD_MODEL);
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(branches_share_what_they_capture),
        TEST(a_result_whose_rank_depends_on_the_run_is_refused),
        TEST(a_state_that_is_handed_on_is_a_capture),
        TEST(a_state_that_grows_is_a_stack),
        TEST(a_counter_of_iterations_is_a_dim),
        TEST(a_limit_in_the_condition_bounds_the_stacks),
        TEST(stacks_of_a_loop_without_a_limit_are_refused),
        TEST(recurrence_is_a_loop_of_as_many_trips_as_steps),
        TEST(recurrence_of_one_step_needs_no_loop),
        TEST(weights_of_another_size_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
