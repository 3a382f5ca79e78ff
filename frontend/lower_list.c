/* Sequences and optionals; see list.h. */
#include "list.h"

#include <string.h>

static bool list_result(struct call *c, struct list *list)
{
    return list && call_result(c, &list->handle);
}

static enum dtype sequence_of(enum dtype element)
{
    return (enum dtype)(DT_SEQUENCE + (int)element);
}

static bool is_sequence(const struct value *v)
{
    return is_list(v) && dtype_list_kind(list_type(v)) == DT_SEQUENCE;
}

static bool call_sequence(struct call *c, int input)
{
    return is_sequence(c->in[input]) ||
           call_error(c, "input %d, '%s', is no sequence", input, c->node->input[input]);
}

static bool call_tensors(struct call *c, int from, int to)
{
    for (int i = from; i < to; i++)
        if (is_list(c->in[i]))
            return call_error(c, "input %d, '%s', is no tensor", i, c->node->input[i]);
    return true;
}

/*
 * The position that an input gives, which must be in [-n, n] (n itself only with `behind`), made
 * non-negative; n - !behind when the input is omitted. False after reporting; *known = -1: it is
 * known to the run only.
 */
static bool known_position(struct call *c, int input, int n, bool behind, int *known)
{
    int64_t p[MAX_ELEMENTS];
    *known = n - !behind;
    if (!c->in[input])
        return *known >= 0 || call_error(c, "the sequence is empty");
    *known = -1;
    if (call_known(c, input, p) != 1)
        return true;
    if (p[0] < -n || p[0] > n - !behind)
        return call_error(c, "position %lld is out of range for a sequence of %d", (long long)p[0],
                          n);
    *known = (int)(p[0] < 0 ? p[0] + n : p[0]);
    return true;
}

/* Input 0 as a run-time list. */
static struct value *run_list(struct call *c)
{
    return list_value(c, c->in[0], list_type(c->in[0]));
}

bool lower_sequence_empty(struct call *c)
{
    enum dtype type = attr_dtype(c, "dtype", DT_F32);
    return !c->failed && list_result(c, list_create(c, 0, sequence_of(type)));
}

bool lower_sequence_construct(struct call *c)
{
    if (!call_tensors(c, 0, c->n_in))
        return false;
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i]->type != c->in[0]->type)
            return call_error(c, "input %d is of another type than the first", i);
    struct list *list = list_create(c, c->n_in, sequence_of(c->in[0]->type));
    if (list)
        memcpy(list->v, c->in, (size_t)c->n_in * sizeof *c->in);
    return list_result(c, list);
}

bool lower_sequence_insert(struct call *c)
{
    const struct list *from = as_static(c->in[0]);
    int at = -1;
    if (!call_sequence(c, 0) || !call_tensors(c, 1, 2) ||
        (from && !known_position(c, 2, from->n, true, &at)))
        return false;
    if (dtype_element(list_type(c->in[0])) != c->in[1]->type)
        return call_error(c, "the tensor is of another type than the sequence's");
    if (at < 0) {
        struct value *list = run_list(c);
        const struct dim *p = !list ? NULL : c->in[2] ? call_dim(c, 2) : d_const(c, -1);
        int64_t known;
        if (p && c->in[2] && dim_is_const(p, &known) && known < 0)
            p = D(add, p, list_length(c, list));
        return p && call_result(c, list_insert(c, list, c->in[1], p));
    }
    struct list *list = list_create(c, from->n + 1, from->type);
    for (int i = 0; list && i < list->n; i++)
        list->v[i] = i == at ? c->in[1] : from->v[i - (i > at)];
    return list_result(c, list);
}

bool lower_sequence_erase(struct call *c)
{
    const struct list *from = as_static(c->in[0]);
    int at = -1;
    if (!call_sequence(c, 0) || (from && !known_position(c, 1, from->n, false, &at)))
        return false;
    if (at < 0) {
        struct value *list = run_list(c);
        const struct dim *p = !list ? NULL : c->in[1] ? call_dim(c, 1) : d_const(c, -1);
        return p && call_result(c, list_erase(c, list, p));
    }
    struct list *list = list_create(c, from->n - 1, from->type);
    for (int i = 0; list && i < list->n; i++)
        list->v[i] = from->v[i + (i >= at)];
    return list_result(c, list);
}

