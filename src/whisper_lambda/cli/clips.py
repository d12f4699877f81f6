"""Whisper's clip_timestamps: which stretches of a recording to hear; times stay the recording's own."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from whisper_lambda.errors import BadOption
from whisper_lambda.types import SAMPLE_RATE, Samples

Clip = tuple[float, float]  # start and end, seconds


def parse_clips(text: str) -> tuple[Clip, ...]:
    """Return the clips of "start,end,start,..."; a last start without an end runs to the end.

    Raises:
        BadOption: not numbers, or not in order.
    """
    try:
        times = [float(part) for part in text.split(",") if part.strip()]
    except ValueError as cause:
        raise BadOption(f"--clip-timestamps {text}: seconds with commas, as in 0,10,60") from cause
    if len(times) % 2:
        times.append(math.inf)
    if not all(0 <= a < b for a, b in pairwise(times)):
        raise BadOption(f"--clip-timestamps {text}: each time must be later than the one before, from 0 on")
    return tuple(zip(times[::2], times[1::2], strict=True))


def only(samples: Samples, clips: tuple[Clip, ...]) -> Samples:
    """Return the recording with silence wherever no clip is."""
    kept = np.zeros_like(samples)
    for start, end in clips:
        first = round(min(start * SAMPLE_RATE, len(samples)))
        last = round(min(end * SAMPLE_RATE, len(samples)))
        kept[first:last] = samples[first:last]
    return kept
