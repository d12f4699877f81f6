"""What every request passes before the routes: counted and told of, bounded, and its key checked.

Pure ASGI, outermost first as `guards` lists them. None of them reads a body; `Bounded` only watches
how fast one comes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_lambda import telemetry
from whisper_lambda.config import Settings
from whisper_lambda.errors import (
    BodyTooSlow,
    HeadersTooLarge,
    ShuttingDown,
)
from whisper_lambda.http.asking import facts, path_of
from whisper_lambda.http.door import OPEN, KeyGate
from whisper_lambda.http.envelope import Drained, refusal
from whisper_lambda.http.keys import KeyFile
from whisper_lambda.http.limits import Usage
from whisper_lambda.live.seals import Seal
from whisper_lambda.telemetry import Meter

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MOST_HEADERS = 100
SLOWEST_BYTES_S = 2_000.0  # of a body; a telephone line does better
PATIENCE_S = 8.0  # how long a body may bring nothing, or fall behind the slowest

log = logging.getLogger("whisper_lambda.request")


class Told:
    """Writes one log line a request and counts it, whatever becomes of it."""

    def __init__(self, app: ASGIApp, *, meter: Meter, words: bool = False) -> None:
        self.app = app
        self._meter = meter
        self._words = words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        known, began = facts(scope), time.perf_counter()
        asked = scope.get("method", "SOCKET")
        method = asked if asked in {*METHODS, "SOCKET"} else "other"  # it too is the client's to choose
        known.update(method=method, received_bytes=0, sent_bytes=0)
        known["request_id"] = scope["state"].get("request_id", "")
        named = telemetry.REQUEST_ID.set(known["request_id"])
        counted_receive, counted_send = _counted(known, receive, send)
        try:
            await self.app(scope, counted_receive, counted_send)
        except asyncio.CancelledError:
            known["code"] = ShuttingDown.code
            if "status" in known:
                raise
            # The server stops and cannot wait longer: better an answer than a broken line.
            stopping = ShuttingDown("this server is being stopped; send it again", retry_after_s=5.0)
            await refusal(stopping)(scope, receive, counted_send)
        except Exception as cause:
            known.setdefault("status", 500)  # whoever is outside answers so
            known.setdefault("code", "internal_error")
            known.update(error_type=type(cause).__name__, where=telemetry.where(cause))
            raise
        finally:
            known["route"] = _route(scope)
            known["duration_s"] = time.perf_counter() - began
            self._tell(known)
            telemetry.REQUEST_ID.reset(named)

    def _tell(self, known: MutableMapping[str, Any]) -> None:
        self._meter.count(known)
        quiet = known["route"] in OPEN and known.get("status") == 200  # noqa: PLR2004 - asked every few seconds
        level = logging.DEBUG if quiet else logging.INFO
        log.log(level, "request", extra={"facts": telemetry.line_of(known, words=self._words)})


def _counted(known: MutableMapping[str, Any], receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return the same channels, noting in the facts what passes through them."""
    finished = False

    async def counted_receive() -> Message:
        message = await receive()
        known["received_bytes"] += sum(len(message.get(part) or b"") for part in ("body", "text", "bytes"))
        if message["type"] == "http.disconnect" and not finished:
            known["client_gone"] = True
        return message

    async def counted_send(message: Message) -> None:
        nonlocal finished
        if message["type"].endswith("http.response.start"):
            known["status"] = message["status"]
        elif message["type"] == "websocket.accept":
            known["status"] = 101
        elif message["type"] == "websocket.send":
            known["sent_bytes"] += len(message.get("text") or b"")
        elif message["type"].endswith("http.response.body"):
            known["sent_bytes"] += len(message.get("body", b""))
            finished = not message.get("more_body", False)
        await send(message)

    return counted_receive, counted_send


class Bounded:
    """Refuses more headers than any client sends, and bodies that come too slowly to wait for."""

    def __init__(self, app: ASGIApp, *, patience_s: float = PATIENCE_S) -> None:
        self.app = app
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] in {"http", "websocket"} and len(scope["headers"]) > MOST_HEADERS:
            many = HeadersTooLarge(f"{len(scope['headers'])} headers came; {MOST_HEADERS} are read")
            facts(scope)["code"] = many.code
            await refusal(many)(scope, receive, send)
            return
        if scope["type"] != "http":  # a socket is as slow as its speaker
            await self.app(scope, receive, send)
            return
        more, late = True, False
        deadline = time.monotonic() + self._patience_s

        async def timed_receive() -> Message:
            nonlocal more, late, deadline
            if late:
                return {"type": "http.disconnect"}
            if not more:
                return await receive()  # waits for the client to leave, as long as it stays
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                late = True
                raise BodyTooSlow("the request came too slowly; send it over a faster connection") from None
            earned_s = len(message.get("body", b"")) / SLOWEST_BYTES_S
            deadline = min(deadline + earned_s, time.monotonic() + self._patience_s)
            more = bool(message.get("more_body", False))
            return message

        await self.app(scope, timed_receive, send)


def guards(
    settings: Settings,
    keys: KeyFile,
    usage: Usage,
    meter: Meter,
    seal: Callable[[], Seal],
    *,
    open_to_everyone: bool = False,
) -> list[Middleware]:
    """Return what stands before the routes, outermost first."""
    origins = settings.cors_origins
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "HEAD", "DELETE"),
        allow_headers=("*",),  # SDKs send a dozen of their own; none of them opens anything but a key
        expose_headers=("*",),  # receipts, warnings, where a job is: no credentials come by themselves here
    )
    gate = Middleware(
        KeyGate,
        keys=keys,
        usage=usage,
        seal=seal,
        answer_within_s=settings.answer_within_s,
        open_to_everyone=open_to_everyone,
        origins=origins,
    )
    told = Middleware(Told, meter=meter, words=settings.log_words)
    return [told, Middleware(Bounded), *([cors] if origins else []), gate, Middleware(Drained)]


REALTIME = "/v1/realtime"


def _route(scope: Scope) -> str:
    """Return the path's pattern, or "other": a path itself is what a client likes it to be."""
    found = getattr(scope.get("route"), "path", None)
    if isinstance(found, str):
        return found
    app, path = scope.get("app"), path_of(scope)
    if scope["type"] == "websocket":
        return REALTIME if path == REALTIME else "other"
    return path if isinstance(app, Starlette) and path in app.state.paths else "other"
