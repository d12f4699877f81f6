"""Samples in, chunks out: what to decode, cut where it hurts least, and what was left out and why.

Chunks are disjoint, ordered, at most 30 s, and cover all that may be speech exactly once. Cuts fall
where the sound itself is quietest, on samples it picks out itself: an edit leaves most chunks
elsewhere as they were, byte for byte, however many samples it moves them by.

A recording is planned scene by scene, as it is decoded. `plan` does the same to one that is there whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.audio.frames import FRAME, Frames, frames
from whisper_lambda.audio.levels import percentile
from whisper_lambda.audio.scenes import Scene, picked, powers, scenes
from whisper_lambda.audio.vad import speech_probabilities, speech_spans
from whisper_lambda.types import SAMPLE_RATE, Chunk, Dropped, DropReason, Samples, Span, VadMode

LONGEST_S = 28.0  # of a chunk of speech, less its edges; docs/log.md has the sweep
FULL_FROM = 0.6  # share of that from which on a chunk may end
MEET_FROM = 0.3  # and from which on it does, at the first meeting
STUB = 0.3  # below this share the last chunk of a stretch would have too little context
MEETINGS = 0.25  # share of long pauses that are one: the sound before them says which
LONG_PAUSE = SAMPLE_RATE  # samples; longer ones are no better to cut in
LONGEST_MUSIC_S = 24.0  # of a chunk of singing: lines need their context
EDGE_S = 0.45  # of the pause around a chunk is left to it: with less, first and last words suffer
SLACK_S = 0.25  # a chunk's end may lie so much further out, where the sound picks a sample
APART_S = 4.0  # a pause this long always cuts
SILENT_DB = -70.0  # dBFS; below it nothing is heard at all
LOUD_BELOW_PEAK_DB = 30.0  # what is quieter than the recording's loud parts by this is background
SHORTEST_S = 0.1  # no word is shorter; the decoder makes one up for a single click
SHORTEST_UNSURE_S = 1.5  # sound without speech shorter than this is a click, a beep, a door
SHORTEST_GAP_S = 3.0  # and between two spans of speech, shorter sound is breath, rustle, reverberation
BRIDGE_S = 2.0  # pauses in music shorter than this belong to it
MOSTLY_SPEECH = 0.5  # share of a sounding stretch that is speech, above which the VAD is believed
FIRST_CHUNKS = 5  # those the language is heard from
TELL_S = 1.0  # shorter gaps are not worth telling


@dataclass(frozen=True, slots=True)
class Cut:
    """What to decode, and what not."""

    chunks: tuple[Chunk, ...]
    dropped: tuple[Dropped, ...]


def plan(samples: Samples, vad: VadMode) -> Cut:
    """Cut a recording into chunks; see `planned`."""
    found = list(planned([samples], vad))
    chunks = tuple(f for f in found if isinstance(f, Chunk))
    return Cut(chunks, tuple(f for f in found if isinstance(f, Dropped)))


def planned(blocks: Iterable[Samples], vad: VadMode) -> Iterator[Chunk | Dropped]:
    """Yield a recording's chunks, and what was left out, as soon as they are settled, in order.

    `on` keeps what the VAD calls speech, `off` all that is not silence. `auto` believes the VAD where
    it hears speech, and hands sound it cannot make out (singing, rap over a beat, far voices) to the
    decoder as unsure chunks, whose text must earn its place.

    How the recording is divided into blocks changes nothing. Memory does not grow with its length.
    """
    gap = _Gap()
    for scene in scenes(blocks):
        grid = frames(scene.samples)
        level = _decibels(powers(scene.samples, grid))
        heard = _Heard(scene, grid, level)
        for piece in _scene(heard, vad):
            yield from gap.ended(heard, piece)
            samples = scene.samples[piece.start : piece.stop].copy()  # a view would hold the whole scene
            yield Chunk(samples, (scene.start + piece.start) / SAMPLE_RATE, piece.unsure)
        gap.goes_on(heard)
    yield from gap.told()


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """A scene, and how loud each of its frames is."""

    scene: Scene
    grid: Frames
    level: NDArray[np.float32]  # dBFS


def _scene(heard: _Heard, vad: VadMode) -> list[_Piece]:
    samples = heard.scene.samples
    sure, unsure = _spans(heard, vad)
    longest, longest_music = int(LONGEST_S * SAMPLE_RATE), int(LONGEST_MUSIC_S * SAMPLE_RATE)
    pieces = [_Piece(*p, False) for group in _groups(sure) for p in _pieces(group, heard, longest)]
    pieces += [_Piece(*p, True) for span in unsure for p in _pieces([span], heard, longest_music)]
    return _widened(sorted(pieces), samples)


class _Piece(NamedTuple):
    """A chunk to be: [start, stop) in samples."""

    start: int
    stop: int
    unsure: bool


def _start(span: Span) -> int:
    return span.start


def _spans(heard: _Heard, vad: VadMode) -> tuple[list[Span], list[Span]]:
    """Return the spans to decode: those of speech, and those nobody is sure of. None meet."""
    grid, level = heard.grid, heard.level
    if vad == "off":
        return [s for s in _sounding(level > SILENT_DB, grid) if _lasts(s, SHORTEST_S)], []
    loud = level > max(SILENT_DB, _loud_level(level))
    if not loud.any():
        return [], []
    speech = speech_spans(speech_probabilities(heard.scene.samples, grid), grid)
    return (speech, []) if vad == "on" else _weigh(speech, _sounding(loud, grid))


def most_speech(chunks: Sequence[Chunk]) -> Chunk:
    """Return the chunk to hear the language from: the longest of the first few, speech if there is any."""
    few = chunks[:FIRST_CHUNKS]
    return max(few, key=lambda c: (not c.unsure, len(c.samples)))


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the level of each frame, dBFS."""
    return np.asarray(10.0 * np.log10(power + 1e-12), np.float32)


