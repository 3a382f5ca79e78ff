#include "compile.h"
#include "atomic_file.h"
#include "cache.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pool {
    struct nvrtc *n;
    const struct compile_options *options;
    struct cache cache;
    struct compiled *at;
    struct diag *diags; /* one for each kernel: threads share nothing but what follows */
    int total;
    pthread_mutex_t lock;
    int next, done;
};

static void compile_one(struct pool *pool, int i)
{
    struct compiled *c = &pool->at[i];
    struct nvrtc_job job = {.source = c->kernel->source,
                            .symbol = c->kernel->symbol,
                            .arch = c->target->nvrtc_arch,
                            .line_info = pool->options->line_info};
    struct cache_key key;
    bool keyed = cache_key(pool->n, &job, &key);
    c->cached = keyed && cache_load(&pool->cache, key, &c->binary);
    if (!c->cached && nvrtc_compile(pool->n, &job, &c->binary, &pool->diags[i]) && keyed)
        cache_store(&pool->cache, key, &c->binary);
}

static void *worker(void *context)
{
    struct pool *pool = context;
    pthread_mutex_lock(&pool->lock);
    while (pool->next < pool->total) {
        int i = pool->next++;
        pthread_mutex_unlock(&pool->lock);
        compile_one(pool, i);
        pthread_mutex_lock(&pool->lock);
        pool->done++;
        if (pool->options->progress)
            pool->options->progress(pool->options->context, pool->done, pool->total);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Runs the pool on this thread and up to jobs - 1 more; fewer when the system gives no more. */
static void run_pool(struct pool *pool, int jobs)
{
    enum { MOST = 256 };
    pthread_t threads[MOST];
    int started = 0;
    if (jobs <= 0)
        jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
    jobs = jobs > MOST ? MOST : jobs;
    jobs = jobs > pool->total ? pool->total : jobs;
    while (started < jobs - 1 && !pthread_create(&threads[started], NULL, worker, pool))
        started++;
    worker(pool);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* Moves what the threads reported into the caller's diag, in order of the kernels. */
static bool merge(struct diag *into, struct diag *diags, int n)
{
    bool good = true;
    for (int i = 0; i < n; i++) {
        for (const struct diag_message *m = diags[i].first; m; m = m->next)
            diag_error(into, m->status, m->where, "%s", m->text);
        good &= !diags[i].errors && diags[i].status == STATUS_OK;
        if (!diags[i].first && diags[i].status != STATUS_OK)
            diag_error(into, diags[i].status, NULL, "out of memory while compiling kernels");
        diag_free(&diags[i]);
    }
    return good;
}

const struct compiled *compiled_find(const struct compiled_set *set, const struct target *target,
                                     const char *symbol)
{
    for (int i = 0; i < set->n; i++)
        if (set->at[i].target == target && !strcmp(set->at[i].kernel->symbol, symbol))
            return &set->at[i];
    return NULL;
}

/* ---- which kernels there are --------------------------------------------------------------- */

struct collection {
    struct compiled_set *set;
    const struct target *target;
    struct diag *diag;
};

static bool count_launch(void *context, const struct kernel *kernel)
{
    (void)kernel;
    ++*(size_t *)context;
    return true;
}

/* Adds a kernel that the set has not yet. */
static bool collect(void *context, const struct kernel *kernel)
{
    struct collection *c = context;
    const struct compiled *known = compiled_find(c->set, c->target, kernel->symbol);
    if (known && strcmp(known->kernel->source, kernel->source)) {
        diag_error(c->diag, STATUS_INTERNAL, kernel->symbol, "two sources have one symbol");
        return false;
    }
    if (!known)
        c->set->at[c->set->n++] = (struct compiled){.target = c->target, .kernel = kernel};
    return true;
}

bool compiled_collect(struct compiled_set *set, struct program *const *programs, int n_programs,
                      struct diag *diag)
{
    size_t most = 1;
    for (int i = 0; i < n_programs; i++)
        program_each_launch(programs[i], count_launch, &most);
    *set = (struct compiled_set){.at = calloc(most, sizeof *set->at)};
    if (!set->at) {
        diag_error(diag, STATUS_LIMIT, NULL, "out of memory");
        return false;
    }
    for (int i = 0; i < n_programs; i++) {
        struct collection c = {set, programs[i]->target, diag};
        if (!program_each_launch(programs[i], collect, &c))
            return false;
    }
    return true;
}

bool compile_all(struct nvrtc *n, struct compiled_set *set, const struct compile_options *options,
                 struct diag *diag)
{
    struct diag *diags = calloc((size_t)set->n + 1, sizeof *diags);
    if (!diags) {
        diag_error(diag, STATUS_LIMIT, NULL, "out of memory");
        return false;
    }
    struct pool pool = {.n = n, .options = options, .at = set->at, .diags = diags, .total = set->n};
    pthread_mutex_init(&pool.lock, NULL);
    if (!options->no_cache)
        cache_open(&pool.cache);
    run_pool(&pool, options->jobs);
    cache_close(&pool.cache);
    pthread_mutex_destroy(&pool.lock);
    bool good = merge(diag, diags, set->n);
    free(diags);
    return good;
}

void compiled_free(struct compiled_set *set)
{
    for (int i = 0; i < set->n; i++)
        binary_free(&set->at[i].binary);
    free(set->at);
    *set = (struct compiled_set){0};
}

/* A line of CUDA comment for each line of text. */
static void print_comment(struct text *out, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n"), start = out->length;
        text_printf(out, "// %.*s\n", (int)length, text);
        if (!out->failed)
            disarm(out->data + start, "\n");
        text += length + (text[length] == '\n');
    }
}

struct comments {
    struct text *out;
    const struct kernel *of;
    const char *last;
};

static bool add_comment(void *context, const struct kernel *kernel)
{
    struct comments *c = context;
    bool told = !kernel->comment || (c->last && !strcmp(c->last, kernel->comment));
    if (told || strcmp(kernel->symbol, c->of->symbol))
        return true;
    print_comment(c->out, kernel->comment);
    c->last = kernel->comment;
    return true;
}

void compiled_print_cuda(struct text *out, const struct compiled *c,
                         struct program *const *programs, int n_programs)
{
    for (int p = 0; p < n_programs; p++) {
        struct comments comments = {.out = out, .of = c->kernel};
        if (programs[p]->target == c->target)
            program_each_launch(programs[p], add_comment, &comments);
    }
    text_printf(out, "%s", c->kernel->source);
}

bool compiled_save(const struct compiled_set *set, struct program *const *programs, int n_programs,
                   const char *folder, struct diag *diag)
{
    bool good = true;
    for (int i = 0; i < set->n && good; i++) {
        const struct compiled *c = &set->at[i];
        struct text cuda = {0};
        compiled_print_cuda(&cuda, c, programs, n_programs);
        const struct {
            const char *suffix;
            const void *data;
            size_t size;
        } files[] = {
            {"cu", cuda.data, cuda.length},
            {"ptx", c->binary.ptx, c->binary.ptx_size},
            {"cubin", c->binary.cubin, c->binary.cubin_size},
        };
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder, c->target->name);
        good = !cuda.failed && make_folders(path);
        for (size_t f = 0; f < sizeof files / sizeof files[0] && good; f++) {
            snprintf(path, sizeof path, "%s/%s/%s.%s", folder, c->target->name, c->kernel->symbol,
                     files[f].suffix);
            good = !files[f].data || atomic_file_put(path, files[f].data, files[f].size);
        }
        if (!good)
            diag_error(diag, STATUS_IO, path, "%s", strerror(errno));
        text_free(&cuda);
    }
    return good;
}
