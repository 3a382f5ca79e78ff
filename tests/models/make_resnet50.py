#!/usr/bin/env python3
"""Writes ResNet-50 (v1.5) with seeded random weights: make_resnet50.py OUT.onnx [--batch N|free]

The weights are He-normal, and the running statistics of BatchNormalization lie near what they
normalize, so that activations keep a sane scale through all fifty layers.
"""
import argparse

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 50
STAGES = [(64, 3), (128, 4), (256, 6), (512, 3)]  # (width, blocks); a block's output is 4 * width


class Net:
    def __init__(self):
        self.random = np.random.default_rng(SEED)
        self.nodes, self.weights = [], []

    def weight(self, name, array):
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def node(self, op, name, inputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name + "_out"], name=name, **attributes))
        return name + "_out"

    def conv_norm(self, name, x, cin, cout, kernel, stride=1, relu=True):
        scale = np.sqrt(2.0 / (cin * kernel * kernel))
        w = self.random.standard_normal((cout, cin, kernel, kernel)) * scale
        pad = kernel // 2
        x = self.node("Conv", name, [x, self.weight(name + ".weight", w)],
                      kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        # A block's last convolution is damped, as trained networks do, so that sums do not explode.
        gamma = self.random.uniform(0.8, 1.2, cout) * (1.0 if relu else 0.3)
        statistics = [gamma, self.random.normal(0, 0.1, cout), self.random.normal(0, 0.1, cout),
                      self.random.uniform(0.8, 1.2, cout)]
        names = [self.weight(f"{name}.{part}", a)
                 for part, a in zip(("gamma", "beta", "mean", "variance"), statistics)]
        x = self.node("BatchNormalization", name + ".norm", [x] + names)
        return self.node("Relu", name + ".relu", [x]) if relu else x

    def block(self, name, x, cin, width, stride):
        shortcut = x
        if stride != 1 or cin != 4 * width:
            shortcut = self.conv_norm(name + ".shortcut", x, cin, 4 * width, 1, stride, relu=False)
        y = self.conv_norm(name + ".conv1", x, cin, width, 1)
        y = self.conv_norm(name + ".conv2", y, width, width, 3, stride)
        y = self.conv_norm(name + ".conv3", y, width, 4 * width, 1, relu=False)
        y = self.node("Add", name + ".add", [y, shortcut])
        return self.node("Relu", name + ".relu", [y])


def build(batch, base=64, size=224, most_blocks=16):
    """base: channels of the first layer; all others go with it. most_blocks: blocks in all."""
    net = Net()
    x = net.conv_norm("stem", "image", 3, base, 7, stride=2)
    x = net.node("MaxPool", "pool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels, left = base, most_blocks
    for s, (width, blocks) in enumerate(STAGES):
        width = width * base // 64
        for b in range(min(blocks, left)):
            stride = 2 if s and not b else 1
            left -= 1
            x = net.block(f"stage{s + 1}.{b}", x, channels, width, stride)
            channels = 4 * width
    x = net.node("GlobalAveragePool", "average", [x])
    x = net.node("Flatten", "flatten", [x])
    w = net.weight("fc.weight", net.random.standard_normal((1000, channels)) * 0.01)
    bias = net.weight("fc.bias", np.zeros(1000))
    net.nodes.append(helper.make_node("Gemm", [x, w, bias], ["logits"], name="fc", transB=1))
    graph = helper.make_graph(
        net.nodes, "resnet50",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 1000])], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--batch", default="1", help="a number, or 'free'")
    arguments = parser.parse_args()
    batch = "batch" if arguments.batch == "free" else int(arguments.batch)
    onnx.save(build(batch), arguments.out)


if __name__ == "__main__":
    main()
