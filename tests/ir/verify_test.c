/* The verifier finds each fault that is planted, and blames who is to blame. */
#include "ir_test.h"

/* exp, then a product with a free-size input, then the output. */
struct planted {
    struct world *w;
    struct value *x, *y, *z;
};

static struct planted plant(void **state)
{
    struct planted p = {.w = *state};
    p.x = input(p.w, "f32[n, 3]");
    p.y = build_unary(&p.w->b, OP_exp, p.x);
    p.z = build_binary(&p.w->b, OP_mul, p.y, p.x);
    graph_add_output(p.w->g, p.z, "z");
    assert_true(graph_verify(p.w->g, "model"));
    return p;
}

static void assert_fault(struct planted *p, const char *part)
{
    assert_false(graph_verify(p->w->g, "simplify"));
    bool found = false;
    for (const struct diag_message *m = p->w->diag.first; m; m = m->next) {
        assert_int_equal(m->status, STATUS_INTERNAL);
        assert_ptr_equal(strstr(m->text, "after simplify: "), m->text);
        found |= strstr(m->text, part) != NULL;
    }
    if (!found)
        fail_msg("no fault says '%s'; the first is '%s'", part, p->w->diag.first->text);
}

static void a_bad_model_is_not_blamed_on_a_pass(void **state)
{
    struct planted p = plant(state);
    p.y->type = DT_I32;
    assert_false(graph_verify(p.w->g, "model"));
    assert_int_equal(p.w->diag.status, STATUS_BAD_MODEL);
}

static void a_wrong_result_shape_is_found(void **state)
{
    struct planted p = plant(state);
    p.y->shape = (const struct dim *[]){p.w->m, p.x->shape[1]};
    assert_fault(&p, "is f32[m, 3], but the shape rule gives f32[n, 3]");
}

static void an_operand_defined_too_late_is_found(void **state)
{
    struct planted p = plant(state);
    node_move_before(p.w->g, p.y->def, NULL);
    assert_fault(&p, "operand 0 is not defined before it is read");
}

static void an_operand_changed_behind_the_use_list_is_found(void **state)
{
    struct planted p = plant(state);
    p.z->def->in[0] = p.x;
    assert_fault(&p, "holds a use that reads something else");
}

static void a_use_left_by_a_removed_node_is_found(void **state)
{
    struct planted p = plant(state);
    struct node *extra = build_unary(&p.w->b, OP_log, p.x)->def;
    p.w->g->last = extra->prev;
    extra->prev->next = NULL;
    assert_fault(&p, "is read by a node that is not in the graph");
}

static void a_broken_node_list_is_found(void **state)
{
    struct planted p = plant(state);
    p.z->def->prev = NULL;
    assert_fault(&p, "linked wrongly");
}

static void an_id_taken_twice_is_found(void **state)
{
    struct planted p = plant(state);
    p.z->id = p.y->id;
    assert_fault(&p, "taken twice");
}

static void a_bad_attribute_is_found(void **state)
{
    struct planted p = plant(state);
    struct value *t = build_transpose(&p.w->b, p.z, (int[]){1, 0});
    t->def->attr.transpose.perm.axis[0] = 7;
    assert_fault(&p, "axis 7 is outside rank 2");
}

static void a_type_outside_the_domain_is_found(void **state)
{
    struct planted p = plant(state);
    p.x->type = p.y->type = p.z->type = DT_I32;
    assert_fault(&p, "does not take i32");
}

static void a_kernel_that_is_none_is_found(void **state)
{
    struct planted p = plant(state);
    p.y->def->kernel = 3;
    assert_fault(&p, "belongs to kernel 3 of 0");
}

static void an_output_without_its_mark_is_found(void **state)
{
    struct planted p = plant(state);
    p.z->is_output = false;
    p.y->is_output = true;
    assert_fault(&p, "does not know that it is one");
    assert_fault(&p, "is no output of the graph");
}

static void a_layout_of_other_axes_is_found(void **state)
{
    struct planted p = plant(state);
    struct layout layout = {.perm = {.n = 2, .axis = {1, 1}}};
    p.y->layout = &layout;
    assert_fault(&p, "permutes other axes");
}

static void a_layout_of_an_output_is_found(void **state)
{
    struct planted p = plant(state);
    struct layout layout = {.perm = {.n = 2, .axis = {1, 0}}};
    p.y->layout = &layout;
    assert_true(graph_verify(p.w->g, "simplify"));
    p.z->layout = &layout;
    assert_fault(&p, "has a layout, but is no value of one graph's kernels alone");
}

static struct node *plant_concat(struct planted *p, struct value *a, struct value *b)
{
    union attr attr = {.concat = {.axis = 1}};
    struct value *in[] = {a, b};
    struct node *concat = graph_insert(p->w->g, NULL, OP_concat, 2, in, &attr);
    concat->kernel = KERNEL_IN_PLACE;
    return concat;
}

static void a_concat_in_place_of_an_input_is_found(void **state)
{
    struct planted p = plant(state);
    plant_concat(&p, p.x, p.y);
    assert_fault(&p, "operand 0 needs memory of its own");
}

static void a_part_that_lies_twice_is_found(void **state)
{
    struct planted p = plant(state);
    plant_concat(&p, p.y, p.y);
    assert_fault(&p, "operand 0 lies in 2 places");
}

