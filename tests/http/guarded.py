"""A guarded server as `whisper-lambda serve` runs it, in a thread of the test."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fakes import FakeEngine, FakeRouter, from_noon
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.bootstrap import Service
from whisper_lambda.config import Settings
from whisper_lambda.errors import UnknownModel
from whisper_lambda.http import server
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.keys import KeyFile, key_file, new_key

READY_TEXT = " Please check the number and try again."


@dataclass
class Guarded:
    address: tuple[str, int]
    gates: Gates
    engine: FakeEngine
    running: server.Server
    door: KeyFile
    service: Service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    def key(self, tenant: str = "hernan", **how) -> str:
        text, key = new_key(tenant, time.time(), **how)
        self.door.add(key)
        return text

    def line(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=60)

    def raw(self, *parts: bytes, pause_s: float = 0.0, wait_s: float = 60.0) -> bytes:
        """Send bytes, then return everything the server says until it closes the connection."""
        with socket.create_connection(self.address, timeout=wait_s) as line:
            try:
                for part in parts:
                    line.sendall(part)
                    time.sleep(pause_s)
            except OSError:
                pass  # it has been closed; what was said before may still be read
            said = b""
            try:
                while more := line.recv(65_536):
                    said += more
            except ConnectionResetError:
                pass
            return said


class Choosy(FakeRouter):
    """Knows its tiers, as the real router does."""

    def check(self, model: str) -> None:
        if model not in {"base", "small", "default", "internal"}:
            raise UnknownModel("there is no such model; known: base, small")


class Patient(server.Connection):
    """Waits for heads as long as the busiest machine may need; tests of slow ones say less."""

    head_s = 60.0


@contextmanager
def guarded(
    settings: Settings, engine: FakeEngine | None = None, *, open_to_everyone: bool = False
) -> Iterator[Guarded]:
    engine = engine or FakeEngine(text=READY_TEXT)
    with Service(settings, Choosy(engine), DecoderPool(settings.decoders)) as service:
        gates = Gates.of(service, settings, open_to_everyone=open_to_everyone, clock=from_noon())
        app = create_app(service, settings, gates=gates)
        listener = server.bound("127.0.0.1", 0)
        running = server.server(app, settings, gates, connection=Patient)
        thread = threading.Thread(
            target=lambda: asyncio.run(running.serve(sockets=[listener])), daemon=True, name="server"
        )
        thread.start()
        wait_for(lambda: running.started)
        try:
            yield Guarded(listener.getsockname()[:2], gates, engine, running, key_file(settings), service)
        finally:
            running.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the server did not stop"


def wait_for(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)
