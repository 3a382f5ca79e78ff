#!/usr/bin/env python3
"""Writes docs/operators.md, or says that it is stale.

    operators_doc.py --build build           exit 1 when the page is not what would be written
    operators_doc.py --build build --bless   writes it

Three sources: `gpucc --print-ops` (frontend/operators.def, and ir/ops.def for element types), the
ledgers of ONNX's backend tests (tests/onnx/ledger*.tsv), and the installed onnx package, whose test
models say which test uses which operator.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import sys

import onnx

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "operators.md"
LEDGER = ROOT / "tests" / "onnx" / "ledger.tsv"
NEWER_LEDGER = ROOT / "tests" / "onnx" / "ledger-2026-08.tsv"
DATA = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
TYPES = {1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 8: "string", 9: "bool",
         10: "f16", 11: "f64", 12: "u32", 13: "u64", 16: "bf16", 17: "f8e4m3fn", 18: "f8e4m3fnuz",
         19: "f8e5m2", 20: "f8e5m2fnuz", 21: "u4", 22: "i4", 23: "f4e2m1", 24: "f8e8m0", 25: "u2",
         26: "i2"}

HEAD = """\
# Operators

The ONNX operators that gpucc knows, as of ONNX {version}. Written by `tools/operators_doc.py` from
`frontend/operators.def`, `ir/ops.def` and the ledgers in `tests/onnx/`; a test fails when it is stale.

- *opsets*: of the operator's domain; `13+` is 13 and newer.
- *types*: where one scalar op computes the operator, all types that op is for; else, after "tested:", those
  that the inputs and outputs of passed tests of this operator alone have. Others may work: an element type
  that does not is an error that names the node, from `gpucc model.onnx --check`.
- *alone*: passed of all ONNX backend tests whose model is this one operator; *in all*: of all whose model uses it.
- *limits*: why tests of the operator alone do not pass, with their number.

{summary}
A model's own functions are inlined, so an operator that is not here is fine where the model brings its body.
"""


def read_ledger(file):
    if not file.exists():
        return {}
    rows = (line.split("\t", 2) for line in file.read_text().splitlines()[1:])
    return {(group, name): outcome for group, name, outcome in rows}


def nodes_of(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in [attribute.g, *attribute.graphs]:
                yield from nodes_of(body)


def plain(domain):
    return domain if domain and domain != "ai.onnx" else ""


def element_types(graph):
    """Names of the element types of the model's inputs and outputs, those inside sequences too."""
    for info in [*graph.input, *graph.output]:
        kind = info.type
        while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
            kind = getattr(kind, kind.WhichOneof("value")).elem_type
        if kind.WhichOneof("value") == "tensor_type":
            yield kind.tensor_type.elem_type


class Record:
    """What the tests say of one operator."""

    def __init__(self):
        self.alone, self.alone_passed, self.all, self.all_passed = 0, 0, 0, 0
        self.types, self.reasons = set(), collections.Counter()


def reason_of(outcome, name):
    text = re.sub(r"^\w+: ", "", outcome) if outcome.startswith("unsupported") else outcome
    text = text.removeprefix(f"{name}: ")
    if text.startswith("wrong numbers"):
        return "wrong numbers"
    return re.sub(r"^(input|output) '[^']*' ", r"an \1 ", text)


def records():
    """(domain, operator) → Record"""
    found = collections.defaultdict(Record)
    for (group, test), outcome in read_ledger(LEDGER).items():
        if group == "real":
            model = DATA / "light" / f"light_{test.removeprefix('test_')}.onnx"
        else:
            model = DATA / group / test / "model.onnx"
        proto = onnx.load(model, load_external_data=False)
        nodes = [n for n in nodes_of(proto.graph)]
        used = {(plain(n.domain), n.op_type) for n in nodes}
        good = outcome == "pass"
        for key in used:
            found[key].all += 1
            found[key].all_passed += good
        working = [n for n in proto.graph.node if n.op_type != "Constant"] or proto.graph.node
        if len(working) == 1:
            record = found[plain(working[0].domain), working[0].op_type]
            record.alone += 1
            record.alone_passed += good
            if good:
                record.types.update(element_types(proto.graph))
            else:
                record.reasons[reason_of(outcome, working[0].op_type)] += 1
    return found


def known_operators(build):
    """(domain, operator) → (opsets, types) of gpucc --print-ops"""
    text = subprocess.run([pathlib.Path(build) / "bin" / "gpucc", "--print-ops"], check=True,
                          capture_output=True, text=True).stdout
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()[1:]]
    return {(plain(domain), name): (opsets, types) for domain, name, opsets, _, types in rows}


def counts(ledger):
    """(passed, total); tests that a set shares with the package's have that set's outcome"""
    package = read_ledger(LEDGER)
    rows = read_ledger(ledger)
    passed = [key for key, outcome in rows.items()
              if (package.get(key) if outcome.startswith("=") else outcome) == "pass"]
    return len(passed), len(rows)


def summary(known):
    text = f"gpucc knows {len(known)} operators. It passes {counts(LEDGER)[0]:,} of the " \
           f"{counts(LEDGER)[1]:,} backend tests of ONNX {onnx.__version__}"
    if NEWER_LEDGER.exists():
        text += f",\nand {counts(NEWER_LEDGER)[0]:,} of the {counts(NEWER_LEDGER)[1]:,} node tests " \
                "of the newer set of August 2026"
    return text + ".\n"


def row(name, opsets, types, record):
    if types == "-":
        types = "tested: " + ", ".join(TYPES[t] for t in sorted(record.types)) \
                if record.types else ""
    limits = "; ".join(f"{text} ({n})" for text, n in sorted(record.reasons.items()))
    tests = f"{record.alone_passed}/{record.alone}" if record.alone else ""
    in_all = f"{record.all_passed}/{record.all}" if record.all else ""
    return f"| {name} | {opsets} | {types} | {tests} | {in_all} | {limits.replace('|', '¦')} |\n"


def page(build):
    known, found = known_operators(build), records()
    text = HEAD.format(version=onnx.__version__, summary=summary(known))
    for domain in sorted({domain for domain, _ in known}):
        text += f"\n## {domain or 'ai.onnx'}\n\n"
        text += "| operator | opsets | types | alone | in all | limits |\n|---|---|---|---|---|---|\n"
        for (of, name), (opsets, types) in sorted(known.items()):
            if of == domain:
                text += row(name, opsets, types, found[domain, name])
    missing = sorted({(plain(s.domain), s.name) for s in onnx.defs.get_all_schemas()
                      if not s.deprecated} - set(known))
    text += "\n## Not supported\n\nOperators of ONNX that gpucc does not know, with the number of " \
            "tests that use them.\n\n"
    for domain in sorted({domain for domain, _ in missing}):
        names = [f"{name} ({found[domain, name].all})" if found[domain, name].all else name
                 for of, name in missing if of == domain]
        text += f"- {domain or 'ai.onnx'}: {', '.join(names)}\n"
    return text


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=ROOT / "build")
    parser.add_argument("--bless", action="store_true")
    options = parser.parse_args(arguments)
    wanted = page(options.build)
    if options.bless:
        PAGE.write_text(wanted)
        return 0
    if PAGE.exists() and PAGE.read_text() == wanted:
        return 0
    print("docs/operators.md is stale: tools/operators_doc.py --bless writes it anew",
          file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
