"""Generators: reductions, positions of extremes, cumulative sums."""
import numpy as np

from cases import Case, generator, is_float

AXES_ARE_INPUT = {"ReduceSum": 13}  # since which opset; the others: 18
FLOAT_RANGE = {"ReduceProd": (0.6, 1.5), "ReduceLogSum": (0.1, 4), "ReduceLogSumExp": (-9, 9)}


def whole_numbers(r, op, dtype, shape):
    if op == "ReduceLogSum":
        return r.values(dtype, shape, 1, 9)
    if op in ("ReduceMax", "ReduceMin", "ReduceSum") and r.chance(0.4):
        return r.values(dtype, shape)
    return r.values(dtype, shape, 0 if dtype.kind == "u" else -3, 3)


@generator("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
           "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")
def reduction(r, op):
    dtype = r.dtype()
    extreme = op in ("ReduceMax", "ReduceMin")
    long = op != "ReduceProd"

    def data(r, rank=None):
        shape = r.shape(rank, 20000 if long else 64)
        if op in ("ReduceMean", "ReduceLogSum"):  # of nothing they are not defined
            shape = [max(n, 1) for n in shape]
        if is_float(dtype):
            low, high = FLOAT_RANGE.get(op, (None, None))
            return r.values(dtype, shape, low, high, special=extreme and r.chance(0.3))
        return whole_numbers(r, op, dtype, shape)
    x = data(r)
    rank = x.ndim
    axes = r.permutation(rank)[:r.integer(0, rank)] if r.chance(0.8) else None
    if axes is not None:
        axes = [a - rank if r.chance(0.3) and r.opset >= 11 else a for a in axes]
    attributes = {"keepdims": r.integer(0, 1)} if r.chance(0.8) else {}

    def expected(inputs):  # of integers: the logarithm is rounded towards zero, once
        x, over = inputs[0].astype(np.float64), None
        if len(inputs) > 1 and inputs[1].size or attributes.get("axes"):
            over = tuple(int(a) for a in attributes.get("axes", inputs[-1]))
        elif attributes.get("noop_with_empty_axes"):
            over = ()
        keep = bool(attributes.get("keepdims", 1))
        if op == "ReduceLogSum":
            y = np.log(x.sum(over, keepdims=keep))
        else:
            y = np.log(np.exp(x).sum(over, keepdims=keep))
        return [np.trunc(y).astype(dtype)]
    own = expected if op.startswith("ReduceLog") and not is_float(dtype) else None
    if r.opset < AXES_ARE_INPUT.get(op, 18):
        attributes |= {"axes": axes} if axes else {}
        return Case([x], attributes, expected=own, neighbours=own is None,
                    kind="exact" if extreme else "sum", again=lambda r: [data(r, rank)])
    if r.chance(0.3):
        attributes["noop_with_empty_axes"] = r.integer(0, 1)
    inputs = [x] if axes is None else [x, np.array(axes, np.int64)]
    constant = (1,) if axes is not None and r.chance(0.7) else ()
    return Case(inputs, attributes, constant=constant, fixed=(1,), expected=own,
                neighbours=own is None, kind="exact" if extreme else "sum",
                again=lambda r: [data(r, rank)] + inputs[1:])


@generator("ArgMax", "ArgMin")
def extreme_position(r, op):
    dtype = r.dtype()

    def data(r, rank):
        shape = r.shape(rank, least=1, least_rank=1)
        x = r.values(dtype, shape)
        return x if r.chance(0.4) else np.round(x) if is_float(dtype) else x % 4  # ties
    x = np.asarray(data(r, None)).astype(dtype)
    attributes = {}
    if r.chance(0.8):
        axis = r.axis(x.ndim)
        attributes["axis"] = axis % x.ndim if r.opset < 11 else axis
    if r.chance(0.7):
        attributes["keepdims"] = r.integer(0, 1)
    if r.opset >= 12 and r.chance():
        attributes["select_last_index"] = r.integer(0, 1)
    return Case([x], attributes, again=lambda r: [np.asarray(data(r, x.ndim)).astype(dtype)])


@generator("CumSum", "CumProd")
def cumulative(r, op):
    dtype = r.dtype()

    def data(r, rank):
        shape = r.shape(rank, least_rank=1)
        if is_float(dtype):
            return r.values(dtype, shape, *((0.7, 1.3) if op == "CumProd" else ()))
        return r.values(dtype, shape, -3 if dtype.kind == "i" else 0, 3)
    x = data(r, None)
    axis = np.array(r.axis(x.ndim), r.pick([np.int32, np.int64]))
    if r.chance(0.3) and dtype.name in ("float32", "float64", "int32", "int64"):
        axis = axis.reshape(1)  # ONNX Runtime's leave; the reference evaluator wants a scalar
    attributes = {k: r.integer(0, 1) for k in ("exclusive", "reverse") if r.chance(0.6)}
    return Case([x, axis], attributes, constant=(1,) if r.chance(0.8) else (), fixed=(1,),
                kind="sum", again=lambda r: [data(r, x.ndim), axis])
