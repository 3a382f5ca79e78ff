/*
 * Contractions by the tensor cores: prints what contract_mma.cuh wants to know.
 *
 * There rows are what the result has many of: m is a matmul's row, or a convolution's image and
 * pixel, and n is a matmul's column, or a convolution's channel. k counts a convolution's channels
 * within its taps, so that it runs along memory where channels do.
 */
#include "contract_mma.h"
#include "emit_state.h"

#include <string.h>

/* As it is in memory? */
static bool is_copied(const struct side *s)
{
    return s->way == WAY_COPIED || s->way == WAY_TAPPED;
}

/* By cp.async? Other targets have to copy through registers. */
static bool is_async(const struct mma_plan *p, const struct side *s)
{
    return is_copied(s) && p->c->e->target->sm >= 80;
}

/* --- Printing ------------------------------------------------------------------------------- */

static const char *name_of(const struct side *s, const char *format)
{
    static const char *const names[][2] = {{"row_a", "row_b"}, {"load_a", "load_b"}};
    return names[strcmp(format, "load") == 0][s->letter == 'b'];
}

static void define_side(struct emitter *e, const struct side *s, const char *name,
                        const char *value)
{
    emit_define(e, arena_printf(e->g->arena, "%c_%s", s->letter - 'a' + 'A', name), "%s", value);
}

/* The offset of a row's first element. */
static void emit_row(const struct mma_plan *p, const struct side *s)
{
    struct emitter *e = p->c->e;
    const struct index *at[MAX_RANK], *row = index_var(e->ix, "row", s->rows);
    struct access x;
    emit_function(e, "idx_t", name_of(s, "row"), "idx_t batch, idx_t row");
    side_element(p->c, s, index_var(e->ix, "batch", p->c->batches), row, index_const(e->ix, 0), at);
    emit_access(e, s->v, at, &x);
    emit_line(e, "return %s;", emit_index(e, x.offset));
    emit_function_end(e);
}

/* The offset of a pixel's first tap, which may lie outside the image, and its position. */
static void emit_first_tap(const struct mma_plan *p, const struct side *s)
{
    const struct contraction *c = p->c;
    struct emitter *e = c->e;
    const struct index *y[MAX_RANK], *at[MAX_RANK], *zero[MAX_RANK], *offset;
    const struct index *batch = index_var(e->ix, "batch", c->batches);
    struct access x;
    emit_function(e, "idx_t", "first_tap_a", "idx_t batch, idx_t row, idx_t *at");
    side_result(c, s, batch, index_var(e->ix, "row", s->rows), y);
    for (int i = 0; i < c->spatial; i++)
        zero[i] = index_const(e->ix, 0);
    side_image(c, batch, y[0], zero[0], zero, at);
    emit_access(e, s->v, at, &x);
    offset = x.offset;
    for (int i = 0; i < c->spatial; i++) {
        const struct dim *stride = dim_const(e->g->dims, c->stride->v[i]);
        const struct index *first =
            index_sub(e->ix, index_mul(e->ix, y[2 + i], stride), index_dim(e->ix, c->low->d[i]));
        emit_line(e, "at[%d] = %s;", i, emit_index(e, first));
        offset = index_add(e->ix, offset, index_mul(e->ix, first, s->tap_stride[i]));
    }
    emit_line(e, "return %s;", emit_index(e, offset));
    emit_function_end(e);
}

/* Sizes along the spatial axes, separated by commas. */
static void define_axes(const struct mma_plan *p, const struct side *s)
{
    const struct contraction *c = p->c;
    struct emitter *e = c->e;
    const char *taps = "", *dilations = "", *strides = "", *image = "";
    bool padded = false;
    const struct dim *margin = dim_const(e->g->dims, 0);
    for (int i = 0; i < c->spatial; i++) {
        const char *comma = i ? ", " : "";
        taps = arena_printf(e->g->arena, "%s%s%s", taps, comma, emit_dim(e, c->depth[1 + i]));
        dilations =
            arena_printf(e->g->arena, "%s%s%lld", dilations, comma, (long long)c->dilation->v[i]);
        strides = arena_printf(e->g->arena, "%s%s%s", strides, comma,
                               emit_dim(e, dim_mul(e->g->dims, s->tap_stride[i],
                                                   dim_const(e->g->dims, c->dilation->v[i]))));
        image = arena_printf(e->g->arena, "%s%s%s", image, comma, emit_dim(e, c->b->shape[2 + i]));
        padded |= contraction_sticks_out(c, i);
        margin = dim_add(e->g->dims, margin,
                         dim_mul(e->g->dims, s->tap_stride[i],
                                 dim_max(e->g->dims, c->low->d[i], dim_const(e->g->dims, 0))));
    }
    emit_define(e, "AXES", "%d", c->spatial);
    emit_define(e, "CHANNELS", "%s", emit_dim(e, c->group_in));
    emit_define(e, "PADDED", "%d", padded);
    emit_define(e, "TAPS", "%s", taps);
    emit_define(e, "DILATIONS", "%s", dilations);
    emit_define(e, "TAP_STRIDES", "%s", strides);
    emit_define(e, "IMAGE", "%s", image);
    emit_define(e, "MARGIN", "%s", emit_dim(e, margin));
}

