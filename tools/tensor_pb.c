/* ONNX's TensorProto, as in input_0.pb. */
#include "tensor_io.h"

#include "onnx.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool bad(struct diag *diag, const char *path, const char *what)
{
    diag_error(diag, STATUS_IO, path, "%s", what);
    return false;
}

/* Elements in the field that ONNX has for the type, as bytes for tensor_unpack: *raw is malloc'ed.
 */
static bool typed_field(const Onnx__TensorProto *proto, enum dtype type, uint8_t **raw,
                        size_t *size)
{
    size_t n = 0, wide = 0, narrow = dtype_size(type);
    const void *from = NULL;
    switch (type) {
    case DT_F32:
    case DT_C64:
        n = proto->n_float_data, from = proto->float_data, wide = narrow = sizeof(float);
        break;
    case DT_F64:
    case DT_C128:
        n = proto->n_double_data, from = proto->double_data, wide = narrow = sizeof(double);
        break;
    case DT_I64: n = proto->n_int64_data, from = proto->int64_data, wide = sizeof(int64_t); break;
    case DT_U64:
    case DT_U32:
        n = proto->n_uint64_data, from = proto->uint64_data, wide = sizeof(uint64_t);
        break;
    default: /* types below a byte: each int32 holds a byte of them, packed */
        n = proto->n_int32_data, from = proto->int32_data, wide = sizeof(int32_t);
    }
    *size = n * narrow;
    *raw = malloc(*size > 0 ? *size : 1);
    for (size_t i = 0; i < n && *raw != NULL; i++) /* little-endian: the low bytes come first */
        memcpy(*raw + i * narrow, (const uint8_t *)from + i * wide, narrow);
    return *raw != NULL;
}

static bool convert(struct diag *diag, const char *path, const Onnx__TensorProto *proto,
                    struct tensor *out)
{
    enum dtype type = proto->data_type > 0 && proto->data_type < DT_COUNT
                          ? (enum dtype)proto->data_type
                          : DT_NONE;
    if (type == DT_STRING)
        return bad(diag, path, "string tensors cannot be passed to a plan");
    if (type == DT_NONE)
        return bad(diag, path, "holds no tensor: no sequences, optionals and maps can be read");
    if (proto->n_external_data > 0)
        return bad(diag, path, "keeps its data in another file, which is not read");
    if (proto->n_dims > MAX_RANK)
        return bad(diag, path, "has too many dims");
    if (!tensor_make(diag, path, type, (int)proto->n_dims, proto->dims, out))
        return false;
    bool fits;
    if (proto->has_raw_data) {
        fits = tensor_unpack(out, proto->raw_data.data, proto->raw_data.len);
    } else {
        uint8_t *raw;
        size_t size;
        fits = typed_field(proto, type, &raw, &size) && tensor_unpack(out, raw, size);
        free(raw);
    }
    return fits || bad(diag, path, "its data does not have the length that its shape says");
}

bool tensor_parse_pb(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                     const struct tensor_want *want, struct tensor *out)
{
    (void)want;
    Onnx__TensorProto *proto = onnx__tensor_proto__unpack(NULL, size, bytes);
    if (proto == NULL)
        return bad(diag, path, "this is no TensorProto");
    bool done = convert(diag, path, proto, out);
    onnx__tensor_proto__free_unpacked(proto, NULL);
    return done;
}

/* The inverse of tensor_unpack; malloc'ed. */
static uint8_t *pack(const struct tensor *tensor, size_t *size)
{
    size_t bits = (size_t)dtype_info[tensor->type].bits;
    size_t per_byte = bits < 8 ? 8 / bits : 1;
    *size = tensor->size / per_byte + (tensor->size % per_byte != 0);
    uint8_t *raw = calloc(1, *size > 0 ? *size : 1);
    const uint8_t *from = tensor->data;
    if (raw == NULL)
        return NULL;
    if (bits >= 8)
        memcpy(raw, from, *size);
    else
        for (size_t i = 0; i < tensor->size; i++)
            raw[i / per_byte] |= (uint8_t)((from[i] & ((1u << bits) - 1)) << i % per_byte * bits);
    return raw;
}

bool tensor_write_pb(struct diag *diag, const char *path, const char *name,
                     const struct tensor *tensor)
{
    Onnx__TensorProto proto = ONNX__TENSOR_PROTO__INIT;
    int64_t dims[MAX_RANK];
    memcpy(dims, tensor->shape, sizeof dims);
    proto.n_dims = (size_t)tensor->rank;
    proto.dims = dims;
    proto.has_data_type = proto.has_raw_data = true;
    proto.data_type = (int32_t)tensor->type;
    proto.name = (char *)name;
    proto.raw_data.data = pack(tensor, &proto.raw_data.len);
    uint8_t *bytes = NULL;
    if (proto.raw_data.data != NULL)
        bytes = malloc(onnx__tensor_proto__get_packed_size(&proto));
    bool done = false;
    if (bytes == NULL) {
        diag_error(diag, STATUS_LIMIT, path, "out of memory");
    } else {
        size_t size = onnx__tensor_proto__pack(&proto, bytes);
        FILE *file = fopen(path, "wb");
        done = file != NULL && fwrite(bytes, 1, size, file) == size;
        if (file != NULL)
            done = fclose(file) == 0 && done;
        if (!done)
            diag_error(diag, STATUS_IO, path, "cannot be written: %s", strerror(errno));
    }
    free(proto.raw_data.data);
    free(bytes);
    return done;
}
