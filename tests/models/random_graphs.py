"""Random small graphs of what the passes look for: contractions, attention, quantization and
normalization, with views, concatenations and control flow between them.

A graph is its seed. Sizes stay small and numbers about one. A size that is a multiple of FREE is
that of a free dim, or made of it, and no constant depends on it.
"""
import random

import numpy as np
from onnx import helper, numpy_helper

FREE = 13
MOST = 30000  # elements of a value
SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 8, 9, 12, 15, 16, 16, 17, 24, 31, 32, 32, 33, 40, 48, 64, 67)
STEPS = []  # functions of a Graph that add nodes, each as often as its weight says


class Skip(Exception):
    """A step that does not fit here."""


def step(weight):
    def add(function):
        STEPS.extend([function] * weight)
        return function
    return add


class Value:
    def __init__(self, name, shape):
        self.name, self.shape = name, tuple(int(d) for d in shape)

    @property
    def rank(self):
        return len(self.shape)

    def free(self, axis):
        return self.shape[axis] % FREE == 0 and self.shape[axis] > 0


class Graph:
    def __init__(self, seed):
        self.seed = seed
        self.random = random.Random(f"graph {seed}")
        self.numbers = np.random.default_rng(seed)
        self.float = np.float16 if self.chance(0.12) else np.float32
        self.aligned = self.chance(0.5)  # sizes that whole vectors fit
        self.nodes, self.constants, self.inputs, self.values = [], [], [], []
        self.outer = None  # of a body: the graph around it
        self.quantized = False
        self.rounding = 5e-4 if self.float == np.float16 else 0  # of the model itself

    # ---- chance ----

    def chance(self, p=0.5):
        return self.random.random() < p

    def pick(self, items):
        items = list(items)
        if not items:
            raise Skip
        return self.random.choice(items)

    def size(self):
        n = self.pick(SIZES)
        return max(8, n // 8 * 8) if self.aligned and n > 4 and self.chance(0.8) else n

    def value(self, ranks=range(1, 6), fits=lambda v: True):
        """Mostly one of the last."""
        some = [v for v in self.values if v.rank in ranks and 0 not in v.shape and fits(v)]
        return self.pick(some[-4:] if self.chance(0.7) else some)

    # ---- nodes ----

    def constant(self, array):
        array = np.asarray(array)
        name = f"w{len(self.root.constants)}"
        self.root.constants.append(numpy_helper.from_array(array, name))
        return name

    @property
    def root(self):
        return self.outer.root if self.outer else self

    def normal(self, *shape, scale=1.0):
        return self.constant((self.numbers.normal(size=shape) * scale).astype(self.float))

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def number(self, value):
        return self.constant(np.asarray(value, self.float))

    def new_name(self, op):
        self.root.count = getattr(self.root, "count", 0) + 1
        return f"{op}_{self.root.count}"

    def node(self, op, inputs, shape=None, outputs=1, domain="", **attributes):
        """Names or values in, a value (without a shape: its name) out."""
        if shape is not None and np.prod(shape) > MOST:
            raise Skip
        names = [getattr(x, "name", x) for x in inputs]
        made = [self.new_name(op) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, names, made, made[0], domain=domain, **attributes))
        if outputs > 1:
            return made
        return Value(made[0], shape) if shape is not None else made[0]

    def add(self, value):
        self.values.append(value)
        return value

    # ---- the whole ----

    def make_inputs(self):
        free = self.chance(0.3)
        for i in range(self.pick((1, 1, 2, 3))):
            rank = self.pick((2, 3, 3, 4, 4, 4, 5))
            shape = [self.size() for _ in range(rank)]
            shape[0] = self.pick((1, 1, 2, 3))
            if free:
                shape[self.pick((0, 0, 0, 1, rank - 1))] = FREE
            while np.prod(shape) > MOST / 4:
                shape[self.random.randrange(rank)] //= 2
                shape = [max(1, d) for d in shape]
            self.inputs.append(self.add(Value(f"x{i}", shape)))
            if self.chance(0.3):  # one more of its shape
                self.inputs.append(self.add(Value(f"x{i}b", shape)))

    def grow(self, steps):
        tries = 0
        while len(self.nodes) < steps and tries < 8 * steps:
            tries += 1
            n = len(self.nodes), len(self.values)
            try:
                self.pick(STEPS)(self)
            except Skip:
                del self.nodes[n[0]:]
                del self.values[n[1]:]

    def model(self):
        """The model, and its inputs as they are drawn for free dims of FREE."""
        self.make_inputs()
        self.grow(self.random.randrange(3, 22))
        if not self.nodes:
            x = self.value()
            self.add(self.node("Relu", [x], x.shape))
        read = {name for node in self.nodes for name in node.input}
        made = [v for v in self.values if v not in self.inputs]
        outputs = [v for v in made if v.name not in read]
        outputs += [v for v in made if v.name in read and self.chance(0.08)]
        self.random.shuffle(outputs)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.float))
        inputs = [helper.make_tensor_value_info(
            v.name, kind, ["n" if v.free(a) else d for a, d in enumerate(v.shape)])
            for v in self.inputs]
        graph = helper.make_graph(self.nodes, f"random {self.seed}", inputs,
                                  [helper.make_tensor_value_info(v.name, kind, [None] * v.rank)
                                   for v in outputs],
                                  self.constants)
        imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def feeds(self, n):
        """Inputs whose free dims are n."""
        numbers = np.random.default_rng(self.seed)
        return [numbers.normal(size=[n if v.free(a) else d for a, d in enumerate(v.shape)])
                .astype(self.float) for v in self.inputs]
