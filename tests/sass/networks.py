#!/usr/bin/env python3
"""Machine code of the tensor cores' kernels of whole networks, at fp16 for sm_80.

    networks.py --build BUILD [--only NAME]

ResNet-50, BERT and ViT at full width: none of their kernels may spill, and where a tile is in
library.tsv, its loop may have 10 % more instructions than the library's, and no longer run without one
of the tensor cores than stands there. Smaller tiles and attention are kept by golden.py; loops that
compute an operand have no counterpart in a library.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "models")]
import golden
import sass
import zoo

TARGET = "sm_80"
LAYERS = {"resnet50": None, "bert": 2, "vit": 2}  # those of a transformer are alike
DEFINE = re.compile(r"#define (\w+) (.*)")
LEAST_TILES = 4  # from 64x64 up, of all networks together: else nothing was compared


def row_of(source, library):
    """The row of library.tsv that the kernel is compared with, or None, and what it is."""
    known = dict(DEFINE.findall(source))
    if "TILE_M" not in known:
        return None, "not of tiles"
    tile = "x".join(known[name] for name in ("TILE_M", "TILE_N", "SPLIT"))
    copied = all("copied" in known.get(f"MOVE_{side}", "") or "tapped" in known.get(f"MOVE_{side}", "")
                 for side in "AB")
    taps = "tapped" in known.get("MOVE_A", "")
    case = "conv 3x3 f16" if taps else "conv 1x1 f16" if "(Conv)" in source else "matmul f16"
    if not copied:
        return None, f"{case} {tile} of a computed operand"
    return library.get((case, TARGET, tile)), f"{case} {tile}"


def look(nvdisasm, folder, library):
    """Of every kernel with tensor instructions: its line, what is wrong with it, and if it was compared."""
    for cubin in sorted(folder.glob("*.cubin")):
        figures = sass.figures(sass.disassemble(nvdisasm, cubin))
        if not figures:
            continue
        row, tile = row_of(cubin.with_suffix(".cu").read_text(), library)
        line = f"{cubin.stem}, {tile}: {figures.ratio:.2f} instructions each, run {figures.run}"
        wrong = [f"{figures.spills} spills"] if figures.spills else []
        if row:
            most = float(row["ratio"]) * golden.MOST_ABOVE_LIBRARY
            line += f"; the library {row['ratio']}, at most {most:.2f} and {row['run']}"
            wrong += [f"over {most:.2f} instructions each"] if figures.ratio > most else []
            wrong += [f"a run over {row['run']}"] if figures.run > int(row["run"]) else []
        yield line, wrong, row is not None


def compile_network(build, name, folder):
    model = folder / f"{name}.onnx"
    model.write_bytes(zoo.build(name, LAYERS[name]).SerializeToString())
    subprocess.run([build / "bin" / "gpucc", model, "-o", folder / "plan", f"--target={TARGET}",
                           "--precision=fp16", f"--save-temps={folder}"], check=True)
    return folder / TARGET


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    nvdisasm = sass.find_nvdisasm()
    comments = golden.read_table(golden.GOLDEN)[1]
    library, _ = golden.read_table(golden.LIBRARY)
    nvrtc = golden.nvrtc_version(options.build)
    if not nvdisasm or comments[:1] != [f"# NVRTC {nvrtc}"]:
        print(f"SKIPPED: no nvdisasm, or library.tsv was not compared with NVRTC {nvrtc}")
        return 0
    bad = compared = 0
    for name in LAYERS:
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for line, wrong, known in look(nvdisasm, compile_network(options.build, name,
                                                                     pathlib.Path(folder)), library):
                print(f"{name}: {line}" + "".join(f"; WRONG: {text}" for text in wrong), flush=True)
                bad += bool(wrong)
                compared += known
    if not options.only and compared < LEAST_TILES:
        print(f"only {compared} kernels have a row in library.tsv")
        bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
