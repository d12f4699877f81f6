"""The client against a server that fails as told: ways, retries, keys, progress, both faces."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_server import WORDS, Stub, refused, said, serving

from whisper_lambda import AsyncClient, Client
from whisper_lambda.audio.encode import opus
from whisper_lambda.client.steps import Progress
from whisper_lambda.errors import (
    BadAudio,
    BadOption,
    InvalidKey,
    RemoteFailed,
    RemoteRefused,
    ServerUnreachable,
    WhisperLambdaError,
)
from whisper_lambda.types import ModelChoice, Transcript

Ask = Callable[..., Transcript]


def wav(seconds: float = 2.0) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        noise = np.random.default_rng(1).integers(-8000, 8000, int(seconds * 16_000))
        file.writeframes(noise.astype(np.int16).tobytes())
    return out.getvalue()


MP3 = b"ID3\x04" + bytes(5000)
LONG_MP3 = b"ID3\x04" + bytes(5_000_000)  # more than goes in one request


@pytest.fixture(params=["blocking", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Ask by either face: whatever holds for one holds for the other."""

    def blocking(
        stub: Stub, recording: Any, *, made: dict[str, Any] | None = None, **wish: Any
    ) -> Transcript:
        with Client(stub.url, "wl-key", **(made or {})) as client:
            return client.transcribe(recording, **wish)

    def awaited(stub: Stub, recording: Any, *, made: Any = None, **wish: Any) -> Transcript:
        async def run() -> Transcript:
            async with AsyncClient(stub.url, "wl-key", **(made or {})) as client:
                return await client.transcribe(recording, **wish)

        return asyncio.run(run())

    return blocking if request.param == "blocking" else awaited


def test_a_small_recording_takes_one_request_and_becomes_a_transcript(ask: Ask) -> None:
    with serving(Stub()) as stub:
        heard = ask(stub, MP3, language="es", times="word")

    assert stub.routes() == ["POST /v1/audio/transcriptions"]
    assert (heard.text, heard.language, heard.duration) == ("Hola a todos.", "es", 2.0)
    assert heard.model == ModelChoice("small", "base", "small is not here")
    assert [w.text for w in heard.words] == [" Hola", " a"]
    assert heard.warnings == ("the file ends early",)
    got = stub.got[0]
    assert got.headers["authorization"] == "Bearer wl-key"
    assert MP3 in got.body, "what is compressed already goes as it is"
    assert b'name="language"\r\n\r\nes' in got.body
    assert b'name="timestamp_granularities[]"\r\n\r\nword' in got.body


def test_options_at_their_defaults_are_not_sent_so_that_any_server_understands(ask: Ask) -> None:
    with serving(Stub()) as stub:
        ask(stub, MP3)
        ask(
            stub,
            MP3,
            quality="best",
            hotwords=["Ana", "Zoë"],
            languages=["es", "en"],
            budget_usd=0.01,
            task="translate",
        )

    names = [set(re.findall(r'; name="([^"]*)"', g.body.decode("latin-1"))) for g in stub.got]
    assert names[0] == {"model", "response_format", "file"}
    assert names[1] == names[0] | {"quality", "hotwords", "languages[]", "budget_usd"}
    assert stub.got[1].path == "/v1/audio/translations"


