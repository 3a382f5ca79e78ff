"""Attention as exporters and models spell it: small ONNX graphs, each of which is one attention."""
import math

import numpy as np
from onnx import TensorProto, helper, numpy_helper

BATCH, HEADS, QUERIES, KEYS, SIZE = 2, 4, 12, 12, 16
LOWEST = float(np.finfo(np.float32).min)
SPELLINGS = {}  # name: function of a Graph


class Graph:
    """Nodes in order; operands are names, arrays or numbers."""

    def __init__(self):
        self.nodes, self.constants, self.inputs, self.outputs, self.feeds = [], [], [], [], {}
        self.random = np.random.default_rng(7)

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def __call__(self, op, *operands, results=1, domain="", **attributes):
        names = [x if isinstance(x, str) else self.constant(
            np.float32(x) if isinstance(x, float) else np.int64(x) if isinstance(x, (int, list)) else x)
            for x in operands]
        out = [f"v{len(self.nodes)}_{i}" for i in range(results)]
        self.nodes.append(helper.make_node(op, names, out, domain=domain, **attributes))
        return out[0] if results == 1 else out

    def input(self, name, array, shape=None):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape or array.shape))
        self.feeds[name] = array
        return name

    def normal(self, name, *sizes, shape=None, kind=np.float32):
        return self.input(name, self.random.normal(size=sizes).astype(kind), shape)

    def padding(self, name="attention_mask", queries=None, shape=None):
        """1 for tokens, 0 for what pads the end of the last sequence."""
        mask = np.ones((BATCH, queries or KEYS), np.int64)
        mask[-1, -3:] = 0
        return self.input(name, mask, shape)

    def output(self, value, kind=TensorProto.FLOAT):
        self.outputs.append(helper.make_tensor_value_info(value, kind, None))

    def model(self, opset=17):
        graph = helper.make_graph(self.nodes, "attention", self.inputs, self.outputs, self.constants)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)


def spelling(function):
    SPELLINGS[function.__name__] = function
    return function


# ---- parts ----------------------------------------------------------------------------------------

def heads(g, x, count=HEADS, size=SIZE, keys=False):
    """[B, S, H*D] to [B, H, S, D], or to [B, H, D, S]."""
    x = g("Reshape", x, [0, 0, count, size])
    return g("Transpose", x, perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])


def merged(g, y):
    y = g("Transpose", y, perm=[0, 2, 1, 3])
    return g("Reshape", y, [0, 0, -1])


def tokens(g, shape=None):
    """q, k, v of one hidden state, by three products."""
    width = HEADS * SIZE
    x = g.normal("hidden", BATCH, QUERIES, width, shape=shape)
    return [g("MatMul", x, (g.random.normal(size=(width, width)) / 8).astype(np.float32))
            for _ in range(3)]


def qkv(g, kind=np.float32, kv_heads=HEADS, queries=QUERIES, keys=KEYS):
    """[B, H, S, D] each."""
    return (g.normal("q", BATCH, HEADS, queries, SIZE, kind=kind),
            g.normal("k", BATCH, kv_heads, keys, SIZE, kind=kind),
            g.normal("v", BATCH, kv_heads, keys, SIZE, kind=kind))


def transposed(g, k):
    return g("Transpose", k, perm=[0, 1, 3, 2])


def positions(g, like, axis):
    """0, 1, … along an axis of a value, by its shape."""
    n = g("Gather", g("Shape", like), axis, axis=0)
    return g("Range", 0, n, 1)


def causal(g, q, k, compare="LessOrEqual"):
    """bool [M, N]."""
    rows, columns = positions(g, q, 2), positions(g, k, 2)
    rows, columns = g("Unsqueeze", rows, [1]), g("Unsqueeze", columns, [0])
    return g(compare, *((columns, rows) if compare == "LessOrEqual" else (rows, columns)))


