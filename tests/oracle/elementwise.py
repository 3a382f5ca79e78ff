"""Generators: arithmetic, logic, comparisons, conversions, element by element."""
import math

import numpy as np

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
    count = r.integer(1, 4) if variadic else 2
    shape = r.shape()
    special = is_float(dtype) and r.chance(0.3)

    def one(shape, divisor):
        x = r.values(dtype, shape, special=special)
        if divisor and not is_float(dtype):
            x = np.where(x == 0, np.ones_like(x), x)
        return x
    # both ways: either operand may be the one that broadcasts
    same = variadic and r.opset < 8
    shapes = [shape if same or r.chance(0.6) else r.part_of(shape) for _ in range(count)]
    attributes = {"fmod": 1} if op == "Mod" and (is_float(dtype) or r.chance()) else {}
    return Case([one(s, op in ("Div", "Mod") and i == 1) for i, s in enumerate(shapes)],
                attributes, kind="exact" if op in ("Max", "Min") else "function")

