"""A CTranslate2 model.bin taken apart as a stream, believing no number in it before it fits.

Format (version 6, little-endian): version u32, spec name, revision u32, variables u32, then for
each: name, rank u8, dims u32 each, dtype u8, bytes u32, data; then aliases u32 and pairs of names.
A name is its length u16, counting a closing zero byte, then the bytes.

Source: OpenNMT/CTranslate2 python/ctranslate2/specs/model_spec.py.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.errors import ModelCorrupt

BLOCK_BYTES = 4 << 20  # read at a time
SHARED_BYTES = 1 << 16  # arrays up to this size may stand for equal ones elsewhere: norms, biases
VERSION = 6
SPEC = "WhisperSpec"
REVISION = 3
MATRIX = 2  # dimensions
DTYPES = tuple(np.dtype(t) for t in ("<f4", "<i1", "<i2", "<i4", "<f2", "<u2"))  # the last is bfloat16
FLOAT32, INT8, FLOAT16 = 0, 1, 4
_MOST_VARIABLES = 100_000
_MOST_RANK = 8


@dataclass(frozen=True, slots=True)
class Variable:
    """What the file says of an array before its bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: int  # index into DTYPES
    bytes: int

    @property
    def quantizable(self) -> bool:
        """Whether CTranslate2 multiplies it in int8: every matrix, no convolution."""
        return len(self.shape) == MATRIX and self.name.endswith("weight") and self.dtype in (FLOAT32, FLOAT16)


class Joined:
    """Reads several files as if they were one; weights in packages come cut in parts."""

    def __init__(self, parts: tuple[Path, ...]) -> None:
        self._waiting = list(parts)
        self._open: BinaryIO | None = None

    def read(self, n: int) -> bytes:
        """Return up to `n` bytes; b"" only at the very end."""
        while True:
            if self._open is None:
                if not self._waiting:
                    return b""
                self._open = self._waiting.pop(0).open("rb")
            if block := self._open.read(n):
                return block
            self.close()

    def close(self) -> None:
        """Close the part being read."""
        if self._open is not None:
            self._open.close()
            self._open = None


def string(text: str) -> bytes:
    """Return a name as the format spells it."""
    raw = text.encode()
    return struct.pack("<H", len(raw) + 1) + raw + b"\0"


class Source(Protocol):
    """What bytes are read from."""

    def read(self, n: int, /) -> bytes:
        """Return up to `n` bytes; b"" only at the very end."""


def arrays(source: Source, path: Path, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Return the variables whose names begin with `prefix`, by the rest of their names.

    Raises:
        ModelCorrupt: `source` is not a Whisper model.bin of version 6.
    """
    reader = Reader(source, path)
    found: dict[str, NDArray[np.generic]] = {}
    for _ in range(reader.header()):
        variable = reader.variable()
        blocks = reader.blocks(variable.bytes, BLOCK_BYTES)
        if variable.name.startswith(prefix) or variable.bytes <= SHARED_BYTES:
            data = np.frombuffer(b"".join(blocks), DTYPES[variable.dtype])
            found[variable.name] = data.reshape(variable.shape)
        else:
            deque(blocks, maxlen=0)
    found.update({alias: found[name] for alias, name in reader.aliases() if name in found})
    reader.end()
    return {name.removeprefix(prefix): data for name, data in found.items() if name.startswith(prefix)}


class Reader:
    """Takes the format apart, believing no number in it before it fits."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self.path = path

    def _exactly(self, n: int) -> bytes:
        blocks = []
        while n:
            if not (block := self._source.read(n)):
                raise ModelCorrupt(f"{self.path} ends in the middle; fetch the model again")
            blocks.append(block)
            n -= len(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _numbers(self, layout: str) -> tuple[int, ...]:
        return cast(
            tuple[int, ...], struct.unpack("<" + layout, self._exactly(struct.calcsize("<" + layout)))
        )

    def _name(self) -> str:
        (length,) = self._numbers("H")
        raw = self._exactly(length)
        try:
            if raw[-1:] == b"\0" and raw.count(0) == 1:
                return raw[:-1].decode()
        except UnicodeDecodeError:
            pass
        raise ModelCorrupt(f"{self.path} is not a model file: a name in it cannot be read")

    def header(self) -> int:
        """Return how many variables follow, refusing anything but a Whisper model of version 6."""
        (version,) = self._numbers("I")
        if version != VERSION:
            raise ModelCorrupt(f"{self.path} is not a CTranslate2 model of version {VERSION}")
        spec = self._name()
        revision, count = self._numbers("II")
        if spec != SPEC or revision != REVISION or not 0 < count <= _MOST_VARIABLES:
            raise ModelCorrupt(f"{self.path} is not a Whisper model: {spec[:40]!r} revision {revision}")
        return count

    def variable(self) -> Variable:
        """Return the next variable's description; its data comes next."""
        name = self._name()
        (rank,) = self._numbers("B")
        if rank > _MOST_RANK:
            raise ModelCorrupt(f"{self.path}: {name} claims {rank} dimensions")
        shape = self._numbers(f"{rank}I")
        dtype, size = self._numbers("BI")
        if dtype >= len(DTYPES) or math.prod(shape) * DTYPES[dtype].itemsize != size or not size:
            raise ModelCorrupt(
                f"{self.path}: {name} claims {size} bytes, which its shape {shape} does not need"
            )
        return Variable(name, shape, dtype, size)

    def blocks(self, size: int, most: int) -> Iterator[bytes]:
        """Yield the next `size` bytes in blocks of `most`, the last one shorter."""
        while size:
            block = self._exactly(min(size, most))
            size -= len(block)
            yield block

    def aliases(self) -> list[tuple[str, str]]:
        """Return pairs of a name and the variable it stands for."""
        (count,) = self._numbers("I")
        if count > _MOST_VARIABLES:
            raise ModelCorrupt(f"{self.path} claims {count} aliases")
        return [(self._name(), self._name()) for _ in range(count)]

    def end(self) -> None:
        """Refuse bytes after the model."""
        if self._source.read(1):
            raise ModelCorrupt(f"{self.path} goes on after the model's end")
