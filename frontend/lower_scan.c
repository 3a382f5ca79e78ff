/*
 * Scan: a loop over slices of its inputs. What it scans is captured whole, and the body reads slice
 * `index` of it.
 */
#include "lower.h"

/* Inputs and outputs of the node's body: the states, then what is scanned. */
struct scan {
    const Onnx__GraphProto *body;
    int states, inputs, outputs;
    const int64_t *backwards[2]; /* a flag for each scan input and output, or NULL */
    const int64_t *axes[2];      /* the axis of each, or NULL: 0 */
    const struct dim *trips;
    struct value **initial, **in;   /* outside: the states, the scan inputs */
    struct value **inside, **given; /* the states inside; all inputs of the body */
    struct value **results;         /* as many as the body has outputs */
};

/* Numbers of a list attribute that has one for each of n, or NULL where it is not given. */
static bool one_each(struct call *c, const char *name, int n, const int64_t **v)
{
    int given = attr_ints(c, name, v);
    if (c->failed)
        return false;
    if (given && given != n)
        return call_error(c, "attribute '%s' has %d numbers where %d belong", name, given, n);
    return true;
}

static bool read_scan(struct call *c, struct scan *s, int before)
{
    struct arena *arena = c->b->g->arena;
    int64_t scanned = attr_int(c, "num_scan_inputs", 0);
    s->body = attr_graph(c, "body");
    if (!s->body || c->failed)
        return false;
    if (scanned < 1 || scanned > c->n_in - before)
        return call_error(c, "num_scan_inputs is %lld for %d inputs", (long long)scanned, c->n_in);
    s->inputs = (int)scanned;
    s->states = c->n_in - before - s->inputs;
    s->outputs = (int)s->body->n_output - s->states;
    if (s->body->n_input != (size_t)(s->states + s->inputs) || s->outputs < 0)
        return call_error(c, "its body has %zu inputs and %zu outputs for %d states and %d scans",
                          s->body->n_input, s->body->n_output, s->states, s->inputs);
    if (c->n_out > s->states + s->outputs)
        return call_error(c, "it has %d outputs, but its body gives %d", c->n_out,
                          s->states + s->outputs);
    for (int i = before; i < c->n_in; i++)
        if (!c->in[i])
            return call_error(c, "input %d is missing", i);
    size_t most = (size_t)(s->states + s->inputs + s->outputs) + 1;
    s->initial = c->in + before;
    s->in = s->initial + s->states;
    s->inside = ARENA_ARRAY(arena, most, struct value *);
    s->given = ARENA_ARRAY(arena, most, struct value *);
    s->results = ARENA_ARRAY(arena, most, struct value *);
    return true;
}

/* Slice `at` of an axis, without the axis. */
static struct value *element(struct call *c, struct value *x, int axis, const struct dim *at)
{
    return build_squeeze(c->b, build_slice_axis(c->b, x, axis, at, d_const(c, 1)), 1u << axis);
}

/* Position of step `index` of n, forwards or backwards. */
static const struct dim *position(struct call *c, const struct dim *index, const struct dim *n,
                                  bool backwards)
{
    return backwards ? D(sub, D(sub, n, d_const(c, 1)), index) : index;
}

/* The loop over the sequence; s->results: the states, then the stacks that the node names. */
static bool run_scan(struct call *c, struct scan *s)
{
    struct loop loop;
    int n = s->states > c->n_out ? s->states : c->n_out;
    if (!loop_begin(c, &loop, s->trips, s->states, s->initial, s->inside))
        return false;
    for (int i = 0; i < s->states; i++)
        s->given[i] = s->inside[i];
    bool ok = true;
    for (int i = 0; i < s->inputs; i++) {
        struct value *x = loop_value(c, &loop, s->in[i]);
        bool backwards = s->backwards[0] && s->backwards[0][i];
        int axis = s->axes[0] ? call_axis(c, s->axes[0][i], s->in[i]->rank) : 0;
        ok = ok && axis >= 0;
        s->given[s->states + i] =
            ok ? element(c, x, axis, position(c, loop.index, s->trips, backwards)) : NULL;
        ok = ok && s->given[s->states + i];
    }
    ok = ok && call_inline_graph(c, s->body, s->states + s->inputs, s->given, n, s->inside);
    if (!ok)
        return loop_abandon(c, &loop), false;
    return loop_end(c, &loop, d_const(c, 1), n, s->inside, s->results);
}

/* x with its first axis, of n elements, backwards. */
static struct value *reversed(struct call *c, struct value *x, const struct dim *n)
{
    const struct dim *start[MAX_RANK], *step[MAX_RANK], *size[MAX_RANK];
    for (int i = 0; x && i < x->rank; i++) {
        start[i] = i ? d_const(c, 0) : D(sub, n, d_const(c, 1));
        step[i] = d_const(c, i ? 1 : -1);
        size[i] = x->shape[i];
    }
    return build_slice(c->b, x, start, step, size);
}

