"""What the right answer is, and whether gpucc's is near enough."""
import csv
import pathlib
import warnings

import numpy as np
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

import build
import cases

DIFFERENCES = pathlib.Path(__file__).with_name("differences.tsv")

# kind → type → (relative to the element, relative to the greatest); others must be equal.
#   moved     elements only move: equal, zeros in sign too
#   exact     equal as numbers
#   function  one rounding of a function of few operations
#   sum       many terms, whose order is free
#   code      quantized: a tie may round to the neighbour
TOLERANCE = {
    "moved": {},
    "exact": {},
    "function": {"float64": (1e-11, 1e-14), "float32": (2e-5, 1e-6), "float16": (2e-3, 1e-4),
                 "bfloat16": (1.6e-2, 1e-3)},
    "sum": {"float64": (1e-10, 1e-12), "float32": (1e-4, 2e-5), "float16": (1e-2, 2e-3),
            "bfloat16": (3e-2, 1e-2)},
}
TOLERANCE["code"] = {**TOLERANCE["sum"], "int8": (0, 1), "uint8": (0, 1), "int16": (0, 1),
                     "uint16": (0, 1), "int4": (0, 1), "uint4": (0, 1)}
CODES = ("int8", "uint8", "int16", "uint16", "int4", "uint4")  # whose 1 is absolute

ort.set_default_logger_severity(4)
_quiet = ort.SessionOptions()
_quiet.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
_quiet.log_severity_level = 4
_quiet.intra_op_num_threads = 1


class NoOracle(Exception):
    """Nobody could say what the answer is; the text says why."""


def _session(opset, part):
    """A session, with a cast to float behind each output whose type numpy has not."""
    def open_(cast=()):
        model = build.model_of(opset, [part], cast)
        return ort.InferenceSession(model.SerializeToString(), _quiet,
                                    providers=["CPUExecutionProvider"])
    session = open_()
    types = {o.name: cases.TYPES.get(o.type.removeprefix("tensor(").removesuffix(")"))
             for o in session.get_outputs()}
    foreign = [name for name, dtype in types.items() if dtype in cases.FOREIGN]
    return (open_(foreign) if foreign else session), list(types.values())


def by_onnxruntime(case, inputs):
    foreign = any(x is not None and x.dtype in cases.FOREIGN for x in inputs)
    part = build.graph_of(case, inputs=inputs, initializers=foreign)
    session, types = _session(case.opset, part)
    feeds = {i.name: np.ascontiguousarray(inputs[int(i.name[1:])]).reshape(
        inputs[int(i.name[1:])].shape) for i in session.get_inputs()}
    with np.errstate(all="ignore"):
        return [np.asarray(y).astype(t) for y, t in zip(session.run(None, feeds), types)]


def by_wide_onnxruntime(case, inputs):
    """ONNX Runtime in float32 on the same numbers, where it lacks a narrow float type."""
    narrow = [np.dtype(np.float16), cases.BF16]
    given = [x.dtype for x in inputs if x is not None]
    if not any(t in narrow for t in given) or {"to", "dtype"} & set(case.attributes):
        raise NoOracle("no narrow float")
    wide = [x.astype(np.float32) if x is not None and x.dtype in narrow else x for x in inputs]
    types = build.output_types(case)
    if None in types:
        raise NoOracle("types unknown")
    with np.errstate(all="ignore"):
        return [y.astype(t) for y, t in zip(by_onnxruntime(case, wide), types)]


def by_reference(case, inputs):
    """onnx's reference evaluator; its results take the types that ONNX's inference gives."""
    part = build.graph_of(case, inputs=inputs)
    model = build.model_of(case.opset, [part])
    names = [i.name for i in part[2]]
    types = build.output_types(case)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = ReferenceEvaluator(model).run(None, {n: inputs[int(n[1:])] for n in names})
        return [np.asarray(y) if t is None else np.asarray(y).astype(t)
                for y, t in zip(results, types)]


def by_own(case, inputs):
    if case.expected is None:
        raise NoOracle("the case has no answer of its own")
    with np.errstate(all="ignore"):
        if case.before:
            inputs = [-inputs[0]] + inputs[1:]
        outputs = case.expected(inputs)
        return [-outputs[0]] + outputs[1:] if case.behind else outputs


