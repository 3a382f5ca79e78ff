/*
 * Sequences and optionals. There are two forms, and both go wherever values go: inputs and results of
 * lowerings, names, results of bodies.
 *
 * A static list has a length that is known while compiling. It dissolves: it is an array of values
 * that the frontend keeps, and no node of the graph ever sees it. As a value it is `handle`, of type
 * DT_NONE, made by no node, in no graph. A run-time list is a value of a list type of ir/dtype.h, made
 * by ops of class LIST. Static lists become run-time lists where something needs one: a graph's
 * output, a branch, a state of a loop, a position that only the run knows.
 *
 * Only rows of LIST_OPERATOR (in operators.def) get to see lists. Lists never change: what edits one
 * makes another.
 */
#ifndef GPUCC_FRONTEND_LIST_H
#define GPUCC_FRONTEND_LIST_H

#include "lower.h"

enum { MAX_LIST = 4096 }; /* most elements of a static list */

struct list {
    struct value handle; /* first: a value of type DT_NONE is a static list */
    enum dtype type;     /* as a run-time list */
    int n;
    struct value **v; /* of an optional sequence: that sequence */
};

static inline bool is_list(const struct value *v)
{
    return v && (v->type == DT_NONE || dtype_is_list(v->type));
}

/* NULL: v is a tensor or a run-time list. */
static inline const struct list *as_static(const struct value *v)
{
    return v && v->type == DT_NONE ? (const struct list *)v : NULL;
}

/* A static list of n values, to be filled; NULL after reporting that it is too long. */
struct list *list_create(struct call *c, int64_t n, enum dtype type);

/* The type that v has, or would have, as a run-time list. */
enum dtype list_type(const struct value *v);

/* The type of a list, as ONNX declares it, and the rank of its elements or -1; DT_NONE: no list that
 * gpucc can hold. */
enum dtype list_declared(const Onnx__TypeProto *type, int *rank);

/* v, a list or what an optional of this type holds, as a run-time list of this type. */
struct value *list_value(struct call *c, struct value *v, enum dtype type);

/* The rank of a run-time list's elements, where it is known, else -1: told by what declares or makes
 * it, and checked when an element is taken. */
void list_set_rank(struct call *c, const struct value *list, int rank);
int list_rank(struct call *c, const struct value *list);

/* Of run-time lists. Positions are as dims: negative ones count from the end. */
const struct dim *list_length(struct call *c, struct value *list);
struct value *list_at(struct call *c, struct value *list, const struct dim *position);
/* position -1: behind the last element. */
struct value *list_insert(struct call *c, struct value *list, struct value *v,
                          const struct dim *position);
struct value *list_erase(struct call *c, struct value *list, const struct dim *position);
/* i64 scalar: the length of a sequence; whether an optional holds something. */
struct value *list_count(struct call *c, struct value *list);

#endif
