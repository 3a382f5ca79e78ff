/* Gather, scatter, and sorting. */
#include "lower.h"

/* An axis attribute for an operand that must have a rank of 1 or more; -1 after reporting. */
static int axis_of(struct call *c, int64_t otherwise)
{
    return call_axis(c, attr_int(c, "axis", otherwise), c->in[0]->rank);
}

bool lower_gather(struct call *c)
{
    int axis = axis_of(c, 0);
    return axis >= 0 && call_result(c, build_gather(c->b, c->in[0], c->in[1], axis));
}

bool lower_gather_elements(struct call *c)
{
    int axis = axis_of(c, 0);
    union attr attr = {.gather_elements = {axis}};
    return axis >= 0 && call_result(c, build_tensor(c->b, OP_gather_elements, 2, c->in, &attr));
}

bool lower_gather_nd(struct call *c)
{
    int64_t batch = attr_int(c, "batch_dims", 0);
    if (batch < 0 || batch >= c->in[0]->rank || batch >= c->in[1]->rank)
        return call_error(c, "batch_dims is %lld", (long long)batch);
    union attr attr = {.gather_nd = {batch}};
    return call_result(c, build_tensor(c->b, OP_gather_nd, 2, c->in, &attr));
}

static enum combine reduction_of(struct call *c)
{
    static const char *const names[] = {"none", "add", "mul", "min", "max", NULL};
    static const enum combine combines[] = {COMBINE_NONE, COMBINE_ADD, COMBINE_MUL, COMBINE_MIN,
                                            COMBINE_MAX};
    return combines[attr_choice(c, "reduction", names, 0)];
}

bool lower_scatter_elements(struct call *c)
{
    int axis = axis_of(c, 0);
    union attr attr = {.scatter_elements = {axis, reduction_of(c)}};
    return axis >= 0 && call_result(c, build_tensor(c->b, OP_scatter_elements, 3, c->in, &attr));
}

bool lower_scatter_nd(struct call *c)
{
    union attr attr = {.scatter_nd = {reduction_of(c)}};
    return call_result(c, build_tensor(c->b, OP_scatter_nd, 3, c->in, &attr));
}

/* A value per batch (axis 0) seen in the given rank: [B, 1, 1, …]. */
static struct value *per_batch(struct call *c, struct value *v, int axis, int rank)
{
    uint32_t others = ((1u << rank) - 1) & ~(1u << axis);
    return build_unsqueeze(c->b, v, others);
}

/* A cache, written along one axis from a position that each row of the batch has of its own. */
bool lower_tensor_scatter(struct call *c)
{
    static const char *const modes[] = {"linear", "circular", NULL};
    struct value *cache = c->in[0], *update = c->in[1];
    int axis = axis_of(c, -2);
    if (axis < 0)
        return false;
    if (axis == 0 || update->rank != cache->rank)
        return call_error(c, "its update has rank %d and goes along axis %d", update->rank, axis);
    struct value *index = build_iota(c->b, DT_I64, update->rank, update->shape, axis);
    if (c->in[2])
        index = v_add(c, index, per_batch(c, build_cast(c->b, c->in[2], DT_I64), 0, update->rank));
    if (attr_choice(c, "mode", modes, 0) == 1)
        index = build_binary(c->b, OP_mod, index, build_dim(c->b, cache->shape[axis]));
    union attr attr = {.scatter_elements = {axis, COMBINE_NONE}};
    if (!index)
        return false;
    return call_result(c, build_tensor(c->b, OP_scatter_elements, 3,
                                       (struct value *[]){cache, index, update}, &attr));
}

/* Step t of row b comes from step length[b] - 1 - t, if that is one of its first length[b]. */
bool lower_reverse_sequence(struct call *c)
{
    struct value *x = c->in[0];
    int batch = call_axis(c, attr_int(c, "batch_axis", 1), x->rank);
    int time = call_axis(c, attr_int(c, "time_axis", 0), x->rank);
    if (batch < 0 || time < 0)
        return false;
    struct value *length = per_batch(c, c->in[1], batch, x->rank);
    struct value *step = build_iota(c->b, DT_I64, x->rank, x->shape, time);
    struct value *mirrored = v_add_number(c, v_sub(c, length, step), -1);
    struct value *index = build_select(c->b, v_lt(c, step, length), mirrored, step);
    union attr attr = {.gather_elements = {time}};
    return index && call_result(c, build_tensor(c->b, OP_gather_elements, 2,
                                                (struct value *[]){x, index}, &attr));
}

bool lower_top_k(struct call *c)
{
    int axis = axis_of(c, -1);
    const struct dim *k = c->opset < 10 ? d_const(c, attr_int(c, "k", -1)) : call_dim(c, 1);
    if (axis < 0 || !k)
        return false;
    if (!graph_constrain(c->b->g, MUST_LESS_EQUAL, d_const(c, 0), k, "%s: k must not be negative",
                         c->b->g->origin) ||
        !graph_constrain(c->b->g, MUST_LESS_EQUAL, k, c->in[0]->shape[axis],
                         "%s: k must not exceed its operand's axis", c->b->g->origin))
        return false;
    union attr attr = {.top_k = {axis, k, attr_int(c, "largest", 1) != 0}};
    struct value *values = build_tensor(c->b, OP_top_k, 1, c->in, &attr);
    if (!values)
        return false;
    c->out[0] = values;
    c->out[1] = values->def->out[1];
    return true;
}

/* on where the index is the position along the new axis, else off; negative indices count back. */
bool lower_one_hot(struct call *c)
{
    struct value *index = build_cast(c->b, c->in[0], DT_I64);
    struct value *depth = build_cast(c->b, c->in[1], DT_I64), *values = c->in[2];
    const struct dim *d[MAX_ELEMENTS], *shape[MAX_RANK];
    int rank = c->in[0]->rank + 1;
    int axis = call_axis(c, attr_int(c, "axis", -1), rank), n;
    if (axis < 0 || rank > MAX_RANK || !index || (n = value_dims(c, depth, "its depth", d)) < 0)
        return false;
    if (n != 1 || values->rank != 1)
        return call_error(c, "its depth must be one number and its values two");
    for (int i = 0; i < rank; i++)
        shape[i] = i == axis ? d[0] : index->shape[i - (i > axis)];
    struct value *count = build_dim(c->b, d[0]), *zero = build_int(c->b, DT_I64, 0);
    struct value *wrapped = v_add(c, index, count);
    index = build_select(c->b, v_lt(c, index, zero), wrapped, index);
    struct value *wanted = build_unsqueeze(c->b, index, 1u << axis);
    struct value *hot = v_eq(c, build_iota(c->b, DT_I64, rank, shape, axis), wanted);
    struct value *off = build_slice_axis(c->b, values, 0, d_const(c, 0), d_const(c, 1));
    struct value *on = build_slice_axis(c->b, values, 0, d_const(c, 1), d_const(c, 1));
    off = build_reshape(c->b, off, 0, NULL);
    return call_result(c, build_select(c->b, hot, build_reshape(c->b, on, 0, NULL), off));
}
