/*
 * Races on global memory, among the blocks of a launch and among the warps of a block. For each
 * word (or byte, where something narrower was accessed): who wrote it last and who read it last.
 * Nothing orders two blocks but this: one fences its accesses and then does an atomic operation;
 * the other does one at the same place, takes its result and then fences, too. Loads and stores in
 * the scope of the device are such operations, and .release and .acquire such fences. A barrier
 * passes on to all warps of a block what one of them has fenced.
 *
 * Blocks run on several threads, and an operation is not noted in the same moment as it is done. So
 * a block says what it has fenced before it does one, and hears what others said when it has done
 * it: who came before is then always heard.
 *
 * Blocks that pass something on through a third are not known as ordered; no kernel does so yet.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "race.h"

enum { PAGE_BYTES = 1024, BUCKETS = 1 << 14 };
#define MANY_BLOCKS UINT32_MAX

/* The last write of a place, or the last read. */
struct mark {
    uint32_t block; /* number + 1; 0: none; MANY_BLOCKS: several that read */
    uint32_t clock : 26, warp : 5, atomic : 1; /* or a load or store of the device's scope */
};

struct page {
    uint64_t number;
    struct page *next;
    uint32_t unit; /* bytes of a place: 4 or 1 */
    struct mark *writes, *reads;
};

/* What a block had fenced when it did an atomic operation at a place. */
struct release {
    uint32_t block;
    uint32_t fenced[MAX_WARPS];
};

struct place {
    uint64_t address;
    struct place *next;
    struct release *releases;
    uint32_t n, capacity;
};

struct global_race {
    pthread_mutex_t mutex;
    struct page *pages[BUCKETS];
    struct place *places[BUCKETS];
};

/* ---- Tables --------------------------------------------------------------------------------- */

struct global_race *global_race_create(void)
{
    struct global_race *r = calloc(1, sizeof *r);
    if (r) {
        pthread_mutex_init(&r->mutex, NULL);
    }
    return r;
}

static void free_pages(struct page *p)
{
    for (struct page *next; p; p = next) {
        next = p->next;
        free(p->writes);
        free(p);
    }
}

static void free_places(struct place *p)
{
    for (struct place *next; p; p = next) {
        next = p->next;
        free(p->releases);
        free(p);
    }
}

void global_race_free(struct global_race *r)
{
    for (int i = 0; r && i < BUCKETS; i++) {
        free_pages(r->pages[i]);
        free_places(r->places[i]);
    }
    if (r) {
        pthread_mutex_destroy(&r->mutex);
    }
    free(r);
}

static bool set_unit(struct page *p, uint32_t unit)
{
    size_t n = PAGE_BYTES / unit;
    struct mark *marks = calloc(2 * n, sizeof *marks);
    if (!marks) {
        return false;
    }
    for (size_t i = 0; p->writes && i < n; i++) {
        marks[i] = p->writes[i * unit / p->unit];
        marks[n + i] = p->reads[i * unit / p->unit];
    }
    free(p->writes);
    p->writes = marks;
    p->reads = marks + n;
    p->unit = unit;
    return true;
}

/* The page of an address, with places as narrow as bytes; NULL if memory is out. */
static struct page *page_of(struct global_race *r, uint64_t address, uint32_t bytes)
{
    uint64_t number = address / PAGE_BYTES;
    struct page **bucket = &r->pages[(number ^ number >> 26) % BUCKETS], *p = *bucket;
    uint32_t unit = bytes < 4 ? 1 : 4;
    while (p && p->number != number) {
        p = p->next;
    }
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p || !set_unit(p, unit)) {
            free(p);
            return NULL;
        }
        p->number = number;
        p->next = *bucket;
        *bucket = p;
    }
    return p->unit <= unit || set_unit(p, unit) ? p : NULL;
}

static struct place *place_of(struct global_race *r, uint64_t address, bool make)
{
    struct place **bucket = &r->places[(address / 4 ^ address >> 30) % BUCKETS], *p = *bucket;
    while (p && p->address != address) {
        p = p->next;
    }
    if (!p && make && (p = calloc(1, sizeof *p)) != NULL) {
        p->address = address;
        p->next = *bucket;
        *bucket = p;
    }
    return p;
}

