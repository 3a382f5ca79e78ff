#!/usr/bin/env python3
"""Kernels that read pixels whose channels are neighbours in memory, by the emulator's counters.

    vector_counts.py --build BUILD

Pools move 16 bytes at a time and nothing else. Convolutions and products with few results for each row
use what they read of each sector, where they are on tensor cores.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

LEAST_USEFUL = 0.95
WIDE = (".v4.u32", ".v4.f32", ".v2.u64", ".v2.f64")  # 16 bytes
HALVES = {"f16": "0x3800", "f32": "0.5"}


def pointwise(kind, channels, size):
    """An image whose channels are innermost in memory, since a convolution writes them so."""
    layout = "layout([0, 2, 3, 1], [0, 0, 0, 0], [0, 0, 0, 0])"
    return ('graph "pixels"\n'
            f'%0 = input "x" : {kind}[1, 16, {size}, {size}]\n'
            f'%1 = input "w" : {kind}[{channels}, 16, 1, 1]\n'
            f"%2 = conv %0, %1 {{to={kind}, group=1, stride=[1, 1], dilation=[1, 1], low=[0, 0], "
            f"high=[0, 0]}} : {kind}[1, {channels}, {size}, {size}] {layout}\n")


def pool(op, kind, more=""):
    """3x3/2 in padding; the sum behind it takes the layout that the pool gives its result."""
    layout = "layout([0, 2, 3, 1], [0, 0, 0, 0], [0, 0, 0, 0])"
    to = "i64" if op == "pool_arg_max" else kind
    return pointwise(kind, 64, 64) + (
        f"%3 = {op} %2 {{kernel=[3, 3], stride=[2, 2], dilation=[1, 1], low=[1, 1], high=[0, 0], "
        f"size=[32, 32]{more}}} : {to}[1, 64, 32, 32] {layout}\n"
        '%4 = reduce_sum %3 {axes=[2, 3]}\noutput "y" = %4\n')


def convolution(kind, results, taps):
    weights = ", ".join([HALVES[kind]] * (results * 64 * taps * taps))
    pad = taps // 2
    return pointwise(kind, 64, 64) + (
        f"%3 = constant {{type={kind}, shape=[{results}, 64, {taps}, {taps}], data=[{weights}]}}\n"
        f"%4 = conv %2, %3 {{to={kind}, group=1, stride=[1, 1], dilation=[1, 1], low=[{pad}, {pad}], "
        f'high=[{pad}, {pad}]}}\noutput "y" = %4\n')


def product(kind, rows, columns):
    weights = ", ".join([HALVES[kind]] * (64 * columns))
    return ('graph "product"\n'
            f'%0 = input "x" : {kind}[{rows}, 64]\n'
            f"%1 = constant {{type={kind}, shape=[64, {columns}], data=[{weights}]}}\n"
            f'%2 = matmul %0, %1 {{to={kind}}}\noutput "y" = %2\n')


def counters(build, text):
    """The counters of the kernels, by name."""
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "graph.ir").write_text(text)
        for command in (["gpucc", work / "graph.ir", "-o", work / "plan", "--target=sm_80"],
                        ["gpurun", "run", work / "plan", "--seed", "1", "--device=emu",
                         f"--stats={work / 'stats.json'}"]):
            done = subprocess.run([build / "bin" / command[0], *command[1:]], capture_output=True,
                                  text=True, errors="replace")
            if done.returncode != 0:
                raise SystemExit(f"{done.stderr.strip()}\n{text}")
        return {kernel["kernel"]: kernel
                for kernel in json.loads((work / "stats.json").read_text())["kernels"]}


def pools(build):
    """What is wrong, line by line."""
    for kind in ("f16", "f32"):
        for op, more in (("pool_max", ""), ("pool_mean", ", count_pad=false"), ("pool_lp", ", p=2"),
                         ("pool_arg_max", ", row_major=true")):
            name = f"{op} of {kind}"
            found = [k for symbol, k in counters(build, pool(op, kind, more)).items()
                     if symbol.startswith("window")]
            if len(found) != 1:
                yield f"{name}: {len(found)} kernels of windows"
                continue
            moves = [form for form in found[0]["instructions"]
                     if form.startswith(("ld.global", "st.global"))]
            narrow = [form for form in moves if not form.endswith(WIDE)]
            if not moves or narrow:
                yield f"{name}: moves {' '.join(narrow) or 'nothing'}"


def few(build):
    """The same of contractions: those that read the rows, not what makes them."""
    cases = [(f"convolution of {results} results by {taps}x{taps}", convolution("f16", results, taps), 2)
             for taps in (1, 3) for results in (1, 2, 5)]
    cases += [(f"product of {columns} columns", product("f16", 8192, columns), 1) for columns in (2, 4, 8)]
    for name, text, kernels in cases:
        found = counters(build, text)
        if len(found) != kernels:
            yield f"{name}: {len(found)} kernels, not {kernels}"
        for symbol, kernel in found.items():
            useful = kernel["global_bytes"] / (32 * kernel["global_sectors"])
            print(f"{name}: {symbol} uses {useful:.3f} of {kernel['global_sectors']} sectors")
            if useful < LEAST_USEFUL:
                yield f"{name}: {symbol} uses {useful:.3f} of the sectors it moves"
            if not kernel["tensor_instructions"]:
                yield f"{name}: {symbol} is not on tensor cores"


def streamed(build):
    """Products in f32 of few columns, without tensor cores: both operands in vectors."""
    for columns in (2, 4, 8):
        (kernel,) = counters(build, product("f32", 4096, columns)).values()
        useful = kernel["global_bytes"] / (32 * kernel["global_sectors"])
        print(f"product of {columns} columns of f32: uses {useful:.3f}")
        if useful < LEAST_USEFUL:
            yield f"product of {columns} columns of f32: uses {useful:.3f} of the sectors it moves"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, type=pathlib.Path)
    build = parser.parse_args().build
    wrong = [*pools(build), *few(build), *streamed(build)]
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
