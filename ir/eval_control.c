/* Evaluates control flow: bodies are run in place. */
#include "eval_array.h"

#include <stdlib.h>
#include <string.h>

static bool same_shape(const struct array *a, const struct array *b)
{
    return a->rank == b->rank &&
           memcmp(a->shape, b->shape, (size_t)a->rank * sizeof(*a->shape)) == 0;
}

static void release_all(struct array *arrays, int n)
{
    for (int i = 0; i < n; i++)
        array_release(&arrays[i]);
}

bool eval_op_branch(struct eval_call *c)
{
    const struct node *node = c->node;
    int64_t condition;
    if (!eval_dim(c, node->attr.branch.condition, &condition))
        return false;
    struct array *results = ARENA_ARRAY(&c->scratch, (size_t)node->n_out, struct array);
    if (!eval_body(c, node->body[condition ? 0 : 1], c->in, results))
        return false;
    bool good = true;
    for (int i = 0; i < node->n_out; i++) {
        good &= same_shape(&results[i], &c->out[i]);
        c->out[i] = results[i];
    }
    return good || eval_fails(c, STATUS_BAD_MODEL, "a result has another shape than announced");
}

/* Element `index` of a stack. */
static struct array row_of(const struct array *stack, int64_t index)
{
    struct array row = *stack;
    row.rank--;
    memmove(row.shape, row.shape + 1, (size_t)row.rank * sizeof(*row.shape));
    memmove(row.stride, row.stride + 1, (size_t)row.rank * sizeof(*row.stride));
    row.data += index * stack->stride[0] * (int64_t)dtype_size(row.type);
    return row;
}

/* The results of iteration `index`: states take the place of the old ones, the others go on their
 * stacks. */
static bool keep_results(struct eval_call *c, int64_t index, struct array *states,
                         struct array *results)
{
    int n_states = (int)c->node->attr.loop.states;
    for (int i = 0; i < n_states; i++) {
        bool same = same_shape(&results[i], &c->out[i]);
        array_release(&states[i]);
        states[i] = results[i];
        results[i] = (struct array){0};
        if (!same)
            return eval_fails(c, STATUS_BAD_MODEL, "a state changes its shape");
    }
    for (int i = n_states; i < c->node->n_out; i++) {
        struct array row = row_of(&c->out[i], index);
        if (!same_shape(&results[i], &row))
            return eval_fails(c, STATUS_BAD_MODEL, "a result has another shape than announced");
        array_copy(&row, &results[i]);
        array_release(&results[i]);
    }
    return true;
}

static bool iterate(struct eval_call *c, int64_t trips, struct array *in, struct array *results)
{
    const struct attr_loop *attr = &c->node->attr.loop;
    int64_t again = 1;
    for (int64_t index = 0; index < trips && again; index++)
        if (!eval_set_index(c, attr->index, index) ||
            !eval_body(c, c->node->body[0], in, results) || !keep_results(c, index, in, results) ||
            !eval_dim(c, attr->again, &again))
            return false;
    return true;
}

bool eval_op_loop(struct eval_call *c)
{
    const struct node *node = c->node;
    const struct attr_loop *attr = &node->attr.loop;
    int64_t trips;
    if (!eval_dim(c, attr->trips, &trips))
        return false;
    struct array *results = ARENA_ARRAY(&c->scratch, (size_t)node->n_out, struct array);
    struct array *in = ARENA_ARRAY(&c->scratch, (size_t)node->n_in, struct array);
    for (int i = (int)attr->states; i < node->n_out; i++) {
        array_alloc(c, &c->out[i]);
        memset(c->out[i].data, 0, (size_t)array_elements(&c->out[i]) * dtype_size(c->out[i].type));
    }
    /* Nothing jumps out from here on: the states are released below. */
    for (int i = 0; i < node->n_in; i++) {
        in[i] = c->in[i];
        in[i].buffer->arrays++;
    }
    bool ok = iterate(c, trips, in, results);
    eval_clear_index(c, attr->index);
    release_all(results, node->n_out);
    for (int i = 0; i < attr->states && ok; i++) {
        c->out[i] = in[i];
        in[i] = (struct array){0};
    }
    release_all(in, node->n_in);
    return ok;
}
