/*
 * Attention: scores, softmax and the sum of values in one kernel, without the scores ever being in
 * memory. Keys are walked once, with the greatest score so far and sums relative to it.
 *
 * attention_mma.cuh: tiles of queries by tensor cores, for f16, bf16, and f32 unless its math is
 * exact. attention_tile.cuh: tiles of queries, sums in f32, for the other floats.
 * attention_row.cuh: one query a block, whose keys are spread over its threads, for decoding, f64,
 * and heads too long for tiles.
 */
#include "attention.h"

/* --- Indices and functions ------------------------------------------------------------------- */

static void plane_index(const struct attention *a, const struct index **at)
{
    index_delinear(a->e->ix, index_var(a->e->ix, "plane", a->planes), 2, a->q->shape, at);
}

void attention_query(const struct attention *a, const struct index *row, const struct index *d,
                     const struct index **at)
{
    plane_index(a, at);
    at[2] = row;
    at[3] = d;
}

void attention_key(const struct attention *a, const struct index *row, const struct index *d,
                   const struct index **at)
{
    plane_index(a, at);
    at[1] = index_div(a->e->ix, at[1], a->shared);
    at[2] = row;
    at[3] = d;
}

void attention_load(const struct attention *a, char letter, int width, const char *to)
{
    struct emitter *e = a->e;
    struct value *x = letter == 'q' ? a->q : letter == 'k' ? a->k : a->v;
    const struct index *at[MAX_RANK];
    const struct index *row = index_var(e->ix, "row", x->shape[2]);
    const char *name = letter == 'q' ? "load_q" : letter == 'k' ? "load_k" : "load_v";
    emit_function(e, "void", name,
                  arena_printf(e->g->arena, "idx_t plane, idx_t row, idx_t vector, %s *to", to));
    emit_vector(e, width);
    for (int lane = 0; lane < width; lane++) {
        const struct index *d = lane_index(e, "vector", x->shape[3], width, lane);
        if (letter == 'q')
            attention_query(a, row, d, at);
        else
            attention_key(a, row, d, at);
        emit_line(e, "to[%d] = %s(%s);", lane, to, emit_value(e, x, at));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

void attention_store(const struct attention *a, int width)
{
    struct emitter *e = a->e;
    const struct index *at[MAX_LANES][MAX_RANK], *const *lanes[MAX_LANES];
    const struct index *row = index_var(e->ix, "row", a->queries);
    emit_function(e, "void", "store", "idx_t plane, idx_t row, idx_t vector, const STAT *y");
    for (int lane = 0; lane < width; lane++) {
        attention_query(a, row, lane_index(e, "vector", a->y->shape[3], width, lane), at[lane]);
        emit_result(e, a->y, at[lane], arena_printf(e->g->arena, "y[%d]", lane));
        lanes[lane] = at[lane];
    }
    emit_epilogue_lanes(e, width, lanes);
    emit_function_end(e);
}

/* What is added to a score, or whether it counts. */
static void emit_bias(const struct attention *a)
{
    struct emitter *e = a->e;
    const struct index *at[MAX_RANK];
    emit_function(e, emit_register_type(a->bias->type), "bias",
                  "idx_t plane, idx_t row, idx_t key");
    plane_index(a, at);
    at[2] = index_var(e->ix, "row", a->queries);
    at[3] = index_var(e->ix, "key", a->keys);
    emit_line(e, "return %s;", emit_value(e, a->bias, at));
    emit_function_end(e);
}

int attention_vector(const struct attention *a, struct value *v, int extent)
{
    int width = emit_vector_width(a->e, v, 3);
    while (width > 1 && extent % width != 0)
        width /= 2;
    return width;
}

void attention_define(const struct attention *a, const char *stat)
{
    struct emitter *e = a->e;
    const struct attr_attention *attr = a->attr;
    enum dtype number = a->q->type == DT_F64 ? DT_F64 : DT_F32;
    bool mask = a->bias && a->bias->type == DT_BOOL;
    emit_define(e, "STAT", "%s", stat);
    emit_define(e, "PLANES", "%s", emit_dim(e, a->planes));
    emit_define(e, "QUERIES", "%s", emit_dim(e, a->queries));
    emit_define(e, "KEYS", "%s", emit_dim(e, a->keys));
    emit_define(e, "DEPTH", "%d", a->depth);
    emit_define(e, "WIDTH", "%d", a->width);
    emit_define(e, "SCALE", "%s", emit_literal(e, number, attr->scale));
    emit_define(e, "SOFTCAPPED", "%d", attr->softcap != 0);
    if (attr->softcap != 0)
        emit_define(e, "SOFTCAP", "%s", emit_literal(e, number, attr->softcap));
    emit_define(e, "BIASED", "%d", a->bias && !mask);
    emit_define(e, "MASKED", "%d", mask);
    emit_define(e, "CAUSAL", "%d", attr->causal);
    emit_define(e, "OFFSET", "%s", emit_dim(e, attr->offset));
    emit_define(e, "ZERO", "%d", attr->zero);
    emit_define(e, "LOWEST", "%s", literal_extreme(e, number, true));
    if (a->bias)
        emit_bias(a);
}

/*
 * Into how many blocks' parts the keys of a query go, where `blocks` of so many rows of queries
 * leave multiprocessors idle: as many as save more time than joining the parts takes. Sizes that
 * are not known are reckoned with when the plan runs. Model estimates.
 */
static const struct dim *choose_split(const struct attention *a, const struct dim *blocks, int rows)
{
    enum {
        INTAKE = 60 /* bytes per ns of a multiprocessor */,
        JOIN = 2500 /* ns */,
        MOST_PARTS = 16,
        LEAST_KEYS = 128
    };
    struct dim_table *t = a->e->g->dims;
    const struct dim *zero = dim_const(t, 0), *one = dim_const(t, 1);
    int64_t bytes = (int64_t)(a->depth + a->width) * (int64_t)dtype_size(a->k->type);
    const struct dim *idle =
        dim_floordiv(t, dim_const(t, a->e->target->multiprocessors), dim_max(t, blocks, one));
    const struct dim *most =
        dim_min(t, dim_const(t, MOST_PARTS), dim_floordiv(t, a->keys, dim_const(t, LEAST_KEYS)));
    const struct dim *parts = dim_max(t, dim_min(t, idle, most), one);
    /* keys * bytes * (1 - 1 / parts) / INTAKE > JOIN + what the last block reads / INTAKE */
    const struct dim *more = dim_sub(t, parts, one);
    const struct dim *saved = dim_mul(t, dim_mul(t, a->keys, dim_const(t, bytes)), more);
    const struct dim *read = dim_mul(t, dim_min(t, a->queries, dim_const(t, rows)),
                                     dim_const(t, 4 * (int64_t)(a->width + 2)));
    const struct dim *spent = dim_mul(
        t, parts, dim_add(t, dim_const(t, (int64_t)INTAKE * JOIN), dim_mul(t, parts, read)));
    const struct dim *gains = dim_min(t, dim_max(t, dim_sub(t, saved, spent), zero), one);
    return a->q->type == DT_F64 ? one : dim_add(t, one, dim_mul(t, gains, more));
}

const struct dim *attention_split(const struct attention *a, const struct dim *blocks, int rows)
{
    struct emitter *e = a->e;
    struct dim_table *t = e->g->dims;
    const struct dim *split = choose_split(a, blocks, rows), *all = dim_mul(t, blocks, split);
    int64_t least, most, part = (int64_t)rows * (a->width + 2);
    dim_bounds(split, &least, &most);
    emit_define(e, "SPLIT", "%s", emit_dim(e, split));
    emit_define(e, "SPLITS", "%d", most > 1);
    if (most > 1) { /* only while all parts are at most one for each multiprocessor */
        const struct dim *one = dim_const(t, 1), *several = dim_min(t, dim_sub(t, split, one), one);
        const struct dim *n = dim_mul(t, dim_mul(t, all, several), dim_const(t, part));
        struct value *left = emit_workspace(a->c, e->group, DT_F32, n);
        n = dim_const(t, e->target->multiprocessors);
        struct value *counters = emit_workspace_zeroed(a->c, e->group, DT_U32, n);
        emit_define(e, "PARTS", "%s", emit_buffer(e, left, true));
        emit_define(e, "COUNTERS", "%s", emit_buffer(e, counters, true));
    }
    return all;
}

/* --- One query a block ------------------------------------------------------------------------ */

static int power_of_two(int n)
{
    int p = 1;
    while (p < n)
        p *= 2;
    return p;
}

static bool by_rows(struct attention *a)
{
    enum { MOST_LANES_OF_A_KEY = 32, LONG = 256, BATCH = 4 };
    struct emitter *e = a->e;
    const char *stat = a->q->type == DT_F64 ? "double" : "float";
    int k_vector = attention_vector(a, a->k, a->depth),
        v_vector = attention_vector(a, a->v, a->width);
    int k_vectors = a->depth / k_vector, v_vectors = a->width / v_vector;
    int lanes = power_of_two(k_vectors > v_vectors ? k_vectors : v_vectors);
    lanes = lanes > MOST_LANES_OF_A_KEY ? MOST_LANES_OF_A_KEY : lanes;
    int threads = cost_guess(e->g, a->keys) > LONG ? 256 : 128;
    attention_define(a, stat);
    emit_define(e, "THREADS", "%d", threads);
    emit_define(e, "LANES", "%d", lanes);
    emit_define(e, "BATCH", "%d", BATCH);
    emit_define(e, "K_VECTOR", "%d", k_vector);
    emit_define(e, "V_VECTOR", "%d", v_vector);
    attention_load(a, 'q', k_vector, stat);
    attention_load(a, 'k', k_vector, stat);
    attention_load(a, 'v', v_vector, stat);
    attention_store(a, v_vector);
    int64_t bytes = (int64_t)(threads / 32) * a->width * (int)(a->q->type == DT_F64 ? 8 : 4);
    if (bytes > attention_shared(e->target)) {
        emit_unsupported(e, a->core, "heads of %d elements", a->width);
        return emit_finish(e);
    }
    const struct dim *rows = dim_mul(e->g->dims, a->planes, a->queries);
    emit_launch(e, attention_split(a, rows, 1), threads, (int)bytes);
    emit_skeleton(e, "attention.cuh");
    emit_skeleton(e, "attention_row.cuh");
    return emit_finish(e);
}

/* --- Tiles of queries --------------------------------------------------------------------------
 */

enum { COLUMNS = 16, TILE_THREADS = 256 }; /* threads of a row of a tile, and of a block */

struct simple_tile {
    int rows, keys; /* a block's queries; keys at once */
    int bytes;
};

static int shared_of(const struct attention *a, int rows, int keys)
{
    int pitch = 4 * ((a->depth + 3) / 4 | 1), width = (a->width + COLUMNS - 1) / COLUMNS * COLUMNS;
    return 4 * (rows * pitch + keys * (pitch > width ? pitch : width) + rows * (keys + 4));
}

/* The largest tile that fits, and that leaves work for all multiprocessors. */
static bool choose_tile(const struct attention *a, struct simple_tile *t)
{
    const struct target *target = a->e->target;
    int64_t queries = cost_guess(a->e->g, a->queries), planes = cost_guess(a->e->g, a->planes);
    t->keys = 64;
    t->rows = queries <= COLUMNS ? COLUMNS : queries <= 2 * COLUMNS ? 2 * COLUMNS : 4 * COLUMNS;
    if (t->rows > 2 * COLUMNS &&
        (queries + t->rows - 1) / t->rows * planes < target->multiprocessors)
        t->rows /= 2; /* not to fewer: what is loaded should serve two queries of a thread */
    for (;;) {
        t->bytes = shared_of(a, t->rows, t->keys);
        if (t->bytes <= attention_shared(target))
            return true;
        if (t->rows == COLUMNS && t->keys == COLUMNS)
            return false;
        if (t->rows > COLUMNS && (t->rows >= t->keys || t->keys == COLUMNS))
            t->rows /= 2;
        else
            t->keys /= 2;
    }
}

static bool by_tiles(struct attention *a, const struct simple_tile *t)
{
    struct emitter *e = a->e;
    struct dim_table *dims = e->g->dims;
    int q_vector = attention_vector(a, a->q, a->depth),
        k_vector = attention_vector(a, a->k, a->depth);
    int v_vector = attention_vector(a, a->v, a->width);
    int group = a->width % 64 == 0 ? 4 : a->width % 32 == 0 ? 2 : 1;
    attention_define(a, "float");
    emit_define(e, "THREADS", "%d", TILE_THREADS);
    emit_define(e, "TILE_ROWS", "%d", t->rows);
    emit_define(e, "TILE_KEYS", "%d", t->keys);
    emit_define(e, "Q_VECTOR", "%d", q_vector);
    emit_define(e, "K_VECTOR", "%d", k_vector);
    emit_define(e, "V_VECTOR", "%d", v_vector);
    emit_define(e, "Y_VECTOR", "%d", group);
    attention_load(a, 'q', q_vector, "float");
    attention_load(a, 'k', k_vector, "float");
    attention_load(a, 'v', v_vector, "float");
    attention_store(a, group);
    const struct dim *tiles = dim_ceildiv(dims, a->queries, dim_const(dims, t->rows));
    const struct dim *blocks = dim_mul(dims, a->planes, tiles);
    emit_launch(e, attention_split(a, blocks, t->rows), TILE_THREADS, t->bytes);
    emit_skeleton(e, "attention.cuh");
    emit_skeleton(e, "attention_tile.cuh");
    return emit_finish(e);
}

/* --- The family ------------------------------------------------------------------------------- */

static void describe(struct attention *a)
{
    struct dim_table *dims = a->e->g->dims;
    int64_t depth = 0, width = 0;
    a->attr = &a->core->attr.attention;
    a->q = a->core->in[0];
    a->k = a->core->in[1];
    a->v = a->core->in[2];
    a->bias = a->core->n_in > 3 ? a->core->in[3] : NULL;
    a->y = a->core->out[0];
    a->planes = dim_mul(dims, a->q->shape[0], a->q->shape[1]);
    a->shared = a->q->shape[1] == a->k->shape[1]
                    ? dim_const(dims, 1)
                    : dim_floordiv(dims, a->q->shape[1], a->k->shape[1]);
    a->queries = a->q->shape[2];
    a->keys = a->k->shape[2];
    dim_is_const(a->q->shape[3], &depth);
    dim_is_const(a->v->shape[3], &width);
    a->depth = (int)depth;
    a->width = (int)width;
}

bool family_attention(struct codegen *c, const struct group *group)
{
    enum { FEW_QUERIES = 4, MOST_DEPTH = 256 };
    struct attention a = {.c = c, .e = emit_begin(c, group, "attention"), .core = group->core};
    struct simple_tile tile;
    describe(&a);
    bool few = cost_guess(a.e->g, a.queries) <= FEW_QUERIES;
    if (!few && attention_mma(&a))
        return emit_finish(a.e);
    bool wide =
        a.q->type == DT_F64 || a.v->type == DT_F64 || a.depth > MOST_DEPTH || a.width > MOST_DEPTH;
    if (few || wide || !choose_tile(&a, &tile))
        return by_rows(&a);
    return by_tiles(&a, &tile);
}
