"""Generators: convolutions, pooling, and what slides a window."""
import numpy as np

from cases import Case, generator

F16, F32, F64 = (np.dtype(t) for t in (np.float16, np.float32, np.float64))


def window(r, n, sizes, most=3):
    """(kernel, attributes) of a window over n axes of these sizes."""
    kernel = [r.integer(1, min(most, max(s, 1))) for s in sizes]
    attributes = {}
    if r.chance():
        attributes["strides"] = [r.integer(1, 3) for _ in range(n)]
    if r.chance(0.4):
        attributes["dilations"] = [r.integer(1, 2 if s > 2 * (k - 1) else 1)
                                   for s, k in zip(sizes, kernel)]
    return kernel, attributes


def padding(r, n, kernel, below=None, auto=True):
    """Attributes auto_pad or pads; pads are smaller than the kernel where below is set."""
    if auto and r.chance(0.3):
        return {"auto_pad": r.pick(["SAME_UPPER", "SAME_LOWER", "VALID"])}
    if r.chance(0.6):
        return {"pads": [r.integer(0, kernel[i % n] - 1 if below else 2) for i in range(2 * n)]}
    return {}


def extents(sizes, kernel, attributes):
    """Sizes of the result; None where one would not be positive."""
    n = len(sizes)
    dilations = attributes.get("dilations", [1] * n)
    pads = attributes.get("pads", [0] * 2 * n)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel)]
    return all(sizes[i] + pads[i] + pads[n + i] >= reach[i] for i in range(n))


def spatial(r, n):
    return [r.pick([[1, 3, 5, 8, 17, 40], [2, 3, 5, 8, 13], [3, 4, 5]][min(n, 3) - 1])
            for _ in range(n)]


