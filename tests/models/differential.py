#!/usr/bin/env python3
"""Random graphs in all precisions, with and without passes, against ONNX Runtime.

    differential.py --build BUILD                 a sample
    differential.py --build BUILD --count 1000    from --seed on
    differential.py --build BUILD --seed 17 --count 1 --keep FOLDER

Every graph of random_graphs.py is compiled as it is, and in some other ways that its seed chooses: a
precision, a pass left out, another target. Plans are run on the emulator, with a look at races
sometimes, and where dims are free at other sizes, too.

What rounding may do is measured: ONNX Runtime computes the model again, with inputs and weights
that are off by as much as the precision rounds.
"""
import argparse
import collections
import pathlib
import random
import shutil
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import harness  # noqa: E402
import random_graphs  # noqa: E402
import random_steps  # noqa: E402,F401: adds its steps
import random_blocks  # noqa: E402,F401
import random_views  # noqa: E402,F401

# unit of rounding, and least tolerance as a part of the largest magnitude
ROUNDING = {"": (2e-7, 1e-5), "fp32": (2e-7, 1e-5), "fp32x3": (1e-6, 3e-5), "tf32": (5e-4, 2e-3),
            "fp16": (5e-4, 4e-3), "bf16": (4e-3, 3e-2), "fp8": (3e-2, 1e-1), "auto": (1e-3, 1e-2)}
TIMES = 30      # the measured movement
STEP = 0.15     # what some steps of a quantization may move: of the largest magnitude, or of 1
UNSTABLE = 0.3  # where a little noise moves that much, nothing is judged


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def noisy(model, unit):
    """The model, its float weights off by about the unit."""
    other, numbers = onnx.ModelProto(), np.random.default_rng(5)
    other.CopyFrom(model)
    for i, t in enumerate(other.graph.initializer):
        if t.data_type in (1, 10) and np.prod(t.dims) > 5:  # no scales of Resize
            w = numpy_helper.to_array(t)
            w = w * (1 + unit * numbers.choice((-1, 1), w.shape))
            w = w.astype(numpy_helper.to_array(t).dtype)
            other.graph.initializer[i].CopyFrom(numpy_helper.from_array(w, t.name))
    return other


class Case:
    def __init__(self, seed):
        self.seed = seed
        self.graph = random_graphs.Graph(seed)
        self.model = self.graph.model()
        self.random = random.Random(f"case {seed}")
        self.references = {}  # by size and unit

    def free(self):
        return any(v.free(a) for v in self.graph.inputs for a in range(v.rank))

    def feeds(self, n):
        return dict(zip((v.name for v in self.graph.inputs), self.graph.feeds(n)))

    def reference(self, n, unit=0):
        """The outputs; of inputs and weights that are off, too."""
        key = n, unit
        if key not in self.references:
            model, feeds = self.model, self.feeds(n)
            if unit:
                numbers = np.random.default_rng(3)
                model = noisy(model, unit)
                feeds = {k: (x * (1 + unit * numbers.choice((-1, 1), x.shape))).astype(x.dtype)
                         for k, x in feeds.items()}
            self.references[key] = session(model).run(None, feeds)
        return self.references[key]

    def tolerance(self, n, precision, i):
        """Of the largest magnitude of output i; None: nothing can be said."""
        if n == 0:
            return None  # means of nothing: NaN here, 0 of ONNX Runtime
        unit, least = ROUNDING[precision]
        unit, least = max(unit, self.graph.rounding), max(least, 8 * self.graph.rounding)
        a, b = (x[i].astype(np.float64) for x in (self.reference(n), self.reference(n, unit)))
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return None
        finite = np.isfinite(a)
        top = np.abs(a[finite]).max(initial=0)
        moved = np.abs(a - b)[finite].max(initial=0) / max(top, 1e-30)
        if top > 3e4 and precision in ("fp16", "fp8", "auto"):
            return None
        if moved > UNSTABLE:
            return None
        steps = STEP * max(1, 1 / max(top, 1e-30)) if self.graph.quantized else 0
        return max(least, TIMES * moved) + steps

    def ways(self, passes):
        """(precision, target, options) of the plans to make."""
        r = self.random
        yield "", r.choice(("sm_90a", "sm_80", "portable", "sm_75", "sm_120")), []
        precision = r.choice(("fp16", "fp16", "fp16", "bf16", "tf32", "fp32x3", "fp8", "auto"))
        options = [f"--precision={precision}"]
        options += {"auto": ["--max-error=rel:1e-2"], "tf32": ["--max-error=none"]}.get(precision, [])
        target = r.choice(("sm_90a", "sm_89") if precision == "fp8" else
                          ("sm_90a", "sm_80", "sm_75") if precision == "fp16" else
                          ("sm_90a", "sm_80", "sm_86"))
        yield precision, target, options
        left_out = r.sample(passes, r.choice((1, 1, 1, 4)))
        if r.random() < 0.15:
            yield "", "portable", ["-fno-all"]
        elif r.random() < 0.5:
            yield "", "portable", [f"-fno-{p}" for p in left_out]
        else:
            left_out = [p for p in left_out if p != "set_precision"]
            yield "fp16", "sm_80", ["--precision=fp16", *(f"-fno-{p}" for p in left_out)]


