"""The Lambda Runtime API, spoken over asyncio: invocations in, answers out whole or in pieces.

Source: AWS Lambda documentation, "Using the Lambda runtime API for custom runtimes" and "Response
streaming"; what the emulator of aws-sam-cli accepts. Every call is a connection of its own: one that was
frozen between two invocations is never trusted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h11

VERSION = "2018-06-01"
SEPARATOR = b"\0" * 8  # between a streamed answer's head and its body
STREAMED_JSON = "application/vnd.awslambda.http-integration-response"
TAKEN_S = 10.0  # how long the API may take to say that it has an answer's end
_AT_ONCE = 65_536  # bytes read in one go


class ApiGone(Exception):
    """The other side of the Runtime API closed the line."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event, and until when its answer must be there."""

    id: str
    event: bytes
    deadline: float  # seconds since the epoch
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is told of an invocation, or an initialisation, that failed: never a value of the event."""

    kind: str  # "Runtime.BadEvent"
    message: str
    frames: Sequence[str] = ()

    def to_wire(self) -> bytes:
        """Return it as the API wants it."""
        told = {"errorMessage": self.message, "errorType": self.kind, "stackTrace": list(self.frames)}
        return json.dumps(told).encode()


class RuntimeApi:
    """The API at `host:port`, as AWS_LAMBDA_RUNTIME_API names it."""

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        self._host, self._port = host or address, int(port or 80)

    async def next(self) -> Invocation:
        """Wait for the next event; between two, Lambda freezes this process right here.

        Raises:
            ApiGone: the API closed the line or answers with an error: this environment is at its end.
        """
        status, headers, body = await self._call("GET", "/runtime/invocation/next")
        if status != 200:  # noqa: PLR2004
            raise ApiGone(f"the Runtime API answers {status} when asked for the next event")
        try:
            return Invocation(
                id=headers["lambda-runtime-aws-request-id"],
                event=body,
                deadline=int(headers["lambda-runtime-deadline-ms"]) / 1000,
                trace=headers.get("lambda-runtime-trace-id", ""),
            )
        except (KeyError, ValueError) as cause:
            raise ApiGone("the Runtime API sent an event without its id or deadline") from cause

    async def respond(self, invocation: str, body: bytes) -> int:
        """Answer whole, with JSON; return the API's status."""
        path = f"/runtime/invocation/{invocation}/response"
        status, _, _ = await self._call("POST", path, body, {"Content-Type": "application/json"})
        return status

    async def fail(self, invocation: str, failure: Failure) -> int:
        """Say that an invocation failed."""
        return await self._report(f"/runtime/invocation/{invocation}/error", failure)

    async def fail_init(self, failure: Failure) -> int:
        """Say that this environment could not be made ready."""
        return await self._report("/runtime/init/error", failure)

    async def fail_restore(self, failure: Failure) -> int:
        """Say that this environment could not go on after it was restored."""
        return await self._report("/runtime/restore/error", failure)

    async def restored(self) -> None:
        """Say that all is ready for a snapshot; return in the environment restored from it."""
        await self._call("GET", "/runtime/restore/next")

    async def stream(self, invocation: str, gone: asyncio.Event) -> ResponseStream:
        """Begin an answer in pieces; `gone` is set when nobody takes it any more."""
        reader, writer = await self._connect()
        stream = ResponseStream(reader, writer, gone)
        try:
            await stream.begin(self.address, f"/{VERSION}/runtime/invocation/{invocation}/response")
        except ApiGone:
            await stream.close()
            raise
        return stream

    async def _report(self, path: str, failure: Failure) -> int:
        headers = {
            "Content-Type": "application/vnd.aws.lambda.error+json",
            "Lambda-Runtime-Function-Error-Type": failure.kind,
        }
        status, _, _ = await self._call("POST", path, failure.to_wire(), headers)
        return status

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection(self._host, self._port)
        except OSError as cause:
            raise ApiGone(f"the Runtime API at {self.address} does not answer") from cause

    async def _call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await self._connect()
        try:
            line = h11.Connection(h11.CLIENT)
            sent = {"Host": self.address, "Content-Length": str(len(body)), **(headers or {})}
            request = h11.Request(method=method, target=f"/{VERSION}{path}", headers=list(sent.items()))
            for event in (request, h11.Data(data=body), h11.EndOfMessage()):
                writer.write(line.send(event) or b"")
            await writer.drain()
            return await _answer(line, reader)
        except (OSError, EOFError, h11.RemoteProtocolError) as cause:
            raise ApiGone(f"the Runtime API closed the line of {method} {path}") from cause
        finally:
            await _close(writer)


class ResponseStream:
    """One answer on its way in pieces: chunked transfer, and a trailer where it breaks off."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._gone = gone
        self._line = h11.Connection(h11.CLIENT)
        self._watch: asyncio.Task[None] | None = None

    async def begin(self, host: str, target: str) -> None:
        """Send the request's head; the connection is watched from now on."""
        headers = [
            ("Host", host),
            ("Content-Type", STREAMED_JSON),
            ("Lambda-Runtime-Function-Response-Mode", "streaming"),
            ("Transfer-Encoding", "chunked"),
            ("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"),
        ]
        await self._send(h11.Request(method="POST", target=target, headers=headers))
        self._watch = asyncio.create_task(self._until_gone())

    async def write(self, data: bytes) -> None:
        """Send one piece.

        Raises:
            ApiGone: nobody takes it.
        """
        if data:
            await self._send(h11.Data(data=data))

    async def end(self, failure: Failure | None = None) -> None:
        """Send the end: a plain one, or with what broke the answer off."""
        trailers = []
        if failure:
            told = base64.b64encode(failure.to_wire()).decode()
            trailers = [
                ("Lambda-Runtime-Function-Error-Type", failure.kind),
                ("Lambda-Runtime-Function-Error-Body", told),
            ]
        try:
            await self._send(h11.EndOfMessage(headers=trailers))
            await asyncio.wait_for(self._gone.wait(), TAKEN_S)  # its 202, or that it hung up
        except TimeoutError:
            pass
        finally:
            await self.close()

    async def close(self) -> None:
        """Leave the line."""
        if self._watch:
            self._watch.cancel()
        await _close(self._writer)

    async def _send(self, event: h11.Event) -> None:
        if self._gone.is_set():
            raise ApiGone("nobody takes the answer any more")
        try:
            self._writer.write(self._line.send(event) or b"")
            await self._writer.drain()
        except OSError as cause:
            self._gone.set()
            raise ApiGone("nobody takes the answer any more") from cause

    async def _until_gone(self) -> None:
        """Wait for anything from the other side: an early answer and a closed line both end it."""
        with contextlib.suppress(OSError):
            await self._reader.read(_AT_ONCE)
        self._gone.set()


async def _answer(line: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    status, headers, body = 0, {}, bytearray()
    while True:
        event = line.next_event()
        if event is h11.NEED_DATA:
            line.receive_data(await reader.read(_AT_ONCE))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, headers, bytes(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise EOFError


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
