/*
 * Depthwise convolution (as many groups as channels) of what has its channels innermost in memory:
 * contract_depthwise.cuh, or contract_windows.cuh where it stands in front of another contraction.
 * Tensor cores have nothing to gain there, since no two channels share a sum; what counts is that
 * every pixel is read once, in whole vectors.
 */
#include "contract.h"

/* What a thread makes: rows, columns and channels of the result. */
struct strip {
    int rows, columns, vector;
};

/* An image's two axes; a signal has one, and its rows are one. axis -1: not there. */
struct plane {
    int h, w;
};

static struct plane plane_of(const struct contraction *c)
{
    return c->spatial == 2 ? (struct plane){0, 1} : (struct plane){-1, 0};
}

/* The largest strip that leaves enough threads for the device, of those that keep its sums and the
 * row of pixels under it in registers. */
static struct strip choose_strip(const struct contraction *c, int vector)
{
    enum { THREADS_THAT_HIDE_LATENCY = 512 };
    static const struct strip sizes[] = {{2, 4, 0}, {1, 4, 0}, {1, 2, 0}};
    const struct plane p = plane_of(c);
    int64_t rows = cost_guess(c->e->g, contraction_extent(c, c->y, p.h));
    int64_t columns = cost_guess(c->e->g, contraction_extent(c, c->y, p.w));
    int64_t rest = cost_guess(c->e->g, c->images) * (cost_guess(c->e->g, c->y->shape[1]) / vector);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct strip *s = &sizes[i];
        int64_t bands = ceil_div(rows, s->rows);
        int64_t strips = ceil_div(columns, s->columns);
        if (rows >= s->rows && columns >= s->columns &&
            bands * strips * rest >=
                (int64_t)c->e->target->multiprocessors * THREADS_THAT_HIDE_LATENCY)
            return (struct strip){s->rows, s->columns, vector};
    }
    return (struct strip){1, 1, vector};
}

static const struct index *channel(const struct contraction *c, int vector, int lane)
{
    const struct dim *vectors =
        dim_floordiv(c->e->g->dims, c->y->shape[1], dim_const(c->e->g->dims, vector));
    return index_add(
        c->e->ix,
        index_mul(c->e->ix, index_var(c->e->ix, "c", vectors), dim_const(c->e->g->dims, vector)),
        index_const(c->e->ix, lane));
}

/* Index of lane `lane` of the pixel named by image, h and w in x or the result. */
static void pixel_index(const struct contraction *c, const struct value *v, int vector, int lane,
                        const struct index **at)
{
    const struct plane p = plane_of(c);
    at[0] = index_var(c->e->ix, "image", c->images);
    at[1] = channel(c, vector, lane);
    if (p.h >= 0)
        at[2 + p.h] = index_var(c->e->ix, "h", v->shape[2 + p.h]);
    at[2 + p.w] = index_var(c->e->ix, "w", v->shape[2 + p.w]);
}

