"""Good, bad and abandoned requests leave nothing behind (P9); `make load` measures 2,000 of them."""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from guarded import Guarded, guarded, wait_for
from serving import wav
from whisper_lambda.config import Settings

ROUNDS = 24  # of three requests; half as many warm up
PATHS = ("/transcribe", "/v1/audio/transcriptions", "/v1/audio/peaks", "/v1/audio/detect-language")


def abandoned(server: Guarded, content: bytes) -> None:
    """Send a request whole and hang up before the answer."""
    head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"
    with server.line() as line:
        line.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)


def asked(server: Guarded, http: httpx2.Client, rounds: int) -> list[int]:
    good, bad = wav(2.0), (b"no audio at all", wav(2.0)[:40], b"")
    statuses = []
    for number in range(rounds):
        path = PATHS[number % len(PATHS)]
        statuses.append(http.post(path, files={"file": ("a.wav", good)}).status_code)
        statuses.append(http.post(path, files={"file": ("a.wav", bad[number % 3])}).status_code)
        abandoned(server, good)
    wait_for(lambda: server.gates.admission.under_way == 0)
    return statuses


def held() -> tuple[int, int]:
    """Return how many descriptors and threads this process has."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 - a path would hold one open


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_requests_good_bad_and_abandoned_leave_nothing_behind(tmp_path: Path) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    scratch.mkdir()
    settings = Settings(home=home, scratch=scratch, upload_memory_mb=0, probe_every_s=3600)
    with guarded(settings) as server, httpx2.Client(base_url=server.url, timeout=120) as http:
        asked(server, http, ROUNDS // 2)
        wait_for(lambda: server.gates.readiness.state().ready)
        gc.collect()
        before, blocks = held(), sys.getallocatedblocks()

        statuses = asked(server, http, ROUNDS)
        wait_for(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
        gc.collect()
        grown = sys.getallocatedblocks() - blocks

        assert set(statuses) == {200, 400}
        assert list(scratch.iterdir()) == []
        assert grown / (3 * ROUNDS) < 10, "objects a request"