/* --- Carried operands ------------------------------------------------------------------------ */

/* How many lanes of a chunk exist or not together, and are neighbours of one tap or one image. */
static int lanes_together(const struct mma_plan *p, const struct side *s)
{
    const struct contraction *c = p->c;
    int n = s->piece;
    const struct dim *extent = s->tile_along_k ? c->spatial ? c->group_in : c->k
                               : s->image      ? c->pixels
                                               : s->rows;
    while (n > 1 && !dim_in_pieces(c->e, extent, n))
        n /= 2;
    return n;
}

/* The condition that the first of these lanes exists, as far as it is not certain. */
static const char *existence(const struct mma_plan *p, const struct side *s, int lane)
{
    struct emitter *e = p->c->e;
    const struct mma_tile *t = &p->tile;
    const char *guard = NULL;
    int rows = s->letter == 'a' ? t->m : t->n, depth = t->depth_bytes / p->element;
    const char *row = s->tile_along_k ? "row" : arena_printf(e->g->arena, "row + %d", lane);
    const char *k = s->tile_along_k ? arena_printf(e->g->arena, "k + %d", lane) : "k";
    if (!dim_divisible(s->rows, rows))
        guard = both(e, guard, arena_printf(e->g->arena, "%s < %s", row, emit_dim(e, s->rows)));
    if (!dim_divisible(p->c->k, depth))
        guard = both(e, guard, arena_printf(e->g->arena, "%s < %s", k, emit_dim(e, p->c->k)));
    return guard;
}

/* `count` lanes from `lane` on; they exist or not together. */
static void emit_lanes(const struct mma_plan *p, const struct side *s, int lane, int count)
{
    const struct contraction *c = p->c;
    struct emitter *e = c->e;
    const struct index *batch = index_var(e->ix, "batch", c->batches);
    const struct index *at[MAX_RANK];
    const int n = s->piece;
    const struct dim *wide = dim_const(e->g->dims, n);
    const struct index *q = index_mul(
        e->ix,
        index_var(e->ix, "q", dim_ceildiv(e->g->dims, s->tile_along_k ? c->k : s->rows, wide)),
        wide);
    const struct index *one =
        s->tile_along_k ? index_var(e->ix, "row", s->rows) : index_var(e->ix, "k", c->k);
    bool shared = s->image && s->tile_along_k; /* one position for all lanes */
    const char *position = NULL;
    for (int i = 0; i < count; i++) {
        const struct index *own = index_add(e->ix, q, index_const(e->ix, lane + i));
        if (!shared || i == 0)
            position = side_element(c, s, batch, s->tile_along_k ? one : own,
                                    s->tile_along_k ? own : one, at);
        else
            at[1] = index_add(e->ix, at[1], index_const(e->ix, 1));
        if (position && (!shared || i == 0))
            emit_open(e, "if (%s)", position);
        emit_line(e, "to[%d] = %s;", lane + i, emit_stored(e, s->v->type, emit_value(e, s->v, at)));
        if (position && (!shared || i == count - 1))
            emit_close(e);
    }
}

