#!/usr/bin/env python3
"""Every pass left out, and all of them: a plan's outputs stay what they are, within rounding.

    passes_off.py --build BUILD [--data FOLDER] [--all] [--only NAME] [--pass PASS]

Compiles each model with the whole pipeline, then with -fno-PASS for each pass that gpucc lists, then
with -fno-all, and runs the plans that differ. The networks of zoo.py are thin versions here, at the
model's precision and at fp16, and at tf32 with the one pass that is for it. With FOLDER its models/ are
tried too: a few of them, --all: each.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnx

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import harness  # noqa: E402
import zoo  # noqa: E402

THIN = {  # layers, width, size
    "resnet50": (1, 16, 64), "mobilenet_v2": (1, 8, 64), "squeezenet": (2, 8, 64),
    "unet": (2, 8, 32), "bert": (2, 128, 16), "vit": (2, 128, 64), "gpt2": (2, 128, 16)}
SAMPLE = ("cct_2_32_32_128", "dtln_1", "gtcrn_simple", "mnist_pytorch_bn", "bert_toy",
          "mobilenet_edgetpu_qdq_slice")

# max |a - b| over max |b| that another order of rounding may make, over the layers of a network.
ROUNDING = {"float64": 1e-10, "float32": 2e-4, "float16": 1e-2, "bfloat16": 8e-2}
FP16_ROUNDING = 1e-2
TF32_ROUNDING = 2e-3  # an operand that is a little off is rounded to its neighbour
STEPS = 5e-2  # of quantized models: one step here or there


def difference(got, wanted, rounding):
    """None, or what is wrong."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if got.size == 0:
        return None
    if got.dtype.kind not in "fV":
        step = 1 if got.dtype.itemsize == 1 and got.dtype.kind in "iu" else 0
        worst = np.abs(got.astype(np.int64) - wanted.astype(np.int64)).max()
        return f"off by {worst}" if worst > step else None
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return "not finite in other places"
    finite = np.isfinite(b)
    error = np.abs(a - b)[finite].max(initial=0) / max(np.abs(b[finite]).max(initial=0), 1e-30)
    return f"relative error {error:.3g}" if error > rounding else None


def is_quantized(model):
    return any("Quantize" in node.op_type or "Integer" in node.op_type or "QLinear" in node.op_type
               for node in model.graph.node)


class Case:
    """A model with its inputs, compiled in one precision."""

    def __init__(self, tools, name, model, inputs, options, rounding):
        self.tools, self.name, self.model, self.inputs = tools, name, model, inputs
        self.options, self.rounding = options, rounding

    def plan(self, work, *flags):
        path = pathlib.Path(work) / "plan"
        code, _, errors = self.tools.compile(self.model, path, *self.options, *flags)
        return path, harness.describe(code, errors) if code else None

    def outputs(self, path):
        if self.inputs:
            return self.tools.outputs(path, self.inputs)
        with tempfile.TemporaryDirectory() as folder:
            code, _, errors = self.tools.run(self.tools.bin / "gpurun", "run", path, "--seed", 7,
                                             "--outputs", folder, "--device=emu")
            if code:
                raise RuntimeError(harness.describe(code, errors))
            count = len(list(pathlib.Path(folder).glob("output_*.pb")))
            return [harness.load_tensor(pathlib.Path(folder) / f"output_{i}.pb")
                    for i in range(count)]

    def run(self, flags):
        """[(flag, None, "same plan" or what is wrong)] for each flag."""
        with tempfile.TemporaryDirectory() as work:
            path, wrong = self.plan(work)
            if wrong:
                return [("the whole pipeline", wrong)]
            whole, wanted = path.read_bytes(), self.outputs(path)
            results = []
            for flag in flags:
                path, wrong = self.plan(work, flag)
                if not wrong and path.read_bytes() == whole:
                    results.append((flag, "same plan"))
                    continue
                try:
                    got = [] if wrong else self.outputs(path)
                except RuntimeError as error:
                    wrong = str(error)
                for i, (a, b) in enumerate(zip(got if not wrong else [], wanted)):
                    bad = difference(a, b, self.rounding(b))
                    wrong = wrong or (bad and f"output {i}: {bad}")
                results.append((flag, wrong or "match"))
            return results


def rounding_of(array):
    return ROUNDING.get(str(array.dtype), 0)


def thin_cases(tools, folder):
    for name, (layers, width, size) in THIN.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(zoo.build(name, layers, width, size).SerializeToString())
        yield Case(tools, name, path, None, [], rounding_of)
        yield Case(tools, f"{name} fp16", path, None, ["--precision=fp16"],
                   lambda array: FP16_ROUNDING)
        yield Case(tools, f"{name} tf32", path, None, ["--precision=tf32"],
                   lambda array: TF32_ROUNDING)


def stored_cases(tools, data, every):
    for folder in sorted((data / "models").iterdir()):
        path = folder / "model.onnx"
        if not path.exists() or (not every and folder.name not in SAMPLE):
            continue
        quantized = is_quantized(onnx.load(path, load_external_data=False))
        yield Case(tools, folder.name, path, folder / "test_data_set_0", [],
                   (lambda array: STEPS) if quantized else rounding_of)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--pass", dest="passes", action="append")
    options = parser.parse_args()
    tools = harness.Tools(options.build, "portable", timeout=900)
    passes = options.passes or tools.run(tools.bin / "gpucc", "--print-passes")[1].split()
    with tempfile.TemporaryDirectory() as folder:
        cases = list(thin_cases(tools, pathlib.Path(folder)))
        if options.data:
            cases += stored_cases(tools, options.data, options.all)
        cases = [case for case in cases if options.only in case.name]

        def flags(case):
            if "--precision=tf32" in case.options:  # what the others do is the same as at fp32
                return ["-fno-round_operands"] if "round_operands" in passes else []
            lowered = "--precision=fp16" in case.options
            return [f"-fno-{p}" for p in passes if not (lowered and p == "set_precision")] + (
                [] if lowered or options.passes else ["-fno-all"])

        wrong = 0
        for case, results in zip(cases, harness.parallel(lambda c: c.run(flags(c)), cases)):
            bad = [(flag, result) for flag, result in results
                   if result not in ("match", "same plan")]
            same = sum(result == "same plan" for _, result in results)
            print(f"{case.name}: {len(results) - len(bad)} of {len(results)} match, "
                  f"{same} of these the same plan", flush=True)
            for flag, result in bad:
                print(f"WRONG {case.name} {flag}: {result}", file=sys.stderr, flush=True)
            wrong += len(bad)
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
