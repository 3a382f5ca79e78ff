/* TensorProto → constant: every encoding that ONNX has, checked, in the buffer representation (one
 * byte for sub-byte types). Bytes stay in the mapped file where they fit as they are. */
#include "import.h"

#include <stdlib.h>
#include <string.h>

struct source { /* encoded elements: as in raw_data */
    const uint8_t *bytes;
    size_t size;
    const char *file; /* external file as the model calls it, or NULL */
    int64_t offset;
};

static void *bad_tensor(struct import *im, const char *where, const Onnx__TensorProto *t,
                        const char *what)
{
    diag_error(im->diag, STATUS_BAD_MODEL, where, "tensor '%s': %s", t->name ? t->name : "", what);
    return NULL;
}

/* Decimal digits only. */
static bool parse_size(const char *text, uint64_t *value)
{
    *value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*text - '0'), value))
            return false;
    return *text == 0;
}

static bool external_source(struct import *im, const char *where, const Onnx__TensorProto *t,
                            size_t expected, struct source *source)
{
    const char *location = NULL;
    uint64_t offset = 0, length = expected;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key, *value = t->external_data[i]->value;
        if (!key || !value)
            continue;
        if (strcmp(key, "location") == 0)
            location = value;
        else if (strcmp(key, "offset") == 0 && !parse_size(value, &offset))
            return bad_tensor(im, where, t, "the offset of its external data is no number");
        else if (strcmp(key, "length") == 0 && !parse_size(value, &length))
            return bad_tensor(im, where, t, "the length of its external data is no number");
    }
    if (!location)
        return bad_tensor(im, where, t, "its external data has no location");
    const struct mapping *map = model_external(im->model, im->diag, where, location);
    if (!map)
        return false;
    if (offset > map->size || length > map->size - offset)
        return bad_tensor(im, where, t, "its external data ends behind the end of the file");
    *source = (struct source){map->bytes ? map->bytes + offset : NULL, length,
                              arena_strdup(im->arena, location), (int64_t)offset};
    return true;
}

/* Fills out with the low `width` bytes of each number. */
#define NARROW(out, numbers, n, width)                                                             \
    for (size_t i_ = 0; i_ < (n); i_++)                                                            \
    memcpy((out) + i_ * (width), &(numbers)[i_], (width))

/* Typed fields (float_data, …) hold each element as a number; packed sub-byte types hold a byte. */
static bool typed_source(struct import *im, const char *where, const Onnx__TensorProto *t,
                         size_t expected, struct source *source)
{
    int bits = dtype_info[t->data_type].bits;
    size_t width = bits < 8 ? 1 : (size_t)bits / 8, have = 0;
    switch (t->data_type) {
    case DT_F32: have = t->n_float_data; break;
    case DT_C64: have = t->n_float_data, width = 4; break;
    case DT_F64: have = t->n_double_data; break;
    case DT_C128: have = t->n_double_data, width = 8; break;
    case DT_I64: have = t->n_int64_data; break;
    case DT_U32:
    case DT_U64: have = t->n_uint64_data; break;
    default: have = t->n_int32_data; break;
    }
    if (have != expected / width)
        return bad_tensor(im, where, t, "its count of elements is not what its dims say");
    uint8_t *out = arena_alloc(im->arena, expected);
    switch (t->data_type) {
    case DT_F32:
    case DT_C64: NARROW(out, t->float_data, have, width); break;
    case DT_F64:
    case DT_C128: NARROW(out, t->double_data, have, width); break;
    case DT_I64: NARROW(out, t->int64_data, have, width); break;
    case DT_U32:
    case DT_U64: NARROW(out, t->uint64_data, have, width); break;
    default: NARROW(out, t->int32_data, have, width); break;
    }
    *source = (struct source){out, expected, NULL, 0};
    return true;
}

/* One byte per element; signed ones are sign-extended. */
static uint8_t *unpack(struct import *im, enum dtype type, const uint8_t *packed, size_t n)
{
    int bits = dtype_info[type].bits, per_byte = 8 / bits;
    uint8_t mask = (uint8_t)((1 << bits) - 1), sign = (uint8_t)(1 << (bits - 1));
    bool is_signed = dtype_info[type].cls == DC_S;
    uint8_t *out = arena_alloc(im->arena, n);
    for (size_t i = 0; i < n; i++) {
        uint8_t v = packed[i / per_byte] >> (i % per_byte * bits) & mask;
        out[i] = is_signed && (v & sign) ? v | (uint8_t)~mask : v;
    }
    return out;
}

/* Bytes as the graph may use them: aligned for the type, bools 0 or 1. */
static const void *usable_bytes(struct import *im, enum dtype type, const uint8_t *bytes,
                                size_t size)
{
    bool fits = (uintptr_t)bytes % dtype_size(type) == 0;
    if (type == DT_BOOL)
        for (size_t i = 0; i < size && fits; i++)
            fits = bytes[i] <= 1;
    if (fits)
        return bytes;
    uint8_t *copy = arena_alloc(im->arena, size);
    memcpy(copy, bytes, size);
    if (type == DT_BOOL)
        for (size_t i = 0; i < size; i++)
            copy[i] = copy[i] != 0;
    return copy;
}

