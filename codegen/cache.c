/*
 * An entry is FOLDER/KEY.bin, little-endian like the machines gpucc runs on:
 *   magic 8 · key 16 · hash 16 of all that follows · sizes of PTX, cubin and log, u64 each · the
 * three
 */
#include "cache.h"
#include "atomic_file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const char magic[8] = {'g', 'p', 'u', 'c', 'c', 'K', '0', '1'};

enum { AT_KEY = 8, AT_HASH = 24, AT_SIZES = 40, AT_DATA = 64 };

void cache_open(struct cache *cache)
{
    const char *base = getenv("XDG_CACHE_HOME");
    const char *below = "/gpucc";
    if (!base || *base != '/') { /* the XDG specification: a relative path is to be ignored */
        base = getenv("HOME");
        below = "/.cache/gpucc";
    }
    cache->folder = NULL;
    if (!base || !*base)
        return;
    size_t size = strlen(base) + strlen(below) + 1;
    cache->folder = malloc(size);
    if (cache->folder)
        snprintf(cache->folder, size, "%s%s", base, below);
}

void cache_close(struct cache *cache)
{
    free(cache->folder);
    cache->folder = NULL;
}

/* Text with its NUL, so that no two lists of fields hash alike. */
static void update(XXH3_state_t *state, const char *text)
{
    XXH3_128bits_update(state, text, strlen(text) + 1);
}

bool cache_key(const struct nvrtc *n, const struct nvrtc_job *job, struct cache_key *key)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    struct text options = {0};
    nvrtc_options_text(job, &options);
    update(&state, job->source);
    update(&state, options.data ? options.data : "");
    update(&state, job->symbol);
    update(&state, nvrtc_build_id(n));
    update(&state, GPUCC_VERSION);
    bool complete = !options.failed;
    text_free(&options);
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits_digest(&state));
    memcpy(key->bytes, hash.digest, sizeof key->bytes);
    return complete;
}

static bool entry_path(const struct cache *cache, struct cache_key key, char path[PATH_MAX])
{
    char name[2 * sizeof key.bytes + 1];
    for (size_t i = 0; i < sizeof key.bytes; i++)
        snprintf(name + 2 * i, 3, "%02x", key.bytes[i]);
    return cache->folder && snprintf(path, PATH_MAX, "%s/%s.bin", cache->folder, name) < PATH_MAX;
}

static unsigned char *read_file(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct stat status;
    unsigned char *data = NULL;
    if (!fstat(fd, &status) && S_ISREG(status.st_mode) && status.st_size >= AT_DATA)
        data = malloc((size_t)status.st_size);
    if (data) {
        *size = (size_t)status.st_size;
        size_t at = 0;
        ssize_t n = 1;
        while (at < *size && (n = read(fd, data + at, *size - at)) > 0)
            at += (size_t)n;
        if (at != *size) {
            free(data);
            data = NULL;
        }
    }
    close(fd);
    return data;
}

static XXH128_canonical_t hash_of(const unsigned char *entry, size_t size)
{
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(entry + AT_SIZES, size - AT_SIZES));
    return hash;
}

/* A copy with a NUL behind it. */
static void *copy(const unsigned char *data, size_t size)
{
    char *out = malloc(size + 1);
    if (out) {
        memcpy(out, data, size);
        out[size] = 0;
    }
    return out;
}

static bool decode(const unsigned char *entry, size_t size, struct cache_key key,
                   struct binary *out)
{
    XXH128_canonical_t hash = hash_of(entry, size);
    uint64_t sizes[3];
    memcpy(sizes, entry + AT_SIZES, sizeof sizes);
    uint64_t left = size - AT_DATA;
    if (memcmp(entry, magic, sizeof magic) || memcmp(entry + AT_KEY, key.bytes, sizeof key.bytes) ||
        memcmp(entry + AT_HASH, hash.digest, sizeof hash.digest) || sizes[0] > left ||
        sizes[1] > left - sizes[0] || sizes[2] != left - sizes[0] - sizes[1])
        return false;
    const unsigned char *data = entry + AT_DATA;
    *out = (struct binary){.ptx = copy(data, sizes[0]),
                           .ptx_size = sizes[0],
                           .cubin = sizes[1] ? copy(data + sizes[0], sizes[1]) : NULL,
                           .cubin_size = sizes[1],
                           .log = sizes[2] ? copy(data + sizes[0] + sizes[1], sizes[2]) : NULL};
    if (out->ptx && (out->cubin || !sizes[1]) && (out->log || !sizes[2]))
        return true;
    binary_free(out);
    return false;
}

bool cache_load(const struct cache *cache, struct cache_key key, struct binary *out)
{
    char path[PATH_MAX];
    size_t size;
    unsigned char *entry = entry_path(cache, key, path) ? read_file(path, &size) : NULL;
    bool good = entry && decode(entry, size, key, out);
    free(entry);
    return good;
}

void cache_store(const struct cache *cache, struct cache_key key, const struct binary *binary)
{
    char path[PATH_MAX];
    uint64_t sizes[3] = {binary->ptx_size, binary->cubin_size,
                         binary->log ? strlen(binary->log) : 0};
    size_t size = AT_DATA + sizes[0] + sizes[1] + sizes[2];
    unsigned char *entry = entry_path(cache, key, path) ? malloc(size) : NULL;
    if (!entry || !make_folders(cache->folder)) {
        free(entry);
        return;
    }
    memcpy(entry, magic, sizeof magic);
    memcpy(entry + AT_KEY, key.bytes, sizeof key.bytes);
    memcpy(entry + AT_SIZES, sizes, sizeof sizes);
    unsigned char *at = entry + AT_DATA;
    memcpy(at, binary->ptx, sizes[0]);
    if (sizes[1])
        memcpy(at + sizes[0], binary->cubin, sizes[1]);
    if (sizes[2])
        memcpy(at + sizes[0] + sizes[1], binary->log, sizes[2]);
    XXH128_canonical_t hash = hash_of(entry, size);
    memcpy(entry + AT_HASH, hash.digest, sizeof hash.digest);
    (void)atomic_file_put(path, entry, size);
    free(entry);
}
