/*
 * Passes: one file each, `bool pass_x(struct graph *)`, true when something changed. PASSES below is
 * the pipeline; pipeline.c runs it. A pass is given a root and sees to the bodies itself. Passes
 * report nothing but broken models; a graph that a pass breaks is found by the verifier that runs
 * after each.
 */
#ifndef GPUCC_PASSES_H
#define GPUCC_PASSES_H

#include "../ir/graph.h"

struct pass_options {
    bool verify;                    /* check the graph's rules after each pass */
    bool round_trip;                /* … and that it survives print → parse → print */
    const char *dump_after;         /* name of a pass, or "all": print the graph to stderr after it */
    const char *const *skip;        /* names of passes to leave out (-fno-<pass>), NULL-terminated */
};

/* Runs the list. False when an error was reported. */
bool passes_run(struct graph *g, const struct pass_options *options);

/* Calls run for g and all bodies in it, outer ones first: for passes to which a node with bodies is
 * like any other. */
bool pass_each_graph(struct graph *g, bool (*run)(struct graph *g));

/* Calls visit for each node of g and of the bodies in it, with g->origin at the node's. It may remove
 * the node, and build others in front of it. */
bool pass_each_node(struct graph *g, bool (*visit)(struct graph *g, struct node *node));

/* No attribute of the node holds a dim that is known only when the plan runs. */
bool pass_knows_attributes(const struct node *node);

/* Runs the one pass called name; false when there is none of that name. For tests. */
bool pass_run_by_name(struct graph *g, const char *name, bool *changed);

/* What runs in the place of fuse_kernels where that is left out: each node is a kernel by itself. */
bool pass_split_kernels(struct graph *g);

/* THE pipeline: PASS(name, what it does), in order. */
#define PASSES(PASS)                                                                               \
    PASS(fold_constants, "evaluate small nodes with constant operands; known shapes to literals")  \
    PASS(simplify_control, "branches and loops whose course is known; less to give to a body")     \
    PASS(simplify, "drop identities: x+0, x*1, cast to the same type, reshape of reshape, …")      \
    PASS(remove_common, "common subexpressions")                                                   \
    PASS(fold_batch_norm, "scale and shift behind a contraction into its weights")                 \
    PASS(hoist_invariants, "what a loop computes alike in every iteration, in front of it")        \
    PASS(split_top_k, "the first k of a long line: of its segments, then of those")                \
    PASS(lower_scatters, "updates of a box of known places, laid between slices of the operand")   \
    PASS(recognize_activations, "GELU, Mish and their like, spelled out, as one op each")          \
    PASS(recognize_normalize, "normalizations and softmax, spelled out, as one op each")           \
    PASS(recognize_attention, "a softmax of products that weighs values, as one op")               \
    PASS(merge_contractions, "products of one operand with several weights, as one")               \
    PASS(fold_quantization, "contractions of quantized values multiply their 8-bit numbers")       \
    PASS(lower_patches, "convolutions by windows side by side as products of patches")             \
    PASS(lower_transposed, "transposed convolutions with strides as convolutions by phases")       \
    PASS(turn_products, "products whose results are transposed, of transposed operands")           \
    PASS(set_precision, "types of values as --precision and --keep ask for them")                  \
    PASS(round_operands, "operands of products in tf32, where they are made")                      \
    PASS(choose_layout, "channels last around tensor cores; weights as their kernels read them")   \
    PASS(remove_dead, "nodes whose results nobody reads")                                          \
    PASS(place_concats, "operands written where they lie in a concat's result, without a copy")    \
    PASS(fuse_kernels, "assign every node to a kernel: cores with their prologues and epilogues")

#define PASS(name, text) bool pass_##name(struct graph *g);
PASSES(PASS)
#undef PASS

#endif
