/* Values that stand for 8-bit numbers: what a DequantizeLinear, or its like, was lowered to. */
#ifndef GPUCC_PASSES_QUANTIZED_H
#define GPUCC_PASSES_QUANTIZED_H

#include "../ir/build.h"

/*
 * value = (q - zero) * scale. zero and scale have value's rank, with size 1 along every axis that
 * they do not vary along. q is i8 or u8, or an 8-bit float, which has no zero point.
 */
struct quantized {
    struct value *q;
    struct value *zero;  /* i32; NULL: 0 */
    struct value *scale; /* f32; NULL: 1 */
};

/* Sees v as 8-bit numbers, through views and maxima, of which it builds the like of q. False: v is
 * something else. */
bool quantized_match(struct builder *b, struct value *v, struct quantized *out);

/* v consists of the results of a quantization: then of what, scale and zero as above. */
bool quantized_match_result(struct graph *g, struct value *v, struct value **real,
                            struct quantized *out);

/* What v repeats along axes. */
struct value *quantized_unexpanded(struct value *v);

/* A zero point, or NULL where it is known to be 0. */
struct value *quantized_zero(struct graph *g, struct value *zero);

/* Does v (NULL: none) vary along no axes but these? */
bool quantized_varies_along(const struct value *v, uint32_t axes);

/* Are both the same constant number, or the very same value? */
bool quantized_same(struct graph *g, const struct value *a, const struct value *b);

/* Does v depend on constants alone, whose bytes are at hand? */
bool quantized_is_constant(const struct value *v);

/* The least and greatest element of such a value. */
bool quantized_range(struct graph *g, const struct value *v, double *least, double *greatest);

/* Bytes […, n] of two 4-bit numbers each, low half first: u8 […, 2 n]. */
struct value *quantized_unpack(struct builder *b, struct value *bytes);

/* Weights of a product that are constants of a 4-bit type take half a byte each. */
bool quantized_pack_weights(struct graph *g, struct node *matmul);

#endif
