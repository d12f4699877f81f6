"""THE LINE: bytes in, Transcript out. There is no second way to transcribe.

prepare -> results -> finish. A request runs all three here; a job runs the middle one elsewhere.
The rule not to break: `transcribe_chunk` is a function of (samples, options, engine version).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from whisper_lambda import lanes
from whisper_lambda.audio import chunking
from whisper_lambda.errors import UnknownLanguage
from whisper_lambda.lanes import Lane
from whisper_lambda.ports import Engine
from whisper_lambda.transcript.stitch import stitch
from whisper_lambda.types import (
    Chunk,
    ChunkResult,
    Decoded,
    ModelChoice,
    Options,
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


def prepare(decode: Callable[[], Decoded], options: Options, *, engine: Engine) -> Plan:
    """Decode, find what to listen to, cut it into chunks and settle the language.

    Raises:
        BadAudio: the bytes hold no audio we can decode (and its kin, from `decode`).
        UnknownLanguage: the model does not speak a language the options name.
    """
    for code in (*((options.language,) if options.language else ()), *options.languages):
        if code not in engine.languages:
            raise UnknownLanguage(
                f"this model does not speak {code!r}; it speaks {', '.join(sorted(engine.languages))}"
            )
    started = time.perf_counter()
    decoded = decode()
    decoded_at = time.perf_counter()
    cut = chunking.plan(decoded.samples, options.vad)
    planned_at = time.perf_counter()
    probability = 1.0
    if options.language is None and not options.multilingual and cut.chunks:
        guess = engine.detect_language(chunking.most_speech(cut.chunks), options.languages)
        options, probability = replace(options, language=guess.language), guess.probability
    return Plan(
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


def results(plan: Plan, *, engine: Engine) -> Generator[ChunkResult]:
    """Yield what each chunk says, in recording order, as soon as it and all before it are done."""
    if len(plan.chunks) <= 1:  # a lone chunk needs no thread
        yield from (transcribe_chunk(c, plan.options, engine=engine) for c in plan.chunks)
        return
    waiting: deque[Future[ChunkResult]] = deque()
    lane = Lane(lanes.current())
    context = lanes.context_of(lane)
    with ThreadPoolExecutor(min(AHEAD, len(plan.chunks)), thread_name_prefix="chunk") as threads:
        try:
            for chunk in plan.chunks:
                call = partial(transcribe_chunk, chunk, plan.options, engine=engine)
                # A context cannot be entered by two threads: each gets a copy.
                waiting.append(threads.submit(context.copy().run, call))
                if len(waiting) >= AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the reader left, or a chunk failed: what is not begun is given up
            lane.leave()
            threads.shutdown(wait=False, cancel_futures=True)


def transcribe_chunk(chunk: Chunk, options: Options, *, engine: Engine) -> ChunkResult:
    """Return what the chunk says. The unit of fan-out: a thread, a worker and a Lambda all run this."""
    result = engine.transcribe(chunk, options)
    if not options.multilingual:
        return result
    segments = tuple(replace(segment, language=result.language) for segment in result.segments)
    return replace(result, segments=segments)


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
        chunks=len(plan.chunks),
        cached_chunks=sum(r.cached for r in done),
        served=tuple(r.model for r in sorted(done, key=lambda r: r.start) if r.model),
        timings=replace(
            plan.timings,
            engine_s=engine_s,
            total_s=plan.timings.decode_s + plan.timings.vad_s + engine_s,
        ),
    )
