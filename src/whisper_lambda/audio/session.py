"""What a decoder sends, in; blocks of samples, or one of our errors, out.

The other side may have been taken over by the file it reads: sizes are checked before they are
believed, text is stripped, and every wait has an end.
"""

from __future__ import annotations

import math
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.errors import (
    AudioTooLong,
    BadAudio,
    DecodeTimeout,
    EmptyAudio,
    NoAudioStream,
    WhisperLambdaError,
)

FRAME = struct.Struct("<cII")  # as in decoder_child
_MAX_TEXT = 4096  # bytes of a warning or failure; more is not what our program sends
_MAX_WARNINGS = 8  # nor are more of them
_LOOK_S = 0.5  # of waiting, until it is looked whether anybody still wants what is waited for
_REFUSALS: dict[str, type[WhisperLambdaError]] = {
    "empty": EmptyAudio,
    "no_audio_stream": NoAudioStream,
    "too_long": AudioTooLong,
    "unreadable": BadAudio,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the decoding process is told. It learns no name and no path."""

    rate: int  # Hz of the blocks wanted
    format: str | None  # FFmpeg demuxer to use without probing, for formats that cannot be probed
    format_hz: int | None  # its rate, where the format does not fix one
    max_seconds: float | None
    max_channels: int
    min_hz: int
    max_hz: int
    memory_bytes: int
    cpu_s: int
    cpu_ahead_s: int  # of them, before the first second of audio is out; each second out allows another


class Deadline:
    """Seconds left to wait for somebody; only waiting uses them up."""

    def __init__(self, seconds: float, stay: Callable[[], None] = lambda: None) -> None:
        """Begin; `stay` is called now and then while nothing comes, and may end the wait by raising."""
        self.seconds = seconds
        self.left = seconds
        self._stay = stay

    def receive(self, peer: socket.socket, into: memoryview) -> int:
        """Receive into part of a buffer and return how much; 0 when the other side ended."""
        while self.left > 0:
            started = time.monotonic()
            peer.settimeout(min(self.left, _LOOK_S))
            try:
                return peer.recv_into(into)
            except TimeoutError:
                self._stay()
            finally:
                self.left -= time.monotonic() - started
        raise TimeoutError


def exactly(peer: socket.socket, size: int, deadline: Deadline) -> bytearray:
    """Return the next `size` bytes.

    Raises:
        EOFError: the other side ended before.
        TimeoutError: the deadline came before; both are the caller's to name.
    """
    received = bytearray(size)
    _fill(peer, memoryview(received), deadline)
    return received


def _fill(peer: socket.socket, into: memoryview, deadline: Deadline) -> None:
    while into:
        count = deadline.receive(peer, into)
        if not count:
            raise EOFError
        into = into[count:]


def received(
    session: socket.socket, order: Order, deadline: Deadline, warn: Callable[[str], None]
) -> Iterator[NDArray[np.float32]]:
    """Yield what a decoder sends; it may have been taken over, so nothing it says is believed."""
    left, warnings = _most_samples(order), 0
    try:
        while True:
            kind, a, b = FRAME.unpack(exactly(session, FRAME.size, deadline))
            if kind == b"B" and 1 <= a <= order.max_channels and 1 <= b <= min(order.rate, left):
                left -= b
                block = np.empty((a, b), np.float32)
                _fill(session, block.data.cast("B"), deadline)
                yield block
            elif kind == b"E":
                return
            elif kind in b"WF" and a <= _MAX_TEXT and warnings < _MAX_WARNINGS:
                warnings += 1
                text = exactly(session, a, deadline).decode(errors="replace")
                if kind == b"F":
                    raise _refusal(text, order)
                warn(_printable(text))
            else:
                raise BadAudio("the decoder answered nonsense on this file; convert it to wav or mp3")
    except TimeoutError:
        raise DecodeTimeout(
            f"decoding the file took longer than {deadline.seconds:g} s; send it in parts or convert it"
        ) from None


def _most_samples(order: Order) -> float:
    """Return what an honest decoder of so long a recording sends at the very most: each end is rounded up."""
    return math.inf if order.max_seconds is None else (order.max_seconds * 1.01 + 1) * order.rate


def _refusal(text: str, order: Order) -> WhisperLambdaError:
    code, _, message = text.partition("\n")
    if code == "too_long":
        message = f"the recording is longer than the {order.max_seconds:g} s accepted; send it in parts"
    return _REFUSALS.get(code, BadAudio)(_printable(message))


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())


def death(status: int) -> str:
    """Say how a decoder died, from its exit code, negative for a signal."""
    if status == -signal.SIGXCPU:
        return "reading the file takes far too long for the audio in it; convert it to wav or mp3"
    how = signal.Signals(-status).name if -status in set(signal.Signals) else f"exit code {status}"
    return f"the decoder died on this file ({how}); it is damaged or hostile. Convert it to wav or mp3"
