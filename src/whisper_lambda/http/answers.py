"""Transcript and receipt in, the answer's body and headers out, for every format."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from starlette.responses import JSONResponse, Response

from whisper_lambda.economy.receipt import Receipt
from whisper_lambda.http.parameters import DIARIZED
from whisper_lambda.transcript import documents, formats
from whisper_lambda.transcript.formats import Layout
from whisper_lambda.types import Segment, Transcript

Json = dict[str, Any]


def answer(
    wanted: str,
    transcript: Transcript,
    bill: Receipt,
    *,
    layout: Layout | None = None,
    granularities: Sequence[str] = (),
    logprobs: bool = False,
) -> Response:
    """Return the OpenAI-shaped answer in the format wanted."""
    if wanted == "json":
        return JSONResponse(to_json(transcript, bill, logprobs=logprobs))
    if wanted == "verbose_json":
        return JSONResponse(to_verbose_json(transcript, bill, granularities))
    if wanted == DIARIZED:
        return JSONResponse(to_diarized_json(transcript, bill))
    return text_answer(wanted, transcript, bill, layout)


def text_answer(wanted: str, transcript: Transcript, bill: Receipt, layout: Layout | None = None) -> Response:
    """Return a format that is no JSON; what JSON says in `x_` fields is in headers."""
    write = formats.renderer(wanted, layout)
    headers = bill.to_headers() | {"X-Dropped": str(len(transcript.dropped))}
    if transcript.model and transcript.model.reason:
        headers["X-Model-Requested"] = _header_safe(transcript.model.requested)
    if transcript.warnings:
        headers["X-Warnings"] = _header_safe("; ".join(transcript.warnings))
    # "text" is one paragraph in the API: the transcript's text and a line feed.
    body = f"{transcript.text}\n" if write.name == "text" else write(transcript)
    return Response(body.encode("utf-8", "replace"), media_type=write.media_type, headers=headers)


def to_json(transcript: Transcript, bill: Receipt, *, logprobs: bool = False) -> Json:
    """Return the API's `json`."""
    wire = documents.to_json(transcript)
    if logprobs:
        wire["logprobs"] = [token for s in transcript.segments for token in to_logprobs(s)]
    wire["languages"] = [{"code": transcript.language}] if transcript.language else []
    return wire | {"usage": usage(transcript), "x_receipt": bill.to_wire()}


def to_logprobs(segment: Segment) -> list[Json]:
    """Return a segment's tokens with their scores."""
    return [
        {"token": t.text.decode("utf-8", "replace"), "bytes": list(t.text), "logprob": t.logprob}
        for t in segment.scored
    ]


def to_verbose_json(transcript: Transcript, bill: Receipt, granularities: Sequence[str] = ()) -> Json:
    """Return the API's `verbose_json`: words without punctuation, segments unless only words are wanted.

    `x_text` is the word as the model wrote it: put together they are their segments' text.
    """
    wire = documents.to_verbose_json(transcript)
    if "words" in wire:
        wire["words"] = [
            {**word, "word": bare(word["word"]), "x_text": written.text}
            for word, written in zip(wire["words"], transcript.words, strict=True)
        ]
    if "word" in granularities:
        wire.setdefault("words", [])
    else:
        wire.pop("words", None)
    if list(granularities) == ["word"]:
        del wire["segments"]
    if transcript.task == "translate":
        wire["language"] = "english"
    return wire | {"usage": usage(transcript), "x_receipt": bill.to_wire()}


def to_diarized_json(transcript: Transcript, bill: Receipt) -> Json:
    """Return the API's `diarized_json`."""
    return {
        "task": "transcribe",
        "duration": round(transcript.duration, 3),
        "segments": [segment_event(number, s) for number, s in enumerate(transcript.segments)],
        **to_json(transcript, bill),
    }


def segment_event(number: int, segment: Segment) -> Json:
    """Return a segment with its speaker."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{number}",
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "speaker": segment.speaker or "",
        "text": segment.text,
    }


def usage(transcript: Transcript) -> Json:
    """Return what the API bills by: seconds of audio."""
    return {"type": "duration", "seconds": round(transcript.duration, 3)}


def to_founding(transcript: Transcript, bill: Receipt, request_id: str, *, segments: bool) -> Json:
    """Return the founding endpoint's answer."""
    said = documents.to_json(transcript)
    wire: Json = {
        "text": transcript.text,
        "language": transcript.language,
        "duration_s": round(transcript.duration, 3),
        "model": asdict(transcript.model) if transcript.model else None,
        "speech_detected": bool(transcript.text),
        "request_id": request_id,
        "receipt": bill.to_wire(),
        "x_dropped": said["x_dropped"],
        "x_warnings": said["x_warnings"],
    }
    if segments:
        wire["segments"] = documents.to_verbose_json(transcript)["segments"]
    return wire


def bare(word: str) -> str:
    """Return a word without the punctuation around it, as the API gives words; never nothing."""
    first, last = 0, len(word)
    while first < last and unicodedata.category(word[first])[0] in "PZ":
        first += 1
    while last > first and unicodedata.category(word[last - 1])[0] in "PZ":
        last -= 1
    return word[first:last] or word


def _header_safe(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.encode("latin-1", "replace").decode("latin-1")[:1000]