def _loud_level(level: NDArray[np.float32]) -> float:
    return percentile(level, 95) - LOUD_BELOW_PEAK_DB if len(level) else SILENT_DB


def _sounding(loud: NDArray[np.bool_], grid: Frames) -> list[Span]:
    """Stretches of sound, short pauses bridged."""
    sounds = np.flatnonzero(loud)
    if not len(sounds):
        return []
    breaks = np.flatnonzero(np.diff(sounds) > BRIDGE_S * SAMPLE_RATE / FRAME)
    firsts, lasts = (0, *(breaks + 1)), (*breaks, len(sounds) - 1)
    return [
        Span(grid.sample(int(sounds[a])), grid.sample(int(sounds[b]) + 1))
        for a, b in zip(firsts, lasts, strict=True)
    ]


def _weigh(speech: list[Span], sounding: list[Span]) -> tuple[list[Span], list[Span]]:
    """Settle, for each stretch of sound, whether the VAD can be believed there.

    Where it calls most of the stretch speech, it is; what remains long enough is unsure. Where it
    does not, the whole stretch is: chopping a song at the few lines the VAD hears spoils the rest.
    """
    unsure: list[Span] = []
    for stretch in sounding:
        inside = [s for s in speech if _meets(s, stretch)]
        spoken = sum(min(s.stop, stretch.stop) - max(s.start, stretch.start) for s in inside)
        if spoken < MOSTLY_SPEECH * (stretch.stop - stretch.start):
            ends = [stretch, *inside]
            unsure.append(Span(min(s.start for s in ends), max(s.stop for s in ends)))
        else:
            unsure += [gap for gap in _between(inside, stretch) if _lasts(gap, SHORTEST_GAP_S)]
    unsure = [u for u in _joined(unsure) if _lasts(u, SHORTEST_UNSURE_S) or any(_meets(u, s) for s in speech)]
    whole = [u for u in unsure if any(u.start <= s.start and s.stop <= u.stop for s in speech)]
    sure = [s for s in speech if not any(u.start <= s.start and s.stop <= u.stop for u in whole)]
    return sure, [part for u in unsure for part in _between([s for s in sure if _meets(s, u)], u)]


def _meets(a: Span, b: Span) -> bool:
    return a.start < b.stop and b.start < a.stop


def _lasts(span: Span, seconds: float) -> bool:
    return span.stop - span.start >= seconds * SAMPLE_RATE


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(spans, key=_start):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = Span(joined[-1].start, max(joined[-1].stop, span.stop))
        else:
            joined.append(span)
    return joined


def _between(speech: list[Span], stretch: Span) -> list[Span]:
    """The parts of a stretch that no speech covers."""
    parts, at = [], stretch.start
    for span in speech:
        parts.append(Span(at, min(span.start, stretch.stop)))
        at = max(at, span.stop)
    return [p for p in (*parts, Span(at, stretch.stop)) if p.stop > p.start]


def _widened(pieces: list[_Piece], samples: Samples) -> list[_Piece]:
    """Leave each piece some of the silence around it; neighbours share a short pause."""
    if not pieces:
        return []
    edge, length = round(EDGE_S * SAMPLE_RATE), len(samples)
    starts = [_outside(samples, pieces[0].start - edge, -1)]
    stops = []
    for before, after in pairwise(pieces):
        pause = after.start - before.stop
        if pause > 2 * (edge + round(SLACK_S * SAMPLE_RATE)):
            stops.append(_outside(samples, before.stop + edge, 1))
            starts.append(_outside(samples, after.start - edge, -1))
        else:
            middle, reach = before.stop + pause // 2, max(FRAME // 2, round(0.15 * pause))
            stops.append(picked(samples, middle - reach, middle + reach))
            starts.append(stops[-1])
    stops.append(min(length, _outside(samples, pieces[-1].stop + edge, 1)))
    bounds = zip(starts, stops, pieces, strict=True)
    return [_Piece(start, stop, piece.unsure) for start, stop, piece in bounds]