bool lower_sequence_at(struct call *c)
{
    const struct list *from = as_static(c->in[0]);
    int at = -1;
    if (!call_sequence(c, 0) || (from && !known_position(c, 1, from->n, false, &at)))
        return false;
    if (at >= 0)
        return call_result(c, from->v[at]);
    struct value *list = run_list(c);
    const struct dim *p = list ? call_dim(c, 1) : NULL;
    return p && call_result(c, list_at(c, list, p));
}

bool lower_sequence_length(struct call *c)
{
    const struct list *from = as_static(c->in[0]);
    return call_sequence(c, 0) &&
           call_result(c, from ? build_int(c->b, DT_I64, from->n) : list_count(c, c->in[0]));
}

bool lower_concat_from_sequence(struct call *c)
{
    const struct list *from = as_static(c->in[0]);
    if (!call_sequence(c, 0))
        return false;
    if (!from)
        return call_unsupported(c, "a sequence whose length is not known when compiling");
    if (from->n == 0)
        return call_error(c, "the sequence is empty");
    bool stack = attr_int(c, "new_axis", 0) != 0;
    if (!attr_given(c, "axis"))
        return call_error(c, "attribute 'axis' is missing");
    if (stack && from->v[0]->rank == MAX_RANK)
        return call_unsupported(c, "rank %d", MAX_RANK + 1);
    int axis = call_axis(c, attr_int(c, "axis", 0), from->v[0]->rank + stack);
    if (axis < 0)
        return false;
    struct value **parts = ARENA_ARRAY(c->b->g->arena, (size_t)from->n, struct value *);
    for (int i = 0; i < from->n; i++)
        parts[i] = stack ? build_unsqueeze(c->b, from->v[i], 1u << axis) : from->v[i];
    return call_result(c, build_concat(c->b, from->n, parts, axis));
}

/* ---- SplitToSequence ---- */

/* Parts of an axis: from a list of sizes, or all of one size but the last, which may be smaller. */
struct split {
    struct value *x;
    int axis, n; /* n parts; -1: as many as it takes */
    bool drop;   /* parts of size 1 lose the axis */
    const struct dim *size[MAX_ELEMENTS], *each;
};

static bool read_split(struct call *c, struct split *s)
{
    s->x = c->in[0];
    s->n = -1;
    s->axis = call_axis(c, attr_int(c, "axis", 0), s->x->rank);
    s->drop = !c->in[1] && attr_int(c, "keepdims", 1) == 0;
    s->each = d_const(c, 1);
    if (s->axis < 0 || c->failed)
        return false;
    if (!c->in[1])
        return true;
    if (c->in[1]->rank == 0)
        return (s->each = call_dim(c, 1)) &&
               graph_constrain(c->b->g, MUST_LESS_EQUAL, d_const(c, 1), s->each,
                               "%s: a part must have a size", c->b->g->origin);
    s->n = call_dims(c, 1, s->size);
    const struct dim *sum = d_const(c, 0);
    for (int i = 0; i < s->n; i++)
        sum = D(add, sum, s->size[i]);
    return s->n >= 0 && graph_constrain(c->b->g, MUST_EQUAL, sum, s->x->shape[s->axis],
                                        "%s: the parts must add up to the axis", c->b->g->origin);
}

static struct value *split_part(struct call *c, const struct split *s, struct value *x,
                                const struct dim *start, const struct dim *size)
{
    struct value *part = x ? build_slice_axis(c->b, x, s->axis, start, size) : NULL;
    return s->drop ? build_squeeze(c->b, part, 1u << s->axis) : part;
}

/* The part at a position, all parts being of one size. */
static struct value *equal_part(struct call *c, const struct split *s, struct value *x,
                                const struct dim *index)
{
    const struct dim *start = D(mul, index, s->each);
    const struct dim *rest = D(sub, s->x->shape[s->axis], start);
    return split_part(c, s, x, start, D(min, s->each, rest));
}

/* A loop makes the parts whose number only the run knows. */
static bool split_by_loop(struct call *c, struct split *s, const struct dim *count)
{
    struct loop loop;
    enum dtype type = sequence_of(s->x->type);
    union attr attr = {.list_new = {type}};
    struct value *list = build_tensor(c->b, OP_list_new, 0, NULL, &attr), *inside;
    if (!loop_begin(c, &loop, count, 1, &list, &inside))
        return false;
    struct value *part = equal_part(c, s, loop_value(c, &loop, s->x), loop.index);
    struct value *next = list_insert(c, inside, part, loop.index);
    if (!loop_end(c, &loop, d_const(c, 1), 1, &next, c->out))
        return false;
    list_set_rank(c, c->out[0], s->x->rank - s->drop);
    return true;
}

