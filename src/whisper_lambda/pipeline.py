"""THE LINE: bytes in, Transcript out. There is no second way to transcribe.

prepare -> results -> finish. A request runs all three here; a job runs the middle one elsewhere.
The rule not to break: `transcribe_chunk` is a function of (samples, options, engine version).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from whisper_lambda import lanes
from whisper_lambda.audio import chunking
from whisper_lambda.audio.identity import Identity
from whisper_lambda.errors import UnknownLanguage
from whisper_lambda.lanes import Lane
from whisper_lambda.ports import Engine
from whisper_lambda.recall import NOTHING, Recall
from whisper_lambda.transcript.stitch import stitch
from whisper_lambda.types import (
    Chunk,
    ChunkResult,
    Decoded,
    LanguageGuess,
    Mark,
    ModelChoice,
    Options,
    Outline,
    Plan,
    Timings,
    Transcript,
)

# Chunks handed to the engine ahead of the one being waited for: enough for it to fill batches,
# few enough that a two-hour recording does not queue before everyone else's.
AHEAD = 32


def transcribe(
    decode: Callable[[], Decoded], options: Options, *, engine: Engine, choice: ModelChoice | None = None
) -> Transcript:
    """Transcribe one recording."""
    plan = prepare(decode, options, engine=engine)
    return finish(plan, results(plan, engine=engine), choice=choice)


def prepare(
    decode: Callable[[], Decoded],
    options: Options,
    *,
    engine: Engine,
    recall: Recall = NOTHING,
    identity: Identity | None = None,
) -> Plan:
    """Decode, find what to listen to, cut it into chunks and settle the language.

    Args:
        decode: gives the recording; not called when all of it is remembered.
        options: what may change the text.
        engine: what will hear it.
        recall: what was heard before.
        identity: of the recording; None = it is not known before it is decoded.

    Raises:
        BadAudio: the bytes hold no audio we can decode (and its kin, from `decode`).
        UnknownLanguage: the model does not speak a language the options name.
    """
    _check_languages(options, engine)
    started = time.perf_counter()
    recording = recall.of_recording(identity, options, engine.version)
    if plan := _remembered(recall, recording, options, started):
        return plan
    decoded = decode()
    decoded_at = time.perf_counter()
    cut = chunking.plan(decoded.samples, options.vad)
    planned_at = time.perf_counter()
    probability = 1.0
    if options.language is None and not options.multilingual and cut.chunks:
        guess = _language(cut.chunks, options, engine=engine, recall=recall)
        options, probability = replace(options, language=guess.language), guess.probability
    plan = Plan(
        chunks=cut.chunks,
        options=options,
        duration=decoded.duration,
        language_probability=probability,
        dropped=cut.dropped,
        warnings=decoded.warnings,
        timings=Timings(
            decode_s=decoded_at - started,
            vad_s=planned_at - decoded_at,
            engine_s=time.perf_counter() - planned_at,
        ),
    )
    if recording and identity and identity.unchanged():
        recall.keep(recording, _outline(plan, engine=engine, recall=recall))
    return plan


def _check_languages(options: Options, engine: Engine) -> None:
    for code in (*((options.language,) if options.language else ()), *options.languages):
        if code not in engine.languages:
            raise UnknownLanguage(
                f"this model does not speak {code!r}; it speaks {', '.join(sorted(engine.languages))}"
            )


def _language(chunks: Sequence[Chunk], options: Options, *, engine: Engine, recall: Recall) -> LanguageGuess:
    chunk = chunking.most_speech(chunks)
    key = recall.of_language(chunk, options, engine.version)
    if (known := recall.known(key, LanguageGuess)) is not None:
        return known
    guess = engine.detect_language(chunk, options.languages)
    recall.keep(key, guess)
    return guess


def _outline(plan: Plan, *, engine: Engine, recall: Recall) -> Outline:
    keys = [recall.of_chunk(chunk, plan.options, engine.version) or "" for chunk in plan.chunks]
    return Outline(
        duration=plan.duration,
        chunks=tuple(Mark(c.start, key) for c, key in zip(plan.chunks, keys, strict=True)),
        language=plan.options.language,
        language_probability=plan.language_probability,
        dropped=plan.dropped,
        warnings=plan.warnings,
    )


def _remembered(recall: Recall, recording: str | None, options: Options, started: float) -> Plan | None:
    """Return the plan of a recording every chunk of which is remembered."""
    outline = recall.known(recording, Outline)
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
    )


def results(plan: Plan, *, engine: Engine, recall: Recall = NOTHING) -> Generator[ChunkResult]:
    """Yield what each chunk says, in recording order, as soon as it and all before it are done."""
    yield from plan.known
    say = partial(transcribe_chunk, options=plan.options, engine=engine, recall=recall)
    if len(plan.chunks) <= 1:  # a lone chunk needs no thread
        yield from map(say, plan.chunks)
        return
    waiting: deque[Future[ChunkResult]] = deque()
    lane = Lane(lanes.current(), coming=min(AHEAD, len(plan.chunks)))
    context = lanes.context_of(lane)
    with ThreadPoolExecutor(min(AHEAD, len(plan.chunks)), thread_name_prefix="chunk") as threads:
        try:
            for chunk in plan.chunks:
                # A context cannot be entered by two threads: each gets a copy.
                waiting.append(threads.submit(context.copy().run, say, chunk))
                if len(waiting) >= AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the reader left, or a chunk failed: what is not begun is given up
            lane.leave()
            threads.shutdown(wait=False, cancel_futures=True)


def transcribe_chunk(
    chunk: Chunk, options: Options, *, engine: Engine, recall: Recall = NOTHING
) -> ChunkResult:
    """Return what the chunk says, from the cache if it was heard before.

    The unit of fan-out: a thread, a worker and a Lambda all run exactly this.
    """
    key = recall.of_chunk(chunk, options, engine.version)
    if (known := recall.known(key, ChunkResult)) is not None:
        return replace(known, start=chunk.start, cached=True)
    result = engine.transcribe(chunk, options)
    if options.multilingual:
        segments = tuple(replace(segment, language=result.language) for segment in result.segments)
        result = replace(result, segments=segments)
    recall.keep(key, replace(result, start=0.0))
    return result


def rest(plan: Plan, from_s: float) -> Plan:
    """Return the plan without what begins before a second of the recording: it was heard already."""
    if from_s <= 0:
        return plan
    begin = from_s - _TICK_S
    return replace(
        plan,
        chunks=tuple(chunk for chunk in plan.chunks if chunk.start >= begin),
        dropped=tuple(d for d in plan.dropped if d.start >= begin),
    )


_TICK_S = 1e-4  # seconds that went through JSON and back


def finish(plan: Plan, heard: Iterable[ChunkResult], *, choice: ModelChoice | None = None) -> Transcript:
    """Put results, in any order, on the recording's timeline."""
    started = time.perf_counter()
    done = list(heard)
    engine_s = plan.timings.engine_s + time.perf_counter() - started
    segments, dropped = stitch(done)
    return Transcript(
        segments=segments,
        language=plan.options.language or (segments[0].language or "" if segments else ""),
        duration=plan.duration,
        task=plan.options.task,
        language_probability=plan.language_probability,
        model=choice,
        dropped=tuple(sorted((*plan.dropped, *dropped), key=lambda d: (d.start, d.end))),
        warnings=plan.warnings,
        chunks=plan.count,
        cached_chunks=sum(r.cached for r in done),
        served=tuple(r.model for r in sorted(done, key=lambda r: r.start) if r.model),
        timings=replace(
            plan.timings,
            engine_s=engine_s,
            total_s=plan.timings.decode_s + plan.timings.vad_s + engine_s,
        ),
    )