def _outside(samples: Samples, at: int, side: int) -> int:
    """Return a sample just outside `at`, on one side of it, that its own sound picks."""
    slack = round(SLACK_S * SAMPLE_RATE)
    if at <= 0 or at >= len(samples):
        return 0 if at <= 0 else len(samples)
    return picked(samples, *((at - slack, at) if side < 0 else (at, at + slack)))


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


def _pieces(group: list[Span], heard: _Heard, longest: int) -> Iterator[tuple[int, int]]:
    """Fill pieces from the left, ending each at the longest pause of its last part.

    Long pieces give the decoder context, and fill the encoder's full window. Looking back for the
    longest pause, rather than taking the last one, makes cuts fall where they fell before an edit; and
    where pauses are regular, so that two ways of filling would go on side by side, they meet. The last
    piece is no stub where a pause allows it: its words would be heard without context.
    """
    waiting = list(group)
    while waiting:
        start = waiting[0].start
        if waiting[0].stop - start > longest:  # speech without a pause
            cut = _quietest(heard, start, longest)
            yield start, cut
            waiting[0] = Span(cut, waiting[0].stop)
            continue
        fit = sum(s.stop - start <= longest for s in waiting)
        if meeting := _meeting(waiting[: fit + 1], start + int(MEET_FROM * longest), heard.scene.samples):
            fit = meeting
        elif fit < len(waiting):
            fit = _last_pause(waiting, fit, start + int(FULL_FROM * longest))
        if fit < len(waiting) and waiting[-1].stop - waiting[fit].start < STUB * longest:
            fit = _without_stub(waiting, fit, STUB * longest)
        yield start, waiting[fit - 1].stop
        del waiting[:fit]


def _last_pause(spans: list[Span], fit: int, full: int) -> int:
    """How many of the first `fit` spans to take: up to the longest pause past `full`, the last of equals."""
    far = [i for i in range(1, fit + 1) if spans[i - 1].stop >= full] or [fit]
    return max(far, key=lambda i: (min(spans[i].start - spans[i - 1].stop, LONG_PAUSE), i))


def _without_stub(spans: list[Span], fit: int, least: float) -> int:
    """How many of the first `fit` spans to take: what is taken and what is left both have `least` samples.

    Up to the longest such pause, the last of equals; `fit` if there is none.
    """
    fair = [
        i
        for i in range(1, fit)
        if spans[i - 1].stop - spans[0].start >= least and spans[-1].stop - spans[i].start >= least
    ]
    return max(fair, key=lambda i: (min(spans[i].start - spans[i - 1].stop, LONG_PAUSE), i), default=fit)


def _meeting(spans: list[Span], far: int, samples: Samples) -> int:
    """How many of the spans end at the first meeting past `far`; 0: none does.

    A meeting is a long pause picked by the half second before it, so by nothing that came earlier.
    """
    for count, (before, after) in enumerate(pairwise(spans), 1):
        if before.stop >= far and after.start - before.stop >= LONG_PAUSE:
            sound = samples[max(0, before.stop - SAMPLE_RATE // 2) : before.stop]
            if zlib.crc32(sound.tobytes()) < MEETINGS * (1 << 32):
                return count
    return 0


def _quietest(heard: _Heard, start: int, longest: int) -> int:
    """The quietest moment of the last part of what fits."""
    first, last = heard.grid.at(start + int(FULL_FROM * longest)), heard.grid.at(start + longest)
    smooth = np.convolve(heard.level[first:last], np.ones(5) / 5, mode="same")
    return heard.grid.sample(first + int(np.argmin(smooth)))


class _Gap:
    """What no chunk holds, since the last one ended: silence, or sound that nobody speaks in."""

    def __init__(self) -> None:
        self._from = 0  # samples into the recording
        self._to = 0
        self._loudest = SILENT_DB

    def ended(self, heard: _Heard, piece: _Piece) -> Iterator[Dropped]:
        """Tell of the gap before a piece; the next one begins behind it."""
        self._hear(heard, piece.start)
        yield from self.told()
        self._from = self._to = heard.scene.start + piece.stop
        self._loudest = SILENT_DB

    def goes_on(self, heard: _Heard) -> None:
        """Take in the rest of a scene."""
        self._hear(heard, heard.grid.length)

    def told(self) -> Iterator[Dropped]:
        """Tell of the gap, if it is long enough to be worth it."""
        if self._to - self._from >= TELL_S * SAMPLE_RATE:
            reason: DropReason = "no_speech" if self._loudest > SILENT_DB else "silence"
            yield Dropped(self._from / SAMPLE_RATE, self._to / SAMPLE_RATE, reason)

    def _hear(self, heard: _Heard, stop: int) -> None:
        grid, start = heard.grid, max(self._from - heard.scene.start, 0)
        first = int(np.searchsorted(grid.starts, start))  # the first frame wholly inside
        inside = heard.level[first : grid.at(stop)]
        self._loudest = max(self._loudest, float(inside.max(initial=SILENT_DB)))
        self._to = heard.scene.start + stop
