"""Replies in; our errors, transcripts and waiting times out."""

from __future__ import annotations

import inspect
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

from whisper_lambda import errors
from whisper_lambda.client.steps import Reply
from whisper_lambda.errors import RemoteFailed, RemoteRefused, ServerUnreachable, WhisperLambdaError
from whisper_lambda.languages import to_code
from whisper_lambda.types import ModelChoice, Segment, Transcript, Word

RETRIED = frozenset({0, 408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT_S = 60.0  # a server that asks for more is given up
_LONGEST_MESSAGE = 500
_ASIDE = 4  # segments that may overlap, where several people speak

Json = dict[str, Any]


def failure(reply: Reply) -> WhisperLambdaError:
    """Return the error a reply means: the server's own where it speaks our codes."""
    if reply.status == 0:
        return ServerUnreachable(reply.body.decode(errors="replace"))
    told = _envelope(reply)
    code, message = str(told.get("code") or ""), str(told.get("message") or "")[:_LONGEST_MESSAGE]
    message = message or f"the server answered {reply.status} without a reason"
    if 300 <= reply.status < 400 and (elsewhere := reply.headers.get("location")):  # noqa: PLR2004
        message = f"the server is elsewhere, at {elsewhere[:_LONGEST_MESSAGE]}: give that address"
    kind = RemoteRefused if 400 <= reply.status < 500 else RemoteFailed  # noqa: PLR2004
    try:
        error = _by_code()[code](message)
    except (KeyError, TypeError):  # not one of ours, or one that holds more than a message
        error = kind(f"{message} ({code or reply.status})")
    error.param = told.get("param")
    return error


def job_failure(job: Mapping[str, Any]) -> WhisperLambdaError:
    """Return the error of a job that ended without a transcript: what it failed of, by its own code."""
    told = {
        "error": job.get("error") or {"message": f"the job was {job['status']}", "code": "job_has_no_result"}
    }
    return failure(Reply(400, {}, json.dumps(told).encode()))


def is_ours(reply: Reply) -> bool:
    """Tell whether a refusal speaks our codes."""
    return _envelope(reply).get("code") in list(_by_code())


@cache
def _by_code() -> Mapping[str, type[WhisperLambdaError]]:
    classes = [v for v in vars(errors).values() if inspect.isclass(v) and issubclass(v, WhisperLambdaError)]
    return {each.code: each for each in classes}


def _envelope(reply: Reply) -> Json:
    try:
        told = json.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {"message": told}


def param_at_fault(reply: Reply) -> str:
    """Return the field a refusal is about, or nothing."""
    return str(_envelope(reply).get("param") or "")


def wait_s(reply: Reply, attempt: int, jitter: float) -> float | None:
    """Return how long to wait before the next attempt; None where trying again is no use.

    Args:
        reply: the failed one.
        attempt: how many were made.
        jitter: 0..1, so that many clients do not come back at once.
    """
    if reply.status not in RETRIED or reply.headers.get("x-should-retry") == "false":
        return None
    asked = reply.headers.get("retry-after", "")
    seconds = float(asked) if asked.replace(".", "", 1).isdecimal() else 0.5 * 2 ** (attempt - 1)
    return None if seconds > LONGEST_WAIT_S else seconds * (1 + 0.25 * jitter)


def parsed(reply: Reply) -> Json:
    """Return a reply's JSON.

    Raises:
        RemoteFailed: it is none.
    """
    try:
        told = json.loads(reply.body)
    except (ValueError, RecursionError) as cause:
        raise RemoteFailed("the server's answer is no JSON; is it a transcription server?") from cause
    if not isinstance(told, dict):
        raise RemoteFailed("the server's answer is JSON, but no object")
    return told


def warnings(reply: Reply) -> tuple[str, ...]:
    """Return what an answer warns of: in its JSON, or in a header beside another format."""
    if beside := reply.headers.get("x-warnings"):
        return (beside,)
    try:
        told = json.loads(reply.body) if "json" in reply.headers.get("content-type", "") else None
    except ValueError:
        return ()
    listed = told.get("x_warnings") if isinstance(told, dict) else None
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


def transcript(wire: Json) -> Transcript:
    """Return what `json` or `verbose_json` says as a Transcript; what is not told is left at its default.

    Raises:
        RemoteFailed: a member is not what it is in those formats.
    """
    try:
        return _transcript(wire)
    except (KeyError, ValueError, TypeError, AttributeError) as cause:
        told = f"the server's answer is no transcript as OpenAI's API writes it: {cause!r}"
        raise RemoteFailed(told[:_LONGEST_MESSAGE]) from cause


def _transcript(wire: Json) -> Transcript:
    heard = [_segment(each) for each in wire.get("segments") or ()]
    text = str(wire.get("text") or "")
    duration = float(wire.get("duration") or (wire.get("usage") or {}).get("seconds") or 0.0)
    if not heard and text:
        heard = [Segment(0.0, duration, f" {text}", 0.0, 0.0, 0.0)]
    words = tuple(_word(each) for each in wire.get("words") or ())
    receipt = wire.get("x_receipt") or {}
    return Transcript(
        segments=tuple(_with_words(heard, words)),
        language=wire.get("x_language_code") or _code(str(wire.get("language") or "")),
        duration=duration,
        task="translate" if wire.get("task") == "translate" else "transcribe",
        model=_choice(wire.get("x_model")),
        warnings=tuple(wire.get("x_warnings") or ()),
        chunks=int(receipt.get("chunks") or 0),
        cached_chunks=int(receipt.get("cached_chunks") or 0),
    )


def _segment(wire: Json) -> Segment:
    return Segment(
        start=float(wire["start"]),
        end=float(wire["end"]),
        text=str(wire["text"]),
        avg_logprob=float(wire.get("avg_logprob") or 0.0),
        no_speech_prob=float(wire.get("no_speech_prob") or 0.0),
        compression_ratio=float(wire.get("compression_ratio") or 0.0),
        temperature=float(wire.get("temperature") or 0.0),
        tokens=tuple(wire.get("tokens") or ()),
        speaker=wire.get("x_speaker") or wire.get("speaker"),
        language=wire.get("x_language_code"),
    )


def _word(wire: Json) -> Word:
    written = wire.get("x_text") or f" {wire['word']}"  # OpenAI's words have no spaces and no full stops
    return Word(
        float(wire["start"]), float(wire["end"]), str(written), float(wire.get("x_probability") or 0.0)
    )


def _with_words(segments: list[Segment], words: tuple[Word, ...]) -> list[Segment]:
    """Return the segments, each with its words: those whose middle lies after its start, and in no later one.

    So each word has one place, also where a segment ends as the next begins, or rounding left a gap.
    """
    starts = [s.start for s in segments]
    own: list[list[Word]] = [[] for _ in segments]
    for word in words if segments else ():
        middle = (word.start + word.end) / 2
        last = max(0, bisect_right(starts, middle) - 1)
        inside = next((n for n in range(last, max(-1, last - _ASIDE), -1) if middle <= segments[n].end), last)
        own[inside].append(word)
    return [replace(s, words=tuple(its)) for s, its in zip(segments, own, strict=True)]


def _code(name: str) -> str:
    try:
        return to_code(name) if name else ""
    except WhisperLambdaError:
        return name


def _choice(wire: Json | None) -> ModelChoice | None:
    known = {each.name for each in fields(ModelChoice)}
    return ModelChoice(**{name: told for name, told in wire.items() if name in known}) if wire else None
