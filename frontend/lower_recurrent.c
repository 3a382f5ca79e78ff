/*
 * RNN, GRU and LSTM. The product of all steps' inputs with W, and the biases, are one matrix
 * product before a loop over the steps; in the loop stand the product with R and the gates, with
 * the directions as a first axis, so that a bidirectional operator runs both at once.
 *
 * Gates are computed in f32 where tensors are narrower; the cell's state stays so between steps.
 */
#include "recurrent.h"

#include <string.h>

enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P };

/* x [n, b, …] with its first two axes, or the first two of [n, b, d], swapped. */
static struct value *swapped(struct call *c, struct value *x)
{
    return build_transpose(c->b, x, (int[]){1, 0, 2, 3});
}

/* Half-open range of an axis. */
static struct value *part(struct call *c, struct value *x, int axis, int64_t start,
                          const struct dim *size)
{
    return build_slice_axis(c->b, x, axis, D(mul, d_const(c, start), size), size);
}

static bool check_shape(struct call *c, int input, int rank, const struct dim *const *shape)
{
    const struct value *v = c->in[input];
    if (!v)
        return true;
    if (v->rank != rank)
        return call_error(c, "input %d has rank %d, not %d", input, v->rank, rank);
    if (input != IN_LENGTHS && v->type != c->in[IN_X]->type)
        return call_error(c, "input %d is of another type than the first", input);
    for (int i = 0; i < rank; i++)
        if (!graph_constrain(c->b->g, MUST_EQUAL, v->shape[i], shape[i],
                             "%s: axis %d of input %d must fit the others", c->place, i, input))
            return false;
    return true;
}

static bool check_inputs(struct call *c, struct recurrence *r)
{
    const struct dim *d = d_const(c, r->directions),
                     *rows = D(mul, d_const(c, r->gates), r->hidden);
    const struct dim *i = c->in[IN_X]->shape[2], *h = r->hidden, *b = r->batch;
    const struct dim *const state[2][3] = {{d, b, h}, {b, d, h}};
    for (int k = c->n_in; k <= IN_P; k++)
        c->in[k] = NULL;
    return check_shape(c, IN_W, 3, (const struct dim *const[]){d, rows, i}) &&
           check_shape(c, IN_R, 3, (const struct dim *const[]){d, rows, h}) &&
           check_shape(c, IN_B, 2, (const struct dim *const[]){d, D(mul, rows, d_const(c, 2))}) &&
           check_shape(c, IN_LENGTHS, 1, &b) && check_shape(c, IN_H, 3, state[r->batch_first]) &&
           check_shape(c, IN_C, 3, state[r->batch_first]) &&
           check_shape(c, IN_P, 2, (const struct dim *const[]){d, D(mul, h, d_const(c, 3))});
}

static bool read_attributes(struct call *c, struct recurrence *r)
{
    static const char *const directions[] = {"forward", "reverse", "bidirectional", NULL};
    int direction = attr_choice(c, "direction", directions, 0);
    r->directions = direction == 2 ? 2 : 1;
    r->backwards[0] = direction == 1;
    r->backwards[1] = true;
    r->batch_first = attr_int(c, "layout", 0);
    r->linear_before_reset = attr_int(c, "linear_before_reset", 0);
    r->input_forget = attr_int(c, "input_forget", 0);
    r->clips = attr_given(c, "clip");
    r->clip = attr_float(c, "clip", 0);
    return read_activations(c, r) && !c->failed;
}

static bool read_recurrence(struct call *c, struct recurrence *r)
{
    const struct value *x = c->in[IN_X], *weights = c->in[IN_R];
    r->gates = c->row->variant;
    if (x->rank != 3 || weights->rank != 3)
        return call_error(c, "its first and third input must have rank 3");
    if (!dtype_is_float(x->type))
        return call_error(c, "its first input holds no floats");
    if (!read_attributes(c, r))
        return false;
    r->type = x->type;
    r->wide = dtype_info[x->type].bits < 32 ? DT_F32 : x->type;
    r->steps = x->shape[r->batch_first];
    r->batch = x->shape[!r->batch_first];
    r->hidden = weights->shape[2];
    return check_inputs(c, r);
}

/* --- The sequences --------------------------------------------------------------------------- */

/* Sequences that all have every step need no lengths. */
static bool has_lengths(struct call *c, const struct recurrence *r)
{
    int64_t known[MAX_ELEMENTS];
    if (!c->in[IN_LENGTHS])
        return false;
    int n = call_known(c, IN_LENGTHS, known);
    for (int i = 0; i < n; i++)
        if (!dim_is(r->steps, known[i]))
            return true;
    return n < 0;
}

/* Rows of x [steps * batch, …]: each sequence's steps backwards, those behind its end as they are.
 */
