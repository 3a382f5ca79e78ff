#include "launch.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "async.h"
#include "checks.h"
#include "cu.h"
#include "pool.h"
#include "touched.h"

struct launch {
    struct kernel *k;
    const struct launch_shape *shape;
    const unsigned char *params;
    const struct gpucc_emu_options *options;
    uint64_t n_blocks, stride; /* blocks run in the order 0, stride, 2 * stride … modulo n_blocks */
    uint32_t n_warps, n_threads, shared_bytes;
    atomic_uint_fast64_t next;
    atomic_int failed;     /* a CUresult */
    pthread_mutex_t mutex; /* guards what follows */
    struct gpucc_emu_counters *counters;
    struct touched *touched;         /* with statistics */
    struct global_race *global_race; /* looking for races */
    char *message;
    size_t size;
};

/* ---- Faults ---- */

static int code_of(const struct insn *in)
{
    return in->kind == KIND_EXEC ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_ERROR_LAUNCH_FAILED;
}

static void describe(const struct warp *w, const struct insn *in, int lane, char *out, size_t size)
{
    const struct block *b = w->block;
    const struct kernel *k = b->kernel;
    const uint32_t *dim = b->launch->shape->block;
    const struct statement *s = k->statements[in - k->code];
    size_t n = (size_t)snprintf(out, size, "kernel %s, ", k->name);
    if (s) {
        n += (size_t)snprintf(out + n, size - n, "PTX line %" PRIu32, s->line);
        if (s->source_line) {
            n += (size_t)snprintf(out + n, size - n, " (CUDA line %" PRIu32 ")", s->source_line);
        }
        n += (size_t)snprintf(out + n, size - n, ", %.*s", s->op.n > 80 ? 80 : (int)s->op.n,
                              s->op.s);
    }
    n += (size_t)snprintf(out + n, size - n, ", block (%" PRIu32 ", %" PRIu32 ", %" PRIu32 ")",
                          b->id[0], b->id[1], b->id[2]);
    if (lane >= 0) {
        uint32_t t = w->index * LANES + (uint32_t)lane;
        snprintf(out + n, size - n, ", thread (%" PRIu32 ", %" PRIu32 ", %" PRIu32 ")", t % dim[0],
                 t / dim[0] % dim[1], t / dim[0] / dim[1]);
    }
}

_Noreturn void fault(struct warp *w, const struct insn *in, int lane, const char *format, ...)
{
    struct launch *l = w->block->launch;
    char what[400], where[400];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    describe(w, in, lane, where, sizeof where);
    pthread_mutex_lock(&l->mutex);
    if (!atomic_load(&l->failed)) {
        snprintf(l->message, l->size, "%s: %s", where, what);
        atomic_store(&l->failed, code_of(in));
    }
    pthread_mutex_unlock(&l->mutex);
    longjmp(w->block->fault, 1);
}

/* ---- A worker's machine ---- */

static void broadcast(struct warp *w, uint32_t slot, uint32_t value)
{
    uint32_t *d = (uint32_t *)(void *)(w->regs + slot);
    for (int i = 0; i < LANES && slot != NO_SLOT; i++) {
        d[i] = value;
    }
}

static void set_constants(const struct kernel *k, struct warp *w)
{
    for (uint32_t i = 0; i < k->n_constants; i++) {
        const struct constant *c = &k->constants[i];
        char *d = w->regs + c->slot;
        uint32_t bytes = c->cls == REG_64 ? 8 : c->cls == REG_16 ? 2 : 4;
        for (uint32_t lane = 0; lane < (c->cls == REG_PRED ? 1 : LANES); lane++) {
            memcpy(d + lane * bytes, &c->value, bytes); /* little-endian */
        }
    }
}

