"""What a case is, how generators are registered, and the random choices that they make.

A generator makes one random case of an operator:

    @generator("Softsign", "Elu")           # names of operators.def; domain="com.microsoft" if so
    def activation(r, op):
        shape = r.shape()
        def inputs(r, shape):
            return [r.values(dtype, shape)]
        ...
        return Case(inputs, attributes={...})

`r` is a Random: all its choices follow from the operator and the index of the case, so that a case
can be run again alone. It knows the operator's schema: r.opset is the chosen opset, r.dtype("T") a
type that the schema allows for T at that opset.
"""
import dataclasses
import zlib
from typing import Callable

import ml_dtypes
import numpy as np
import onnx
import onnx.helper

NEWEST_OPSET = onnx.defs.onnx_opset_version()
OLDEST_OPSET = 7  # ONNX Runtime gives no promise below
CONTRIB = "com.microsoft"
REGISTRY = {}  # (domain, operator) → generator
REGRESSIONS = {}  # (domain, operator, name) → (function, opset)
seed = 0  # others give other cases

TYPES = {name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)) for name, number in (
    (n.lower(), v) for n, v in onnx.TensorProto.DataType.items())
    if name not in ("undefined", "string", "complex64", "complex128")}
TYPES["double"] = TYPES.get("double", np.dtype(np.float64))
SIGNED = [np.dtype(t) for t in (np.int8, np.int16, np.int32, np.int64)]
UNSIGNED = [np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64)]
FLOATS = [np.dtype(t) for t in (np.float16, np.float32, np.float64)]
BF16 = np.dtype(ml_dtypes.bfloat16)
# Types that numpy has not: the oracle gets them as initializers and gives them back cast to float.
FOREIGN = [t for t in TYPES.values() if t.kind == "V" or t.name.startswith(("float8", "float4"))
           or t.name in ("bfloat16", "int4", "uint4", "int2", "uint2")]


def is_float(dtype):
    return dtype.kind == "f" or "float" in dtype.name


@dataclasses.dataclass
class Case:
    """One node and its data."""
    inputs: list                    # arrays, None where an optional input is omitted
    attributes: dict = dataclasses.field(default_factory=dict)
    outputs: int = 1                # how many are computed
    names: list = None              # or which: [True, False, True]
    constant: tuple = ()            # inputs that are initializers, by index
    fixed: tuple = ()               # inputs whose sizes must be known, by index
    kind: str = "function"          # row of judge.TOLERANCE
    again: Callable = None          # r → inputs of other sizes but the same ranks and types: lets
    #                                 the case be compiled once with free dims and run three times
    expected: Callable = None       # inputs → outputs in numpy: judges where ONNX Runtime lacks the
    #                                 type and the reference evaluator is wrong or lacks it too
    foldable: bool = True           # may be given constants alone
    neighbours: bool = True         # may get a Neg before and behind
    nodes: Callable = None          # (names, results, local) → nodes, where it takes several:
    #                                 local(name) makes an inner name one of this case
    # set by the framework
    op: str = ""
    domain: str = ""
    opset: int = 0
    index: int = 0
    free: bool = False
    before: bool = False            # a Neg in front of input 0
    behind: bool = False            # a Neg behind output 0
    sets: list = None               # the inputs of each run

    def name(self):
        return f"{self.domain + '.' if self.domain else ''}{self.op}[{self.index}]"

    def describe(self):
        def one(i, x):
            if x is None:
                return "-"
            how = "=" if i in self.constant else "~" if self.free and i not in self.fixed else ""
            return f"{how}{x.dtype.name}[{','.join(map(str, x.shape))}]"
        data = " ".join(one(i, x) for i, x in enumerate(self.inputs))
        attributes = " ".join(f"{k}={v}" for k, v in self.attributes.items())
        around = "+before" * self.before + "+behind" * self.behind
        return f"opset {self.opset} {data} {attributes} {around}".strip()


