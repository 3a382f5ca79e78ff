#!/usr/bin/env python3
"""Classic networks as ONNX, written layer by layer, with random weights from fixed seeds.

    networks.py FOLDER [NAME...]     writes FOLDER/NAME.onnx for these networks, or for all
    networks.py --list               their names and what they are

Needs numpy and onnx. Then, for each: gpucc NAME.onnx -o NAME.plan
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 20
NETWORKS = {}  # name → function that builds it


class Net:
    """A graph that grows node by node. Methods take and give names of tensors."""

    def __init__(self, name):
        self.name = name
        self.random = np.random.default_rng(2024)
        self.nodes, self.weights, self.inputs, self.examples = [], [], [], {}

    def input(self, name, shape, example):
        """An input; strings in its shape are free dims. example: an array that it may be."""
        kind = helper.np_dtype_to_tensor_dtype(example.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        self.examples[name] = example
        return name

    def normal(self, *shape):
        return self.random.normal(size=shape).astype(np.float32)

    def constant(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape, inputs):
        """Random weights for a layer in which `inputs` products are summed."""
        return self.constant(self.normal(*shape) * np.float32(np.sqrt(2 / inputs)))

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind.lower()}{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    # Layers.

    def conv(self, x, channels, to, size, stride=1, pad=None, relu=True, group=1):
        pad = size // 2 if pad is None else pad
        inputs = channels // group * size * size
        y = self.op("Conv", x, self.weight(to, channels // group, size, size, inputs=inputs),
                    self.weight(to, inputs=inputs), strides=[stride] * 2, pads=[pad] * 4, group=group)
        return self.op("Relu", y) if relu else y

    def pool(self, x, size=2, stride=2):
        return self.op("MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2)

    def dense(self, x, width, to, activation=None):
        y = self.op("Gemm", x, self.weight(to, width, inputs=width), self.weight(to, inputs=width),
                    transB=1)
        return self.op(activation, y) if activation else y

    def linear(self, x, width, to):
        """The same for any rank: along the last axis."""
        return self.op("Add", self.op("MatMul", x, self.weight(width, to, inputs=width)),
                       self.weight(to, inputs=width))

    def model(self, *outputs):
        values = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, values, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                                  ir_version=10, producer_name="gpucc examples")
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
        return model


def network(function):
    NETWORKS[function.__name__] = function
    return function


# Each takes a Net and gives the outputs. thin divides the channels of the large ones, so that they
# run in seconds on the emulator.

@network
def lenet(net, thin=1):
    """Conv 5x5, pool, conv 5x5, pool, dense, dense: 28x28 digits"""
    x = net.input("image", ["batch", 1, 28, 28], net.normal(2, 1, 28, 28))
    x = net.pool(net.conv(x, 1, 20, 5, pad=0))
    x = net.pool(net.conv(x, 20, 50, 5, pad=0))
    x = net.dense(net.op("Flatten", x), 50 * 4 * 4, 500, "Relu")
    return [net.dense(x, 500, 10)]


@network
def small_cnn(net, thin=1):
    """Conv 3x3, pool, conv 3x3, pool, dense: 32x32 colour images"""
    x = net.input("image", ["batch", 3, 32, 32], net.normal(2, 3, 32, 32))
    x = net.pool(net.conv(x, 3, 32, 3))
    x = net.pool(net.conv(x, 32, 64, 3))
    return [net.dense(net.op("Flatten", x), 64 * 8 * 8, 10)]


@network
def smallest_cnn(net, thin=1):
    """Conv 3x3, pool, dense, softmax: 28x28 digits"""
    x = net.input("image", ["batch", 1, 28, 28], net.normal(3, 1, 28, 28))
    x = net.pool(net.conv(x, 1, 16, 3))
    x = net.dense(net.op("Flatten", x), 16 * 14 * 14, 10)
    return [net.op("Softmax", x, axis=-1)]


def unrolled_cell(net, activation, steps=8, width=16, hidden=32):
    """h = activation(x W + h R + b), step after step, without a loop."""
    x = net.input("x", ["batch", steps, width], net.normal(3, steps, width))
    h = net.input("h", ["batch", hidden], net.normal(3, hidden))
    w, b = net.weight(width, hidden, inputs=width), net.weight(hidden, inputs=hidden)
    r = net.constant(net.normal(hidden, hidden) * np.float32(0.5 / np.sqrt(hidden)))
    for step in net.op("Split", x, outputs=steps, axis=1, num_outputs=steps):
        step = net.op("Squeeze", step, net.constant(np.int64([1])))
        total = net.op("Add", net.op("MatMul", step, w), net.op("MatMul", h, r))
        h = net.op(activation, net.op("Add", total, b))
    return [h]


@network
def rnn_tanh(net, thin=1):
    """A recurrent cell with tanh, unrolled over eight steps"""
    return unrolled_cell(net, "Tanh")


@network
def rnn_relu(net, thin=1):
    """A recurrent cell with ReLU, unrolled over eight steps"""
    return unrolled_cell(net, "Relu")


@network
def lstm(net, thin=1):
    """LSTM of 64, dense, softmax: a class for each sequence, of any length"""
    width, hidden = 32, 64
    x = net.input("x", ["steps", "batch", width], net.normal(12, 2, width))
    w = net.weight(1, 4 * hidden, width, inputs=2 * width)
    r = net.weight(1, 4 * hidden, hidden, inputs=2 * hidden)
    b = net.weight(1, 8 * hidden, inputs=hidden)
    _, last, _ = net.op("LSTM", x, w, r, b, outputs=3, hidden_size=hidden)
    last = net.op("Squeeze", last, net.constant(np.int64([0])))
    return [net.op("Softmax", net.dense(last, hidden, 10), axis=-1)]


@network
def alexnet(net, thin=1):
    """AlexNet, with its local response normalization and its two groups: 1000 classes"""
    a, b, c, wide = 96 // thin, 256 // thin, 384 // thin, 4096 // thin

    def normalize(x):
        return net.op("LRN", x, size=5, alpha=1e-4, beta=0.75, bias=2.0)

    x = net.input("image", ["batch", 3, 224, 224], net.normal(1, 3, 224, 224))
    x = net.pool(normalize(net.conv(x, 3, a, 11, stride=4, pad=2)), 3)
    x = net.pool(normalize(net.conv(x, a, b, 5, group=2)), 3)
    x = net.conv(x, b, c, 3)
    x = net.conv(x, c, c, 3, group=2)
    x = net.pool(net.conv(x, c, b, 3, group=2), 3)
    x = net.dense(net.op("Flatten", x), b * 6 * 6, wide, "Relu")
    x = net.dense(x, wide, wide, "Relu")
    return [net.op("Softmax", net.dense(x, wide, 1000 // thin), axis=-1)]


def backbone(net):
    """Features of an image at an eighth of its size: 32 channels."""
    x = net.input("image", [1, 3, 96, 128], net.normal(1, 3, 96, 128))
    for channels, to in ((3, 8), (8, 16), (16, 32)):
        x = net.pool(net.conv(x, channels, to, 3))
    return x


def boxes(net, count):
    """Corners x1, y1, x2, y2 within the image."""
    low = net.random.uniform(0, 60, (count, 2))
    return np.hstack([low, low + net.random.uniform(8, 36, (count, 2))]).astype(np.float32)


def classify_regions(net, regions):
    """From [regions, 32, 7, 7]: class probabilities, and corrections of the boxes for each class."""
    x = net.dense(net.op("Flatten", regions), 32 * 7 * 7, 128, "Relu")
    x = net.dense(x, 128, 128, "Relu")
    return [net.op("Softmax", net.dense(x, 128, 21), axis=-1), net.dense(x, 128, 84)]


@network
def rcnn_pool(net, thin=1):
    """Fast R-CNN: a small backbone, RoI pooling, a head for classes and boxes"""
    features = backbone(net)
    rows = np.hstack([np.zeros((5, 1), np.float32), boxes(net, 5)])  # image, then the corners
    regions = net.input("regions", ["regions", 5], rows)
    return classify_regions(net, net.op("MaxRoiPool", features, regions, pooled_shape=[7, 7],
                                        spatial_scale=1 / 8))


@network
def rcnn_align(net, thin=1):
    """The same with RoIAlign, as Mask R-CNN has it"""
    features = backbone(net)
    regions = net.input("regions", ["regions", 4], boxes(net, 5))
    images = net.input("images", ["regions"], np.zeros(5, np.int64))
    pooled = net.op("RoiAlign", features, regions, images, output_height=7, output_width=7,
                    sampling_ratio=2, spatial_scale=1 / 8)
    return classify_regions(net, pooled)


@network
def unet(net, thin=1):
    """U-Net: three levels down and up again, with skip connections; a mask of two classes"""
    def twice(x, channels, to):
        return net.conv(net.conv(x, channels, to, 3), to, to, 3)

    widths = [32 // thin, 64 // thin, 128 // thin, 256 // thin]
    x = net.input("image", ["batch", 1, 64, 64], net.normal(1, 1, 64, 64))
    skips, channels = [], 1
    for width in widths[:-1]:
        x = twice(x, channels, width)
        skips.append(x)
        x, channels = net.pool(x), width
    x = twice(x, channels, widths[-1])
    for width, skip in zip(widths[-2::-1], skips[::-1]):
        up = net.weight(2 * width, width, 2, 2, inputs=8 * width)
        x = net.op("ConvTranspose", x, up, kernel_shape=[2, 2], strides=[2, 2])
        x = twice(net.op("Concat", skip, x, axis=1), 2 * width, width)
    return [net.op("Softmax", net.conv(x, widths[0], 2, 1, relu=False), axis=1)]


@network
def transformer(net, thin=1):
    """A decoder of two layers and four heads with causal attention: logits for each token"""
    words, length, width, heads = 100, 24, 64, 4
    tokens = net.input("tokens", ["batch", length], net.random.integers(0, words, (2, length)))
    split = net.constant(np.int64([0, 0, heads, width // heads]))
    joined = net.constant(np.int64([0, 0, width]))
    mask = net.constant(np.triu(np.full((length, length), -1e9, np.float32), 1))
    scale = net.constant(np.float32(1 / np.sqrt(width // heads)))

    def normalize(x):
        return net.op("LayerNormalization", x, net.constant(np.ones(width, np.float32)),
                      net.constant(np.zeros(width, np.float32)), axis=-1)

    def head(x, perm):
        return net.op("Transpose", net.op("Reshape", net.linear(x, width, width), split), perm=perm)

    def attention(x):
        q, k, v = head(x, [0, 2, 1, 3]), head(x, [0, 2, 3, 1]), head(x, [0, 2, 1, 3])
        scores = net.op("Add", net.op("Mul", net.op("MatMul", q, k), scale), mask)
        y = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
        y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), joined)
        return net.linear(y, width, width)

    def feed_forward(x):
        return net.linear(net.op("Gelu", net.linear(x, width, 4 * width)), 4 * width, width)

    x = net.op("Gather", net.constant(net.normal(words, width)), tokens)
    x = net.op("Add", x, net.constant(net.normal(length, width)))
    for _ in range(2):
        x = net.op("Add", x, attention(normalize(x)))
        x = net.op("Add", x, feed_forward(normalize(x)))
    return [net.linear(normalize(x), width, words)]


def build(name, thin=1):
    """(model, example inputs by name)"""
    net = Net(name)
    return net.model(*NETWORKS[name](net, thin)), net.examples


def main():
    if sys.argv[1:] == ["--list"]:
        for name, function in NETWORKS.items():
            print(f"{name:14} {function.__doc__}")
    elif len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        folder = pathlib.Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        for name in sys.argv[2:] or NETWORKS:
            onnx.save(build(name)[0], folder / f"{name}.onnx")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
