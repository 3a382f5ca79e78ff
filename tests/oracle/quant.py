"""Generators: quantization."""
import numpy as np

from cases import TYPES, Case, generator, is_float

F16, F32 = np.dtype(np.float16), np.dtype(np.float32)
CODES = ["int8", "uint8", "int16", "uint16", "int4", "uint4", "float8e4m3fn", "float8e5m2"]


def code_type(r, parameter):
    return r.pick([TYPES[n] for n in CODES if n in TYPES and TYPES[n] in r.allowed(parameter)])


def granularity(r, shape):
    """(attributes, shape of scale): per tensor, per channel, per block."""
    per = r.pick(["tensor", "channel", "block"]) if shape else "tensor"
    if r.opset < 13 or per == "tensor" or (per == "block" and r.opset < 21):
        return {}, []
    axis = r.axis(len(shape))
    if per == "channel":
        return {"axis": axis}, [shape[axis]]
    block = r.integer(1, max(1, shape[axis]))
    blocks = list(shape)
    blocks[axis] = -(-shape[axis] // block)
    return {"axis": axis, "block_size": block}, blocks


@generator("QuantizeLinear")
def quantize(r, op):
    out = code_type(r, "T2" if r.opset < 23 else "T3")
    shape = r.shape(least=1)
    attributes, steps = granularity(r, shape)
    x = r.values(F32, shape, -20, 20)
    inputs = [x, r.values(F32, steps, 0.05, 0.3)]
    if r.chance(0.8) or out.name != "uint8":
        zero = np.zeros(steps, out) if is_float(out) else r.values(out, steps, 0, 7)
        inputs.append(np.asarray(zero))
    return Case(inputs, attributes, kind="code", constant=(1, 2)[:len(inputs) - 1], neighbours=False)


@generator("DequantizeLinear")
def dequantize(r, op):
    dtype = code_type(r, "T" if r.opset < 19 else "T1")
    shape = r.shape(least=1)
    attributes, steps = granularity(r, shape)
    inputs = [r.values(dtype, shape), r.values(F32, steps, 0.05, 0.3)]
    if r.chance() and not is_float(dtype):
        inputs.append(r.values(dtype, steps))
    return Case(inputs, attributes, constant=(0, 1, 2)[:len(inputs)] if r.chance(0.3) else (),
                neighbours=False)


@generator("DynamicQuantizeLinear")
def dynamic(r, op):
    return Case([r.values(F32, r.shape(least=1))], outputs=3, kind="code", neighbours=False)
