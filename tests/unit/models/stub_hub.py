"""A hub on loopback that speaks the real one's protocol, and can be told to behave badly."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BIG = 10_000  # bytes; larger files are told as large storage tells them, with their sha256


class StubHub:
    """Serves the files of one repository. `fault` sees each request first and may answer it instead."""

    def __init__(self, repo: str, revision: str, files: dict[str, bytes]) -> None:
        self.repo = repo
        self.revision = revision
        self.files = files
        self.told = dict(files)  # what the list of files is computed from
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.fault: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False
        stub = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                stub.requests.append((self.command, self.path, headers))
                try:
                    if not stub.fault(self):
                        stub.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, part: str) -> list[dict[str, str]]:
        """Headers of the requests whose path holds `part`."""
        return [headers for _, path, headers in self.requests if part in path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        if path == f"/api/models/{self.repo}/revision/{self.revision}":
            send(request, json.dumps(self._info()).encode())
        elif path == f"/api/models/{self.repo}/commits/main":
            send(request, json.dumps([commit(self.revision), commit("f" * 40)]).encode())
        elif path.startswith(f"/{self.repo}/resolve/{self.revision}/"):
            send_range(request, self.files.get(path.rsplit("/", 1)[1]))
        else:
            send(request, b"{}", 404)

    def _info(self) -> dict[str, object]:
        siblings = []
        for name, content in self.told.items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            sibling = {"rfilename": name, "size": len(content), "blobId": git}
            if len(content) > BIG:
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 134}
            siblings.append(sibling)
        return {"_id": "1", "id": self.repo, "modelId": self.repo, "sha": self.revision, "siblings": siblings}


def commit(revision: str) -> dict[str, object]:
    return {"id": revision, "title": "t", "message": "", "authors": [], "date": "2023-03-23T10:00:00.000Z"}


def send(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def send_range(request: BaseHTTPRequestHandler, content: bytes | None) -> None:
    if content is None:
        send(request, b"", 404, x_error_code="EntryNotFound")
        return
    start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    if start >= len(content):
        send(request, b"", 416, content_range=f"bytes */{len(content)}")
    elif start:
        where = f"bytes {start}-{len(content) - 1}/{len(content)}"
        send(request, content[start:], 206, content_range=where)
    else:
        send(request, content)


def breaks_off_after(count: int, name: str, content: bytes) -> Callable[[BaseHTTPRequestHandler], bool]:
    """Promise the whole file, send `count` bytes from where asked, and hang up; every time."""

    def fault(request: BaseHTTPRequestHandler) -> bool:
        if not request.path.endswith(f"/{name}"):
            return False
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        request.send_response(206 if start else 200)
        if start:
            request.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("content-length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start : start + count])
        request.close_connection = True
        return True

    return fault


def drips(part: str, seconds: float = 30.0) -> Callable[[BaseHTTPRequestHandler], bool]:
    """Answer requests for `part` a byte at a time, for as long as anyone listens."""

    def fault(request: BaseHTTPRequestHandler) -> bool:
        if part not in request.path:
            return False
        request.send_response(200)
        request.send_header("content-length", "1000000")
        request.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)
        return True

    return fault


def says(status: int, part: str = "", **headers: str) -> Callable[[BaseHTTPRequestHandler], bool]:
    """Answer requests for `part` with a bare status."""

    def fault(request: BaseHTTPRequestHandler) -> bool:
        if part not in request.path:
            return False
        send(request, b"", status, **headers)
        return True

    return fault
