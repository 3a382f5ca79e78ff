"""Operators that have no generator: (domain, operator) → why."""

RANDOM = "its numbers are random: no two generators agree"

MISSING = {
    ("ai.onnx.preview", "FlexAttention"): "ONNX Runtime lacks it; the ledger tests it",
    ("com.microsoft", "QuantizeLinear"): "ONNX's QuantizeLinear in another domain",
    ("com.microsoft", "DequantizeLinear"): "ONNX's DequantizeLinear in another domain",
    ("", "RandomNormal"): RANDOM,
    ("", "RandomNormalLike"): RANDOM,
    ("", "RandomUniform"): RANDOM,
    ("", "RandomUniformLike"): RANDOM,
    ("", "Bernoulli"): RANDOM,
    ("", "Multinomial"): RANDOM,
}
