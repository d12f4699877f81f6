"""Bytes of any audio or video file in; samples (mono, 16 kHz, float32) out.

The one choke point for everything that is to be heard: limits are enforced here and in the confined
process behind `DecoderPool`, whichever door the bytes came through.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, isinf
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_lambda import lanes
from whisper_lambda.audio.sandbox import DecoderPool, Order
from whisper_lambda.errors import AudioTooLarge, BadAudio, EmptyAudio, NoAudioStream, StorageFull
from whisper_lambda.types import SAMPLE_RATE, Decoded, Samples

Source = Path | bytes | BinaryIO

# FFmpeg cannot tell these apart from noise, so the name decides; only among these, and only where
# the content is not plainly something else.
_HEADERLESS = {
    ".g722": ("g722", None),
    ".gsm": ("gsm", None),
    ".sln": ("sln", None),
    ".al": ("alaw", 8_000),
    ".alaw": ("alaw", 8_000),
    ".ul": ("mulaw", 8_000),
    ".ulaw": ("mulaw", 8_000),
}  # suffix: FFmpeg's demuxer, and Hz where it asks
_PICTURES = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
}
_MARKS = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or office document",
    b"\x1f\x8b": "a gzip archive",
    b"RIFF": "a RIFF file",
    b"RF64": "a RIFF file",
    b"OggS": "an Ogg file",
    b"fLaC": "a FLAC file",
    b"ID3": "an MP3 file",
    b"\x1aE\xdf\xa3": "a Matroska or WebM file",
    b"FORM": "an AIFF file",
    b".snd": "an AU file",
    b"caff": "a CAF file",
    b"#!AMR": "an AMR file",
    b"0&\xb2u": "a Windows Media file",
}
_GSM_FRAME, _GSM_NIBBLE = 33, 0xD  # bytes; what the first of them begins with
_IN_MEMORY = 32 * 1024 * 1024  # bytes; larger uploads wait on disk, where they do not count as memory
_STEP = 60 * SAMPLE_RATE  # samples by which a growing recording grows, at least
_CANCELLED = 0.01  # mix energy / mean channel energy; two unlike channels give 0.5, one alone 1 / channels
# Films keep their speech in the third channel of 5.1 and 7.1. No channel is dropped: some are arrays.
_WEIGHTS = {6: (1.0, 1.0, 1.4, 0.5, 0.7, 0.7), 8: (1.0, 1.0, 1.4, 0.5, 0.7, 0.7, 0.7, 0.7)}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one recording may cost."""

    max_seconds: float  # of audio; exactly this much is accepted
    max_bytes: int  # of the file
    timeout_s: float  # of waiting for the decoder
    max_channels: int = 8
    min_hz: int = 4_000  # a header saying 1 Hz makes hours out of a kilobyte
    max_hz: int = 192_000
    memory_bytes: int = 1 << 30  # address space of the decoding process, libraries included


def decode(
    source: Source, limits: Limits, decoders: DecoderPool, *, name: str = "", split_channels: bool = False
) -> Decoded:
    """Decode a whole recording.

    Args:
        source: a file, its bytes, or a binary stream to be read to its end.
        limits: what the recording may cost.
        decoders: where the decoding happens.
        name: the file's name as the client gave it, a hint for formats without a header; a Path is its own.
        split_channels: also return each channel by itself; needs memory for 1 + channels recordings.

    Returns:
        At least one sample; `warnings` say what was wrong with a file that gave something.

    Raises:
        BadAudio: not media, not decodable, or the decoder died on it.
        EmptyAudio: no bytes, or no samples in them.
        NoAudioStream: a picture, or a video without sound.
        AudioTooLong: more than `limits.max_seconds`.
        AudioTooLarge: more than `limits.max_bytes`.
        DecodeTimeout: the decoder took longer than `limits.timeout_s`.
        DecoderFailed: no decoder could be started.
        StorageFull: the bytes do not fit into the scratch directory.
    """
    warnings: list[str] = []
    mix = _Growing()
    channels: list[_Growing] = []
    for block, mixed in _mixed(source, limits, decoders, name, warnings.append):
        mix.append(mixed)
        if split_channels:
            channels = channels or [_Growing() for _ in block]
            for i, channel in enumerate(channels):  # a stream may change its channels on the way
                channel.append(block[i] if i < len(block) else mixed)
    return Decoded(
        samples=mix.finished(), warnings=tuple(warnings), channels=tuple(c.finished() for c in channels)
    )


