#!/usr/bin/env python3
"""Compares gpucc with ONNX Runtime on random cases of every operator.

    sweep.py --build build                 a sample of each operator's cases
    sweep.py --build build --all           all of them
    sweep.py --build build --only Pad      an operator; with --case 7 one case, in detail
    sweep.py --build build --family conv   the operators of a file of generators

Cases are random but always the same (cases.py); several share a model, since what costs is starting
things; plans run on the emulator, which checks every access of memory. Judges are ONNX Runtime, else
ONNX Runtime in float32, else onnx's reference evaluator (judge.py). A difference is a failure
unless a line of differences.tsv explains it. An operator of frontend/operators.def without a
generator is one too, unless MISSING says why.
"""
import argparse
import collections
import importlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import re
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
import build  # noqa: E402
import cases  # noqa: E402
import harness  # noqa: E402
import judge  # noqa: E402

NO_FAMILY = ["sweep", "cases", "judge", "build", "missing"]
FAMILIES = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NO_FAMILY)
for family in FAMILIES:
    importlib.import_module(family)
from missing import MISSING  # noqa: E402

TABLE = harness.ROOT / "frontend" / "operators.def"
BATCH = 16  # cases in a model

REFUSED = r"gpucc: (unsupported|bad model)|gpurun: usage: .* broadcasts: "

Result = collections.namedtuple("Result", "case error judge row")


def operators():
    """Rows of operators.def: (domain, name, since, until)."""
    text = re.sub(r"/\*.*?\*/", "", TABLE.read_text(), flags=re.S)
    names = dict(re.findall(r'#define (\w+) "([^"]*)"', text))
    rows = re.findall(r'^(?:LIST_)?OPERATOR\(("[^"]*"|\w+),\s*(\w+),\s*(\d+),\s*(\w+),', text, re.M)
    return [(d.strip('"') if d.startswith('"') else names[d], name, int(since),
             int(until) if until.isdigit() else cases.NEWEST_OPSET)
            for d, name, since, until in rows]


class Runner:
    """Compiles and runs batches of cases, in a process of its own."""

    def __init__(self, options):
        self.tools = harness.Tools(options.build, options.target, timeout=300)
        self.keep = options.keep
        self.differences = judge.Differences()

    def run(self, keys):
        """Results of the cases named by keys, all of one opset."""
        try:
            return self._run([cases.make(*key) for key in keys])
        except Exception as e:  # which generator was it?
            if len(keys) == 1:
                broken = cases.Case([], op=keys[0][1], domain=keys[0][0], index=keys[0][2])
                return [Result(broken, f"the generator failed: {e!r}", None, None)]
            return [result for key in keys for result in self.run([key])]

    def _run(self, batch):
        verdicts = []
        for case in batch:
            case.behind = case.behind and build.keeps_type(case)
            verdicts.append(self.differences.of(case))
        refused = [c for c, v in zip(batch, verdicts) if v[0] == "refused"]
        together = [c for c in batch if c not in refused]
        got = self._outputs(together) if together else []
        if got is None:  # one of them spoils it: each alone
            got = [(self._outputs([c]) or [self.error])[0] for c in together]
        results = dict(zip(map(id, together), got))
        for case in refused:
            results[id(case)] = (self._outputs([case]) or [self.error])[0]
        return [self._compare(case, results[id(case)], *verdict)
                for case, verdict in zip(batch, verdicts)]

    def _outputs(self, batch):
        """For each case the list of its runs' outputs; None when gpucc or gpurun failed."""
        opset = max(c.opset for c in batch)
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(self.keep or folder)
            work.mkdir(exist_ok=True)
            parts = [build.graph_of(c, f"c{i}_", free=True) for i, c in enumerate(batch)]
            model = build.model_of(opset, parts)
            (work / "model.onnx").write_bytes(model.SerializeToString())
            code, _, errors = self.tools.compile(work / "model.onnx", work / "model.plan")
            if code != 0:
                self.error = "gpucc: " + harness.describe(code, errors)
                return None
            runs = []
            for run in range(max(len(c.sets) for c in batch)):
                data = {}
                for i, case in enumerate(batch):
                    for k, x in enumerate(case.sets[min(run, len(case.sets) - 1)]):
                        data[f"c{i}_x{k}"] = x
                inputs = work / f"set_{run}"
                inputs.mkdir(exist_ok=True)
                for i, value in enumerate(model.graph.input):
                    x = data[value.name]
                    harness.save_tensor(inputs / f"input_{i}.pb",
                                        np.ascontiguousarray(x).reshape(x.shape), value.name)
                try:
                    runs.append(self.tools.outputs(work / "model.plan", inputs, "--device=emu",
                                                   "--isolate", "--threads", "1"))
                except RuntimeError as e:
                    self.error = str(e)
                    return None
        results, first = [], 0
        for case, part in zip(batch, parts):
            last = first + len(part[3])
            results.append([run[first:last] for run in runs[:len(case.sets)]])
            first = last
        return results

    def _compare(self, case, got, verdict, row):
        if isinstance(got, str):
            right = verdict == "refused" and re.search(REFUSED, got)
            return Result(case, None if right else got, "refused", row)
        if verdict == "refused":
            return Result(case, "compiles; differences.tsv says that gpucc refuses it", None, row)
        by = None
        for number, (outputs, inputs) in enumerate(zip(got, case.sets)):
            if number:
                verdict, row = self.differences.of(case, inputs)
            shapes_only = verdict == "undefined"
            try:
                wanted, by = judge.answer(case, inputs, None if shapes_only else verdict)
            except judge.NoOracle as e:
                return Result(case, f"no oracle: {e}", None, row)
            for i, (a, b) in enumerate(zip(outputs, wanted)):
                kind = case.kind
                b = a.reshape(b.shape).astype(b.dtype) if shapes_only and a.size == b.size else b
                error = judge.mismatch(a, b, kind)
                if error:
                    return Result(case, f"output {i}, run {number}, by {by}: {error}", by, row)
        return Result(case, None, by, row)