static struct value *turn_order(struct call *c, const struct recurrence *r)
{
    const struct dim *shape[2] = {r->steps, r->batch};
    struct value *step = build_iota(c->b, DT_I64, 2, shape, 0);
    struct value *length = build_cast(c->b, r->lengths, DT_I64);
    struct value *mirrored = v_add_number(c, v_sub(c, length, step), -1);
    struct value *from = build_select(c->b, v_lt(c, step, length), mirrored, step);
    struct value *column = build_iota(c->b, DT_I64, 2, shape, 1);
    return v_add(c, v_mul(c, from, build_dim(c->b, r->batch)), column);
}

/* x [steps, batch, …] with its steps backwards. */
static struct value *turned(struct call *c, const struct recurrence *r, struct value *x)
{
    const struct dim *start[4], *step[4], *size[4];
    if (!x)
        return NULL;
    if (r->lengths) {
        size[0] = D(mul, r->steps, r->batch);
        for (int i = 2; i < x->rank; i++)
            size[i - 1] = x->shape[i];
        x = build_reshape(c->b, x, x->rank - 1, size);
        return build_gather(c->b, x, turn_order(c, r), 0);
    }
    for (int i = 0; i < x->rank; i++) {
        start[i] = i ? d_const(c, 0) : D(sub, r->steps, d_const(c, 1));
        step[i] = d_const(c, i ? 1 : -1);
        size[i] = x->shape[i];
    }
    return build_slice(c->b, x, start, step, size);
}

/* x [steps, batch, directions, …] with the steps of those directions that run so backwards. */
static struct value *turned_directions(struct call *c, const struct recurrence *r, struct value *x)
{
    struct value *one[2];
    if (r->directions == 1)
        return r->backwards[0] ? turned(c, r, x) : x;
    for (int i = 0; i < 2; i++)
        one[i] = part(c, x, 2, i, d_const(c, 1));
    one[1] = turned(c, r, one[1]);
    return build_concat(c->b, 2, one, 2);
}

/* --- Before and after the loop --------------------------------------------------------------- */

/* Both biases, [directions * rows]. What GRU adds to the product with R before the reset gate is
 * kept for later. */
static struct value *input_bias(struct call *c, struct recurrence *r, const struct dim *rows)
{
    const struct dim *flat = D(mul, d_const(c, r->directions), rows);
    struct value *b = build_cast(c->b, c->in[IN_B], r->wide);
    struct value *of_w = part(c, b, 1, 0, rows), *of_r = part(c, b, 1, 1, rows);
    if (r->linear_before_reset) {
        const struct dim *d = d_const(c, r->directions), *two = D(mul, d_const(c, 2), r->hidden);
        const struct dim *none = d_const(c, 0), *shape[3] = {d, d_const(c, 1), r->hidden};
        r->reset_bias = build_reshape(c->b, part(c, of_r, 1, 2, r->hidden), 3, shape);
        of_r = build_pad(c->b, part(c, of_r, 1, 0, two), (const struct dim *const[]){none, none},
                         (const struct dim *const[]){none, r->hidden}, PAD_CONSTANT, NULL);
    }
    return build_reshape(c->b, v_add(c, of_w, of_r), 1, &flat);
}

/* What the gates get from the inputs: [steps, batch, directions, rows]; steps in the loop's order
 * where lengths decide it. */
static struct value *project(struct call *c, struct recurrence *r)
{
    const struct dim *rows = D(mul, d_const(c, r->gates), r->hidden);
    const struct dim *d = d_const(c, r->directions), *all = D(mul, d, rows);
    struct value *x = c->in[IN_X], *w = c->in[IN_W];
    const struct dim *columns = x->shape[2];
    if (r->batch_first)
        x = swapped(c, x);
    x = build_reshape(c->b, x, 2, (const struct dim *const[]){D(mul, r->steps, r->batch), columns});
    w = build_reshape(c->b, w, 2, (const struct dim *const[]){all, columns});
    struct value *y = build_matmul(c->b, x, build_transpose(c->b, w, (int[]){1, 0}), r->wide);
    if (c->in[IN_B])
        y = v_add(c, y, input_bias(c, r, rows));
    y = build_reshape(c->b, y, 4, (const struct dim *const[]){r->steps, r->batch, d, rows});
    return r->lengths ? turned_directions(c, r, y) : y;
}

/* What the gates get from the inputs of step `index`: [directions, batch, rows]. */
static struct value *step_input(struct call *c, const struct recurrence *r, struct value *projected,
                                const struct dim *index)
{
    const struct dim *mirror = D(sub, D(sub, r->steps, d_const(c, 1)), index);
    struct value *one[2];
    for (int i = 0; i < r->directions; i++) {
        const struct dim *at = r->backwards[i] && !r->lengths ? mirror : index;
        one[i] = r->directions == 1 ? projected : part(c, projected, 2, i, d_const(c, 1));
        one[i] = build_slice_axis(c->b, one[i], 0, at, d_const(c, 1));
    }
    struct value *x = r->directions == 1 ? one[0] : build_concat(c->b, 2, one, 2);
    return build_transpose(c->b, build_squeeze(c->b, x, 1), (int[]){1, 0, 2});
}

