#!/usr/bin/env python3
"""One plan serves every size: networks with free dims at several batches and lengths.

A CNN, an MLP and a transformer encoder are built with seeded weights, compiled once, and run on the
emulator at each size against ONNX Runtime.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

SIZES = (1, 2, 7, 33)


class Network:
    """Collects nodes and seeded weights of a graph."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def weight(self, *shape, scale=None):
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        scale = scale or np.sqrt(2 / fan_in)
        return self.constant(self.rng.normal(0, scale, shape).astype(np.float32))

    def constant(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, operator, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, f"{operator}{len(self.nodes)}",
                                           **attributes))
        return names[0] if outputs == 1 else names

    def model(self, inputs, output, shape):
        graph = helper.make_graph(
            self.nodes, "free_dims",
            [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model


def cnn():
    net = Network(1)
    x = net.node("Conv", "x", net.weight(16, 3, 3, 3), net.weight(16, scale=0.1), pads=[1] * 4,
                 strides=[2, 2])
    x = net.node("Relu", x)
    y = net.node("Conv", x, net.weight(16, 16, 3, 3), net.weight(16, scale=0.1), pads=[1] * 4)
    x = net.node("Relu", net.node("Add", x, y))
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    x = net.node("Gemm", x, net.weight(10, 16), net.weight(10, scale=0.1), transB=1)
    return net.model([("x", TensorProto.FLOAT, ["batch", 3, 20, 20])], x, ["batch", 10]), \
        lambda n, rng: {"x": rng.normal(0, 1, (n, 3, 20, 20)).astype(np.float32)}


def mlp():
    net = Network(2)
    x = net.node("Tanh", net.node("Gemm", "x", net.weight(50, 30), net.weight(50, scale=0.1),
                                  transB=1))
    x = net.node("Add", net.node("MatMul", x, net.weight(50, 7)), net.weight(7, scale=0.1))
    x = net.node("Softmax", x, axis=-1)
    return net.model([("x", TensorProto.FLOAT, ["batch", 30])], x, ["batch", 7]), \
        lambda n, rng: {"x": rng.normal(0, 1, (n, 30)).astype(np.float32)}


def transformer(layers=2, width=32, heads=4, words=50):
    """As PyTorch's exporter writes it: shapes read by Shape and Gather, heads split by Reshape."""
    net = Network(3)
    size = width // heads
    one = net.constant(np.array([0], np.int64))
    batch = net.node("Gather", net.node("Shape", "ids"), net.constant(np.int64(0)))
    length = net.node("Gather", net.node("Shape", "ids"), net.constant(np.int64(1)))

    def shape(*parts):
        parts = [net.node("Unsqueeze", p, one) if isinstance(p, str) else
                 net.constant(np.array([p], np.int64)) for p in parts]
        return net.node("Concat", *parts, axis=0)

    def normalize(x):
        return net.node("LayerNormalization", x, net.weight(width, scale=1.0),
                        net.weight(width, scale=0.1), axis=-1)

    def dense(x, inputs, outputs):
        return net.node("Add", net.node("MatMul", x, net.weight(inputs, outputs,
                                                                scale=inputs ** -0.5)),
                        net.weight(outputs, scale=0.1))

    def split(x):
        return net.node("Transpose", net.node("Reshape", x, shape(batch, length, heads, size)),
                        perm=[0, 2, 1, 3])

    positions = net.node("Slice", net.weight(1, 64, width, scale=1.0),
                         net.constant(np.array([0], np.int64)), net.node("Unsqueeze", length, one),
                         net.constant(np.array([1], np.int64)))
    x = net.node("Add", net.node("Gather", net.weight(words, width, scale=1.0), "ids"), positions)
    mask = net.node("Unsqueeze", net.node("Cast", "mask", to=TensorProto.FLOAT),
                    net.constant(np.array([1, 2], np.int64)))
    mask = net.node("Mul", net.node("Sub", net.constant(np.float32(1)), mask),
                    net.constant(np.float32(-10000)))
    for _ in range(layers):
        q, k, v = (split(dense(x, width, width)) for _ in range(3))
        scores = net.node("MatMul", q, net.node("Transpose", k, perm=[0, 1, 3, 2]))
        scores = net.node("Div", scores, net.constant(np.float32(size ** 0.5)))
        scores = net.node("Softmax", net.node("Add", scores, mask), axis=-1)
        y = net.node("Transpose", net.node("MatMul", scores, v), perm=[0, 2, 1, 3])
        y = net.node("Reshape", y, shape(batch, length, width))
        x = normalize(net.node("Add", x, dense(y, width, width)))
        y = dense(x, width, 4 * width)
        half = net.node("Mul", y, net.constant(np.float32(0.5)))
        y = net.node("Mul", half, net.node("Add", net.node("Erf", net.node(
            "Div", y, net.constant(np.float32(2 ** 0.5)))), net.constant(np.float32(1))))
        x = normalize(net.node("Add", x, dense(y, 4 * width, width)))

    def inputs(n, rng):
        length = {1: 5, 2: 1, 7: 33, 33: 12}[n]
        keep = np.arange(length)[None, :] < rng.integers(1, length + 1, (n, 1))
        return {"ids": rng.integers(0, words, (n, length)), "mask": keep.astype(np.int64)}

    return net.model([("ids", TensorProto.INT64, ["batch", "length"]),
                      ("mask", TensorProto.INT64, ["batch", "length"])], x,
                     ["batch", "length", width]), inputs


def check(tools, name, build, work):
    model, inputs = build()
    onnx.checker.check_model(model)
    path = work / "model.onnx"
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    code, _, errors = tools.compile(path, work / "plan")
    if code:
        return f"{name}: {harness.describe(code, errors)}"
    for size in SIZES:
        feed = inputs(size, np.random.default_rng(size))
        folder = work / f"inputs_{size}"
        for index, (key, array) in enumerate(feed.items()):
            harness.save_tensor(folder / f"input_{index}.pb", array, key)
        try:
            got = tools.outputs(work / "plan", folder)
        except RuntimeError as error:
            return f"{name} at {size}: {error}"
        for a, b in zip(got, session.run(None, feed), strict=True):
            wrong = harness.mismatch(a, b)
            if wrong:
                return f"{name} at {size}: {wrong}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_90a")
    options = parser.parse_args()
    tools = harness.Tools(options.build, options.target)
    failed = 0
    for build in (cnn, mlp, transformer):
        with tempfile.TemporaryDirectory() as work:
            wrong = check(tools, build.__name__, build, pathlib.Path(work))
        print(wrong or f"{build.__name__}: one plan is right at {SIZES}", flush=True)
        failed += wrong is not None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
