"""Durations at each memory size in; cost, the size to choose, and data other tools can plot out. Pure.

Source: the method of aws-lambda-power-tuning (alexcasalboni): trimmed mean of billed durations,
cost of the rounded-up average, strategies cost, speed and balanced, and its visualisation address.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from whisper_lambda.economy.prices import PriceBook, billed_ms
from whisper_lambda.errors import BoundTooTight

Strategy = Literal["cost", "speed", "balanced"]
TRIMMED = 0.2  # share of the runs left out at each end
VISUALISATION = "https://lambda-power-tuning.show/"


@dataclass(frozen=True, slots=True)
class Point:
    """What one memory size gave."""

    memory_mb: int
    duration_ms: float  # trimmed mean of what each run was billed for
    usd: float  # of one run
    runs: int

    @property
    def gb_s(self) -> float:
        """Memory times duration."""
        return self.memory_mb / 1024 * self.duration_ms / 1000


def trimmed_mean(values: Sequence[float], share: float = TRIMMED) -> float:
    """Return the mean without the smallest and largest `share` of the values.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is nothing to average")
    out = math.floor(len(values) * share)
    kept = sorted(values)[out : len(values) - out] or sorted(values)
    return sum(kept) / len(kept)


def point(memory_mb: int, seconds: Sequence[float], book: PriceBook, architecture: str) -> Point:
    """Return what runs of these lengths come to."""
    duration_ms = trimmed_mean([float(billed_ms(s)) for s in seconds])
    usd = book.invocation_usd(math.ceil(duration_ms), memory_mb, architecture)
    return Point(memory_mb, duration_ms, usd, len(seconds))


def best(
    points: Sequence[Point],
    strategy: Strategy,
    *,
    weight: float = 0.5,
    max_ms: float = math.inf,
    max_usd: float = math.inf,
) -> Point:
    """Return the point to choose.

    Args:
        points: at least one.
        strategy: cost (ties by speed), speed (ties by cost), or balanced.
        weight: balanced only: 0 = the fastest, 1 = the cheapest.
        max_ms: leave out what takes longer.
        max_usd: leave out what costs more for a run.

    Raises:
        BoundTooTight: nothing is left.
    """
    within = [p for p in points if p.duration_ms <= max_ms and p.usd <= max_usd]
    if not within:
        quick, cheap = min(p.duration_ms for p in points), min(p.usd for p in points)
        raise BoundTooTight(
            f"no size is within the bounds: the quickest takes {quick:.0f} ms, "
            f"the cheapest costs {cheap:.7f} USD"
        )
    if strategy == "cost":
        return min(within, key=lambda p: (p.usd, p.duration_ms))
    if strategy == "speed":
        return min(within, key=lambda p: (p.duration_ms, p.usd))
    most_usd, most_ms = max(p.usd for p in points), max(p.duration_ms for p in points)
    return min(within, key=lambda p: weight * p.usd / most_usd + (1 - weight) * p.duration_ms / most_ms)


def visualisation(points: Sequence[Point]) -> str:
    """Return the address that plots the points: sizes, milliseconds, dollars, each base64 of its numbers."""
    ordered = sorted(points, key=lambda p: p.memory_mb)
    columns = (
        struct.pack(f"<{len(ordered)}h", *(p.memory_mb for p in ordered)),
        struct.pack(f"<{len(ordered)}f", *(p.duration_ms for p in ordered)),
        struct.pack(f"<{len(ordered)}f", *(p.usd for p in ordered)),
    )
    return VISUALISATION + "#" + ";".join(base64.b64encode(column).decode() for column in columns)


def to_json(points: Sequence[Point], chosen: Point) -> Mapping[str, Any]:
    """Return the result as that tool's state machine gives it, with all points beside it."""
    return {
        "power": chosen.memory_mb,
        "cost": chosen.usd,
        "duration": chosen.duration_ms,
        "stateMachine": {"visualization": visualisation(points)},
        "stats": [
            {"value": p.memory_mb, "averageDuration": p.duration_ms, "averagePrice": p.usd, "runs": p.runs}
            for p in points
        ],
    }
