#!/usr/bin/env python3
"""ResNet-50 with random weights of real size: right numbers, small plan, the same bytes every time."""
import argparse
import os
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

MAKE = pathlib.Path(__file__).with_name("make_resnet50.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=harness.ROOT / "build")
    options = parser.parse_args()
    tools = harness.Tools(options.build)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        first, second = work / "first" / "model.onnx", work / "second" / "another name"
        for model in (first, second):
            model.parent.mkdir()
            code, _, errors = tools.run(sys.executable, MAKE, model)
            if code:
                sys.exit(errors)
        weights = sum(t.ByteSize() for t in onnx.load(first).graph.initializer)

        os.environ["XDG_CACHE_HOME"] = str(work / "cache")
        plans = []
        for index, (model, jobs) in enumerate(((first, 1), (second, 2), (second, 3))):
            plan = work / f"plan{index}"
            code, _, errors = tools.run(tools.bin / "gpucc", model, "-o", plan, "--target=sm_90a",
                                        "-j", jobs)
            if code:
                sys.exit(harness.describe(code, errors))
            plans.append(plan.read_bytes())
        if len(set(plans)) != 1:
            sys.exit("the plan's bytes depend on the folder, the name, -j or the cache")
        print(f"plan: weights + {100 * (len(plans[0]) / weights - 1):.2f} %")
        if len(plans[0]) > 1.03 * weights:
            sys.exit("the plan is larger than its weights by more than 3 %")

        image = np.random.default_rng(1).normal(0, 1, (1, 3, 224, 224)).astype(np.float32)
        harness.save_tensor(work / "inputs" / "input_0.pb", image)
        session = onnxruntime.InferenceSession(str(first), providers=["CPUExecutionProvider"])
        wanted, = session.run(None, {session.get_inputs()[0].name: image})
        got, = tools.outputs(work / "plan0", work / "inputs")
        wrong = harness.mismatch(got, wanted)
        if wrong:
            sys.exit(wrong)
        print(f"logits match ONNX Runtime (their deviation: {np.std(wanted):.3f})")


if __name__ == "__main__":
    main()
