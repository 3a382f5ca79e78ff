/* Between recognize_attention.c (the pass), attention_scores.c (from products to scores) and
 * attention_mask.c (which keys are seen). */
#ifndef GPUCC_PASSES_ATTENTION_H
#define GPUCC_PASSES_ATTENTION_H

#include "../ir/build.h"
#include "match.h"
#include "passes.h"

/*
 * Scores as they are read backwards from a softmax:
 *
 *     scale * product, capped; plus bias; hidden by -inf where the mask is false or causality says
 * so
 *
 * Bias and mask have the shape of the value that has been understood so far.
 */
struct scores {
    struct builder *b;    /* where values are made */
    struct value *top;    /* what was to be read; who reads it is the caller's concern */
    struct node *product; /* the matmul of queries and keys */
    bool column;          /* of keys and one query, whose scores stand in a column */
    struct value *factor; /* of all scores of a query, [..., M, 1]; or NULL */
    double scale, softcap;
    struct value *bias, *mask; /* or NULL */
    bool causal;
    const struct dim *offset; /* key j is seen where j <= i + offset */
    struct value *spread;     /* the product as it was spread along unknown axes; or NULL */
    /* Hidden by a low number, which hides like -inf as long as nothing follows: */
    struct value *instead; /* of causality: what is to be added where more follows; or NULL */
    bool last;             /* the number is not so low that more may follow */
    const char *why;       /* what was not understood */
};

/* Reads v, [..., M, N]; false: s->why tells. */
bool scores_read(struct scores *s, struct value *v);

/* Are the last two axes of this shape queries and keys? */
bool scores_in_rows(const struct scores *s, int rank, const struct dim *const *shape);

/* Scores are hidden, by -inf, where `seen` is false: [..., M, N], or what was spread to that shape.
 */
bool scores_mask(struct scores *s, struct value *seen, int rank, const struct dim *const *shape);
/* … where j > i + offset, for so many keys; nothing is recorded where none is. */
void scores_hide_above(struct scores *s, const struct dim *offset, const struct dim *keys);
/* Does `seen` say j <= i + offset, and nothing else, with an offset that lets every query see a
 * key? */
bool mask_is_causal(struct graph *g, struct value *seen, const struct dim **offset);
/* Is `gate` 1 where keys are seen, else 0; and `bias` 0 where they are seen, else *fill? */
bool gate_hides(struct graph *g, struct value *gate, struct value *bias, double *fill);
/* The same as mask_is_causal of constant numbers to be added: 0, or so low that nothing is left.
 * infinite: -inf. */
bool bias_is_causal(struct graph *g, struct value *bias, bool *infinite, const struct dim **offset);

/* A number so low that a score added to it, in f32, is lost; and one that no score comes near. */
#define SCORE_LOST (-1e31)
#define SCORE_LOW  (-1e4)

#endif
