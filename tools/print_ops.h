/* gpucc --print-ops: the ONNX operators that gpucc knows. */
#ifndef GPUCC_TOOLS_PRINT_OPS_H
#define GPUCC_TOOLS_PRINT_OPS_H

#include <stdbool.h>
#include <stdio.h>

/*
 * A table with a line of headings: domain, operator, opsets ("7-12", "13+"; several separated by
 * commas), number of inputs ("2", "1-3", "1+") and element types where one scalar op does all (else
 * "-"). Sorted by domain and name, columns separated by two or more blanks.
 * False when memory runs out.
 */
bool print_ops(FILE *out);

#endif
