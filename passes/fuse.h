/*
 * Shared by the files of fuse_kernels: fuse_begin.c (constants, outputs), fuse_cost.c (estimates),
 * fuse_epilogue.c (what goes behind cores), fuse_normalize.c (normalizations in front of products),
 * fuse_windows.c (depthwise convolutions in front of others), fuse_means.c (reductions over pixels
 * behind convolutions), fuse_window_pools.c (pools of windows behind them), fuse_pools.c (why other
 * pools stay apart), fuse_cuts.c (where chains of maps are cut), fuse_vectors.c (views that break
 * vectors), fuse_kernels.c (all else that goes together) and fuse_order.c (what depends on what).
 */
#ifndef GPUCC_PASSES_FUSE_H
#define GPUCC_PASSES_FUSE_H

#include "passes.h"

/* Nodes in one kernel: bounds its text, its registers and the depth of recursions over it. */
enum { MOST_NODES = 96 };
enum { MOST_BUFFERS = 200 /* in one kernel: parameters take 8 of 4096 bytes each */ };

/* Estimates in operations. */
enum {
    FUSE_LAUNCH_WORK = 1 << 26, /* that a launch's latency is worth */
    FUSE_MEMORY_WORK = 64,      /* that writing and reading an element is worth */
    FUSE_WAITING = 4,           /* what one counts for that the rest of a block waits for */
};

/* A device of middling size, in whose time forms are compared: one that is named is not known here.
 * Latencies are estimate.c's: a launch, its first data, its last result. */
enum {
    FUSE_MULTIPROCESSORS = 108,
    FUSE_CYCLES_PER_10_NS = 14,
    FUSE_BYTES_PER_NS = 1300,
    FUSE_LAUNCH_NS = 1500 + 500 + 350,
};

/* What the pass knows of a value that a kernel computes; value->data points to it. */
struct note {
    int space;           /* epilogue: which index space, see fuse_epilogue.c; map: 0 when the value
                            is computed at the kernel's own index, else -1 */
    int64_t evaluations; /* estimate: how many elements its kernel computes, repeats counted */
};

struct fused_kernel {
    int n_nodes, n_buffers;         /* members; operands and results of all of them */
    struct node **nodes;            /* members, MOST_NODES places */
    struct node *core;              /* NULL: a map */
    struct node **awaited;          /* control flow: nodes that its bodies take sizes from … */
    int n_awaited;                  /* … which so must run before it, though they are no operands */
    const struct value *space;      /* map: one of its results; all have this shape */
    uint32_t first, last;           /* least and greatest order of its members */
    uint32_t seen;                  /* the last search that came here */
};

struct fusion {
    struct graph *g;
    struct fused_kernel *kernels;
    int n, cap;
    int64_t *typical;               /* by symbol: the size it is taken for in estimates */
    bool reads_back;                /* some dims are elements of values that kernels compute */
    uint32_t *seen;                 /* by order of a node without kernel: the last search there */
    uint32_t *cuts;                 /* by order: itself where no kernel has members on both sides, … */
                                    /* … before it and from it on; else an earlier one to look at */
    uint32_t search;
};

/* Copies outputs that need it, says which nodes are constants, drops dead ones, fills in f. */
void fusion_begin(struct fusion *f, struct graph *g);

/* Marks the results of nodes that widen a product's weights, which kernels do (fuse_weights.c). */
void fuse_mark_narrow_weights(struct graph *g, void *mark);
/* The value of 8 bits or fewer of which the node's result is no more than the number that each stands
 * for; NULL: there is none. */
struct value *fuse_narrow_source(const struct node *node);

/* -- fuse_cost.c -- */

/* Operations that an element of the node's result takes. */
int64_t fuse_cost_of(const struct node *node);
int64_t fuse_multiply(int64_t a, int64_t b); /* INT64_MAX where it overflows */
int64_t fuse_add(int64_t a, int64_t b);      /* likewise */
int64_t fuse_rounded_up(int64_t a, int64_t b); /* the quotient */
int64_t fuse_to_ns(int64_t cycles);
int64_t fuse_size(const struct fusion *f, const struct dim *d); /* what it is taken for, at least 1 */
int64_t fuse_elements(const struct fusion *f, const struct value *v);
/* How often a core's kernel reads each element of its operand, about. */
int64_t fuse_core_reads(const struct fusion *f, const struct node *core, int operand);
bool fuse_is_core(const struct node *node);
bool fuse_is_scalar(const struct node *node);
/* Values of their own: always made where they are read. */
bool fuse_is_generator(const struct node *node);
/* Must be in memory for the graph's reader, for the host, or where it lies in a concat. */
bool fuse_is_wanted(const struct graph *g, const struct value *v);

