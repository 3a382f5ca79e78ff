/*
 * Attention by tensor cores: f16, bf16, and f32 that may be rounded to tf32 or split into two.
 * Prints what attention_mma.cuh wants to know. Keys and values are copied to shared memory without
 * passing by the registers where they lie in memory as they are wanted, with rows at a constant
 * distance; a view of a merged product does. Otherwise they are loaded like any value.
 */
#include "attention.h"
#include "emit_state.h"

#include <string.h>

enum { CHUNK = 16 }; /* bytes moved at once */
enum { MOST_DEPTH = 128, LONG_DEPTH = 64 };

/* Keys or values. */
struct keys_side {
    const struct attention *a;
    struct value *v;
    char letter;
    bool copied;
    struct value *buffer;
    const struct dim *stride; /* of rows, in elements */
};

/* Elements moved at once. */
static int chunk_of(const struct value *v)
{
    return CHUNK / (int)dtype_size(v->type);
}

/* Sees whether rows can be copied: chunks of neighbours, aligned, and rows at a constant distance.
 */
static void look(struct emitter *e, void *context)
{
    struct keys_side *s = context;
    const struct index *at[MAX_RANK];
    const struct index *row = index_var(e->ix, "row", s->v->shape[2]);
    const struct index *d = index_var(e->ix, "d", s->v->shape[3]);
    struct access x;
    attention_key(s->a, row, d, at);
    emit_access(e, s->v, at, &x);
    if (x.kind != ACCESS_VIEWED || x.guard || x.buffer->type != s->v->type)
        return;
    const struct dim *along = index_coefficient(e->ix, x.offset, d);
    const struct dim *stride = index_coefficient(e->ix, x.offset, row);
    if (!along || !dim_is(along, 1) || !stride)
        return;
    const struct index *rest = index_sub(e->ix, x.offset, d);
    int elements = chunk_of(s->v);
    const struct dim *chunk = dim_const(e->g->dims, elements);
    if (!index_terms_divisible(e->ix, rest, elements) ||
        !dim_is(dim_mod(e->g->dims, rest->constant, chunk), 0))
        return;
    s->copied = true;
    s->buffer = x.buffer;
    s->stride = stride;
}

static void emit_side(struct keys_side *s)
{
    struct emitter *e = s->a->e;
    struct arena *arena = e->g->arena;
    const char upper = s->letter == 'k' ? 'K' : 'V';
    const struct index *lane = index_var(e->ix, "lane", dim_const(e->g->dims, 2));
    emit_probe(e, 2, lane, look, s);
    emit_define(e, arena_printf(arena, "%c_COPIED", upper), "%d", s->copied);
    if (!s->copied) {
        attention_load(s->a, s->letter, chunk_of(s->v), emit_storage_type(s->v->type));
        return;
    }
    const struct index *at[MAX_RANK];
    struct access x;
    emit_define(e, arena_printf(arena, "%c_ORIGIN", upper), "%s", emit_buffer(e, s->buffer, false));
    emit_define(e, arena_printf(arena, "%c_STRIDE", upper), "%s", emit_dim(e, s->stride));
    emit_function(e, "idx_t", s->letter == 'k' ? "row_k" : "row_v", "idx_t plane, idx_t row");
    attention_key(s->a, index_var(e->ix, "row", s->v->shape[2]), index_const(e->ix, 0), at);
    emit_access(e, s->v, at, &x);
    emit_line(e, "return %s;", emit_index(e, x.offset));
    emit_function_end(e);
}

/* How a block goes about its queries. */
struct query_tile {
    int warps, keys, stages; /* keys at a time; so many tiles of them in shared memory */
    int bytes;               /* of shared memory */
};

static int padded(int extent, int multiple)
{
    return (extent + multiple - 1) / multiple * multiple;
}

/* Bytes of a line of so many elements in shared memory: an odd number of chunks, so that the same
 * chunk of 8 lines lies in all the banks. */
static int pitch(int extent, int chunk)
{
    return (extent / chunk | 1) * CHUNK;
}

static int shared_of(const struct attention *a, const struct query_tile *t)
{
    int chunk = chunk_of(a->q), width = padded(a->width, 16);
    int depth_pitch = pitch(padded(a->depth, 2 * chunk), chunk), width_pitch = pitch(width, chunk);
    int lines = 16 * t->warps * depth_pitch + t->stages * t->keys * (depth_pitch + width_pitch);
    int results = 16 * t->warps * (width + 8) * 4;
    return lines > results ? lines : results;
}

