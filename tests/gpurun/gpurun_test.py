#!/usr/bin/env python3
"""gpurun on plans made by hand, run by the emulator: files in and out, exit codes, messages."""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from onnx import TensorProto, helper, numpy_helper

BUILD = None
STORED = (TensorProto.STRING, TensorProto.UNDEFINED)
TYPES = [(name, code) for name, code in TensorProto.DataType.items() if code not in STORED]


class Gpurun(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def plan(self, kind):
        path = self.folder / f"{kind.replace(':', '_')}.plan"
        subprocess.run([BUILD / "bin" / "make_plan", kind, path], check=True)
        return path

    def gpurun(self, *arguments, device="--device=emu"):
        command = [BUILD / "bin" / "gpurun", *arguments, *([device] if device else [])]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            self.assertTrue(done.stderr.strip(), "a non-zero exit has its reason on stderr")
        return done

    def right(self, *arguments, **options):
        done = self.gpurun(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def wrong(self, code, message, *arguments, **options):
        done = self.gpurun(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(message, done.stderr)

    def output(self, plan, *arguments):
        self.right("run", plan, *arguments, "--outputs", self.folder / "out")
        tensor = TensorProto()
        tensor.ParseFromString((self.folder / "out" / "output_0.pb").read_bytes())
        return tensor

    def data_set(self, folder, x, y):
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in (("input_0", x), ("output_0", y)):
            (folder / f"{name}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
        return folder

    def test_inputs_are_read_from_every_kind_of_file(self):
        x = np.arange(5, dtype=np.float32)
        np.save(self.folder / "x.npy", x)
        np.savez(self.folder / "x.npz", y=x * 2, x=x)
        (self.folder / "x.raw").write_bytes(x.tobytes())
        self.data_set(self.folder / "data", x, x + 2)
        plan = self.plan("add")
        for source in (["--input", f"x={self.folder / 'x.npy'}"],
                       ["--input", f"x={self.folder / 'x.npz'}"],
                       ["--input", f"x={self.folder / 'x.raw'}"],
                       ["--input", f"x={self.folder / 'x.raw'}", "--shape", "x=5"],
                       ["--input", f"x={self.folder / 'data' / 'input_0.pb'}"],
                       ["--inputs", self.folder / "data"]):
            tensor = self.output(plan, *source)
            self.assertEqual(tensor.name, "y")
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), x + 2)

    def test_every_type_comes_back_as_it_went_in(self):
        rng = np.random.default_rng(1)
        for name, code in TYPES:
            with self.subTest(name):
                plan = self.plan(f"copy:{code}")
                bits = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}.get(name)
                size = 6 * bits // 8 + (6 * bits % 8 > 0) if bits else \
                    6 * helper.tensor_dtype_to_np_dtype(code).itemsize
                raw = rng.integers(0, 2 if name == "BOOL" else 256, size, dtype=np.uint8)
                if bits == 2:
                    raw[-1] &= 0x0f  # the unused end of the last byte
                tensor = TensorProto(data_type=code, dims=[2, 3], raw_data=raw.tobytes())
                (self.folder / "input_0.pb").write_bytes(tensor.SerializeToString())
                back = self.output(plan, "--inputs", self.folder)
                self.assertEqual((back.data_type, list(back.dims)), (code, [2, 3]))
                self.assertEqual(back.raw_data, tensor.raw_data)

    def test_typed_fields_are_read_as_raw_data_is(self):
        values = [1, 0, 3, 2, 0, 1]
        for name, code in TYPES:
            with self.subTest(name):
                plan = self.plan(f"copy:{code}")
                tensor = helper.make_tensor("x", code, [2, 3], values)
                (self.folder / "input_0.pb").write_bytes(tensor.SerializeToString())
                back = self.output(plan, "--inputs", self.folder)
                np.testing.assert_array_equal(numpy_helper.to_array(back),
                                              numpy_helper.to_array(tensor))

    def test_seeds_give_floats_in_range_and_integers_0_or_1(self):
        for name, code in TYPES:
            if name.startswith("COMPLEX") or name == "FLOAT8E8M0":
                continue
            with self.subTest(name):
                plan = self.plan(f"copy:{code}")
                arguments = ["--seed", 3, "--shape", "x=2x400"]
                first = numpy_helper.to_array(self.output(plan, *arguments))
                np.testing.assert_array_equal(
                    first, numpy_helper.to_array(self.output(plan, *arguments)))
                if name.startswith(("FLOAT", "BFLOAT", "DOUBLE")):
                    wide = first.astype(np.float64)
                    self.assertTrue((wide >= -1).all() and (wide <= 1).all())
                    self.assertGreater(len(np.unique(wide)), 3)
                else:
                    self.assertLessEqual(set(np.unique(first.astype(np.int64))), {0, 1, -1})

    def test_free_dims_of_seeded_inputs_are_1(self):
        self.assertEqual(list(self.output(self.plan("copy:1"), "--seed", 1).dims), [2, 1])

    def test_a_tensor_without_elements_passes(self):
        tensor = self.output(self.plan("add"), "--seed", 1, "--shape", "x=0")
        self.assertEqual((list(tensor.dims), tensor.raw_data), ([0], b""))

    def test_right_numbers_exit_0_and_wrong_ones_4(self):
        plan, x = self.plan("add"), np.arange(7, dtype=np.float32)
        data = self.data_set(self.folder / "data" / "test_data_set_0", x, x + 2)
        for folder in (data, data.parent):
            self.assertIn("output 'y': worst error 0", self.right("test", plan, folder))
        y = x + 2
        y[3] += 0.5
        self.data_set(self.folder / "data" / "test_data_set_1", x, y)
        self.wrong(4, "1 of 7 elements are wrong; element 3 is 5, not 5.5", "test", plan,
                   data.parent)
        self.right("test", plan, data.parent, "--atol", "0.5")
        self.right("test", plan, data.parent, "--rtol", "0.1")
        self.wrong(7, "neither a data set", "test", plan, self.folder / "out")

    def test_shape_and_type_are_compared_exactly(self):
        plan, x = self.plan("add"), np.arange(6, dtype=np.float32)
        data = self.data_set(self.folder / "data", x, (x + 2).reshape(2, 3))
        self.wrong(4, "output 'y' is f32[6], not f32[2x3]", "test", plan, data)
        self.data_set(data, x, (x + 2).astype(np.float64))
        self.wrong(4, "output 'y' is f32[6], not f64[6]", "test", plan, data)

    def test_nan_equals_nan_and_infinity_infinity(self):
        plan = self.plan("add")
        x = np.array([np.nan, np.inf, -np.inf, 1], dtype=np.float32)
        data = self.data_set(self.folder / "data", x, x + 2)
        self.right("test", plan, data)
        self.data_set(data, x, np.array([1, np.inf, -np.inf, 3], dtype=np.float32))
        self.wrong(4, "1 of 4 elements", "test", plan, data)
        self.data_set(data, x, np.array([np.nan, -np.inf, -np.inf, 3], dtype=np.float32))
        self.wrong(4, "1 of 4 elements", "test", plan, data)

    def test_wrong_usage_exits_2(self):
        plan, fixed = self.plan("add"), self.plan("add:5")
        np.save(self.folder / "f64.npy", np.zeros(5))
        np.save(self.folder / "x.npy", np.zeros(4, dtype=np.float32))
        self.wrong(2, "which command?", device=None)
        self.wrong(2, "no such command: walk", "walk", plan, device=None)
        self.wrong(2, "needs a PLAN", "run")
        self.wrong(2, "input 'x' is missing", "run", plan)
        self.wrong(2, "no input called 'z', but 'x'", "run", plan, "--input", "z=1")
        self.wrong(2, "--input x: is given twice", "run", plan, "--input", "x=x.npy", "--input",
                   "x=y.npy")
        self.wrong(2, "--shape x: is given twice", "run", plan, "--seed", 1, "--shape", "x=1",
                   "--shape", "x=2")
        self.wrong(2, "exclude each other", "run", plan, "--seed", 1, "--inputs", self.folder)
        self.wrong(2, "--rtol is no option of run", "run", plan, "--rtol", 1)
        self.wrong(2, "'many' is not understood", "run", plan, "--seed", "many")
        self.wrong(2, "'tpu' is not understood", "run", plan, "--seed", 1, device="--device=tpu")
        self.wrong(2, "the input is f32[?]", "run", plan, "--seed", 1, "--shape", "x=1x2")
        self.wrong(2, "the input is f32[5]", "run", fixed, "--seed", 1, "--shape", "x=4")
        self.wrong(2, "holds f64[5], but 'x' is f32[?]", "run", plan, "--input",
                   f"x={self.folder / 'f64.npy'}")
        self.wrong(2, "holds f32[4], but 'x' is f32[5]", "run", fixed, "--input",
                   f"x={self.folder / 'x.npy'}")
        self.wrong(2, "need --device=emu", "run", plan, "--seed", 1, "--race",
                   device="--device=cuda")

    def test_a_file_that_cannot_be_read_exits_7(self):
        plan = self.plan("add")
        np.savez_compressed(self.folder / "x.npz", x=np.zeros(5, dtype=np.float32))
        self.wrong(7, "No such file", "run", self.folder / "none.plan", "--seed", 1)
        self.wrong(7, "none.npy", "run", plan, "--input", f"x={self.folder / 'none.npy'}")
        self.wrong(7, "savez_compressed", "run", plan, "--input",
                   f"x={self.folder / 'x.npz'}")
        (self.folder / "bad.pb").write_bytes(b"\xff\xff\xff")
        self.wrong(7, "no TensorProto", "run", plan, "--input", f"x={self.folder / 'bad.pb'}")
        (self.folder / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr'")
        self.wrong(7, "header is cut off", "run", plan, "--input", f"x={self.folder / 'bad.npy'}")

    def test_damaged_and_unfit_plans_exit_8(self):
        plan = self.plan("add")
        self.wrong(8, "the plan is for sm_90a, but this device is sm_80: rebuild it with "
                      "--target=sm_80", "run", plan, "--seed", 1, device="--device=emu:sm_80")
        self.wrong(8, "rebuild it with --target=sm_75", "run", plan, "--seed", 1,
                   device="--device=emu:sm_75")
        data = bytearray(plan.read_bytes())
        data[data.index(b".version")] ^= 1  # the code's, of which no other check knows
        plan.write_bytes(data)
        self.wrong(8, "hash does not match", "run", plan, "--seed", 1)
        self.wrong(8, "hash does not match", "inspect", plan, device=None)
        self.right("inspect", plan, "--skip-hash", device=None)

    def test_without_a_gpu_the_error_names_the_emulator(self):
        done = self.gpurun("run", self.plan("add"), "--seed", 1, device=None)
        if done.returncode != 0:  # there may be a GPU
            self.assertEqual(done.returncode, 6)
            self.assertIn("--device=emu", done.stderr)

    def test_inspect_counts_steps(self):
        text = self.right("inspect", self.plan("add"), "--json", device=None)
        plan = json.loads(text)
        wanted = {"launches": 2, "copies": 0, "fills": 0, "distinct_kernels": 1,
                  "peak_activation_bytes": None, "weight_bytes": 0}
        for key, value in wanted.items():
            self.assertEqual(plan[key], value, key)
            self.assertEqual(plan["programs"][0][key], value, key)
        self.assertIn("peak_activation_formula", plan)
        self.assertEqual(plan["inputs"],
                         [{"name": "x", "kind": "tensor", "dtype": "f32", "shape": ["n"]}])
        self.assertEqual(plan["programs"][0]["steps"][0],
                         {"kind": "LAUNCH", "kernel": "add_one", "nodes": "node (Add)"})
        self.assertIn("add_one", self.right("inspect", self.plan("add"), device=None))

    def test_bench_prints_median_p99_and_throughput(self):
        text = self.right("bench", self.plan("add"), "--runs", 5, "--warm-up", 1)
        for word in ("median:", "p99:", "throughput:"):
            self.assertIn(word, text)
        text = self.right("bench", self.plan("add"), "--runs", 2, "--warm-up", 1)
        seconds = {label: float(number) * {"us": 1e-6, "ms": 1e-3}[unit] for label, number, unit in
                   re.findall(r"(median|p99): +([0-9.]+) (us|ms)", text)}
        self.assertGreaterEqual(seconds["p99"], seconds["median"])

    def test_isolated_buffers_show_a_read_beyond_one(self):
        plan = self.plan("stray")
        self.right("run", plan, "--seed", 1)
        self.wrong(6, "out-of-bounds load of 4 bytes", "run", plan, "--seed", 1, "--isolate")
        self.right("run", self.plan("add"), "--seed", 1, "--isolate")

    def test_the_example_program_runs_a_plan(self):
        done = subprocess.run([BUILD / "bin" / "run_plan", self.plan("add:5"),
                               BUILD / "lib" / "libgpucc_emu.so"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, "y: 20 bytes, sum 10\n"), done.stderr)

    def test_statistics_of_the_emulator(self):
        text = self.right("run", self.plan("add"), "--seed", 1, "--stats", "--race", "--threads", 1)
        self.assertIn("launches 2", text)
        path = self.folder / "stats.json"
        self.right("run", self.plan("add"), "--seed", 1, f"--stats={path}")
        stats = json.loads(path.read_text())
        self.assertEqual(stats["launches"], sum(k["launches"] for k in stats["kernels"]))
        for kernel in stats["kernels"]:
            self.assertEqual(kernel["warp_instructions"], sum(kernel["instructions"].values()))
            self.assertGreater(kernel["global_bytes"], 0)
            self.assertLessEqual(kernel["global_bytes"], 32 * kernel["global_sectors"])
        self.wrong(7, "No such file", "run", self.plan("add"), "--seed", 1,
                   f"--stats={self.folder}/none/stats.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    options, rest = parser.parse_known_args()
    BUILD = options.build
    unittest.main(argv=[sys.argv[0], *rest])
