"""Generators: control flow. Bodies are chains of elementwise operators on what they see."""
import numpy as np
from onnx import TensorProto, helper

from cases import Case, generator


def chain(r, names, result, local, tag):
    """Nodes that compute `result` from some of the tensors `names`, all of one shape."""
    nodes, last = [], r.pick(names)
    steps = r.integer(1, 3)
    for i in range(steps):
        name = result if i == steps - 1 else local(f"{tag}{i}")
        op = r.pick(["Add", "Mul", "Sub", "Max", "Tanh", "Neg"])
        nodes.append(helper.make_node(op, [last] if op in ("Tanh", "Neg")
                                      else [last, r.pick(names)], [name]))
        last = name
    return nodes


def tensor(name, number=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, number, shape)


@generator("If")
def branches(r, op):
    shape, rank = r.shape(most_elements=600), None
    rank = len(shape)
    seed = r.integer(0, 2**31)
    outputs, longer = r.integer(1, 2), r.chance(0.3) and rank > 0

    def nodes(names, results, local):
        choose = r.__class__(r.domain, r.op, seed)  # the same nodes whoever asks
        graphs = []
        for branch in ("then", "else"):
            body, made = [], []
            for k in range(outputs):
                made.append(local(f"{branch}_{k}"))
                if longer and branch == "else" and k == 0:
                    body.append(helper.make_node("Concat", [names[1], names[2]], made[-1:],
                                                 axis=0))
                else:
                    body += chain(choose, names[1:], made[-1], local, f"{branch}{k}_")
            graphs.append(helper.make_graph(body, branch, [], [tensor(m) for m in made]))
        return [helper.make_node("If", names[:1], results, then_branch=graphs[0],
                                 else_branch=graphs[1])]

    def inputs(r):
        size = r.shape(rank, 600)
        condition = np.asarray(r.chance())
        return [condition.reshape(1) if one else condition] + [r.values(np.float32, size)
                                                               for _ in range(2)]
    one = r.chance(0.3)
    return Case(inputs(r), nodes=nodes, outputs=outputs, constant=(0,) if r.chance(0.3) else (),
                neighbours=False)


@generator("Loop")
def loop(r, op):
    shape = r.shape(most_elements=300)
    seed, scans = r.integer(0, 2**31), r.integer(0, 1)
    stops = r.chance(0.4)  # the body may end it
    # Without a trip ONNX Runtime drops the axes of a scanned output that it does not know.
    trips = np.array(r.pick([1, 2, 3, 7] if scans else [0, 1, 2, 3, 7]), np.int64)
    endless = stops and r.chance(0.4)

    def nodes(names, results, local):
        choose = r.__class__(r.domain, r.op, seed)
        step, going, state = local("step"), local("going"), local("state")
        on, after = local("on"), local("after")
        body = chain(choose, [state, names[3]], after, local, "body_")
        if stops:
            body += [helper.make_node("Less", [step, names[4]], [on])]
        else:
            body += [helper.make_node("Identity", [going], [on])]
        made = [tensor(on, TensorProto.BOOL, []), tensor(after, shape=shape)]
        if scans:
            body.append(helper.make_node("Neg", [after], [local("each")]))
            made.append(tensor(local("each"), shape=shape))
        graph = helper.make_graph(
            body, "body", [tensor(step, TensorProto.INT64, []), tensor(going, TensorProto.BOOL, []),
                           tensor(state, shape=shape)], made)
        return [helper.make_node("Loop", names[:3], results,
                                 body=graph)]
    go = np.asarray(bool(scans) or r.chance(0.85))
    state, other = (r.values(np.float32, shape, -1, 1) for _ in range(2))
    data = [None if endless else trips, go, state, other,
            np.array(r.integer(0, 5), np.int64)]
    return Case(data, nodes=nodes, outputs=1 + scans, neighbours=False,
                constant=r.pick([(), (0, 1), (0, 1, 4), (1,)]))


@generator("Scan")
def scan(r, op):
    batched = r.opset < 9
    length = r.pick([1, 2, 3, 7])
    shape = r.shape(r.integer(0, 2), 60, least=1)
    seed, sides = r.integer(0, 2**31), r.integer(1, 2)
    axes = [0 if batched or r.chance() else r.integer(0, len(shape)) for _ in range(sides)]
    turned = [r.integer(0, 1) for _ in range(sides)]
    output_axis = 0 if batched or r.chance() else r.integer(0, len(shape))
    back = r.integer(0, 1)

    def nodes(names, results, local):
        choose = r.__class__(r.domain, r.op, seed)
        state, parts = local("state"), [local(f"part{i}") for i in range(sides)]
        after, each = local("after"), local("each")
        body = chain(choose, [state] + parts, after, local, "body_")
        body += chain(choose, [state, after] + parts, each, local, "each_")
        graph = helper.make_graph(body, "body",
                                  [tensor(n, shape=shape) for n in [state] + parts],
                                  [tensor(after, shape=shape), tensor(each, shape=shape)])
        attributes = {"body": graph, "num_scan_inputs": sides}
        if batched:
            attributes["directions"] = turned
            names = [""] + names
        else:
            attributes |= {"scan_input_axes": axes, "scan_input_directions": turned,
                           "scan_output_axes": [output_axis], "scan_output_directions": [back]}
        return [helper.make_node("Scan", names, results, **attributes)]
    lead = [2] if batched else []
    data = [r.values(np.float32, lead + shape, -1, 1)]
    for axis in axes:
        data.append(r.values(np.float32, lead + shape[:axis] + [length] + shape[axis:], -1, 1))
    return Case(data, nodes=nodes, outputs=2, neighbours=False)
