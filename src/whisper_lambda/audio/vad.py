"""Samples in, probability of speech for each 32 ms out: Silero v6 (audio/silero.py), frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_lambda import lanes
from whisper_lambda.audio.silero import CONTEXT as CONTEXT
from whisper_lambda.audio.silero import FRAME as FRAME
from whisper_lambda.audio.silero import STATE, network
from whisper_lambda.types import Samples, Span

STRIPE = 500  # frames: a long recording runs as so many stripes side by side, 16 s each
WARM_UP = 32  # frames heard before a stripe counts: enough for the state to forget where it began

SPEECH = 0.5  # probability at which speech starts
STILL_SPEECH = 0.35  # and below which it ends
SHORTEST_SPEECH = 3  # frames; less is a click
SHORTEST_PAUSE = 5  # frames; less does not end a span
PAD = 6  # frames kept on both sides of a span: 0.2 s, so that no consonant is cut

Probabilities = NDArray[np.float32]  # (frames,), 0..1


def warm() -> None:
    """Load the network now, which a cold start does beside loading the weights."""
    network()


def speech_probabilities(samples: Samples) -> Probabilities:
    """Return the probability of speech in each frame of 512 samples, the last one padded.

    Short recordings run frame by frame; long ones as stripes in one batch, which takes a third of
    the time and moves 0.3 % of the frames over the threshold (docs/log.md).
    """
    count = -(-len(samples) // FRAME)
    if not count:
        return np.zeros(0, np.float32)
    padded = np.zeros(CONTEXT + count * FRAME, np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME]
    stripes = max(1, count // STRIPE)
    length = -(-count // stripes)
    starts = np.arange(stripes) * length
    state = np.zeros((2, stripes, STATE), np.float32)
    heard = np.zeros((stripes, length), np.float32)
    for step in range(-WARM_UP if stripes > 1 else 0, length):
        lanes.stay()
        at = starts + step
        inside = (at >= 0) & (at < count)
        frame = np.where(inside[:, None], frames[np.clip(at, 0, count - 1)], np.float32(0))
        probability, state = network().heard(frame, state)
        state[:, ~inside] = 0
        if step >= 0:
            heard[:, step] = probability
    return heard.reshape(-1)[:count]


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What the network remembers between frames of one stream."""

    state: NDArray[np.float32]  # (2, 1, STATE)
    context: NDArray[np.float32]  # (CONTEXT,), the samples before the next frame

    @classmethod
    def fresh(cls) -> Memory:
        """Return the memory of a stream that begins."""
        return cls(np.zeros((2, 1, STATE), np.float32), np.zeros(CONTEXT, np.float32))


def probability_next(frame: Samples, memory: Memory) -> tuple[float, Memory]:
    """Return the probability of speech in a stream's next frame of 512 samples, and what to remember."""
    heard = np.concatenate([memory.context, frame])[None]
    probability, state = network().heard(heard, memory.state)
    return float(probability[0]), Memory(state, frame[-CONTEXT:])


def speech_spans(probabilities: Probabilities, length: int) -> list[Span]:
    """Return where speech is, padded by 0.2 s, ordered and apart.

    Args:
        probabilities: as `speech_probabilities` gives them.
        length: of the recording, samples.
    """
    spans: list[Span] = []
    for first, stop in _stretches(probabilities):
        start, end = max(0, first - PAD) * FRAME, min(length, (stop + PAD) * FRAME)
        if spans and start <= spans[-1].stop:
            spans[-1] = Span(spans[-1].start, end)
        else:
            spans.append(Span(start, end))
    return spans


def _stretches(probabilities: Probabilities) -> list[tuple[int, int]]:
    """Frames from where speech starts to where it has surely ended."""
    found: list[tuple[int, int]] = []
    start: int | None = None
    quiet = 0
    for i, p in enumerate(probabilities.tolist()):
        if start is None:
            start = i if p >= SPEECH else None
            quiet = 0
        elif p >= STILL_SPEECH:
            quiet = 0
        else:
            quiet += 1
            if quiet >= SHORTEST_PAUSE:
                found.append((start, i + 1 - quiet))
                start = None
    if start is not None:
        found.append((start, len(probabilities) - quiet))
    return [(a, b) for a, b in found if b - a >= SHORTEST_SPEECH]
