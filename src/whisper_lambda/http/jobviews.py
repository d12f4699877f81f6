"""Jobs as the wire tells them: their state, their segments so far, their result in any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from starlette.responses import Response

from whisper_lambda.config import Settings
from whisper_lambda.economy.receipt import Receipt, receipt
from whisper_lambda.errors import BadOption
from whisper_lambda.http import parameters
from whisper_lambda.http.answers import answer
from whisper_lambda.http.fields import blamed
from whisper_lambda.http.parameters import DIARIZED
from whisper_lambda.job import ChunkDone, Job
from whisper_lambda.transcript import documents
from whisper_lambda.transcript.voices import speaker
from whisper_lambda.types import Segment, Times, Transcript

Json = dict[str, Any]


def to_wire(job: Job, now: float) -> Json:
    """Return a job; times of day are whole seconds since the epoch, `now` too."""
    wanted = job.order.model or "default"
    return {
        "id": job.id,
        "object": "job",
        "status": job.state,
        "created_at": int(job.created),
        "started_at": _whole(job.started),
        "finished_at": _whole(job.finished),
        "expires_at": _whole(job.expires),
        "progress": progress(job, now),
        "model": asdict(job.choice) if job.choice else {"requested": wanted, "served": None, "reason": ""},
        "language": (job.options and job.options.language) or job.language or job.order.options.language,
        "error": asdict(job.error) if job.error else None,
        "receipt": dict(job.receipt) if job.receipt else None,
        "priority": job.priority,
        "webhook": {"url": job.webhook, "status": job.told or "pending"} if job.webhook else None,
    }


def progress(job: Job, now: float) -> Json:
    """Return how far a job is, in seconds of the recording; silence counts as its chunks are done."""
    share = job.done_s / job.speech_s if job.speech_s else float(job.chunks is not None)
    share = 1.0 if job.state == "completed" else min(1.0, share)
    eta_s = None
    # What was heard before is done before the plan is written: how much is left is not known then.
    if job.state == "running" and job.started is not None and share > 0:
        eta_s = round((now - job.started) * (1.0 - share) / share, 1)
    return {
        "audio_s": _rounded(job.audio_s),
        "done_s": round(share * (job.audio_s or 0.0), 3),
        "chunks": job.chunks,
        "chunks_done": job.chunks_done,
        "eta_s": eta_s,
    }


def segments(job: Job, done: Sequence[ChunkDone]) -> list[Json]:
    """Return what chunks say, spelled as in verbose_json, on the recording's timeline."""
    said = [s for chunk in done for s in told(job, chunk)]
    said.sort(key=lambda s: s.start)
    shown = Transcript(segments=tuple(said), language="", duration=job.audio_s or 0.0)
    wire: list[Json] = documents.to_verbose_json(shown)["segments"]
    return wire


def told(job: Job, done: ChunkDone) -> list[Segment]:
    """Return the segments of one chunk."""
    if done.result is None:
        return []
    name = speaker(job.order.speakers, done.channel) if job.order.by_channel else None
    return [replace(s.shifted(done.result.start), speaker=name or s.speaker) for s in done.result.segments]


def result(job: Job, transcript: Transcript, asked: Mapping[str, Any], settings: Settings) -> Response:
    """Return the transcript as a transcription route would have answered.

    Args:
        job: whose it is.
        transcript: the whole, or what is done.
        asked: fields of this request, which go before those of the order.
        settings: price a partial result.

    Raises:
        BadOption: speakers are wanted of a job that was not cut by channel; or fields contradict each other.
    """
    values = {**job.order.answer, **asked}
    wanted = str(values.get("format", values.get("response_format", "json")))
    if wanted == DIARIZED and not job.order.by_channel:
        refused = BadOption(f"{DIARIZED} needs a job handed in with response_format={DIARIZED} or by_channel")
        raise blamed(refused, "format")
    granularities = values.get("timestamp_granularities", []) if wanted == "verbose_json" else []
    bill = _receipt(job, transcript, settings)
    shown = _as_wanted(transcript, parameters.times(values, wanted, granularities))
    return answer(
        wanted,
        replace(shown, warnings=(*shown.warnings, *parameters.warnings(values))),
        bill,
        layout=parameters.layout(values),
        granularities=granularities,
        logprobs="include" in values and wanted == "json",
    )


def _as_wanted(transcript: Transcript, times: Times) -> Transcript:
    """Leave words' times out where a request would not have asked for them: formats write what is there."""
    if times == "word":
        return transcript
    return replace(transcript, segments=tuple(replace(s, words=()) for s in transcript.segments))


def _receipt(job: Job, transcript: Transcript, settings: Settings) -> Receipt:
    known = {f.name for f in fields(Receipt)}
    if job.receipt and known == set(job.receipt):
        return Receipt(**job.receipt)
    return receipt(transcript, settings, queue_s=0.0, init_s=0.0)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
