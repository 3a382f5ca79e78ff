/*
 * The device's address space. Each allocation has 64 GiB of addresses of its own, which are never
 * used again, so that straying into a neighbour or into freed memory is seen.
 */
#ifndef EMU_MEMORY_H
#define EMU_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SLICE_BITS = 36 };

struct allocation {
    unsigned char *host; /* NULL once freed */
    uint64_t size;
    bool read_only;
    bool freed;
};

extern struct allocation *memory_table; /* [0] is never used */
extern uint64_t memory_count;           /* entries, with [0] */

/* A new allocation of size bytes (> 0) filled with 0xff; its address, or 0 if memory is out. */
uint64_t memory_alloc(uint64_t size);

/* False if address is not the start of a living allocation. */
bool memory_free(uint64_t address);

/*
 * The host's pointer to bytes at address, or NULL, and then a sentence in why.
 */
void *memory_host(uint64_t address, uint64_t bytes, bool write, char *why, size_t size);

#endif
