"""Generators: random numbers, where chance has but one choice; elsewhere type and shape count."""
import numpy as np
import onnx

from cases import Case, generator


def as_type(r, parameter, attributes):
    if r.chance(0.7):
        dtype = r.dtype(parameter)
        attributes["dtype"] = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    return attributes


@generator("RandomNormal", "RandomUniform")
def random_numbers(r, op):
    attributes = {"shape": r.shape(least_rank=1), "seed": 1.0}
    as_type(r, "T", attributes)
    return one_choice(r, op, attributes, [])


@generator("RandomNormalLike", "RandomUniformLike")
def random_numbers_like(r, op):
    attributes = as_type(r, "T2", {"seed": 1.0})
    dtype = np.dtype(np.float32) if "dtype" not in attributes else r.dtype("T1")
    return one_choice(r, op, attributes, [r.values(dtype, r.shape())])


def one_choice(r, op, attributes, inputs):
    """A normal distribution of scale 0, or a uniform one over nothing, most of the time."""
    if r.chance(0.8):
        at = r.pick([0.0, 2.5, -1.0])
        attributes |= {"mean": at, "scale": 0.0} if "Normal" in op else {"low": at, "high": at}
    return Case(inputs, attributes, neighbours=False)


@generator("Bernoulli")
def bernoulli(r, op):
    dtype = r.dtype("T1")
    attributes = as_type(r, "T2", {"seed": 1.0})
    return Case([r.values(bool, r.shape()).astype(dtype)], attributes, neighbours=False)


@generator("Multinomial")
def multinomial(r, op):
    rows, classes = r.integer(1, 5), r.integer(1, 9)
    chosen = r.values(np.int64, [rows], 0, classes - 1)
    logits = np.where(np.arange(classes) == chosen[:, None], 0, -1e4)
    attributes = {"sample_size": r.integer(1, 7), "seed": 1.0}
    if r.chance():
        attributes["dtype"] = r.pick([6, 7])
    return Case([logits.astype(r.dtype("T1"))], attributes, neighbours=False)
