/*
 * Contractions: matmul, conv and conv_transpose as one problem,
 *
 *   y[batch][m][n] = Σ_k a[batch][m][k] · b[batch][k][n]
 *
 *                   batch             m                n                       k
 *   matmul          leading axes      row              column                  inner axis
 *   conv            group             channel of it    image and output pixel  (channel, tap)
 *   conv_transpose  group             channel of it    image and output pixel  (channel, tap)
 *
 * A convolution's weights are a and its image is b, so that pixels, which are many and neighbours
 * in memory, run along n. Every operand is reached through the index of the result's element and k;
 * the two forms differ in how they walk: tiles (contract.cuh), or one result at a time
 * (reduce.cuh).
 */
#include "contract.h"
#include "families.h"

#include <string.h>

/* --- The problem ---------------------------------------------------------------------------- */

static const struct dim *product(struct graph *g, const struct dim *const *shape, int from, int to)
{
    const struct dim *result = dim_const(g->dims, 1);
    for (int i = from; i < to; i++)
        result = dim_mul(g->dims, result, shape[i]);
    return result;
}

/* An expand of this kernel gives every batch the same matrix. */
static bool repeats_over_batches(const struct emitter *e, const struct value *v)
{
    if (!emit_is_inner(e, v) || v->def->op != OP_expand)
        return false;
    for (int i = 0; i < v->rank - 2; i++)
        if (!dim_is(v->def->in[0]->shape[i], 1))
            return false;
    return true;
}

static void describe_matmul(struct contraction *c)
{
    struct graph *g = c->e->g;
    int rank = c->y->rank;
    c->a = c->core->in[0];
    c->b = c->core->in[1];
    c->k = c->a->shape[rank - 1];
    c->n = c->y->shape[rank - 1];
    c->folded = rank > 2 && repeats_over_batches(c->e, c->b);
    c->m = product(g, c->y->shape, c->folded ? 0 : rank - 2, rank - 1);
    c->batches = product(g, c->y->shape, 0, c->folded ? 0 : rank - 2);
}

void contraction_describe(struct contraction *c)
{
    struct graph *g = c->e->g;
    bool transposed = c->core->op == OP_conv_transpose;
    const union attr *attr = &c->core->attr;
    c->b = c->core->in[0];
    c->a = c->core->in[1];
    c->spatial = c->y->rank - 2;
    c->stride = transposed ? &attr->conv_transpose.stride : &attr->conv.stride;
    c->dilation = transposed ? &attr->conv_transpose.dilation : &attr->conv.dilation;
    c->low = transposed ? &attr->conv_transpose.low : &attr->conv.low;
    c->batches = dim_const(g->dims, transposed ? attr->conv_transpose.group : attr->conv.group);
    c->group_out = dim_floordiv(g->dims, c->y->shape[1], c->batches);
    c->group_in = dim_floordiv(g->dims, c->b->shape[1], c->batches);
    c->images = c->y->shape[0];
    c->pixels = product(g, c->y->shape, 2, c->y->rank);
    c->depth[0] = c->group_in;
    memcpy(c->depth + 1, c->a->shape + 2, (size_t)c->spatial * sizeof *c->depth);
    c->m = c->group_out;
    c->n = dim_mul(g->dims, c->images, c->pixels);
    c->k = product(g, c->depth, 0, 1 + c->spatial);
}

/* --- Indices -------------------------------------------------------------------------------- */

/* Index of the result's element (batch, m, n); a convolution's n is a pixel of an image. */
void contraction_result(const struct contraction *c, const struct index *batch,
                        const struct index *m, const struct index *image, const struct index *n,
                        const struct index **y)
{
    struct index_table *ix = c->e->ix;
    int rank = c->y->rank;
    if (c->spatial) {
        y[0] = image;
        y[1] = index_add(ix, index_mul(ix, batch, c->group_out), m);
        if (c->window)
            window_position(c, n, y + 2);
        else
            index_delinear(ix, n, c->spatial, c->y->shape + 2, y + 2);
        return;
    }
    if (c->folded) {
        index_delinear(ix, m, rank - 1, c->y->shape, y);
    } else {
        index_delinear(ix, batch, rank - 2, c->y->shape, y);
        y[rank - 2] = m;
    }
    y[rank - 1] = n;
}

