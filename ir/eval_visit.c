/* The evaluator for those who look at every value. */
#include "eval_run.h"

#include <stdlib.h>
#include <string.h>

/* Hands a value with a name to the visitor. */
static bool show(struct eval *e, const struct value *v, eval_visitor *visit, void *context)
{
    const struct array *a = &eval_slot(e, v)->a;
    if (!v->name || !a->buffer || dtype_is_list(a->type))
        return true;
    struct tensor t = {
        .type = a->type, .rank = a->rank, .size = (size_t)array_elements(a) * dtype_size(a->type)};
    memcpy(t.shape, a->shape, sizeof t.shape);
    t.data = malloc(t.size ? t.size : 1);
    if (!t.data)
        return eval_out_of_memory(e, v->def);
    struct array dense = *a;
    dense.data = t.data;
    array_set_dense(&dense);
    array_copy(&dense, a);
    bool ok = visit(context, v, &t);
    free(t.data);
    return ok;
}

bool eval_visit(struct graph *g, const struct tensor *inputs, eval_visitor *visit, void *context)
{
    struct eval e;
    struct frame frame = {0};
    bool ok = eval_open(&e, &frame, g) && eval_bind(&e, inputs);
    for (const struct node *n = g->first; n && ok; n = n->next) {
        ok = eval_run_node(&e, n);
        for (int i = 0; i < n->n_out && ok; i++)
            ok = show(&e, n->out[i], visit, context);
    }
    eval_close(&e, &frame);
    return ok;
}
