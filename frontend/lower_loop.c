/*
 * Loop. What Loop calls a state need not be one: some are the same in every iteration, some count
 * iterations, and some grow by what each iteration appends, and are stacked outputs in truth.
 */
#include "list.h"

enum { MOST_UNROLLED = 64 }; /* trips of a loop whose states change their shape */

enum role {
    STATE,
    INVARIANT, /* handed on as it is */
    COUNTER,   /* an integer to which a constant is added */
    GROWING,   /* a tensor to which something is appended, and which nobody else reads */
};

/* A state of the ONNX node. */
struct loop_state {
    enum role role;
    const struct dim *start, *step; /* COUNTER: its values; GROWING: sizes of axis */
    int axis;                       /* GROWING */
    struct value *appended;         /* GROWING: in the body */
};

/* Loop's inputs are M, the condition, and the states; its body's are the iteration, the condition
 * and the states, and its outputs the condition, the states, and elements to stack. */
struct onnx_loop {
    const Onnx__GraphProto *body;
    const struct dim *most, *enter; /* M, and the condition at the start, 0 or 1 */
    const struct dim *trips;        /* both together */
    int states, stacks;
    bool bounded;     /* by M, or by a limit found in the body's condition */
    bool conditional; /* the body's condition counts */
    bool counted;     /* an early end is possible: a state counts the iterations */
    struct loop_state *state;
    struct value **in;      /* of the body, the iteration and the condition included */
    struct value **out;     /* of the body */
    struct value **initial; /* states of the loop that is built, at the start, … */
    struct value **next;    /* … then inside, with what is stacked, … */
    struct value **final;   /* … and in the end */
    const struct dim *again;
};

/* A scalar in the rank that the subgraph declares for its input: some exporters make it i64[1]. */
static struct value *as_declared(struct call *c, const struct onnx_loop *l, int input,
                                 struct value *v)
{
    const Onnx__TypeProto *type = l->body->input[input]->type;
    bool is_vector = type && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE &&
                     type->tensor_type->shape && type->tensor_type->shape->n_dim == 1;
    return is_vector ? build_unsqueeze(c->b, v, 1) : v;
}

static bool has_static_states(const struct call *c, const struct onnx_loop *l)
{
    for (int i = 0; i < l->states; i++)
        if (as_static(c->in[2 + i]))
            return true;
    return false;
}

/* A body has no place for static lists: states that are some become run-time lists. */
static bool keep_lists(struct call *c, const struct onnx_loop *l)
{
    for (int i = 0; i < l->states; i++) {
        struct value **v = &c->in[2 + i];
        if (as_static(*v) && !(*v = list_value(c, *v, list_type(*v))))
            return false;
    }
    return true;
}

/* Walks the body for one iteration. states: those of the ONNX node, where the builder stands. */
static bool walk_body(struct call *c, struct onnx_loop *l, const struct dim *index)
{
    const struct dim *d[MAX_ELEMENTS];
    l->in[0] = as_declared(c, l, 0, build_dim(c->b, index));
    l->in[1] = as_declared(c, l, 1, build_int(c->b, DT_BOOL, 1));
    if (!call_inline_graph(c, l->body, 2 + l->states, l->in, 1 + l->states + l->stacks, l->out))
        return false;
    for (int i = 0; i < l->states; i++) /* lists keep their types */
        if (is_list(l->in[2 + i]) &&
            !(l->out[1 + i] = list_value(c, l->out[1 + i], l->in[2 + i]->type)))
            return false;
    l->again = d_const(c, 1);
    if (!l->conditional)
        return true;
    int n = value_dims(c, l->out[0], "the condition of its body", d);
    if (n == 1)
        l->again = d[0];
    return n == 1 || (n >= 0 && call_error(c, "the condition of its body is no scalar"));
}

/* --- Roles of states -------------------------------------------------------------------------- */

