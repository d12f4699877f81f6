"""POST /transcribe as the founding system's clients send it."""

from __future__ import annotations

import httpx2
import pytest

from serving import wav

RECEIPT = {
    "audio_s", "decode_s", "queue_s", "init_s", "engine_s", "billed_ms", "memory_mb", "gb_s", "usd", "rtf",
    "cached_chunks", "chunks", "model", "served",
}  # fmt: skip


def test_the_founding_request_gets_the_founding_answer(http: httpx2.Client) -> None:
    answer = http.post(
        "/transcribe",
        data={"user_id": "hernan", "model_type": "internal", "language": "es"},
        files={"file": ("sample_1.wav", wav(2.0), "audio/wav")},
    )

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["text"] == "Hola a todos."
    assert told["language"] == "es"
    assert told["duration_s"] == 2.0
    assert told["model"]["requested"] == told["model"]["served"]
    assert told["speech_detected"] is True
    assert told["request_id"] == answer.headers["x-request-id"]
    assert set(told["receipt"]) == RECEIPT
    assert told["receipt"]["audio_s"] == 2.0
    assert told["receipt"]["usd"] > 0
    assert "segments" not in told


def test_verbose_json_adds_the_segments(http: httpx2.Client) -> None:
    answer = http.post("/transcribe", data={"format": "verbose_json"}, files={"file": wav()})

    assert [s["text"] for s in answer.json()["segments"]] == [" Hola a todos."]


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt", "tsv", "lrc"])
def test_other_formats_carry_the_receipt_in_headers(http: httpx2.Client, wanted: str) -> None:
    answer = http.post("/transcribe", data={"format": wanted}, files={"file": wav()})

    assert answer.status_code == 200
    assert "Hola a todos." in answer.text
    assert {f"x-receipt-{name.replace('_', '-')}" for name in RECEIPT} <= set(answer.headers)
    assert not answer.headers["content-type"].startswith("application/json")


def test_the_recording_may_be_the_body(http: httpx2.Client) -> None:
    answer = http.post(
        "/transcribe?language=es&user_id=hernan", content=wav(), headers={"Content-Type": "audio/wav"}
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == "Hola a todos."


def test_a_field_of_another_api_is_refused_by_name(http: httpx2.Client) -> None:
    answer = http.post("/transcribe", data={"response_format": "srt"}, files={"file": wav()})

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unknown_field"
    assert answer.json()["error"]["param"] == "response_format"