/* Special registers that stay the same for all blocks of the launch. */
static void set_specials(const struct launch *l, struct warp *w)
{
    const struct kernel *k = l->k;
    const struct launch_shape *s = l->shape;
    for (int c = 0; c < 3; c++) {
        broadcast(w, k->special[SPECIAL_NTID_X + c], s->block[c]);
        broadcast(w, k->special[SPECIAL_NCTAID_X + c], s->grid[c]);
    }
    broadcast(w, k->special[SPECIAL_WARPID], w->index);
    broadcast(w, k->special[SPECIAL_NWARPID], l->n_warps);
    broadcast(w, k->special[SPECIAL_SMID], 0);
    broadcast(w, k->special[SPECIAL_NSMID], 1);
    broadcast(w, k->special[SPECIAL_DYNAMIC_SMEM], s->dynamic_shared);
    broadcast(w, k->special[SPECIAL_TOTAL_SMEM], l->shared_bytes);
    for (uint32_t i = 0; i < LANES; i++) {
        uint32_t t = w->index * LANES + i, bit = UINT32_C(1) << i;
        const uint32_t values[][2] = {
            {SPECIAL_TID_X, t % s->block[0]},
            {SPECIAL_TID_Y, t / s->block[0] % s->block[1]},
            {SPECIAL_TID_Z, t / s->block[0] / s->block[1]},
            {SPECIAL_LANEID, i},
            {SPECIAL_LANEMASK_EQ, bit},
            {SPECIAL_LANEMASK_LT, bit - 1},
            {SPECIAL_LANEMASK_LE, bit | (bit - 1)},
            {SPECIAL_LANEMASK_GE, ~(bit - 1)},
            {SPECIAL_LANEMASK_GT, ~(bit | (bit - 1))},
        };
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            uint32_t slot = k->special[values[v][0]];
            if (slot != NO_SLOT) {
                ((uint32_t *)(void *)(w->regs + slot))[i] = values[v][1];
            }
        }
    }
}

struct worker {
    struct block block;
    void *registers, *local, *shared, *written, *pending;
    uint64_t *runs;
    struct warp warps[MAX_WARPS];
};

static void worker_free(struct worker *x)
{
    if (x) {
        free(x->registers);
        free(x->local);
        free(x->shared);
        free(x->written);
        free(x->pending);
        for (int i = 0; i < MAX_WARPS; i++) {
            free(x->warps[i].copies);
        }
        free(x->runs);
        free(x->block.acquired);
        race_free(x->block.race);
        free(x);
    }
}

static void *aligned(size_t bytes)
{
    void *p = NULL;
    return posix_memalign(&p, 256, bytes ? bytes : 1) ? NULL : p;
}

static struct worker *worker_create(struct launch *l)
{
    const struct kernel *k = l->k;
    struct worker *x = calloc(1, sizeof *x);
    if (!x) {
        return NULL;
    }
    size_t local = (size_t)k->local_bytes * LANES;
    x->registers = aligned((size_t)k->register_bytes * l->n_warps);
    x->local = aligned(local * l->n_warps);
    x->shared = aligned(l->shared_bytes);
    x->written = aligned(l->shared_bytes);
    x->pending = calloc(l->shared_bytes / 4 + 4, 1);
    x->runs = calloc(k->n_blocks, sizeof *x->runs);
    struct block *b = &x->block;
    b->race = l->options->race ? race_create(l->shared_bytes, l->n_warps) : NULL;
    if (!x->registers || !x->local || !x->shared || !x->written || !x->pending || !x->runs ||
        (l->options->race && !b->race)) {
        worker_free(x);
        return NULL;
    }
    memset(x->registers, 0, (size_t)k->register_bytes * l->n_warps);
    b->kernel = k;
    b->launch = l;
    b->global_race = l->global_race;
    b->warps = x->warps;
    b->n_warps = l->n_warps;
    b->shared = x->shared;
    b->written = x->written;
    b->shared_bytes = l->shared_bytes;
    b->pending = x->pending;
    b->lazy = l->options->race || l->options->lazy;
    b->params = l->params;
    b->param_bytes = (uint32_t)k->function->param_bytes;
    b->count = l->options->statistics;
    b->touched = l->touched;
    for (uint32_t i = 0; i < l->n_warps; i++) {
        struct warp *w = &x->warps[i];
        w->block = b;
        w->index = i;
        w->regs = (char *)x->registers + (size_t)i * k->register_bytes;
        w->local = (unsigned char *)x->local + i * local;
        w->runs = x->runs;
        set_constants(k, w);
        set_specials(l, w);
    }
    return x;
}