/* The state as an iteration finds it, where it is no state of the loop that is built. */
static struct value *state_inside(struct call *c, struct onnx_loop *l, struct loop *loop, int i)
{
    const struct loop_state *s = &l->state[i];
    struct value *outside = c->in[2 + i];
    const struct dim *now, *shape[MAX_RANK];
    if (s->role == INVARIANT)
        return loop_value(c, loop, outside);
    now = D(add, s->start, D(mul, s->step, loop->index));
    if (s->role == COUNTER)
        return build_reshape(c->b, build_cast(c->b, build_dim(c->b, now), outside->type),
                             outside->rank, outside->shape);
    for (int k = 0; k < outside->rank; k++)
        shape[k] = k == s->axis ? now : outside->shape[k];
    /* Only its shape matters: its elements are never read. */
    return build_expand(c->b, build_int(c->b, outside->type, 0), outside->rank, shape);
}

/* Is it i + constant, starting at what is known as a dim? */
static bool is_counter(struct call *c, struct onnx_loop *l, int i)
{
    struct value *before = l->in[2 + i], *after = l->out[1 + i];
    struct graph *outer = c->b->g->outer;
    const struct dim *start, *step;
    int64_t n;
    if (!after->def || after->def->op != OP_add || !value_elements_const(before, &n) || n != 1 ||
        !dtype_is_int(before->type))
        return false;
    int own = after->def->in[0] != before;
    if (after->def->in[own] != before ||
        !graph_known_elements(c->b->g, after->def->in[!own], &step, 1) ||
        !dim_is_const(step, NULL) || !graph_known_elements(outer, c->in[2 + i], &start, 1))
        return false;
    l->state[i].start = start;
    l->state[i].step = step;
    return true;
}

/* Is it a concatenation of itself with something, and read by nothing else? What is appended is
 * built then. */
static bool is_growing(struct call *c, struct onnx_loop *l, int i)
{
    struct value *before = l->in[2 + i], *after = l->out[1 + i];
    struct node *node = after->def;
    if (!node || node->op != OP_concat || node->n_in < 2 || node->in[0] != before ||
        !before->uses || before->uses->next || after->uses)
        return false;
    for (int k = 0; k < 1 + l->states + l->stacks; k++)
        if (l->out[k] == before || (k != 1 + i && l->out[k] == after))
            return false;
    struct loop_state *s = &l->state[i];
    s->axis = (int)node->attr.concat.axis;
    s->appended = node->in[1];
    if (node->n_in > 2)
        s->appended = build_concat(c->b, node->n_in - 1, node->in + 1, s->axis);
    if (!s->appended)
        return false;
    s->start = c->in[2 + i]->shape[s->axis];
    s->step = s->appended->shape[s->axis];
    return true;
}

/* Finds states that are none; false: no more than before. */
static bool find_roles(struct call *c, struct onnx_loop *l)
{
    bool found = false;
    for (int i = 0; i < l->states; i++) {
        struct loop_state *s = &l->state[i];
        if (s->role != STATE || is_list(l->in[2 + i]))
            continue;
        s->role = l->out[1 + i] == l->in[2 + i] ? INVARIANT
                  : is_counter(c, l, i)         ? COUNTER
                  : is_growing(c, l, i)         ? GROWING
                                                : STATE;
        found |= s->role != STATE;
    }
    return found;
}

static bool has_role(const struct onnx_loop *l, enum role role)
{
    for (int i = 0; i < l->states; i++)
        if (l->state[i].role == role)
            return true;
    return false;
}

/* --- A limit in the condition ----------------------------------------------------------------- */

static void note_symbol(void *unseen, const struct dim *d)
{
    const struct dim **index = unseen;
    if (*index == d)
        *index = NULL;
}

static bool depends_on(const struct dim *d, const struct dim *index)
{
    const struct dim *unseen = index;
    dim_visit_symbols(d, note_symbol, (void *)&unseen);
    return !unseen;
}

/* A scalar of the body as a dim: known there, or handed in from outside. */
static const struct dim *scalar_dim(struct call *c, const struct loop *loop, struct value *v)
{
    const struct dim *d[MAX_ELEMENTS];
    int64_t n;
    if (!value_elements_const(v, &n) || n != 1 || !dtype_is_int(v->type))
        return NULL;
    if (graph_known_elements(c->b->g, v, d, 1))
        return d[0];
    if (v->def || v->index < loop->states)
        return NULL;
    return value_dims(c, loop->body.operands[v->index], "the limit of a loop", d) == 1 ? d[0]
                                                                                       : NULL;
}

