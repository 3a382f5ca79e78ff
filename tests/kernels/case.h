/*
 * A graph in text form with random inputs, the same at every run, and what the reference evaluator
 * makes of them. Free symbols get a source: the dim of an input.
 */
#ifndef GPUCC_TESTS_CASE_H
#define GPUCC_TESTS_CASE_H

#include "../../ir/eval.h"
#include "../../ir/text.h"

struct graph_case {
    struct graph *g;                    /* as parsed */
    int64_t *symbols;                   /* values; those that are elements of computed values: a guess */
    struct tensor *inputs, *expected;   /* by input, output; expected is NULL until it is known */
};

/* Free symbols are `base`, or near it, where their bounds allow. Not possible: they break a constraint,
 * and nothing was evaluated. False after reporting to diag. The graph lives in the arena; free the rest
 * with case_free, in any case. */
bool case_make(struct graph_case *c, struct arena *arena, struct diag *diag, const char *file,
               const struct text *text, int64_t base, bool *possible);
void case_free(struct graph_case *c);

/* Type, shape and size of v for the symbols' values; no data. */
bool case_shape(const struct graph_case *c, const struct value *v, struct tensor *t);

/* Says on stderr what differs by more than the tolerance of the type, and of the graph's math. */
bool case_compare(const struct graph *g, const struct tensor *expected, const struct tensor *found,
                  const char *name);

bool case_read_file(const char *path, struct text *text); /* false also when it is empty */
void case_print_diag(const struct diag *diag);

#endif
