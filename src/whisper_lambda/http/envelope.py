"""Every failure leaves in one shape, and every answer with its x-request-id.

`{"error": {"message", "type", "param", "code"}}`, as the OpenAI SDKs unwrap it. Nothing a client sent
comes back in a message but the names of fields and short values; no words of a transcript ever do.
"""

from __future__ import annotations

import json
import logging
import math
import re
import secrets
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_lambda import errors
from whisper_lambda.errors import WhisperLambdaError
from whisper_lambda.http.asking import facts

log = logging.getLogger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_DRAIN_BYTES = 64 * 1024 * 1024  # an upload refused early is read on this far, so that its client
_DRAIN_S = 5.0  # gets to read the answer instead of a broken pipe
_BEGINNINGS = ("http.response.start", "websocket.http.response.start", "websocket.accept")
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    499: "client_gone",
}


def to_wire(error: WhisperLambdaError) -> dict[str, Any]:
    """Return the envelope of a failure."""
    kind = "server_error" if error.status >= 500 else _TYPES.get(error.status, "invalid_request_error")  # noqa: PLR2004
    told = {"message": str(error), "type": kind, "param": error.param, "code": error.code}
    return {"error": told | dict(error.details)}


def refusal(error: WhisperLambdaError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer a failure gets."""
    wait = error.retry_after_s
    extra = {} if wait is None else {"Retry-After": str(max(1, math.ceil(wait)))}
    if error.status == 401:  # noqa: PLR2004
        extra["WWW-Authenticate"] = "Bearer"
    if error.final:
        extra["x-should-retry"] = "false"
    return JSONResponse(to_wire(error), error.status, {**(headers or {}), **extra})


def install(app: Starlette) -> None:
    """Give the app our shape of failure in place of the framework's."""
    app.add_exception_handler(WhisperLambdaError, _ours)
    app.add_exception_handler(HTTPException, _framework)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WhisperLambdaError)
    facts(request.scope)["code"] = error.code
    return refusal(error)


async def _framework(request: Request, error: Exception) -> JSONResponse:
    """Translate what the framework refuses by itself: paths, methods and bodies too large."""
    assert isinstance(error, HTTPException)
    ours: WhisperLambdaError
    if error.status_code == 404:  # noqa: PLR2004
        ours = errors.NoSuchRoute("there is nothing at this path; /docs lists what there is")
    elif error.status_code == 405:  # noqa: PLR2004
        ours = errors.MethodNotAllowed(f"{request.method} is not answered at this path; /docs lists what is")
    elif error.status_code == 413:  # noqa: PLR2004
        ours = errors.AudioTooLarge(str(error.detail))
    else:
        ours = errors.ClientError(str(error.detail))
    facts(request.scope)["code"] = ours.code
    return refusal(ours, error.headers)


class RequestIds:
    """Outermost: names the request, puts its name on the answer, and answers where all else failed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        named = _client_id(scope) or f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = named
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] in _BEGINNINGS:
                started = True
                kept = [h for h in message.get("headers", ()) if h[0].lower() != b"x-request-id"]
                message = {**message, "headers": [*kept, (b"x-request-id", named.encode())]}
            await send(message)

        try:
            await self.app(scope, receive, send_named)
        except Exception as cause:  # noqa: BLE001 - the last line of defence: the client gets our shape
            # Where it happened, and not its message: that may hold what a client sent.
            where = "".join(traceback.format_tb(cause.__traceback__))
            log.error("unexpected %s in %s\n%s", type(cause).__name__, named, where)  # noqa: TRY400
            if not started:
                unexpected = errors.WhisperLambdaError(
                    "an unexpected error; the request id names it in the log"
                )
                await refusal(unexpected)(scope, receive, send_named)


class Drained:
    """Before an early refusal is sent, takes in what the client is still sending, within bounds.

    A client that is cut off while it sends sees a broken pipe and never reads why.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        more = True

        async def received() -> Message:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and bool(message.get("more_body"))
            return message

        async def send_after(message: Message) -> None:
            if message["type"] == "http.response.start" and more and _has_body(scope):
                with anyio.move_on_after(_DRAIN_S), suppress(errors.BodyTooSlow):
                    taken = 0
                    while more and taken < _DRAIN_BYTES:
                        taken += len((await received()).get("body", b""))
            await send(message)

        await self.app(scope, received, send_after)


def _has_body(scope: Scope) -> bool:
    length = _header(scope, b"content-length")
    if length.isdigit() and int(length) > _DRAIN_BYTES:
        return False  # it would not be read to its end anyway
    return length not in (b"", b"0") or bool(_header(scope, b"transfer-encoding"))


def _client_id(scope: Scope) -> str | None:
    sent = _header(scope, b"x-request-id").decode("latin-1")
    return sent if _SANE_ID.fullmatch(sent) else None


def _header(scope: Scope, name: bytes) -> bytes:
    value: bytes = next((v for n, v in scope["headers"] if n.lower() == name), b"")
    return value


def event(error: WhisperLambdaError) -> bytes:
    """Return a failure as the server-sent event that makes an SDK raise in mid-stream."""
    return b"event: error\ndata: " + json.dumps(to_wire(error)).encode() + b"\n\n"


OUTERMOST = (Middleware(RequestIds),)