/* A state at the start, [directions, batch, hidden]. */
static struct value *initial_state(struct call *c, const struct recurrence *r, int input,
                                   enum dtype type)
{
    struct value *v = c->in[input];
    const struct dim *shape[3] = {d_const(c, r->directions), r->batch, r->hidden};
    if (!v)
        return build_expand(c->b, build_float(c->b, type, 0), 3, shape);
    return build_cast(c->b, r->batch_first ? swapped(c, v) : v, type);
}

/* A state at the end in the node's layout; 0 for a sequence without a step, as ONNX Runtime has it.
 */
static struct value *final_state(struct call *c, const struct recurrence *r, struct value *v)
{
    v = build_cast(c->b, v, r->type);
    if (r->lengths) {
        struct value *ran = v_lt(c, v_number(c, r->lengths, 0), r->lengths);
        struct value *zero = v_number(c, v, 0);
        v = build_select(c->b, build_unsqueeze(c->b, ran, 1u | 1u << 2), v, zero);
    }
    return r->batch_first ? swapped(c, v) : v;
}

/* Stacked outputs [steps, directions, batch, hidden], in the loop's order, as the node gives them.
 */
static struct value *sequence(struct call *c, const struct recurrence *r, struct value *y)
{
    y = turned_directions(c, r, build_transpose(c->b, y, (int[]){0, 2, 1, 3}));
    return build_transpose(c->b, y, r->batch_first ? (int[]){1, 0, 2, 3} : (int[]){0, 2, 1, 3});
}

/* Before a sequence's end; [1, batch, 1]. */
static struct value *within_length(struct call *c, const struct recurrence *r, struct loop *loop)
{
    struct value *length = loop_value(c, loop, r->lengths);
    struct value *index =
        length ? build_cast(c->b, build_dim(c->b, loop->index), length->type) : NULL;
    return build_unsqueeze(c->b, v_lt(c, index, length), 1u | 1u << 2);
}

/* Builds the body: state[0] is the output, state[1] LSTM's cell; *y: the step's element of Y. */
static bool build_step(struct call *c, struct recurrence *r, struct loop *loop,
                       struct value *projected, struct value **state, struct value **y)
{
    struct value *before[2] = {state[0], state[1]};
    struct step s = {.h = state[0], .c = state[1]};
    s.x = step_input(c, r, loop_value(c, loop, projected), loop->index);
    s.r = build_transpose(c->b, loop_value(c, loop, c->in[IN_R]), (int[]){0, 2, 1});
    s.reset_bias = loop_value(c, loop, r->reset_bias);
    s.peephole = build_cast(c->b, loop_value(c, loop, c->in[IN_P]), r->wide);
    recurrent_step(c, r, &s);
    state[0] = *y = build_cast(c->b, s.h, r->type);
    state[1] = s.c;
    if (r->lengths) {
        struct value *within = within_length(c, r, loop);
        state[0] = build_select(c->b, within, *y, before[0]);
        if (before[1])
            state[1] = build_select(c->b, within, s.c, before[1]);
        *y = build_select(c->b, within, *y, v_number(c, *y, 0));
    }
    return state[0] && *y && (state[1] || !before[1]);
}

bool lower_recurrent(struct call *c)
{
    struct recurrence r = {0};
    struct loop loop;
    if (!read_recurrence(c, &r))
        return false;
    int states = r.gates == GATES_LSTM ? 2 : 1, n = states;
    r.lengths = has_lengths(c, &r) ? c->in[IN_LENGTHS] : NULL;
    struct value *projected = project(c, &r);
    struct value *initial[2] = {initial_state(c, &r, IN_H, r.type)};
    struct value *inside[3] = {NULL}, *results[3], *y;
    if (states > 1)
        initial[1] = initial_state(c, &r, IN_C, r.wide);
    if (!projected || !loop_begin(c, &loop, r.steps, states, initial, inside))
        return false;
    if (!build_step(c, &r, &loop, projected, inside, &y))
        return loop_abandon(c, &loop), false;
    if (call_wants(c, 0))
        inside[n++] = y;
    if (!loop_end(c, &loop, d_const(c, 1), n, inside, results))
        return false;
    bool ok = true;
    if (call_wants(c, 0))
        ok = (c->out[0] = sequence(c, &r, results[states]));
    for (int i = 0; i < states; i++)
        if (call_wants(c, 1 + i))
            ok &= (c->out[1 + i] = final_state(c, &r, results[i])) != NULL;
    return ok;
}
