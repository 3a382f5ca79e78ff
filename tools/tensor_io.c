#include "tensor_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool tensor_make(struct diag *diag, const char *where, enum dtype type, int rank,
                 const int64_t *shape, struct tensor *out)
{
    int64_t size = (int64_t)dtype_size(type);
    bool fits = rank <= MAX_RANK && size > 0;
    for (int i = 0; i < rank && fits; i++)
        fits = shape[i] >= 0 && !__builtin_mul_overflow(size, shape[i], &size);
    void *data = fits ? calloc(1, size > 0 ? (size_t)size : 1) : NULL;
    if (data == NULL) {
        diag_error(diag, STATUS_LIMIT, where,
                   "a tensor that is too large, or of a type that is none");
        return false;
    }
    *out = (struct tensor){type, rank, {0}, (size_t)size, data};
    if (rank > 0)
        memcpy(out->shape, shape, (size_t)rank * sizeof *shape);
    return true;
}

bool tensor_make_list(struct diag *diag, const char *where, enum dtype type, int64_t n,
                      const struct tensor *elements, struct tensor *out)
{
    enum { ALIGN = 16 };
    size_t count = n > 0 ? (size_t)n : 0;
    size_t at = sizeof(struct tensor_list) + count * sizeof(struct tensor_item), size = at;
    for (size_t i = 0; i < count; i++)
        size += elements[i].size + ALIGN;
    struct tensor_list *list = calloc(1, size);
    if (list == NULL) {
        diag_error(diag, STATUS_LIMIT, where, "out of memory");
        return false;
    }
    list->n = n;
    list->size = size;
    for (size_t i = 0; i < count; i++) {
        struct tensor_item *item = &list->item[i];
        at = (at + ALIGN - 1) / ALIGN * ALIGN;
        *item = (struct tensor_item){.rank = elements[i].rank, .offset = at};
        item->size = elements[i].size;
        memcpy(item->shape, elements[i].shape, sizeof item->shape);
        if (item->size > 0)
            memcpy((char *)list + at, elements[i].data, item->size);
        at += item->size;
    }
    *out = (struct tensor){.type = type, .size = size, .data = list};
    return true;
}

int64_t tensor_list_length(const struct tensor *list)
{
    return ((const struct tensor_list *)list->data)->n;
}

struct tensor tensor_list_at(const struct tensor *list, int64_t i)
{
    struct tensor_list *block = list->data;
    const struct tensor_item *item = &block->item[i];
    struct tensor element = {.type = dtype_element(list->type),
                             .rank = item->rank,
                             .size = item->size,
                             .data = (char *)block + item->offset};
    memcpy(element.shape, item->shape, sizeof item->shape);
    return element;
}

void tensor_print_type(struct text *text, enum dtype type, int rank, const int64_t *shape)
{
    const char *name = type > DT_NONE && type < DT_END ? dtype_info[type].text : NULL;
    text_printf(text, "%s", name != NULL ? name : "?");
    if (name != NULL && dtype_is_list(type))
        return;
    text_printf(text, "[");
    for (int i = 0; i < rank; i++)
        text_printf(text, shape[i] < 0 ? "%s?" : "%s%" PRId64, i > 0 ? "x" : "", shape[i]);
    text_printf(text, "]");
}

bool tensor_unpack(struct tensor *tensor, const uint8_t *raw, size_t size)
{
    size_t bits = (size_t)dtype_info[tensor->type].bits;
    if (bits >= 8) {
        if (size != tensor->size)
            return false;
        if (size > 0)
            memcpy(tensor->data, raw, size);
        return true;
    }
    size_t per_byte = 8 / bits;
    uint8_t *to = tensor->data;
    if (size != tensor->size / per_byte + (tensor->size % per_byte != 0))
        return false;
    bool is_signed = dtype_info[tensor->type].cls == DC_S;
    for (size_t i = 0; i < tensor->size; i++) {
        unsigned value = raw[i / per_byte] >> (i % per_byte * bits) & ((1u << bits) - 1);
        if (is_signed && value >> (bits - 1))
            value |= 0xffu << bits;
        to[i] = (uint8_t)value;
    }
    return true;
}

