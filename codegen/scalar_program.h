/*
 * Dims → the plan's scalar program. Whoever needs a dim's value at run time wants it first; once
 * all wants are known the program is emitted, segment by segment, and every dim has a slot:
 *
 *   segment 0      runs when the input shapes are set
 *   segment k      runs at the k-th READ step: what depends on elements read by then; or when a body
 *                  is entered: what depends on the loop's index, and the body's constraints
 *
 * The segments form a tree: each knows the one that has always run last before it does. A dim may
 * be used where its segment is on the way to the root; what a body computes is unknown outside it.
 */
#ifndef GPUCC_CODEGEN_SCALAR_PROGRAM_H
#define GPUCC_CODEGEN_SCALAR_PROGRAM_H

#include "../ir/graph.h"
#include "../runtime/plan_format.h"

struct scalar_program;

struct scalar_segment {
    struct value *read;             /* brought to the host just before; NULL: nothing is */
    int outer;                      /* lower number; -1: segment 0 */
    const struct graph *body;       /* its constraints are checked here; NULL: none */
    const struct dim *index;        /* a loop's body is entered: its index, and which … */
    uint32_t loop;                  /* … LOOP step of the plan it is */
};

/* segments[0] is the root's: body g. READS records are numbered by the segments that read. Lives in
 * the graph's arena; the segments stay the caller's. */
struct scalar_program *scalar_create(struct graph *g, int n_segments,
                                     const struct scalar_segment *segments);

void scalar_want(struct scalar_program *s, const struct dim *d);

/* Segment in which d's value becomes known. -1: it depends on an element that no step reads, or on
 * elements that are never known together. */
int scalar_segment_of(struct scalar_program *s, const struct dim *d);

/* Is what segment a computes known in segment b? */
bool scalar_is_known(const struct scalar_program *s, int a, int b);

/* Emits what was wanted, the graph's constraints, and checks of the inputs' shapes and of the
 * symbols' bounds. string() makes a text's offset in the plan's STRINGS. False after reporting. */
bool scalar_emit(struct scalar_program *s, uint32_t (*string)(void *context, const char *text),
                 void *context);

/* After scalar_emit. The slot of a wanted dim; the instructions; where segments begin: segment k is
 * [begin[k], begin[k + 1]). */
uint32_t scalar_slot(const struct scalar_program *s, const struct dim *d);
const struct plan_scalar *scalar_code(const struct scalar_program *s, uint32_t *n,
                                      const uint32_t **begin);

/* What is known of where a symbol's value comes from (out-of-range symbols are SYMBOL_FREE). */
struct symbol_source scalar_source(const struct graph *g, int symbol);

#endif
