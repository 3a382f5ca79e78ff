#!/usr/bin/env python3
"""Every allocation of gpucc and gpurun fails once, alone and with all that follow.

    out_of_memory.py --build build         every allocation for small models, some for larger ones
    out_of_memory.py --build build --all   every allocation

A program that did not get its memory says so and exits with 5, having freed all it has; or it does
without (a cache entry that is not kept), and its output is what it would have been.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

SEEDS = harness.ROOT / "tests" / "fuzz" / "seeds" / "import"
DIGITS = harness.ROOT / "examples" / "digits" / "digits.onnx"
MODELS = ("MatMul", "function", "shape_arithmetic", "tensor_sparse", "Conv_same", "TopK",
          "Loop_free", "If", "LSTM", "NonZero", "SplitToSequence")
SMALL, LIMIT = 400, 5  # allocations; exit code


class Program:
    """One command whose allocations fail. output: the file it writes, or None."""

    def __init__(self, options, name, work, command, output, **environment):
        self.name, self.work, self.command, self.output = name, work, command, output
        self.environment = environment
        self.library = pathlib.Path(options.build) / "tests" / "hostile" / "libfail_malloc.so"

    def run(self, at, all_behind):
        """(exit code, messages, allocations, failed ones, where those left were made, output)"""
        tag = f"{at}-{int(all_behind)}"
        report, output = self.work / f"{tag}.txt", self.work / f"{tag}.out"
        command = [str(c).replace("OUTPUT", str(output)) for c in self.command]
        done = subprocess.run(
            command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
            env={**os.environ, **self.environment, "LD_PRELOAD": str(self.library.resolve()),
                 "FAIL_AT": str(at), "FAIL_ALL": str(int(all_behind)),
                 "FAIL_REPORT": str(report)})
        words = report.read_text().split() if report.exists() else ["0"] * 3
        count, failed = map(int, words[:2])
        data = b""
        if self.output and output.exists():
            data = output.read_bytes() if output.is_file() else b"".join(
                p.read_bytes() for p in sorted(output.iterdir()))
        messages = done.stderr.decode(errors="replace").strip()
        return done.returncode, messages, count, failed, words[3:], data

    def check(self, at, all_behind, wanted):
        code, messages, _, failed, left, data = self.run(at, all_behind)
        where = f"{self.name}, allocation {at}{' and all behind' if all_behind else ''}"
        if code not in (0, LIMIT) or (code == LIMIT and not messages):
            return f"{where}: exit {code}: {messages[:300]}"
        if code == 0 and data != wanted:
            return f"{where}: exit 0, but the output is another"
        if left:
            return f"{where}: memory is left that was made at {left}, exit {code}: {messages[:200]}"
        return None if failed else f"{where}: nothing failed"

    def all(self, everything):
        """Checks them all; the failures."""
        code, messages, count, _, left, wanted = self.run(0, False)
        if code or left:
            return [f"{self.name}: exit {code}, without a failure {left} is left: {messages}"]
        step = 1 if everything or count <= SMALL else -(-count // SMALL)
        cases = [(at, behind) for at in range(1, count + 1, step) for behind in (False, True)]
        results = harness.parallel(lambda case: self.check(*case, wanted), cases)
        failures = [r for r in results if r]
        print(f"{self.name}: {len(cases)} runs, {count} allocations, {len(failures)} wrong",
              flush=True)
        return failures


def nvrtc_folder(gpucc):
    """Where gpucc's NVRTC lies."""
    told = subprocess.run([gpucc, "--version"], capture_output=True, text=True, check=True).stdout
    return str(pathlib.Path(told.splitlines()[1].split(", ", 1)[1]).parent)


def programs(options, work):
    tools = pathlib.Path(options.build).resolve() / "bin"
    models = [SEEDS / f"{name}.onnx" for name in MODELS]
    for model in [*models, DIGITS]:
        plan = work / f"{model.stem}.plan"
        subprocess.run([tools / "gpucc", model, "-o", plan, "--target=portable"], check=True)
        folder = work / model.stem
        folder.mkdir()
        yield Program(options, f"gpucc {model.stem}", folder,
                      [tools / "gpucc", model, "-o", "OUTPUT", "--target=portable", "-j1"], True)
        folder = work / f"run {model.stem}"
        folder.mkdir()
        yield Program(options, f"gpurun {model.stem}", folder,
                      [tools / "gpurun", "run", plan, "--seed", "1", "--device=emu", "--threads",
                       "1", "--outputs", "OUTPUT"], True)
    folder = work / "search"
    folder.mkdir()
    yield Program(options, "gpucc that looks for NVRTC in a folder", folder,
                  [tools / "gpucc", models[0], "-o", "OUTPUT", "--target=portable", "-j1"], True,
                  GPUCC_NVRTC=nvrtc_folder(tools / "gpucc"))
    yield Program(options, "gpurun inspect", work, [tools / "gpurun", "inspect", plan, "--json"],
                  None)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--all", action="store_true", help="every allocation of large models, too")
    options = parser.parse_args()
    failures = []
    with tempfile.TemporaryDirectory() as work:
        os.environ["XDG_CACHE_HOME"] = f"{work}/cache"
        for program in programs(options, pathlib.Path(work)):
            failures += program.all(options.all)
    for failure in failures[:40]:
        print(f"FAILED {failure}")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
