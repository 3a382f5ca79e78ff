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

#include "../ir/eval.h"
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

struct frontend_frozen { /* --freeze NAME=FILE: the input becomes a constant */
    const char *input;
    const struct tensor *tensor; /* must outlive the graph */
};

/*
 * --io NAME=TYPE:LAYOUT: the input arrives, the output leaves in another element type and layout than
 * the model's; nodes behind or before it convert. The layout named is the interface's, and says that
 * the model has the other one: nwc and ncw, nhwc and nchw, ndhwc and ncdhw.
 */
struct frontend_io {
    const char *name;
    enum dtype type;    /* DT_NONE: the model's */
    const char *layout; /* NULL: the model's */
};
struct frontend_alias { /* --alias OUTPUT=INPUT: the output lies in the input's memory */
    const char *output, *input;
};
bool frontend_knows_layout(const char *name);

struct frontend_options {
    int n_shapes, n_frozen, n_io, n_outputs, n_dropped, n_aliases;
    const struct frontend_shape *shapes;
    const struct frontend_frozen *frozen;
    const struct frontend_io *io;
    const struct frontend_alias *aliases;
    const char *const *outputs; /* --output: values of the model's graph, outputs behind its own */
    const char *const *dropped; /* --no-output: outputs of the model that the graph does not have */
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
