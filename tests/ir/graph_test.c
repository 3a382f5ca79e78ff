/* The builder and the shape rules: what result, what constraints, what errors. */
#include "ir_test.h"

static void scalars_broadcast_as_in_numpy(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[n, 3, 1]"), *y = input(w, "f32[3, 7]");
    assert_type(w, build_binary(&w->b, OP_add, x, y), "f32[n, 3, 7]");
    assert_int_equal(constraint_count(w), 0);
    assert_type(w, build_binary(&w->b, OP_lt, x, build_float(&w->b, DT_F32, 0.5)), "bool[n, 3, 1]");
}

static void sizes_that_may_agree_are_checked_later(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[n]"), *y = input(w, "f32[m]");
    assert_type(w, build_binary(&w->b, OP_add, x, y), "f32[max(n, m)]");
    assert_int_equal(constraint_count(w), 2);
    assert_int_equal(w->g->constraints->kind, MUST_BROADCAST);
    build_binary(&w->b, OP_mul, x, y);
    assert_int_equal(constraint_count(w), 2); /* the same two */
}

static void a_fixed_size_wins_over_a_free_one(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[n]"), *y = input(w, "f32[4]");
    assert_type(w, build_binary(&w->b, OP_add, x, y), "f32[4]");
    assert_int_equal(constraint_count(w), 1);
}

static void sizes_that_cannot_agree_are_errors(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[2, 3]"), *y = input(w, "f32[2, 4]");
    w->g->origin = "node 'sum' (Add)";
    assert_null(build_binary(&w->b, OP_add, x, y));
    assert_error(w, STATUS_BAD_MODEL, "axis 1 of operand 1 broadcasts: 4 must be 1 or equal 3");
    assert_string_equal(w->diag.last->where, "node 'sum' (Add)");
}

static void scalar_types_are_checked(void **state)
{
    struct world *w = *state;
    struct value *f = input(w, "f32[2]"), *i = input(w, "i32[2]");
    assert_null(build_binary(&w->b, OP_add, f, i));
    assert_error(w, STATUS_BAD_MODEL, "operand types differ");
    assert_null(build_unary(&w->b, OP_exp, i));
    assert_null(build_binary(&w->b, OP_shl, f, f));
    assert_null(build_bitcast(&w->b, f, DT_F64));
    assert_int_equal(w->diag.errors, 4);
}

static void a_missing_operand_makes_no_second_message(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[2]");
    assert_null(build_binary(&w->b, OP_add, x, build_unary(&w->b, OP_exp, NULL)));
    assert_null(build_concat(&w->b, 2, (struct value *[]){x, NULL}, 0));
    assert_null(build_mean(&w->b, build_softmax(&w->b, NULL, 1, false), 1, true));
    assert_int_equal(w->diag.errors, 0);
}

static void conv_counts_windows(void **state)
{
    struct world *w = *state;
    const struct dim *one[2] = {build_d(&w->b, 1), build_d(&w->b, 1)};
    struct value *in[2] = {input(w, "f32[n, 4, 2*m, 33]"), input(w, "f32[8, 2, 3, 3]")};
    union attr attr = {.conv = {.to = DT_F32,
                                .group = 2,
                                .stride = {2, {2, 2}},
                                .dilation = {2, {1, 2}},
                                .low = {2, one},
                                .high = {2, one}}};
    assert_type(w, build_tensor(&w->b, OP_conv, 2, in, &attr), "f32[n, 8, m, 16]");
    attr.conv.group = 3;
    assert_null(build_tensor(&w->b, OP_conv, 2, in, &attr));
    attr.conv.group = 0;
    assert_null(build_tensor(&w->b, OP_conv, 2, in, &attr));
}

static void a_window_larger_than_its_operand_is_an_error(void **state)
{
    struct world *w = *state;
    const struct dim *zero[1] = {build_d(&w->b, 0)};
    union attr attr = {.conv = {.to = DT_F32,
                                .group = 1,
                                .stride = {1, {1}},
                                .dilation = {1, {1}},
                                .low = {1, zero},
                                .high = {1, zero}}};
    struct value *in[2] = {input(w, "f32[1, 1, 3]"), input(w, "f32[1, 1, 7]")};
    assert_null(build_tensor(&w->b, OP_conv, 2, in, &attr));
    in[0] = input(w, "f32[1, 1, n]");
    assert_type(w, build_tensor(&w->b, OP_conv, 2, in, &attr), "f32[1, 1, n - 6]");
    assert_int_equal(constraint_count(w), 1); /* 0 <= n - 6 */
}

