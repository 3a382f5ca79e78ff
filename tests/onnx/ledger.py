#!/usr/bin/env python3
"""Runs ONNX's backend tests on the emulator and compares the outcome with a ledger.

    ledger.py --build build               all tests; exit 1 when one that the ledger has as "pass" fails
    ledger.py --build build --bless       writes the ledger anew, and docs/operators.md after it
    ledger.py --build build --only NAME   names that contain NAME, with full messages
    ledger.py --build build --data FOLDER the newer set, FOLDER/onnx/backend-test-data-2026-08.tar.xz

There are two sets, as they stand, no input frozen: that of the installed onnx package (ledger.tsv)
and the node tests of a newer one (ledger-2026-08.tsv). A line of a ledger is: group, test, "pass" or
why not. A test of the newer set with the same bytes, model and data, as in the package is not run
twice: its outcome is "= 1.22.0".
"""
import argparse
import pathlib
import re
import sys
import tarfile
import tempfile

import numpy as np
import onnx

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import harness  # noqa: E402
import operators_doc  # noqa: E402

HERE = pathlib.Path(__file__).parent
LEDGER = HERE / "ledger.tsv"
NEWER_LEDGER = HERE / "ledger-2026-08.tsv"
NEWER_DATA = pathlib.Path("onnx") / "backend-test-data-2026-08.tar.xz"
SAME = "= 1.22.0"
DATA = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
GROUPS = ["node", "simple", "pytorch-converted", "pytorch-operator", "real"]


def light_models(work):
    """ONNX's light models with the input its runner makes for them, as ordinary test folders."""
    for model in sorted((DATA / "light").glob("light_*.onnx")):
        name = model.stem.removeprefix("light_")
        folder = work / f"test_{name}"
        proto = onnx.load(model)
        constants = {t.name for t in proto.graph.initializer}
        inputs = [i for i in proto.graph.input if i.name not in constants]
        for index, value in enumerate(inputs):
            shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            data = (np.arange(count).reshape(shape) / count).astype(np.float32)
            harness.save_tensor(folder / "test_data_set_0" / f"input_{index}.pb", data, value.name)
        wanted = harness.load_tensor(model.with_name(f"{model.stem}_output_0.pb"))
        harness.save_tensor(folder / "test_data_set_0" / "output_0.pb", wanted,
                            proto.graph.output[0].name)
        (folder / "model.onnx").symlink_to(model)
        yield folder


def package_tests(work):
    """(group, folder) of every test of the installed package."""
    for group in GROUPS:
        folders = light_models(work) if group == "real" else (DATA / group).iterdir()
        for folder in sorted(folders):
            if folder.is_dir():
                yield group, folder


def newer_tests(work, data):
    """(group, folder) of every node test of the newer set, unpacked into work."""
    inner = "onnx/backend/test/data/node/"
    with tarfile.open(data / NEWER_DATA) as archive:
        members = [m for m in archive if m.name.startswith(inner) and (m.isfile() or m.isdir())]
        archive.extractall(work, members, filter="data")
    for folder in sorted((work / inner).iterdir()):
        yield "node", folder


def same_bytes(a, b):
    """Both folders hold the same files with the same bytes."""
    def files(folder):
        return {p.relative_to(folder): p for p in folder.rglob("*") if p.is_file()}
    ours, theirs = files(a), files(b)
    return ours.keys() == theirs.keys() and all(
        ours[name].read_bytes() == theirs[name].read_bytes() for name in ours)


def reason(code, errors):
    """A stable reason: no folder, no number that a later build may change."""
    text = harness.describe(code, errors)
    text = re.sub(r"(/[^\s:]+)+/", "", text)
    text = re.sub(r" ([\w.-]+\.plan|model\.onnx|gpucc|gpurun):", "", text)
    text = re.sub(r"node '[^']*' \((\w[\w.]*), opset \d+\)", r"\1", text)
    text = re.sub(r"; its operands:.*", "", text)
    return re.sub(r"\s+", " ", text)[:160]