def work(options, keys, pipe):
    """In a process of its own: sends (name, description, error, judge, row) of each case."""
    cases.seed = options.seed
    pipe.send([(r.case.name(), r.case.describe(), r.error, r.judge, r.row)
               for r in Runner(options).run(keys)])
    pipe.close()


def sweep(options, chosen):
    """(name, description, error, judge, row) of each case. An oracle may crash: then the cases of
    its batch run again, each alone."""
    by_opset = collections.defaultdict(list)
    for key in chosen:
        by_opset[cases.opset_of(*key)].append(key)
    batches = collections.deque(keys[i:i + BATCH] for keys in by_opset.values()
                                for i in range(0, len(keys), BATCH))
    context, running = multiprocessing.get_context("fork"), {}
    while batches or running:
        while batches and len(running) < options.jobs:
            keys = batches.popleft()
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(options, keys, there))
            process.start()
            there.close()
            running[here] = process, keys
        for here in multiprocessing.connection.wait(running):
            process, keys = running.pop(here)
            try:
                yield from here.recv()
            except EOFError:
                if len(keys) > 1:
                    batches.extend([key] for key in keys)
                else:
                    yield (f"{keys[0][1]}[{keys[0][2]}]", "", "an oracle crashed", None, None)
            process.join()


def detail(options, key):
    """Everything about one case."""
    runner = Runner(options)
    case = cases.make(*key)
    for i, x in enumerate(case.inputs):
        print(f"input {i}: {x if x is None or x.size > 200 else x.tolist()}")
    case.behind = case.behind and build.keeps_type(case)
    for name in judge.JUDGES:
        try:
            print(f"{name}: {[y.tolist() for y in judge.answer(case, case.inputs, name)[0]]}")
        except judge.NoOracle as e:
            print(f"{name}: {e}")
    got = runner._outputs([case])
    print(f"gpucc: {[y.tolist() for y in got[0][0]] if got else runner.error}")


def completeness(options, results):
    """Faults of the sweep itself: operators without generator, with few cases, rows not reached."""
    table = operators()
    names = {(d, n) for d, n, _, _ in table}
    for d, n in sorted(names - set(cases.REGISTRY) - set(MISSING)):
        yield f"{d}.{n}: no generator".lstrip(".")
    for d, n in sorted(set(MISSING) & set(cases.REGISTRY)):
        yield f"{n}: has a generator, yet stands in MISSING"
    for d, n in sorted((set(MISSING) | set(cases.REGISTRY)) - names):
        yield f"{n}: is not in {TABLE.name}"
    if not options.all or options.seed:
        return
    opsets = collections.defaultdict(set)
    for d, n in sorted(names & set(cases.REGISTRY)):
        opsets[d, n] = {cases.Random(d, n, i).opset for i in range(options.cases)}
    for d, n, since, until in table:
        if (d, n) in opsets and until >= cases.OLDEST_OPSET and d == "":
            if not any(since <= o <= until for o in opsets[d, n]):
                yield f"{n}: no case of opsets {since} to {until}"
    used = {r[4] for r in results}
    for number, (rows, _, _) in enumerate(judge.Differences().rows):
        if number not in used:
            yield f"differences.tsv: a line for {','.join(rows)} explains nothing"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--all", action="store_true", help="all cases, not a sample")
    parser.add_argument("--cases", type=int, help="cases of each operator (sample 4, all 24)")
    parser.add_argument("--seed", type=int, default=0, help="other cases than the usual ones")
    parser.add_argument("--only", help="an operator")
    parser.add_argument("--case", type=int, help="one case, in detail")
    parser.add_argument("--family", choices=FAMILIES)
    parser.add_argument("--keep", help="a folder to leave the model of --case in")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("-v", "--verbose", action="store_true", help="all cases, not only failures")
    options = parser.parse_args()
    options.cases = options.cases or (24 if options.all or options.only or options.family else 4)

    cases.seed = options.seed
    known = sorted((d, n) for d, n, *_ in operators())
    known = [k for k in dict.fromkeys(known) if k in cases.REGISTRY]
    whole = not options.only and not options.family
    if options.only:
        known = [k for k in known if k[1] == options.only]
    if options.family:
        known = [k for k in known if cases.REGISTRY[k].__module__ == options.family]
    indices = [options.case] if options.case is not None else range(options.cases)
    if options.case is not None:
        for key in known:
            detail(options, (*key, options.case))

    chosen = [(*k, i) for k in known for i in indices]
    if options.case is None:
        chosen += [key for key in cases.REGRESSIONS if key[:2] in known]
    results = sorted(sweep(options, chosen), key=lambda r: r[0])
    failed = 0
    for name, about, error, by, _ in results:
        failed += error is not None
        if error or options.verbose or options.case is not None:
            print(f"{'FAIL' if error else 'ok'} {name} {about} ({by}): {error or ''}")
    faults = list(completeness(options, results)) if whole else []
    for fault in faults:
        print(f"FAIL {fault}")
    judges = collections.Counter(r[3] for r in results if r[2] is None)
    print(f"{len(known)} operators; judged by " +
          ", ".join(f"{j} {n}" for j, n in judges.most_common()))
    print(f"{len(results) - failed} passed, {failed + len(faults)} failed")
    return 1 if failed or faults else 0


if __name__ == "__main__":
    sys.exit(main())
