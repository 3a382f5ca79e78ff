/*
 * Contractions of which one operand has a few rows: y = x · w with up to eight rows of x, or a
 * convolution of one pixel. All time goes into reading w once, so each thread reads 16 bytes of it
 * at a time, holds them in registers as the numbers they stand for (unpacked and dequantized by
 * w's prologue), and multiplies them by all rows of x, which comes from the cache.
 *
 * Bytes that lie in memory are multiplied as they are, four at a time.
 *
 * w is read along k where its rows lie so, else along its other axis. The lanes and warps that
 * share a result add their sums in a fixed order.
 */
#include "contract.h"

#include <string.h>

enum { MOST_FEW = 8, LEAST_MANY = 32, LEAST_DEPTH = 32, WARPS = 8, LANES = 32 };

struct skinny {
    struct contraction *c;
    struct value *w, *x;
    bool x_is_a;                  /* the rows of x are m, those of w are n; else the other way */
    const struct dim *few, *many; /* the rows of x, those of w */
    int rows;                     /* of x, in one block */
    bool along_k;
    int width;     /* elements of w that a thread reads at once */
    bool by_fours; /* bytes along k, multiplied four at a time */
    int columns;   /* rows of w that a thread has */
    int stored;    /* results of a row that are handed over together */
    int lanes_many, warps_many, warps_k;
};

/* --- What suits ------------------------------------------------------------------------------ */

static bool is_sum_type(const struct value *v)
{
    return v->type != DT_F64 && dtype_info[v->type].bits <= 32 && v->type != DT_BOOL;
}

/* A convolution is one where each image gives one pixel, without padding. */
static bool suits_convolution(const struct contraction *c)
{
    if (c->core->op != OP_conv || !dim_is(c->pixels, 1) || !dim_is(c->batches, 1))
        return false;
    for (int i = 0; i < c->spatial; i++)
        if (contraction_sticks_out(c, i))
            return false;
    return true;
}

/* Which operand has few rows; false: none, or too little is left for the other. */
static bool choose_sides(struct skinny *s)
{
    struct contraction *c = s->c;
    struct graph *g = c->e->g;
    const struct dim *n = c->spatial ? c->images : c->n;
    if (c->spatial && !suits_convolution(c))
        return false;
    s->x_is_a = !c->spatial && cost_guess(g, c->m) <= MOST_FEW;
    if (!s->x_is_a && cost_guess(g, n) > MOST_FEW)
        return false;
    s->x = s->x_is_a ? c->a : c->b;
    s->w = s->x_is_a ? c->b : c->a;
    s->few = s->x_is_a ? c->m : n;
    s->many = s->x_is_a ? n : c->m;
    int64_t few = cost_guess(g, s->few);
    s->rows = few > MOST_FEW ? MOST_FEW : (int)few;
    return is_sum_type(s->x) && is_sum_type(s->w) && is_sum_type(c->y) &&
           cost_guess(g, s->many) >= LEAST_MANY && cost_guess(g, c->k) >= LEAST_DEPTH;
}

/* --- How w is read ---------------------------------------------------------------------------- */

/* Bits that an element of v takes in memory: half a byte, where halves of bytes are taken. */
static int bits_in_memory(const struct emitter *e, const struct value *v)
{
    bool halves = false;
    while (emit_is_inner(e, v) && v->def->n_in > 0) {
        halves |= v->def->op == OP_shr;
        v = v->def->in[0];
    }
    return halves && v->type == DT_U8 ? 4 : dtype_info[v->type].bits;
}

static int axis_of_k(const struct skinny *s)
{
    if (s->c->spatial)
        return 1;
    return s->x_is_a ? s->w->rank - 2 : s->w->rank - 1;
}

static int axis_of_many(const struct skinny *s)
{
    if (s->c->spatial)
        return 0;
    return 2 * s->w->rank - 3 - axis_of_k(s);
}

