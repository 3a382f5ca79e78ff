#define _GNU_SOURCE /* strverscmp */
#include "nvrtc_find.h"

#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where a toolkit, a wheel's target folder and a virtual environment keep the library. */
static const char *const below[] = {
    "libnvrtc.so*",
    "lib64/libnvrtc.so*",
    "lib/libnvrtc.so*",
    "nvidia/cu*/lib/libnvrtc.so*", /* nvidia/cu13, nvidia/cuda_nvrtc */
    "lib/python3*/site-packages/nvidia/cu*/lib/libnvrtc.so*",
};

static const char *const loader_names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};

/* The search: who opens what is found, and whether memory ran out, so that more may lie there. */
struct finder {
    bool (*try)(void *context, const char *place);
    void *context;
    bool no_memory;
};

bool find_newest(const char *dir, const char *pattern, char **newest)
{
    struct text path = {0};
    for (const char *c = dir; *c; c++)
        text_printf(&path, "%s%c", strchr("*?[\\", *c) ? "\\" : "", *c);
    text_printf(&path, "/%s", pattern);
    *newest = NULL;
    glob_t found = {0};
    int status = path.failed ? GLOB_NOSPACE : glob(path.data, GLOB_NOSORT, NULL, &found);
    if (!status) {
        const char *best = found.gl_pathv[0];
        for (size_t i = 1; i < found.gl_pathc; i++)
            if (strverscmp(found.gl_pathv[i], best) > 0)
                best = found.gl_pathv[i];
        *newest = strdup(best);
        status = *newest ? 0 : GLOB_NOSPACE;
    }
    globfree(&found);
    text_free(&path);
    return status != GLOB_NOSPACE;
}

static bool try_newest(struct finder *f, const char *dir, const char *pattern)
{
    char *path;
    if (!find_newest(dir, pattern, &path))
        f->no_memory = true;
    bool opened = path && f->try(f->context, path);
    free(path);
    return opened;
}

static bool try_below(struct finder *f, const char *dir)
{
    bool opened = false;
    for (size_t i = 0; i < sizeof below / sizeof below[0] && !opened; i++)
        opened = try_newest(f, dir, below[i]);
    return opened;
}

static bool try_toolkits(struct finder *f)
{
    return try_below(f, "/usr/local/cuda") ||
           try_newest(f, "/usr/local", "cuda*/lib64/libnvrtc.so*");
}

static bool try_beside_program(struct finder *f)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return false;
    path[length] = 0;
    char *root = dirname(dirname(path));
    char folder[PATH_MAX];
    int needed = snprintf(folder, sizeof folder, "%s/nvrtc", root);
    return needed < (int)sizeof folder && try_below(f, folder);
}

static bool try_named(struct finder *f, const char *named)
{
    struct stat status;
    bool folder = !stat(named, &status) && S_ISDIR(status.st_mode);
    return folder ? try_below(f, named) : f->try(f->context, named);
}

static bool try_everywhere(struct finder *f)
{
    for (size_t i = 0; i < sizeof loader_names / sizeof loader_names[0]; i++)
        if (f->try(f->context, loader_names[i]))
            return true;
    const char *environment = getenv("VIRTUAL_ENV");
    return try_toolkits(f) || (environment && *environment && try_below(f, environment)) ||
           try_beside_program(f);
}

enum nvrtc_found nvrtc_find(bool (*try)(void *context, const char *place), void *context,
                            bool *outright)
{
    struct finder finder = {.try = try, .context = context};
    const char *named = getenv("GPUCC_NVRTC");
    *outright = named && *named;
    if (*outright ? try_named(&finder, named) : try_everywhere(&finder))
        return NVRTC_OPENED;
    return finder.no_memory ? NVRTC_NO_MEMORY : NVRTC_MISSING;
}
