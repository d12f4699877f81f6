"""A transcription server of a few lines, on loopback: it keeps what it is sent, and fails as told.

Enough for the client: it never looks at what the words are, only at statuses, headers and members.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

WORDS = {
    "task": "transcribe",
    "language": "spanish",
    "x_language_code": "es",
    "duration": 2.0,
    "text": "Hola a todos.",
    "segments": [{"id": 0, "start": 0.0, "end": 2.0, "text": " Hola a todos.", "avg_logprob": -0.2}],
    "words": [{"word": "Hola", "start": 0.0, "end": 0.5}, {"word": "a", "start": 0.6, "end": 0.7}],
    "x_model": {"requested": "small", "served": "base", "reason": "small is not here"},
    "x_warnings": ["the file ends early"],
    "x_receipt": {"chunks": 1, "cached_chunks": 0},
}


@dataclass(frozen=True)
class Got:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], bytes] | None  # None: hang up without a word


@dataclass
class Stub:
    """Answers with the next scripted answer for a route, else with what a good server says."""

    direct_limit: int = 1 << 40  # bytes of a body; more is refused with 413
    uploads: bool = True
    warns: str = ""  # beside what it writes
    job_states: list[str] = field(default_factory=lambda: ["completed"])
    job_error: dict[str, Any] | None = None
    script: dict[str, list[Answer]] = field(default_factory=dict)  # by "METHOD /first/part"
    got: list[Got] = field(default_factory=list)
    stored: bytearray = field(default_factory=bytearray)
    url: str = ""

    def routes(self, method: str = "") -> list[str]:
        return [f"{g.method} {g.path}" for g in self.got if g.method.startswith(method)]

    def answer(self, got: Got) -> Answer:
        path = urlsplit(got.path).path
        for route, answers in self.script.items():
            if f"{got.method} {path}".startswith(route) and answers:
                return answers.pop(0)
        return self._usual(got.method, path, got)

    def _usual(self, method: str, path: str, got: Got) -> Answer:
        if path.startswith("/v1/audio/"):
            if len(got.body) > self.direct_limit:
                return refused(413, "audio_too_large")
            return written(
                re.findall(rb'name="response_format"\r\n\r\n(\w+)', got.body)[0].decode(), self.warns
            )
        if not self.uploads:
            return refused(404, "not_found")
        if path == "/v1/uploads":
            ticket = {"method": "PUT", "url": "/store/upl_1?signature=x", "headers": {"X-Ticket": "7"}}
            return said(201, id="upl_1", **ticket)
        return self._stored(method, got) if path == "/store/upl_1" else self._job(path, got)

    def _stored(self, method: str, got: Got) -> Answer:
        if method == "HEAD":
            return 200, {"Upload-Offset": str(len(self.stored))}, b""
        self.stored += got.body
        return said(200, id="upl_1", status="complete")

    def _job(self, path: str, got: Got) -> Answer:
        if path == "/v1/jobs":
            return said(202, id="job_1", status="queued", progress={})
        if path == "/v1/jobs/job_1/result":
            return written(got.path.split("format=")[1], self.warns)
        if path == "/v1/jobs/job_1":
            state = self.job_states.pop(0) if len(self.job_states) > 1 else self.job_states[0]
            progress = {"audio_s": 10.0, "done_s": 4.0}
            return said(200, id="job_1", status=state, progress=progress, error=self.job_error)
        return refused(404, "not_found")


def said(status: int, /, **members: Any) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(members).encode()


def refused(status: int, code: str, param: str | None = None, **headers: str) -> Answer:
    error = {"message": f"no: {code}", "type": "t", "param": param, "code": code}
    return (
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        json.dumps({"error": error}).encode(),
    )


def written(wanted: str, warns: str = "") -> Answer:
    if wanted == "verbose_json":
        return said(200, **WORDS)
    if wanted == "json":
        return said(200, text="Hola a todos.", usage={"type": "duration", "seconds": 2})
    return 200, {"X-Warnings": warns} if warns else {}, f"{wanted}: Hola a todos.\n".encode()


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            got = Got(self.command, self.path, headers, body or chunks(self.rfile, headers))
            stub.got.append(got)
            answer = stub.answer(got)
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            status, extra, content = answer
            self.send_response(status)
            for name, value in {**extra, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = reply

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a hang-up is no news
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def chunks(file: Any, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return b""
    body = b""
    while size := int(file.readline(), 16):
        body += file.read(size)
        file.readline()
    file.readline()
    return body