def decode_blocks(
    source: Source,
    limits: Limits,
    decoders: DecoderPool,
    *,
    name: str = "",
    warn: Callable[[str], None] = lambda _: None,
) -> Iterator[Samples]:
    """Yield a recording's samples as they are decoded, at most a second at a time.

    Memory does not grow with the recording. Closing the iterator ends the decoder. Raises what
    `decode` raises, after the blocks that could be decoded: a refusal may come late.
    """
    for _, mixed in _mixed(source, limits, decoders, name, warn):
        yield mixed


def _mixed(
    source: Source, limits: Limits, decoders: DecoderPool, name: str, warn: Callable[[str], None]
) -> Iterator[tuple[NDArray[np.float32], Samples]]:
    """Yield (channels, their mix) for each block."""
    with _opened(source, limits, decoders.scratch) as file:
        head = os.pread(file, 64, 0)
        order = _order(limits, _headerless(head, name or getattr(source, "name", "")))
        louder, replaced = -1, 0
        try:
            for block in decoders.blocks(file, order, timeout_s=limits.timeout_s, warn=warn):
                lanes.stay()
                _tidy(block)
                mixed, louder = _downmixed(block, louder)
                replaced += block.shape[1] if louder >= 0 else 0
                yield block, mixed
        except BadAudio as refusal:
            raise _explained(refusal, head) from refusal.__cause__
    if replaced:
        seconds = replaced / SAMPLE_RATE
        warn(f"the channels cancel each other out when mixed ({seconds:.1f} s); the louder one was used")


def _order(limits: Limits, kind: tuple[str | None, int | None]) -> Order:
    return Order(
        rate=SAMPLE_RATE,
        format=kind[0],
        format_hz=kind[1],
        max_seconds=None if isinf(limits.max_seconds) else limits.max_seconds,
        max_channels=limits.max_channels,
        min_hz=limits.min_hz,
        max_hz=limits.max_hz,
        memory_bytes=limits.memory_bytes,
        cpu_s=ceil(limits.timeout_s) + 1,  # in case nobody is left to look at the clock
    )


def _headerless(head: bytes, name: str) -> tuple[str | None, int | None]:
    if _mark(head, _MARKS) or _mark(head, _PICTURES) or head[4:8] == b"ftyp":
        return None, None
    kind = _HEADERLESS.get(Path(str(name)).suffix.lower(), (None, None))
    if kind[0] == "gsm" and any(byte >> 4 != _GSM_NIBBLE for byte in head[::_GSM_FRAME]):
        return None, None
    return kind


def _mark(head: bytes, marks: dict[bytes, str]) -> str | None:
    return next((what for mark, what in marks.items() if head.startswith(mark)), None)


def _explained(refusal: BadAudio, head: bytes) -> BadAudio:
    """Return the refusal with what the file is and what to do, as far as its first bytes tell."""
    if type(refusal) is not BadAudio:
        return refusal
    if picture := _mark(head, _PICTURES):
        return NoAudioStream(f"the file is {picture}; it has no audio")
    if head[:4] == b"RIFF" and "no 'data' tag" in str(refusal):
        return EmptyAudio("the wav file ends before its audio begins; record or send it again")
    if head[4:8] == b"ftyp" and "moov" in str(refusal):
        return BadAudio(
            "the mp4/m4a file was cut short: its index (moov) comes last and is missing; send it again whole"
        )
    what = _mark(head, _MARKS) or ("text" if _is_text(head) else "no file we know")
    return BadAudio(
        f"cannot decode the file as audio ({refusal}). It looks like {what}; send wav, mp3, m4a or ogg"
    )


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head)  # noqa: PLR2004 - printable ASCII


