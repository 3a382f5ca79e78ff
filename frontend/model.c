#include "model.h"

#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Maps a regular file; false after reporting an error. flags: for open. */
static bool map_file(struct diag *diag, const char *path, int flags, struct mapping *map)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        diag_error(diag, status_of_errno(errno), path, "cannot be opened: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    void *bytes = NULL;
    const char *why = NULL;
    if (!S_ISREG(st.st_mode))
        why = "is not a regular file";
    else if (st.st_size > 0 &&
             (bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        why = strerror(errno);
    enum status status = bytes == MAP_FAILED ? status_of_errno(errno) : STATUS_IO;
    close(fd);
    if (why) {
        diag_error(diag, status, path, "cannot be read: %s", why);
        return false;
    }
    *map = (struct mapping){strdup(path), bytes, (size_t)st.st_size};
    if (map->path)
        return true;
    if (bytes)
        munmap(bytes, (size_t)st.st_size);
    diag_error(diag, STATUS_LIMIT, path, "no memory");
    return false;
}

/* Maps path as the model's next file. NULL after reporting an error. */
static const struct mapping *add_file(struct model *model, struct diag *diag, const char *path,
                                      int flags)
{
    if (model->n_files == model->cap_files) {
        int cap = model->cap_files ? 2 * model->cap_files : 4;
        struct mapping *files = realloc(model->files, (size_t)cap * sizeof *files);
        if (!files) {
            diag_error(diag, STATUS_LIMIT, path, "no memory");
            return NULL;
        }
        model->files = files;
        model->cap_files = cap;
    }
    if (!map_file(diag, path, flags, &model->files[model->n_files]))
        return NULL;
    return &model->files[model->n_files++];
}

/* The model's folder with symlinks resolved; NULL when there is none or no memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return realpath(".", NULL);
    char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    char *real = folder ? realpath(folder, NULL) : NULL;
    free(folder);
    return real;
}

/* What people give to a compiler by mistake, by its first bytes. */
static const char *guess_kind(const uint8_t *bytes, size_t size)
{
    static const struct {
        const char *start, *kind;
    } kinds[] = {
        {"version https://git-lfs", "a Git LFS pointer: fetch the model with git lfs pull"},
        {"PK\x03\x04", "a zip archive (a PyTorch checkpoint?): export the model to ONNX"},
        {"\x89HDF", "an HDF5 file: export the model to ONNX"},
        {"\x93NUMPY", "a NumPy array"},
        {"\x7f"
         "ELF",
         "an ELF file"},
        {"GGUF", "a GGUF file"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].start);
        if (size >= n && memcmp(bytes, kinds[i].start, n) == 0)
            return kinds[i].kind;
    }
    return NULL;
}

/* protobuf-c does not say why it gives up: its allocations do. */
static void *decoder_alloc(void *short_of_memory, size_t size)
{
    void *piece = malloc(size);
    if (!piece)
        *(bool *)short_of_memory = true;
    return piece;
}

static void decoder_free(void *short_of_memory, void *piece)
{
    (void)short_of_memory;
    free(piece);
}

static bool decode(struct model *model, struct diag *diag, const char *path)
{
    const struct mapping *file = &model->files[0];
    if (file->size == 0) {
        diag_error(diag, STATUS_BAD_MODEL, path, "the file is empty");
        return false;
    }
    const char *kind = guess_kind(file->bytes, file->size);
    if (kind) {
        diag_error(diag, STATUS_BAD_MODEL, path, "not an ONNX model but %s", kind);
        return false;
    }
    struct text copy = {0};
    if (wire_scan(diag, path, file->bytes, file->size, &copy)) {
        bool short_of_memory = false;
        ProtobufCAllocator allocator = {decoder_alloc, decoder_free, &short_of_memory};
        model->proto =
            onnx__model_proto__unpack(&allocator, copy.length, (const uint8_t *)copy.data);
        if (short_of_memory)
            diag_error(diag, STATUS_LIMIT, path, "no memory to decode it");
        else if (!model->proto)
            diag_error(diag, STATUS_BAD_MODEL, path, "damaged: it cannot be decoded");
        else if (!model->proto->graph)
            diag_error(diag, STATUS_BAD_MODEL, path, "not an ONNX model: it holds no graph");
    }
    text_free(&copy);
    return model->proto && model->proto->graph;
}

struct model *model_open(struct diag *diag, const char *path)
{
    struct model *model = calloc(1, sizeof *model);
    if (!model) {
        diag_error(diag, STATUS_LIMIT, path, "no memory");
        return NULL;
    }
    if (!add_file(model, diag, path, 0)) {
        model_close(model);
        return NULL;
    }
    const char *slash = strrchr(model->files[0].path, '/');
    model->name = slash ? slash + 1 : model->files[0].path;
    model->folder = folder_of(path);
    if (!model->folder)
        diag_error(diag, status_of_errno(errno), path, "its folder cannot be resolved: %s",
                   strerror(errno));
    if (!model->folder || !decode(model, diag, path)) {
        model_close(model);
        return NULL;
    }
    return model;
}

void model_close(struct model *model)
{
    if (!model)
        return;
    if (model->proto)
        onnx__model_proto__free_unpacked(model->proto, NULL);
    for (int i = 0; i < model->n_files; i++) {
        if (model->files[i].bytes)
            munmap((void *)(uintptr_t)model->files[i].bytes, model->files[i].size);
        free(model->files[i].path);
    }
    free(model->files);
    free(model->folder);
    free(model);
}

int model_file_count(const struct model *model)
{
    return model->n_files;
}

const char *model_file(const struct model *model, int i)
{
    return model->files[i].path;
}

static bool has_parent_part(const char *path)
{
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == 0))
            return true;
    }
    return false;
}

const struct mapping *model_external(struct model *model, struct diag *diag, const char *where,
                                     const char *location)
{
    if (!*location || *location == '/' || has_parent_part(location)) {
        diag_error(diag, STATUS_BAD_MODEL, where,
                   "external data '%s' must be a file in the model's folder", location);
        return NULL;
    }
    size_t folder = strlen(model->folder);
    size_t size = folder + strlen(location) + 2;
    char *path = malloc(size);
    if (!path) {
        diag_error(diag, STATUS_LIMIT, where, "no memory");
        return NULL;
    }
    memcpy(path, model->folder, folder);
    path[folder] = '/';
    memcpy(path + folder + 1, location, size - folder - 1);

    const struct mapping *map = NULL;
    char *real = realpath(path, NULL);
    if (!real)
        diag_error(diag, status_of_errno(errno), where, "external data '%s': %s", location,
                   strerror(errno));
    else if (strcmp(model->folder, "/") != 0 &&
             (strncmp(real, model->folder, folder) != 0 || real[folder] != '/'))
        diag_error(diag, STATUS_BAD_MODEL, where,
                   "external data '%s' leads out of the model's folder", location);
    else {
        for (int i = 1; i < model->n_files && !map; i++)
            if (strcmp(model->files[i].path, real) == 0)
                map = &model->files[i];
        if (!map)
            map = add_file(model, diag, real, O_NOFOLLOW);
    }
    free(real);
    free(path);
    return map;
}
