#!/usr/bin/env python3
"""Each precision on whole models, on the emulator, against ONNX Runtime in fp32.

    precision.py --build BUILD --data FOLDER [--only NAME] [--precisions fp16,bf16,tf32,fp8]

Models: thin versions of the networks of zoo.py, and the float models of FOLDER/models. For each output,
max|a - b| / max|b| must be at most what LIMITS says. tf32 and fp8, which are measured on inputs, have
others than they are judged on. Exit 1 when one is not.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnxruntime

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import harness  # noqa: E402
import zoo  # noqa: E402

LIMITS = {"fp32": 1e-4, "fp32x3": 1e-4, "tf32": 1e-3, "fp16": 2e-2, "bf16": 8e-2, "fp8": 5e-2}
# basic_pitch's operands, rounded to 16 bits, exceed any limit already; the slice is quantized.
NOT_FLOAT = {"basic_pitch", "mobilenet_edgetpu_qdq_slice"}
MEASURED = {"tf32", "fp8"}  # these hold a budget of their own, LIMITS'
CALIBRATION_SETS = 4
# Of FOLDER/exports: loops, reflected edges, and 1.1e-3 where all products are in tf32.
EXPORTS = {"encodec", "bert"}
# fp8 is a search on each model: these alone, but for --all.
FP8_SAMPLE = {"dtln_1", "mnist_pytorch_bn", "thin squeezenet"}
THIN = {  # layers, width, size
    "resnet50": (1, 16, 64), "mobilenet_v2": (1, 8, 64), "squeezenet": (2, 8, 64),
    "unet": (2, 8, 32), "bert": (2, 128, 16), "vit": (2, 128, 64), "gpt2": (2, 128, 16)}


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


def draw_inputs(data, folder, seed):
    """A data set of the same shapes, of numbers drawn from those of each input."""
    random = np.random.default_rng(seed)
    for path in sorted(data.glob("input_*.pb")):
        array = harness.load_tensor(path)
        drawn = random.choice(array.ravel(), array.shape) if array.size else array
        harness.save_tensor(folder / path.name, drawn.astype(array.dtype))


def calibration_for(data, folder):
    """folder, with drawn data sets."""
    for seed in range(CALIBRATION_SETS):
        draw_inputs(data, folder / f"test_data_set_{seed}", seed)
    return folder


def check(tools, name, model, data, wanted, precision, work):
    """(error, what went wrong or None)"""
    plan = work / f"{name}-{precision}.plan"
    options = [f"--precision={precision}"]
    if precision in MEASURED:
        options.append(f"--calib={calibration_for(data, work / f'{name}-calibration')}")
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


def draw(info, random):
    """Numbers for an input: activations, or small numbers of tokens."""
    shape = [1 if not isinstance(extent, int) else extent for extent in info.shape]
    if "int" in info.type:
        most = 2 if "type" in info.name or "mask" in info.name else 50
        return random.integers(0, most, shape).astype(np.int32 if "int32" in info.type else np.int64)
    if "bool" in info.type:
        return random.integers(0, 2, shape).astype(bool)
    return random.standard_normal(shape).astype(np.float32)


def thin_networks(folder):
    """The networks of zoo.py with a data set of inputs each, made in folder."""
    for name, sizes in THIN.items():
        model, data = folder / f"{name}.onnx", folder / f"{name}-data"
        model.write_bytes(zoo.build(name, *sizes).SerializeToString())
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        random = np.random.default_rng(7)
        for i, info in enumerate(session.get_inputs()):
            harness.save_tensor(data / f"input_{i}.pb", draw(info, random))
        yield f"thin {name}", model, data


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--only")
    parser.add_argument("--precisions", default="fp16,bf16,tf32,fp8")
    parser.add_argument("--all", action="store_true", help="fp8 on every model")
    args = parser.parse_args()
    tools = harness.Tools(args.build, args.target)
    failures = checked = 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        stored = list(models_of(args.data / "models")) if args.data else []
        stored += [each for each in models_of(args.data / "exports") if each[0] in EXPORTS] if args.data else []
        for name, model, data in stored + list(thin_networks(work)):
            if args.only and name != args.only:
                continue
            wanted = reference(model, data)
            row = []
            for precision in args.precisions.split(","):
                if precision == "fp8" and not (args.all or args.only or name in FP8_SAMPLE):
                    continue
                worst, wrong = check(tools, name, model, data, wanted, precision, work)
                checked += 1
                failures += wrong is not None
                row.append(f"{precision} {worst:.1e}" + (f" WRONG: {wrong}" if wrong else ""))
            print(f"{name:28} " + "   ".join(row), flush=True)
    print(f"{checked} checked, {failures} wrong")
    return 1 if failures or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