static void start_block(struct launch *l, struct worker *x, uint64_t index)
{
    struct block *b = &x->block;
    const struct kernel *k = l->k;
    b->number = (uint32_t)index;
    b->id[0] = (uint32_t)(index % l->shape->grid[0]);
    b->id[1] = (uint32_t)(index / l->shape->grid[0] % l->shape->grid[1]);
    b->id[2] = (uint32_t)(index / l->shape->grid[0] / l->shape->grid[1]);
    memset(b->shared, POISON, b->shared_bytes);
    memset(b->written, 0, b->shared_bytes);
    memset(b->barriers, 0, sizeof b->barriers);
    async_reset(b);
    b->spins = 0;
    b->shuffle = l->options->shuffle ? l->options->shuffle ^ (uint32_t)(index * 2654435761u) : 0;
    b->first_warp = b->shuffle % b->n_warps;
    for (uint32_t i = 0; i < b->n_warps; i++) {
        struct warp *w = &b->warps[i];
        uint32_t left = l->n_threads - i * LANES;
        w->born = w->live = left >= LANES ? ALL_LANES : (UINT32_C(1) << left) - 1;
        w->state = WARP_READY;
        w->n_splits = 1;
        w->splits[0] = (struct split){.pc = 0, .mask = w->live};
        for (int c = 0; c < 3; c++) {
            broadcast(w, k->special[SPECIAL_CTAID_X + c], b->id[c]);
        }
    }
    if (b->race) {
        race_reset(b->race, b);
    }
}

static void add_counts(struct launch *l, const struct worker *x)
{
    struct kernel *k = l->k;
    struct gpucc_emu_counters *c = l->counters;
    pthread_mutex_lock(&l->mutex);
    for (uint32_t i = 0; i < k->n_blocks; i++) {
        k->block_runs[i] += x->runs[i];
        c->warp_instructions += x->runs[i] * k->block_length[i];
        c->tensor_instructions += x->runs[i] * k->block_tensor[i];
    }
    for (uint32_t i = 0; i < l->n_warps; i++) {
        c->divergences += x->warps[i].divergences;
    }
    const struct statistics *s = &x->block.statistics;
    c->global_requests += s->global_requests;
    c->global_sectors += s->global_sectors;
    c->global_bytes += s->global_bytes;
    c->shared_requests += s->shared_requests;
    c->shared_wavefronts += s->shared_wavefronts;
    c->load_conflicts += s->conflicts[SHARED_LOAD];
    c->matrix_conflicts += s->conflicts[SHARED_MATRIX];
    c->store_conflicts += s->conflicts[SHARED_STORE];
    c->async_conflicts += s->conflicts[SHARED_ASYNC];
    c->main_loop_conflicts += s->loop_conflicts;
    pthread_mutex_unlock(&l->mutex);
}

/* The block that runs as the i-th. */
static uint64_t block_at(const struct launch *l, uint64_t i)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)((wide)i * l->stride % l->n_blocks);
}

static void work(void *argument)
{
    struct launch *l = argument;
    struct worker *x = worker_create(l);
    if (!x) {
        atomic_store(&l->failed, CUDA_ERROR_OUT_OF_MEMORY);
        return;
    }
    while (!atomic_load(&l->failed)) {
        uint64_t i = atomic_fetch_add(&l->next, 1);
        if (i >= l->n_blocks) {
            break;
        }
        start_block(l, x, block_at(l, i));
        if (!setjmp(x->block.fault)) {
            block_run(&x->block);
        }
    }
    add_counts(l, x);
    worker_free(x);
}

