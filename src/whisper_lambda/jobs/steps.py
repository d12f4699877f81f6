"""The parts of a job, each a function of what the stores hold and an id: DBOS and Lambda run these.

Each may be killed anywhere and done again, by another machine while the first still runs. What is
written is written whole (an object, a row), is the same whoever writes it, and counts once.
"""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from whisper_lambda import lanes, pipeline, uploads
from whisper_lambda.audio.identity import identity
from whisper_lambda.config import Settings
from whisper_lambda.errors import (
    ClientError,
    ClientGone,
    ModelUnavailable,
    NoSuchJob,
    ObjectMissing,
    PoisonChunk,
)
from whisper_lambda.job import LIVE, PLAN, ChunkDone, Failure, Job, PlanSheet, Voice
from whisper_lambda.jobs import places
from whisper_lambda.plain import to_plain
from whisper_lambda.ports import Engine, JobStore, ObjectStore
from whisper_lambda.recall import NOTHING, Recall
from whisper_lambda.transcript.voices import check_separable
from whisper_lambda.types import Chunk, ChunkResult, Decoded, ModelChoice, Plan, Recording

MOST_TRIES = 5  # of a part, by whomever; what kills its worker counts too
BACKOFF_S = 0.2  # before the second try; doubles
LONGEST_BACKOFF_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What steps work with."""

    store: JobStore
    objects: ObjectStore
    settings: Settings
    recording: Callable[[io.FileIO], Recording]  # a file, to be decoded block by block
    decode: Callable[[io.FileIO, bool], Decoded]  # a file; whether its channels are wanted apart
    engine: Callable[[str | None], AbstractContextManager[tuple[Engine, ModelChoice]]]
    recall: Callable[[str], Recall]  # what a tenant's recordings said before
    sleep: Callable[[float], None] = time.sleep


def plan(shop: Workshop, job_id: str) -> Job:
    """Decode the recording, cut it, store every chunk's audio, and say how many there are.

    Returns:
        The job: running with its chunks counted, or ended.
    """
    job = shop.store.change(job_id, {"queued"}, state="running", started=time.time())
    job = job or shop.store.job(job_id)
    try:
        while job.state == "running" and job.chunks is None:
            attempt = shop.store.begin(job_id, PLAN)
            if attempt is None:
                break
            try:
                _planned(shop, job)
            except ClientGone:
                raise
            except Exception as cause:  # noqa: BLE001 - whatever it is, the job must hear of it
                _give_up_or_wait(shop, job, cause, attempt)
            job = shop.store.job(job_id)
    finally:
        _leave_nothing(shop, job)
    return job


def _leave_nothing(shop: Workshop, job: Job) -> None:
    """Delete what was cut for a job that was cancelled, forgotten or failed meanwhile."""
    try:
        now = shop.store.job(job.id)
    except NoSuchJob:
        places.remove_all(job.tenant, job.id, shop.objects)
    else:
        if now.state not in LIVE:
            places.remove_audio(now, shop.objects)


class _Shelf:
    """Stores chunks' audio as it is cut, and counts."""

    def __init__(self, shop: Workshop, job: Job) -> None:
        self._shop = shop
        self._job = job
        self.count = 0
        self.speech_s = 0.0

    def put(self, chunk: Chunk, channel: int = 0) -> None:
        lanes.stay()
        key = places.chunk_key(self._job, self.count)
        self._shop.objects.put(key, places.to_bytes(chunk, channel))
        self.count += 1
        self.speech_s += chunk.duration


def _planned(shop: Workshop, job: Job) -> None:
    shelf = _Shelf(shop, job)
    with shop.engine(job.order.model) as (engine, choice):
        plans = _plans(shop, job, engine, shelf)
    known = plans[0].known  # of a recording heard before, instead of its chunks
    sheet = json.dumps(to_plain(PlanSheet(tuple(_voice(plan) for plan in plans))))
    shop.objects.put(places.plan_key(job), sheet.encode())
    for index, result in enumerate(known):
        if (attempt := shop.store.begin(job.id, index)) is not None:
            shop.store.put_chunk(job.id, ChunkDone(index, result.start, result.duration, result), attempt)
    shop.store.change(
        job.id,
        {"running"},
        options=plans[0].options,
        choice=choice,
        audio_s=max(plan.duration for plan in plans),
        speech_s=sum(r.duration for r in known) + shelf.speech_s,
        chunks=shelf.count + len(known),
    )


