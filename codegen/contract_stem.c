/*
 * First layers by the tensor cores: convolutions of images with at most 4 channels, whose depth the
 * general form could not read 16 bytes at a time. See contract_stem.cuh.
 */
#include "contract.h"
#include "layout.h"

enum { MOST_CHANNELS = 4, TILE_W = 16, WARPS = 4, STATIC_SHARED = 48 << 10 };

/* Rows and filters of a block's tile. */
struct stem_tile {
    int h, n;
};

static int64_t known(const struct dim *d)
{
    int64_t n = 0;
    return dim_is_const(d, &n) ? n : 0;
}

static int64_t span(const struct contraction *c, int axis, int tile)
{
    return (tile - 1) * c->stride->v[axis] +
           (known(c->a->shape[2 + axis]) - 1) * c->dilation->v[axis] + 1;
}

/* What `struct operands` takes. */
static int64_t shared_bytes(const struct contraction *c, struct stem_tile t)
{
    int64_t taps = known(c->a->shape[2]) * known(c->a->shape[3]), deep = (taps + 3) / 4 * 16;
    return 2 * (t.n * (deep + 8) + 4 * span(c, 0, t.h) * span(c, 1, TILE_W)) + 32;
}

/* The largest tile that fits and keeps the device busy, or else the smallest that fits. h 0: none.
 */
static struct stem_tile choose_tile(const struct contraction *c)
{
    static const struct stem_tile tiles[] = {{8, 64}, {8, 32}, {4, 64}, {4, 32}, {4, 16}};
    struct stem_tile best = {0, 0};
    int64_t images = cost_guess(c->e->g, c->images), filters = known(c->y->shape[1]);
    int64_t h = cost_guess(c->e->g, c->y->shape[2]), w = cost_guess(c->e->g, c->y->shape[3]);
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        const struct stem_tile t = tiles[i];
        int64_t blocks = ceil_div(h, t.h) * ceil_div(w, TILE_W) * ceil_div(filters, t.n) * images;
        if (shared_bytes(c, t) > STATIC_SHARED || (t.n > filters && t.n > 16))
            continue;
        best = t;
        if (blocks >= c->e->target->multiprocessors * 3 / 4)
            return t;
    }
    return best;
}

/* Everything that the loops unroll over is known and small. */
static bool suits(const struct contraction *c)
{
    enum { MOST_TAPS = 128, MOST_STEP = 4 };
    if (c->core->op != OP_conv || c->spatial != 2 || !dim_is(c->batches, 1) ||
        known(c->group_in) < 1 || known(c->group_in) > MOST_CHANNELS || known(c->y->shape[1]) < 8)
        return false;
    for (int i = 0; i < 2; i++)
        if (known(c->a->shape[2 + i]) < 1 || known(c->a->shape[2 + i]) > MOST_TAPS ||
            c->stride->v[i] > MOST_STEP || c->dilation->v[i] > MOST_STEP)
            return false;
    int64_t taps = known(c->a->shape[2]) * known(c->a->shape[3]);
    return taps > 1 && taps <= MOST_TAPS;
}

/* The instruction's name, or NULL. */
static const char *instruction(const struct contraction *c)
{
    enum dtype type = c->a->type;
    bool half = type == DT_F16, sums = c->y->type == DT_F32 || c->y->type == type;
    int sm = c->e->target->sm;
    if (c->b->type != type || !sums || (!half && (type != DT_BF16 || sm < 80)))
        return NULL;
    return arena_printf(c->e->g->arena, "mma.sync.aligned.m16n8k%d.row.col.f32.%s.%s.f32",
                        sm < 80 ? 8 : 16, half ? "f16" : "bf16", half ? "f16" : "bf16");
}

static void emit_load_x(const struct contraction *c)
{
    struct emitter *e = c->e;
    const struct index *at[MAX_RANK];
    at[0] = index_var(e->ix, "image", c->images);
    at[1] = index_var(e->ix, "c", c->group_in);
    at[2] = index_var(e->ix, "h", c->b->shape[2]);
    at[3] = index_var(e->ix, "w", c->b->shape[3]);
    emit_function(e, emit_storage_type(c->b->type), "load_x",
                  "idx_t image, int c, idx_t h, idx_t w");
    const char *x = emit_value(e, c->b, at);
    emit_line(e, "return %s;", emit_stored(e, c->b->type, x));
    emit_function_end(e);
}