/* The iterations after which a condition is false for certain, or NULL: index + k < n. */
static const struct dim *limit_of(struct call *c, const struct loop *loop, struct value *v)
{
    struct node *node = v->def;
    if (!node)
        return NULL;
    const struct dim *a, *b, *one = d_const(c, 1);
    switch (node->op) {
    case OP_and:
        a = limit_of(c, loop, node->in[0]);
        b = limit_of(c, loop, node->in[1]);
        return a && b ? D(min, a, b) : a ? a : b;
    case OP_select: /* condition ? v : false */
        return graph_known_elements(c->b->g, node->in[2], &a, 1) && dim_is(a, 0)
                   ? limit_of(c, loop, node->in[0])
                   : NULL;
    case OP_reshape: return limit_of(c, loop, node->in[0]);
    case OP_lt:
    case OP_le:
        a = scalar_dim(c, loop, node->in[0]);
        b = a ? scalar_dim(c, loop, node->in[1]) : NULL;
        if (!b || depends_on(b, loop->index) || depends_on(D(sub, a, loop->index), loop->index))
            return NULL;
        b = D(sub, b, D(sub, a, loop->index));
        return D(max, node->op == OP_lt ? D(add, b, one) : D(add, b, d_const(c, 2)), one);
    default: return NULL;
    }
}

/* --- The loop --------------------------------------------------------------------------------- */

/* Starts a loop with the states that are some, and walks its body. */
static bool build_loop(struct call *c, struct onnx_loop *l, struct loop *loop)
{
    int n = 0;
    l->trips = D(mul, l->most, l->enter);
    for (int i = 0; i < l->states; i++)
        if (l->state[i].role == STATE)
            l->initial[n++] = c->in[2 + i];
    if (l->counted)
        l->initial[n++] = build_int(c->b, DT_I64, 0);
    if (!loop_begin(c, loop, l->trips, n, l->initial, l->next))
        return false;
    for (int i = 0, k = 0; i < l->states; i++)
        l->in[2 + i] = l->state[i].role == STATE ? l->next[k++] : state_inside(c, l, loop, i);
    if (walk_body(c, l, loop->index))
        return true;
    loop_abandon(c, loop);
    return false;
}

/* Do a state's shapes before and after an iteration agree? With certain: it is known that they do;
 * else: it may be that they do, which the run will check. */
static bool keeps_shape(const struct graph *g, const struct value *before,
                        const struct value *after, bool certain)
{
    bool keeps = before->type == after->type && before->rank == after->rank;
    for (int i = 0; keeps && i < before->rank; i++) {
        const struct dim *a = before->shape[i], *b = after->shape[i];
        keeps = certain ? graph_dims_equal(g, a, b) : !dim_is(dim_eq(g->dims, a, b), 0);
    }
    return keeps;
}

static bool states_keep_shape(const struct call *c, const struct onnx_loop *l, bool certain)
{
    for (int i = 0; i < l->states; i++)
        if (l->state[i].role == STATE &&
            !keeps_shape(c->b->g, l->in[2 + i], l->out[1 + i], certain))
            return false;
    return true;
}

/* Gives states whose shape is not certain to stay the shape that they must have. */
static bool fix_shapes(struct call *c, struct onnx_loop *l)
{
    for (int i = 0; i < l->states; i++) {
        struct value *before = l->in[2 + i], *after = l->out[1 + i];
        if (l->state[i].role != STATE || keeps_shape(c->b->g, before, after, true))
            continue;
        for (int k = 0; k < before->rank; k++)
            if (!graph_constrain(c->b->g, MUST_EQUAL, after->shape[k], before->shape[k],
                                 "%s: a state must keep its shape", c->place))
                return false;
        struct value *fixed = build_reshape(c->b, after, before->rank, before->shape);
        for (int k = 1; k < 1 + l->states + l->stacks; k++)
            if (l->out[k] == after)
                l->out[k] = fixed;
        if (!fixed)
            return false;
    }
    return true;
}

/* Nothing runs: the states as they were, and stacks without an element. */
static bool skip_loop(struct call *c, struct onnx_loop *l)
{
    const struct dim *shape[MAX_RANK];
    for (int i = 0; i < l->states && i < c->n_out; i++)
        c->out[i] = c->in[2 + i];
    for (int k = l->states; k < c->n_out; k++) {
        const struct value *element = l->out[1 + k];
        shape[0] = d_const(c, 0);
        for (int i = 0; i < element->rank && i + 1 < MAX_RANK; i++)
            shape[i + 1] = element->shape[i];
        c->out[k] = build_expand(c->b, build_int(c->b, element->type, 0), element->rank + 1, shape);
        if (!c->out[k])
            return false;
    }
    return true;
}

