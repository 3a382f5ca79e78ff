/* Inputs that hide keys. Exporters mask scores with the lowest number of the type, in Python as in
 * the graph, and rounded to 16 bits it is an infinity: a row that is hidden whole becomes NaN where
 * it was even. Which inputs are masks nothing says, so every one that reaches scores through maps
 * and moves alone counts as wide. */
#include "precision_rules.h"

static bool reaches_scores_by(const struct assignment *a, const struct node *reader, int operand)
{
    if (reader->op == OP_softmax || reader->op == OP_log_softmax ||
        precision_keeps_operand(reader, operand))
        return true;
    for (int k = 0; k < 2; k++)
        if (reader->body[k] && facts_of(a, reader->body[k]->inputs[operand])->reaches_scores)
            return true;
    return !reader->body[0] && reader->n_out &&
           (op_info[reader->op].class == OC_SCALAR || moves_elements(reader)) &&
           facts_of(a, reader->out[0])->reaches_scores;
}

static void find_value(const struct assignment *a, const struct value *v)
{
    bool reaches = false;
    if (precision_is_float(v->type))
        for (const struct use *use = v->uses; use && !reaches; use = use->next)
            reaches = reaches_scores_by(a, use->node, use->operand);
    facts_of(a, v)->reaches_scores = reaches;
}

static void find_graph(const struct assignment *a, const struct graph *g)
{
    for (const struct node *node = g->last; node; node = node->prev) {
        for (int i = 0; i < node->n_out; i++)
            find_value(a, node->out[i]);
        for (int k = 0; k < 2; k++)
            if (node->body[k])
                find_graph(a, node->body[k]);
    }
    for (int i = 0; i < g->n_inputs; i++)
        find_value(a, g->inputs[i]);
}

void precision_find_masks(struct assignment *a)
{
    find_graph(a, a->g);
    for (int i = 0; i < a->g->n_inputs; i++) {
        struct value_facts *f = facts_of(a, a->g->inputs[i]);
        if (f->reaches_scores)
            f->reach = REACH_WIDE;
    }
}