/* ---- Order ---------------------------------------------------------------------------------- */

void race_fence(struct warp *w)
{
    race_join(w->fenced, w->clock);
    w->clock[w->index]++;
}

/* Had it been said at the place when q went there? */
static bool released(const struct acquired *q, const struct mark *m)
{
    const struct place *p = q->place;
    for (uint32_t i = 0; i < q->n; i++) {
        if (p->releases[i].block == m->block && p->releases[i].fenced[m->warp] >= m->clock) {
            return true;
        }
    }
    return false;
}

/* Has what left the mark happened before what w does now at the address? */
static bool is_ordered(const struct warp *w, const struct mark *m, uint64_t address)
{
    const struct block *b = w->block;
    if (!m->block) {
        return true;
    }
    if (m->block == b->number + 1) {
        return m->warp == w->index || w->clock[m->warp] >= m->clock;
    }
    for (uint32_t i = 0; i < b->n_acquired; i++) {
        const struct acquired *q = &b->acquired[i];
        if (m->atomic && q->place->address == address) {
            return true; /* one place's atomics have an order of their own */
        }
        if (w->fenced[q->warp] >= q->clock && released(q, m)) {
            return true;
        }
    }
    return false;
}

/* Room for one more of n; false if memory is out. */
static bool has_room(void **items, uint32_t n, uint32_t *capacity, size_t size)
{
    if (n < *capacity) {
        return true;
    }
    uint32_t more = 2 * *capacity + 4;
    void *moved = realloc(*items, more * size);
    if (moved) {
        *items = moved;
        *capacity = more;
    }
    return moved != NULL;
}

static bool hear(struct place *p, struct warp *w)
{
    struct block *b = w->block;
    void *items = b->acquired;
    bool good = has_room(&items, b->n_acquired, &b->acquired_cap, sizeof *b->acquired);
    b->acquired = items;
    if (good) {
        b->acquired[b->n_acquired++] = (struct acquired){p, p->n, w->index, w->clock[w->index]};
    }
    return good;
}

static bool say(struct place *p, const struct warp *w)
{
    void *items = p->releases;
    bool good = has_room(&items, p->n, &p->capacity, sizeof *p->releases);
    p->releases = items;
    if (good) {
        struct release *last = &p->releases[p->n++];
        last->block = w->block->number + 1;
        memcpy(last->fenced, w->fenced, sizeof last->fenced);
    }
    return good;
}

/* Has the block fenced anything that it could say? */
static bool has_fenced(const struct warp *w)
{
    static const uint32_t nothing[MAX_WARPS];
    return memcmp(w->fenced, nothing, sizeof nothing) != 0;
}

/* What the order of operations at places goes by. */
static bool is_strong(const char *form, enum access access)
{
    return access == ACCESS_ATOMIC || strstr(form, ".gpu") != NULL;
}

/* ---- Accesses ------------------------------------------------------------------------------- */

/* A lane's access that is a race: with a write, or with a read. */
struct conflict {
    struct mark with;
    bool reads;
    bool constant; /* a load of what is taken for constant */
};

static const char *form_of(const struct warp *w, const struct insn *in)
{
    const struct kernel *k = w->block->kernel;
    return k->forms[in - k->code];
}

