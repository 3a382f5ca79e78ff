#!/usr/bin/env python3
"""No call and no list of initializers has two operands that leave a trace.

    evaluation_order.py ROOT

C leaves open in which order operands are evaluated, and compilers differ: two of them that both build
nodes, name dims of a kernel or print to it would make plans depend on who compiled gpucc. Of two such
operands one is computed in a statement before. Read as text: definitions begin in the first column.
"""
import pathlib
import re
import sys

FOLDERS = ("ir", "frontend", "passes", "codegen")
# What leaves a trace: nodes and symbols of a graph; names and lines of a kernel's text.
TRACES = {"graph_insert", "graph_insert_control", "graph_add_input", "graph_symbol", "graph_constrain",
          "graph_remark", "index_var", "index_div", "index_mod", "emit_dim", "emit_index",
          "emit_buffer", "emit_value", "emit_fresh", "emit_line"}
KEYWORDS = {"if", "while", "for", "switch", "return", "sizeof", "defined"}
CALL = re.compile(r"\b(\w+)\s*\(")
FUNCTION = re.compile(r"^(?!#)[A-Za-z_][^;{}]*?\b(\w+)\([^;{}]*\)\s*\n\{\n(.*?)^\}", re.S | re.M)
MACRO = re.compile(r"^#define\s+(\w+)\(.*?\)\s+((?:.*\\\n)*.*)", re.M)
OPERANDS = re.compile(r"\b(\w+)\s*(\()|[=)]\s*(\{)|return\s*(\{)")

PLANTED = """
static void two(struct graph *g)
{
    f(g, 1 + graph_insert(g), /* ( */ ")", through(g));
    f(g, graph_insert(g), g);
    struct pair p = {through(g), through(g)};
}

static int through(struct graph *g)
{
    return graph_insert(g);
}
"""


def blank(text):
    """The same without comments and strings, at the same places."""
    def spaces(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    text = re.sub(r"/\*.*?\*/|//[^\n]*", spaces, text, flags=re.S)
    return re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', spaces, text)


def calls_in(text):
    return {name for name in CALL.findall(text)} - KEYWORDS


class Tracers:
    """The functions and macros that leave a trace by themselves or by what they call."""

    def __init__(self, files):
        self.calls, self.places = {}, {}
        for path, text in files.items():
            for name, body in FUNCTION.findall(text):
                self.define(path, name, calls_in(body))
            for name, body in MACRO.findall(text):
                self.define(path, name, calls_in(body))
                for made in re.findall(rf"^{name}\((\w+)", text, re.M):  # it defines functions
                    self.define(path, made, {name})
        self.found, size = set(), -1
        while size != len(self.found):
            size = len(self.found)
            self.found |= {key for key, called in self.calls.items()
                           if any(self.has(key[0], name) for name in called)}

    def define(self, path, name, called):
        self.calls[path, name] = called
        self.places.setdefault(name, []).append(path)

    def has(self, path, name):
        if name in TRACES:
            return True
        paths = [path] if (path, name) in self.calls else self.places.get(name, [])
        return any((p, name) in self.found for p in paths)


def operands(text, start):
    """What stands between the bracket at start and its partner, split at commas."""
    depth, parts = 0, [""]
    for letter in text[start:]:
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            break
        if letter == "," and depth == 1:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def check(files):
    tracers = Tracers(files)
    for path, text in files.items():
        for function in FUNCTION.finditer(text):
            body = function.group(2)
            for match in OPERANDS.finditer(body):
                parts = operands(body, match.end() - 1)
                if match.group(1) in KEYWORDS or ";" in "".join(parts):
                    continue
                traces = [sorted(name for name in calls_in(part) if tracers.has(path, name))
                          for part in parts]
                traces = [names[0] for names in traces if names]
                if len(traces) > 1:
                    line = text.count("\n", 0, function.start(2) + match.start()) + 1
                    yield f"{path}:{line}: {' and '.join(traces)} in one list of operands"


def main():
    planted = list(check({"planted.c": blank(PLANTED)}))
    if [message.split(":")[1] for message in planted] != ["4", "6"]:
        sys.exit(f"what was planted is not found: {planted}")
    root = pathlib.Path(sys.argv[1])
    files = {path.relative_to(root): blank(path.read_text())
             for folder in FOLDERS for path in sorted((root / folder).glob("*.[ch]"))}
    wrong = list(check(files))
    print("\n".join(wrong) or f"{len(files)} files leave the order of evaluation no choice")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
