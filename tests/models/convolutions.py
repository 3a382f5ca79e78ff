#!/usr/bin/env python3
"""Convolutions that passes lower to others: patches, and transposed ones with strides.

    convolutions.py --build BUILD

Each is compiled at several precisions, with and without the pass, with the image's sizes known or free,
alone, with an activation and where its result lies in a Concat, and compared with ONNX Runtime. Where
sizes are known, no step but the convolutions' launches may remain: phases are stored where they belong.
"""
import argparse
import pathlib
import re
import sys
import tempfile

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import harness  # noqa: E402

MOST_ERROR = {"fp32": 1e-5, "fp16": 5e-3, "tf32": 1e-3}  # of the greatest element
# tf32 is measured before it is chosen, on sizes that may be too small for a window where they are free.
RUNS = (("alone", "fp32"), ("activation", "fp16"), ("inside", "fp16"), ("inside", "tf32"))

# channels, filters, image, kernel, stride, pads, output padding, group, dilation
TRANSPOSED = {
    "kernel is stride": (32, 16, (7, 9), (2, 2), (2, 2), (0, 0, 0, 0), (0, 0), 1, 1),
    "two taps a phase": (32, 16, (7, 9), (4, 4), (2, 2), (1, 1, 1, 1), (0, 0), 1, 1),
    "phases of one and two taps": (32, 16, (7, 9), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1, 1),
    "uneven": (16, 8, (6, 5), (5, 3), (3, 2), (2, 1, 1, 0), (1, 0), 1, 1),
    "stride beyond the kernel": (16, 12, (6, 5), (2, 2), (3, 3), (0, 0, 0, 0), (2, 1), 1, 1),
    "cut on all sides": (16, 8, (6, 5), (4, 4), (4, 4), (1, 3, 2, 0), (0, 0), 1, 1),
    "few filters": (16, 3, (6, 5), (4, 4), (2, 2), (1, 1, 1, 1), (0, 0), 1, 1),
    "a signal": (8, 24, (11,), (8,), (4,), (2, 2), (0,), 1, 1),
    "a volume": (8, 8, (3, 4, 5), (4, 3, 2), (2, 1, 2), (1, 1, 0, 1, 1, 0), (0, 0, 0), 1, 1),
    "groups stay": (16, 16, (6, 5), (4, 4), (2, 2), (1, 1, 1, 1), (0, 0), 4, 1),
    "dilation stays": (16, 16, (6, 5), (3, 3), (2, 2), (1, 1, 1, 1), (0, 0), 1, 2),
}
# channels, filters, image, kernel
PATCHES = {
    "16x16": (3, 24, (48, 32), (16, 16)),
    "4x4 of a part": (3, 16, (19, 24), (4, 4)),
    "8x4": (1, 20, (16, 12), (8, 4)),
    "a signal's": (2, 16, (40,), (8,)),
}


def transposed(case, random, tail):
    channels, filters, image, kernel, stride, pads, more, group, dilation = case
    axes, scale = len(image), np.sqrt(channels * np.prod(kernel) / np.prod(stride) / group)
    weights = {
        "first": random.standard_normal((channels, channels) + (1,) * axes) / np.sqrt(channels),
        "w": random.standard_normal((channels, filters // group) + kernel) / scale,
        "b": random.standard_normal(filters),
        "last": random.standard_normal((filters, filters) + (3,) * axes) / np.sqrt(9 * filters)}
    nodes = [helper.make_node("Conv", ["x", "first"], ["x0"]),
             helper.make_node("ConvTranspose", ["x0", "w", "b"], ["t"], kernel_shape=kernel,
                              strides=stride, pads=pads, output_padding=more, group=group,
                              dilations=(dilation,) * axes)]
    if tail == "alone":
        nodes[-1].output[0] = "y"
    elif tail == "activation":
        nodes.append(helper.make_node("Relu", ["t"], ["y"]))
    else:
        nodes += [helper.make_node("Relu", ["t"], ["r"]),
                  helper.make_node("Conv", ["r", "last"], ["c"], pads=(1,) * (2 * axes)),
                  helper.make_node("Concat", ["c", "t"], ["y"], axis=1)]
    return nodes, weights, (2, channels) + image


def patches(case, random, tail):
    channels, filters, image, kernel = case
    scale = np.sqrt(channels * np.prod(kernel))
    weights = {"w": random.standard_normal((filters, channels) + kernel) / scale,
               "b": random.standard_normal(filters),
               "shape": np.array([2, filters, -1])}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["p"], kernel_shape=kernel, strides=kernel)]
    if tail == "alone":
        nodes[-1].output[0] = "y"
    elif tail == "activation":
        nodes.append(helper.make_node("Relu", ["p"], ["y"]))
    else:
        nodes += [helper.make_node("Reshape", ["p", "shape"], ["r"]),
                  helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
                  helper.make_node("Softmax", ["t"], ["y"], axis=-1)]
    return nodes, weights, (2, channels) + image


def model_of(nodes, weights, shape, free):
    constants = [numpy_helper.from_array(w if w.dtype == np.int64 else w.astype(np.float32), name)
                 for name, w in weights.items() if any(name in node.input for node in nodes)]
    sizes = [f"n{i}" if free and i > 1 else size for i, size in enumerate(shape)]
    graph = helper.make_graph(
        nodes, "convolution", [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def check(tools, model, x, options, precision, work):
    """What is wrong, or None, and the plan's launches."""
    (work / "model.onnx").write_bytes(model)
    code, _, errors = tools.compile(work / "model.onnx", work / "model.plan",
                                    f"--precision={precision}", *options)
    if code:
        return harness.describe(code, errors), 0
    harness.save_tensor(work / "in" / "input_0.pb", x, "x")
    wanted = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    got = tools.outputs(work / "model.plan", work / "in")[0].astype(np.float64)
    error = np.abs(got - wanted).max() / np.abs(wanted).max()
    _, text, _ = tools.run(tools.bin / "gpurun", "inspect", work / "model.plan")
    launches = int(re.search(r"(\d+) launches", text)[1])
    return None if error <= MOST_ERROR[precision] else f"{error:.3g} of the greatest", launches


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--target", default="sm_80")
    options = parser.parse_args()
    tools, failed, count = harness.Tools(options.build, options.target), 0, 0
    random = np.random.default_rng(3)
    kinds = [(transposed, name, case, "lower_transposed", 2) for name, case in TRANSPOSED.items()]
    kinds += [(patches, name, case, "lower_patches", 1) for name, case in PATCHES.items()]
    for kind, name, case, skip, most in kinds:
        for tail, precision in RUNS:
            nodes, weights, shape = kind(case, random, tail)
            x = random.standard_normal(shape).astype(np.float32)
            ways = [(False, []), (True, [])] if precision != "tf32" else [(False, [])]
            if tail == "inside":
                ways.append((False, [f"-fno-{skip}"]))
            for free, extra in ways:
                with tempfile.TemporaryDirectory() as folder:
                    model = model_of(nodes, weights, shape, free)
                    wrong, launches = check(tools, model, x, extra, precision, pathlib.Path(folder))
                if tail != "inside" and not free and launches > most:
                    wrong = wrong or f"{launches} launches, not {most}"
                count += 1
                if wrong:
                    failed += 1
                    print(f"{kind.__name__}, {name}, {tail}, {precision}, {'free' if free else ''} "
                          f"{' '.join(extra)}: {wrong}", flush=True)
    print(f"{count - failed} of {count} as they should be")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