/* Filters in the order of memory, or of ONNX where they are computed here. */
static void emit_load_w(const struct contraction *c, int vector)
{
    struct emitter *e = c->e;
    const struct dim *elements = value_elements(e->g, c->a);
    emit_function(e, "void", "load_w",
                  arena_printf(e->g->arena, "int i, %s *to", emit_storage_type(c->a->type)));
    emit_vector(e, vector);
    for (int lane = 0; lane < vector; lane++) {
        const struct index *at[MAX_RANK], *i = lane_index(e, "i", elements, vector, lane);
        if (emit_is_inner(e, c->a)) {
            emit_delinear(e, c->a, c->a, i, at);
        } else { /* element i of memory, as i along its innermost axis */
            for (int axis = 0; axis < c->a->rank; axis++)
                at[axis] = index_const(e->ix, 0);
            at[layout_axis(c->a, c->a->rank - 1)] = i;
        }
        const char *w = emit_value(e, c->a, at);
        emit_line(e, "to[%d] = %s;", lane, emit_stored(e, c->a->type, w));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

/* Which of a filter's axes is innermost: its channels, its taps' last, or another (-1: not known to
 * contract_stem.cuh). */
static int channels_last(const struct contraction *c)
{
    static const int orders[2][4] = {{0, 1, 2, 3}, {0, 2, 3, 1}};
    for (int order = 0; order < 2; order++) {
        bool same = true;
        for (int i = 0; i < 4; i++)
            same = same && layout_axis(c->a, i) == orders[order][i];
        if (same)
            return order;
    }
    return -1;
}

static void emit_store(const struct contraction *c, int vector)
{
    struct emitter *e = c->e;
    const struct index *at[MAX_LANES][MAX_RANK];
    const struct index *const *lanes[MAX_LANES];
    emit_function(e, "void", "store", "idx_t image, idx_t h, idx_t w, idx_t n, const float *sum");
    for (int lane = 0; lane < vector; lane++) {
        at[lane][0] = index_var(e->ix, "image", c->images);
        at[lane][1] = lane_index(e, "n", c->y->shape[1], vector, lane);
        at[lane][2] = index_var(e->ix, "h", c->y->shape[2]);
        at[lane][3] = index_var(e->ix, "w", c->y->shape[3]);
        emit_result(e, c->y, at[lane], arena_printf(e->g->arena, "sum[%d]", lane));
        lanes[lane] = at[lane];
    }
    emit_epilogue_lanes(e, vector, lanes);
    emit_function_end(e);
}

static const struct dim *tiles(const struct contraction *c, const struct dim *extent, int tile)
{
    return dim_ceildiv(c->e->g->dims, extent, dim_const(c->e->g->dims, tile));
}

bool contract_stem(struct contraction *c)
{
    struct emitter *e = c->e;
    struct dim_table *dims = e->g->dims;
    const char *mma = instruction(c);
    if (!mma || !suits(c))
        return false;
    const struct stem_tile tile = choose_tile(c);
    if (!tile.h || channels_last(c) < 0)
        return false;
    int vector = dim_divisible(c->y->shape[1], 8) ? 8 : 1;
    bool whole = !emit_is_inner(e, c->a) && dim_divisible(value_elements(e->g, c->a), 8);
    int w_vector = whole ? 8 : 1;
    emit_define(e, "ELEMENT", "2");
    emit_define(e, "MMA_SHAPE", "%d", e->target->sm < 80 ? 16 : 32);
    emit_define(e, "MMA", "\"%s\"", mma);
    emit_define(e, "SUM", "float");
    emit_define(e, "ROUND", "0");
    emit_define(e, "CHANNELS", "%d", (int)known(c->group_in));
    emit_define(e, "FILTERS", "%d", (int)known(c->y->shape[1]));
    contraction_define_axis(c, "H", 0);
    contraction_define_axis(c, "W", 1);
    emit_define(e, "TILE_H", "%d", tile.h);
    emit_define(e, "TILE_W", "%d", TILE_W);
    emit_define(e, "TILE_N", "%d", tile.n);
    emit_define(e, "C_VECTOR", "%d", vector);
    emit_define(e, "VALUE", "%s", emit_storage_type(c->a->type));
    emit_define(e, "W_CHANNELS_LAST", "%d", channels_last(c));
    emit_define(e, "W_VECTOR", "%d", w_vector);
    emit_load_x(c);
    emit_load_w(c, w_vector);
    emit_store(c, vector);
    const struct dim *blocks = dim_mul(dims, c->images, tiles(c, c->y->shape[1], tile.n));
    blocks = dim_mul(dims, blocks, tiles(c, c->y->shape[2], tile.h));
    blocks = dim_mul(dims, blocks, tiles(c, c->y->shape[3], TILE_W));
    emit_launch(e, blocks, 32 * WARPS, 0);
    emit_skeleton(e, "mma.cuh");
    emit_skeleton(e, "contract_stem.cuh");
    return true;
}
