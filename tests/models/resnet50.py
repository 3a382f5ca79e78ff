#!/usr/bin/env python3
"""ResNet-50 with random weights through gpucc: time, memory, size; and its logits on the emulator.

Sizes, memory and bytes are checked always; --timed also holds the times to their limits, which makes
sense on a machine that does nothing else. Prints one line of numbers.
"""
import argparse
import os
import pathlib
import re
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness
import make_resnet50

COLD_SECONDS, WARM_SECONDS, RUN_SECONDS = 8.0, 1.0, 5.0
PEAK_BYTES = 800 << 20
SIZE_FACTOR = 1.03  # of the weights


def timed(function, *arguments):
    """Seconds, and what went to stderr."""
    start = time.monotonic()
    code, _, errors = function(*arguments)
    if code:
        raise SystemExit(harness.describe(code, errors))
    return time.monotonic() - start, errors


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--timed", action="store_true")
    arguments = parser.parse_args()
    tools = harness.Tools(arguments.build)
    gpucc, gpurun = tools.bin / "gpucc", tools.bin / "gpurun"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        model = make_resnet50.build(1)
        path = folder / "resnet50.onnx"
        onnx.save(model, path)
        weights = sum(numpy_helper.to_array(w).nbytes for w in model.graph.initializer)

        options = "--target=sm_90a", "-v"
        cold, log = timed(tools.run, gpucc, path, "-o", folder / "cold.plan", *options)
        peak = int(re.search(r"peak memory (\d+) KiB", log)[1]) << 10
        warm, _ = timed(tools.run, gpucc, path, "-o", folder / "warm.plan", "-j", 1, *options)
        same = (folder / "cold.plan").read_bytes() == (folder / "warm.plan").read_bytes()
        size = (folder / "cold.plan").stat().st_size

        inputs, outputs = folder / "in", folder / "out"
        inputs.mkdir()
        image = np.random.default_rng(7).standard_normal((1, 3, 224, 224)).astype(np.float32)
        (inputs / "input_0.pb").write_bytes(numpy_helper.from_array(image).SerializeToString())
        run, _ = timed(tools.run, gpurun, "run", folder / "cold.plan", "--device=emu", "--inputs", inputs,
                    "--outputs", outputs)
        found = harness.load_tensor(outputs / "output_0.pb")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        wanted = session.run(None, {"image": image})[0]
        error = float(np.abs(found - wanted).max() / np.abs(wanted).max())

    print(f"cold {cold:.2f} s, warm {warm:.2f} s, peak {peak / 2**20:.0f} MiB, "
          f"plan {size} bytes = weights + {100 * (size / weights - 1):.2f} %, "
          f"emulated run {run:.2f} s, worst error {error:.1e} of the largest logit")
    faults = [text for broken, text in (
        (not same, "the plan depends on the cache or -j"),
        (size > SIZE_FACTOR * weights, "the plan is too large"),
        (peak > PEAK_BYTES, "the compiler takes too much memory"),
        (error > 1e-4, "the logits are wrong"),
        (arguments.timed and cold > COLD_SECONDS, "the cold build is too slow"),
        (arguments.timed and warm > WARM_SECONDS, "the warm build is too slow"),
        (arguments.timed and run > RUN_SECONDS, "the emulated run is too slow")) if broken]
    if faults:
        raise SystemExit("FAILED: " + "; ".join(faults))


if __name__ == "__main__":
    main()
