/*
 * A scan of protobuf's wire format. protobuf-c trusts its input where it should not: it has no
 * limit of depth (32 KB of nesting overflow its stack), it keeps every unknown field, and it copies
 * weights. So it never sees a model's own bytes, only a checked copy without what we do not read.
 */
#ifndef GPUCC_FRONTEND_WIRE_H
#define GPUCC_FRONTEND_WIRE_H

#include "../ir/diag.h"

enum {
    WIRE_MAX_DEPTH = 100,     /* nested messages: about 30 nested subgraphs */
    WIRE_MAX_ITEMS = 1 << 24, /* messages and strings in a model */
    WIRE_MAPPED_SIZE = 256    /* raw data from this size on is replaced by its place */
};

/*
 * Checks an encoded ModelProto and appends to *copy what frontend/onnx.proto knows of it, with
 * large raw_data of tensors replaced by mapped_offset and mapped_size (relative to bytes). False
 * after reporting an error, with file as place.
 */
bool wire_scan(struct diag *diag, const char *file, const uint8_t *bytes, size_t size,
               struct text *copy);

#endif
