/* Small models for tests, made in memory with protobuf-c's packer and written to a temporary
 * folder. */
#ifndef GPUCC_TESTS_FRONTEND_FIXTURE_H
#define GPUCC_TESTS_FRONTEND_FIXTURE_H

#include "../../frontend/import.h"

#include <setjmp.h>

/* A loaded model, or the errors that loading it gave. */
struct loaded {
    struct arena arena;
    struct diag diag;
    struct model *model;
    struct graph *graph;
    jmp_buf oom;
};

extern char folder[64]; /* temporary, per test */
int make_folder(void **state);
int remove_folder(void **state);

/* Path of a file in the folder (static buffer). */
const char *path_of(const char *name);
void write_file(const char *name, const void *bytes, size_t size);

/* Loads folder/model.onnx. */
void load(struct loaded *l, const struct frontend_options *options);
/* The same, but the n-th allocation of the arena fails. */
void load_with_failure(struct loaded *l, size_t n);
void unload(struct loaded *l);
/* Some message of l holds this text. */
bool says(const struct loaded *l, const char *text);

/* Building blocks; all memory lives until reset_fixture. */
Onnx__ModelProto *new_model(int64_t opset);
void add_initializer(Onnx__GraphProto *g, Onnx__TensorProto *t);
/* dims: text separated by commas, numbers or names; "" is a scalar. */
void add_input(Onnx__GraphProto *g, const char *name, int type, const char *dims);
void add_output(Onnx__GraphProto *g, const char *name, int type);
/* inputs, outputs: names separated by commas. */
Onnx__NodeProto *add_node(Onnx__NodeProto ***nodes, size_t *n, const char *op, const char *inputs,
                          const char *outputs);
Onnx__NodeProto *graph_node(Onnx__ModelProto *m, const char *op, const char *inputs,
                            const char *outputs);
Onnx__AttributeProto *add_attribute(Onnx__NodeProto *node, const char *name, int type);
Onnx__TensorProto *new_tensor(const char *name, int type, int n_dims, const int64_t *dims);
void set_raw(Onnx__TensorProto *t, const void *bytes, size_t size);
void set_external(Onnx__TensorProto *t, const char *location, const char *offset,
                  const char *length);
/* Writes it as folder/model.onnx. */
void save_model(const Onnx__ModelProto *m);

#endif
