#include "memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct allocation *memory_table;
uint64_t memory_count = 1;
static uint64_t capacity;

static const uint64_t max_allocations = UINT64_C(1) << 25;

uint64_t memory_alloc(uint64_t size)
{
    if (!size || size > UINT64_C(1) << (SLICE_BITS - 1) || memory_count >= max_allocations) {
        return 0;
    }
    if (memory_count >= capacity) {
        uint64_t wanted = capacity ? 2 * capacity : 256;
        struct allocation *t = realloc(memory_table, wanted * sizeof *t);
        if (!t) {
            return 0;
        }
        memory_table = t;
        memory_table[0] = (struct allocation){0};
        capacity = wanted;
    }
    void *host = NULL;
    if (posix_memalign(&host, 256, (size + 255) & ~UINT64_C(255))) {
        return 0;
    }
    memset(host, 0xff, size);
    memory_table[memory_count] = (struct allocation){.host = host, .size = size};
    return memory_count++ << SLICE_BITS;
}

bool memory_free(uint64_t address)
{
    uint64_t id = address >> SLICE_BITS;
    if (id == 0 || id >= memory_count || address != id << SLICE_BITS || memory_table[id].freed) {
        return false;
    }
    free(memory_table[id].host);
    memory_table[id].host = NULL;
    memory_table[id].freed = true;
    return true;
}

void *memory_host(uint64_t address, uint64_t bytes, bool write, char *why, size_t size)
{
    uint64_t id = address >> SLICE_BITS, offset = address & ((UINT64_C(1) << SLICE_BITS) - 1);
    if (id == 0 || id >= memory_count) {
        snprintf(why, size, "address 0x%" PRIx64 " belongs to no allocation", address);
        return NULL;
    }
    const struct allocation *a = &memory_table[id];
    if (a->freed) {
        snprintf(why, size, "address 0x%" PRIx64 " is in freed memory (allocation %" PRIu64 ")",
                 address, id);
        return NULL;
    }
    if (bytes > a->size || offset > a->size - bytes) {
        snprintf(why, size,
                 "bytes %" PRIu64 " to %" PRIu64 " of allocation %" PRIu64 ", which has %" PRIu64
                 " bytes (address 0x%" PRIx64 ")",
                 offset, offset + bytes - 1, id, a->size, address);
        return NULL;
    }
    if (write && a->read_only) {
        snprintf(why, size, "address 0x%" PRIx64 " is constant memory", address);
        return NULL;
    }
    return a->host + offset;
}
