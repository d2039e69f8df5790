"""Writes a small ONNX file byte by byte, since the package that writes them is not among the dependencies."""

import struct


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number, content):
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    content = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _value(name, shape):
    sides = b"".join(_field(1, _field(2, d) if isinstance(d, str) else _field(1, d)) for d in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, sides)))


def weighted_mean_onnx(weights):
    """Return an ONNX file: (n, 3, 8, 8) -> averaged over the sides, times a (3, dim) matrix -> (n, dim)."""
    rows, columns = weights.shape
    data = struct.pack(f"<{weights.size}f", *weights.ravel().tolist())
    matrix = _field(1, rows) + _field(1, columns) + _field(2, 1) + _field(8, "w") + _field(9, data)
    nodes = [
        _field(1, "picture") + _field(2, "mean") + _field(4, "GlobalAveragePool"),
        _field(1, "mean") + _field(2, "flat") + _field(4, "Flatten"),
        _field(1, "flat") + _field(1, "w") + _field(2, "vector") + _field(4, "MatMul"),
    ]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "g") + _field(5, matrix)
    graph += _field(11, _value("picture", ["n", 3, 8, 8])) + _field(12, _value("vector", ["n", columns]))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))
