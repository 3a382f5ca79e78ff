/* Sequences and optionals of known length; see list.h. Positions must be known too. */
#include "list.h"

#include <string.h>

struct list *list_create(struct call *c, int64_t n, bool optional)
{
    if (n > MAX_LIST) {
        call_unsupported(c, "a sequence of %lld elements", (long long)n);
        return NULL;
    }
    struct list *list = ARENA_NEW(c->b->g->arena, struct list);
    list->optional = optional;
    list->n = (int)n;
    list->v = ARENA_ARRAY(c->b->g->arena, n, struct value *);
    return list;
}

static bool list_result(struct call *c, struct list *list)
{
    return list && call_result(c, &list->handle);
}

/* An input that must be a sequence; NULL after reporting. */
static const struct list *call_sequence(struct call *c, int input)
{
    const struct list *list = as_list(c->in[input]);
    if (list && !list->optional)
        return list;
    call_error(c, "input %d, '%s', is no sequence", input, c->node->input[input]);
    return NULL;
}

static bool call_tensors(struct call *c, int from, int to)
{
    for (int i = from; i < to; i++)
        if (is_list(c->in[i]))
            return call_error(c, "input %d, '%s', is no tensor", i, c->node->input[i]);
    return true;
}

/*
 * The position that an input gives, of [-n, n] (n alone with `behind`), made non-negative;
 * `otherwise` when the input is omitted. -1 after reporting.
 */
static int position(struct call *c, int input, int n, bool behind, int otherwise)
{
    int64_t p[MAX_ELEMENTS];
    if (!c->in[input])
        return otherwise;
    if (call_known(c, input, p) != 1)
        return call_unsupported(c, "a position that is not known at compile time"), -1;
    if (p[0] < -n || p[0] > n - !behind)
        return call_error(c, "position %lld is out of range for a sequence of %d", (long long)p[0],
                          n),
               -1;
    return (int)(p[0] < 0 ? p[0] + n : p[0]);
}

bool lower_sequence_empty(struct call *c)
{
    return list_result(c, list_create(c, 0, false));
}

bool lower_sequence_construct(struct call *c)
{
    struct list *list = call_tensors(c, 0, c->n_in) ? list_create(c, c->n_in, false) : NULL;
    if (list)
        memcpy(list->v, c->in, (size_t)c->n_in * sizeof *c->in);
    return list_result(c, list);
}

bool lower_sequence_insert(struct call *c)
{
    const struct list *from = call_sequence(c, 0);
    if (!from || !call_tensors(c, 1, 2))
        return false;
    if (from->n > 0 && from->v[0]->type != c->in[1]->type)
        return call_error(c, "the tensor is of another type than the sequence's");
    int at = position(c, 2, from->n, true, from->n);
    struct list *list = at < 0 ? NULL : list_create(c, from->n + 1, false);
    for (int i = 0; list && i < list->n; i++)
        list->v[i] = i == at ? c->in[1] : from->v[i - (i > at)];
    return list_result(c, list);
}

bool lower_sequence_erase(struct call *c)
{
    const struct list *from = call_sequence(c, 0);
    int at = from ? position(c, 1, from->n, false, from->n - 1) : -1;
    if (from && !c->in[1] && from->n == 0)
        return call_error(c, "the sequence is empty");
    struct list *list = at < 0 ? NULL : list_create(c, from->n - 1, false);
    for (int i = 0; list && i < list->n; i++)
        list->v[i] = from->v[i + (i >= at)];
    return list_result(c, list);
}

bool lower_sequence_at(struct call *c)
{
    const struct list *from = call_sequence(c, 0);
    int at = from ? position(c, 1, from->n, false, -1) : -1;
    return at >= 0 && call_result(c, from->v[at]);
}

bool lower_sequence_length(struct call *c)
{
    const struct list *from = call_sequence(c, 0);
    return from && call_result(c, build_int(c->b, DT_I64, from->n));
}

bool lower_concat_from_sequence(struct call *c)
{
    const struct list *from = call_sequence(c, 0);
    if (!from)
        return false;
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
    struct value **parts = ARENA_ARRAY(c->b->g->arena, from->n, struct value *);
    for (int i = 0; i < from->n; i++)
        parts[i] = stack ? build_unsqueeze(c->b, from->v[i], 1u << axis) : from->v[i];
    return call_result(c, build_concat(c->b, from->n, parts, axis));
}