JUDGES = {"ort": by_onnxruntime, "ort-f32": by_wide_onnxruntime, "reference": by_reference,
          "own": by_own}


def answer(case, inputs, first=None):
    """(outputs, judge): of the first judge that has an answer, or of the one asked for."""
    reasons = []
    for name in [first] if first else ["ort", "ort-f32", "own", "reference"]:
        try:
            return JUDGES[name](case, inputs), name
        except Exception as e:  # each library raises its own kinds
            reasons.append(f"{name}: {str(e).strip().splitlines()[0][:120] if str(e) else e!r}")
    raise NoOracle("; ".join(reasons))


def _numbers(x):
    if x.dtype == np.float64:
        return x
    return x.astype(np.float64) if cases.is_float(x.dtype) else x


def _difference(got, wanted, kind):
    if cases.is_float(wanted.dtype):
        a, b = _numbers(got), _numbers(wanted)
        nan = np.isnan(b)
        if not np.array_equal(np.isnan(a), nan):
            return np.isnan(a) != nan
        a, b = a[~nan], b[~nan]
        wrong = np.zeros(got.shape, bool)
        relative, most = TOLERANCE[kind].get(wanted.dtype.name, (0, 0))
        finite = np.isfinite(b)
        with np.errstate(all="ignore"):
            bound = relative * np.abs(b) + most * np.abs(b[finite]).max(initial=0)
            near = (a == b) | (finite & np.isfinite(a) & (np.abs(a - b) <= bound))
        if kind == "moved":
            near &= np.signbit(a) == np.signbit(b)
        wrong[~nan] = ~near
        return wrong
    if wanted.dtype.name in CODES and wanted.dtype.name in TOLERANCE[kind]:
        return np.abs(got.astype(np.int64) - wanted.astype(np.int64)) > 1
    return got != wanted


def mismatch(got, wanted, kind):
    """None, or in a line what is wrong with `got`."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return (f"{got.dtype}{list(got.shape)} instead of "
                f"{wanted.dtype}{list(wanted.shape)}")
    wrong = np.asarray(_difference(got, wanted, kind))
    if not wrong.any():
        return None
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (f"{got[at]} instead of {wanted[at]} at {list(at)}, {int(wrong.sum())} of {got.size} "
            f"wrong")


def empty_beside_one(case):
    """In some run, axes that broadcast have the sizes 0 and 1."""
    def meets(inputs):
        shapes = [x.shape for x in inputs if x is not None]
        rank = max(map(len, shapes), default=0)
        padded = [(None,) * (rank - len(s)) + s for s in shapes]
        return any(0 in sizes and 1 in sizes for sizes in zip(*padded))
    return any(meets(inputs) for inputs in case.sets)


class Differences:
    """The accepted differences: a line each of differences.tsv.

    operator   its name, with domain if it has one; several separated by commas
    when       a Python expression of opset, dtype (of input 0), types (of all inputs), shapes,
               attributes, inputs, outputs, constant, free, empty_beside_one
    judge      reference, own, ort-f32: another oracle is right; refused: gpucc reports an error,
               as it should or may; undefined: any numbers of the right type and shape
    why        in ONNX's words
    """

    def __init__(self):
        with DIFFERENCES.open(newline="") as file:
            self.rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                         if row and not row[0].startswith("#")][1:]
        self.rows = [(row[0].split(","), compile(row[1], row[0], "eval"), row[2])
                     for row in self.rows]

    def of(self, case, inputs=None):
        """(judge or None, number of the row) for a case, or one of its sets of inputs."""
        inputs = case.inputs if inputs is None else inputs
        name = f"{case.domain}.{case.op}" if case.domain else case.op
        given = [x for x in inputs if x is not None]
        scope = {"opset": case.opset, "dtype": given[0].dtype.name if given else "",
                 "types": [x.dtype.name if x is not None else "" for x in inputs],
                 "shapes": [x.shape if x is not None else None for x in inputs],
                 "attributes": case.attributes, "inputs": inputs, "np": np,
                 "constant": case.constant, "free": case.free, "op": case.op,
                 "outputs": case.outputs, "empty_beside_one": empty_beside_one(case)}
        for number, (operators, when, judge) in enumerate(self.rows):
            if name in operators and eval(when, scope):  # the file is ours
                return judge, number
        return None, None
