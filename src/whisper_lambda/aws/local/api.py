"""The Runtime API of one local environment: the side of it that Lambda has."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import h11

_AT_ONCE = 65_536
_PATH = "/2018-06-01/runtime"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer: how it begins, some bytes, or how it ends."""

    kind: Literal["stream", "whole", "data", "end", "failed"]
    data: bytes = b""


@dataclass(slots=True, eq=False)
class Call:
    """One event on its way through the environment, and what comes back."""

    event: bytes
    ends: float  # seconds since the epoch
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    pieces: asyncio.Queue[Piece] = field(default_factory=lambda: asyncio.Queue(64))  # a slow reader slows
    left: bool = False  # nobody reads the answer any more
    hang_up: Callable[[], None] = lambda: None  # closes the line the answer comes on

    def leave(self) -> None:
        """Read no more; the process learns of it, where it streams."""
        if not self.left:
            self.left = True
            while not self.pieces.empty():  # who fills them must not wait for a reader
                self.pieces.get_nowait()
            self.pieces.put_nowait(Piece("end"))
            self.hang_up()

    async def put(self, piece: Piece) -> None:
        """Hand a piece to who reads the answer, when there is room for it."""
        if not self.left:
            await self.pieces.put(piece)

    async def answer(self) -> AsyncIterator[Piece]:
        """Yield the answer, as it comes; its last piece is of the kind "end" or "failed"."""
        while True:
            piece = await self.pieces.get()
            yield piece
            if piece.kind in ("end", "failed"):
                return


class LocalApi:
    """Serves one process. Belongs to the event loop."""

    def __init__(self) -> None:
        self.address = ""
        self.idle = asyncio.Event()  # the process waits for an event: it may be frozen
        self.snapshot = asyncio.Event()  # the process is ready to be copied
        self.failure: dict[str, Any] | None = None  # what went wrong at the start
        self.ended = asyncio.Event()  # the start went wrong
        self._next: asyncio.Queue[Call | None] = asyncio.Queue()
        self._calls: dict[str, Call] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen on a free port of this machine."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Hang up on the process."""
        self._next.put_nowait(None)
        if self._server:
            self._server.close()

    def give(self, call: Call) -> None:
        """Have the process answer one event; it must be idle."""
        self.idle.clear()
        self._calls[call.id] = call
        self._next.put_nowait(call)

    def abandon(self, call: Call, failure: dict[str, Any]) -> None:
        """Tell who waits for a call that nothing more comes."""
        if self._calls.pop(call.id, None) and not call.left:
            while call.pieces.full():
                call.pieces.get_nowait()
            call.pieces.put_nowait(Piece("failed", json.dumps(failure).encode()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = h11.Connection(h11.SERVER)
        try:
            request = await _event(line, reader)
            if isinstance(request, h11.Request):
                await self._answer(line, reader, writer, request)
        except (OSError, EOFError, h11.RemoteProtocolError):
            pass  # the process ended in the middle of a word
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(
        self,
        line: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: h11.Request,
    ) -> None:
        path = request.target.decode().removeprefix(_PATH)
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        if path == "/invocation/next":
            await self._give_next(line, reader, writer)
            return
        if path == "/restore/next":
            self.snapshot.set()
            _send(line, writer, 200)
        elif path == "/init/error":
            self.failure = json.loads(await _body(line, reader))
            self.ended.set()
            _send(line, writer, 202)
        elif path.startswith("/invocation/"):
            named, _, ending = path.removeprefix("/invocation/").partition("/")
            call = self._calls.get(named)
            if call and headers.get("lambda-runtime-function-response-mode") == "streaming":
                call.hang_up = writer.close
            status = await self._take(line, reader, call, ending, headers)
            _send(line, writer, status)
        else:
            _send(line, writer, 404)
        await writer.drain()

    async def _give_next(
        self, line: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.idle.set()
        call = await self._next.get()
        if call is None:
            raise EOFError
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call.id,
            "Lambda-Runtime-Deadline-Ms": str(round(call.ends * 1000)),
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):x}-{call.id.replace('-', '')[:24]}",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:local:000000000000:function:local",
        }
        _send(line, writer, 200, call.event, headers)
        await writer.drain()

    async def _take(
        self,
        line: h11.Connection,
        reader: asyncio.StreamReader,
        call: Call | None,
        ending: str,
        headers: dict[str, str],
    ) -> int:
        """Pass an answer on, piece by piece where it comes so; return the status the process is told."""
        if call is None:
            return 404
        if ending == "error":
            await call.put(Piece("failed", await _body(line, reader)))
        elif headers.get("lambda-runtime-function-response-mode") == "streaming":
            await call.put(Piece("stream"))
            await self._pass_on(line, reader, call)
        else:
            await call.put(Piece("whole", await _body(line, reader)))
            await call.put(Piece("end"))
        self._calls.pop(call.id, None)
        return 202

    async def _pass_on(self, line: h11.Connection, reader: asyncio.StreamReader, call: Call) -> None:
        while not call.left:
            event = await _event(line, reader)
            if isinstance(event, h11.Data):
                await call.put(Piece("data", bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                trailers = {name.decode(): value.decode() for name, value in event.headers}
                broken = base64.b64decode(trailers.get("lambda-runtime-function-error-body", ""))
                await call.put(Piece("failed", broken) if trailers else Piece("end"))
                return
        raise EOFError  # hang up: that is how the process learns that its client has left


async def _event(line: h11.Connection, reader: asyncio.StreamReader) -> Any:  # noqa: ANN401 - h11's events
    while True:
        event = line.next_event()
        if event is not h11.NEED_DATA:
            if isinstance(event, h11.ConnectionClosed):
                raise EOFError
            return event
        line.receive_data(await reader.read(_AT_ONCE))


async def _body(line: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while not isinstance(event := await _event(line, reader), h11.EndOfMessage):
        body += event.data
    return bytes(body)


def _send(
    line: h11.Connection,
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> None:
    told = {**(headers or {}), "Content-Length": str(len(body)), "Connection": "close"}
    head = h11.Response(status_code=status, headers=list(told.items()))
    for event in (head, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(line.send(event) or b"")
