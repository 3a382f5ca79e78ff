/*
 * ONNX in: a model file becomes a graph of ir/.
 *
 *     struct model *model = model_open(&diag, "model.onnx");
 *     struct graph *graph = model ? frontend_load(&arena, &diag, model, NULL) : NULL;
 *     ...
 *     arena_free(&arena);
 *     model_close(model);
 *
 * Constants of the graph may point into the model's mappings, so the model is closed last.
 */
#ifndef GPUCC_FRONTEND_FRONTEND_H
#define GPUCC_FRONTEND_FRONTEND_H

#include "../ir/graph.h"

/* A model file and its external data files, mapped read-only. */
struct model;

/*
 * Maps the file, scans its bytes and decodes it. What a file is, is read from its bytes: anything
 * but an ONNX model is a BAD_MODEL error. NULL after reporting an error.
 */
struct model *model_open(struct diag *diag, const char *path);
void model_close(struct model *model); /* NULL is fine */

/* Files read so far, for a depfile: the model first, then external data in order of first use. The
 * strings belong to the model. External data is opened by frontend_load. */
int model_file_count(const struct model *model);
const char *model_file(const struct model *model, int i);

struct frontend_shape { /* --shape NAME=DIMS: fixes the free dims of an input */
    const char *input;
    int rank;
    const int64_t *dims;
};

struct frontend_options {
    int n_shapes;
    const struct frontend_shape *shapes;
};

/*
 * Lowers the model to a graph that the arena owns; the model must outlive it. options may be NULL.
 * NULL after reporting errors: every node that gpucc cannot lower is reported, not just the first.
 * Jumps to arena->on_oom when memory runs out; the model is then still to be closed.
 */
struct graph *frontend_load(struct arena *arena, struct diag *diag, struct model *model,
                            const struct frontend_options *options);

/* A row of operators.def, for lists of what gpucc knows. */
struct frontend_operator {
    const char *domain, *name; /* domain "": ONNX's own */
    int since, until;          /* opsets; until 0: up to the newest */
    int least, most;           /* inputs; most -1: any number */
    char types;                /* element types, a domain letter of ir/ops.def; 0: not one scalar op */
};
int frontend_operator_count(void);
struct frontend_operator frontend_operator(int i); /* in the table's order */

#endif