static const struct index *group_of(const struct contraction *c, const struct index *const *y)
{
    return index_div(c->e->ix, y[1], c->group_out);
}

/* Do the taps of a channel and the channels lie in memory as k counts them? Then k needs no taking
 * apart. */
bool contraction_k_is_flat(const struct contraction *c)
{
    return c->core->op == OP_conv && !c->taps_first && !emit_is_inner(c->e, c->a) && !c->a->layout;
}

void contraction_split_k(const struct contraction *c, const struct index *k,
                         const struct index **part)
{
    const struct dim *extent[MAX_RANK];
    const struct index *at[MAX_RANK];
    if (!c->taps_first) {
        index_delinear(c->e->ix, k, 1 + c->spatial, c->depth, part);
        return;
    }
    memcpy(extent, c->depth + 1, (size_t)c->spatial * sizeof *extent);
    extent[c->spatial] = c->depth[0];
    index_delinear(c->e->ix, k, 1 + c->spatial, extent, at);
    part[0] = at[c->spatial];
    memcpy(part + 1, at, (size_t)c->spatial * sizeof *part);
}

/* Index of the element of a that term k of result y takes. */
void contraction_a(const struct contraction *c, const struct index *const *y, const struct index *k,
                   const struct index **at)
{
    struct index_table *ix = c->e->ix;
    const struct index *part[MAX_RANK];
    if (!c->spatial) {
        memcpy(at, y, (size_t)(c->a->rank - 1) * sizeof *at);
        at[c->a->rank - 1] = k;
        return;
    }
    if (contraction_k_is_flat(c)) {
        for (int i = 1; i < c->a->rank; i++)
            at[i] = index_const(ix, 0);
        at[0] = y[1];
        at[c->a->rank - 1] = k;
        return;
    }
    contraction_split_k(c, k, part);
    if (c->core->op == OP_conv) {
        at[0] = y[1];
        at[1] = part[0];
    } else {
        at[0] = index_add(ix, index_mul(ix, group_of(c, y), c->group_in), part[0]);
        at[1] = index_mod(ix, y[1], c->group_out);
    }
    memcpy(at + 2, part + 1, (size_t)c->spatial * sizeof *at);
}

/* Can the convolution's position lie outside the operand along this spatial axis? */
bool contraction_sticks_out(const struct contraction *c, int axis)
{
    int64_t out, taps, in;
    if (!dim_is(c->low->d[axis], 0) || !dim_is_const(c->y->shape[2 + axis], &out) ||
        !dim_is_const(c->a->shape[2 + axis], &taps) || !dim_is_const(c->b->shape[2 + axis], &in))
        return true;
    return (out - 1) * c->stride->v[axis] + (taps - 1) * c->dilation->v[axis] >= in;
}

const struct dim *contraction_extent(const struct contraction *c, const struct value *v, int axis)
{
    return axis < 0 ? dim_const(c->e->g->dims, 1) : v->shape[2 + axis];
}

void contraction_define_axis(const struct contraction *c, const char *suffix, int axis)
{
    struct emitter *e = c->e;
    const struct dim *zero = dim_const(e->g->dims, 0);
    struct arena *arena = e->g->arena;
    emit_define(e, arena_printf(arena, "IN_%s", suffix), "%s",
                emit_dim(e, contraction_extent(c, c->b, axis)));
    emit_define(e, arena_printf(arena, "OUT_%s", suffix), "%s",
                emit_dim(e, contraction_extent(c, c->y, axis)));
    emit_define(e, arena_printf(arena, "TAPS_%s", suffix), "%s",
                emit_dim(e, contraction_extent(c, c->a, axis)));
    emit_define(e, arena_printf(arena, "STRIDE_%s", suffix), "%d",
                axis < 0 ? 1 : (int)c->stride->v[axis]);
    emit_define(e, arena_printf(arena, "DILATION_%s", suffix), "%d",
                axis < 0 ? 1 : (int)c->dilation->v[axis]);
    emit_define(e, arena_printf(arena, "LOW_%s", suffix), "%s",
                emit_dim(e, axis < 0 ? zero : c->low->d[axis]));
}

