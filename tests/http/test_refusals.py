"""What is refused, how, and before what; through a real socket."""

from __future__ import annotations

import re
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai as sdk_errors
import pytest
from openai import OpenAI

from fakes import FakeEngine, fake_service
from serving import client, sdk, served, wav
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app

CANARY = "kwyjibo-0451"
TRANSCRIPTIONS = "/v1/audio/transcriptions"


def is_enveloped(answer: httpx2.Response) -> bool:
    error = answer.json()["error"]
    return set(error) == {"message", "type", "param", "code"} and "x-request-id" in answer.headers


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"colour": "red"}, "unknown_field", "colour"),
        ({"file2": "x"}, "unknown_field", "file2"),
        ({"model": "nonsense"}, "unknown_model", "model"),
        ({"language": "hh"}, "unknown_language", "language"),
        ({"language": "es", "languages[]": "fr"}, "bad_option", None),
        ({"languages[]": ["es", "xx"]}, "unknown_language", "languages"),
        ({"response_format": "docx"}, "unknown_format", "response_format"),
        ({"temperature": "1.01"}, "bad_option", "temperature"),
        ({"temperature": "nan"}, "bad_option", "temperature"),
        ({"temperature": "warm"}, "bad_option", "temperature"),
        ({"stream": "perhaps"}, "bad_option", "stream"),
        ({"stream": ["true", "false"]}, "bad_option", "stream"),
        ({"timestamp_granularities[]": "word"}, "bad_option", "timestamp_granularities"),
        ({"timestamp_granularities[]": "letter"}, "bad_option", "timestamp_granularities"),
        ({"include[]": "secrets"}, "bad_option", "include"),
        ({"chunking_strategy": "manual"}, "bad_option", "chunking_strategy"),
        ({"chunking_strategy": '{"type": "x"}'}, "bad_option", "chunking_strategy"),
        ({"chunking_strategy": "[" * 5000}, "bad_option", "chunking_strategy"),
        ({"chunking_strategy[threshold]": "2"}, "bad_option", "chunking_strategy[threshold]"),
        ({"chunking_strategy[colour]": "2"}, "unknown_field", "chunking_strategy[colour]"),
        ({"known_speaker_names[]": "ana"}, "bad_option", "known_speaker_names"),
        ({"known_speaker_references[]": "data:"}, "bad_option", "known_speaker_references"),
        ({"budget_usd": "0"}, "bad_option", "budget_usd"),
        ({"budget_usd": "-0.0"}, "bad_option", "budget_usd"),
        ({"budget_usd": "inf"}, "bad_option", "budget_usd"),
        ({"max_latency_s": "0"}, "bad_option", "max_latency_s"),
        ({"max_latency_s": "nan"}, "bad_option", "max_latency_s"),
        ({"max_latency_s": "soon"}, "bad_option", "max_latency_s"),
        ({"beam_size": "33"}, "bad_option", "beam_size"),
        ({"beam_size": "²"}, "bad_option", "beam_size"),
        ({"beam_size": "--5"}, "bad_option", "beam_size"),
        ({"max_line_width": "-" * 11}, "bad_option", "max_line_width"),
        ({"quality": "superb"}, "bad_option", "quality"),
        ({"vad": "on", "vad_filter": "true"}, "bad_option", None),
        ({"user_id": "u" * 129}, "bad_option", "user_id"),
        ({"user_id": "u\0"}, "bad_option", "user_id"),
        ({"prompt": "p" * 65_537}, "bad_option", "prompt"),
        ({"url": "https://example.com/a.mp3"}, "bad_option", "file"),
    ],
)
def test_fields_are_refused_by_name_before_anything_is_decoded(
    http: httpx2.Client, engine: FakeEngine, fields: dict[str, Any], code: str, param: str | None
) -> None:
    engine.heard.clear()
    answer = http.post(TRANSCRIPTIONS, data=fields, files={"file": wav()})

    assert answer.status_code == (404 if code == "unknown_model" else 400), answer.text
    assert is_enveloped(answer)
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param)
    assert engine.heard == []


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (
            TRANSCRIPTIONS,
            ["model", "language", "response_format", "temperature", "stream", "vad", "include[]"],
        ),
        ("/transcribe", ["model_type", "language", "format", "user_id"]),
    ],
)
def test_a_field_left_empty_counts_as_left_out(
    http: httpx2.Client, engine: FakeEngine, path: str, names: list[str]
) -> None:
    """As forms of web pages, and settings of clients nobody filled in, send them."""
    answer = http.post(path, data=dict.fromkeys(names, ""), files={"file": wav()})

    assert answer.status_code == 200, answer.text
    assert engine.heard[-1][1].language == "es"  # as detected