static void a_part_in_another_order_is_found(void **state)
{
    struct planted p = plant(state);
    struct layout layout = {.perm = {.n = 2, .axis = {1, 0}}};
    plant_concat(&p, p.y, build_unary(&p.w->b, OP_exp, p.x))->out[0]->layout = &layout;
    assert_fault(&p, "operand 0 has another layout than the result");
}

static void a_symbol_from_nowhere_is_found(void **state)
{
    struct planted p = plant(state);
    p.w->g->symbols[0] = (struct symbol_source){.kind = SYMBOL_INPUT_DIM, .input = 0, .axis = 5};
    p.w->g->symbols[1] = (struct symbol_source){.kind = SYMBOL_ELEMENT, .value = p.y};
    assert_fault(&p, "symbol n comes from dim 5 of input 0");
    assert_fault(&p, "symbol m comes from a tensor of f32");
}

/* -- Bodies: a loop that adds its operand, n times -- */

static struct node *plant_loop(struct planted *p, struct graph **body)
{
    struct graph *g = p->w->g;
    union attr attr = {
        .loop = {.trips = p->w->n,
                 .index = graph_symbol(g, "i", (struct symbol_source){.kind = SYMBOL_LOOP_INDEX}, 0,
                                       INT64_MAX),
                 .again = dim_const(g->dims, 1),
                 .states = 1}};
    *body = graph_create_body(g);
    struct builder b = {*body, NULL};
    struct value *x = graph_add_input(*body, NULL, p->x->type, p->x->rank, p->x->shape);
    graph_add_output(*body, build_binary(&b, OP_add, x, x), NULL);
    struct node *loop = graph_insert_control(g, NULL, OP_loop, 1, &p->x, &attr, *body, NULL);
    assert_non_null(loop);
    assert_true(graph_verify(g, "model"));
    return loop;
}

static void a_value_from_around_a_body_is_found(void **state)
{
    struct planted p = plant(state);
    struct graph *body;
    plant_loop(&p, &body);
    node_set_operand(body, body->first, 1, p.y);
    assert_fault(&p, "operand 1 is of another body");
}

static void an_input_that_does_not_match_its_operand_is_found(void **state)
{
    struct planted p = plant(state);
    struct graph *body;
    plant_loop(&p, &body);
    body->inputs[0]->rank = 1;
    assert_fault(&p, "operand 0 and a body's input differ in type or rank");
}

static void an_index_outside_its_loop_is_found(void **state)
{
    struct planted p = plant(state);
    struct graph *body;
    const struct dim *i = plant_loop(&p, &body)->attr.loop.index;
    build_dim(&p.w->b, i);
    assert_fault(&p, "symbol i is used outside its body");
}

static void an_index_without_a_loop_is_found(void **state)
{
    struct planted p = plant(state);
    struct graph *body;
    struct node *loop = plant_loop(&p, &body);
    const struct dim *index = loop->attr.loop.index;
    node_remove(p.w->g, loop);
    assert_int_equal(p.w->g->symbols[index->symbol].kind, SYMBOL_FREE);
    assert_true(graph_verify(p.w->g, "remove_dead"));
    p.w->g->symbols[index->symbol].kind = SYMBOL_LOOP_INDEX;
    assert_fault(&p, "symbol i is the index of no loop");
}

static void a_body_too_few_is_found(void **state)
{
    struct planted p = plant(state);
    struct graph *body;
    plant_loop(&p, &body)->body[0] = NULL;
    assert_fault(&p, "has a body too many or too few");
}

static void a_value_that_is_in_another_graph_is_found(void **state)
{
    struct planted p = plant(state);
    struct graph *body;
    plant_loop(&p, &body);
    body->outputs[0]->graph = p.w->g;
    assert_fault(&p, "does not know where it is defined");
}

static void all_faults_are_reported_at_once(void **state)
{
    struct planted p = plant(state);
    p.y->def->kernel = 3;
    p.z->def->kernel = 4;
    assert_false(graph_verify(p.w->g, "simplify"));
    assert_int_equal(p.w->diag.errors, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(a_bad_model_is_not_blamed_on_a_pass),
        RULE(a_wrong_result_shape_is_found),
        RULE(an_operand_defined_too_late_is_found),
        RULE(an_operand_changed_behind_the_use_list_is_found),
        RULE(a_use_left_by_a_removed_node_is_found),
        RULE(a_broken_node_list_is_found),
        RULE(an_id_taken_twice_is_found),
        RULE(a_bad_attribute_is_found),
        RULE(a_type_outside_the_domain_is_found),
        RULE(a_kernel_that_is_none_is_found),
        RULE(an_output_without_its_mark_is_found),
        RULE(a_layout_of_other_axes_is_found),
        RULE(a_layout_of_an_output_is_found),
        RULE(a_concat_in_place_of_an_input_is_found),
        RULE(a_part_that_lies_twice_is_found),
        RULE(a_part_in_another_order_is_found),
        RULE(a_symbol_from_nowhere_is_found),
        RULE(a_value_from_around_a_body_is_found),
        RULE(an_input_that_does_not_match_its_operand_is_found),
        RULE(an_index_outside_its_loop_is_found),
        RULE(an_index_without_a_loop_is_found),
        RULE(a_body_too_few_is_found),
        RULE(a_value_that_is_in_another_graph_is_found),
        RULE(all_faults_are_reported_at_once),
    };
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
