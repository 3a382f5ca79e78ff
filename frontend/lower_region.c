/* Convolution and pooling over places that are computed: DeformConv, RoiAlign. */
#include "sample.h"
#include "window.h"

static struct value *f32_size(struct call *c, const struct dim *d)
{
    return build_cast(c->b, build_dim(c->b, d), DT_F32);
}

/* What DeformConv works on: X [N, C, H, W], kernel [h, w], g groups of offsets. */
struct deform {
    struct window w;
    const struct dim *kernel[2], *groups, *rows; /* rows: N * groups */
    const struct dim *out[2];
    const struct dim *taps[4]; /* kernel and result: the axes of a plane of positions */
};

/* f32 [rows, taps]: where along axis i each tap of each result element reads. */
static struct value *deformed_positions(struct call *c, const struct deform *d, int i)
{
    struct value *offset = c->in[2];
    const struct dim *split[6] = {d->rows,       d->taps[0], d->taps[1],
                                  d_const(c, 2), d->taps[2], d->taps[3]};
    offset = build_reshape(c->b, build_cast(c->b, offset, DT_F32), 6, split);
    offset = build_slice_axis(c->b, offset, 3, d_const(c, i), d_const(c, 1));
    offset = build_squeeze(c->b, offset, 8);
    struct value *place = build_iota(c->b, DT_I64, 4, d->taps, 2 + i);
    struct value *tap = build_iota(c->b, DT_I64, 4, d->taps, i);
    place = v_mul_number(c, place, (double)d->w.stride.v[i]);
    place = v_add(c, place, v_mul_number(c, tap, (double)d->w.dilation.v[i]));
    place = v_add_number(c, place, -(double)d->w.pads[i]);
    return v_add(c, offset, build_cast(c->b, place, DT_F32));
}

/* All taps of all result elements: f32 [N, C, kernel, result], times the mask. */
static struct value *deformed_columns(struct call *c, const struct deform *d)
{
    struct value *x = c->in[0];
    const struct dim *kernel = D(mul, d->kernel[0], d->kernel[1]);
    const struct dim *pixels = D(mul, d->out[0], d->out[1]);
    const struct dim *channels = D(floordiv, x->shape[1], d->groups);
    const struct dim *flat[3] = {d->rows, channels, D(mul, x->shape[2], x->shape[3])};
    struct sampling s = {.mode = SAMPLE_LINEAR, .padding = PADDING_ZEROS, .n = 2};
    s.points = D(mul, kernel, pixels);
    s.flat = build_reshape(c->b, x, 3, flat);
    const struct dim *points[2] = {d->rows, s.points};
    for (int i = 0; i < 2; i++) {
        s.size[i] = x->shape[2 + i];
        s.at[i] = build_reshape(c->b, deformed_positions(c, d, i), 2, points);
        if (!s.at[i])
            return NULL;
    }
    struct value *v = sample_between(c, &s);
    if (c->in[4]) {
        struct value *mask = build_reshape(c->b, build_cast(c->b, c->in[4], DT_F32), 2, points);
        v = v_mul(c, v, build_unsqueeze(c->b, mask, 2));
    }
    const struct dim *columns[4] = {x->shape[0], x->shape[1], kernel, pixels};
    return build_reshape(c->b, v, 4, columns);
}

/* The columns, times the weights: a matmul per group. */
bool lower_deform_conv(struct call *c)
{
    struct value *x = c->in[0], *weights = c->in[1];
    int64_t group = attr_int(c, "group", 1), offset_group = attr_int(c, "offset_group", 1);
    struct deform d;
    if (x->rank != 4 || weights->rank != 4 || c->in[2]->rank != 4)
        return call_unsupported(c, "images of other than two axes");
    if (group < 1 || offset_group < 1)
        return call_error(c, "group or offset_group is not positive");
    if (!window_attributes(c, 2, weights->shape + 2, &d.w) || !window_slide(c, x, false, &d.w))
        return false;
    d.groups = d_const(c, offset_group);
    d.rows = D(mul, x->shape[0], d.groups);
    for (int i = 0; i < 2; i++) {
        d.kernel[i] = d.taps[i] = weights->shape[2 + i];
        d.out[i] = d.taps[2 + i] = d.w.size[i];
    }
    struct value *columns = deformed_columns(c, &d);
    if (!columns)
        return false;
    const struct dim *g = d_const(c, group), *kernel = columns->shape[2];
    const struct dim *depth = D(mul, D(floordiv, x->shape[1], g), kernel);
    const struct dim *grouped[4] = {x->shape[0], g, depth, columns->shape[3]};
    const struct dim *matrix[3] = {g, D(floordiv, weights->shape[0], g), depth};
    const struct dim *out[4] = {x->shape[0], weights->shape[0], d.out[0], d.out[1]};
    struct value *w = build_reshape(c->b, build_cast(c->b, weights, DT_F32), 3, matrix);
    struct value *y = build_matmul(c->b, w, build_reshape(c->b, columns, 4, grouped), DT_F32);
    y = build_cast(c->b, build_reshape(c->b, y, 4, out), x->type);
    if (c->in[3])
        y = v_add(c, y, build_unsqueeze(c->b, c->in[3], 6));
    return call_result(c, y);
}

