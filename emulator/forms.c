#include "forms.h"

#include <pthread.h>
#include <string.h>

#include "atomics.h"
#include "machine.h"

const struct form form_table[] = {
#define FORM(name, class, operands, handler, mod, ptx, sm)                                         \
    {{name, ptx, sm}, FORM_##class, operands, mod},
#include "forms.def"
#undef FORM
};
const uint32_t form_count = sizeof form_table / sizeof *form_table;

/* Open addressing over twice the forms; filled at the first look-up. */
enum { BUCKETS = 16384 };
static uint16_t buckets[BUCKETS];
_Static_assert(sizeof form_table / sizeof *form_table < BUCKETS / 2, "more buckets");
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t hash(const char *s, uint32_t n)
{
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    }
    return h;
}

static void fill(void)
{
    for (uint32_t i = 0; i < form_count; i++) {
        const char *name = form_table[i].public.name;
        uint32_t b = hash(name, (uint32_t)strlen(name)) % BUCKETS;
        while (buckets[b]) {
            b = (b + 1) % BUCKETS;
        }
        buckets[b] = (uint16_t)(i + 1);
    }
}

const struct form *form_find(struct slice name)
{
    pthread_once(&once, fill);
    for (uint32_t b = hash(name.s, name.n) % BUCKETS; buckets[b]; b = (b + 1) % BUCKETS) {
        const struct form *f = &form_table[buckets[b] - 1];
        if (slice_is(name, f->public.name)) {
            return f;
        }
    }
    return NULL;
}

__attribute__((visibility("default"))) const struct gpucc_emu_form *gpucc_emu_form(size_t i)
{
    return i < form_count ? &form_table[i].public : NULL;
}
