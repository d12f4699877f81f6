"""Samples in, probability of speech for each 32 ms out: Silero v6 (audio/silero.py), frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_lambda import lanes
from whisper_lambda.audio.frames import Frames, frames
from whisper_lambda.audio.silero import CONTEXT as CONTEXT
from whisper_lambda.audio.silero import FRAME as FRAME
from whisper_lambda.audio.silero import STATE, network
from whisper_lambda.types import Samples, Span

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


def speech_probabilities(samples: Samples, grid: Frames | None = None) -> Probabilities:
    """Return the probability of speech in each frame; `grid` None = the recording's own.

    Short recordings run frame by frame; long ones as stripes in one batch, which takes a third of
    the time and moves 0.3 % of the frames over the threshold (docs/log.md).
    """
    grid = grid or frames(samples)
    heard = np.zeros(len(grid.starts), np.float32)
    if not len(heard):
        return heard
    padded = np.zeros(CONTEXT + len(samples) + FRAME, np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)
    lengths = np.diff(grid.stripes, append=len(heard))
    longest_first = np.argsort(-lengths, kind="stable")
    stripes, lengths = grid.stripes[longest_first], lengths[longest_first]
    starts = grid.starts[stripes]
    state = np.zeros((2, len(stripes), STATE), np.float32)
    for step in range(-WARM_UP if len(stripes) > 1 else 0, int(lengths[0])):
        lanes.stay()
        if lengths[-1] <= step:  # the shortest have ended
            going = int(np.count_nonzero(lengths > step))
            lengths, stripes, starts, state = (
                lengths[:going],
                stripes[:going],
                starts[:going],
                state[:, :going],
            )
        at = starts + step * FRAME
        early = at < 0  # there is nothing before the recording
        frame = np.where(early[:, None], np.float32(0), windows[np.maximum(at, 0)])
        probability, state = network().heard(frame, state)
        state[:, early] = 0
        if step >= 0:
            heard[stripes + step] = probability
    return heard


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


def speech_spans(probabilities: Probabilities, grid: Frames) -> list[Span]:
    """Return where speech is, padded by 0.2 s, ordered and apart.

    Args:
        probabilities: as `speech_probabilities` gives them.
        grid: the frames they are of.
    """
    spans: list[Span] = []
    for first, stop in _stretches(probabilities):
        start, end = grid.sample(max(0, first - PAD)), grid.sample(stop + PAD)
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
