/* If. What is decided at compile time needs no branch. */
#include "import.h"
#include "list.h"

/* Both branches, as bodies with the same inputs; false after an error. */
static bool build_branches(struct call *c, const Onnx__GraphProto *const *graph, struct body *body)
{
    bool ok = true;
    for (int i = 0; i < 2; i++) {
        body_begin(c, &body[i]);
        if (i)
            body_share_inputs(c, &body[1], &body[0]);
        bool made = call_inline_graph(c, graph[i], 0, NULL, c->n_out, c->out);
        for (int k = 0; k < c->n_out && made; k++)
            if (is_list(c->out[k]))
                made = (c->out[k] = list_value(c, c->out[k], list_type(c->out[k]))) != NULL;
        for (int k = 0; k < c->n_out && made; k++)
            graph_add_output(body[i].graph, c->out[k], NULL);
        body_end(c, &body[i]);
        ok &= made;
    }
    if (ok)
        body_share_inputs(c, &body[0], &body[1]);
    return ok;
}

/* What output k of a body stands for outside, if the body only hands it on; else NULL. */
static struct value *handed_on(struct call *c, const struct body *body, int k)
{
    const struct value *v = body->graph->outputs[k];
    if (!v->def)
        return body->operands[v->index];
    return v->def->op == OP_constant ? build_tensor(c->b, OP_constant, 0, NULL, &v->def->attr)
                                     : NULL;
}

/* Branches that compute nothing are a choice between two tensors. */
static bool choose(struct call *c, const struct body *body)
{
    for (int i = 0; i < 2; i++)
        for (const struct node *node = body[i].graph->first; node; node = node->next)
            if (node->op != OP_constant)
                return false;
    for (int k = 0; k < c->n_out; k++) {
        const struct value *a = body[0].graph->outputs[k], *b = body[1].graph->outputs[k];
        if (a->type != b->type || !value_same_shape(a, b) || is_list(a))
            return false;
    }
    struct value *condition = build_reshape(c->b, c->in[0], 0, NULL);
    for (int k = 0; k < c->n_out; k++) {
        struct value *otherwise = handed_on(c, &body[1], k);
        c->out[k] = build_select(c->b, condition, handed_on(c, &body[0], k), otherwise);
    }
    return true;
}

/* The first branch squeezes what the second leaves as it is. */
static bool drops_axes(const struct call *c, const struct body *body)
{
    bool drops = false;
    for (int k = 0; k < c->n_out; k++) {
        int ranks[2] = {body[0].graph->outputs[k]->rank, body[1].graph->outputs[k]->rank};
        if (ranks[0] > ranks[1])
            return false;
        drops |= ranks[0] < ranks[1];
    }
    return drops;
}

/*
 * A size is 1 ? squeeze it : leave it, as exporters write PyTorch's squeeze. Ranks are fixed when
 * the plan is made: it must be 1, and a run with another size is refused.
 */
static bool squeeze_always(struct call *c, const struct dim *condition,
                           const Onnx__GraphProto *graph)
{
    return graph_constrain(c->b->g, MUST_EQUAL, condition->a, condition->b,
                           "%s: its result's rank depends on this size, which the plan takes as 1",
                           c->place) &&
           call_inline_graph(c, graph, 0, NULL, c->n_out, c->out);
}

bool lower_if(struct call *c)
{
    const Onnx__GraphProto *graph[] = {attr_graph(c, "then_branch"), attr_graph(c, "else_branch")};
    const struct dim *condition = graph[0] && graph[1] ? call_dim(c, 0) : NULL;
    struct body body[2];
    int64_t known;
    if (!condition)
        return false;
    if (dim_is_const(condition, &known))
        return call_inline_graph(c, graph[!known], 0, NULL, c->n_out, c->out);
    if (!build_branches(c, graph, body))
        return false;
    bool asks_for_one = condition->kind == DIM_EQ && !dim_from_data(c, condition) &&
                        (dim_is(condition->a, 1) || dim_is(condition->b, 1));
    if (asks_for_one && drops_axes(c, body))
        return squeeze_always(c, condition, graph[0]);
    if (choose(c, body))
        return c->n_out == 0 || c->out[c->n_out - 1];
    if (branch_finds_sizes(&body[0]) || branch_finds_sizes(&body[1])) {
        struct node unused = {.op = OP_branch, .body = {body[0].graph, body[1].graph}};
        node_forget_symbols(&unused);
        return branch_compute_both(c, graph, condition);
    }
    union attr attr = {.branch = {condition}};
    struct node *node = graph_insert_control(c->b->g, c->b->before, OP_branch, body[0].n_operands,
                                             body[0].operands, &attr, body[0].graph, body[1].graph);
    for (int k = 0; node && k < c->n_out; k++)
        c->out[k] = node->out[k];
    return node;
}
