/* What contract_mma.c and contract_look.c share. */
#ifndef GPUCC_CODEGEN_CONTRACT_MMA_H
#define GPUCC_CODEGEN_CONTRACT_MMA_H

#include "contract.h"

/*
 * How an operand comes into shared memory, the cheapest way that suits it:
 *   copied    its elements are in memory as they are wanted, at least 4 bytes of them along k, or 16
 *             along the rows where a transposing load turns them
 *   tapped    the same for an image of which taps are taken: 16 bytes of channels
 *   carried   anything else: computed by this kernel, or badly placed, through registers
 *   made      a depthwise convolution's result, which this kernel makes, all of its depth at once
 */
enum way { WAY_CARRIED, WAY_COPIED, WAY_TAPPED, WAY_MADE };

/* An operand. */
struct side {
    char letter; /* 'a': left, 'b': right */
    struct value *v;
    bool image; /* of a convolution */
    const struct dim *rows;
    enum way way;
    int bytes;         /* copied at once */
    int piece;         /* elements loaded at once where it is carried */
    bool along_k;      /* contiguous in memory: k, or the rows */
    bool tile_along_k; /* the same in shared memory */
    bool rounded;      /* to tf32, where it was made */
    bool linear;       /* rows have a constant distance in memory */
    const struct dim *row_stride, *k_stride;
    const struct dim *tap_stride[MAX_RANK];
    struct value *buffer;
};

struct mma_plan {
    struct contraction *c;
    struct side a, b;
    int element; /* bytes */
    const char *mma, *sum;
    const char *unpack_a, *unpack_b; /* bytes of floats multiplied as halves: see mma.cuh; or NULL */
    int shape, round; /* see mma.cuh */
    int64_t peak;
    struct mma_tile tile;
    struct contraction window; /* WAY_MADE: the depthwise convolution */
    bool store_along_m;
    int store_vector;
    struct node *pool;         /* the reduction over each image's pixels behind, or NULL */
};

/* The instruction for the operands' types, if the target has it and sums may be kept as it does. */
bool plan_instruction(struct mma_plan *p);
/* Finds the operand's way into shared memory. */
void plan_way(struct mma_plan *p, struct side *s);

/* The result's index at row `row` of this side. */
void side_result(const struct contraction *c, const struct side *s, const struct index *batch,
                 const struct index *row, const struct index **y);
/* Index of the operand's element; returns the condition under which it exists, or NULL. */
const char *side_element(const struct contraction *c, const struct side *s,
                         const struct index *batch, const struct index *row, const struct index *k,
                         const struct index **at);
/* The image at a channel and a position of its own along each axis. */
void side_image(const struct contraction *c, const struct index *batch, const struct index *image,
                const struct index *channel, const struct index *const *position,
                const struct index **at);
/* The reduction over pixels behind (contract_pool.c): prints what contract_pool.cuh wants to know. */
void pool_emit(const struct mma_plan *p);
/* Bytes of shared memory that it takes. */
int pool_bytes(const struct mma_plan *p);

/* Is d a multiple of n? */
bool dim_in_pieces(struct emitter *e, const struct dim *d, int n);

#endif
