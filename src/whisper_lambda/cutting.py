"""A recording in, its chunks out, as it is decoded; on a thread of its own where nobody can hear them yet.

A cold start decodes and cuts while the weights load: neither needs the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from queue import SimpleQueue

from whisper_lambda.audio import chunking
from whisper_lambda.types import Chunk, Dropped, Recording, Samples, VadMode

AHEAD = 4  # chunks cut before anybody asks for one: a short recording whole, 8 MB of a long one

Found = Chunk | Dropped


class Cutting:
    """One reading of a recording. Close it when its chunks are no longer wanted."""

    def __init__(self, recording: Recording, vad: VadMode) -> None:
        """Take the recording; it is not read before `begin` or `found`."""
        self.warnings: list[str] = []  # whole after the last chunk, as the numbers below
        self.samples = 0
        self.waited_s = 0.0  # for samples
        self.cut_s = 0.0  # finding where to cut
        self.recording = recording
        self._vad = vad
        self._begun = False
        self._given_up = threading.Event()
        self._room = threading.Semaphore(AHEAD)
        self._made: SimpleQueue[Found | BaseException | None] = SimpleQueue()  # None = that was all

    def begin(self) -> None:
        """Decode and cut from now on, beside the caller."""
        self._begun = True
        run = copy_context().run  # whose work it is goes with it
        threading.Thread(target=run, args=(self._work,), name="cut", daemon=True).start()

    def found(self) -> Iterator[Found]:
        """Yield chunks, and what was left out, in order; raises what the recording raises."""
        if not self._begun:
            yield from self._cut()
            return
        while (made := self._made.get()) is not None:
            self._room.release()
            if isinstance(made, BaseException):
                raise made
            yield made

    def close(self) -> None:
        """Give up what is not cut yet, without waiting: the decoder ends with the block under way."""
        self._given_up.set()
        self._room.release()

    def _work(self) -> None:
        try:
            for found in self._cut():
                self._room.acquire()
                if self._given_up.is_set():
                    return
                self._made.put(found)
        except BaseException as failure:  # noqa: BLE001 - raised again on the other side
            self._made.put(failure)
        else:
            self._made.put(None)

    def _cut(self) -> Iterator[Found]:
        planned = chunking.planned(self._blocks(), self._vad)
        while True:
            began, waited_s = time.perf_counter(), self.waited_s
            found = next(planned, None)
            self.cut_s += time.perf_counter() - began - (self.waited_s - waited_s)
            if found is None:
                return
            yield found

    def _blocks(self) -> Iterator[Samples]:
        blocks = iter(self.recording(self.warnings.append))
        while not self._given_up.is_set():
            began = time.perf_counter()
            block = next(blocks, None)
            self.waited_s += time.perf_counter() - began
            if block is None:
                return
            self.samples += len(block)
            yield block