def _plans(shop: Workshop, job: Job, engine: Engine, shelf: _Shelf) -> list[Plan]:
    """One plan; or one a channel, all in the language of the first. Their chunks are on the shelf."""
    options = job.order.options
    with uploads.opened(shop.objects, job.source, shop.settings.scratch) as file:
        if not job.order.by_channel:
            recall = _recall(shop, job)
            return [
                pipeline.prepare(
                    shop.recording(file),
                    options,
                    engine=engine,
                    recall=recall,
                    identity=identity(file) if recall is not NOTHING else None,
                    keep=shelf.put,  # hours of audio are never held
                )
            ]
        started = time.perf_counter()
        decoded = shop.decode(file, True)
    decode_s = time.perf_counter() - started
    check_separable(len(decoded.channels), job.order.speakers)
    plans: list[Plan] = []
    found: list[tuple[Chunk, int]] = []
    for channel, samples in enumerate(decoded.channels):
        mono = pipeline.whole(Decoded(samples=samples, warnings=() if plans else decoded.warnings))
        cut = pipeline.prepare(
            mono,
            options,
            engine=engine,
            keep=lambda c, channel=channel: found.append((c, channel)),  # type: ignore[misc]
        )
        options = replace(options, language=cut.options.language)  # one language a recording
        plans.append(replace(cut, timings=replace(cut.timings, decode_s=0.0 if plans else decode_s)))
    for chunk_, channel in sorted(found, key=lambda pair: (pair[0].start, pair[1])):
        shelf.put(chunk_, channel)
    return plans


def _recall(shop: Workshop, job: Job) -> Recall:
    return shop.recall(job.tenant) if job.order.remembered else NOTHING


def _voice(plan: Plan) -> Voice:
    return Voice(
        plan.options,
        plan.duration,
        plan.count,
        plan.language_probability,
        plan.dropped,
        plan.warnings,
        plan.timings,
    )


def chunk(shop: Workshop, job_id: str, index: int) -> Job:
    """Hear one chunk and store what it says, or that it could not be heard however often it was tried.

    Returns:
        The job as it is then.
    """
    job = shop.store.job(job_id)
    while job.state == "running":
        attempt = shop.store.begin(job_id, index)
        if attempt is None:  # done by another, or the job has ended
            break
        done = _heard(shop, job, index, attempt)
        if done is not None:
            counted = shop.store.put_chunk(job_id, done, attempt)
            if counted is None:
                log.info("%s: chunk %d came too late and was not stored", job_id, index)
            break
    return shop.store.job(job_id)


def _heard(shop: Workshop, job: Job, index: int, attempt: int) -> ChunkDone | None:
    """Return what became of the chunk; None: it may be tried again."""
    audio, channel = Chunk(np.empty(0, np.float32), 0.0), 0
    started = time.perf_counter()
    try:
        audio, channel = places.from_stream(shop.objects.open(places.chunk_key(job, index)))
        result = _said(shop, job, audio, attempt)
    except ClientGone:
        raise
    except Exception as cause:  # noqa: BLE001 - whatever it is, the chunk must hear of it
        if attempt < MOST_TRIES and not isinstance(cause, ClientError):
            _wait(shop, job, index, cause, attempt)
            return None
        log.warning("%s: chunk %d is given up: %s", job.id, index, type(cause).__name__)
        return ChunkDone(index, audio.start, audio.duration, None, Failure.of(cause), channel=channel)
    spent_s = round(time.perf_counter() - started, 4)
    return ChunkDone(index, audio.start, audio.duration, result, None, spent_s, channel)


def _said(shop: Workshop, job: Job, audio: Chunk, attempt: int) -> ChunkResult:
    if attempt > MOST_TRIES:
        raise PoisonChunk(f"whoever tried died of it, {MOST_TRIES} times")
    assert job.choice is not None
    with shop.engine(job.choice.served) as (engine, choice):
        if choice.served != job.choice.served:
            raise ModelUnavailable(f"this worker has no {job.choice.served}; the job's plan needs it")
        options = job.options or job.order.options
        return pipeline.transcribe_chunk(audio, options, engine=engine, recall=_recall(shop, job))


def _give_up_or_wait(shop: Workshop, job: Job, cause: Exception, attempt: int) -> None:
    """End a job whose plan cannot be made, or wait before it is tried again."""
    if attempt < MOST_TRIES and not isinstance(cause, ClientError | ObjectMissing):
        _wait(shop, job, PLAN, cause, attempt)
        return
    now = time.time()
    expires = now + shop.settings.jobs_keep_s
    log.warning("%s: cannot be planned: %s", job.id, type(cause).__name__)
    shop.store.change(
        job.id, {"running"}, state="failed", finished=now, expires=expires, error=Failure.of(cause)
    )


def _wait(shop: Workshop, job: Job, part: int, cause: Exception, attempt: int) -> None:
    wait_s = min(BACKOFF_S * 2 ** (attempt - 1), LONGEST_BACKOFF_S)
    what = "the plan" if part == PLAN else f"chunk {part}"
    log.warning("%s: %s failed in try %d and is tried again: %s", job.id, what, attempt, type(cause).__name__)
    shop.sleep(wait_s)
