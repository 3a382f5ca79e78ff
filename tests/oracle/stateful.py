"""Generators: operators that carry a state from call to call."""
import numpy as np

from cases import BF16, Case, generator

NARROW = [np.dtype(np.float16), BF16]


@generator("CausalConvWithState")
def causal_conv(r, op):
    dtype = r.dtype()
    batch, channels, length, k = r.integer(1, 3), r.integer(1, 7), r.integer(1, 9), r.integer(1, 4)
    inputs = [r.values(dtype, s, -1, 1) for s in
              ([batch, channels, length], [channels, 1, k], [channels], [batch, channels, k - 1])]
    inputs[2:] = [x if r.chance(0.6) else None for x in inputs[2:]]
    attributes = {"activation": r.pick(["none", "silu", "swish"])} if r.chance(0.7) else {}

    def expected(inputs):
        x, w, bias, past = (None if v is None else v.astype(np.float64) for v in inputs)
        past = np.zeros([batch, channels, k - 1]) if past is None else past
        line = np.concatenate([past, x], 2)
        y = sum(line[:, :, i:i + length] * w[:, 0, i, None] for i in range(k))
        y = y if bias is None else y + bias[:, None]
        if attributes.get("activation", "none") != "none":
            y = y / (1 + np.exp(-y))
        return [y.astype(dtype), line[:, :, length:].astype(dtype)]
    return Case(inputs, attributes, outputs=2, kind="sum", expected=expected, neighbours=False)


@generator("LinearAttention")
def linear_attention(r, op):
    dtype = r.dtype(among=[np.dtype(np.float32)] + NARROW)
    rule = r.pick(["linear", "gated", "delta", "gated_delta"])
    batch, length, heads, group = (r.integer(1, n) for n in (2, 6, 3, 2))
    size, width = r.integer(1, 6), r.integer(1, 6)
    attributes = {"q_num_heads": heads * group, "kv_num_heads": heads, "update_rule": rule}
    if r.chance():
        attributes["scale"] = 0.5
    scale = attributes.get("scale") or 1 / np.sqrt(size)
    gated, delta = "gated" in rule, "delta" in rule
    inputs = [r.values(dtype, [batch, length, n], -0.5, 0.5)
              for n in (heads * group * size, heads * size, heads * width)]
    inputs.append(r.values(np.float32 if dtype in NARROW and r.chance() else dtype,
                           [batch, heads, size, width], -1, 1) if r.chance() else None)
    inputs.append(r.values(dtype, [batch, length, r.pick([heads, heads * size])], -1, 0)
                  if gated else None)
    inputs.append(r.values(dtype, [batch, length, r.pick([heads, 1])], 0, 1) if delta else None)
    state_type = dtype if inputs[3] is None else inputs[3].dtype

    def expected(inputs):
        q, k, v, state, decay, beta = (None if x is None else x.astype(np.float64) for x in inputs)
        q = q.reshape(batch, length, heads, group, size)
        k, v = k.reshape(batch, length, heads, size), v.reshape(batch, length, heads, width)
        state = np.zeros([batch, heads, size, width]) if state is None else state
        made = []
        for t in range(length):
            if gated:
                state = state * np.exp(decay[:, t].reshape(batch, heads, -1, 1))
            add = v[:, t]
            if delta:
                rate = np.broadcast_to(beta[:, t], [batch, heads])[..., None]
                add = rate * (add - np.einsum("bhkv,bhk->bhv", state, k[:, t]))
            state = state + k[:, t][..., None] * add[:, :, None]
            made.append(scale * np.einsum("bhgk,bhkv->bhgv", q[:, t], state))
        y = np.stack(made, 1).reshape(batch, length, heads * group * width)
        return [y.astype(dtype), state.astype(state_type)]
    return Case(inputs, attributes, outputs=2, kind="sum", expected=expected, neighbours=False)
