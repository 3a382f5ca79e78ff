#!/usr/bin/env python3
"""Quantized models of every spelling against ONNX Runtime, on the emulator, within one step.

A step is the scale with which an output is quantized: of integers 1, of a float output the scale of
the DequantizeLinear (or the sum of the scales of those) that it comes from, plus the rounding of
float sums where the output is no such thing. ONNX Runtime's own integer and float kernels differ by
one step where a number lies on the border between two.

Each model is also compiled without fold_quantization, and then multiplies floats: the same holds.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib")]
import harness  # noqa: E402

MODELS = {}  # name → function(Model)
RANGE = {np.dtype(np.int8): (-128, 127), np.dtype(np.uint8): (0, 255)}


def model(function):
    MODELS[function.__name__] = function
    return function


class Model:
    """A graph that grows node by node; each method gives the name of a tensor."""

    def __init__(self, name):
        self.random = np.random.default_rng(sum(map(ord, name)))
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []
        self.examples, self.steps = {}, []
        self.scales = 0.01  # of the weights made last
        self.optimized = True
        self.most_launches = self.most_weights = None  # of the plan; bytes

    def constant(self, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def node(self, op, *inputs, domain="", **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, **attributes))
        return name

    def input(self, *shape, low=-1, high=1, kind=np.float32):
        name = f"in{len(self.inputs)}"
        if np.issubdtype(kind, np.integer):
            value = self.random.integers(low, high, shape, endpoint=True).astype(kind)
        else:
            value = self.random.uniform(low, high, shape).astype(kind)
        self.examples[name] = value
        self.inputs.append(helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape))
        return name

    def output(self, name, step):
        self.outputs.append(helper.make_empty_tensor_value_info(name))
        self.steps.append(step)

    def quantize(self, x, scale, zero=np.uint8(128)):
        return self.node("QuantizeLinear", x, self.constant(np.float32(scale)), self.constant(zero))

    def dequantize(self, x, scale, zero=np.uint8(128), **attributes):
        return self.node("DequantizeLinear", x, self.constant(np.asarray(scale, np.float32)),
                         self.constant(zero), **attributes)

    def there_and_back(self, x, scale, zero=np.uint8(128)):
        return self.dequantize(self.quantize(x, scale, zero), scale, zero)

    def weights(self, *shape, kind=np.int8, zero=None, axis=None, scale=0.01, spread=1.0):
        """Quantized weights, dequantized: with one scale, or one for each index of axis."""
        low, high = RANGE[np.dtype(kind)]
        zero = kind((low + high + 1) // 2) if zero is None else zero
        middle = int(np.max(zero))
        w = self.random.integers(int(middle + (low - middle) * spread),
                                 int(middle + (high - middle) * spread), shape, endpoint=True)
        self.scales = scale
        if axis is None:
            return self.dequantize(self.constant(w.astype(kind)), scale, zero)
        self.scales = self.random.uniform(0.5, 2, shape[axis]).astype(np.float32) * scale
        return self.dequantize(self.constant(w.astype(kind)), self.scales,
                               np.full(shape[axis], zero, kind), axis=axis)

    def bias(self, n, scale=0.01):
        """A bias to the weights made last; scale is that of the other operand."""
        bias = self.constant(self.random.integers(-1000, 1000, n).astype(np.int32))
        scales = np.float32(scale) * np.asarray(self.scales, np.float32)
        return self.dequantize(bias, scales, np.zeros(scales.shape, np.int32),
                               **({"axis": 0} if scales.ndim else {}))

    def proto(self):
        graph = helper.make_graph(self.nodes, "quantized", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


# --- QDQ convolutions -----------------------------------------------------------------------------

def convolution(m, x_zero, w, bias=None, relu=False, channels=8, pads=(1, 1, 1, 1),
                next_scale=0.05, **attributes):
    x = m.there_and_back(m.input(2, channels, 9, 11), 0.01, x_zero)
    y = m.node("Conv", x, w, *([bias] if bias else []), pads=pads, **attributes)
    y = m.node("Relu", y) if relu else y
    m.output(m.there_and_back(y, next_scale, np.uint8(0) if relu else np.uint8(120)), next_scale)


@model
def convolution_with_one_scale(m):
    convolution(m, np.uint8(128), m.weights(16, 8, 3, 3))


@model
def convolution_with_a_scale_for_each_channel(m):
    convolution(m, np.uint8(3), m.weights(16, 8, 3, 3, axis=0), m.bias(16), relu=True)


@model
def convolution_of_signed_bytes(m):
    x = m.there_and_back(m.input(1, 8, 8, 8), 0.01, np.int8(-7))
    y = m.node("Conv", x, m.weights(8, 8, 3, 3), pads=[1, 1, 1, 1])
    m.output(m.quantize(y, 0.05, np.int8(5)), 1)


@model
def convolution_by_unsigned_weights_around_128(m):
    convolution(m, np.uint8(128), m.weights(16, 8, 3, 3, kind=np.uint8))


@model
def convolution_by_unsigned_weights_around_100(m):
    convolution(m, np.uint8(90), m.weights(16, 8, 3, 3, kind=np.uint8, zero=np.uint8(100)))


@model
def convolution_with_stride_on_one_side_padded(m):
    convolution(m, np.uint8(77), m.weights(16, 8, 3, 3), m.bias(16), pads=(0, 0, 1, 1),
                strides=[2, 2])


@model
def convolution_in_groups_by_unsigned_weights(m):
    convolution(m, np.uint8(90), m.weights(12, 4, 3, 3, kind=np.uint8, zero=np.uint8(70)), group=2)


@model
def depthwise_convolution(m):
    convolution(m, np.uint8(128), m.weights(8, 1, 3, 3, axis=0), m.bias(8), relu=True, group=8,
                next_scale=0.01)


@model
def pointwise_convolution_of_many_channels(m):
    convolution(m, np.uint8(128), m.weights(64, 64, 1, 1, axis=0), channels=64, pads=(0, 0, 0, 0))


@model
def residual(m):
    x = m.there_and_back(m.input(1, 16, 8, 8), 0.01)
    y = m.node("Conv", x, m.weights(16, 16, 3, 3), m.bias(16), pads=[1, 1, 1, 1])
    y = m.there_and_back(m.node("Relu", y), 0.04, np.uint8(0))
    y = m.there_and_back(m.node("Conv", y, m.weights(16, 16, 3, 3), pads=[1, 1, 1, 1]), 0.2)
    y = m.there_and_back(m.node("Add", y, x), 0.25)
    # A step of the second convolution moves the sum by one step of its own, at most.
    m.output(m.there_and_back(m.node("Conv", y, m.weights(8, 16, 1, 1, spread=0.05)), 2.0), 2.0)


@model
def concatenated_and_pooled(m):
    x = m.there_and_back(m.input(1, 8, 8, 8), 0.01)
    parts = []
    for _ in range(2):
        y = m.node("Conv", x, m.weights(8, 8, 3, 3), pads=[1, 1, 1, 1])
        parts.append(m.there_and_back(y, 0.05))
    y = m.there_and_back(m.node("Concat", *parts, axis=1), 0.05)
    y = m.there_and_back(m.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.05)
    y = m.node("Conv", y, m.weights(4, 16, 1, 1, spread=0.1))
    m.output(m.there_and_back(y, 1.0), 1.0)


# --- QDQ products ---------------------------------------------------------------------------------

@model
def product_with_bias(m):
    x = m.there_and_back(m.input(20, 96), 0.01, np.uint8(130))
    y = m.node("Gemm", x, m.weights(48, 96, axis=0), m.bias(48), transB=1)
    m.output(m.there_and_back(y, 0.1), 0.1)


@model
def product_of_few_rows(m):
    x = m.there_and_back(m.input(3, 128), 0.01, np.uint8(130))
    y = m.node("MatMul", x, m.weights(128, 96, axis=1))
    m.output(m.there_and_back(y, 0.1), 0.1)


@model
def product_by_unsigned_weights(m):
    x = m.there_and_back(m.input(2, 10, 64), 0.01, np.uint8(11))
    y = m.node("MatMul", x, m.weights(64, 32, kind=np.uint8, zero=np.uint8(50)))
    m.output(m.there_and_back(y, 0.1), 0.1)


@model
def product_of_two_activations(m):
    x = m.there_and_back(m.input(2, 3, 12, 32), 0.01, np.uint8(120))
    y = m.there_and_back(m.input(2, 3, 14, 32), 0.01, np.uint8(140))
    y = m.node("MatMul", x, m.node("Transpose", y, perm=[0, 1, 3, 2]))
    m.output(m.there_and_back(y, 0.05), 0.05)


@model
def weights_alone(m):
    m.optimized = False  # ONNX Runtime would quantize the activations, too
    m.output(m.node("MatMul", m.input(9, 64), m.weights(64, 80, axis=1)), 1e-4)


# --- Operators on integers ------------------------------------------------------------------------

@model
def integer_operators(m):
    x, w = m.input(1, 8, 6, 6, low=0, high=255, kind=np.uint8), m.constant(
        m.random.integers(-128, 127, (8, 8, 3, 3), endpoint=True).astype(np.int8))
    scale, zero = m.constant(np.float32(0.02)), m.constant(np.uint8(117))
    scales = m.constant(m.random.uniform(0.01, 0.03, 8).astype(np.float32))
    zeros = m.constant(np.zeros(8, np.int8))
    bias = m.constant(m.random.integers(-500, 500, 8).astype(np.int32))
    y = m.node("QLinearConv", x, scale, zero, w, scales, zeros, m.constant(np.float32(0.5)),
               m.constant(np.uint8(99)), bias, pads=[1, 1, 1, 1])
    m.output(y, 1)
    m.output(m.node("ConvInteger", x, w, zero, pads=[1, 1, 1, 1]), 0)


@model
def integer_products(m):
    x = m.input(7, 40, low=0, high=255, kind=np.uint8)
    w = m.constant(m.random.integers(0, 255, (40, 24), endpoint=True).astype(np.uint8))
    m.output(m.node("MatMulInteger", x, w, m.constant(np.uint8(5)), m.constant(np.uint8(200))), 0)
    y = m.node("QLinearMatMul", x, m.constant(np.float32(0.02)), m.constant(np.uint8(117)), w,
               m.constant(np.float32(0.01)), m.constant(np.uint8(120)), m.constant(np.float32(0.4)),
               m.constant(np.uint8(99)))
    m.output(y, 1)


@model
def dynamic_quantization(m):
    x = m.input(6, 48)
    m.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], ["q", "scale", "zero"]))
    w = m.constant(m.random.integers(-128, 127, (48, 40), endpoint=True).astype(np.int8))
    y = m.node("Cast", m.node("MatMulInteger", "q", w, "zero"), to=TensorProto.FLOAT)
    m.output(m.node("Mul", y, "scale"), 128 * 2 / 255)


# --- Four bits, and floats of eight ----------------------------------------------------------------

def four_bits(m, rows, kind, zero, axis=0):
    k, n, block = 128, 96, 32
    m.optimized = False  # as in weights_alone
    low = -8 if kind == TensorProto.INT4 else 0
    numbers = m.random.integers(low, low + 15, (k, n), endpoint=True)
    m.constants.append(helper.make_tensor("w", kind, (k, n), numbers.flatten().tolist()))
    blocks = (k // block, n) if axis == 0 else (k, n // block)
    zeros = m.random.integers(low, low + 15, blocks, endpoint=True) if zero else None
    inputs = ["w", m.constant(m.random.uniform(0.01, 0.1, blocks).astype(np.float32))]
    if zero:
        m.constants.append(helper.make_tensor("zeros", kind, blocks, zeros.flatten().tolist()))
        inputs.append("zeros")
    w = m.node("DequantizeLinear", *inputs, axis=axis, block_size=block)
    m.output(m.node("MatMul", m.input(rows, k), w), 1e-4)


@model
def four_signed_bits_for_few_rows(m):
    four_bits(m, 2, TensorProto.INT4, False)


@model
def four_signed_bits_with_zero_points(m):
    four_bits(m, 40, TensorProto.INT4, True)


@model
def four_unsigned_bits_for_few_rows(m):
    four_bits(m, 1, TensorProto.UINT4, True)


@model
def four_unsigned_bits_in_blocks_of_columns(m):
    four_bits(m, 5, TensorProto.UINT4, True, axis=1)


def nbits(m, rows):
    k, n, block = 128, 64, 32
    w = m.constant(m.random.integers(0, 255, (n, k // block, block // 2), endpoint=True).astype(np.uint8))
    scale = m.constant(m.random.uniform(0.01, 0.1, n * k // block).astype(np.float32))
    zero = m.constant(m.random.integers(0, 255, n * k // block // 2, endpoint=True).astype(np.uint8))
    m.output(m.node("MatMulNBits", m.input(rows, k), w, scale, zero, domain="com.microsoft", K=k, N=n,
                    bits=4, block_size=block), 1e-4)


@model
def packed_weights_for_one_row(m):
    nbits(m, 1)


@model
def packed_weights_for_many_rows(m):
    nbits(m, 33)


# --- Weights of one operand's products, joined without being widened --------------------------------

def gated(m, x, product):
    gate, up = product(x), product(x)
    m.output(m.node("Mul", m.node("Mul", gate, m.node("Sigmoid", gate)), up), 1e-4)
    m.most_launches = 1


def side_by_side(m, x, product):
    for _ in range(3):
        m.output(m.node("Softmax", product(x), axis=-1), 1e-4)
    m.most_launches = 4


def packed(m):
    k, n, block = 512, 256, 32
    m.most_weights = 3 * n * (k // 2 + k // block * 5) + 4096
    return lambda x: m.node(
        "MatMulNBits", x,
        m.constant(m.random.integers(0, 255, (n, k // block, block // 2), endpoint=True).astype(np.uint8)),
        m.constant(m.random.uniform(0.001, 0.01, n * k // block).astype(np.float32)),
        m.constant(m.random.integers(0, 255, n * k // block // 2, endpoint=True).astype(np.uint8)),
        domain="com.microsoft", K=k, N=n, bits=4, block_size=block)


def bytes_of_one_scale(m):
    k, n = 512, 256
    m.optimized = False  # as in weights_alone
    m.most_weights = 3 * n * (k + 8) + 4096
    return lambda x: m.node("MatMul", x, m.weights(k, n, kind=np.uint8, scale=m.random.uniform(5e-4, 1e-3)))


@model
def gate_of_packed_weights(m):
    gated(m, m.input(1, 512), packed(m))


@model
def gate_of_bytes(m):
    gated(m, m.input(20, 512), bytes_of_one_scale(m))


@model
def three_products_of_packed_weights(m):
    side_by_side(m, m.input(40, 512), packed(m))


@model
def three_products_of_bytes(m):
    side_by_side(m, m.input(2, 512), bytes_of_one_scale(m))


# --- The test --------------------------------------------------------------------------------------

def reference(m):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not m.optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(m.proto().SerializeToString(), options,
                                providers=["CPUExecutionProvider"]).run(None, m.examples)


def wrong(got, wanted, step):
    """None, or what is wrong. Sums of floats may differ by 1e-5 of the largest."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{got.shape}, not {wanted.dtype}{wanted.shape}"
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    allowed = step + 1e-5 * np.abs(wanted).max()
    difference = np.abs(got - wanted)
    off = (difference > 0.5 * step).mean()
    if not difference.max() <= allowed:
        return f"differs by {difference.max():.4g}, more than {allowed:.4g}"
    # More than a few numbers that lie on a border are a wrong rounding.
    return f"{off:.1%} of the numbers are a step away" if step > 1e-3 and off > 0.02 else None


