"""Steps of random graphs that move elements, and control flow."""
import numpy as np
from onnx import TensorProto, helper

from random_graphs import FREE, Skip, Value, step, Graph
from random_steps import image, product, there_and_back


# ---- views ---------------------------------------------------------------------------------------

@step(4)
def transpose(g):
    x = g.value(range(2, 6))
    perm = g.random.sample(range(x.rank), x.rank)
    if x.rank == 4 and g.chance():
        perm = g.pick(([0, 2, 3, 1], [0, 3, 1, 2]))
    return g.add(g.node("Transpose", [x], [x.shape[a] for a in perm], perm=perm))


@step(4)
def reshape(g):
    x = g.value(range(1, 6))
    at = g.random.randrange(x.rank)
    shape, more = list(x.shape), []
    if x.rank > 1 and at + 1 < x.rank and g.chance():  # two axes become one
        more = [shape[at] * shape[at + 1]]
        fixed = not x.free(at) and not x.free(at + 1)
        shape[at:at + 2] = more
    else:  # one becomes two
        part = g.pick(p for p in range(1, shape[at] + 1) if shape[at] % p == 0 and p % FREE)
        shape[at:at + 1] = [shape[at] // part, part]
        fixed = not x.free(at)
    wanted = [0 if a < at else d for a, d in enumerate(shape)]
    if not fixed or any(shape[a] % FREE == 0 for a in range(at, len(shape))):
        if any(shape[a] % FREE == 0 for a in range(at + 1, len(shape))):
            raise Skip
        wanted[at] = -1
    return g.add(g.node("Reshape", [x, g.ints(*wanted)], shape))


@step(3)
def slices(g):
    x = g.value(range(1, 6))
    axis = g.random.randrange(x.rank)
    n, shape = x.shape[axis], list(x.shape)
    if g.chance(0.25):
        start, end, by = -1, -2 ** 62, -1
        shape[axis] = n
    elif x.free(axis):
        raise Skip
    else:
        start = g.random.randrange(n)
        end, by = g.random.randrange(start, n) + 1, g.pick((1, 1, 1, 2))
        shape[axis] = (end - start + by - 1) // by
    return g.add(g.node("Slice", [x, g.ints(start), g.ints(end), g.ints(axis), g.ints(by)], shape))


@step(3)
def split(g):
    x = g.value(range(1, 6))
    axis = g.pick(a for a in range(x.rank) if not x.free(a) and x.shape[a] > 1)
    n = x.shape[axis]
    parts = g.pick(p for p in range(2, min(n, 4) + 1) if n % p == 0) if g.chance(0.7) else 2
    sizes = [n // parts] * parts if n % parts == 0 and g.chance(0.8) else [1, n - 1]
    names = g.node("Split", [x, g.ints(*sizes)], outputs=len(sizes), axis=axis)
    values = [Value(name, [*x.shape[:axis], size, *x.shape[axis + 1:]])
              for name, size in zip(names, sizes)]
    if g.chance(0.2) and len(sizes) == 2:  # a gate
        if sizes[0] == sizes[1]:
            gate = g.node("Sigmoid", [values[0]])
            return g.add(g.node("Mul", [values[1], gate], values[0].shape))
    for v in values:
        g.add(v)
    return values[0]


@step(2)
def pad(g):
    x = g.value(range(1, 6))
    pads = [g.pick((0, 0, 0, 1, 2)) for _ in range(2 * x.rank)]
    mode = g.pick(("constant", "constant", "edge"))
    for a in range(x.rank):
        if x.free(a):
            pads[a] = pads[a + x.rank] = 0
    shape = [d + pads[a] + pads[a + x.rank] for a, d in enumerate(x.shape)]
    if any(d % FREE == 0 and not x.free(a) for a, d in enumerate(shape)):
        raise Skip
    return g.add(g.node("Pad", [x, g.ints(*pads)], shape, mode=mode))


@step(1)
def tile(g):
    x = g.value(range(1, 5))
    times = [g.pick((1, 1, 2)) if not x.free(a) else 1 for a in range(x.rank)]
    return g.add(g.node("Tile", [x, g.ints(*times)], [d * t for d, t in zip(x.shape, times)]))


@step(1)
def squeeze(g):
    x = g.value(range(1, 5))
    ones = [a for a, d in enumerate(x.shape) if d == 1]
    if ones and x.rank > 1:
        axis = g.pick(ones)
        shape = [d for a, d in enumerate(x.shape) if a != axis]
        return g.add(g.node("Squeeze", [x, g.ints(axis)], shape))
    axis = g.random.randrange(x.rank + 1)
    return g.add(g.node("Unsqueeze", [x, g.ints(axis)], [*x.shape[:axis], 1, *x.shape[axis:]]))


@step(1)
def gather(g):
    x = g.value(range(1, 6))
    axis = g.pick(a for a in range(x.rank) if not x.free(a))
    n = g.pick((1, 2, 5, 9))
    index = g.constant(g.numbers.integers(-x.shape[axis], x.shape[axis], n))
    return g.add(g.node("Gather", [x, index], [*x.shape[:axis], n, *x.shape[axis + 1:]], axis=axis))


@step(1)
def resize(g):
    x = image(g)
    scales = g.constant(np.array([1, 1] + [2] * (x.rank - 2), np.float32))
    shape = (*x.shape[:2], *[2 * d for d in x.shape[2:]])
    return g.add(g.node("Resize", [x, "", scales], shape, mode="nearest", nearest_mode="floor",
                        coordinate_transformation_mode="asymmetric"))


@step(8)
def concat(g):
    x = g.value(range(1, 6))
    axis = g.random.randrange(x.rank)
    around = [v for v in g.values if v.rank == x.rank and
              all(a == axis or d == x.shape[a] for a, d in enumerate(v.shape))]
    parts = [x] + [g.pick(around) for _ in range(g.pick((1, 1, 1, 2, 3)))]
    if not any(x.free(a) for a in range(x.rank)) and g.chance(0.2):
        shape = list(x.shape)
        shape[axis] = g.pick((0, 1, 3))
        parts.append(Value(g.normal(*shape), shape))
    g.random.shuffle(parts)
    shape = list(x.shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    if shape[axis] % FREE == 0 and not any(p.free(axis) for p in parts):
        raise Skip
    if any(p.free(axis) for p in parts) and shape[axis] % FREE:
        raise Skip
    return g.add(g.node("Concat", parts, shape, axis=axis))


# ---- control flow --------------------------------------------------------------------------------

def body_of(g, name, inputs, kinds, make):
    """A graph whose nodes make() adds to; make gives the names of its outputs."""
    body = Graph.__new__(Graph)
    body.__dict__.update(g.__dict__)
    body.nodes, body.values, body.outer = [], [], g
    outputs = make(body)
    infos = [helper.make_tensor_value_info(n, k, s) for n, k, s in inputs]
    return helper.make_graph(body.nodes, name, infos,
                             [helper.make_tensor_value_info(n, k, None)
                              for n, k in zip(outputs, kinds)])


@step(1)
def loop(g):
    x = g.value(range(2, 5), lambda v: not v.free(-1) and np.prod(v.shape) < 2000)
    own = helper.np_dtype_to_tensor_dtype(np.dtype(g.float))
    stacks = g.chance(0.4)
    trips = g.pick((0, 1, 2, 3))
    names = [g.new_name(n) for n in ("i", "go", "state")]

    def make(body):
        state = Value(names[2], x.shape)
        y = product(body, state, x.shape[-1])
        y = there_and_back(body, y) if body.chance(0.2) else y
        y = body.node("Tanh", [y], x.shape)
        y = body.node("Add", [y, x], x.shape) if body.chance() else y
        again = body.node("Identity", [names[1]])
        row = [body.node("Mul", [y, state])] if stacks else []
        return [again, y.name, *row]

    inputs = [(names[0], TensorProto.INT64, []), (names[1], TensorProto.BOOL, []),
              (names[2], own, [d if not x.free(a) else None for a, d in enumerate(x.shape)])]
    body = body_of(g, "body", inputs, [TensorProto.BOOL, own, own], make)
    count = g.constant(np.int64(trips))
    made = g.node("Loop", [count, g.constant(np.bool_(True)), x], outputs=2 if stacks else 1,
                  body=body)
    if not stacks:
        return g.add(Value(made, x.shape))
    if trips:
        g.add(Value(made[1], (trips, *x.shape)))
    return g.add(Value(made[0], x.shape))
