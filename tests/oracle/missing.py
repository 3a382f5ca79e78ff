"""Operators that have no generator: (domain, operator) → why."""

MISSING = {
    ("ai.onnx.preview", "FlexAttention"): "ONNX Runtime lacks it; the ledger tests it",
    ("com.microsoft", "QuantizeLinear"): "ONNX's QuantizeLinear in another domain",
    ("com.microsoft", "DequantizeLinear"): "ONNX's DequantizeLinear in another domain",
}