static bool check_wanted(struct diag *diag, const char *path, const struct tensor_want *want,
                         const struct tensor *tensor)
{
    bool same = (want->type == DT_NONE || want->type == tensor->type) &&
                (want->rank < 0 || want->rank == tensor->rank);
    for (int i = 0; i < want->rank && same; i++)
        same = want->shape[i] < 0 || want->shape[i] == tensor->shape[i];
    if (same)
        return true;
    struct text is = {0}, wanted = {0};
    tensor_print_type(&is, tensor->type, tensor->rank, tensor->shape);
    tensor_print_type(&wanted, want->type, want->rank < 0 ? 0 : want->rank, want->shape);
    diag_error(diag, STATUS_USAGE, path, "holds %s, but '%s' is %s", is.data, want->name,
               wanted.data);
    text_free(&is);
    text_free(&wanted);
    return false;
}

/* Raw bytes say nothing of their shape: it must be known, but for one dim. */
static bool parse_raw(struct diag *diag, const char *path, const uint8_t *bytes, size_t size,
                      const struct tensor_want *want, struct tensor *out)
{
    int64_t shape[MAX_RANK], known = (int64_t)dtype_size(want->type);
    int open_dim = -1;
    if (want->type == DT_NONE) {
        diag_error(diag, STATUS_USAGE, path, "raw bytes have no type: wanted .npy, .npz or .pb");
        return false;
    }
    for (int i = 0; i < want->rank; i++) {
        shape[i] = want->shape[i];
        if (shape[i] < 0 && open_dim >= 0) {
            diag_error(diag, STATUS_USAGE, path, "raw bytes have no shape: say it, --shape %s=DIMS",
                       want->name);
            return false;
        }
        if (shape[i] < 0)
            open_dim = i;
        else if (__builtin_mul_overflow(known, shape[i], &known))
            known = 0;
    }
    if (open_dim >= 0)
        shape[open_dim] = known > 0 ? (int64_t)size / known : 0;
    if (!tensor_make(diag, path, want->type, want->rank, shape, out))
        return false;
    if (out->size == size) {
        memcpy(out->data, bytes, size);
        return true;
    }
    struct text type = {0};
    tensor_print_type(&type, want->type, want->rank, want->shape);
    diag_error(diag, STATUS_USAGE, path, "has %zu bytes, which do not fill '%s', %s", size,
               want->name, type.data ? type.data : "");
    text_free(&type);
    return false;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t length = strlen(path), n = strlen(ending);
    return length >= n && strcmp(path + length - n, ending) == 0;
}

/* A FIFO would wait for who writes to it: it is opened without, and refused. */
static FILE *open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "rb");
    if (fd >= 0 && file == NULL)
        close(fd);
    return file;
}

/* The bytes are malloc'ed. */
static bool read_file(struct diag *diag, const char *path, uint8_t **bytes, size_t *size)
{
    FILE *file = open_file(path);
    struct stat info;
    *bytes = NULL;
    if (file == NULL || fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) {
        diag_error(diag, STATUS_IO, path, "%s", file == NULL ? strerror(errno) : "not a file");
        if (file != NULL)
            fclose(file);
        return false;
    }
    *size = (size_t)info.st_size;
    *bytes = malloc(*size > 0 ? *size : 1);
    bool done = *bytes != NULL && fread(*bytes, 1, *size, file) == *size;
    fclose(file);
    if (!done)
        diag_error(diag, *bytes == NULL ? STATUS_LIMIT : STATUS_IO, path, "cannot be read");
    return done;
}

bool tensor_read(struct diag *diag, const char *path, const struct tensor_want *want,
                 struct tensor *out)
{
    uint8_t *bytes;
    size_t size;
    bool done = read_file(diag, path, &bytes, &size);
    *out = (struct tensor){0};
    if (done) {
        bool npz = size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0;
        bool npy = (size >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0) ||
                   (!npz && (ends_with(path, ".npy") || ends_with(path, ".npz")));
        done = (npy                      ? tensor_parse_npy
                : npz                    ? tensor_parse_npz
                : ends_with(path, ".pb") ? tensor_parse_pb
                                         : parse_raw)(diag, path, bytes, size, want, out);
    }
    done = done && check_wanted(diag, path, want, out);
    if (!done)
        tensor_free(out);
    free(bytes);
    return done;
}
