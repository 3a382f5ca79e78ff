/* Random graphs with branches and loops in each other, in text form: the same for the same seed. */
#ifndef GPUCC_TESTS_RANDOM_GRAPH_H
#define GPUCC_TESTS_RANDOM_GRAPH_H

#include "../../ir/text.h"

void random_graph(struct text *out, uint64_t seed);

#endif
