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

VALGRIND = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full",
            "--errors-for-leak-kinds=definite"]


def programs(build):
    """(name, command, folder) of the tests labelled "nothing" that run a program of the build."""
    listing = subprocess.run(["ctest", "--test-dir", build, "-L", "^nothing$",
                              "--show-only=json-v1"], capture_output=True, check=True)
    for test in json.loads(listing.stdout)["tests"]:
        command = test.get("command", [""])
        if pathlib.Path(command[0]).is_relative_to(build):
            folder = next((p["value"] for p in test["properties"]
                           if p["name"] == "WORKING_DIRECTORY"), str(build))
            yield test["name"], command, folder


def run(program):
    name, command, folder = program
    done = subprocess.run(VALGRIND + command, capture_output=True, text=True, cwd=folder)
    return name, done.returncode, done.stdout + done.stderr


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    failed = total = 0
    for name, code, output in harness.parallel(run, list(programs(build))):
        total += 1
        if code:
            failed += 1
            print(f"valgrind: {name}: exit {code}\n{output}", file=sys.stderr)
    print(f"valgrind: {total - failed} of {total} test programs are clean")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
