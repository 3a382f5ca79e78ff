#!/usr/bin/env python3
"""The networks of examples/networks against ONNX Runtime, on the emulator; the large ones thin."""
import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnxruntime as ort

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE.parents[1] / "examples" / "networks")]
import harness  # noqa: E402
import networks  # noqa: E402

THIN = {"alexnet": 16, "unet": 4}  # a divisor of their channels


def check(tools, name):
    """None, or what is wrong."""
    model, examples = networks.build(name, THIN.get(name, 1))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "model.onnx").write_bytes(model.SerializeToString())
        code, _, errors = tools.compile(work / "model.onnx", work / "model.plan")
        if code != 0:
            return harness.describe(code, errors)
        for i, value in enumerate(model.graph.input):
            harness.save_tensor(work / "set" / f"input_{i}.pb",
                                np.ascontiguousarray(examples[value.name]), value.name)
        try:
            got = tools.outputs(work / "model.plan", work / "set")
        except RuntimeError as e:
            return str(e)
    for i, wanted in enumerate(session.run(None, examples)):
        wrong = harness.mismatch(got[i], wanted)
        if wrong:
            return f"output {i}: {wrong}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", help="one network")
    options = parser.parse_args()
    tools = harness.Tools(options.build)
    names = [options.only] if options.only else list(networks.NETWORKS)
    failed = 0
    for name, wrong in zip(names, harness.parallel(lambda n: check(tools, n), names)):
        print(f"{name:14} {wrong or 'matches'}")
        failed += wrong is not None
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
