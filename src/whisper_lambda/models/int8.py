"""A CTranslate2 model.bin in, the same model with int8 rows out, read and written as a stream.

CTranslate2 converts an fp16 file to int8 each time it loads it; a file converted once is half the
size and loads five times as fast. What is written equals, byte for byte, what CTranslate2's own
converter writes for quantization="int8" with convolutions left alone. They are left alone because
CTranslate2 computes them in float: rounding them would change the text.

Format (version 6, little-endian): version u32, spec name, revision u32, variables u32, then for
each: name, rank u8, dims u32 each, dtype u8, bytes u32, data; then aliases u32 and pairs of names.
A name is its length u16, counting a closing zero byte, then the bytes.

Source: OpenNMT/CTranslate2 python/ctranslate2/specs/model_spec.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np

from whisper_lambda.errors import ModelCorrupt

RECIPE = "int8-rows/1"  # named in every manifest; another recipe makes another digest
BLOCK_BYTES = 4 << 20  # rows are converted this many source bytes at a time

_VERSION = 6
_SPEC = "WhisperSpec"
_REVISION = 3
_MATRIX = 2  # dimensions
_DTYPES = tuple(np.dtype(t) for t in ("<f4", "<i1", "<i2", "<i4", "<f2", "<u2"))  # the last is bfloat16
_FLOAT32, _INT8, _FLOAT16 = 0, 1, 4
_MOST_VARIABLES = 100_000
_MOST_RANK = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """What the weights themselves say about the model."""

    mel_bins: int
    vocabulary: int  # tokens; 51,864 and fewer = English only
    decoder_layers: int
    decoder_heads: int


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    shape: tuple[int, ...]
    dtype: int  # index into _DTYPES
    bytes: int

    @property
    def quantizable(self) -> bool:
        """Whether CTranslate2 multiplies it in int8: every matrix, no convolution."""
        return (
            len(self.shape) == _MATRIX and self.name.endswith("weight") and self.dtype in (_FLOAT32, _FLOAT16)
        )


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


def rewrite(parts: tuple[Path, ...], out: IO[bytes]) -> Facts:
    """Write the model whose model.bin is `parts`, one after the other, to `out` with int8 rows.

    Holds a block of rows and one matrix's scales at a time. A file that is int8 already is copied.

    Raises:
        ModelCorrupt: `parts` are not a Whisper model.bin of version 6; `out` is then unusable.
    """
    joined = Joined(parts)
    reader = _Reader(joined, parts[0])
    try:
        count = reader.header()
        position = len(_header(count))
        out.write(_header(count))
        written, shapes, heads = 0, {}, 0
        for _ in range(count):
            variable = reader.variable()
            shapes[variable.name] = variable.shape
            if variable.quantizable:
                written += _copy_quantized(reader, variable, out)
                continue
            data = _copy(reader, variable, out)
            written += 1
            if variable.name == "decoder/num_heads":
                heads = int.from_bytes(data, "little")
        out.write(reader.aliases())
        reader.end()
    finally:
        joined.close()
    # the count grew by one scale per matrix: known only now, since the file is read once
    out.seek(position - 4)
    out.write(struct.pack("<I", written))
    out.seek(0, 2)
    return _facts(shapes, heads, parts[0])


def _copy(reader: _Reader, variable: _Variable, out: IO[bytes]) -> bytes:
    """Write the variable as it is, and return its last block: all of it, where it is small."""
    _write_head(out, variable)
    block = b""
    for block in reader.blocks(variable.bytes, BLOCK_BYTES):
        out.write(block)
    return block


def _copy_quantized(reader: _Reader, variable: _Variable, out: IO[bytes]) -> int:
    """Write the matrix as int8 rows, then its scales: 127 / the row's largest magnitude."""
    rows, columns = variable.shape
    source = _DTYPES[variable.dtype]
    _write_head(out, _Variable(variable.name, variable.shape, _INT8, rows * columns))
    row_bytes = columns * source.itemsize
    scales = []
    for block in reader.blocks(variable.bytes, max(1, BLOCK_BYTES // row_bytes) * row_bytes):
        values = np.frombuffer(block, source).reshape(-1, columns).astype(np.float32)
        largest = np.amax(np.absolute(values), axis=1)
        if not np.isfinite(largest).all():
            raise ModelCorrupt(f"{reader.path}: {variable.name} holds values that are not numbers")
        largest[largest == 0] = 127.0  # a row of zeros keeps scale 1
        largest = np.maximum(largest, np.float32(127) / np.finfo(np.float32).max)
        scale = np.float32(127.0) / largest
        values *= scale[:, None]
        out.write(np.rint(values, out=values).astype(np.int8).tobytes())
        scales.append(scale)
    _write_head(out, _Variable(f"{variable.name}_scale", (rows,), _FLOAT32, rows * 4))
    out.write(np.concatenate(scales).astype("<f4").tobytes())
    return 2  # variables


def _header(count: int) -> bytes:
    return struct.pack("<I", _VERSION) + _string(_SPEC) + struct.pack("<II", _REVISION, count)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<H", len(raw) + 1) + raw + b"\0"


def _write_head(out: IO[bytes], variable: _Variable) -> None:
    rank = len(variable.shape)
    out.write(_string(variable.name))
    out.write(struct.pack(f"<B{rank}IBI", rank, *variable.shape, variable.dtype, variable.bytes))


def _facts(shapes: dict[str, tuple[int, ...]], heads: int, path: Path) -> Facts:
    layers = {name.split("/")[1] for name in shapes if name.startswith("decoder/layer_")} - {"layer_norm"}
    try:
        _, mel_bins, _ = shapes["encoder/conv1/weight"]
        vocabulary, _ = shapes["decoder/embeddings/weight"]
    except (KeyError, ValueError) as cause:
        raise ModelCorrupt(
            f"{path} is not a Whisper model: it lacks its encoder or its vocabulary"
        ) from cause
    return Facts(mel_bins=mel_bins, vocabulary=vocabulary, decoder_layers=len(layers), decoder_heads=heads)


class _Reader:
    """Takes the format apart, believing no number in it before it fits."""

    def __init__(self, source: Joined, path: Path) -> None:
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
        if version != _VERSION:
            raise ModelCorrupt(f"{self.path} is not a CTranslate2 model of version {_VERSION}")
        spec = self._name()
        revision, count = self._numbers("II")
        if spec != _SPEC or revision != _REVISION or not 0 < count <= _MOST_VARIABLES:
            raise ModelCorrupt(f"{self.path} is not a Whisper model: {spec[:40]!r} revision {revision}")
        return count

    def variable(self) -> _Variable:
        """Return the next variable's description; its data comes next."""
        name = self._name()
        (rank,) = self._numbers("B")
        if rank > _MOST_RANK:
            raise ModelCorrupt(f"{self.path}: {name} claims {rank} dimensions")
        shape = self._numbers(f"{rank}I")
        dtype, size = self._numbers("BI")
        if dtype >= len(_DTYPES) or math.prod(shape) * _DTYPES[dtype].itemsize != size or not size:
            raise ModelCorrupt(
                f"{self.path}: {name} claims {size} bytes, which its shape {shape} does not need"
            )
        return _Variable(name, shape, dtype, size)

    def blocks(self, size: int, most: int) -> Iterator[bytes]:
        """Yield the next `size` bytes in blocks of `most`, the last one shorter."""
        while size:
            block = self._exactly(min(size, most))
            size -= len(block)
            yield block

    def aliases(self) -> bytes:
        """Return the list of aliases as it stands in the file."""
        (count,) = self._numbers("I")
        if count > _MOST_VARIABLES:
            raise ModelCorrupt(f"{self.path} claims {count} aliases")
        names = [self._name() for _ in range(2 * count)]
        return struct.pack("<I", count) + b"".join(map(_string, names))

    def end(self) -> None:
        """Refuse bytes after the model."""
        if self._source.read(1):
            raise ModelCorrupt(f"{self.path} goes on after the model's end")
