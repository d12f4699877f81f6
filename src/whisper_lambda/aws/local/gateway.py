"""A Function URL and the Invoke API on this machine: HTTP in, events to environments, their answers out.

anything                                              as through a Function URL
POST /2015-03-31/functions/NAME/invocations           an event as it is, as `aws lambda invoke` sends it
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.types import Receive, Scope, Send

from whisper_lambda.aws.http_event import MOST_BYTES
from whisper_lambda.aws.local.api import Piece
from whisper_lambda.aws.local.sandbox import Ended, Function, Sandbox
from whisper_lambda.aws.runtime_api import SEPARATOR

ACCOUNT = "000000000000"
_INVOKE = re.compile(r"/2015-03-31/functions/[^/]+/invocations")


class Throttled(Exception):
    """As many events are being answered as may be."""


class Pool:
    """Environments: as many as are needed at once, up to the function's concurrency; each stays warm."""

    def __init__(self, function: Function, *, concurrency: int, say: Callable[[str], None]) -> None:
        self.function = function
        self._most = concurrency
        self._say = say
        self._free: list[Sandbox] = []
        self._all: set[Sandbox] = set()

    @asynccontextmanager
    async def sandbox(self) -> AsyncIterator[Sandbox]:
        """Hold a free environment, or a new one where none is.

        Raises:
            Throttled: all that may be are busy.
            Ended: a new one did not start.
        """
        if self._free:
            found = self._free.pop()
        elif len(self._all) >= self._most:
            raise Throttled
        else:
            found = Sandbox(self.function, self._say)
            self._all.add(found)
            try:
                await found.start()
            except BaseException:
                self._all.discard(found)
                await found.stop()
                raise
        try:
            yield found
        finally:
            if found.alive:
                self._free.append(found)  # used last, used next: as Lambda does
            else:
                self._all.discard(found)

    async def close(self) -> None:
        """End every environment."""
        for sandbox in list(self._all):
            await sandbox.stop()
        self._all.clear()
        self._free.clear()


