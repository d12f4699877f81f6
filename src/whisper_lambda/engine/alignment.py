"""Where each word was said: the decoder's cross-attention path and the samples in, words out.

Punctuation goes with the word it belongs to, as in openai/whisper `timing.py`. The path alone begins
its first word at the window's start and stretches words over pauses; the sound corrects both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.audio.levels import percentile
from whisper_lambda.types import SAMPLE_RATE, Samples, Word

POSITIONS_PER_SECOND = 50  # encoder positions: two mel frames each
OPENING = frozenset("\"'“¿([{-«¡")
CLOSING = frozenset("\"'.。,，!！?？:：”)]}、»…;")
LOUD_FRAME_S = 0.02
PAUSE_S = 0.24  # silence inside a word longer than any consonant's closure
LOUD_BELOW_PEAK_DB = 38.0  # quieter than this under the loudest speech is silence
LOUD_ABOVE_FLOOR_DB = 8.0  # and so is what does not rise above the background


@dataclass(frozen=True, slots=True)
class Alignment:
    """The decoder's attention path over the window, and how sure it was of each token."""

    starts: tuple[float, ...]  # seconds; one for each token and one for the end
    probabilities: tuple[float, ...]  # 0..1; one for each token

    @classmethod
    def from_path(
        cls, path: Sequence[tuple[int, int]], probabilities: Sequence[float], *, positions: int = 1
    ) -> Alignment:
        """Read (token, position) pairs: a token starts where the path first reaches it.

        Args:
            path: of the attention.
            probabilities: one for each token.
            positions: how many of the encoder's the decoder saw as one.
        """
        first: dict[int, int] = {}
        for token, position in path:
            first.setdefault(token, position)
        last = path[-1][1] if path else 0
        starts = [
            first.get(t, last) * positions / POSITIONS_PER_SECOND for t in range(len(probabilities) + 1)
        ]
        return cls(tuple(starts), tuple(probabilities))


def timed_words(
    words: Sequence[tuple[str, int]], alignment: Alignment, samples: Samples
) -> tuple[tuple[Word, ...], tuple[int, ...]]:
    """Give words their times.

    Args:
        words: text and token count of each word, as `Vocabulary.words` splits them.
        alignment: of those tokens.
        samples: the chunk.

    Returns:
        The words, ordered and inside the chunk, and how many tokens each one took.
    """
    merged = _with_punctuation(words)
    loud = loud_frames(samples)
    # Down to a whole millisecond, so that rounding leaves every word inside.
    duration = math.floor(len(samples) * 1000 / SAMPLE_RATE) / 1000
    timed, at, earliest = [], 0, 0.0
    for text, count in merged:
        inside = slice(at, at + count)
        start, end = alignment.starts[at], alignment.starts[at + count]
        start, end = _where_loud(start, min(end, duration), loud)
        start = min(max(start, earliest), duration)
        end = min(max(end, start), duration)
        probability = float(np.mean(alignment.probabilities[inside])) if count else 0.0
        timed.append(Word(round(start, 3), round(end, 3), text, round(probability, 4)))
        at, earliest = at + count, end
    return tuple(timed), tuple(count for _, count in merged)


def _with_punctuation(words: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Join opening marks to the word behind them and closing marks to the word before."""
    joined: list[tuple[str, int]] = []
    opening: tuple[str, int] | None = None
    for text, count in words:
        bare = text.strip()
        closes = bare and all(c in CLOSING for c in bare) and not text.startswith(" ")
        if closes and joined and not opening:
            joined[-1] = (joined[-1][0] + text, joined[-1][1] + count)
        elif bare and all(c in OPENING for c in bare):
            opening = (opening[0] + text, opening[1] + count) if opening else (text, count)
        else:
            before = opening or ("", 0)
            joined.append((before[0] + text, before[1] + count))
            opening = None
    if opening:
        joined.append(opening)
    return joined


def loud_frames(samples: Samples) -> NDArray[np.bool_]:
    """Tell for each 20 ms whether something sounds, against the chunk's own peak and background."""
    size = round(LOUD_FRAME_S * SAMPLE_RATE)
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    if not len(whole):
        return np.ones(1, np.bool_)
    level = 10.0 * np.log10(np.mean(np.square(whole), axis=1) + 1e-12)
    peak, floor = percentile(level, 98), percentile(level, 5)
    threshold = max(
        peak - LOUD_BELOW_PEAK_DB, min(floor + LOUD_ABOVE_FLOOR_DB, peak - 2 * LOUD_ABOVE_FLOOR_DB)
    )
    return np.asarray(level > threshold)


def _where_loud(start: float, end: float, loud: NDArray[np.bool_]) -> tuple[float, float]:
    """Shrink an interval to its longest sounding run, where it holds a pause; else leave it."""
    first = max(0, math.floor(start / LOUD_FRAME_S))
    inside = loud[first : math.ceil(end / LOUD_FRAME_S)]
    runs = list(_runs(inside, round(PAUSE_S / LOUD_FRAME_S)))
    if not runs:
        return start, end
    a, b = max(runs, key=lambda run: run[1] - run[0])
    at = first * LOUD_FRAME_S
    lead, tail = a * LOUD_FRAME_S, (len(inside) - b) * LOUD_FRAME_S
    return (
        at + lead if lead >= PAUSE_S or (len(runs) > 1 and a > runs[0][0]) else start,
        at + b * LOUD_FRAME_S if tail >= PAUSE_S or (len(runs) > 1 and b < runs[-1][1]) else end,
    )


def _runs(inside: NDArray[np.bool_], gap: int) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of sounding frames; pauses shorter than `gap` frames do not divide."""
    frames = np.flatnonzero(inside)
    if not len(frames):
        return
    breaks = np.flatnonzero(np.diff(frames) > gap)
    for a, b in zip((0, *(breaks + 1)), (*breaks, len(frames) - 1), strict=True):
        yield int(frames[a]), int(frames[b]) + 1