def test_a_wrong_field_is_refused_before_the_recording_is_sent(address: str) -> None:
    """The client announces 100 MB and sends the fields only: the answer does not wait for the rest."""
    url = urlsplit(address)
    fields = b'--b\r\nContent-Disposition: form-data; name="language"\r\n\r\nhh\r\n--b\r\n'
    head = (
        f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 100000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=5) as raw:
        raw.sendall(head.encode() + fields)
        answer = raw.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"x-request-id" in answer


@pytest.mark.parametrize(
    ("kind", "content", "status", "code"),
    [
        ("multipart/form-data", b"", 400, "broken_request"),
        ("multipart/form-data; boundary=b", b"", 400, "broken_request"),
        ("multipart/form-data; boundary=b", b"--c\r\n\r\n", 400, "broken_request"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", 400, "broken_request"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF',
            400,
            "broken_request",
        ),
        ("multipart/form-data; boundary=" + "b" * 300, b"--b", 400, "broken_request"),
        ("application/json", b"{}", 400, "missing_field"),
        ("text/html", b"<p>", 415, "unsupported_media_type"),
        ("audio/wav", b"", 400, "empty_audio"),
        ("audio/wav", b"no audio", 400, "bad_audio"),
        ("application/x-www-form-urlencoded", b"model=whisper-1", 400, "missing_field"),
        ("application/x-www-form-urlencoded", b"url=https://example.com/", 400, "fetch_refused"),
        ("application/x-www-form-urlencoded", b"x" * 300_000, 413, "audio_too_large"),
    ],
)
def test_bodies_that_are_not_what_they_say(
    http: httpx2.Client, kind: str, content: bytes, status: int, code: str
) -> None:
    answer = http.post(TRANSCRIPTIONS, content=content, headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert is_enveloped(answer)


@pytest.mark.parametrize("piece", [70_000, 3])
def test_a_fields_name_that_is_too_long_is_what_the_answer_speaks_of(http: httpx2.Client, piece: int) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="' + b"n" * 5000 + b'"\r\n\r\nx\r\n--b--\r\n'
    sent = (body[at : at + piece] for at in range(0, len(body), piece))

    answer = http.post(
        TRANSCRIPTIONS, content=sent, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "broken_request")
    assert "longer than 4096 bytes" in answer.json()["error"]["message"]


def test_a_request_without_a_body_lacks_its_file(http: httpx2.Client) -> None:
    answer = http.post(TRANSCRIPTIONS)

    assert answer.json()["error"]["code"] == "missing_field"
    assert answer.json()["error"]["param"] == "file"


def test_two_recordings_are_one_too_many(http: httpx2.Client) -> None:
    files = [("file", ("a.wav", wav())), ("file", ("b.wav", wav()))]
    answer = http.post(TRANSCRIPTIONS, files=files)

    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("bad_option", "file")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/transcribe", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/nonsense", 404, "unknown_model"),
    ],
)
def test_paths_and_methods(http: httpx2.Client, method: str, path: str, status: int, code: str) -> None:
    answer = http.request(method, path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert is_enveloped(answer)


@pytest.mark.parametrize("sent", ["job-42", "a" * 128])
def test_a_sane_request_id_is_the_clients(http: httpx2.Client, sent: str) -> None:
    assert http.get("/v1/models", headers={"x-request-id": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a" * 129, "a b", "é", '"><script>'])
def test_any_other_is_replaced(http: httpx2.Client, sent: str) -> None:
    named = http.get("/v1/models", headers={"x-request-id": sent.encode()}).headers["x-request-id"]

    assert re.fullmatch(r"req_[0-9a-f]{24}", named)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_too_large_is_told_the_limit_and_the_way_round(announced: bool) -> None:
    settings = Settings(max_upload_mb=1)
    pieces = [bytes(500_000)] * 12

    def sent() -> Any:
        yield from pieces

    with (
        fake_service(settings=settings) as service,
        served(create_app(service, settings)) as address,
        client(address) as http,
    ):
        content = b"".join(pieces) if announced else sent()
        answer = http.post(TRANSCRIPTIONS, content=content, headers={"Content-Type": "audio/wav"})

    assert answer.status_code == 413
    assert is_enveloped(answer)
    assert "1 MB" in answer.json()["error"]["message"]
    assert "Opus" in answer.json()["error"]["message"]


def test_exactly_the_limit_is_accepted() -> None:
    settings = Settings(max_upload_mb=1, upload_memory_mb=0)
    recording = wav() + bytes(1_000_000 - len(wav()))
    with (
        fake_service(settings=settings) as service,
        served(create_app(service, settings)) as address,
        client(address) as http,
    ):
        assert http.post(TRANSCRIPTIONS, files={"file": recording}).status_code == 200
        assert http.post(TRANSCRIPTIONS, files={"file": recording + b"\0"}).status_code == 413


@pytest.mark.parametrize(
    ("send", "kind"),
    [
        ({"model": "whisper-1", "file": b"no audio"}, sdk_errors.BadRequestError),
        ({"model": "whisper-1", "file": wav(), "language": "hh"}, sdk_errors.BadRequestError),
        ({"model": "nonsense", "file": wav()}, sdk_errors.NotFoundError),
    ],
)
def test_the_sdk_raises_its_own_exceptions(openai: OpenAI, send: Any, kind: type[Exception]) -> None:
    with pytest.raises(sdk_errors.APIStatusError) as refused:
        openai.audio.transcriptions.create(**send)

    assert type(refused.value) is kind
    assert refused.value.code
    assert refused.value.type
    assert refused.value.request_id


@pytest.mark.parametrize(
    ("fails", "kind", "code"),
    [
        ("engine", sdk_errors.InternalServerError, "engine_failed"),
        ("bug", sdk_errors.InternalServerError, "internal_error"),
    ],
)
def test_our_own_failures_are_typed_and_tell_no_words(
    fails: str, kind: type[Exception], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    def bug() -> None:
        raise RuntimeError(f"the transcript was: {CANARY}")

    engine = FakeEngine(fails=fails == "engine", began=bug if fails == "bug" else lambda: None)
    with (
        fake_service(engine) as service,
        served(create_app(service, service.settings)) as address,
        sdk(address) as openai,
        pytest.raises(sdk_errors.APIStatusError) as failed,
    ):
        openai.audio.transcriptions.create(file=(f"{CANARY}.wav", wav()), model="whisper-1")

    assert type(failed.value) is kind
    assert failed.value.code == code
    assert failed.value.request_id
    assert CANARY not in failed.value.response.text
    assert failed.value.request_id in caplog.text or fails == "engine"
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    "send",
    [
        {"files": {"file": (f"{CANARY}.mp3", b"no audio")}},
        {"files": {"file": (f"{CANARY}.mp3", b"")}},
        {"files": {"file": (f"{CANARY}.wav", CANARY.encode() * 100)}},
        {"files": {"file": (f"{CANARY}.wav", wav())}, "data": {"response_format": "diarized_json"}},
        {"files": {"file": (f"{CANARY}.wav", wav())}, "data": {"prompt": CANARY * 6000}},
        {"files": {"file": (f"{CANARY}.wav", wav())}, "data": {"prompt": CANARY, "language": "hh"}},
        {"files": {"file": (f"{CANARY}.wav", wav())}, "data": {"keywords[]": CANARY * 50}},
        {"files": {"other": (f"{CANARY}.wav", wav())}},
        {"data": {"prompt": CANARY}},
    ],
)
def test_no_error_repeats_file_names_or_prompts(
    http: httpx2.Client, send: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    answer = http.post(TRANSCRIPTIONS, **send)

    assert answer.status_code == 400
    assert CANARY not in answer.text + str(answer.headers)
    assert CANARY not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("whisper"))
