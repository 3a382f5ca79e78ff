"""Operators that have no generator: (domain, operator) → why."""

MISSING = {
    ("", "If"): "its branches are graphs; tests/frontend and the ledger test it",
    ("", "OptionalHasElement"): "its type is an optional, which ONNX Runtime does not take as input",
    ("", "OptionalGetElement"): "its type is an optional, which ONNX Runtime does not take as input",
}
