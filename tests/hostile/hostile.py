#!/usr/bin/env python3
"""Damaged and malicious files: gpucc and gpurun refuse them with a reason, or do what they say.

    hostile.py --build build                   a sample, about a minute
    hostile.py --build build --all             1,000 models, 1,000 plans, 1,000 graphs in text form
    hostile.py --build build --models 5000 --plans 0 --texts 0 --seed 7
    hostile.py --build build --only NAME       crafted cases whose name contains NAME, with messages
    hostile.py ... --keep FOLDER               keeps the files that were handled wrongly

A program has 20 seconds of computing and 2 GiB of addresses: a size that asks for more ends in exit 5.

model   a damaged ONNX file. Where gpucc makes a plan of it, the plan is run on the emulator, and its
        outputs are the evaluator's on the imported graph; or both refuse the shapes.
plan    a damaged plan, which is run. With wrong hashes it is refused; the others have their hashes
        repaired, so that the checks behind them are reached: such a plan is another program, and runs
        to its own end or is refused. Where the damage does not matter, the answer is the old one.
text    a damaged graph in text form, compiled.
"""
import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import numpy as np
import onnx

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import crafted  # noqa: E402
import damage  # noqa: E402
import harness  # noqa: E402

SECONDS, BYTES = 20, 2 << 30
PATIENCE = 6  # seconds of the clock for one of computing: other programs run, too
COMPILE_CODES, RUN_CODES = {0, 1, 3, 5, 7}, {0, 2, 3, 5, 6, 8}
FORMS = (["--emit=ir"], ["--emit=cuda", "--target=sm_90a"])
SEEDS = harness.ROOT / "tests" / "fuzz" / "seeds"
DTYPES = {"f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "bool": 9, "f16": 10,
          "f64": 11, "u32": 12, "u64": 13, "bf16": 16}
PLANS = ("digits", "MatMul", "Softmax", "shape_arithmetic", "Conv_same", "TopK", "ScatterND",
         "Concat", "Split", "LayerNormalization", "CumSum", "Attention", "Resize_cubic", "Loop",
         "Loop_free", "If", "Scan", "LSTM", "NonZero", "Compress", "NonMaxSuppression", "Unique",
         "SplitToSequence")


class Verdict(Exception):
    """What a program did that it must not do."""


