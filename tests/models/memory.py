#!/usr/bin/env python3
"""How much memory plans take for what lies between kernels, against what is alive at once.

    memory.py --build BUILD [--data FOLDER] [--only NAME]

No placement needs less than the most bytes alive at one time, where results lie in the memory of
operands that end wherever they may; a plan may take a tenth more. The
networks of zoo.py have their full sizes here, and the models of FOLDER/models the shapes of their
first data set, in the model's precision and in fp16. Prints one line for each.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import onnx

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import harness  # noqa: E402
import zoo  # noqa: E402

MOST = 1.1  # times what is alive at once


def fixed_shapes(model, data):
    """Options that give the inputs the shapes of a data set."""
    graph, options = onnx.load(model, load_external_data=False).graph, []
    constants = {initializer.name for initializer in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    for i, value in enumerate(inputs):
        shape = harness.load_tensor(data / f"input_{i}.pb").shape
        if value.type.tensor_type.HasField("shape") and not value.type.tensor_type.shape.dim:
            options += ["--freeze", f"{value.name}={data / f'input_{i}.pb'}"]  # it chooses a branch
        if any(not dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim):
            options += ["--shape", f"{value.name}={'x'.join(map(str, shape))}"]
    return options


def measure(tools, model, options):
    """(bytes taken, bytes alive at once), or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        code, text, errors = tools.compile(model, pathlib.Path(folder) / "plan", *options,
                                           "--explain=memory", "--explain-format=json")
    if code:
        return harness.describe(code, errors)
    memory = json.loads(text)[0]["memory"]
    if memory["arena_bytes"] is None:
        return f"sizes that are not known: {memory['live_bytes']}"
    return memory["arena_bytes"], memory["live_bytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    tools, failed = harness.Tools(options.build, "sm_80"), 0
    with tempfile.TemporaryDirectory() as work:
        models = []
        for name in zoo.NETWORKS:
            if options.only in name:
                models.append((name, pathlib.Path(work) / f"{name}.onnx", []))
                models[-1][1].write_bytes(zoo.build(name).SerializeToString())
        for folder in sorted((options.data / "models").iterdir()) if options.data else []:
            model = folder / "model.onnx"
            if model.exists() and options.only in folder.name:
                models.append((folder.name, model, fixed_shapes(model, folder / "test_data_set_0")))
        cases = [(name, model, shapes, precision) for name, model, shapes in models
                 for precision in ([], ["--precision=fp16"])]
        found = harness.parallel(lambda case: measure(tools, case[1], case[2] + case[3]), cases)
        for (name, _, _, precision), result in zip(cases, found):
            label = f"{name:28} {'fp16' if precision else 'own':4}"
            if isinstance(result, str):
                print(f"{label} {result}", flush=True)
                failed += 1
                continue
            taken, alive = result
            part = taken / alive if alive else 1
            print(f"{label} {taken:11} bytes, {alive:11} alive at once: {part:.3f}"
                  f"{' TOO MUCH' if part > MOST else ''}", flush=True)
            failed += part > MOST
    return failed > 0 or not cases


if __name__ == "__main__":
    sys.exit(main())
