#include "wire.h"

#include <string.h>

/* Wire types of protobuf; groups (3, 4) occur in no ONNX file. */
enum wire_type { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LENGTH = 2, WIRE_I32 = 5 };

enum message {
    M_NONE,
    M_MODEL,
    M_GRAPH,
    M_NODE,
    M_ATTRIBUTE,
    M_TENSOR,
    M_SPARSE,
    M_VALUE_INFO,
    M_TYPE,
    M_TYPE_TENSOR,
    M_TYPE_SEQUENCE,
    M_TYPE_MAP,
    M_SHAPE,
    M_DIMENSION,
    M_OPSET,
    M_FUNCTION,
    M_ENTRY,
};

/* What the bytes of a field may be. Repeated numbers come packed (one length-delimited field) or
 * one by one; both are legal whatever the schema says. */
enum field_kind {
    F_INT,     /* varint */
    F_FLOAT,   /* 4 bytes */
    F_INTS,    /* varints, packed or not */
    F_FLOATS,  /* 4 bytes each, packed or not */
    F_DOUBLES, /* 8 bytes each, packed or not */
    F_STRING,  /* text without NUL */
    F_BYTES,
    F_RAW, /* raw_data: replaced by its place when large */
    F_MESSAGE,
};

/* The fields of onnx.proto, message by message. Whatever is not listed is left out of the copy. */
static const struct field {
    uint8_t message, number, kind, child;
} fields[] = {
    {M_MODEL, 1, F_INT, 0},
    {M_MODEL, 2, F_STRING, 0},
    {M_MODEL, 3, F_STRING, 0},
    {M_MODEL, 7, F_MESSAGE, M_GRAPH},
    {M_MODEL, 8, F_MESSAGE, M_OPSET},
    {M_MODEL, 25, F_MESSAGE, M_FUNCTION},
    {M_GRAPH, 1, F_MESSAGE, M_NODE},
    {M_GRAPH, 2, F_STRING, 0},
    {M_GRAPH, 5, F_MESSAGE, M_TENSOR},
    {M_GRAPH, 11, F_MESSAGE, M_VALUE_INFO},
    {M_GRAPH, 12, F_MESSAGE, M_VALUE_INFO},
    {M_GRAPH, 13, F_MESSAGE, M_VALUE_INFO},
    {M_GRAPH, 15, F_MESSAGE, M_SPARSE},
    {M_NODE, 1, F_STRING, 0},
    {M_NODE, 2, F_STRING, 0},
    {M_NODE, 3, F_STRING, 0},
    {M_NODE, 4, F_STRING, 0},
    {M_NODE, 5, F_MESSAGE, M_ATTRIBUTE},
    {M_NODE, 7, F_STRING, 0},
    {M_NODE, 8, F_STRING, 0},
    {M_ATTRIBUTE, 1, F_STRING, 0},
    {M_ATTRIBUTE, 2, F_FLOAT, 0},
    {M_ATTRIBUTE, 3, F_INT, 0},
    {M_ATTRIBUTE, 4, F_BYTES, 0},
    {M_ATTRIBUTE, 5, F_MESSAGE, M_TENSOR},
    {M_ATTRIBUTE, 6, F_MESSAGE, M_GRAPH},
    {M_ATTRIBUTE, 7, F_FLOATS, 0},
    {M_ATTRIBUTE, 8, F_INTS, 0},
    {M_ATTRIBUTE, 9, F_BYTES, 0},
    {M_ATTRIBUTE, 10, F_MESSAGE, M_TENSOR},
    {M_ATTRIBUTE, 11, F_MESSAGE, M_GRAPH},
    {M_ATTRIBUTE, 14, F_MESSAGE, M_TYPE},
    {M_ATTRIBUTE, 15, F_MESSAGE, M_TYPE},
    {M_ATTRIBUTE, 20, F_INT, 0},
    {M_ATTRIBUTE, 21, F_STRING, 0},
    {M_ATTRIBUTE, 22, F_MESSAGE, M_SPARSE},
    {M_ATTRIBUTE, 23, F_MESSAGE, M_SPARSE},
    {M_TENSOR, 1, F_INTS, 0},
    {M_TENSOR, 2, F_INT, 0},
    {M_TENSOR, 4, F_FLOATS, 0},
    {M_TENSOR, 5, F_INTS, 0},
    {M_TENSOR, 6, F_BYTES, 0},
    {M_TENSOR, 7, F_INTS, 0},
    {M_TENSOR, 8, F_STRING, 0},
    {M_TENSOR, 9, F_RAW, 0},
    {M_TENSOR, 10, F_DOUBLES, 0},
    {M_TENSOR, 11, F_INTS, 0},
    {M_TENSOR, 13, F_MESSAGE, M_ENTRY},
    {M_TENSOR, 14, F_INT, 0},
    {M_SPARSE, 1, F_MESSAGE, M_TENSOR},
    {M_SPARSE, 2, F_MESSAGE, M_TENSOR},
    {M_SPARSE, 3, F_INTS, 0},
    {M_VALUE_INFO, 1, F_STRING, 0},
    {M_VALUE_INFO, 2, F_MESSAGE, M_TYPE},
    {M_TYPE, 1, F_MESSAGE, M_TYPE_TENSOR},
    {M_TYPE, 4, F_MESSAGE, M_TYPE_SEQUENCE},
    {M_TYPE, 5, F_MESSAGE, M_TYPE_MAP},
    {M_TYPE, 8, F_MESSAGE, M_TYPE_TENSOR},
    {M_TYPE, 9, F_MESSAGE, M_TYPE_SEQUENCE}, /* an optional is encoded like a sequence */
    {M_TYPE_TENSOR, 1, F_INT, 0},
    {M_TYPE_TENSOR, 2, F_MESSAGE, M_SHAPE},
    {M_TYPE_SEQUENCE, 1, F_MESSAGE, M_TYPE},
    {M_TYPE_MAP, 1, F_INT, 0},
    {M_TYPE_MAP, 2, F_MESSAGE, M_TYPE},
    {M_SHAPE, 1, F_MESSAGE, M_DIMENSION},
    {M_DIMENSION, 1, F_INT, 0},
    {M_DIMENSION, 2, F_STRING, 0},
    {M_OPSET, 1, F_STRING, 0},
    {M_OPSET, 2, F_INT, 0},
    {M_FUNCTION, 1, F_STRING, 0},
    {M_FUNCTION, 4, F_STRING, 0},
    {M_FUNCTION, 5, F_STRING, 0},
    {M_FUNCTION, 6, F_STRING, 0},
    {M_FUNCTION, 7, F_MESSAGE, M_NODE},
    {M_FUNCTION, 9, F_MESSAGE, M_OPSET},
    {M_FUNCTION, 10, F_STRING, 0},
    {M_FUNCTION, 11, F_MESSAGE, M_ATTRIBUTE},
    {M_FUNCTION, 13, F_STRING, 0},
    {M_ENTRY, 1, F_STRING, 0},
    {M_ENTRY, 2, F_STRING, 0},
};

