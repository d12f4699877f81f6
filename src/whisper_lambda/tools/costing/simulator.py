"""Arrivals in; waits, cold starts and environment seconds out: Lambda's pool, event by event.

What is modelled: an environment serves one request at a time, is reused while it is kept alive, and
costs a start when it is not there; a cap on concurrency, beyond which requests are refused or wait;
how fast environments may be added; capacity kept ready; scheduled pings. With a cap, no starts and
waiting allowed it is the textbook queue M/M/c, which is what the tests hold it to.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Which idle environment Lambda picks is not documented; the one used last is what is seen, and what
# lets the others end.


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """How environments come, stay and go."""

    most: int = 1000  # concurrency: the account's quota, or what is reserved for the function
    keep_alive_s: float = 600.0  # an idle environment lives this long; AWS promises nothing
    start_s: float = 0.0  # a request that finds none idle waits this long more
    ready: int = 0  # provisioned: always there, never started for a request
    added_per_10_s: float = 1000.0  # AWS: at most this many environments more in ten seconds
    waits: bool = False  # beyond `most`, requests wait (a queue before it) instead of being refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of each arrival, and of the pool as a whole."""

    waited_s: Floats  # before it began; NaN where it was refused
    started: NDArray[np.bool_]  # it had to start an environment
    on_ready: NDArray[np.bool_]  # it ran on provisioned capacity
    refused: NDArray[np.bool_]
    busy_s: float  # environment seconds spent on requests, starts not counted
    most_busy: int  # environments busy at once, at the most
    environments: int  # started in all

    @property
    def start_share(self) -> float:
        """Cold starts for each request served."""
        served = len(self.refused) - int(self.refused.sum())
        return float(self.started.sum()) / served if served else 0.0


def simulate(times_s: Sequence[float] | Floats, service_s: Sequence[float] | Floats, pool: Pool) -> Outcome:
    """Run the arrivals through the pool.

    Args:
        times_s: when each comes, ascending.
        service_s: how long each keeps its environment, start not counted.
        pool: what serves them.
    """
    run = _Run(pool, len(times_s))
    for number, (now, takes) in enumerate(zip(_plain(times_s), _plain(service_s), strict=True)):
        run.until(now)
        run.arrive(number, now, takes)
    run.until(math.inf)
    return run.outcome()


def _plain(values: Sequence[float] | Floats) -> list[float]:
    """Return plain floats: numpy's are several times as slow one by one."""
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


class _Run:
    """Holds the pool's state between events: who is busy until when, who is idle since when."""

    def __init__(self, pool: Pool, arrivals: int) -> None:
        self._pool = pool
        self._busy: list[tuple[float, bool]] = []  # (free again at, is it provisioned), a heap
        self._idle: deque[float] = deque()  # since when; ascending, so the oldest is first to end
        self._ready = pool.ready  # provisioned and idle
        self._waiting: deque[tuple[int, float, float]] = deque()  # number, came at, takes
        self._tokens, self._filled_at = float(pool.added_per_10_s), 0.0
        self._waited = np.full(arrivals, np.nan)
        self._started = np.zeros(arrivals, bool)
        self._on_ready = np.zeros(arrivals, bool)
        self._busy_s, self._most_busy, self._environments = 0.0, 0, 0

    def until(self, now: float) -> None:
        """Let everything happen that happens before `now`."""
        while True:
            free_at = self._busy[0][0] if self._busy else math.inf
            token_at = self._next_token_at() if self._waiting and self._room() else math.inf
            if min(free_at, token_at) > now or min(free_at, token_at) == math.inf:
                return
            if free_at <= token_at:
                _, ready = heapq.heappop(self._busy)
                if ready:
                    self._ready += 1
                else:
                    self._idle.append(free_at)
            self._serve_waiting(min(free_at, token_at))

    def arrive(self, number: int, now: float, takes: float) -> None:
        """Serve the request, let it wait, or refuse it."""
        if (self._waiting or not self._begin(number, now, now, takes)) and self._pool.waits:
            self._waiting.append((number, now, takes))

    def _serve_waiting(self, now: float) -> None:
        while self._waiting:
            number, came, takes = self._waiting[0]
            if not self._begin(number, came, now, takes):
                return
            self._waiting.popleft()

    def _begin(self, number: int, came: float, now: float, takes: float) -> bool:
        """Give the request an environment, idle or new; False where there can be none now."""
        ready, start_s = False, 0.0
        if self._ready:
            self._ready -= 1
            ready = self._on_ready[number] = True
        elif self._idle_alive(now):
            self._idle.pop()
        elif self._room() and self._take_token(now):
            start_s = self._pool.start_s
            self._started[number] = True
            self._environments += 1
        else:
            return False
        self._waited[number] = now - came + start_s
        self._busy_s += takes
        heapq.heappush(self._busy, (now + start_s + takes, ready))
        self._most_busy = max(self._most_busy, len(self._busy))
        return True

    def _idle_alive(self, now: float) -> bool:
        """End the environments idle for too long; tell whether one is left."""
        while self._idle and now - self._idle[0] > self._pool.keep_alive_s:
            self._idle.popleft()
        return bool(self._idle)

    def _room(self) -> bool:
        return len(self._busy) + self._ready < self._pool.most

    def _take_token(self, now: float) -> bool:
        self._fill(now)
        if self._tokens < 1.0 - 1e-9:
            return False
        self._tokens -= 1.0
        return True

    def _fill(self, now: float) -> None:
        most = float(self._pool.added_per_10_s)
        self._tokens = min(most, self._tokens + (now - self._filled_at) * most / 10.0)
        self._filled_at = now

    def _next_token_at(self) -> float:
        missing = max(0.0, 1.0 - self._tokens)
        return self._filled_at + missing * 10.0 / self._pool.added_per_10_s

    def outcome(self) -> Outcome:
        """Return what came of it."""
        return Outcome(
            waited_s=self._waited,
            started=self._started,
            on_ready=self._on_ready,
            refused=np.isnan(self._waited),
            busy_s=self._busy_s,
            most_busy=self._most_busy,
            environments=self._environments,
        )