/* ---- Launches ---- */

static uint64_t divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* A step through all blocks in an order that the seed decides. */
static uint64_t stride(uint64_t n, uint32_t seed)
{
    uint64_t s = seed ? seed % n : 1;
    while (n > 1 && (s == 0 || divisor(s, n) != 1)) {
        s = (s + 1) % n;
    }
    return n > 1 ? s : 1;
}

static int check_shape(const struct kernel *k, const struct launch_shape *s, char *message,
                       size_t size)
{
    static const uint32_t max_block[3] = {1024, 1024, 64};
    static const uint32_t max_grid[3] = {INT32_MAX, 65535, 65535};
    uint64_t threads = 1;
    for (int c = 0; c < 3; c++) {
        if (!s->grid[c] || s->grid[c] > max_grid[c] || !s->block[c] || s->block[c] > max_block[c]) {
            snprintf(message, size,
                     "kernel %s: grid or block out of range in dimension %c: %" PRIu32 ", %" PRIu32,
                     k->name, "xyz"[c], s -> grid[c], s -> block[c]);
            return CUDA_ERROR_INVALID_VALUE;
        }
        threads *= s->block[c];
        if (k->function->required[0] && k->function->required[c] != s->block[c]) {
            snprintf(message, size, "kernel %s: the block is not of the size it requires", k->name);
            return CUDA_ERROR_INVALID_VALUE;
        }
    }
    uint32_t most = k->function->max_threads ? k->function->max_threads : 1024;
    if (threads > 1024 || threads > most) {
        snprintf(message, size, "kernel %s: %" PRIu64 " threads in a block, at most %" PRIu32,
                 k->name, threads, most < 1024 ? most : 1024);
        return CUDA_ERROR_INVALID_VALUE;
    }
    uint64_t limit = k->shared_bytes < 49152 ? 49152 - k->shared_bytes : 0;
    limit = limit > (uint64_t)k->max_dynamic_shared ? limit : (uint64_t)k->max_dynamic_shared;
    if (s->dynamic_shared > limit) {
        snprintf(message, size,
                 "kernel %s: %" PRIu32 " bytes of dynamic shared memory, at most %" PRIu64
                 " (see CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)",
                 k->name, s->dynamic_shared, limit);
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

int launch_run(struct kernel *k, const struct launch_shape *shape, const unsigned char *params,
               const struct gpucc_emu_options *options, struct gpucc_emu_counters *counters,
               char *message, size_t size)
{
    int rc = check_shape(k, shape, message, size);
    if (rc) {
        return rc;
    }
    struct launch l = {
        .k = k,
        .shape = shape,
        .params = params,
        .options = options,
        .n_blocks = (uint64_t)shape->grid[0] * shape->grid[1] * shape->grid[2],
        .n_threads = shape->block[0] * shape->block[1] * shape->block[2],
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .counters = counters,
        .message = message,
        .size = size,
    };
    l.n_warps = (l.n_threads + LANES - 1) / LANES;
    l.shared_bytes = ((k->shared_bytes + 15u) & ~15u) + shape->dynamic_shared;
    l.stride = stride(l.n_blocks, options->shuffle);
    snprintf(message, size, "kernel %s: out of memory", k->name);
    uint64_t threads = (uint64_t)options->threads;
    if (options->statistics && !(l.touched = touched_create())) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (options->race && !(l.global_race = global_race_create())) {
        touched_free(l.touched);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    pool_run(work, &l, (int)(threads < l.n_blocks ? threads : l.n_blocks));
    if (l.touched) {
        counters->read_bytes += touched_read_bytes(l.touched);
        counters->written_bytes += touched_written_bytes(l.touched);
    }
    touched_free(l.touched);
    global_race_free(l.global_race);
    pthread_mutex_destroy(&l.mutex);
    return atomic_load(&l.failed);
}
