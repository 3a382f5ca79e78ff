#define _GNU_SOURCE /* O_TMPFILE, mkostemp */
#include "atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* PATH.PID.N.tmp: unique on this machine while the process lives. Heap. */
static char *temporary_name(const char *path)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned count;
    pthread_mutex_lock(&lock);
    unsigned number = count++;
    pthread_mutex_unlock(&lock);
    size_t size = strlen(path) + 64;
    char *name = malloc(size);
    if (name)
        snprintf(name, size, "%s.%ld.%u.tmp", path, (long)getpid(), number);
    return name;
}

/* Such a file can be named through /proc only. */
static int open_nameless(const char *path)
{
    if (access("/proc/self/fd", X_OK)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    char *folder = strdup(path);
    if (!folder)
        return -1;
    char *slash = strrchr(folder, '/');
    const char *where = slash == folder ? "/" : slash ? folder : ".";
    if (slash)
        *slash = 0;
    int fd = open(where, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    free(folder);
    return fd;
}

/* A file that is gone when it is closed. */
static int open_scratch(void)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/gpucc-XXXXXX", folder && *folder ? folder : "/tmp") >=
        (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static bool is_stdout(const struct stat *file)
{
    struct stat out;
    return !fstat(STDOUT_FILENO, &out) && out.st_dev == file->st_dev && out.st_ino == file->st_ino;
}

bool atomic_file_open(struct atomic_file *f, const char *path)
{
    *f = (struct atomic_file){.fd = -1, .place = -1, .path = realpath(path, NULL)};
    if (!f->path)
        f->path = strdup(path); /* a new file */
    if (!f->path)
        return false;
    struct stat status;
    bool there = !stat(path, &status), through = there && is_stdout(&status);
    if (through || (there && !S_ISREG(status.st_mode))) {
        f->place = through ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CLOEXEC);
        f->fd = f->place < 0 ? -1 : open_scratch();
    } else {
        f->fd = open_nameless(f->path);
        if (f->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
            f->temporary = temporary_name(f->path);
            if (f->temporary)
                f->fd = open(f->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        }
    }
    if (f->fd >= 0)
        return true;
    int error = errno;
    free(f->temporary);
    f->temporary = NULL; /* it was not made */
    atomic_file_abort(f);
    errno = error;
    return false;
}

static bool write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

bool atomic_file_write(struct atomic_file *f, const void *data, size_t size)
{
    return write_all(f->fd, data, size);
}

static bool copy_to_place(struct atomic_file *f)
{
    char block[65536];
    for (off_t at = 0;;) {
        ssize_t n = pread(f->fd, block, sizeof block, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        if (!write_all(f->place, block, (size_t)n))
            return false;
        at += n;
    }
}

/* Gives a nameless file its name. Linking does not replace, so what exists is replaced by renaming
 * a second, complete link. */
static bool give_name(struct atomic_file *f)
{
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", f->fd);
    if (!linkat(AT_FDCWD, source, AT_FDCWD, f->path, AT_SYMLINK_FOLLOW))
        return true;
    if (errno != EEXIST)
        return false;
    f->temporary = temporary_name(f->path);
    return f->temporary && !linkat(AT_FDCWD, source, AT_FDCWD, f->temporary, AT_SYMLINK_FOLLOW) &&
           !rename(f->temporary, f->path);
}

bool atomic_file_commit(struct atomic_file *f)
{
    bool good = f->place >= 0  ? copy_to_place(f)
                : f->temporary ? !rename(f->temporary, f->path)
                               : give_name(f);
    int error = errno;
    if (good) {
        free(f->temporary);
        f->temporary = NULL;
        good = !close(f->fd);
        error = errno;
        f->fd = -1;
    }
    atomic_file_abort(f);
    errno = error;
    return good;
}

void atomic_file_abort(struct atomic_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->place >= 0)
        close(f->place);
    if (f->temporary)
        unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    *f = (struct atomic_file){.fd = -1, .place = -1};
}

bool atomic_file_put(const char *path, const void *data, size_t size)
{
    struct atomic_file f;
    if (!atomic_file_open(&f, path))
        return false;
    if (atomic_file_write(&f, data, size))
        return atomic_file_commit(&f);
    int error = errno;
    atomic_file_abort(&f);
    errno = error;
    return false;
}

bool make_folders(const char *path)
{
    char *copy = strdup(path);
    if (!copy)
        return false;
    for (char *c = copy + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(copy, 0777); /* what matters is whether the last one is there */
            *c = '/';
        }
    struct stat status;
    bool made = !mkdir(copy, 0777) || (errno == EEXIST && !stat(copy, &status) &&
                                       (S_ISDIR(status.st_mode) || (errno = ENOTDIR, false)));
    free(copy);
    return made;
}
