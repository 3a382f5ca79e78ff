#!/usr/bin/env python3
"""Makes models/*.onnx, each with one fault; they are committed."""
import pathlib

from onnx import TensorProto as T
from onnx import helper

HERE = pathlib.Path(__file__).resolve().parent


def info(name, shape, element=T.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def write(name, nodes, inputs, weights=()):
    graph = helper.make_graph(nodes, name, [info(*i) for i in inputs], [info("y", None, 0)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)
    (HERE / "models" / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def main():
    node = helper.make_node
    image, kernel = ("image", [1, 3, 8, 8]), ("kernel", [4, 3, 3, 3])
    write("unknown_operator", [node("Relu", ["x"], ["r"]),
                               node("Frobnicate", ["r", "x"], ["y"], name="middle")],
          [("x", [2, "n"])])
    write("operators_of_strangers", [node("Whirl", ["x"], ["a"], name="first", domain="acme.ai"),
                                     node("StringNormalizer", ["a"], ["y"], name="second")],
          [("x", [2])])
    write("attribute_out_of_range", [node("Conv", ["image", "kernel"], ["y"], name="conv1",
                                          strides=[0, 1])], [image, kernel])
    write("attribute_of_wrong_kind", [node("Softmax", ["x"], ["y"], name="probabilities",
                                           axis="last")], [("x", [2, 3])])
    write("attribute_of_wrong_count", [node("Conv", ["image", "kernel"], ["y"], name="conv1",
                                            pads=[1, 1, 1])], [image, kernel])
    write("attribute_with_no_such_choice", [node("Pad", ["x", "pads"], ["y"], name="border",
                                                 mode="mirror")], [("x", [4])],
          [helper.make_tensor("pads", T.INT64, [2], [1, 1])])
    write("scales_for_fewer_blocks", [node("DequantizeLinear", ["q", "s"], ["y"], name="weights",
                                           axis=0, block_size=4)], [("q", [10, 6], T.INT8)],
          [helper.make_tensor("s", T.FLOAT, [2, 6], [1.0] * 12)])
    write("shapes_that_do_not_multiply", [node("MatMul", ["a", "b"], ["y"], name="project")],
          [("a", [2, 3]), ("b", [4, 5])])
    write("shapes_that_do_not_broadcast", [node("Add", ["a", "b"], ["y"], name="residual")],
          [("a", ["batch", 3]), ("b", ["batch", 4])])
    write("reshape_to_other_size", [node("Reshape", ["x", "to"], ["y"], name="flatten")],
          [("x", [2, 3])], [helper.make_tensor("to", T.INT64, [2], [4, -1])])
    write("input_is_made_by_no_node", [node("Relu", ["nobody"], ["y"], name="relu")], [("x", [2])])
    external = T(name="w", data_type=T.FLOAT, dims=[4], data_location=T.EXTERNAL)
    external.external_data.add(key="location", value="weights.bin")
    write("external_data_is_missing", [node("Add", ["x", "w"], ["y"], name="bias")], [("x", [4])],
          [external])
    write("two_inputs", [node("Add", ["query", "key"], ["y"], name="scores")],
          [("query", ["tokens", 4]), ("key", ["tokens", 4])])


if __name__ == "__main__":
    main()
