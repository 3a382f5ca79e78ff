"""Generators: normalizations."""
import numpy as np

from cases import Case, generator

F16, F32, F64 = (np.dtype(t) for t in (np.float16, np.float32, np.float64))


def epsilon(r):
    return {"epsilon": r.pick([1e-5, 1e-3, 0.1])} if r.chance(0.7) else {}


@generator("BatchNormalization")
def batch(r, op):
    dtype = r.dtype()
    shape = r.shape(r.integer(2, 5), least=1)
    n = [shape[1]]
    stat = r.dtype("U") if r.opset == 14 else r.dtype("T2") if r.opset >= 15 else dtype
    scale = r.dtype("T1") if r.opset >= 15 else dtype
    if F64 in (dtype, stat, scale):  # judged by the reference evaluator, which is as exact as these
        dtype = stat = scale = F64
    return Case([r.values(dtype, shape), r.values(scale, n), r.values(scale, n), r.values(stat, n),
                 r.values(stat, n, 0.1, 3)], epsilon(r), kind="sum",
                constant=(1, 2, 3, 4) if r.chance(0.7) else ())


@generator("InstanceNormalization")
def instance(r, op):
    dtype = r.dtype(among=[F16, F32])
    shape = r.shape(r.integer(3, 5), least=2)
    n = [shape[1]]
    return Case([r.values(dtype, shape), r.values(dtype, n), r.values(dtype, n)], epsilon(r),
                kind="sum")


@generator("GroupNormalization")
def group(r, op):
    dtype = r.dtype(among=[F16, F32])
    groups = r.integer(1, 4)
    channels = groups * r.integer(1, 4)
    shape = [r.integer(1, 3), channels, *r.shape(r.integer(1, 3), 256, least=2)]
    n = [channels if r.opset >= 21 else groups]
    return Case([r.values(dtype, shape), r.values(dtype, n), r.values(dtype, n)],
                {"num_groups": groups, **epsilon(r)}, kind="sum")


@generator("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer(r, op):
    parameter = "T" if op != "RMSNormalization" else "T"
    known = op != "SimplifiedLayerNormalization"
    dtype = r.dtype(parameter, [F16, F32, F64]) if known else r.pick([F16, F32])
    shape = r.shape(least=2, least_rank=1)
    axis = r.axis(len(shape)) if known else -1
    rest = shape[axis:] if axis < 0 else shape[axis:]
    inputs = [r.values(dtype, shape), r.values(dtype, rest)]
    if op == "LayerNormalization" and r.chance():
        inputs.append(r.values(dtype, rest))
    attributes = {"axis": axis, **epsilon(r)}
    many = op == "LayerNormalization" and r.chance(0.3)
    return Case(inputs, attributes, outputs=3 if many else 1, kind="sum")


@generator("LpNormalization")
def lp(r, op):
    shape = r.shape(least=1, least_rank=1)
    dtype = r.dtype(among=[F32, F64])
    return Case([r.values(dtype, shape)], {"axis": r.axis(len(shape)), "p": r.integer(1, 2)},
                kind="sum")


@generator("MeanVarianceNormalization")
def mean_variance(r, op):
    shape = r.shape(4, least=2)
    axes = sorted({0, 2, 3} if r.chance() else {0, 1, 2, 3})
    return Case([r.values(F32, shape)], {"axes": axes} if r.chance() else {}, kind="sum")
