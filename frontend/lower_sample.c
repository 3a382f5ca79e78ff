/* Sampling at computed places: GridSample, AffineGrid; and their kin that write to computed places.
 */
#include "sample.h"
#include "window.h"

#include <math.h>

static struct value *size_f32(struct call *c, const struct dim *d)
{
    return build_cast(c->b, build_dim(c->b, d), DT_F32);
}

/* Folds positions into [low, high], as between two mirrors. */
static struct value *reflect(struct call *c, const struct sampling *s, struct value *at, int axis)
{
    double edge = s->corners ? 0 : -0.5;
    struct value *span = v_add_number(c, size_f32(c, s->size[axis]), s->corners ? -1 : 0);
    struct value *from_low = build_unary(c->b, OP_abs, v_add_number(c, at, -edge));
    struct value *folded = build_binary(c->b, OP_mod, from_low, v_mul_number(c, span, 2));
    folded = v_min(c, folded, v_sub(c, v_mul_number(c, span, 2), folded));
    return v_add_number(c, folded, edge);
}

/* An integral position along an axis, brought into the operand; *inside: whether it was (zeros
 * mode). */
static struct value *settle(struct call *c, const struct sampling *s, struct value *at, int axis,
                            struct value **inside)
{
    struct value *zero = v_number(c, at, 0);
    struct value *last = v_add_number(c, size_f32(c, s->size[axis]), -1);
    if (s->padding == PADDING_ZEROS) {
        struct value *below = v_le(c, at, last);
        struct value *here = v_and(c, v_le(c, zero, at), below);
        *inside = *inside ? v_and(c, *inside, here) : here;
    } else if (s->padding == PADDING_REFLECTION) {
        at = reflect(c, s, at, axis);
    }
    return build_cast(c->b, v_max(c, v_min(c, at, last), zero), DT_I64);
}

/* X at integral positions, one per axis: [N, C, points] in f32. */
static struct value *sample_at(struct call *c, const struct sampling *s, struct value **at)
{
    struct value *index = NULL, *inside = NULL;
    for (int i = 0; i < s->n; i++) {
        struct value *p = settle(c, s, at[i], i, &inside);
        index = index ? v_add(c, v_mul(c, index, build_dim(c->b, s->size[i])), p) : p;
    }
    const struct dim *shape[3] = {s->flat->shape[0], s->flat->shape[1], s->points};
    index = build_expand(c->b, build_unsqueeze(c->b, index, 2), 3, shape);
    union attr attr = {.gather_elements = {2}};
    struct value *v =
        index ? build_tensor(c->b, OP_gather_elements, 2, (struct value *[]){s->flat, index}, &attr)
              : NULL;
    v = build_cast(c->b, v, DT_F32);
    if (!inside)
        return v;
    struct value *zero = v_number(c, v, 0);
    return build_select(c->b, build_unsqueeze(c->b, inside, 2), v, zero);
}

/* Weight of tap t (0 … taps - 1) at fraction f of the way from the base element to the next. */
static struct value *tap_weight(struct call *c, const struct sampling *s, struct value *f, int t)
{
    if (s->mode == SAMPLE_LINEAR)
        return t ? f : v_sub(c, v_number(c, f, 1), f);
    const double k = -0.75;
    struct value *d = build_unary(c->b, OP_abs, v_add_number(c, f, 1 - t));
    struct value *w;
    if (t == 1 || t == 2) {
        w = v_add_number(c, v_mul_number(c, d, k + 2), -(k + 3));
        return v_add_number(c, v_mul(c, v_mul(c, w, d), d), 1);
    }
    w = v_add_number(c, v_mul_number(c, d, k), -5 * k);
    w = v_add_number(c, v_mul(c, w, d), 8 * k);
    return v_add_number(c, v_mul(c, w, d), -4 * k);
}

/* Sum over all combinations of taps of the axes from `axis` on; at[0 … axis) are chosen. */
static struct value *interpolate(struct call *c, const struct sampling *s, struct value **at,
                                 int axis)
{
    if (axis == s->n)
        return sample_at(c, s, at);
    int taps = s->mode == SAMPLE_CUBIC ? 4 : 2;
    struct value *base = build_unary(c->b, OP_floor, s->at[axis]), *sum = NULL;
    struct value *fraction = v_sub(c, s->at[axis], base);
    for (int t = 0; t < taps; t++) {
        at[axis] = v_add_number(c, base, t - (taps == 4));
        struct value *weight = build_unsqueeze(c->b, tap_weight(c, s, fraction, t), 2);
        struct value *term = v_mul(c, interpolate(c, s, at, axis + 1), weight);
        sum = !sum ? term : s->greatest ? v_max(c, sum, term) : v_add(c, sum, term);
        if (!sum)
            return NULL;
    }
    return sum;
}