static void matmul_promotes_and_broadcasts(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *x = input(w, "f32[n, m, 8]"), *vector = input(w, "f32[8]");
    assert_type(w, build_matmul(b, x, input(w, "f32[8, 5]"), DT_F32), "f32[n, m, 5]");
    assert_type(w, build_matmul(b, x, input(w, "f32[1, 8, 5]"), DT_F32), "f32[n, m, 5]");
    assert_type(w, build_matmul(b, x, vector, DT_F32), "f32[n, m]");
    assert_type(w, build_matmul(b, vector, input(w, "f32[n, 8, 5]"), DT_F32), "f32[n, 5]");
    assert_type(w, build_matmul(b, vector, vector, DT_F32), "f32[]");
    assert_int_equal(constraint_count(w), 0);
    assert_null(build_matmul(b, x, input(w, "f32[7, 5]"), DT_F32));
    assert_error(w, STATUS_BAD_MODEL, "inner size: 8 must equal 7");
}

static void reshape_keeps_the_number_of_elements(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[n, 6]");
    const struct dim *good[2] = {parse_dim(w, "2*n"), parse_dim(w, "3")};
    const struct dim *maybe[1] = {w->m}, *bad[1] = {parse_dim(w, "6*n + 1")};
    assert_type(w, build_reshape(&w->b, x, 2, good), "f32[2*n, 3]");
    assert_int_equal(constraint_count(w), 0);
    assert_type(w, build_reshape(&w->b, x, 1, maybe), "f32[m]");
    assert_int_equal(constraint_count(w), 1);
    assert_null(build_reshape(&w->b, x, 1, bad));
}

static void views_that_do_nothing_are_their_operand(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *x = input(w, "f32[n, 3]");
    const struct dim *zero[2] = {build_d(b, 0), build_d(b, 0)};
    assert_ptr_equal(build_reshape(b, x, 2, x->shape), x);
    assert_ptr_equal(build_transpose(b, x, (int[]){0, 1}), x);
    assert_ptr_equal(build_expand(b, x, 2, x->shape), x);
    assert_ptr_equal(build_pad(b, x, zero, zero, PAD_CONSTANT, NULL), x);
    assert_ptr_equal(build_slice_axis(b, x, 1, zero[0], x->shape[1]), x);
    assert_ptr_equal(build_cast(b, x, DT_F32), x);
    assert_null(w->g->first);
}

static void views_have_the_shapes_they_say(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *x = input(w, "f32[n, 3, 5]");
    const struct dim *low[3] = {build_d(b, 0), build_d(b, -1), build_d(b, 2)};
    assert_type(w, build_transpose(b, x, (int[]){2, 0, 1}), "f32[5, n, 3]");
    assert_type(w, build_pad(b, x, low, low, PAD_CONSTANT, NULL), "f32[n, 1, 9]");
    assert_type(w, build_slice_axis(b, x, 2, build_d(b, 1), build_d(b, 4)), "f32[n, 3, 4]");
    assert_type(w, build_concat(b, 2, (struct value *[]){x, x}, 0), "f32[2*n, 3, 5]");
    assert_type(w, build_unsqueeze(b, x, 0x9), "f32[1, n, 3, 1, 5]");
    assert_type(w, build_squeeze(b, build_unsqueeze(b, x, 0x10 >> 1), 0x8), "f32[n, 3, 5]");
    assert_null(build_transpose(b, x, (int[]){2, 2, 1}));
    assert_null(build_slice_axis(b, x, 2, build_d(b, 2), build_d(b, 4)));
    assert_null(build_unsqueeze(b, x, 0x100));
}

static void reductions_keep_or_drop_their_axes(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *x = input(w, "f32[n, 3, 5]");
    assert_type(w, build_reduce(b, OP_reduce_sum, x, 0x6, false), "f32[n]");
    assert_type(w, build_reduce(b, OP_reduce_max, x, 0x5, true), "f32[1, 3, 1]");
    assert_type(w, build_mean(b, input(w, "f16[n, m]"), 0x2, true), "f16[n, 1]");
    assert_type(w, build_arg(b, OP_arg_min, x, 1, false, true), "i64[n, 1, 5]");
    assert_type(w, build_softmax(b, x, 0x4, true), "f32[n, 3, 5]");
    assert_null(build_reduce(b, OP_reduce_sum, x, 0x8, false));
}

static void gathers_and_scatters_follow_their_indices(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[n, 3, 5]"), *i = input(w, "i64[m, 2]");
    assert_type(w, build_gather(&w->b, x, i, 1), "f32[n, m, 2, 5]");
    union attr attr = {.gather_nd = {.batch = 0}};
    assert_type(w, build_tensor(&w->b, OP_gather_nd, 2, (struct value *[]){x, i}, &attr),
                "f32[m, 5]");
    struct value *scatter[3] = {x, i, input(w, "f32[m, 5]")};
    attr = (union attr){.scatter_nd = {.combine = COMBINE_ADD}};
    assert_type(w, build_tensor(&w->b, OP_scatter_nd, 3, scatter, &attr), "f32[n, 3, 5]");
    assert_null(build_gather(&w->b, x, input(w, "f32[2]"), 0));
    assert_null(build_gather(&w->b, x, i, 3));
}

