#!/usr/bin/env python3
"""Launches, and instructions that fusion may cost, of the networks of zoo.py.

    launches.py --build BUILD [--only NAME] [--full] [--target=sm_XX] [--precision=P]

Each network is compiled thin, with the layers of the full one or fewer of the same structure; its
launches, copies and fills may be so many per layer and so many besides. The emulator must see the
launches that gpurun inspect announces, the outputs must be ONNX Runtime's, and the fused plan may
execute at most 1.1 times the instructions of the plan that is compiled without fusion. --full takes
the full networks, which needs 4 GB and some minutes.
"""
import argparse
import pathlib
import re
import sys
import tempfile

import numpy as np
import onnxruntime as ort

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import harness  # noqa: E402
import zoo  # noqa: E402

# name: (thin layers, width, size), operations per layer, operations besides
LIMITS = {
    "resnet50": ((16, 8, 64), 0, 57),
    "mobilenet_v2": ((17, 8, 64), 0, 56),
    "squeezenet": ((8, 16, 64), 0, 30),
    "unet": ((4, 8, 32), 0, 27),
    "bert": ((2, 128, 32), 7, 6),
    "vit": ((2, 128, 64), 7, 6),
    "gpt2": ((2, 128, 32), 6, 6),
}
MOST_INSTRUCTIONS = 1.1
WITHOUT_FUSION = "-fno-fuse_kernels"


def examples(session):
    random, inputs = np.random.default_rng(1), []
    for value in session.get_inputs():
        if "float" in value.type:
            array = random.normal(size=value.shape).astype(np.float32)
        elif "mask" in value.name:
            array = np.ones(value.shape, np.int64)
            array[:, -3:] = 0
        else:
            array = random.integers(0, 2, value.shape)
        inputs.append((value.name, array))
    return inputs


def operations(text):
    """(launches, copies and fills) of gpurun inspect."""
    found = re.search(r"(\d+) launches of \d+ kernels, (\d+) copies, (\d+) fills", text)
    return int(found[1]), int(found[2]) + int(found[3])


def counted(tools, plan, inputs):
    """(launches, instructions) as the emulator counts them."""
    code, text, errors = tools.run(tools.bin / "gpurun", "run", plan, "--inputs", inputs,
                                   "--device=emu", "--stats", "--outputs",
                                   pathlib.Path(inputs).parent / "out")
    if code:
        raise RuntimeError(harness.describe(code, errors))
    launches = int(re.search(r"launches (\d+)", text)[1])
    return launches, int(re.search(r"instructions of warps (\d+)", text)[1])


MOST_ERROR = {"fp16": 2e-2, "bf16": 8e-2, "tf32": 1e-3}  # of the greatest element


def mismatch(got, wanted, precision):
    if precision not in MOST_ERROR:
        return harness.mismatch(got, wanted)
    error = np.abs(got.astype(np.float64) - wanted).max() / np.abs(wanted).max()
    return None if error <= MOST_ERROR[precision] else f"{error:.3g} of the greatest element"


def check(tools, name, options, work):
    """What is wrong, and a line of figures."""
    sizes, per_layer, besides = LIMITS[name]
    sizes = (None, None, None) if options.full else sizes
    model, plan = zoo.build(name, *sizes), work / f"{name}.plan"
    layers = sizes[0] or zoo.NETWORKS[name][1][0]
    (work / f"{name}.onnx").write_bytes(model.SerializeToString())
    extra = [f"--precision={options.precision}"] if options.precision else []
    code, _, text = tools.compile(work / f"{name}.onnx", plan, *extra)
    if code:
        return harness.describe(code, text), ""
    _, text, _ = tools.run(tools.bin / "gpurun", "inspect", plan)
    (launches, others), limit = operations(text), per_layer * layers + besides
    count = launches + others
    figures = f"{count} operations of {limit}"
    wrong = f"{count} operations, not {limit}" if count > limit else None
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = examples(session)
    for i, (value, array) in enumerate(inputs):
        harness.save_tensor(work / name / f"input_{i}.pb", array, value)
    seen, fused = counted(tools, plan, work / name)
    if seen != launches:
        wrong = wrong or f"the emulator counts {seen} launches, inspect {launches}"
    for i, wanted in enumerate(session.run(None, dict(inputs))):
        got = harness.load_tensor(work / "out" / f"output_{i}.pb")
        difference = mismatch(got, wanted, options.precision)
        if difference:
            wrong = wrong or f"output {i}: {difference}"
    code, _, text = tools.compile(work / f"{name}.onnx", plan, WITHOUT_FUSION, *extra)
    if code:
        return harness.describe(code, text), figures
    _, apart = counted(tools, plan, work / name)
    figures += f", instructions {fused / apart:.3f} of those without fusion"
    if fused > MOST_INSTRUCTIONS * apart:
        wrong = wrong or f"{fused} instructions, {apart} without fusion"
    return wrong, figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--target", default="sm_80")
    parser.add_argument("--only", choices=LIMITS)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--precision", help="as for gpucc")
    options = parser.parse_args()
    tools, failed = harness.Tools(options.build, options.target), 0
    for name in [options.only] if options.only else LIMITS:
        with tempfile.TemporaryDirectory() as folder:
            wrong, figures = check(tools, name, options, pathlib.Path(folder))
        print(f"{name:13} {figures}{': ' if wrong else ''}{wrong or ''}", flush=True)
        failed += wrong is not None
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