def test_every_attempt_of_one_recording_carries_one_key_and_another_recording_another(ask: Ask) -> None:
    """What makes a retry free: the server knows it for what it is."""
    script = {"POST /v1/audio": [refused(503, "overloaded", retry_after="0"), None]}
    with serving(Stub(script=script)) as stub:
        assert ask(stub, MP3).text == "Hola a todos."
        ask(stub, MP3)

    keys = [g.headers["idempotency-key"] for g in stub.got]
    assert len(keys) == 4
    assert keys[0] == keys[1] == keys[2] != keys[3]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_what_may_pass_is_tried_as_often_as_allowed_and_then_told(ask: Ask, status: int) -> None:
    answers = [refused(status, "overloaded", retry_after="0")] * 3
    with serving(Stub(script={"POST /v1/audio": answers})) as stub, pytest.raises(WhisperLambdaError) as told:
        ask(stub, MP3, made={"attempts": 3})

    assert len(stub.got) == 3
    assert told.value.code == "overloaded"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(401, "invalid_api_key"), InvalidKey),
        (refused(400, "bad_audio", "file"), BadAudio),
        (refused(418, "teapot"), RemoteRefused),
        (refused(507, "elsewhere"), RemoteFailed),
        (refused(503, "overloaded", x_should_retry="false"), WhisperLambdaError),
        (refused(503, "overloaded", retry_after="4000"), WhisperLambdaError),
        ((500, {"x-should-retry": "false"}, b"<html>"), RemoteFailed),
        ((200, {}, b"<html>"), RemoteFailed),
        ((200, {}, b"[1]"), RemoteFailed),
    ],
)
def test_what_will_not_pass_is_told_at_once_as_the_servers_own_error(
    ask: Ask, answer: Any, kind: type[Exception]
) -> None:
    with serving(Stub(script={"POST /v1/audio": [answer]})) as stub, pytest.raises(kind):
        ask(stub, MP3)

    assert len(stub.got) == 1


def test_a_server_that_is_not_there_is_named(ask: Ask) -> None:
    with pytest.raises(ServerUnreachable, match=r"http://127\.0\.0\.1:9 does not answer"):
        ask(Stub(url="http://127.0.0.1:9"), MP3, made={"attempts": 1})


# --- the long way ---


def test_what_is_too_large_goes_up_compressed_and_is_heard_as_a_job(ask: Ask, tmp_path: Path) -> None:
    """5 MB of WAV become Opus; that fits, but the test's limit is lower still."""
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(160.0))
    told: list[Any] = []
    with serving(Stub(direct_limit=1000, job_states=["running", "completed"])) as stub:
        heard = ask(stub, path, language="es", on_progress=told.append)

    assert heard.text == "Hola a todos."
    assert stub.routes("P") == [
        "POST /v1/audio/transcriptions",
        "POST /v1/uploads",
        "PUT /store/upl_1?signature=x",
        "POST /v1/jobs",
    ]
    assert bytes(stub.stored[:4]) == b"OggS"
    assert len(stub.stored) < 1_000_000
    assert b'"language": "es"' in stub.got[3].body or b'"language":"es"' in stub.got[3].body
    assert stub.got[2].headers["x-ticket"] == "7"
    assert list(dict.fromkeys(p.stage for p in told)) == ["encoding", "sending", "waiting", "hearing"]
    assert [p.done for p in told if p.stage == "encoding"][-1] == pytest.approx(160.0, abs=0.1)
    assert any(p == type(p)("hearing", 4.0, 10.0) for p in told)


def test_what_is_compressed_and_too_large_goes_up_as_it_is(ask: Ask) -> None:
    big = MP3 + bytes(5_000_000)
    with serving(Stub()) as stub:
        ask(stub, big)

    assert stub.routes("P")[0] == "POST /v1/uploads"
    assert bytes(stub.stored) == big


def test_a_server_without_uploads_gets_everything_directly(ask: Ask) -> None:
    big = MP3 + bytes(5_000_000)
    with serving(Stub(uploads=False)) as stub:
        assert ask(stub, big).text == "Hola a todos."

    assert stub.routes() == ["POST /v1/uploads", "POST /v1/audio/transcriptions"]


def test_where_neither_way_is_open_the_refusal_is_told(ask: Ask) -> None:
    stub = Stub(uploads=False, direct_limit=100)
    with serving(stub), pytest.raises(WhisperLambdaError) as told:
        ask(stub, MP3)

    assert told.value.code == "audio_too_large"