static void emit_load(const struct mma_plan *p, const struct side *s)
{
    struct emitter *e = p->c->e;
    int n = s->piece, together = lanes_together(p, s);
    emit_function(e, "void", name_of(s, "load"),
                  arena_printf(e->g->arena, "idx_t batch, idx_t row, idx_t k, %s *to",
                               emit_storage_type(s->v->type)));
    emit_line(e, "const idx_t q = %s / %d;", s->tile_along_k ? "k" : "row", n);
    emit_vector(e, together);
    for (int lane = 0; lane < n; lane += together) {
        const char *guard = existence(p, s, lane);
        if (guard)
            emit_open(e, "if (%s)", guard);
        emit_lanes(p, s, lane, together);
        if (guard)
            emit_close(e);
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

/* --- The whole ------------------------------------------------------------------------------- */

static void emit_side(const struct mma_plan *p, const struct side *s)
{
    struct emitter *e = p->c->e;
    const char *upper = s->letter == 'a' ? "A" : "B";
    static const char *const ways[] = {"carried", "copied", "tapped"};
    if (s->way != WAY_MADE)
        emit_define(e, arena_printf(e->g->arena, "MOVE_%s", upper), "%s<side_%c>", ways[s->way],
                    s->letter);
    define_side(e, s, "TYPE", emit_storage_type(s->v->type));
    define_side(e, s, "MEMORY_ALONG_K", s->along_k ? "true" : "false");
    define_side(e, s, "ALONG_K", s->tile_along_k ? "true" : "false");
    define_side(e, s, "ROUNDED", s->rounded ? "true" : "false");
    define_side(e, s, "LINEAR", s->linear ? "true" : "false");
    define_side(e, s, "COPY", arena_printf(e->g->arena, "%d", is_copied(s) ? s->bytes : 0));
    define_side(e, s, "PIECE", arena_printf(e->g->arena, "%d", s->piece));
    if (s->way == WAY_MADE) {
        emit_define(e, "WINDOWS", "1");
        depthwise_emit(&p->window, s->v, 16 / p->element);
        return;
    }
    if (s->way == WAY_CARRIED) {
        emit_load(p, s);
        return;
    }
    define_side(e, s, "ORIGIN", emit_buffer(e, s->buffer, false));
    if (s->way == WAY_TAPPED) {
        define_axes(p, s);
        emit_first_tap(p, s);
        return;
    }
    define_side(e, s, "K_STRIDE", emit_dim(e, s->k_stride));
    define_side(e, s, "ROW_STRIDE", s->linear ? emit_dim(e, s->row_stride) : "0");
    emit_row(p, s);
}

static void emit_store(const struct mma_plan *p)
{
    const struct contraction *c = p->c;
    struct emitter *e = c->e;
    const struct side *a = &p->a, *b = &p->b;
    int width = p->store_vector;
    const struct index *y[MAX_LANES][MAX_RANK], *column[MAX_RANK], *const *lanes[MAX_LANES];
    const struct index *batch = index_var(e->ix, "batch", c->batches);
    emit_function(
        e, "void", "store",
        arena_printf(e->g->arena, "idx_t batch, idx_t m, idx_t n, const %s *sum", p->sum));
    for (int lane = 0; lane < width; lane++) {
        const struct index *m = lane_index(e, "m", a->rows, p->store_along_m ? width : 1, lane);
        const struct index *n = lane_index(e, "n", b->rows, p->store_along_m ? 1 : width, lane);
        side_result(c, a, batch, m, y[lane]);
        if (c->spatial) {
            side_result(c, b, batch, n, column);
            y[lane][1] = column[1];
        } else {
            y[lane][c->y->rank - 1] = n;
        }
        emit_result(e, c->y, y[lane], arena_printf(e->g->arena, "sum[%d]", lane));
        lanes[lane] = y[lane];
    }
    emit_epilogue_lanes(e, width, lanes);
    emit_function_end(e);
}

/* The same, but of all pixels of a window, and lanes are neighbouring channels. */
static void emit_windows(const struct mma_plan *p)
{
    const struct contraction *c = p->c;
    struct emitter *e = c->e;
    const int width = p->store_vector, pixels = window_pixels(c);
    const struct index *(*y)[MAX_RANK] =
        (void *)ARENA_ARRAY(e->g->arena, (size_t)pixels * width * MAX_RANK, const struct index *);
    const struct index *column[MAX_RANK], *batch = index_var(e->ix, "batch", c->batches);
    emit_define(e, "WINDOW", "%d", pixels);
    emit_function(
        e, "void", "store",
        arena_printf(e->g->arena, "idx_t batch, idx_t window, idx_t n, const %s *sum", p->sum));
    for (int i = 0; i < pixels * width; i++) {
        const struct index *m = lane_index(e, "window", p->a.rows, pixels, i / width);
        side_result(c, &p->a, batch, m, y[i]);
        side_result(c, &p->b, batch, lane_index(e, "n", p->b.rows, width, i % width), column);
        y[i][1] = column[1];
    }
    window_emit(c, width, 0, y);
    emit_function_end(e);
}

static const struct dim *elements_behind(const struct emitter *e, const struct value *v, int axis)
{
    const struct dim *n = dim_const(e->g->dims, 1);
    for (int i = axis + 1; i < v->rank; i++)
        n = dim_mul(e->g->dims, n, v->shape[i]);
    return n;
}

/* The axis of y along which v, made of y by views and maps, has the neighbours that it has along
 * `axis`; -1: that is not known. */
static int axis_of_result(const struct contraction *c, const struct value *v, int axis, int depth)
{
    const struct emitter *e = c->e;
    const struct node *node = v->def;
    if (v == c->y)
        return axis;
    if (!emit_is_inner(e, v) || depth == 0)
        return -1;
    if (node->op == OP_transpose)
        return axis_of_result(c, node->in[0], node->attr.transpose.perm.axis[axis], depth - 1);
    for (int i = node->op == OP_reshape ? node->in[0]->rank - 1 : -1; i >= 0; i--)
        if (!dim_is(node->in[0]->shape[i], 1) &&
            elements_behind(e, node->in[0], i) == elements_behind(e, v, axis))
            return axis_of_result(c, node->in[0], i, depth - 1);
    int found = -1;
    for (int i = 0; op_info[node->op].class == OC_SCALAR && i < node->n_in && found < 0; i++)
        found = axis_of_result(c, node->in[i], axis, depth - 1);
    return found;
}

/* Do neighbours in the memory of what a product leaves lie along its rows' axes, not its columns'?
 */
static bool stores_columns(const struct contraction *c)
{
    enum { DEEPEST = 16 };
    const struct group *group = c->e->group;
    for (int i = 0; i < group->n_outputs; i++) {
        const struct value *v = group->outputs[i];
        int axis = v->rank - 1;
        while (axis > 0 && dim_is(v->shape[axis], 1))
            axis--;
        int own = v->layout || v->rank == 0 ? -1 : axis_of_result(c, v, axis, DEEPEST);
        if (own < 0 || own == c->y->rank - 1)
            return false;
    }
    return group->n_outputs > 0;
}

/* Which way results are neighbours in memory, and how many of them are stored at once. */
static void choose_store(struct mma_plan *p)
{
    const struct contraction *c = p->c;
    int width = 4;
    bool last = c->y->layout && c->y->layout->perm.axis[c->y->rank - 1] == 1;
    p->store_along_m =
        !p->pool && !c->window &&
        (c->spatial ? !last
                    : c->core->op == OP_matmul && !contraction_takes_pairs(c) && stores_columns(c));
    if (p->pool)
        width = emit_lanes_at_once(c->y->type, 8);
    for (int i = 0; i < c->e->group->n_outputs && !p->pool; i++) {
        int lanes = emit_lanes_at_once(c->e->group->outputs[i]->type, 8);
        width = lanes > width ? lanes : width;
    }
    const struct dim *extent = !p->store_along_m ? p->b.rows : c->spatial ? c->pixels : p->a.rows;
    int most = p->store_along_m ? p->tile.warp_m : p->tile.n;
    while (width > 1 && (width > most || !dim_in_pieces(c->e, extent, width)))
        width /= 2;
    p->store_vector = width;
}

/* How often results go through shared memory, so that they take no more of it than there is. */
static int choose_rounds(const struct mma_plan *p, int *bytes)
{
    const struct mma_tile *t = &p->tile;
    int tiles = t->stages * (t->m + t->n) * t->depth_bytes, rounds = 1;
    for (;; rounds *= 2) {
        int height = t->m / rounds;
        *bytes = 4 * (p->store_along_m ? t->n * (height + 4) : height * (t->n + 8));
        if (*bytes <= tiles || rounds == t->warp_m / 16)
            break;
    }
    *bytes = *bytes > tiles ? *bytes : tiles;
    return rounds;
}

static void define_problem(const struct mma_plan *p)
{
    const struct contraction *c = p->c;
    const struct mma_tile *t = &p->tile;
    struct emitter *e = c->e;
    emit_define(e, "ELEMENT", "%d", p->element);
    emit_define(e, "MMA_SHAPE", "%d", p->shape);
    emit_define(e, "MMA", "\"%s\"", p->mma);
    if (p->unpack_a) {
        emit_define(e, "UNPACK_A", "\"%s\"", p->unpack_a);
        emit_define(e, "UNPACK_B", "\"%s\"", p->unpack_b);
    }
    emit_define(e, "SUM", "%s", p->sum);
    emit_define(e, "ROUND", "%d", p->round);
    emit_define(e, "BATCHES", "%s", emit_dim(e, c->batches));
    emit_define(e, "EXTENT_M", "%s", emit_dim(e, p->a.rows));
    emit_define(e, "EXTENT_N", "%s", emit_dim(e, p->b.rows));
    emit_define(e, "EXTENT_K", "%s", emit_dim(e, c->k));
    emit_define(e, "GUARD_M", "%d", !dim_divisible(p->a.rows, t->m));
    emit_define(e, "GUARD_N", "%d", !dim_divisible(p->b.rows, t->n));
    emit_define(e, "GUARD_K", "%d", !dim_divisible(c->k, t->depth_bytes / p->element));
    emit_define(e, "TILE_M", "%d", t->m);
    emit_define(e, "TILE_N", "%d", t->n);
    emit_define(e, "WARP_M", "%d", t->warp_m);
    emit_define(e, "WARP_N", "%d", t->warp_n);
    emit_define(e, "DEPTH", "%d", t->depth_bytes / p->element);
    emit_define(e, "STAGES", "%d", t->stages);
    emit_define(e, "SPLIT", "%d", t->split);
    emit_define(e, "THREADS", "%d", mma_threads(t));
    emit_define(e, "C_VECTOR", "%d", p->store_vector);
    emit_define(e, "C_ALONG_M", "%s", p->store_along_m ? "true" : "false");
    bool copies = is_async(p, &p->a) || is_async(p, &p->b);
    emit_define(e, "HELD", "%d", e->target->sm < 80);
    emit_define(e, "COMMIT()", "%s", copies ? "copy_commit()" : "");
    emit_define(e, "WAIT()", "%s", copies ? "copy_wait<STAGES - 2>()" : "");
    emit_define(e, "WAIT_ALL()", "%s", copies ? "copy_wait<0>()" : "");
}

/* Where the parts of a split depth are left, and who has come. */
static void define_parts(const struct mma_plan *p, const struct dim *tiles)
{
    struct emitter *e = p->c->e;
    struct codegen *g = e->state->c;
    const struct mma_tile *t = &p->tile;
    if (t->split == 1)
        return;
    const struct dim *sums =
        dim_mul(e->g->dims, tiles, dim_const(e->g->dims, (int64_t)t->split * t->m * t->n));
    enum dtype type = strcmp(p->sum, "int") == 0 ? DT_I32 : DT_F32;
    emit_define(e, "PARTS", "%s", emit_buffer(e, emit_workspace(g, e->group, type, sums), true));
    emit_define(e, "COUNTERS", "%s",
                emit_buffer(e, emit_workspace_zeroed(g, e->group, DT_U32, tiles), true));
}

static void emit_plan(struct mma_plan *p)
{
    const struct contraction *c = p->c;
    struct emitter *e = c->e;
    struct dim_table *dims = e->g->dims;
    const struct mma_tile *t = &p->tile;
    int bytes;
    const struct dim *tiles = dim_ceildiv(dims, p->a.rows, dim_const(dims, t->m));
    tiles = dim_mul(dims, tiles, dim_ceildiv(dims, p->b.rows, dim_const(dims, t->n)));
    tiles = dim_mul(dims, tiles, c->batches);
    choose_store(p);
    define_problem(p);
    emit_define(e, "ROUNDS", "%d", choose_rounds(p, &bytes));
    if (p->pool && bytes < pool_bytes(p))
        bytes = pool_bytes(p);
    emit_side(p, &p->a);
    emit_side(p, &p->b);
    if (p->pool)
        pool_emit(p);
    else if (c->window)
        emit_windows(p);
    else
        emit_store(p);
    define_parts(p, tiles);
    emit_launch(e, dim_mul(dims, tiles, dim_const(dims, t->split)), mma_threads(t), bytes);
    emit_skeleton(e, "mma.cuh");
    emit_skeleton(e, "contract_move.cuh");
    if (p->a.way == WAY_TAPPED)
        emit_skeleton(e, "contract_taps.cuh");
    if (p->a.way == WAY_MADE)
        emit_skeleton(e, "windows.cuh");
    emit_skeleton(e, "contract_mma.cuh");
    if (p->a.way == WAY_MADE)
        emit_skeleton(e, "contract_windows.cuh");
    if (p->pool)
        emit_skeleton(e, "contract_pool.cuh");
    if (c->window)
        emit_skeleton(e, "contract_window.cuh");
}

/* The sums of a warp that leave it registers for fragments, offsets and what else it needs. */
static int most_sums(const struct mma_plan *p)
{
    if (p->round == 2)
        return 32 * 32;
    return p->round == 1 && !(p->a.rounded && p->b.rounded) ? 64 * 32 : 64 * 64;
}

/* Is each pixel of the result made of the one in its place? */
static bool keeps_pixels(const struct contraction *c)
{
    bool keeps = c->core->op == OP_conv && dim_is(c->batches, 1);
    for (int i = 0; i < c->spatial; i++)
        keeps &= dim_is(c->depth[1 + i], 1) && c->stride->v[i] == 1 && dim_is(c->low->d[i], 0) &&
                 c->y->shape[2 + i] == c->b->shape[2 + i];
    return keeps;
}

/* What it takes to make the left operand, if it is a depthwise convolution's result. */
static struct made_rows plan_made_rows(struct mma_plan *p)
{
    const struct contraction *c = p->c;
    const int vector = 16 / p->element;
    int64_t depth;
    if (!p->a.image || p->pool || c->window || p->element < 2 || p->a.way != WAY_CARRIED ||
        !dim_is_const(c->k, &depth) || depth % vector != 0 || !dim_is_const(c->m, NULL) ||
        !keeps_pixels(c) || !depthwise_describe(c->e, p->a.v, vector, &p->window))
        return (struct made_rows){0};
    p->a.way = WAY_MADE;
    p->a.along_k = p->a.tile_along_k = true;
    return (struct made_rows){vector, depthwise_strip(&p->window),
                              depthwise_strip_cost(&p->window)};
}

bool contract_mma(struct contraction *c)
{
    struct emitter *e = c->e;
    struct mma_plan p = {.c = c, .pool = c->window ? NULL : emit_pool(e)};
    c->taps_first = c->spatial > 0;
    p.a = (struct side){.letter = 'a', .v = c->spatial ? c->b : c->a, .image = c->spatial > 0};
    p.b = (struct side){.letter = 'b', .v = c->spatial ? c->a : c->b};
    p.a.rows = c->spatial ? c->n : c->m;
    p.b.rows = c->spatial ? c->m : c->n;
    if (!plan_instruction(&p)) {
        c->taps_first = false;
        return false;
    }
    plan_way(&p, &p.a);
    plan_way(&p, &p.b);
    struct made_rows made = plan_made_rows(&p);
    struct mma_problem x = {
        .size = {cost_guess(e->g, c->batches), cost_guess(e->g, p.a.rows),
                 cost_guess(e->g, p.b.rows), cost_guess(e->g, c->k)},
        .element = p.element,
        .operand_bytes = p.element * (cost_guess(e->g, value_elements(e->g, p.a.v)) +
                                      cost_guess(e->g, value_elements(e->g, p.b.v))),
        .products = p.round == 2 ? 3 : 1,
        .peak = p.peak,
        .rounds_a = p.round == 1 && !p.a.rounded,
        .rounds_b = p.round == 1 && !p.b.rounded,
        .most_sums = most_sums(&p),
        .small_warps = !is_copied(&p.a) || !is_copied(&p.b),
        .copies = is_async(&p, &p.a) || is_async(&p, &p.b),
        .made = made,
        .pooled = p.pool ? cost_guess(e->g, c->pixels) : 0,
        .pooled_alone = p.pool && dim_is(c->images, 1),
        .may_split = dim_is_const(c->batches, NULL) && dim_is_const(c->m, NULL) &&
                     dim_is_const(c->n, NULL) && dim_is_const(c->k, NULL),
    };
    p.tile = cost_mma_tile(e->target, &x);
    if (p.tile.m == 0) {
        c->taps_first = false;
        return false;
    }
    emit_plan(&p);
    return true;
}
