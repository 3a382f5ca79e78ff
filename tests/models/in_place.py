#!/usr/bin/env python3
"""Results that lie in the memory of an operand, behind products and in rows.

    in_place.py --build BUILD

Each case is a small model of which so many results must lie so by --explain=memory. It is run with
checks for races between threads and compared with ONNX Runtime.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import harness  # noqa: E402

MOST_ERROR = {"fp32": 1e-5, "fp16": 5e-3}  # of the greatest element


class Net:
    """A chain of nodes; each method returns the name of its result."""

    def __init__(self, shape):
        self.shape, self.nodes, self.weights = shape, [], []
        self.random = np.random.default_rng(1)

    def op(self, kind, *inputs, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [f"t{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def weight(self, *shape):
        array = self.random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        self.weights.append(numpy_helper.from_array(array.astype(np.float32),
                                                    f"w{len(self.weights)}"))
        return self.weights[-1].name

    def product(self, x, depth, columns):
        return self.op("MatMul", x, self.weight(depth, columns))

    def conv(self, x, channels, filters, kernel):
        return self.op("Conv", x, self.weight(filters, channels, kernel, kernel),
                       pads=[kernel // 2] * 4)

    def model(self, *results):
        graph = helper.make_graph(
            self.nodes, "in_place",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in results],
            self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def residual_blocks():
    net = Net([1, 16, 12, 12])
    x = net.op("Relu", net.conv("x", 16, 64, 1))
    for _ in range(2):
        y = net.op("Relu", net.conv(x, 64, 16, 3))
        x = net.op("Relu", net.op("Add", net.conv(y, 16, 64, 1), x))
    return net.model(net.conv(x, 64, 8, 1))


def residual_products(rows, split):
    """split: of products so deep that blocks share the depth."""
    net, width = Net([rows, 64]), 2048 if split else 96
    x = net.op("Tanh", net.product("x", 64, 64))
    for _ in range(2):
        y = net.op("Tanh", net.product(x, 64, width))
        x = net.op("Add", x, net.product(y, width, 64))
    return net.model(net.product(x, 64, 16))


def rows_of(count, kind):
    """Rows that are read into registers whole, in front of and behind which maps read them again."""
    net = Net([count, 64])
    x = net.op("Tanh", net.product("x", 64, 64))
    for _ in range(2):
        row = net.op("Softmax", x) if kind == "softmax" else \
            net.op("LayerNormalization", x, net.weight(64), net.weight(64))
        x = net.op("Add", row, x)
        x = net.op("Softmax", net.op("Mul", x, net.weight(64)))
    return net.model(net.product(x, 64, 16))


def moved():
    """The residual lies elsewhere than what is added to it: each thread reads others' elements."""
    net = Net([64, 64])
    x = net.op("Tanh", net.product("x", 64, 64))
    y = net.op("Tanh", net.product(x, 64, 64))
    z = net.op("Add", net.product(y, 64, 64), net.op("Transpose", x, perm=[1, 0]))
    return net.model(net.product(z, 64, 16))


def moved_beside():
    """What is added to the residual is a result by itself as well, which lies elsewhere."""
    net = Net([64, 64])
    x, y = net.product("x", 64, 64), net.product(net.op("Relu", "x"), 64, 64)
    net.weights.append(numpy_helper.from_array(np.array([64, 4, 16]), "heads"))
    heads = net.op("Transpose", net.op("Reshape", y, "heads"), perm=[1, 0, 2])
    z = net.op("MatMul", net.op("Softmax", heads, axis=1), net.weight(4, 16, 16))
    return net.model(net.op("Add", y, x), z)


def read_later():
    net = Net([64, 64])
    x = net.op("Tanh", net.product("x", 64, 64))
    y = net.op("Add", x, net.product(x, 64, 64))
    z = net.op("Add", y, net.product(net.op("Tanh", net.product(y, 64, 64)), 64, 64))
    return net.model(net.product(net.op("Mul", z, x), 64, 16))


# name: model, least and most results in the memory of an operand
CASES = {
    "residual blocks": (residual_blocks(), 2, 2),
    "products of many rows": (residual_products(192, False), 2, 2),
    "products of 70 rows": (residual_products(70, False), 2, 2),
    "products in parts": (residual_products(64, True), 1, 2),
    "products of few rows": (residual_products(4, False), 2, 2),
    "softmax": (rows_of(64, "softmax"), 4, 4),
    "normalization": (rows_of(64, "normalization"), 4, 4),
    "rows that leave threads over": (rows_of(2003, "softmax"), 0, 0),
    "transposed residual": (moved(), 0, 0),
    "result beside the residual's": (moved_beside(), 1, 1),
    "residual that is read later": (read_later(), 0, 1),
}


def check(tools, case, folder):
    """What is wrong, or None."""
    (name, (model, least, most)), precision = case
    folder = folder / f"{name} {precision}"
    folder.mkdir()
    path, plan, out = folder / "model.onnx", folder / "plan", folder / "out"
    path.write_bytes(model.SerializeToString())
    code, text, errors = tools.compile(path, plan, "--explain=memory", "--explain-format=json",
                                       f"--precision={precision}")
    if code:
        return harness.describe(code, errors)
    buffers = json.loads(text)[0]["memory"]["buffers"]
    shared = sum(buffer["alias"] is not None for buffer in buffers)
    if not least <= shared <= most:
        return f"{shared} results lie in the memory of an operand, not {least} to {most}"
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    harness.save_tensor(folder / "x.pb", x, "x")
    out.mkdir()
    code, _, errors = tools.run(tools.bin / "gpurun", "run", plan, "--device=emu", "--race",
                                "--input", f"x={folder / 'x.pb'}", "--outputs", out)
    if code:
        return harness.describe(code, errors)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for i, wanted in enumerate(session.run(None, {"x": x})):
        got = harness.load_tensor(out / f"output_{i}.pb")
        error = np.abs(got - wanted).max() / np.abs(wanted).max()
        if error > MOST_ERROR[precision]:
            return f"output {i} differs by {error:.2g}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    tools, failed = harness.Tools(parser.parse_args().build, "sm_80"), 0
    with tempfile.TemporaryDirectory() as folder:
        cases = [(case, precision) for case in CASES.items() for precision in MOST_ERROR]
        found = harness.parallel(lambda case: check(tools, case, pathlib.Path(folder)), cases)
        for ((name, _), precision), wrong in zip(cases, found):
            print(f"{name:30} {precision} {wrong or 'ok'}", flush=True)
            failed += wrong is not None
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
