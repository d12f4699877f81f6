"""The Realtime API's routes: the socket, and client secrets for pages."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from whisper_lambda.errors import AudioTooLarge, BadOption, WhisperLambdaError
from whisper_lambda.http import jsonbody
from whisper_lambda.http.admission import VISIT
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.house import House
from whisper_lambda.http.realtime import passes
from whisper_lambda.http.realtime.configuration import Configuration, updated
from whisper_lambda.http.realtime.conversation import new_id
from whisper_lambda.http.realtime.socket import Socket
from whisper_lambda.http.realtime.talk import is_openais
from whisper_lambda.http.table import Table

MOST_BODY_BYTES = 64 * 1024
LONGEST_SECRET = 8_000  # characters: it travels in a header
_BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "expires_after": {
                            "type": "object",
                            "properties": {
                                "anchor": {"type": "string", "enum": ["created_at"]},
                                "seconds": {
                                    "type": "integer",
                                    "minimum": passes.SHORTEST_S,
                                    "maximum": passes.LONGEST_S,
                                },
                            },
                        },
                        "session": {"type": "object"},
                    },
                }
            }
        }
    }
}


def router(house: House, gates: Gates) -> Table:
    """Return the routes below /v1/realtime."""
    routes = Table(prefix="/v1/realtime", tags=["Live"])

    @routes.listen("")
    async def realtime(line: WebSocket) -> None:
        """Transcribe what is spoken while it is spoken."""
        await Socket(house, gates.floor, line).serve()

    @routes.answer("POST", "/client_secrets", openapi_extra=_BODY)
    async def client_secrets(request: Request) -> Response:
        """Make a secret a page may open a socket with, for ten minutes or as long as is asked."""
        given = await _json(request)
        unknown = given.keys() - {"expires_after", "session"}
        if unknown:
            raise BadOption(f"unknown member {sorted(unknown)[0][:40]!r}; known: expires_after, session")

        def check(model: str) -> None:
            if not is_openais(model):
                house.service.router.check(model)

        configuration = updated(Configuration(), given.get("session"), check)
        expires = int(time.time()) + _seconds(given.get("expires_after"))
        value = passes.made(gates.seal(), VISIT.get().key, given.get("session") or {}, expires)
        if len(value) > LONGEST_SECRET:
            raise BadOption("the session is too long to travel in a secret: send the rest as session.update")
        session = {
            "id": new_id("sess"),
            "object": "realtime.transcription_session",
            "expires_at": 0,
            **configuration.to_wire(),
        }
        return JSONResponse({"value": value, "expires_at": expires, "session": session})

    return routes


async def _json(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            raise AudioTooLarge(f"a session's description takes at most {MOST_BODY_BYTES} bytes")
    return jsonbody.members(body or b"{}")


def _seconds(given: object) -> int:
    if given is None:
        return passes.USUAL_S
    seconds = given.get("seconds", passes.USUAL_S) if isinstance(given, dict) else None
    anchored = isinstance(given, dict) and given.get("anchor", "created_at") == "created_at"
    if not anchored or isinstance(seconds, bool) or not isinstance(seconds, int):
        raise _blamed(BadOption("expires_after is {anchor: created_at, seconds: a whole number}"))
    if not passes.SHORTEST_S <= seconds <= passes.LONGEST_S:
        raise _blamed(BadOption(f"seconds is from {passes.SHORTEST_S} to {passes.LONGEST_S}"))
    return seconds


def _blamed(error: WhisperLambdaError) -> WhisperLambdaError:
    error.param = "expires_after"
    return error
