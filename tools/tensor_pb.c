/* ONNX's TensorProto, SequenceProto and OptionalProto, as in input_0.pb. */
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

/* ---- lists ---- */

/* Makes the list of these tensors; n = -1: an optional sequence that is not there. */
static bool convert_list(struct diag *diag, const char *path, enum dtype type, int64_t n,
                         Onnx__TensorProto *const *tensors, struct tensor *out)
{
    size_t count = n > 0 ? (size_t)n : 0;
    struct tensor *items = calloc(count + 1, sizeof *items);
    if (items == NULL)
        return bad(diag, path, "no memory");
    bool done = true;
    for (size_t i = 0; i < count && done; i++) {
        done = convert(diag, path, tensors[i], &items[i]);
        if (done && items[i].type != dtype_element(type))
            done = bad(diag, path, "an element has another type than the plan's");
    }
    done = done && tensor_make_list(diag, path, type, n, items, out);
    for (size_t i = 0; i < count; i++)
        tensor_free(&items[i]);
    free(items);
    return done;
}

static bool parse_sequence(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                           enum dtype type, struct tensor *out)
{
    Onnx__SequenceProto *proto = onnx__sequence_proto__unpack(NULL, size, bytes);
    if (proto == NULL)
        return bad(diag, path, "this is no SequenceProto");
    bool done =
        convert_list(diag, path, type, (int64_t)proto->n_tensor_values, proto->tensor_values, out);
    onnx__sequence_proto__free_unpacked(proto, NULL);
    return done;
}

static bool parse_optional(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                           enum dtype type, struct tensor *out)
{
    Onnx__OptionalProto *proto = onnx__optional_proto__unpack(NULL, size, bytes);
    if (proto == NULL)
        return bad(diag, path, "this is no OptionalProto");
    const Onnx__SequenceProto *sequence = proto->sequence_value;
    bool done;
    if (dtype_list_kind(type) == DT_OPTIONAL)
        done =
            convert_list(diag, path, type, proto->tensor_value != NULL, &proto->tensor_value, out);
    else if (sequence != NULL)
        done = convert_list(diag, path, type, (int64_t)sequence->n_tensor_values,
                            sequence->tensor_values, out);
    else
        done = convert_list(diag, path, type, -1, NULL, out);
    onnx__optional_proto__free_unpacked(proto, NULL);
    return done;
}

bool tensor_parse_pb(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                     const struct tensor_want *want, struct tensor *out)
{
    if (dtype_is_list(want->type))
        return dtype_list_kind(want->type) == DT_SEQUENCE
                   ? parse_sequence(diag, path, bytes, size, want->type, out)
                   : parse_optional(diag, path, bytes, size, want->type, out);
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

static bool write_bytes(struct diag *diag, const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    bool done = file != NULL && fwrite(bytes, 1, size, file) == size;
    if (file != NULL)
        done = fclose(file) == 0 && done;
    if (!done)
        diag_error(diag, STATUS_IO, path, "cannot be written: %s", strerror(errno));
    return done;
}

/* A TensorProto that owns its raw_data alone; false when memory ran out. */
static bool describe(const struct tensor *tensor, Onnx__TensorProto *proto)
{
    *proto = (Onnx__TensorProto)ONNX__TENSOR_PROTO__INIT;
    proto->n_dims = (size_t)tensor->rank;
    proto->dims = (int64_t *)tensor->shape;
    proto->has_data_type = proto->has_raw_data = true;
    proto->data_type = (int32_t)tensor->type;
    proto->raw_data.data = pack(tensor, &proto->raw_data.len);
    return proto->raw_data.data != NULL;
}

/* What a file of a list holds, with room for the elements. */
struct list_file {
    Onnx__SequenceProto sequence;
    Onnx__OptionalProto optional;
    struct tensor *elements;
    Onnx__TensorProto *tensors, **pointers;
    size_t n;
};

static bool describe_list(const struct tensor *list, const char *name, struct list_file *f)
{
    enum { TENSOR = 1, SEQUENCE = 3 }; /* SequenceProto.DataType, OptionalProto.DataType */
    int64_t n = tensor_list_length(list);
    f->sequence = (Onnx__SequenceProto)ONNX__SEQUENCE_PROTO__INIT;
    f->optional = (Onnx__OptionalProto)ONNX__OPTIONAL_PROTO__INIT;
    f->n = n > 0 ? (size_t)n : 0;
    f->elements = calloc(f->n + 1, sizeof *f->elements);
    f->tensors = calloc(f->n + 1, sizeof *f->tensors);
    f->pointers = calloc(f->n + 1, sizeof *f->pointers);
    if (f->elements == NULL || f->tensors == NULL || f->pointers == NULL)
        return false;
    for (size_t i = 0; i < f->n; i++) {
        f->elements[i] = tensor_list_at(list, (int64_t)i);
        f->pointers[i] = &f->tensors[i];
        if (!describe(&f->elements[i], &f->tensors[i]))
            return false;
    }
    bool holds_tensor = dtype_list_kind(list->type) == DT_OPTIONAL;
    f->sequence.name = f->optional.name = (char *)name;
    f->sequence.has_elem_type = f->optional.has_elem_type = true;
    f->sequence.elem_type = TENSOR;
    f->sequence.n_tensor_values = f->n;
    f->sequence.tensor_values = f->pointers;
    f->optional.elem_type = n < 0 || (holds_tensor && n == 0) ? 0
                            : holds_tensor                    ? TENSOR
                                                              : SEQUENCE;
    f->optional.tensor_value = holds_tensor && n > 0 ? f->pointers[0] : NULL;
    f->optional.sequence_value = !holds_tensor && n >= 0 ? &f->sequence : NULL;
    return true;
}

static bool write_list(struct diag *diag, const char *path, const char *name,
                       const struct tensor *list)
{
    struct list_file f = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    bool is_sequence = dtype_list_kind(list->type) == DT_SEQUENCE;
    if (describe_list(list, name, &f)) {
        size = is_sequence ? onnx__sequence_proto__get_packed_size(&f.sequence)
                           : onnx__optional_proto__get_packed_size(&f.optional);
        bytes = malloc(size > 0 ? size : 1);
    }
    if (bytes == NULL)
        diag_error(diag, STATUS_LIMIT, path, "out of memory");
    else if (is_sequence)
        onnx__sequence_proto__pack(&f.sequence, bytes);
    else
        onnx__optional_proto__pack(&f.optional, bytes);
    bool done = bytes != NULL && write_bytes(diag, path, bytes, size);
    for (size_t i = 0; f.tensors != NULL && i < f.n; i++)
        free(f.tensors[i].raw_data.data);
    free(f.elements);
    free(f.tensors);
    free(f.pointers);
    free(bytes);
    return done;
}

bool tensor_write_pb(struct diag *diag, const char *path, const char *name,
                     const struct tensor *tensor)
{
    if (dtype_is_list(tensor->type))
        return write_list(diag, path, name, tensor);
    Onnx__TensorProto proto;
    uint8_t *bytes = NULL;
    if (describe(tensor, &proto)) {
        proto.name = (char *)name;
        bytes = malloc(onnx__tensor_proto__get_packed_size(&proto));
    }
    if (bytes == NULL)
        diag_error(diag, STATUS_LIMIT, path, "out of memory");
    bool done =
        bytes != NULL && write_bytes(diag, path, bytes, onnx__tensor_proto__pack(&proto, bytes));
    free(proto.raw_data.data);
    free(bytes);
    return done;
}