static void top_k_has_two_results(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[n, 9]");
    union attr attr = {.top_k = {.axis = 1, .k = build_d(&w->b, 4), .largest = true}};
    struct value *values = build_tensor(&w->b, OP_top_k, 1, &x, &attr);
    assert_type(w, values, "f32[n, 4]");
    assert_type(w, values->def->out[1], "i64[n, 4]");
    attr.top_k.k = build_d(&w->b, 10);
    assert_null(build_tensor(&w->b, OP_top_k, 1, &x, &attr));
}

static void limits_are_reported(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[2, 2, 2, 2, 2, 2, 2, 2, 2]");
    struct value *i = input(w, "i64[2, 2, 2, 2, 2, 2, 2, 2, 2]");
    assert_null(build_gather(&w->b, x, i, 0));
    assert_error(w, STATUS_LIMIT, "rank 17");
    struct value *huge = input(w, "u8[4000000000000000000]");
    assert_null(build_concat(&w->b, 3, (struct value *[]){huge, huge, huge}, 0));
    assert_error(w, STATUS_LIMIT, "64 bits");
}

static void use_lists_follow_edits(void **state)
{
    struct world *w = *state;
    struct builder *b = &w->b;
    struct value *x = input(w, "f32[n]"), *y = build_unary(b, OP_exp, x);
    struct value *z = build_binary(b, OP_mul, y, y);
    graph_add_output(w->g, z, "z");
    assert_false(value_single_use(y));
    node_set_operand(w->g, z->def, 1, x);
    assert_true(value_single_use(y));
    value_replace_uses(w->g, y, x);
    assert_false(value_has_uses(y));
    node_remove(w->g, y->def);
    assert_ptr_equal(w->g->first, z->def);
    assert_true(graph_verify(w->g, "model"));
    value_replace_uses(w->g, z, x); /* outputs move too */
    assert_true(x->is_output);
    assert_ptr_equal(w->g->outputs[0], x);
    assert_true(graph_verify(w->g, "model"));
}

static void nodes_can_be_cloned_and_moved(void **state)
{
    struct world *w = *state;
    struct value *x = input(w, "f32[n]"), *y = build_unary(&w->b, OP_exp, x);
    struct value *z = build_unary(&w->b, OP_log, x);
    struct node *clone = node_clone(w->g, y->def, NULL);
    assert_type(w, clone->out[0], "f32[n]");
    node_move_before(w->g, clone, z->def);
    assert_ptr_equal(clone->next, z->def);
    assert_ptr_equal(clone->prev, y->def);
    graph_renumber(w->g);
    assert_int_equal(clone->order, 1);
    assert_int_equal(clone->out[0]->id, 2);
    assert_true(graph_verify(w->g, "model"));
}

/* False when the countdown ran out. */
static bool build_something(struct arena *arena, struct diag *diag)
{
    jmp_buf oom;
    arena->on_oom = &oom;
    if (setjmp(oom))
        return false;
    struct builder b = {.g = graph_create(arena, diag)};
    const struct dim *n = dim_symbol(b.g->dims, "n", 0, 99);
    struct value *x = graph_add_input(b.g, "x", DT_F32, 1, &n);
    graph_add_output(b.g, build_binary(&b, OP_add, x, build_mean(&b, x, 1, true)), "y");
    assert_true(graph_verify(b.g, "model"));
    return true;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    size_t failures = 0;
    for (bool done = false; !done;) {
        struct arena arena = {.countdown = failures + 1};
        struct diag diag = {0};
        done = build_something(&arena, &diag);
        failures += !done;
        arena_free(&arena);
        diag_free(&diag);
    }
    assert_true(failures > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(scalars_broadcast_as_in_numpy),
        RULE(sizes_that_may_agree_are_checked_later),
        RULE(a_fixed_size_wins_over_a_free_one),
        RULE(sizes_that_cannot_agree_are_errors),
        RULE(scalar_types_are_checked),
        RULE(a_missing_operand_makes_no_second_message),
        RULE(conv_counts_windows),
        RULE(a_window_larger_than_its_operand_is_an_error),
        RULE(matmul_promotes_and_broadcasts),
        RULE(reshape_keeps_the_number_of_elements),
        RULE(views_that_do_nothing_are_their_operand),
        RULE(views_have_the_shapes_they_say),
        RULE(reductions_keep_or_drop_their_axes),
        RULE(gathers_and_scatters_follow_their_indices),
        RULE(top_k_has_two_results),
        RULE(limits_are_reported),
        RULE(use_lists_follow_edits),
        RULE(nodes_can_be_cloned_and_moved),
        RULE(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
