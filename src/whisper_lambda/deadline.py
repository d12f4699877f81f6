"""Until when the current work must be answered for, where somebody ends it then: on Lambda.

Travels in a context variable, as lanes do: it decides whether something is done, never what comes out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CURRENT: ContextVar[float] = ContextVar("whisper_lambda_deadline", default=math.inf)


@contextmanager
def until(at: float) -> Iterator[None]:
    """Have the work within answered for by `at`, seconds of `time.monotonic`."""
    token = _CURRENT.set(at)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def remaining_s() -> float:
    """Return the seconds left; infinite where nobody ends the work."""
    return _CURRENT.get() - time.monotonic()