@generator("Conv", "ConvInteger", "QLinearConv")
def conv(r, op):
    n = r.pick([1, 2, 2, 2, 3])
    group = r.pick([1, 1, 1, 2, 3])
    depth, filters = group * r.integer(1, 5), group * r.integer(1, 5)
    if r.chance(0.2):  # depthwise
        group = depth
        filters = depth * r.integer(1, 2)
    while True:
        sizes = spatial(r, n)
        kernel, attributes = window(r, n, sizes)
        attributes |= padding(r, n, kernel)
        if attributes.get("auto_pad", "").startswith("SAME"):
            attributes.pop("dilations", None)
        if extents(sizes, kernel, attributes):
            break
    attributes["group"] = group
    if r.chance():
        attributes["kernel_shape"] = kernel
    x_shape, w_shape = [r.integer(1, 3), depth, *sizes], [filters, depth // group, *kernel]
    if op == "Conv":
        # the reference evaluator, which judges float64, mistakes VALID
        dtype = r.dtype(among=[F32] if attributes.get("auto_pad") == "VALID" else None)

        def inputs(x_shape):
            return [r.values(dtype, x_shape), r.values(dtype, w_shape)] + [
                r.values(dtype, [filters])] * bias
        bias = r.chance()
        return Case(inputs(x_shape), attributes, kind="sum", constant=(1, 2)[:1 + bias],
                    again=lambda r: inputs([r.integer(1, 3), depth,
                                            *(s + r.integer(0, 4) for s in sizes)]))
    return quantized_conv(r, op, x_shape, w_shape, attributes)


def scale(r, shape=()):
    return np.asarray(r.generator.uniform(0.02, 0.2, shape), F32)


def quantized_conv(r, op, x_shape, w_shape, attributes):
    x_type, w_type = np.dtype(np.uint8), r.pick([np.dtype(np.uint8), np.dtype(np.int8)])
    x, w = r.values(x_type, x_shape, 0, 255), r.values(w_type, w_shape, 0 if w_type == np.uint8
                                                       else -128, 127)
    x_zero, w_zero = r.values(x_type, [], 0, 255), r.values(w_type, [], 0, 9)
    if op == "ConvInteger":
        zeros = [x_zero, w_zero][:r.integer(0, 2)]
        return Case([x, w, *zeros], attributes, kind="exact")
    per_channel = r.chance()
    shape = [w_shape[0]] if per_channel else []
    w_zero = np.zeros(shape, w_type) if w_type == np.int8 else np.full(shape, 3, w_type)
    inputs = [x, scale(r), x_zero, w, scale(r, shape), w_zero, scale(r) * 20,
              r.values(x_type, [], 100, 150)]
    if r.chance():
        inputs.append(r.values(np.int32, [w_shape[0]], -500, 500))
    return Case(inputs, attributes, kind="code", constant=tuple(range(3, len(inputs))))


@generator("ConvTranspose")
def conv_transpose(r, op):
    group = r.pick([1, 1, 2])
    dtype = r.dtype(among=[F16, F32])
    n = r.pick([1, 2, 2, 3])
    depth, filters = group * r.integer(1, 4), r.integer(1, 4)
    sizes = [r.integer(1, 6) for _ in range(n)]
    kernel = [r.integer(1, 4) for _ in range(n)]
    attributes = {"group": group, "kernel_shape": kernel}
    strides = [r.integer(1, 3) for _ in range(n)]
    attributes["strides"] = strides
    if r.chance(0.3):
        attributes["dilations"] = [r.integer(1, 2) for _ in range(n)]
    if r.chance(0.3):
        attributes["output_padding"] = [r.integer(0, s - 1) for s in strides]
    if r.chance(0.2):
        attributes["auto_pad"] = r.pick(["SAME_UPPER", "SAME_LOWER"])
        attributes["strides"] = [r.integer(1, k) for k in kernel]
        attributes.pop("dilations", None)
        attributes.pop("output_padding", None)
    elif r.chance():
        attributes["pads"] = [r.integer(0, (kernel[i % n] - 1) // 2) for i in range(2 * n)]
    x, w = r.values(dtype, [r.integer(1, 3), depth, *sizes]), r.values(
        dtype, [depth, filters, *kernel])
    bias = [r.values(dtype, [filters * group])] if r.chance() else []
    return Case([x, w, *bias], attributes, kind="sum", constant=(1, 2)[:1 + len(bias)])


@generator("MaxPool", "AveragePool", "LpPool")
def pool(r, op):
    judged = {"MaxPool": [F32] if r.opset < 8 else None, "AveragePool": [F16, F32],
              "LpPool": [F16, F32]}[op]
    dtype = r.dtype(among=judged)
    n = r.pick([1, 2, 2, 3])
    while True:
        sizes = spatial(r, n)
        kernel, attributes = window(r, n, sizes, most=4)
        since = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]
        if r.opset < since:
            attributes.pop("dilations", None)
        attributes |= padding(r, n, kernel, below=True)
        if attributes.get("auto_pad", "").startswith("SAME"):
            attributes.pop("dilations", None)
            attributes["strides"] = [r.integer(1, k) for k in kernel]
        if extents(sizes, kernel, attributes):
            break
    attributes["kernel_shape"] = kernel
    if r.opset >= since and r.chance(0.4):
        attributes["ceil_mode"] = 1
    if op == "AveragePool" and r.chance():
        attributes["count_include_pad"] = r.integer(0, 1)
    if op == "LpPool":
        attributes["p"] = r.integer(1, 3)
    both = op == "MaxPool" and r.opset >= 8 and r.chance(0.4)
    if both and r.chance() and n == 2:
        attributes["storage_order"] = 1

    def inputs(r, sizes):
        x = r.values(dtype, [r.integer(1, 3), r.integer(1, 4), *sizes])
        return [np.abs(x) if op == "LpPool" else x]
    return Case(inputs(r, sizes), attributes, outputs=2 if both else 1,
                kind="moved" if op == "MaxPool" else "sum", neighbours=op != "MaxPool",
                again=None if both else lambda r: inputs(r, [s + r.integer(0, 5) for s in sizes]))


def global_answer(op, p):
    """The pool over all axes from the third on, in double."""
    def answer(inputs):
        x = inputs[0].astype(np.float64)
        axes = tuple(range(2, x.ndim))
        if op == "GlobalMaxPool":
            y = x.max(axes, keepdims=True)
        elif op == "GlobalAveragePool":
            y = x.mean(axes, keepdims=True)
        else:
            y = (np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p)
        return [y.astype(inputs[0].dtype)]
    return answer


@generator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(r, op):
    dtype = r.dtype()
    rank = r.integer(3, 5)
    attributes = {"p": r.integer(1, 3)} if op == "GlobalLpPool" else {}

    def inputs(r):  # means far from 0: a sum that cancels has no digits to compare
        return [r.values(dtype, r.shape(rank, least=1), -1, 3)]
    return Case(inputs(r), attributes, kind="exact" if op == "GlobalMaxPool" else "sum", again=inputs,
                expected=global_answer(op, attributes.get("p")))


@generator("MaxUnpool")
def max_unpool(r, op):
    batch, depth, height, width = (r.integer(1, 4) for _ in range(4))
    x = r.values(r.dtype("T1"), [batch, depth, height, width])
    # each index inside the 2x2 window that it came from
    out = (2 * height, 2 * width)
    n, c, i, j = np.indices(x.shape)
    at = ((n * depth + c) * out[0] + 2 * i + r.generator.integers(0, 2, x.shape)) * out[1] + (
        2 * j + r.generator.integers(0, 2, x.shape))
    inputs = [x, at.astype(np.int64)]
    if r.chance():
        inputs.append(np.array([batch, depth, *out], np.int64))
    return Case(inputs, {"kernel_shape": [2, 2], "strides": [2, 2]}, kind="moved",
                constant=(2,) if len(inputs) > 2 and r.chance() else (), neighbours=False)


@generator("LRN")
def lrn(r, op):
    shape = r.shape(r.integer(3, 5), least=1)
    attributes = {"size": r.integer(1, 3) * 2 - 1}
    for name, low, high in (("alpha", 1e-4, 1), ("beta", 0.3, 1), ("bias", 0.5, 2)):
        if r.chance():
            attributes[name] = round(r.generator.uniform(low, high), 4)
    return Case([r.values(r.dtype(), shape)], attributes, kind="sum",
                expected=local_response(**attributes))


def local_response(size, alpha=0.0001, beta=0.75, bias=1.0):
    alpha, beta, bias = (float(np.float32(v)) for v in (alpha, beta, bias))

    def answer(inputs):
        x = inputs[0].astype(np.float64)
        before, after = (size - 1) // 2, size // 2
        squares = np.stack([(x[:, max(c - before, 0):c + after + 1] ** 2).sum(1)
                            for c in range(x.shape[1])], 1)
        return [(x / (bias + alpha / size * squares) ** beta).astype(inputs[0].dtype)]
    return answer


@generator("Col2Im")
def col2im(r, op):
    n = r.integer(1, 3)
    while True:
        image = [r.integer(1, 7) for _ in range(n)]
        kernel, attributes = window(r, n, image)
        attributes |= padding(r, n, kernel, auto=False)
        if extents(image, kernel, attributes):
            break
    dilations = attributes.get("dilations", [1] * n)
    pads, strides = attributes.get("pads", [0] * 2 * n), attributes.get("strides", [1] * n)
    places = [(image[i] + pads[i] + pads[n + i] - dilations[i] * (kernel[i] - 1) - 1) //
              strides[i] + 1 for i in range(n)]
    x = r.values(F32, [r.integer(1, 2), r.integer(1, 3) * int(np.prod(kernel)),
                       int(np.prod(places))])
    return Case([x, np.array(image, np.int64), np.array(kernel, np.int64)], attributes, kind="sum",
                constant=(1, 2))
