"""Generators: results whose size depends on data, and n-grams."""
import numpy as np

from cases import Case, generator

F32 = np.dtype(np.float32)


@generator("NonZero")
def nonzero(r, op):
    dtype = r.dtype("T")
    shape = r.shape(least_rank=1)

    def inputs(r, shape):
        x = r.values(dtype, shape)
        return [np.where(r.generator.random(shape) < few, x, np.zeros_like(x)).astype(dtype)]
    few = r.pick([0, 0.1, 0.5, 1])
    return Case(inputs(r, shape), again=lambda r: inputs(r, [r.size() for _ in shape]))


@generator("Compress")
def compress(r, op):
    dtype = r.dtype("T")
    shape = r.shape(least_rank=1)
    axis = r.axis(len(shape)) if r.chance(0.7) else None
    size = int(np.prod(shape)) if axis is None else shape[axis]
    if r.chance(0.3):  # a condition may be shorter
        size = r.integer(0, size)
    condition = r.generator.random(size) < r.pick([0, 0.3, 0.5, 1])
    return Case([r.values(dtype, shape), condition], {} if axis is None else {"axis": axis})


@generator("Unique")
def unique(r, op):
    dtype = r.dtype("T", among=[np.dtype(t) for t in (np.float32, np.float64, np.int64, np.int8)])
    axis = r.chance()
    shape = r.shape(rank=r.integer(1, 3), least=1, most_elements=600)
    x = r.generator.integers(0, r.pick([2, 4, 30]), shape).astype(dtype)
    attributes = {"sorted": r.integer(0, 1)}
    if axis:
        attributes["axis"] = r.axis(len(shape))
    return Case([x], attributes, outputs=r.integer(1, 4), neighbours=False)


@generator("NonMaxSuppression")
def suppress(r, op):
    batch, classes, n = r.integer(1, 2), r.integer(1, 3), r.pick([0, 1, 5, 30, 200])
    corner = r.generator.uniform(0, 1, [batch, n, 2])
    size = r.generator.uniform(0.02, 0.4, [batch, n, 2])
    center = r.chance(0.3)
    if center:
        boxes = np.concatenate([corner, size], 2)
    else:
        boxes = np.concatenate([corner, corner + size], 2)
        if r.chance(0.3):  # any two opposite corners
            boxes = boxes[:, :, [2, 1, 0, 3]]
    scores = r.generator.uniform(0, 1, [batch, classes, n])
    if r.chance(0.3):
        scores = np.round(scores, 1)  # ties: the lower index first
    inputs = [boxes.astype(F32), scores.astype(F32)]
    inputs.append(np.array([r.pick([0, 1, 3, 50, 1 << 40])], np.int64) if r.chance(0.9) else None)
    inputs.append(np.array([r.pick([0.0, 0.3, 0.5, 1.0])], F32) if r.chance(0.8) else None)
    inputs.append(np.array([r.pick([0.2, 0.5, 0.9])], F32) if r.chance() else None)
    while inputs[-1] is None:
        inputs.pop()
    return Case(inputs, {"center_point_box": int(center)}, neighbours=False)


@generator("TfIdfVectorizer")
def tf_idf(r, op):
    sizes = r.integer(1, 3)
    tokens = r.pick([3, 6])
    pool, counts = [], []
    for n in range(1, sizes + 1):
        counts.append(len(pool))
        grams = {tuple(int(t) for t in r.generator.integers(0, tokens, n))
                 for _ in range(r.integer(1, 4))}
        pool += [t for gram in sorted(grams) for t in gram]
    grams = sum((end - begin) // n for n, begin, end in
                zip(range(1, sizes + 1), counts, counts[1:] + [len(pool)]))
    shortest = r.integer(1, sizes)
    attributes = {"mode": r.pick(["TF", "IDF", "TFIDF"]), "pool_int64s": pool,
                  "ngram_counts": counts, "ngram_indexes": r.permutation(grams),
                  "min_gram_length": shortest, "max_gram_length": r.integer(shortest, sizes),
                  "max_skip_count": r.integer(0, 4)}
    if r.chance():
        attributes["weights"] = [float(w) for w in r.generator.uniform(0, 2, grams)]
    shape = [r.integer(1, 12)] if r.chance(0.3) else [r.integer(1, 3), r.integer(1, 12)]
    dtype = r.pick([np.int32, np.int64])
    return Case([r.generator.integers(0, tokens, shape).astype(dtype)], attributes,
                neighbours=False)


@generator("MelWeightMatrix")
def mel_weights(r, op):
    low, high = r.pick([0.0, 20.0, 125.0]), r.pick([3000.0, 7600.0, 8000.0])
    scalars = [np.int64(r.pick([4, 13, 40, 80])), np.int64(r.pick([128, 256, 512, 1024])),
               np.int64(16000)]
    inputs = [np.array(s) for s in scalars] + [np.array(low, F32), np.array(high, F32)]
    return Case(inputs, {"output_datatype": r.pick([1, 11])}, kind="sum", neighbours=False)
