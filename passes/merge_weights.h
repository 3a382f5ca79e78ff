/* Constant weights of several contractions as those of one (merge_contractions.c). */
#ifndef GPUCC_PASSES_MERGE_WEIGHTS_H
#define GPUCC_PASSES_MERGE_WEIGHTS_H

#include "../ir/build.h"

enum { WEIGHTS_MOST = 16 /* that are joined */ };

/* How weights lie in the merged ones along an axis: one behind the other, or element by element. */
enum weights_order { WEIGHTS_BEHIND, WEIGHTS_IN_TURNS };

/* Is v a constant of floats, or computed from such? Then it is computed while the plan is written. */
bool weights_are_floats(const struct value *v);

/* Are a and b, of the same shape but for `axis`, made alike of constants of which some are not
 * floats: by the same maps and views? Then kernels read these constants, as they are. */
bool weights_are_alike(struct graph *g, const struct value *a, const struct value *b, int axis);

/* A copy of a constant expression before b->before. */
struct value *weights_copy(struct builder *b, struct value *v);

/* n such copies, joined along `axis`; parts is overwritten. */
struct value *weights_join(struct builder *b, int n, struct value **parts, int axis,
                           enum weights_order order);

/* The same of weights that are alike, each constant joined with its like where it stands. */
struct value *weights_join_alike(struct builder *b, int n, struct value *const *v, int axis,
                                 enum weights_order order);

#endif
