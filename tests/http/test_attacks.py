"""The attacks of tests/unit/audio/test_hostile.py at every door, beside a good client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from test_hostile import ATTACKS, FFCONCAT, HLS, SDP

from fakes import fake_service
from serving import client, served, wav
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates

AHEAD = "upload"
DOORS = {
    "multipart": ("/v1/audio/transcriptions", "file"),
    "raw body": ("/v1/audio/transcriptions", ""),
    "translations": ("/v1/audio/translations", "file"),
    "detection": ("/v1/audio/detect-language", "file"),
    "founding": ("/transcribe", "file"),
    "asr": ("/asr", "audio_file"),
    "asr detection": ("/detect-language", "audio_file"),
    "peaks": ("/v1/audio/peaks", "file"),
    "sent ahead": ("/v1/audio/transcriptions", AHEAD),
    "founding, sent ahead": ("/transcribe", AHEAD),
}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    settings = Settings(
        max_audio_s=30.0,
        home=tmp_path_factory.mktemp("home"),
        scratch=tmp_path_factory.mktemp("scratch"),
        upload_memory_mb=0,
        probe_every_s=0,
    )
    with (
        fake_service(settings=settings) as service,
        served(create_app(service, settings, gates=Gates.of(service, settings))) as address,
        client(address) as http,
    ):
        service.decoders.missing_limits()  # waits until it is warm
        yield http


def sent(http: httpx2.Client, where: str, name: str, content: bytes) -> httpx2.Response:
    path, part = DOORS[where]
    if part == AHEAD:
        made = http.post("/v1/uploads", json={"size_bytes": len(content)}).json()
        assert http.put(made["url"], content=content).status_code == 200
        return http.post(path, data={"upload": made["id"]})
    if part:
        return http.post(path, files={part: (name, content, "audio/mpeg")})
    return http.post(path, content=content, headers={"Content-Type": "audio/mpeg"})


@pytest.mark.parametrize("where", DOORS)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_in_its_own_type(door: httpx2.Client, name: str, where: str) -> None:
    content, error = ATTACKS[name]
    answer = sent(door, where, "talk.mp3", content)

    assert answer.status_code == error.status, answer.text
    assert answer.json()["error"]["code"] == error.code


def test_a_good_client_notices_nothing(door: httpx2.Client) -> None:
    over = threading.Event()
    answers: list[httpx2.Response] = []

    def attack() -> None:
        with client(str(door.base_url)) as http:
            while not over.is_set():
                for name, (content, _) in ATTACKS.items():
                    sent(http, "multipart", name, content)

    attackers = [threading.Thread(target=attack) for _ in range(2)]
    for attacker in attackers:
        attacker.start()
    try:
        answers = [sent(door, "multipart", "good.wav", wav()) for _ in range(10)]
    finally:
        over.set()
        for attacker in attackers:
            attacker.join()

    assert [a.json().get("text") for a in answers] == ["Hola a todos."] * 10


@pytest.mark.parametrize("content", [SDP, FFCONCAT, HLS])
def test_uploads_open_no_port_and_read_no_file(door: httpx2.Client, content: bytes) -> None:
    """The port of the SDP stays free while it is refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 40_123))
        answer = sent(door, "multipart", "upload.sdp", content)

    assert answer.json()["error"]["code"] == "bad_audio"


def test_nothing_is_left_on_disk(door: httpx2.Client, tmp_path: Path) -> None:
    settings = Settings(scratch=tmp_path, upload_memory_mb=0)
    with (
        fake_service(settings=settings) as service,
        served(create_app(service, settings)) as address,
        client(address) as http,
    ):
        assert sent(http, "multipart", "../../etc/passwd", wav()).status_code == 200
        assert sent(http, "raw body", "", b"no audio").status_code == 400

        assert list(tmp_path.iterdir()) == []