/* What RoiAlign works on. Sample j of an axis of regions lies at start + (j + 0.5) / samples *
 * extent. */
struct regions {
    int64_t bins[2], samples; /* result's size; samples per bin and axis */
    double scale;
    bool half_pixel;
};

/* f32 [R, bins * samples]: positions along axis i (0: y, which is the second number of a corner).
 */
static struct value *region_positions(struct call *c, const struct regions *r, int i)
{
    struct value *rois = build_cast(c->b, c->in[1], DT_F32), *corner[2];
    for (int k = 0; k < 2; k++) {
        corner[k] = build_slice_axis(c->b, rois, 1, d_const(c, 2 * k + 1 - i), d_const(c, 1));
        corner[k] = v_mul_number(c, corner[k], r->scale);
        if (r->half_pixel)
            corner[k] = v_add_number(c, corner[k], -0.5);
    }
    struct value *extent = v_sub(c, corner[1], corner[0]);
    if (!r->half_pixel)
        extent = v_max(c, extent, v_number(c, extent, 1));
    int64_t count = r->bins[i] * r->samples;
    const struct dim *n = d_const(c, count);
    struct value *j = build_cast(c->b, build_iota(c->b, DT_I64, 1, &n, 0), DT_F32);
    j = v_mul_number(c, v_add_number(c, j, 0.5), 1.0 / (double)count);
    return v_add(c, corner[0], v_mul(c, extent, j));
}

/* Brings positions into the image; *inside: those that lie no more than one element outside. */
static struct value *into_image(struct call *c, struct value *at, const struct dim *size,
                                struct value **inside)
{
    struct value *n = f32_size(c, size), *zero = v_number(c, at, 0);
    struct value *below = v_le(c, at, n);
    *inside = v_and(c, v_le(c, v_number(c, at, -1), at), below);
    return v_max(c, v_min(c, at, v_add_number(c, n, -1)), zero);
}

/* A vector per region along one axis [R, n], repeated over the other: [R, y, x] flattened. */
static struct value *over_plane(struct call *c, struct value *v, int axis,
                                const struct dim *const *plane)
{
    const struct dim *points[2] = {plane[0], D(mul, plane[1], plane[2])};
    v = build_expand(c->b, build_unsqueeze(c->b, v, axis ? 2 : 4), 3, plane);
    return build_reshape(c->b, v, 2, points);
}

bool lower_roi_align(struct call *c)
{
    static const char *const modes[] = {"avg", "max", NULL};
    static const char *const coordinates[] = {"half_pixel", "output_half_pixel", NULL};
    struct value *x = c->in[0], *rois = c->in[1], *inside[2];
    struct regions r = {
        .bins = {attr_int(c, "output_height", 1), attr_int(c, "output_width", 1)},
        .samples = attr_int(c, "sampling_ratio", 0),
        .scale = attr_float(c, "spatial_scale", 1),
        .half_pixel =
            attr_choice(c, "coordinate_transformation_mode", coordinates, c->opset < 16) == 0,
    };
    bool greatest = attr_choice(c, "mode", modes, 0) == 1;
    if (x->rank != 4 || rois->rank != 2)
        return call_error(c, "operands of rank %d and %d", x->rank, rois->rank);
    if (r.samples == 0)
        return call_unsupported(c, "a count of samples that depends on the regions");
    if (r.samples < 1 || r.samples > INT16_MAX || r.bins[0] < 1 || r.bins[1] < 1 ||
        r.bins[0] > INT16_MAX || r.bins[1] > INT16_MAX)
        return call_error(c, "sizes of its result or its sampling ratio");
    const struct dim *n = rois->shape[0], *samples = d_const(c, r.samples);
    const struct dim *plane[3] = {n, d_const(c, r.bins[0] * r.samples),
                                  d_const(c, r.bins[1] * r.samples)};
    const struct dim *flat[3] = {n, x->shape[1], D(mul, x->shape[2], x->shape[3])};
    struct sampling s = {.mode = SAMPLE_LINEAR,
                         .padding = PADDING_BORDER,
                         .greatest = greatest,
                         .n = 2,
                         .points = D(mul, plane[1], plane[2])};
    s.flat = build_reshape(c->b, build_gather(c->b, x, c->in[2], 0), 3, flat);
    for (int i = 0; i < 2; i++) {
        s.size[i] = x->shape[2 + i];
        struct value *at = into_image(c, region_positions(c, &r, i), s.size[i], &inside[i]);
        s.at[i] = over_plane(c, at, i, plane);
        inside[i] = over_plane(c, inside[i], i, plane);
        if (!s.at[i] || !inside[i])
            return false;
    }
    struct value *v = sample_between(c, &s);
    struct value *within = build_unsqueeze(c->b, v_and(c, inside[0], inside[1]), 2);
    v = build_select(c->b, within, v, v_number(c, v, 0));
    const struct dim *bins[6] = {n,       x->shape[1],           d_const(c, r.bins[0]),
                                 samples, d_const(c, r.bins[1]), samples};
    v = build_reshape(c->b, v, 6, bins);
    uint32_t per_bin = 1u << 3 | 1u << 5;
    v = greatest ? build_reduce(c->b, OP_reduce_max, v, per_bin, false)
                 : build_mean(c->b, v, per_bin, false);
    return call_result(c, build_cast(c->b, v, x->type));
}
