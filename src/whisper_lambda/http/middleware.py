"""What every request passes before the routes: counted and told of, bounded, and its key checked.

Pure ASGI, outermost first as `guards` lists them. None of them reads a body; `Bounded` only watches
how fast one comes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import time
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_lambda import telemetry
from whisper_lambda.config import Settings
from whisper_lambda.errors import (
    BodyTooSlow,
    ClientError,
    CrossSite,
    HeadersTooLarge,
    MissingKey,
    ShuttingDown,
    WhisperLambdaError,
)
from whisper_lambda.http.admission import VISIT, Visit
from whisper_lambda.http.asking import facts
from whisper_lambda.http.envelope import Drained, refusal
from whisper_lambda.http.keys import Key, KeyFile
from whisper_lambda.http.limits import Usage
from whisper_lambda.telemetry import Meter

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MOST_HEADERS = 100
SLOWEST_BYTES_S = 2_000.0  # of a body; a telephone line does better
PATIENCE_S = 8.0  # how long a body may bring nothing, or fall behind the slowest
READ_TIMEOUT = b"x-stainless-read-timeout"  # the OpenAI SDKs say how long they wait for an answer

# What needs no key, and what needs another scope than "transcribe". Prefixes of paths.
OPEN = ("/health/live", "/health/ready")
SCOPES = {"/metrics": "metrics", "/jobs": "jobs", "/v1/jobs": "jobs", "/admin": "admin"}

log = logging.getLogger("whisper_lambda.request")


class Told:
    """Writes one log line a request and counts it, whatever becomes of it."""

    def __init__(self, app: ASGIApp, *, meter: Meter, words: bool = False) -> None:
        self.app = app
        self._meter = meter
        self._words = words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known, began = facts(scope), time.perf_counter()
        method = (
            scope["method"] if scope["method"] in METHODS else "other"
        )  # it too is the client's to choose
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
        known["received_bytes"] += len(message.get("body", b""))
        if message["type"] == "http.disconnect" and not finished:
            known["client_gone"] = True
        return message

    async def counted_send(message: Message) -> None:
        nonlocal finished
        if message["type"] == "http.response.start":
            known["status"] = message["status"]
        elif message["type"] == "http.response.body":
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
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if len(scope["headers"]) > MOST_HEADERS:
            many = HeadersTooLarge(f"{len(scope['headers'])} headers came; {MOST_HEADERS} are read")
            facts(scope)["code"] = many.code
            await refusal(many)(scope, receive, send)
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


class KeyGate:
    """Lets in who has a key that covers the route and has not used up what it may."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyFile,
        usage: Usage,
        answer_within_s: float = math.inf,
        open_to_everyone: bool = False,
        origins: Sequence[str] = (),
    ) -> None:
        self.app = app
        self._keys = keys
        self._usage = usage
        self._answer_within_s = answer_within_s
        self._open_to_everyone = open_to_everyone
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or (scope["path"] in OPEN and scope["method"] in {"GET", "HEAD"}):
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        started = False

        async def noted_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            key = self._admitted(scope, headers)
            with ExitStack() as held:
                if key:
                    facts(scope).update(tenant=key.tenant, key=key.id)
                    held.enter_context(self._usage.request(key))
                before = VISIT.set(Visit(key, self._patience_s(headers)))
                try:
                    await self.app(scope, receive, noted_send)
                finally:
                    VISIT.reset(before)
        except WhisperLambdaError as error:
            if started:
                raise
            facts(scope)["code"] = error.code
            await refusal(error)(scope, receive, send)

    def _admitted(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Key | None:
        """Return the request's key, or None where none is needed.

        Raises:
            ClientError: a key is needed and none, or none that will do, is there.
        """
        text, needed = _key_text(headers), _scope_of(scope["path"])
        if needed == "metrics" and _from_this_machine(scope, headers):
            return None
        if not self._open_to_everyone and self._keys.demanded:
            return self._keys.check(text, needed, time.time())
        if needed == "metrics":
            raise MissingKey("metrics are for this machine, or for a key with the scope `metrics`")
        self._same_site(headers)
        try:
            return self._keys.check(text, needed, time.time())
        except ClientError:  # SDKs send some key always; where none is needed it may be any
            return None

    def _same_site(self, headers: Mapping[bytes, bytes]) -> None:
        """Keep pages of other sites from using a server that asks its user for no key.

        Browsers send their forms anywhere without asking, and say so in this header.
        """
        foreign = headers.get(b"sec-fetch-site") in {b"cross-site", b"same-site"}
        if foreign and not self._origins & {headers.get(b"origin", b"").decode("latin-1"), "*"}:
            raise CrossSite("pages of other sites may not use this server; see WHISPER_LAMBDA_CORS_ORIGINS")

    def _patience_s(self, headers: Mapping[bytes, bytes]) -> float:
        try:
            told_s = float(headers.get(READ_TIMEOUT, b"inf"))
        except ValueError:
            told_s = math.inf
        return min(self._answer_within_s, told_s) if told_s > 0 else self._answer_within_s


def guards(
    settings: Settings, keys: KeyFile, usage: Usage, meter: Meter, *, open_to_everyone: bool = False
) -> list[Middleware]:
    """Return what stands before the routes, outermost first."""
    origins = settings.cors_origins
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "X-API-Key", "X-Request-ID"),
        expose_headers=("Retry-After", "X-Request-ID"),
    )
    gate = Middleware(
        KeyGate,
        keys=keys,
        usage=usage,
        answer_within_s=settings.answer_within_s,
        open_to_everyone=open_to_everyone,
        origins=origins,
    )
    told = Middleware(Told, meter=meter, words=settings.log_words)
    return [told, Middleware(Bounded), *([cors] if origins else []), gate, Middleware(Drained)]


def _key_text(headers: Mapping[bytes, bytes]) -> str | None:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip() or None


def _scope_of(path: str) -> str:
    return next(
        (s for prefix, s in SCOPES.items() if path == prefix or path.startswith(prefix + "/")), "transcribe"
    )


def _from_this_machine(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether the request was made here, and not passed on by a proxy that runs here."""
    if {b"x-forwarded-for", b"forwarded", b"via", b"x-real-ip"}.intersection(headers):
        return False
    try:
        return ipaddress.ip_address((scope.get("client") or ("",))[0]).is_loopback
    except ValueError:
        return False


def _route(scope: Scope) -> str:
    """Return the path's pattern, or "other": a path itself is what a client likes it to be."""
    found = getattr(scope.get("route"), "path", None)
    if isinstance(found, str):
        return found
    app = scope.get("app")
    return scope["path"] if isinstance(app, FastAPI) and scope["path"] in app.openapi()["paths"] else "other"
