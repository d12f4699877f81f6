"""How an invocation's time is divided: Lambda kills at its end, so all is answered for well before.

now ......................... CUT_S ...... GUARD_S ......... end
     decoding, hearing        |           |                 |
                              the application stops and answers with what it has
                                          whatever still runs is answered for
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from whisper_lambda import deadline
from whisper_lambda.errors import OutOfTime

CUT_S = 3.5  # before the end; leaves time to write and send what was heard
GUARD_S = 2.8  # before the end; the application had its chance


class Budget:
    """The time of one invocation."""

    def __init__(self, ends: float) -> None:
        """Note when it ends, seconds since the epoch: clocks of a frozen machine are set right first."""
        self._ends = time.monotonic() + ends - time.time()

    @property
    def remaining_s(self) -> float:
        """Seconds until Lambda ends the invocation."""
        return self._ends - time.monotonic()

    @property
    def guard_s(self) -> float:
        """Seconds until whatever runs is answered for."""
        return max(0.0, self.remaining_s - GUARD_S)

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Run what is within under the deadline of the cut.

        Raises:
            OutOfTime: there is no time for anything.
        """
        if self.remaining_s <= CUT_S:
            raise OutOfTime(
                f"the function has {max(0.0, self.remaining_s):.1f} s left, and the last {CUT_S} s are kept "
                "for the answer: give it a longer timeout"
            )
        with deadline.until(self._ends - CUT_S):
            yield
