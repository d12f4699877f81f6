"""A Runtime API of plain sockets: gives events out and keeps every byte that comes back, with its time.

Knows nothing of HTTP beyond where a message ends, so that what the runtime really sends can be looked at.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Told:
    """One request the runtime made."""

    line: str
    head: bytes
    pieces: list[tuple[float, bytes]] = field(default_factory=list)  # seconds since the head, raw bytes

    @property
    def raw(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    @property
    def chunked(self) -> bool:
        return b"transfer-encoding: chunked" in self.head.lower()

    def header(self, name: str) -> str:
        lines = [line.partition(":") for line in self.head.decode().split("\r\n")[1:]]
        return next((v.strip() for n, _, v in lines if n.lower() == name.lower()), "")

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.chunks) if self.chunked else self.raw

    @property
    def chunks(self) -> list[tuple[float, bytes]]:
        """Chunks of the transfer, each with the time its last byte came."""
        found, at, raw = [], 0, self.raw
        ends = []
        total = 0
        for moment, piece in self.pieces:
            total += len(piece)
            ends.append((total, moment))
        while True:
            size_end = raw.index(b"\r\n", at)
            size = int(raw[at:size_end], 16)
            if size == 0:
                return found
            start = size_end + 2
            assert raw[start + size : start + size + 2] == b"\r\n"
            moment = next(m for end, m in ends if end >= start + size)
            found.append((moment, raw[start : start + size]))
            at = start + size + 2

    @property
    def trailers(self) -> dict[str, str]:
        tail = self.raw[self.raw.rindex(b"0\r\n") + 3 :].decode()
        pairs = [line.partition(":") for line in tail.split("\r\n") if line]
        return {n.strip().lower(): v.strip() for n, _, v in pairs}

    def ended(self) -> bool:
        if self.chunked:
            return b"\r\n0\r\n" in b"\r\n" + self.raw and self.raw.endswith(b"\r\n\r\n")
        return len(self.raw) >= int(self.header("content-length") or 0)


class FakeRuntimeApi:
    def __init__(self, events: list[bytes], *, limit_s: float = 30.0, hang_up: bool = False) -> None:
        self.told: list[Told] = []
        self.asked = threading.Semaphore(0)
        self._events = list(events)
        self._limit_s = limit_s
        self._hang_up = hang_up  # after the first piece of a streamed answer
        self._number = 0
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def of(self, ending: str) -> list[Told]:
        return [t for t in self.told if t.line.split()[1].endswith(ending)]

    def answers(self) -> list[Told]:
        return [t for t in self.told if "/invocation/id-" in t.line]

    def stop(self) -> None:
        self._stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, contextlib.suppress(ConnectionError):
            raw = b""
            while b"\r\n\r\n" not in raw:
                more = line.recv(65_536)
                if not more:
                    return
                raw += more
            head, _, rest = raw.partition(b"\r\n\r\n")
            told = Told(head.split(b"\r\n")[0].decode(), head)
            with self._lock:
                self.told.append(told)
            began = time.monotonic()
            if rest:
                told.pieces.append((0.0, rest))
            while not told.ended():
                if self._hang_up and told.chunked and told.raw:
                    return
                more = line.recv(65_536)
                if not more:
                    return
                told.pieces.append((time.monotonic() - began, more))
            self._answer(line, told)

    def _answer(self, line: socket.socket, told: Told) -> None:
        path = told.line.split()[1]
        if path.endswith("/invocation/next"):
            with self._lock:
                event = self._events.pop(0) if self._events else None
                self._number += 1
            if event is None:
                self._stopped.wait(30)
                return
            deadline = round((time.time() + self._limit_s) * 1000)
            headers = f"Lambda-Runtime-Aws-Request-Id: id-{self._number}\r\n"
            headers += f"Lambda-Runtime-Deadline-Ms: {deadline}\r\n"
            line.sendall(f"HTTP/1.1 200 OK\r\n{headers}Content-Length: {len(event)}\r\n\r\n".encode() + event)
        elif path.endswith("/restore/next"):
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            line.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            self.asked.release()


@contextmanager
def fake_api(*events: bytes | dict, **how: object) -> Iterator[FakeRuntimeApi]:
    raw = [e if isinstance(e, bytes) else json.dumps(e).encode() for e in events]
    api = FakeRuntimeApi(raw, **how)
    try:
        yield api
    finally:
        api.stop()


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)
