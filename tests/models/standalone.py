#!/usr/bin/env python3
"""Kernels that consist of views and scalar maps only, and why each of them stands alone.

    standalone.py --build BUILD [--data FOLDER]

Lists them for the networks of zoo.py and for the exports of FOLDER/exports, at fp32 and fp16, with what the
passes say about their nodes. The networks may have none that only transposes, adds a bias or applies
an activation to what another kernel wrote: that is a carrier's work. What gathers, concatenates,
pads or cuts may stand alone, as may what makes a mask of the inputs. Exports are listed only.
"""
import argparse
import pathlib
import re
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import harness  # noqa: E402
import zoo  # noqa: E402

THIN = {"resnet50": (4, 8, 64), "mobilenet_v2": (4, 8, 64), "squeezenet": (3, 16, 64),
        "unet": (2, 8, 32), "bert": (2, 128, 32), "vit": (2, 128, 64), "gpt2": (2, 128, 32)}
MOVES = {"gather", "gather_elements", "gather_nd", "concat", "pad", "slice", "iota"}


def kernels(text):
    """Each kernel as {"name": …, "nodes": …, and the lines below it by their first word}."""
    found = []
    for line in text.splitlines():
        heading = re.match(r" +\d+  (\w+)(?: \([^)]*\))?: (.*)", line)
        detail = re.match(r" {6}(\w+) +(.*)", line)
        if heading:
            found.append({"name": heading[1], "nodes": heading[2]})
        elif detail and found:
            found[-1].setdefault(detail[1], detail[2])
    return found


def reasons(text, nodes):
    """What passes say about these nodes."""
    said = re.findall(r"^ +(?:fuse_kernels|place_concats): (.*)", text, re.M)
    return [remark for remark in said if any(remark.startswith(node) for node in nodes)]


def maps(tools, path, precision):
    """The maps of a model, and how each is described; RuntimeError when it does not compile."""
    code, text, errors = tools.run(tools.bin / "gpucc", path, "--check", "--explain=fusion",
                                   f"--target={tools.target}", f"--precision={precision}")
    if code:
        raise RuntimeError(harness.describe(code, errors))
    for kernel in kernels(text):
        if not kernel["name"].startswith("map_"):
            continue
        nodes = re.findall(r"(\S+ \([^)]*\))", kernel["nodes"])
        why = reasons(text, nodes) or ["no remark"]
        yield kernel, f"{kernel['nodes']}: {kernel['map']}\n        " + "\n        ".join(why)


def is_carriers_work(kernel, inputs):
    """A transpose, or nothing but views that move nothing and scalar maps, of what another wrote?"""
    ops = {re.sub(r" \(\d+ times\)", "", op) for op in kernel["map"].split(", ")}
    read = [part.split()[0] for part in kernel.get("reads", "").split("; ") if " " in part]
    named = [name for name in read if "[" not in name]
    of_inputs = named and all(name in inputs for name in named)
    return ("transpose" in ops or not ops & MOVES) and not of_inputs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--target", default="sm_80")
    parser.add_argument("--data", type=pathlib.Path)
    options = parser.parse_args()
    tools, failed = harness.Tools(options.build, options.target), 0
    with tempfile.TemporaryDirectory() as folder:
        models = []
        for name, sizes in THIN.items():
            model, path = zoo.build(name, *sizes), pathlib.Path(folder) / f"{name}.onnx"
            path.write_bytes(model.SerializeToString())
            models.append((name, path, {value.name for value in model.graph.input}))
        stored = sorted(options.data.glob("exports/*/model.onnx")) if options.data else []
        models += [(path.parent.name, path, None) for path in stored]
        for name, path, inputs in models:
            for precision in ("fp32", "fp16"):
                try:
                    found = list(maps(tools, path, precision))
                except RuntimeError as error:
                    print(f"{name} {precision}: {error}")
                    failed += inputs is not None
                    continue
                for kernel, text in found:
                    wrong = inputs is not None and is_carriers_work(kernel, inputs)
                    failed += wrong
                    print(f"{'WRONG ' if wrong else ''}{name} {precision}: {text}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
