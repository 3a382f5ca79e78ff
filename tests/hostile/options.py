#!/usr/bin/env python3
"""What options name may be anything: files of assignments, folders of inputs, budgets, patterns, data
sets, files to write. gpucc and gpurun take it or say what is wrong with it, with the exit code that
the help lists; what they print of a model's names steers no terminal and is JSON where JSON is asked for.
"""
import argparse
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

BUILD = None
DIGITS = harness.ROOT / "examples" / "digits" / "digits.onnx"
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
NAMES = {"quotes": b"a\"b\\c'", "control": b"a\x01\x1b[2Jb\nnew\tl\x7f", "comment": b"*/ // \\",
         "unicode": "\u202eé漢\U0001f600\u2028".encode(), "no UTF-8": b"a\xff\xfe\xc3\x28",
         "long": b"n" * 20000}


def info(name, shape, kind=T.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def network(marker="@"):
    """A product, rows, a power and a product, with the marker in every name."""
    w = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    w, x, h, s, p, y = (f"{c}{marker}" for c in "wxhspy")
    nodes = [helper.make_node("MatMul", [x, w], [h], f"first{marker}"),
             helper.make_node("Softmax", [h], [s], f"rows{marker}"),
             helper.make_node("Pow", [s, "e"], [p], f"power{marker}"),
             helper.make_node("MatMul", [p, w], [y], f"last{marker}")]
    constants = [numpy_helper.from_array(np.random.default_rng(0).normal(size=(8, 8))
                                         .astype(np.float32), w),
                 numpy_helper.from_array(np.float32(2.5), "e")]
    graph = helper.make_graph(nodes, f"g{marker}", [info(x, [f"n{marker}", 8])], [info(y, None)],
                              constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


class Options(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.work = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def run_tool(self, tool, *command):
        done = subprocess.run([BUILD / "bin" / tool, *map(str, command)], capture_output=True,
                              stdin=subprocess.DEVNULL, cwd=self.work, timeout=600)
        self.assertNotRegex(done.stderr, rb"runtime error|Sanitizer")
        self.assertNotRegex(done.stderr, CONTROL)
        return done

    def expect(self, code, says, tool, *command):
        done = self.run_tool(tool, *command)
        self.assertEqual(done.returncode, code, (command, done.stderr[:500]))
        self.assertIn(says.encode(), done.stderr, command)
        return done

    def file(self, name, data):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def inputs(self, folder, array):
        harness.save_tensor(self.work / folder / "input_0.pb", array)
        return self.work / folder

    # ---- --load-precision and --save-precision ----

    def assignment(self):
        self.expect(0, "", "gpucc", DIGITS, "--emit=ir", "-o", "ir", "--precision=fp16",
                    "--save-precision=saved")
        return (self.work / "saved").read_text()

    def load(self, code, says, text, *options):
        path = self.file("assignment", text)
        self.expect(code, says, "gpucc", DIGITS, "--emit=ir", "-o", "ir",
                    f"--load-precision={path}", *options)

    def test_what_is_no_assignment_of_this_model_is_refused(self):
        saved = self.assignment()
        lines = saved.splitlines(keepends=True)
        none, other, more = "is no assignment", "is not for this model", "has more lines"
        self.load(0, "", saved)
        for text, says in (("", none), ("gpucc precision 1", none), (b"\xff" * 1000, none),
                           (saved.replace("precision 1", "precision 2"), none),
                           (saved.replace("\n", "\r\n"), none), (saved[:60], other),
                           (lines[0] + lines[2], other), (lines[0] + lines[1] * 2, other),
                           (saved.replace("fp16", "auto", 1), other),
                           (saved.replace("fp16", "int8", 1), other),
                           (saved.replace("conv1", "conv9", 1), other), (saved + lines[-1], more),
                           (lines[0] + lines[-1] * 100000, other),
                           (saved + "\0" + lines[-1], "is no text"), (b"\0" * 1000, "is no text")):
            self.load(2, says, text)
        self.expect(7, "directory", "gpucc", DIGITS, "--emit=ir", "--load-precision=.")
        self.expect(7, "No such file", "gpucc", DIGITS, "--emit=ir", "--load-precision=none")
        self.expect(2, "takes the place", "gpucc", DIGITS, "--emit=ir", "--load-precision=saved",
                    "--precision=fp16")

    def test_what_a_target_lacks_is_not_loaded(self):
        saved = self.assignment()
        for level, target in (("fp8", "sm_80"), ("bf16", "sm_75"), ("tf32", "sm_75"),
                              ("fp32x3", "sm_75"), ("fp8", "sm_90a,portable")):
            text = saved.replace("fp16", level)
            self.load(2, f"line 2 asks for {level}, which not all targets have", text,
                      f"--target={target}")
        self.load(0, "", saved.replace("fp16", "fp8"), "--target=sm_89")

    def test_where_an_assignment_cannot_be_written_is_said(self):
        for path, says in ((".", "directory"), ("none/saved", "No such file"),
                           ("/dev/full", "No space left")):
            self.expect(7, says, "gpucc", DIGITS, "--emit=ir", "-o", "ir", "--precision=fp16",
                        f"--save-precision={path}")

    # ---- --max-error, --calib and --keep ----

    def test_a_budget_is_a_number(self):
        for text in ("", "rel", "rel:", "abs:", "1e-2", "rel:-1", "rel:nan", "rel:inf", "rel:1e999",
                     "rel:1e-2x", "NONE", "rel:1e-2,abs:1"):
            self.expect(2, "wanted rel:E or abs:E", "gpucc", DIGITS, "--emit=ir",
                        "--precision=auto", f"--max-error={text}")
        for text in ("rel:0", "abs:0", "rel:1e-320", "abs:1e300"):
            self.expect(0, "numbers from a seed", "gpucc", DIGITS, "--emit=ir", "--precision=auto",
                        f"--max-error={text}")

    def measure(self, code, says, folder, *options):
        return self.expect(code, says, "gpucc", DIGITS, "--emit=ir", "--precision=auto",
                           "--max-error=rel:1e-2", f"--calib={folder}", *options)

    def test_a_folder_of_inputs_holds_inputs_of_the_model(self):
        x = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
        self.measure(0, "", self.inputs("good", x))
        for i in range(20):
            self.inputs(f"many/test_data_set_{i}", x)
        self.measure(0, "", self.work / "many")
        for name, array in (("shape", x[..., :7]), ("rank", x[0]), ("type", x.astype(np.float64))):
            self.measure(2, "but 'image' is f32[?x1x8x8]", self.inputs(name, array))
        self.inputs("mixed/test_data_set_0", x)
        self.inputs("mixed/test_data_set_1", x[..., :7])
        self.measure(2, "test_data_set_1", self.work / "mixed")
        (self.work / "empty").mkdir()
        self.measure(2, "is missing: wanted input_0.pb", self.work / "empty")
        self.measure(7, "this is no TensorProto", self.file("noise/input_0.pb", b"\xff" * 99).parent)
        (self.work / "folder" / "input_0.npy").mkdir(parents=True)
        self.measure(7, "not a file", self.work / "folder")
        self.measure(7, "No such file", "none")
        self.measure(7, "Not a directory", DIGITS)

    def test_a_file_of_numpy_holds_what_its_name_says(self):
        for name in "input_0.npy", "image.npy":
            for data in b"", b"x" * 256:
                folder = self.file(f"{len(data)}{name}/{name}", data).parent
                self.measure(7, "this is no numpy array", folder)
        self.file("bytes", b"x" * 256)
        self.expect(2, "have no type", "gpucc", DIGITS, "--emit=ir", "--freeze=image=bytes")

    def test_nobody_waits_for_who_writes_to_a_fifo(self):
        for path in "set/input_0.pb", "set/input_0.npy", "fifo":
            (self.work / path).parent.mkdir(exist_ok=True)
            os.mkfifo(self.work / path)
            if path != "fifo":
                self.measure(7, "not a file", "set")
                (self.work / path).unlink()
        self.expect(7, "not a regular file", "gpucc", "fifo", "--emit=ir")
        self.expect(2, "is no assignment", "gpucc", DIGITS, "--emit=ir", "--load-precision=fifo")
        self.expect(7, "not a file", "gpucc", DIGITS, "--emit=ir", "--freeze=image=fifo")
        for command in (["inspect", "fifo"], ["run", "fifo", "--device=emu"]):
            self.expect(7, "not a regular file", "gpurun", *command)

    def test_sizes_that_are_tried_are_no_more_than_there_is_time_for(self):
        """Elements of powers of two in rows of seven: no size does, and five axes of 512 do not fit."""
        nodes = [helper.make_node("Reshape", ["x", "s"], ["rows"]),
                 helper.make_node("MatMul", ["rows", "w"], ["y"])]
        constants = [numpy_helper.from_array(np.array([-1, 7]), "s"),
                     numpy_helper.from_array(np.ones((7, 8), np.float32), "w")]
        graph = helper.make_graph(nodes, "g", [info("x", list("abcde"))], [info("y", None)], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = self.file("sevens.onnx", model.SerializeToString())
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        self.expect(1, "the model does not run on the inputs", "gpucc", path, "--emit=ir",
                    "--precision=tf32", "--target=sm_80")
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used, 20)

    def test_archives_beside_data_sets_are_ignored(self):
        x = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
        self.file("beside/test_data_set_0.tar.gz", b"")
        self.inputs("beside/test_data_set_1", x)
        self.measure(0, "", self.work / "beside")
        self.file("alone/test_data_set_0.zip", b"")
        self.measure(0, "", self.inputs("alone", x))

    def test_nothing_is_lowered_on_outputs_that_tell_nothing(self):
        x = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
        for name, array in (("nan", x * np.nan), ("inf", x * np.inf), ("none", x[:0]),
                            ("one", np.where(x == x.max(), np.nan, x))):
            self.measure(2, "no output has a finite number", self.inputs(name, array))
        self.inputs("both/test_data_set_0", x * np.nan)
        self.inputs("both/test_data_set_1", x)
        self.measure(0, "", self.work / "both")

    def test_a_pattern_matches_something(self):
        for text, says in (("", "wanted PATTERN"), ("=", "wanted PATTERN"), ("x", "wanted PATTERN"),
                           ("=fp32", "wanted PATTERN"), ("*=", "wanted fp32"),
                           ("*=auto", "bf16 or fp8"), ("*=int8", "int8 needs"),
                           ("*=model", "wanted fp32"), ("[=fp32", "matches '['"),
                           ("\\=fp32", "matches '\\'"), ("*a" * 2000 + "=fp32", "matches '*a"),
                           ("Conv=fp32=fp16", "matches 'Conv=fp32'")):
            self.expect(2, says, "gpucc", DIGITS, "--emit=ir", "--precision=fp16",
                        f"--keep={text}")
        for text in ("*" * 5000, "[[:alpha:]]*", "?*"):
            self.expect(0, "", "gpucc", DIGITS, "--emit=ir", "--precision=fp16",
                        f"--keep={text}=fp32")

    def test_a_pattern_of_many_stars_ends_soon(self):
        model = network("a" * 5000)
        path = self.file("long.onnx", model.SerializeToString())
        self.expect(2, "matches", "gpucc", path, "--emit=ir", "--precision=fp16",
                    "--keep=" + "*a" * 500 + "b=fp32")

    # ---- names in what is printed ----

    def named(self, name):
        """A model with this name in all of its names; bytes that no string of Python holds, too."""
        blank = "@" * len(NAMES[name])
        data = network(blank).SerializeToString().replace(blank.encode(), NAMES[name])
        return self.file("named.onnx", data)

    def check_json(self, text):
        json.loads(text.decode())

    def test_names_steer_no_terminal_and_break_no_json(self):
        topics = "--explain=fusion,precision,memory,cost"
        for name in NAMES:
            path = self.named(name)
            lowered = "--precision=fp16", "--target=sm_80"
            plain = self.expect(0, "", "gpucc", path, topics, *lowered)
            self.assertNotRegex(plain.stdout, CONTROL, name)
            self.check_json(self.expect(0, "", "gpucc", path, topics, "--explain-format=json",
                                        *lowered).stdout)
            for form in ("ir", "cuda"):
                text = self.expect(0, "", "gpucc", path, f"--emit={form}", "--target=sm_80").stdout
                self.assertNotRegex(text.replace(b"\t", b""), CONTROL, name)
            self.expect(0, "", "gpucc", path, "-o", "plan", *lowered, "--save-precision=saved")
            self.expect(0, "", "gpucc", path, "-o", "again", "--load-precision=saved",
                        "--target=sm_80")
            self.assertEqual((self.work / "plan").read_bytes(), (self.work / "again").read_bytes())
            device = "plan", "--device=emu"
            for command in (["inspect", "plan"], ["compare", path, *device],
                            ["run", *device, "--seed", "1", "--stats=counted"]):
                done = self.expect(0, "", "gpurun", *command)
                self.assertNotRegex(done.stdout, CONTROL, name)
            self.check_json((self.work / "counted").read_bytes())
            for command in (["inspect", "plan", "--json"], ["compare", path, *device, "--json"]):
                self.check_json(self.expect(0, "", "gpurun", *command).stdout)

    def test_names_are_comments_that_end(self):
        for name in NAMES:
            self.expect(0, "", "gpucc", self.named(name), "--emit=ptx", "--target=sm_80")
            text = self.expect(0, "", "gpucc", self.work / "named.onnx", "--emit=ir").stdout
            text = re.sub(rb'opaque "(?:[^"\\]|\\.)*"', b'opaque "w"', text)
            self.expect(0, "", "gpucc", self.file("named.ir", text), "--emit=ir")

    def test_json_stays_json_with_check(self):
        done = self.expect(0, "", "gpucc", DIGITS, "--check", "--explain=cost",
                           "--explain-format=json")
        self.check_json(done.stdout)

    # ---- gpurun ----

    def compiled(self):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Exp", ["y"], ["z"]),
                 helper.make_node("ArgMax", ["z"], ["i"], axis=1)]
        w = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
        graph = helper.make_graph(nodes, "g", [info("x", ["n", 8])],
                                  [info("y", None), info("z", None), info("i", None, T.INT64)],
                                  [numpy_helper.from_array(w, "w")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = self.file("m.onnx", model.SerializeToString())
        self.expect(0, "", "gpucc", path, "-o", "m.plan", "--target=sm_80")
        return path

    def data_set(self, name, y, z, i):
        x = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
        folder = self.inputs(name, x)
        for k, array in enumerate((y, z, i)):
            harness.save_tensor(folder / f"output_{k}.pb", array)
        return folder

    def test_references_of_other_sizes_are_differences(self):
        self.compiled()
        made = self.inputs("made", np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32))
        self.expect(0, "", "gpurun", "run", "m.plan", "--inputs", made, "--outputs", made,
                    "--device=emu")
        y, z, i = (harness.load_tensor(made / f"output_{k}.pb") for k in range(3))

        def compare(code, says, *outputs, more=("--rtol", "1e-4")):
            folder = self.data_set("set", *outputs)
            self.expect(code, says, "gpurun", "compare", folder, "m.plan", "--device=emu", *more)

        compare(0, "", y, z, i)
        compare(4, "'z' has other sizes: f32[3x8], model f32[2x8]", y, z[:2], i)
        compare(4, "'z' has other sizes: f32[3x8], model f32[1x3x8]", y, z[None], i)
        compare(4, "'y' has other sizes", y[:0], z, i)
        compare(0, "", y, z[:2], i, more=())
        compare(4, "'y' is off by inf", y * np.nan, z, i)
        compare(2, "no value of it", y[:1], z[:1], i[:1])
        self.file("set/output_1.pb", b"\xff" * 300)
        self.expect(7, "this is no TensorProto", "gpurun", "compare", "set", "m.plan",
                    "--device=emu")
        (self.work / "set" / "output_2.pb").unlink()
        self.expect(7, "", "gpurun", "compare", "set", "m.plan", "--device=emu")

    def test_models_and_plans_that_do_not_belong_together_are_refused(self):
        path = self.compiled()
        device = "--device=emu"
        self.expect(2, "the plan has no input 'image'", "gpurun", "compare", DIGITS, "m.plan", device)
        self.expect(1, "not an ONNX model", "gpurun", "compare", "m.plan", "m.plan", device)
        self.expect(8, "no gpucc plan", "gpurun", "compare", path, path, device)
        self.expect(2, "the input is f32[?x8]", "gpurun", "compare", path, "m.plan", device,
                    "--shape", "x=3x9")
        self.expect(0, "", "gpurun", "compare", path, "m.plan", device, "--shape", "x=0x8")

    def test_where_counters_cannot_be_written_is_said(self):
        self.compiled()
        run = "run", "m.plan", "--seed", "1", "--device=emu"
        for path, says in (("none/x", "No such file"), (".", "directory"), ("", "No such file"),
                           ("/dev/full", "No space left")):
            self.expect(7, says, "gpurun", *run, f"--stats={path}")
        self.expect(2, "need --device=emu", "gpurun", *run[:-1], "--stats")

    def test_a_full_disk_is_noticed(self):
        self.compiled()
        for tool, command in (("gpucc", [DIGITS, "--explain=fusion"]), ("gpucc", ["--print-ops"]),
                              ("gpucc", [DIGITS, "--explain=cost", "--explain-format=json"]),
                              ("gpucc", [DIGITS, "--check"]), ("gpurun", ["inspect", "m.plan"]),
                              ("gpurun", ["run", "m.plan", "--seed", "1", "--device=emu"])):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([BUILD / "bin" / tool, *map(str, command)], stdout=full,
                                      stderr=subprocess.PIPE, cwd=self.work)
            self.assertEqual(done.returncode, 7, command)
            self.assertIn(b"No space left", done.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    known, rest = parser.parse_known_args()
    BUILD = known.build.resolve()
    unittest.main(argv=sys.argv[:1] + rest)
