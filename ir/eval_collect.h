/* Inside the evaluator: which nodes a value needs. */
#ifndef GPUCC_IR_EVAL_COLLECT_H
#define GPUCC_IR_EVAL_COLLECT_H

#include "graph.h"

/* The nodes that v depends on, each once and behind its operands. *nodes is malloc'ed for the
 * caller, also when false is returned: v depends on a graph input (*no_memory false) or memory ran
 * out. */
bool collect_nodes(const struct value *v, const struct node ***nodes, size_t *n, bool *no_memory);

#endif