static void choose_reading(struct skinny *s)
{
    struct emitter *e = s->c->e;
    int bits = bits_in_memory(e, s->w), most = 128 / bits;
    int along = emit_vector_width(e, s->w, axis_of_k(s));
    int across = emit_vector_width(e, s->w, axis_of_many(s));
    s->along_k = along > across || (along == across && !s->x_is_a); /* row-major, most likely */
    s->width = s->along_k ? along : across;
    /* Halves of bytes share addresses, and the taps of a filter are one axis with its channels:
     * the probe knows neither. */
    bool flat = s->c->spatial && contraction_k_is_flat(s->c);
    if ((bits == 4 || flat) && along >= across) {
        s->along_k = true;
        s->width = most;
    }
    const struct dim *extent = s->along_k ? s->c->k : s->many;
    s->width = s->width > most ? most : s->width;
    while (s->width > 1 && !dim_divisible(extent, s->width))
        s->width /= 2;
}

static int64_t blocks_of(const struct skinny *s)
{
    struct graph *g = s->c->e->g;
    int64_t per_block = (int64_t)s->columns * s->lanes_many * s->warps_many;
    int64_t blocks = ceil_div(cost_guess(g, s->many), per_block);
    return blocks * cost_guess(g, s->c->batches);
}

/* Spreads the rows of w over as many blocks as there are multiprocessors, and what remains of a
 * block's threads over k. */
static void choose_shares(struct skinny *s)
{
    enum { COLUMNS = 4, LEAST_LANES = 2, LEAST_STEPS = 4, LEAST_STAGED = 16 };
    const struct target *target = s->c->e->target;
    /* Each block makes normalized rows of x anew: it then has columns enough to be worth that. */
    const int least = contraction_normalization(s->c) ? LEAST_STAGED : 1;
    int64_t depth = cost_guess(s->c->e->g, s->c->k) / s->width;
    s->warps_k = s->warps_many = 1;
    if (!s->along_k) {
        s->columns = s->width;
        s->warps_k = WARPS;
        s->lanes_many = s->width > 1 ? 8 : LANES;
        for (; s->lanes_many > LEAST_LANES && s->lanes_many * s->columns > least;
             s->lanes_many /= 2)
            if (blocks_of(s) >= target->multiprocessors)
                return;
        return;
    }
    s->lanes_many = 1;
    while (depth > 0 && 2 * s->lanes_many * depth <= LANES) /* lanes that k leaves idle */
        s->lanes_many *= 2;
    s->columns = s->rows > MOST_FEW / 2 ? COLUMNS / 2 : COLUMNS;
    if (s->width > 16)
        s->columns = 2; /* so many numbers at a time leave no registers for more */
    while (s->warps_k < WARPS && depth >= 2 * LEAST_STEPS * s->warps_k * LANES)
        s->warps_k *= 2;
    s->warps_many = WARPS / s->warps_k;
    /* Columns share the elements of x; few warps with all of them read as much at a time. */
    while (blocks_of(s) < target->multiprocessors && s->columns * s->warps_many > least)
        if (s->columns > 1 && (s->warps_many == 1 || s->warps_many * s->warps_k <= WARPS / 2))
            s->columns /= 2;
        else
            s->warps_many /= 2;
}

/* --- Text --------------------------------------------------------------------------------------
 */

/* Index of the result in row "few" of x and row "many" of w; NULL: 0. */
static void index_of_result(const struct skinny *s, const struct index *few,
                            const struct index *many, const struct index **y)
{
    struct contraction *c = s->c;
    const struct index *zero = index_const(c->e->ix, 0);
    const struct index *batch = index_var(c->e->ix, "batch", c->batches);
    few = few ? few : zero;
    many = many ? many : zero;
    if (c->spatial)
        contraction_result(c, batch, many, few, zero, y);
    else
        contraction_result(c, batch, s->x_is_a ? few : many, zero, s->x_is_a ? many : few, y);
}

