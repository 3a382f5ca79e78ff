/* What the frontend does with models, good and hostile. Each test's name is its rule. */
#include "fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* y = x + w, with an f32[4] initializer w. */
static Onnx__ModelProto *sum_model(Onnx__TensorProto *w)
{
    Onnx__ModelProto *m = new_model(13);
    add_input(m->graph, "x", DT_F32, "4");
    add_initializer(m->graph, w);
    graph_node(m, "Add", "x,w", "y");
    add_output(m->graph, "y", DT_F32);
    return m;
}

static Onnx__TensorProto *weights(void)
{
    return new_tensor("w", DT_F32, 1, (int64_t[]){4});
}

static const float four[4] = {1, 2, 3, 4};

static void expect_error(const Onnx__ModelProto *m, enum status status, const char *text)
{
    struct loaded l;
    save_model(m);
    load(&l, NULL);
    assert_null(l.graph);
    assert_int_equal(l.diag.status, status);
    if (!says(&l, text))
        fail_msg("no message says '%s', but '%s'", text, l.diag.first->text);
    unload(&l);
}

/* The one constant of a model y = Cast(w). */
static void expect_constant(Onnx__TensorProto *t, size_t size, const void *bytes)
{
    Onnx__ModelProto *m = new_model(13);
    struct loaded l;
    add_initializer(m->graph, t);
    graph_node(m, "Identity", "w", "y");
    add_output(m->graph, "y", t->data_type);
    save_model(m);
    load(&l, NULL);
    assert_non_null(l.graph);
    const struct constant *c = l.graph->outputs[0]->def->attr.constant.data;
    assert_int_equal(c->size, size);
    assert_memory_equal(c->bytes, bytes, size);
    unload(&l);
}

static void nested_messages_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    enum { LAYERS = 8000 };
    /* Inside out: a graph in an attribute in a node in a graph in … (fields 6, 5, 1). */
    static const uint8_t tags[] = {6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2};
    static uint8_t bytes[LAYERS * 6];
    size_t at = sizeof bytes;
    for (int i = 0; i < LAYERS; i++) {
        size_t length = sizeof bytes - at;
        uint8_t head[6];
        size_t n = 0;
        head[n++] = i == LAYERS - 1 ? 7 << 3 | 2
                                    : tags[(LAYERS - 2 - i) % 3 == 0   ? 2
                                           : (LAYERS - 2 - i) % 3 == 1 ? 1
                                                                       : 0];
        do {
            head[n++] = (uint8_t)((length & 0x7f) | (length > 0x7f ? 0x80 : 0));
            length >>= 7;
        } while (length);
        at -= n;
        memcpy(bytes + at, head, n);
    }
    write_file("model.onnx", bytes + at, sizeof bytes - at);
    struct loaded l;
    load(&l, NULL);
    assert_null(l.model);
    assert_int_equal(l.diag.status, STATUS_LIMIT);
    assert_true(says(&l, "nested"));
    unload(&l);
}

static void a_model_cut_off_anywhere_is_an_error_or_smaller(void **state)
{
    (void)state;
    Onnx__TensorProto *w = weights();
    set_raw(w, four, sizeof four);
    Onnx__ModelProto *m = sum_model(w);
    size_t size = onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = malloc(size);
    onnx__model_proto__pack(m, bytes);
    for (size_t n = 0; n < size; n++) {
        struct loaded l;
        write_file("model.onnx", bytes, n);
        load(&l, NULL);
        assert_true(l.graph || l.diag.errors > 0);
        unload(&l);
    }
    free(bytes);
}

static void other_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *says;
    } files[] = {
        {"", "empty"},
        {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
        {"<!DOCTYPE html><html></html>", "not an ONNX model"},
        {"PK\x03\x04 archive", "zip"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct loaded l;
        write_file("model.onnx", files[i].bytes, strlen(files[i].bytes));
        load(&l, NULL);
        assert_null(l.graph);
        assert_int_equal(l.diag.status, STATUS_BAD_MODEL);
        assert_true(says(&l, files[i].says));
        unload(&l);
    }
}

static void external_data_is_read_from_its_place(void **state)
{
    (void)state;
    uint8_t file[24] = {0};
    memcpy(file + 8, four, sizeof four);
    write_file("weights.bin", file, sizeof file);
    Onnx__TensorProto *w = weights();
    set_external(w, "weights.bin", "8", "16");
    save_model(sum_model(w));
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    assert_int_equal(model_file_count(l.model), 2);
    assert_non_null(strstr(model_file(l.model, 1), "weights.bin"));
    unload(&l);
}

static void external_data_outside_of_the_folder_is_refused(void **state)
{
    (void)state;
    static const char *const places[] = {"../weights.bin", "/etc/passwd", "a/../../weights.bin", "",
                                         ".."};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        Onnx__TensorProto *w = weights();
        set_external(w, places[i], NULL, NULL);
        expect_error(sum_model(w), STATUS_BAD_MODEL, "must be a file in the model's folder");
    }
}

