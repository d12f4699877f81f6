"""The two routes of whisper-asr-webservice, as its clients call them."""

from __future__ import annotations

import httpx2
import pysubs2
import pytest

from fakes import FakeEngine
from serving import voice, wav

SAID = "Hola a todos."


def pcm() -> bytes:
    return (voice()[:64_000] * 32767).astype("<i2").tobytes()


def test_text_is_the_default(http: httpx2.Client) -> None:
    answer = http.post("/asr", params={"encode": "true", "task": "transcribe"}, files={"audio_file": wav()})

    assert answer.text == f"{SAID}\n"
    assert answer.headers["x-receipt-audio-s"] == "2"


def test_bazarr_sends_samples_and_reads_srt(http: httpx2.Client, engine: FakeEngine) -> None:
    engine.heard.clear()
    answer = http.post(
        "/asr",
        params={
            "task": "translate",
            "language": "es",
            "output": "srt",
            "encode": "false",
            "video_file": "/f.mkv",
        },
        files={"audio_file": pcm()},
    )

    assert answer.status_code == 200, answer.text
    assert [e.plaintext for e in pysubs2.SSAFile.from_string(answer.text)] == [SAID]
    assert engine.heard[-1][1].task == "translate"
    assert engine.heard[-1][1].language == "es"


def test_json_is_whispers_own(http: httpx2.Client) -> None:
    told = http.post(
        "/asr",
        params={"output": "json", "word_timestamps": "true", "vad_filter": "true"},
        files={"audio_file": wav()},
    ).json()

    assert told["text"] == SAID
    assert told["language"] == "es"
    assert told["segments"][0]["words"][0]["word"] == f" {SAID}"


def test_the_language_is_named(http: httpx2.Client) -> None:
    told = http.post("/detect-language", params={"encode": "false"}, files={"audio_file": pcm()}).json()

    assert told == {"detected_language": "spanish", "language_code": "es", "confidence": 0.9}


@pytest.mark.parametrize(
    ("params", "content", "code"),
    [
        ({"encode": "false"}, b"\0", "bad_audio"),
        ({"encode": "false"}, b"", "empty_audio"),
        ({"output": "docx"}, b"RIFF", "bad_option"),
        ({"diarize": "true"}, b"RIFF", "bad_option"),
        ({"colour": "red"}, b"RIFF", "unknown_field"),
    ],
)
def test_refusals_are_typed(http: httpx2.Client, params: dict[str, str], content: bytes, code: str) -> None:
    answer = http.post("/asr", params=params, files={"audio_file": content})

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