/* Sizes of the parts of an axis: given each, all alike but the last, or 1. Their count, or -1. */
static int part_sizes(struct call *c, const struct dim *whole, const struct dim **d, int most)
{
    int64_t all, size = 1;
    if (c->in[1] && c->in[1]->rank == 1) {
        int n = call_dims(c, 1, d);
        const struct dim *sum = d_const(c, 0);
        for (int i = 0; i < n; i++)
            sum = D(add, sum, d[i]);
        bool fits =
            n >= 0 && graph_constrain(c->b->g, MUST_EQUAL, sum, whole,
                                      "%s: the parts must add up to the axis", c->b->g->origin);
        return fits ? n : -1;
    }
    if (c->in[1]) {
        int64_t given[MAX_ELEMENTS];
        if (call_known(c, 1, given) != 1)
            return call_unsupported(c, "the number of parts is not known at compile time"), -1;
        size = given[0];
    }
    if (!dim_is_const(whole, &all))
        return call_unsupported(c, "the number of parts is not known at compile time"), -1;
    if (size < 1)
        return call_error(c, "parts of size %lld", (long long)size), -1;
    int64_t n = all / size + (all % size != 0);
    if (n > most)
        return call_unsupported(c, "a sequence of %lld elements", (long long)n), -1;
    for (int64_t i = 0; i < n; i++)
        d[i] = d_const(c, i < n - 1 ? size : all - i * size);
    return (int)n;
}

bool lower_split_to_sequence(struct call *c)
{
    struct value *x = c->in[0];
    if (!call_tensors(c, 0, c->n_in))
        return false;
    int axis = call_axis(c, attr_int(c, "axis", 0), x->rank);
    if (axis < 0)
        return false;
    bool drop = !c->in[1] && attr_int(c, "keepdims", 1) == 0;
    const struct dim **size = ARENA_ARRAY(c->b->g->arena, MAX_LIST, const struct dim *);
    const struct dim *start = d_const(c, 0);
    int n = part_sizes(c, x->shape[axis], size, MAX_LIST);
    struct list *list = n < 0 ? NULL : list_create(c, n, false);
    for (int i = 0; list && i < n; i++) {
        struct value *part = build_slice_axis(c->b, x, axis, start, size[i]);
        list->v[i] = drop ? build_squeeze(c->b, part, 1u << axis) : part;
        if (!list->v[i])
            return false;
        start = D(add, start, size[i]);
    }
    return list_result(c, list);
}

/* The body once for each element; inputs that are tensors are the same every time. */
bool lower_sequence_map(struct call *c)
{
    const struct list *first = call_sequence(c, 0);
    const Onnx__AttributeProto *body = call_attr(c, "body", ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH);
    if (!first || !body)
        return c->failed || !first ? false : call_error(c, "attribute 'body' is missing");
    struct list **results = ARENA_ARRAY(c->b->g->arena, c->n_out, struct list *);
    for (int k = 0; k < c->n_out; k++) {
        results[k] = list_create(c, first->n, false);
        c->out[k] = &results[k]->handle;
    }
    struct value **in = ARENA_ARRAY(c->b->g->arena, c->n_in, struct value *);
    struct value **out = ARENA_ARRAY(c->b->g->arena, c->n_out, struct value *);
    for (int i = 0; i < first->n; i++) {
        for (int k = 0; k < c->n_in; k++) {
            const struct list *list = as_list(c->in[k]);
            if (list && list->n != first->n)
                return call_error(c, "sequences of %d and %d elements", first->n, list->n);
            in[k] = list ? list->v[i] : c->in[k];
        }
        if (!call_inline_graph(c, body->g, c->n_in, in, c->n_out, out))
            return false;
        for (int k = 0; k < c->n_out; k++)
            results[k]->v[i] = out[k];
    }
    return true;
}

bool lower_optional(struct call *c)
{
    struct list *list = list_create(c, c->in[0] != NULL, true);
    if (list && list->n)
        list->v[0] = c->in[0];
    return list_result(c, list);
}

/* A value that is no optional stands for one that is there. */
bool lower_optional_has_element(struct call *c)
{
    const struct list *list = as_list(c->in[0]);
    bool has = c->in[0] && !(list && list->optional && list->n == 0);
    return call_result(c, build_int(c->b, DT_BOOL, has));
}

bool lower_optional_get_element(struct call *c)
{
    const struct list *list = as_list(c->in[0]);
    if (!list || !list->optional)
        return call_result(c, c->in[0]);
    return list->n ? call_result(c, list->v[0]) : call_error(c, "the optional has no element");
}