def test_an_upload_that_breaks_goes_on_where_it_ended(ask: Ask) -> None:
    big = MP3 + bytes(5_000_000)
    stub = Stub(script={"PUT /store": [None]})
    stub.stored += big[:3_000_000]  # what had come when the line broke
    with serving(stub):
        ask(stub, big)

    assert stub.routes("HEAD") == ["HEAD /store/upl_1?signature=x"]
    assert bytes(stub.stored) == big
    assert stub.got[-1].method == "GET"
    again = [g for g in stub.got if g.method == "PUT"][1]
    assert again.headers["content-range"] == f"bytes 3000000-{len(big) - 1}/{len(big)}"


def test_an_upload_that_came_whole_is_not_sent_again_because_its_answer_was_lost(ask: Ask) -> None:
    big = MP3 + bytes(5_000_000)
    stub = Stub(script={"PUT /store": [None]})
    stub.stored += big
    with serving(stub):
        ask(stub, big)

    assert len(stub.routes("PUT")) == 1


def test_our_key_goes_to_our_server_only(ask: Ask) -> None:
    """A presigned address of a store must not learn it."""
    with serving(Stub()) as store, serving(Stub()) as stub:
        elsewhere = f"{store.url}/store/upl_1"
        stub.script["POST /v1/uploads"] = [said(201, id="upl_1", method="PUT", url=elsewhere)]
        ask(stub, MP3 + bytes(5_000_000))

    assert "authorization" not in store.got[0].headers
    assert all(g.headers["authorization"] == "Bearer wl-key" for g in stub.got)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_does_not_complete_is_an_error_of_its_own(ask: Ask, state: str) -> None:
    error = {"message": "no words", "code": "bad_audio"} if state == "failed" else None
    stub = Stub(job_states=[state], job_error=error)
    with serving(stub), pytest.raises(WhisperLambdaError) as told:
        ask(stub, MP3 + bytes(5_000_000))

    assert told.value.code == ("bad_audio" if state == "failed" else "job_has_no_result")


def test_who_gives_up_waiting_cancels_the_job() -> None:
    stub = Stub(job_states=["running"])

    async def impatient() -> None:
        async with AsyncClient(stub.url, "wl-key") as client:
            await asyncio.wait_for(client.transcribe(MP3 + bytes(5_000_000)), 1.5)

    with serving(stub), pytest.raises(TimeoutError):
        asyncio.run(impatient())

    assert stub.routes("DELETE") == ["DELETE /v1/jobs/job_1"]


# --- the rest ---


def test_the_server_writes_each_format(ask: Ask) -> None:
    with serving(Stub()) as stub, Client(stub.url) as client:
        assert client.written(MP3, ["srt", "vtt"]) == {
            "srt": "srt: Hola a todos.\n",
            "vtt": "vtt: Hola a todos.\n",
        }

    assert len({g.headers["idempotency-key"] for g in stub.got}) == 1, "all are paid for once"
    assert "authorization" not in stub.got[0].headers


def test_a_model_without_verbose_json_is_asked_for_json(ask: Ask) -> None:
    script = {"POST /v1/audio": [refused(400, "unsupported_value", "response_format")]}
    with serving(Stub(script=script)) as stub:
        heard = ask(stub, MP3, model="gpt-transcribe")

    assert (heard.text, heard.duration) == ("Hola a todos.", 2.0)


def test_compression_may_be_forced_or_forbidden(ask: Ask) -> None:
    with serving(Stub()) as stub:
        ask(stub, wav(), made={"compress": "always"})
        ask(stub, wav(), made={"compress": "never"})
        ask(stub, wav())

    assert [b"OggS" in g.body for g in stub.got] == [True, False, False]


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8000", "https://", "http://x/?a=1", ""])
def test_an_address_no_server_can_be_at_is_refused(url: str) -> None:
    with pytest.raises(BadOption, match="address"):
        Client(url)


def test_openais_base_url_will_do(ask: Ask) -> None:
    with serving(Stub()) as stub, Client(f"{stub.url}/v1/") as client:
        client.transcribe(MP3)

    assert stub.routes() == ["POST /v1/audio/transcriptions"]


