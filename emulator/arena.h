/* Memory that dies together. */
#ifndef EMU_ARENA_H
#define EMU_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_chunk *last;
};

/* count * size zeroed bytes, or NULL if that overflows or memory is out. */
void *arena_alloc(struct arena *a, size_t count, size_t size);
void arena_free(struct arena *a);

/*
 * Makes room for one more element in *array, which holds n of capacity *capacity; the old array
 * stays in the arena. Returns 0 if memory is out.
 */
int arena_grow(struct arena *a, void *array, size_t n, size_t *capacity, size_t size);

#endif
