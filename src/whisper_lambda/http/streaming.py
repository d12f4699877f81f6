"""Segments out as server-sent events, the way the OpenAI SDKs read `stream=True`.

The deltas put together are the text of the `done` event, which is the text of the answer without
`stream`, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import anyio
import anyio.from_thread
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from whisper_lambda.errors import ClientGone, WhisperLambdaError
from whisper_lambda.http import envelope
from whisper_lambda.http.answers import segment_event, to_logprobs
from whisper_lambda.http.listening import Event
from whisper_lambda.http.parameters import DIARIZED
from whisper_lambda.types import Segment

SLOW_READER_S = 30.0  # a client that takes none of its events for so long is given up
_HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


Emit = Callable[[bytes], Coroutine[Any, Any, None]]


class Deltas:
    """Cuts a growing text into deltas, none of them of white space only: the text is stripped at its ends."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = False

    def add(self, text: str) -> str:
        """Return what of the text may be sent now; "" where it must wait."""
        text = self._held + text
        if not self._begun:
            text = text.lstrip()
        sent = text.rstrip()
        self._held = text[len(sent) :]
        self._begun = self._begun or bool(sent)
        return sent


class EventStream(Response):
    """Answers with events. Nothing is sent before the first one, so that a refusal is still an answer.

    Args:
        produce: handed an `emit`; it returns when all is sent.
    """

    media_type = "text/event-stream"

    def __init__(self, produce: Callable[[Emit], Awaitable[None]]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._produce = produce
        self.background: BackgroundTask | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        started = stuck = False

        async def emit(data: bytes, *, more: bool = True) -> None:
            nonlocal started, stuck
            with anyio.move_on_after(SLOW_READER_S) as waiting:
                if not started:
                    started = True
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": data, "more_body": more})
            if waiting.cancelled_caught:
                stuck = True
                raise ClientGone("the client stopped reading its events")

        try:
            await self._produce(emit)
        except WhisperLambdaError as failed:
            if stuck or not started:
                raise
            await emit(envelope.event(failed))
        await emit(b"", more=False)


class Teller:
    """Turns the line's events, in the line's thread, into the stream's, in the event loop.

    Args:
        emit: sends.
        told_as: the format; `verbose_json` tells of each delta where it lies in how long a recording.
        logprobs: send every token's score.
    """

    def __init__(self, emit: Emit, *, told_as: str, logprobs: bool) -> None:
        self._emit = emit
        self._diarized = told_as == DIARIZED
        self._placed = told_as == "verbose_json"
        self._logprobs = logprobs
        self._deltas = Deltas()
        self._count = 0
        self._duration_s = 0.0

    def __call__(self, event: Event) -> None:
        """Send what the event says."""
        if not isinstance(event, Segment):
            self._duration_s = event.duration
            self._send(b": the recording is being heard\n\n")  # starts the answer; clients skip comments
            return
        if delta := self._deltas.add(event.text):
            wire: dict[str, Any] = {"type": "transcript.text.delta", "delta": delta}
            if self._diarized:
                wire["segment_id"] = f"seg_{self._count}"
            if self._logprobs:
                wire["logprobs"] = to_logprobs(event)
            if self._placed:
                wire |= {"x_start": round(event.start, 3), "x_end": round(event.end, 3)}
                wire["x_duration"] = round(self._duration_s, 3)
            self._send(to_event(wire))
        if self._diarized:
            self._send(to_event(segment_event(self._count, event)))
        self._count += 1

    def _send(self, data: bytes) -> None:
        anyio.from_thread.run(self._emit, data)


def to_event(wire: dict[str, Any]) -> bytes:
    """Return one event, its type named twice as the API does: in the JSON and before it."""
    body = json.dumps(wire, ensure_ascii=False)
    return f"event: {wire['type']}\ndata: {body}\n\n".encode("utf-8", "replace")