struct value *sample_between(struct call *c, const struct sampling *s)
{
    struct value *at[MAX_RANK];
    return s->flat ? interpolate(c, s, at, 0) : NULL;
}

/* Positions of the points along axis i: column n - 1 - i of the grid, from [-1, 1] to elements. */
static struct value *grid_positions(struct call *c, const struct sampling *s, struct value *grid,
                                    int i)
{
    const struct dim *shape[2] = {grid->shape[0], s->points};
    struct value *g =
        build_slice_axis(c->b, grid, grid->rank - 1, d_const(c, s->n - 1 - i), d_const(c, 1));
    g = build_reshape(c->b, build_cast(c->b, g, DT_F32), 2, shape);
    g = v_add_number(c, g, 1);
    struct value *size = size_f32(c, s->size[i]), *at;
    if (s->corners) {
        struct value *steps = v_add_number(c, size, -1);
        at = v_mul(c, v_mul_number(c, g, 0.5), steps);
    } else {
        at = v_mul_number(c, v_add_number(c, v_mul(c, g, size), -1), 0.5);
    }
    /* What a place far outside stands for is decided before taps are laid around it. */
    if (s->mode != SAMPLE_NEAREST && s->padding == PADDING_REFLECTION)
        return reflect(c, s, at, i);
    if (s->mode != SAMPLE_CUBIC || s->padding != PADDING_BORDER)
        return at;
    double edge = s->corners ? 0 : 0.5;
    struct value *last = v_add_number(c, size, -1), *zero = v_number(c, at, 0);
    at = build_select(c->b, v_lt(c, at, v_number(c, at, -edge)), zero, at);
    return build_select(c->b, v_lt(c, v_add_number(c, last, edge), at), last, at);
}

bool lower_grid_sample(struct call *c)
{
    static const char *const modes[] = {"linear", "nearest", "cubic", "bilinear", "bicubic", NULL};
    static const enum sample_mode meaning[] = {SAMPLE_LINEAR, SAMPLE_NEAREST, SAMPLE_CUBIC,
                                               SAMPLE_LINEAR, SAMPLE_CUBIC};
    static const char *const paddings[] = {"zeros", "border", "reflection", NULL};
    struct value *x = c->in[0], *grid = c->in[1];
    if (x->rank < 3 || grid->rank != x->rank || x->rank > 5)
        return call_error(c, "operands of rank %d and %d", x->rank, grid->rank);
    struct sampling s = {
        .mode = meaning[attr_choice(c, "mode", modes, 0)],
        .padding = (enum sample_padding)attr_choice(c, "padding_mode", paddings, 0),
        .corners = attr_int(c, "align_corners", 0) != 0,
        .n = x->rank - 2,
    };
    const struct dim *flat[3] = {x->shape[0], x->shape[1], d_const(c, 1)}, *out[MAX_RANK];
    s.points = d_const(c, 1);
    out[0] = x->shape[0];
    out[1] = x->shape[1];
    for (int i = 0; i < s.n; i++) {
        s.size[i] = x->shape[2 + i];
        flat[2] = D(mul, flat[2], s.size[i]);
        s.points = D(mul, s.points, grid->shape[1 + i]);
        out[2 + i] = grid->shape[1 + i];
    }
    s.flat = build_reshape(c->b, x, 3, flat);
    struct value *at[MAX_RANK], *y;
    for (int i = 0; i < s.n; i++)
        s.at[i] = grid_positions(c, &s, grid, i);
    for (int i = 0; i < s.n; i++)
        at[i] = build_unary(c->b, OP_round, s.at[i]);
    y = s.flat ? s.mode == SAMPLE_NEAREST ? sample_at(c, &s, at) : sample_between(c, &s) : NULL;
    return call_result(c, build_reshape(c->b, build_cast(c->b, y, x->type), x->rank, out));
}

