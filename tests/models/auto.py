#!/usr/bin/env python3
"""--precision=auto on whole models: the error on inputs that nothing was measured on, and the gain.

    auto.py --build BUILD --data FOLDER [--only NAME] [--budgets 1e-2,1e-3]

Each float model of FOLDER/models is calibrated on numbers drawn from those of its data set, and judged
on the data set itself, and on numbers drawn with other seeds, against ONNX Runtime in fp32:
max|a - b| / max|b| must stay within the budget, of 16-bit models, too, whose own rounding may be more.
Cycles (the table below over the emulator's counters) and bytes of global memory must be fewer than
those of the fp32 plan, but where no layer could be lowered. One kind of models is apart: one whose
weights are inputs moves these as they are, so that its bytes may stay the same. Exit 1 when something
is not so. The assignment that is saved must give the same plan when it is read back.
"""
import argparse
import json
import pathlib
import sys
import tempfile
import time

import onnx

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402
import precision  # noqa: E402

# What one multiprocessor does in a cycle: the longest of these is a kernel's time.
# Bytes are those of A100's memory, 2039 GB/s at 1.41 GHz over 108 multiprocessors.
PER_CYCLE = {"warp_instructions": 4, "shared_wavefronts": 1, "global_sectors": 2,
             "tensor_instructions": 0.5, "read_bytes": 13.4, "written_bytes": 13.4}
FRESH_SEEDS = (101, 102)
# What is searched without --all.
SAMPLE = {"dtln_1", "mnist_pytorch_bn", "silero_vad_v5", "squeezenet_fp16"}


def counters(tools, plan, data, work):
    """(outputs, estimated cycles, bytes) of a run."""
    stats = work / "stats.json"
    outputs = tools.outputs(plan, data, "--device=emu", f"--stats={stats}")
    counts = json.loads(stats.read_text())
    cycles = sum(max(kernel[name] / rate for name, rate in PER_CYCLE.items())
                 for kernel in counts["kernels"])
    return outputs, cycles, counts["read_bytes"] + counts["written_bytes"]


def error_against(outputs, wanted):
    return max(precision.error_of(a, b) for a, b in zip(outputs, wanted) if b.dtype.kind == "f")


def weights_of(model):
    """The types of the weights that the model holds: matrices and filters."""
    return {onnx.helper.tensor_dtype_to_np_dtype(each.data_type).name
            for each in onnx.load(model).graph.initializer if len(each.dims) > 1} & {"float16", "float32"}


def worst_of_fresh(tools, model, plan, data, work):
    """The error on data sets drawn with other seeds than the calibration's."""
    worst = 0
    for seed in FRESH_SEEDS:
        folder = work / f"fresh-{seed}"
        precision.draw_inputs(data, folder, seed)
        worst = max(worst, error_against(tools.outputs(plan, folder), precision.reference(model, folder)))
    return worst


def compile_or_die(tools, model, plan, *options):
    code, _, errors = tools.compile(model, plan, *options)
    if code:
        raise RuntimeError(harness.describe(code, errors))


def run_one(tools, name, model, data, budget, work):
    """(row of the table, what is wrong or None)"""
    calibration = precision.calibration_for(data, work / f"{name}-calibration")
    plan, assignment = work / "plan", work / "assignment"
    compile_or_die(tools, model, plan, "--precision=fp32")
    _, cycles, volume = counters(tools, plan, data, work)
    start = time.monotonic()
    compile_or_die(tools, model, plan, "--precision=auto", f"--max-error=rel:{budget:g}",
                   f"--calib={calibration}", f"--save-precision={assignment}")
    seconds = time.monotonic() - start
    outputs, fewer_cycles, fewer_bytes = counters(tools, plan, data, work)
    error = error_against(outputs, precision.reference(model, data))
    fresh = worst_of_fresh(tools, model, plan, data, work)
    lines = [line.split()[0] for line in assignment.read_text().splitlines()[1:]]
    chosen = " ".join(f"{lines.count(level)} {level}" for level in sorted(set(lines)))
    row = (f"{name:24} {budget:g}  error {error:.1e}, fresh {fresh:.1e}  cycles {fewer_cycles / cycles:.2f}  "
           f"bytes {fewer_bytes / volume:.2f}  {seconds:.0f} s  {chosen}")
    lowered = set(lines) - {"model", "fp32"}
    weights = weights_of(model)
    if max(error, fresh) > budget:
        return row, "the budget is exceeded"
    compile_or_die(tools, model, work / "again", f"--load-precision={assignment}")
    if (work / "again").read_bytes() != plan.read_bytes():
        return row, "what was saved does not give the plan again"
    bytes_gained = fewer_bytes < volume or (not weights and fewer_bytes == volume)
    if lowered and not (fewer_cycles < cycles and bytes_gained):
        return row, "nothing was gained"
    note = "nothing could be lowered" if not lowered else ""
    return row + (f"  ({note})" if note else ""), None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_80")
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--only")
    parser.add_argument("--budgets", default="1e-2,1e-3")
    parser.add_argument("--all", action="store_true", help="every model, not a sample")
    args = parser.parse_args()
    tools = harness.Tools(args.build, args.target)
    failures = checked = 0
    for name, model, data in precision.models_of(args.data / "models"):
        for budget in map(float, args.budgets.split(",")):
            if name != args.only if args.only else not args.all and name not in SAMPLE:
                continue
            with tempfile.TemporaryDirectory() as work:
                try:
                    row, wrong = run_one(tools, name, model, data, budget, pathlib.Path(work))
                except RuntimeError as error:
                    row, wrong = name, str(error)
            checked += 1
            failures += wrong is not None
            print(row + (f"  WRONG: {wrong}" if wrong else ""), flush=True)
    print(f"{checked} checked, {failures} wrong")
    return 1 if failures or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
