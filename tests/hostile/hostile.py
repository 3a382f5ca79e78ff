#!/usr/bin/env python3
"""Damaged and malicious files: gpucc and gpurun refuse them with a reason, or do what they say.

    hostile.py --build build                   a sample, under a minute
    hostile.py --build build --count 20000     more of it; --seed for another one
    hostile.py --build build --only NAME       cases whose name contains NAME, with messages
    hostile.py ... --keep FOLDER               keeps the files that were handled wrongly
"""
import argparse
import collections
import hashlib
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

import onnx

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import crafted  # noqa: E402
import harness  # noqa: E402

SECONDS, BYTES = 20, 2 << 30
COMPILE_CODES, RUN_CODES = {0, 1, 3, 5, 7}, {0, 1, 3, 5, 6, 8}
NUMBERS = (0, 1, 2, 3, 7, 127, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**64 - 1)
FORMS = (["--emit=ir"], ["--emit=cuda", "--target=sm_90a"])


class Verdict(Exception):
    """What a program did that it must not do."""


def execute(command, codes, scale):
    """Runs a program within its limits; its exit code and messages, or a Verdict."""
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1",
                   "ASAN_OPTIONS": "quarantine_size_mb=16:allocator_may_return_null=1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=log,
                                   stdin=subprocess.DEVNULL, env=environment)
        timer = threading.Timer(SECONDS * scale, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = code = os.waitstatus_to_exitcode(status)
        log.seek(0)
        messages = log.read(1 << 20)
    text = messages.decode(errors="replace")
    if b"runtime error" in messages or b"Sanitizer" in messages:
        raise Verdict(f"sanitizer: {text[:3000]}")
    if code == -signal.SIGKILL:
        raise Verdict(f"no answer within {SECONDS * scale} s")
    if code not in codes:
        raise Verdict(f"exit code {code}: {text[:600]}")
    if code and not text.strip():
        raise Verdict(f"exit code {code} in silence")
    if len(messages) >= 1 << 20:
        raise Verdict("a megabyte of messages")
    if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", messages):
        raise Verdict(f"control characters in the messages: {text[:300]!r}")
    if usage.ru_maxrss * 1024 > BYTES * scale:
        raise Verdict(f"{usage.ru_maxrss} KiB of memory")
    return code, text


# ---- damage: each takes (random, data, other data) and returns data -----------------------------

def damage_bytes(rng, data, other):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        if not data:
            break
        at = rng.randrange(len(data))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at:at + rng.randrange(1, 40)]
        elif kind == 4:
            data[at:at] = rng.choice((b"\xff" * 9 + b"\x01", b"\x80" * 12, b"\x00" * 8))
        elif kind == 5:
            start = rng.randrange(len(other))
            data[at:at + rng.randrange(60)] = other[start:start + rng.randrange(60)]
        else:
            data[at:at + 8] = rng.choice(NUMBERS).to_bytes(8, "little")
    return bytes(data)


def number(rng):
    value = rng.choice(NUMBERS) if rng.random() < 0.6 else rng.randrange(20)
    value = -value if rng.random() < 0.4 else value
    return max(-2**63, min(2**63 - 1, value))


def damage_attribute(rng, attribute):
    if attribute.HasField("i"):
        attribute.i = number(rng)
    elif attribute.HasField("f"):
        attribute.f = rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    elif attribute.HasField("s"):
        attribute.s = rng.choice((b"", b"\xff\xfe", b"NOTSET", b"\x1b[2J", attribute.s * 3))
    elif attribute.ints:
        kind = rng.randrange(3)
        if kind == 0:
            attribute.ints[rng.randrange(len(attribute.ints))] = number(rng)
        elif kind == 1:
            attribute.ints.append(number(rng))
        else:
            attribute.ints.pop()
    if rng.random() < 0.1:
        attribute.type = rng.randrange(15)


def damage_dims(rng, dims):
    if dims:
        dims[rng.randrange(len(dims))] = number(rng)
    else:
        dims.append(number(rng))


