"""Generators: shapes, views and everything else that only moves elements."""
import numpy as np
from onnx import numpy_helper

from cases import Case, generator, is_float


def data(r, dtype, shape):
    return r.values(dtype, shape, special=is_float(dtype) and r.chance(0.2))


def whole(values, dtype=np.int64):
    return np.array(values, dtype).reshape(-1)


@generator("Constant")
def constant(r, op):
    among = [np.dtype(t) for t in ("float32", "int64", "uint8", "bool", "float16", "float64")]
    x = data(r, r.dtype("T", among), r.shape())
    form = r.pick(["value", "float", "floats", "int", "ints"] if r.opset >= 12 else ["value"])
    attributes = {"value": {"value": numpy_helper.from_array(x)},
                  "float": {"value_float": 0.5}, "floats": {"value_floats": [0.5, -1.0]},
                  "int": {"value_int": r.integer(-9, 9)},
                  "ints": {"value_ints": [r.integer(-9, 9) for _ in range(r.integer(1, 5))]}}
    return Case([], attributes[form], kind="moved")


@generator("ConstantOfShape")
def constant_of_shape(r, op):
    attributes = {}
    if r.chance(0.8):
        attributes["value"] = numpy_helper.from_array(data(r, r.dtype("T2"), [1]))
    return Case([whole(r.shape())], attributes, constant=(0,) if r.chance(0.4) else (),
                fixed=(0,), kind="moved", neighbours=False)


@generator("Shape")
def shape_of(r, op):
    dtype, shape = r.dtype(), r.shape(most_rank=8)
    attributes = {}
    if r.opset >= 15:
        attributes = {k: r.integer(-9, 9) for k in ("start", "end") if r.chance()}

    def expected(inputs):  # the reference evaluator does not clamp `end`
        return [np.array(inputs[0].shape, np.int64)[attributes.get("start"):attributes.get("end")]]
    return Case([r.values(dtype, shape)], attributes, expected=expected,
                again=lambda r: [r.values(dtype, r.shape(len(shape)))])


@generator("Size")
def size_of(r, op):
    dtype, shape = r.dtype(), r.shape(most_rank=8)
    return Case([r.values(dtype, shape)],
                again=lambda r: [r.values(dtype, r.shape(len(shape)))])


@generator("Reshape")
def reshape(r, op):
    x = data(r, r.dtype(), r.shape())
    left, target = x.size, []
    while left > 1 and r.chance(0.8):
        factor = r.pick([f for f in range(1, min(left, 64) + 1) if left % f == 0])
        target.append(factor)
        left //= factor
    target = target + [left] if left != 1 or r.chance() else target
    attributes = {}
    if x.size == 0:
        if r.opset >= 14:
            attributes["allowzero"] = 1
        elif x.ndim:
            target = [0] * x.ndim
            target[x.shape.index(0)] = 0
            target = [n if n == 0 else 0 for n in x.shape]
    else:
        for i in range(min(len(target), x.ndim)):  # 0 copies the size
            if target[i] == x.shape[i] and r.chance():
                target[i] = 0
        if target and r.chance(0.6):
            target[r.integer(0, len(target) - 1)] = -1
    return Case([x, whole(target)], attributes, kind="moved",
                constant=(1,) if r.chance(0.6) else ())


@generator("Flatten")
def flatten(r, op):
    dtype, shape = r.dtype(), r.shape()
    axis = r.integer(-len(shape) if r.opset >= 11 else 0, len(shape))
    attributes = {"axis": axis} if r.chance(0.8) or not shape else {}

    def expected(inputs):  # the reference evaluator cannot shape what is empty
        n = int(np.prod(inputs[0].shape[:attributes.get("axis", 1)]))
        rest = int(np.prod(inputs[0].shape[attributes.get("axis", 1):]))
        return [inputs[0].reshape(n, rest)]
    return Case([data(r, dtype, shape)], attributes, kind="moved", expected=expected,
                again=lambda r: [data(r, dtype, r.shape(len(shape)))])


def axes_as(r, axes, moved_at):
    """The axes as this opset takes them: (attributes, further inputs, constant)."""
    if r.opset < moved_at:
        return {"axes": axes}, [], ()
    return {}, [whole(axes)], (1,) if r.chance(0.7) else ()


@generator("Squeeze")
def squeeze(r, op):
    shape = r.shape(least_rank=1)
    ones = [i for i in range(len(shape)) if r.chance(0.4)] or [0] * (r.opset < 13)
    shape = [1 if i in ones else n for i, n in enumerate(shape)]
    x = data(r, r.dtype(), shape)
    axes = [i - len(shape) if r.chance(0.4) and r.opset >= 11 else i for i in ones]
    axes = [axes[i] for i in r.permutation(len(axes))]
    if r.chance(0.2):
        return Case([x], kind="moved")
    attributes, inputs, const = axes_as(r, axes, 13)
    return Case([x] + inputs, attributes, constant=const, kind="moved")


