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
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper_lambda import lanes
from whisper_lambda.audio.session import FRAME, Deadline, Order, death, exactly, received
from whisper_lambda.errors import BadAudio, DecoderFailed

PROGRAM = Path(__file__).with_name("decoder_child.py")
START_S = 30.0  # seconds a decoder may take to start, on a machine that is busy with everything else
ANSWER_S = 10.0  # seconds the waiting process may take to fork or to end a child


class DecoderPool:
    """Keeps a decoding process started ahead of need. Safe to use from many threads.

    Args:
        count: 0 = start the process with the first file; else `warm` starts it ahead.
        scratch: directory for what does not fit in memory; None = the system's.
        program: what the process runs; another one is for tests of dying decoders.
        answer_s: how long it may take to fork or to end a child.
    """

    def __init__(
        self,
        count: int = 1,
        scratch: Path | None = None,
        *,
        program: Path = PROGRAM,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.scratch = scratch
        self._count = count
        self._program = program
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._starter: _Starter | None = None
        self._closed = False
        self._expected = 0  # recordings until the process may end; 0 = nobody knows

    def expect(self, recordings: int) -> None:
        """Say how many will be decoded: after the last one the process ends, and gives 30 MB back.

        Should more come all the same, another process starts.
        """
        self._expected = recordings

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
            ClientGone: nobody waits for the recording any more.
        """
        starter, pid, session = self._fork(source, order)
        if pid < 0:
            session.close()
            raise DecoderFailed("this machine can start no further process; try again later")
        ended = False
        try:
            yield from received(session, order, Deadline(timeout_s, lanes.stay), warn)
        except EOFError:
            status, ended = starter.end(pid), True
            if status is None:
                raise DecoderFailed("the decoding process was ended from outside; try again") from None
            raise BadAudio(death(status)) from None
        finally:
            session.close()
            if not ended:
                starter.end(pid)
            self._count_down()

    def _count_down(self) -> None:
        with self._lock:
            self._expected -= 1
            if self._expected != 0:
                return
            starter, self._starter = self._starter, None
        if starter:  # nobody waits for its end
            threading.Thread(target=starter.close, name="decoder-end").start()

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
                self._starter = _Starter(self._program, self._answer_s)
        if instead_of:
            instead_of.close()
        return self._starter


class _Starter:
    """The waiting process: has av imported, reads no media, forks a decoder for each file."""

    def __init__(self, program: Path, answer_s: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(program), folder_of_av()],
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
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._ready: dict[str, list[str]] | None = None
        self._finalizer = weakref.finalize(self, _stop, self._process, ours, os.getpid())

    def missing(self) -> tuple[str, ...]:
        with self._asking():
            return tuple(self._greeting()["missing"])

    def fork(self, session: int, source: int, order: Order) -> int:
        """Return the pid of a new decoder that answers at `session`; -1 where the system has no room."""
        with self._asking():
            self._greeting()
            socket.send_fds(self._control, [json.dumps(asdict(order)).encode()], [session, source])
            return self._answer()

    def end(self, pid: int) -> int | None:
        """Kill a decoder and return its exit code; None when the waiting process is gone, and it too."""
        with contextlib.suppress(DecoderFailed), self._asking():
            self._control.sendall(json.dumps({"end": pid}).encode())
            return self._answer()
        return None

    def close(self) -> None:
        self._finalizer()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Be the only one who asks. Who asked in vain is the last: a late answer would be the next one's."""
        with self._lock:
            try:
                yield
            except (OSError, EOFError, ValueError) as cause:
                self.close()
                raise DecoderFailed(
                    "the audio decoder does not start on this machine; `whisper-lambda doctor` says more"
                ) from cause

    def _greeting(self) -> dict[str, list[str]]:
        if self._ready is None:
            deadline = Deadline(START_S)
            _, length, _ = FRAME.unpack(exactly(self._control, FRAME.size, deadline))
            self._ready = json.loads(exactly(self._control, length, deadline))
        return self._ready

    def _answer(self) -> int:
        number: int = struct.unpack("<q", exactly(self._control, 8, Deadline(self._answer_s)))[0]
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


def folder_of_av() -> str:
    """Return the folder that holds the package `av`, without importing it.

    Raises:
        DecoderFailed: it is not installed.
    """
    spec = importlib.util.find_spec("av")  # finds, does not import
    if spec is None or spec.origin is None:
        raise DecoderFailed("the package `av` is not installed: pip install av")
    return str(Path(spec.origin).parents[1])
