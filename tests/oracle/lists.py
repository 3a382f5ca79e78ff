"""Generators: sequences and optionals, made and taken apart within the model."""
import numpy as np
from onnx import TensorProto, helper

from cases import Case, generator

TYPES = [np.dtype(t) for t in ("float32", "int64", "bool", "float16", "uint8")]


def some(r, count, same=False):
    """Tensors of one type; same: of one shape."""
    dtype = r.pick(TYPES)
    shape = r.shape(most_elements=60)
    return [r.values(dtype, shape if same else r.shape(most_elements=60)) for _ in range(count)]


def position(r, low, high):
    return np.array(r.integer(low, high), r.pick([np.int32, np.int64]))


def node(op, *names, to, **attributes):
    return helper.make_node(op, names, [to], **attributes)


@generator("SequenceConstruct", "SequenceAt", "SequenceLength", "SequenceEmpty", "SequenceInsert",
           "SequenceErase")
def sequence(r, op):
    count = r.integer(1, 4)
    data = some(r, count)
    change = r.pick(["insert", "erase", None])
    change = {"SequenceInsert": "insert", "SequenceErase": "erase"}.get(op, change)
    change = None if change == "erase" and count == 1 else change
    where = None
    if change and r.chance(0.8):
        where = position(r, -count, count if change == "insert" else count - 1)
    left = count + {"insert": 1, "erase": -1, None: 0}[change]
    taken = position(r, -left, left - 1)
    if change == "insert":
        data += some(r, 1)
        data[-1] = data[-1].astype(data[0].dtype)

    def nodes(names, results, local):
        tensors, at = names[:count], names[len(data) + 1:]
        made = []
        if op == "SequenceEmpty":
            made.append(node("SequenceEmpty", to=local("s0"), dtype=helper.np_dtype_to_tensor_dtype(
                data[0].dtype)))
            for i, x in enumerate(tensors):
                made.append(node("SequenceInsert", local(f"s{i}"), x, to=local(f"s{i + 1}")))
            last = local(f"s{count}")
        else:
            last = local("list")
            made.append(node("SequenceConstruct", *tensors, to=last))
        if change == "insert":
            made.append(node("SequenceInsert", last, names[count], *at, to=local("changed")))
        elif change == "erase":
            made.append(node("SequenceErase", last, *at, to=local("changed")))
        last = local("changed") if change else last
        return made + [node("SequenceAt", last, names[len(data)], to=results[0]),
                       node("SequenceLength", last, to=results[1])]
    positions = [taken] + ([where] if where is not None else [])
    first = len(data)
    return Case(data + positions, nodes=nodes, outputs=2, kind="moved", neighbours=False,
                constant=tuple(range(first, first + 2)))


@generator("ConcatFromSequence")
def concat_from_sequence(r, op):
    data = some(r, r.integer(1, 4), same=True)
    new = r.integer(0, 1) if data[0].ndim else 1
    rank = data[0].ndim + new
    axis = r.integer(-rank, rank - 1)

    def nodes(names, results, local):
        return [node("SequenceConstruct", *names, to=local("list")),
                node("ConcatFromSequence", local("list"), to=results[0], axis=axis, new_axis=new)]
    return Case(data, nodes=nodes, kind="moved", neighbours=False)


@generator("SplitToSequence")
def split_to_sequence(r, op):
    dtype = r.pick([np.float32, np.int64])
    shape = r.shape(least_rank=1, least=1, most_elements=100)
    axis = r.axis(len(shape))
    form = r.pick(["none", "chunk", "sizes"])
    keep = r.integer(0, 1)
    split, parts = [], shape[axis]
    if form == "chunk":
        size = r.integer(1, shape[axis])
        split, parts = [np.array(size, np.int64)], -(-shape[axis] // size)
    elif form == "sizes":
        cut = r.integer(0, shape[axis])
        split, parts = [np.array([cut, shape[axis] - cut], np.int64)], 2
    taken = position(r, -parts, parts - 1)

    def nodes(names, results, local):
        return [node("SplitToSequence", names[0], *names[2:], to=local("list"), axis=axis,
                     keepdims=keep),
                node("SequenceAt", local("list"), names[1], to=results[0]),
                node("SequenceLength", local("list"), to=results[1])]
    return Case([r.values(dtype, shape), taken] + split, nodes=nodes, outputs=2, kind="moved",
                constant=(1, 2), neighbours=False)


@generator("SequenceMap")
def sequence_map(r, op):
    count = r.integer(1, 3)
    shape = r.shape(most_elements=60)
    data = [r.values(np.float32, shape) for _ in range(count + 1)]
    function = r.pick(["Add", "Mul", "Sub"])

    def nodes(names, results, local):
        item, other, made = local("item"), local("other"), local("made")
        number = TensorProto.FLOAT
        body = helper.make_graph(
            [helper.make_node(function, [item, other], [made])], "body",
            [helper.make_tensor_value_info(n, number, shape) for n in (item, other)],
            [helper.make_tensor_value_info(made, number, shape)])
        return [node("SequenceConstruct", *names[1:], to=local("list")),
                helper.make_node("SequenceMap", [local("list"), names[0]], [local("mapped")],
                                 body=body),
                node("ConcatFromSequence", local("mapped"), to=results[0], axis=0, new_axis=1)]
    return Case(data, nodes=nodes, neighbours=False)


@generator("Optional", "OptionalHasElement", "OptionalGetElement")
def optional(r, op):
    dtype = r.pick(TYPES)
    x = r.values(dtype, r.shape())

    def nodes(names, results, local):
        return [node("Optional", names[0], to=local("maybe")),
                node("OptionalHasElement", local("maybe"), to=results[0]),
                node("OptionalGetElement", local("maybe"), to=results[1])]
    return Case([x], nodes=nodes, outputs=2, kind="moved", neighbours=False)
