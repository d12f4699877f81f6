"""Nodes and arrays in, the bytes of an ONNX model out.

The part of onnx.proto that a network without control flow needs. The `onnx` package would do it with
20 MB and two more dependencies; what is written here is read back by ONNX Runtime, which refuses a
graph that is wrong. Source: onnx/onnx, onnx/onnx.proto (field numbers, types).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators
_OPSETS = {"": 18, MICROSOFT: 1}
_IR_VERSION = 9
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}  # TensorProto.DataType
_A_FLOAT, _AN_INT, _INTS = 1, 2, 7  # AttributeProto.AttributeType

Attribute = int | float | Sequence[int]


class Graph:
    """A network being written down, in the order it computes."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Take in an array under a name, once, and return the name."""
        if name not in self._constants:
            self._constants[name] = b"".join(_tensor(name, value))
        return name

    def add(
        self, operator: str, inputs: Sequence[str], outputs: str | Sequence[str], **attributes: Attribute
    ) -> str:
        """Append a node and return its first output; `""` leaves an input or output out.

        Args:
            operator: of ONNX, or `com.microsoft.` before one of ONNX Runtime's.
            inputs: names of what it reads.
            outputs: names of what it makes.
            **attributes: as the operator names them.
        """
        names = [outputs] if isinstance(outputs, str) else outputs
        domain, _, kind = operator.rpartition(".")
        node = [*(_text(1, i) for i in inputs), *(_text(2, o) for o in names), _text(4, kind)]
        node += [_bytes(5, b"".join(_attribute(*a))) for a in attributes.items()]
        self._nodes.append(b"".join([*node, _text(7, domain)]))
        return names[0]

    def model(self, inputs: Mapping[str, Sequence[int | str]], output: str) -> bytes:
        """Return the model: what it is given, with shapes (a name is any length), and what it returns."""
        graph = [
            *(_bytes(1, node) for node in self._nodes),
            _text(2, "whisper-lambda"),
            *(_bytes(5, constant) for constant in self._constants.values()),
            *(_bytes(11, _value(name, shape)) for name, shape in inputs.items()),
            _bytes(12, _value(output, None)),
        ]
        opsets = [_bytes(8, _text(1, domain) + _number(2, n)) for domain, n in _OPSETS.items()]
        return b"".join([_number(1, _IR_VERSION), _bytes(7, b"".join(graph)), *opsets])


def _tensor(name: str, value: NDArray[np.generic]) -> Iterator[bytes]:
    yield from (_number(1, size) for size in value.shape)
    yield _number(2, _TYPES[value.dtype.name])
    yield _text(8, name)
    yield _bytes(9, value.tobytes())  # in rows, little-endian: what the platforms we run on have


def _attribute(name: str, value: Attribute) -> Iterator[bytes]:
    yield _text(1, name)
    if isinstance(value, float):
        yield _key(2, 5) + np.float32(value).tobytes()
        yield _number(20, _A_FLOAT)
    elif isinstance(value, int):
        yield _number(3, value)
        yield _number(20, _AN_INT)
    else:
        yield from (_number(8, v) for v in value)
        yield _number(20, _INTS)


def _value(name: str, shape: Sequence[int | str] | None) -> bytes:
    sizes = [_text(2, size) if isinstance(size, str) else _number(1, size) for size in shape or ()]
    tensor = _number(1, _TYPES["float32"])
    if shape is not None:
        tensor += _bytes(2, b"".join(_bytes(1, size) for size in sizes))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value % (1 << 64))  # a negative one in two's complement


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >> 7:  # seven bits a byte, the eighth says that another one follows
        out.append(value % 128 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
