"""THE LINE: bytes in, Transcript out. There is no second way to transcribe.

prepare -> results -> finish. A request runs all three here; a job runs the middle one elsewhere.
The rule not to break: `transcribe_chunk` is a function of (samples, options, engine version).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from whisper_lambda import lanes
from whisper_lambda.lanes import Lane
from whisper_lambda.ports import Engine
from whisper_lambda.preparing import prepare as prepare  # the line's first step, on a page of its own
from whisper_lambda.preparing import whole as whole
from whisper_lambda.recall import NOTHING, Recall
from whisper_lambda.transcript.stitch import stitch
from whisper_lambda.types import (
    Chunk,
    ChunkResult,
    Dropped,
    ModelChoice,
    Options,
    Plan,
    Recording,
    Segment,
    Transcript,
)

# Chunks handed to the engine ahead of the one being waited for: enough for it to fill batches,
# few enough that a two-hour recording does not queue before everyone else's.
AHEAD = 32


def transcribe(
    recording: Recording, options: Options, *, engine: Engine, choice: ModelChoice | None = None
) -> Transcript:
    """Transcribe one recording."""
    plan = prepare(recording, options, engine=engine)
    return finish(plan, results(plan, engine=engine), choice=choice)


def results(plan: Plan, *, engine: Engine, recall: Recall = NOTHING) -> Generator[ChunkResult]:
    """Yield what each chunk says, in recording order, as soon as it and all before it are done."""
    yield from plan.known
    say = partial(transcribe_chunk, options=plan.options, engine=engine, recall=recall)
    chunks = plan.again() if plan.again else plan.chunks
    if plan.count <= 1:  # a lone chunk needs no thread
        yield from map(say, chunks)
        return
    waiting: deque[Future[ChunkResult]] = deque()
    lane = Lane(lanes.current(), coming=min(AHEAD, len(plan.chunks)))
    context = lanes.context_of(lane)
    with ThreadPoolExecutor(min(AHEAD, plan.count), thread_name_prefix="chunk") as threads:
        try:
            for chunk in chunks:
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
    begin, again = from_s - _TICK_S, plan.again
    return replace(
        plan,
        chunks=tuple(chunk for chunk in plan.chunks if chunk.start >= begin),
        known=tuple(result for result in plan.known if result.start >= begin),
        elsewhere=tuple(start for start in plan.elsewhere if start >= begin),
        again=again and (lambda: (chunk for chunk in again() if chunk.start >= begin)),
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
        warnings=(*plan.warnings, *_doubts(plan, segments, dropped)),
        chunks=plan.count,
        cached_chunks=sum(r.cached for r in done),
        served=tuple(r.model for r in sorted(done, key=lambda r: r.start) if r.model),
        timings=replace(
            plan.timings,
            engine_s=engine_s,
            total_s=plan.timings.decode_s + plan.timings.vad_s + engine_s,
        ),
    )


def _doubts(plan: Plan, segments: Sequence[Segment], dropped: Sequence[Dropped]) -> Iterator[str]:
    """Warn where nothing was believed for being unlikely in the language asked for: it may be another."""
    if plan.language_asked and not segments and any(d.reason == "low_confidence" for d in dropped):
        yield f"no text is likely in {plan.options.language}, which was asked for: without it, it is detected"