/* -- fuse_siblings.c -- */

/* Reductions that share a pass over what they read become one kernel; maps, too, that read a value in
 * common. */
void fuse_sibling_reductions(struct fusion *f);
void fuse_sibling_maps(struct fusion *f);

/* -- fuse_normalize.c -- */

/* Could all that reads the normalization be products that make its rows by themselves? */
bool fuse_may_go_into_products(const struct fusion *f, const struct node *norm);
/* Puts a copy of it, and of the maps behind it, into each of their kernels, now that maps behind cores
 * have theirs. False: that does not pay. */
bool fuse_put_into_products(struct fusion *f, struct node *norm);
/* Is the node such a copy? */
bool fuse_is_in_front(const struct fusion *f, const struct node *node);

/* -- fuse_windows.c -- */

/* Depthwise convolutions join the kernels of the 1x1 convolutions behind them where that pays. Both
 * have taken their epilogues. */
void fuse_windows(struct fusion *f);

/* -- fuse_means.c -- */

/* Reductions over all pixels of images join the kernels of the convolutions in front of them where
 * that pays. Both have taken their epilogues. */
void fuse_means(struct fusion *f);

/* -- fuse_window_pools.c -- */

enum { FUSE_MOST_WINDOW = 4 /* pixels, that a thread combines */ };

/* Maxima and means of windows of few pixels, which do not overlap, join the kernels of the
 * convolutions in front of them. Both have taken their epilogues. */
void fuse_window_pools(struct fusion *f);

/* -- fuse_pools.c -- */

/* Says why other pools and means behind contractions stay kernels. */
void fuse_remark_pools(const struct fusion *f);

/* -- fuse_cuts.c -- */

/* Where several read a map's result, casts to fewer bytes move in front of reshapes and transposes of
 * it: then they are one. */
void fuse_narrow_early(struct graph *g);
/* Is the node a cast to fewer bytes of what a map makes? That is stored so, and not as wide as it was,
 * where several kernels read it. */
bool fuse_narrows_map(const struct node *node);
/* A map in front of the node, another map, which gets a kernel of its own since to do it `repeats` times
 * more takes more than the budget: then the node goes there as well. Or NULL. */
const struct node *fuse_dear_source(const struct fusion *f, const struct node *node,
                                    int64_t repeats, int64_t budget);

/* -- fuse_vectors.c -- */

/* Why the node's result must be written out: read through the node, products would load so little at
 * once that it takes longer. NULL: it need not; the report says so where that was a question. */
const char *fuse_breaks_vectors(const struct fusion *f, const struct node *node);
/* Does the contraction multiply on tensor cores, on targets that have them for the type? */
bool fuse_is_for_tensor_cores(const struct node *core);

/* -- fuse_epilogue.c -- */

/* Would a kernel still write rows, if the transpose were part of its epilogue? */
bool fuse_keeps_rows(struct graph *g, const struct node *transpose);

bool fuse_has_room(const struct fusion *f, int kernel, const struct node *node);
struct note *fuse_note_of(const struct value *v);
void fuse_note_results(struct fusion *f, struct node *node, int space, int64_t evaluations);
void fuse_take_epilogue(struct fusion *f, int kernel);
/* What the epilogues end with that only widens a result for reductions and rows goes to these: stored is
 * the narrow one. */
void fuse_store_narrow(struct fusion *f);

/* -- fuse_order.c -- */

int fusion_new_kernel(struct fusion *f, struct node *root);
/* Fills in `awaited` for a kernel that is a node of control flow. */
void fusion_await(struct fusion *f, int kernel);
void fusion_join(struct fusion *f, int kernel, struct node *node);
/* Moves all members; `from` stays empty. */
void fusion_merge(struct fusion *f, int into, int from);

/* Does a kernel depend on another, directly or through whole kernels? */
bool fusion_depends(struct fusion *f, int kernel, int on);
/* Would a kernel depend on itself, if this node, which reads results of it, joined it? */
bool fusion_makes_cycle(struct fusion *f, int kernel, const struct node *node);

/* Renumbers the kernels in an order in which they can run. */
void fusion_order(struct fusion *f);

#endif
