#!/usr/bin/env python3
"""The networks whose figures are kept, spelled as PyTorch's exporter spells them.

    zoo.py OUT.onnx NAME [--layers N] [--width N] [--size N]
    zoo.py --list

Weights are random from fixed seeds, scaled so that activations keep their size through all layers
and outputs vary. --layers and --width (channels of the first layer, or of a transformer's stream)
and --size (of the image, or how many tokens there are) make versions that are small but have the
same structure.
"""
import argparse
import math
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import make_resnet50

NETWORKS = {}  # name → (function, defaults)
HEAD = 64      # elements of an attention head


def network(layers, width, size):
    def add(function):
        NETWORKS[function.__name__] = function, (layers, width, size)
        return function
    return add


class Net:
    """A graph that grows node by node. Methods take and give names of tensors."""

    def __init__(self, name):
        self.name = name
        self.random = np.random.default_rng(sum(map(ord, name)))
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.known = {}

    def input(self, name, shape, kind=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value, name):
        """Calls the result of the last node that makes it `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_empty_tensor_value_info(name))

    def constant(self, value, kind=np.float32, name=None):
        array = np.asarray(value, kind)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size < 16 and not name else None
        if key in self.known:
            return self.known[key]
        name = name or f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        if key:
            self.known[key] = name
        return name

    def ints(self, *values):
        return self.constant(values, np.int64)

    def normal(self, name, *shape, scale=1.0, mean=0.0):
        return self.constant(self.random.normal(mean, scale, shape), name=name)

    def op(self, kind, *inputs, outputs=1, **attributes):
        name = f"/{kind}_{len(self.nodes)}"
        names = [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def reshape(self, x, *shape):
        return self.op("Reshape", x, self.ints(*shape))

    def transpose(self, x, *perm):
        return self.op("Transpose", x, perm=perm)

    def model(self, opset):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)],
                                  ir_version=8, producer_name="pytorch")
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
        return model

    # Layers of transformers.

    def linear(self, name, x, width, to, scale=1.0):
        """nn.Linear on three axes: bias first, as the exporter writes it."""
        w = self.normal(f"{name}.weight", width, to, scale=scale / math.sqrt(width))
        return self.op("Add", self.normal(f"{name}.bias", to, scale=0.1), self.op("MatMul", x, w))

    def gemm(self, name, x, width, to, scale=1.0, transposed=True):
        shape = (to, width) if transposed else (width, to)
        w = self.normal(f"{name}.weight", *shape, scale=scale / math.sqrt(width))
        return self.op("Gemm", x, w, self.normal(f"{name}.bias", to, scale=0.1),
                       transB=int(transposed))

    def norm_weights(self, name, width):
        return (self.normal(f"{name}.weight", width, scale=0.1, mean=1.0),
                self.normal(f"{name}.bias", width, scale=0.1))

    def layer_norm(self, name, x, width):
        """As LayerNormalization, from opset 17 on."""
        return self.op("LayerNormalization", x, *self.norm_weights(name, width), axis=-1, epsilon=1e-6)

    def layer_norm_in_parts(self, name, x, width):
        """Before opset 17."""
        weight, bias = self.norm_weights(name, width)
        centered = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        variance = self.op("ReduceMean", self.op("Pow", centered, self.constant(2.0)), axes=[-1])
        deviation = self.op("Sqrt", self.op("Add", variance, self.constant(1e-12)))
        x = self.op("Div", centered, deviation)
        return self.op("Add", self.op("Mul", x, weight), bias)

    def gelu(self, x):
        y = self.op("Erf", self.op("Div", x, self.constant(math.sqrt(2))))
        y = self.op("Mul", x, self.op("Add", y, self.constant(1.0)))
        return self.op("Mul", y, self.constant(0.5))

    def gelu_by_tanh(self, x):
        """Hugging Face's NewGELUActivation."""
        cube = self.op("Mul", self.op("Pow", x, self.constant(3.0)), self.constant(0.044715))
        inner = self.op("Mul", self.op("Add", x, cube), self.constant(math.sqrt(2 / math.pi)))
        outer = self.op("Add", self.op("Tanh", inner), self.constant(1.0))
        return self.op("Mul", self.op("Mul", x, self.constant(0.5)), outer)

    # Layers of convolutional networks.

    def conv(self, name, x, channels, to, size, stride=1, group=1, gain=2.0, bias=True):
        inputs = channels // group * size * size
        weights = [self.normal(f"{name}.weight", to, channels // group, size, size,
                               scale=math.sqrt(gain / inputs))]
        if bias:
            weights.append(self.normal(f"{name}.bias", to, scale=0.1))
        return self.op("Conv", x, *weights, kernel_shape=[size] * 2, strides=[stride] * 2,
                       pads=[size // 2] * 4, group=group, dilations=[1, 1])

    def batch_norm(self, name, x, channels):
        parts = (("weight", 0.1, 1.0), ("bias", 0.1, 0.0), ("running_mean", 0.1, 0.0))
        statistics = [self.normal(f"{name}.{part}", channels, scale=scale, mean=mean)
                      for part, scale, mean in parts]
        variance = self.constant(self.random.uniform(0.8, 1.2, channels), name=f"{name}.running_var")
        return self.op("BatchNormalization", x, *statistics, variance)


@network(layers=16, width=64, size=224)
def resnet50(layers, width, size):
    """53 convolutions in bottleneck blocks with BatchNormalization; image size x size"""
    return make_resnet50.build(1, width, size, layers)


@network(layers=17, width=32, size=224)
def mobilenet_v2(layers, width, size):
    """52 convolutions in inverted residual blocks with Clip, BatchNormalization folded or not"""
    net = Net("mobilenet_v2")
    relu6 = net.constant(0.0), net.constant(6.0)

    def conv_norm(name, x, channels, to, kernel, stride=1, group=1, clip=True):
        y = net.conv(name, x, channels, to, kernel, stride, group, gain=2.0 if clip else 1.0, bias=False)
        y = net.batch_norm(name + ".norm", y, to)
        return net.op("Clip", y, *relu6) if clip else y

    x = net.input("image", [1, 3, size, size])
    channels = width
    x = conv_norm("stem", x, 3, channels, 3, stride=2)
    blocks = [(t, c * width // 32, s if i == 0 else 1)
              for t, c, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                 (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)] for i in range(n)]
    for i, (expansion, to, stride) in enumerate(blocks[:layers]):
        name, y, hidden = f"block{i}", x, channels * expansion
        if expansion != 1:
            y = conv_norm(name + ".expand", y, channels, hidden, 1)
        y = conv_norm(name + ".depthwise", y, hidden, hidden, 3, stride, group=hidden)
        y = conv_norm(name + ".project", y, hidden, to, 1, clip=False)
        x = net.op("Add", x, y) if stride == 1 and channels == to else y
        channels = to
    x = conv_norm("last", x, channels, 40 * width, 1)
    x = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    net.output(net.gemm("classifier", x, 40 * width, 1000, scale=3.0), "logits")
    return net.model(17)


@network(layers=8, width=64, size=224)
def squeezenet(layers, width, size):
    """SqueezeNet 1.1: fire modules, whose two halves are concatenated"""
    net = Net("squeezenet")
    x = net.input("image", [1, 3, size, size])
    x = net.op("Relu", net.conv("stem", x, 3, width, 3, stride=2))
    channels = width
    for i, squeeze in enumerate([16, 16, 32, 32, 48, 48, 64, 64][:layers]):
        if i in (0, 2, 4):
            x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        name, squeeze = f"fire{i}", squeeze * width // 64
        x = net.op("Relu", net.conv(name + ".squeeze", x, channels, squeeze, 1))
        halves = [net.op("Relu", net.conv(f"{name}.expand{k}", x, squeeze, 4 * squeeze, k))
                  for k in (1, 3)]
        x, channels = net.op("Concat", *halves, axis=1), 8 * squeeze
    x = net.op("Relu", net.conv("classifier", x, channels, 1000, 1, gain=8.0))
    net.output(net.op("Flatten", net.op("GlobalAveragePool", x), axis=1), "logits")
    return net.model(17)


@network(layers=4, width=64, size=256)
def unet(layers, width, size):
    """U-Net with transposed convolutions; `layers` halvings of the image"""
    net = Net("unet")

    def twice(name, x, channels, to):
        for i in (1, 2):
            x = net.conv(f"{name}.conv{i}", x, channels, to, 3, bias=False)
            x = net.op("Relu", net.batch_norm(f"{name}.norm{i}", x, to))
            channels = to
        return x

    x, channels = net.input("image", [1, 3, size, size]), width
    x = twice("start", x, 3, width)
    skipped = []
    for i in range(layers):
        skipped.append(x)
        x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = twice(f"down{i}", x, channels, 2 * channels)
        channels *= 2
    for i in range(layers):
        w = net.normal(f"up{i}.weight", channels, channels // 2, 2, 2, scale=1 / math.sqrt(channels))
        up = net.op("ConvTranspose", x, w, net.normal(f"up{i}.bias", channels // 2, scale=0.1),
                    kernel_shape=[2, 2], strides=[2, 2])
        x = twice(f"up{i}", net.op("Concat", skipped.pop(), up, axis=1), channels, channels // 2)
        channels //= 2
    net.output(net.conv("end", x, channels, 2, 1), "mask")
    return net.model(17)


@network(layers=12, width=768, size=128)
def bert(layers, width, size):
    """BERT-base as Hugging Face's exporter of opset 14 writes it: q, k and v apart, a mask"""
    net = Net("bert")
    heads, kind = width // HEAD, TensorProto.INT64
    ids, mask, types = (net.input(name, [1, size], kind)
                        for name in ("input_ids", "attention_mask", "token_type_ids"))
    mask = net.op("Cast", net.op("Unsqueeze", mask, net.ints(1, 2)), to=TensorProto.FLOAT)
    mask = net.op("Mul", net.op("Sub", net.constant(1.0), mask), net.constant(np.finfo(np.float32).min))
    vocabulary = 30522 * width // 768
    x = net.op("Gather", net.normal("word_embeddings", vocabulary, width), ids)
    x = net.op("Add", x, net.op("Gather", net.normal("token_type_embeddings", 2, width), types))
    positions = net.constant(np.arange(size)[None], np.int64, "position_ids")
    x = net.op("Add", x, net.op("Gather", net.normal("position_embeddings", 512, width), positions))
    x = net.layer_norm_in_parts("embeddings.norm", x, width)

    def split(y, *perm):
        return net.transpose(net.reshape(y, 1, size, heads, HEAD), *perm)

    for i in range(layers):
        name = f"layer.{i}"
        q, k, v = (net.linear(f"{name}.{part}", x, width, width, 1.5) for part in ("query", "key", "value"))
        q, k, v = split(q, 0, 2, 1, 3), split(k, 0, 2, 3, 1), split(v, 0, 2, 1, 3)
        scores = net.op("Div", net.op("MatMul", q, k), net.constant(math.sqrt(HEAD)))
        weights = net.op("Softmax", net.op("Add", scores, mask), axis=-1)
        y = net.reshape(net.transpose(net.op("MatMul", weights, v), 0, 2, 1, 3), 1, size, width)
        y = net.linear(f"{name}.attention.dense", y, width, width)
        x = net.layer_norm_in_parts(f"{name}.attention.norm", net.op("Add", y, x), width)
        y = net.gelu(net.linear(f"{name}.intermediate", x, width, 4 * width))
        y = net.linear(f"{name}.output", y, 4 * width, width, 1.5)
        x = net.layer_norm_in_parts(f"{name}.norm", net.op("Add", y, x), width)
    net.output(x, "last_hidden_state")
    first = net.op("Gather", x, net.constant(0, np.int64), axis=1)
    net.output(net.op("Tanh", net.gemm("pooler", first, width, width)), "pooler_output")
    return net.model(14)


@network(layers=12, width=768, size=224)
def vit(layers, width, size):
    """ViT-B/16 as timm writes it: one product for q, k and v, scaled_dot_product_attention"""
    net = Net("vit")
    heads, patches = width // HEAD, (size // 16) ** 2
    x = net.input("image", [1, 3, size, size])
    w = net.normal("patch_embed.weight", width, 3, 16, 16, scale=1 / math.sqrt(768))
    x = net.op("Conv", x, w, net.normal("patch_embed.bias", width, scale=0.1), kernel_shape=[16, 16],
               strides=[16, 16])
    x = net.transpose(net.reshape(x, 1, width, patches), 0, 2, 1)
    x = net.op("Concat", net.normal("cls_token", 1, 1, width), x, axis=1)
    x = net.op("Add", x, net.normal("pos_embed", 1, patches + 1, width, scale=0.5))
    root = net.constant(math.sqrt(1 / math.sqrt(HEAD)))
    for i in range(layers):
        name = f"blocks.{i}"
        y = net.linear(f"{name}.attn.qkv", net.layer_norm(f"{name}.norm1", x, width), width, 3 * width, 1.5)
        y = net.transpose(net.reshape(y, 1, patches + 1, 3, heads, HEAD), 2, 0, 3, 1, 4)
        q, k, v = (net.op("Gather", y, net.constant(part, np.int64), axis=0) for part in range(3))
        q = net.op("Mul", q, root)
        k = net.op("Mul", net.transpose(k, 0, 1, 3, 2), root)
        y = net.op("MatMul", net.op("Softmax", net.op("MatMul", q, k), axis=-1), v)
        y = net.reshape(net.transpose(y, 0, 2, 1, 3), 1, patches + 1, width)
        x = net.op("Add", x, net.linear(f"{name}.attn.proj", y, width, width, 0.5))
        y = net.gelu(net.linear(f"{name}.fc1", net.layer_norm(f"{name}.norm2", x, width), width, 4 * width))
        x = net.op("Add", x, net.linear(f"{name}.fc2", y, 4 * width, width, 0.7))
    x = net.op("Gather", net.layer_norm("norm", x, width), net.constant(0, np.int64), axis=1)
    net.output(net.gemm("head", x, width, 1000), "logits")
    return net.model(17)


@network(layers=12, width=768, size=512)
def gpt2(layers, width, size):
    """One token of GPT-2 behind `size` others in its cache, as Hugging Face's exporter writes it"""
    net = Net("gpt2")
    heads, total, kind = width // HEAD, size + 1, TensorProto.INT64
    vocabulary = 50257 * width // 768
    ids = net.input("input_ids", [1, 1], kind)
    places = net.input("position_ids", [1, 1], kind)
    past = [net.input(f"past_key_values.{i}.{part}", [1, heads, size, HEAD])
            for i in range(layers) for part in ("key", "value")]
    table = net.normal("wte", vocabulary, width)
    x = net.op("Add", net.op("Gather", table, ids),
               net.op("Gather", net.normal("wpe", 1024, width, scale=0.3), places))
    causal = net.constant(np.tril(np.ones((1, 1, 1024, 1024), bool)), np.bool_, "attn.bias")
    lowest = net.constant(np.finfo(np.float32).min)
    presents = []

    def conv1d(name, y, channels, to, scale=1.0):
        y = net.gemm(name, net.reshape(y, -1, channels), channels, to, scale, transposed=False)
        return net.reshape(y, 1, 1, to)

    def split(y):
        return net.transpose(net.reshape(y, 1, 1, heads, HEAD), 0, 2, 1, 3)

    for i in range(layers):
        name = f"h.{i}"
        y = conv1d(f"{name}.c_attn", net.layer_norm(f"{name}.ln_1", x, width), width, 3 * width, 1.5)
        q, k, v = net.op("Split", y, net.ints(width, width, width), outputs=3, axis=2)
        k = net.op("Concat", past[2 * i], split(k), axis=2)
        v = net.op("Concat", past[2 * i + 1], split(v), axis=2)
        presents += [k, v]
        scores = net.op("Div", net.op("MatMul", split(q), net.transpose(k, 0, 1, 3, 2)),
                        net.constant(math.sqrt(HEAD)))
        seen = net.op("Slice", causal, net.ints(size), net.ints(total), net.ints(2), net.ints(1))
        seen = net.op("Slice", seen, net.ints(0), net.ints(total), net.ints(3), net.ints(1))
        weights = net.op("Softmax", net.op("Where", seen, scores, lowest), axis=-1)
        y = net.transpose(net.op("MatMul", weights, v), 0, 2, 1, 3)
        x = net.op("Add", conv1d(f"{name}.c_proj", net.reshape(y, 1, 1, width), width, width), x)
        y = conv1d(f"{name}.c_fc", net.layer_norm(f"{name}.ln_2", x, width), width, 4 * width)
        x = net.op("Add", x, conv1d(f"{name}.mlp.c_proj", net.gelu_by_tanh(y), 4 * width, width))
    x = net.layer_norm("ln_f", x, width)
    net.output(net.op("MatMul", x, net.transpose(table, 1, 0)), "logits")
    for i, value in enumerate(presents):
        net.output(value, f"present.{i // 2}.{('key', 'value')[i % 2]}")
    return net.model(17)


def build(name, layers=None, width=None, size=None):
    function, defaults = NETWORKS[name]
    wanted = (layers, width, size)
    return function(*(w or d for w, d in zip(wanted, defaults)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?")
    parser.add_argument("name", nargs="?", choices=NETWORKS)
    parser.add_argument("--list", action="store_true")
    for option in ("--layers", "--width", "--size"):
        parser.add_argument(option, type=int)
    options = parser.parse_args()
    if options.list:
        for name, (function, (layers, width, size)) in NETWORKS.items():
            print(f"{name:13} layers {layers}, width {width}, size {size}: {function.__doc__}")
        return 0
    if not options.name:
        parser.error("OUT.onnx and NAME are missing")
    onnx.save(build(options.name, options.layers, options.width, options.size), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
