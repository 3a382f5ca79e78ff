#!/usr/bin/env python3
"""Attention, however it is spelled, is one kernel.

    attention.py --build BUILD [--data FOLDER [--all]] [--only NAME]

Each graph of attention_spellings.py becomes one op attention, without a softmax besides, and its numbers are
ONNX Runtime's. The models and exports of FOLDER have as many as EXPECTED says, and no softmax of a product of
queries and keys besides; a few of them, or with --all each. Exit 1 when one does not.
"""
import argparse
import pathlib
import re
import sys
import tempfile

import onnxruntime

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import attention_spellings  # noqa: E402
import harness  # noqa: E402

# Operators of one opset alone.
OPSETS = {"onnx_attention": 23}
TOLERANCE = {"float16": (4e-3, 2e-3)}
# Attentions of a stored model, and softmaxes besides: of routes to experts, and of the edges of boxes.
EXPECTED = {
    "exports": {
        "bert": (2, 0), "bert_bf16": (2, 0), "bert_dynamic_int8": (2, 0), "bert_ort_fused": (2, 0),
        "clip": (4, 0), "deberta_v2": (2, 0), "deit_distilled": (4, 0), "detr": (5, 0),
        "diffusion_unet": (8, 0), "gemma2_kv": (2, 0), "gpt2_kv": (2, 0), "llama_fp16": (2, 0),
        "llama_genai": (2, 0), "llama_int4": (2, 0), "llama_kv": (2, 0), "minilm_meanpool": (2, 0),
        "mixtral_moe": (2, 2), "qwen3_kv": (2, 0), "roberta": (2, 0), "sam": (9, 0),
        "segformer": (4, 0), "series_transformer": (2, 0), "swin2sr": (4, 0), "swin_tiny": (6, 0),
        "t5_decoder": (4, 0), "t5_encoder": (2, 0), "vit_fp16": (3, 0), "vit_tiny": (4, 0),
        "wav2vec2": (2, 0), "whisper_decoder_kv": (4, 0), "seq2seq_loop": (1, 0), "yolo": (0, 3)},
    "models": {"attention_past_state": (1, 0), "bert_toy": (5, 0), "cct_2_32_32_128": (3, 0)},
}
SAMPLE = {"gpt2_kv", "llama_kv", "mixtral_moe", "swin_tiny", "t5_encoder", "whisper_decoder_kv",
          "attention_past_state", "cct_2_32_32_128"}


def count(tools, model):
    """(attentions, softmaxes) of the graph that is compiled; what went wrong."""
    code, text, errors = tools.run(tools.bin / "gpucc", model, "--emit=ir", f"--target={tools.target}")
    if code:
        return None, harness.describe(code, errors)
    ops = re.findall(r"^\s*%\d+(?:, %\d+)* = (\w+)", text, re.MULTILINE)
    return (ops.count("attention"), ops.count("softmax")), None


def reasons(tools, model):
    _, text, errors = tools.run(tools.bin / "gpucc", model, "--explain=fusion", f"--target={tools.target}")
    found = re.findall(r"recognize_attention: .*: (no attention: .*)", text + errors)
    return "; ".join(dict.fromkeys(found)) or "nothing is said about it"


def check_spelling(tools, name):
    """What is wrong with it, or None."""
    graph = attention_spellings.Graph()
    attention_spellings.SPELLINGS[name](graph)
    model = graph.model(OPSETS.get(name, 17)).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "model.onnx").write_bytes(model)
        counts, wrong = count(tools, work / "model.onnx")
        if wrong:
            return wrong
        if counts != (1, 0):
            return f"{counts[0]} attentions, {counts[1]} softmaxes: {reasons(tools, work / 'model.onnx')}"
        code, _, errors = tools.compile(work / "model.onnx", work / "plan")
        if code:
            return harness.describe(code, errors)
        for i, (value, array) in enumerate(graph.feeds.items()):
            harness.save_tensor(work / "inputs" / f"input_{i}.pb", array, value)
        got = tools.outputs(work / "plan", work / "inputs", "--device=emu", "--race")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for i, wanted in enumerate(session.run(None, graph.feeds)):
            wrong = harness.mismatch(got[i], wanted, *TOLERANCE.get(str(wanted.dtype), ()))
            if wrong:
                return f"output {i}: {wrong}"
    return None


def check_stored(tools, path, expected):
    counts, wrong = count(tools, path)
    if wrong or counts == expected:
        return wrong
    return (f"{counts[0]} attentions and {counts[1]} softmaxes, not {expected[0]} and {expected[1]}: "
            f"{reasons(tools, path)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--target", default="sm_80")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    tools = harness.Tools(options.build, options.target)
    jobs = [(name, lambda name=name: check_spelling(tools, name))
            for name in attention_spellings.SPELLINGS]
    for group, models in EXPECTED.items() if options.data else ():
        for name, expected in models.items():
            path = options.data / group / name / "model.onnx"
            if options.all or name in SAMPLE:
                jobs.append((name, lambda path=path, expected=expected:
                             check_stored(tools, path, expected)))
    jobs = [job for job in jobs if options.only in job[0]]
    bad = 0
    for (name, _), wrong in zip(jobs, harness.parallel(lambda job: job[1](), jobs)):
        bad += wrong is not None
        if wrong:
            print(f"{name}: {wrong}", flush=True)
    print(f"{len(jobs) - bad} of {len(jobs)} are right")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
