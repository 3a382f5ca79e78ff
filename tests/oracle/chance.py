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
    """A very narrow normal distribution, or a uniform one between neighbours; else any."""
    at = r.pick([2.5, -1.0])
    if r.chance(0.2):
        pass
    elif "Normal" in op:
        attributes |= {"mean": at, "scale": 1e-30}
    else:
        attributes |= {"low": at, "high": float(np.nextafter(np.float32(at), np.float32(9)))}
    dtype = made_type(attributes, inputs[0].dtype if inputs else np.float32)

    def expected(inputs):
        return [np.full(inputs[0].shape if inputs else attributes["shape"], at).astype(dtype)]
    return Case(inputs, attributes, neighbours=False, kind="sum", expected=expected)


def made_type(attributes, otherwise):
    number = attributes.get("dtype")
    return onnx.helper.tensor_dtype_to_np_dtype(number) if number else np.dtype(otherwise)


@generator("Bernoulli")
def bernoulli(r, op):
    dtype = r.dtype("T1")
    attributes = as_type(r, "T2", {"seed": 1.0})
    return Case([r.values(bool, r.shape()).astype(dtype)], attributes, neighbours=False,
                expected=lambda x: [x[0].astype(made_type(attributes, dtype))])


@generator("Multinomial")
def multinomial(r, op):
    rows, classes = r.integer(1, 5), r.integer(1, 9)
    chosen = r.values(np.int64, [rows], 0, classes - 1)
    logits = np.where(np.arange(classes) == chosen[:, None], 0, -1e4)
    attributes = {"sample_size": r.integer(1, 7), "seed": 1.0}
    if r.chance():
        attributes["dtype"] = r.pick([6, 7])

    def expected(inputs):
        rows = np.repeat(chosen[:, None], attributes["sample_size"], 1)
        return [rows.astype(made_type(attributes, np.int32))]
    return Case([logits.astype(r.dtype("T1"))], attributes, neighbours=False, expected=expected)


@generator("Dropout")
def dropout(r, op):
    dtype = r.dtype("T")
    x = r.values(dtype, r.shape())
    ratio = r.pick([0.0, 0.3, 0.5])
    mask = r.chance()
    if r.opset < 12:
        return Case([x], {"ratio": ratio}, kind="moved")
    training = np.asarray(ratio == 0 and r.chance())  # with nothing to drop it does nothing
    inputs = [x, np.asarray(ratio).astype(r.dtype("T1")), training]
    return Case(inputs[:r.integer(1, 3)] if not training else inputs, {"seed": 1}, kind="moved",
                outputs=1 + mask, constant=(1, 2))
