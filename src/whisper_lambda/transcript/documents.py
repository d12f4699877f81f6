"""Transcript in, plain text, a table, or the OpenAI API's JSON out."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from whisper_lambda.languages import to_name
from whisper_lambda.transcript.cues import Layout, cues
from whisper_lambda.transcript.escaping import encodable
from whisper_lambda.transcript.ticks import MS, apart
from whisper_lambda.types import Segment, Transcript, Word

Json = dict[str, Any]


def plain(transcript: Transcript, _: Layout) -> str:
    """Write a line for each segment, behind its speaker's name where one is known."""
    return "".join(f"{cue.texts[0]}\n" for cue in cues(transcript.segments, Layout(), label=True))


def tsv(transcript: Transcript, _: Layout) -> str:
    """Write start and end in milliseconds, and text, between tabs and without quoting, as Whisper does.

    A leading quotation mark becomes a typographic one: spreadsheets would read on to the next mark,
    over the ends of rows.
    """
    shown = list(cues(transcript.segments, Layout()))
    times = apart([(cue.start, cue.end) for cue in shown], MS)
    texts = [re.sub('^"', "“", cue.texts[0]) for cue in shown]
    rows = (f"{begin}\t{end}\t{text}\n" for (begin, end), text in zip(times, texts, strict=True))
    return "start\tend\ttext\n" + "".join(rows)


def json_text(transcript: Transcript, _: Layout) -> str:
    """Write `to_json` as one line."""
    return _dumped(to_json(transcript))


def verbose_json(transcript: Transcript, _: Layout) -> str:
    """Write `to_verbose_json` as one line."""
    return _dumped(to_verbose_json(transcript))


def to_json(transcript: Transcript) -> Json:
    """Return the API's `json` answer, and in `x_` fields what we did differently and left out."""
    return {
        "text": transcript.text,
        "x_model": asdict(transcript.model) if transcript.model else None,
        "x_dropped": [
            {"start": _seconds(d.start), "end": _seconds(d.end), "reason": d.reason}
            for d in transcript.dropped  # never its text: the guard refused it for a reason
        ],
        "x_warnings": list(transcript.warnings),
    }


def to_verbose_json(transcript: Transcript) -> Json:
    """Return the API's `verbose_json` answer with its field names, and our additions in `x_` fields.

    `words` is there only when words have times; `language` is the English name, as the API gives it.
    """
    short = to_json(transcript)
    wire: Json = {
        "task": transcript.task,
        "language": to_name(transcript.language),
        "duration": _seconds(transcript.duration),
        "text": short.pop("text"),
        "segments": [_segment(number, s) for number, s in enumerate(transcript.segments)],
    }
    if transcript.words:
        wire["words"] = [_word(w) for w in transcript.words]
    return (
        wire
        | {
            "x_language_code": transcript.language,
            "x_language_probability": _score(transcript.language_probability),
        }
        | short
        | {"x_timings": {name: _seconds(value) for name, value in asdict(transcript.timings).items()}}
    )


def _segment(number: int, segment: Segment) -> Json:
    wire: Json = {
        "id": number,
        "seek": round(_seconds(segment.start) * 100),  # in the 10 ms frames Whisper counts in
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": _score(segment.temperature),
        "avg_logprob": _score(segment.avg_logprob),
        "compression_ratio": _score(segment.compression_ratio),
        "no_speech_prob": _score(segment.no_speech_prob),
    }
    if segment.speaker is not None:
        wire["x_speaker"] = segment.speaker
    if segment.language is not None:
        wire["x_language_code"] = segment.language
    return wire


def _word(word: Word) -> Json:
    return {
        "word": word.text.strip(),
        "start": _seconds(word.start),
        "end": _seconds(word.end),
        "x_probability": _score(word.probability),
    }


def _seconds(value: float) -> float:
    return round(_finite(value), 3)


def _score(value: float) -> float:
    return round(_finite(value), 6)


def _finite(value: float) -> float:
    """Return a number JSON can carry; it has neither infinity nor NaN, which counts as lowest here."""
    return min(1e6, max(-1e6, value))


def _dumped(wire: Json) -> str:
    """Return one line of JSON. The text is the model's own, untouched but for lone surrogates."""
    return encodable(json.dumps(wire, ensure_ascii=False, allow_nan=False)) + "\n"
