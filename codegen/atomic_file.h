/*
 * A file that appears complete or not at all. It is written without a name where the file system
 * can do that (O_TMPFILE), so that a killed process leaves nothing behind; else, under a temporary
 * name beside it. Committing puts it in the place of what was there. Errors are left in errno.
 *
 * A symbolic link stays: what it leads to is replaced. What cannot be replaced (a pipe, a device,
 * the file that stdout already writes) gets its bytes when they are complete, from a nameless file.
 */
#ifndef GPUCC_CODEGEN_ATOMIC_FILE_H
#define GPUCC_CODEGEN_ATOMIC_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct atomic_file {
    int fd;          /* seekable; -1: not open */
    int place;       /* where the bytes go on commit if nothing is replaced, else -1 */
    char *path;      /* owned */
    char *temporary; /* owned; name to remove when given up, or NULL */
};

bool atomic_file_open(struct atomic_file *f, const char *path);
bool atomic_file_write(struct atomic_file *f, const void *data, size_t size);
bool atomic_file_commit(struct atomic_file *f); /* closes; on failure nothing is left */
void atomic_file_abort(struct atomic_file *f);  /* closes; harmless when not open */

/* All of the above for one piece of memory. */
bool atomic_file_put(const char *path, const void *data, size_t size);

/* Makes a folder and those above it; true when it is there afterwards. */
bool make_folders(const char *path);

#endif