/* Where output o of a spatial axis finds tap t in the operand. What must hold for it to be inside
 * is added to the guard; the position has then a variable of its own. */
static const struct index *position(const struct contraction *c, int axis, const struct index *o,
                                    const struct index *t, const char **guard)
{
    struct emitter *e = c->e;
    struct index_table *ix = e->ix;
    struct dim_table *dims = e->g->dims;
    const struct dim *extent = c->b->shape[2 + axis];
    const struct dim *stride = dim_const(dims, c->stride->v[axis]);
    const struct dim *dilation = dim_const(dims, c->dilation->v[axis]);
    const struct index *low = index_dim(ix, c->low->d[axis]), *tap = index_mul(ix, t, dilation);
    if (c->core->op == OP_conv) {
        const struct index *i = index_add(ix, index_mul(ix, o, stride), tap);
        if (!contraction_sticks_out(c, axis))
            return i;
        const char *at = emit_fresh(e, "p");
        emit_line(e, "const idx_t %s = %s;", at, emit_index(e, index_sub(ix, i, low)));
        *guard = both(e, *guard,
                      arena_printf(e->g->arena, "%s >= 0 && %s < %s", at, at, emit_dim(e, extent)));
        return index_var(ix, at, extent);
    }
    const char *from = emit_fresh(e, "p");
    emit_line(e, "const idx_t %s = %s;", from,
              emit_index(e, index_sub(ix, index_add(ix, o, low), tap)));
    *guard = both(e, *guard, arena_printf(e->g->arena, "%s >= 0", from));
    const char *at = from;
    if (!dim_is(stride, 1)) {
        at = emit_fresh(e, "p");
        emit_line(e, "const idx_t %s = %s / %s;", at, from, emit_dim(e, stride));
        *guard =
            both(e, *guard, arena_printf(e->g->arena, "%s %% %s == 0", from, emit_dim(e, stride)));
    }
    *guard = both(e, *guard, arena_printf(e->g->arena, "%s < %s", at, emit_dim(e, extent)));
    return index_var(ix, at, extent);
}

/* The same of b. Returns the condition under which the element exists (otherwise it counts as 0),
 * or NULL when it always does. */
const char *contraction_b(const struct contraction *c, const struct index *const *y,
                          const struct index *k, const struct index **at)
{
    struct index_table *ix = c->e->ix;
    const struct index *part[MAX_RANK];
    const char *guard = NULL;
    int rank = c->b->rank;
    if (!c->spatial) {
        for (int i = 0; i < rank - 2; i++)
            at[i] = c->folded ? index_const(ix, 0) : y[i];
        at[rank - 2] = k;
        at[rank - 1] = y[rank - 1];
        return NULL;
    }
    contraction_split_k(c, k, part);
    at[0] = y[0];
    at[1] = index_add(ix, index_mul(ix, group_of(c, y), c->group_in), part[0]);
    for (int i = 0; i < c->spatial; i++)
        at[2 + i] = position(c, i, y[2 + i], part[1 + i], &guard);
    return guard;
}

/* --- Tiles ---------------------------------------------------------------------------------- */

/* How an operand is read: vectors of so many neighbours, along k or along its other index. */
struct reading {
    int width;
    bool along_k;
};

static int narrowed(int width)
{
    return width < 4 ? width : 4;
}

