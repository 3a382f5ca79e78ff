/* Inputs to measure errors on: data sets from files, or numbers from a seed. */
#include "calibration.h"

#include "../ir/eval_session.h"
#include "../ir/scalar.h"
#include "../passes/precision.h"
#include "tensor_io.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGE_MODEL 1e10 /* operations; one run of it is what there is time for */

enum {
    MOST_SETS = 8,
    SEEDED_RUNS = 3,
    SEEDED_EXTENT = 8,
    MOST_EXTENT = 512,
    MOST_NUMBERS = 1 << 25, /* of inputs in sizes beyond SEEDED_EXTENT */
    MOST_INDEX_DEPTH = 32
};

/* ---- Data sets ----------------------------------------------------------------------------- */

/* A folder: archives of data sets lie beside them. */
static bool is_data_set(int folder, const char *name)
{
    struct stat status;
    return !strncmp(name, "test_data_set_", 14) && !fstatat(folder, name, &status, 0) &&
           S_ISDIR(status.st_mode);
}

static int by_name(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    size_t nx = strlen(x), ny = strlen(y); /* test_data_set_10 behind test_data_set_9 */
    return nx != ny ? (nx < ny ? -1 : 1) : strcmp(x, y);
}

/* The folders of the data sets; the folder itself where it holds none. -1 after reporting. */
static int find_sets(struct graph *g, const char *folder, const char ***sets)
{
    DIR *dir = opendir(folder);
    int n = 0, cap = 0;
    if (!dir) {
        diag_error(g->diag, status_of_errno(errno), folder, "%s", strerror(errno));
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!is_data_set(dirfd(dir), entry->d_name))
            continue;
        if (n == cap) {
            const char **more = ARENA_ARRAY(g->arena, (size_t)(2 * cap + 8), const char *);
            if (n)
                memcpy(more, *sets, (size_t)n * sizeof *more);
            *sets = more;
            cap = 2 * cap + 8;
        }
        (*sets)[n++] = arena_printf(g->arena, "%s/%s", folder, entry->d_name);
    }
    closedir(dir);
    if (n)
        qsort(*sets, (size_t)n, sizeof **sets, by_name);
    if (!n) {
        *sets = ARENA_ARRAY(g->arena, 1, const char *);
        (*sets)[n++] = folder;
    }
    return n;
}

/* input_0.pb, input_0.npy, NAME.pb or NAME.npy; NULL where none is there. */
static const char *find_input(struct graph *g, const char *folder, int input)
{
    static const char *const endings[] = {"pb", "npy"};
    const char *name = g->inputs[input]->name;
    for (int i = 0; i < 4; i++) {
        const char *path = i < 2
                               ? arena_printf(g->arena, "%s/input_%d.%s", folder, input, endings[i])
                           : name ? arena_printf(g->arena, "%s/%s.%s", folder, name, endings[i - 2])
                                  : NULL;
        if (path && !access(path, R_OK))
            return path;
    }
    return NULL;
}

static bool read_set(struct graph *g, const char *folder, struct tensor *inputs)
{
    for (int i = 0; i < g->n_inputs; i++) {
        const struct value *v = g->inputs[i];
        const char *path = find_input(g, folder, i);
        int64_t shape[MAX_RANK];
        for (int k = 0; k < v->rank; k++)
            if (!dim_is_const(v->shape[k], &shape[k]))
                shape[k] = -1;
        struct tensor_want want = {v->name, v->type, v->rank, shape};
        if (!path) {
            diag_error(g->diag, STATUS_USAGE, folder,
                       "--calib: input %d ('%s') is missing: wanted input_%d.pb or .npy", i,
                       v->name ? v->name : "", i);
            return false;
        }
        if (!tensor_read(g->diag, path, &want, &inputs[i]))
            return false;
    }
    return true;
}

/* ---- Seeded inputs ------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static double uniform(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

/* About normal, by the sum of twelve. */
static double normal(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += uniform(state);
    return sum;
}

/* The least extent that the integers are an index into; 2 where they are none. */
static int64_t index_bound(const struct value *v, int depth)
{
    int64_t least = INT64_MAX;
    for (const struct use *use = v->uses; use && depth < MOST_INDEX_DEPTH; use = use->next) {
        const struct node *node = use->node;
        enum op_class class = op_info[node->op].class;
        int64_t bound = INT64_MAX;
        if (node->op == OP_gather && use->operand == 1) {
            if (!dim_is_const(node->in[0]->shape[node->attr.gather.axis], &bound))
                bound = INT64_MAX;
        } else if ((class == OC_SCALAR || class == OC_VIEW) && node->n_out == 1 &&
                   dtype_is_int(node->out[0]->type)) {
            bound = index_bound(node->out[0], depth + 1);
        }
        least = bound < least ? bound : least;
    }
    return least;
}

static void fill(struct tensor *t, const struct value *v, int run, uint64_t *state)
{
    size_t width = dtype_size(t->type);
    int64_t bound = dtype_is_int(t->type) ? index_bound(v, 0) : 2;
    bound = bound == INT64_MAX || bound < 1 ? 2 : bound;
    for (size_t at = 0; at + width <= t->size; at += width) {
        double real = run == 1 ? uniform(state) : normal(state);
        float single = (float)real;
        uint64_t bits = next_random(state) % (uint64_t)bound;
        uint16_t half = t->type == DT_F16 ? float_to_f16(single) : float_to_bf16(single);
        const void *from = t->type == DT_F32                         ? (const void *)&single
                           : t->type == DT_F64                       ? (const void *)&real
                           : t->type == DT_F16 || t->type == DT_BF16 ? (const void *)&half
                                                                     : (const void *)&bits;
        memcpy((char *)t->data + at, from, width);
    }
}

