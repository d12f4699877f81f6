"""Who is heard when: bounded waiting rooms before the engine, fair between tenants.

Short and long recordings wait apart, so that no clip stands behind files that hold every place.
What cannot be answered before its client stops waiting is refused at once, with a Retry-After
computed from the work under way and the pace measured so far.

All of it belongs to the event loop, but for `Turn.planned` and `Turn.reached`, which worker
threads call.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from whisper_lambda import deadline, lanes, machine
from whisper_lambda.config import Settings
from whisper_lambda.errors import CannotFinishInTime, Overloaded, ShuttingDown
from whisper_lambda.http.asking import Ask
from whisper_lambda.http.keys import Key
from whisper_lambda.http.limits import Usage
from whisper_lambda.http.pace import Work
from whisper_lambda.http.rooms import Room
from whisper_lambda.lanes import Lane
from whisper_lambda.types import Plan, Segment

LONG_BYTES = 4_000_000  # of a file: two minutes of 16 kHz WAV, an hour of telephone Opus
LONG_S = 120.0  # of audio


@dataclass(frozen=True, slots=True)
class Visit:
    """What the gates know of the request under way."""

    key: Key | None = None
    patience_s: float = math.inf  # how long its client waits for an answer
    stranger: bool = False  # without a key on a server open to everyone: nobody can tell who it is


_NOBODY = Visit()
VISIT: ContextVar[Visit] = ContextVar("visit", default=_NOBODY)


class Turn:
    """Leave to use the engine. `planned` and `reached` may be called from any thread."""

    def __init__(self, admission: Admission, ask: Ask, asked: float, *, short: bool) -> None:
        self.queue_s = admission.clock() - asked
        self._admission = admission
        self._ask = ask
        self._visit = VISIT.get()
        self._answer_by = asked + self._visit.patience_s
        self._short = short
        self._audio_s = 0.0

    def planned(self, audio_s: float, *, remembered: bool = False) -> None:
        """Tell how long the recording is, once that is known and before it is heard.

        Args:
            audio_s: seconds.
            remembered: all of it was heard before: it counts against the key's day, and is no work.

        Raises:
            CannotFinishInTime: the answer would come after the client has stopped waiting.
            Overloaded: too many long recordings are under way.
            AudioQuotaUsed: the key's day does not hold this much (AudioTooLong: no day does).
        """
        to_hear_s = max(0.0, audio_s - self._ask.from_s)
        if not remembered:
            self._audio_s = audio_s
            if not self._ask.streamed:
                self._admission.check_time(to_hear_s, self._answer_by)
            if to_hear_s > LONG_S and self._short:
                self._admission.check_long(id(self))
        if key := self._visit.key:
            self._ask.tab.pay(lambda: self._admission.usage.hear(key, to_hear_s, self._ask.once()))
        self._admission.work.plan(id(self), 0.0 if remembered else to_hear_s)

    def told(self, event: Plan | Segment) -> None:
        """Take in what the line tells: the plan, then each segment."""
        if isinstance(event, Plan):
            self.planned(event.duration, remembered=bool(event.known))
        else:
            self.reached(event.end)

    def reached(self, position_s: float) -> None:
        """Tell how far into the recording the engine has come."""
        self._admission.work.reach(id(self), max(0.0, self._audio_s - position_s))


class Admission:
    """Two rooms before the engine, the work under way, and whether anything new is taken at all."""

    def __init__(
        self, *, at_once: int, queue: int, usage: Usage, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open the rooms.

        Args:
            at_once: most short recordings heard at once; of long ones half as many.
            queue: most short recordings waiting; of long ones a quarter as many.
            usage: what keys have used of their limits.
            clock: seconds, monotonic.
        """
        self.usage = usage
        self.work = Work(clock)
        self.draining = False
        self.clock = clock
        self._short = Room(at_once, queue, clock)
        self._most_long = max(1, at_once // 2)
        self._long = Room(self._most_long, max(1, queue // 4), clock)
        self._long_among_short: set[int] = set()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._short.waiting + self._long.waiting

    @property
    def under_way(self) -> int:
        """How many are being heard."""
        return self._short.under_way + self._long.under_way

    @asynccontextmanager
    async def admit(self, ask: Ask) -> AsyncIterator[Turn]:
        """Wait for a turn; it ends with the context, however that is left.

        Within, the request's lane is the current one: threads that work for it are told when it is
        over, and what waits in the engine for it is withdrawn.

        Raises:
            ShuttingDown: nothing new is taken.
            Overloaded: too many wait already.
            CannotFinishInTime: the turn would come too late, or did not come in time.
        """
        if self.draining:
            raise _shutting_down()
        asked = self.clock()
        room = self._long if ask.size_bytes > LONG_BYTES or (ask.audio_s or 0.0) > LONG_S else self._short
        async with room.place(ask.tenant, VISIT.get().patience_s):
            turn = Turn(self, ask, asked, short=room is self._short)
            watched = deadline.remaining_s() == math.inf  # a function's client cannot be seen to leave
            lane, finished = Lane(lanes.current(), eager=ask.streamed, watched=watched), False
            before = lanes.enter(lane)
            try:
                yield turn
                finished = True
            finally:
                lane.leave()
                lanes.enter(before)
                with self._lock:
                    self._long_among_short.discard(id(turn))
                self.work.end(id(turn), finished=finished)

    def drain(self) -> None:
        """Take nothing new, and send those who wait away; what is under way goes on."""
        self.draining = True
        for room in (self._short, self._long):
            room.refuse_waiting(_shutting_down)

    def check_time(self, audio_s: float, answer_by: float) -> None:
        """Refuse a recording that would be answered too late; `answer_by` is a time of the clock."""
        needed_s, allowed_s = self.work.needed_s(audio_s), answer_by - self.clock()
        if needed_s is None or needed_s <= allowed_s:
            return
        alone_s = audio_s * (self.work.pace.rtf or 0.0)
        if alone_s > allowed_s:
            raise CannotFinishInTime(
                f"{audio_s:.0f} s of audio take about {alone_s:.0f} s here, and {allowed_s:.0f} s are left to"
                " answer in: ask for a stream, wait longer, or send it in parts"
            )
        raise CannotFinishInTime(
            f"with what is under way this would take about {needed_s:.0f} s; send it again later",
            retry_after_s=needed_s - allowed_s,
        )

    def check_long(self, turn: int) -> None:
        """Refuse a recording that came as a small file, is long, and would leave no place for short ones."""
        with self._lock:
            if len(self._long_among_short) >= self._most_long:
                raise Overloaded(
                    "too many long recordings are being transcribed; send it again later",
                    retry_after_s=self.work.needed_s(LONG_S) or LONG_S,
                )
            self._long_among_short.add(turn)


def admission(settings: Settings, usage: Usage) -> Admission:
    """Return the admission these settings describe."""
    at_once = settings.at_once or 4 * machine.cores(settings)
    return Admission(at_once=at_once, queue=settings.queue, usage=usage)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("this server is being stopped; send it again in a moment", retry_after_s=5.0)
