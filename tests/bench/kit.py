#!/usr/bin/env python3
"""Packs a small kit with bench/pack.py and runs its one command against the emulator."""
import argparse
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=ROOT / "build")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as kit:
        packed = subprocess.run([sys.executable, ROOT / "bench" / "pack.py", "--build",
                                 options.build, "--out", f"{kit}/kit", "--every", "100", "--networks", "thin"],
                                capture_output=True, text=True)
        print(packed.stdout, packed.stderr)
        missing = [family for family in ("contract", "map", "reduce", "row", "scan", "scatter",
                                         "sort", "window") if family not in packed.stdout]
        if packed.returncode or missing:
            sys.exit(f"the kit lacks: {missing}")
        result = pathlib.Path(kit) / "result.tsv"
        code = subprocess.run([f"{kit}/kit/on-gpu", "emu", result]).returncode
        rows = [line.split("\t") for line in result.read_text().splitlines()
                if not line.startswith(("#", "case"))]
        if code or not rows or any(row[1] != "ok" for row in rows):
            sys.exit(result.read_text())


if __name__ == "__main__":
    main()
