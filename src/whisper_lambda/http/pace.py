"""How fast this machine is, and how much it has to do: what a promise of time is computed from."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

# The pace is measured while so much audio is under way that every core has work: a lone clip keeps
# one core busy and says little of what the machine can do.
BUSY_AUDIO_S = 60.0
MEMORY_S = 60.0  # how far back the pace remembers, seconds of work


class Pace:
    """How many seconds the machine works for a second of audio, measured while it is busy."""

    def __init__(self) -> None:
        self._worked_s = 0.0
        self._heard_s = 0.0

    @property
    def rtf(self) -> float | None:
        """Seconds of work for a second of audio; None before anything was measured."""
        return self._worked_s / self._heard_s if self._heard_s else None

    def learn(self, worked_s: float, heard_s: float) -> None:
        """Take in that `heard_s` of audio took `worked_s`; older experience fades."""
        fade = math.exp(-worked_s / MEMORY_S)
        self._worked_s = self._worked_s * fade + worked_s
        self._heard_s = self._heard_s * fade + heard_s


class Work:
    """The audio planned and not yet heard, of every recording under way. Safe from many threads.

    Recordings take turns in the engine, so one of `d` seconds is done when it and the first `d`
    seconds of each of the others are.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.pace = Pace()
        self._clock = clock
        self._left_s: dict[int, float] = {}
        self._since = clock()
        self._lock = threading.Lock()

    def needed_s(self, audio_s: float) -> float | None:
        """Return how long `audio_s` more would take from now; None while the pace is unknown."""
        with self._lock:
            rtf = self.pace.rtf
            if rtf is None:
                return None
            return rtf * (audio_s + sum(min(left, audio_s) for left in self._left_s.values()))

    def plan(self, turn: int, audio_s: float) -> None:
        """Note a recording's length."""
        with self._lock:
            self._learn(0.0)
            self._left_s[turn] = audio_s

    def reach(self, turn: int, left_s: float) -> None:
        """Note how much of a recording is left."""
        with self._lock:
            heard_s = self._left_s.get(turn, 0.0) - left_s
            if heard_s > 0:
                self._learn(heard_s)
                self._left_s[turn] = left_s

    def end(self, turn: int, *, finished: bool) -> None:
        """Forget a recording; what was left of it counts as heard when it was finished."""
        with self._lock:
            left_s = self._left_s.get(turn, 0.0)
            self._learn(left_s if finished else 0.0)
            self._left_s.pop(turn, None)

    def _learn(self, heard_s: float) -> None:
        now = self._clock()
        if sum(self._left_s.values()) >= BUSY_AUDIO_S:
            self.pace.learn(now - self._since, heard_s)
        self._since = now