/* Notes an access of places of a page; false, with what is wrong, if it is a race. */
static bool note(const struct warp *w, const struct insn *in, struct page *p, uint64_t address,
                 uint32_t bytes, enum access access, bool strong, struct conflict *c)
{
    uint32_t first = (uint32_t)(address % PAGE_BYTES) / p->unit;
    uint32_t last = (uint32_t)(address % PAGE_BYTES + bytes - 1) / p->unit;
    const struct mark own = {w->block->number + 1, w->clock[w->index] & 0x3ffffff, w->index & 31,
                             strong};
    for (uint32_t i = first; i <= last; i++) {
        struct mark *write = &p->writes[i], *read = &p->reads[i];
        *c = (struct conflict){.with = *write};
        if (!(strong && write->atomic) && !is_ordered(w, write, address)) {
            return false;
        }
        if (access == ACCESS_LOAD) {
            c->constant = write->block && strstr(form_of(w, in), ".nc") != NULL;
            if (c->constant) {
                return false;
            }
            bool others = read->block && read->block != own.block && !is_ordered(w, read, address);
            *read = own;
            read->block = others ? MANY_BLOCKS : own.block;
            continue;
        }
        *c = (struct conflict){.with = *read, .reads = true};
        if (!(strong && read->atomic) && !is_ordered(w, read, address)) {
            return false;
        }
        *write = own;
        *read = (struct mark){0};
    }
    return true;
}

_Noreturn static void report(struct warp *w, const struct insn *in, int lane, uint64_t address,
                             enum access access, const struct conflict *c)
{
    static const char *const verbs[] = {"read", "write", "atomic"};
    const char *verb = verbs[access];
    uint32_t block = c->with.block - 1;
    if (c->constant) {
        fault(w, in, lane,
              "race on global memory: %s as constant at 0x%" PRIx64
              ", which the kernel has written",
              verb, address);
    }
    if (c->with.block == MANY_BLOCKS) {
        fault(w, in, lane, "race on global memory: %s at 0x%" PRIx64 " while other blocks read it",
              verb, address);
    }
    if (block == w->block->number) {
        fault(w, in, lane,
              "race on global memory: %s at 0x%" PRIx64 " while warp %u %s it, with no "
              "barrier in between",
              verb, address, c->with.warp, c->reads ? "reads" : "writes");
    }
    fault(w, in, lane,
          "race on global memory: %s at 0x%" PRIx64 " while block number %" PRIu32
          " %s it, with no fence and atomic operation in between",
          verb, address, block, c->reads ? "reads" : "writes");
}

void race_global(struct warp *w, const struct insn *in, uint32_t lanes,
                 const uint64_t address[LANES], uint32_t bytes, enum access access)
{
    struct global_race *r = w->block->global_race;
    const char *form = form_of(w, in);
    bool strong = is_strong(form, access);
    bool releases = strong && (strstr(form, ".release") || strstr(form, ".acq_rel"));
    struct conflict c;
    bool memory = true, good = true;
    int lane = 0;
    if (releases) {
        race_fence(w);
    }
    pthread_mutex_lock(&r->mutex);
    for (uint32_t m = lanes; m && memory && good; m &= m - 1) {
        lane = __builtin_ctz(m);
        struct page *p = page_of(r, address[lane], bytes);
        memory = p != NULL;
        if (memory && strong && access != ACCESS_LOAD && has_fenced(w)) {
            struct place *place = place_of(r, address[lane], true);
            memory = place && say(place, w);
        }
        good = memory && note(w, in, p, address[lane], bytes, access, strong, &c);
    }
    pthread_mutex_unlock(&r->mutex);
    if (!memory) {
        fault(w, in, lane, "the emulator is out of memory for its look at races");
    }
    if (!good) {
        report(w, in, lane, address[lane], access, &c);
    }
    w->clock[w->index] += strong;
}

void race_hear(struct warp *w, const struct insn *in, const uint64_t address[LANES],
               enum access access)
{
    struct global_race *r = w->block->global_race;
    const char *form = form_of(w, in);
    bool memory = true;
    if (!is_strong(form, access) || (access == ACCESS_ATOMIC && in->d == NO_SLOT)) {
        return;
    }
    pthread_mutex_lock(&r->mutex);
    for (uint32_t m = w->mask; m && memory; m &= m - 1) {
        struct place *p = place_of(r, address[__builtin_ctz(m)], false);
        memory = !p || hear(p, w);
    }
    pthread_mutex_unlock(&r->mutex);
    if (!memory) {
        fault(w, in, __builtin_ctz(w->mask), "the emulator is out of memory for its look at races");
    }
    if (strstr(form, ".acquire") || strstr(form, ".acq_rel")) {
        race_fence(w);
    }
}