/* x with its first axis moved to `axis`. */
static struct value *moved(struct call *c, struct value *x, int axis)
{
    int perm[MAX_RANK];
    for (int i = 0; x && i < x->rank; i++)
        perm[i] = i < axis ? i + 1 : i == axis ? 0 : i;
    return build_transpose(c->b, x, perm);
}

bool lower_scan(struct call *c)
{
    struct scan s = {0};
    if (!read_scan(c, &s, 0) || !one_each(c, "scan_input_directions", s.inputs, &s.backwards[0]) ||
        !one_each(c, "scan_output_directions", s.outputs, &s.backwards[1]) ||
        !one_each(c, "scan_input_axes", s.inputs, &s.axes[0]) ||
        !one_each(c, "scan_output_axes", s.outputs, &s.axes[1]))
        return false;
    for (int i = 0; i < s.inputs; i++) {
        int axis = call_axis(c, s.axes[0] ? s.axes[0][i] : 0, s.in[i]->rank);
        if (axis < 0)
            return false;
        const struct dim *size = s.in[i]->shape[axis];
        if (i && !graph_constrain(c->b->g, MUST_EQUAL, size, s.trips,
                                  "%s: scanned inputs must be of one length", c->place))
            return false;
        s.trips = i ? s.trips : size;
    }
    if (!run_scan(c, &s))
        return false;
    for (int i = 0; i < c->n_out; i++)
        c->out[i] = s.results[i];
    for (int i = s.states; i < c->n_out; i++) {
        int k = i - s.states, axis = 0;
        if (s.axes[1] && (axis = call_axis(c, s.axes[1][k], c->out[i]->rank)) < 0)
            return false;
        if (s.backwards[1] && s.backwards[1][k])
            c->out[i] = reversed(c, c->out[i], s.trips);
        c->out[i] = moved(c, c->out[i], axis);
        if (!c->out[i])
            return false;
    }
    return true;
}

/*
 * Opset 8: all inputs and outputs have the batch as their first axis and the sequence as the
 * second, and input 0 may give each sequence's length. A loop over the batch around that over the
 * sequence; outputs are 0 behind the end of a shorter sequence.
 */
bool lower_scan_batch(struct call *c)
{
    struct scan s = {0};
    struct loop batch;
    struct arena *arena = c->b->g->arena;
    if (!read_scan(c, &s, 1) || !one_each(c, "directions", s.inputs, &s.backwards[0]))
        return false;
    for (int i = 0; i < s.states + s.inputs; i++)
        if (s.initial[i]->rank < (i < s.states ? 1 : 2))
            return call_error(c, "input %d has rank %d", 1 + i, s.initial[i]->rank);
    const struct dim *n = s.in[0]->shape[0], *most = s.in[0]->shape[1], *d[MAX_ELEMENTS];
    for (int i = 0; i < s.states + s.inputs; i++)
        if (!graph_constrain(c->b->g, MUST_EQUAL, s.initial[i]->shape[0], n,
                             "%s: all inputs must have the same batch", c->place) ||
            (i >= s.states &&
             !graph_constrain(c->b->g, MUST_EQUAL, s.initial[i]->shape[1], most,
                              "%s: scanned inputs must be of one length", c->place)))
            return false;
    if (!loop_begin(c, &batch, n, 0, NULL, NULL))
        return false;

    struct value **inside =
        ARENA_ARRAY(arena, (size_t)(s.states + s.inputs + s.outputs) + 1, struct value *);
    bool ok = true;
    for (int i = 0; i < s.states + s.inputs; i++)
        inside[i] = element(c, loop_value(c, &batch, s.initial[i]), 0, batch.index);
    s.initial = inside;
    s.in = inside + s.states;
    s.trips = most;
    if (c->in[0]) {
        struct value *length =
            build_slice_axis(c->b, loop_value(c, &batch, c->in[0]), 0, batch.index, d_const(c, 1));
        ok = value_dims(c, length, "the length of a sequence", d) == 1 &&
             graph_constrain(c->b->g, MUST_LESS_EQUAL, d[0], most,
                             "%s: a sequence's length must be that of its input at most", c->place);
        s.trips = ok ? D(max, d[0], d_const(c, 0)) : NULL;
    }
    ok = ok && run_scan(c, &s);
    for (int i = 0; ok && i < c->n_out; i++)
        c->out[i] = s.results[i];
    for (int i = s.states; ok && i < c->n_out; i++) {
        const struct dim *low[MAX_RANK], *high[MAX_RANK];
        for (int k = 0; k < c->out[i]->rank; k++) {
            low[k] = d_const(c, 0);
            high[k] = k ? low[k] : D(sub, most, s.trips);
        }
        if (s.trips != most)
            c->out[i] = build_pad(c->b, c->out[i], low, high, PAD_CONSTANT, NULL);
        ok = c->out[i];
    }
    if (!ok)
        return loop_abandon(c, &batch), false;
    return loop_end(c, &batch, d_const(c, 1), c->n_out, c->out, c->out);
}
