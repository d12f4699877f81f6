"""A client that leaves frees the machine within two seconds (P14)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from fakes import FakeEngine, fake_service
from serving import client, served, wav
from whisper_lambda.http.app import create_app


def asked(address: str, fields: str) -> socket.socket:
    """Send a request for a two-minute recording and do not read the answer."""
    url, recording = urlsplit(address), wav(120)
    raw = socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=10)
    raw.sendall(
        f"POST /v1/audio/transcriptions?{fields} HTTP/1.1\r\nHost: {url.netloc}\r\n"
        f"Content-Type: audio/wav\r\nContent-Length: {len(recording)}\r\n\r\n".encode()
        + recording
    )
    return raw


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


@pytest.mark.parametrize("fields", ["", "stream=true", "response_format=srt"])
def test_work_stops_when_its_client_leaves(fields: str) -> None:
    engine = FakeEngine(delay_s=0.3, serial=True)
    with fake_service(engine) as service, served(create_app(service, service.settings)) as address:
        raw = asked(address, fields)
        assert wait_until(lambda: len(engine.heard) >= 1, 20)
        raw.close()
        begun = len(engine.heard)
        time.sleep(2.0)
        settled = len(engine.heard)
        time.sleep(1.0)

        assert len(engine.heard) == settled  # nothing more is begun
        assert settled <= begun + 3
        with client(address) as http:  # and the next one is answered
            assert http.post("/transcribe", files={"file": wav()}).json()["text"]


def test_a_client_that_leaves_while_sending_is_no_failure() -> None:
    with fake_service() as service, served(create_app(service, service.settings)) as address:
        url = urlsplit(address)
        with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=10) as raw:
            raw.sendall(
                f"POST /transcribe HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: audio/wav\r\n"
                "Content-Length: 100000\r\n\r\nRIFF".encode()
            )
        with client(address) as http:
            assert http.post("/transcribe", files={"file": wav()}).json()["text"]
