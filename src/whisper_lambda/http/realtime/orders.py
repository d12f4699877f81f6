"""A client's event in, what it orders out. Pure; a wrong event is told of and harms nothing else."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from whisper_lambda.errors import AudioTooLarge, BadOption, BrokenRequest
from whisper_lambda.http import jsonbody
from whisper_lambda.http.realtime.configuration import Check, Configuration, updated
from whisper_lambda.http.realtime.talk import Audio, Clear, Commit, Order, Update

MOST_AUDIO_BYTES = 15 * 1024 * 1024  # of base64 in one event
# How the beta of the API wrote a session, which older clients (LiveKit 1.0) still do.
_BETA = {
    "input_audio_format": "format",
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
_BETA_FORMATS = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}


def read(message: str) -> Mapping[str, Any]:
    """Return a client's event.

    Raises:
        BrokenRequest: it is not a JSON object with a `type`.
    """
    try:
        given = jsonbody.members(message)
        if isinstance(given.get("type"), str):
            return given
    except BrokenRequest:
        pass
    error = BrokenRequest("an event is a JSON object with a `type`")
    error.param = "type"
    raise error


def order_of(given: Mapping[str, Any], before: Configuration, check: Check) -> Order:
    """Return what an event orders.

    Args:
        given: the event.
        before: the configuration that holds.
        check: raises for a model there is not.

    Raises:
        BadOption: an unknown type, or a member that will not do.
        AudioTooLarge: more audio than one event may bring.
    """
    kind = given["type"]
    if kind == "input_audio_buffer.append":
        return Audio(_audio(given.get("audio")))
    if kind == "input_audio_buffer.commit":
        return Commit()
    if kind == "input_audio_buffer.clear":
        return Clear()
    if kind == "session.update":
        return Update(updated(before, given.get("session"), check))
    if kind == "transcription_session.update":
        return Update(updated(before, _of_today(given.get("session")), check))
    error = BadOption(
        f"{kind[:60]!r} is no event of a transcription session; it takes session.update and "
        "input_audio_buffer.append, .commit and .clear"
    )
    error.param = "type"
    raise error


def _of_today(session: object) -> object:
    """Return a session as the beta wrote it in today's words; what it did not have stays, to be refused."""
    if not isinstance(session, dict):
        return session
    heard = {_BETA[name]: value for name, value in session.items() if name in _BETA}
    if isinstance(written := heard.get("format"), str):
        heard["format"] = _BETA_FORMATS.get(written, {"type": written})
    return {**{n: v for n, v in session.items() if n not in _BETA}, "audio": {"input": heard}}


def _audio(text: object) -> bytes:
    if not isinstance(text, str):
        error = BadOption("input_audio_buffer.append has a member `audio`: base64")
        error.param = "audio"
        raise error
    if len(text) > MOST_AUDIO_BYTES:
        raise AudioTooLarge("one append brings at most 15 MiB; send the audio in parts")
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        broken = BadOption("`audio` is not base64")
        broken.param = "audio"
        raise broken from None