class Gateway:
    """The ASGI application that passes requests on. It knows nothing of what is inside."""

    def __init__(self, pool: Pool, *, buffered: bool = False, signed: bool = False) -> None:
        """Pass requests on to `pool`.

        Args:
            pool: environments.
            buffered: the URL's InvokeMode is BUFFERED.
            signed: take every request for one that AWS has found signed.
        """
        self._pool = pool
        self._buffered = buffered
        self._signed = signed
        self._behind: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            return
        body = await _received(receive)
        if body is None:
            await _say(send, 413, {"message": f"Request must be smaller than {MOST_BYTES} bytes"})
        elif _INVOKE.fullmatch(scope["path"]) and scope["method"] == "POST":
            await self._invoke(scope, body, send)
        else:
            await self._request(scope, body, receive, send)

    async def _invoke(self, scope: Scope, event: bytes, send: Send) -> None:
        """Pass an event on as it is."""
        kinds = [v for n, v in scope["headers"] if n.lower() == b"x-amz-invocation-type"]
        if kinds == [b"Event"]:
            task = asyncio.create_task(self._quietly(event))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)
            await _say(send, 202, b"")
            return
        try:
            failed, payload = await self._whole(event)
        except Throttled:
            await _say(
                send, 429, {"Reason": "ConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}
            )
            return
        extra = [(b"x-amz-function-error", b"Unhandled")] if failed else []
        await _say(send, 200, payload, extra)

    async def _quietly(self, event: bytes) -> None:
        while True:
            try:
                await self._whole(event)
            except Throttled:
                await asyncio.sleep(0.2)  # Lambda keeps such an event and tries again
            else:
                return

    async def _whole(self, event: bytes) -> tuple[bool, bytes]:
        """Return whether an event's invocation failed, and what came of it."""
        payload = bytearray()
        try:
            async with self._pool.sandbox() as sandbox, aclosing(sandbox.answer(event)) as pieces:
                async for piece in pieces:
                    if piece.kind == "failed":
                        return True, piece.data
                    payload += piece.data
        except Ended as end:
            return True, json.dumps(end.told).encode()
        return False, bytes(payload)

    async def _request(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        event = json.dumps(to_event(scope, body, signed=self._signed)).encode()
        if len(event) > MOST_BYTES:
            await _say(send, 413, {"message": f"Request must be smaller than {MOST_BYTES} bytes"})
            return
        try:
            async with self._pool.sandbox() as sandbox, aclosing(sandbox.answer(event)) as pieces:
                client = asyncio.create_task(_left(receive, sandbox))
                try:
                    await self._pass_on(pieces, send)
                finally:
                    client.cancel()
        except Throttled:
            await _say(
                send, 429, {"Reason": "ConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}
            )
        except Ended:
            await _say(send, 502, b"Internal Server Error")

    async def _pass_on(self, pieces: AsyncGenerator[Piece], send: Send) -> None:
        first = await anext(pieces)
        if first.kind == "stream" and not self._buffered:
            await _stream(pieces, send)
        elif first.kind == "whole" and len(first.data) <= MOST_BYTES:
            answer = json.loads(first.data)
            body = str(answer.get("body") or "").encode()
            await send(_start(answer))
            decoded = base64.b64decode(body) if answer.get("isBase64Encoded") else body
            await send({"type": "http.response.body", "body": decoded})
        else:  # it failed, streams through a URL that does not, or is more than Lambda lets out
            await _say(send, 502, b"Internal Server Error")
        async for _ in pieces:
            pass


async def _stream(pieces: AsyncIterator[Piece], send: Send) -> None:
    """Pass a streamed answer on as it comes; its head ends at the eight zeros."""
    begun, held = False, b""
    async for piece in pieces:
        if piece.kind == "failed":
            if begun:
                raise ConnectionAbortedError("the function's answer broke off")
            break
        held += piece.data
        if not begun and SEPARATOR in held:
            head, _, held = held.partition(SEPARATOR)
            await send(_start(json.loads(head)))
            begun = True
        if begun and held:
            await send({"type": "http.response.body", "body": held, "more_body": True})
            held = b""
    if begun:
        await send({"type": "http.response.body", "body": b""})
    else:
        await _say(send, 502, b"Internal Server Error")


def to_event(scope: Scope, body: bytes, *, signed: bool = False) -> dict[str, Any]:
    """Return a request as a Function URL's event, payload format 2.0."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    cookies = [c.strip() for c in headers.pop("cookie", "").split(";") if c.strip()]
    client = (scope.get("client") or ("127.0.0.1",))[0]
    headers |= {"x-forwarded-for": client, "x-forwarded-proto": "https", "x-forwarded-port": "443"}
    query = scope["query_string"].decode("latin-1")
    path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    now = time.time()
    context: dict[str, Any] = {
        "accountId": ACCOUNT if signed else "anonymous",
        "apiId": "local",
        "domainName": headers.get("host", "localhost"),
        "domainPrefix": "local",
        "http": {
            "method": scope["method"],
            "path": scope["path"],
            "protocol": "HTTP/1.1",
            "sourceIp": client,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": str(uuid.uuid4()),
        "routeKey": "$default",
        "stage": "$default",
        "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": round(now * 1000),
    }
    if signed:
        context["authorizer"] = {"iam": {"accountId": ACCOUNT, "userId": "local", "callerId": "local"}}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = dict(parse_qsl(query, keep_blank_values=True))
    if body:
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return event


def _start(told: dict[str, Any]) -> dict[str, Any]:
    headers = [
        (n.encode("latin-1"), str(v).encode("latin-1")) for n, v in (told.get("headers") or {}).items()
    ]
    headers += [(b"set-cookie", str(c).encode("latin-1")) for c in told.get("cookies") or ()]
    return {"type": "http.response.start", "status": int(told.get("statusCode", 200)), "headers": headers}


async def _received(receive: Receive) -> bytes | None:
    """Return the whole body; None where it is more than Lambda takes. The rest is read and thrown away."""
    body, size = bytearray(), 0
    while True:
        message = await receive()
        piece = message.get("body", b"")
        size += len(piece)
        if size <= MOST_BYTES:
            body += piece
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body) if size <= MOST_BYTES else None


async def _left(receive: Receive, sandbox: Sandbox) -> None:
    """Wait until the client leaves, or has its answer, and then read no more of it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if sandbox.call:
        sandbox.call.leave()


async def _say(
    send: Send, status: int, body: bytes | dict[str, str], extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *(extra or [])]})
    await send({"type": "http.response.body", "body": raw})
