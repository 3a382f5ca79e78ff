/*
 * Tensors in files: .npy and .npz (numpy), .pb (ONNX's TensorProto, as in its test data) and raw bytes.
 * In memory a tensor is in buffer representation: row-major, types below a byte take one each.
 */
#ifndef GPUCC_TOOLS_TENSOR_IO_H
#define GPUCC_TOOLS_TENSOR_IO_H

#include "../ir/eval.h"

/* What a file is to hold. A file that says its type and shape must agree with those given here. */
struct tensor_want {
    const char *name;       /* the array to take from a .npz */
    enum dtype type;        /* DT_NONE: any */
    int rank;               /* -1: any */
    const int64_t *shape;   /* -1: any; raw files need all of it, or all but one dim */
};

/* Reads a tensor, whose data is malloc'ed. False after reporting. The kind is read from the bytes
 * (.npy, .npz) or the ending (.pb); anything else is raw. */
bool tensor_read(struct diag *diag, const char *path, const struct tensor_want *want,
                 struct tensor *out);

/* Writes a TensorProto with raw_data, as ONNX's test data has them. False after reporting. */
bool tensor_write_pb(struct diag *diag, const char *path, const char *name,
                     const struct tensor *tensor);

/* Sets type, rank, shape and size and takes zeroed memory. False after reporting. */
bool tensor_make(struct diag *diag, const char *where, enum dtype type, int rank,
                 const int64_t *shape, struct tensor *out);

/* Makes a list (ir/eval.h) with copies of these tensors as its elements; n = -1: an optional sequence
 * that is not there. False after reporting. */
bool tensor_make_list(struct diag *diag, const char *where, enum dtype type, int64_t n,
                      const struct tensor *elements, struct tensor *out);
int64_t tensor_list_length(const struct tensor *list); /* -1: as above */
/* Element i, whose data belong to the list. */
struct tensor tensor_list_at(const struct tensor *list, int64_t i);

/* "f32[1x3x224x224]" into text. */
void tensor_print_type(struct text *text, enum dtype type, int rank, const int64_t *shape);

/* For the readers of one format each: the file's bytes in, the tensor out. */
bool tensor_parse_npy(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                      const struct tensor_want *want, struct tensor *out);
bool tensor_parse_npz(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                      const struct tensor_want *want, struct tensor *out);
bool tensor_parse_pb(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                     const struct tensor_want *want, struct tensor *out);

/* Fills tensor, made before, from little-endian elements as ONNX's raw_data has them: types below a byte
 * are packed, the lowest bits first. False if size is not what that takes. */
bool tensor_unpack(struct tensor *tensor, const uint8_t *raw, size_t size);

#endif
