"""Generators: arithmetic, logic, comparisons, conversions, element by element."""
import math

import ml_dtypes
import numpy as np
import onnx

from cases import Case, generator, is_float

# Where a function is defined, if not everywhere.
DOMAIN = {"Sqrt": (0, 9), "Log": (1e-3, 9), "Acosh": (1, 9), "Asin": (-1, 1), "Acos": (-1, 1),
          "Atanh": (-0.99, 0.99), "Exp": (-9, 9), "Sinh": (-9, 9), "Cosh": (-9, 9),
          "Reciprocal": (0.1, 4), "Tan": (-1.4, 1.4)}


# Answers of our own, where the judges are wrong; see differences.tsv.
OWN = {"Erf": lambda x: [np.vectorize(math.erf, otypes=[x[0].dtype])(x[0])]}


@generator("Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Exp", "Log", "Sin",
           "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh",
           "Erf", "Sigmoid", "Softplus")
def unary(r, op):
    dtype = r.dtype()
    special = r.chance(0.4)
    low, high = DOMAIN.get(op, (None, None)) if r.chance(0.8) else (None, None)

    def inputs(shape):
        return [r.values(dtype, shape, low, high, special)]
    shape = r.shape(most_rank=8)
    exact = "exact" if op == "Sign" else "moved"
    moves = op in ("Abs", "Neg", "Sign", "Floor", "Ceil", "Round")
    return Case(inputs(shape), kind=exact if moves else "function", expected=OWN.get(op),
                again=lambda r: inputs(r.shape(len(shape))))


@generator("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Sum", "Mean")
def arithmetic(r, op):
    dtype = r.dtype()
    variadic = op in ("Max", "Min", "Sum", "Mean")
    special = is_float(dtype) and r.chance(0.3)
    ranks = r.ranks(r.integer(1, 4) if variadic else 2)

    def inputs(r):
        shapes = r.together(ranks)
        if variadic and r.opset < 8:  # they do not broadcast yet
            shapes = shapes[:1] * len(shapes)
        data = [r.values(dtype, shape, special=special) for shape in shapes]
        if op in ("Div", "Mod") and not is_float(dtype):
            data[1] = np.where(data[1] == 0, np.ones_like(data[1]), data[1])
        return data
    attributes = {"fmod": 1} if op == "Mod" and (is_float(dtype) or r.chance()) else {}
    return Case(inputs(r), attributes, kind="exact" if op in ("Max", "Min") else "function",
                again=inputs)


def pair(r, dtype, low=None, high=None, special=False, ranks=None):
    """Two operands that broadcast one way, the other, or both."""
    return [r.values(dtype, s, low, high, special) for s in r.together(ranks or r.ranks(2))]


@generator("Not", "BitwiseNot")
def invert(r, op):
    dtype = r.dtype()
    shape = r.shape(most_rank=8)
    return Case([r.values(dtype, shape)], kind="moved",
                again=lambda r: [r.values(dtype, r.shape(len(shape)))])


@generator("IsNaN", "IsInf")
def classify(r, op):
    dtype = r.dtype("T1")
    signs = ("detect_negative", "detect_positive")
    attributes = {k: r.integer(0, 1) for k in signs if op == "IsInf" and r.chance()}
    shape = r.shape(most_rank=8)
    return Case([r.values(dtype, shape, special=True)], attributes,
                again=lambda r: [r.values(dtype, r.shape(len(shape)), special=True)])


@generator("And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
def logic(r, op):
    dtype, ranks = r.dtype(), r.ranks(2)
    return Case(pair(r, dtype, ranks=ranks), kind="moved",
                again=lambda r: pair(r, dtype, ranks=ranks))


@generator("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
def compare(r, op):
    dtype, ranks = r.dtype(), r.ranks(2)

    def inputs(r):
        x, y = pair(r, dtype, special=is_float(dtype), ranks=ranks)
        if r.chance():  # few values, so that some are equal
            x, y = (np.clip(np.round(v), -2, 2).astype(dtype) if is_float(dtype)
                    else v % 3 if dtype != bool else v for v in (x, y))
        return [np.asarray(x, dtype), np.asarray(y, dtype)]
    return Case(inputs(r), again=inputs)


@generator("Pow")
def power(r, op):
    base = r.dtype()
    exponent = r.dtype("T1") if r.opset >= 12 else base
    whole = not is_float(base)
    x = pair(r, base, -3 if whole else 0.1, 3)
    y = r.values(exponent, x[1].shape, 0 if whole or not is_float(exponent) else -3, 4)
    if whole and is_float(exponent):
        y = np.round(y).astype(exponent)
    if is_float(base) and r.chance(0.3):  # negative bases, whole exponents
        x[0], y = (-x[0]).astype(base), np.round(y).astype(exponent)
    return Case([x[0], np.asarray(y)])


@generator("BitShift")
def bit_shift(r, op):
    dtype = r.dtype()
    x, y = pair(r, dtype)
    return Case([x, (y % (8 * dtype.itemsize)).astype(dtype)],
                {"direction": r.pick(["LEFT", "RIGHT"])}, kind="moved")


@generator("Where")
def where(r, op):
    dtype = r.dtype()
    ranks = r.ranks(3)

    def inputs(r):
        shapes = r.together(ranks)
        special = is_float(dtype) and r.chance()
        return [r.values(bool, shapes[0]), r.values(dtype, shapes[1], special=special),
                r.values(dtype, shapes[2])]
    return Case(inputs(r), kind="moved", again=inputs)


@generator("Identity")
def identity(r, op):
    dtype = r.dtype("V" if r.opset >= 14 else "T")
    shape = r.shape(most_rank=8)
    return Case([r.values(dtype, shape, special=is_float(dtype))], kind="moved",
                again=lambda r: [r.values(dtype, r.shape(len(shape)))])


def convertible(r, source, target, shape):
    """Numbers of the source type that ONNX says how to convert: whole types have no infinity, and a
    float out of their range gives anything."""
    if not is_float(source) or is_float(target) or target == bool:
        return r.values(source, shape, special=is_float(source) and source.itemsize > 1)
    info = ml_dtypes.iinfo(target)
    return r.values(source, shape, max(info.min, -2000) + 0.0, min(info.max, 2000) - 1.0)


@generator("Cast", "CastLike")
def cast(r, op):
    source = r.dtype("T1")
    target = r.dtype("T2")
    shape = r.shape()
    x = convertible(r, source, target, shape)
    attributes = {}
    if r.opset >= 19 and target.name.startswith("float8") and r.chance():
        attributes["saturate"] = r.integer(0, 1)
    if op == "CastLike":
        return Case([x, r.values(target, r.shape(1))], attributes)
    attributes["to"] = onnx.helper.np_dtype_to_tensor_dtype(target)
    return Case([x], attributes, again=lambda r: [convertible(r, source, target,
                                                              r.shape(len(shape)))])


@generator("BitCast")
def bit_cast(r, op):
    source = r.dtype("T1")
    same = [t for t in r.allowed("T2") if ml_dtypes_bits(t) == ml_dtypes_bits(source)]
    target = r.pick(same)
    return Case([r.values(source, r.shape())],
                {"to": onnx.helper.np_dtype_to_tensor_dtype(target)}, kind="moved")


def ml_dtypes_bits(dtype):
    """Bits of an element: numpy's itemsize is whole bytes."""
    if dtype == bool:
        return 8
    return (ml_dtypes.finfo if is_float(dtype) else ml_dtypes.iinfo)(dtype).bits
