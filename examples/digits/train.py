#!/usr/bin/env python3
"""Trains the demo's network on scikit-learn's handwritten digits and writes it as ONNX.

    python3 train.py            (numpy, onnx, onnxruntime and scikit-learn; a minute on one core)

1,797 real images of 8x8 pixels; every fifth is held back. The network is a small residual CNN with
batch normalization, written out by hand below: forward, backward, Adam. Everything is seeded.

Writes, beside this file:
    digits.onnx                            the trained network, free batch dimension
    held_back/test_data_set_0/input_0.pb   the held-back images, f32 [360, 1, 8, 8] in 0..1
    held_back/test_data_set_0/output_0.pb  their logits by ONNX Runtime
    held_back/images.u8                    the same images as 8x8 bytes, 0..16
    held_back/labels.u8                    their labels, one byte each
    held_back/accuracy.txt                 correct images and their number, at training
"""
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
CHANNELS = 24
EPSILON = 1e-5
MOMENTUM = 0.9


def patches(x):
    """3x3 neighbourhoods with zero padding: [N, C, H, W] to [N, C*9, H*W]."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = [padded[:, :, i:i + h, j:j + w] for i in range(3) for j in range(3)]
    return np.stack(rows, axis=2).reshape(n, c * 9, h * w)


def scatter_patches(columns, shape):
    """The adjoint of patches."""
    n, c, h, w = shape
    columns = columns.reshape(n, c, 9, h, w)
    padded = np.zeros((n, c, h + 2, w + 2), columns.dtype)
    for k in range(9):
        i, j = divmod(k, 3)
        padded[:, :, i:i + h, j:j + w] += columns[:, :, k]
    return padded[:, :, 1:-1, 1:-1]


class Conv:
    """3x3 convolution, batch normalization; keeps running statistics for inference."""

    def __init__(self, rng, inputs, outputs):
        scale = np.sqrt(2 / (inputs * 9))
        self.weight = rng.normal(0, scale, (outputs, inputs, 3, 3)).astype(np.float32)
        self.gamma = np.ones(outputs, np.float32)
        self.beta = np.zeros(outputs, np.float32)
        self.mean = np.zeros(outputs, np.float32)
        self.variance = np.ones(outputs, np.float32)

    def forward(self, x):
        n, _, h, w = x.shape
        self.shape, self.columns = x.shape, patches(x)
        y = np.einsum("ok,nkp->nop", self.weight.reshape(len(self.weight), -1), self.columns)
        mean, variance = y.mean((0, 2)), y.var((0, 2))
        self.mean = MOMENTUM * self.mean + (1 - MOMENTUM) * mean
        self.variance = MOMENTUM * self.variance + (1 - MOMENTUM) * variance
        self.inverse = 1 / np.sqrt(variance + EPSILON)
        self.normal = (y - mean[:, None]) * self.inverse[:, None]
        y = self.normal * self.gamma[:, None] + self.beta[:, None]
        return y.reshape(n, -1, h, w).astype(np.float32)

    def backward(self, gradient):
        n, o, h, w = gradient.shape
        gradient = gradient.reshape(n, o, h * w)
        self.d_beta = gradient.sum((0, 2))
        self.d_gamma = (gradient * self.normal).sum((0, 2))
        count = n * h * w
        gradient = (self.gamma * self.inverse)[:, None] * (
            gradient - self.d_beta[:, None] / count - self.normal * self.d_gamma[:, None] / count)
        self.d_weight = np.einsum("nop,nkp->ok", gradient, self.columns).reshape(self.weight.shape)
        back = np.einsum("ok,nop->nkp", self.weight.reshape(o, -1), gradient)
        return scatter_patches(back, self.shape)

    def parameters(self):
        return [(self.weight, "d_weight"), (self.gamma, "d_gamma"), (self.beta, "d_beta")]


class Network:
    """conv-relu, residual block of two convs, max pool, dense."""

    def __init__(self, rng):
        self.convs = [Conv(rng, 1, CHANNELS), Conv(rng, CHANNELS, CHANNELS),
                      Conv(rng, CHANNELS, CHANNELS)]
        self.dense = rng.normal(0, 0.05, (10, CHANNELS * 16)).astype(np.float32)
        self.bias = np.zeros(10, np.float32)

    def forward(self, x):
        a = np.maximum(self.convs[0].forward(x), 0)
        b = np.maximum(self.convs[1].forward(a), 0)
        c = np.maximum(self.convs[2].forward(b) + a, 0)
        n = len(x)
        windows = c.reshape(n, CHANNELS, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5)
        windows = windows.reshape(n, CHANNELS, 4, 4, 4)
        self.kept = a, b, c, windows.argmax(4)
        self.flat = windows.max(4).reshape(n, -1)
        return self.flat @ self.dense.T + self.bias

    def backward(self, gradient):
        a, b, c, winner = self.kept
        n = len(gradient)
        self.d_dense, self.d_bias = gradient.T @ self.flat, gradient.sum(0)
        back = (gradient @ self.dense).reshape(n, CHANNELS, 4, 4)
        spread = np.zeros((n, CHANNELS, 4, 4, 4), np.float32)
        np.put_along_axis(spread, winner[..., None], back[..., None], 4)
        spread = spread.reshape(n, CHANNELS, 4, 4, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        d_c = spread.reshape(c.shape) * (c > 0)
        d_b = self.convs[2].backward(d_c) * (b > 0)
        d_a = (self.convs[1].backward(d_b) + d_c) * (a > 0)
        self.convs[0].backward(d_a)

    def parameters(self):
        mine = [(self, self.dense, "d_dense"), (self, self.bias, "d_bias")]
        return mine + [(c, p, g) for c in self.convs for p, g in c.parameters()]


def train(images, labels, epochs=14, batch=64):
    rng = np.random.default_rng(2026)
    network = Network(rng)
    moments = [(np.zeros_like(p), np.zeros_like(p)) for _, p, _ in network.parameters()]
    step = 0
    for epoch in range(epochs):
        rate = 2e-3 * (1 - epoch / epochs)
        order = rng.permutation(len(images))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start:start + batch]
            logits = network.forward(images[chosen])
            softmax = np.exp(logits - logits.max(1, keepdims=True))
            softmax /= softmax.sum(1, keepdims=True)
            softmax[np.arange(batch), labels[chosen]] -= 1
            network.backward((softmax / batch).astype(np.float32))
            step += 1
            for (owner, p, name), (m, v) in zip(network.parameters(), moments):
                g = getattr(owner, name)
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                p -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return network


def export(network):
    """The graph as a framework would export it: BatchNormalization and Relu as nodes of their own."""
    nodes, tensors = [], []

    def tensor(name, array):
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def conv(index, source, target):
        c = network.convs[index]
        name = f"conv{index + 1}"
        nodes.append(helper.make_node(
            "Conv", [source, tensor(name + ".weight", c.weight)], [name + ".out"], name=name,
            kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node(
            "BatchNormalization",
            [name + ".out", tensor(name + ".gamma", c.gamma), tensor(name + ".beta", c.beta),
             tensor(name + ".mean", c.mean), tensor(name + ".variance", c.variance)],
            [target], name=name + ".norm", epsilon=EPSILON))

    conv(0, "image", "n1")
    nodes.append(helper.make_node("Relu", ["n1"], ["a1"], name="relu1"))
    conv(1, "a1", "n2")
    nodes.append(helper.make_node("Relu", ["n2"], ["a2"], name="relu2"))
    conv(2, "a2", "n3")
    nodes.append(helper.make_node("Add", ["n3", "a1"], ["sum"], name="residual"))
    nodes.append(helper.make_node("Relu", ["sum"], ["a3"], name="relu3"))
    nodes.append(helper.make_node("MaxPool", ["a3"], ["p"], name="pool", kernel_shape=[2, 2],
                                  strides=[2, 2]))
    nodes.append(helper.make_node("Flatten", ["p"], ["flat"], name="flatten"))
    nodes.append(helper.make_node(
        "Gemm", ["flat", tensor("dense.weight", network.dense), tensor("dense.bias", network.bias)],
        ["logits"], name="dense", transB=1))
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])], tensors)
    model = helper.make_model(graph, producer_name="gpucc examples/digits/train.py",
                              opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    import onnxruntime
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    held_back = np.arange(len(images)) % 5 == 0
    model = export(train(images[~held_back], labels[~held_back]))
    onnx.save(model, HERE / "digits.onnx")

    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    logits, = session.run(None, {"image": images[held_back]})
    correct = int((logits.argmax(1) == labels[held_back]).sum())
    data = HERE / "held_back" / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    for name, array, tensor_name in (("input_0.pb", images[held_back], "image"),
                                     ("output_0.pb", logits, "logits")):
        (data / name).write_bytes(numpy_helper.from_array(array, tensor_name).SerializeToString())
    pixels = np.round(images[held_back] * 16).astype(np.uint8)
    (data.parent / "images.u8").write_bytes(pixels.tobytes())
    (data.parent / "labels.u8").write_bytes(labels[held_back].astype(np.uint8).tobytes())
    (data.parent / "accuracy.txt").write_text(f"{correct} {held_back.sum()}\n")
    print(f"held back: {correct} of {held_back.sum()} correct")


if __name__ == "__main__":
    main()
