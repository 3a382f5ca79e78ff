"""What the Python tests share: running gpucc and gpurun, reading tensors, comparing numbers."""
import concurrent.futures
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXIT_NAMES = {1: "bad model", 2: "usage", 3: "unsupported", 4: "wrong numbers", 5: "limit",
              6: "environment", 7: "i/o", 8: "bad plan", 70: "internal error"}


class Tools:
    """gpucc and gpurun of one build folder; target: what plans are compiled for."""

    def __init__(self, build, target="sm_90a", timeout=600):
        self.bin = pathlib.Path(build) / "bin"
        self.target = target
        self.timeout = timeout

    def run(self, *command):
        """(exit code, standard output, standard error); a killed or late process has code < 0."""
        try:
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                                  errors="replace", timeout=self.timeout, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return -1, "", f"no answer within {self.timeout} s"
        return done.returncode, done.stdout, done.stderr

    def compile(self, model, plan, *options):
        return self.run(self.bin / "gpucc", model, "-o", plan, f"--target={self.target}", "-j", "1",
                        *options)

    def test(self, plan, folder, rtol=1e-3, atol=1e-7):
        return self.run(self.bin / "gpurun", "test", plan, folder, "--device=emu", "--rtol", rtol,
                        "--atol", atol)

    def outputs(self, plan, inputs, *options):
        """The outputs of a run on the folder inputs, as arrays; RuntimeError when it fails."""
        with tempfile.TemporaryDirectory() as folder:
            code, _, errors = self.run(self.bin / "gpurun", "run", plan, "--inputs",
                                       inputs, "--outputs", folder,
                                       *(options or ["--device=emu"]))
            if code != 0:
                raise RuntimeError(f"gpurun: {describe(code, errors)}")
            count = len(list(pathlib.Path(folder).glob("output_*.pb")))
            return [load_tensor(pathlib.Path(folder) / f"output_{i}.pb") for i in range(count)]


def describe(code, errors):
    """One line: the exit code's name and the first message that is no warning."""
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    lines = [line for line in lines if "warning: " not in line] or lines
    kind = EXIT_NAMES.get(code, f"killed by signal {-code}" if code < 0 else f"exit {code}")
    return f"{kind}: {lines[0].strip()}" if lines else kind


def load_tensor(path):
    tensor = onnx.TensorProto()
    tensor.ParseFromString(pathlib.Path(path).read_bytes())
    return numpy_helper.to_array(tensor)


def load_arrays(path, kind):
    """What a file of a tensor, sequence or optional holds, as a list of arrays."""
    data = pathlib.Path(path).read_bytes()
    if kind == "tensor":
        return [load_tensor(path)]
    if kind == "sequence":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    optional = onnx.OptionalProto.FromString(data)
    if optional.HasField("sequence_value"):
        return numpy_helper.to_list(optional.sequence_value)
    return [numpy_helper.to_array(optional.tensor_value)] if optional.HasField("tensor_value") else []


def save_tensor(path, array, name=""):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_bytes(numpy_helper.from_array(array, name).SerializeToString())


def mismatch(got, wanted, rtol=1e-3, relative_to_max=1e-4):
    """None when |got - wanted| <= rtol*|wanted| + relative_to_max*max|wanted|, else what is wrong."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if not wanted.size:
        return None
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return "not finite in other places"
    finite = np.isfinite(b)
    a, b = a[finite], b[finite]
    error = np.abs(a - b)
    bound = rtol * np.abs(b) + relative_to_max * np.abs(b).max(initial=0)
    if (error <= bound).all():
        return None
    worst = int(np.argmax(error - bound))
    return f"worst {a[worst]:.7g} instead of {b[worst]:.7g}, {int((error > bound).sum())} wrong"


def parallel(function, items, jobs=None):
    """function over items, in order, on `jobs` threads (they wait for processes)."""
    with concurrent.futures.ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        yield from pool.map(function, items)
