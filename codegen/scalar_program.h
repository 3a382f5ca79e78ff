/*
 * Dims → the plan's scalar program. Whoever needs a dim's value at run time wants it first; once
 * all wants are known the program is emitted, segment by segment, and every dim has a slot:
 *
 *   segment 0      runs when the input shapes are set
 *   segment k      runs after the k-th READ step: what depends on elements read by then
 */
#ifndef GPUCC_CODEGEN_SCALAR_PROGRAM_H
#define GPUCC_CODEGEN_SCALAR_PROGRAM_H

#include "../ir/graph.h"
#include "../runtime/plan_format.h"

struct scalar_program;

/* reads[k] is the value that READ step k + 1 and READS record k bring to the host. Lives in the
 * graph's arena. */
struct scalar_program *scalar_create(struct graph *g, int n_reads, struct value *const *reads);

void scalar_want(struct scalar_program *s, const struct dim *d);

/* Segment in which d's value becomes known. -1: it depends on an element that no step reads. */
int scalar_segment(struct scalar_program *s, const struct dim *d);

/* Emits what was wanted, the graph's constraints, and checks of the inputs' shapes and of the
 * symbols' bounds. string() makes a text's offset in the plan's STRINGS. False after reporting. */
bool scalar_emit(struct scalar_program *s, uint32_t (*string)(void *context, const char *text),
                 void *context);

/* After scalar_emit. The slot of a wanted dim; the instructions; where segments begin: segment k is
 * [begin[k], begin[k + 1]), for k from 0 to n_reads. */
uint32_t scalar_slot(const struct scalar_program *s, const struct dim *d);
const struct plan_scalar *scalar_code(const struct scalar_program *s, uint32_t *n,
                                      const uint32_t **begin);

/* What is known of where a symbol's value comes from (out-of-range symbols are SYMBOL_FREE). */
struct symbol_source scalar_source(const struct graph *g, int symbol);

/* Calls visit for each symbol of d, once or more. */
void dim_each_symbol(const struct dim *d, void (*visit)(void *context, int symbol), void *context);

#endif