@generator("Unsqueeze")
def unsqueeze(r, op):
    dtype, shape = r.dtype(), r.shape()
    count = r.integer(0 if r.opset >= 13 else 1, 3)
    rank = len(shape) + count
    axes = [i - rank if r.chance(0.4) and r.opset >= 11 else i
            for i in r.permutation(rank)[:count]]
    attributes, inputs, const = axes_as(r, axes, 13)
    return Case([data(r, dtype, shape)] + inputs, attributes, constant=const, fixed=(1,),
                kind="moved", again=lambda r: [data(r, dtype, r.shape(len(shape)))] + inputs)


@generator("Transpose")
def transpose(r, op):
    dtype, shape = r.dtype(), r.shape(most_rank=8)
    attributes = {"perm": r.permutation(len(shape))} if shape and r.chance(0.85) else {}
    return Case([data(r, dtype, shape)], attributes, kind="moved",
                again=lambda r: [data(r, dtype, r.shape(len(shape)))])


@generator("Expand")
def expand(r, op):
    shape = r.shape()
    x = data(r, r.dtype(), r.part_of(shape))
    target = r.part_of(shape) if r.chance(0.4) else shape  # both may broadcast
    return Case([x, whole(target)], kind="moved", constant=(1,) if r.chance(0.6) else ())


@generator("Tile")
def tile(r, op):
    dtype, shape = r.dtype(), r.shape(most_elements=512)
    repeats = whole([r.pick([0, 1, 1, 2, 3]) for _ in shape])
    return Case([data(r, dtype, shape), repeats], kind="moved", fixed=(1,),
                constant=(1,) if r.chance(0.6) else (),
                again=lambda r: [data(r, dtype, r.shape(len(shape), 512)), repeats])


@generator("Concat")
def concat(r, op):
    dtype, shape = r.dtype(), r.shape(least_rank=1, most_elements=1000)
    axis = r.axis(len(shape))
    count = r.integer(1, 5)

    def inputs(r, shape):
        def one():
            part = list(shape)
            part[axis] = r.pick([0, 1, 2, 5, part[axis]])
            return data(r, dtype, part)
        return [one() for _ in range(count)]
    return Case(inputs(r, shape), {"axis": axis % len(shape) if r.opset < 11 else axis},
                kind="moved", again=lambda r: inputs(r, r.shape(len(shape), 1000)))


@generator("Split")
def split(r, op):
    shape = r.shape(least_rank=1)
    axis = r.integer(0 if r.opset < 11 else -len(shape), len(shape) - 1)
    attributes = {"axis": axis} if r.chance(0.8) else {}
    axis = attributes.get("axis", 0)
    count = r.integer(1, 4)
    form = r.pick(["sizes", "equal", "uneven"])
    if form == "uneven" and r.opset < 18:
        form = "equal"
    if form == "sizes":
        sizes = [r.pick([0, 1, 2, 3]) for _ in range(count)]
        shape[axis] = sum(sizes)
    elif form == "equal":
        shape[axis] = count * r.integer(1, 3)
    else:
        shape[axis] = max(shape[axis], count * (count - 1) + 1)
    x = data(r, r.dtype(), shape)
    if form != "sizes":
        if r.opset >= 18:
            attributes["num_outputs"] = count
        return Case([x], attributes, outputs=count, kind="moved")
    if r.opset < 13:
        return Case([x], attributes | {"split": sizes}, outputs=count, kind="moved")
    return Case([x, whole(sizes)], attributes, outputs=count, kind="moved",
                constant=(1,) if r.chance(0.7) else ())