static void external_data_through_a_symlink_out_is_refused(void **state)
{
    (void)state;
    assert_int_equal(symlink("/etc/passwd", path_of("weights.bin")), 0);
    Onnx__TensorProto *w = weights();
    set_external(w, "weights.bin", NULL, NULL);
    expect_error(sum_model(w), STATUS_BAD_MODEL, "leads out of the model's folder");
}

static void external_data_beyond_its_file_is_refused(void **state)
{
    (void)state;
    static const char *const ranges[][2] = {
        {"8", "16"}, {"17", NULL}, {"18446744073709551615", "16"}, {"0", "99999999999999999999"}};
    write_file("weights.bin", four, sizeof four);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        Onnx__TensorProto *w = weights();
        set_external(w, "weights.bin", ranges[i][0], ranges[i][1]);
        expect_error(sum_model(w), STATUS_BAD_MODEL, "external data");
    }
}

static void all_unsupported_nodes_are_reported_at_once(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    add_input(m->graph, "x", DT_F32, "4");
    graph_node(m, "FirstUnknown", "x", "a");
    graph_node(m, "Relu", "a", "b");
    graph_node(m, "SecondUnknown", "b", "c")->name = (char *)"second";
    add_output(m->graph, "c", DT_F32);
    save_model(m);
    struct loaded l;
    load(&l, NULL);
    assert_null(l.graph);
    assert_int_equal(l.diag.status, STATUS_UNSUPPORTED);
    assert_int_equal(l.diag.errors, 2);
    assert_true(says(&l, "model.onnx: node 'a' (FirstUnknown, opset 13)"));
    assert_true(says(&l, "model.onnx: node 'second' (SecondUnknown, opset 13)"));
    unload(&l);
}

static void equal_dim_params_are_one_symbol_and_a_constraint(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    add_input(m->graph, "x", DT_F32, "batch,4");
    add_input(m->graph, "y", DT_F32, "batch,4");
    graph_node(m, "Add", "x,y", "z");
    add_output(m->graph, "z", DT_F32);
    save_model(m);
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    assert_ptr_equal(l.graph->inputs[0]->shape[0], l.graph->inputs[1]->shape[0]);
    assert_non_null(l.graph->constraints);
    assert_int_equal(l.graph->constraints->kind, MUST_EQUAL);
    assert_non_null(strstr(l.graph->constraints->text, "'x'"));
    assert_non_null(strstr(l.graph->constraints->text, "'y'"));
    unload(&l);
}

static void a_dim_param_may_be_an_expression(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    add_input(m->graph, "flat", DT_F32, "batch*seq");
    add_input(m->graph, "x", DT_F32, "batch,seq");
    graph_node(m, "Relu", "flat", "z");
    add_output(m->graph, "z", DT_F32);
    save_model(m);
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    assert_int_equal(l.graph->n_inputs, 2);
    unload(&l);
}

static void a_given_shape_fixes_dims_of_that_name(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    add_input(m->graph, "y", DT_F32, "batch,4");
    add_input(m->graph, "x", DT_F32, "batch,4");
    graph_node(m, "Add", "x,y", "z");
    add_output(m->graph, "z", DT_F32);
    save_model(m);
    struct frontend_shape shape = {"x", 2, (int64_t[]){3, 4}};
    struct frontend_options options = {.n_shapes = 1, .shapes = &shape};
    struct loaded l;
    load(&l, &options);
    assert_non_null(l.graph);
    assert_true(dim_is(l.graph->outputs[0]->shape[0], 3));
    assert_true(dim_is(l.graph->inputs[1]->shape[0], 3));
    unload(&l);
    shape.dims = (int64_t[]){3, 5};
    load(&l, &options);
    assert_int_equal(l.diag.status, STATUS_USAGE);
    unload(&l);
    shape.input = "nobody";
    load(&l, &options);
    assert_int_equal(l.diag.status, STATUS_USAGE);
    unload(&l);
}

static void an_initializer_that_is_an_input_too_is_a_constant(void **state)
{
    (void)state;
    Onnx__TensorProto *w = weights();
    set_raw(w, four, sizeof four);
    Onnx__ModelProto *m = sum_model(w);
    add_input(m->graph, "w", DT_F32, "4");
    save_model(m);
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    assert_int_equal(l.graph->n_inputs, 1);
    unload(&l);
}

