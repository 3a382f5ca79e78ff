"""Generators: more of ONNX Runtime's own operators: fused ones, and attention's."""
import numpy as np

from cases import CONTRIB, Case, generator

F16, F32 = np.dtype(np.float16), np.dtype(np.float32)


@generator("MultiHeadAttention", domain=CONTRIB)
def multi_head_attention(r, op):
    heads, size, value_size = r.integer(1, 3), 2 * r.integer(1, 6), 2 * r.integer(1, 6)
    batch, length, keys = r.integer(1, 3), r.integer(1, 7), r.integer(1, 7)
    causal = r.chance(0.3)
    past = r.integer(1, 4) if r.chance(0.3) else 0
    if past or causal:
        keys = length
    if past:
        value_size = size
    inputs = [r.values(F32, [batch, length, heads * size]),
              r.values(F32, [batch, keys, heads * size]),
              r.values(F32, [batch, keys, heads * value_size])]
    inputs.append(r.values(F32, [heads * (2 * size + value_size)]) if r.chance(0.4) else None)
    mask = None
    if not past and r.chance(0.4):
        mask = (r.generator.random([batch, keys]) < 0.7).astype(np.int32)
    inputs.append(mask)
    inputs.append(r.values(F32, [r.pick([1, batch]), heads, length, keys + past])
                  if r.chance(0.3) else None)
    names = None
    if past:
        inputs += [r.values(F32, [batch, heads, past, size]) for _ in range(2)]
        names = [True, True, True]
    while inputs[-1] is None:
        inputs.pop()
    attributes = {"num_heads": heads}
    if causal:
        attributes["unidirectional"] = 1
    if r.chance(0.3):
        attributes["scale"] = 0.37
    return Case(inputs, attributes, names=names, kind="sum", neighbours=False)


