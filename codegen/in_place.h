/*
 * Results that may take the memory of an operand that their kernel is the last to read. What is said
 * here comes from the graph alone: codegen prints such pairs without __restrict__, and the plan,
 * which knows the buffers, lets them share one (plan_in_place.c).
 */
#ifndef GPUCC_CODEGEN_IN_PLACE_H
#define GPUCC_CODEGEN_IN_PLACE_H

#include "emit.h"

/* A pair of the group that may share memory as far as the graph tells: each element of `from` is read
 * only by the thread that writes the same element of `to`, before it does. False: there is none. */
bool in_place_find(struct graph *g, const struct group *group, struct in_place *found);

/* Sets in_place of the groups, of which there are n in the order of the steps, where that costs nothing
 * or lowers the greatest number of bytes that are alive at once. */
void in_place_choose(struct graph *g, int n, struct group *groups);

#endif