/* Centres of the elements of an axis in [-1, 1], or with corners the outer centres at -1 and 1. */
static struct value *unit_positions(struct call *c, const struct dim *size, bool corners)
{
    struct value *i = build_cast(c->b, build_iota(c->b, DT_I64, 1, &size, 0), DT_F32);
    struct value *n = size_f32(c, size);
    if (corners) {
        struct value *steps = v_add_number(c, n, -1);
        return v_add_number(c, v_div(c, v_mul_number(c, i, 2), steps), -1);
    }
    return v_add_number(c, v_div(c, v_add_number(c, v_mul_number(c, i, 2), 1), n), -1);
}

/* theta [N, n, n + 1] times homogeneous positions (x, y, …, 1) of an image of the size asked for.
 */
bool lower_affine_grid(struct call *c)
{
    const struct dim *size[MAX_ELEMENTS], *points = d_const(c, 1), *out[6];
    struct value *theta = c->in[0], *rows[4];
    int rank = call_dims(c, 1, size), n = rank - 2;
    if (rank < 0)
        return false;
    if ((n != 2 && n != 3) || theta->rank != 3)
        return call_error(c, "a size of %d dims and theta of rank %d", rank, theta->rank);
    bool corners = attr_int(c, "align_corners", 0) != 0;
    for (int i = 0; i < n; i++)
        points = D(mul, points, size[2 + i]);
    for (int i = 0; i <= n; i++) {
        /* row i is the axis counted from the last; the last row is ones */
        struct value *v =
            i < n ? unit_positions(c, size[2 + n - 1 - i], corners) : build_float(c->b, DT_F32, 1);
        if (i > 0 && i < n)
            v = build_unsqueeze(c->b, v, ((1u << i) - 1) << 1);
        const struct dim *row[2] = {d_const(c, 1), points};
        rows[i] = build_reshape(c->b, build_expand(c->b, v, n, size + 2), 2, row);
        if (!rows[i])
            return false;
    }
    struct value *places = build_concat(c->b, n + 1, rows, 0);
    struct value *y = build_matmul(c->b, build_cast(c->b, theta, DT_F32), places, DT_F32);
    y = build_transpose(c->b, y, (int[]){0, 2, 1});
    out[0] = size[0];
    for (int i = 0; i < n; i++)
        out[1 + i] = size[2 + i];
    out[1 + n] = d_const(c, n);
    return call_result(c, build_cast(c->b, build_reshape(c->b, y, n + 2, out), theta->type));
}

/* v as a vector. */
static struct value *flattened(struct call *c, struct value *v)
{
    const struct dim *all = v ? value_elements(c->b->g, v) : NULL;
    return v ? build_reshape(c->b, v, 1, &all) : NULL;
}

/* Writes each element where its maximum came from; the rest is zeros. */
bool lower_max_unpool(struct call *c)
{
    struct value *x = c->in[0];
    const int64_t *kernel;
    const struct dim *shape[MAX_RANK], *given[MAX_ELEMENTS], *sizes[MAX_RANK];
    const struct dim *all = d_const(c, 1), *one = all;
    int n = x->rank - 2;
    struct window w;
    if (n < 1 || attr_ints(c, "kernel_shape", &kernel) != n)
        return call_error(c, "kernel_shape does not fit an operand of rank %d", x->rank);
    for (int i = 0; i < n; i++)
        sizes[i] = d_const(c, kernel[i]);
    if (!window_attributes(c, n, sizes, &w))
        return false;
    for (int i = 0; i < x->rank; i++) {
        shape[i] = x->shape[i];
        if (i >= 2) {
            const struct dim *reach = D(mul, D(sub, shape[i], one), d_const(c, w.stride.v[i - 2]));
            shape[i] = D(sub, D(add, reach, w.extent[i - 2]),
                         d_const(c, w.pads[i - 2] + w.pads[n + i - 2]));
        }
        all = D(mul, all, shape[i]);
    }
    struct value *zeros = build_expand(c->b, v_number(c, x, 0), 1, &all);
    struct value *operands[3] = {zeros};
    operands[1] = flattened(c, c->in[1]);
    operands[2] = flattened(c, x);
    union attr attr = {.scatter_elements = {0, COMBINE_NONE}};
    struct value *y = zeros ? build_tensor(c->b, OP_scatter_elements, 3, operands, &attr) : NULL;
    y = build_reshape(c->b, y, x->rank, shape);
    if (!c->in[2])
        return call_result(c, y);
    if (call_dims(c, 2, given) != x->rank)
        return call_error(c, "output_shape has not %d sizes", x->rank);
    const struct dim *low[MAX_RANK], *high[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        low[i] = d_const(c, 0);
        high[i] = D(sub, given[i], shape[i]);
    }
    return call_result(c, build_pad(c->b, y, low, high, PAD_CONSTANT, v_number(c, x, 0)));
}

