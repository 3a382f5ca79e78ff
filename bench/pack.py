#!/usr/bin/env python3
"""Packs what a machine with a GPU and no network needs to refute or confirm gpucc.

    pack.py --build build --out build/gpu-kit

The folder holds gpurun, the emulator, plans compiled here, their inputs and expected outputs, and
`on-gpu`, the one command to run there. Plans: the digits network; a spread of ONNX's node tests in
which every kernel family occurs; SqueezeNet with random weights, for a first timing; the networks of
tests/models/zoo.py at fp16, on tensor cores (--networks=thin: small versions; none: without).
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / part) for part in ("lib", "onnx", "models")]
import harness  # noqa: E402
import ledger  # noqa: E402
import launches  # noqa: E402
import light_random  # noqa: E402
import zoo  # noqa: E402

# One test at least for each kernel family; the rest is a sample.
ALWAYS = ["test_conv_with_strides_padding", "test_cumsum_2d_axis_1", "test_gather_elements_1",
          "test_layer_normalization_2d_axis1", "test_matmul_3d", "test_maxpool_2d_strides",
          "test_reduce_sum_keepdims_random", "test_scatter_elements_with_axis",
          "test_scatternd_add", "test_softmax_axis_1", "test_top_k", "test_transpose_default"]


def add(tools, kit, name, model, data, *flags):
    """Compiles model into the kit with its data set; the kernel families it uses, or None."""
    folder = kit / "cases" / name
    folder.mkdir(parents=True)
    code, _, errors = tools.compile(model, folder / "model.plan", *flags)
    if code:
        sys.exit(f"{name}: {harness.describe(code, errors)}")
    shutil.copytree(data, folder / "data", copy_function=shutil.copyfile)
    _, text, _ = tools.run(tools.bin / "gpurun", "inspect", folder / "model.plan", "--json")
    steps = json.loads(text)["programs"][0]["steps"]
    return {step["kernel"].rsplit("_", 1)[0] for step in steps if step.get("kernel")}


def network(name, sizes, work):
    """A network of the zoo with inputs and what ONNX Runtime makes of them in fp32."""
    model = zoo.build(name, *sizes)
    onnx.save(model, work / "model.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    inputs = launches.examples(session)
    for index, (value, array) in enumerate(inputs):
        harness.save_tensor(work / "data" / f"input_{index}.pb", array, value)
    for index, array in enumerate(session.run(None, dict(inputs))):
        harness.save_tensor(work / "data" / f"output_{index}.pb", array)
    return work / "model.onnx", work / "data"


def squeezenet(work):
    model = light_random.randomize(onnx.load(light_random.LIGHT / "light_squeezenet.onnx"), 7)
    image = np.random.default_rng(8).normal(0, 1, (1, 3, 224, 224)).astype(np.float32)
    onnx.save(model, work / "model.onnx")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(work / "model.onnx"), settings)
    harness.save_tensor(work / "data" / "input_0.pb", image)
    for index, array in enumerate(session.run(None, {"data_0": image})):
        harness.save_tensor(work / "data" / f"output_{index}.pb", array)
    return work / "model.onnx", work / "data"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "gpu-kit")
    parser.add_argument("--target", default="sm_80,sm_90a,portable")
    parser.add_argument("--networks", choices=("full", "thin", "none"), default="full")
    parser.add_argument("--every", type=int, default=6, help="of ONNX's node tests, every N-th")
    options = parser.parse_args()
    tools = harness.Tools(options.build, options.target)
    shutil.rmtree(options.out, ignore_errors=True)
    (options.out / "bin").mkdir(parents=True)
    (options.out / "lib").mkdir()
    shutil.copy(options.build / "bin" / "gpurun", options.out / "bin")
    shutil.copy(options.build / "lib" / "libgpucc_emu.so", options.out / "lib")
    shutil.copy(ROOT / "bench" / "on-gpu", options.out)

    digits = ROOT / "examples" / "digits"
    families = add(tools, options.out, "digits", digits / "digits.onnx",
                   digits / "held_back" / "test_data_set_0")
    with tempfile.TemporaryDirectory() as work:
        families |= add(tools, options.out, "squeezenet", *squeezenet(pathlib.Path(work)))
    for name in zoo.NETWORKS if options.networks != "none" else ():
        sizes = launches.LIMITS[name][0] if options.networks == "thin" else (None, None, None)
        with tempfile.TemporaryDirectory() as work:
            families |= add(tools, options.out, f"{name}_fp16",
                            *network(name, sizes, pathlib.Path(work)), "--precision=fp16")
    passing = [name for (group, name), outcome in sorted(ledger.read_ledger(ledger.LEDGER).items())
               if group == "node" and outcome == "pass"]
    for index, name in enumerate(passing):
        if index % options.every == 0 or name in ALWAYS:
            folder = ledger.DATA / "node" / name
            families |= add(tools, options.out, name, folder / "model.onnx",
                            folder / "test_data_set_0")
    print(f"{len(list((options.out / 'cases').iterdir()))} cases, families: "
          f"{', '.join(sorted(families))}")


if __name__ == "__main__":
    main()
