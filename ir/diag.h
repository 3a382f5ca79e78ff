/*
 * Diagnostics and memory: what every library function of the compiler uses to fail, and where its
 * memory lives. Libraries never exit and never assert on input.
 */
#ifndef GPUCC_IR_DIAG_H
#define GPUCC_IR_DIAG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Also the exit codes of the tools. */
enum status {
    STATUS_OK = 0,
    STATUS_BAD_MODEL = 1,   /* the model breaks ONNX's rules, or its file is damaged */
    STATUS_USAGE = 2,       /* the command line or an API call is wrong */
    STATUS_UNSUPPORTED = 3, /* legal, but gpucc cannot do it (yet) */
    STATUS_TOLERANCE = 4,   /* numbers differ by more than allowed */
    STATUS_LIMIT = 5,       /* memory, size or count beyond a stated limit */
    STATUS_ENVIRONMENT = 6, /* a library, driver or device is missing or unfit */
    STATUS_IO = 7,          /* a file cannot be read or written */
    STATUS_BAD_PLAN = 8,    /* the plan is damaged or does not fit this device */
    STATUS_INTERNAL = 70    /* gpucc broke its own rules */
};

struct diag_message {
    enum status status;         /* STATUS_OK marks a warning or note */
    const char *where;          /* "model.onnx: node 'conv1' (Conv)" or NULL */
    const char *text;
    struct diag_message *next;
};

/* Collects messages in order. The first error decides the exit status. */
struct diag {
    struct diag_message *first, *last;
    enum status status;         /* of the first error, STATUS_OK when there is none */
    int errors, warnings;
};

/* Both copy their strings to the heap, with '?' for control characters. Running out of memory while
 * reporting sets status LIMIT. */
void diag_error(struct diag *diag, enum status status, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void diag_warning(struct diag *diag, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void diag_free(struct diag *diag);

/* Names come from models: what would steer a terminal, or fake a line, becomes '?'; but for the
 * characters of kept. text may be NULL. */
void disarm(char *text, const char *kept);

/* What a system call that failed with errno = error is for: LIMIT when it wanted memory, else IO. */
enum status status_of_errno(int error);

/*
 * An arena: bump allocation, freed all at once. Memory is zeroed and 16-byte aligned.
 *
 * arena_alloc never returns NULL: when memory runs out (or `limit` is reached, or a test's
 * countdown hits zero) it jumps to *on_oom, which the owner sets with setjmp before the first
 * allocation. What lives in the arena is then still freed by arena_free.
 */
struct arena {
    struct arena_block *block;  /* newest block first */
    size_t used, total;         /* bytes handed out; bytes taken from the heap */
    size_t limit;               /* most bytes to take from the heap, 0 = no limit */
    size_t countdown;           /* tests: the n-th allocation from now fails; 0 = off */
    jmp_buf *on_oom;
};

void *arena_alloc(struct arena *arena, size_t size);
/* Overflow-checked count * size. */
void *arena_array(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void arena_free(struct arena *arena);

#define ARENA_NEW(arena, type)          ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, count, type) ((type *)arena_array((arena), (count), sizeof(type)))

/*
 * Growing text buffer; used for all emitted text. On the heap, failure is sticky: check `failed`. In
 * an arena, {.arena = a}, running out of memory jumps as arena_alloc does, and nothing is to be freed:
 * what lives while other pieces are taken from an arena belongs there, or a jump would lose it.
 */
struct text {
    char *data;             /* NUL-terminated once anything was written; owned */
    size_t length, capacity;
    bool failed;
    struct arena *arena;    /* NULL: the heap */
};

void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *text, const char *format, va_list args);
void text_append(struct text *text, const char *data, size_t length);
/* Name i of a list in a message, from 0 on: "'a', 'b'"; few of many are written. */
void text_add_name(struct text *text, int i, const char *name);
void text_free(struct text *text);

#endif
