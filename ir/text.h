/* The text form of a graph; docs/ir.md is the language. Printing and parsing are inverse. */
#ifndef GPUCC_IR_TEXT_H
#define GPUCC_IR_TEXT_H

#include "graph.h"

enum print_flags { PRINT_ORIGINS = 1 /* ONNX nodes as comments */ };

void graph_print(struct text *out, struct graph *g, int flags);

/* NULL on an error, which is reported with file:line:column. Constants in text have literal
 * elements; they are copied to the arena. */
struct graph *graph_parse(struct arena *arena, struct diag *diag, const char *file,
                          const char *text, size_t length);

#endif
