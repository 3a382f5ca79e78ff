/*
 * Where a value's elements lie in memory: in the order that its layout says, and, for an operand of
 * a concat that is made in place, within the concat's result.
 */
#ifndef GPUCC_CODEGEN_LAYOUT_H
#define GPUCC_CODEGEN_LAYOUT_H

#include "../ir/graph.h"

/* The logical axis that memory axis i holds. */
int layout_axis(const struct value *v, int i);

/* Do the elements of both lie in the same order? They have the same rank. */
bool layout_same(const struct value *a, const struct value *b);

/* The concat in whose result v lies, and which operand of it v is; NULL: v has memory of its own. */
const struct node *layout_concat(const struct value *v, int *operand);

/* The value whose memory v lies in: v itself, or the result of the outermost concat around it. */
struct value *layout_whole(struct value *v);

/* Where operand `operand` of a concat begins along its axis. */
const struct dim *layout_start(struct graph *g, const struct node *concat, int operand);

/* Copies the row-major elements of v, whose shape is known, in the order of its layout. */
void layout_arrange(const struct value *v, const void *from, void *to);

#endif
