"""Starts, feeds and ends the decoding processes; an open file in, blocks of samples out.

One process per pool imports av and waits; each file is decoded by a child it forks, which sees that
one descriptor, can create no other, and ends with the file. Whatever FFmpeg does there (crash, spin,
eat memory) is one call's refusal and nothing else's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.errors import (
    AudioTooLong,
    BadAudio,
    DecoderFailed,
    DecodeTimeout,
    EmptyAudio,
    NoAudioStream,
    WhisperLambdaError,
)

PROGRAM = Path(__file__).with_name("decoder_child.py")
START_S = 30.0  # seconds a decoder may take to start, on a machine that is busy with everything else
ANSWER_S = 10.0  # seconds the waiting process may take to fork or to end a child

_FRAME = struct.Struct("<cII")  # as in decoder_child
_MAX_TEXT = 4096  # bytes of a warning or failure; more is not what our program sends
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


class DecoderPool:
    """Keeps a decoding process started ahead of need. Safe to use from many threads.

    Args:
        count: 0 = start the process with the first file; else `warm` starts it ahead.
        scratch: directory for what does not fit in memory; None = the system's.
        program: what the process runs; another one is for tests of dying decoders.
    """

    def __init__(self, count: int = 1, scratch: Path | None = None, *, program: Path = PROGRAM) -> None:
        self.scratch = scratch
        self._count = count
        self._program = program
        self._lock = threading.Lock()
        self._starter: _Starter | None = None
        self._closed = False

    def warm(self) -> None:
        """Start the decoding process, without waiting for it."""
        if self._count > 0:
            self._current()

    def close(self) -> None:
        """End the process and every decode under way."""
        with self._lock:
            self._closed = True
            starter, self._starter = self._starter, None
        if starter:
            starter.close()

    def missing_limits(self) -> tuple[str, ...]:
        """Return the resource limits this system does not offer, e.g. RLIMIT_AS on macOS.

        Raises:
            DecoderFailed: the decoding process cannot be started.
        """
        return self._current().missing()

    def blocks(
        self, source: int, order: Order, *, timeout_s: float, warn: Callable[[str], None]
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the audio of the file open at descriptor `source`, as it is decoded.

        Args:
            source: read from its start; stays open and is the caller's to close.
            order: what is wanted and allowed.
            timeout_s: seconds to wait for the decoder, in all; the caller's own time does not count.
            warn: told what was wrong with a file that could be decoded all the same.

        Yields:
            Arrays (channels, n), float32, at `order.rate`, n at most `order.rate`.

        Raises:
            BadAudio: the file cannot be decoded, or the decoder died on it.
            EmptyAudio: it holds no sample.
            NoAudioStream: it is media without audio.
            AudioTooLong: more than `order.max_seconds`; noticed as soon as it is decoded.
            DecodeTimeout: `timeout_s` is over; the decoder was killed.
            DecoderFailed: no decoder could be started.
        """
        starter, pid, session = self._fork(source, order)
        if pid < 0:
            session.close()
            raise DecoderFailed("this machine can start no further process; try again later")
        ended = False
        try:
            yield from _received(session, order, _Deadline(timeout_s), warn)
        except EOFError:
            status, ended = starter.end(pid), True
            if status is None:
                raise DecoderFailed("the decoding process was ended from outside; try again") from None
            raise BadAudio(_death(status)) from None
        finally:
            session.close()
            if not ended:
                starter.end(pid)

    def _fork(self, source: int, order: Order) -> tuple[_Starter, int, socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                starter = self._current()
                try:
                    pid = starter.fork(theirs.fileno(), source, order)
                except DecoderFailed:  # the waiting process was killed; nothing was lost with it
                    starter = self._current(instead_of=starter)
                    pid = starter.fork(theirs.fileno(), source, order)
            except BaseException:
                ours.close()
                raise
        return starter, pid, ours

    def _current(self, *, instead_of: _Starter | None = None) -> _Starter:
        with self._lock:
            if self._closed:
                raise DecoderFailed("the decoder pool is closed")
            if self._starter is None or self._starter is instead_of:
                self._starter = _Starter(self._program)
        if instead_of:
            instead_of.close()
        return self._starter


class _Starter:
    """The waiting process: has av imported, reads no media, forks a decoder for each file."""

    def __init__(self, program: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(program), _folder_of_av()],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # Nothing of ours is in reach; Lambda's interpreter finds its own library only so.
                    env={"LD_LIBRARY_PATH": str(Path(sys.base_prefix, "lib"))},
                    process_group=0,  # the terminal's Ctrl-C comes to us alone
                )
            except OSError as cause:
                ours.close()
                raise DecoderFailed(f"the audio decoder cannot be started: {cause}") from cause
        self._control = ours
        self._lock = threading.Lock()
        self._ready: dict[str, list[str]] | None = None
        self._finalizer = weakref.finalize(self, _stop, self._process, ours, os.getpid())

    def missing(self) -> tuple[str, ...]:
        with self._lock, _lost_is_failure():
            return tuple(self._greeting()["missing"])

    def fork(self, session: int, source: int, order: Order) -> int:
        """Return the pid of a new decoder that answers at `session`; -1 where the system has no room."""
        with self._lock, _lost_is_failure():
            self._greeting()
            socket.send_fds(self._control, [json.dumps(asdict(order)).encode()], [session, source])
            return self._answer()

    def end(self, pid: int) -> int | None:
        """Kill a decoder and return its exit code; None when the waiting process is gone, and it too."""
        with self._lock, contextlib.suppress(OSError, EOFError):
            self._control.sendall(json.dumps({"end": pid}).encode())
            return self._answer()
        return None

    def close(self) -> None:
        self._finalizer()

    def _greeting(self) -> dict[str, list[str]]:
        if self._ready is None:
            deadline = _Deadline(START_S)
            _, length, _ = _FRAME.unpack(_exactly(self._control, _FRAME.size, deadline))
            self._ready = json.loads(_exactly(self._control, length, deadline))
        return self._ready

    def _answer(self) -> int:
        number: int = struct.unpack("<q", _exactly(self._control, 8, _Deadline(ANSWER_S)))[0]
        return number


