/* The text form of a graph; docs/ir.md is the language. Printing and parsing are inverse. */
#ifndef GPUCC_IR_TEXT_H
#define GPUCC_IR_TEXT_H

#include "graph.h"

enum print_flags { PRINT_ORIGINS = 1 /* ONNX nodes as comments */ };

void graph_print(struct text *out, struct graph *g, int flags);

/* Parts of it, for diagnostics and comments: a node's line, "f32[n, 3]", a string with escapes. */
void text_node(struct text *out, const struct graph *g, const struct node *node, int flags);
void text_type(struct text *out, const struct graph *g, const struct value *v);
void text_quoted(struct text *out, const char *s);

/* How the values of these enums are spelled. */
extern const char *const text_pad_modes[4], *const text_combines[5], *const text_constraints[3],
    *const text_math[MATH_COUNT];

/* NULL on an error, which is reported with file:line:column. Constants in text have literal
 * elements, copied to the arena; an opaque one has its size and no bytes. Result types may be left
 * out; where they stand they must be what the shape rule gives. */
struct graph *graph_parse(struct arena *arena, struct diag *diag, const char *file,
                          const char *text, size_t length);

#endif