/*
 * Columns of blocks are added up to an image: element (block offset b, place l) goes to
 * place * stride - pad + offset * dilation along each axis, if that is inside.
 */
bool lower_col2im(struct call *c)
{
    struct value *x = c->in[0];
    const struct dim *image[MAX_ELEMENTS], *block[MAX_ELEMENTS], *one = d_const(c, 1);
    int n = call_dims(c, 1, image), n_block = call_dims(c, 2, block);
    struct window w;
    if (n < 0 || n_block < 0)
        return false;
    if (x->rank != 3 || n != n_block || n + 2 > MAX_RANK)
        return call_error(c, "an operand of rank %d, %d sizes of the image and %d of blocks",
                          x->rank, n, n_block);
    if (!window_attributes(c, n, block, &w))
        return false;
    const struct dim *blocks = one, *pixels = one, *out[MAX_RANK];
    for (int i = 0; i < n; i++) {
        blocks = D(mul, blocks, block[i]);
        pixels = D(mul, pixels, image[i]);
        out[2 + i] = image[i];
    }
    const struct dim *plane[2] = {blocks, x->shape[2]};
    struct value *offset = build_iota(c->b, DT_I64, 2, plane, 0);
    struct value *place = build_iota(c->b, DT_I64, 2, plane, 1), *index = NULL, *inside = NULL;
    struct value *zero = build_int(c->b, DT_I64, 0), *stride_of = build_int(c->b, DT_I64, 1);
    for (int i = n - 1; i >= 0; i--) {
        const struct dim *room =
            D(sub, D(add, image[i], d_const(c, w.pads[i] + w.pads[n + i])), w.extent[i]);
        struct value *places =
            build_dim(c->b, D(add, D(floordiv, room, d_const(c, w.stride.v[i])), one));
        struct value *size = build_dim(c->b, block[i]), *pixel_size = build_dim(c->b, image[i]);
        struct value *p =
            v_mul_number(c, build_binary(c->b, OP_mod, place, places), (double)w.stride.v[i]);
        struct value *o =
            v_mul_number(c, build_binary(c->b, OP_mod, offset, size), (double)w.dilation.v[i]);
        p = v_add_number(c, v_add(c, p, o), -(double)w.pads[i]);
        struct value *below = v_lt(c, p, pixel_size);
        struct value *here = v_and(c, v_le(c, zero, p), below);
        inside = inside ? v_and(c, inside, here) : here;
        p = v_mul(c, p, stride_of);
        index = index ? v_add(c, index, p) : p;
        stride_of = v_mul(c, stride_of, pixel_size);
        place = v_div(c, place, places);
        offset = v_div(c, offset, size);
    }
    const struct dim *rows = D(mul, x->shape[0], D(floordiv, x->shape[1], blocks));
    const struct dim *view[3] = {rows, blocks, x->shape[2]};
    const struct dim *columns[2] = {rows, D(mul, blocks, x->shape[2])};
    const struct dim *canvas[2] = {rows, pixels};
    struct value *v = build_reshape(c->b, x, 3, view), *none = v_number(c, x, 0);
    v = build_reshape(c->b, build_select(c->b, inside, v, none), 2, columns);
    index = build_expand(c->b, build_select(c->b, inside, index, zero), 3, view);
    index = build_reshape(c->b, index, 2, columns);
    struct value *zeros = build_expand(c->b, none, 2, canvas);
    union attr attr = {.scatter_elements = {1, COMBINE_ADD}};
    if (!v || !index || !zeros)
        return false;
    v = build_tensor(c->b, OP_scatter_elements, 3, (struct value *[]){zeros, index, v}, &attr);
    out[0] = x->shape[0];
    out[1] = D(floordiv, x->shape[1], blocks);
    return call_result(c, build_reshape(c->b, v, n + 2, out));
}