bool lower_split_to_sequence(struct call *c)
{
    struct split s = {0};
    int64_t n;
    if (!call_tensors(c, 0, c->n_in) || !read_split(c, &s))
        return false;
    const struct dim *count = d_const(c, s.n), *start = d_const(c, 0);
    if (s.n < 0) /* rounded up */
        count =
            D(sub, d_const(c, 0), D(floordiv, D(sub, d_const(c, 0), s.x->shape[s.axis]), s.each));
    if (!dim_is_const(count, &n))
        return split_by_loop(c, &s, count);
    struct list *list = list_create(c, n, sequence_of(s.x->type));
    for (int i = 0; list && i < n; i++) {
        list->v[i] = s.n < 0 ? equal_part(c, &s, s.x, d_const(c, i))
                             : split_part(c, &s, s.x, start, s.size[i]);
        if (!list->v[i])
            return false;
        start = s.n < 0 ? start : D(add, start, s.size[i]);
    }
    return list_result(c, list);
}

/* ---- SequenceMap ---- */

/* The body once for each element; inputs that are tensors are the same every time. */
static bool map_static(struct call *c, const Onnx__GraphProto *body, const enum dtype *types)
{
    const struct list *first = as_static(c->in[0]);
    struct list **results = ARENA_ARRAY(c->b->g->arena, (size_t)c->n_out, struct list *);
    for (int k = 0; k < c->n_out; k++) {
        results[k] = list_create(c, first->n, types[k]);
        c->out[k] = &results[k]->handle;
    }
    struct value **in = ARENA_ARRAY(c->b->g->arena, (size_t)c->n_in, struct value *);
    struct value **out = ARENA_ARRAY(c->b->g->arena, (size_t)c->n_out, struct value *);
    for (int i = 0; i < first->n; i++) {
        for (int k = 0; k < c->n_in; k++) {
            const struct list *list = as_static(c->in[k]);
            if (list && list->n != first->n)
                return call_error(c, "sequences of %d and %d elements", first->n, list->n);
            in[k] = list ? list->v[i] : c->in[k];
        }
        if (!call_inline_graph(c, body, c->n_in, in, c->n_out, out))
            return false;
        for (int k = 0; k < c->n_out; k++)
            results[k]->v[i] = out[k];
    }
    return true;
}

/* One iteration, inside the loop. */
static bool map_element(struct call *c, const Onnx__GraphProto *body, struct loop *loop,
                        struct value *const *lists, struct value **states)
{
    struct value **in = ARENA_ARRAY(c->b->g->arena, (size_t)c->n_in, struct value *);
    struct value **out = ARENA_ARRAY(c->b->g->arena, (size_t)c->n_out, struct value *);
    for (int k = 0; k < c->n_in; k++) {
        struct value *outside = lists[k] ? lists[k] : c->in[k];
        in[k] = loop_value(c, loop, outside);
        if (in[k] && lists[k])
            in[k] = list_at(c, in[k], loop->index);
        if (!in[k])
            return false;
    }
    if (!call_inline_graph(c, body, c->n_in, in, c->n_out, out))
        return false;
    for (int k = 0; k < c->n_out; k++)
        if (!(states[k] = list_insert(c, states[k], out[k], loop->index)))
            return false;
    return true;
}

static bool map_by_loop(struct call *c, const Onnx__GraphProto *body, const enum dtype *types,
                        const int *ranks)
{
    struct arena *arena = c->b->g->arena;
    struct value **lists = ARENA_ARRAY(arena, (size_t)c->n_in, struct value *);
    struct value **initial = ARENA_ARRAY(arena, (size_t)c->n_out, struct value *);
    struct value **states = ARENA_ARRAY(arena, (size_t)c->n_out, struct value *);
    const struct dim *length = NULL;
    struct loop loop;
    for (int k = 0; k < c->n_in; k++) {
        if (!is_list(c->in[k]))
            continue;
        lists[k] = list_value(c, c->in[k], list_type(c->in[k]));
        const struct dim *n = lists[k] ? list_length(c, lists[k]) : NULL;
        if (!n || (length && !graph_constrain(c->b->g, MUST_EQUAL, n, length,
                                              "%s: its sequences must have as many elements",
                                              c->b->g->origin)))
            return false;
        length = length ? length : n;
    }
    for (int k = 0; k < c->n_out; k++) {
        union attr attr = {.list_new = {types[k]}};
        initial[k] = build_tensor(c->b, OP_list_new, 0, NULL, &attr);
    }
    if (!loop_begin(c, &loop, length, c->n_out, initial, states))
        return false;
    if (!map_element(c, body, &loop, lists, states)) {
        loop_abandon(c, &loop);
        return false;
    }
    bool ok = loop_end(c, &loop, d_const(c, 1), c->n_out, states, c->out);
    for (int k = 0; k < c->n_out && ok; k++)
        list_set_rank(c, c->out[k], ranks[k]);
    return ok;
}

