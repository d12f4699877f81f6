"""Bytes of any audio or video file in; samples (mono, 16 kHz, float32) out.

The one choke point for everything that is to be heard: limits are enforced here and in the confined
process behind `DecoderPool`, whichever door the bytes came through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, isinf

import numpy as np
from numpy.typing import NDArray

from whisper_lambda import lanes
from whisper_lambda.audio.marks import HEAD_BYTES, explained, headerless
from whisper_lambda.audio.opening import Source, opened
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.audio.session import Order
from whisper_lambda.errors import BadAudio
from whisper_lambda.types import SAMPLE_RATE, Decoded, Samples

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
    cpu_ahead_s: int = 3  # processor time ahead of the audio; a recording of four hours opens in 0.05 s


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
    with opened(source, limits.max_bytes, decoders.scratch) as file:
        head = os.pread(file, HEAD_BYTES, 0)
        order = _order(limits, headerless(head, name or getattr(source, "name", "")))
        louder, replaced = -1, 0
        try:
            for block in decoders.blocks(file, order, timeout_s=limits.timeout_s, warn=warn):
                lanes.stay()
                _tidy(block)
                mixed, louder = _downmixed(block, louder)
                replaced += block.shape[1] if louder >= 0 else 0
                yield block, mixed
        except BadAudio as refusal:
            raise explained(refusal, head) from refusal.__cause__
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
        cpu_ahead_s=limits.cpu_ahead_s,
    )


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