struct scan {
    struct diag *diag;
    const char *file;
    const uint8_t *start; /* of the whole file: error messages say byte offsets */
    struct text *copy;
    int items;
};

static bool damaged(struct scan *s, const uint8_t *at, const char *what)
{
    diag_error(s->diag, STATUS_BAD_MODEL, s->file, "not an ONNX model, or damaged: %s at byte %zu",
               what, (size_t)(at - s->start));
    return false;
}

static bool count_item(struct scan *s)
{
    if (++s->items <= WIRE_MAX_ITEMS)
        return true;
    diag_error(s->diag, STATUS_LIMIT, s->file, "more than %d messages and strings in the model",
               WIRE_MAX_ITEMS);
    return false;
}

/* Advances *at over a varint; false at the end of the bytes or after ten bytes. */
static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 70 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        v |= (uint64_t)(byte & 0x7f) << (shift < 64 ? shift : 0);
        if (!(byte & 0x80)) {
            *value = v;
            return true;
        }
    }
    return false;
}

static void write_varint(struct text *copy, uint64_t value)
{
    char bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value);
    text_append(copy, bytes, n);
}

static const struct field *find_field(enum message message, uint64_t number)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].message == message && fields[i].number == number)
            return &fields[i];
    return NULL;
}

static bool fits_wire_type(enum field_kind kind, unsigned type)
{
    switch (kind) {
    case F_INT: return type == WIRE_VARINT;
    case F_FLOAT: return type == WIRE_I32;
    case F_INTS: return type == WIRE_VARINT || type == WIRE_LENGTH;
    case F_FLOATS: return type == WIRE_I32 || type == WIRE_LENGTH;
    case F_DOUBLES: return type == WIRE_I64 || type == WIRE_LENGTH;
    case F_STRING:
    case F_BYTES:
    case F_RAW:
    case F_MESSAGE: return type == WIRE_LENGTH;
    }
    return false;
}

static bool packed_is_sound(enum field_kind kind, const uint8_t *at, const uint8_t *end)
{
    if (kind == F_FLOATS)
        return (end - at) % 4 == 0;
    if (kind == F_DOUBLES)
        return (end - at) % 8 == 0;
    for (uint64_t value; at < end;)
        if (!read_varint(&at, end, &value))
            return false;
    return true;
}

