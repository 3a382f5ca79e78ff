#!/usr/bin/env python3
"""Attention's kernels by the emulator's counters.

    attention_counts.py --build BUILD

On tensor cores, for each head size, type, and way in which keys come to shared memory: no bank conflicts in
main loops, and races looked for. In each form of the kernel: a causal mask saves the tiles of keys that no
query of a block sees.
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


def counters(build, text):
    """The counters of the one kernel whose name says attention."""
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "graph.ir").write_text(text)
        for command in (["gpucc", work / "graph.ir", "-o", work / "plan", "--target=sm_80"],
                        ["gpurun", "run", work / "plan", "--seed", "1", "--device=emu", "--race",
                         f"--stats={work / 'stats.json'}", "--outputs", work / "out"]):
            done = subprocess.run([build / "bin" / command[0], *command[1:]], capture_output=True,
                                  text=True, errors="replace")
            if done.returncode != 0:
                raise SystemExit(f"{done.stderr.strip()}\n{text}")
        kernels = json.loads((work / "stats.json").read_text())["kernels"]
    found = [kernel for kernel in kernels if "attention" in kernel["kernel"]]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} kernels of attention:\n{text}")
    return found[0]


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, type=pathlib.Path)
    build = parser.parse_args().build
    wrong = [*hidden(build), *conflicts(build)]
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
