#!/usr/bin/env python3
"""Random operators have the distributions they promise, and the same numbers in every run.

    distributions.py --build build
"""
import argparse
import pathlib
import sys
import tempfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

N = 20000


def run(tools, node, inputs, outputs=1):
    """What one node gives: its outputs, twice, from a plan compiled twice."""
    named = [name for name in node.input if name]
    types = {name: helper.np_dtype_to_tensor_dtype(x.dtype) for name, x in zip(named, inputs)}
    graph = helper.make_graph(
        [node], "random",
        [helper.make_tensor_value_info(name, types[name], x.shape)
         for name, x in zip(named, inputs)],
        [helper.make_empty_tensor_value_info(name) for name in node.output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save(model, folder / "model.onnx")
        for i, x in enumerate(inputs):
            tensor = numpy_helper.from_array(x)
            (folder / f"input_{i}.pb").write_bytes(tensor.SerializeToString())
        plans = []
        for name in ("a.plan", "b.plan"):
            code, _, errors = tools.compile(folder / "model.onnx", folder / name)
            assert code == 0, errors
            plans.append((folder / name).read_bytes())
        assert plans[0] == plans[1], "the same model gives two plans"
        first, again = (tools.outputs(folder / "a.plan", folder) for _ in range(2))
        for x, y in zip(first, again):
            assert np.array_equal(x, y), "two runs differ"
        return first if outputs > 1 else first[0]


def near(x, expected, tolerance, what):
    assert abs(x - expected) <= tolerance, f"{what} is {x}, not {expected}"


def uniform(tools):
    node = helper.make_node("RandomUniform", [], ["y"], shape=[N], low=-1.0, high=3.0, seed=7.0)
    x = run(tools, node, [])
    assert x.dtype == np.float32 and x.min() >= -1 and x.max() <= 3
    near(x.mean(), 1, 0.03, "the mean")
    near(x.var(), 16 / 12, 0.03, "the variance")
    counts, _ = np.histogram(x, 16, (-1, 3))
    assert counts.min() > 0.85 * N / 16, counts
    near(np.corrcoef(x[1:], x[:-1])[0, 1], 0, 0.03, "the correlation of neighbours")


def normal(tools):
    like = np.zeros([4, N // 4], np.float16)
    node = helper.make_node("RandomNormalLike", ["x"], ["y"], mean=2.0, scale=0.5,
                            dtype=TensorProto.DOUBLE)
    x = run(tools, node, [like])
    assert x.dtype == np.float64 and x.shape == like.shape
    z = (x - 2) / 0.5
    near(z.mean(), 0, 0.03, "the mean")
    near(z.var(), 1, 0.04, "the variance")
    near((z ** 3).mean(), 0, 0.08, "the skewness")
    near((z ** 4).mean(), 3, 0.2, "the kurtosis")
    near((abs(z) < 1).mean(), 0.6827, 0.02, "the share within one deviation")


def bernoulli(tools):
    p = np.repeat(np.array([0, 0.2, 0.7, 1], np.float32), N // 4)
    x = run(tools, helper.make_node("Bernoulli", ["p"], ["y"], dtype=TensorProto.INT32), [p])
    for k, expected in enumerate([0, 0.2, 0.7, 1]):
        near(x.reshape(4, -1)[k].mean(), expected, 0.03 if 0 < expected < 1 else 0, "the share")


def multinomial(tools):
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0]], np.float32)
    with np.errstate(divide="ignore"):
        node = helper.make_node("Multinomial", ["p"], ["y"], sample_size=N // 2, seed=1.0)
        x = run(tools, node, [np.log(p)])
    for row in range(2):
        for k in range(3):
            near((x[row] == k).mean(), p[row, k], 0.03, f"the share of class {k}")


def dropout(tools):
    x = np.ones([N], np.float32)
    node = helper.make_node("Dropout", ["x", "ratio", "mode"], ["y", "mask"], seed=3)
    for mode in (True, False):
        y, mask = run(tools, node, [x, np.array(0.25, np.float32), np.array(mode)], outputs=2)
        near(mask.mean(), 0.75 if mode else 1, 0.02 * mode, "the share that is kept")
        assert np.allclose(y, np.where(mask, 1 / 0.75 if mode else 1, 0)), "wrong elements"


def seeds(tools):
    def numbers(**attributes):
        return run(tools, helper.make_node("RandomUniform", [], ["y"], shape=[64], **attributes), [])
    assert np.array_equal(numbers(seed=1.0), numbers(seed=1.0))
    assert not np.array_equal(numbers(seed=1.0), numbers(seed=2.0))
    assert not np.array_equal(numbers(seed=1.0), numbers())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    tools = harness.Tools(parser.parse_args().build)
    for check in (uniform, normal, bernoulli, multinomial, dropout, seeds):
        try:
            check(tools)
        except AssertionError as e:
            sys.exit(f"{check.__name__}: {e}")


main()