def _stop(process: subprocess.Popen[bytes], control: socket.socket, owner: int) -> None:
    if os.getpid() != owner:  # a fork of ours winds down; the process is still its parent's
        return
    with contextlib.suppress(OSError):
        control.shutdown(socket.SHUT_RDWR)  # it kills its children and leaves
    control.close()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _lost_is_failure() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError) as cause:
        raise DecoderFailed(
            "the audio decoder does not start on this machine; `whisper-lambda doctor` says more"
        ) from cause


def _folder_of_av() -> str:
    spec = importlib.util.find_spec("av")  # finds, does not import
    if spec is None or spec.origin is None:
        raise DecoderFailed("the package `av` is not installed: pip install av")
    return str(Path(spec.origin).parents[1])


class _Deadline:
    """Seconds left to wait for somebody; only waiting uses them up."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.left = seconds

    def receive(self, peer: socket.socket, into: memoryview) -> int:
        if self.left <= 0:
            raise TimeoutError
        started = time.monotonic()
        peer.settimeout(self.left)
        try:
            return peer.recv_into(into)
        finally:
            self.left -= time.monotonic() - started


def _exactly(peer: socket.socket, size: int, deadline: _Deadline) -> bytearray:
    received = bytearray(size)
    _fill(peer, memoryview(received), deadline)
    return received


def _fill(peer: socket.socket, into: memoryview, deadline: _Deadline) -> None:
    while into:
        count = deadline.receive(peer, into)
        if not count:
            raise EOFError
        into = into[count:]


def _received(
    session: socket.socket, order: Order, deadline: _Deadline, warn: Callable[[str], None]
) -> Iterator[NDArray[np.float32]]:
    """Yield what a decoder sends; it may have been taken over, so nothing it says is believed."""
    try:
        while True:
            kind, a, b = _FRAME.unpack(_exactly(session, _FRAME.size, deadline))
            if kind == b"B" and 1 <= a <= order.max_channels and 1 <= b <= order.rate:
                block = np.empty((a, b), np.float32)
                _fill(session, block.data.cast("B"), deadline)
                yield block
            elif kind == b"E":
                return
            elif kind in b"WF" and a <= _MAX_TEXT:
                text = _exactly(session, a, deadline).decode(errors="replace")
                if kind == b"F":
                    raise _refusal(text, order)
                warn(_printable(text))
            else:
                raise BadAudio("the decoder answered nonsense on this file; convert it to wav or mp3")
    except TimeoutError:
        raise DecodeTimeout(
            f"decoding the file took longer than {deadline.seconds:g} s; send it in parts or convert it"
        ) from None


def _refusal(text: str, order: Order) -> WhisperLambdaError:
    code, _, message = text.partition("\n")
    if code == "too_long":
        message = f"the recording is longer than the {order.max_seconds:g} s accepted; send it in parts"
    return _REFUSALS.get(code, BadAudio)(_printable(message))


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())


def _death(status: int) -> str:
    how = signal.Signals(-status).name if -status in set(signal.Signals) else f"exit code {status}"
    return f"the decoder died on this file ({how}); it is damaged or hostile. Convert it to wav or mp3"
