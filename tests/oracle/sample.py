"""Generators: resampling of images."""
import numpy as np

from cases import Case, generator

F32 = np.dtype(np.float32)


def image(r, n, least=1):
    return [r.integer(1, 2), r.integer(1, 3), *(r.integer(least, [17, 9, 5][n - 1]) for _ in range(n))]


@generator("Resize")
def resize(r, op):
    n = r.integer(1, 3)
    mode = r.pick(["nearest", "linear", "cubic"])
    if mode == "cubic":
        n = 2
    shape = image(r, n, 2 if mode == "cubic" else 1)
    x = r.values(F32, shape)
    by_size = r.opset >= 11 and r.chance()
    scales = [1.0, 1.0, *(r.pick([0.5, 0.6, 1, 1.5, 2, 2.3, 3]) for _ in range(n))]
    if r.opset < 11:
        scales = [max(1.0, float(int(s))) for s in scales]
        return Case([x, np.array(scales, F32)], {"mode": r.pick(["nearest", "linear"])
                                                 if n == 2 else "nearest"},
                    constant=(1,), kind="sum")
    sizes = [max(1, int(s * f)) for s, f in zip(shape, scales)]
    attributes = {"mode": mode}
    transforms = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    if r.opset >= 19:
        transforms.append("half_pixel_symmetric")
    attributes["coordinate_transformation_mode"] = r.pick(transforms)
    if mode == "nearest" and r.chance():
        attributes["nearest_mode"] = r.pick(["round_prefer_floor", "round_prefer_ceil", "floor",
                                             "ceil"])
    if mode == "cubic" and r.chance():
        attributes["cubic_coeff_a"] = r.pick([-0.5, -0.75])
        attributes["exclude_outside"] = r.integer(0, 1)
    if mode != "nearest" and r.opset >= 18 and r.chance(0.3):
        attributes["antialias"] = 1
    empty = np.zeros(0, F32)
    roi = None if r.opset >= 13 else empty
    inputs = [x, roi, None if r.opset >= 13 else empty, np.array(sizes, np.int64)] if by_size else [
        x, roi, np.array(scales, F32)]
    return Case(inputs, attributes, kind="sum", constant=(1, 2, 3)[:len(inputs) - 1])


@generator("Upsample")
def upsample(r, op):
    shape = image(r, 2)
    scales = [1.0, 1.0, float(r.integer(1, 3)), float(r.integer(1, 3))]
    attributes = {"mode": r.pick(["nearest", "linear"])}
    if r.opset < 9:
        return Case([r.values(F32, shape)], {**attributes, "scales": scales}, kind="sum")
    return Case([r.values(F32, shape), np.array(scales, F32)], attributes, constant=(1,), kind="sum")


@generator("GridSample")
def grid_sample(r, op):
    n = r.integer(2, 3) if r.opset >= 20 else 2
    linear = "linear" if r.opset >= 20 else "bilinear"
    cubic = "cubic" if r.opset >= 20 else "bicubic"
    mode = r.pick([linear, "nearest"] + [cubic] * (n == 2))
    shape = image(r, n, 2)
    out = [r.integer(1, 5) for _ in range(n)]
    attributes = {"mode": mode, "padding_mode": r.pick(["zeros", "border", "reflection"]),
                  "align_corners": r.integer(0, 1)}
    grid = r.values(F32, [shape[0], *out, n], -1.3, 1.3)
    return Case([r.values(F32, shape), grid], attributes, kind="sum", neighbours=False)


@generator("AffineGrid")
def affine_grid(r, op):
    n = r.integer(2, 3)
    batch = r.integer(1, 3)
    size = [batch, r.integer(1, 3), *(r.integer(2, 6) for _ in range(n))]
    theta = r.values(F32, [batch, n, n + 1], -1, 1)
    return Case([theta, np.array(size, np.int64)], {"align_corners": r.integer(0, 1)}, kind="sum",
                constant=(1,) if r.chance() else ())


@generator("RoiAlign")
def roi_align(r, op):
    shape = [r.integer(1, 2), r.integer(1, 3), r.integer(4, 12), r.integer(4, 12)]
    count = r.integer(1, 5)
    start = r.values(F32, [count, 2], 0, 4)
    boxes = np.concatenate([start, start + r.values(F32, [count, 2], 1, 6)], 1)
    attributes = {"output_height": r.integer(1, 4), "output_width": r.integer(1, 4),
                  "sampling_ratio": r.integer(1, 3), "spatial_scale": r.pick([0.5, 1.0]),
                  "mode": r.pick(["avg", "max"])}
    if r.opset >= 16:
        attributes["coordinate_transformation_mode"] = r.pick(["half_pixel", "output_half_pixel"])
    which = r.generator.integers(0, shape[0], count).astype(np.int64)
    return Case([r.values(F32, shape), boxes, which], attributes, kind="sum", neighbours=False)


@generator("MaxRoiPool")
def max_roi_pool(r, op):
    r.opset = min(r.opset, 21)  # the judge has no later one; it differs in its types alone
    shape = [r.integer(1, 2), r.integer(1, 3), r.integer(4, 12), r.integer(4, 12)]
    count = r.integer(1, 5)
    which = r.generator.integers(0, shape[0], [count, 1]).astype(np.float32)
    start = r.values(F32, [count, 2], 0, 8)
    rows = np.concatenate([which, start, start + r.values(F32, [count, 2], -1, 12)], 1)
    return Case([r.values(F32, shape), rows],
                {"pooled_shape": [r.integer(1, 4), r.integer(1, 4)],
                 "spatial_scale": r.pick([0.25, 0.5, 1.0])}, kind="moved", neighbours=False)


@generator("DeformConv")
def deform_conv(r, op):
    groups, offset_groups = r.integer(1, 2), r.integer(1, 2)
    depth, filters = 2 * r.integer(1, 2), groups * r.integer(1, 3)
    kernel = [r.integer(1, 3), r.integer(1, 3)]
    size = [r.integer(4, 7), r.integer(4, 7)]
    strides = [r.integer(1, 2) for _ in range(2)]
    out = [(s - k) // t + 1 for s, k, t in zip(size, kernel, strides)]
    batch = r.integer(1, 2)
    taps = kernel[0] * kernel[1] * offset_groups
    inputs = [r.values(F32, [batch, depth, *size]),
              r.values(F32, [filters, depth // groups, *kernel]),
              r.values(F32, [batch, 2 * taps, *out], -1.5, 1.5)]
    if r.chance():
        inputs.append(r.values(F32, [filters]))
        if r.chance():
            inputs.append(r.values(F32, [batch, taps, *out], 0, 1))
    attributes = {"group": groups, "offset_group": offset_groups, "kernel_shape": kernel,
                  "strides": strides, "pads": [0] * 4}
    return Case(inputs, attributes, kind="sum", neighbours=False)