@generator("Slice")
def slices(r, op):
    dtype, shape = r.dtype(), r.shape(least_rank=1)
    rank = len(shape)
    axes = r.permutation(rank)[:r.integer(1, rank)]
    huge = [2**31 - 1, -2**31 + 1, 2**63 - 1, -2**63 + 1]

    def bound(n):
        return r.pick(huge[:2] if r.opset < 10 else huge) if r.chance(0.2) else r.integer(-n - 2,
                                                                                        n + 2)
    starts, ends = ([bound(shape[a]) for a in axes] for _ in range(2))
    if r.opset < 10:
        return Case([data(r, dtype, shape)], {"starts": starts, "ends": ends, "axes": axes},
                    kind="moved", again=lambda r: [data(r, dtype, r.shape(rank))])
    steps = [r.pick([1, 1, 2, 3, -1, -1, -2, 100, -100]) for _ in axes]
    if r.chance(0.3):  # all of it, backwards
        starts = [n - 1 for n in starts]
        steps, starts, ends = [-1] * len(axes), [-1] * len(axes), [huge[3]] * len(axes)
    kind = np.int32 if r.chance(0.3) else np.int64
    if kind is np.int32:
        starts, ends = (np.clip(v, huge[1], huge[0]) for v in (starts, ends))
    inputs = [whole(v, kind) for v in (starts, ends, axes, steps)]
    if r.chance(0.3):
        axes_left = list(range(len(axes)))
        inputs[2] = whole(axes_left, kind)
        if r.chance():
            inputs[2] = None
    elif r.chance():
        inputs[2] = whole([a - rank if r.chance() else a for a in axes], kind)
    if r.chance(0.2):
        inputs = inputs[:3]
    constant = r.pick([(1, 2, 3, 4), (1, 2, 3, 4), (), (3, 4), (2, 3, 4)])
    return Case([data(r, dtype, shape)] + inputs, kind="moved", constant=constant,
                fixed=(1, 2, 3, 4),
                again=lambda r: [data(r, dtype, r.shape(rank))] + inputs)


@generator("Pad")
def pad(r, op):
    dtype = r.dtype()
    mode = r.pick(["constant", "reflect", "edge", "wrap"] if r.opset >= 19
                  else ["constant", "reflect", "edge"])
    shape = r.shape(least=0 if mode == "constant" else 1, least_rank=1, most_elements=1000)
    if mode == "reflect":
        shape = [max(n, 2) for n in shape]
    most = {"constant": 4, "edge": 4, "wrap": 3, "reflect": 9}[mode]
    axes = list(range(len(shape)))
    if r.opset >= 18 and r.chance():
        axes = r.permutation(len(shape))[:r.integer(1, len(shape))]

    def amount(n):
        if mode == "constant" and r.chance(0.2) and n > 1:
            return -r.integer(0, (n - 1) // 2)  # crops
        limit = {"reflect": n - 1, "wrap": n}.get(mode, most)
        return r.integer(0, min(limit, most))
    pads = [amount(shape[a]) for _ in range(2) for a in axes]
    value = data(r, dtype, [])
    x = data(r, dtype, shape)
    if r.opset < 11:
        pads = [max(p, 0) for p in pads] if dtype.name not in ("float32", "float64") else pads
        return Case([x], {"mode": mode, "pads": pads} |
                    ({"value": float(value)} if mode == "constant" and r.chance() else {}),
                    kind="moved")
    if any(p < 0 for p in pads) and dtype.name not in ("float32", "float64", "int64", "int32"):
        pads = [max(p, 0) for p in pads]  # no oracle crops them
    fill = value if mode == "constant" and r.chance(0.6) else None
    inputs = [x, whole(pads), fill]
    if axes != list(range(len(shape))):
        inputs.append(whole([a - len(shape) if r.chance(0.3) else a for a in axes],
                            r.pick([np.int32, np.int64])))
    return Case(inputs, {"mode": mode} if mode != "constant" or r.chance() else {}, kind="moved",
                constant=r.pick([(1, 3), (1, 2, 3), (3,), (3,)]))


@generator("DepthToSpace", "SpaceToDepth")
def depth_space(r, op):
    dtype, block = r.dtype(), r.integer(1, 3)
    attributes = {"blocksize": block}
    if op == "DepthToSpace" and r.opset >= 11 and r.chance(0.7):
        attributes["mode"] = r.pick(["DCR", "CRD"])

    def inputs(r):
        n, c, h, w = r.shape(4, 600, least=1)
        n = 0 if r.chance(0.1) else n
        if op == "DepthToSpace":
            return [data(r, dtype, [n, c * block * block, h, w])]
        return [data(r, dtype, [n, c, h * block, w * block])]
    return Case(inputs(r), attributes, kind="moved")


@generator("CenterCropPad")
def center_crop_pad(r, op):
    shape = r.shape(least_rank=1, most_elements=600)
    axes = r.permutation(len(shape))[:r.integer(1, len(shape))] if r.chance(0.6) else None
    count = len(shape) if axes is None else len(axes)
    target = whole([r.integer(1, 8) for _ in range(count)], r.dtype("Tind"))
    attributes = {} if axes is None else {"axes": [a - len(shape) if r.chance(0.3) else a
                                                   for a in axes]}
    return Case([data(r, r.dtype(), shape), target], attributes, kind="moved",
                constant=(1,) if r.chance(0.6) else ())
