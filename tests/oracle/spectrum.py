"""Generators: spectra and windows."""
import numpy as np

from cases import Case, generator

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


@generator("DFT")
def dft(r, op):
    dtype = r.dtype("T1", [F32, F64])
    inverse = r.chance(0.4)
    one_sided = r.chance(0.4)
    parts = 1 if one_sided and not inverse else r.integer(1, 2)
    if inverse:
        parts, one_sided = 2, False
    shape = [r.integer(1, 3), r.integer(1, 20), *([r.integer(1, 5)] if r.chance() else []), parts]
    axis = r.integer(1, len(shape) - 2)
    length = r.integer(1, 24) if r.chance(0.4) else None
    attributes = {"inverse": int(inverse), "onesided": int(one_sided)}
    inputs = [r.values(dtype, shape)]
    if r.opset < 20:
        attributes["axis"] = axis
        inputs += [np.array(length, np.int64)] if length else []
        known = (1,)
    else:
        inputs += [np.array(length, np.int64) if length else None, np.array(axis, np.int64)]
        known = (1, 2)
    return Case(inputs, attributes, kind="sum", constant=known[:len(inputs) - 1], neighbours=False)


@generator("STFT")
def stft(r, op):
    dtype = r.dtype("T1", [F32, F64])
    frame = r.integer(2, 16)
    length = frame + r.integer(0, 40)
    step = r.integer(1, frame)
    inputs = [r.values(dtype, [r.integer(1, 3), length, 1]), np.array(step, np.int64)]
    window = r.chance(0.6)
    inputs.append(r.values(dtype, [frame], 0, 1) if window else None)
    inputs.append(np.array(frame, np.int64) if not window or r.chance() else None)
    return Case(inputs, {"onesided": r.integer(0, 1)}, kind="sum", constant=(1, 3),
                neighbours=False)


TERMS = {"hann": (0.5, 0.5, 0), "hamming": (25 / 46, 1 - 25 / 46, 0), "blackman": (0.42, 0.5, 0.08)}


def cosine_sum(form, size, periodic=1, output_datatype=1):
    """The window of ONNX's function bodies, in double."""
    a, b, c = TERMS[form]
    turn = 2 * np.pi * np.arange(size) / (size if periodic else size - 1)
    y = a - b * np.cos(turn) + c * np.cos(2 * turn)
    return y.astype({1: np.float32, 10: np.float16, 11: np.float64}[output_datatype])


@generator("HannWindow", "HammingWindow", "BlackmanWindow")
def window(r, op):
    size = np.array(r.integer(2, 70), r.pick([np.int32, np.int64]))
    attributes = {"periodic": r.integer(0, 1)} if r.chance(0.7) else {}
    if r.chance(0.3):
        attributes["output_datatype"] = r.pick([1, 10, 11])
    form = op.removesuffix("Window").lower()
    return Case([size], attributes, kind="sum", constant=(0,) if r.chance() else (),
                neighbours=False, expected=lambda x: [cosine_sum(form, int(x[0]), **attributes)])