def too_much(tools, m, plan):
    """None, or what the plan has more of than it should."""
    program = json.loads(tools.run(tools.bin / "gpurun", "inspect", plan, "--json")[1])
    if m.most_launches is not None and program["launches"] > m.most_launches:
        return f"{program['launches']} launches, {m.most_launches} would do"
    if m.most_weights is not None and program["weight_bytes"] > m.most_weights:
        return f"weights take {program['weights']} bytes, {m.most_weights} would do"
    return None


def check(tools, name):
    m = Model(name)
    MODELS[name](m)
    wanted = reference(m)
    if any(np.ptp(w.astype(np.float64)) == 0 for w in wanted):
        return "the expected output does not vary"
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "model.onnx").write_bytes(m.proto().SerializeToString())
        for i, key in enumerate(m.examples):
            harness.save_tensor(work / "set" / f"input_{i}.pb", m.examples[key], key)
        for options in ([], ["-fno-fold_quantization"]):
            code, _, errors = tools.compile(work / "model.onnx", work / "model.plan", *options)
            if code != 0:
                return harness.describe(code, errors)
            problem = too_much(tools, m, work / "model.plan")
            if problem:
                return f"{' '.join(options)}: {problem}"
            try:
                got = tools.outputs(work / "model.plan", work / "set")
            except RuntimeError as e:
                return str(e)
            for i, step in enumerate(m.steps):
                problem = wrong(got[i], wanted[i], step)
                if problem:
                    return f"{' '.join(options)} output {i}: {problem}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", help="one model")
    options = parser.parse_args()
    tools = harness.Tools(options.build)
    names = [options.only] if options.only else list(MODELS)
    failed = 0
    for name, problem in zip(names, harness.parallel(lambda n: check(tools, n), names)):
        print(f"{name:45} {problem or 'matches'}")
        failed += problem is not None
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
