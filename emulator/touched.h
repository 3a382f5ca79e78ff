/*
 * The sectors of global memory that a launch touches, each counted once however often and by
 * however many blocks: what memory must give and take when a launch's repetitions hit a cache.
 */
#ifndef EMU_TOUCHED_H
#define EMU_TOUCHED_H

#include <stdbool.h>
#include <stdint.h>

enum { SECTOR_BYTES = 32 };

struct touched *touched_create(void); /* NULL if memory is out */
void touched_free(struct touched *t); /* NULL is fine */

/* An access that lies in one sector, from any thread. False if memory is out. */
bool touched_mark(struct touched *t, const void *host, bool read, bool write);

/* Of all marks so far, when no thread marks any more. */
uint64_t touched_read_bytes(const struct touched *t);
uint64_t touched_written_bytes(const struct touched *t);

#endif
