"""Steps of random graphs that are blocks of layers: with residuals, and pools behind convolutions."""
from random_graphs import step
from random_steps import product


def conv(g, x, filters, kernel):
    """A convolution that keeps the image's size."""
    spatial = x.rank - 2
    w = g.normal(filters, x.shape[1], *[kernel] * spatial,
                 scale=(x.shape[1] * kernel ** spatial) ** -0.5)
    bias = [g.normal(filters)] if g.chance() else []
    return g.node("Conv", [x, w, *bias], (x.shape[0], filters, *x.shape[2:]),
                  pads=[kernel // 2] * 2 * spatial)


def pool(g, x, kernel, kinds=("MaxPool", "MaxPool", "AveragePool")):
    """Of windows that neither overlap nor stick out."""
    sizes = [d // k for d, k in zip(x.shape[2:], kernel)]
    return g.node(g.pick(kinds), [x], (*x.shape[:2], *sizes), kernel_shape=kernel, strides=kernel)


def join(g, x, y):
    channels = x.shape[1] + y.shape[1]
    return g.node("Concat", g.random.sample([x, y], 2), (x.shape[0], channels, *x.shape[2:]),
                  axis=1)


def add(g, x, y):
    return g.node("Add", g.random.sample([x, y], 2), x.shape)


def maybe_read(g, x, p=0.25):
    """Others may read it, or it is an output."""
    return g.add(x) if g.chance(p) else x


@step(4)
def pooled_conv(g):
    x = g.value((3, 4, 4, 5), lambda v: not any(v.free(a) for a in range(1, v.rank)) and
                not any(d % 2 for d in v.shape[2:]))
    filters = g.pick((8, 8, 12, 16, 24, 32))
    kernel = [2 if g.chance(0.8) else g.pick(k for k in (1, 2, 4) if d % k == 0)
              for d in x.shape[2:]]
    y = maybe_read(g, conv(g, x, filters, g.pick((1, 3, 3))))
    if g.chance(0.4):
        y = maybe_read(g, add(g, y, maybe_read(g, conv(g, x, filters, 1))))
    if g.chance(0.6):
        y = maybe_read(g, g.node(g.pick(("Relu", "Relu", "Sigmoid", "Tanh", "Abs")), [y], y.shape))
    if g.chance(0.15):
        y = join(g, y, conv(g, x, g.pick((8, 16)), 1))
    z = maybe_read(g, pool(g, y, kernel))
    if g.chance(0.3):
        z = add(g, z, pool(g, y, kernel))
    if g.chance(0.3):
        z = add(g, z, maybe_read(g, conv(g, pool(g, x, kernel), z.shape[1], 1)))
    if g.chance(0.4):
        z = g.node(g.pick(("Relu", "Sigmoid", "HardSwish")), [z], z.shape)
    if g.chance(0.25):
        z = join(g, z, pool(g, x, kernel, ("MaxPool",)))
    if g.chance(0.15):
        perm = [0, *range(2, z.rank), 1]
        z = g.node("Transpose", [z], [z.shape[a] for a in perm], perm=perm)
    return g.add(z)


@step(3)
def gated_conv(g):
    """Channels weighed by what their extremes or means make of them: siblings around products."""
    x = g.value((3, 4), lambda v: not v.free(1))
    act = g.pick(("HardSwish", "Relu", "Tanh"))
    y = g.node(act, [x], x.shape)
    one = (*x.shape[:2], *[1] * (x.rank - 2))
    pools = [g.node(g.pick(("GlobalMaxPool", "GlobalAveragePool")), [v], one)
             for v in g.random.sample([x, y], g.pick((1, 2, 2)))]
    weights = [g.node("Sigmoid", [conv(g, pool, x.shape[1], 1)], one) for pool in pools]
    for w in weights:
        g.add(g.node("Mul", g.random.sample([g.pick((x, y)), w], 2), x.shape))
    return g.add(g.node("Mul", [pools[0], weights[-1]], one))


def heads(g, x):
    """(heads, rows, elements of a head) of [rows, elements], or with whatever axes in front."""
    n = g.pick(d for d in (1, 2, 4) if x.shape[-1] % d == 0)
    size = x.shape[-1] // n
    lead = x.shape[:-2]
    y = g.node("Reshape", [x, g.ints(*[0] * (x.rank - 1), n, size)])
    r = x.rank
    return g.node("Transpose", [y], (*lead, n, x.shape[-2], size),
                  perm=[*range(r - 2), r - 1, r - 2, r])


@step(3)
def residual_blocks(g):
    """Sums that may lie where an operand lies, unless another kernel or thread still reads it."""
    x = g.value(range(2, 5), lambda v: not v.free(-1))
    width = x.shape[-1]
    for _ in range(g.pick((1, 2, 3))):
        y = x
        if g.chance():
            y = g.node("LayerNormalization", [y, g.normal(width), g.normal(width)], y.shape,
                       axis=-1, epsilon=1e-3)
        y = product(g, y, g.pick((width, 2 * width, g.size())))
        y = g.node(g.pick(("Relu", "Gelu", "Sigmoid")), [y], y.shape)
        y = maybe_read(g, product(g, y, width))
        if g.chance(0.25):
            moved = heads(g, y)
            g.add(g.node("Softmax", [moved], moved.shape, axis=g.pick((-1, -2))))
        x = maybe_read(g, g.node(g.pick(("Add", "Add", "Sub", "Mul")), g.random.sample([x, y], 2),
                                 x.shape))
        if g.chance(0.2):
            g.add(g.node("Softmax", [x], x.shape, axis=-1))
    return g.add(x)
