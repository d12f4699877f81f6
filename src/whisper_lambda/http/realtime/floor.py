"""Everybody who is speaking: who may begin, who may come back, and who is let finish at the end.

Admission goes by what is measured: how long a step takes from the asking to its answer, with
everybody's steps in the queue. When one more session would make that too long to keep up, it is
refused before its socket opens.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from anyio import CapacityLimiter

from whisper_lambda.config import Settings
from whisper_lambda.errors import NoSuchSession, Overloaded, ShuttingDown
from whisper_lambda.http.realtime.talk import End, Talk

RESUMABLE_S = 120.0  # how long a session waits for its client to come back
SLOWEST_STEP_S = 2.5  # a word needs two steps: beyond this it comes later than 6 s after it was said
LEARN = 0.1  # weight of the latest step in the average
FORGET_S = 20.0  # a measurement older than this says nothing of now
BUSY_RETRY_S = 15.0


class Floor:
    """Holds the talks. Belongs to the event loop; `took` may be called from any thread."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = settings.live_sessions
        self._clock = clock
        self.threads = CapacityLimiter(max(1, settings.live_sessions) + 1)
        self.talks: dict[str, Talk] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._learning = threading.Lock()
        self._step_s: float | None = None
        self._measured = -FORGET_S
        self._engine_s = self._audio_s = 0.0
        self.draining = False

    @property
    def speaking(self) -> int:
        """How many talks have a client."""
        return sum(t.present and not t.ended for t in self.talks.values())

    @property
    def rtf(self) -> float | None:
        """Seconds a step takes, waiting included, for one second of audio it deals with; None = unknown."""
        return self._engine_s / self._audio_s if self._audio_s else None

    def took(self, step_s: float, audio_s: float) -> None:
        """Learn from one step, of any thread: how long it took and how much audio it dealt with."""
        with self._learning:
            self._engine_s, self._audio_s = 0.95 * self._engine_s + step_s, 0.95 * self._audio_s + audio_s
            before = self._step_s if self._step_s is not None and self._fresh else None
            self._step_s = step_s if before is None else (1 - LEARN) * before + LEARN * step_s
            self._measured = self._clock()

    @property
    def _fresh(self) -> bool:
        return self._clock() - self._measured < FORGET_S

    def admit(self) -> None:
        """Return when one more session can be kept up with.

        Raises:
            ShuttingDown: nothing new is taken.
            Overloaded: too many speak already, or their steps take too long.
        """
        if self.draining:
            raise ShuttingDown("this server is being stopped; connect again", retry_after_s=5.0)
        speaking = self.speaking
        if speaking >= self._most or len(self.talks) >= 2 * self._most:
            raise Overloaded(
                f"{speaking} live sessions are open, and no more are held; try again later",
                retry_after_s=BUSY_RETRY_S,
            )
        if not speaking or self._step_s is None or not self._fresh:
            return
        expected_s = self._step_s * (speaking + 1) / speaking
        if expected_s > SLOWEST_STEP_S:
            raise Overloaded(
                f"with one more live session a step would take {expected_s:.1f} s, too long to keep up; "
                "try again later",
                retry_after_s=BUSY_RETRY_S,
            )

    def open(self, talk: Talk) -> None:
        """Let a talk begin."""
        self.talks[talk.id] = talk
        task = asyncio.get_running_loop().create_task(talk.run(self.threads))
        self._running[talk.id] = task
        task.add_done_callback(lambda _: self._forget(talk.id))

    def resume(self, talk_id: str, owner: str) -> Talk:
        """Give a talk back to the client that lost its line.

        Raises:
            NoSuchSession: there is none of this id and owner, or it was given up.
        """
        talk = self.talks.get(talk_id)
        if talk is None or talk.owner != owner or talk.ended:
            raise NoSuchSession("there is no such live session to go on with; begin a new one")
        leaving = self._leaving.pop(talk_id, None)
        if leaving:
            leaving.cancel()
        return talk

    def leave(self, talk: Talk) -> None:
        """The talk's client is gone: wait a while for it."""
        if talk.ended or talk.id not in self.talks:
            return
        talk.leave()
        loop = asyncio.get_running_loop()
        self._leaving[talk.id] = loop.call_later(RESUMABLE_S, self.end, talk)

    def end(self, talk: Talk) -> None:
        """Nobody will come back: what was not decoded is given up."""
        talk.ended = True
        talk.put(End())
        task = self._running.get(talk.id)
        if task:
            task.cancel()

    async def drain(self, seconds: float) -> None:
        """Take nothing new, and have everyone who speaks told all their words, within `seconds`."""
        self.draining = True
        for talk in list(self.talks.values()):
            if talk.present:
                talk.put(End())
            else:
                self.end(talk)
        running = list(self._running.values())
        if running:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.gather(*running, return_exceptions=True)

    def _forget(self, talk_id: str) -> None:
        self._running.pop(talk_id, None)
        self.talks.pop(talk_id, None)
        leaving = self._leaving.pop(talk_id, None)
        if leaving:
            leaving.cancel()
