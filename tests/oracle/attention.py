"""Generators: attention and rotary embedding of ONNX's own domain."""
import numpy as np

from cases import Case, generator

F16, F32 = np.dtype(np.float16), np.dtype(np.float32)


@generator("Attention")
def attention(r, op):
    dtype = r.dtype("T1", [F16, F32])
    batch, keys, queries = r.integer(1, 2), r.integer(1, 9), r.integer(1, 6)
    kv_heads = r.integer(1, 3)
    heads = kv_heads * r.integer(1, 2)
    size, value_size = r.integer(1, 5) * 2, r.integer(1, 9)
    past = r.integer(1, 4) if r.chance(0.3) else 0
    flat = r.chance(0.4)
    attributes = {}
    if flat:
        attributes = {"q_num_heads": heads, "kv_num_heads": kv_heads}
        shapes = [[batch, queries, heads * size], [batch, keys, kv_heads * size],
                  [batch, keys, kv_heads * value_size]]
    else:
        shapes = [[batch, heads, queries, size], [batch, kv_heads, keys, size],
                  [batch, kv_heads, keys, value_size]]
    inputs = [r.values(dtype, s) for s in shapes]
    mask = None
    if r.chance():
        shape = [queries, keys + past]
        if r.chance():
            shape = [r.pick([1, batch]), r.pick([1, heads]), *shape]
        mask = r.values(np.bool_, shape) if r.chance() else r.values(dtype, shape, -3, 3)
        if mask.dtype == np.bool_:
            mask[..., 0] = True  # a row that sees nothing has no answer
    elif r.chance(0.4):
        attributes["is_causal"] = 1
    if r.chance(0.3):
        attributes["scale"] = round(r.generator.uniform(0.1, 1), 2)
    if r.chance(0.2):
        attributes["softcap"] = 2.0
    inputs.append(mask)
    if past:
        inputs += [r.values(dtype, [batch, kv_heads, past, size]),
                   r.values(dtype, [batch, kv_heads, past, value_size])]
    return Case(inputs, attributes, outputs=3 if past else 1, kind="sum", neighbours=False)


@generator("RotaryEmbedding")
def rotary(r, op):
    dtype = r.dtype("T", [F16, F32])
    batch, length, heads, size = r.integer(1, 2), r.integer(1, 6), r.integer(1, 3), 2 * r.integer(1, 6)
    attributes = {"interleaved": r.integer(0, 1)}
    shape = [batch, heads, length, size]
    if r.chance(0.4):
        shape = [batch, length, heads * size]
        attributes["num_heads"] = heads
    half = size // 2
    if size > 4 and r.chance(0.3):
        attributes["rotary_embedding_dim"] = 4
        half = 2
    if r.chance():
        most = length + 4
        caches = [r.values(dtype, [most, half], -1, 1) for _ in range(2)]
        return Case([r.values(dtype, shape), *caches,
                     r.generator.integers(0, most, [batch, length]).astype(np.int64)], attributes,
                    kind="sum", neighbours=False)
    caches = [r.values(dtype, [batch, length, half], -1, 1) for _ in range(2)]
    return Case([r.values(dtype, shape), *caches], attributes, kind="sum", neighbours=False)
