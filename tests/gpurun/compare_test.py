#!/usr/bin/env python3
"""gpurun compare: every value that a kernel leaves in memory is found in the model; a planted fault is
named by the kernel where it begins."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper

BUILD = None


def weights(seed):
    random = np.random.default_rng(seed)
    return {"w1": random.standard_normal((8, 3, 3, 3)), "w2": random.standard_normal((8, 8, 3, 3)),
            "w3": random.standard_normal((8, 8, 1, 1)), "w4": random.standard_normal((400, 5)) / 8}


def network(values):
    """Three convolutions, the last two side by side and concatenated, then a matrix."""
    nodes = [helper.make_node("Conv", ["x", "w1"], ["c1"], "first", pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["c1"], ["r1"], "first relu"),
             helper.make_node("Conv", ["r1", "w2"], ["c2"], "second", pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["c2"], ["r2"], "second relu"),
             helper.make_node("Conv", ["r1", "w3"], ["c3"], "third"),
             helper.make_node("Sigmoid", ["c3"], ["r3"], "third sigmoid"),
             helper.make_node("Concat", ["r2", "r3"], ["both"], "both", axis=1),
             helper.make_node("MaxPool", ["both"], ["p"], "pool", kernel_shape=[2, 2],
                              strides=[2, 2]),
             helper.make_node("Flatten", ["p"], ["f"], "flatten"),
             helper.make_node("MatMul", ["f", "w4"], ["y"], "last")]
    f32 = {k: v.astype(np.float32) for k, v in values.items()}
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", T.FLOAT, ["n", 3, 11, 11])],
        [helper.make_tensor_value_info("y", T.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in f32.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)


class Compare(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        values = weights(1)
        (cls.folder / "m.onnx").write_bytes(network(values).SerializeToString())
        values["w3"] = values["w3"].copy()
        values["w3"][4, 2] += 0.5
        (cls.folder / "wrong.onnx").write_bytes(network(values).SerializeToString())
        cls.random = np.random.default_rng(3).standard_normal((2, 3, 11, 11)).astype(np.float32)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def run_tool(self, *command):
        return subprocess.run([str(c) for c in command], capture_output=True, text=True)

    def compile(self, model, *options):
        plan = self.folder / "m.plan"
        done = self.run_tool(BUILD / "bin" / "gpucc", self.folder / model, "-o", plan,
                             "--target=sm_90a", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return plan

    def compare(self, plan, *options, reference="m.onnx"):
        return self.run_tool(BUILD / "bin" / "gpurun", "compare", self.folder / reference, plan,
                             "--device=emu", *options)

    def rows(self, plan, *options):
        done = self.compare(plan, "--json", "--shape", "x=2x3x11x11", *options)
        return {row["value"]: row for row in json.loads(done.stdout)}, done.returncode

    def test_every_value_in_memory_is_compared(self):
        for options in ([], ["-fno-fuse_kernels"], ["-fno-all"]):
            rows, code = self.rows(self.compile("m.onnx", *options), "--rtol", "1e-4")
            self.assertEqual(code, 0)
            self.assertLessEqual({"r1", "r2", "r3", "y"}, rows.keys())
            self.assertTrue(all(row["compared"] for row in rows.values()), rows)
            self.assertTrue(all(float(row["relative"]) < 1e-5 for row in rows.values()), rows)
            self.assertTrue(all(row["cosine"] > 0.99999 for row in rows.values()), rows)

    def test_the_kernel_where_a_difference_begins_is_named(self):
        plan = self.compile("wrong.onnx")
        rows, code = self.rows(plan, "--rtol", "1e-4")
        self.assertEqual(code, 4)
        off = [name for name, row in rows.items() if row["beyond"]]
        self.assertEqual(off[0], "r3")
        self.assertIn("third (Conv)", rows["r3"]["nodes"])
        self.assertEqual([rows["r1"]["beyond"], rows["r2"]["beyond"]], [0, 0])
        channel = rows["r3"]["first"] // 121 % 8
        self.assertEqual(channel, 4)
        done = self.compare(plan, "--seed", "5")
        self.assertEqual(done.returncode, 0)  # no tolerance was given
        self.assertIn("first that diverges: r3, by third (Conv)", done.stdout)
        self.assertIn("y f32", done.stdout)

    def test_outputs_are_compared_with_a_data_set(self):
        plan = self.compile("m.onnx")
        out = self.folder / "set"
        out.mkdir(exist_ok=True)
        (out / "input_0.pb").write_bytes(numpy_helper.from_array(self.random).SerializeToString())
        done = self.run_tool(BUILD / "bin" / "gpurun", "run", plan, "--inputs", out, "--outputs",
                             out, "--device=emu")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.compare(plan, "--rtol", "1e-6", reference="set")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("y f32[2x5]: absolute 0, relative 0, cosine 1", done.stdout)
        done = self.compare(self.compile("wrong.onnx"), "--rtol", "1e-6", reference="set")
        self.assertEqual(done.returncode, 4)
        self.assertIn("first that diverges: y", done.stdout)

    def test_another_model_is_refused(self):
        plan = self.compile("m.onnx", "--io", "x=u8")
        done = self.compare(plan)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no input 'x' of its type", done.stderr)
        self.assertEqual(self.compare(plan, reference="none.onnx").returncode, 7)
        alone = self.run_tool(BUILD / "bin" / "gpurun", "compare", plan, "--device=emu")
        self.assertEqual(alone.returncode, 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    known, rest = parser.parse_known_args()
    BUILD = known.build.resolve()
    unittest.main(argv=sys.argv[:1] + rest)