static void emit_loads(const struct contraction *c, const char *sum, int vector)
{
    struct emitter *e = c->e;
    const struct plane p = plane_of(c);
    const struct index *at[MAX_RANK];
    emit_function(e, "void", "load_x",
                  arena_printf(e->g->arena, "idx_t image, idx_t h, idx_t w, idx_t c, %s *to", sum));
    emit_vector(e, vector);
    for (int lane = 0; lane < vector; lane++) {
        pixel_index(c, c->b, vector, lane, at);
        emit_line(e, "to[%d] = (%s)%s;", lane, sum, emit_value(e, c->b, at));
    }
    emit_vector(e, 1);
    emit_function_end(e);

    int width = emit_vector_width(e, c->a, 0);
    emit_function(e, "void", "load_w",
                  arena_printf(e->g->arena, "int r, int s, idx_t c, %s *to", sum));
    emit_vector(e, width < vector ? width : vector);
    for (int lane = 0; lane < vector; lane++) {
        at[0] = channel(c, vector, lane);
        at[1] = index_const(e->ix, 0);
        if (p.h >= 0)
            at[2 + p.h] = index_var(e->ix, "r", contraction_extent(c, c->a, p.h));
        at[2 + p.w] = index_var(e->ix, "s", contraction_extent(c, c->a, p.w));
        emit_line(e, "to[%d] = (%s)%s;", lane, sum, emit_value(e, c->a, at));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

/* What windows.cuh wants to know but for the strip. */
static void emit_windows(const struct contraction *c, const char *sum, int vector)
{
    const struct plane p = plane_of(c);
    contraction_define_axis(c, "H", p.h);
    contraction_define_axis(c, "W", p.w);
    emit_define(c->e, "VECTOR", "%d", vector);
    emit_loads(c, sum, vector);
}

static void emit_store(const struct contraction *c, const char *sum, int vector)
{
    struct emitter *e = c->e;
    const struct index *at[MAX_LANES][MAX_RANK];
    const struct index *const *lanes[MAX_LANES];
    emit_function(
        e, "void", "store",
        arena_printf(e->g->arena, "idx_t image, idx_t h, idx_t w, idx_t c, const %s *sum", sum));
    for (int lane = 0; lane < vector; lane++) {
        pixel_index(c, c->y, vector, lane, at[lane]);
        const char *name = arena_printf(e->g->arena, "y%d", lane);
        emit_line(e, "const %s %s = sum[%d];", emit_register_type(c->y->type), name, lane);
        emit_result(e, c->y, at[lane], name);
        lanes[lane] = at[lane];
    }
    emit_epilogue_lanes(e, vector, lanes);
    emit_function_end(e);
}

/* Few taps, all known, so that the loops over them unroll; strides and dilations too. */
static bool has_small_window(const struct contraction *c)
{
    enum { MOST_TAPS = 49, MOST_STEP = 4 };
    int64_t taps = 1;
    for (int i = 0; i < c->spatial; i++) {
        int64_t n;
        if (!dim_is_const(c->a->shape[2 + i], &n) || n < 1 || n > MOST_TAPS ||
            c->stride->v[i] > MOST_STEP || c->dilation->v[i] > MOST_STEP)
            return false;
        taps *= n;
    }
    return taps <= MOST_TAPS;
}

static bool is_depthwise(const struct contraction *c)
{
    return c->core->op == OP_conv && c->spatial >= 1 && c->spatial <= 2 && !dim_is(c->batches, 1) &&
           dim_is(c->group_in, 1) && dim_is(c->group_out, 1) && has_small_window(c);
}

bool contract_depthwise(struct contraction *c)
{
    enum { THREADS = 64, MOST_LANES = 8 };
    struct emitter *e = c->e;
    struct dim_table *dims = e->g->dims;
    if (!is_depthwise(c))
        return false;
    int vector = emit_vector_width(e, c->b, 1);
    vector = vector < MOST_LANES ? vector : MOST_LANES;
    if (vector < 2)
        return false;
    const struct strip strip = choose_strip(c, vector);
    const struct plane p = plane_of(c);
    const char *sum = sum_type(c->y->type);
    emit_define(e, "IMAGES", "%s", emit_dim(e, c->images));
    emit_define(e, "CHANNELS", "%s", emit_dim(e, c->y->shape[1]));
    emit_define(e, "STRIP_H", "%d", strip.rows);
    emit_define(e, "STRIP_W", "%d", strip.columns);
    emit_define(e, "THREADS", "%d", THREADS);
    emit_define(e, "SUM", "%s", sum);
    emit_windows(c, sum, vector);
    emit_store(c, sum, vector);
    const struct dim *items =
        dim_mul(dims, c->images, dim_floordiv(dims, c->y->shape[1], dim_const(dims, vector)));
    items =
        dim_mul(dims, items,
                dim_ceildiv(dims, contraction_extent(c, c->y, p.h), dim_const(dims, strip.rows)));
    items = dim_mul(
        dims, items,
        dim_ceildiv(dims, contraction_extent(c, c->y, p.w), dim_const(dims, strip.columns)));
    launch_over(e, items, THREADS, THREADS);
    emit_skeleton(e, "windows.cuh");
    emit_skeleton(e, "contract_depthwise.cuh");
    return true;
}

/* --- In front of another contraction --------------------------------------------------------- */

/* The convolution of this kernel that v is made of by maps, or NULL. */
static struct node *convolution_under(const struct emitter *e, const struct value *v, int depth)
{
    if (!emit_is_inner(e, v))
        return NULL;
    if (v->def->op == OP_conv)
        return v->def;
    struct node *found = NULL;
    for (int i = 0; i < v->def->n_in && !found && depth > 0; i++)
        if (op_info[v->def->op].class == OC_SCALAR)
            found = convolution_under(e, v->def->in[i], depth - 1);
    return found;
}

bool depthwise_describe(struct emitter *e, struct value *v, int vector, struct contraction *c)
{
    enum { MOST_MAPS = 16 };
    struct node *node = convolution_under(e, v, MOST_MAPS);
    if (!node)
        return false;
    *c = (struct contraction){.e = e, .core = node, .y = node->out[0]};
    contraction_describe(c);
    return is_depthwise(c) && emit_vector_width(e, c->b, 1) >= vector;
}

int depthwise_strip(const struct contraction *c)
{
    enum {
        MOST_PRODUCTS = 50
    }; /* of a channel, all unrolled: more of them want too many registers */
    const struct plane p = plane_of(c);
    int64_t taps = cost_guess(c->e->g, contraction_extent(c, c->a, p.h)) *
                   cost_guess(c->e->g, contraction_extent(c, c->a, p.w));
    int strip = 4;
    while (strip > 2 && taps * strip > MOST_PRODUCTS)
        strip /= 2;
    while (strip > 1 && !dim_divisible(contraction_extent(c, c->y, p.w), strip))
        strip /= 2;
    return strip;
}

int depthwise_strip_cost(const struct contraction *c)
{
    enum { LOAD = 12, PRODUCT = 8 }; /* of 8 channels: their address, guard and conversion; sums */
    const struct plane p = plane_of(c);
    int64_t rows = cost_guess(c->e->g, contraction_extent(c, c->a, p.h));
    int64_t columns = cost_guess(c->e->g, contraction_extent(c, c->a, p.w));
    int strip = depthwise_strip(c);
    int64_t span = (strip - 1) * c->stride->v[p.w] + (columns - 1) * c->dilation->v[p.w] + 1;
    return (int)(rows * (span * LOAD + columns * LOAD + columns * strip * PRODUCT));
}

static void emit_finish_strip(const struct contraction *c, struct value *v, int vector)
{
    struct emitter *e = c->e;
    const char *sum = sum_type(c->y->type);
    const struct index *at[MAX_RANK];
    emit_function(e, "void", "finish",
                  arena_printf(e->g->arena,
                               "idx_t image, idx_t h, idx_t w, idx_t c, const %s *sum, %s *to", sum,
                               emit_storage_type(v->type)));
    emit_vector(e, vector);
    for (int lane = 0; lane < vector; lane++) {
        pixel_index(c, c->y, vector, lane, at);
        const char *name = arena_printf(e->g->arena, "y%d", lane);
        emit_line(e, "const %s %s = sum[%d];", emit_register_type(c->y->type), name, lane);
        emit_result(e, c->y, at, name);
        emit_line(e, "to[%d] = %s;", lane, emit_stored(e, v->type, emit_value(e, v, at)));
    }
    emit_vector(e, 1);
    emit_function_end(e);
}

void depthwise_emit(const struct contraction *c, struct value *v, int vector)
{
    emit_define(c->e, "STRIP_H", "1");
    emit_define(c->e, "STRIP_W", "%d", depthwise_strip(c));
    emit_windows(c, sum_type(c->y->type), vector);
    emit_finish_strip(c, v, vector);
}
