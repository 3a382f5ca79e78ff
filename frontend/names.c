#include "import.h"

#include <string.h>

/* Open addressing; capacity is a power of two and at most half full. Names belong to the model. */
static struct name_entry *slot_of(const struct name_map *map, const char *name)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    for (size_t i = hash;; i++) {
        struct name_entry *e = &map->entries[i & (map->capacity - 1)];
        if (!e->name || strcmp(e->name, name) == 0)
            return e;
    }
}

struct name_entry *names_put(struct arena *arena, struct name_map *map, const char *name,
                             struct value *value)
{
    if (2 * (map->count + 1) > map->capacity) {
        struct name_map old = *map;
        map->capacity = old.capacity ? 2 * old.capacity : 64;
        map->entries = ARENA_ARRAY(arena, map->capacity, struct name_entry);
        for (size_t i = 0; i < old.capacity; i++)
            if (old.entries[i].name)
                *slot_of(map, old.entries[i].name) = old.entries[i];
    }
    struct name_entry *e = slot_of(map, name);
    map->count += !e->name;
    *e = (struct name_entry){.name = name, .value = value};
    return e;
}

const struct name_entry *names_find(const struct name_map *map, const char *name)
{
    if (map->capacity == 0)
        return NULL;
    const struct name_entry *e = slot_of(map, name);
    return e->name ? e : NULL;
}