/* As many warps, of 16 queries each, as leave work for all multiprocessors. */
static int choose_warps(const struct attention *a)
{
    int64_t queries = cost_guess(a->e->g, a->queries), planes = cost_guess(a->e->g, a->planes);
    int warps = 4;
    while (warps > 1 &&
           (queries <= 8 * warps ||
            (queries + 16 * warps - 1) / (16 * warps) * planes < a->e->target->multiprocessors))
        warps /= 2;
    return warps;
}

static bool choose_tile(const struct attention *a, struct query_tile *t)
{
    bool is_long = a->depth > LONG_DEPTH || a->width > LONG_DEPTH, f32 = a->q->type == DT_F32;
    t->keys = is_long && f32 ? 32 : 64;
    t->stages = is_long || (f32 && (a->depth > 32 || a->width > 32)) ? 2 : 3;
    for (t->warps = choose_warps(a); t->warps > 0; t->warps /= 2) {
        t->bytes = shared_of(a, t);
        if (t->bytes <= attention_shared(a->e->target))
            return true;
    }
    return false;
}

static bool suits(const struct attention *a)
{
    enum dtype type = a->q->type;
    bool types =
        type == DT_F16 || type == DT_BF16 || (type == DT_F32 && a->core->math != MATH_EXACT);
    return a->e->target->sm >= 80 && types && a->v->type == type &&
           a->depth % chunk_of(a->q) == 0 && a->width % chunk_of(a->q) == 0 &&
           a->depth <= MOST_DEPTH && a->width <= MOST_DEPTH && a->y->type != DT_F64;
}

/* What mma.cuh wants to know. */
static void define_instruction(const struct attention *a)
{
    struct emitter *e = a->e;
    enum dtype type = a->q->type;
    const char *name = type == DT_F16 ? "f16" : type == DT_BF16 ? "bf16" : "tf32";
    int round = type != DT_F32 ? 0 : a->core->math == MATH_TF32 ? 1 : 2;
    emit_define(e, "ELEMENT", "%d", (int)dtype_size(type));
    emit_define(e, "MMA_SHAPE", "32");
    emit_define(e, "SUM", "float");
    emit_define(e, "ROUND", "%d", round);
    emit_define(e, "TYPE", "%s", emit_storage_type(type));
    emit_define(e, "MMA", "\"mma.sync.aligned.m16n8k%d.row.col.f32.%s.%s.f32\"", 2 * chunk_of(a->q),
                name, name);
    if (type != DT_F32)
        emit_define(e, "PACK", "\"cvt.rn.%sx2.f32\"", name);
}

bool attention_mma(struct attention *a)
{
    struct emitter *e = a->e;
    struct dim_table *dims = e->g->dims;
    struct query_tile t;
    if (!suits(a) || !choose_tile(a, &t))
        return false;
    int chunk = chunk_of(a->q);
    struct keys_side k = {.a = a, .v = a->k, .letter = 'k'}, v = {.a = a, .v = a->v, .letter = 'v'};
    attention_define(a, "float");
    define_instruction(a);
    emit_define(e, "WARPS", "%d", t.warps);
    emit_define(e, "STAGES", "%d", t.stages);
    emit_define(e, "TILE_KEYS", "%d", t.keys);
    emit_define(e, "GUARD_KEYS", "%d", !dim_divisible(a->keys, t.keys));
    /* The scale goes into the exponent where nothing comes between. */
    emit_define(e, "PLAIN", "%d", !a->bias && a->attr->softcap == 0 && a->attr->scale > 0);
    attention_load(a, 'q', chunk, emit_storage_type(a->q->type));
    emit_side(&k);
    emit_side(&v);
    attention_store(a, chunk);
    const struct dim *tiles = dim_ceildiv(dims, a->queries, dim_const(dims, 16 * t.warps));
    const struct dim *blocks = dim_mul(dims, a->planes, tiles);
    emit_launch(e, attention_split(a, blocks, 16 * t.warps), t.warps * 32, t.bytes);
    emit_skeleton(e, "mma.cuh");
    emit_skeleton(e, "attention.cuh");
    emit_skeleton(e, "attention_move.cuh");
    emit_skeleton(e, "attention_mma.cuh");
    return true;
}
