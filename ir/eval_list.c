/*
 * Evaluates lists. A list is one block of memory, struct tensor_list, which is copied as a whole.
 */
#include "eval_array.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct tensor_list *list_of(const struct array *a)
{
    return (const struct tensor_list *)(const void *)a->data;
}

static size_t align(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

/* What a list is made of: elements of other lists, or tensors. */
struct part {
    const struct tensor_item *like; /* rank, shape and size */
    const void *bytes;
};

/* A list of these parts; n = -1: an optional that holds nothing. */
static bool make(struct eval_call *c, int64_t n, const struct part *parts)
{
    size_t size = sizeof(struct tensor_list) + (n > 0 ? (size_t)n : 0) * sizeof(*parts->like);
    for (int64_t i = 0; i < n; i++)
        size = align(size) + parts[i].like->size;
    struct tensor_list *list = size <= EVAL_MAX_BYTES ? malloc(size) : NULL;
    if (!list)
        return eval_fails(c, STATUS_LIMIT, "out of memory in the evaluator");
    *list = (struct tensor_list){.n = n, .size = size};
    size = sizeof(struct tensor_list) + (n > 0 ? (size_t)n : 0) * sizeof(*parts->like);
    for (int64_t i = 0; i < n; i++) {
        size = align(size);
        list->item[i] = *parts[i].like;
        list->item[i].offset = size;
        if (parts[i].like->size)
            memcpy((char *)list + size, parts[i].bytes, parts[i].like->size);
        size += parts[i].like->size;
    }
    array_wrap(c, &c->out[0], list, true);
    return true;
}

/* The parts of operand 0, with room for one more at `gap` (-1: none), but for that at `skip`. */
static struct part *parts_of(struct eval_call *c, int64_t gap, int64_t skip)
{
    const struct tensor_list *list = list_of(&c->in[0]);
    int64_t n = list->n > 0 ? list->n : 0, k = 0;
    struct part *parts = ARENA_ARRAY(&c->scratch, (size_t)n + 1, struct part);
    for (int64_t i = 0; i < n; i++) {
        k += k == gap;
        if (i != skip)
            parts[k++] = (struct part){&list->item[i], (const char *)list + list->item[i].offset};
    }
    return parts;
}

/* A position below n. */
static bool position(struct eval_call *c, const struct dim *d, int64_t n, int64_t *at)
{
    if (!eval_dim(c, d, at))
        return false;
    return (*at >= 0 && *at < n) ||
           eval_fails(c, STATUS_BAD_MODEL, "a position is not in the list");
}

bool eval_op_list_new(struct eval_call *c)
{
    return make(c, dtype_list_kind(c->node->attr.list_new.type) == DT_OPTIONAL_SEQUENCE ? -1 : 0,
                NULL);
}

bool eval_op_list_as(struct eval_call *c)
{
    const struct tensor_list *list = list_of(&c->in[0]);
    if (list->n < 0 && dtype_list_kind(c->node->attr.list_as.type) == DT_SEQUENCE)
        return eval_fails(c, STATUS_BAD_MODEL, "the optional holds nothing");
    return make(c, list->n, parts_of(c, -1, -1));
}

bool eval_op_list_insert(struct eval_call *c)
{
    int64_t n = list_of(&c->in[0])->n, at;
    bool full = n == 1 && dtype_list_kind(c->node->in[0]->type) == DT_OPTIONAL;
    n = n < 0 ? 0 : n;
    if (!eval_dim(c, c->node->attr.list_insert.position, &at))
        return false;
    at = at == -1 ? n : at;
    if (at < 0 || at > n)
        return eval_fails(c, STATUS_BAD_MODEL, "a position is not in the list");
    if (full)
        return eval_fails(c, STATUS_BAD_MODEL, "the optional holds something already");
    struct part *parts = parts_of(c, at, -1);
    array_densify(c, &c->in[1]);
    struct tensor_item *item = ARENA_NEW(&c->scratch, struct tensor_item);
    item->rank = c->in[1].rank;
    memcpy(item->shape, c->in[1].shape, sizeof(item->shape));
    item->size = (size_t)array_elements(&c->in[1]) * dtype_size(c->in[1].type);
    parts[at] = (struct part){item, c->in[1].data};
    return make(c, n + 1, parts);
}

bool eval_op_list_erase(struct eval_call *c)
{
    int64_t n = list_of(&c->in[0])->n, at;
    return position(c, c->node->attr.list_erase.position, n, &at) &&
           make(c, n - 1, parts_of(c, -1, at));
}

bool eval_op_list_length(struct eval_call *c)
{
    int64_t n = list_of(&c->in[0])->n;
    if (dtype_list_kind(c->node->in[0]->type) == DT_OPTIONAL_SEQUENCE)
        n = n >= 0;
    array_alloc(c, &c->out[0]);
    memcpy(c->out[0].data, &n, sizeof(n));
    return true;
}

bool eval_op_list_shape(struct eval_call *c)
{
    const struct attr_list_shape *attr = &c->node->attr.list_shape;
    const struct tensor_list *list = list_of(&c->in[0]);
    int64_t at;
    if (!position(c, attr->position, list->n, &at))
        return false;
    if (list->item[at].rank != attr->rank)
        return eval_fails(c, STATUS_BAD_MODEL, "the element has another rank");
    array_alloc(c, &c->out[0]);
    memcpy(c->out[0].data, list->item[at].shape, (size_t)attr->rank * sizeof(int64_t));
    return true;
}

bool eval_op_list_at(struct eval_call *c)
{
    const struct tensor_list *list = list_of(&c->in[0]);
    struct array *out = &c->out[0];
    int64_t at;
    if (!position(c, c->node->attr.list_at.position, list->n, &at))
        return false;
    const struct tensor_item *item = &list->item[at];
    if (item->rank != out->rank ||
        memcmp(item->shape, out->shape, (size_t)item->rank * sizeof(int64_t)) != 0)
        return eval_fails(c, STATUS_BAD_MODEL, "the element has another shape");
    array_alloc(c, out);
    if (item->size)
        memcpy(out->data, (const char *)list + item->offset, item->size);
    return true;
}
