#define _GNU_SOURCE /* dladdr */
#include "nvrtc.h"
#include "elf_file.h"
#include "nvrtc_find.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { LEAST_MAJOR = 12, LEAST_MINOR = 4, BUILTIN_FAILURE = 7, MAX_ARCHS = 64 };

struct nvrtc {
    void *library, *builtins;
    char file[PATH_MAX];
    char build_id[128];
    int major, minor;
    int n_archs, archs[MAX_ARCHS];
    pthread_mutex_t lock; /* of the two below */
    bool probed, knows_no_cache;
#define NVRTC(result, name, parameters) result(*name) parameters;
#include "nvrtc_symbols.def"
};

/* ---- opening ------------------------------------------------------------------------------- */

struct search {
    struct nvrtc *n;
    struct text tried; /* what was found and why it would not do */
};

static bool load_symbols(struct nvrtc *n, struct text *tried, const char *place)
{
    const char *missing = NULL;
#define NVRTC(result, name, parameters)                                                            \
    *(void **)&n->name = dlsym(n->library, #name);                                                 \
    if (!n->name)                                                                                  \
        missing = #name;
#include "nvrtc_symbols.def"
    if (missing)
        text_printf(tried, "; %s has no %s", place, missing);
    return !missing;
}

/* Path with symlinks resolved: the builtins lie beside the real file. */
static bool resolve(struct nvrtc *n)
{
    Dl_info info;
    char path[PATH_MAX];
    return dladdr(*(void **)&n->nvrtcVersion, &info) && realpath(info.dli_fname, path) &&
           snprintf(n->file, sizeof n->file, "%s", path) < (int)sizeof n->file;
}

/*
 * The 13.0 wheel has no RPATH, so NVRTC would not find its builtins by name. Once a library of that
 * SONAME is open the loader hands it out, wherever it lies. False if memory ran out.
 */
static bool open_builtins(struct nvrtc *n)
{
    char folder[PATH_MAX], pattern[64];
    memcpy(folder, n->file, sizeof folder);
    snprintf(pattern, sizeof pattern, "libnvrtc-builtins.so.%d.%d*", n->major, n->minor);
    char *path;
    if (!find_newest(dirname(folder), pattern, &path))
        return false;
    if (path)
        n->builtins = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    free(path);
    return true;
}

/* The library's build id; where a build has none, a hash of the whole file. */
static bool read_build_id(struct nvrtc *n)
{
    int fd = open(n->file, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0)
        return false;
    void *image = MAP_FAILED;
    if (!fstat(fd, &status) && status.st_size > 0)
        image = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (image == MAP_FAILED)
        return false;
    int at = snprintf(n->build_id, sizeof n->build_id, "%d.%d ", n->major, n->minor);
    size_t length;
    const unsigned char *id = elf_build_id(image, (size_t)status.st_size, &length);
    XXH128_canonical_t hash;
    if (!id) {
        XXH128_canonicalFromHash(&hash, XXH3_128bits(image, (size_t)status.st_size));
        id = hash.digest;
        length = sizeof hash.digest;
    }
    for (size_t i = 0; i < length && at + 3 < (int)sizeof n->build_id; i++)
        at += snprintf(n->build_id + at, sizeof n->build_id - (size_t)at, "%02x", id[i]);
    munmap(image, (size_t)status.st_size);
    return true;
}

static void close_libraries(struct nvrtc *n)
{
    if (n->library)
        dlclose(n->library);
    if (n->builtins)
        dlclose(n->builtins);
    n->library = n->builtins = NULL;
}

static bool try_place(void *context, const char *place)
{
    struct search *search = context;
    struct nvrtc *n = search->n;
    n->library = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    if (!n->library) {
        if (strchr(place, '/'))
            text_printf(&search->tried, "; %s", dlerror());
        return false;
    }
    if (load_symbols(n, &search->tried, place)) {
        if (!resolve(n) || n->nvrtcVersion(&n->major, &n->minor))
            text_printf(&search->tried, "; %s does not tell its version", place);
        else if (n->major < LEAST_MAJOR || (n->major == LEAST_MAJOR && n->minor < LEAST_MINOR))
            text_printf(&search->tried, "; %s is version %d.%d", n->file, n->major, n->minor);
        else if (!read_build_id(n))
            text_printf(&search->tried, "; %s cannot be read", n->file);
        else
            return true;
    }
    close_libraries(n);
    return false;
}

static void report_missing(struct diag *diag, const struct search *search, bool outright)
{
    const char *tried = search->tried.length && !search->tried.failed ? search->tried.data + 2 : "";
    if (outright)
        diag_error(diag, STATUS_ENVIRONMENT, NULL,
                   "GPUCC_NVRTC=%s holds no libnvrtc of version %d.%d or newer%s%s%s",
                   getenv("GPUCC_NVRTC"), LEAST_MAJOR, LEAST_MINOR, *tried ? " (" : "", tried,
                   *tried ? ")" : "");
    else
        diag_error(diag, STATUS_ENVIRONMENT, NULL,
                   "no libnvrtc of version %d.%d or newer was found%s%s%s. Get one with "
                   "`pip install nvidia-cuda-nvrtc==13.0.88` in a virtual environment, or set "
                   "GPUCC_NVRTC to the library or its folder",
                   LEAST_MAJOR, LEAST_MINOR, *tried ? " (" : "", tried, *tried ? ")" : "");
}

struct nvrtc *nvrtc_open(struct diag *diag)
{
    struct search search = {.n = calloc(1, sizeof(struct nvrtc))};
    struct nvrtc *n = search.n;
    if (!n) {
        diag_error(diag, STATUS_LIMIT, NULL, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&n->lock, NULL);
    bool outright;
    enum nvrtc_found found = nvrtc_find(try_place, &search, &outright);
    if (found == NVRTC_OPENED && !open_builtins(n))
        found = NVRTC_NO_MEMORY;
    if (found != NVRTC_OPENED) {
        if (found == NVRTC_NO_MEMORY)
            diag_error(diag, STATUS_LIMIT, NULL, "out of memory");
        else
            report_missing(diag, &search, outright);
        nvrtc_close(n); /* a library that would not do was closed at once */
        n = NULL;
    } else {
        int count = 0;
        if (!n->nvrtcGetNumSupportedArchs(&count) && count <= MAX_ARCHS &&
            !n->nvrtcGetSupportedArchs(n->archs))
            n->n_archs = count;
    }
    text_free(&search.tried);
    return n;
}

void nvrtc_close(struct nvrtc *n)
{
    if (!n)
        return;
    pthread_mutex_destroy(&n->lock);
    free(n); /* the library stays loaded: what it keeps for the process it could not free later */
}

const char *nvrtc_file(const struct nvrtc *n)
{
    return n->file;
}

const char *nvrtc_build_id(const struct nvrtc *n)
{
    return n->build_id;
}

void nvrtc_version(const struct nvrtc *n, int *major, int *minor)
{
    *major = n->major;
    *minor = n->minor;
}

bool nvrtc_knows_sm(const struct nvrtc *n, int sm)
{
    for (int i = 0; i < n->n_archs; i++)
        if (n->archs[i] == sm)
            return true;
    return false;
}

/* ---- compiling ----------------------------------------------------------------------------- */

/* Remarks of ptxas that mean a skeleton does not do what it was written for. */
static const char *const fatal_remarks[] = {"C7508", "C7510", "C7511", "C7515"};

/* Newer builds keep a cache of their own and open libcuda for it; older ones reject the option. */
static bool knows_no_cache(struct nvrtc *n)
{
    pthread_mutex_lock(&n->lock);
    if (!n->probed) {
        const char *option = "--no-cache";
        void *program;
        if (!n->nvrtcCreateProgram(&program, "", "probe.cu", 0, NULL, NULL)) {
            n->knows_no_cache = !n->nvrtcCompileProgram(program, 1, &option);
            n->nvrtcDestroyProgram(&program);
        }
        n->probed = true;
    }
    pthread_mutex_unlock(&n->lock);
    return n->knows_no_cache;
}

void nvrtc_options_text(const struct nvrtc_job *job, struct text *out)
{
    /* 177: a function that is never called; no kernel uses every part of its skeleton. */
    text_printf(out, "--gpu-architecture=%s --std=c++17 --diag-suppress=177%s", job->arch,
                job->line_info ? " --generate-line-info" : "");
}

enum { MAX_OPTIONS = 8 };

/* The same options as above, as NVRTC takes them; scratch is their text and is cut up. */
static int split_options(char *scratch, const char **options)
{
    int count = 0;
    char *rest;
    for (char *word = strtok_r(scratch, " ", &rest); word && count < MAX_OPTIONS - 1;
         word = strtok_r(NULL, " ", &rest))
        options[count++] = word;
    return count;
}

static bool is_ptx_only(const struct nvrtc_job *job)
{
    return !strncmp(job->arch, "compute_", 8);
}

/* Fetches one product through its pair of functions. NUL is added behind it. */
static void *fetch(int (*get_size)(void *, size_t *), int (*get)(void *, char *), void *program,
                   size_t *size, bool *short_of_memory)
{
    if (get_size(program, size))
        return NULL;
    char *data = calloc(*size + 1, 1);
    *short_of_memory |= !data;
    if (data && get(program, data)) {
        free(data);
        return NULL;
    }
    return data;
}

static bool check_log(const struct nvrtc_job *job, const char *log, struct diag *diag)
{
    for (size_t i = 0; i < sizeof fatal_remarks / sizeof fatal_remarks[0]; i++)
        if (log && strstr(log, fatal_remarks[i])) {
            diag_error(diag, STATUS_INTERNAL, job->symbol, "the compiler remarks %s for %s:\n%s",
                       fatal_remarks[i], job->arch, log);
            return false;
        }
    return true;
}

static bool collect(struct nvrtc *n, const struct nvrtc_job *job, void *program, struct binary *out,
                    struct diag *diag)
{
    bool short_of_memory = false;
    out->ptx = fetch(n->nvrtcGetPTXSize, n->nvrtcGetPTX, program, &out->ptx_size, &short_of_memory);
    bool complete = out->ptx != NULL;
    if (complete) {
        out->ptx_size = strlen(out->ptx);
        if (!is_ptx_only(job)) {
            out->cubin = fetch(n->nvrtcGetCUBINSize, n->nvrtcGetCUBIN, program, &out->cubin_size,
                               &short_of_memory);
            complete = out->cubin && out->cubin_size;
        }
    }
    if (short_of_memory)
        diag_error(diag, STATUS_LIMIT, job->symbol, "out of memory");
    else if (!complete)
        diag_error(diag, STATUS_ENVIRONMENT, job->symbol, "%s returned no code for %s", n->file,
                   job->arch);
    return complete;
}

static bool compile(struct nvrtc *n, const struct nvrtc_job *job, void *program, struct binary *out,
                    struct diag *diag)
{
    struct text text = {0};
    nvrtc_options_text(job, &text);
    if (text.failed) {
        diag_error(diag, STATUS_LIMIT, job->symbol, "out of memory");
        text_free(&text);
        return false;
    }
    const char *options[MAX_OPTIONS];
    int count = split_options(text.data, options);
    if (knows_no_cache(n))
        options[count++] = "--no-cache";
    int result = n->nvrtcCompileProgram(program, count, options);
    text_free(&text);

    size_t log_size = 0;
    bool good = false, short_of_memory = false;
    char *log = fetch(n->nvrtcGetProgramLogSize, n->nvrtcGetProgramLog, program, &log_size,
                      &short_of_memory);
    if (short_of_memory)
        diag_error(diag, STATUS_LIMIT, job->symbol, "out of memory");
    else if (result)
        diag_error(diag, result == BUILTIN_FAILURE ? STATUS_ENVIRONMENT : STATUS_INTERNAL,
                   job->symbol, "%s failed for %s: %s\n%s", n->file, job->arch,
                   n->nvrtcGetErrorString(result), log ? log : "");
    else
        good = check_log(job, log, diag) && collect(n, job, program, out, diag);
    if (good && log && *log)
        out->log = log;
    else
        free(log);
    return good;
}

bool nvrtc_compile(struct nvrtc *n, const struct nvrtc_job *job, struct binary *out,
                   struct diag *diag)
{
    *out = (struct binary){0};
    char name[128];
    snprintf(name, sizeof name, "/gpucc/%s.cu", job->symbol);
    void *program;
    int result = n->nvrtcCreateProgram(&program, job->source, name, 0, NULL, NULL);
    if (result) {
        diag_error(diag, STATUS_ENVIRONMENT, job->symbol, "%s: %s", n->file,
                   n->nvrtcGetErrorString(result));
        return false;
    }
    bool good = compile(n, job, program, out, diag);
    n->nvrtcDestroyProgram(&program);
    if (!good)
        binary_free(out);
    return good;
}

void binary_free(struct binary *b)
{
    free(b->ptx);
    free(b->cubin);
    free(b->log);
    *b = (struct binary){0};
}
