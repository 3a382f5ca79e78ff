/* numpy's files: an array (.npy), or a zip archive of such (.npz) without compression. */
#include "tensor_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool bad(struct diag *diag, const char *path, const char *what)
{
    diag_error(diag, STATUS_IO, path, "%s", what);
    return false;
}

static uint64_t little(const uint8_t *bytes, int n)
{
    uint64_t value = 0;
    while (n-- > 0)
        value = value << 8 | bytes[n];
    return value;
}

/* numpy's type code without its byte order → ours. */
static enum dtype type_of(const char *code, enum dtype wanted)
{
    static const struct {
        const char *code;
        enum dtype type;
    } types[] = {
        {"f2", DT_F16}, {"f4", DT_F32},  {"f8", DT_F64}, {"i1", DT_I8},    {"i2", DT_I16},
        {"i4", DT_I32}, {"i8", DT_I64},  {"u1", DT_U8},  {"u2", DT_U16},   {"u4", DT_U32},
        {"u8", DT_U64}, {"b1", DT_BOOL}, {"c8", DT_C64}, {"c16", DT_C128},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].code, code) == 0)
            return types[i].type;
    /* Types that numpy lacks are saved as bytes without meaning: "V2". */
    if (code[0] == 'V' && (size_t)atoi(code + 1) == dtype_size(wanted))
        return wanted;
    return DT_NONE;
}

/* The header is a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. */
static const char *after_key(const char *header, const char *key)
{
    const char *at = strstr(header, key);
    if (at != NULL)
        at = strchr(at + strlen(key), ':');
    if (at != NULL)
        at += 1 + strspn(at + 1, " ");
    return at;
}

static bool parse_shape(const char *text, int *rank, int64_t *shape)
{
    *rank = 0;
    if (*text++ != '(')
        return false;
    for (;;) {
        text += strspn(text, " ,");
        if (*text == ')')
            return true;
        char *end;
        long long dim = strtoll(text, &end, 10);
        if (end == text || dim < 0 || *rank == MAX_RANK)
            return false;
        shape[(*rank)++] = dim;
        text = end;
    }
}

static bool parse_header(struct diag *diag, const char *path, const char *header, enum dtype wanted,
                         struct tensor *out)
{
    const char *descr = after_key(header, "'descr'");
    const char *order = after_key(header, "'fortran_order'");
    const char *shape = after_key(header, "'shape'");
    char order_mark, code[8];
    int64_t dims[MAX_RANK];
    int rank;
    if (descr == NULL || order == NULL || shape == NULL || !parse_shape(shape, &rank, dims))
        return bad(diag, path, "its numpy header cannot be read");
    if (sscanf(descr, "'%c%7[a-zA-Z0-9]'", &order_mark, code) != 2)
        return bad(diag, path, "structured numpy arrays are no tensors");
    if (order_mark == '>')
        return bad(diag, path, "save it little-endian: x.astype(x.dtype.newbyteorder('<'))");
    if (strncmp(order, "True", 4) == 0)
        return bad(diag, path, "save it in C order: np.ascontiguousarray(x)");
    enum dtype type = type_of(code, wanted);
    if (type == DT_NONE)
        return bad(diag, path, "its numpy type is none of ONNX's");
    return tensor_make(diag, path, type, rank, dims, out);
}

bool tensor_parse_npy(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                      const struct tensor_want *want, struct tensor *out)
{
    if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return bad(diag, path, "this is no numpy array");
    size_t start = bytes[6] == 1 ? 10 : 12;
    uint64_t length = little(bytes + 8, bytes[6] == 1 ? 2 : 4);
    if (length > size - start)
        return bad(diag, path, "its numpy header is cut off");
    char *header = strndup((const char *)bytes + start, length);
    bool done = header != NULL && parse_header(diag, path, header, want->type, out);
    free(header);
    if (!done)
        return false;
    start += length;
    /* In a .npy file types below a byte take one each, as in memory. */
    if (size - start != out->size)
        return bad(diag, path, "its numpy data has the wrong length");
    memcpy(out->data, bytes + start, out->size);
    return true;
}

