"""Times as the model gave them in; whole ticks a file may hold out: in order, apart, never empty."""

from __future__ import annotations

from collections.abc import Sequence

MS = 1000  # ticks a second in srt, vtt and tsv
CS = 100  # ticks a second in ass and lrc
_LAST_S = 99 * 3600.0  # two digits of hours is all that every reader takes


def to_ticks(seconds: float, per_second: int) -> int:
    """Round to whole ticks once, so that no field of a timestamp can be carried past 59.

    Not a number and negative give 0; beyond 99 hours gives 99 hours.
    """
    return round(min(_LAST_S, max(0.0, seconds)) * per_second)


def apart(spans: Sequence[tuple[float, float]], per_second: int) -> list[tuple[int, int]]:
    """Return each span in ticks: starts rise, an end never passes the next start, none is empty.

    Spans that already are like that, and in order, are only rounded.

    Args:
        spans: (start, end) in seconds, in the order they are to be shown.
        per_second: ticks in a second.
    """
    starts: list[int] = []
    for start, _ in spans:
        earliest = starts[-1] + 1 if starts else 0
        starts.append(max(earliest, to_ticks(start, per_second)))
    ends = [max(begin + 1, to_ticks(end, per_second)) for begin, (_, end) in zip(starts, spans, strict=True)]
    nexts = [*starts[1:], *ends[-1:]]
    return [(begin, min(end, after)) for begin, end, after in zip(starts, ends, nexts, strict=True)]


def clock(ticks: int, per_second: int) -> tuple[int, int, int, int]:
    """Return (hours, minutes, seconds, remaining ticks)."""
    seconds, rest = divmod(ticks, per_second)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return hours, minutes, seconds, rest
