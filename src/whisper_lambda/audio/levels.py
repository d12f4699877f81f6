"""Levels in, where most of them lie out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def percentile(values: NDArray[np.floating[Any]], percent: float) -> float:
    """Return the value below which that many per cent lie, between two of them in proportion.

    The same as `np.percentile`, whose first call in a process imports masked arrays: 8 ms of a cold start.

    Args:
        values: (n,), at least one.
        percent: 0 to 100.
    """
    place = (len(values) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(values) - 1)
    sorted_there = np.partition(values, (below, above))
    low, high = float(sorted_there[below]), float(sorted_there[above])
    return low + (high - low) * (place - below)
