"""The audio a session still needs: grows at the right, is cut at the left, never copied whole to grow."""

from __future__ import annotations

from collections import deque

import numpy as np

from whisper_lambda.types import Samples


class Tape:
    """Samples from `start` to `stop` of a session's audio; both count from the session's begin."""

    def __init__(self, start: int = 0) -> None:
        self.start = self.stop = start
        self._blocks: deque[Samples] = deque()
        self._first = start  # sample at which the first block begins

    def add(self, samples: Samples) -> None:
        """Lengthen it."""
        if len(samples):
            self._blocks.append(samples)
            self.stop += len(samples)

    def forget(self, before: int) -> None:
        """Cut off what is earlier than `before`."""
        self.start = min(max(self.start, before), self.stop)
        while self._blocks and self._first + len(self._blocks[0]) <= self.start:
            self._first += len(self._blocks.popleft())

    def between(self, start: int, stop: int) -> Samples:
        """Return the samples [start, stop), as far as they are there."""
        start, stop = max(start, self.start), min(stop, self.stop)
        if stop <= start:
            return np.zeros(0, np.float32)
        if len(self._blocks) > 1:  # joined once, without what was forgotten: the next call finds one block
            first = self._blocks.popleft()[self.start - self._first :]
            self._blocks = deque([np.concatenate([first, *self._blocks])])
            self._first = self.start
        return self._blocks[0][start - self._first : stop - self._first]
