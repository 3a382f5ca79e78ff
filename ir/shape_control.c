/* Shape rules of control flow: results follow from what the bodies give. */
#include "infer.h"

static bool unsupported(struct inference *inf, const char *fault)
{
    rule_fail(inf, fault);
    inf->status = STATUS_UNSUPPORTED;
    return false;
}

/* Operand i is what input i of the body stands for. */
static bool check_inputs(struct inference *inf, const struct graph *body)
{
    const struct node *node = inf->node;
    if (!body || body->outer != inf->g)
        FAIL(inf, "a body is missing, or is of another graph");
    if (body->n_inputs != node->n_in)
        FAIL(inf, "a body has %d inputs for %d operands", body->n_inputs, node->n_in);
    for (int i = 0; i < node->n_in; i++) {
        const struct value *outside = rule_in(inf, i), *inside = body->inputs[i];
        if (outside->type != inside->type || outside->rank != inside->rank)
            FAIL(inf, "operand %d and a body's input differ in type or rank", i);
        for (int k = 0; k < outside->rank; k++)
            if (!rule_axis_equal(inf, outside->shape[k], inside->shape[k], k,
                                 "of an operand and a body's input"))
                return false;
    }
    return true;
}

/* Is d known only inside the body? index: the loop's, or NULL. */
static bool is_inner(const struct graph *body, const struct dim *d, const struct dim *index)
{
    switch (d->kind) {
    case DIM_CONST: return false;
    case DIM_SYMBOL: {
        const struct graph *root = body->root;
        if (d == index)
            return true;
        return d->symbol < root->n_symbols && root->symbols[d->symbol].kind == SYMBOL_ELEMENT &&
               graph_is_within(root->symbols[d->symbol].value->graph, body);
    }
    case DIM_SUM:
        for (int t = 0; t < d->n_terms; t++)
            for (int a = 0; a < d->terms[t].n_atoms; a++)
                if (is_inner(body, d->terms[t].atoms[a], index))
                    return true;
        return false;
    default: return is_inner(body, d->a, index) || is_inner(body, d->b, index);
    }
}

bool graph_dim_is_inner(const struct graph *body, const struct dim *d)
{
    return is_inner(body, d, NULL);
}

static bool has_outer_shape(struct inference *inf, const struct graph *body, const struct value *v,
                            const struct dim *index)
{
    for (int i = 0; i < v->rank; i++)
        if (is_inner(body, v->shape[i], index))
            return unsupported(inf, "the shape of a result is known inside its body only");
    return true;
}

bool shape_branch(struct inference *inf)
{
    const struct node *node = inf->node;
    const struct graph *then_body = node->body[0], *else_body = node->body[1];
    if (!check_inputs(inf, then_body) || !check_inputs(inf, else_body))
        return false;
    if (then_body->n_outputs != else_body->n_outputs)
        FAIL(inf, "the bodies have %d and %d outputs", then_body->n_outputs, else_body->n_outputs);
    for (int i = 0; i < inf->n_out; i++) {
        const struct value *a = then_body->outputs[i], *b = else_body->outputs[i];
        if (a->type != b->type)
            FAIL(inf, "output %d of the bodies differs in type", i);
        if (a->rank != b->rank)
            return unsupported(inf, "an output's rank depends on which body runs");
        if (!has_outer_shape(inf, then_body, a, NULL) || !has_outer_shape(inf, else_body, b, NULL))
            return false;
        inf->out[i].type = a->type;
        for (int k = 0; k < a->rank; k++)
            rule_push(inf, i,
                      a->shape[k] == b->shape[k]
                          ? a->shape[k]
                          : dim_select(inf->g->dims, node->attr.branch.condition, a->shape[k],
                                       b->shape[k]));
    }
    return true;
}

/* A state keeps its type and shape; what is not certain is checked after each iteration. */
static bool check_state(struct inference *inf, struct graph *body, int i)
{
    const struct value *before = rule_in(inf, i), *after = body->outputs[i];
    if (before->type != after->type)
        FAIL(inf, "state %d changes its type", i);
    bool same = before->rank == after->rank;
    for (int k = 0; same && k < before->rank; k++)
        same = !dim_is(dim_eq(inf->g->dims, before->shape[k], after->shape[k]), 0);
    if (!same)
        return unsupported(inf, "a state changes its shape from one iteration to the next");
    struct inference inner = *inf;
    inner.g = body;
    for (int k = 0; k < before->rank; k++)
        if (!rule_axis_equal(&inner, after->shape[k], before->shape[k], k,
                             "of a state after and before an iteration")) {
            inf->fault = inner.fault;
            inf->status = inner.status;
            return false;
        }
    return true;
}

bool shape_loop(struct inference *inf)
{
    const struct attr_loop *attr = &inf->node->attr.loop;
    struct graph *body = inf->node->body[0];
    if (!check_inputs(inf, body))
        return false;
    if (attr->index->kind != DIM_SYMBOL)
        FAIL(inf, "index must be a symbol");
    if (attr->states < 0 || attr->states > inf->node->n_in || attr->states > body->n_outputs)
        FAIL(inf, "%lld states, but %d operands and %d outputs of the body",
             (long long)attr->states, inf->node->n_in, body->n_outputs);
    for (int i = 0; i < inf->n_out; i++) {
        const struct value *v = body->outputs[i];
        if (i < attr->states) {
            if (!check_state(inf, body, i))
                return false;
            rule_like(inf, i, rule_in(inf, i));
            continue;
        }
        if (!has_outer_shape(inf, body, v, attr->index))
            return false;
        inf->out[i].type = v->type;
        rule_push(inf, i, attr->trips);
        for (int k = 0; k < v->rank; k++)
            rule_push(inf, i, v->shape[k]);
    }
    return true;
}
