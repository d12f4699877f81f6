"""A CTranslate2 model.bin in, the same model with int8 rows out, read and written as a stream.

CTranslate2 converts an fp16 file to int8 each time it loads it; a file converted once is half the
size and loads five times as fast. What is written equals, byte for byte, what CTranslate2's own
converter writes for quantization="int8" with convolutions left alone. They are left alone because
CTranslate2 computes them in float: rounding them would change the text.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.models.model_bin import (
    BLOCK_BYTES,
    DTYPES,
    FLOAT32,
    INT8,
    REVISION,
    SPEC,
    VERSION,
    Joined,
    Reader,
    Variable,
    string,
)

RECIPE = "int8-rows/1"  # named in every manifest; another recipe makes another digest


@dataclass(frozen=True, slots=True)
class Facts:
    """What the weights themselves say about the model."""

    mel_bins: int
    vocabulary: int  # tokens; 51,864 and fewer = English only
    decoder_layers: int
    decoder_heads: int


def rewrite(parts: tuple[Path, ...], out: IO[bytes]) -> Facts:
    """Write the model whose model.bin is `parts`, one after the other, to `out` with int8 rows.

    Holds a block of rows and one matrix's scales at a time. A file that is int8 already is copied.

    Raises:
        ModelCorrupt: `parts` are not a Whisper model.bin of version 6; `out` is then unusable.
    """
    joined = Joined(parts)
    reader = Reader(joined, parts[0])
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
        pairs = reader.aliases()
        out.write(struct.pack("<I", len(pairs)) + b"".join(string(n) for pair in pairs for n in pair))
        reader.end()
    finally:
        joined.close()
    # the count grew by one scale per matrix: known only now, since the file is read once
    out.seek(position - 4)
    out.write(struct.pack("<I", written))
    out.seek(0, 2)
    return _facts(shapes, heads, parts[0])


def _copy(reader: Reader, variable: Variable, out: IO[bytes]) -> bytes:
    """Write the variable as it is, and return its last block: all of it, where it is small."""
    _write_head(out, variable)
    block = b""
    for block in reader.blocks(variable.bytes, BLOCK_BYTES):
        out.write(block)
    return block


def _copy_quantized(reader: Reader, variable: Variable, out: IO[bytes]) -> int:
    """Write the matrix as int8 rows, then its scales: 127 / the row's largest magnitude."""
    rows, columns = variable.shape
    source = DTYPES[variable.dtype]
    _write_head(out, Variable(variable.name, variable.shape, INT8, rows * columns))
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
    _write_head(out, Variable(f"{variable.name}_scale", (rows,), FLOAT32, rows * 4))
    out.write(np.concatenate(scales).astype("<f4").tobytes())
    return 2  # variables


def _header(count: int) -> bytes:
    return struct.pack("<I", VERSION) + string(SPEC) + struct.pack("<II", REVISION, count)


def _write_head(out: IO[bytes], variable: Variable) -> None:
    rank = len(variable.shape)
    out.write(string(variable.name))
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