static void typed_fields_and_raw_data_give_the_same_bytes(void **state)
{
    (void)state;
    Onnx__TensorProto *t = weights();
    t->n_float_data = 4;
    t->float_data = (float *)four;
    expect_constant(t, sizeof four, four);
    t = weights();
    set_raw(t, four, sizeof four);
    expect_constant(t, sizeof four, four);

    int32_t shorts[2] = {-2, 3};
    t = new_tensor("w", DT_I16, 1, (int64_t[]){2});
    t->n_int32_data = 2;
    t->int32_data = shorts;
    expect_constant(t, 4, (int16_t[]){-2, 3});

    uint64_t wide[1] = {0x1234567890};
    t = new_tensor("w", DT_U64, 0, NULL);
    t->n_uint64_data = 1;
    t->uint64_data = wide;
    expect_constant(t, 8, wide);
}

static void large_raw_data_stays_in_the_file(void **state)
{
    (void)state;
    float many[1024];
    for (int i = 0; i < 1024; i++)
        many[i] = (float)i;
    Onnx__TensorProto *t = new_tensor("w", DT_F32, 1, (int64_t[]){1024});
    set_raw(t, many, sizeof many);
    expect_constant(t, sizeof many, many);
}

static void sub_byte_elements_take_a_byte_each(void **state)
{
    (void)state;
    Onnx__TensorProto *t = new_tensor("w", DT_I4, 1, (int64_t[]){3});
    set_raw(t, (uint8_t[]){0x7f, 0x08}, 2);
    expect_constant(t, 3, (int8_t[]){-1, 7, -8});
    t = new_tensor("w", DT_U4, 1, (int64_t[]){3});
    set_raw(t, (uint8_t[]){0x7f, 0x08}, 2);
    expect_constant(t, 3, (uint8_t[]){15, 7, 8});
    t = new_tensor("w", DT_I2, 1, (int64_t[]){5});
    set_raw(t, (uint8_t[]){0xe4, 0x01}, 2);
    expect_constant(t, 5, (int8_t[]){0, 1, -2, -1, 1});
}

static void a_tensor_with_too_few_bytes_is_refused(void **state)
{
    (void)state;
    Onnx__TensorProto *w = weights();
    set_raw(w, four, 12);
    expect_error(sum_model(w), STATUS_BAD_MODEL, "count of bytes");
    w = new_tensor("w", DT_F32, 3, (int64_t[]){INT64_MAX, INT64_MAX, 3});
    set_raw(w, four, sizeof four);
    expect_error(sum_model(w), STATUS_BAD_MODEL, "impossible dims");
    w = new_tensor("w", DT_F32, 1, (int64_t[]){-4});
    set_raw(w, four, sizeof four);
    expect_error(sum_model(w), STATUS_BAD_MODEL, "impossible dims");
}

static Onnx__FunctionProto *add_function(Onnx__ModelProto *m, const char *name)
{
    static Onnx__FunctionProto f;
    static Onnx__FunctionProto *list[1] = {&f};
    static char *in[1], *out[1];
    onnx__function_proto__init(&f);
    in[0] = (char *)"fx";
    out[0] = (char *)"fy";
    f.name = (char *)name;
    f.domain = (char *)"mine";
    f.n_input = f.n_output = 1;
    f.input = in;
    f.output = out;
    m->n_functions = 1;
    m->functions = list;
    return &f;
}

static void a_function_is_inlined_with_its_callers_attributes(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    Onnx__FunctionProto *f = add_function(m, "Slope");
    Onnx__NodeProto *inner = add_node(&f->node, &f->n_node, "LeakyRelu", "fx", "fy");
    add_attribute(inner, "alpha", ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT)->ref_attr_name =
        (char *)"slope";
    add_input(m->graph, "x", DT_F32, "4");
    Onnx__NodeProto *call = graph_node(m, "Slope", "x", "y");
    call->domain = (char *)"mine";
    Onnx__AttributeProto *slope = add_attribute(call, "slope", ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT);
    slope->has_f = true;
    slope->f = 0.25f;
    add_output(m->graph, "y", DT_F32);
    save_model(m);
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    bool found = false;
    for (struct node *n = l.graph->first; n; n = n->next)
        if (n->op == OP_constant && n->attr.constant.data->size == 4)
            found |= *(const float *)n->attr.constant.data->bytes == 0.25f;
    assert_true(found);
    unload(&l);
}

static void a_function_that_calls_itself_is_refused(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    Onnx__FunctionProto *f = add_function(m, "Loop");
    add_node(&f->node, &f->n_node, "Loop", "fx", "fy")->domain = (char *)"mine";
    add_input(m->graph, "x", DT_F32, "4");
    graph_node(m, "Loop", "x", "y")->domain = (char *)"mine";
    add_output(m->graph, "y", DT_F32);
    expect_error(m, STATUS_LIMIT, "nested");
}