/* ---- zip ---- */

enum {
    END_BYTES = 22,
    ENTRY_BYTES = 46,
    LOCAL_BYTES = 30,
    STORED = 0,
    ZIP64 = 1 /* tag of the extra field with 64-bit sizes */
};

struct entry {
    const char *name;
    size_t name_length;
    uint64_t method, size, offset;
};

/* Replaces sizes that did not fit 32 bits by those of the zip64 field. */
static void read_zip64(const uint8_t *extra, size_t length, uint64_t packed, struct entry *entry)
{
    while (length >= 4) {
        size_t tag = little(extra, 2), bytes = little(extra + 2, 2), at = 4;
        if (bytes > length - 4)
            return;
        if (tag == ZIP64) {
            if (entry->size == UINT32_MAX && at + 8 <= bytes + 4) {
                entry->size = little(extra + at, 8);
                at += 8;
            }
            at += packed == UINT32_MAX ? 8 : 0;
            if (entry->offset == UINT32_MAX && at + 8 <= bytes + 4)
                entry->offset = little(extra + at, 8);
            return;
        }
        extra += 4 + bytes;
        length -= 4 + bytes;
    }
}

/* The entry at *at of the central directory; advances *at. */
static bool next_entry(const uint8_t *bytes, size_t size, size_t *at, struct entry *entry)
{
    if (*at > size || size - *at < ENTRY_BYTES || memcmp(bytes + *at, "PK\1\2", 4) != 0)
        return false;
    const uint8_t *record = bytes + *at;
    size_t name = little(record + 28, 2), extra = little(record + 30, 2);
    size_t comment = little(record + 32, 2);
    if (name + extra + comment > size - *at - ENTRY_BYTES)
        return false;
    *entry = (struct entry){(const char *)record + ENTRY_BYTES, name, little(record + 10, 2),
                            little(record + 24, 4), little(record + 42, 4)};
    read_zip64(record + ENTRY_BYTES + name, extra, little(record + 20, 4), entry);
    *at += ENTRY_BYTES + name + extra + comment;
    return true;
}

static bool parse_entry(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                        const struct entry *entry, const struct tensor_want *want,
                        struct tensor *out)
{
    if (entry->method != STORED)
        return bad(diag, path, "it is compressed: save it with numpy.savez, not savez_compressed");
    if (entry->offset > size || size - entry->offset < LOCAL_BYTES)
        return bad(diag, path, "the archive is damaged");
    const uint8_t *local = bytes + entry->offset;
    uint64_t start = LOCAL_BYTES + little(local + 26, 2) + little(local + 28, 2);
    if (start > size - entry->offset || entry->size > size - entry->offset - start)
        return bad(diag, path, "the archive is damaged");
    return tensor_parse_npy(diag, path, local + start, entry->size, want, out);
}

bool tensor_parse_npz(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                      const struct tensor_want *want, struct tensor *out)
{
    size_t end = size >= END_BYTES ? size - END_BYTES : 0;
    while (end > 0 && memcmp(bytes + end, "PK\5\6", 4) != 0)
        end--;
    if (end == 0)
        return bad(diag, path, "the archive's end is missing");
    size_t at = little(bytes + end + 16, 4), name_length = strlen(want->name);
    struct entry entry;
    while (next_entry(bytes, size, &at, &entry))
        if (entry.name_length == name_length + 4 &&
            memcmp(entry.name, want->name, name_length) == 0 &&
            memcmp(entry.name + name_length, ".npy", 4) == 0)
            return parse_entry(diag, path, bytes, size, &entry, want, out);
    diag_error(diag, STATUS_USAGE, path, "has no array called '%s'", want->name);
    return false;
}