/* Elements the dims say; false when they are negative or too many to address. */
static bool count_elements(size_t n_dims, const int64_t *dims, int64_t *n)
{
    int64_t bytes;
    *n = 1;
    bool zero = false;
    for (size_t i = 0; i < n_dims; i++) {
        if (dims[i] < 0)
            return false;
        zero |= dims[i] == 0;
        if (dims[i] && __builtin_mul_overflow(*n, dims[i], n))
            return false;
    }
    if (zero)
        *n = 0;
    return !__builtin_mul_overflow(*n, 64, &bytes);
}

struct value *import_tensor(struct import *im, const char *where, const Onnx__TensorProto *t)
{
    enum dtype type = t->data_type;
    if (t->data_type <= DT_NONE || t->data_type >= DT_COUNT)
        return bad_tensor(im, where, t, "unknown element type");
    if (type == DT_STRING) {
        diag_error(im->diag, STATUS_UNSUPPORTED, where, "tensor '%s' holds strings",
                   t->name ? t->name : "");
        return NULL;
    }
    int64_t n;
    if (t->n_dims > MAX_RANK)
        return bad_tensor(im, where, t, "more dims than gpucc can hold");
    if (!count_elements(t->n_dims, t->dims, &n))
        return bad_tensor(im, where, t, "impossible dims");

    int bits = dtype_info[type].bits;
    size_t expected =
        bits < 8 ? ((size_t)n * (size_t)bits + 7) / 8 : (size_t)n * (size_t)(bits / 8);
    struct source source = {0};
    if (t->data_location == 1) {
        if (!external_source(im, where, t, expected, &source))
            return NULL;
    } else if (t->has_mapped_offset) {
        source.bytes = im->model->files[0].bytes + t->mapped_offset;
        source.size = t->mapped_size;
        source.offset = (int64_t)t->mapped_offset;
    } else if (t->has_raw_data) {
        source.bytes = t->raw_data.data;
        source.size = t->raw_data.len;
    } else if (n > 0 && !typed_source(im, where, t, expected, &source)) {
        return NULL;
    }
    if (source.size != expected)
        return bad_tensor(im, where, t, "its count of bytes is not what its dims say");

    const void *bytes = "";
    if (n > 0)
        bytes = bits < 8 ? unpack(im, type, source.bytes, (size_t)n)
                         : usable_bytes(im, type, source.bytes, source.size);
    struct value *v = build_constant(&im->b, type, (int)t->n_dims, t->dims, bytes,
                                     t->name && *t->name ? t->name : NULL);
    if (v) {
        v->def->attr.constant.data->file = source.file;
        v->def->attr.constant.data->offset = source.offset;
    }
    return v;
}

/* Index of the k-th given element of a sparse tensor in the dense one, or -1. */
static int64_t sparse_place(const Onnx__SparseTensorProto *t, const int64_t *index, bool linear,
                            size_t k, int64_t n)
{
    if (linear)
        return index[k] >= 0 && index[k] < n ? index[k] : -1;
    int64_t at = 0;
    for (size_t axis = 0; axis < t->n_dims; axis++) {
        int64_t i = index[k * t->n_dims + axis];
        if (i < 0 || i >= t->dims[axis])
            return -1;
        at = at * t->dims[axis] + i;
    }
    return at;
}

struct value *import_sparse(struct import *im, const char *where, const Onnx__SparseTensorProto *t)
{
    int64_t n;
    if (!t->values || !t->indices || t->n_dims > MAX_RANK || t->values->n_dims != 1 ||
        !count_elements(t->n_dims, t->dims, &n)) {
        diag_error(im->diag, STATUS_BAD_MODEL, where, "a broken sparse tensor");
        return NULL;
    }
    struct value *values = import_tensor(im, where, t->values);
    struct value *indices = values ? import_tensor(im, where, t->indices) : NULL;
    if (!indices)
        return NULL;
    bool linear = t->indices->n_dims == 1;
    const struct constant *from = values->def->attr.constant.data;
    const int64_t *index = indices->def->attr.constant.data->bytes;
    size_t width = dtype_size(values->type), given = (size_t)t->values->dims[0];
    if (indices->type != DT_I64 ||
        indices->def->attr.constant.data->size / 8 != given * (linear ? 1 : t->n_dims))
        return bad_tensor(im, where, t->indices, "does not fit its sparse tensor");
    uint8_t *dense = arena_alloc(im->arena, (size_t)n * width);
    for (size_t k = 0; k < given; k++) {
        int64_t at = sparse_place(t, index, linear, k, n);
        if (at < 0)
            return bad_tensor(im, where, t->indices, "an index out of range");
        memcpy(dense + (size_t)at * width, (const uint8_t *)from->bytes + k * width, width);
    }
    return build_constant(&im->b, values->type, (int)t->n_dims, t->dims, dense,
                          t->values->name && *t->values->name ? t->values->name : NULL);
}
