/* A hash table of pages of memory, each with a bit for every sector. Pages are only ever added. */
#include "touched.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

enum { PAGE_SECTORS = 4096, WORDS = PAGE_SECTORS / 64, BUCKETS = 4096 };

struct page {
    uint64_t number;
    struct page *next;
    atomic_uint_fast64_t bits[2][WORDS]; /* read, written */
};

struct touched {
    _Atomic(struct page *) buckets[BUCKETS];
    pthread_mutex_t mutex; /* guards adding */
};

struct touched *touched_create(void)
{
    struct touched *t = calloc(1, sizeof *t);
    if (t) {
        pthread_mutex_init(&t->mutex, NULL);
    }
    return t;
}

void touched_free(struct touched *t)
{
    for (int i = 0; t && i < BUCKETS; i++) {
        for (struct page *p = atomic_load(&t->buckets[i]), *next; p; p = next) {
            next = p->next;
            free(p);
        }
    }
    if (t) {
        pthread_mutex_destroy(&t->mutex);
    }
    free(t);
}

static struct page *find(struct touched *t, uint64_t number)
{
    struct page *p = atomic_load_explicit(&t->buckets[number % BUCKETS], memory_order_acquire);
    while (p && p->number != number) {
        p = p->next;
    }
    return p;
}

static struct page *add(struct touched *t, uint64_t number)
{
    pthread_mutex_lock(&t->mutex);
    struct page *p = find(t, number);
    if (!p && (p = calloc(1, sizeof *p)) != NULL) {
        p->number = number;
        p->next = atomic_load(&t->buckets[number % BUCKETS]);
        atomic_store_explicit(&t->buckets[number % BUCKETS], p, memory_order_release);
    }
    pthread_mutex_unlock(&t->mutex);
    return p;
}

static void set(atomic_uint_fast64_t *word, uint64_t bit)
{
    if (!(atomic_load_explicit(word, memory_order_relaxed) & bit)) {
        atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    }
}

bool touched_mark(struct touched *t, const void *host, bool read, bool write)
{
    uint64_t sector = (uint64_t)(uintptr_t)host / SECTOR_BYTES, at = sector % PAGE_SECTORS;
    struct page *p = find(t, sector / PAGE_SECTORS);
    if (!p && !(p = add(t, sector / PAGE_SECTORS))) {
        return false;
    }
    if (read) {
        set(&p->bits[0][at / 64], UINT64_C(1) << at % 64);
    }
    if (write) {
        set(&p->bits[1][at / 64], UINT64_C(1) << at % 64);
    }
    return true;
}

static uint64_t count(const struct touched *t, int which)
{
    uint64_t n = 0;
    for (int i = 0; i < BUCKETS; i++) {
        for (const struct page *p = atomic_load(&t->buckets[i]); p; p = p->next) {
            for (int k = 0; k < WORDS; k++) {
                n += (uint64_t)__builtin_popcountll(atomic_load(&p->bits[which][k]));
            }
        }
    }
    return n * SECTOR_BYTES;
}

uint64_t touched_read_bytes(const struct touched *t)
{
    return count(t, 0);
}

uint64_t touched_written_bytes(const struct touched *t)
{
    return count(t, 1);
}