static struct reading reading_of_matrix(const struct contraction *c, struct value *v, int k_axis,
                                        bool default_along_k)
{
    int along = narrowed(emit_vector_width(c->e, v, k_axis));
    int across = narrowed(emit_vector_width(c->e, v, 2 * v->rank - 3 - k_axis));
    if (along == across)
        return (struct reading){1, default_along_k};
    int width = along > across ? along : across;
    return (struct reading){width >= 4 ? 4 : 1, along > across};
}

static struct reading reading_of_a(const struct contraction *c)
{
    if (!c->spatial)
        return reading_of_matrix(c, c->a, c->a->rank - 1, true);
    return (struct reading){contraction_k_is_flat(c) && dim_divisible(c->k, 4) ? 4 : 1, true};
}

static struct reading reading_of_b(const struct contraction *c)
{
    if (!c->spatial)
        return reading_of_matrix(c, c->b, c->b->rank - 2, false);
    bool plain = c->core->op == OP_conv && !c->window && dim_divisible(c->pixels, 4) &&
                 dim_is(product(c->e->g, c->a->shape, 2, c->a->rank), 1);
    for (int i = 0; plain && i < c->spatial; i++)
        plain = c->stride->v[i] == 1 && !contraction_sticks_out(c, i);
    if (plain && emit_is_inner(c->e, c->b))
        plain = emit_vector_width(c->e, c->b, c->b->rank - 1) >= 4;
    return (struct reading){plain ? 4 : 1, false};
}

/* Splits n, which counts vectors of `width`, into image and pixel. */
static const struct index *image_of(const struct contraction *c, int width, const char **pixel)
{
    struct emitter *e = c->e;
    *pixel = "n";
    if (!c->spatial || dim_is(c->images, 1))
        return index_const(e->ix, 0);
    const struct dim *vectors = dim_floordiv(e->g->dims, c->pixels, dim_const(e->g->dims, width));
    const char *size = emit_dim(e, vectors);
    *pixel = "pixel";
    emit_line(e, "const idx_t image = n / %s, pixel = n %% %s;", size, size);
    return index_var(e->ix, "image", c->images);
}

static const struct dim *columns(const struct contraction *c)
{
    return c->spatial ? c->pixels : c->n;
}

/* Index of lane `lane` of vector "k" of tile "tile_k". */
static const struct index *tiled_k(const struct contraction *c, const struct tile *tile,
                                   struct reading r, int lane)
{
    struct emitter *e = c->e;
    const struct dim *depth = dim_const(e->g->dims, tile->k);
    const struct index *first = index_var(e->ix, "tile_k", dim_ceildiv(e->g->dims, c->k, depth));
    const struct index *k = lane_index(e, "k", depth, r.along_k ? r.width : 1, lane);
    return index_add(e->ix, index_mul(e->ix, first, depth), k);
}