static void index_of_operand(const struct skinny *s, bool is_a, const struct index *const *y,
                             const struct index *k, const struct index **at)
{
    if (is_a)
        contraction_a(s->c, y, k, at);
    else
        contraction_b(s->c, y, k, at); /* no element is missing, see suits_convolution */
}

static bool is_byte(const struct value *v)
{
    return v->type == DT_I8 || v->type == DT_U8;
}

/* Do both operands lie in memory as bytes, aligned along k? */
static void choose_fours(struct skinny *s)
{
    struct emitter *e = s->c->e;
    struct access x;
    const struct index *zero[MAX_RANK];
    int x_axis = s->x_is_a ? s->x->rank - 1 : s->c->spatial ? 1 : s->x->rank - 2;
    for (int i = 0; i < MAX_RANK; i++)
        zero[i] = index_const(e->ix, 0);
    if (!s->along_k || s->width < 4 || !is_byte(s->x) || !is_byte(s->w) ||
        emit_vector_width(e, s->w, axis_of_k(s)) < s->width ||
        emit_vector_width(e, s->x, x_axis) < s->width)
        return;
    emit_access(e, s->w, zero, &x);
    bool viewed = x.kind == ACCESS_VIEWED && !x.guard;
    emit_access(e, s->x, zero, &x);
    s->by_fours = viewed && x.kind == ACCESS_VIEWED && !x.guard;
}

/* "to" takes the bytes of v from index `at` on, four in a word. */
static void emit_load_words(const struct skinny *s, struct value *v, const struct index *const *at)
{
    struct emitter *e = s->c->e;
    struct access x;
    emit_access(e, v, at, &x);
    const char *offset = emit_index(e, x.offset);
    emit_line(e, "const vec<unsigned, %d> words = load<%d>((const unsigned *)(%s + %s));",
              s->width / 4, s->width / 4, emit_buffer(e, x.buffer, false), offset);
    for (int i = 0; i < s->width / 4; i++)
        emit_line(e, "to[%d] = words.at[%d];", i, i);
}

static int lanes_at_once(int width)
{
    return width > MAX_LANES ? MAX_LANES : width;
}

