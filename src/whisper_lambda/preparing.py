"""A recording in, its Plan out: decoded block by block, cut, its language settled.

Memory does not grow with the recording: chunks are held up to HELD_S, beyond it they are handed out
as they are cut, or decoded once more when they are heard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whisper_lambda.audio import chunking
from whisper_lambda.audio.identity import Identity
from whisper_lambda.cutting import Cutting
from whisper_lambda.errors import BadAudio, UnknownLanguage
from whisper_lambda.ports import Engine
from whisper_lambda.recall import NOTHING, Recall
from whisper_lambda.types import (
    SAMPLE_RATE,
    Chunk,
    ChunkResult,
    Decoded,
    Dropped,
    LanguageGuess,
    Mark,
    Options,
    Outline,
    Plan,
    Recording,
    Samples,
    Timings,
)

HELD_S = 1200.0  # of chunks, 77 MB: a recording with more in it is decoded twice, for a tenth of hearing it


def whole(decoded: Decoded) -> Recording:
    """Return a recording that is decoded already."""

    def read(warn: Callable[[str], None]) -> Iterator[Samples]:
        for warning in decoded.warnings:
            warn(warning)
        yield decoded.samples

    return read


def prepare(
    recording: Recording | Cutting,
    options: Options,
    *,
    engine: Engine,
    recall: Recall = NOTHING,
    identity: Identity | None = None,
    keep: Callable[[Chunk], object] | None = None,
    held_s: float = HELD_S,
) -> Plan:
    """Decode, find what to listen to, cut it into chunks and settle the language.

    Args:
        recording: gives its samples, or its chunks if that was begun; not read when all of it is remembered.
        options: what may change the text.
        engine: what will hear it.
        recall: what was heard before.
        identity: of the recording; None = it is not known before it is decoded.
        keep: handed each chunk, in order, as it is cut; the plan then holds none.
        held_s: seconds of chunks the plan may hold.

    Raises:
        BadAudio: the bytes hold no audio we can decode (and its kin, from `recording`).
        UnknownLanguage: the model does not speak a language the options name.
    """
    _check_languages(options, engine)
    started = time.perf_counter()
    key = recall.of_recording(identity, options, engine.version)
    if plan := _remembered(recall, key, options, started):
        return plan
    collected = _Collected(options, engine, recall, marked=key is not None, keep=keep, held_s=held_s)
    cutting = recording if isinstance(recording, Cutting) else Cutting(recording, options.vad)
    dropped = []
    for found in cutting.found():
        if isinstance(found, Dropped):
            dropped.append(found)
        else:
            collected.take(found)
    collected.settle()
    held = collected.held
    plan = Plan(
        chunks=tuple(held or ()),
        options=collected.options,
        duration=cutting.samples / SAMPLE_RATE,
        language_probability=collected.probability,
        dropped=tuple(dropped),
        warnings=tuple(cutting.warnings),
        timings=Timings(decode_s=cutting.waited_s, vad_s=cutting.cut_s, engine_s=collected.engine_s),
        elsewhere=tuple(place.start / SAMPLE_RATE for place in collected.places) if held is None else (),
        again=None if held is not None or keep else lambda: _again(cutting.recording, collected.places),
        language_asked=options.language is not None,
    )
    if key and identity and identity.unchanged():
        recall.keep(key, _outline(plan, collected.marks))
    return plan


def _check_languages(options: Options, engine: Engine) -> None:
    for code in (*((options.language,) if options.language else ()), *options.languages):
        if code not in engine.languages:
            raise UnknownLanguage(
                f"this model does not speak {code!r}; it speaks {', '.join(sorted(engine.languages))}"
            )


@dataclass(frozen=True, slots=True)
class _Place:
    """A chunk without its samples: [start, stop) in samples."""

    start: int
    stop: int
    unsure: bool


class _Collected:
    """The chunks as they are cut: held while they are few, else known by where they are."""

    def __init__(
        self,
        options: Options,
        engine: Engine,
        recall: Recall,
        *,
        marked: bool,
        keep: Callable[[Chunk], object] | None,
        held_s: float,
    ) -> None:
        self.options = options
        self.probability = 1.0
        self.engine_s = 0.0
        self.places: list[_Place] = []
        self.marks: list[Mark] = []
        self.held: list[Chunk] | None = None if keep else []
        self._engine = engine
        self._recall = recall
        self._marked = marked
        self._keep = keep
        self._first: list[Chunk] = []  # those the language is heard from
        self._settled = options.language is not None or options.multilingual
        self._left_s = held_s

    def take(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        start = round(chunk.start * SAMPLE_RATE)
        self.places.append(_Place(start, start + len(chunk.samples), chunk.unsure))
        self._left_s -= chunk.duration
        if self.held is not None:
            self.held.append(chunk)
            if self._left_s < 0:
                self.held = None
        if self._keep:
            self._keep(chunk)
        self._first.append(chunk)
        if self._settled:
            self._mark()
        elif len(self._first) == chunking.FIRST_CHUNKS:
            self.settle()

    def settle(self) -> None:
        """Hear the language, if nobody said it, from the first chunks."""
        if not self._settled and self._first:
            began = time.perf_counter()
            guess = _language(self._first, self.options, engine=self._engine, recall=self._recall)
            self.options = replace(self.options, language=guess.language)
            self.probability = guess.probability
            self.engine_s += time.perf_counter() - began
        self._settled = True
        self._mark()

    def _mark(self) -> None:
        if self._marked:
            for chunk in self._first:
                key = self._recall.of_chunk(chunk, self.options, self._engine.version)
                self.marks.append(Mark(chunk.start, key or ""))
        self._first.clear()


def _again(recording: Recording, places: Sequence[_Place]) -> Iterator[Chunk]:
    """Decode the recording once more and yield its chunks.

    Raises:
        BadAudio: it is not as long as it was.
    """
    blocks = iter(recording(lambda _: None))
    rest, at = np.empty(0, np.float32), 0  # what was decoded and not yielded, and where it begins
    for place in places:
        parts = [rest]
        while at + sum(map(len, parts)) < place.stop:
            block = next(blocks, None)
            if block is None:
                raise BadAudio("the file changed while it was read; send it again")
            parts.append(block)
            while parts and at + len(parts[0]) <= place.start:  # silence between chunks may last for hours
                at += len(parts.pop(0))
        rest = np.concatenate(parts)
        samples = rest[place.start - at : place.stop - at].copy()
        yield Chunk(samples, place.start / SAMPLE_RATE, place.unsure)
        rest, at = rest[place.stop - at :].copy(), place.stop


def _language(chunks: Sequence[Chunk], options: Options, *, engine: Engine, recall: Recall) -> LanguageGuess:
    chunk = chunking.most_speech(chunks)
    key = recall.of_language(chunk, options, engine.version)
    if (known := recall.known(key, LanguageGuess)) is not None:
        return known
    guess = engine.detect_language(chunk, options.languages)
    recall.keep(key, guess)
    return guess


def _outline(plan: Plan, marks: Sequence[Mark]) -> Outline:
    return Outline(
        duration=plan.duration,
        chunks=tuple(marks),
        language=plan.options.language,
        language_probability=plan.language_probability,
        dropped=plan.dropped,
        warnings=plan.warnings,
    )


def _remembered(recall: Recall, key: str | None, options: Options, started: float) -> Plan | None:
    """Return the plan of a recording every chunk of which is remembered."""
    outline = recall.known(key, Outline)
    if outline is None:
        return None
    results = []
    for mark in outline.chunks:
        result = recall.known(mark.key, ChunkResult)
        if result is None:
            return None
        results.append(replace(result, start=mark.start, cached=True))
    return Plan(
        chunks=(),
        options=replace(options, language=outline.language),
        duration=outline.duration,
        language_probability=outline.language_probability,
        dropped=outline.dropped,
        warnings=outline.warnings,
        timings=Timings(engine_s=time.perf_counter() - started),
        known=tuple(results),
        language_asked=options.language is not None,
    )