bool lower_sequence_map(struct call *c)
{
    const Onnx__AttributeProto *a = call_attr(c, "body", ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH);
    if (!call_sequence(c, 0) || !a)
        return c->failed || a ? false : call_error(c, "attribute 'body' is missing");
    if ((size_t)c->n_out > a->g->n_output)
        return call_error(c, "its body has %zu outputs, not %d", a->g->n_output, c->n_out);
    enum dtype *types = ARENA_ARRAY(c->b->g->arena, (size_t)c->n_out, enum dtype);
    int *ranks = ARENA_ARRAY(c->b->g->arena, (size_t)c->n_out, int);
    for (int k = 0; k < c->n_out; k++) {
        const Onnx__TypeProto *type = a->g->output[k]->type;
        const Onnx__TypeProto__Tensor *tensor =
            type && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? type->tensor_type
                                                                            : NULL;
        if (!tensor || tensor->elem_type <= DT_NONE || tensor->elem_type >= DT_COUNT)
            return call_error(c, "output %d of its body has no type", k);
        types[k] = sequence_of((enum dtype)tensor->elem_type);
        ranks[k] = tensor->shape ? (int)tensor->shape->n_dim : -1;
    }
    bool all_static = true;
    for (int k = 0; k < c->n_in; k++)
        all_static &= !is_list(c->in[k]) || as_static(c->in[k]);
    return all_static ? map_static(c, a->g, types) : map_by_loop(c, a->g, types, ranks);
}

/* ---- optionals ---- */

bool lower_optional(struct call *c)
{
    const Onnx__AttributeProto *a = call_attr(c, "type", ONNX__ATTRIBUTE_PROTO__TYPE__TYPE_PROTO);
    struct value *x = c->in[0];
    int rank, kind = DT_OPTIONAL;
    enum dtype element = x ? x->type : DT_F32;
    if (is_list(x)) {
        if (!is_sequence(x))
            return call_error(c, "an optional of an optional");
        kind = DT_OPTIONAL_SEQUENCE;
        element = dtype_element(list_type(x));
    } else if (!x && a && a->tp) {
        Onnx__TypeProto__Optional wrapped = ONNX__TYPE_PROTO__OPTIONAL__INIT;
        Onnx__TypeProto type = ONNX__TYPE_PROTO__INIT;
        wrapped.elem_type = a->tp;
        type.value_case = ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE;
        type.optional_type = &wrapped;
        enum dtype declared = list_declared(&type, &rank);
        if (declared == DT_NONE)
            return call_unsupported(c, "an optional of this type");
        kind = (int)dtype_list_kind(declared);
        element = dtype_element(declared);
    }
    struct list *list = list_create(c, x != NULL, (enum dtype)(kind + (int)element));
    if (list && list->n)
        list->v[0] = x;
    return list_result(c, list);
}

static bool is_optional(const struct value *v)
{
    return is_list(v) && !is_sequence(v);
}

/* A value that is no optional stands for one that is there. */
bool lower_optional_has_element(struct call *c)
{
    struct value *x = c->in[0];
    if (is_optional(x) && !as_static(x))
        return call_result(c, build_cast(c->b, list_count(c, x), DT_BOOL));
    bool has = x && !(is_optional(x) && as_static(x)->n == 0);
    return call_result(c, build_int(c->b, DT_BOOL, has));
}

bool lower_optional_get_element(struct call *c)
{
    struct value *x = c->in[0];
    if (!is_optional(x))
        return call_result(c, x);
    if (as_static(x))
        return as_static(x)->n ? call_result(c, as_static(x)->v[0])
                               : call_error(c, "the optional holds nothing");
    if (dtype_list_kind(x->type) == DT_OPTIONAL)
        return call_result(c, list_at(c, x, d_const(c, 0)));
    return call_result(c, list_value(c, x, sequence_of(dtype_element(x->type))));
}
