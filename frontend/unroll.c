/*
 * A loop whose iterations are counted at compile time: its body once for each. So lists that are
 * its states stay static.
 */
#include "list.h"

enum { MAX_UNROLLED = 1024 }; /* iterations */

/* Is a condition known, and does it hold? An omitted one does. */
static bool known_condition(struct call *c, struct value *v, bool *holds)
{
    int64_t known[MAX_ELEMENTS];
    *holds = true;
    if (!v)
        return true;
    if (value_known(c, v, known) != 1)
        return call_unsupported(c, "an end that is not known at compile time");
    *holds = known[0] != 0;
    return true;
}

/* A scan output: what the iterations gave, along a new first axis. */
static struct value *stack(struct call *c, int n, struct value **parts)
{
    if (n == 0)
        return call_unsupported(c, "no iteration, so that the shape of a scan output is unknown"),
               NULL;
    for (int i = 0; i < n; i++) {
        if (is_list(parts[i]))
            return call_error(c, "a scan output is no tensor"), NULL;
        parts[i] = build_unsqueeze(c->b, parts[i], 1);
    }
    return build_concat(c->b, n, parts, 0);
}

/* The iterations. in[0..2) is for their number and condition, in[2..) holds the states; out[0] gets
 * the condition, then states and stacked elements; parts[n · MAX_UNROLLED + i]: what is to be
 * stacked of iteration i. Gives their number, or -1. */
static int iterate(struct call *c, const Onnx__GraphProto *body, int64_t trips, int states,
                   int stacks, struct value **in, struct value **out, struct value **parts)
{
    bool goes_on;
    int n = 0;
    if (!known_condition(c, c->in[1], &goes_on))
        return -1;
    for (; goes_on && n < trips; n++) {
        if (n == MAX_UNROLLED)
            return call_unsupported(c, "more than %d iterations", MAX_UNROLLED), -1;
        in[0] = build_int(c->b, DT_I64, n);
        in[1] = build_int(c->b, DT_BOOL, 1);
        if (!call_inline_graph(c, body, states + 2, in, 1 + states + stacks, out) ||
            !known_condition(c, out[0], &goes_on))
            return -1;
        for (int k = 0; k < states; k++)
            in[2 + k] = out[1 + k];
        for (int k = 0; k < stacks; k++)
            parts[k * MAX_UNROLLED + n] = out[1 + states + k];
    }
    return n;
}

bool unroll_loop(struct call *c, const Onnx__GraphProto *body)
{
    int64_t trips[MAX_ELEMENTS] = {INT64_MAX};
    int states = c->n_in > 2 ? c->n_in - 2 : 0;
    int stacks = (int)body->n_output - 1 - states;
    if (c->in[0] && call_known(c, 0, trips) != 1)
        return call_unsupported(c, "a number of iterations that is not known at compile time");
    if (stacks < 0 || c->n_out > states + stacks)
        return call_error(c, "its body has %zu outputs, and the loop %d states", body->n_output,
                          states);
    struct arena *arena = c->b->g->arena;
    struct value **in = ARENA_ARRAY(arena, states + 2, struct value *);
    struct value **out = ARENA_ARRAY(arena, body->n_output, struct value *);
    struct value **parts = ARENA_ARRAY(arena, (size_t)stacks * MAX_UNROLLED, struct value *);
    for (int k = 0; k < states; k++)
        in[2 + k] = c->in[2 + k];
    int n = iterate(c, body, trips[0], states, stacks, in, out, parts);
    if (n < 0)
        return false;
    for (int k = 0; k < c->n_out; k++) {
        c->out[k] = k < states ? in[2 + k] : stack(c, n, parts + (k - states) * MAX_UNROLLED);
        if (!c->out[k] && call_wants(c, k))
            return false;
    }
    return true;
}
