"""Damage to files: each function takes (random, data, other data) and returns data."""
import re
import struct

import onnx

NUMBERS = (0, 1, 2, 3, 7, 127, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**64 - 1)


def damage_bytes(rng, data, other):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        if not data:
            break
        at = rng.randrange(len(data))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at:at + rng.randrange(1, 40)]
        elif kind == 4:
            data[at:at] = rng.choice((b"\xff" * 9 + b"\x01", b"\x80" * 12, b"\x00" * 8))
        elif kind == 5:
            start = rng.randrange(len(other))
            data[at:at + rng.randrange(60)] = other[start:start + rng.randrange(60)]
        else:
            data[at:at + 8] = rng.choice(NUMBERS).to_bytes(8, "little")
    return bytes(data)


def number(rng):
    value = rng.choice(NUMBERS) if rng.random() < 0.6 else rng.randrange(20)
    value = -value if rng.random() < 0.4 else value
    return max(-2**63, min(2**63 - 1, value))


def damage_attribute(rng, attribute):
    if attribute.HasField("i"):
        attribute.i = number(rng)
    elif attribute.HasField("f"):
        attribute.f = rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    elif attribute.HasField("s"):
        attribute.s = rng.choice((b"", b"\xff\xfe", b"NOTSET", b"\x1b[2J", attribute.s * 3))
    elif attribute.ints:
        kind = rng.randrange(3)
        if kind == 0:
            attribute.ints[rng.randrange(len(attribute.ints))] = number(rng)
        elif kind == 1:
            attribute.ints.append(number(rng))
        else:
            attribute.ints.pop()
    if rng.random() < 0.1:
        attribute.type = rng.randrange(15)


def damage_dims(rng, dims):
    if dims:
        dims[rng.randrange(len(dims))] = number(rng)
    else:
        dims.append(number(rng))


def damage_model(rng, data, other):
    """One or more changes to what the model says; the file stays well-formed."""
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception:  # a folder of seeds may hold anything
        return damage_bytes(rng, data, other)
    graph = model.graph
    names = [n for node in graph.node for n in (*node.input, *node.output)] or ["x"]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kind = rng.randrange(12)
        node = rng.choice(graph.node) if graph.node else None
        if kind < 3 and node and node.attribute:
            damage_attribute(rng, rng.choice(node.attribute))
        elif kind == 3 and node and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(["", *names])
        elif kind == 4 and node:
            del node.input[rng.randrange(len(node.input) + 1):]
        elif kind == 5 and node:
            node.op_type = rng.choice(graph.node).op_type
        elif kind == 6 and node and node.attribute:
            node.attribute.pop()
        elif kind == 7 and graph.initializer:
            tensor = rng.choice(graph.initializer)
            damage_dims(rng, tensor.dims)
        elif kind == 8 and graph.initializer:
            tensor = rng.choice(graph.initializer)
            tensor.data_type = rng.randrange(28)
            if rng.random() < 0.3:
                tensor.raw_data = damage_bytes(rng, tensor.raw_data or b"0123456789", other)
        elif kind == 9 and graph.input:
            shape = rng.choice(graph.input).type.tensor_type.shape
            if shape.dim and rng.random() < 0.8:
                dim = rng.choice(shape.dim)
                dim.dim_value = number(rng)
                if rng.random() < 0.5:
                    dim.dim_param = rng.choice(("n", "", "a b", "\n"))
            else:
                shape.dim.add(dim_value=number(rng))
        elif kind == 10 and graph.input:
            rng.choice(graph.input).type.tensor_type.elem_type = rng.randrange(28)
        elif kind == 11 and model.opset_import:
            model.opset_import[0].version = rng.choice((0, 1, 5, 6, 7, 9, 11, 13, 18, 22, 99, -1))
    return model.SerializeToString()


def damage_text(rng, data, other):
    lines = data.decode(errors="replace").split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        tokens = re.findall(r"-?\d+|\w+|\s+|.", lines[at])
        kind = rng.randrange(6)
        if kind == 0:
            lines.insert(at, rng.choice(lines))
        elif kind == 1 and len(lines) > 1:
            del lines[at]
        elif tokens:
            places = [i for i, t in enumerate(tokens) if re.fullmatch(r"-?\d+", t)]
            place = rng.choice(places) if places and kind < 5 else rng.randrange(len(tokens))
            tokens[place] = (str(number(rng)) if kind < 5 else
                             rng.choice(re.findall(r"\w+|.", other.decode(errors="replace"))))
            lines[at] = "".join(tokens)
    return "\n".join(lines).encode()


HEADER, TARGET, SECTION = 128, 32, 40  # bytes of the records of runtime/plan_format.h


def plan_sections(data):
    """(offset, bytes) of what is in a plan: the header, and each section that is not empty."""
    header_bytes, = struct.unpack_from("<I", data, 12)
    n_targets, n_sections = struct.unpack_from("<II", data, 32)
    table = HEADER + n_targets * TARGET
    places = [struct.unpack_from("<QQ", data, table + i * SECTION + 8) for i in range(n_sections)]
    return [(0, header_bytes)] + [place for place in places if place[1]]


def damage_plan(rng, data, other):
    """Words become interesting ones or those of other records: each section has the same chance, so
    that the few bytes of a program are hit as often as its code. Sizes stay what they are."""
    data = bytearray(data)
    places = plan_sections(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        start, size = rng.choice(places)
        kind, width = rng.randrange(5), rng.choice((4, 4, 8))
        at = start + rng.randrange(max(1, size // width)) * width
        if kind == 0:
            data[start + rng.randrange(size)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            value = rng.choice(NUMBERS) & (2 ** (8 * width) - 1)
            data[at:at + width] = value.to_bytes(width, "little")
        elif kind == 2:
            value = int.from_bytes(data[at:at + width], "little") + rng.choice((-1, 1, 2, -4, 256))
            data[at:at + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
        elif kind == 3:
            source = start + rng.randrange(max(1, size // width)) * width
            data[at:at + width] = data[source:source + width]
        else:
            length = min(rng.choice((16, 24, 40, 64)), size)
            source, to = (start + rng.randrange(size - length + 1) // 8 * 8 for _ in range(2))
            data[to:to + length] = data[source:source + length]
    return bytes(data[:len(data)])
