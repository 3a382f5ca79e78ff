#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    max_align_t data[];
};

void *arena_alloc(struct arena *a, size_t count, size_t size)
{
    if (size && count > (SIZE_MAX / 2) / size) {
        return NULL;
    }
    size_t bytes = (count * size + 15) & ~(size_t)15;
    if (!a->last || a->last->size - a->last->used < bytes) {
        size_t room = bytes > CHUNK ? bytes : CHUNK;
        struct arena_chunk *c = malloc(sizeof *c + room);
        if (!c) {
            return NULL;
        }
        c->next = a->last;
        c->used = 0;
        c->size = room;
        a->last = c;
    }
    void *p = (char *)a->last->data + a->last->used;
    a->last->used += bytes;
    return memset(p, 0, bytes);
}

void arena_free(struct arena *a)
{
    for (struct arena_chunk *c = a->last, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    a->last = NULL;
}

int arena_grow(struct arena *a, void *array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity) {
        return 1;
    }
    size_t wanted = *capacity ? 2 * *capacity : 16;
    void *old, *grown = arena_alloc(a, wanted, size);
    if (!grown) {
        return 0;
    }
    memcpy(&old, array, sizeof old);
    if (n) {
        memcpy(grown, old, n * size);
    }
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return 1;
}
