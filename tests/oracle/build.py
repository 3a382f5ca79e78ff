"""ONNX models of one or many cases."""
import numpy as np
import onnx
from onnx import helper, numpy_helper


IR_VERSION = 11


def graph_of(case, prefix="", inputs=None, initializers=False, free=False):
    """(nodes, initializers, graph inputs, output names) of a case; every name starts with prefix.
    inputs: other data than the case's; initializers: all inputs are."""
    data = case.inputs if inputs is None else inputs
    names, constants, graph_inputs = [], [], []
    nodes = []
    for i, x in enumerate(data):
        name = f"{prefix}x{i}" if x is not None else ""
        names.append(name)
        if x is None:
            continue
        if initializers or i in case.constant:
            constants.append(numpy_helper.from_array(np.ascontiguousarray(x).reshape(x.shape), name))
        else:
            shape = list(x.shape)
            if free and case.free and i not in case.fixed:
                shape = [f"{name}_d{k}" for k in range(len(shape))]
            graph_inputs.append(helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(x.dtype), shape))
        if i == 0 and case.before:
            nodes.append(helper.make_node("Neg", [name], [f"{prefix}negated"]))
            names[0] = f"{prefix}negated"
    while names and not names[-1]:
        names.pop()
    wanted = case.names or [True] * case.outputs
    outputs = [f"{prefix}y{i}" if w else "" for i, w in enumerate(wanted)]
    results = list(outputs)
    if case.behind:
        results[0] = f"{prefix}inner"
    attributes = {k: v for k, v in case.attributes.items() if v is not None}
    if case.nodes:
        nodes += case.nodes(names, results, lambda name: prefix + name)
    else:
        nodes.append(helper.make_node(case.op, names, results, name=f"{prefix}{case.op}",
                                      domain=case.domain, **attributes))
    if case.behind:
        nodes.append(helper.make_node("Neg", results[:1], outputs[:1]))
    return nodes, constants, graph_inputs, [o for o in outputs if o]


def model_of(opset, parts, cast_outputs=()):
    """A model of the joined parts; cast_outputs: outputs to give as float32 instead."""
    nodes = [n for p in parts for n in p[0]]
    outputs = []
    for output in [o for p in parts for o in p[3]]:
        if output in cast_outputs:
            nodes.append(helper.make_node("Cast", [output], [output + "_f"], to=1))
            output += "_f"
        outputs.append(onnx.ValueInfoProto(name=output))
    graph = helper.make_graph(nodes, "cases", [i for p in parts for i in p[2]], outputs,
                              [c for p in parts for c in p[1]])
    imports = [helper.make_opsetid("", opset)]
    for domain in sorted({n.domain for n in nodes if n.domain}):
        imports.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def output_types(case):
    """numpy types of the outputs by ONNX's inference; None where it knows none."""
    part = graph_of(case)
    try:
        model = onnx.shape_inference.infer_shapes(model_of(case.opset, [part]))
    except Exception:  # an unknown operator
        return [None] * len(part[3])
    types = []
    for value in model.graph.output:
        number = value.type.tensor_type.elem_type
        types.append(np.dtype(helper.tensor_dtype_to_np_dtype(number)) if number else None)
    return types


def keeps_type(case):
    """The node's first output has the type of its first input, as far as ONNX's inference says."""
    case.behind = False
    types = output_types(case)
    return bool(types) and types[0] == case.inputs[0].dtype