def damage_model(rng, data, other):
    """One or more changes to what the model says; the file stays well-formed."""
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception:  # a folder of seeds may hold anything
        return damage_bytes(rng, data, other)
    graph = model.graph
    names = [n for node in graph.node for n in (*node.input, *node.output)] or ["x"]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kind = rng.randrange(12)
        node = rng.choice(graph.node) if graph.node else None
        if kind < 3 and node and node.attribute:
            damage_attribute(rng, rng.choice(node.attribute))
        elif kind == 3 and node and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(["", *names])
        elif kind == 4 and node:
            del node.input[rng.randrange(len(node.input) + 1):]
        elif kind == 5 and node:
            node.op_type = rng.choice(graph.node).op_type
        elif kind == 6 and node and node.attribute:
            node.attribute.pop()
        elif kind == 7 and graph.initializer:
            tensor = rng.choice(graph.initializer)
            damage_dims(rng, tensor.dims)
        elif kind == 8 and graph.initializer:
            tensor = rng.choice(graph.initializer)
            tensor.data_type = rng.randrange(28)
            if rng.random() < 0.3:
                tensor.raw_data = damage_bytes(rng, tensor.raw_data or b"0123456789", other)
        elif kind == 9 and graph.input:
            shape = rng.choice(graph.input).type.tensor_type.shape
            if shape.dim and rng.random() < 0.8:
                dim = rng.choice(shape.dim)
                dim.dim_value = number(rng)
                if rng.random() < 0.5:
                    dim.dim_param = rng.choice(("n", "", "a b", "\n"))
            else:
                shape.dim.add(dim_value=number(rng))
        elif kind == 10 and graph.input:
            rng.choice(graph.input).type.tensor_type.elem_type = rng.randrange(28)
        elif kind == 11 and model.opset_import:
            model.opset_import[0].version = rng.choice((0, 1, 5, 6, 7, 9, 11, 13, 18, 22, 99, -1))
    return model.SerializeToString()


def damage_text(rng, data, other):
    lines = data.decode(errors="replace").split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        tokens = re.findall(r"-?\d+|\w+|\s+|.", lines[at])
        kind = rng.randrange(6)
        if kind == 0:
            lines.insert(at, rng.choice(lines))
        elif kind == 1 and len(lines) > 1:
            del lines[at]
        elif tokens:
            places = [i for i, t in enumerate(tokens) if re.fullmatch(r"-?\d+", t)]
            place = rng.choice(places) if places and kind < 5 else rng.randrange(len(tokens))
            tokens[place] = (str(number(rng)) if kind < 5 else
                             rng.choice(re.findall(r"\w+|.", other.decode(errors="replace"))))
            lines[at] = "".join(tokens)
    return "\n".join(lines).encode()


# ---- what is done with a file -------------------------------------------------------------------

class Attack:
    def __init__(self, options, work):
        self.bin = pathlib.Path(options.build).resolve() / "bin"
        self.options, self.work = options, work
        self.scale = 3 if options.slow else 1
        self.codes, self.failures = collections.Counter(), []

    def case(self, name, data, file, seed=0):
        """One file through gpucc; when it still compiles, sometimes through all the rest, too."""
        rng = random.Random(f"{name}/{seed}")
        digest = hashlib.sha1(f"{name}{seed}".encode()).hexdigest()[:12]
        folder = self.work / digest
        folder.mkdir()
        path, plan = folder / file, folder / "made.plan"
        path.write_bytes(data)
        try:
            form = FORMS[rng.randrange(len(FORMS))] if seed else FORMS[1]
            code, text = execute([self.bin / "gpucc", path, *form], COMPILE_CODES, self.scale)
            self.codes["gpucc", code] += 1
            if self.options.only:
                print(f"{name}: {code} {text[:300]}")
            if code == 0 and len(data) < 10**5 and rng.random() < self.options.plans:
                code, _ = execute([self.bin / "gpucc", path, "-o", plan, "--target=portable", "-j1"],
                                  COMPILE_CODES, self.scale)
                self.codes["plan", code] += 1
                if code == 0:
                    execute([self.bin / "gpurun", "inspect", plan], {0}, self.scale)
        except Verdict as verdict:
            self.fail(name, seed, verdict, path)
        shutil.rmtree(folder)

    def plan(self, name, data, seed):
        """One damaged plan through gpurun. Kernels and their arguments do as they are told, on a
        GPU as on the emulator, so that what a damaged plan computes is not looked at: only loading."""
        path = self.work / f"{seed}.plan"
        path.write_bytes(data)
        try:
            for command in (["inspect", path, "--skip-hash"], ["inspect", path, "--json"]):
                code, _ = execute([self.bin / "gpurun", *command], RUN_CODES, self.scale)
                self.codes["gpurun", code] += 1
        except Verdict as verdict:
            self.fail(name, seed, verdict, path)
        path.unlink(missing_ok=True)

    def fail(self, name, seed, verdict, path):
        self.failures.append(f"{name} (seed {seed}): {verdict}")
        print(f"FAILED {self.failures[-1]}", flush=True)
        if self.options.keep:
            keep = pathlib.Path(self.options.keep)
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, keep / f"{seed}-{path.name}")


