/* What contract*.c share: the problem as contract.c's heading states it, and its indices. */
#ifndef GPUCC_CODEGEN_CONTRACT_H
#define GPUCC_CODEGEN_CONTRACT_H

#include "common.h"
#include "cost.h"

struct contraction {
    struct emitter *e;
    struct node *core;
    struct value *a, *b, *y;
    const struct dim *batches, *m, *n, *k;
    bool folded; /* matmul: b is the same in all batches, so batches are rows */
    /* Convolutions: */
    bool taps_first;                        /* k is (tap, channel) instead */
    int spatial;                            /* axes of an image; 0 for matmul */
    const struct dim *images, *pixels;      /* n = images * pixels */
    const struct dim *group_out, *group_in; /* channels of one group */
    const struct dim *depth[MAX_RANK];      /* what k runs over: channels, taps */
    const struct ints *stride, *dilation;
    const struct dims *low;
    struct node *window; /* the pool of windows that stands behind in this kernel, or NULL: n
                            then counts the pixels window by window */
};

/* Index of the result's element (batch, m, n); a convolution's n is a pixel of an image, by its
 * place in memory's order of axes or window by window. */
void contraction_result(const struct contraction *c, const struct index *batch,
                        const struct index *m, const struct index *image, const struct index *n,
                        const struct index **y);
/* A convolution's k taken apart: its channel, and its tap along each axis. */
void contraction_split_k(const struct contraction *c, const struct index *k,
                         const struct index **part);
/* Index of the element of a that term k of result y takes. */
void contraction_a(const struct contraction *c, const struct index *const *y,
                   const struct index *k, const struct index **at);
/* The same of b. Returns the condition under which the element exists (otherwise it counts as 0),
 * or NULL when it always does. */
const char *contraction_b(const struct contraction *c, const struct index *const *y,
                          const struct index *k, const struct index **at);
/* Do the taps of a channel and the channels lie in memory as k counts them? Then k needs no taking
 * apart. */
bool contraction_k_is_flat(const struct contraction *c);
/* Can the convolution's position lie outside the operand along this spatial axis? */
bool contraction_sticks_out(const struct contraction *c, int axis);

/* Extent of v along a spatial axis; 1 for axis -1, which a signal has in the place of rows. */
const struct dim *contraction_extent(const struct contraction *c, const struct value *v, int axis);
/* Defines IN, OUT, TAPS, STRIDE, DILATION and LOW of a spatial axis, or of -1, as IN_H and so on. */
void contraction_define_axis(const struct contraction *c, const char *suffix, int axis);

/* By the tensor cores (contract_mma.c), with or without a reduction over pixels or a pool of windows
 * behind. False: nothing was printed, since they do not suit. */
bool contract_mma(struct contraction *c);

/* Pools of windows behind a convolution (contract_behind.c). */
int window_pixels(const struct contraction *c);
/* The position of the image's pixel that is counted as n-th. */
void window_position(const struct contraction *c, const struct index *n, const struct index **at);
/* Prints how one window for each of `width` channels becomes results: pixel j of lane i is result
 * y[j * width + i], made of sum[first + j * width + i]. */
void window_emit(const struct contraction *c, int width, int first,
                 const struct index *(*y)[MAX_RANK]);

/* What c->core, a convolution or conv_transpose with the result c->y, contracts. */
void contraction_describe(struct contraction *c);

/* Depthwise, with channels innermost in memory (contract_depthwise.c). False as above. */
bool contract_depthwise(struct contraction *c);

/* A depthwise convolution in front of another contraction's core, in whose kernel it is. */
/* Is v one's result, as it is or behind maps, and can strips of it be made in vectors of so many
 * channels? Describes it. */
bool depthwise_describe(struct emitter *e, struct value *v, int vector, struct contraction *c);
/* The columns of a strip, which divide those of the result. */
int depthwise_strip(const struct contraction *c);
/* Instructions that a thread takes for such a strip, about. */
int depthwise_strip_cost(const struct contraction *c);
/* What windows.cuh wants to know, and finish(image, h, w, c, sum, to), which makes elements of v. */
void depthwise_emit(const struct contraction *c, struct value *v, int vector);

/* Images of few channels by the tensor cores (contract_stem.c). False as above. */
bool contract_stem(struct contraction *c);

/* Where one operand has a few rows (contract_skinny.c). False as above. */
bool contract_skinny(struct contraction *c);

/* Do halves of pairs of results stand behind the contraction (fuse_epilogue.c)? Then neighbours of
 * a row are handed over together. */
bool contraction_takes_pairs(const struct contraction *c);

/* The normalization that this kernel makes in front of the contraction, or NULL (contract_rows.c). */
struct node *contraction_normalization(const struct contraction *c);
/* Prints what contract_rows.cuh needs, for `rows` rows of x and so many warps in a block; `depth` of
 * a row's elements are read at a time. */
void contraction_stage_rows(const struct contraction *c, int rows, int warps, int depth);

#endif
