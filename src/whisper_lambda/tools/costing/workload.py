"""Hours a day, or a log of real requests, in; when each request comes and what it needs out."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.errors import BadOption

DAY_S = 86_400.0
# How recordings differ in length: a lognormal spread, as of our evaluation sets.
SIGMA = 0.8
# Of each hour of the day, its share: little at night, most by day. Sums to 1.
OFFICE = tuple(w / 96 for w in (1, 1, 1, 1, 1, 1, 2, 3, 5, 7, 8, 8, 7, 7, 8, 8, 7, 5, 4, 3, 3, 2, 2, 1))
ALL_DAY = (1 / 24,) * 24
MOST_PLAYED = 10_000_000  # requests: each is played, for every row of the table


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests in the order they come."""

    times_s: NDArray[np.float64]  # ascending, from 0
    audio_s: NDArray[np.float64]
    span_s: float  # how long they were watched
    measured_s: NDArray[np.float64] | None = None  # what each really took, where a log says

    @property
    def hours(self) -> float:
        """Hours of audio in all."""
        return float(self.audio_s.sum()) / 3600


def made_up(
    hours_a_day: float, *, mean_s: float = 60.0, days: int = 3, office: bool = True, seed: int = 1
) -> Workload:
    """Return requests that arrive at random, more by day, with lengths spread about a mean.

    Args:
        hours_a_day: audio.
        mean_s: mean length of a recording.
        days: how many are played.
        office: whether most come by day; else evenly.
        seed: the same gives the same.
    """
    if not 0 < hours_a_day < math.inf or not 0 < mean_s < math.inf:
        raise BadOption("hours a day and seconds a recording are numbers above 0")
    random = np.random.default_rng(seed)
    shares = np.array(OFFICE if office else ALL_DAY)
    a_day = hours_a_day * 3600 / mean_s
    if a_day * days > MOST_PLAYED:
        raise BadOption(
            f"{a_day * days:.2g} requests are too many to play one by one; `cost scale` reckons with volumes"
        )
    times = []
    for day in range(days):
        for hour, share in enumerate(shares):
            count = random.poisson(a_day * share)
            times.append(day * DAY_S + hour * 3600 + np.sort(random.uniform(0, 3600, count)))
    at = np.concatenate(times)
    audio = random.lognormal(math.log(mean_s) - SIGMA**2 / 2, SIGMA, len(at))
    return Workload(at, audio, days * DAY_S)


def read_log(path: Path) -> Workload:
    """Return the requests a log tells of: our wide log lines, a CloudWatch export of them, or a table.

    Lines that are not requests with audio are passed over. A table (.csv) has columns `time` (seconds
    or ISO 8601), `audio_s` and, if it likes, `engine_s` or `duration_s`.

    Raises:
        BadOption: it is no text, or no request can be found in it.
        OSError: it cannot be read.
    """
    told = filter(None, map(_told, _lines(path)))
    rows = sorted(filter(None, map(_request, told)), key=lambda r: r[0])
    if not rows:
        raise BadOption(f"{path}: no line with `time` and `audio_s` was found in it")
    first = rows[0][0]
    took = [r[2] for r in rows]
    times = np.array([r[0] - first for r in rows])
    return Workload(
        times,
        np.array([r[1] for r in rows]),
        max(float(times[-1]), 3600.0),
        np.array(took, float) if all(t is not None for t in took) else None,
    )


def _lines(path: Path) -> Iterator[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as cause:
        raise BadOption(f"{path} is no log: it holds more than text") from cause
    if path.suffix == ".csv":
        yield from csv.DictReader(text.splitlines())
        return
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    events = whole.get("events") if isinstance(whole, dict) else whole
    yield from events if isinstance(events, list) else text.splitlines()


def _told(line: Any) -> Mapping[str, Any] | None:  # noqa: ANN401 - whatever an export holds
    """Return the JSON object of a line with `audio_s` in it; CloudWatch's events have it in their message."""
    while isinstance(line, str | dict):
        if isinstance(line, dict):
            if "audio_s" in line:
                return line
            line = line.get("message", line.get("@message"))  # the latter where Logs Insights wrote it
            continue
        try:
            line = json.loads(line[line.index("{") :])  # `aws logs tail` puts a time and a stream before it
        except (ValueError, RecursionError):
            return None
    return None


def _request(told: Mapping[str, Any]) -> tuple[float, float, float | None] | None:
    parts = [told.get(name) for name in ("decode_s", "engine_s")]
    try:
        audio_s = float(told["audio_s"])
        when = _when(told.get("time", told.get("timestamp")))
        took = sum(float(p) for p in parts if p) if parts[1] else float(told.get("duration_s") or 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
    if not 0 < audio_s < math.inf > abs(when):
        return None
    return when, audio_s, took if 0 < took < math.inf else None


def _when(at: object) -> float:
    """Return seconds; a number, or a time as ISO 8601 spells it."""
    try:
        return float(str(at))
    except ValueError:
        return datetime.fromisoformat(str(at).replace("Z", "+00:00")).timestamp()