def additive(g, mask, low=LOWEST):
    """HF's extended mask: (1 - mask) * low."""
    mask = g("Unsqueeze", g("Unsqueeze", mask, [1]), [2])
    return g("Mul", g("Sub", 1.0, g("Cast", mask, to=TensorProto.FLOAT)), low)


def weighted(g, scores, v):
    return g("MatMul", g("Softmax", scores, axis=-1), v)


SCALE = 1 / math.sqrt(SIZE)


# ---- PyTorch's scaled_dot_product_attention ---------------------------------------------------------

def sdpa_scale(g, q):
    """The root of 1 / sqrt(D), by the shape."""
    size = g("Cast", g("Slice", g("Shape", q), [-1], [2 ** 63 - 1]), to=TensorProto.FLOAT)
    return g("Sqrt", g("Div", 1.0, g("Sqrt", size)))


def sdpa(g, q, k, v, mask=None):
    root = sdpa_scale(g, q)
    scores = g("MatMul", g("Mul", q, root), g("Mul", transposed(g, k), root))
    return weighted(g, g("Add", scores, mask) if mask else scores, v)


@spelling
def sdpa_traced(g):
    g.output(sdpa(g, *qkv(g)))


@spelling
def sdpa_traced_causal(g):
    q, k, v = qkv(g)
    sizes = [g("Slice", g("Shape", x), [2], [3]) for x in (q, k)]
    ones = g("Expand", 1.0, g("Concat", *sizes, axis=0))
    lower = g("Trilu", ones, upper=0)
    hidden = g("Where", g("Equal", lower, 0.0), float("-inf"), lower)
    # it adds 1 where keys are seen, the same for all of them
    g.output(sdpa(g, q, k, v, hidden))


@spelling
def sdpa_traced_with_bool_mask(g):
    q, k, v = qkv(g)
    seen = g("Cast", g("Unsqueeze", g("Unsqueeze", g.padding(), [1]), [1]), to=TensorProto.BOOL)
    g.output(sdpa(g, q, k, v, g("Where", seen, 0.0, float("-inf"))))


@spelling
def sdpa_exported_with_guard_against_nan(g):
    q, k, v = qkv(g)
    seen = g("Expand", g("Cast", g("Unsqueeze", g("Unsqueeze", g.padding(), [1]), [1]),
                         to=TensorProto.BOOL), [BATCH, 1, QUERIES, KEYS])
    root = float(math.sqrt(SCALE))
    k = g("Reshape", g("Transpose", g("Reshape", k, [-1, KEYS, SIZE]), perm=[0, 2, 1]),
          [BATCH, HEADS, SIZE, KEYS])
    scores = g("Add", g("MatMul", g("Mul", q, root), g("Mul", k, root)),
               g("Where", seen, 0.0, float("-inf")))
    p = g("Softmax", scores, axis=-1)
    g.output(g("MatMul", g("Where", g("IsNaN", p), 0.0, p), v))


@spelling
def sdpa_with_mask_and_causality_in_one_bool(g):
    q, k, v = qkv(g)
    padding = g("Cast", g("Unsqueeze", g("Unsqueeze", g.padding(), [1]), [1]), to=TensorProto.BOOL)
    seen = g("And", causal(g, q, k), padding)
    g.output(sdpa(g, q, k, v, g("Where", seen, 0.0, float("-inf"))))


# ---- encoders ---------------------------------------------------------------------------------------

@spelling
def bert_eager(g):
    q, k, v = tokens(g, ["b", "s", HEADS * SIZE])
    scores = g("Div", g("MatMul", heads(g, q), heads(g, k, keys=True)), float(math.sqrt(SIZE)))
    scores = g("Add", scores, additive(g, g.padding(shape=["b", "s"])))
    p = g("Dropout", g("Softmax", scores, axis=-1), 0.1)
    g.output(merged(g, g("MatMul", p, heads(g, v))))


