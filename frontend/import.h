/* One import: what the walk over the model's nodes keeps. Inside frontend/ only. */
#ifndef GPUCC_FRONTEND_IMPORT_H
#define GPUCC_FRONTEND_IMPORT_H

#include "lower.h"

/* ONNX names → values. A name without a value belongs to a node that could not be lowered, or to an
 * input of a function that its caller omits. */
struct name_entry {
    const char *name;
    struct value *value;
    bool omitted;
    size_t producer; /* order.c: index of the node that makes it */
};
struct name_map {
    struct name_entry *entries;
    size_t count, capacity;
};

/* A graph or function body that is being walked. */
struct scope {
    struct body *body;         /* where its values are; NULL: the model's graph */
    const struct scope *outer; /* the graph around a subgraph, whose names are visible */
    const struct call *caller; /* the node that a function body stands for */
    const Onnx__FunctionProto *function;
    Onnx__OperatorSetIdProto **opsets;
    size_t n_opsets;
    struct name_map names;
    int depth;
};

/* Element symbols made so far: a tensor that decides several shapes is loaded once. */
struct element_list {
    struct value *value;
    int n;
    const struct dim **d;
    struct element_list *next;
};

/* The rank of the elements of run-time lists, where it is known. */
struct rank_list {
    const struct value *list;
    int rank;
    struct rank_list *next;
};

struct import {
    struct model *model;
    struct arena *arena;
    struct diag *diag;
    struct graph *graph; /* where nodes go: the model's, or that of a body */
    struct body *body;   /* the innermost that is being built, or NULL */
    struct builder b;
    const struct frontend_options *options;
    struct element_list *elements;
    struct rank_list *ranks;
    int64_t n_nodes; /* walked so far, inlined ones included */
    int n_unseeded;  /* random nodes without a seed so far */
};

/* names.c */
struct name_entry *names_put(struct arena *arena, struct name_map *map, const char *name,
                             struct value *value);
const struct name_entry *names_find(const struct name_map *map, const char *name);

/* order.c: indices of the nodes so that each comes after those whose outputs it reads. */
const size_t *order_nodes(struct import *im, size_t n, Onnx__NodeProto *const *nodes);

/* tensor.c: a constant of the graph; NULL after reporting an error at `where`. */
struct value *import_tensor(struct import *im, const char *where, const Onnx__TensorProto *t);
struct value *import_sparse(struct import *im, const char *where, const Onnx__SparseTensorProto *t);

/* inputs.c: the graph's inputs, their free dims, and --shape. */
bool import_inputs(struct import *im, struct scope *scope, const Onnx__GraphProto *graph);
/* The model's outputs, checked against what the model declares. */
bool import_outputs(struct import *im, struct scope *scope, const Onnx__GraphProto *graph);

/* call.c: the element symbols of v, or NULL. */
const struct element_list *import_elements(const struct import *im, const struct value *v);

/* body.c: v of the body `owner`, brought into `body`, which is inside it; NULL: the model's graph.
 */
struct value *import_capture(struct call *c, struct body *body, const struct body *owner,
                             struct value *v);

/* import.c */
bool import_nodes(struct import *im, struct scope *scope, size_t n, Onnx__NodeProto *const *nodes);
bool import_initializers(struct import *im, struct scope *scope, const Onnx__GraphProto *graph);

/* branch.c: does the body of an If find out how large a result is? Then both branches are computed
 * in the node's place, into c->out. */
bool branch_finds_sizes(const struct body *body);
bool branch_compute_both(struct call *c, const Onnx__GraphProto *const *graph,
                         const struct dim *condition);

/* operators.c: the row for an operator, or NULL; *known: some row has its name. */
const struct operator*
    operator_find(const char *domain, const char *name, int64_t opset, bool *known);

#endif
