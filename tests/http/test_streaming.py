"""stream=True through the real SDK: events while the recording is heard."""

from __future__ import annotations

import json
import threading
from typing import Any

import anyio
import httpx2
import openai as sdk_errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI

from fakes import FakeEngine, fake_service
from serving import sdk, served, wav
from whisper_lambda.errors import ClientGone
from whisper_lambda.http import streaming
from whisper_lambda.http.app import create_app
from whisper_lambda.http.streaming import Deltas, EventStream


def test_deltas_come_while_chunks_finish_and_add_up_to_the_text(openai: OpenAI) -> None:
    recording = wav(120)
    events: list[Any] = list(
        openai.audio.transcriptions.create(file=recording, model="whisper-1", stream=True)
    )
    plain = openai.audio.transcriptions.create(file=recording, model="whisper-1")

    deltas = [e.delta for e in events if e.type == "transcript.text.delta"]
    assert len(deltas) >= 2
    assert [e.type for e in events][-1] == "transcript.text.done"
    assert "".join(deltas) == events[-1].text == plain.text
    assert events[-1].x_receipt["audio_s"] == 120.0
    assert events[-1].languages[0].code == "es"


@pytest.mark.parametrize("taken", [2, 3], ids=["an event", "the end"])
def test_a_client_that_stops_reading_is_given_up_once(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes so many messages and then none: of the head, two events and the end."""
    monkeypatch.setattr(streaming, "SLOW_READER_S", 0.2)
    sent: list[Any] = []
    waited: list[Any] = []

    async def send(message: Any) -> None:
        if len(sent) == taken:
            waited.append(message)
            await anyio.sleep(60)
        sent.append(message)

    async def receive() -> Any:
        await anyio.sleep(60)

    async def produce(emit: Any) -> None:
        await emit(b"data: 1\n\n")
        await emit(b"data: 2\n\n")

    async def answer() -> None:
        with anyio.fail_after(20):
            await EventStream(produce)({"type": "http"}, receive, send)

    with pytest.raises(ClientGone):
        anyio.run(answer)
    assert len(waited) == 1


def test_the_first_delta_does_not_wait_for_the_last_chunk() -> None:
    """The engine blocks in its last chunk until the test has read a delta."""
    read = threading.Event()
    engine = FakeEngine(serial=True)
    engine.began = lambda: len(engine.heard) >= 3 and read.wait(120)
    with (
        fake_service(engine) as service,
        served(create_app(service, service.settings)) as address,
        sdk(address) as openai,
    ):
        events = iter(openai.audio.transcriptions.create(file=wav(120), model="whisper-1", stream=True))
        assert next(events).type == "transcript.text.delta"
        read.set()
        assert [e.type for e in events][-1] == "transcript.text.done"


def test_diarized_segments_are_streamed_with_their_speaker(openai: OpenAI) -> None:
    events: list[Any] = list(
        openai.audio.transcriptions.create(
            file=wav(60, channels=2), model="whisper-1", response_format="diarized_json", stream=True
        )
    )

    segments = [e for e in events if e.type == "transcript.text.segment"]
    assert {s.speaker for s in segments} == {"A", "B"}
    assert "".join(e.delta for e in events if e.type == "transcript.text.delta") == events[-1].text


def test_a_refusal_before_the_first_event_is_an_answer(openai: OpenAI) -> None:
    with pytest.raises(sdk_errors.BadRequestError) as refused:
        list(openai.audio.transcriptions.create(file=b"no audio at all", model="whisper-1", stream=True))

    assert refused.value.code == "bad_audio"


def test_a_failure_in_mid_stream_raises() -> None:
    engine = FakeEngine()
    engine.began = lambda: setattr(engine, "fails", len(engine.heard) > 1)
    with (
        fake_service(engine) as service,
        served(create_app(service, service.settings)) as address,
        sdk(address) as openai,
    ):
        events = openai.audio.transcriptions.create(file=wav(120), model="whisper-1", stream=True)
        with pytest.raises(sdk_errors.APIError) as failed:
            list(events)

    assert failed.value.code == "engine_failed"


def test_verbose_json_streams_its_place_and_ends_with_every_word(http: httpx2.Client) -> None:
    form = {
        "stream": "true",
        "response_format": "verbose_json",
        "timestamp_granularities[]": ["word", "segment"],
    }
    answer = http.post("/v1/audio/transcriptions", data=form, files={"file": wav(60)})
    plain = http.post(
        "/v1/audio/transcriptions", data=form | {"stream": "false"}, files={"file": wav(60)}
    ).json()

    events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
    deltas, done = events[:-1], events[-1]
    assert len(deltas) >= 2
    assert all(d["x_start"] < d["x_end"] <= d["x_duration"] == 60.0 for d in deltas)
    assert done["type"] == "transcript.text.done"
    assert done["words"] == plain["words"]
    assert done["segments"] == plain["segments"]
    assert "".join(w["x_text"] for w in done["words"]) == "".join(s["text"] for s in done["segments"])


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
def test_formats_that_cannot_grow_are_refused(http: httpx2.Client, wanted: str) -> None:
    answer = http.post(
        "/v1/audio/transcriptions", data={"stream": "true", "response_format": wanted}, files={"file": wav()}
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "stream"


def test_silence_streams_an_empty_text(openai: OpenAI) -> None:
    events: list[Any] = list(
        openai.audio.transcriptions.create(file=wav(silent=(0,)), model="whisper-1", stream=True)
    )

    assert [e.type for e in events] == ["transcript.text.done"]
    assert events[0].text == ""


@given(st.lists(st.text(alphabet=" \n\tab。é", max_size=6)))
def test_deltas_are_the_text_whatever_the_segments(texts: list[str]) -> None:
    deltas = Deltas()
    sent = [deltas.add(text) for text in texts]

    assert "".join(sent) == "".join(texts).strip()
