#!/usr/bin/env python3
"""Bytes that the networks of zoo.py move, against a count made by hand, and how tensor-core kernels move them.

    figures.py --build BUILD [--full] [--only NAME] [--precision fp16] [--bless]

What must be moved is counted below for each network from its shapes: weights once, inputs and outputs,
and each tensor that the stated fusion leaves, once written and once for each kernel that reads it. The
emulator counts what launches, copies and fills move: a sector of 32 bytes counts once per launch,
however often it is read. A plan may move 1.2 times the count, the limit of the project.

Of tensor-core kernels the emulator counts bank conflicts in main loops, of which there may be none, and
the part of the sectors that is used: in each of the full ResNet-50, BERT and ViT at least 95 %.

figures.tsv keeps the figures, and none may get worse: --bless writes what is measured. --full takes the
full networks, else thin ones of the same structure: their rows are shorter than sectors are, so that
more is moved than counted, and less of the sectors used.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import harness  # noqa: E402
import zoo  # noqa: E402

TABLE = HERE / "figures.tsv"
THIN = {"resnet50": (4, 64, 64), "mobilenet_v2": (4, 32, 64), "squeezenet": (3, 64, 64),
        "unet": (2, 32, 64), "bert": (2, 256, 64), "vit": (2, 256, 128), "gpt2": (2, 256, 64)}
MOST_BYTES = 1.2  # times the count
LEAST_USEFUL = 0.95
GATHERED_WELL = ("resnet50", "bert", "vit")  # at full size
NOISE = 1.01  # what a tile that is chosen otherwise may move more than the figures kept
FLOAT = 4  # bytes of inputs and outputs, which keep their type


class Count:
    """Bytes by what they are."""

    def __init__(self, element):
        self.element, self.parts = element, {}

    def add(self, what, elements, size=None):
        self.parts[what] = self.parts.get(what, 0) + int(elements) * (size or self.element)

    def total(self):
        return sum(self.parts.values())


# Convolutional networks: one kernel for each convolution, product and pooling. What stands between them
# is in their epilogues (BatchNormalization, whose factors are in the weights, activations, Add, which
# reads its other operand) or in no kernel at all (Concat, whose operands are written where they lie in
# it, Flatten, Identity). A 1x1 convolution of stride s reads one pixel of s*s. A depthwise convolution
# may be in the kernel of the 1x1 convolution behind it where that pays, and a pooling of whole images, or
# of windows side by side, in that of the convolution in front of it: the plan tells for which, and what
# lies between the two is in no memory, unless others read it.

KERNELS = ("Conv", "ConvTranspose", "Gemm", "MaxPool", "GlobalAveragePool")
SAME = ("BatchNormalization", "Relu", "Clip", "Flatten", "Identity")


def count_convolutions(model, element, kernel_of):
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    sizes = {v.name: int(np.prod([d.dim_value for d in v.type.tensor_type.shape.dim]))
             for v in (*graph.value_info, *graph.input, *graph.output)}
    weights = {w.name: int(np.prod(w.dims)) for w in graph.initializer}
    inputs, outputs = {v.name for v in graph.input}, {v.name for v in graph.output}
    made = {out: node for node in graph.node for out in node.output}
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    count = Count(element)

    def is_made_in_kernel_of(name, reader):
        """Is the value made by a convolution in the kernel of this convolution or pooling?"""
        while name in made and made[name].op_type in (*SAME, "Add"):
            name = is_sum_of_last(made[name]) if made[name].op_type == "Add" else made[name].input[0]
        return (name in made and made[name].op_type == "Conv" and
                reader.op_type in ("Conv", "GlobalAveragePool", "MaxPool") and
                kernel_of[made[name].name] == kernel_of[reader.name])

    def is_inner(name):
        """Is the value read by the convolution or pooling only in whose kernel it is made?"""
        after = readers.get(name, [])
        return len(after) == 1 and is_made_in_kernel_of(name, after[0])

    def read(name, part=1):
        count.add("inputs" if name in inputs else "activations read", sizes[name] // part,
                  FLOAT if name in inputs else None)

    def is_sum_of_last(node):
        """The operand of an Add in whose kernel it is: that of the later of two convolutions."""
        order = {id(n): i for i, n in enumerate(graph.node)}

        def kernel(name):
            while name in made and made[name].op_type in SAME:
                name = made[name].input[0]
            return order[id(made[name])] if name in made else -1
        return max(node.input, key=kernel)

    def written(name):
        """The value that a kernel leaves: behind all that its epilogue takes."""
        while True:
            after = readers.get(name, [])
            if name in outputs or len(after) != 1:
                return name
            node = after[0]
            if node.op_type in SAME or (node.op_type == "Add" and is_sum_of_last(node) == name):
                name = node.output[0]
            else:
                return name

    for node in graph.node:
        if node.op_type == "Add":
            own = is_sum_of_last(node)
            for name in node.input:
                if name != own:
                    read(name)
        if node.op_type not in KERNELS:
            continue
        for name in node.input[1:]:
            count.add("weights", weights[name])
        attributes = {a.name: list(a.ints) for a in node.attribute if a.ints}
        stride = int(np.prod(attributes.get("strides", [1])))
        one = node.op_type == "Conv" and attributes["kernel_shape"] == [1, 1]
        if not is_made_in_kernel_of(node.input[0], node):
            read(node.input[0], stride if one else 1)
        result = written(node.output[0])
        if is_inner(result):
            continue
        count.add("outputs" if result in outputs else "activations written", sizes[result],
                  FLOAT if result in outputs else None)
    return count


# Transformers, layer by layer. Kernels: normalization (its own, since it needs whole rows), q, k and v
# in one product, attention from scores to sum, product with bias and residual, normalization, product
# with GELU, product with residual.

def count_layer(count, rows, width):
    stream = rows * width
    count.add("weights", 12 * width * width + 13 * width)
    products = [("q, k and v", stream, 3 * stream), ("attention", 3 * stream, stream),
                ("attention's product", 2 * stream, stream), ("first product", stream, 4 * stream),
                ("second product", 5 * stream, stream)]
    for what, reads, writes in products:
        count.add(what, reads + writes)
    count.add("normalizations", 4 * stream)  # two, each in front of products or behind the sum


def count_bert(layers, width, size, element):
    count, stream = Count(element), size * width
    count.add("inputs", 3 * size, 8)
    count.add("embeddings", (2 + size + 2) * width)  # ids and types of seeded inputs are 0 or 1
    count.add("embeddings summed and normalized", 3 * stream)
    for _ in range(layers):
        count_layer(count, size, width)
    count.add("outputs", stream + width, FLOAT)
    count.add("pooler", width * width + 2 * width)
    return count


def count_vit(layers, width, size, element):
    count, patches = Count(element), (size // 16) ** 2
    count.add("inputs", 3 * size * size, FLOAT)
    count.add("patches", 768 * width + patches * width * 3 + (patches + 1) * width * 2)
    for _ in range(layers):
        count_layer(count, patches + 1, width)
    count.add("last normalization, of one row, and head", 2 * width + 1000 * width + 1000)
    count.add("outputs", 1000, FLOAT)
    return count


def count_gpt2(layers, width, size, element):
    count = Count(element)
    table = 50257 * width // 768 * width
    count.add("embeddings", 3 * width)
    count.add("table, for the logits", table)
    for _ in range(layers):
        count_layer(count, 1, width)
        # The cache is an input and, with one key and value more, an output, which attention reads.
        count.add("cache read", 2 * size * width, FLOAT)
        count.add("cache written", 2 * (size + 1) * width, FLOAT)
        count.add("cache read by attention", 2 * (size + 1) * width, FLOAT)
    count.add("outputs", table // width, FLOAT)
    return count


BY_HAND = {"bert": count_bert, "vit": count_vit, "gpt2": count_gpt2}


def count_of(name, model, sizes, element, kernel_of):
    sizes = [given or default for given, default in zip(sizes, zoo.NETWORKS[name][1])]
    if name in BY_HAND:
        return BY_HAND[name](*sizes, element)
    return count_convolutions(model, element, kernel_of)


# What the emulator counts.

def run(tools, path, plan):
    with tempfile.TemporaryDirectory() as folder:
        stats = pathlib.Path(folder) / "stats.json"
        code, _, errors = tools.run(tools.bin / "gpurun", "run", plan, "--seed", 1, "--device=emu",
                                    f"--stats={stats}", "--outputs", pathlib.Path(folder) / "out")
        if code:
            raise RuntimeError(harness.describe(code, errors))
        return json.loads(stats.read_text())


def kernels_by_node(tools, plan):
    """Number of the launch that computes each ONNX node, by the node's name."""
    _, text, _ = tools.run(tools.bin / "gpurun", "inspect", plan, "--json")
    steps = json.loads(text)["programs"][0]["steps"]
    return {node.split(" (")[0]: number for number, step in enumerate(steps)
            for node in step.get("nodes", "").split(", ") if node}


