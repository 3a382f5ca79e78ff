"""Generators: n-grams and spectra' weights."""
import numpy as np

from cases import Case, generator

F32 = np.dtype(np.float32)


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
