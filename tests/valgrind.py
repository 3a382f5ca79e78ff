#!/usr/bin/env python3
"""Runs every test program of a build that needs nothing under valgrind; exit 1 when one leaks or errs.

    valgrind.py BUILD
"""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).with_name("lib")))
import harness  # noqa: E402

VALGRIND = ["valgrind", "-q", "--error-exitcode=99"]
LEAKS = ["--leak-check=full", "--errors-for-leak-kinds=definite"]

# Valgrind knows no directed rounding and takes libm's paths without FMA, so tests of exact results fail
# under it (and leak where they stop). What it says of their memory counts all the same.
EXACT = ("emulator/forms", "eval/scalar_test")


def programs(build):
    """(name, command, folder) of the tests labelled "nothing" that run a program of the build."""
    listing = subprocess.run(["ctest", "--test-dir", build, "-L", "^nothing$",
                              "--show-only=json-v1"], capture_output=True, check=True)
    for test in json.loads(listing.stdout)["tests"]:
        command = test.get("command", [""])
        program = pathlib.Path(command[0])
        if program.is_relative_to(build) and not program.is_relative_to(build / "venv"):
            folder = next((p["value"] for p in test["properties"]
                           if p["name"] == "WORKING_DIRECTORY"), str(build))
            yield test["name"], command, folder


def run(program):
    name, command, folder = program
    exact = name.startswith(EXACT)
    done = subprocess.run(VALGRIND + ([] if exact else LEAKS) + command, capture_output=True,
                          text=True, cwd=folder)
    bad = done.returncode == 99 if exact else done.returncode != 0
    return name, bad, done.stdout + done.stderr


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    failed = total = 0
    for name, bad, output in harness.parallel(run, list(programs(build))):
        total += 1
        if bad:
            failed += 1
            print(f"valgrind: {name}\n{output}", file=sys.stderr)
    print(f"valgrind: {total - failed} of {total} test programs are clean")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
