"""Whisper's clip_timestamps: which stretches of a recording to hear; times stay the recording's own."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from whisper_lambda.errors import BadOption, EmptyAudio
from whisper_lambda.types import SAMPLE_RATE, Decoded, Samples

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


def clipped(decoded: Decoded, clips: tuple[Clip, ...]) -> Decoded:
    """Return the recording with silence wherever no clip is; it warns of clips that begin beyond its end.

    Raises:
        EmptyAudio: all of them do.
    """
    ends_s = len(decoded.samples) / SAMPLE_RATE
    beyond = [start for start, _ in clips if start >= ends_s]
    told = f"--clip-timestamps: nothing to hear from {', '.join(f'{s:g}' for s in beyond)} s on: "
    told += f"the recording ends at {ends_s:.1f} s"
    if len(beyond) == len(clips):
        raise EmptyAudio(told)
    warnings = (*decoded.warnings, told) if beyond else decoded.warnings
    return replace(decoded, samples=only(decoded.samples, clips), warnings=warnings)


def only(samples: Samples, clips: tuple[Clip, ...]) -> Samples:
    """Return the recording with silence wherever no clip is."""
    kept = np.zeros_like(samples)
    for start, end in clips:
        first = round(min(start * SAMPLE_RATE, len(samples)))
        last = round(min(end * SAMPLE_RATE, len(samples)))
        kept[first:last] = samples[first:last]
    return kept