@spelling
def distilbert_masked_fill(g):
    q, k, v = tokens(g)
    scores = g("MatMul", g("Div", heads(g, q), float(math.sqrt(SIZE))), heads(g, k, keys=True))
    hidden = g("Reshape", g("Equal", g.padding(), 0), [BATCH, 1, 1, KEYS])
    hidden = g("Expand", hidden, g("Shape", scores))
    scores = g("Where", hidden, LOWEST, scores)
    g.output(merged(g, weighted(g, scores, heads(g, v))))


@spelling
def annotated_transformer_masked_by_1e9(g):
    q, k, v = qkv(g)
    scores = g("Div", g("MatMul", q, transposed(g, k)), float(math.sqrt(SIZE)))
    mask = g("Unsqueeze", g.input("mask", np.tril(np.ones((1, QUERIES, KEYS), np.int64))), [1])
    g.output(weighted(g, g("Where", g("Equal", mask, 0), -1e9, scores), v))


@spelling
def vit_of_one_product(g):
    width = HEADS * SIZE
    x = g.normal("hidden", BATCH, QUERIES, width)
    both = g("MatMul", x, (g.random.normal(size=(width, 3 * width)) / 8).astype(np.float32))
    both = g("Transpose", g("Reshape", both, [BATCH, QUERIES, 3, HEADS, SIZE]), perm=[2, 0, 3, 1, 4])
    q, k, v = (g("Gather", both, i, axis=0) for i in range(3))
    scores = g("MatMul", g("Mul", q, float(SCALE)), transposed(g, k))
    g.output(merged(g, weighted(g, scores, v)))


@spelling
def swin_bias_and_mask_of_windows(g):
    q, k, v = qkv(g)
    bias = g.random.normal(size=(1, HEADS, QUERIES, KEYS)).astype(np.float32)
    windows = np.where(g.random.random((1, BATCH, 1, QUERIES, KEYS)) < 0.3, -100, 0)
    scores = g("MatMul", g("Mul", q, float(SCALE)), transposed(g, k))
    scores = g("Reshape", g("Add", scores, bias), [1, BATCH, HEADS, QUERIES, KEYS])
    scores = g("Add", scores, windows.astype(np.float32))
    g.output(weighted(g, g("Reshape", scores, [BATCH, HEADS, QUERIES, KEYS]), v))


@spelling
def multihead_attention_of_planes(g):
    """nn.MultiheadAttention: baddbmm over batch times heads, tokens first."""
    planes = BATCH * HEADS
    q = g.normal("q", QUERIES, BATCH, HEADS * SIZE)
    kv = [g.normal(name, KEYS, BATCH, HEADS * SIZE) for name in "kv"]
    q = g("Transpose", g("Reshape", g("Mul", q, float(SCALE)), [QUERIES, planes, SIZE]), perm=[1, 0, 2])
    k, v = (g("Transpose", g("Reshape", x, [KEYS, planes, SIZE]), perm=[1, 0, 2]) for x in kv)
    mask = np.where(np.tri(QUERIES, KEYS), 0, -np.inf).astype(np.float32)
    scores = g("Add", mask, g("MatMul", q, g("Transpose", k, perm=[0, 2, 1])))
    y = g("MatMul", g("Softmax", scores, axis=-1), v)
    g.output(g("Reshape", g("Transpose", y, perm=[1, 0, 2]), [QUERIES, BATCH, -1]))


