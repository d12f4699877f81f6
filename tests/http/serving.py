"""A real server on a real socket, for tests that speak to it as clients do."""

from __future__ import annotations

import io
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import uvicorn
from numpy.typing import NDArray
from openai import OpenAI
from starlette.types import ASGIApp

from fakes import fake_service
from whisper_lambda.config import Settings

FIXTURES = Path(__file__).parents[1] / "fixtures"


@contextmanager
def served(app: ASGIApp, **how: Any) -> Iterator[str]:
    """Serve the app on a free port of the loopback, with uvicorn's settings; give its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", access_log=False, **how
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server did not start in time"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not stop"


def sdk(address: str, *, timeout: float = 120) -> OpenAI:
    """The real SDK, without its second tries: a test wants to see the first answer."""
    return OpenAI(base_url=f"{address}/v1", api_key="sk-none", max_retries=0, timeout=timeout)


def client(address: str) -> httpx2.Client:
    return httpx2.Client(base_url=address, timeout=120)


@cache
def voice() -> NDArray[np.float32]:
    """Somebody speaking Spanish for 14.7 s, 16 kHz."""
    settings = Settings()
    with fake_service(settings=settings) as service:
        return service.decode(FIXTURES / "es-tt-allbusy.flac").samples


def wav(seconds: float = 2.0, *, channels: int = 1, silent: tuple[int, ...] = ()) -> bytes:
    """Speech in every channel but the silent ones, 16 kHz, 16 bit."""
    said = np.resize(voice(), round(seconds * 16_000))
    samples = np.stack([np.zeros_like(said) if c in silent else said for c in range(channels)], axis=1)
    return pcm_wav(samples)


def pcm_wav(samples: NDArray[np.float32]) -> bytes:
    """A WAV of samples (n,) or (n, channels), 16 kHz, 16 bit."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim > 1 else 1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return out.getvalue()