@generator("RotaryEmbedding", domain=CONTRIB)
def rotary(r, op):
    heads, size, batch, length = r.integer(1, 3), 2 * r.integer(1, 6), r.integer(1, 3), r.integer(1, 7)
    most = length + r.integer(1, 9)
    shape = [batch, heads, length, size] if r.chance() else [batch, length, heads * size]
    angle = r.generator.uniform(0, 6, [most, size // 2])
    position = (r.generator.integers(0, most, [batch, length]) if r.chance()
                else np.array([r.integer(0, most - length)]))
    return Case([r.values(F32, shape), position.astype(np.int64), np.cos(angle).astype(F32),
                 np.sin(angle).astype(F32)], {"interleaved": r.integer(0, 1)}, neighbours=False)


@generator("QuickGelu", domain=CONTRIB)
def quick_gelu(r, op):
    return Case([r.values(F32, r.shape())], {"alpha": r.pick([1.702, 1.0])}, kind="sum")


@generator("FusedMatMul", domain=CONTRIB)
def fused_matmul(r, op):
    m, k, n = (r.integer(1, 9) for _ in range(3))
    batch = [r.integer(1, 3) for _ in range(r.integer(0, 2))]
    turned = r.integer(0, 1), r.integer(0, 1)
    a, b = [k, m] if turned[0] else [m, k], [n, k] if turned[1] else [k, n]
    return Case([r.values(F32, batch + a), r.values(F32, (batch if r.chance() else []) + b)],
                {"transA": turned[0], "transB": turned[1], "alpha": r.pick([1.0, 0.5, -2.0])},
                kind="sum")


ACTIVATIONS = [("Relu", []), ("Tanh", []), ("Sigmoid", []), ("LeakyRelu", [0.2]),
               ("Clip", [-0.5, 1.5]), ("HardSigmoid", [0.3, 0.4])]


@generator("FusedConv", domain=CONTRIB)
def fused_conv(r, op):
    name, parameters = r.pick(ACTIVATIONS)
    batch, channels, out, size, kernel = (r.integer(1, 2), r.integer(1, 4), r.integer(1, 5),
                                          r.integer(3, 9), r.integer(1, 3))
    inputs = [r.values(F32, [batch, channels, size, size]),
              r.values(F32, [out, channels, kernel, kernel])]
    inputs.append(r.values(F32, [out]) if r.chance() else None)
    if r.chance(0.3):
        inputs.append(r.values(F32, [batch, out, size - kernel + 1, size - kernel + 1]))
    while inputs[-1] is None:
        inputs.pop()
    attributes = {"activation": name, "kernel_shape": [kernel, kernel]}
    if parameters:
        attributes["activation_params"] = parameters
    return Case(inputs, attributes, constant=(1,), kind="sum")


@generator("FusedGemm", domain=CONTRIB)
def fused_gemm(r, op):
    m, k, n = (r.integer(1, 9) for _ in range(3))
    turned = r.integer(0, 1), r.integer(0, 1)
    inputs = [r.values(F32, [k, m] if turned[0] else [m, k]),
              r.values(F32, [n, k] if turned[1] else [k, n])]
    if r.chance():
        inputs.append(r.values(F32, [n]))
    attributes = {"transA": turned[0], "transB": turned[1], "alpha": 0.7, "beta": 1.5,
                  "activation": r.pick(["Relu", "Tanh", "Sigmoid", "LeakyRelu"])}
    if attributes["activation"] == "LeakyRelu":
        attributes["activation_alpha"] = 0.2
    return Case(inputs, attributes, kind="sum")


def scale(r, shape=()):
    return np.asarray(r.generator.uniform(0.01, 0.1, shape)).astype(F32)


def zero_point(r, dtype, shape=()):
    return np.asarray(r.generator.integers(*((100, 150) if dtype == np.uint8 else (-20, 20)),
                                           shape)).astype(dtype)


@generator("DynamicQuantizeMatMul", "MatMulIntegerToFloat", domain=CONTRIB)
def product(r, op):
    m, k, n = (r.integer(1, 20) for _ in range(3))
    batch = [r.integer(1, 3)] if r.chance() else []
    dtype = r.pick([np.uint8, np.int8])
    columns = (n,) if r.chance(0.3) else ()
    b = r.values(dtype, [k, n], 0 if dtype == np.uint8 else -100, 100)
    bias = r.values(F32, [n]) if r.chance() else None
    zero = zero_point(r, dtype, columns) if r.chance() else None
    if op == "DynamicQuantizeMatMul":
        inputs = [r.values(F32, batch + [m, k]), b, scale(r, columns), zero, bias]
    else:
        inputs = [r.values(np.uint8, batch + [m, k], 0, 255), b, scale(r), scale(r, columns),
                  zero_point(r, np.uint8) if r.chance() else None, zero, bias]
    while inputs[-1] is None:
        inputs.pop()
    return Case(inputs, constant=(1,), kind="sum", neighbours=False)


@generator("QLinearSigmoid", "QLinearLeakyRelu", domain=CONTRIB)
def quantized_unary(r, op):
    dtype = r.pick([np.uint8, np.int8])
    x = r.values(dtype, r.shape(least=1, least_rank=1), 0 if dtype == np.uint8 else -128, 127)
    inputs = [x, scale(r), zero_point(r, dtype), scale(r), zero_point(r, dtype)]
    return Case(inputs, {"alpha": 0.2} if op == "QLinearLeakyRelu" else {},
                constant=(1, 2, 3, 4), kind="code", neighbours=False)


@generator("QLinearConcat", domain=CONTRIB)
def quantized_concat(r, op):
    dtype = r.pick([np.uint8, np.int8])
    shape = r.shape(rank=r.integer(1, 4), least=1)
    axis = r.axis(len(shape))
    inputs = [scale(r), zero_point(r, dtype)]
    for _ in range(r.integer(1, 3)):
        mine = list(shape)
        mine[axis] = r.integer(1, 5)
        inputs += [r.values(dtype, mine, 0 if dtype == np.uint8 else -128, 127), scale(r),
                   zero_point(r, dtype)]
    known = tuple(i for i in range(len(inputs)) if i < 2 or (i - 2) % 3)
    return Case(inputs, {"axis": axis}, constant=known, kind="code", neighbours=False)