@spelling
def yolo_values_by_transposed_weights(g):
    """v · pᵀ, of tokens last."""
    x = g.normal("x", BATCH, HEADS, 3 * SIZE, KEYS)
    q, k, v = g("Split", x, [SIZE, SIZE, SIZE], results=3, axis=2)
    scores = g("Mul", g("MatMul", transposed(g, q), k), float(SCALE))
    p = g("Softmax", scores, axis=-1)
    y = g("MatMul", v, transposed(g, p))
    g.output(g("Reshape", y, [BATCH, HEADS * SIZE, 3, KEYS // 3]))


@spelling
def diffusion_values_by_transposed_weights(g):
    """The autoencoder's block: one head, three axes."""
    q, k, v = (g.normal(name, BATCH, SIZE, KEYS) for name in "qkv")
    scores = g("Mul", g("MatMul", g("Transpose", q, perm=[0, 2, 1]), k), float(SCALE))
    p = g("Transpose", g("Softmax", scores, axis=2), perm=[0, 2, 1])
    g.output(g("MatMul", v, p))


@spelling
def einsum(g):
    q, k, v = (g.normal(name, BATCH, KEYS, HEADS, SIZE) for name in "qkv")
    scores = g("Einsum", q, k, equation="bihd,bjhd->bhij")
    p = g("Softmax", g("Mul", scores, float(SCALE)), axis=-1)
    g.output(g("Einsum", p, v, equation="bhij,bjhd->bihd"))


@spelling
def softmax_of_exponentials(g):
    q, k, v = qkv(g)
    scores = g("Mul", g("MatMul", q, transposed(g, k)), float(SCALE))
    power = g("Exp", g("Sub", scores, g("ReduceMax", scores, axes=[-1], keepdims=1)))
    p = g("Div", power, g("ReduceSum", power, [-1], keepdims=1))
    g.output(g("MatMul", p, v))


@spelling
def pooling_by_a_learned_query(g):
    """One query for all: scores by a product with one column."""
    x = g.normal("x", BATCH, KEYS, 32)
    scores = g("MatMul", x, g.random.normal(size=(32, 1)).astype(np.float32))
    p = g("Transpose", g("Softmax", g("Add", scores, 0.5), axis=1), perm=[0, 2, 1])
    g.output(g("Squeeze", g("MatMul", p, x), [1]))


@spelling
def luong_one_query_each(g):
    """Of a recurrent decoder: products with a vector."""
    memory = g.normal("memory", BATCH, KEYS, 32, shape=["b", "s", 32])
    state = g.normal("state", BATCH, 32, shape=["b", 32])
    scores = g("Squeeze", g("MatMul", memory, g("Unsqueeze", state, [2])), [2])
    seen = g("Cast", g.padding(shape=["b", "s"]), to=TensorProto.BOOL)
    scores = g("Where", seen, g("Div", scores, 5.5), float("-inf"))
    p = g("Unsqueeze", g("Softmax", scores, axis=1), [1])
    g.output(g("Squeeze", g("MatMul", p, memory), [1]))


@spelling
def columns_of_weights(g):
    """Values in columns, by weights in a column."""
    q, k, v = g.normal("q", 3, SIZE, 1), g.normal("k", 3, KEYS, SIZE), g.normal("v", 3, SIZE, KEYS)
    p = g("Softmax", g("MatMul", k, q), axis=1)
    g.output(g("MatMul", v, p))


# ---- decoders ---------------------------------------------------------------------------------------

@spelling
def gpt2_where_of_a_triangle(g):
    q, k, v = qkv(g)
    triangle = np.tril(np.ones((1, 1, 32, 32), np.bool_))
    scores = g("Div", g("MatMul", q, transposed(g, k)), float(math.sqrt(SIZE)))
    seen = g("Slice", triangle, [0, 0], [QUERIES, KEYS], [2, 3])
    scores = g("Where", seen, scores, LOWEST)
    g.output(weighted(g, g("Add", scores, additive(g, g.padding())), v))


@spelling
def gpt2_triangle_behind_a_free_past(g):
    """Rows past … past + new of a stored triangle, cut by the shapes of what there is."""
    q = g.normal("q", BATCH, HEADS, 2, SIZE, shape=["b", HEADS, "new", SIZE])
    new_k, new_v = (g.normal(n, BATCH, HEADS, 2, SIZE, shape=["b", HEADS, "new", SIZE]) for n in "kv")
    past_k, past_v = (g.normal(f"past_{n}", BATCH, HEADS, 6, SIZE, shape=["b", HEADS, "past", SIZE])
                      for n in "kv")
    k, v = g("Concat", past_k, new_k, axis=2), g("Concat", past_v, new_v, axis=2)
    scores = g("Div", g("MatMul", q, transposed(g, k)), float(math.sqrt(SIZE)))
    shape = g("Shape", scores)
    rows, columns = (g("Gather", shape, [axis], axis=0) for axis in (2, 3))
    triangle = np.tril(np.ones((1, 1, 64, 64), np.uint8))
    cut = g("Slice", triangle, g("Sub", columns, rows), columns, [2], [1])
    cut = g("Slice", cut, [0], columns, [3], [1])
    scores = g("Where", g("Cast", cut, to=TensorProto.BOOL), scores, -10000.0)
    g.output(weighted(g, scores, v))
    g.output(k)
    g.output(v)


@spelling
def openai_gpt_scores_times_triangle(g):
    q, k, v = qkv(g)
    triangle = np.tril(np.ones((1, 1, QUERIES, KEYS), np.float32))
    scores = g("Div", g("MatMul", q, transposed(g, k)), float(math.sqrt(SIZE)))
    low = (1 - triangle) * np.float32(-1e4)
    g.output(weighted(g, g("Add", g("Mul", scores, triangle), low), v))


@spelling
def gpt2_of_the_model_zoo(g):
    """scores * b - 10000 * (1 - b), with a window b of a stored triangle, cut by the scores' shape."""
    q = g.normal("q", BATCH, HEADS, QUERIES, SIZE, shape=["b", HEADS, "s", SIZE])
    k, v = (g.normal(n, BATCH, HEADS, QUERIES, SIZE, shape=["b", HEADS, "s", SIZE]) for n in "kv")
    scores = g("Div", g("MatMul", q, transposed(g, k)), float(math.sqrt(SIZE)))
    shape = g("Shape", scores)
    rows, columns = (g("Gather", shape, [axis], axis=0) for axis in (2, 3))
    b = np.tril(np.ones((1, 1, 32, 32), np.float32))
    b = g("Slice", g("Slice", b, g("Sub", columns, rows), columns, [2]), [0], columns, [3])
    scores = g("Sub", g("Mul", scores, b), g("Mul", g("Sub", 1.0, b), 10000.0))
    g.output(weighted(g, scores, v))


@spelling
def gptj_scaled_behind_the_triangle(g):
    q, k, v = qkv(g)
    triangle = np.tril(np.ones((1, 1, QUERIES, KEYS), np.bool_))
    scores = g("Where", triangle, g("MatMul", q, transposed(g, k)), LOWEST)
    g.output(weighted(g, g("Div", scores, float(math.sqrt(SIZE))), v))


@spelling
def neox_added_to_nothing(g):
    """baddbmm over a matrix of zeros."""
    q, k, v = qkv(g)
    scores = g("Add", g("Mul", np.zeros((BATCH, HEADS, QUERIES, KEYS), np.float32), 1.0),
               g("Mul", g("MatMul", q, transposed(g, k)), float(SCALE)))
    triangle = np.tril(np.ones((1, 1, QUERIES, KEYS), np.bool_))
    g.output(weighted(g, g("Where", triangle, scores, LOWEST), v))


@spelling
def conformer_relative_positions(g):
    """A second product, of queries and places, shifted row by row."""
    q, k, v = qkv(g)
    places = g.normal("places", 1, HEADS, SIZE, 2 * KEYS - 1)
    u, w = (g.random.normal(size=(1, HEADS, 1, SIZE)).astype(np.float32) for _ in range(2))
    content = g("MatMul", g("Add", q, u), transposed(g, k))
    place = g("Pad", g("MatMul", g("Add", q, w), places), [0, 0, 0, 1, 0, 0, 0, 0], 0.0)
    place = g("Reshape", place, [BATCH, HEADS, 2 * KEYS, QUERIES])
    place = g("Reshape", g("Slice", place, [1], [2 * KEYS], [2]), [BATCH, HEADS, QUERIES, 2 * KEYS - 1])
    place = g("Slice", place, [0], [KEYS], [3])
    g.output(weighted(g, g("Mul", g("Add", content, place), float(SCALE)), v))


@spelling
def t5_bias_without_scale(g):
    q, k, v = qkv(g)
    bias = g.normal("position_bias", 1, HEADS, QUERIES, KEYS)
    scores = g("Add", g("MatMul", q, transposed(g, k)), g("Add", bias, additive(g, g.padding())))
    g.output(weighted(g, scores, v))


@spelling
def bloom_alibi(g):
    q, k, v = qkv(g)
    slopes = np.array([2.0 ** -i for i in range(1, HEADS + 1)], np.float32).reshape(1, HEADS, 1, 1)
    mask = g.padding()
    place = g("Mul", g("Sub", g("CumSum", mask, 1), 1), mask)
    place = g("Cast", g("Unsqueeze", g("Unsqueeze", place, [1]), [1]), to=TensorProto.FLOAT)
    scores = g("Add", g("Mul", slopes, place), g("Mul", g("MatMul", q, transposed(g, k)), float(SCALE)))
    scores = g("Where", causal(g, q, k), scores, LOWEST)
    g.output(weighted(g, scores, v))


@spelling
def whisper_scaled_queries_cross_attention(g):
    q, k, v = qkv(g, queries=1, keys=30)
    g.output(weighted(g, g("MatMul", g("Mul", q, float(SCALE)), transposed(g, k)), v))


def repeated(g, x, kv_heads, count=HEADS, keys=KEYS):
    """HF's repeat_kv."""
    x = g("Expand", g("Unsqueeze", x, [2]), [BATCH, kv_heads, count // kv_heads, keys, SIZE])
    return g("Reshape", x, [BATCH, count, keys, SIZE])


@spelling
def llama_grouped_heads(g):
    q, k, v = qkv(g, kv_heads=2)
    k, v = repeated(g, k, 2), repeated(g, v, 2)
    scores = g("Mul", g("MatMul", q, transposed(g, k)), float(SCALE))
    hidden = np.where(np.tri(QUERIES, KEYS), 0, LOWEST).astype(np.float32)
    scores = g("Add", scores, g("Add", hidden.reshape(1, 1, QUERIES, KEYS), additive(g, g.padding())))
    g.output(weighted(g, scores, v))


@spelling
def llama_half_with_float_softmax(g):
    q, k, v = qkv(g, np.float16, 2)
    k, v = repeated(g, k, 2), repeated(g, v, 2)
    scores = g("Mul", g("MatMul", q, transposed(g, k)), np.float16(SCALE))
    seen = causal(g, q, k)
    scores = g("Add", scores, g("Where", seen, np.float16(0), np.float16(-65504)))
    p = g("Softmax", g("Cast", scores, to=TensorProto.FLOAT), axis=-1)
    g.output(g("MatMul", g("Cast", p, to=TensorProto.FLOAT16), v), TensorProto.FLOAT16)


def rotated(g, x, cosine, sine):
    half = g("Neg", g("Slice", x, [SIZE // 2], [SIZE], [3]))
    half = g("Concat", half, g("Slice", x, [0], [SIZE // 2], [3]), axis=3)
    return g("Add", g("Mul", x, cosine), g("Mul", half, sine))


@spelling
def llama_rotary_behind_a_cache(g):
    q, new_k, new_v = qkv(g, kv_heads=2, queries=3, keys=3)
    angles = g.random.normal(size=(1, 1, 3, SIZE)).astype(np.float32)
    q, new_k = (rotated(g, x, np.cos(angles), np.sin(angles)) for x in (q, new_k))
    past = [g.normal(f"past_{name}", BATCH, 2, KEYS - 3, SIZE) for name in "kv"]
    k, v = g("Concat", past[0], new_k, axis=2), g("Concat", past[1], new_v, axis=2)
    g.output(k)
    g.output(v)
    seen = g("LessOrEqual", np.arange(KEYS).reshape(1, KEYS),
             np.arange(KEYS - 3, KEYS).reshape(3, 1))
    root = float(math.sqrt(SCALE))
    k, v = repeated(g, k, 2), repeated(g, v, 2)
    scores = g("MatMul", g("Mul", q, root), g("Mul", transposed(g, k), root))
    g.output(weighted(g, g("Add", scores, g("Where", seen, 0.0, float("-inf"))), v))


@spelling
def grouped_by_gathered_heads(g):
    """repeat_interleave as a gather."""
    q, k, v = qkv(g, kv_heads=2)
    k, v = (g("Gather", x, [0, 0, 1, 1], axis=1) for x in (k, v))
    g.output(sdpa(g, q, k, v))


@spelling
def grouped_by_tiled_heads(g):
    q, k, v = qkv(g, kv_heads=2)
    k, v = (g("Reshape", g("Tile", g("Unsqueeze", x, [2]), [1, 1, 2, 1, 1]),
              [BATCH, HEADS, KEYS, SIZE]) for x in (k, v))
    g.output(sdpa(g, q, k, v))


@spelling
def grouped_by_broadcasting(g):
    """Five axes: queries of a group beside one another."""
    q, k, v = qkv(g, kv_heads=2)
    q = g("Reshape", q, [BATCH, 2, 2, QUERIES, SIZE])
    k, v = (g("Unsqueeze", x, [2]) for x in (k, v))
    scores = g("Mul", g("MatMul", q, g("Transpose", k, perm=[0, 1, 2, 4, 3])), float(SCALE))
    g.output(g("Reshape", weighted(g, scores, v), [BATCH, HEADS, QUERIES, SIZE]))


@spelling
def falcon_one_head_of_keys(g):
    q, k, v = qkv(g, kv_heads=1)
    g.output(weighted(g, g("Mul", g("MatMul", q, transposed(g, k)), float(SCALE)), v))


@spelling
def gemma_soft_cap(g):
    q, k, v = qkv(g, kv_heads=2)
    k, v = repeated(g, k, 2), repeated(g, v, 2)
    scores = g("Mul", g("MatMul", q, transposed(g, k)), float(SCALE))
    scores = g("Mul", g("Tanh", g("Div", scores, 2.0)), 2.0)
    hidden = np.where(np.tri(QUERIES, KEYS), 0, LOWEST).astype(np.float32)
    g.output(weighted(g, g("Add", scores, hidden), v))


@spelling
def mistral_sliding_window(g):
    q, k, v = qkv(g)
    rows, columns = g("Unsqueeze", positions(g, q, 2), [1]), g("Unsqueeze", positions(g, k, 2), [0])
    seen = g("And", g("LessOrEqual", columns, rows), g("Greater", columns, g("Sub", rows, 4)))
    scores = g("Mul", g("MatMul", q, transposed(g, k)), float(SCALE))
    g.output(weighted(g, g("Add", scores, g("Where", seen, 0.0, LOWEST)), v))


@spelling
def causal_by_greater_and_triangle(g):
    """HF's causal mask of some years: a full matrix of the lowest number, times a comparison."""
    q, k, v = qkv(g)
    full = g("Trilu", np.full((QUERIES, KEYS), LOWEST, np.float32), 1, upper=1)
    place = g("Range", 0, KEYS, 1)
    after = g("Cast", g("Greater", place, g("Unsqueeze", place, [1])), to=TensorProto.FLOAT)
    bias = g("Unsqueeze", g("Mul", full, after), [0, 1])
    scores = g("Mul", g("MatMul", q, transposed(g, k)), float(SCALE))
    g.output(weighted(g, g("Add", scores, bias), v))


# ---- ONNX's own operators ---------------------------------------------------------------------------

@spelling
def onnx_attention(g):
    g.output(g("Attention", *qkv(g, kv_heads=2), is_causal=1, softcap=3.0))


@spelling
def microsoft_multi_head_attention(g):
    q, k, v = (g.normal(name, BATCH, QUERIES, HEADS * SIZE) for name in "qkv")
    g.output(g("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=HEADS))
