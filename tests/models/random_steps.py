"""Steps of random graphs that compute."""
import numpy as np
from onnx import TensorProto, helper

from random_graphs import Skip, step


# ---- contractions --------------------------------------------------------------------------------

def window(g, size, kernel, strides=(1, 1, 1, 2), dilations=(1, 1, 1, 1, 2)):
    """(stride, dilation, low, high, result) of a window along an axis."""
    stride, dilation = g.pick(strides), g.pick(dilations)
    reach = (kernel - 1) * dilation + 1
    low, high = g.pick(((0, 0), (reach // 2,) * 2, (reach // 2,) * 2, (reach - 1, 0), (0, 1)))
    result = (size + low + high - reach) // stride + 1
    if low >= reach or high >= reach or result < 1:
        raise Skip
    return stride, dilation, low, high, result


def windows(g, x, kernel, **more):
    """Attributes of a window over an image, and the image's sizes behind it."""
    each = [window(g, d, k, **more) for d, k in zip(x.shape[2:], kernel)]
    stride, dilation, low, high, result = zip(*each)
    return {"kernel_shape": kernel, "strides": stride, "dilations": dilation,
            "pads": low + high}, result


def image(g):
    return g.value((3, 4, 4, 5), lambda v: not any(v.free(a) for a in range(1, v.rank)))


def kernel_of(g, x):
    k = g.pick((1, 1, 2, 3, 3, 5))
    kernel = [k] * (x.rank - 2)
    if g.chance(0.15):
        kernel[g.random.randrange(len(kernel))] = g.pick((1, 2, 4))
    return kernel


@step(9)
def conv(g):
    x = image(g)
    channels, kernel = x.shape[1], kernel_of(g, x)
    group = g.pick((1, 1, 1, channels, g.pick(d for d in range(1, channels + 1) if channels % d == 0)))
    out = channels * g.pick((1, 1, 2)) if group == channels else group * g.pick((1, 2, 3, 4, 8))
    out = g.size() if group == 1 else out
    attributes, sizes = windows(g, x, kernel)
    fan = channels // group * int(np.prod(kernel))
    w = g.normal(out, channels // group, *kernel, scale=fan ** -0.5)
    bias = [g.normal(out)] if g.chance() else []
    y = g.node("Conv", [x, w, *bias], (x.shape[0], out, *sizes), group=group, **attributes)
    return activated(g, y)


@step(2)
def conv_transpose(g):
    x = image(g)
    channels = x.shape[1]
    group = g.pick((1, 1, g.pick(d for d in range(1, channels + 1) if channels % d == 0)))
    out, k, stride = g.pick((1, 2, 3, 4, 8)), g.pick((1, 2, 3, 4)), g.pick((1, 2, 2, 3))
    pad = g.random.randrange(0, (k + 1) // 2)
    sizes = [(d - 1) * stride + k - 2 * pad for d in x.shape[2:]]
    spatial = x.rank - 2
    if min(sizes) < 1:
        raise Skip
    w = g.normal(channels, out, *[k] * spatial, scale=(channels // group * k) ** -0.5)
    bias = [g.normal(out * group)] if g.chance() else []
    y = g.node("ConvTranspose", [x, w, *bias], (x.shape[0], out * group, *sizes), group=group,
               strides=[stride] * spatial, pads=[pad] * 2 * spatial, kernel_shape=[k] * spatial)
    return activated(g, y)


def product(g, x, columns, bias=None):
    depth = x.shape[-1]
    scale = depth ** -0.5
    if g.chance(0.2):
        w = g.node("Transpose", [g.normal(columns, depth, scale=scale)], perm=[1, 0])
    else:
        w = g.normal(depth, columns, scale=scale)
    y = g.node("MatMul", [x, w], (*x.shape[:-1], columns))
    if g.chance() if bias is None else bias:
        y = g.node("Add", g.random.sample([y, g.normal(columns)], 2), y.shape)
    return y


@step(8)
def matmul(g):
    x = g.value(range(2, 6), lambda v: not v.free(-1))
    y = product(g, x, g.size())
    if g.chance(0.25):  # siblings
        g.add(product(g, x, g.pick((y.shape[-1], g.size()))))
    return activated(g, y)


@step(2)
def gemm(g):
    x = g.value((2,), lambda v: not v.free(0) and not v.free(1))
    a, b = g.chance(0.3), g.chance()
    rows, depth = x.shape[::-1] if a else x.shape
    n = g.size()
    w = g.normal(*((n, depth) if b else (depth, n)), scale=depth ** -0.5)
    c = g.normal(*g.pick(((n,), (1, n), (rows, 1), (rows, n), (1,))))
    return g.add(g.node("Gemm", [x, w, c], (rows, n), transA=int(a), transB=int(b),
                        alpha=g.pick((1.0, 0.5)), beta=g.pick((1.0, -2.0))))


@step(3)
def product_of_two(g):
    x = g.value(range(2, 6))
    y = g.value((x.rank,), lambda v: v.shape[:-2] == x.shape[:-2] and v.shape[-1] == x.shape[-1])
    perm = [*range(y.rank - 2), y.rank - 1, y.rank - 2]
    turned = g.node("Transpose", [y], perm=perm)
    scaled = g.node("Mul", [x, g.number(x.shape[-1] ** -0.5)])
    return g.add(g.node("MatMul", [scaled, turned], (*x.shape[:-1], y.shape[-2])))


@step(3)
def attention(g):
    x = g.value((3,), lambda v: not v.free(2))
    batch, length, _ = x.shape
    heads, size = g.pick((1, 2, 4)), g.pick((4, 8, 16, 24, 32, 40, 64))
    width = heads * size
    keys = g.value((3,), lambda v: v.shape[0] == batch and not v.free(2)) if g.chance(0.3) else x
    split = {"q": x, "k": keys, "v": keys}
    parts = {}
    for name, source in split.items():
        y = g.node("Reshape", [product(g, source, width), g.ints(0, 0, heads, size)])
        perm = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        parts[name] = g.node("Transpose", [y], perm=perm)
    scale = g.number(size ** -0.5)
    early = g.chance(0.3)
    q = g.node("Mul", [parts["q"], scale]) if early else parts["q"]
    scores = g.node("MatMul", [q, parts["k"]], (batch, heads, length, keys.shape[1]))
    if not early:
        scores = g.node(g.pick(("Mul", "Mul")), [scores, scale], scores.shape)
    fixed = not x.free(1) and not keys.free(1)
    if fixed and g.chance():
        mask = np.where(g.numbers.random((length, keys.shape[1])) < 0.3, g.pick((-np.inf, -1e4)), 0)
        mask[:, 0] = 0
        mask = mask if g.chance() else np.triu(np.full(mask.shape, -np.inf), 1)
        scores = g.node("Add", [scores, g.constant(mask.astype(g.float))])
    weights = g.node("Softmax", [scores], axis=-1)
    y = g.node("Transpose", [g.node("MatMul", [weights, parts["v"]])], perm=[0, 2, 1, 3])
    y = g.node("Reshape", [y, g.ints(0, 0, width)], (batch, length, width))
    if g.chance(0.7):
        y = product(g, y, x.shape[2])
        y = g.node("Add", [x, y], x.shape) if g.chance() else y
    return g.add(y)


# ---- quantization --------------------------------------------------------------------------------

def byte_type(g):
    kind = g.pick((np.int8, np.uint8))
    zero = g.pick((0, 0, -7, 60)) if kind == np.int8 else g.pick((128, 128, 0, 3, 200))
    return kind(zero)


def there_and_back(g, x, scale=None):
    g.root.quantized = True
    scale, zero = g.number(scale or g.pick((0.02, 0.04, 0.06))), g.constant(byte_type(g))
    q = g.node("QuantizeLinear", [x, scale, zero])
    return g.node("DequantizeLinear", [q, scale, zero], x.shape)


def quantized_weights(g, shape, channel, fan):
    kind = g.pick((np.int8, np.int8, np.uint8))
    w = g.numbers.integers(-100, 100, shape)
    zero = 128 if kind == np.uint8 else 0
    scale = fan ** -0.5 / 60
    if g.chance(0.6):
        scales = (g.numbers.uniform(0.5, 1.5, shape[channel]) * scale).astype(g.float)
        zeros, more = np.full(shape[channel], zero, kind), {"axis": channel}
    else:
        scales, zeros, more = g.float(scale), kind(zero), {}
    names = [g.constant((w + zero).astype(kind)), g.constant(scales), g.constant(zeros)]
    return g.node("DequantizeLinear", names, **more)


@step(2)
def quantized_conv(g):
    x = image(g)
    channels, kernel, out = x.shape[1], kernel_of(g, x), g.size()
    attributes, sizes = windows(g, x, kernel)
    w = quantized_weights(g, (out, channels, *kernel), 0, channels * int(np.prod(kernel)))
    bias = [g.normal(out)] if g.chance() else []
    y = g.node("Conv", [there_and_back(g, x), w, *bias], (x.shape[0], out, *sizes), **attributes)
    y = g.node("Relu", [y], y.shape) if g.chance() else y
    return g.add(there_and_back(g, y) if g.chance(0.8) else y)


@step(2)
def quantized_matmul(g):
    x = g.value(range(2, 5), lambda v: not v.free(-1))
    depth, n = x.shape[-1], g.size()
    w = quantized_weights(g, (depth, n), 1, depth)
    y = g.node("MatMul", [there_and_back(g, x), w], (*x.shape[:-1], n))
    y = g.node("Add", [y, g.normal(n)], y.shape) if g.chance() else y
    return g.add(there_and_back(g, y) if g.chance(0.7) else y)


@step(2)
def narrow_weights(g):
    x = g.value(range(2, 5), lambda v: not v.free(-1))
    depth, n = x.shape[-1], g.size()
    block = g.pick(b for b in (0, 2, 4, 8, 16, 32) if b == 0 or depth % b == 0)
    kind = g.pick((TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8))
    low, high = {TensorProto.INT4: (-8, 7), TensorProto.UINT4: (0, 15),
                 TensorProto.INT8: (-128, 127)}[kind]
    zero = (low + high + 1) // 2
    name = f"w{len(g.root.constants)}"
    w = g.numbers.integers(low, high, (depth, n), endpoint=True)
    g.root.constants.append(helper.make_tensor(name, kind, w.shape, w.flatten().tolist()))
    shape = (depth // block, n) if block else (n,)
    scales = g.numbers.uniform(0.5, 1.5, shape) * depth ** -0.5 / (high - zero)
    zeros = f"w{len(g.root.constants)}"
    g.root.constants.append(helper.make_tensor(zeros, kind, shape, [zero] * int(np.prod(shape))))
    more = {"axis": 0, "block_size": block} if block else {"axis": 1}
    w = g.node("DequantizeLinear", [name, g.constant(scales.astype(g.float)), zeros], **more)
    return activated(g, g.node("MatMul", [x, w], (*x.shape[:-1], n)))


@step(1)
def quantize_and_back(g):
    x = g.value()
    return g.add(there_and_back(g, x))


# ---- elementwise ---------------------------------------------------------------------------------

def activated(g, y):
    """The value, or an activation of it."""
    if g.chance(0.4):
        g.add(y)
        return activation(g, y)
    return g.add(y)


@step(2)
def relu(g):
    x = g.value()
    return g.add(g.node("Relu", [x], x.shape))


@step(4)
def activation(g, x=None):
    x = x or g.value()
    kind = g.pick(("Relu", "Relu", "Sigmoid", "Tanh", "HardSwish", "Mish", "LeakyRelu", "Erf", "Gelu",
                   "gelu by erf", "silu", "Clip", "Softplus", "Abs", "Neg"))
    if kind == "gelu by erf":
        e = g.node("Erf", [g.node("Div", [x, g.number(2 ** 0.5)])])
        y = g.node("Mul", [x, g.node("Add", [e, g.number(1)])])
        return g.add(g.node("Mul", [y, g.number(0.5)], x.shape))
    if kind == "silu":
        return g.add(g.node("Mul", [x, g.node("Sigmoid", [x])], x.shape))
    more = [g.number(-1), g.number(1.5)] if kind == "Clip" else []
    return g.add(g.node(kind, [x, *more], x.shape))


@step(6)
def binary(g):
    x = g.value()
    op = g.pick(("Add", "Add", "Add", "Mul", "Sub", "Max", "Min"))
    if g.chance():
        y = g.value((x.rank,), lambda v: v.shape == x.shape)
    else:
        shape = [d if g.chance(0.6) and not x.free(a) else 1 for a, d in enumerate(x.shape)]
        y = g.normal(*shape[g.random.randrange(x.rank):])
    return g.add(g.node(op, g.random.sample([x, y], 2), x.shape))


@step(1)
def select(g):
    x = g.value()
    y = g.value((x.rank,), lambda v: v.shape == x.shape)
    mask = [1 if x.free(a) else d for a, d in enumerate(x.shape)]
    return g.add(g.node("Where", [g.constant(g.numbers.random(mask) < 0.5), x, y], x.shape))


@step(1)
def cast_and_back(g):
    x = g.value()
    kind, unit = g.pick(((TensorProto.FLOAT16, 5e-4), (TensorProto.BFLOAT16, 4e-3),
                         (TensorProto.DOUBLE, 0)))
    g.root.rounding = max(g.root.rounding, unit)
    half = g.node("Cast", [x], to=kind)
    own = helper.np_dtype_to_tensor_dtype(np.dtype(g.float))
    return g.add(g.node("Cast", [half], x.shape, to=own))


# ---- rows ----------------------------------------------------------------------------------------

@step(3)
def normalization(g):
    x = g.value(range(2, 6), lambda v: not v.free(-1))
    n, kind = x.shape[-1], g.pick(("layer", "layer", "rms", "batch", "instance"))
    if kind == "layer":
        more = [g.normal(n), g.normal(n)][:g.pick((1, 2, 2))]
        return g.add(g.node("LayerNormalization", [x, *more], x.shape, axis=-1, epsilon=1e-3))
    if kind == "rms":
        mean = g.node("ReduceMean", [g.node("Mul", [x, x]), g.ints(-1)])
        root = g.node("Sqrt", [g.node("Add", [mean, g.number(1e-3)])])
        return g.add(g.node("Mul", [g.node("Div", [x, root]), g.normal(n)], x.shape))
    if x.free(1) or x.rank < 3:
        raise Skip
    if kind == "instance" and n == 1:
        raise Skip  # x less itself is 0 here, what rounding leaves in ONNX Runtime
    c = x.shape[1]
    if kind == "batch":
        variance = g.constant(g.numbers.uniform(0.5, 2, c).astype(g.float))
        return g.add(g.node("BatchNormalization",
                            [x, g.normal(c), g.normal(c), g.normal(c), variance], x.shape))
    return g.add(g.node("InstanceNormalization", [x, g.normal(c), g.normal(c)], x.shape,
                        epsilon=1e-3))


@step(2)
def softmax(g):
    x = g.value()
    return g.add(g.node(g.pick(("Softmax", "Softmax", "LogSoftmax")), [x], x.shape,
                        axis=g.random.randrange(-x.rank, x.rank)))


@step(3)
def reduction(g):
    x = g.value(range(2, 6))
    axes = sorted(g.random.sample(range(x.rank), g.pick((1, 1, 2))))
    keep = g.chance()
    op = g.pick(("ReduceMean", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"))
    shape = [1 if a in axes else d for a, d in enumerate(x.shape) if keep or a not in axes]
    return g.add(g.node(op, [x, g.ints(*axes)], shape, keepdims=int(keep)))


@step(3)
def pool(g):
    x = image(g)
    if g.chance(0.3):
        return g.add(g.node(g.pick(("GlobalAveragePool", "GlobalMaxPool")), [x],
                            (*x.shape[:2], *[1] * (x.rank - 2))))
    kernel = [g.pick((2, 2, 3))] * (x.rank - 2)
    op = g.pick(("MaxPool", "AveragePool"))
    # The mean of padding alone is anything, and so is its maximum.
    dilations = (1, 1, 2) if op == "MaxPool" and min(x.shape[2:]) > 2 else (1,)
    attributes, sizes = windows(g, x, kernel, strides=(1, 2, 2, 3), dilations=dilations)
    return g.add(g.node(op, [x], (*x.shape[:2], *sizes), **attributes))
