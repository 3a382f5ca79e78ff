#!/usr/bin/env python3
"""Weights in a file of their own: the depfile names it, the plan holds no path, bytes are the same."""
import argparse
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_model(path):
    weight = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"], name="first"),
         helper.make_node("Relu", ["h"], ["y"], name="second")], "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])],
        [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save_model(model, path, save_as_external_data=True, location="the weights.bin",
                    size_threshold=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    gpucc = pathlib.Path(parser.parse_args().build).resolve() / "bin" / "gpucc"
    with tempfile.TemporaryDirectory() as name:
        one, two = pathlib.Path(name, "one"), pathlib.Path(name, "two")
        one.mkdir()
        save_model(one / "model.onnx")
        shutil.copytree(one, two)
        for folder in one, two:
            subprocess.run([gpucc, folder / "model.onnx", "-o", folder / "model.plan", "-MD",
                            "--target=sm_80,portable"], check=True)
        plan = (one / "model.plan").read_bytes()
        assert plan == (two / "model.plan").read_bytes(), "the folder changes the plan"
        assert name.encode() not in plan, "the plan holds a path"
        assert b'initializer "w" file "the weights.bin"' in plan, "the recipe lacks the file"
        rule = (one / "model.plan.d").read_text()
        assert rule.startswith(f"{one}/model.plan:"), rule
        assert f"{one}/model.onnx" in rule and f"{one}/the\\ weights.bin" in rule, rule


if __name__ == "__main__":
    main()
