#!/usr/bin/env python3
"""The demo's promise: every held-back image has ONNX Runtime's logits, and the accuracy of training."""
import argparse
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

DIGITS = harness.ROOT / "examples" / "digits"
DATA = DIGITS / "held_back" / "test_data_set_0"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=harness.ROOT / "build", type=pathlib.Path)
    options = parser.parse_args()
    tools = harness.Tools(options.build, "sm_80,sm_90a,portable")
    labels = np.frombuffer((DIGITS / "held_back" / "labels.u8").read_bytes(), np.uint8)
    wanted = harness.load_tensor(DATA / "output_0.pb")
    with tempfile.TemporaryDirectory() as work:
        plan = pathlib.Path(work) / "digits.plan"
        code, _, errors = tools.compile(DIGITS / "digits.onnx", plan)
        if code:
            sys.exit(harness.describe(code, errors))
        for device in ("emu:sm_80", "emu:sm_86", "emu:sm_90"):
            got, = tools.outputs(plan, DATA, f"--device={device}")
            for image, (a, b) in enumerate(zip(got, wanted, strict=True)):
                wrong = harness.mismatch(a, b, rtol=0, relative_to_max=1e-4)
                if wrong:
                    sys.exit(f"{device}, image {image}: {wrong}")
            correct = int((got.argmax(1) == labels).sum())
            print(f"{device}: {correct} of {len(labels)} correct")
            if correct != int((DIGITS / "held_back" / "accuracy.txt").read_text().split()[0]):
                sys.exit("not the accuracy of training")


if __name__ == "__main__":
    main()
