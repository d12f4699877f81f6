"""Samples in, chunks out: what to decode, cut where it hurts least, and what was left out and why.

Chunks are disjoint, ordered, at most 30 s, and cover all that may be speech exactly once. Cuts fall
where the sound itself is quietest, so that an edit elsewhere in the recording moves none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.audio.vad import FRAME, speech_probabilities, speech_spans
from whisper_lambda.types import SAMPLE_RATE, Chunk, Dropped, Samples, Span, VadMode

LONGEST_S = 26.0  # of a chunk of speech; docs/log.md has the sweep
LONGEST_MUSIC_S = 24.0  # of a chunk of singing: lines need their context
APART_S = 2.5  # a pause this long always cuts
SILENT_DB = -70.0  # dBFS; below it nothing is heard at all
LOUD_BELOW_PEAK_DB = 30.0  # what is quieter than the recording's loud parts by this is background
SHORTEST_UNSURE_S = 1.5  # sound without speech shorter than this is a click, a beep, a door
BRIDGE_S = 2.0  # pauses in music shorter than this belong to it
MOSTLY_SPEECH = 0.5  # share of a sounding stretch that is speech, above which the VAD is believed
TELL_S = 1.0  # shorter gaps are not worth telling


@dataclass(frozen=True, slots=True)
class Cut:
    """What to decode, and what not."""

    chunks: tuple[Chunk, ...]
    dropped: tuple[Dropped, ...]


def plan(samples: Samples, vad: VadMode) -> Cut:
    """Cut a recording into chunks.

    `on` keeps what the VAD calls speech, `off` all that is not silence. `auto` believes the VAD where
    it hears speech, and hands sound it cannot make out (singing, rap over a beat, far voices) to the
    decoder as unsure chunks, whose text must earn its place.
    """
    level = levels(samples)
    loud = level > max(SILENT_DB, _loud_level(level))
    if vad == "off":
        sure, unsure = [], _sounding(level > SILENT_DB, len(samples))
        chunks = [c for span in unsure for c in _cut(samples, level, [span], LONGEST_S, unsure=False)]
        return Cut(tuple(chunks), tuple(_gaps(unsure, level, len(samples))))
    probabilities = speech_probabilities(samples) if loud.any() else np.zeros(len(level), np.float32)
    sure = speech_spans(probabilities, len(samples))
    unsure = []
    if vad == "auto":
        sure, unsure = _weigh(sure, _sounding(loud, len(samples)))
    chunks = [
        *_cut(samples, level, sure, LONGEST_S, unsure=False),
        *(c for span in unsure for c in _cut(samples, level, [span], LONGEST_MUSIC_S, unsure=True)),
    ]
    kept = sorted([*sure, *unsure], key=lambda s: s.start)
    return Cut(tuple(sorted(chunks, key=lambda c: c.start)), tuple(_gaps(kept, level, len(samples))))


def most_speech(chunks: Sequence[Chunk]) -> Chunk:
    """Return the chunk to hear the language from: the longest of the first few, speech if there is any."""
    few = chunks[:5]
    return max(few, key=lambda c: (not c.unsure, len(c.samples)))


def levels(samples: Samples) -> NDArray[np.float32]:
    """Return the level of each frame of 512 samples, dBFS."""
    count = -(-len(samples) // FRAME)
    padded = np.zeros(count * FRAME, np.float32)
    padded[: len(samples)] = samples
    power = np.mean(np.square(padded.reshape(count, FRAME)), axis=1) if count else np.zeros(0)
    return np.asarray(10.0 * np.log10(power + 1e-12), np.float32)


def _loud_level(level: NDArray[np.float32]) -> float:
    return float(np.percentile(level, 95)) - LOUD_BELOW_PEAK_DB if len(level) else SILENT_DB


def _sounding(loud: NDArray[np.bool_], length: int) -> list[Span]:
    """Stretches of sound, short pauses bridged."""
    frames = np.flatnonzero(loud)
    if not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) > BRIDGE_S * SAMPLE_RATE / FRAME)
    firsts, lasts = (0, *(breaks + 1)), (*breaks, len(frames) - 1)
    return [
        Span(int(frames[a]) * FRAME, min(length, (int(frames[b]) + 1) * FRAME))
        for a, b in zip(firsts, lasts, strict=True)
    ]


def _weigh(speech: list[Span], sounding: list[Span]) -> tuple[list[Span], list[Span]]:
    """Settle, for each stretch of sound, whether the VAD can be believed there.

    Where it calls most of the stretch speech, it is; what remains long enough is unsure. Where it
    does not, the whole stretch is: chopping a song at the few lines the VAD hears spoils the rest.
    """
    sure, unsure = [], []
    for stretch in sounding:
        inside = [s for s in speech if s.start < stretch.stop and s.stop > stretch.start]
        spoken = sum(min(s.stop, stretch.stop) - max(s.start, stretch.start) for s in inside)
        if spoken < MOSTLY_SPEECH * (stretch.stop - stretch.start):
            edges = [stretch.start, stretch.stop, *(e for s in inside for e in (s.start, s.stop))]
            unsure.append(Span(min(edges), max(edges)))
        else:
            sure += [s for s in inside if s not in sure]
            unsure += _between(inside, stretch)
    sure += [s for s in speech if s not in sure and not any(_meets(s, u) for u in unsure)]
    shortest = SHORTEST_UNSURE_S * SAMPLE_RATE
    return sorted(sure, key=lambda s: s.start), [
        u for u in _joined(unsure) if u.stop - u.start >= shortest or any(_meets(u, s) for s in speech)
    ]


def _meets(a: Span, b: Span) -> bool:
    return a.start < b.stop and b.start < a.stop


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(spans, key=lambda s: s.start):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = Span(joined[-1].start, max(joined[-1].stop, span.stop))
        else:
            joined.append(span)
    return joined


def _between(speech: list[Span], stretch: Span) -> list[Span]:
    """The parts of a stretch that no speech covers."""
    edges = [stretch.start, *(e for s in speech for e in (s.start, s.stop)), stretch.stop]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [Span(a, b) for a, b in pairs if b - a >= SHORTEST_UNSURE_S * SAMPLE_RATE]


def _cut(
    samples: Samples, level: NDArray[np.float32], spans: Sequence[Span], longest_s: float, *, unsure: bool
) -> Iterator[Chunk]:
    """Pack spans into chunks: together while they fit and lie close, apart where they do not."""
    longest = int(longest_s * SAMPLE_RATE)
    for group in _groups(spans):
        for start, stop in _pieces(group, level, longest):
            yield Chunk(samples[start:stop], start / SAMPLE_RATE, unsure)


def _groups(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Runs of spans with no long pause between them."""
    group: list[Span] = []
    for span in spans:
        if group and span.start - group[-1].stop >= APART_S * SAMPLE_RATE:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _pieces(group: list[Span], level: NDArray[np.float32], longest: int) -> Iterator[tuple[int, int]]:
    """Divide a group at its longest pauses until every piece fits; a pause's silence goes to nobody."""
    start, stop = group[0].start, group[-1].stop
    if stop - start <= longest:
        yield start, stop
        return
    if len(group) > 1:
        at = _best_pause(group, start, stop)
        yield from _pieces(group[:at], level, longest)
        yield from _pieces(group[at:], level, longest)
        return
    middle = _quietest(level, start, stop, longest)
    yield from _pieces([Span(start, middle)], level, longest)
    yield from _pieces([Span(middle, stop)], level, longest)


