/* What libgpucc_emu adds to the driver API: options, the last error, counters. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

API const char *gpucc_emu_version(void)
{
    return GPUCC_VERSION;
}

static int all_cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 256 ? 256 : (int)n;
}

static int from_environment(const char *name)
{
    const char *s = getenv(name);
    return s ? (int)strtol(s, NULL, 10) : 0;
}

void driver_configure_once(void)
{
    if (driver.configured) {
        return;
    }
    driver.configured = true;
    struct gpucc_emu_options *o = &driver.options;
    int sm = from_environment("GPUCC_EMU_SM"), threads = from_environment("GPUCC_EMU_THREADS");
    o->sm = sm >= 50 && sm <= 199 ? sm : 90;
    o->threads = threads >= 1 && threads <= 256 ? threads : all_cores();
    o->race = from_environment("GPUCC_EMU_RACE") != 0;
    o->isa = from_environment("GPUCC_EMU_ISA");
    o->statistics = from_environment("GPUCC_EMU_STATISTICS") != 0;
    o->lazy = from_environment("GPUCC_EMU_LAZY") != 0;
    o->shuffle = (uint32_t)from_environment("GPUCC_EMU_SHUFFLE");
}

API int gpucc_emu_configure(const struct gpucc_emu_options *options)
{
    const struct gpucc_emu_options *o = options;
    driver_lock();
    if ((o->sm && (o->sm < 50 || o->sm > 199)) || o->threads < 0 || o->threads > 256 ||
        o->isa < EMU_ISA_BEST || o->isa > EMU_ISA_AVX2) {
        return driver_leave(driver_error(CUDA_ERROR_INVALID_VALUE, "options out of range"));
    }
    driver.configured = true;
    driver.options = *o;
    driver.options.sm = o->sm ? o->sm : 90;
    driver.options.threads = o->threads ? o->threads : all_cores();
    return driver_leave(CUDA_SUCCESS);
}

API const char *gpucc_emu_last_error(void)
{
    return driver.error;
}

API void gpucc_emu_forgive(void)
{
    driver_lock();
    driver.sticky = CUDA_SUCCESS;
    driver.error[0] = 0;
    driver_unlock();
}

/* ---- Counters: structures of nothing but 64-bit sums ---- */

void gpucc_emu_add(struct gpucc_emu_counters *to, const struct gpucc_emu_counters *more)
{
    enum { FIELDS = sizeof *to / sizeof(uint64_t) };
    uint64_t a[FIELDS], b[FIELDS];
    memcpy(a, to, sizeof a);
    memcpy(b, more, sizeof b);
    for (int i = 0; i < FIELDS; i++) {
        a[i] += b[i];
    }
    memcpy(to, a, sizeof a);
}

/* The next kernel of that name after k (NULL: the first). */
static struct kernel *next_kernel(const char *name, struct kernel *after)
{
    bool passed = !after;
    for (struct CUmod_st *m = driver.modules; m; m = m->next) {
        for (struct kernel *k = m->kernels; k; k = k->next) {
            if (passed && !strcmp(k->name, name)) {
                return k;
            }
            passed |= k == after;
        }
    }
    return NULL;
}

API int gpucc_emu_counters(const char *kernel, struct gpucc_emu_counters *out)
{
    driver_lock();
    if (!kernel) {
        *out = driver.counters;
        return driver_leave(CUDA_SUCCESS);
    }
    memset(out, 0, sizeof *out);
    struct kernel *k = next_kernel(kernel, NULL);
    if (!k) {
        return driver_leave(driver_error(CUDA_ERROR_NOT_FOUND, "no kernel '%s'", kernel));
    }
    for (; k; k = next_kernel(kernel, k)) {
        gpucc_emu_add(out, &k->counters);
    }
    return driver_leave(CUDA_SUCCESS);
}

API const char *gpucc_emu_kernel(size_t i)
{
    driver_lock();
    const char *name = NULL;
    for (struct CUmod_st *m = driver.modules; m && !name; m = m->next) {
        for (struct kernel *k = m->kernels; k && !name; k = k->next) {
            /* Of several, the last one that a look-up by name would come to. */
            if (!next_kernel(k->name, k) && i-- == 0) {
                name = k->name;
            }
        }
    }
    driver_unlock();
    return name;
}

API void gpucc_emu_counters_reset(void)
{
    driver_lock();
    memset(&driver.counters, 0, sizeof driver.counters);
    for (struct CUmod_st *m = driver.modules; m; m = m->next) {
        for (struct kernel *k = m->kernels; k; k = k->next) {
            memset(&k->counters, 0, sizeof k->counters);
            memset(k->block_runs, 0, k->n_blocks * sizeof *k->block_runs);
        }
    }
    driver_unlock();
}

struct mix {
    const char *form;
    uint64_t count;
};

static int by_count(const void *a, const void *b)
{
    const struct mix *x = a, *y = b;
    return x->count < y->count ? 1 : x->count > y->count ? -1 : strcmp(x->form, y->form);
}

/* Adds k's instructions to the n entries of mix; returns the new n. */
static size_t add_mix(const struct kernel *k, struct mix *mix, size_t n, size_t room)
{
    uint32_t block = 0;
    for (uint32_t i = 0; i < k->n_code; i++) {
        if (k->code[i].kind == KIND_BLOCK) {
            block = k->code[i].target;
            continue;
        }
        const char *form = k->forms[i] ? k->forms[i] : "exit";
        size_t at = 0;
        while (at < n && strcmp(mix[at].form, form) != 0) {
            at++;
        }
        if (at == n && n < room) {
            mix[n++] = (struct mix){form, 0};
        }
        if (at < n) {
            mix[at].count += k->block_runs[block];
        }
    }
    return n;
}

API size_t gpucc_emu_instruction_mix(const char *kernel, char *out, size_t size)
{
    enum { ROOM = 1024 };
    struct mix *mix = calloc(ROOM, sizeof *mix);
    size_t n = 0, length = 0;
    driver_lock();
    for (struct kernel *k = mix ? next_kernel(kernel, NULL) : NULL; k; k = next_kernel(kernel, k)) {
        n = add_mix(k, mix, n, ROOM);
    }
    if (n) {
        qsort(mix, n, sizeof *mix, by_count);
    }
    if (size) {
        *out = 0;
    }
    for (size_t i = 0; i < n; i++) {
        char line[128];
        int bytes =
            snprintf(line, sizeof line, "%llu %s\n", (unsigned long long)mix[i].count, mix[i].form);
        if (bytes > 0 && length + (size_t)bytes < size) {
            memcpy(out + length, line, (size_t)bytes + 1);
        }
        length += bytes > 0 ? (size_t)bytes : 0;
    }
    driver_unlock();
    free(mix);
    return length + 1;
}
