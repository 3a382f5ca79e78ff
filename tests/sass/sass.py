"""Reads machine code as nvdisasm prints it: instructions, loops, and figures of the main loop."""
import dataclasses
import glob
import os
import re
import shutil
import subprocess
import sys

TENSOR = re.compile(r"(?:[HIQDBO]G?MMA|UTC[A-Z]*MMA)\b")
FUSED = re.compile(r"FFMA\b")  # what kernels work with that do without tensor cores
SPILL = re.compile(r"(?:LDL|STL)\b")
LABEL = re.compile(r"(\.L_x_\w+):")
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")
BRANCH = re.compile(r"(?:BRA|BRX|JMP)\b")
TARGET = re.compile(r"`\((\.L_x_\w+)\)")


def find_nvdisasm():
    """The disassembler of a CUDA toolkit or of PyPI's nvidia-cuda-nvdisasm, or None."""
    found = shutil.which("nvdisasm")
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), *glob.glob("/usr/local/cuda*")]
    places = [os.path.join(home, "bin") for home in homes if home]
    places += [place for base in sys.path for place in sorted(glob.glob(base + "/nvidia/*/bin"))]
    for place in [] if found else places:
        path = os.path.join(place, "nvdisasm")
        if os.access(path, os.X_OK):
            return path
    return found


def disassemble(nvdisasm, cubin):
    return subprocess.run([nvdisasm, "-c", cubin], check=True, capture_output=True, text=True).stdout


@dataclasses.dataclass
class Instruction:
    opcode: str
    target: str | None  # label that a branch goes to
    tensor: bool        # what the kernel is there for


@dataclasses.dataclass
class Figures:
    tensor: int        # instructions of the tensor cores in the main loop
    instructions: int  # all of the main loop
    run: int           # the longest stretch of them without one of the tensor cores
    spills: int        # loads and stores of local memory in the whole kernel

    @property
    def ratio(self):
        return self.instructions / self.tensor


def parse(text, unit=TENSOR):
    """Instructions in order, and the index of the instruction that follows each label."""
    code, labels = [], {}
    for line in text.splitlines():
        label = LABEL.match(line.strip())
        if label:
            labels[label[1]] = len(code)
            continue
        found = INSTRUCTION.search(line)
        if found:
            target = TARGET.search(found[3]) if BRANCH.match(found[2]) else None
            code.append(Instruction(found[2], target[1] if target else None,
                                    unit.match(found[2]) is not None))
    return code, labels


def loops(code, labels):
    """First and last index of the code between each backward branch and where it goes."""
    for last, instruction in enumerate(code):
        first = labels.get(instruction.target)
        if first is not None and first <= last:
            yield first, last


def longest_run(body):
    """Without a tensor instruction; of a loop given twice, around its end too."""
    longest = run = 0
    for instruction in body:
        run = 0 if instruction.tensor else run + 1
        longest = max(longest, run)
    return longest


def figures(text, unit=TENSOR):
    """Of a kernel; None if it does not use the tensor cores, or what stands for them. The main loop is, of the innermost loops
    that do, the one that does most; of several ways back to its start, the longest. Where no loop
    does, all is unrolled: then what lies between the first and the last such instruction counts."""
    code, labels = parse(text, unit)
    ends = {}
    for first, last in loops(code, labels):
        if any(i.tensor for i in code[first:last + 1]):
            ends[first] = max(last, ends.get(first, 0))
    inner = [(a, b) for a, b in ends.items()
             if not any(a < c and d <= b for c, d in ends.items())]
    spills = sum(SPILL.match(i.opcode) is not None for i in code)
    if not inner:
        tensor = [i for i, instruction in enumerate(code) if instruction.tensor]
        body = code[tensor[0]:tensor[-1] + 1] if tensor else []
        return Figures(len(tensor), len(body), longest_run(body), spills) if tensor else None
    bodies = [code[a:b + 1] for a, b in inner]
    body = max(bodies, key=lambda body: sum(i.tensor for i in body))
    return Figures(sum(i.tensor for i in body), len(body), longest_run(body + body), spills)