def difference(got, wanted, tolerance):
    """None, or what is wrong."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if tolerance is None or not wanted.size:
        return None
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return "not finite in other places"
    finite = np.isfinite(b)
    top = np.abs(b[finite]).max(initial=0)
    error = np.abs(a - b)[finite].max(initial=0)
    if error <= tolerance * top:
        return None
    return f"relative error {error / max(top, 1e-30):.3g}, more than {tolerance:.3g}"


class Runner:
    def __init__(self, options):
        self.tools = harness.Tools(options.build, timeout=600)
        self.options = options
        self.passes = self.tools.run(self.tools.bin / "gpucc", "--print-passes")[1].split()
        self.counts = collections.Counter()

    def run_plan(self, case, plan, n, precision, work, race):
        feeds = work / f"in{n}"
        for i, x in enumerate(case.feeds(n).values()):
            harness.save_tensor(feeds / f"input_{i}.pb", x)
        more = ["--race"] * race + ["--isolate"] * (case.random.random() < 0.3)
        outputs = self.tools.outputs(plan, feeds, "--device=emu", "--threads", "1", *more)
        for i, (got, wanted) in enumerate(zip(outputs, case.reference(n))):
            tolerance = case.tolerance(n, precision, i)
            self.counts["outputs judged" if tolerance is not None else "outputs too unstable"] += 1
            wrong = difference(got, wanted, tolerance)
            if wrong:
                return f"output {i}, n={n}: {wrong}"
        return None

    def way(self, case, way, work):
        precision, target, options = way
        plan, model = work / "plan", work / "model.onnx"
        code, _, errors = self.tools.run(self.tools.bin / "gpucc", model, "-o", plan,
                                         f"--target={target}", "-j", "1", *options)
        if code == 4 and precision == "auto":
            return None
        if code:
            return harness.describe(code, errors)
        sizes = [random_graphs.FREE]
        if case.free():
            sizes += case.random.sample((0, 1, 2, 5, 31), 2)
        for n in sizes:
            try:
                case.reference(n)
            except Exception:  # ONNX Runtime has many for sizes that do not fit
                continue
            try:
                wrong = self.run_plan(case, plan, n, precision, work, case.random.random() < 0.2)
            except RuntimeError as error:
                wrong = f"n={n}: {error}"
            if wrong:
                return wrong
        self.counts["plans right"] += 1
        return None

    def case(self, seed):
        """[what is wrong]."""
        case = Case(seed)
        try:
            onnx.checker.check_model(case.model, full_check=True)
            case.reference(random_graphs.FREE)
        except Exception as error:
            self.counts[f"no reference: {str(error).strip().splitlines()[-1][:90]}"] += 1
            return []
        wrong = []
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            (work / "model.onnx").write_bytes(case.model.SerializeToString())
            for way in case.ways(self.passes):
                bad = self.way(case, way, work)
                if bad:
                    wrong.append(f"seed {seed}, {' '.join([way[1], *way[2]])}: {bad}")
            if wrong and self.options.keep:
                pathlib.Path(self.options.keep).mkdir(parents=True, exist_ok=True)
                shutil.copy(work / "model.onnx", f"{self.options.keep}/{seed}.onnx")
        return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--keep", help="a folder for the models of what is wrong")
    parser.add_argument("-j", type=int, help="cases at once")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    runner, failures = Runner(options), 0
    seeds = range(options.seed, options.seed + options.count)
    for wrong in harness.parallel(runner.case, seeds, options.j):
        failures += len(wrong)
        for line in wrong:
            print(f"WRONG {line}", flush=True)
    for what, count in sorted(runner.counts.items()):
        print(f"{what}: {count}")
    print(f"{failures} failures of {len(seeds)} graphs")
    return 1 if failures or not runner.counts["plans right"] else 0


if __name__ == "__main__":
    sys.exit(main())
