#!/usr/bin/env python3
"""Real models and exports of today's frameworks: every data set of each, from one plan.

    collection.py --build BUILD --data FOLDER [--bless] [--only NAME]

FOLDER holds models/ and exports/; a model's folder has model.onnx, test_data_set_*, and may have a
meta.json with tolerances (rtol, and atol for each output). Without one, |a - b| <= 1e-3*|b| +
1e-4*max|b|, and for 16-bit outputs as in TOLERANCES: a fused kernel rounds once, where the reference
rounds behind every operator. collection.tsv says which match; one of these that fails is a regression (exit 1).
"""
import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

LIST = pathlib.Path(__file__).with_name("collection.tsv")


# Parts of |b| and of max|b|: a few units in the last place of the type, and of the largest numbers.
TOLERANCES = {"float16": (8e-3, 2e-3), "bfloat16": (6e-2, 2e-2)}


def compare(got, wanted, meta, index):
    if "rtol" not in meta:
        return harness.mismatch(got, wanted, *TOLERANCES.get(str(wanted.dtype), ()))
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    wrong = ~np.isclose(a, b, rtol=meta["rtol"], atol=meta["atol"][index], equal_nan=True)
    return f"{int(wrong.sum())} of {wrong.size} elements are wrong" if wrong.any() else None


def run_one(tools, folder):
    """ "match", or why not. """
    meta_file = folder / "meta.json"
    meta = json.loads(meta_file.read_text()) if meta_file.exists() else {}
    with tempfile.TemporaryDirectory() as work:
        plan = pathlib.Path(work) / "plan"
        code, _, errors = tools.compile(folder / "model.onnx", plan)
        if code:
            return harness.describe(code, errors).replace(str(folder) + "/", "")[:160]
        for data in sorted(folder.glob("test_data_set_*")):
            try:
                outputs = tools.outputs(plan, data)
            except RuntimeError as error:
                return f"{data.name}: {error}".replace(work + "/", "")[:160]
            for index, got in enumerate(outputs):
                wanted = harness.load_tensor(data / f"output_{index}.pb")
                wrong = compare(got, wanted, meta, index)
                if wrong:
                    return f"{data.name}: output {index}: {wrong}"
    return "match"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--bless", action="store_true")
    options = parser.parse_args()
    tools = harness.Tools(options.build, options.target, timeout=300)
    folders = [f for group in ("models", "exports") for f in sorted((options.data / group).iterdir())
               if (f / "model.onnx").exists() and options.only in f.name]
    rows = [line.split("\t") for line in LIST.read_text().splitlines()] if LIST.exists() else []
    before = {(row[0], row[1]): row[2] for row in rows}
    now, regressions = dict(before), 0
    for folder, outcome in zip(folders, harness.parallel(lambda f: run_one(tools, f), folders)):
        key = folder.parent.name, folder.name
        now[key] = outcome
        if options.only:
            print(*key, outcome)
        if before.get(key) == "match" and outcome != "match":
            regressions += 1
            print(f"REGRESSION {folder.name}: {outcome}", file=sys.stderr)
    for group in ("models", "exports"):
        outcomes = [o for (g, _), o in now.items() if g == group]
        print(f"{group}: {outcomes.count('match')} of {len(outcomes)} match")
    if options.bless:
        LIST.write_text("".join(f"{g}\t{n}\t{now[g, n]}\n" for g, n in sorted(now)))
    return 1 if regressions and not options.bless else 0


if __name__ == "__main__":
    sys.exit(main())
