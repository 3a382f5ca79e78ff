/* What the lowerings of attention share. Inside frontend/ only. */
#ifndef GPUCC_FRONTEND_ATTENTION_H
#define GPUCC_FRONTEND_ATTENTION_H

#include "lower.h"

/* [B, S, H * D] → [B, H, S, D]; of rank 4 already: as it is. NULL after reporting. */
struct value *split_heads(struct call *c, struct value *x, int64_t heads);
/* [B, H, S, D] → [B, S, H * D] */
struct value *merge_heads(struct call *c, struct value *x);
/* Key and value heads that several query heads share: [B, h, S, D] → [B, H, S, D]. */
struct value *repeat_heads(struct call *c, struct value *x, const struct dim *heads);
/* q [B, H, S, D] times k [B, h, T, D], transposed and scaled: by attribute `scale`, or where that
 * is not given (or 0) by 1 / sqrt(D). */
struct value *attention_scores(struct call *c, struct value *q, struct value *k, enum dtype type);
/* score where `keep`, else -inf. */
struct value *keep_where(struct call *c, struct value *keep, struct value *score);
/* Softmax of scores, times values: [B, H, S, D] of the values' type. */
struct value *attend(struct call *c, struct value *score, struct value *v);
/* Keys or values with those of earlier steps before them (past NULL: none). */
struct value *with_past(struct call *c, struct value *now, struct value *past);
/* Turns the pairs (x1, x2) among the first `size` elements of x [B, H, S, D] (or [B, S, H, D]) by
 * angles whose cosine and sine broadcast to them; the rest stays. */
struct value *rotate(struct call *c, struct value *x, struct value *cosine, struct value *sine,
                     const struct dim *size, bool interleaved);

#endif