def test_wrong_options_and_missing_files_are_refused_before_anything_is_sent(
    ask: Ask, tmp_path: Path
) -> None:
    with serving(Stub()) as stub:
        with pytest.raises(BadOption):
            ask(stub, MP3, temperature=7.0)
        with pytest.raises(FileNotFoundError):
            ask(stub, tmp_path / "gone.wav")
        with pytest.raises(IsADirectoryError):
            ask(stub, tmp_path)

    assert stub.got == []


def test_waiting_blocks_no_event_loop() -> None:
    ticks: list[float] = []
    before = set(threading.enumerate())  # of other tests, and none of this one's business

    async def run() -> None:
        async with AsyncClient(stub.url) as client:
            heard = asyncio.create_task(client.transcribe(MP3 + bytes(5_000_000)))
            while not heard.done():
                ticks.append(time.monotonic())
                await asyncio.sleep(0.02)

    with serving(Stub(job_states=["running", "completed"])) as stub:
        asyncio.run(run())

    assert len(ticks) > 10
    assert len(set(threading.enumerate()) - before) < 10


def test_openais_own_uploads_are_not_ours(ask: Ask) -> None:
    error = {
        "message": "Unknown parameter: 'size_bytes'.",
        "param": "size_bytes",
        "code": "unknown_parameter",
    }
    theirs = (400, {}, json.dumps({"error": error}).encode())
    with serving(Stub(script={"POST /v1/uploads": [theirs]})) as stub:
        assert ask(stub, LONG_MP3).text == "Hola a todos."

    assert stub.routes() == ["POST /v1/uploads", "POST /v1/audio/transcriptions"]


def test_a_direct_request_may_come_back_as_a_job(ask: Ask) -> None:
    with serving(Stub(script={"POST /v1/audio": [said(202, id="job_1", status="queued")]})) as stub:
        assert ask(stub, MP3).text == "Hola a todos."

    assert stub.got[0].headers["prefer"] == "respond-async"
    job = "GET /v1/jobs/job_1"
    assert stub.routes() == ["POST /v1/audio/transcriptions", job, f"{job}/result?format=verbose_json"]


def test_who_gives_up_while_the_server_is_asked_again_cancels_the_job_too() -> None:
    ill = [refused(503, "overloaded", Retry_After="30")] * 3

    async def run(stub: Stub) -> None:
        async with AsyncClient(stub.url) as client:
            asking = asyncio.create_task(client.transcribe(LONG_MP3))
            while "GET /v1/jobs/job_1" not in stub.routes():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # it has the answer, and waits
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    with serving(Stub(job_states=["running"], script={"GET /v1/jobs/job_1": ill})) as stub:
        asyncio.run(run(stub))

    assert stub.routes()[-1] == "DELETE /v1/jobs/job_1"


def test_who_gives_up_while_it_is_encoded_stops_the_encoder() -> None:
    told: list[Progress] = []

    async def run(stub: Stub) -> int:
        async with AsyncClient(stub.url, compress="always") as client:
            asking = asyncio.create_task(client.transcribe(wav(1800), on_progress=told.append))
            while not told:
                await asyncio.sleep(0.005)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            return len(told)

    with serving(Stub()) as stub:
        by_then = asyncio.run(run(stub))

    assert told[-1].done < 1800
    assert len(told) == by_then, "the thread has ended before the caller goes on"
    assert stub.got == []


@pytest.mark.parametrize(
    ("made", "about"),
    [
        ({"key": "wl-key\n"}, "key"),
        ({"key": "clé"}, "key"),
        ({"compress": "nver"}, "compress"),
        ({"url": "http://[::1"}, "address"),
    ],
)
def test_what_no_client_can_be_made_of_is_refused_and_no_key_is_told(
    made: dict[str, Any], about: str
) -> None:
    with pytest.raises(BadOption, match=about) as refusal:
        Client(**{"url": "http://127.0.0.1:1", **made})

    assert made.get("key", "none").strip() not in str(refusal.value)