static void emit_load_a(const struct contraction *c, const struct tile *tile, struct reading r)
{
    struct emitter *e = c->e;
    const struct index *zero = index_const(e->ix, 0);
    const struct index *y[MAX_RANK], *at[MAX_RANK];
    emit_function(e, "void", "load_a", "idx_t batch, idx_t m, idx_t tile_k, int k, float *to");
    emit_vector(e, r.width);
    for (int lane = 0; lane < r.width; lane++) {
        const struct index *m = lane_index(e, "m", c->m, r.along_k ? 1 : r.width, lane);
        const struct index *k = tiled_k(c, tile, r, lane);
        contraction_result(c, index_var(e->ix, "batch", c->batches), m, zero, zero, y);
        contraction_a(c, y, k, at);
        emit_line(e, "to[%d] = %s;", lane, emit_value(e, c->a, at));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

static void emit_load_b(const struct contraction *c, const struct tile *tile, struct reading r)
{
    struct emitter *e = c->e;
    const struct index *y[MAX_RANK], *at[MAX_RANK];
    int width_n = r.along_k ? 1 : r.width;
    const char *pixel;
    emit_function(e, "void", "load_b", "idx_t batch, idx_t tile_k, int k, idx_t n, float *to");
    const struct index *image = image_of(c, width_n, &pixel);
    emit_vector(e, r.width);
    for (int lane = 0; lane < r.width; lane++) {
        const struct index *n = lane_index(e, pixel, columns(c), width_n, lane);
        const struct index *k = tiled_k(c, tile, r, lane);
        contraction_result(c, index_var(e->ix, "batch", c->batches), index_const(e->ix, 0), image,
                           n, y);
        const char *guard = contraction_b(c, y, k, at);
        if (guard) {
            emit_line(e, "to[%d] = 0.0f;", lane);
            emit_open(e, "if (%s)", guard);
        }
        emit_line(e, "to[%d] = %s;", lane, emit_value(e, c->b, at));
        if (guard)
            emit_close(e);
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

static void emit_store(const struct contraction *c, int width)
{
    struct emitter *e = c->e;
    const struct index *y[4][MAX_RANK];
    const struct index *const *lanes[4];
    const char *pixel;
    emit_function(e, "void", "store", "idx_t batch, idx_t m, idx_t n, const float *sum");
    const struct index *image = image_of(c, width, &pixel);
    for (int lane = 0; lane < width; lane++) {
        const struct index *n = lane_index(e, pixel, columns(c), width, lane);
        const struct index *m = index_var(e->ix, "m", c->m);
        contraction_result(c, index_var(e->ix, "batch", c->batches), m, image, n, y[lane]);
        if (!c->window)
            emit_result(e, c->y, y[lane], arena_printf(e->g->arena, "sum[%d]", lane));
        lanes[lane] = y[lane];
    }
    for (int at = 0; c->window && at < width; at += window_pixels(c))
        window_emit(c, 1, at, y + at);
    if (!c->window)
        emit_epilogue_lanes(e, width, lanes);
    emit_function_end(e);
}

static void define_operand(struct emitter *e, const char *operand, struct reading r)
{
    emit_define(e, arena_printf(e->g->arena, "%s_VECTOR", operand), "%d", r.width);
    emit_define(e, arena_printf(e->g->arena, "%s_ALONG_K", operand), "%s",
                r.along_k ? "true" : "false");
}

static void emit_tiles(const struct contraction *c, const struct tile *tile)
{
    struct emitter *e = c->e;
    struct dim_table *dims = e->g->dims;
    struct reading a = reading_of_a(c), b = reading_of_b(c);
    if (a.along_k && tile->k % a.width != 0)
        a.width = 1;
    int width = dim_divisible(columns(c), 4) ? 4 : 1;
    emit_define(e, "BATCHES", "%s", emit_dim(e, c->batches));
    emit_define(e, "EXTENT_M", "%s", emit_dim(e, c->m));
    emit_define(e, "EXTENT_N", "%s", emit_dim(e, c->n));
    emit_define(e, "EXTENT_K", "%s", emit_dim(e, c->k));
    emit_define(e, "GUARD_M", "%d", !dim_divisible(c->m, tile->m));
    emit_define(e, "GUARD_N", "%d", !dim_divisible(c->n, tile->n));
    emit_define(e, "GUARD_K", "%d", !dim_divisible(c->k, tile->k * tile->slices));
    emit_define(e, "TILE_M", "%d", tile->m);
    emit_define(e, "TILE_N", "%d", tile->n);
    emit_define(e, "TILE_K", "%d", tile->k);
    emit_define(e, "THREAD_M", "%d", tile->thread_m);
    emit_define(e, "THREAD_N", "%d", tile->thread_n);
    emit_define(e, "SLICES", "%d", tile->slices);
    define_operand(e, "A", a);
    define_operand(e, "B", b);
    emit_define(e, "C_VECTOR", "%d", width);
    emit_load_a(c, tile, a);
    emit_load_b(c, tile, b);
    emit_store(c, width);
    const struct dim *blocks = dim_ceildiv(dims, c->m, dim_const(dims, tile->m));
    blocks = dim_mul(dims, blocks, dim_ceildiv(dims, c->n, dim_const(dims, tile->n)));
    emit_launch(e, dim_mul(dims, blocks, c->batches), tile_threads(tile) * tile->slices, 0);
    emit_skeleton(e, "contract.cuh");
}

/* A depth of tiles made of whole rows of the filter: k within a tile then tells the tap, whatever
 * the tile. 0: there is none of a suitable size. */
static int filter_depth(const struct contraction *c)
{
    enum { LEAST = 8, MOST = 16 };
    int64_t depth = 1, size;
    int axis = c->spatial;
    while (axis > 0 && dim_is_const(c->depth[axis], &size) && size > 0 && size <= MOST / depth) {
        depth *= size;
        axis--;
    }
    if (depth == 1)
        return 0;
    /* The whole filter is in: several channels may be, too. */
    return (int)(axis == 0 && depth < LEAST ? (LEAST + depth - 1) / depth * depth : depth);
}

/* --- One result at a time ------------------------------------------------------------------- */

static void emit_direct(const struct contraction *c)
{
    struct emitter *e = c->e;
    const struct dim *results = value_elements(e->g, c->y);
    const struct index *y[MAX_RANK], *at_a[MAX_RANK], *at_b[MAX_RANK];
    const char *sum = sum_type(c->y->type);
    bool contiguous = reading_of_b(c).along_k && reading_of_a(c).along_k;
    int64_t guess = cost_guess(e->g, results), k;
    int lanes = cost_lanes(e->target, guess, cost_guess(e->g, c->k), contiguous);
    bool across = lanes > 1 && !contiguous;
    lanes = across ? ACROSS_LANES : lanes;
    int threads = across ? BLOCK_THREADS : cost_block(e->target, guess, lanes);
    index_delinear(e->ix, index_var(e->ix, "result", results), c->y->rank, c->y->shape, y);

    emit_define(e, "RESULTS", "%s", emit_dim(e, results));
    emit_define(e, "LENGTH", "%s", emit_dim(e, c->k));
    emit_define(e, "THREADS", "%d", threads);
    emit_define(e, "LANES", "%d", lanes);
    emit_define(e, "ACROSS", "%d", across);
    emit_define(e, "UNROLL", "%d", dim_is_const(c->k, &k) && k > 0 && k <= 32 ? (int)k : 4);
    emit_define(e, "PARTIAL", "%s", sum);
    emit_define(e, "IDENTITY", "0");
    emit_define(e, "COMBINE", "a + b");
    emit_define(e, "LIFT(x, k)", "x");
    emit_define(e, "ANSWER(x)", "x");

    emit_function(e, sum, "term", "idx_t result, idx_t k");
    const struct index *at_k = index_var(e->ix, "k", c->k);
    contraction_a(c, y, at_k, at_a);
    const char *guard = contraction_b(c, y, at_k, at_b);
    if (guard) {
        emit_line(e, "if (!(%s))", guard);
        emit_line(e, "    return 0;");
    }
    const char *a = emit_value(e, c->a, at_a), *b = emit_value(e, c->b, at_b);
    emit_line(e, "return (%s)%s * (%s)%s;", sum, a, sum, b);
    emit_function_end(e);

    emit_function(e, "void", "store", arena_printf(e->g->arena, "idx_t result, %s sum", sum));
    emit_line(e, "const %s y = sum;", emit_register_type(c->y->type));
    emit_result(e, c->y, y, "y");
    emit_epilogue(e, y);
    emit_function_end(e);

    launch_over(e, results, threads / lanes, threads);
    emit_skeleton(e, "lanes.cuh");
    emit_skeleton(e, "reduce.cuh");
}

/* The tiled form multiplies floats. */
static bool is_float(const struct value *v)
{
    return dtype_is_float(v->type) && v->type != DT_F64;
}

/*
 * Few results for each of many rows that are read in whole vectors: a last layer's channels at each
 * pixel. Tensor cores read the rows once, and by all lanes; what they compute in vain costs less
 * than the other forms' reading of the rows in pieces, or of the few columns by each thread anew.
 */
static bool has_few_columns(const struct contraction *c, const struct extents *x)
{
    enum { FEW = 8, LEAST_K = 16, LEAST_PIXELS = 64, LEAST_ROWS = 32, VECTOR_BYTES = 16 };
    struct value *rows = c->spatial ? c->b : c->a;
    int64_t many = c->spatial ? x->n : x->m, few = c->spatial ? x->m : x->n;
    /* Enough tiles for the device: streaming fills it with fewer rows of a matmul, too. */
    int64_t least = c->spatial ? LEAST_PIXELS : (int64_t)LEAST_ROWS * c->e->target->multiprocessors;
    if (few > FEW || many < least || x->k < LEAST_K || contraction_normalization(c) ||
        (c->spatial && !dim_divisible(c->group_in, VECTOR_BYTES / (int64_t)dtype_size(rows->type))))
        return false;
    int width = emit_vector_width(c->e, rows, c->spatial ? 1 : rows->rank - 1);
    return width * (int)dtype_size(rows->type) == VECTOR_BYTES;
}

static struct extents extents_of(const struct contraction *c)
{
    const struct graph *g = c->e->g;
    return (struct extents){cost_guess(g, c->batches), cost_guess(g, c->m), cost_guess(g, c->n),
                            cost_guess(g, c->k)};
}

/* Forms are tried in order, the best first. Only the last can do everything. */
static void emit_contraction(struct contraction *c)
{
    struct emitter *e = c->e;
    struct extents x = extents_of(c);
    bool pairs = contraction_takes_pairs(c);
    bool direct = dim_is(c->k, 0) || (!pairs && cost_prefers_direct(&x));
    if (contract_depthwise(c) || (has_few_columns(c, &x) && contract_mma(c)) || contract_skinny(c))
        return;
    if (contraction_normalization(c)) {
        emit_unsupported(e, c->core, "has a normalization in front and too many rows");
        return;
    }
    if (contract_stem(c) || (!direct && contract_mma(c)))
        return;
    if (direct || !is_float(c->a) || !is_float(c->b) || !is_float(c->y)) {
        emit_direct(c);
        return;
    }
    struct tile tile = cost_tile(e->target, &x, filter_depth(c));
    emit_tiles(c, &tile);
}

/* A reduction or windows behind a convolution, in one kernel. */
static bool emit_with_pool(struct codegen *g, struct contraction *c, struct node *pool)
{
    const struct group *group = c->e->group;
    c->window = op_info[pool->op].class == OC_WINDOW ? pool : NULL;
    if (contract_mma(c))
        return emit_finish(c->e);
    if (c->window) {
        struct extents x = extents_of(c);
        struct tile tile = cost_tile(c->e->target, &x, filter_depth(c));
        emit_tiles(c, &tile);
        return emit_finish(c->e);
    }
    /* Terms of the reduction, each of which is a convolution's element. */
    struct group *terms = ARENA_NEW(c->e->g->arena, struct group);
    *terms = *group;
    terms->core = pool;
    return family_reduce(g, terms);
}

bool family_contract(struct codegen *g, const struct group *group)
{
    struct emitter *e = emit_begin(g, group, "contract");
    struct contraction c = {.e = e, .core = group->core, .y = group->core->out[0]};
    if (group->core->op == OP_matmul)
        describe_matmul(&c);
    else
        contraction_describe(&c);
    struct node *pool = emit_pool(e);
    if (pool)
        return emit_with_pool(g, &c, pool);
    emit_in_place(e);
    emit_contraction(&c);
    return emit_finish(e);
}