def _best_pause(group: list[Span], start: int, stop: int) -> int:
    """The span to begin a new chunk with: after a long pause, not too near either end."""

    def worth(i: int) -> float:
        pause = group[i].start - group[i - 1].stop
        nearest_end = min(group[i].start - start, stop - group[i - 1].stop)
        return min(pause, SAMPLE_RATE) + 0.2 * min(nearest_end, 10 * SAMPLE_RATE)

    return max(range(1, len(group)), key=worth)


def _quietest(level: NDArray[np.float32], start: int, stop: int, longest: int) -> int:
    """The quietest moment that leaves both sides a fair share, for speech without a pause."""
    share = min(longest, stop - start) // 3
    first, last = (start + share) // FRAME, (stop - share) // FRAME
    smooth = np.convolve(level[first:last], np.ones(5) / 5, mode="same")
    return (first + int(np.argmin(smooth))) * FRAME + FRAME // 2


def _gaps(kept: Sequence[Span], level: NDArray[np.float32], length: int) -> Iterator[Dropped]:
    """Tell what lies between: silence, or sound that nobody speaks in."""
    edges = [0, *(e for s in kept for e in (s.start, s.stop)), length]
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= TELL_S * SAMPLE_RATE:
            heard = float(level[start // FRAME : stop // FRAME].max(initial=SILENT_DB))
            yield Dropped(
                start / SAMPLE_RATE, stop / SAMPLE_RATE, "no_speech" if heard > SILENT_DB else "silence"
            )