/* The iterations that ran: the last state, as a size. */
static const struct dim *iterations(struct call *c, struct value *count, const struct dim *trips)
{
    int64_t lower, upper;
    dim_bounds(trips, &lower, &upper);
    struct symbol_source source = {.kind = SYMBOL_ELEMENT, .value = count};
    return graph_symbol(c->b->g, "iterations", source, 0, upper);
}

/* [n, …, k, …] behind what the state was at the start: […, start + n * k, …]. */
static struct value *grown(struct call *c, const struct loop_state *s, struct value *start,
                           struct value *stack)
{
    int perm[MAX_RANK];
    const struct dim *shape[MAX_RANK];
    for (int i = 0; stack && i < stack->rank; i++)
        perm[i] = i < s->axis ? i + 1 : i == s->axis ? 0 : i;
    for (int i = 0; stack && i < start->rank; i++)
        shape[i] = i == s->axis ? D(mul, stack->shape[0], s->step) : stack->shape[i + 1];
    stack = build_reshape(c->b, build_transpose(c->b, stack, perm), start->rank, shape);
    return build_concat(c->b, 2, (struct value *[]){start, stack}, s->axis);
}

/* The node's states at the end; stacks: those of the states that grow. */
static bool final_states(struct call *c, const struct onnx_loop *l, const struct dim *count,
                         struct value *const *states, struct value *const *stacks)
{
    for (int i = 0; i < l->states && i < c->n_out; i++) {
        const struct loop_state *s = &l->state[i];
        struct value *start = c->in[2 + i], *end = NULL;
        switch (s->role) {
        case STATE: end = *states++; break;
        case INVARIANT: end = start; break;
        case COUNTER:
            end = build_dim(c->b, D(add, s->start, D(mul, s->step, count)));
            end =
                build_reshape(c->b, build_cast(c->b, end, start->type), start->rank, start->shape);
            break;
        case GROWING: end = grown(c, s, start, *stacks++); break;
        }
        if (!(c->out[i] = end))
            return false;
    }
    return true;
}

static bool finish_loop(struct call *c, struct onnx_loop *l, struct loop *loop)
{
    int n = 0, first;
    if (!loop->in_place && !fix_shapes(c, l))
        return loop_abandon(c, loop), false;
    for (int i = 0; i < l->states; i++)
        if (l->state[i].role == STATE)
            l->next[n++] = l->out[1 + i];
    if (l->counted)
        l->next[n++] = build_dim(c->b, D(add, loop->index, d_const(c, 1)));
    first = n;
    for (int k = l->states; k < c->n_out; k++)
        l->next[n++] = l->out[1 + k];
    int grow = n;
    for (int i = 0; i < l->states; i++)
        if (l->state[i].role == GROWING)
            l->next[n++] = l->state[i].appended;
    if (!loop_end(c, loop, l->again, n, l->next, l->final))
        return false;
    const struct dim *count = l->trips;
    if (l->counted && !loop->in_place) {
        count = iterations(c, l->final[first - 1], l->trips);
        for (int k = first; k < n; k++)
            l->final[k] = build_slice_axis(c->b, l->final[k], 0, d_const(c, 0), count);
    }
    for (int k = l->states; k < c->n_out; k++)
        if (!(c->out[k] = l->final[first + k - l->states]))
            return false;
    return final_states(c, l, count, l->final, l->final + grow);
}

