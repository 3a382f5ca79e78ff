/*
 * The graph's border as the user wants it (frontend_options). Inside frontend/ only. What returns
 * bool or a pointer gives false or NULL after reporting.
 */
#ifndef GPUCC_FRONTEND_INTERFACE_H
#define GPUCC_FRONTEND_INTERFACE_H

#include "import.h"

/* Every name that an option gives is there, once. */
bool interface_check(struct import *im, const Onnx__GraphProto *graph);
/* What an input is frozen to; NULL: it is not (nothing is reported). */
const struct frontend_frozen *interface_frozen(const struct import *im, const char *input);
/* A frozen input as constant; type: the model's. */
struct value *interface_constant(struct import *im, const struct frontend_frozen *frozen,
                                 enum dtype type);
bool interface_converts(const struct import *im, const char *name); /* --io names it */
/* Axis i of the model's tensor is axis to[i] of the interface's. */
bool interface_axes(struct import *im, const char *name, int rank, int to[MAX_RANK]);
/* The interface's element type where the model's is `type`. */
enum dtype interface_type(const struct import *im, const char *name, enum dtype type);
/* The model's tensor, made from the graph's input. */
struct value *interface_input(struct import *im, struct value *input, enum dtype type,
                              const int to[MAX_RANK]);
/* Adds v as an output of that name, unless it is dropped, in the type and layout that is wanted. */
bool interface_add_output(struct import *im, struct value *v, const char *name);
/* The outputs that the model does not have. */
bool interface_outputs(struct import *im, struct scope *scope, const Onnx__GraphProto *graph);

#endif
