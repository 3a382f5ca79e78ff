"""Generators: what picks, scatters and sorts elements, and what is made from positions."""
import numpy as np

from cases import Case, generator, is_float
from shape import data


def indices(r, shape, n, dtype=np.int64, negative=True):
    low = -n if negative and r.chance() else 0
    return r.values(dtype, shape, low, n - 1)


@generator("Gather")
def gather(r, op):
    dtype, kind = r.dtype(), r.dtype("Tind")
    shape = r.shape(least_rank=1, most_rank=4, most_elements=600)
    axis = r.axis(len(shape))
    shape[axis] = max(shape[axis], 1)
    at = r.shape(most_rank=3, most_elements=50)
    negative = r.opset >= 11
    attributes = {"axis": axis} if r.chance(0.8) or axis % len(shape) else {}

    def inputs(r, shape, at):
        n = shape[attributes.get("axis", 0)]
        if n == 0:
            at = [0] + at[1:] if at else at
        return [data(r, dtype, shape), indices(r, at, max(n, 1), kind, negative)]

    def again(r):
        return inputs(r, r.shape(len(shape), 600, least=1), r.shape(len(at), 50))
    shape[attributes.get("axis", 0)] = max(shape[attributes.get("axis", 0)], 1)
    return Case(inputs(r, shape, at), attributes, kind="moved", again=again)


@generator("GatherElements")
def gather_elements(r, op):
    dtype, kind = r.dtype(), r.dtype("Tind")
    rank = r.integer(1, 5)
    axis = r.axis(rank)

    def inputs(r):
        shape = r.shape(rank, 600, least=1)
        at = [r.integer(1, n) for n in shape]
        at[axis] = r.pick([0, 1, 3, 7])
        return [data(r, dtype, shape), indices(r, at, shape[axis], kind)]
    return Case(inputs(r), {"axis": axis} if axis or r.chance() else {}, kind="moved",
                again=inputs)


def nd_indices(r, shape, depth, lead, negative=True):
    """[*lead, depth] indices into the first `depth` axes."""
    columns = [indices(r, lead, n, negative=negative) for n in shape[:depth]]
    return np.stack(columns, -1) if columns else np.zeros(list(lead) + [0], np.int64)


@generator("GatherND")
def gather_nd(r, op):
    rank = r.integer(1, 5)
    shape = r.shape(rank, 600, least=1)
    batch = r.integer(0, min(rank - 1, 2)) if r.opset >= 12 and r.chance() else 0
    depth = r.integer(1, rank - batch)
    lead = shape[:batch] + r.shape(r.integer(0, 2), 20)
    x = data(r, r.dtype(), shape)
    return Case([x, nd_indices(r, shape[batch:], depth, lead)],
                {"batch_dims": batch} if batch else {}, kind="moved", fixed=(1,))


@generator("Scatter", "ScatterElements")
def scatter_elements(r, op):
    dtype, kind = r.dtype(), r.dtype("Tind")
    rank = r.integer(1, 4)
    shape = r.shape(rank, 600, least=1)
    axis = r.axis(rank)
    attributes = {"axis": axis} if axis or r.chance() else {}
    reduce_by = ["none"]
    if op == "ScatterElements" and r.opset >= 16 and dtype != bool:
        reduce_by += ["add", "mul"] + ["max", "min"] * (r.opset >= 18)
    how = r.pick(reduce_by)
    at = [r.integer(1, n) for n in shape]
    if how == "none":  # no element twice: ONNX leaves open which one wins
        at[axis] = r.integer(1, shape[axis])
        where = np.argsort(r.generator.random(at[:axis % rank] + [shape[axis]] +
                                              at[axis % rank + 1:]), axis=axis)
        where = np.take(where, range(at[axis]), axis=axis)
        where = np.where(r.chance(), where, where - shape[axis]).astype(kind)
    else:
        attributes["reduction"] = how
        where = indices(r, at, shape[axis], kind)
    x = data(r, dtype, shape) if how == "none" else r.values(dtype, shape, 0, 3)
    updates = data(r, dtype, at) if how == "none" else r.values(dtype, at, 0, 3)
    return Case([x, where, updates], attributes,
                kind="sum" if how in ("add", "mul") else "exact")


@generator("ScatterND")
def scatter_nd(r, op):
    dtype = r.dtype()
    rank = r.integer(1, 4)
    shape = r.shape(rank, 600, least=1)
    depth = r.integer(1, rank)
    reduce_by = ["none"]
    if r.opset >= 16 and dtype != bool:
        reduce_by += ["add", "mul"] + ["max", "min"] * (r.opset >= 18)
    how = r.pick(reduce_by)
    places = int(np.prod(shape[:depth]))
    if how == "none":
        count = r.integer(0, min(places, 12))
        flat = r.generator.permutation(places)[:count]
        at = np.stack(np.unravel_index(flat, shape[:depth]), -1).astype(np.int64)
        at = at.reshape(count, depth)
        at = at - np.array(shape[:depth], np.int64) if r.chance(0.3) else at
    else:
        at = nd_indices(r, shape, depth, r.shape(r.integer(0, 2), 20))
    size = list(at.shape[:-1]) + shape[depth:]
    bounds = () if how == "none" else (0, 3)
    return Case([r.values(dtype, shape, *bounds), at, r.values(dtype, size, *bounds)],
                {"reduction": how} if how != "none" else {},
                kind="sum" if how in ("add", "mul") else "exact")


