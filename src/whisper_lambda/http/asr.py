"""POST /asr and /detect-language, as clients of whisper-asr-webservice (Bazarr, Speakr) send them.

Options come in the query and the recording as `audio_file`. With `encode=false` the file is samples
already: 16-bit little-endian PCM, mono, 16 kHz, without a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import FileIO
from typing import Any

import anyio.to_thread
import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda.economy.receipt import Receipt
from whisper_lambda.errors import AudioTooLong, BadAudio, BadOption, EmptyAudio
from whisper_lambda.http import parameters
from whisper_lambda.http.answers import text_answer
from whisper_lambda.http.asking import facts
from whisper_lambda.http.detecting import detected
from whisper_lambda.http.fields import Field, blamed, boolean, choice, text, whole
from whisper_lambda.http.house import House
from whisper_lambda.http.openai import body
from whisper_lambda.http.table import Table
from whisper_lambda.http.upload import Recording, Upload
from whisper_lambda.languages import to_name
from whisper_lambda.transcript import documents
from whisper_lambda.types import SAMPLE_RATE, Samples, Times, Transcript

PART = "audio_file"
LONGEST_IN_QUERY = 2048  # characters; a request's head is 64 KB at most
_WIDTH = 2  # bytes of a sample
OUTPUTS = {"txt": "text", "vtt": "vtt", "srt": "srt", "tsv": "tsv", "json": "json"}


def router(house: House) -> Table:
    """Return the routes."""
    routes = Table(tags=["whisper-asr-webservice"])
    detecting = [
        Field("encode", boolean(), "false: the file is 16-bit PCM, mono, 16 kHz; true if absent"),
        Field("video_file", text(LONGEST_IN_QUERY), "where the client has the file; not read"),
        Field("detect_lang_length", whole(1, 3600), "not needed: the part with most speech is heard"),
        Field("detect_lang_offset", whole(0, 86_400), "not needed: the part with most speech is heard"),
    ]
    transcribing = [
        *detecting[:2],
        Field("task", choice(("transcribe", "translate")), "transcribe if absent; translate: into English"),
        Field("language", parameters.language(), "ISO 639-1 code; absent = detected"),
        Field("initial_prompt", text(LONGEST_IN_QUERY), "text the decoder sees first"),
        Field("output", choice(tuple(OUTPUTS)), "what is answered; txt if absent"),
        Field("word_timestamps", boolean(), "times of words too (json)"),
        Field("vad_filter", boolean(), "whether to skip what is not speech; absent = as it seems best"),
        Field("diarize", boolean(), "true is refused: here speakers are told apart by channel (/v1)"),
        Field("min_speakers", whole(1, 100), "of diarize"),
        Field("max_speakers", whole(1, 100), "of diarize"),
    ]

    @routes.answer("POST", "/asr", openapi_extra=body(transcribing, PART, in_query=True))
    async def asr(request: Request) -> Response:
        """Transcribe a recording."""
        async with house.received(request, transcribing, part=PART) as upload:
            values = upload.values
            if values.get("diarize"):
                what = "speakers are told apart by channel, at /v1/audio/transcriptions with diarized_json"
                raise blamed(BadOption(f"diarize: {what}"), "diarize")
            output = values.get("output", "txt")
            facts(request.scope)["format"] = output
            words = output == "json" and values.get("word_timestamps", False)
            times: Times = "word" if words else "segment" if output != "txt" else "none"
            named = {**values, "prompt": values.get("initial_prompt", "")}
            wish = parameters.wish(named, times, OUTPUTS[output], task=values.get("task", "transcribe"))
            source = await _samples(house, upload)
            heard, bill = await house.heard(request, upload, wish, source=source)
            if output == "json":
                return JSONResponse(_to_json(heard.transcript, bill, words=words))
            return text_answer(OUTPUTS[output], heard.transcript, bill)

    @routes.answer("POST", "/detect-language", openapi_extra=body(detecting, PART, in_query=True))
    async def detect_language(request: Request) -> Response:
        """Name the language spoken in a recording."""
        async with house.received(request, detecting, part=PART) as upload:
            heard, _ = await detected(house, request, upload, await _samples(house, upload))
            code = heard.transcript.language
            return JSONResponse(
                {
                    "detected_language": to_name(code),
                    "language_code": code,
                    "confidence": heard.transcript.language_probability if code else 0.0,
                }
            )

    return routes


async def _samples(house: House, upload: Upload) -> Samples | None:
    """Return the samples of a file that is PCM by its client's word; None where it is to be decoded.

    Raises:
        BadAudio: it cannot be 16-bit PCM (EmptyAudio: it is nothing).
        AudioTooLong: it lasts longer than the settings allow.
    """
    if upload.values.get("encode", True):
        return None
    assert upload.recording is not None  # these routes have no url
    if not upload.size_bytes:
        raise EmptyAudio("the file is empty (0 bytes)")
    if upload.size_bytes % _WIDTH:
        raise BadAudio("with encode=false the file is 16-bit PCM: an even number of bytes")
    seconds, longest = upload.size_bytes / _WIDTH / SAMPLE_RATE, house.settings.max_audio_s
    if seconds > longest:
        raise AudioTooLong(f"{seconds:.0f} s of audio, {longest:g} s are accepted")
    return await anyio.to_thread.run_sync(_from_pcm, upload.recording)


def _from_pcm(recording: Recording) -> Samples:
    if isinstance(recording, FileIO):
        recording.seek(0)
        recording = recording.readall()
    return np.frombuffer(recording, "<i2").astype(np.float32) / np.float32(32768.0)


def _to_json(transcript: Transcript, bill: Receipt, *, words: bool) -> dict[str, Any]:
    """Return Whisper's own JSON, the form these clients read."""
    verbose = documents.to_verbose_json(transcript)
    segments: list[Mapping[str, Any]] = verbose["segments"]
    if words:
        segments = [
            {
                **wire,
                "words": [
                    {
                        "word": w.text,
                        "start": round(w.start, 3),
                        "end": round(w.end, 3),
                        "probability": w.probability,
                    }
                    for w in segment.words
                ],
            }
            for wire, segment in zip(segments, transcript.segments, strict=True)
        ]
    return {
        "text": transcript.text,
        "segments": segments,
        "language": transcript.language,
        **{name: verbose[name] for name in ("x_model", "x_dropped", "x_warnings")},
        "x_receipt": bill.to_wire(),
    }
