/*
 * Sequences and optionals whose length is known while compiling. They dissolve: a list is an array
 * of values that the frontend keeps, and no node of the graph ever sees it.
 *
 * A list goes wherever a lowering's inputs and results, names and the results of bodies go, as the
 * value `handle`: of type DT_NONE, made by no node, in no graph. Only rows of LIST_OPERATOR (in
 * operators.def) get to see one. Lists never change: what edits one makes another.
 */
#ifndef GPUCC_FRONTEND_LIST_H
#define GPUCC_FRONTEND_LIST_H

#include "lower.h"

enum { MAX_LIST = 4096 }; /* most elements of a list */

struct list {
    struct value handle; /* first: a value of type DT_NONE is a list */
    bool optional;       /* n is 0 or 1, and an element may be a sequence */
    int n;
    struct value **v;
};

static inline bool is_list(const struct value *v)
{
    return v && v->type == DT_NONE;
}

/* NULL: v is a tensor. */
static inline const struct list *as_list(const struct value *v)
{
    return is_list(v) ? (const struct list *)v : NULL;
}

/* A list of n values, to be filled; NULL after reporting that it is too long. */
struct list *list_create(struct call *c, int64_t n, bool optional);

#endif