def check_kernels(stats):
    """Of kernels with tensor instructions: the least useful part of sectors and whose it is, and the
    conflicts in main loops."""
    kernels = [k for k in stats["kernels"] if k["tensor_instructions"]]
    useful = [(k["global_bytes"] / (32 * k["global_sectors"]), k["kernel"]) for k in kernels]
    conflicts = [(k["kernel"], k["main_loop_conflicts"]) for k in kernels
                 if k["main_loop_conflicts"]]
    return min(useful, default=(1, "")), conflicts


def check(tools, name, full, precision, work, kept):
    """(row of figures, [what is wrong]); kept: the row of figures.tsv, or None."""
    sizes = (None, None, None) if full else THIN[name]
    model = zoo.build(name, *sizes)
    path, plan = work / "model.onnx", work / "model.plan"
    path.write_bytes(model.SerializeToString())
    options = [f"--precision={precision}"] if precision != "fp32" else []
    code, _, errors = tools.compile(path, plan, *options)
    if code:
        return None, [harness.describe(code, errors)]
    stats = run(tools, path, plan)
    count = count_of(name, model, sizes, 2 if precision == "fp16" else 4,
                     kernels_by_node(tools, plan))
    moved = stats["read_bytes"] + stats["written_bytes"] + stats["filled_bytes"]
    ratio = moved / count.total()
    (useful, least), conflicts = check_kernels(stats)
    wrong = []
    if ratio > MOST_BYTES:
        wrong.append(f"moves {moved} bytes, {ratio:.3f} times what it must: " +
                     ", ".join(f"{what} {n}" for what, n in count.parts.items()))
    if ratio < 0.9:
        wrong.append(f"moves {moved} bytes, less than the count, {count.total()}: count again")
    if full and name in GATHERED_WELL and useful < LEAST_USEFUL:
        wrong.append(f"{least} uses {useful:.3f} of its sectors")
    wrong += [f"{kernel}: {n} bank conflicts in its main loop" for kernel, n in conflicts]
    if kept and (stats["launches"] > int(kept[3]) or moved > NOISE * int(kept[4])):
        wrong.append(f"{stats['launches']} launches move {moved} bytes: {kept[3]} moved {kept[4]} "
                     "as figures.tsv has it")
    return (name, "full" if full else "thin", precision, stats["launches"], moved, count.total(),
            f"{ratio:.3f}", f"{useful:.3f}"), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=harness.ROOT / "build")
    parser.add_argument("--target", default="sm_80")
    parser.add_argument("--only", choices=THIN)
    parser.add_argument("--precision", action="append")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--bless", action="store_true")
    options = parser.parse_args()
    tools, failed = harness.Tools(options.build, options.target), 0
    rows = {tuple(line.split("\t")[:3]): line.split("\t")
            for line in (TABLE.read_text().splitlines()[1:] if TABLE.exists() else [])}
    for name in [options.only] if options.only else THIN:
        for precision in options.precision or ("fp32", "fp16"):
            with tempfile.TemporaryDirectory() as folder:
                kept = rows.get((name, "full" if options.full else "thin", precision))
                row, wrong = check(tools, name, options.full, precision, pathlib.Path(folder),
                                   None if options.bless else kept)
            print(*(row or (name, precision)), sep="\t", flush=True)
            for what in wrong:
                print(f"WRONG {name} {precision}: {what}", file=sys.stderr, flush=True)
            failed += bool(wrong)
            if row:
                rows[tuple(row[:3])] = [str(cell) for cell in row]
    if options.bless:
        heading = "network\tsizes\tprecision\tlaunches\tbytes moved\tbytes counted\tratio\tuseful\n"
        TABLE.write_text(heading + "".join("\t".join(rows[key]) + "\n" for key in sorted(rows)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