static bool read_loop(struct call *c, struct onnx_loop *l)
{
    struct arena *arena = c->b->g->arena;
    l->body = attr_graph(c, "body");
    if (!l->body)
        return false;
    l->states = c->n_in > 2 ? c->n_in - 2 : 0;
    l->stacks = (int)l->body->n_output - 1 - l->states;
    if (l->body->n_input != (size_t)l->states + 2 || l->stacks < 0)
        return call_error(c, "its body has %zu inputs and %zu outputs, and it has %d states",
                          l->body->n_input, l->body->n_output, l->states);
    if (c->n_out > l->states + l->stacks)
        return call_error(c, "it has %d outputs, but its body gives %d", c->n_out,
                          l->states + l->stacks);
    for (int i = 0; i < l->states; i++)
        if (!c->in[2 + i])
            return call_error(c, "input %d is missing", 2 + i);
    size_t most = (size_t)l->states + (size_t)l->stacks + 2;
    l->state = ARENA_ARRAY(arena, most, struct loop_state);
    l->in = ARENA_ARRAY(arena, most, struct value *);
    l->out = ARENA_ARRAY(arena, most, struct value *);
    l->initial = ARENA_ARRAY(arena, most, struct value *);
    l->next = ARENA_ARRAY(arena, most, struct value *);
    l->final = ARENA_ARRAY(arena, most, struct value *);

    int64_t known;
    bool has_most = c->n_in > 0 && c->in[0], conditional = c->n_in > 1 && c->in[1];
    l->most = has_most ? call_dim(c, 0) : d_const(c, INT64_MAX);
    l->enter = conditional ? call_dim(c, 1) : d_const(c, 1);
    if (!l->most || !l->enter)
        return false;
    l->most = D(max, l->most, d_const(c, 0));
    l->trips = D(mul, l->most, l->enter);
    l->bounded = !dim_is_const(l->most, &known) || known <= INT32_MAX;
    l->conditional = conditional || !has_most; /* with M alone, what the body says is ignored */
    return true;
}

/* Looks at the body as it was walked last: must it be walked again, knowing more? */
static bool learns(struct call *c, struct onnx_loop *l, const struct loop *loop)
{
    bool more = find_roles(c, l);
    bool stacks = c->n_out > l->states || has_role(l, GROWING);
    if (dim_is(l->again, 0)) {
        l->most = D(min, l->most, d_const(c, 1));
        l->conditional = false;
        return l->bounded = true;
    }
    if (!dim_is(l->again, 1) && (stacks || has_role(l, COUNTER)) && !l->counted)
        more = l->counted = true;
    const struct dim *limit = l->bounded || !stacks ? NULL : limit_of(c, loop, l->out[0]);
    if (limit) {
        l->most = D(min, l->most, limit);
        more = l->bounded = true;
    }
    return more;
}

/* In the last walk states must be what they were taken for. */
static bool roles_hold(struct call *c, struct onnx_loop *l)
{
    for (int i = 0; i < l->states; i++)
        if (l->state[i].role == GROWING && !is_growing(c, l, i))
            return false;
    return true;
}

/*
 * The body is walked until all is known that the loop's form depends on: the states' roles (shapes
 * may depend on them), whether it may end early, and after how many iterations at the latest.
 * Bodies that were walked in vain are left to the arena.
 */
bool lower_loop(struct call *c)
{
    struct onnx_loop l = {0};
    struct loop loop;
    int64_t trips;
    if (!read_loop(c, &l))
        return false;
    if (has_static_states(c, &l)) {
        if (dim_is_const(l.trips, &trips))
            return unroll_loop(c, l.body);
        if (!keep_lists(c, &l))
            return false;
    }
    for (;;) {
        if (!build_loop(c, &l, &loop))
            return false;
        if (loop.in_place || !learns(c, &l, &loop))
            break;
        loop_abandon(c, &loop);
    }
    bool hold = roles_hold(c, &l), stacks = c->n_out > l.states || has_role(&l, GROWING);
    if (loop.in_place && hold)
        return finish_loop(c, &l, &loop);
    bool fixed = dim_is_const(l.trips, &trips), skipped = fixed && trips == 0;
    bool unrolled = fixed && trips <= MOST_UNROLLED && !states_keep_shape(c, &l, true);
    const char *fault = NULL;
    if (!l.bounded && dim_is(l.again, 1))
        fault = "a loop that never ends";
    else if (!l.bounded && stacks)
        fault = "stacked outputs of a loop whose trip count is not bounded";
    else if (!hold || (!unrolled && !states_keep_shape(c, &l, false)))
        fault = "a state that changes its shape from one iteration to the next";
    if (!fault && !unrolled && !skipped)
        return finish_loop(c, &l, &loop);
    loop_abandon(c, &loop);
    if (skipped)
        return skip_loop(c, &l);
    return fault ? call_unsupported(c, "%s", fault) : unroll_loop(c, l.body);
}
