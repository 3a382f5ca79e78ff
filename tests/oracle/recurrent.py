"""Generators: RNN, GRU and LSTM.

Layout 1 is ONNX's node tests' affair: ONNX Runtime has none on the CPU. In float64 it has not all
of them, and onnx's reference evaluator knows but the plainest cases.
"""
import numpy as np

from cases import TYPES, Case, generator

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
# Activation → ranges of alpha and beta, where it has them. (Affine and others without a bound let
# rounding grow from step to step.)
ACTIVATIONS = {
    "Tanh": (), "Sigmoid": (), "Relu": (), "Softsign": (), "Softplus": (),
    "HardSigmoid": ((0.1, 0.4), (0.3, 0.6)), "LeakyRelu": ((0.01, 0.3),), "Elu": ((0.5, 1.2),),
    "ThresholdedRelu": ((0.1, 0.5),), "ScaledTanh": ((0.5, 1.2), (0.5, 1.2)),
    "Affine": ((0.3, 0.8), (-0.3, 0.3)),
}


def activations(r, op, directions):
    """The three attributes, for functions of random kinds."""
    names = [r.pick(list(ACTIVATIONS)) for _ in range(FUNCTIONS[op])]
    if directions == 1 or r.chance():
        names = names * directions
    else:
        names += [r.pick(list(ACTIVATIONS)) for _ in range(FUNCTIONS[op])]
    attributes = {"activations": names}
    for position, key in enumerate(("activation_alpha", "activation_beta")):
        ranges = [ACTIVATIONS[n][position] for n in names if len(ACTIVATIONS[n]) > position]
        if ranges:
            attributes[key] = [round(r.generator.uniform(*bounds), 3) for bounds in ranges]
    return attributes


@generator("RNN", "GRU", "LSTM")
def recurrent(r, op):
    dtype = r.dtype(among=[t for t in TYPES.values() if t.itemsize < 8])
    directions = r.pick([1, 1, 2])
    hidden, width = r.integer(1, 9), r.integer(1, 9)
    rows = GATES[op] * hidden
    attributes = {"hidden_size": hidden}
    if directions == 2 or r.chance(0.6):
        attributes["direction"] = ("bidirectional" if directions == 2
                                   else r.pick(["forward", "reverse"]))
    if r.chance(0.4):
        attributes |= activations(r, op, directions)
    if r.chance(0.3):
        attributes["clip"] = round(r.generator.uniform(0.2, 2), 3)
    if op == "GRU" and r.chance():
        attributes["linear_before_reset"] = 1
    if op == "LSTM" and r.chance(0.3):
        attributes["input_forget"] = 1
    given = {name: r.chance() for name in ("bias", "lengths", "state", "peepholes")}

    def weights(shape):
        return r.values(dtype, shape, -0.6, 0.6)

    fixed = [weights([directions, rows, width]), weights([directions, rows, hidden]),
             weights([directions, 2 * rows]) if given["bias"] else None]
    peepholes = weights([directions, 3 * hidden]) if given["peepholes"] else None

    def inputs(r):
        steps, batch = r.integer(1, 6), r.integer(1, 4)
        state = [directions, batch, hidden]
        lengths = r.generator.integers(0, steps + 1, batch).astype(np.int32)
        if given["lengths"]:  # ONNX Runtime's RNN wants one sequence that is whole
            lengths[r.integer(0, batch - 1)] = steps
        x = [r.values(dtype, [steps, batch, width], -1, 1)] + fixed
        x += [lengths if given["lengths"] else None,
              r.values(dtype, state, -1, 1) if given["state"] else None]
        if op == "LSTM":
            x += [r.values(dtype, state, -1, 1) if given["state"] else None, peepholes]
        return x

    outputs = 3 if op == "LSTM" else 2
    names = [r.chance(0.7) for _ in range(outputs)]
    names[r.integer(0, outputs - 1)] = True
    return Case(inputs(r), attributes, outputs=outputs, names=names, kind="sum", again=inputs,
                neighbours=names[0], constant=tuple(range(1, 4)) if r.chance(0.6) else ())
