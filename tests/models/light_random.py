#!/usr/bin/env python3
"""ONNX's nine light models with seeded random weights, on the emulator against ONNX Runtime.

The light models keep the structure of real networks and fill every weight with one constant, so that a
swapped channel or tap goes unseen. Here each gets weights of a sane scale (variance kept by each layer,
BatchNormalization near identity), and the logits before the softmax become an output as well: a
saturated softmax hides errors.

    light_random.py --build build [--only NAME]
"""
import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

LIGHT = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def role(graph, name):
    """What the tensor is to the node that reads it: (operator, operand), seen through Unsqueeze."""
    for node in graph.node:
        if name in node.input:
            if node.op_type == "Unsqueeze":
                return role(graph, node.output[0])
            return node.op_type, list(node.input).index(name)
    return "nothing", 0


def random_weight(rng, shape, operator, operand):
    if operator in ("Conv", "Gemm") and operand == 1:
        fan_in = int(np.prod(shape[1:]))
        return rng.normal(0, np.sqrt(1.3 / fan_in), shape)
    if (operator, operand) in (("BatchNormalization", 1), ("BatchNormalization", 4), ("Mul", 0),
                               ("Mul", 1)):
        return rng.uniform(0.6, 1.4, shape)     # scale, variance
    return rng.normal(0, 0.1, shape)            # biases, means


def randomize(model, seed):
    """The model with its ConstantOfShape weights replaced, and its logits as a further output."""
    graph = model.graph
    rng = np.random.default_rng(seed)
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    kept, filled = [], []
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in shapes:
            shape = tuple(int(d) for d in shapes[node.input[0]])
            data = random_weight(rng, shape, *role(graph, node.output[0])).astype(np.float32)
            filled.append(numpy_helper.from_array(data, node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(filled)
    last = kept[-1]
    if last.op_type == "Softmax":
        graph.output.append(helper.make_empty_tensor_value_info(last.input[0]))
        graph.output[-1].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model


def check(tools, path, work, seed):
    model = randomize(onnx.load(path), seed)
    constants = {t.name for t in model.graph.initializer}
    value, = [i for i in model.graph.input if i.name not in constants]
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    image = np.random.default_rng(seed + 1).normal(0, 1, shape).astype(np.float32)
    onnx.save(model, work / "model.onnx")
    harness.save_tensor(work / "input_0.pb", image, value.name)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3     # not a line for every unused initializer
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(work / "model.onnx"), settings,
                                           providers=["CPUExecutionProvider"])
    wanted = session.run(None, {value.name: image})
    del session
    code, _, errors = tools.compile(work / "model.onnx", work / "plan")
    if code:
        return harness.describe(code, errors)
    try:
        got = tools.outputs(work / "plan", work)
    except RuntimeError as error:
        return str(error)
    for index, (a, b) in enumerate(zip(got, wanted, strict=True)):
        wrong = harness.mismatch(a, b)
        if wrong:
            return f"output {index}: {wrong}"
    spread = float(np.std(wanted[-1]))
    return None if spread > 1e-3 else f"the reference is flat (deviation {spread:.2g}): no test"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    tools = harness.Tools(options.build, options.target)
    failed = 0
    for seed, path in enumerate(sorted(LIGHT.glob("light_*.onnx"))):
        if options.only not in path.name:
            continue
        with tempfile.TemporaryDirectory() as work:
            wrong = check(tools, path, pathlib.Path(work), seed)
        print(f"{path.stem}: {wrong or 'matches ONNX Runtime'}", flush=True)
        failed += wrong is not None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