@pytest.mark.parametrize("formats", [[], "srt"])
def test_formats_are_a_list(formats: Any) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(BadOption, match="list"):
        client.written(MP3, formats)


@pytest.mark.parametrize(
    ("route", "answer"),
    [
        ("POST /v1/audio", (200, {}, b'{"text": "x", "segments": [{"text": "x"}]}')),
        ("POST /v1/audio", (200, {}, b'{"text": "x", "segments": ["x"]}')),
        ("POST /v1/audio", (200, {}, b'{"text": "x", "duration": "long"}')),
        ("POST /v1/audio", (200, {}, b'{"text":' + b"[" * 100_000)),
        ("POST /v1/uploads", said(201, id="upl_1")),
        ("POST /v1/jobs", said(202, id="job_1")),
        ("GET /v1/jobs", said(200, id="job_1")),
    ],
)
def test_an_answer_that_cannot_be_understood_is_an_error_of_ours(ask: Ask, route: str, answer: Any) -> None:
    recording = MP3 if "audio" in route else LONG_MP3
    stub = Stub(job_states=["running"], script={route: [answer]})
    with serving(stub), pytest.raises(RemoteFailed):
        ask(stub, recording)


def test_a_server_that_sends_no_gzip_is_named(ask: Ask) -> None:
    wrong = (200, {"Content-Encoding": "gzip"}, b"plain")
    with serving(Stub(script={"POST /v1/audio": [wrong]})) as stub, pytest.raises(ServerUnreachable):
        ask(stub, MP3, made={"attempts": 1})


def test_a_server_that_is_elsewhere_says_where(ask: Ask) -> None:
    moved = (308, {"Location": "https://transcribe.example/"}, b"")
    stub = Stub(script={"POST /v1/audio": [moved]})
    with serving(stub), pytest.raises(RemoteFailed, match=r"https://transcribe\.example/"):
        ask(stub, MP3)


def test_what_a_newer_server_adds_is_passed_over(ask: Ask) -> None:
    newer = {**WORDS, "x_model": {**WORDS["x_model"], "quantised": True}}  # type: ignore[dict-item]
    with serving(Stub(script={"POST /v1/audio": [said(200, **newer)]})) as stub:
        assert ask(stub, MP3).model == ModelChoice("small", "base", "small is not here")


def test_each_word_has_one_place_and_is_written_as_the_model_wrote_it(ask: Ask) -> None:
    told = {
        "text": "Uno. Dos.",
        "segments": [
            {"start": 0.0, "end": 1.0, "text": " Uno."},
            {"start": 1.0, "end": 2.0, "text": " Dos."},
        ],
        "words": [
            {"word": "Uno", "x_text": " Uno.", "start": 0.5, "end": 0.9},
            {"word": "Dos", "x_text": " Dos.", "start": 0.8, "end": 1.2},  # its middle is where both meet
            {"word": "más", "x_text": " más", "start": 2.0, "end": 2.1},  # beyond the end, by rounding
        ],
    }
    with serving(Stub(script={"POST /v1/audio": [said(200, **told)]})) as stub:
        heard = ask(stub, MP3, times="word")

    assert [[w.text for w in s.words] for s in heard.segments] == [[" Uno."], [" Dos.", " más"]]


def test_what_is_compressed_is_encoded_where_that_is_asked_for(ask: Ask, tmp_path: Path) -> None:
    first = tmp_path / "talk.opus"
    with first.open("wb") as out:
        opus([np.zeros(32_000, np.float32)], out)
    with serving(Stub()) as stub:
        ask(stub, first)
        ask(stub, first, made={"compress": "always", "kbit_per_s": 12})

    assert [first.read_bytes() in g.body for g in stub.got] == [True, False]
    assert all(b"OggS" in g.body for g in stub.got)