def run_limited(command, scale, address_space):
    """(exit code, messages, KiB of memory) of a program; killed when it computes, or waits, too long.
    """
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1",
                   "ASAN_OPTIONS": "quarantine_size_mb=16:allocator_may_return_null=1:"
                                   f"max_allocation_size_mb={BYTES >> 20}"}
    limit = ["prlimit", f"--cpu={SECONDS * scale}", "--core=0"]
    limit += [f"--as={address_space}", "--"] if address_space else ["--"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(limit + [str(c) for c in command], stdout=subprocess.DEVNULL,
                                   stderr=log, stdin=subprocess.DEVNULL, env=environment)
        timer = threading.Timer(PATIENCE * SECONDS * scale, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = code = os.waitstatus_to_exitcode(status)
        log.seek(0)
        return code, log.read(1 << 20), usage.ru_maxrss


# ---- inputs of a run -----------------------------------------------------------------------------

def some_values(rng, dtype, count):
    """Raw bytes of a tensor: small numbers, which are also sensible indices."""
    random_state = np.random.default_rng(rng.randrange(2**32))
    if dtype == "bf16":
        return (random_state.random(count, np.float32) - 0.5).view(np.uint32) >> 16
    if dtype[0] == "f":
        return (random_state.random(count) * 2 - 1).astype(f"f{int(dtype[1:]) // 8}")
    high = 2 if dtype == "bool" else 4
    width = 1 if dtype == "bool" else int(dtype[1:]) // 8
    return random_state.integers(0, high, count).astype(f"u{width}")


def write_inputs(rng, inspected, folder):
    """input_0.pb, … for what a plan says of its inputs; False when there is no way to make them."""
    sizes = {}
    for i, value in enumerate(inspected["inputs"]):
        if value["kind"] != "tensor" or value["dtype"] not in DTYPES:
            return False
        dims = [d if isinstance(d, int) else sizes.setdefault(d, rng.randrange(1, 6))
                for d in value["shape"]]
        count = int(np.prod(dims, dtype=object)) if dims else 1
        if count > 10**6:
            return False
        values = some_values(rng, value["dtype"], count)
        if value["dtype"] == "bf16":
            values = values.astype(np.uint16)
        tensor = onnx.TensorProto(dims=dims, data_type=DTYPES[value["dtype"]],
                                  raw_data=values.tobytes())
        (folder / f"input_{i}.pb").write_bytes(tensor.SerializeToString())
    return True


def largest(inspected, folder):
    """The largest magnitude among the float outputs of a run, for the tolerance."""
    top = 0.0
    for i, value in enumerate(inspected["outputs"]):
        path = folder / f"output_{i}.pb"
        try:
            arrays = harness.load_arrays(path, value["kind"]) if path.exists() else []
        except ValueError:
            continue  # no elements, but dims beyond NumPy's
        for array in arrays:
            if array.size and array.dtype.kind in "fV":
                array = np.abs(array.astype(np.float64))
                top = max(top, float(array[np.isfinite(array)].max(initial=0)))
    return top


# ---- what is done with a file -------------------------------------------------------------------

class Attack:
    def __init__(self, options, work):
        self.bin = pathlib.Path(options.build).resolve() / "bin"
        self.options, self.work = options, work
        self.scale = 3 if options.slow else 1
        self.counts, self.failures = collections.Counter(), []

    def execute(self, command, codes):
        """Runs a program within its limits; its exit code and messages, or a Verdict."""
        # A sanitizer maps terabytes: there the memory in use is all that can be judged.
        space = None if self.options.slow else BYTES
        code, messages, kibibytes = run_limited(command, self.scale, space)
        text = messages.decode(errors="replace")
        # An allocation that a sanitizer refuses is one that malloc refuses.
        reports = re.sub(rb".*WARNING: AddressSanitizer failed to allocate.*", b"", messages)
        if b"runtime error" in reports or b"Sanitizer" in reports:
            raise Verdict(f"sanitizer: {text[:3000]}")
        if code in (-signal.SIGKILL, -signal.SIGXCPU):
            raise Verdict(f"no answer within {SECONDS * self.scale} s: {command[1:3]}")
        if code not in codes:
            raise Verdict(f"exit code {code}: {text[:600]}")
        if code and not text.strip():
            raise Verdict(f"exit code {code} in silence")
        if len(messages) >= 1 << 20:
            raise Verdict("a megabyte of messages")
        if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", messages):
            raise Verdict(f"control characters in the messages: {text[:300]!r}")
        if kibibytes * 1024 > BYTES * self.scale:
            raise Verdict(f"{kibibytes} KiB of memory")
        return code, text

    def gpucc(self, what, *arguments):
        code, text = self.execute([self.bin / "gpucc", *arguments], COMPILE_CODES)
        self.counts[f"{what}: gpucc exit {code}"] += 1
        return code, text

    def attempt(self, name, seed, data, file, function):
        """function(folder, path) with data in a file of a folder of its own."""
        folder = self.work / hashlib.sha1(f"{name}{seed}".encode()).hexdigest()[:12]
        folder.mkdir()
        (folder / "weights.bin").write_bytes(bytes(4096))
        path = folder / file
        path.write_bytes(data)
        try:
            function(folder, path)
        except Verdict as verdict:
            self.failures.append(f"{name} (seed {seed}): {verdict}")
            print(f"FAILED {self.failures[-1]}", flush=True)
            if self.options.keep:
                keep = pathlib.Path(self.options.keep)
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, keep / f"{seed}-{file}")
        shutil.rmtree(folder)

    def crafted(self, name, data, file):
        def check(folder, path):
            code, text = self.gpucc("crafted", path, *FORMS[1])
            if self.options.only:
                print(f"{name}: {code} {text[:300]}")
            if code == 0 and len(data) < 10**5 and file == "model.onnx":
                self.model(random.Random(name), folder, path, "crafted")
        self.attempt(name, 0, data, file, check)

    def model(self, rng, folder, path, what="model"):
        """One model through everything; what runs must be right."""
        plan = folder / "made.plan"
        code, _ = self.gpucc(what, path, "-o", plan, "--target=portable", "-j1")
        if code:
            return
        done = subprocess.run([self.bin / "gpurun", "inspect", plan, "--json"], capture_output=True)
        if done.returncode:
            raise Verdict(f"gpucc's plan: gpurun exit {done.returncode}: {done.stderr[:300]}")
        inspected = json.loads(done.stdout)
        if not write_inputs(rng, inspected, folder):
            self.counts[f"{what}: not run for its inputs"] += 1
            return
        code, text = self.execute([self.bin / "gpurun", "run", plan, "--inputs", folder,
                                   "--outputs", folder, "--device=emu", "--threads", "1"],
                                  RUN_CODES - {8})
        self.counts[f"{what}: gpurun exit {code}"] += 1
        if code in (0, 2, 6) and all(o["kind"] == "tensor" for o in inspected["outputs"]):
            self.judge(path, inspected, folder, code, text)

    def judge(self, path, inspected, folder, code, text):
        """The evaluator's word on a run that ended with this code."""
        done = subprocess.run([self.bin / "onnx_eval", path, "--rtol", "1e-3", "--atol",
                               str(1e-4 * largest(inspected, folder) + 1e-6), folder],
                              capture_output=True, text=True, errors="replace",
                              timeout=PATIENCE * SECONDS * self.scale)
        verdict = (done.stdout.strip().splitlines() or ["nothing"])[-1]
        if "beyond all tensors" in verdict or "its result is larger than" in verdict:
            return  # the evaluator computes whole tensors, a kernel what is needed of them
        refused = "cannot be read" not in verdict
        if (code == 0 and done.returncode) or (code and not refused):
            raise Verdict(f"gpurun exit {code} {text.strip()[:200]}; the evaluator: {verdict[:300]}")

    def text(self, rng, folder, path):
        code, _ = self.gpucc("text", path, *FORMS[rng.randrange(len(FORMS))])
        if code == 0 and rng.random() < 0.1:
            self.gpucc("text", path, "-o", folder / "made.plan", "--target=portable", "-j1")

    def run_plan(self, plan, outputs):
        outputs.mkdir(exist_ok=True)
        code, text = self.execute([self.bin / "gpurun", "run", plan, "--seed", "1", "--outputs",
                                   outputs, "--device=emu", "--threads", "1"], RUN_CODES)
        return code, text, [p.read_bytes() for p in sorted(outputs.glob("output_*.pb"))]

    def plan(self, rng, folder, path, repaired, answer):
        self.execute([self.bin / "gpurun", "inspect", path, "--json"], {0, 8})
        code, text, outputs = self.run_plan(path, folder / "outputs")
        same = code == 0 and outputs == answer
        outcome = "the old answer" if same else "another answer" if code == 0 else f"exit {code}"
        self.counts[f"plan{', repaired' if repaired else ''}: {outcome}"] += 1
        if code == 0 and not same and not repaired:
            raise Verdict("another answer in spite of wrong hashes")


# ---- the files ----------------------------------------------------------------------------------

def graph_text(path):
    """(name, bytes) of a test's graph before what is tested, as gpucc takes it."""
    text = path.read_text().split("# EXPECT")[0]
    text = re.sub(r"(?m)^[;#].*\n", "", text)
    return path.name, (text if text.startswith("graph") else 'graph "g"\n' + text).encode()


def model_seeds(folders):
    """(name, bytes): the fuzzer's seeds, ONNX's own node tests, an example, and other folders."""
    data = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
    paths = sorted((SEEDS / "import").glob("*.onnx")) * 5
    paths += sorted(data.glob("node/*/model.onnx")) + sorted(data.glob("simple/*/model.onnx"))
    paths.append(harness.ROOT / "examples" / "digits" / "digits.onnx")
    for folder in folders:
        paths += sorted(pathlib.Path(folder).rglob("*.onnx"))
    return [(f"{p.parent.name}/{p.name}", p.read_bytes()) for p in paths]


def plan_seeds(attack):
    """(name, bytes, outputs of a run) of plans that are in order."""
    made = []
    for name in PLANS:
        model = (harness.ROOT / "examples/digits/digits.onnx" if name == "digits" else
                 SEEDS / "import" / f"{name}.onnx")
        plan = attack.work / f"{name}.plan"
        code, text = attack.execute([attack.bin / "gpucc", model, "-o", plan, "--target=portable"],
                                    {0})
        code, text, outputs = attack.run_plan(plan, attack.work / name)
        if code:
            raise SystemExit(f"{name}: {text}")
        made.append((name, plan.read_bytes(), outputs))
    return made


def jobs(options, attack):
    """Functions without arguments, each a case. A case is its seed: each can be repeated alone."""
    for name, data, file in crafted.all_cases():
        if options.only is None or options.only in name:
            yield lambda n=name, d=data, f=file: attack.crafted(n, d, f)
    if options.only is not None:
        return
    models = model_seeds(options.folder)
    texts = [graph_text(p) for p in sorted((harness.ROOT / "tests").glob("*/*.ir"))]
    plans = plan_seeds(attack) if options.plans else []

    def model(seed):
        rng = random.Random(f"model {seed}")
        (name, data), (_, other) = rng.choice(models), rng.choice(models)
        change = damage.damage_bytes if rng.random() < 0.25 else damage.damage_model
        attack.attempt(f"{change.__name__} of {name}", seed, change(rng, data, other), "model.onnx",
                       lambda folder, path: attack.model(rng, folder, path))

    def text(seed):
        rng = random.Random(f"text {seed}")
        (name, data), (_, other) = rng.choice(texts), rng.choice(texts)
        attack.attempt(name, seed, damage.damage_text(rng, data, other), "model.ir",
                       lambda folder, path: attack.text(rng, folder, path))

    def plan(seed):
        rng = random.Random(f"plan {seed}")
        (name, data, answer), (_, other, _) = rng.choice(plans), rng.choice(plans)
        repaired = seed % 2 == 0
        change = damage.damage_bytes if rng.random() < 0.2 else damage.damage_plan

        def check(folder, path):
            if repaired:
                subprocess.run([attack.bin / "repair_plan", path], check=True)
            attack.plan(rng, folder, path, repaired, answer)
        attack.attempt(f"{change.__name__} of {name}", seed, change(rng, data, other), "it.plan",
                       check)

    for function, count in (model, options.models), (plan, options.plans), (text, options.texts):
        for seed in range(options.seed, options.seed + count):
            yield lambda f=function, s=seed: f(s)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--models", type=int, default=150, help="damaged models")
    parser.add_argument("--plans", type=int, default=200, help="damaged plans")
    parser.add_argument("--texts", type=int, default=80, help="damaged graphs in text form")
    parser.add_argument("--all", action="store_true", help="1,000 of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", action="append", default=[], help="a folder of more models")
    parser.add_argument("--only")
    parser.add_argument("--keep")
    parser.add_argument("--slow", action="store_true", help="three times the limits: sanitizers")
    options = parser.parse_args()
    if options.all:
        options.models = options.plans = options.texts = 1000
    with tempfile.TemporaryDirectory() as work:
        attack = Attack(options, pathlib.Path(work))
        for _ in harness.parallel(lambda job: job(), jobs(options, attack)):
            pass
    for what, count in sorted(attack.counts.items()):
        print(f"{what}: {count}")
    print(f"{len(attack.failures)} failures")
    return 1 if attack.failures else 0


if __name__ == "__main__":
    sys.exit(main())
