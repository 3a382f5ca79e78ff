"""Generators: optimizers of ONNX's preview of training."""
import numpy as np

from cases import Case, generator

F32 = np.dtype(np.float32)
DOMAIN = "ai.onnx.preview.training"


def rounded(r, low, high):
    return round(r.generator.uniform(low, high), 3)


def optimizer(r, states, attributes):
    """R, T, then for each of some tensors X, G and its states."""
    count = r.integer(1, 2)
    shapes = [r.shape(least=1) for _ in range(count)]
    inputs = [np.array(0.1, F32), np.array(r.integer(0, 3), np.int64)]
    inputs += [r.values(F32, s) for s in shapes] + [r.values(F32, s) for s in shapes]
    for _ in range(states):
        inputs += [r.values(F32, s, 0.1, 2) for s in shapes]
    return Case(inputs, attributes, outputs=count * (1 + states), kind="sum", neighbours=False)


@generator("Adagrad", domain=DOMAIN)
def adagrad(r, op):
    return optimizer(r, 1, {"norm_coefficient": rounded(r, 0, 0.1), "epsilon": 1e-4,
                            "decay_factor": rounded(r, 0, 0.2)})


@generator("Momentum", domain=DOMAIN)
def momentum(r, op):
    return optimizer(r, 1, {"alpha": rounded(r, 0.5, 1), "beta": rounded(r, 0, 1),
                            "norm_coefficient": rounded(r, 0, 0.1),
                            "mode": r.pick(["standard", "nesterov"])})


@generator("Adam", domain=DOMAIN)
def adam(r, op):
    return optimizer(r, 2, {"alpha": rounded(r, 0.5, 0.95), "beta": rounded(r, 0.5, 0.95),
                            "epsilon": 1e-4, "norm_coefficient": rounded(r, 0, 0.1)})
