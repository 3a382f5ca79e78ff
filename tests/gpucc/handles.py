#!/usr/bin/env python3
"""gpucc's options about the model's border, on small models: handles.py --build BUILD RULE

Each rule compiles with an option, runs the plan on the emulator and compares with numpy or with the
plan made without it.
"""
import argparse
import ctypes
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

F32, I64, U8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8
RANDOM = np.random.default_rng(4)


class Bench:
    """A folder to work in, and the tools."""

    def __init__(self, build, folder):
        self.tools = harness.Tools(build, target="portable")
        self.folder = pathlib.Path(folder)

    def model(self, nodes, inputs, outputs, constants=None):
        graph = helper.make_graph(
            nodes, "handles", [helper.make_tensor_value_info(*i) for i in inputs],
            [helper.make_tensor_value_info(*o) for o in outputs],
            [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 8
        onnx.save(model, self.folder / "model.onnx")

    def compile(self, *options):
        code, _, errors = self.tools.compile(self.folder / "model.onnx", self.folder / "plan",
                                             *options)
        assert code == 0, errors

    def refused(self, message, *options):
        code, _, errors = self.tools.compile(self.folder / "model.onnx", self.folder / "plan",
                                             *options)
        assert code == 2, f"exit {code}: {errors}"
        assert errors == f"gpucc: {message}\n", errors

    def run(self, *inputs):
        with tempfile.TemporaryDirectory() as folder:
            for i, array in enumerate(inputs):
                harness.save_tensor(pathlib.Path(folder) / f"input_{i}.pb", np.asarray(array))
            return self.tools.outputs(self.folder / "plan", folder)

    def inspect(self):
        code, text, errors = self.tools.run(self.tools.bin / "gpurun", "inspect",
                                            self.folder / "plan", "--json")
        assert code == 0, errors
        return json.loads(text)


def same(got, wanted):
    wrong = harness.mismatch(got, wanted)
    assert wrong is None, wrong


def convolution(bench, dtype=F32):
    """NCHW, free batch and height; gives a function that computes it."""
    weight = RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32)
    bench.model([helper.make_node("Conv", ["image", "w"], ["h"], pads=[1, 1, 1, 1]),
                 helper.make_node("Relu", ["h"], ["y"])],
                [("image", dtype, ["n", 3, "height", 8])], [("y", dtype, ["n", 4, "height", 8])],
                {"w": weight})

    def compute(x):
        padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        return np.maximum(np.einsum("nchwij,ocij->nohw", windows, weight), 0).astype(np.float32)
    return compute


def a_frozen_input_is_a_constant(bench):
    bench.model([helper.make_node("Reshape", ["x", "shape"], ["r"]),
                 helper.make_node("Add", ["r", "bias"], ["y"])],
                [("x", F32, ["n"]), ("shape", I64, [2]), ("bias", F32, ["columns"])],
                [("y", F32, [None, None])])
    np.save(bench.folder / "shape.npy", np.array([-1, 3], np.int64))
    bias = RANDOM.standard_normal(3).astype(np.float32)
    harness.save_tensor(bench.folder / "bias.pb", bias)
    x = RANDOM.standard_normal(12).astype(np.float32)
    bench.compile("--freeze", f"shape={bench.folder}/shape.npy", "--freeze",
                  f"bias={bench.folder}/bias.pb", "-MD")
    assert [i["name"] for i in bench.inspect()["inputs"]] == ["x"]
    assert f"{bench.folder}/bias.pb" in (bench.folder / "plan.d").read_text()
    same(bench.run(x)[0], x.reshape(-1, 3) + bias)


def what_cannot_be_frozen_is_said(bench):
    convolution(bench)
    np.save(bench.folder / "a.npy", np.zeros((1, 3, 8, 9), np.float32))
    np.save(bench.folder / "b.npy", np.zeros((1, 3, 8, 8), np.float64))
    path = bench.folder
    bench.refused("model.onnx: --freeze image=1x3x8x9 contradicts the model, where it is nx3xheightx8",
                  "--freeze", f"image={path}/a.npy")
    bench.refused("model.onnx: --freeze image: the file holds f64, not f32",
                  "--freeze", f"image={path}/b.npy")
    bench.refused("model.onnx: --freeze picture: there is no such input, but 'image'",
                  "--freeze", f"picture={path}/a.npy")
    bench.refused("model.onnx: --shape image: the input is frozen", "--freeze",
                  f"image={path}/b.npy", "--shape", "image=1x3x8x8")
    bench.refused("--freeze 'image': wanted NAME=FILE, such as mask=mask.npy", "--freeze", "image")


def an_inner_value_becomes_an_output(bench):
    bench.model([helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Exp", ["a"], ["b"]),
                 helper.make_node("Add", ["b", "x"], ["y"])],
                [("x", F32, ["n", 5])], [("y", F32, ["n", 5])])
    x = RANDOM.standard_normal((2, 5)).astype(np.float32)
    bench.compile("--output", "b", "--output", "a")
    assert [o["name"] for o in bench.inspect()["outputs"]] == ["y", "b", "a"]
    for got, wanted in zip(bench.run(x), [np.exp(-x) + x, np.exp(-x), -x]):
        same(got, wanted)
    bench.compile("--output", "a", "--no-output", "y")
    assert [o["name"] for o in bench.inspect()["outputs"]] == ["a"]
    same(bench.run(x)[0], -x)
    bench.refused("model.onnx: --output c: the model's graph has no value of that name",
                  "--output", "c")
    bench.refused("model.onnx: --output y: it is an output already", "--output", "y")
    bench.refused("model.onnx: --no-output b: there is no such output, but 'y'",
                  "--no-output", "b")
    bench.refused("model.onnx: no output is left", "--no-output", "y")


def a_camera_image_goes_into_the_first_kernel(bench):
    compute = convolution(bench)
    bench.compile()
    launches = bench.inspect()["launches"]
    bench.compile("--io", "image=u8:nhwc")
    plan = bench.inspect()
    assert plan["inputs"] == [{"name": "image", "kind": "tensor", "dtype": "u8",
                               "shape": ["n", "height", 8, 3]}], plan["inputs"]
    assert plan["launches"] == launches, "the conversion is a kernel of its own"
    for height in 8, 5:
        image = RANDOM.integers(0, 256, (2, height, 8, 3), np.uint8)
        same(bench.run(image)[0], compute(image.transpose(0, 3, 1, 2)))


def outputs_leave_in_the_type_and_layout_that_is_asked(bench):
    compute = convolution(bench)
    x = RANDOM.standard_normal((1, 3, 8, 8)).astype(np.float32)
    bench.compile()
    launches = bench.inspect()["launches"]
    bench.compile("--io", "y=f16")
    same(bench.run(x)[0], compute(x).astype(np.float16))
    assert bench.inspect()["launches"] == launches, "the conversion is a kernel of its own"
    bench.compile("--io", "y=f16:nhwc")
    same(bench.run(x)[0], compute(x).transpose(0, 2, 3, 1).astype(np.float16))
    bench.compile("--io", "y=:nhwc", "--io", "h=f64", "--output", "h")
    y, h = bench.run(x)
    same(y, compute(x).transpose(0, 2, 3, 1))
    same(np.maximum(h, 0), compute(x).astype(np.float64))


def a_channels_last_model_takes_channels_first(bench):
    bench.model([helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
                [("x", F32, ["n", 4, 6, 3])], [("y", F32, ["n", 3])],
                {"axes": np.array([1, 2], np.int64)})
    bench.compile("--io", "x=i8:nchw")
    x = RANDOM.integers(-128, 128, (2, 3, 4, 6), np.int8)
    same(bench.run(x)[0], x.astype(np.float32).sum((2, 3)))


def what_an_interface_cannot_be_is_said(bench):
    convolution(bench)
    bench.refused("model.onnx: --io image: the layout nwc is not for rank 4", "--io", "image=u8:nwc")
    bench.refused("model.onnx: --io picture: there is no such input or output, but 'image', 'y'",
                  "--io", "picture=u8")
    bench.refused("model.onnx: --io image: is given twice", "--io", "image=u8", "--io", "image=f16")
    wanted = "wanted NAME=TYPE, NAME=TYPE:LAYOUT or NAME=:LAYOUT, such as image=u8:nhwc; layouts " \
             "are nwc, ncw, nhwc, nchw, ndhwc, ncdhw"
    for value in "image", "image=string", "image=u8:nhcw", "image=", "image=:":
        bench.refused(f"--io '{value}': {wanted}", "--io", value)


def cache_update(bench):
    """present = past with rows `at` replaced by `new`"""
    bench.model([helper.make_node("ScatterElements", ["past", "at", "new"], ["present"], axis=0),
                 helper.make_node("ReduceSum", ["present"], ["y"], keepdims=0)],
                [("past", F32, [16, 4]), ("at", I64, [1, 4]), ("new", F32, [1, 4])],
                [("present", F32, [16, 4]), ("y", F32, [])])


def aliased(bench, *options, warning=None):
    """Compiles; launches and copies of the plan. What gpucc says must be the warning, if any."""
    code, _, errors = bench.tools.compile(bench.folder / "model.onnx", bench.folder / "plan",
                                          *options)
    assert code == 0, errors
    assert errors == (f"gpucc: {warning}\n" if warning else ""), errors
    plan = bench.inspect()
    return plan["launches"], plan["copies"]


def a_scattered_cache_is_not_copied(bench):
    cache_update(bench)
    assert aliased(bench) == (3, 0)
    assert aliased(bench, "--alias", "present=past", "--check-passes") == (2, 0)
    assert bench.inspect()["outputs"][0]["in_memory_of"] == "past"
    past, new = RANDOM.standard_normal((2, 16, 4)).astype(np.float32)
    present, y = bench.run(past, np.full((1, 4), 3, np.int64), new[:1])
    past[3] = new[0]
    same(present, past)
    same(y, past.sum())


def maps_write_in_place(bench):
    bench.model([helper.make_node("Where", ["mask", "new", "past"], ["present"]),
                 helper.make_node("Exp", ["present"], ["y"])],
                [("mask", TensorProto.BOOL, ["n", 1]), ("new", F32, ["n", 4]),
                 ("past", F32, ["n", 4])], [("present", F32, ["n", 4]), ("y", F32, ["n", 4])])
    before = aliased(bench)
    assert aliased(bench, "--alias", "present=past") == before
    mask = np.arange(5).reshape(5, 1) % 2 == 0
    new, past = RANDOM.standard_normal((2, 5, 4)).astype(np.float32)
    present, y = bench.run(mask, new, past)
    same(present, np.where(mask, new, past))
    same(y, np.exp(present))


def a_cache_grows_at_its_end_in_place(bench):
    bench.model([helper.make_node("Concat", ["past", "new"], ["present"], axis=0)],
                [("past", F32, ["n", 4]), ("new", F32, [1, 4])], [("present", F32, [None, 4])])
    assert aliased(bench, "--alias", "present=past") == (1, 0)
    past, new = RANDOM.standard_normal((2, 5, 4)).astype(np.float32)
    same(bench.run(past, new[:1])[0], np.concatenate([past, new[:1]]))


def what_cannot_be_made_in_place_is_copied_there(bench):
    heads = [("past", F32, [2, "n", 4]), ("new", F32, [2, 1, 4])]
    bench.model([helper.make_node("Concat", ["past", "new"], ["present"], axis=1)], heads,
                [("present", F32, [2, None, 4])])
    moved = "present: is made beside 'past' and copied into it: its elements lie elsewhere than the " \
            "input's"
    assert aliased(bench, "--alias", "present=past", warning=f"model.onnx: {moved}".replace(
        "present:", "present: warning:")) == (1, 1)
    past, new = RANDOM.standard_normal((2, 2, 5, 4)).astype(np.float32)
    same(bench.run(past, new[:, :1])[0], np.concatenate([past, new[:, :1]], 1))

    bench.model([helper.make_node("Add", ["past", "new"], ["present"]),
                 helper.make_node("MatMul", ["present", "past"], ["y"])],
                [("past", F32, [8, 8]), ("new", F32, [8, 8])],
                [("present", F32, [8, 8]), ("y", F32, [8, 8])])
    late = "model.onnx: present: warning: is made beside 'past' and copied into it: a later step " \
           "still reads the input"
    assert aliased(bench, "--alias", "present=past", warning=late) == (2, 1)
    past, new = RANDOM.standard_normal((2, 8, 8)).astype(np.float32)
    present, y = bench.run(past, new)
    same(present, past + new)
    same(y, (past + new) @ past)


def inputs_can_swap_their_memory(bench):
    bench.model([helper.make_node("Identity", ["a"], ["x"]), helper.make_node("Identity", ["b"], ["y"])],
                [("a", F32, [9]), ("b", F32, [9])], [("x", F32, [9]), ("y", F32, [9])])
    bench.compile("--alias", "x=b", "--alias", "y=a")
    a, b = RANDOM.standard_normal((2, 9)).astype(np.float32)
    x, y = bench.run(a, b)
    same(x, a)
    same(y, b)


def a_cache_stays_on_the_device_step_by_step(bench):
    """Through the C interface: one address for input and output, and no copy between the steps."""
    cache_update(bench)
    bench.compile("--alias", "present=past")
    runtime = ctypes.CDLL(bench.tools.bin.parent / "lib" / "libgpucc_runtime.so")
    emulator_file = str(bench.tools.bin.parent / "lib" / "libgpucc_emu.so")
    emulator = ctypes.CDLL(emulator_file)
    runtime.gpucc_last_error.restype = ctypes.c_char_p
    plan, device, context = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()

    def call(name, *arguments, fails=None):
        status = getattr(runtime, name)(*arguments)
        assert (status != 0) == (fails is not None), runtime.gpucc_last_error()
        assert fails is None or runtime.gpucc_last_error().decode() == fails, \
            runtime.gpucc_last_error()

    def bind(kind, index, memory, pointer, size):
        call(f"gpucc_context_bind_{kind}", context, index, memory, ctypes.c_void_p(pointer),
             ctypes.c_size_t(size))

    call("gpucc_plan_open", str(bench.folder / "plan").encode(), 0, ctypes.byref(plan))
    call("gpucc_device_open", emulator_file.encode(), 0, ctypes.byref(device))
    call("gpucc_context_create", plan, device, ctypes.byref(context))
    primary, address, other = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_uint64()
    emulator.cuDevicePrimaryCtxRetain(ctypes.byref(primary), 0)
    emulator.cuCtxPushCurrent_v2(primary)
    wanted = RANDOM.standard_normal((16, 4)).astype(np.float32)
    for place in address, other:
        assert emulator.cuMemAlloc_v2(ctypes.byref(place), ctypes.c_size_t(wanted.nbytes)) == 0
    emulator.cuMemcpyHtoD_v2(address, wanted.ctypes.data_as(ctypes.c_void_p),
                             ctypes.c_size_t(wanted.nbytes))
    at, total = np.zeros((1, 4), np.int64), np.zeros((), np.float32)
    new = np.zeros((1, 4), np.float32)
    bind("input", 0, 1, address.value, wanted.nbytes)
    bind("input", 1, 0, at.ctypes.data, at.nbytes)
    bind("input", 2, 0, new.ctypes.data, new.nbytes)
    bind("output", 0, 1, other.value, wanted.nbytes)
    bind("output", 1, 0, total.ctypes.data, total.nbytes)
    call("gpucc_context_run_sync", context,
         fails="output 'present' lies in the memory of input 'past': bind the same address of the "
               "device to both, or leave the output unbound")
    bind("output", 0, 1, address.value, wanted.nbytes)
    for step in range(4):
        at[:], new[:] = step * 3, RANDOM.standard_normal((1, 4))
        wanted[step * 3] = new[0]
        call("gpucc_context_run_sync", context)
        same(total, wanted.sum())
        if step == 1:
            bind("output", 0, 1, None, 0) # unbound, it lies there all the same
    got = np.empty_like(wanted)
    emulator.cuMemcpyDtoH_v2(got.ctypes.data_as(ctypes.c_void_p), address,
                             ctypes.c_size_t(got.nbytes))
    same(got, wanted)
    runtime.gpucc_context_destroy(context)
    runtime.gpucc_device_close(device)
    runtime.gpucc_plan_close(plan)


def what_cannot_share_memory_is_said(bench):
    cache_update(bench)
    outputs, inputs = "'present', 'y'", "'past', 'at', 'new'"
    for value, why in (("gone=past", f"gone past: there is no such output, but {outputs}"),
                       ("present=gone", f"present gone: there is no such input, but {inputs}")):
        bench.refused(f"model.onnx: --alias {why}", "--alias", value)
    bench.refused("model.onnx: --alias y past: one of them is in another --alias already",
                  "--alias", "present=past", "--alias", "y=past")
    bench.refused("--alias 'present': wanted OUTPUT=INPUT, such as present_k=past_k",
                  "--alias", "present")


def main():
    rules = {name: rule for name, rule in globals().items() if getattr(rule, "__code__", None) and
             rule.__code__.co_varnames[:rule.__code__.co_argcount] == ("bench",)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("rule", choices=rules)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rules[options.rule](Bench(options.build, folder))


if __name__ == "__main__":
    main()