static void nodes_may_stand_in_any_order(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    add_input(m->graph, "x", DT_F32, "4");
    graph_node(m, "Relu", "a", "y");
    graph_node(m, "Neg", "x", "a");
    add_output(m->graph, "y", DT_F32);
    save_model(m);
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    unload(&l);
    m = new_model(13);
    add_input(m->graph, "x", DT_F32, "4");
    graph_node(m, "Add", "x,b", "a");
    graph_node(m, "Neg", "a", "b");
    add_output(m->graph, "b", DT_F32);
    expect_error(m, STATUS_BAD_MODEL, "needs itself");
}

static void faults_of_a_node_name_it(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    add_input(m->graph, "x", DT_F32, "4");
    graph_node(m, "Relu", "x,x", "y");
    add_output(m->graph, "y", DT_F32);
    expect_error(m, STATUS_BAD_MODEL, "2 inputs, but the operator takes 1 at most");

    m = new_model(13);
    add_input(m->graph, "x", DT_F32, "4");
    Onnx__NodeProto *node = graph_node(m, "Softmax", "x", "y");
    add_attribute(node, "axis", ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT);
    add_output(m->graph, "y", DT_F32);
    expect_error(m, STATUS_BAD_MODEL, "attribute 'axis' is of the wrong kind");

    m = new_model(17);
    add_input(m->graph, "x", DT_F32, "4");
    add_input(m->graph, "scale", DT_F32, "3");
    graph_node(m, "LayerNormalization", "x,scale,x", "y");
    add_output(m->graph, "y", DT_F32);
    expect_error(m, STATUS_BAD_MODEL, "broadcasts: 3 must be 1 or equal 4");

    m = new_model(13);
    add_input(m->graph, "x", DT_F32, "4");
    graph_node(m, "Relu", "x", "y");
    add_output(m->graph, "y", DT_I32);
    expect_error(m, STATUS_BAD_MODEL, "declared as i32, but computed as f32");
}

static void a_shape_that_is_an_input_becomes_symbols(void **state)
{
    (void)state;
    Onnx__ModelProto *m = new_model(13);
    add_input(m->graph, "x", DT_F32, "4,6");
    add_input(m->graph, "shape", DT_I64, "3");
    graph_node(m, "Reshape", "x,shape", "y");
    add_output(m->graph, "y", DT_F32);
    save_model(m);
    struct loaded l;
    load(&l, NULL);
    assert_non_null(l.graph);
    assert_int_equal(l.graph->outputs[0]->rank, 3);
    int elements = 0;
    for (int i = 0; i < l.graph->root->n_symbols; i++)
        elements += l.graph->root->symbols[i].kind == SYMBOL_ELEMENT;
    assert_int_equal(elements, 3);
    unload(&l);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    Onnx__TensorProto *w = weights();
    set_raw(w, four, sizeof four);
    save_model(sum_model(w));
    bool loaded = false;
    size_t n = 1;
    for (; !loaded && n < 100000; n++) {
        struct loaded l;
        load_with_failure(&l, n);
        loaded = l.graph;
        unload(&l);
    }
    assert_true(loaded);
    assert_true(n > 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nested_messages_beyond_the_limit_are_refused),
        TEST(a_model_cut_off_anywhere_is_an_error_or_smaller),
        TEST(other_files_are_named),
        TEST(external_data_is_read_from_its_place),
        TEST(external_data_outside_of_the_folder_is_refused),
        TEST(external_data_through_a_symlink_out_is_refused),
        TEST(external_data_beyond_its_file_is_refused),
        TEST(all_unsupported_nodes_are_reported_at_once),
        TEST(equal_dim_params_are_one_symbol_and_a_constraint),
        TEST(a_dim_param_may_be_an_expression),
        TEST(a_given_shape_fixes_dims_of_that_name),
        TEST(an_initializer_that_is_an_input_too_is_a_constant),
        TEST(typed_fields_and_raw_data_give_the_same_bytes),
        TEST(large_raw_data_stays_in_the_file),
        TEST(sub_byte_elements_take_a_byte_each),
        TEST(a_tensor_with_too_few_bytes_is_refused),
        TEST(a_function_is_inlined_with_its_callers_attributes),
        TEST(a_function_that_calls_itself_is_refused),
        TEST(nodes_may_stand_in_any_order),
        TEST(faults_of_a_node_name_it),
        TEST(a_shape_that_is_an_input_becomes_symbols),
        TEST(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
