"""Generators: what picks elements by their value, so that the size of the result depends on it."""
import numpy as np

from cases import Case, generator, is_float


@generator("NonZero")
def non_zero(r, op):
    dtype = r.dtype()

    def data(r, rank):
        x = r.values(dtype, r.shape(rank, least_rank=1))
        keep = r.values(bool, x.shape) if r.chance(0.8) else np.zeros(x.shape, bool)
        return np.where(keep, x, np.zeros([], dtype)).astype(dtype)
    x = data(r, None)
    return Case([x], again=lambda r: [data(r, x.ndim)])


@generator("Compress")
def compress(r, op):
    dtype = r.dtype()
    shape = r.shape(least_rank=1, least=1)
    attributes = {"axis": r.integer(-len(shape) if r.opset >= 11 else 0, len(shape) - 1)}
    attributes = attributes if r.chance(0.7) else {}

    def inputs(r, shape):
        n = shape[attributes["axis"]] if attributes else int(np.prod(shape))
        condition = r.values(bool, [r.integer(0, n)])
        return [r.values(dtype, shape), condition if r.chance(0.9) else condition & False]
    constant = (1,) if r.chance(0.2) else ()
    return Case(inputs(r, shape), attributes, kind="moved", constant=constant,
                again=None if constant else lambda r: inputs(r, r.shape(len(shape), least=1)))


def first_of_each(inputs, axis, names):
    """Unique without sorting, which the reference evaluator gets wrong."""
    x = inputs[0] if axis is not None else inputs[0].reshape(-1)
    axis = axis or 0
    slices = [s.tobytes() for s in np.moveaxis(x, axis, 0)]
    first = sorted({s: slices.index(s) for s in slices}.values())
    where = [[slices[f] for f in first].index(s) for s in slices]
    count = [where.count(k) for k in range(len(first))]
    results = [np.take(x, first, axis)] + [np.array(v, np.int64) for v in (first, where, count)]
    return [y for y, wanted in zip(results, names) if wanted]


@generator("Unique")
def unique(r, op):
    dtype = r.dtype()
    shape = r.shape(least_rank=1, least=1, most_elements=1500)
    attributes = {"sorted": r.integer(0, 1)} if r.chance(0.7) else {}
    if r.chance(0.6):
        attributes["axis"] = r.axis(len(shape))

    def inputs(r):
        x = r.values(dtype, r.shape(len(shape), 1500, least=1))
        if dtype != bool:
            x = np.abs(np.round(x * 2)) % 4 if is_float(dtype) else x % 4
        return [np.asarray(x).astype(dtype)]
    names = [True] + [r.chance(0.6) for _ in range(2)] + [True]
    expected = None
    if not attributes.get("sorted", 1):
        def expected(inputs):
            return first_of_each(inputs, attributes.get("axis"), names)
    return Case(inputs(r), attributes, kind="moved", again=inputs, names=names, expected=expected,
                neighbours=False)


@generator("NonMaxSuppression")
def non_max_suppression(r, op):
    batch, classes, count = r.integer(1, 3), r.integer(1, 4), r.pick([1, 2, 7, 33, 65])
    center = r.integer(0, 1)
    corner, size = (r.generator.uniform(*b, [batch, count, 2]) for b in ((0, 3), (0.2, 2)))
    boxes = np.concatenate([corner, size if center else corner + size], -1).astype(np.float32)
    if not center and r.chance(0.3):  # either diagonal
        boxes = boxes[:, :, [2, 3, 0, 1]]
    scores = r.values(np.float32, [batch, classes, count], 0, 1)
    if r.chance(0.3):  # ties
        scores = np.round(scores, 1).astype(np.float32)
    most = np.array([r.pick([0, 1, 3, 100])], np.int64) if r.chance(0.9) else None
    inputs = [boxes, scores, most]
    inputs.append(np.array([r.pick([0.0, 0.3, 0.5, 1.0])], np.float32) if r.chance(0.8) else None)
    inputs.append(np.array([r.pick([0.0, 0.35, 0.9])], np.float32) if r.chance(0.6) else None)
    return Case(inputs, {"center_point_box": center} if center or r.chance() else {},
                constant=r.pick([(), (2, 3, 4), (2,)]), neighbours=False)
