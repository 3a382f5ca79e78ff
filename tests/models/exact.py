#!/usr/bin/env python3
"""What may not be rounded: angles of large positions, and places to read from, in 16 bits and tf32.

    exact.py --build BUILD [--only NAME]

Small models of exporters' spellings, on the emulator, against ONNX Runtime in fp32, within the limits
of precision.py. Rounded, each of them would be wrong by much more. Exit 1 when one is not right.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import harness  # noqa: E402
import precision  # noqa: E402

TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
random = np.random.default_rng(5)


class Model:
    def __init__(self, opset=20):
        self.opset, self.nodes, self.inputs, self.constants, self.feeds = opset, [], [], [], []

    def input(self, name, array):
        array = np.asarray(array)
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[array.dtype], array.shape))
        self.feeds.append(array)
        return name

    def constant(self, array, dtype=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def op(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def save(self, output, path, data):
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "exact", self.inputs, [result], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 10
        path.write_bytes(model.SerializeToString())
        for i, array in enumerate(self.feeds):
            harness.save_tensor(data / f"input_{i}.pb", array)


def normal(*shape, scale=1.0):
    return (random.standard_normal(shape) * scale).astype(np.float32)


def rotary(kind, position):
    """cos and sin of positions times frequencies, as TorchScript, einsum or Gemm spell it."""
    m = Model()
    frequencies = (1 / 10000 ** (np.arange(0, 64, 2) / 64)).astype(np.float32)
    x = m.op("Cast", m.input("positions", np.arange(position, position + 16)[None]), to=1)
    if kind == "matmul":  # inv_freq[1, 32, 1] @ positions[1, 1, 16], then transposed and doubled
        x = m.op("Unsqueeze", x, m.constant([1], np.int64))
        angles = m.op("Transpose", m.op("MatMul", m.constant(frequencies[None, :, None]), x), perm=[0, 2, 1])
        angles = m.op("Concat", angles, angles, axis=-1)
    else:
        x = m.op("Reshape", x, m.constant([16, 1], np.int64))
        angles = m.op("Gemm", x, m.constant(frequencies[None]))
    return m, m.op("Add", m.op("Cos", angles), m.op("Sin", angles))


def fourier():
    m = Model()
    x = m.input("x", random.random((64, 3)).astype(np.float32))
    angles = m.op("Mul", m.op("MatMul", x, m.constant(normal(3, 128, scale=10))), m.constant(2 * np.pi))
    return m, m.op("Sin", angles)


def grid_sample(mode):
    m = Model()
    image = m.input("image", normal(1, 2, 1024, 1024))
    grid = m.input("grid", random.uniform(-0.95, 0.95, (1, 32, 32, 2)).astype(np.float32))
    return m, m.op("GridSample", image, grid, mode=mode, align_corners=1)


def affine():
    m = Model()
    image = m.input("image", normal(1, 2, 256, 256))
    theta = m.input("theta", np.array([[[0.7, 0.2, 0.05], [-0.2, 0.7, 0.1]]], np.float32))
    grid = m.op("AffineGrid", theta, m.constant([1, 2, 256, 256], np.int64), align_corners=1)
    return m, m.op("GridSample", image, grid, align_corners=1)


def warp():
    """A flow that a convolution makes is added to where each pixel is."""
    m = Model()
    image = m.input("image", normal(1, 4, 256, 256))
    flow = m.op("Conv", image, m.constant(normal(2, 4, 3, 3, scale=0.1)), pads=[1] * 4)
    flow = m.op("Transpose", m.op("Mul", flow, m.constant(0.01)), perm=[0, 2, 3, 1])
    pixels = np.stack(np.meshgrid(np.linspace(-1, 1, 256), np.linspace(-1, 1, 256)), -1)[None]
    return m, m.op("GridSample", image, m.op("Add", m.constant(pixels), flow), align_corners=1)


def roi_align():
    m = Model(16)
    image = m.input("image", normal(1, 2, 128, 128))
    boxes = np.sort(random.random((8, 2, 2)), 1).reshape(8, 4) * 1000
    boxes = m.input("boxes", boxes.astype(np.float32))
    return m, m.op("RoiAlign", image, boxes, m.constant([0] * 8, np.int64), output_height=7,
                   output_width=7, sampling_ratio=2, spatial_scale=0.125)


CASES = {
    "rotary by MatMul at 2000": lambda: rotary("matmul", 2000),
    "rotary by MatMul at 70000": lambda: rotary("matmul", 70000),
    "rotary by Gemm at 3000": lambda: rotary("gemm", 3000),
    "Fourier features": fourier,
    "GridSample": lambda: grid_sample("linear"),
    "GridSample, nearest": lambda: grid_sample("nearest"),
    "AffineGrid": affine,
    "warp by a flow": warp,
    "RoiAlign": roi_align,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_80")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    tools = harness.Tools(args.build, args.target)
    failures = checked = 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name, make in CASES.items():
            if args.only not in name:
                continue
            model, data, plan = work / "model.onnx", work / name, work / "model.plan"
            made, output = make()
            made.save(output, model, data)
            wanted = precision.reference(model, data)
            row = []
            for level, limit in (("fp16", 2e-2), ("bf16", 8e-2), ("tf32", 1e-3)):
                measured = ["--max-error=none"] if level == "tf32" else []
                code, _, errors = tools.compile(model, plan, f"--precision={level}", *measured)
                if code:
                    raise SystemExit(f"{name}: {harness.describe(code, errors)}")
                error = precision.error_of(tools.outputs(plan, data)[0], wanted[0])
                row.append(f"{level} {error:.1e}" + ("" if error <= limit else " WRONG"))
                failures += not error <= limit
                checked += 1
            print(f"{name:28} " + "   ".join(row), flush=True)
    print(f"{checked} checked, {failures} wrong")
    return 1 if failures or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
