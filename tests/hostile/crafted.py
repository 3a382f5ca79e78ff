"""Models and graphs written to hurt: (name, bytes, the name of a second file or None) each."""
from onnx import TensorProto, helper

HUGE = (2**31, 2**32, 2**62, 2**63 - 1)


def info(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def model(nodes, inputs, outputs, weights=(), opset=17, functions=()):
    graph = helper.make_graph(nodes, "crafted", inputs, outputs, list(weights))
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    made.ir_version = 9
    return made.SerializeToString()


def one(operator, shapes, outputs=1, weights=(), opset=17, **attributes):
    """A model of one node on float inputs of these shapes, and on weights (lists of integers)."""
    constants = [helper.make_tensor(f"w{i}", TensorProto.INT64, [len(w)], w)
                 for i, w in enumerate(weights)]
    inputs = [info(f"x{i}", shape) for i, shape in enumerate(shapes)]
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(operator, [i.name for i in inputs] + [c.name for c in constants], names,
                            **attributes)
    return model([node], inputs, [info(name, None) for name in names], constants, opset)


def attributes():
    """Operators with attributes and operands outside of their rules."""
    image, kernel = [1, 4, 5, 5], [4, 4, 3, 3]
    for value in (0, -1, -2**63, *HUGE):
        yield f"conv_group_{value}", one("Conv", [image, kernel], group=value)
        for name in ("strides", "dilations", "kernel_shape"):
            yield f"conv_{name}_{value}", one("Conv", [image, kernel], **{name: [value, 1]})
            yield f"transposed_{name}_{value}", one("ConvTranspose", [image, kernel],
                                                    **{name: [value, 1]})
        for name in ("pads", "kernel_shape", "strides", "dilations"):
            rest = {"kernel_shape": [2, 2], name: [value] * (4 if name == "pads" else 2)}
            for pool in ("MaxPool", "AveragePool"):
                for up in 0, 1:
                    yield f"{pool}_{name}_{value}_{up}", one(pool, [image], ceil_mode=up, **rest)
        yield f"transposed_to_{value}", one("ConvTranspose", [image, kernel],
                                            output_shape=[value, 5], output_padding=[value, 0])
        yield f"pad_{value}", one("Pad", [[3, 3]], weights=[[value, 0, 0, value]])
        yield f"pad_reflect_{value}", one("Pad", [[3, 3]], weights=[[value, 0, 0, 1]],
                                          mode="reflect")
        yield f"slice_{value}", one("Slice", [[3, 3]], weights=[[value], [-value - 1], [0], [value]])
        yield f"tile_{value}", one("Tile", [[3, 3]], weights=[[value, value]])
        yield f"reshape_{value}", one("Reshape", [[3, 3]], weights=[[value, value, 4]])
        yield f"expand_{value}", one("Expand", [[1, 1]], weights=[[value, value]])
        yield f"split_{value}", one("Split", [[3, 3]], 2, weights=[[value, 3 - value & (2**63 - 1)]])
        yield f"top_k_{value}", one("TopK", [[3, 3]], 2, weights=[[value]])
        yield f"depth_to_space_{value}", one("DepthToSpace", [image], blocksize=value)
        yield f"space_to_depth_{value}", one("SpaceToDepth", [image], blocksize=value)
        yield f"lrn_{value}", one("LRN", [image], size=value)
        yield f"lstm_{value}", one("LSTM", [[2, 1, 3], [1, 8, 3], [1, 8, 2]], 3, hidden_size=value)
        yield f"group_norm_{value}", one("GroupNormalization", [image, [4], [4]], opset=21,
                                         num_groups=value)
        for operator in ("Softmax", "Concat", "Flatten", "Gather", "ArgMax", "CumSum", "Hardmax",
                         "LayerNormalization", "OneHot", "Squeeze", "Unsqueeze", "EyeLike"):
            yield f"{operator}_axis_{value}", one(operator, [[3, 3], [3]], axis=value)
        yield f"constant_of_shape_{value}", one("ConstantOfShape", [], weights=[[value, value]])
        yield f"weight_dims_{value}", model(
            [helper.make_node("Relu", ["w"], ["y"])], [], [info("y", None)],
            [TensorProto(name="w", data_type=1, dims=[value, value], raw_data=b"0123")])
        yield f"input_dims_{value}", one("Relu", [[value, value, value]])
        yield f"product_{value}", one("MatMul", [[value, value], [value, value]])
        yield f"data_type_{value}", one("Cast", [[3]], to=value)
        yield f"range_{value}", model(
            [helper.make_node("Range", ["a", "b", "c"], ["y"])], [],
            [info("y", None, TensorProto.INT64)],
            [helper.make_tensor(n, TensorProto.INT64, [], [v])
             for n, v in (("a", 0), ("b", value), ("c", 1))])
    nan, infinity = float("nan"), float("inf")
    for value in nan, infinity, -infinity, -1.0, 0.0:
        yield f"epsilon_{value}", one("InstanceNormalization", [image, [4], [4]], epsilon=value)
        yield f"layer_{value}", one("LayerNormalization", [image, [5]], epsilon=value)
        yield f"layer_of_other_scale_{value}", one("LayerNormalization", [[4], [3], [4]],
                                                    epsilon=value)
        yield f"elu_{value}", one("Elu", [image], alpha=value)
        yield f"resize_{value}", model(
            [helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear")], [info("x", image)],
            [info("y", None)], [helper.make_tensor("s", 1, [4], [1, 1, value, 1e30])])
    for perm in ([0, 0], [1, 2], [0], [0, 1, 2], [-1, 0], [2**62, 0]):
        yield f"perm_{perm}", one("Transpose", [[2, 3]], perm=perm)
    yield "kernel_beyond_image", one("Conv", [[1, 1, 2, 2], [1, 1, 5, 5]])
    yield "pool_beyond_image", one("MaxPool", [[1, 1, 2, 2]], kernel_shape=[9, 9])
    for size in HUGE:  # no element, but sizes that estimates multiply and add up
        yield f"no_image_of_{size}", model(
            [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
             helper.make_node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
             helper.make_node("ReduceMean", ["c"], ["a"], axes=[2, 3], keepdims=0),
             helper.make_node("MatMul", ["a", "v"], ["y"])],
            [info("x", [0, 4, size, 16]), info("w", [4, 4, 3, 3]), info("v", [4, size])],
            [info("m", None), info("y", None)])
        yield f"no_rows_of_{size}", model(
            [helper.make_node("LayerNormalization", ["x", "s"], ["n"]),
             helper.make_node("MatMul", ["n", "w"], ["y"]), helper.make_node("Softmax", ["y"], ["z"])],
            [info("x", [0, size, 16]), info("s", [16]), info("w", [16, size])], [info("z", None)])
    yield "empty_image", one("Conv", [[0, 4, 0, 5], [4, 4, 3, 3]], pads=[2] * 4)
    yield "no_channels", one("Conv", [[1, 0, 5, 5], [0, 0, 3, 3]])
    yield "rank_40", one("Relu", [[1] * 40])
    yield "rank_100000", one("Relu", [[1] * 100000])
    for equation in ("", "->", "ij,jk", "..,->", "i" * 60, "ii->i", "i->ii", "a...b,b...->", "é",
                     "i,j,k,l->ijkl", "ij,jk->" + "i" * 5000):
        yield f"einsum_{equation[:12]}", one("Einsum", [[3, 3], [3, 3]], equation=equation)


def field(tag, body):
    """A field of bytes, as protobuf writes it; for what is too deep for the library."""
    length, size = b"", len(body)
    while True:
        length += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
        if not size:
            return bytes([tag]) + length + body


def nested(depth):
    """If in If in If, each in the other's branch; the upper levels in both branches."""
    output = field(0x62, info("y", [1]).SerializeToString())
    graph = field(0x0A, helper.make_node("Identity", ["x"], ["y"]).SerializeToString()) + output
    for level in range(depth):
        node = helper.make_node("If", ["c"], ["y"]).SerializeToString()
        for branch in (b"then_branch", b"else_branch") if level < 5 else (b"then_branch",):
            node += field(0x2A, field(0x0A, branch) + field(0x32, graph) + b"\xa0\x01\x05")
        graph = field(0x0A, node) + output
    for value in info("c", [], TensorProto.BOOL), info("x", [1]):
        graph += field(0x5A, value.SerializeToString())
    return b"\x08\x09" + field(0x3A, graph) + field(0x42, b"\x10\x11")


def deep_type(depth):
    """An input whose type is a sequence of a sequence of ..., too deep for a program's stack."""
    element = b"\x0a\x04\x08\x01\x12\x00"
    for _ in range(depth):
        element = field(0x22, field(0x0A, element))
    return b"\x08\x09" + field(0x3A, field(0x5A, b"\x0a\x01x" + field(0x12, element)))


def functions():
    """Functions that call themselves, each other, or twice the one before."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def function(name, *callees):
        values = ["x"] + [f"v{i}" for i in range(len(callees) - 1)] + ["y"]
        nodes = [helper.make_node(c, [values[i]], [values[i + 1]], domain="own" if c[0] == "F" else "")
                 for i, c in enumerate(callees)]
        return helper.make_function("own", name, ["x"], ["y"], nodes, imports)

    def calling(name, *made):
        return model([helper.make_node(name, ["x"], ["y"], domain="own")], [info("x", [2])],
                     [info("y", None)], functions=made)

    yield "function_of_itself", calling("F0", function("F0", "F0"))
    yield "functions_of_each_other", calling("F0", function("F0", "F1"), function("F1", "F0"))
    yield "functions_that_double", calling(
        "F40", function("F0", "Relu"), *(function(f"F{i}", f"F{i - 1}", f"F{i - 1}")
                                         for i in range(1, 41)))
    yield "functions_in_a_chain", calling(
        "F3000", function("F0", "Relu"), *(function(f"F{i}", f"F{i - 1}") for i in range(1, 3001)))


def wiring():
    """Graphs that are no graphs, names that are no names, and very many nodes."""
    relu = helper.make_node
    yield "cycle", model([relu("Relu", ["b"], ["a"]), relu("Relu", ["a"], ["b"])], [],
                         [info("b", [1])])
    yield "twice_defined", model([relu("Relu", ["x"], ["y"]), relu("Relu", ["x"], ["y"])],
                                 [info("x", [1])], [info("y", [1])])
    yield "output_of_nothing", model([], [], [info("nobody", [1])])
    yield "no_output", model([relu("Relu", ["x"], ["y"])], [info("x", [1])], [])
    yield "same_inputs", model([relu("Relu", ["x"], ["y"])], [info("x", [1]), info("x", [2])],
                               [info("y", [1])])
    for name in ('quote"\'\\', "new\nline", "\x1b[2J\x1b]0;title\x07", "*/ }; #error", "%s%n%d",
                 "n" * 100000, "\u202egnp.x", "", "../../../etc/passwd", "\x7f\x9b31m", "??/"):
        yield f"name_{name[:6]!r}", model(
            [relu("Relu", ["in" + name], [name or "y"], name=name),
             relu("MatMul", [name or "y", name or "y"], ["z" + name], name=name)],
            [info("in" + name, [name, 3])], [info("z" + name, None)])
        yield f"unknown_{name[:6]!r}", model(
            [relu(name, ["x"], ["y"], name=name, domain=name)], [info("x", [3])], [info("y", None)])
        yield f"bad_{name[:6]!r}", model([relu("Conv", ["x"], ["y"], name=name)],
                                         [info("x", [name])], [info("y", [name])])
    yield "nodes_100000", model(
        [relu("Relu" if i % 3 else "Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(100000)],
        [info("v0", [4])], [info("v100000", [4])])
    yield "nodes_backwards", model(
        [relu("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in reversed(range(30000))],
        [info("v0", [4])], [info("v30000", [4])])
    yield "sum_of_20000", model(
        [relu("Sum", ["x"] * 20000, ["y"])], [info("x", [4])], [info("y", None)])
    yield "products_40000", model(
        [relu("Add", [f"v{i}", f"v{i}"], [f"v{i + 1}"]) for i in range(40000)],
        [info("v0", ["n"])], [info("v40000", ["n"])])
    yield "shapes_that_grow", model(
        [relu("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=0) for i in range(70)],
        [info("v0", ["n"])], [info("v70", None)])
    yield "dims_that_grow", model(
        [node for i in range(60) for node in (
            relu("Shape", [f"v{i}"], [f"s{i}"]), relu("Mul", [f"s{i}", f"s{i}"], [f"q{i}"]),
            relu("Add", [f"q{i}", f"s{i}"], [f"r{i}"]),
            relu("ConstantOfShape", [f"r{i}"], [f"v{i + 1}"]))],
        [info("v0", ["n", "m"])], [info("v60", None)])
    for depth in 5, 20, 90, 3000:
        yield f"nested_{depth}", nested(depth)
        yield f"nested_types_{depth}", deep_type(depth)
        yield f"groups_{depth}", b"\x3b" * depth


def external():
    """Weights in files that are none of the model's business, or that are not what they should be."""
    keys = {"offset": "0", "length": "16"}
    for name, location, entries in (
            ("up", "../../../../../../etc/passwd", keys), ("absolute", "/etc/passwd", keys),
            ("device", "/dev/zero", keys), ("missing", "no such file", keys), ("empty", "", keys),
            ("itself", "model.onnx", keys), ("folder", ".", keys),
            ("negative", "model.onnx", {"offset": "-1", "length": "16"}),
            ("wraps", "model.onnx", {"offset": str(2**64 - 8), "length": "16"}),
            ("beyond", "model.onnx", {"offset": str(2**62), "length": str(2**62)}),
            ("odd", "model.onnx", {"offset": "1", "length": "16"}),
            ("short", "model.onnx", {"offset": "0", "length": "3"}),
            ("words", "model.onnx", {"offset": "zero", "length": "0x10"}),
            ("nul", "model.onnx\0", keys), ("link", "sub/../model.onnx", keys)):
        tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)
        yield f"external_{name}", model([helper.make_node("Add", ["x", "w"], ["y"])],
                                        [info("x", [4])], [info("y", None)], [tensor])


def texts():
    """Graphs in text form."""
    head = 'symbol n in [0, inf]\n%0 = input "x" : f32[n, 3]\nsource n = dim 0, 0\n'
    for value in (0, -1, -2**63, *HUGE, 2**64, "9" * 400):
        yield f"text_dim_{str(value)[:20]}", f'%0 = input "x" : f32[{value}, {value}]\noutput "y" = %0'
        yield f"text_symbol_{str(value)[:20]}", head.replace("inf", str(value)) + 'output "y" = %0'
        yield f"text_iota_{str(value)[:20]}", f'%0 = iota {{n={value}, start={value}, step={value}}}'
        yield f"text_id_{str(value)[:20]}", head + f'output "y" = %{value}'
    for depth in 1000, 200000:
        yield f"text_parentheses_{depth}", f'%0 = input "x" : f32[{"(" * depth}n{")" * depth}]'
        yield f"text_minus_{depth}", f'symbol n in [0, 9]\n%0 = input "x" : f32[{"-" * depth}n]'
        yield f"text_sum_{depth}", 'symbol n in [0, 9]\n%0 = input "x" : f32[' + "n*n+" * depth + "n]"
        yield f"text_brackets_{depth}", '%0 = constant ' + "[" * depth
        yield f"text_max_{depth}", ('symbol n in [0, 9]\n%0 = input "x" : f32[' + "max(n, " * depth +
                                    "n" + ")" * depth + "]")
    yield "text_open_string", 'graph "' + "x" * 100000
    yield "text_nul", 'graph "a"\n\0\n'
    yield "text_chain", head + "".join(f"%{i + 1} = neg %{i}\n" for i in range(100000)) + \
        'output "y" = %100000'
    yield "text_rank", f'%0 = input "x" : f32[{"1, " * 5000}1]\noutput "y" = %0'


def all_cases():
    for source in attributes, functions, wiring, external:
        for name, data in source():
            yield name, data, "model.onnx"
    for name, text in texts():
        if not text.startswith("graph"):
            text = 'graph "g"\n' + text + "\n"
        yield name, text.encode(), "model.ir"