def graph_text(path):
    """(name, bytes) of a test's graph before what is tested, as gpucc takes it."""
    text = path.read_text().split("# EXPECT")[0]
    text = re.sub(r"(?m)^[;#].*\n", "", text)
    return path.name, (text if text.startswith("graph") else 'graph "g"\n' + text).encode()


def digits():
    path = harness.ROOT / "examples" / "digits" / "digits.onnx"
    return path.name, path.read_bytes()


def seeds(options):
    """(name, bytes) of models, and of graphs in text form"""
    data = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
    models = sorted(data.glob("node/*/model.onnx")) + sorted(data.glob("simple/*/model.onnx"))
    for folder in options.models:
        models += sorted(pathlib.Path(folder).rglob("*.onnx"))
    texts = [graph_text(path) for path in sorted((harness.ROOT / "tests").glob("*/*.ir"))]
    return [(f"{m.parent.name}/{m.name}", m.read_bytes()) for m in models] + [digits()], texts


def jobs(options, attack):
    """Functions without arguments, each a case."""
    for name, data, file in crafted.all_cases():
        if options.only is None or options.only in name:
            yield lambda n=name, d=data, f=file: attack.case(n, d, f)
    if options.only is not None:
        return
    models, texts = seeds(options)
    plans = []
    for name, data in (digits(), *texts[::40]):
        made = attack.work / "made"
        made.write_bytes(data)
        code, _ = execute([attack.bin / "gpucc", made, "-o", f"{made}.plan", "--target=portable"],
                          {0, 6}, attack.scale)
        if code == 0:
            plans.append(pathlib.Path(f"{made}.plan").read_bytes())
    for i in range(options.seed, options.seed + options.count):
        yield lambda i=i: damaged(attack, i, models, texts, plans)


def damaged(attack, seed, models, texts, plans):
    rng = random.Random(seed)
    kind = rng.randrange(10)
    if kind == 9 and plans:
        attack.plan("plan", damage_bytes(rng, rng.choice(plans), rng.choice(plans)), seed)
        return
    files, damage, file = ((texts, damage_text, "model.ir") if kind < 2 else
                           (models, damage_bytes if kind < 4 else damage_model, "model.onnx"))
    (name, data), (_, other) = rng.choice(files), rng.choice(files)
    attack.case(f"{damage.__name__} of {name}", damage(rng, data, other), file, seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--count", type=int, default=400, help="damaged files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plans", type=float, default=0.05, help="part of survivors compiled fully")
    parser.add_argument("--models", action="append", default=[], help="a folder of more models")
    parser.add_argument("--only")
    parser.add_argument("--keep")
    parser.add_argument("--slow", action="store_true", help="three times the limits: sanitizers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        attack = Attack(options, pathlib.Path(work))
        for _ in harness.parallel(lambda job: job(), jobs(options, attack)):
            pass
    for (program, code), count in sorted(attack.codes.items()):
        print(f"{program} exit {code}: {count}")
    print(f"{len(attack.failures)} failures")
    return 1 if attack.failures else 0


if __name__ == "__main__":
    sys.exit(main())