def run_one(tools, work, newer, group, folder):
    if newer and same_bytes(folder, DATA / group / folder.name):
        return SAME, ""
    plan = work / f"{group}-{folder.name}.plan"
    code, _, errors = tools.compile(folder / "model.onnx", plan)
    if code == 0:
        if group == "real":
            data = folder / "test_data_set_0"
            wanted = harness.load_tensor(data / "output_0.pb")
            atol = 1e-4 * float(np.abs(wanted).max())
            code, _, errors = tools.test(plan, data, atol=atol)
        else:
            code, _, errors = tools.test(plan, folder)
    plan.unlink(missing_ok=True)
    return "pass" if code == 0 else reason(code, errors), errors


def read_ledger(file):
    if not file.exists():
        return {}
    rows = (line.split("\t", 2) for line in file.read_text().splitlines()[1:])
    return {(group, name): outcome for group, name, outcome in rows}


def write_ledger(file, rows):
    order = sorted(rows, key=lambda k: (GROUPS.index(k[0]), k[1]))
    file.write_text("group\ttest\toutcome\n" +
                    "".join(f"{g}\t{n}\t{rows[g, n]}\n" for g, n in order))


def print_counts(now):
    package = read_ledger(LEDGER)
    for group in GROUPS:
        outcomes = [(o, package.get((g, n))) for (g, n), o in now.items() if g == group]
        same = [was for outcome, was in outcomes if outcome == SAME]
        passed = [o for o, _ in outcomes if o == "pass"] + [o for o in same if o == "pass"]
        if outcomes:
            print(f"{group}: {len(passed)} of {len(outcomes)} pass" +
                  (f" ({len(same)} are as in 1.22.0 and were not run again)" if same else ""))


def compare(before, now):
    """(regressions, tests that pass and did not)"""
    regressions, gained = [], []
    for key, outcome in now.items():
        good = outcome in ("pass", SAME)
        was_good = before.get(key) in ("pass", SAME)
        if was_good and not good:
            regressions.append(f"{key[1]}: {outcome}")
        elif good and not was_good:
            gained.append(key[1])
    return regressions, gained


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--data", type=pathlib.Path, help="the newer set, from this folder")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--only", default="")
    parser.add_argument("--group", choices=GROUPS)
    parser.add_argument("--every", type=int, default=1, help="a sample: every N-th test")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--bless", action="store_true")
    options = parser.parse_args()
    if options.data and not (options.data / NEWER_DATA).exists():
        print(f"SKIPPED: {options.data / NEWER_DATA} is missing")
        return 0
    tools = harness.Tools(options.build, options.target, timeout=300)
    file = NEWER_LEDGER if options.data else LEDGER
    before, now = read_ledger(file), {}

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        found = newer_tests(work, options.data) if options.data else package_tests(work)
        every = [(g, f) for g, f in found if options.group in (None, g)]
        chosen = [t for t in every if options.only in t[1].name][::options.every]
        outcomes = harness.parallel(lambda t: run_one(tools, work, bool(options.data), *t), chosen,
                                    options.jobs)
        for (group, folder), (outcome, errors) in zip(chosen, outcomes):
            now[group, folder.name] = outcome
            if options.only:
                print(f"{group}\t{folder.name}\t{outcome}\n{errors}")

    print_counts(now)
    if options.bless:
        known = {(g, f.name) for g, f in every}
        kept = {key: o for key, o in before.items() if options.group or key in known}
        write_ledger(file, kept | now)
        operators_doc.main(["--build", str(options.build), "--bless"])
        return 0
    regressions, gained = compare(before, now)
    unknown = [name for group, name in now if (group, name) not in before]
    if gained:
        print(f"{len(gained)} pass that the ledger does not have as passing (--bless takes them up)")
    for line in regressions:
        print(f"REGRESSION {line}", file=sys.stderr)
    if unknown:
        print(f"{len(unknown)} tests are not in the ledger: {unknown[0]} …", file=sys.stderr)
    return 1 if unknown or regressions else 0


if __name__ == "__main__":
    sys.exit(main())