def _tidy(block: NDArray[np.float32]) -> None:
    """Make every sample a number in [-1, 1]; a float file may hold anything."""
    if not np.isfinite(block).all():
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    np.clip(block, -1.0, 1.0, out=block)


def _downmixed(block: NDArray[np.float32], louder: int) -> tuple[Samples, int]:
    """Return one channel for many, and which one replaced the mix; -1 where the mix is good.

    Args:
        block: (channels, n).
        louder: the channel that replaced the mix of the block before, or -1; kept unless clearly beaten.
    """
    if len(block) == 1:
        return block[0], -1
    weights = np.array(_WEIGHTS.get(len(block), (1.0,) * len(block)), np.float32)
    mixed: Samples = (weights / weights.sum()) @ block
    energies = np.einsum("cn,cn->c", block, block)
    if float(mixed @ mixed) >= _CANCELLED * float(energies.mean()):
        return mixed, -1
    best = int(energies.argmax())
    if louder >= 0 and louder < len(block) and energies[louder] > 0.5 * energies[best]:
        best = louder
    return block[best], best


class _Growing:
    """A recording under way; grows in place, so that its end costs no second copy."""

    def __init__(self) -> None:
        self._samples: Samples = np.empty(0, np.float32)
        self._length = 0

    def append(self, block: Samples) -> None:
        stop = self._length + len(block)
        if stop > len(self._samples):
            self._samples.resize(stop + max(_STEP, stop // 8), refcheck=False)
        self._samples[self._length : stop] = block
        self._length = stop

    def finished(self) -> Samples:
        self._samples.resize(self._length, refcheck=False)
        return self._samples


@contextmanager
def _opened(source: Source, limits: Limits, scratch: Path | None) -> Iterator[int]:
    """Give a descriptor to read the source from: the file itself, or a nameless copy of the bytes."""
    try:
        if isinstance(source, Path) and stat.S_ISREG(source.stat().st_mode):
            file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        elif isinstance(source, Path):
            with source.open("rb") as stream:
                file = _spooled(iter(lambda: stream.read(1 << 20), b""), limits, scratch)
        elif isinstance(source, bytes):
            file = _in_memory(source, limits, scratch)
        elif isinstance(source, io.FileIO) and stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            os.lseek(source.fileno(), 0, os.SEEK_SET)  # it may have been written just now
            file = os.dup(source.fileno())
        else:
            file = _spooled(iter(lambda: source.read(1 << 20), b""), limits, scratch)
    except OSError as cause:
        raise BadAudio(f"cannot read {getattr(source, 'name', 'the upload')}: {cause.strerror}") from cause
    try:
        size = os.fstat(file).st_size
        if size == 0:
            raise EmptyAudio("the file is empty (0 bytes)")
        _check_size(size, limits)
        yield file
    finally:
        os.close(file)


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.max_bytes:
        accepted = f"{limits.max_bytes / 1e6:g} MB accepted"
        raise AudioTooLarge(f"the file is larger than the {accepted}; compress it or send it in parts")


def _in_memory(content: bytes, limits: Limits, scratch: Path | None) -> int:
    _check_size(len(content), limits)
    if len(content) > _IN_MEMORY or not hasattr(os, "memfd_create"):
        return _spooled(iter([content]), limits, scratch)
    with _room("memory"):
        file = os.memfd_create("recording")
        _write(file, content)
    return file


def _spooled(pieces: Iterator[bytes], limits: Limits, scratch: Path | None) -> int:
    """Write pieces to a file that has no name, so that nothing is left of it whatever happens."""
    where = scratch or tempfile.gettempdir()
    with _room(where):
        nameless = tempfile.TemporaryFile(dir=scratch, buffering=0)  # noqa: SIM115
    with nameless:
        size = 0
        for piece in pieces:
            size += len(piece)
            _check_size(size, limits)
            with _room(where):
                _write(nameless.fileno(), piece)
        return os.dup(nameless.fileno())


@contextmanager
def _room(where: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise StorageFull(f"no room for the upload in {where}: {cause.strerror}") from cause


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
