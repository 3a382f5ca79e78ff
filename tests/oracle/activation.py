"""Generators: activations and what is like them, softmax and losses."""
import math

import numpy as np

from cases import Case, generator

erf = np.vectorize(math.erf)

# Answers in double, where the judges compute in float; see differences.tsv.
OWN = {
    "Gelu tanh": lambda x: [x[0] * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) *
                                                      (x[0] + 0.044715 * x[0]**3)))],
    "Gelu": lambda x: [x[0] * 0.5 * (1 + erf(x[0] / math.sqrt(2)))],
    "HardSwish": lambda x: [x[0] * np.clip(x[0] / 6 + 0.5, 0, 1)],
}


def shrink(attributes):
    bias, limit = (float(np.float32(attributes.get(k, v))) for k, v in (("bias", 0), ("lambd", 0.5)))

    def answer(x):
        x, y = x[0], x[0].astype(np.float64)
        y = np.where(y < -limit, y + bias, np.where(y > limit, y - bias, 0))
        return [np.asarray(y).astype(x.dtype)]
    return answer


# operator → attribute → range
PARAMETERS = {
    "LeakyRelu": {"alpha": (-1, 1)}, "ThresholdedRelu": {"alpha": (-1, 2)},
    "Elu": {"alpha": (0.1, 2)}, "Celu": {"alpha": (0.2, 2)},
    "Selu": {"alpha": (1, 2), "gamma": (0.5, 2)},
    "HardSigmoid": {"alpha": (0.1, 0.5), "beta": (0, 1)},
    "Swish": {"alpha": (0.3, 2)}, "Shrink": {"lambd": (0, 1), "bias": (0, 1)},
}


@generator("Relu", "LeakyRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "HardSigmoid",
           "HardSwish", "Mish", "Swish", "Softsign", "Shrink", "Gelu")
def activation(r, op):
    dtype = r.dtype()
    shape = r.shape(most_rank=6)
    attributes = {name: round(r.generator.uniform(*bounds), 3)
                  for name, bounds in PARAMETERS.get(op, {}).items() if r.chance(0.7)}
    if op == "Gelu" and r.chance():
        attributes["approximate"] = r.pick(["none", "tanh"])
    special = op == "Relu" and r.chance(0.3)
    own = shrink(attributes) if op == "Shrink" else OWN.get(op)
    if attributes.get("approximate") == "tanh":
        own = OWN["Gelu tanh"]
    return Case([r.values(dtype, shape, special=special)], attributes, expected=own,
                again=lambda r: [r.values(dtype, r.shape(len(shape)))])


@generator("PRelu")
def prelu(r, op):
    dtype = r.dtype()
    shape = r.shape()
    return Case([r.values(dtype, shape), r.values(dtype, r.part_of(shape))])


@generator("Clip")
def clip(r, op):
    dtype = r.dtype(among=[np.dtype(np.float32)] if r.opset < 11 else None)
    shape = r.shape()
    unsigned = dtype.kind == "u"
    low, high = (2, 5) if unsigned else (-2, 2)
    if r.opset < 11:
        attributes = {k: float(v) for k, v in (("min", low), ("max", high)) if r.chance(0.7)}
        return Case([r.values(dtype, shape)], attributes, kind="exact")
    if r.chance(0.2):
        low, high = high, low  # the maximum wins
    bounds = [np.asarray(v, dtype) if r.chance(0.7) else None for v in (low, high)]
    while bounds and bounds[-1] is None:
        bounds.pop()
    return Case([r.values(dtype, shape), *bounds], kind="exact",
                constant=(1, 2) if r.chance() else ())


@generator("Softmax", "LogSoftmax", "Hardmax")
def softmax(r, op):
    dtype = r.dtype()
    shape = r.shape(least=1, least_rank=1, most_rank=5)
    attributes = {"axis": r.axis(len(shape))} if r.chance(0.7) else {}
    if r.opset < 11 and "axis" in attributes:
        attributes["axis"] %= len(shape)
    if r.opset < 13 and "axis" not in attributes and len(shape) < 2:
        attributes["axis"] = 0
    spread = r.pick([1, 3, 30])

    def inputs(shape):
        return [(r.values(dtype, shape, -1, 1) * spread).astype(dtype)]

    def flat(x):  # before opset 13 a row is all from the axis on, as the reference evaluator forgot
        x = x[0]
        axis = attributes.get("axis", 1)
        rows = x.reshape(int(np.prod(x.shape[:axis % x.ndim])), -1)
        hot = np.arange(rows.shape[1]) == rows.argmax(1)[:, None]
        return [hot.astype(x.dtype).reshape(x.shape)]
    return Case(inputs(shape), attributes, kind="exact" if op == "Hardmax" else "sum",
                expected=flat if op == "Hardmax" and r.opset < 13 else None,
                neighbours=op != "Hardmax" or r.opset >= 13,
                again=lambda r: inputs(r.shape(len(shape), least=1)))


def labels(r, shape, classes, ignore):
    target = r.generator.integers(0, classes, shape).astype(r.pick([np.int32, np.int64]))
    if ignore is not None and target.size:
        target.reshape(-1)[0] = ignore
    return target


@generator("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(r, op):
    dtype = r.dtype(among=[np.dtype(np.float32), np.dtype(np.float64)])
    batch, classes = r.integer(1, 9), r.integer(1, 7)
    rest = [r.integer(1, 5) for _ in range(r.integer(0, 3))]
    ignore = r.pick([None, -1, 0])
    attributes = {"reduction": r.pick(["none", "mean", "sum"])} if r.chance(0.8) else {}
    if ignore is not None:
        attributes["ignore_index"] = ignore
    inputs = [r.values(dtype, [batch, classes, *rest]),
              labels(r, [batch, *rest], classes, ignore)]
    if r.chance():
        inputs.append(r.values(dtype, [classes], 0.1, 2))
    both = op == "SoftmaxCrossEntropyLoss" and r.chance()
    return Case(inputs, attributes, outputs=2 if both else 1, kind="sum", neighbours=False)
