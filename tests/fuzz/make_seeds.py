#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets, seeds/import, seeds/ptx and seeds/plan, and seeds/ptx.dict.

    make_seeds.py --build build

They are committed: fuzzing needs neither Python nor NVRTC. Run this when a format changes, or an
operator's lowering has paths that no seed takes. (fuzz_ir starts from the graphs of tests/*/*.ir.)
"""
import argparse
import ctypes
import pathlib
import subprocess
import tempfile

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
IMAGE = ("x", [1, 4, 6, 6])
PTX = ("softmax_of_rows", "reduce_sum_of_columns", "scatter_nd_max", "scan_sum_of_rows",
       "arg_max_of_rows", "gather_rows_and_add_positions", "top_k_of_one", "view_pads_and_crops",
       "reduce_sum_f16_in_float")
# What NVRTC's texts rarely have.
BY_HAND = """.version 8.0
.target sm_80
.address_size 64
.global .align 8 .b8 table[16] = {1, 0xff, 3};
.const .align 8 .u64 places[2] = {table, table+8};
.extern .shared .align 16 .b8 dynamic[];
.func (.param .b32 result) doubled(.param .b32 a)
{
.reg .b32 %r<3>;
ld.param.u32 %r1, [a];
add.s32 %r2, %r1, %r1;
st.param.b32 [result], %r2;
ret;
}
.visible .entry k(.param .u64 p, .param .align 8 .b8 q[16])
.maxntid 64, 1, 1
{
.reg .pred %p<4>;
.reg .b16 %h<4>;
.reg .b32 %r<9>;
.reg .f32 %f<4>;
.reg .f64 %d<3>;
.reg .b64 %l<4>;
.local .align 8 .b8 stack[24];
.shared .align 4 .b8 tile[32];
.loc 1 7 2
ld.param.u64 %l1, [p];
ld.param.v2.u32 {%r1, %r2}, [q+8];
mov.u32 %r3, %laneid;
$again:
setp.lt.or.s32 %p1|%p2, %r3, -5, !%p3;
@!%p1 bra $behind;
mov.b64 {%r4, _}, %l1;
fma.rn.ftz.f32 %f1, %f2, 0f40000000, 1.5;
cvt.rn.f16.f32 %h1, %f1;
cvt.f64.f32 %d1, %f1;
cvt.rzi.s32.f64 %r5, %d1;
{
.param .b32 in;
.param .b32 out;
st.param.b32 [in+0], %r3;
call.uni (out), doubled, (in);
ld.param.b32 %r6, [out];
}
targets: .branchtargets $again, $behind;
brx.idx %r3, targets;
$behind:
st.shared.u32 [tile+4], %r3;
st.local.u32 [stack], %r3;
bar.sync 0;
atom.global.add.u32 %r7, [%l1], 1;
shfl.sync.bfly.b32 %r8|%p3, %r7, 1, 31, -1;
selp.b32 %r8, %r7, 3, %p3;
ret;
}
"""
FREE = 'symbol n in [0, inf]\n%0 = input "x" : f32[n, 3]\nsource n = dim 0, 0\n'
PLANS = {"map_of_free_rows": FREE + '%1 = exp %0\noutput "y" = %1',
         "two_kernels": FREE + '%1 = reduce_sum %0 {axes=[1]}\n'
                               '%2 = reduce_max %0 {axes=[0]}\n'
                               'output "y" = %1\noutput "z" = %2',
         "weights": '%0 = input "x" : f32[2, 3]\n%1 = constant {type=f32, shape=[2, 3], '
                    'data=[1, 2, 3, 4, 5, 6]}\n%2 = mul %0, %1\noutput "y" = %2',
         "output_is_an_input": '%0 = input "x" : f32[2, 3]\noutput "y" = %0'}


def info(name, shape, element=T.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def model(nodes, inputs, weights=(), outputs=("y",), opset=21, functions=()):
    graph = helper.make_graph(list(nodes), "g", [info(*i) for i in inputs],
                              [info(o, None, T.UNDEFINED) if isinstance(o, str) else info(*o)
                               for o in outputs],
                              [numpy_helper.from_array(np.asarray(w), n) for n, w in weights])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1),
               helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=9)


def one(operator, inputs, weights=(), n_outputs=1, opset=21, domain="", **attributes):
    """A model of one node that reads all inputs and weights, in this order."""
    outputs = ["y", "z", "w", "v"][:n_outputs]
    node = helper.make_node(operator, [i[0] for i in (*inputs, *weights)], outputs, domain=domain,
                            **attributes)
    return model([node], inputs, weights, outputs, opset)


def ints(*values):
    return np.array(values, np.int64)


def floats(*shape):
    return (np.arange(np.prod(shape, dtype=int)) % 7 - 3).astype(np.float32).reshape(shape)


def elementwise():
    """Chains, for one file each is little work for the fuzzer."""
    def chain(operators, element=T.FLOAT, **attributes):
        nodes = [helper.make_node(o, ["x" if i == 0 else f"v{i}"],
                                  ["y" if i == len(operators) - 1 else f"v{i + 1}"], **attributes)
                 for i, o in enumerate(operators)]
        return model(nodes, [("x", ["n", 3], element)])
    yield "functions", chain("Abs Neg Sign Floor Ceil Round Sqrt Reciprocal Exp Log Sin Erf Tanh "
                             "Sigmoid Softplus Relu Softsign Mish Identity Elu Selu".split())
    yield "logic", chain(["Not", "Not"], T.BOOL)
    for operator in "Add Sub Mul Div Pow Mod Equal Less Max Min Mean Sum".split():
        kind = {"fmod": 1} if operator == "Mod" else {}
        yield operator, one(operator, [("x", ["n", 3]), ("b", [3])], **kind)
    yield "Where", one("Where", [("c", [3, 1], T.BOOL), ("x", [3, 4]), ("b", [4])])
    yield "Clip", one("Clip", [("x", [3])], [("a", np.float32(0)), ("b", np.float32(6))])
    yield "LeakyRelu", one("LeakyRelu", [("x", [3])], alpha=0.1)
    yield "Cast", one("Cast", [("x", [3])], to=T.FLOAT16)
    yield "CastLike", one("CastLike", [("x", [3]), ("l", [3], T.INT8)])
    yield "IsInf", one("IsInf", [("x", [3])], detect_negative=0)
    yield "BitShift", one("BitShift", [("x", [3], T.UINT32), ("b", [3], T.UINT32)],
                          direction="LEFT")


def views():
    x = ("x", [2, 3, 4])
    yield "Transpose", one("Transpose", [x], perm=[2, 0, 1])
    yield "Reshape", one("Reshape", [("x", ["n", 3, 4])], [("s", ints(0, -1))])
    yield "Reshape_allowzero", one("Reshape", [("x", [0, 3])], [("s", ints(3, 0))], allowzero=1)
    yield "Flatten", one("Flatten", [x], axis=-1)
    yield "Squeeze", one("Squeeze", [("x", [1, 3, 1])], [("a", ints(0, 2))])
    yield "Unsqueeze", one("Unsqueeze", [("x", ["n"])], [("a", ints(0, -1))])
    yield "Expand", one("Expand", [("x", [3, 1])], [("s", ints(2, 1, 4))])
    yield "Tile", one("Tile", [x], [("r", ints(1, 2, 3))])
    yield "Slice", one("Slice", [x], [("s", ints(2, 0)), ("e", ints(-9, 3)), ("a", ints(1, 2)),
                                      ("p", ints(-1, 2))])
    yield "Slice_1", one("Slice", [x], opset=9, starts=[1], ends=[2], axes=[0])
    yield "Concat", one("Concat", [x, ("b", [2, "n", 4])], axis=1)
    yield "Split", one("Split", [x], [("s", ints(1, 2))], 2, axis=1)
    yield "Split_even", one("Split", [x], (), 2, axis=2, num_outputs=2)
    for mode in "constant", "reflect", "edge", "wrap":
        yield f"Pad_{mode}", one("Pad", [("x", [3, "n"])], [("p", ints(1, 0, 2, -1))], mode=mode)
    yield "DepthToSpace", one("DepthToSpace", [IMAGE], blocksize=2, mode="CRD")
    yield "SpaceToDepth", one("SpaceToDepth", [IMAGE], blocksize=3)
    yield "Trilu", one("Trilu", [x], [("k", np.int64(1))], upper=0)
    yield "ReverseSequence", one("ReverseSequence", [x], [("l", ints(1, 2, 3))], time_axis=0,
                                 batch_axis=1)
    shape = [helper.make_node("Shape", ["x"], ["s"], start=1), helper.make_node("Size", ["x"], ["n"]),
             helper.make_node("ReduceProd", ["s"], ["p"], keepdims=1),
             helper.make_node("Reshape", ["x", "p"], ["y"]),
             helper.make_node("ConstantOfShape", ["s"], ["z"]),
             helper.make_node("Range", ["zero", "n", "one"], ["w"])]
    yield "shape_arithmetic", model(shape, [("x", [1, "n", "m"])], [("zero", np.int64(0)),
                                    ("one", np.int64(1))], ["y", "z", "w"])


def sums():
    x = ("x", ["n", 3, 4])
    for operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp"):
        yield operator, one(operator, [x], [("a", ints(-1, 0))], keepdims=0)
    yield "ReduceSum_1", one("ReduceSum", [x], opset=11, axes=[1])
    for operator in "ArgMax", "Softmax", "LogSoftmax", "Hardmax":
        yield operator, one(operator, [x], axis=1)
    yield "Softmax_1", one("Softmax", [x], opset=11, axis=1)
    yield "CumSum", one("CumSum", [x], [("a", np.int64(1))], exclusive=1, reverse=1)
    yield "TopK", one("TopK", [x], [("k", ints(2))], 2, axis=1, largest=0)
    yield "LayerNormalization", one("LayerNormalization", [x], [("s", floats(4)), ("b", floats(4))],
                                    axis=-1)
    yield "BatchNormalization", one("BatchNormalization", [IMAGE], [
        (n, np.ones(4, np.float32)) for n in "sbmv"], epsilon=1e-5)
    yield "InstanceNormalization", one("InstanceNormalization", [IMAGE], [
        (n, np.ones(4, np.float32)) for n in "sb"])
    yield "GroupNormalization", one("GroupNormalization", [IMAGE], [
        (n, np.ones(4, np.float32)) for n in "sb"], num_groups=2)
    yield "LRN", one("LRN", [IMAGE], size=3)
    yield "MeanVarianceNormalization", one("MeanVarianceNormalization", [IMAGE], axes=[0, 2, 3])
    yield "SoftmaxCrossEntropyLoss", one("SoftmaxCrossEntropyLoss", [
        ("x", [3, 5]), ("l", [3], T.INT64)], n_outputs=2, reduction="mean", ignore_index=1)


def products():
    yield "MatMul", one("MatMul", [("x", ["n", 3, 4]), ("b", [4, 5])])
    yield "Gemm", one("Gemm", [("x", [3, 4])], [("b", floats(5, 4)), ("c", floats(5))], transB=1,
                      alpha=0.5)
    yield "Einsum", one("Einsum", [("x", [2, 3, 4]), ("b", [2, 4, 5])], equation="bij,b...k->bi")
    yield "MatMulInteger", one("MatMulInteger", [("x", [3, 4], T.UINT8), ("b", [4, 5], T.INT8)],
                               [("p", np.uint8(3))])
    yield "Conv", one("Conv", [IMAGE], [("w", floats(6, 2, 3, 3)), ("b", floats(6))], group=2,
                      pads=[1, 0, 1, 2], strides=[2, 1], dilations=[1, 2])
    yield "Conv_same", one("Conv", [("x", ["n", 4, "h", 7])], [("w", floats(2, 4, 3, 3))],
                           auto_pad="SAME_UPPER")
    yield "ConvTranspose", one("ConvTranspose", [IMAGE], [("w", floats(4, 2, 3, 3))],
                               strides=[2, 2], output_padding=[1, 0], pads=[1, 1, 0, 0])
    yield "ConvTranspose_to", one("ConvTranspose", [IMAGE], [("w", floats(4, 2, 3, 3))],
                                  strides=[2, 2], output_shape=[12, 13])
    yield "ConvInteger", one("ConvInteger", [("x", [1, 2, 5, 5], T.UINT8)],
                             [("w", np.ones((3, 2, 3, 3), np.int8)), ("p", np.uint8(1))])
    yield "MaxPool", one("MaxPool", [IMAGE], (), 2, kernel_shape=[3, 2], pads=[1, 0, 1, 1],
                         ceil_mode=1, dilations=[2, 1])
    yield "AveragePool", one("AveragePool", [IMAGE], kernel_shape=[3, 3], strides=[2, 2],
                             auto_pad="SAME_LOWER", count_include_pad=1)
    yield "LpPool", one("LpPool", [IMAGE], kernel_shape=[2, 2], p=3)
    yield "GlobalAveragePool", one("GlobalAveragePool", [IMAGE])
    yield "DFT", one("DFT", [("x", [1, 8, 1])], [("l", np.int64(8)), ("a", np.int64(1))], opset=20)
    yield "QuantizeLinear", one("QuantizeLinear", [("x", [3, 4])], [
        ("s", np.ones(4, np.float32)), ("p", np.zeros(4, np.uint8))], axis=1)
    yield "DequantizeLinear", one("DequantizeLinear", [("x", [4, 4], T.INT8)], [
        ("s", np.ones((2, 4), np.float32))], axis=0, block_size=2)
    yield "DynamicQuantizeLinear", one("DynamicQuantizeLinear", [("x", [3, 4])], n_outputs=3)
    yield "Attention", one("Attention", [("x", [1, 2, 3, 4]), ("k", [1, 2, 5, 4]),
                                         ("d", [1, 2, 5, 4])], opset=23, is_causal=1)


def places():
    x, i = ("x", [3, "n"]), ("i", [2, 2], T.INT64)
    yield "Gather", one("Gather", [x, i], axis=1)
    yield "GatherElements", one("GatherElements", [x, i], axis=1)
    yield "GatherND", one("GatherND", [x, i])
    yield "ScatterND", one("ScatterND", [("x", [3, 4]), ("i", [2, 1], T.INT64), ("u", [2, 4])],
                           reduction="add")
    yield "ScatterElements", one("ScatterElements", [("x", [3, 4]), ("i", [2, 2], T.INT64),
                                                     ("u", [2, 2])], axis=1, reduction="max")
    yield "OneHot", one("OneHot", [("i", [2, 3], T.INT64)], [("d", np.int64(5)),
                                                             ("v", np.float32([0, 1]))], axis=0)
    yield "EyeLike", one("EyeLike", [("x", [3, 4])], k=1, dtype=T.INT32)
    for mode in "nearest", "linear", "cubic":
        yield f"Resize_{mode}", model(
            [helper.make_node("Resize", ["x", "", "s"], ["y"], mode=mode,
                              coordinate_transformation_mode="half_pixel")],
            [IMAGE], [("s", np.float32([1, 1, 2, 1.5]))])
    yield "Resize_sizes", model(
        [helper.make_node("Resize", ["x", "r", "", "s"], ["y"], mode="linear", axes=[2, 3],
                          coordinate_transformation_mode="tf_crop_and_resize")],
        [IMAGE], [("r", floats(4)), ("s", ints(4, 9))])
    yield "GridSample", one("GridSample", [IMAGE, ("g", [1, 3, 3, 2])], mode="linear",
                            padding_mode="reflection", align_corners=1)
    yield "RoiAlign", one("RoiAlign", [IMAGE, ("r", [2, 4]), ("i", [2], T.INT64)],
                          output_height=2, output_width=2, sampling_ratio=2)
    yield "CenterCropPad", one("CenterCropPad", [x], [("s", ints(2, 5))])


def control():
    """Bodies of their own, and functions."""
    twice = helper.make_function("own", "Twice", ["a"], ["b"],
                                 [helper.make_node("Add", ["a", "a"], ["b"])],
                                 [helper.make_opsetid("", 21)])
    calls = [helper.make_node("Twice", ["x"], ["t"], domain="own"),
             helper.make_node("Twice", ["t"], ["y"], domain="own")]
    yield "function", model(calls, [("x", [3])], functions=[twice])

    def body(nodes, inputs, outputs):
        return helper.make_graph(nodes, "b", [info(*i) for i in inputs], [info(*o) for o in outputs])

    def relu(name):
        return body([helper.make_node(name, ["x"], ["r"])], [], [("r", [3])])
    branches = {"then_branch": relu("Relu"), "else_branch": relu("Neg")}
    yield "If", model([helper.make_node("If", ["c"], ["y"], **branches)],
                      [("x", [3]), ("c", [], T.BOOL)])
    yield "If_known", model([helper.make_node("If", ["c"], ["y"], **branches)], [("x", [3])],
                            [("c", np.bool_(True))])
    step = body([helper.make_node("Add", ["s", "x"], ["t"]), helper.make_node("Identity", ["go"], ["on"]),
                 helper.make_node("Identity", ["t"], ["u"])],
                [("i", [], T.INT64), ("go", [], T.BOOL), ("s", [3])],
                [("on", [], T.BOOL), ("t", [3]), ("u", [3])])
    yield "Loop", model([helper.make_node("Loop", ["n", "", "x"], ["y", "z"], body=step)],
                        [("x", [3])], [("n", np.int64(4))], ["y", "z"])
    yield "Loop_free", model([helper.make_node("Loop", ["n", "c", "x"], ["y", "z"], body=step)],
                             [("x", [3]), ("n", [], T.INT64), ("c", [], T.BOOL)], (), ["y", "z"])
    scan = body([helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Mul", ["t", "e"], ["u"])],
                [("s", [3]), ("e", [3])], [("t", [3]), ("u", [3])])
    yield "Scan", model([helper.make_node("Scan", ["a", "x"], ["y", "z"], body=scan,
                                          num_scan_inputs=1)],
                        [("a", [3]), ("x", [5, 3])], (), ["y", "z"])
    for name, gates in ("LSTM", 4), ("GRU", 3), ("RNN", 1):
        yield name, one(name, [("x", [3, 2, 4])], [("w", floats(2, 5 * gates, 4)),
                                                   ("r", floats(2, 5 * gates, 5))],
                        2, hidden_size=5, direction="bidirectional")
    yield "NonZero", one("NonZero", [("x", [3, 4])])
    yield "Compress", one("Compress", [("x", [3, 4]), ("c", [3], T.BOOL)], axis=0)
    yield "Unique", one("Unique", [("x", [6])], n_outputs=4, sorted=1)
    yield "NonMaxSuppression", one("NonMaxSuppression", [("b", [1, 6, 4]), ("s", [1, 2, 6])], [
        ("m", np.int64(3)), ("t", np.float32(0.5))])
    sequence = [helper.make_node("SequenceConstruct", ["x", "x"], ["q"]),
                helper.make_node("SequenceAt", ["q", "i"], ["y"])]
    yield "Sequence", model(sequence, [("x", [3])], [("i", np.int64(1))])
    yield "SplitToSequence", model([helper.make_node("SplitToSequence", ["x"], ["q"], axis=0),
                                    helper.make_node("ConcatFromSequence", ["q"], ["y"], axis=0)],
                                   [("x", [4, 3])])


def contributed():
    x = ("x", [1, 3, 8])
    def ms(*arguments, **attributes):
        return one(*arguments, domain="com.microsoft", **attributes)
    yield "FastGelu", ms("FastGelu", [x], [("b", floats(8))])
    yield "SkipLayerNormalization", ms("SkipLayerNormalization", [x, ("k", [1, 3, 8])], [
        ("g", floats(8)), ("b", floats(8))])
    yield "MultiHeadAttention", ms("MultiHeadAttention", [x, ("k", [1, 3, 8]), ("v", [1, 3, 8])],
                                   num_heads=2)
    yield "MatMulNBits", ms("MatMulNBits", [("x", [2, 32])], [
        ("b", np.ones((4, 1, 16), np.uint8)), ("s", np.ones(4, np.float32))], K=32, N=4, bits=4,
        block_size=32)


def files():
    """Ways to store a tensor."""
    tensors = {
        "float_data": T(name="w", data_type=1, dims=[2], float_data=[1, 2]),
        "raw": T(name="w", data_type=10, dims=[2], raw_data=b"\0\0\1\1"),
        "int4": T(name="w", data_type=T.INT4, dims=[3], raw_data=b"\x21\x03"),
        "int32_data": T(name="w", data_type=T.BFLOAT16, dims=[2], int32_data=[16256, 16384]),
        "float8": T(name="w", data_type=T.FLOAT8E4M3FN, dims=[2], raw_data=b"\x38\x40"),
        "external": T(name="w", data_type=1, dims=[4], data_location=T.EXTERNAL)}
    for key, value in ("location", "weights.bin"), ("offset", "16"), ("length", "16"):
        tensors["external"].external_data.add(key=key, value=value)
    for name, tensor in tensors.items():
        made = model([helper.make_node("Identity", ["w"], ["y"])], [])
        made.graph.initializer.append(tensor)
        yield f"tensor_{name}", made
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], [("x", [4])])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(
        helper.make_tensor("w", T.FLOAT, [2], [1, 2]), helper.make_tensor("", T.INT64, [2], [0, 3]),
        [4]))
    yield "tensor_sparse", made


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in files:
        (folder / name).write_bytes(data)
    print(f"{folder.name}: {len(files)} files, {sum(len(d) for _, d in files)} bytes")


def compiled(gpucc, work, text, *options):
    graph, out = work / "graph.ir", work / "out"
    graph.write_text('graph "g"\n' + text)
    subprocess.run([gpucc, graph, *options, "-o", out], check=True)
    return out.read_bytes()


class Form(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p)]


def form_names(library):
    """The instruction forms that the emulator knows."""
    form = ctypes.CDLL(library).gpucc_emu_form
    form.restype, form.argtypes = ctypes.POINTER(Form), [ctypes.c_size_t]
    i = 0
    while entry := form(i):
        yield entry.contents.name.decode()
        i += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    build = pathlib.Path(parser.parse_args().build).resolve()
    gpucc, seeds = build / "bin" / "gpucc", HERE / "seeds"
    made = [(f"{name}.onnx", m.SerializeToString(deterministic=True))
            for group in (elementwise, views, sums, products, places, control, contributed, files)
            for name, m in group()]
    write(seeds / "import", made)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        write(seeds / "ptx", [("by_hand.ptx", BY_HAND.encode())] + [
            (f"{n}.ptx", compiled(gpucc, work, (TESTS / "kernels" / f"{n}.ir").read_text(),
                                  "--emit=ptx", "--target=sm_90a")) for n in PTX])
        write(seeds / "plan", [(f"{n}.plan", compiled(gpucc, work, text, "--target=portable"))
                               for n, text in PLANS.items()])
    subprocess.run([build / "bin" / "plan_seeds", seeds / "plan"], check=True)
    names = sorted({part for name in form_names(build / "lib" / "libgpucc_emu.so")
                    for part in (name, "." + name.split(".")[-1])})
    (seeds / "ptx.dict").write_text("".join(f'"{n}"\n' for n in names))


if __name__ == "__main__":
    main()
