/* nvdisasm: found like NVRTC, run as a child process on a temporary file. */
#include "emit_forms.h"

#include <errno.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool runs(const char *folder, size_t length, const char *rest, char path[PATH_MAX])
{
    return snprintf(path, PATH_MAX, "%.*s/%s", (int)length, folder, rest) < PATH_MAX &&
           !access(path, X_OK);
}

static bool in_search_path(char path[PATH_MAX])
{
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t length = strcspn(at, ":");
        if (length && runs(at, length, "nvdisasm", path))
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/* First match of FOLDER/PATTERN, where only PATTERN holds wildcards. */
static bool matches(const char *folder, const char *pattern, char path[PATH_MAX])
{
    struct text full = {0};
    for (const char *c = folder; *c; c++)
        text_printf(&full, "%s%c", strchr("*?[\\", *c) ? "\\" : "", *c);
    text_printf(&full, "/%s", pattern);
    glob_t found = {0};
    bool good = !full.failed && !glob(full.data, 0, NULL, &found) &&
                snprintf(path, PATH_MAX, "%s", found.gl_pathv[0]) < PATH_MAX && !access(path, X_OK);
    globfree(&found);
    text_free(&full);
    return good;
}

#define SITE "lib/python3*/site-packages/nvidia/*/bin/nvdisasm"

static bool find_nvdisasm(const struct nvrtc *nvrtc, char path[PATH_MAX])
{
    char beside[PATH_MAX];
    snprintf(beside, sizeof beside, "%s", nvrtc_file(nvrtc));
    const char *folder = dirname(beside);
    const char *environment = getenv("VIRTUAL_ENV"), *home = getenv("HOME");
    return in_search_path(path) || matches(folder, "../bin/nvdisasm", path) ||
           matches(folder, "../../*/bin/nvdisasm", path) ||
           matches("/usr/local", "cuda*/bin/nvdisasm", path) ||
           (environment && matches(environment, SITE, path)) ||
           (home && matches(home, ".local/" SITE, path)) || matches("/usr/local", SITE, path);
}

static bool write_temporary(const void *data, size_t size, char path[PATH_MAX])
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, PATH_MAX, "%s/gpucc-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!file)
        return false;
    bool written = fwrite(data, 1, size, file) == size;
    written &= !fclose(file);
    if (!written)
        unlink(path);
    return written;
}

/* Appends the child's stdout. True when it ended well. */
static bool run(const char *program, const char *argument, struct text *out)
{
    int ends[2];
    if (pipe(ends))
        return false;
    pid_t child = fork();
    if (!child) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(program, program, "-c", argument, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    char block[65536];
    for (ssize_t n;
         child > 0 && ((n = read(ends[0], block, sizeof block)) > 0 || (n < 0 && errno == EINTR));)
        if (n > 0)
            text_append(out, block, (size_t)n);
    close(ends[0]);
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return child > 0 && WIFEXITED(status) && !WEXITSTATUS(status);
}

bool disassemble(const void *cubin, size_t size, const struct nvrtc *nvrtc, struct text *out,
                 struct diag *diag)
{
    char program[PATH_MAX], temporary[PATH_MAX];
    if (!find_nvdisasm(nvrtc, program)) {
        diag_error(diag, STATUS_ENVIRONMENT, NULL,
                   "--emit=sass needs nvdisasm, which is not in PATH, a CUDA toolkit or "
                   "$VIRTUAL_ENV. Get it with `pip install nvidia-cuda-nvdisasm`");
        return false;
    }
    if (!write_temporary(cubin, size, temporary)) {
        diag_error(diag, STATUS_IO, temporary, "%s", strerror(errno));
        return false;
    }
    bool good = run(program, temporary, out);
    unlink(temporary);
    if (!good)
        diag_error(diag, STATUS_ENVIRONMENT, NULL, "%s could not disassemble the machine code",
                   program);
    return good;
}
