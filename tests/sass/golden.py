#!/usr/bin/env python3
"""Figures of the machine code of the tensor cores' kernels against golden.tsv: the test fails when a kernel
gets worse (over 3 % more instructions for each of the tensor cores, more spills, a longer run without
one), and where a tile is more than 10 % from a library's loop, or its run longer than library.tsv allows.

  golden.py --build BUILD            compares
  golden.py --build BUILD --bless    writes golden.tsv
  --only REGEX                       cases whose name, target and tile, with blanks between, match

The figures are those of one NVRTC. With another, and without nvdisasm, nothing is compared, and it is said.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import cases
import sass

GOLDEN, LIBRARY = HERE / "golden.tsv", HERE / "library.tsv"
COLUMNS = "case target tile registers spills tensor instructions ratio run".split()
MOST_WORSE, MOST_ABOVE_LIBRARY = 1.03, 1.10


class Failed(Exception):
    pass


def measure(build, nvdisasm, case):
    """The row of a case, by column."""
    with tempfile.TemporaryDirectory() as folder:
        graph = pathlib.Path(folder, "graph.ir")
        graph.write_text(case.text)
        done = subprocess.run([build / "bin" / "sass_emit", graph, case.target, folder,
                               *map(str, case.tile)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(done.stderr.strip())
        found = []
        for line in done.stdout.splitlines():
            kernel, registers = line.split()
            figures = sass.figures(sass.disassemble(nvdisasm, f"{folder}/{kernel}.cubin"),
                                   sass.FUSED if case.fused else sass.TENSOR)
            if figures:
                found.append((figures, registers))
    if len(found) != 1:
        raise Failed(f"{len(found)} kernels use the tensor cores, or what stands for them")
    figures, registers = found[0]
    return dict(zip(COLUMNS, [*case.key, registers, str(figures.spills), str(figures.tensor),
                              str(figures.instructions), f"{figures.ratio:.2f}", str(figures.run)]))


def read_table(path):
    """Rows by case, target and tile; the comments in front."""
    lines = path.read_text().splitlines() if path.exists() else []
    comments = [line for line in lines if line.startswith("#")]
    table = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {tuple(row[:3]): dict(zip(table[0], row)) for row in table[1:]}, comments


def write_golden(rows, nvrtc):
    lines = [f"# NVRTC {nvrtc}", "\t".join(COLUMNS)]
    lines += ["\t".join(row[column] for column in COLUMNS) for row in rows]
    GOLDEN.write_text("\n".join(lines) + "\n")


def complaints(row, golden, library):
    """What is wrong with a row."""
    if golden is None:
        return ["is not in golden.tsv"]
    found = []
    if float(row["ratio"]) > float(golden["ratio"]) * MOST_WORSE:
        found.append(f"ratio {golden['ratio']} -> {row['ratio']}")
    for column in "spills", "run":
        if int(row[column]) > int(golden[column]):
            found.append(f"{column} {golden[column]} -> {row[column]}")
    if library and float(row["ratio"]) > float(library["ratio"]) * MOST_ABOVE_LIBRARY:
        found.append(f"ratio {row['ratio']}, the library's is {library['ratio']}")
    if library and int(row["run"]) > int(library["run"]):
        found.append(f"run {row['run']}, over {library['run']}")
    if library and int(row["spills"]) > 0:
        found.append(f"{row['spills']} spills")
    return found


def beside(row, library):
    """Our figures and a library's, and what ours may be."""
    most = float(library["ratio"]) * MOST_ABOVE_LIBRARY
    name = ", ".join(row[column] for column in COLUMNS[:3])
    return (f"{name}: {row['ratio']} instructions each, the library's {library['ratio']}, at most {most:.2f}; "
            f"run {row['run']}, at most {library['run']}")


def nvrtc_version(build):
    text = subprocess.run([build / "bin" / "gpucc", "--version"], capture_output=True, text=True,
                          check=True).stdout
    found = re.search(r"NVRTC (\d+\.\d+)", text)
    if not found:
        raise SystemExit(f"gpucc --version names no NVRTC: {text}")
    return found[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--bless", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    nvdisasm, nvrtc = sass.find_nvdisasm(), nvrtc_version(options.build)
    golden, comments = read_table(GOLDEN)
    library, _ = read_table(LIBRARY)
    if not nvdisasm:
        print("SKIPPED: no nvdisasm; PyPI's nvidia-cuda-nvdisasm has it, or a CUDA toolkit")
        return 0
    if not options.bless and comments[:1] != [f"# NVRTC {nvrtc}"]:
        print(f"SKIPPED: golden.tsv is not of NVRTC {nvrtc} ({comments[:1]})")
        return 0
    chosen = [case for case in cases.all_cases() if re.search(options.only, " ".join(case.key))]
    rows, bad = dict(golden), 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(case, pool.submit(measure, options.build, nvdisasm, case)) for case in chosen]
        for case, job in jobs:
            try:
                row = rows[case.key] = job.result()
                known = row if options.bless else golden.get(case.key)
                wrong = complaints(row, known, library.get(case.key))
            except Failed as failure:
                wrong = [str(failure)]
            bad += bool(wrong)
            if not wrong and case.key in library:
                print(beside(row, library[case.key]))
            for text in wrong:
                print(f"{', '.join(case.key)}: {text}")
    if options.bless:
        keys = [case.key for case in cases.all_cases()]
        write_golden([rows[key] for key in keys if key in rows], nvrtc)
    elif not options.only:
        gone = golden.keys() - {case.key for case in cases.all_cases()}
        bad += len(gone)
        for key in sorted(gone):
            print(f"{', '.join(key)}: is in golden.tsv, but not a case")
    print(f"{len(chosen)} cases, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
