#!/usr/bin/env python3
"""Machine code for sm_80 on GPUs of 8.6 and 8.9, whose blocks have less shared memory."""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import unittest

from onnx import TensorProto as T
from onnx import helper

BUILD = None


def product():
    """Large enough for tiles that take 147,456 bytes on sm_80."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "net",
        [helper.make_tensor_value_info("x", T.FLOAT16, [4096, 192]),
         helper.make_tensor_value_info("w", T.FLOAT16, [192, 4096])],
        [helper.make_tensor_value_info("y", T.FLOAT16, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)


def run(tool, *arguments):
    return subprocess.run([BUILD / "bin" / tool, *map(str, arguments)], capture_output=True, text=True)


class MinorVersion(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "m.onnx").write_bytes(product().SerializeToString())

    def run_on(self, device, targets):
        plan = self.folder / "m.plan"
        done = run("gpucc", self.folder / "m.onnx", "-o", plan, f"--target={targets}")
        self.assertEqual(done.returncode, 0, done.stderr)
        return run("gpurun", "run", plan, "--seed", 1, f"--device=emu:{device}")

    def test_machine_code_that_fits_runs(self):
        self.assertEqual(self.run_on("sm_87", "sm_80").returncode, 0)

    def test_what_is_too_large_is_refused_with_the_flag_to_rebuild_with(self):
        done = self.run_on("sm_86", "sm_80")
        self.assertEqual(done.returncode, 8, done.stderr)
        self.assertIn("147456 bytes of shared memory", done.stderr)
        self.assertIn("--target=sm_86", done.stderr)

    def test_portable_code_of_the_same_plan_steps_in(self):
        for device in "sm_86", "sm_89":
            done = self.run_on(device, "sm_80,portable")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("y: f16[4096x4096]", done.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    known, rest = parser.parse_known_args()
    BUILD = known.build.resolve()
    unittest.main(argv=sys.argv[:1] + rest)