class Random:
    """Random choices for one case of one operator."""

    def __init__(self, domain, op, index):
        self.generator = np.random.default_rng([zlib.crc32(f"{domain}.{op}".encode()), index, seed])
        self.domain, self.op, self.index = domain, op, index
        self.versions = versions(domain, op)
        self.opset = self._opset(index)

    def _opset(self, index):
        """Every version of the operator in turn, at a random opset of its range."""
        if self.domain == CONTRIB or not self.versions:
            return 21
        return self.integer(*self.versions[index % len(self.versions)])

    def pick(self, options):
        options = list(options)
        return options[int(self.generator.integers(len(options)))]

    def chance(self, probability=0.5):
        return bool(self.generator.random() < probability)

    def integer(self, low, high):
        """Both ends included."""
        return int(self.generator.integers(low, high + 1))

    def permutation(self, n):
        return [int(i) for i in self.generator.permutation(n)]

    def schema(self):
        return onnx.defs.get_schema(self.op, self.opset, self.domain)

    def allowed(self, parameter):
        """The numeric types that the schema allows for a type parameter."""
        for constraint in self.schema().type_constraints:
            if constraint.type_param_str == parameter:
                names = [t.removeprefix("tensor(").removesuffix(")")
                         for t in constraint.allowed_type_strs]
                return [TYPES[n] for n in names if n in TYPES]
        raise KeyError(f"{self.op} has no type parameter {parameter}")

    def dtype(self, parameter="T", among=None):
        """A type that the schema allows, in turn; among: that is also one of these."""
        allowed = [t for t in self.allowed(parameter) if among is None or t in among]
        allowed.sort(key=lambda t: t.name)
        if self.chance(0.4) and np.dtype(np.float32) in allowed:
            return np.dtype(np.float32)
        return self.pick(allowed)

    def size(self):
        return self.pick([0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 7, 8, 16, 17, 33, 257, 1025])

    def shape(self, rank=None, most_elements=4096, least=0, least_rank=0, most_rank=5):
        """A random shape: small and odd sizes, sometimes empty, long, of rank 0 or high rank."""
        if most_elements == 4096 and self.chance(0.05):
            most_elements *= 10
        if rank is None:
            rank = self.pick([k for k in (0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8)
                              if least_rank <= k <= max(most_rank, least_rank)])
        shape = []
        left = most_elements
        for _ in range(rank):
            size = self.size()
            while size < least or size > max(left, 1) or (size == 0 and self.chance(0.7)):
                size = self.integer(max(least, 1), max(least, 1, min(left, 6)))
                if size > left:
                    size = max(least, 1)
                    break
            shape.append(size)
            left //= max(size, 1)
        return [shape[i] for i in self.permutation(rank)]

    def part_of(self, shape):
        """A shape that broadcasts to `shape`: axes missing in front, others 1."""
        drop = self.integer(0, len(shape)) if self.chance(0.4) else 0
        return [1 if self.chance(0.3) else n for n in shape[drop:]]

    def ranks(self, count):
        """Ranks of operands that broadcast: one of them is whole."""
        most = len(self.shape())
        ranks = [most if self.chance(0.7) else self.integer(0, most) for _ in range(count)]
        ranks[self.integer(0, count - 1)] = most
        return ranks

    def together(self, ranks):
        """Shapes of these ranks that broadcast, one way, the other or both."""
        whole = self.shape(max(ranks))
        ones = 0.25 if self.chance(0.6) else 0
        return [[1 if self.chance(ones) else n for n in whole[len(whole) - k:]] for k in ranks]

    def values(self, dtype, shape, low=None, high=None, special=False):
        """Random elements. low and high bound them; without: floats of several magnitudes,
        integers of the whole range now and then. special: NaN, infinities, zeros of both signs."""
        dtype = np.dtype(dtype)
        if dtype == np.bool_:
            return self.generator.random(shape) < 0.5
        if is_float(dtype):
            return self._floats(dtype, shape, low, high, special)
        info = ml_dtypes.iinfo(dtype)
        if low is None:
            low = info.min if self.chance(0.3) else -9
        if high is None:
            high = info.max if low == info.min else 9
        low, high = max(int(low), int(info.min)), min(int(high), int(info.max))
        wide = np.uint64 if high > np.iinfo(np.int64).max else np.int64
        return np.asarray(self.generator.integers(low, high, shape, wide, endpoint=True)).astype(
            dtype)

    def _floats(self, dtype, shape, low, high, special):
        if low is not None or high is not None:
            low = -abs(high) if low is None else low
            high = low + 4 if high is None else high
            x = self.generator.uniform(low, high, shape)
        else:
            x = self.generator.normal(0, self.pick([0.3, 1, 3]), shape)
        x = np.asarray(x)
        if special and x.size:
            count = min(x.size, 6)
            where = self.generator.choice(x.size, count, replace=False)
            odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]
            x = x.copy()
            x.reshape(-1)[where] = [odd[i] for i in self.permutation(6)[:count]]
        with np.errstate(all="ignore"):
            return x.astype(dtype)

    def axis(self, rank):
        """An axis, negative half the time."""
        return self.integer(-rank, rank - 1) if rank else 0


