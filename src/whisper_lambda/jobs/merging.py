"""The last part of a job: the chunks' results in, its transcript and its end out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from whisper_lambda import pipeline
from whisper_lambda.economy.receipt import receipt
from whisper_lambda.errors import NoSuchJob, PoisonChunk
from whisper_lambda.job import ChunkDone, Failure, Job, PlanSheet, Voice
from whisper_lambda.jobs import places
from whisper_lambda.jobs.steps import Workshop
from whisper_lambda.plain import from_plain, to_plain
from whisper_lambda.ports import ObjectStore
from whisper_lambda.transcript.voices import speaker, together
from whisper_lambda.types import Plan, Timings, Transcript


def merge(shop: Workshop, job_id: str) -> Job:
    """Put the chunks together, store the transcript, end the job, and delete the audio.

    Returns:
        The job, ended.
    """
    job = shop.store.job(job_id)
    if job.state == "running":
        done = shop.store.chunks(job_id)
        heard = transcript(shop.objects, job, done)
        shop.objects.put(places.transcript_key(job), json.dumps(to_plain(heard)).encode())
        now = time.time()
        failed = [d for d in done if d.result is None]
        bill = receipt(heard, shop.settings, queue_s=max(0.0, (job.started or now) - job.created), init_s=0.0)
        ended = shop.store.change(
            job_id,
            {"running"},
            state="failed" if failed else "completed",
            finished=now,
            expires=now + shop.settings.jobs_keep_s,
            language=heard.language,
            error=_poisoned(failed, len(done)) if failed else None,
            receipt=bill.to_wire(),
        )
        try:
            job = ended or shop.store.job(job_id)
        except NoSuchJob:  # forgotten in between, when there was no transcript to be deleted yet
            places.remove_all(job.tenant, job_id, shop.objects)
            raise
    places.remove_audio(job, shop.objects)
    return job


def transcript(objects: ObjectStore, job: Job, done: Sequence[ChunkDone]) -> Transcript:
    """Return what the chunks that are done say, on the recording's timeline."""
    with objects.open(places.plan_key(job)) as stream:
        sheet = from_plain(PlanSheet, json.load(stream))
    lost = tuple(
        f"{d.start:.1f}-{d.start + d.duration:.1f} s could not be transcribed ({d.error.code})"
        for d in done
        if d.error
    )
    parts = [
        _part(voice, [d for d in done if d.channel == channel], job)
        for channel, voice in enumerate(sheet.voices)
    ]
    if not job.order.by_channel:
        return replace(parts[0], warnings=(*parts[0].warnings, *lost))
    segments = sorted(
        (
            replace(segment, speaker=speaker(job.order.speakers, channel))
            for channel, part in enumerate(parts)
            for segment in part.segments
        ),
        key=lambda s: s.start,
    )
    spent = Timings(
        decode_s=parts[0].timings.decode_s,
        vad_s=sum(p.timings.vad_s for p in parts),
        engine_s=sum(p.timings.engine_s for p in parts),
    )
    return together(
        parts,
        segments,
        duration=max(p.duration for p in parts),
        warnings=(*sheet.voices[0].warnings, *lost),
        spent=spent,
    )


def _part(voice: Voice, done: Iterable[ChunkDone], job: Job) -> Transcript:
    heard = [d for d in done if d.result is not None]
    spent = replace(voice.timings, engine_s=voice.timings.engine_s + sum(d.spent_s for d in heard))
    plan = Plan(
        (),
        voice.options,
        voice.duration,
        voice.language_probability,
        voice.dropped,
        voice.warnings,
        spent,
        language_asked=job.order.options.language is not None,
    )
    said = pipeline.finish(plan, [d.result for d in heard if d.result], choice=job.choice)
    return replace(said, chunks=voice.chunks)


def _poisoned(failed: Sequence[ChunkDone], count: int) -> Failure:
    first = failed[0]
    reason = first.error.message if first.error else ""
    return Failure(
        f"{len(failed)} of {count} passages could not be transcribed, the first at {first.start:.1f} s: "
        f"{reason}. The rest is there: ask for the result with partial=true",
        PoisonChunk.code,
    )
