"""Generators: products of matrices."""
import numpy as np

from cases import Case, generator

F32 = np.dtype(np.float32)
INTEGERS = [np.dtype(np.int8), np.dtype(np.uint8)]


def size(r):
    return r.pick([1, 1, 2, 3, 4, 7, 8, 16, 17, 33, 65])


def operands(r):
    """Shapes of A and B: numpy's rules, with batches that broadcast, vectors, empty ones."""
    m, n, k = size(r), size(r), size(r)
    if r.chance(0.08):
        m, n, k = r.pick([(0, n, k), (m, 0, k), (m, n, 0)])
    form = r.pick(["matrix", "matrix", "batch", "batch", "row", "column", "dot"])
    if form == "dot":
        return [k], [k]
    if form == "row":
        return [k], [*r.shape(r.integer(0, 1), 6), k, n]
    if form == "column":
        return [*r.shape(r.integer(0, 1), 6), m, k], [k]
    batch = r.shape(r.integer(1, 3), 8, least=1) if form == "batch" else []
    first = batch if r.chance(0.6) else r.part_of(batch)
    second = batch if r.chance(0.6) else r.part_of(batch)
    return [*first, m, k], [*second, k, n]


@generator("MatMul")
def matmul(r, op):
    dtype = r.dtype()
    a, b = operands(r)
    return Case([r.values(dtype, a), r.values(dtype, b)], kind="sum",
                constant=(1,) if r.chance() else ())


@generator("MatMulInteger")
def matmul_integer(r, op):
    a, b = operands(r)
    types = [r.pick(INTEGERS), r.pick(INTEGERS)]
    inputs = [r.values(t, s) for t, s in zip(types, (a, b))]
    zeros = r.integer(0, 2)
    if zeros:
        inputs.append(r.values(types[0], []))
    if zeros == 2:
        columns = r.chance() and len(b) == 2
        inputs.append(r.values(types[1], [b[1]] if columns else []))
    return Case(inputs, kind="exact", neighbours=False)


@generator("QLinearMatMul")
def qlinear_matmul(r, op):
    a, b = operands(r)
    types = [r.pick(INTEGERS), r.pick(INTEGERS)]
    out = types[0]
    columns = len(b) == 2 and r.chance()
    shape = [b[1]] if columns else []

    def scale(shape, times=1):
        return (r.generator.uniform(0.02, 0.2, shape) * times).astype(F32)
    inputs = [r.values(types[0], a), scale([]), r.values(types[0], []),
              r.values(types[1], b), scale(shape), r.values(types[1], shape),
              scale([], 10), r.values(out, [])]
    return Case(inputs, kind="code", neighbours=False,
                constant=(3, 4, 5) if r.chance() else ())


@generator("Gemm")
def gemm(r, op):
    dtype = r.dtype(among=[np.dtype(t) for t in (np.float16, np.float32, np.float64)])
    m, n, k = size(r), size(r), size(r)
    attributes = {name: r.integer(0, 1) for name in ("transA", "transB") if r.chance()}
    attributes |= {name: round(r.generator.uniform(-1, 2), 2) for name in ("alpha", "beta")
                   if r.chance(0.4)}
    a = [k, m] if attributes.get("transA") else [m, k]
    b = [n, k] if attributes.get("transB") else [k, n]
    inputs = [r.values(dtype, a), r.values(dtype, b)]
    if r.opset < 11 or r.chance(0.7):
        inputs.append(r.values(dtype, r.part_of([m, n])))
    return Case(inputs, attributes, kind="sum", constant=(1, 2)[:len(inputs) - 1]
                if r.chance() else ())


EQUATIONS = ["ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ij->", "i,i->", "i,j->ij", "bhqd,bhkd->bhqk",
             "...ij,...jk->...ik", "ij,jk", "abc,cd,de->abe", "bij->bj", "ijk,jil->kl", "a...,a...->...",
             "bqhd,bkhd->bhqk", "ij, kj -> ik", "bxi,oij,bxj->bxo", "i->i", "abii->abi"]


@generator("Einsum")
def einsum(r, op):
    equation = r.pick(EQUATIONS)
    dtype = r.dtype(among=[F32, np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.int64)])
    sizes = {}
    batch = r.shape(r.integer(0, 2), 9, least=1)
    shapes = []
    for term in equation.replace(" ", "").split("->")[0].split(","):
        shape = []
        for part in term.replace("...", "."):
            if part == ".":
                shape += batch
            else:
                shape.append(sizes.setdefault(part, r.integer(1, 7)))
        shapes.append(shape)
    return Case([r.values(dtype, s, -3, 3) for s in shapes], {"equation": equation}, kind="sum")


@generator("Det")
def det(r, op):
    n = r.integer(1, 6)
    return Case([r.values(F32, [*r.shape(r.integer(0, 2), 30), n, n])], kind="sum")
