"""How many chunks of one recording are decoded at a time, so that a client who leaves frees the machine.

A decode cannot be stopped once it runs: the library has no call for that. What can be chosen is how
long it is. A batch is cheaper the more share it, so it is only as short as it must be, as this machine
and this model turn out to be, and only where the batch is one client's alone.
"""

from __future__ import annotations

import threading

LONGEST_S = 1.4  # of a decode that somebody may leave: with what surrounds it, less than 2 s
LEAST = 2  # alone, a chunk is decoded no sooner than two are
FIRST = 4


class Stretch:
    """The most chunks that are decoded within `LONGEST_S`, learned from those that were."""

    def __init__(self, largest: int) -> None:
        """Begin carefully; never pass `largest`."""
        self._largest = largest
        self._most = min(FIRST, largest)
        self._lock = threading.Lock()

    @property
    def most(self) -> int:
        """How many chunks one client's batch holds now."""
        return self._most

    def took(self, count: int, seconds: float) -> None:
        """Take in how long `count` chunks of one client were decoded."""
        with self._lock:
            if seconds > LONGEST_S:
                self._most = max(min(LEAST, self._largest), min(self._most, count - 1))
            elif count >= self._most and seconds < LONGEST_S * count / (count + 1):
                self._most = min(self._largest, count + 1)
