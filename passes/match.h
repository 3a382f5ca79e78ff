/* What passes look for in a graph, whatever its nodes are called. */
#ifndef GPUCC_PASSES_MATCH_H
#define GPUCC_PASSES_MATCH_H

#include "../ir/graph.h"

/* The one number that all elements of v are, seen through expand and reshape. */
bool match_uniform(const struct value *v, double *number);

/* Seen through expand and reshape: where a smaller value was spread from. */
struct value *match_spread(struct value *v);

/* v as c[0] + c[1]*x + c[2]*x^2 + c[3]*x^3, made of constants and arithmetic. */
enum { POLYNOMIAL = 4 };
bool match_polynomial(const struct value *v, const struct value *x, double c[POLYNOMIAL]);

/* Equal within what a constant of this type may have lost in an exporter's hands. */
bool match_near(enum dtype type, double a, double b);

/* The axis of a reshape's or transpose's result along which its operand's elements along `axis` lie,
 * or -1. Neighbours are `*stride` apart there: multiplied by it. */
int match_axis_behind(struct graph *g, const struct node *view, int axis, int64_t *stride);
/* The transpose moves rows whole: elements that are neighbours in memory in front of it, or of the
 * reshape before it, are neighbours, or nearly so, in what it and the views behind it make. */
bool match_keeps_rows(struct graph *g, const struct node *transpose);

/* The slice leaves out some of what a contraction computes, seen through views, and nobody else reads
 * that. */
bool match_cuts_product(const struct node *slice);

/* The node that alone reads v, or NULL; *operand: at which place. */
struct node *match_reader(const struct value *v, int *operand);

#endif
