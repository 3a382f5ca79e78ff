#include "list.h"
#include "import.h"

#include <string.h>

enum { MOST_LENGTH = 1 << 20 }; /* of a run-time list: the runtime's limit */

struct list *list_create(struct call *c, int64_t n, enum dtype type)
{
    if (n > MAX_LIST) {
        call_unsupported(c, "a sequence of %lld elements", (long long)n);
        return NULL;
    }
    struct list *list = ARENA_NEW(c->import->arena, struct list);
    list->type = type;
    list->n = (int)n;
    list->v = ARENA_ARRAY(c->import->arena, (size_t)n, struct value *);
    return list;
}

enum dtype list_type(const struct value *v)
{
    return as_static(v) ? as_static(v)->type : v->type;
}

enum dtype list_declared(const Onnx__TypeProto *type, int *rank)
{
    int kind = 0;
    *rank = -1;
    if (type && type->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE) {
        kind = DT_OPTIONAL;
        type = type->optional_type->elem_type;
    }
    if (type && type->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE) {
        kind = kind ? DT_OPTIONAL_SEQUENCE : DT_SEQUENCE;
        type = type->sequence_type->elem_type;
    }
    if (!kind || !type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
        return DT_NONE;
    const Onnx__TypeProto__Tensor *tensor = type->tensor_type;
    if (tensor->elem_type <= DT_NONE || tensor->elem_type >= DT_COUNT ||
        tensor->elem_type == DT_STRING)
        return DT_NONE;
    if (tensor->shape && tensor->shape->n_dim <= MAX_RANK)
        *rank = (int)tensor->shape->n_dim;
    return (enum dtype)(kind + tensor->elem_type);
}

/* ---- ranks ---- */

void list_set_rank(struct call *c, const struct value *list, int rank)
{
    struct import *im = c->import;
    if (!list || rank < 0)
        return;
    struct rank_list *entry = ARENA_NEW(im->arena, struct rank_list);
    *entry = (struct rank_list){list, rank, im->ranks};
    im->ranks = entry;
}

int list_rank(struct call *c, const struct value *list)
{
    for (const struct rank_list *e = c->import->ranks; e; e = e->next)
        if (e->list == list)
            return e->rank;
    return -1;
}

/* ---- run-time lists ---- */

static struct value *make(struct call *c, enum op op, int n_in, struct value *const *in,
                          union attr attr, int rank)
{
    struct value *list = build_tensor(c->b, op, n_in, in, &attr);
    list_set_rank(c, list, rank);
    return list;
}

static struct value *as(struct call *c, struct value *list, enum dtype type)
{
    if (!list || list->type == type)
        return list;
    return make(c, OP_list_as, 1, &list, (union attr){.list_as = {type}}, list_rank(c, list));
}

static struct value *empty(struct call *c, enum dtype type)
{
    return make(c, OP_list_new, 0, NULL, (union attr){.list_new = {type}}, -1);
}

/* A tensor as the optional that holds it. */
static struct value *optional_of(struct call *c, struct value *v, enum dtype type)
{
    return v ? list_insert(c, empty(c, type), v, d_const(c, 0)) : NULL;
}

struct value *list_value(struct call *c, struct value *v, enum dtype type)
{
    const struct list *list = as_static(v);
    enum dtype kind = dtype_list_kind(type);
    enum dtype sequence = (enum dtype)(DT_SEQUENCE + (int)dtype_element(type));
    if (!v)
        return NULL;
    if (!is_list(v))
        return optional_of(c, v, type);
    if (!list)
        return as(c, v, type);
    if (kind != DT_SEQUENCE && dtype_list_kind(list->type) != DT_SEQUENCE && list->n == 0)
        return empty(c, type);
    if (kind == DT_OPTIONAL && dtype_list_kind(list->type) == DT_OPTIONAL)
        return optional_of(c, list->v[0], type);
    if (dtype_list_kind(list->type) == DT_OPTIONAL_SEQUENCE)
        return list->n ? list_value(c, list->v[0], type)
                       : (call_error(c, "the optional holds nothing"), NULL);
    struct value *made = empty(c, sequence);
    for (int i = 0; i < list->n && made; i++)
        made = list_insert(c, made, list->v[i], d_const(c, i));
    return as(c, made, type);
}

struct value *list_count(struct call *c, struct value *list)
{
    bool there = dtype_list_kind(list->type) != DT_SEQUENCE;
    union attr attr = {.list_length = {there}};
    return build_tensor(c->b, OP_list_length, 1, &list, &attr);
}

/* A symbol for an element of v, which is never negative. */
static const struct dim *symbol_of(struct call *c, struct value *v, int element, const char *name,
                                   int64_t upper)
{
    struct symbol_source source = {.kind = SYMBOL_ELEMENT, .value = v, .element = element};
    return graph_symbol(c->b->g, name, source, 0, upper);
}

const struct dim *list_length(struct call *c, struct value *list)
{
    struct value *count = list_count(c, list);
    return count ? symbol_of(c, count, 0, "length", MOST_LENGTH) : NULL;
}

/* position, not negative. */
static const struct dim *from_start(struct call *c, struct value *list, const struct dim *position)
{
    int64_t lower, upper;
    dim_bounds(position, &lower, &upper);
    if (lower >= 0)
        return position;
    const struct dim *length = list_length(c, list);
    const struct dim *negative = D(lt, position, d_const(c, 0));
    return length ? D(add, position, D(mul, negative, length)) : NULL;
}

struct value *list_at(struct call *c, struct value *list, const struct dim *position)
{
    const struct dim **shape = ARENA_ARRAY(c->b->g->arena, MAX_RANK, const struct dim *);
    int rank = list_rank(c, list);
    if (rank < 0) {
        call_unsupported(c, "an element whose rank is not known when compiling");
        return NULL;
    }
    const struct dim *at = from_start(c, list, position);
    struct value *sizes = NULL;
    union attr attr = {.list_shape = {at, rank}};
    if (at && rank > 0)
        sizes = build_tensor(c->b, OP_list_shape, 1, &list, &attr);
    if (!at || (rank > 0 && !sizes))
        return NULL;
    for (int i = 0; i < rank; i++)
        shape[i] = symbol_of(c, sizes, i, "size", INT64_MAX);
    attr = (union attr){.list_at = {at, {rank, shape}}};
    return build_tensor(c->b, OP_list_at, 1, &list, &attr);
}

struct value *list_insert(struct call *c, struct value *list, struct value *v,
                          const struct dim *position)
{
    if (!list || !v)
        return NULL;
    const struct dim *at = dim_is(position, -1) ? position : from_start(c, list, position);
    int rank = list_rank(c, list);
    bool first = list->def && list->def->op == OP_list_new;
    return at ? make(c, OP_list_insert, 2, (struct value *[]){list, v},
                     (union attr){.list_insert = {at}}, first || rank == v->rank ? v->rank : -1)
              : NULL;
}

struct value *list_erase(struct call *c, struct value *list, const struct dim *position)
{
    const struct dim *at = from_start(c, list, position);
    return at ? make(c, OP_list_erase, 1, &list, (union attr){.list_erase = {at}},
                     list_rank(c, list))
              : NULL;
}