def versions(domain, op):
    """Ranges of opsets within which the operator's schema is the same."""
    history = [s for s in onnx.defs.get_all_schemas_with_history()
               if s.name == op and s.domain == domain]
    since = sorted({s.since_version for s in history})
    gone = {s.since_version for s in history if s.deprecated}
    ranges = [(max(low, OLDEST_OPSET), high - 1)
              for low, high in zip(since, since[1:] + [NEWEST_OPSET + 1]) if low not in gone]
    return [r for r in ranges if r[0] <= r[1]]


def generator(*operators, domain=""):
    """Decorator: the function makes cases of these operators."""
    def register(function):
        for op in operators:
            if (domain, op) in REGISTRY:
                raise ValueError(f"{op} has two generators")
            REGISTRY[domain, op] = function
        return function
    return register


def regression(op, domain="", opset=21):
    """Decorator: the function gives the one case with which the sweep found a fault."""
    def register(function):
        REGRESSIONS[domain, op, function.__name__] = (function, opset)
        return function
    return register


def opset_of(domain, op, index):
    if isinstance(index, str):
        return REGRESSIONS[domain, op, index][1]
    return Random(domain, op, index).opset


def make(domain, op, index):
    """Case number `index` of an operator: from the generator, varied as the framework varies; or
    the regression of that name, as it is."""
    if isinstance(index, str):
        function, opset = REGRESSIONS[domain, op, index]
        case = function()
        case.op, case.domain, case.index, case.opset = op, domain, index, opset
        case.sets = case.sets or [case.inputs]
        return case
    r = Random(domain, op, index)
    case = REGISTRY[domain, op](r, op)
    case.op, case.domain, case.index = op, domain, index
    case.opset = r.opset
    case.sets = [case.inputs]
    if index % 10 == 9 and case.foldable:
        case.constant = tuple(range(len(case.inputs)))
    elif index % 3 == 1 and case.again:
        case.free = True
        case.sets += [_with_constants(case, case.again(r)) for _ in range(2)]
    negatable = SIGNED + FLOATS
    first = case.inputs[0] if case.inputs else None
    if index % 4 == 2 and case.neighbours and case.opset >= 13 and first is not None:
        case.before = first.dtype in negatable and 0 not in case.constant
        case.behind = first.dtype in negatable
    if case.before:  # so that the operator meets the numbers that the generator chose
        case.sets = [[-inputs[0]] + inputs[1:] for inputs in case.sets]
        case.inputs = case.sets[0]
    return case


def _with_constants(case, inputs):
    return [case.inputs[i] if i in case.constant else x for i, x in enumerate(inputs)]