/* The size of free dims that data are made for: one batch, and `extent` of all else; or of the
 * input's last axis alone, where the others are batches, too. */
static void choose_sizes(const struct graph *g, int64_t extent, bool last_alone, int64_t *symbols)
{
    for (int i = 0; i < dim_symbol_count(g->dims); i++) {
        const struct symbol_source *s = i < g->n_symbols ? &g->symbols[i] : NULL;
        bool batch = !s || s->kind != SYMBOL_INPUT_DIM || s->axis == 0 ||
                     (last_alone && s->axis != g->inputs[s->input]->rank - 1);
        int64_t lower, upper, size = batch ? 1 : extent;
        dim_bounds(dim_symbol_at(g->dims, i), &lower, &upper);
        size = size < lower ? lower : size;
        symbols[i] = size > upper ? upper : size;
    }
}

static bool make_set(struct graph *g, const int64_t *symbols, int run, struct tensor *inputs)
{
    uint64_t state = (uint64_t)run + 1;
    for (int i = 0; i < g->n_inputs; i++) {
        const struct value *v = g->inputs[i];
        int64_t shape[MAX_RANK];
        bool good = !dtype_is_list(v->type) && dtype_size(v->type) > 0 && dtype_size(v->type) <= 8;
        for (int k = 0; k < v->rank && good; k++)
            good = dim_eval(v->shape[k], symbols, &shape[k]);
        if (!good) {
            diag_error(g->diag, STATUS_USAGE, v->name,
                       "no numbers can be made for this input; give --calib=DIR, or leave out "
                       "measuring with --max-error=none");
            return false;
        }
        if (!tensor_make(g->diag, v->name, v->type, v->rank, shape, &inputs[i]))
            return false;
        fill(&inputs[i], v, run, &state);
    }
    return true;
}

static void free_set(const struct graph *g, struct tensor *inputs)
{
    for (int i = 0; i < g->n_inputs; i++)
        tensor_free(&inputs[i]);
}

static bool runs_on(struct graph *g, const int64_t *symbols)
{
    struct tensor *inputs = ARENA_ARRAY(g->arena, (size_t)g->n_inputs + 1, struct tensor);
    struct diag *diag = g->diag, tried = {0};
    struct eval_session *session = NULL;
    g->diag = &tried;
    if (make_set(g, symbols, 0, inputs))
        session = eval_session_open(g, inputs);
    bool good = session && eval_session_tells(session);
    eval_session_close(session);
    free_set(g, inputs);
    g->diag = diag;
    diag_free(&tried);
    return good;
}

/* Are these sizes too much to be tried? Several axes of 512 are more than there is memory for. */
static bool too_many(const struct graph *g, const int64_t *symbols)
{
    double all = 0;
    for (int i = 0; i < g->n_inputs; i++) {
        const struct value *v = g->inputs[i];
        double numbers = 1;
        int64_t size;
        for (int k = 0; k < v->rank; k++)
            numbers *= dim_eval(v->shape[k], symbols, &size) ? (double)size : 1;
        all += numbers;
    }
    return all > MOST_NUMBERS;
}

/* What a model wants of its free sizes may be known only when it runs (a window that is at least so
 * long, in the branch of an If). So several are tried; where none will do, the first is what the
 * error is about. Returns the extent. */
static int64_t find_sizes(struct graph *g, int64_t *symbols)
{
    for (int64_t extent = SEEDED_EXTENT; extent <= MOST_EXTENT && g->n_symbols > 0; extent *= 2)
        for (int last_alone = 0; last_alone < 2; last_alone++) {
            choose_sizes(g, extent, last_alone, symbols);
            if (extent > SEEDED_EXTENT && too_many(g, symbols))
                continue;
            if (runs_on(g, symbols))
                return extent;
        }
    choose_sizes(g, SEEDED_EXTENT, false, symbols);
    return SEEDED_EXTENT;
}

/* ---- Both ---------------------------------------------------------------------------------- */

bool calibration_make(struct calibration *c, struct graph *g, const char *folder)
{
    const char **sets = NULL;
    bool large = precision_operations(g) > LARGE_MODEL;
    int n = folder ? find_sets(g, folder, &sets) : large ? 1 : SEEDED_RUNS;
    int64_t *symbols = ARENA_ARRAY(g->arena, (size_t)dim_symbol_count(g->dims) + 1, int64_t);
    if (n < 0)
        return false;
    n = n > MOST_SETS ? MOST_SETS : n;
    if (!folder) {
        int64_t extent = find_sizes(g, symbols);
        const char *sizes =
            arena_printf(g->arena, " (free sizes of 1 and %lld)", (long long)extent);
        c->warning = arena_printf(g->arena,
                                  "errors are measured on numbers from a seed%s; --calib=DIR names "
                                  "a folder of real inputs",
                                  g->n_symbols == 0 ? "" : sizes);
    }
    c->n_inputs = g->n_inputs;
    c->runs = ARENA_ARRAY(g->arena, (size_t)n, struct tensor *);
    for (; c->n < n; c->n++) {
        c->runs[c->n] = ARENA_ARRAY(g->arena, (size_t)g->n_inputs + 1, struct tensor);
        bool good = folder ? read_set(g, sets[c->n], c->runs[c->n])
                           : make_set(g, symbols, c->n, c->runs[c->n]);
        if (!good) {
            c->n++; /* what was read of it is freed with the rest */
            return false;
        }
    }
    return true;
}

void calibration_free(struct calibration *c)
{
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < c->n_inputs; k++)
            tensor_free(&c->runs[i][k]);
    c->n = 0;
}
