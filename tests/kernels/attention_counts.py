#!/usr/bin/env python3
"""Attention's kernels by the emulator's counters.

    attention_counts.py --build BUILD

On tensor cores, for each head size, type, and way in which keys come to shared memory: no bank conflicts in
main loops, and races looked for. In each form of the kernel: a causal mask saves the tiles of keys that no
query of a block sees. Where few queries leave multiprocessors idle, the keys of each are split over blocks,
of sizes that only the run tells too, and the bits are the same on one thread and on many.
"""
import argparse
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

SIZES = [16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128]
TYPES = [("f16", ""), ("bf16", ""), ("f32", " math(tf32)"), ("f32", " math(f32x3)")]
# Half of all tiles are hidden, but for those on the diagonal; what stands around the loop stays.
MOST_CAUSAL = 0.65


def graph(kind, size, math="", queries=96, keys=160, heads=2, causal=False, computed=False):
    """computed: keys and values pass through registers, as what is no view must."""
    shapes = [queries, keys, keys]
    text = 'graph "attention"\n'
    text += "".join(f'%{i} = input "{name}" : {kind}[1, {heads}, {rows}, {size}]\n'
                   for i, (name, rows) in enumerate(zip("qkv", shapes)))
    k, v = ("%4", "%5") if computed else ("%1", "%2")
    if computed:
        text += "%4 = neg %1\n%5 = neg %2\n"
    return text + (f"%6 = attention %0, {k}, {v} {{to={kind}, scale=0.125, softcap=0, causal="
                   f'{"true" if causal else "false"}, offset=0, zero=false}}{math}\noutput "y" = %6\n')


def counters(build, text, *options):
    """The counters of the one kernel whose name says attention, and its output's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "graph.ir").write_text(text)
        for command in (["gpucc", work / "graph.ir", "-o", work / "plan", "--target=sm_80"],
                        ["gpurun", "run", work / "plan", "--seed", "1", "--device=emu", "--race",
                         f"--stats={work / 'stats.json'}", "--outputs", work / "out", *options]):
            done = subprocess.run([build / "bin" / command[0], *command[1:]], capture_output=True,
                                  text=True, errors="replace")
            if done.returncode != 0:
                raise SystemExit(f"{done.stderr.strip()}\n{text}")
        kernels = json.loads((work / "stats.json").read_text())["kernels"]
        output = (work / "out" / "output_0.pb").read_bytes()
    found = [kernel for kernel in kernels if "attention" in kernel["kernel"]]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} kernels of attention:\n{text}")
    return found[0] | {"output": output}


def conflicts(build):
    """What is wrong, line by line."""
    for (kind, math), size, computed in itertools.product(TYPES, SIZES, (False, True)):
        kernel = counters(build, graph(kind, size, math, computed=computed))
        name = f"{kind}{math}, heads of {size}{', computed' if computed else ''}"
        if not kernel["tensor_instructions"]:
            yield f"{name}: not on tensor cores"
        if kernel["main_loop_conflicts"]:
            yield f"{name}: {kernel['main_loop_conflicts']} bank conflicts in the main loop"


def hidden(build):
    """The same of instructions, where half of the keys are hidden."""
    for name, kind, math in (("row", "f64", ""), ("tile", "f32", ""), ("mma", "f16", ""),
                             ("tf32", "f32", " math(tf32)")):
        length = 256 if name == "row" else 1024
        all_seen, half = (counters(build, graph(kind, 32, math, length, length, 1, causal))
                            ["warp_instructions"]
                          for causal in (False, True))
        print(f"{name}: causal executes {half / all_seen:.2f} of the instructions")
        if half > MOST_CAUSAL * all_seen:
            yield f"{name}: causal executes {half} instructions of {all_seen}"


def split(build):
    """Each block of a query whose keys are split takes a ticket."""
    for name, queries, kind in (("row", "1", "f16"), ("mma", "m", "f16"), ("tile", "m", "f32")):
        text = ('graph "attention"\nsymbol m in [1, 512]\nsymbol n in [1, 65536]\n'
                f'%0 = input "q" : {kind}[1, 4, {queries}, 64]\n%1 = input "k" : {kind}[1, 4, n, 64]\n'
                f'%2 = input "v" : {kind}[1, 4, n, 64]\n%3 = input "rows" : {kind}[m]\n'
                "source m = dim 3, 0\nsource n = dim 1, 2\n"
                f"%4 = attention %0, %1, %2 {{to={kind}, scale=0.125, softcap=0, causal=true, "
                'offset=n - 1, zero=false}\noutput "y" = %4\n')
        for keys, tickets in ((256, 0), (8192, 64)):
            shapes = [f"--shape={name}=1x4x{rows}x64" for name, rows in zip("qkv", (1, keys, keys))]
            kernel = counters(build, text, *shapes, "--shape=rows=1")
            again = counters(build, text, *shapes, "--shape=rows=1", "--threads", "1")
            found = sum(n for form, n in kernel["instructions"].items() if form.startswith("atom."))
            if found != tickets:
                yield f"{name} {kind}: {keys} keys in {found} parts, not {tickets}"
            if kernel["output"] != again["output"]:
                yield f"{name} {kind}: other bits on one thread"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, type=pathlib.Path)
    build = parser.parse_args().build
    wrong = [*hidden(build), *split(build), *conflicts(build)]
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
