#!/usr/bin/env python3
"""Each precision on whole models, on the emulator, against ONNX Runtime in fp32.

    precision.py --build BUILD --data FOLDER [--only NAME] [--precisions fp16,bf16,tf32,fp8]

Models: the float models of FOLDER/models, and the thin networks of zoo.py. For each output,
max|a - b| / max|b| must be at most LIMITS says. Exit 1 when one is not.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnxruntime

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

LIMITS = {"fp32": 1e-4, "fp32x3": 1e-4, "tf32": 1e-3, "fp16": 2e-2, "bf16": 8e-2, "fp8": 5e-2}
# basic_pitch's operands, rounded to 16 bits, exceed any limit already; the slice is quantized.
NOT_FLOAT = {"basic_pitch", "mobilenet_edgetpu_qdq_slice"}
# Rounding the operands of all contractions to tf32 is more already, as the evaluator says (2.0e-3 and
# 4.3e-3): these are compiled with the limit as their budget.
ROUNDS_TOO_MUCH = {("ultraface_rfb320", "tf32"), ("gtcrn_simple", "tf32")}
THIN = {"resnet50": ["--width", "8", "--size", "64"], "mobilenet_v2": ["--width", "8", "--size", "64"],
        "squeezenet": ["--width", "8", "--size", "64"], "unet": ["--width", "4", "--size", "64"],
        "bert": ["--layers", "2", "--width", "64"], "vit": ["--layers", "2", "--width", "64"],
        "gpt2": ["--layers", "2", "--width", "64"]}


def error_of(got, wanted):
    """max|a - b| / max|b|; numbers that are not finite must be the same."""
    if got.shape != wanted.shape:
        return np.inf
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(np.isfinite(a), finite) or not np.array_equal(a[~finite], b[~finite]):
        return np.inf
    if not finite.any():
        return 0.0
    worst, most = np.abs(a[finite] - b[finite]).max(), np.abs(b[finite]).max()
    return worst / most if most else (np.inf if worst else 0.0)


def inputs_of(session, data):
    """What the folder holds, by the model's input names."""
    feeds = {}
    for i, each in enumerate(session.get_inputs()):
        path = data / f"input_{i}.pb"
        if path.exists():
            feeds[each.name] = harness.load_tensor(path)
    return feeds


def reference(model, data):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    return session.run(None, inputs_of(session, data))


def check(tools, name, model, data, wanted, precision, work):
    """(error, what went wrong or None)"""
    plan = work / f"{name}-{precision}.plan"
    options = [f"--precision={precision}"]
    if precision == "fp8":
        options.append(f"--calib={data}")
    if (name, precision) in ROUNDS_TOO_MUCH:
        options += [f"--calib={data}", f"--max-error=rel:{LIMITS[precision]}"]
    code, _, errors = tools.compile(model, plan, *options)
    if code:
        return np.inf, harness.describe(code, errors)
    try:
        outputs = tools.outputs(plan, data)
    except RuntimeError as error:
        return np.inf, str(error)
    errors = [error_of(a, b) for a, b in zip(outputs, wanted) if b.dtype.kind == "f"]
    worst = max(errors, default=0.0)
    limit = LIMITS[precision]
    return worst, None if worst <= limit else f"{worst:.2e} is more than {limit:g}"


def models_of(folder):
    for path in sorted(folder.iterdir()):
        if path.name not in NOT_FLOAT and (path / "model.onnx").exists():
            yield path.name, path / "model.onnx", path / "test_data_set_0"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--only")
    parser.add_argument("--precisions", default="fp16,bf16,tf32,fp8")
    args = parser.parse_args()
    tools = harness.Tools(args.build, args.target)
    failures = checked = 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name, model, data in models_of(args.data / "models"):
            if args.only and name != args.only:
                continue
            wanted = reference(model, data)
            row = []
            for precision in args.precisions.split(","):
                worst, wrong = check(tools, name, model, data, wanted, precision, work)
                checked += 1
                failures += wrong is not None
                row.append(f"{precision} {worst:.1e}" + (f" WRONG: {wrong}" if wrong else ""))
            print(f"{name:28} " + "   ".join(row), flush=True)
    print(f"{checked} checked, {failures} wrong")
    return 1 if failures or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
