/*
 * What --precision, --keep and --max-error asked for: g->root->precision. set_precision.c carries
 * it out, precision_rules.c says which nodes lose too much by nature, precision_search.c finds what
 * `auto` stands for.
 */
#ifndef GPUCC_PASSES_PRECISION_H
#define GPUCC_PASSES_PRECISION_H

#include "../ir/eval.h"

enum precision_level {
    PRECISION_MODEL, /* the model's own types */
    PRECISION_FP32,
    PRECISION_FP32X3, /* f32 values, contractions as three products of tf32 */
    PRECISION_TF32,   /* f32 values, contractions in tf32 */
    PRECISION_FP16,
    PRECISION_BF16,
    PRECISION_FP8, /* f16 values, contractions with constant weights in f8e4m3fn */
    PRECISION_AUTO,
    PRECISION_COUNT
};

extern const char *const precision_names[PRECISION_COUNT]; /* "fp32", …; "model" */
enum precision_level precision_parse(const char *name);    /* PRECISION_COUNT: none of that name */

/* --keep: nodes that match have this precision; of several rules the last one counts. */
struct precision_rule {
    const char *pattern; /* of an ONNX node's name or operator, or an op of the IR */
    enum precision_level precision;
};

/* Rates of the slowest target that was named, for which gain is weighed against error. */
struct precision_rates {
    double bytes;                       /* of device memory, per nanosecond */
    double operations[PRECISION_COUNT]; /* of contractions, per nanosecond */
};

struct precision {
    enum precision_level wanted;
    int n_rules;
    const struct precision_rule *rules;
    bool searches; /* levels are measured against max_error: */
    bool assumed;  /* max_error is the level's own: none was given */
    bool relative; /* max_error is a part of the output's largest magnitude */
    double max_error;
    unsigned candidates; /* bit 1 << level: what all targets have, of which a search may choose */
    struct precision_rates rates;
    int n_runs;                       /* what errors are measured on: */
    const struct tensor *const *runs; /* the inputs of each run */
    const char *warning;              /* given where something is measured on them, or NULL */
    const char *load;                 /* text of an assignment, in place of auto's own; or NULL */
    const char **save;                /* where the assignment's text goes, or NULL */
};

/* Multiplications and additions of contractions and attention in one run of g, free dims guessed. */
double precision_operations(const struct graph *g);

/* Has some node a precision other than the model's? */
bool precision_changes(const struct precision *precision);

#endif
