#include "diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, BLOCK_SIZE = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* bytes of data[] */
    _Alignas(ALIGNMENT) char data[];
};

static _Noreturn void out_of_memory(struct arena *arena)
{
    if (arena->on_oom)
        longjmp(*arena->on_oom, 1);
    abort(); /* the owner broke the contract: no place to go back to */
}

static struct arena_block *new_block(struct arena *arena, size_t size)
{
    size_t wanted = size < BLOCK_SIZE ? BLOCK_SIZE : size, bytes, total;
    if (__builtin_add_overflow(wanted, sizeof(struct arena_block), &bytes) ||
        __builtin_add_overflow(arena->total, bytes, &total) ||
        (arena->limit && total > arena->limit))
        out_of_memory(arena);
    struct arena_block *block = calloc(1, bytes);
    if (!block)
        out_of_memory(arena);
    block->size = wanted;
    arena->total = total;
    /* A block made for one large piece goes behind the one that still has room. */
    if (arena->block && size >= BLOCK_SIZE / 4) {
        block->next = arena->block->next;
        arena->block->next = block;
    } else {
        block->next = arena->block;
        arena->block = block;
    }
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (arena->countdown && --arena->countdown == 0)
        out_of_memory(arena);
    if (size > SIZE_MAX - ALIGNMENT)
        out_of_memory(arena);
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_block *block = arena->block;
    if (!block || block->size - block->used < size)
        block = new_block(arena, size);
    void *piece = block->data + block->used;
    block->used += size;
    arena->used += size;
    return piece;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        out_of_memory(arena);
    return arena_alloc(arena, bytes);
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1); /* length is of a string in memory: no overflow */
    memcpy(copy, text, length);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        out_of_memory(arena);
    char *text = arena_alloc(arena, (size_t)length + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

void arena_free(struct arena *arena)
{
    for (struct arena_block *block = arena->block, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    arena->block = NULL;
    arena->used = arena->total = 0;
}