@generator("TensorScatter")
def tensor_scatter(r, op):
    dtype = r.dtype()
    rank = r.integer(2, 5)
    shape = r.shape(rank, 600, least=1)
    axis = r.integer(1, rank - 1)
    mode = r.pick(["linear", "circular"])
    update = list(shape)
    update[axis] = r.integer(1, shape[axis])
    last = shape[axis] - (update[axis] if mode == "linear" else 1)
    inputs = [data(r, dtype, shape), data(r, dtype, update)]
    if r.chance(0.7):
        inputs.append(r.values(np.int64, [shape[0]], 0, last))
    attributes = {"mode": mode, "axis": axis - rank if r.chance() else axis}

    def expected(inputs):  # the reference evaluator is wrong for axes other than the last but one
        cache, new = (np.moveaxis(x, axis, 1).copy() for x in inputs[:2])
        starts = inputs[2] if len(inputs) > 2 else np.zeros(shape[0], int)
        for row, start in enumerate(starts):
            for k in range(new.shape[1]):
                cache[row, (int(start) + k) % cache.shape[1]] = new[row, k]
        return [np.moveaxis(cache, 1, axis)]
    return Case(inputs, attributes, kind="moved", expected=expected, neighbours=False)


@generator("ReverseSequence")
def reverse_sequence(r, op):
    rank = r.integer(2, 4)
    shape = r.shape(rank, 600, least=1)
    batch = r.integer(0, 1)
    lengths = r.values(np.int64, [shape[batch]], 0 if r.chance() else 1, shape[1 - batch])
    return Case([data(r, r.dtype(), shape), lengths],
                {"batch_axis": batch, "time_axis": 1 - batch}, kind="moved")


@generator("TopK")
def top_k(r, op):
    dtype = r.dtype()

    def numbers(r, rank):
        shape = r.shape(rank, 3000, least=1, least_rank=1)
        x = r.values(dtype, shape)
        return np.asarray(x if r.chance() else np.round(x) if is_float(dtype) else x % 5, dtype)
    x = numbers(r, None)
    axis = r.integer(0 if r.opset < 11 else -x.ndim, x.ndim - 1)
    k = r.integer(0 if r.chance(0.1) else 1, x.shape[axis])
    attributes = {"axis": axis}
    if r.opset < 10:
        return Case([x], attributes | {"k": max(k, 1)}, outputs=2, kind="moved")
    if r.opset >= 11 and r.chance(0.7):
        attributes["largest"] = r.integer(0, 1)
    return Case([x, np.array([k], np.int64)], attributes, outputs=2, kind="moved",
                constant=(1,) if r.chance(0.7) else ())


@generator("OneHot")
def one_hot(r, op):
    index, count, dtype = r.dtype("T1"), r.dtype("T2"), r.dtype("T3")
    depth = r.integer(1, 9)
    low = 0 if index.kind == "u" else -depth - 2
    at = r.values(index, r.shape(least_rank=1, most_rank=3, most_elements=60), low, depth + 2)
    at = np.round(at).astype(index) if is_float(index) else at
    size = np.asarray(depth).astype(count)
    size = size.reshape(1) if r.chance() else size
    attributes = {"axis": r.integer(-at.ndim - 1, at.ndim)} if r.chance(0.7) else {}

    def expected(inputs):  # the reference evaluator wraps indices that are out of range
        at, size, (off, on) = inputs
        at, size = at.astype(np.int64), int(size.reshape(-1)[0])
        at = np.where((at >= -size) & (at < 0), at + size, at)
        hot = np.expand_dims(at, -1) == np.arange(size)
        return [np.moveaxis(np.where(hot, on, off), -1, attributes.get("axis", -1))]
    return Case([at, size, data(r, dtype, [2])], attributes, kind="moved", expected=expected,
                neighbours=False, constant=(1,) if r.chance(0.7) else ())


@generator("Range")
def count_up(r, op):
    dtype = r.dtype()
    if is_float(dtype):
        step = r.pick([0.25, 0.5, 1.0, 2.0, -0.5, -1.0])
        start = r.pick([0.0, 1.0, -2.5])
    else:
        step, start = r.pick([1, 1, 2, 3, -1, -4]), r.integer(-9, 9)
    limit = start + step * r.pick([0, 1, 5, 33, 257, -3])
    limit = limit + (r.integer(0, 1) if not is_float(dtype) else 0)
    return Case([np.asarray(v).astype(dtype) for v in (start, limit, step)], kind="function",
                constant=r.pick([(), (0, 1, 2), (0, 2)]), neighbours=False)


@generator("EyeLike")
def eye_like(r, op):
    x = r.values(r.dtype("T1"), r.shape(2))
    attributes = {"k": r.integer(-4, 4)} if r.chance(0.7) else {}
    if r.chance(0.6):
        attributes["dtype"] = r.pick([1, 6, 7, 11, 2, 3, 10])
    return Case([x], attributes, again=lambda r: [r.values(x.dtype, r.shape(2))])


@generator("Trilu")
def triangle(r, op):
    dtype, rank = r.dtype(), r.integer(2, 5)
    k = [np.array(r.integer(-5, 9), np.int64)] if r.chance(0.7) else []
    return Case([data(r, dtype, r.shape(rank))] + k,
                {"upper": r.integer(0, 1)} if r.chance(0.7) else {}, kind="moved", fixed=(1,),
                constant=(1,) if r.chance() else (),
                again=lambda r: [data(r, dtype, r.shape(rank))] + k)