static bool scan_message(struct scan *s, enum message message, const uint8_t *at,
                         const uint8_t *end, int depth);

/* A child's length is known after its copy: five bytes are kept for it, a legal if long varint. */
static bool scan_child(struct scan *s, const struct field *field, const uint8_t *at,
                       const uint8_t *end, int depth)
{
    if (!count_item(s))
        return false;
    write_varint(s->copy, (uint64_t)field->number << 3 | WIRE_LENGTH);
    size_t place = s->copy->length;
    text_append(s->copy, "\0\0\0\0\0", 5);
    if (!scan_message(s, field->child, at, end, depth + 1) || s->copy->failed)
        return false;
    size_t length = s->copy->length - place - 5;
    if (length > INT32_MAX) {
        diag_error(s->diag, STATUS_LIMIT, s->file, "more than 2 GiB besides raw data");
        return false;
    }
    for (int i = 0; i < 5; i++)
        s->copy->data[place + i] = (char)((length >> 7 * i & 0x7f) | (i < 4 ? 0x80 : 0));
    return true;
}

/* at … end is the field's content without its length. */
static bool scan_delimited(struct scan *s, const struct field *field, const uint8_t *at,
                           const uint8_t *end, int depth)
{
    size_t length = (size_t)(end - at);
    switch ((enum field_kind)field->kind) {
    case F_MESSAGE: return scan_child(s, field, at, end, depth);
    case F_RAW:
        if (length < WIRE_MAPPED_SIZE)
            break;
        write_varint(s->copy, 1000 << 3 | WIRE_VARINT);
        write_varint(s->copy, (uint64_t)(at - s->start));
        write_varint(s->copy, 1001 << 3 | WIRE_VARINT);
        write_varint(s->copy, length);
        return true;
    case F_STRING:
        if (memchr(at, 0, length))
            return damaged(s, at, "NUL in a name");
        break;
    case F_INTS:
    case F_FLOATS:
    case F_DOUBLES:
        if (!packed_is_sound(field->kind, at, end))
            return damaged(s, at, "broken list of numbers");
        break;
    default: break;
    }
    if (length > INT32_MAX) {
        diag_error(s->diag, STATUS_LIMIT, s->file, "a field of more than 2 GiB");
        return false;
    }
    write_varint(s->copy, (uint64_t)field->number << 3 | WIRE_LENGTH);
    write_varint(s->copy, length);
    text_append(s->copy, (const char *)at, length);
    return count_item(s);
}

static bool scan_message(struct scan *s, enum message message, const uint8_t *at,
                         const uint8_t *end, int depth)
{
    if (depth > WIRE_MAX_DEPTH) {
        diag_error(s->diag, STATUS_LIMIT, s->file, "more than %d messages are nested at byte %zu",
                   WIRE_MAX_DEPTH, (size_t)(at - s->start));
        return false;
    }
    while (at < end) {
        const uint8_t *tag = at;
        uint64_t key, value = 0;
        if (!read_varint(&at, end, &key) || key >> 3 == 0 || key >> 32)
            return damaged(s, tag, "no field starts");
        unsigned type = key & 7;
        const struct field *field = find_field(message, key >> 3);
        if (field && !fits_wire_type(field->kind, type))
            return damaged(s, tag, "a field of another kind than ONNX's");

        const uint8_t *content = at;
        switch (type) {
        case WIRE_VARINT:
            if (!read_varint(&at, end, &value))
                return damaged(s, content, "a number is cut off");
            break;
        case WIRE_I64:
        case WIRE_I32:
            if (end - at < (type == WIRE_I64 ? 8 : 4))
                return damaged(s, content, "a number is cut off");
            at += type == WIRE_I64 ? 8 : 4;
            break;
        case WIRE_LENGTH:
            if (!read_varint(&at, end, &value) || value > (uint64_t)(end - at))
                return damaged(s, content, "a field is longer than what holds it");
            content = at;
            at += value;
            if (field && !scan_delimited(s, field, content, at, depth))
                return false;
            continue;
        default: return damaged(s, tag, "an unknown kind of field");
        }
        if (field)
            text_append(s->copy, (const char *)tag, (size_t)(at - tag));
    }
    return true;
}

bool wire_scan(struct diag *diag, const char *file, const uint8_t *bytes, size_t size,
               struct text *copy)
{
    struct scan s = {.diag = diag, .file = file, .start = bytes, .copy = copy};
    bool ok = scan_message(&s, M_MODEL, bytes, bytes + size, 0);
    if (copy->failed) {
        diag_error(diag, STATUS_LIMIT, file, "no memory to read the model");
        return false;
    }
    return ok;
}
