#!/usr/bin/env python3
"""Runs ONNX's backend tests on the emulator and compares the outcome with ledger.tsv.

    ledger.py --build build               all tests; exit 1 when one that the ledger has as "pass" fails
    ledger.py --build build --bless       writes the ledger anew
    ledger.py --build build --only NAME   names that contain NAME, with full messages

The data are those of the installed onnx package, as they stand: no input is frozen. A line of the
ledger is: group, test, "pass" or why not.
"""
import argparse
import pathlib
import re
import sys
import tempfile

import numpy as np
import onnx

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

LEDGER = pathlib.Path(__file__).with_name("ledger.tsv")
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


def tests(work):
    for group in GROUPS:
        folders = light_models(work) if group == "real" else (DATA / group).iterdir()
        for folder in sorted(folders):
            if folder.is_dir():
                yield group, folder


def reason(code, errors):
    """A stable reason: no folder, no number that a later build may change."""
    text = harness.describe(code, errors)
    text = re.sub(r"(/[^\s:]+)+/", "", text)
    text = re.sub(r" ([\w.-]+\.plan|model\.onnx|gpucc|gpurun):", "", text)
    text = re.sub(r"node '[^']*' \((\w[\w.]*), opset \d+\)", r"\1", text)
    text = re.sub(r"; its operands:.*", "", text)
    return re.sub(r"\s+", " ", text)[:160]


def run_one(tools, work, group, folder):
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


def read_ledger():
    if not LEDGER.exists():
        return {}
    rows = (line.split("\t", 2) for line in LEDGER.read_text().splitlines()[1:])
    return {(group, name): outcome for group, name, outcome in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--only", default="")
    parser.add_argument("--group", choices=GROUPS)
    parser.add_argument("--every", type=int, default=1, help="a sample: every N-th test")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--bless", action="store_true")
    options = parser.parse_args()
    tools = harness.Tools(options.build, options.target, timeout=300)
    before, now, regressions, gained = read_ledger(), {}, [], []

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        chosen = [(g, f) for g, f in tests(work)
                  if options.only in f.name and options.group in (None, g)][::options.every]
        outcomes = harness.parallel(lambda t: run_one(tools, work, *t), chosen, options.jobs)
        for (group, folder), (outcome, errors) in zip(chosen, outcomes):
            now[group, folder.name] = outcome
            if options.only:
                print(f"{group}\t{folder.name}\t{outcome}\n{errors}")
            was = before.get((group, folder.name))
            if was == "pass" and outcome != "pass":
                regressions.append(f"{folder.name}: {outcome}")
            elif was != "pass" and outcome == "pass":
                gained.append(folder.name)

    if options.bless:
        merged = before | now
        lines = [f"{g}\t{n}\t{merged[g, n]}" for g, n in
                 sorted(merged, key=lambda k: (GROUPS.index(k[0]), k[1]))]
        LEDGER.write_text("group\ttest\toutcome\n" + "\n".join(lines) + "\n")
    for group in GROUPS:
        outcomes = [o for (g, _), o in now.items() if g == group]
        if outcomes:
            print(f"{group}: {outcomes.count('pass')} of {len(outcomes)} pass")
    if gained and not options.bless:
        print(f"{len(gained)} pass that the ledger does not have as passing (--bless takes them up)")
    for line in regressions:
        print(f"REGRESSION {line}", file=sys.stderr)
    unknown = [n for g, n in now if (g, n) not in before] if not options.bless else []
    if unknown:
        print(f"{len(unknown)} tests are not in the ledger: {unknown[0]} …", file=sys.stderr)
    return 1 if unknown or (regressions and not options.bless) else 0


if __name__ == "__main__":
    sys.exit(main())