static void emit_load_w(const struct skinny *s)
{
    struct contraction *c = s->c;
    struct emitter *e = c->e;
    const struct index *y[MAX_RANK], *at[MAX_RANK];
    emit_function(e, "void", "load_w", "idx_t batch, idx_t many, idx_t k, SUM *to");
    emit_vector(e, lanes_at_once(s->width));
    for (int lane = 0; lane < (s->by_fours ? 1 : s->width); lane++) {
        index_of_result(s, NULL, lane_index(e, "many", s->many, s->along_k ? 1 : s->width, lane),
                        y);
        index_of_operand(s, !s->x_is_a, y,
                         lane_index(e, "k", c->k, s->along_k ? s->width : 1, lane), at);
        if (s->by_fours)
            emit_load_words(s, s->w, at);
        else
            emit_line(e, "to[%d] = (SUM)%s;", lane, emit_value(e, s->w, at));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

static void emit_load_x(const struct skinny *s)
{
    struct contraction *c = s->c;
    struct emitter *e = c->e;
    int width = s->along_k ? s->width : 1;
    const struct index *y[MAX_RANK], *at[MAX_RANK];
    emit_function(e, "void", "load_x", "idx_t batch, idx_t few, idx_t k, SUM *to");
    emit_vector(e, lanes_at_once(width));
    for (int lane = 0; lane < (s->by_fours ? 1 : width); lane++) {
        index_of_result(s, index_var(e->ix, "few", s->few), NULL, y);
        index_of_operand(s, s->x_is_a, y, lane_index(e, "k", c->k, width, lane), at);
        if (s->by_fours)
            emit_load_words(s, s->x, at);
        else
            emit_line(e, "to[%d] = (SUM)%s;", lane, emit_value(e, s->x, at));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

static void emit_store(const struct skinny *s)
{
    struct emitter *e = s->c->e;
    const struct index *y[2][MAX_RANK];
    const struct index *const *lanes[2] = {y[0], y[1]};
    emit_function(e, "void", "store", "idx_t batch, idx_t few, idx_t many, const SUM *sum");
    for (int lane = 0; lane < s->stored; lane++) {
        const struct index *many = lane_index(e, "many", s->many, s->stored, lane);
        index_of_result(s, index_var(e->ix, "few", s->few), many, y[lane]);
        emit_line(e, "const %s y%d = sum[%d];", emit_register_type(s->c->y->type), lane, lane);
        emit_result(e, s->c->y, y[lane], arena_printf(e->g->arena, "y%d", lane));
    }
    emit_epilogue_lanes(e, s->stored, lanes);
    emit_function_end(e);
}

static void define(const struct skinny *s)
{
    struct contraction *c = s->c;
    struct emitter *e = c->e;
    emit_define(e, "BATCHES", "%s", emit_dim(e, c->batches));
    emit_define(e, "EXTENT_FEW", "%s", emit_dim(e, s->few));
    emit_define(e, "EXTENT_MANY", "%s", emit_dim(e, s->many));
    emit_define(e, "EXTENT_K", "%s", emit_dim(e, c->k));
    emit_define(e, "ROWS", "%d", s->rows);
    emit_define(e, "COLUMNS", "%d", s->columns);
    emit_define(e, "STORED", "%d", s->stored);
    emit_define(e, "FEW_FIRST", "%s", !c->spatial && !s->x_is_a ? "true" : "false");
    emit_define(e, "STEP", "%d", s->along_k ? s->width : 1);
    emit_define(e, "DEPTH", "%d", s->by_fours ? s->width / 4 : s->along_k ? s->width : 1);
    emit_define(e, "ALONG_K", "%s", s->along_k ? "true" : "false");
    emit_define(e, "LANES_MANY", "%d", s->lanes_many);
    emit_define(e, "WARPS_MANY", "%d", s->warps_many);
    emit_define(e, "WARPS_K", "%d", s->warps_k);
    emit_define(e, "SUM", "%s", dtype_is_float(c->y->type) ? "float" : sum_type(c->y->type));
    if (s->by_fours)
        emit_define(
            e, "ADD(sum, x, w)",
            "asm(\"dp4a.%c32.%c32 %%0, %%1, %%2, %%0;\" : \"+r\"(sum) : \"r\"(x), \"r\"(w))",
            s->x->type == DT_I8 ? 's' : 'u', s->w->type == DT_I8 ? 's' : 'u');
    else
        emit_define(e, "ADD(sum, x, w)", "sum += x * w");
}

bool contract_skinny(struct contraction *c)
{
    struct emitter *e = c->e;
    struct dim_table *dims = e->g->dims;
    struct skinny s = {.c = c};
    if (!choose_sides(&s))
        return false;
    choose_reading(&s);
    choose_fours(&s);
    choose_shares(&s);
    s.stored = contraction_takes_pairs(c) ? 2 : 1;
    if (s.columns * s.lanes_many * s.warps_many < s.stored)
        s.columns = s.stored;
    const bool staged = contraction_normalization(c) != NULL;
    define(&s);
    emit_load_w(&s);
    if (staged)
        contraction_stage_rows(c, s.rows, s.warps_many * s.warps_k, s.along_k ? s.width : 1);
    else
        emit_load_x(&s);
    emit_store(&s);
    const struct dim *blocks = dim_ceildiv(
        dims, s.many, dim_const(dims, (int64_t)s.columns * s.lanes_many * s.warps_many));
    blocks = dim_mul(dims, blocks, dim_ceildiv(dims, s.few, dim_const(dims, s.rows)));
    emit_launch(e, dim_mul(dims, blocks, c->batches), LANES * s.warps_many * s.warps_k, 0);
    emit_define(e, "STAGE_ROWS", "%d", staged);
    if (staged)
        emit_skeleton(e, "contract_rows.cuh");
    emit_skeleton(e, "contract_skinny.cuh");
    return true;
}
