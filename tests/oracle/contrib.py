"""Generators: operators that ONNX Runtime's optimizer and generators put into models."""
import numpy as np

from cases import CONTRIB, Case, generator

F16, F32 = np.dtype(np.float16), np.dtype(np.float32)


def dimension(r):
    return r.pick([1, 2, 4, 8, 16, 24])


def tokens(r):
    return [r.integer(1, 3), r.integer(1, 7), dimension(r)]


@generator("Gelu", "BiasGelu", "FastGelu", domain=CONTRIB)
def gelu(r, op):
    dtype = F32 if op == "Gelu" else r.pick([F32, F32, F16])
    shape = tokens(r)
    bias = op == "BiasGelu" or (op == "FastGelu" and r.chance())
    return Case([r.values(dtype, shape)] + [r.values(dtype, shape[2:])] * bias, kind="sum")


@generator("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=CONTRIB)
def skip_norm(r, op):
    dtype = r.pick([F32, F32, F16])
    shape = tokens(r)
    last = shape[2:]
    inputs = [r.values(dtype, shape), r.values(dtype, shape), r.values(dtype, last)]
    if op == "SkipLayerNormalization":
        inputs.append(r.values(dtype, last) if r.chance(0.8) else None)
    inputs.append(r.values(dtype, last) if r.chance(0.4) else None)
    names = [True, False, False, True] if r.chance(0.4) else None
    return Case(inputs, {"epsilon": r.pick([1e-5, 1e-12])}, names=names, kind="sum",
                neighbours=False)


@generator("EmbedLayerNormalization", domain=CONTRIB)
def embed_norm(r, op):
    batch, length, hidden = r.integer(1, 3), r.integer(1, 7), dimension(r)
    words, positions, segments = r.integer(4, 30), length + r.integer(0, 4), 2
    ids = r.generator.integers(0, words, [batch, length]).astype(np.int32)
    segment = r.chance()
    inputs = [ids,
              r.generator.integers(0, segments, [batch, length]).astype(np.int32)
              if segment else None,
              r.values(F32, [words, hidden]), r.values(F32, [positions, hidden]),
              r.values(F32, [segments, hidden]) if segment else None,
              r.values(F32, [hidden]), r.values(F32, [hidden])]
    if r.chance():
        inputs.append((np.arange(length) < r.integer(1, length)).astype(np.int32)[None].repeat(
            batch, 0))
    return Case(inputs, {"epsilon": 1e-12}, outputs=2, kind="sum", neighbours=False)


@generator("Attention", domain=CONTRIB)
def packed_attention(r, op):
    heads, size = r.integer(1, 3), 2 * r.integer(1, 6)
    batch, length, hidden = r.integer(1, 3), r.integer(1, 7), heads * size
    inputs = [r.values(F32, [batch, length, hidden]),
              r.values(F32, [hidden, 3 * hidden], -0.5, 0.5), r.values(F32, [3 * hidden])]
    attributes = {"num_heads": heads}
    mask = r.pick(["none", "none", "keys", "lengths"])
    if mask == "keys":
        keys = r.generator.integers(0, 2, [batch, length]).astype(np.int32)
        keys[:, 0] = 1
        inputs.append(keys)
    elif mask == "lengths":
        inputs.append(r.generator.integers(1, length + 1, [batch]).astype(np.int32))
    if r.chance(0.3):
        attributes["unidirectional"] = 1
    return Case(inputs, attributes, kind="sum", neighbours=False)


@generator("GroupQueryAttention", domain=CONTRIB)
def group_query(r, op):
    batch, past, length = r.integer(1, 2), r.pick([0, 0, 3, 5]), r.integer(1, 5)
    if past:
        length = 1
    kv_heads = r.integer(1, 2)
    heads, size = kv_heads * r.integer(1, 3), 16 * r.integer(1, 2)
    attributes = {"num_heads": heads, "kv_num_heads": kv_heads}
    total = past + length
    inputs = [r.values(F32, [batch, length, heads * size]),
              r.values(F32, [batch, length, kv_heads * size]),
              r.values(F32, [batch, length, kv_heads * size]),
              r.values(F32, [batch, kv_heads, past, size]),
              r.values(F32, [batch, kv_heads, past, size]),
              np.full([batch], total - 1, np.int32), np.array(total, np.int32)]
    if r.chance():
        attributes["do_rotary"] = 1
        attributes["rotary_interleaved"] = r.integer(0, 1)
        inputs += [r.values(F32, [total + 3, size // 2], -1, 1) for _ in range(2)]
    return Case(inputs, attributes, outputs=3, kind="sum", neighbours=False, constant=(6,))


@generator("MatMulNBits", domain=CONTRIB)
def matmul_nbits(r, op):
    block = r.pick([16, 32])
    k, n = block * r.integer(1, 3), r.integer(1, 20)
    blocks = k // block
    inputs = [r.values(F32, [*r.shape(r.integer(0, 1), 3, least=1), r.integer(1, 5), k]),
              r.generator.integers(0, 256, [n, blocks, block // 2]).astype(np.uint8),
              r.values(F32, [n, blocks] if r.opset > 99 else [n * blocks], 0.02, 0.2)]
    if r.chance():
        inputs.append(r.generator.integers(0, 256, [n * ((blocks + 1) // 2)]).astype(np.uint8))
    attributes = {"K": k, "N": n, "bits": 4, "block_size": block}
    return Case(inputs, attributes, kind="sum", constant=tuple(range(1, len(inputs))),
                neighbours=False)


def scale(r, times=1.0):
    return np.asarray(r.generator.uniform(0.02, 0.2) * times, F32)


@generator("QLinearAdd", "QLinearMul", domain=CONTRIB)
def qlinear_binary(r, op):
    dtype = np.dtype(r.pick([np.int8, np.uint8]))
    shape = r.shape(least=1)
    return Case([r.values(dtype, shape), scale(r), r.values(dtype, [], 0, 9),
                 r.values(dtype, r.part_of(shape)), scale(r), r.values(dtype, [], 0, 9),
                 scale(r), r.values(dtype, [], 0, 9)], kind="code", neighbours=False)


@generator("QLinearGlobalAveragePool", domain=CONTRIB)
def qlinear_pool(r, op):
    dtype = np.dtype(r.pick([np.int8, np.uint8]))
    last = r.integer(0, 1)
    return Case([r.values(dtype, r.shape(4, least=1)), scale(r), r.values(dtype, [], 0, 9),
                 scale(r), r.values(dtype, [], 0, 9)], {"channels_last": last}, kind="code",
                neighbours=False)


@generator("QGemm", domain=CONTRIB)
def qgemm(r, op):
    m, n, k = (r.integer(1, 17) for _ in range(3))
    dtype = np.dtype(r.pick([np.int8, np.uint8]))
    weight = np.dtype(np.int8)
    transposed = r.integer(0, 1)
    a, b = scale(r), scale(r)
    inputs = [r.values(dtype, [m, k]), a, r.values(dtype, [], 0, 9),
              r.values(weight, [n, k] if transposed else [k, n]), b, np.zeros([], weight),
              r.values(np.int32, [n], -300, 300) if r.chance() else None]
    if r.chance():
        inputs += [scale(r, 10), r.values(dtype, [], 0, 9)]
    return Case(inputs, {"transB": transposed}, kind="code", neighbours=False)
