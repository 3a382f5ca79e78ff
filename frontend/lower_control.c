/* If and Loop. What is decided at compile time needs no branch and no loop. */
#include "import.h"
#include "list.h"

enum { MOST_UNROLLED = 64 }; /* trips of a loop whose states change their shape */

static const Onnx__GraphProto *graph_attr(struct call *c, const char *name)
{
    const Onnx__AttributeProto *a = call_attr(c, name, ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH);
    if (!a && !c->failed)
        call_error(c, "attribute '%s' is missing", name);
    return a ? a->g : NULL;
}

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
    for (int k = 0; k < c->n_out; k++)
        c->out[k] =
            build_select(c->b, condition, handed_on(c, &body[0], k), handed_on(c, &body[1], k));
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
    const Onnx__GraphProto *graph[] = {graph_attr(c, "then_branch"), graph_attr(c, "else_branch")};
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

/* --- Loop ------------------------------------------------------------------------------------ */

/* Loop's inputs are M, the condition, and the states; its body's are the iteration, the condition
 * and the states, and its outputs the condition, the states, and elements to stack. */
struct onnx_loop {
    const Onnx__GraphProto *body;
    const struct dim *trips;
    int states, stacks;
    bool unbounded;       /* no M */
    bool conditional;     /* the body's condition counts */
    bool counted;         /* an early end is possible: a state counts the iterations */
    bool *invariant;      /* states that the body hands on as they are */
    struct value **in;    /* of the body, the iteration and the condition included */
    struct value **out;   /* of the body */
    struct value **state; /* states that are no invariants: at the start, … */
    struct value **next;  /* … then inside, with what is stacked, … */
    struct value **final; /* … and in the end */
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

/* Starts a loop with the states that are no invariants, and walks its body. */
static bool build_loop(struct call *c, struct onnx_loop *l, struct loop *loop)
{
    int n = 0;
    for (int i = 0; i < l->states; i++)
        if (!l->invariant[i])
            l->state[n++] = c->in[2 + i];
    if (l->counted)
        l->state[n++] = build_int(c->b, DT_I64, 0);
    if (!loop_begin(c, loop, l->trips, n, l->state, l->next))
        return false;
    for (int i = 0, k = 0; i < l->states; i++)
        l->in[2 + i] = l->invariant[i] ? loop_value(c, loop, c->in[2 + i]) : l->next[k++];
    if (walk_body(c, l, loop->index))
        return true;
    loop_abandon(c, loop);
    return false;
}

/* Marks the states that come out as they went in; false: there are none that were not marked. */
static bool find_invariants(struct onnx_loop *l)
{
    bool found = false;
    for (int i = 0; i < l->states; i++)
        if (!l->invariant[i] && l->out[1 + i] == l->in[2 + i])
            found = l->invariant[i] = true;
    return found;
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
        if (!keeps_shape(c->b->g, l->in[2 + i], l->out[1 + i], certain))
            return false;
    return true;
}

/* Gives states whose shape is not certain to stay the shape that they must have. */
static bool fix_shapes(struct call *c, struct onnx_loop *l)
{
    for (int i = 0; i < l->states; i++) {
        struct value *before = l->in[2 + i], *after = l->out[1 + i];
        if (keeps_shape(c->b->g, before, after, true))
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

static bool finish_loop(struct call *c, struct onnx_loop *l, struct loop *loop)
{
    int n = 0, first;
    if (!loop->in_place && !fix_shapes(c, l))
        return loop_abandon(c, loop), false;
    for (int i = 0; i < l->states; i++)
        if (!l->invariant[i])
            l->next[n++] = l->out[1 + i];
    if (l->counted)
        l->next[n++] = build_dim(c->b, D(add, loop->index, d_const(c, 1)));
    first = n;
    for (int k = l->states; k < c->n_out; k++)
        l->next[n++] = l->out[1 + k];
    if (!loop_end(c, loop, l->again, n, l->next, l->final))
        return false;
    const struct dim *count =
        l->counted && !loop->in_place ? iterations(c, l->final[first - 1], l->trips) : NULL;
    for (int i = 0, k = 0; i < l->states; i++) {
        struct value *v = l->invariant[i] ? c->in[2 + i] : l->final[k++];
        if (i < c->n_out)
            c->out[i] = v;
    }
    for (int k = l->states; k < c->n_out; k++) {
        struct value *v = l->final[first + k - l->states];
        c->out[k] = count ? build_slice_axis(c->b, v, 0, d_const(c, 0), count) : v;
        if (!c->out[k])
            return false;
    }
    return true;
}

static bool read_loop(struct call *c, struct onnx_loop *l)
{
    struct arena *arena = c->b->g->arena;
    l->body = graph_attr(c, "body");
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
    l->invariant = ARENA_ARRAY(arena, most, bool);
    l->in = ARENA_ARRAY(arena, most, struct value *);
    l->out = ARENA_ARRAY(arena, most, struct value *);
    l->state = ARENA_ARRAY(arena, most, struct value *);
    l->next = ARENA_ARRAY(arena, most, struct value *);
    l->final = ARENA_ARRAY(arena, most, struct value *);

    bool bounded = c->n_in > 0 && c->in[0], conditional = c->n_in > 1 && c->in[1];
    const struct dim *m = bounded ? call_dim(c, 0) : d_const(c, INT64_MAX);
    const struct dim *enter = conditional ? call_dim(c, 1) : d_const(c, 1);
    if (!m || !enter)
        return false;
    l->trips = D(mul, D(max, m, d_const(c, 0)), enter);
    l->unbounded = !bounded;
    l->conditional = conditional || !bounded; /* with M alone, what the body says is ignored */
    return true;
}

/*
 * The body is walked until all is known that the loop's form depends on: which states are none
 * (shapes may depend on them, so they should be seen as what they are), and whether it may end
 * early. Bodies that were walked in vain are left to the arena.
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
        if (loop.in_place)
            break;
        bool stacks = c->n_out > l.states, redo = find_invariants(&l);
        if (dim_is(l.again, 0)) {
            l.trips = D(min, l.trips, d_const(c, 1));
            l.conditional = l.unbounded = false;
            redo = true;
        } else if (!dim_is(l.again, 1) && stacks && !l.counted) {
            redo = l.counted = true;
        }
        if (!redo)
            break;
        loop_abandon(c, &loop);
    }
    if (loop.in_place)
        return finish_loop(c, &l, &loop);
    bool fixed = dim_is_const(l.trips, &trips);
    bool unrolled = fixed && trips <= MOST_UNROLLED && !states_keep_shape(c, &l, true);
    const char *fault = NULL;
    if (l.unbounded && dim_is(l.again, 1))
        fault = "a loop that never ends";
    else if (fixed && trips > INT32_MAX && c->n_out > l.states)
        fault = "stacked outputs of a loop whose trip count is not bounded";
    else if (!unrolled && !states_keep_shape(c, &l, false))
        fault = "a state that changes its shape from one iteration to the next";
    bool skipped = fixed && trips == 0;
    if (!fault && !unrolled && !skipped)
        return finish_loop(c, &l, &loop);
    loop_abandon(c, &loop);
    if (skipped)
        return skip_loop(c, &l);
    return fault ? call_unsupported(c, "%s", fault) : unroll_loop(c, l.body);
}
