/* Inside the evaluator: products of matrices of double, in blocks that stay in the cache. */
#ifndef GPUCC_IR_EVAL_PRODUCT_H
#define GPUCC_IR_EVAL_PRODUCT_H

#include "eval_array.h"

/*
 * to[m,n] += a[m,k] x b[k,n]; each result's terms are added in the order of k. With `at`, b is what
 * filters pass over: row l is tap l % taps of plane l / taps, whose column j lies at
 * at[l % taps * n + j] in that plane; nothing (0) where that is negative.
 */
struct product {
    int64_t m, k, n;
    double *to;
    const double *a, *b;
    const int64_t *at;
    int64_t taps, plane;
    double *panel; /* room for a block of b: see product_panel */
};

enum { PRODUCT_ROWS = 4 }; /* with fewer, copying b costs more than it saves */

double *product_panel(struct eval_call *c);
void product_add(const struct product *p);

#endif
