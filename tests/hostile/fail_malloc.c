/*
 * To be preloaded: one allocation of the program fails, and what the program leaves is counted.
 * Only what the program itself asks for counts; libraries (NVRTC above all) get what they want.
 *
 *   FAIL_AT      which allocation fails, from 1; 0: none
 *   FAIL_ALL     1: all that follow fail, too
 *   FAIL_REPORT  a file that gets "allocations failed left" when the program exits, and where in
 * the program those that are left were made, for addr2line
 */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API      __attribute__((visibility("default")))
#define CALLER() ((uintptr_t)__builtin_return_address(0))

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

enum { MOST = 1 << 20 }; /* pointers held at once; a power of two */
#define GONE ((void *)1)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t program_base, program_start, program_end;
static unsigned long fail_at, count, failed;
static bool fail_all;
static void *held[MOST]; /* open addressing */
static uintptr_t made_at[MOST];
static long n_held;

static void **find(const void *p, bool free_place)
{
    size_t at = ((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u >> 40;
    while (held[at % MOST] && held[at % MOST] != p && !(free_place && held[at % MOST] == GONE))
        at++;
    return &held[at % MOST];
}

/* Whether this allocation of the program is to fail. */
static bool fails(uintptr_t caller)
{
    if (caller < program_start || caller >= program_end)
        return false;
    pthread_mutex_lock(&lock);
    count++;
    bool now = fail_at && (count == fail_at || (fail_all && count > fail_at));
    failed += now;
    pthread_mutex_unlock(&lock);
    if (now)
        errno = ENOMEM;
    return now;
}

static void *keep(uintptr_t caller, void *p)
{
    if (p && caller >= program_start && caller < program_end) {
        pthread_mutex_lock(&lock);
        if (n_held < MOST / 2) {
            void **place = find(p, true);
            *place = p;
            made_at[place - held] = caller;
            n_held++;
        }
        pthread_mutex_unlock(&lock);
    }
    return p;
}

static bool forget(void *p)
{
    pthread_mutex_lock(&lock);
    void **place = find(p, false);
    bool was_held = *place == p;
    if (was_held) {
        *place = GONE;
        n_held--;
    }
    pthread_mutex_unlock(&lock);
    return was_held;
}

API void *malloc(size_t size)
{
    return fails(CALLER()) ? NULL : keep(CALLER(), __libc_malloc(size));
}

API void *calloc(size_t n, size_t size)
{
    return fails(CALLER()) ? NULL : keep(CALLER(), __libc_calloc(n, size));
}

API void *realloc(void *old, size_t size)
{
    if (fails(CALLER()))
        return NULL;
    bool was_held = old && forget(old);
    void *p = __libc_realloc(old, size);
    if (!p && was_held && size)
        return keep(program_start, old), NULL;
    return keep(CALLER(), p);
}

API void free(void *p)
{
    if (p)
        forget(p);
    __libc_free(p);
}

static char *copy(uintptr_t caller, const char *text, size_t length)
{
    char *p = fails(caller) ? NULL : keep(caller, __libc_malloc(length + 1));
    if (p) {
        memcpy(p, text, length);
        p[length] = 0;
    }
    return p;
}

API char *strdup(const char *text)
{
    return copy(CALLER(), text, strlen(text));
}

API char *strndup(const char *text, size_t most)
{
    return copy(CALLER(), text, strnlen(text, most));
}

static int see_program(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size, (void)context;
    program_base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && part->p_flags & PF_X) {
            program_start = info->dlpi_addr + part->p_vaddr;
            program_end = program_start + part->p_memsz;
        }
    }
    return 1; /* the program is the first */
}

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("FAIL_AT"), *all = getenv("FAIL_ALL");
    fail_at = at ? strtoul(at, NULL, 10) : 0;
    fail_all = all && *all == '1';
    dl_iterate_phdr(see_program, NULL);
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FAIL_REPORT");
    unsigned long n = count, n_failed = failed;
    long left = n_held;
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%lu %lu %ld", n, n_failed, left);
        for (size_t i = 0; i < MOST && left; i++)
            if (held[i] && held[i] != GONE)
                fprintf(file, " %lx", (unsigned long)(made_at[i] - program_base));
        fclose(file);
    }
}
