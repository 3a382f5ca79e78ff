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

char *find_newest(const char *dir, const char *pattern)
{
    struct text path = {0};
    for (const char *c = dir; *c; c++)
        text_printf(&path, "%s%c", strchr("*?[\\", *c) ? "\\" : "", *c);
    text_printf(&path, "/%s", pattern);
    char *best = NULL;
    glob_t found = {0};
    if (!path.failed && !glob(path.data, GLOB_NOSORT, NULL, &found)) {
        const char *newest = found.gl_pathv[0];
        for (size_t i = 1; i < found.gl_pathc; i++)
            if (strverscmp(found.gl_pathv[i], newest) > 0)
                newest = found.gl_pathv[i];
        best = strdup(newest);
    }
    globfree(&found);
    text_free(&path);
    return best;
}

static bool try_below(bool (*try)(void *, const char *), void *context, const char *dir)
{
    bool opened = false;
    for (size_t i = 0; i < sizeof below / sizeof below[0] && !opened; i++) {
        char *path = find_newest(dir, below[i]);
        opened = path && try(context, path);
        free(path);
    }
    return opened;
}

static bool try_toolkits(bool (*try)(void *, const char *), void *context)
{
    if (try_below(try, context, "/usr/local/cuda"))
        return true;
    char *path = find_newest("/usr/local", "cuda*/lib64/libnvrtc.so*");
    bool opened = path && try(context, path);
    free(path);
    return opened;
}

static bool try_beside_program(bool (*try)(void *, const char *), void *context)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return false;
    path[length] = 0;
    char *root = dirname(dirname(path));
    char folder[PATH_MAX];
    int needed = snprintf(folder, sizeof folder, "%s/nvrtc", root);
    return needed < (int)sizeof folder && try_below(try, context, folder);
}

bool nvrtc_find(bool (*try)(void *context, const char *place), void *context, bool *outright)
{
    const char *named = getenv("GPUCC_NVRTC");
    *outright = named && *named;
    if (*outright) {
        struct stat status;
        bool folder = !stat(named, &status) && S_ISDIR(status.st_mode);
        return folder ? try_below(try, context, named) : try(context, named);
    }
    for (size_t i = 0; i < sizeof loader_names / sizeof loader_names[0]; i++)
        if (try(context, loader_names[i]))
            return true;
    const char *environment = getenv("VIRTUAL_ENV");
    return try_toolkits(try, context) ||
           (environment && *environment && try_below(try, context, environment)) ||
           try_beside_program(try, context);
}
