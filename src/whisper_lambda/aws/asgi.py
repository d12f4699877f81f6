"""One HTTP event through the application, its answer streamed or whole.

The application never learns where it runs. What it raises before it has answered becomes an answer;
what it raises after breaks the stream off, in the open: with a trailer, never as a short success.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.types import ASGIApp, Message

from whisper_lambda import telemetry
from whisper_lambda.aws.http_event import MOST_BYTES, Head, HttpRequest, to_answer, to_head
from whisper_lambda.aws.runtime_api import ApiGone, Failure, ResponseStream
from whisper_lambda.errors import AnswerTooLarge, OutOfTime, WhisperLambdaError
from whisper_lambda.http.envelope import refusal

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where an answer goes. `gone` is set when nobody takes it any more."""

    gone: asyncio.Event

    async def start(self, head: Head) -> None:
        """Take status and headers."""

    async def write(self, data: bytes) -> None:
        """Take a piece of the body."""

    async def end(self, failure: Failure | None = None) -> None:
        """Take the end, or what broke the answer off."""

    async def close(self) -> None:
        """Let go of what is open; nobody takes the answer."""


class Streamed:
    """Sends an answer in pieces as they come."""

    def __init__(self, opened: Callable[[asyncio.Event], Awaitable[ResponseStream]]) -> None:
        self.gone = asyncio.Event()
        self._opened = opened
        self._stream: ResponseStream | None = None

    async def start(self, head: Head) -> None:
        """Send the head, and the eight zeros after it."""
        self._stream = await self._opened(self.gone)
        await self._stream.write(head.to_prelude())

    async def write(self, data: bytes) -> None:
        """Send a piece."""
        assert self._stream
        await self._stream.write(data)

    async def end(self, failure: Failure | None = None) -> None:
        """Send the end."""
        assert self._stream
        await self._stream.end(failure)

    async def close(self) -> None:
        """Leave the line."""
        if self._stream:
            await self._stream.close()


class Whole:
    """Keeps an answer until it is there, and sends it as one JSON."""

    def __init__(self, respond: Callable[[bytes], Awaitable[object]]) -> None:
        self.gone = asyncio.Event()  # a whole answer is taken whole
        self._respond = respond
        self._head = Head(500)
        self._body = bytearray()

    async def start(self, head: Head) -> None:
        """Keep the head."""
        self._head = head

    async def write(self, data: bytes) -> None:
        """Keep a piece."""
        self._body += data

    async def end(self, failure: Failure | None = None) -> None:
        """Send everything, or a refusal where it broke off or is more than Lambda lets out."""
        answer = to_answer(self._head, bytes(self._body))
        if failure and failure.kind.endswith(f".{OutOfTime.__name__}"):
            answer = to_answer(*refused(OutOfTime(failure.message)))
        elif failure:
            answer = to_answer(*refused(WhisperLambdaError("the answer broke off; the log says why")))
        elif len(answer) > MOST_BYTES:
            told = f"the answer has {len(self._body):,} bytes and Lambda lets {MOST_BYTES:,} out at once: "
            answer = to_answer(*refused(AnswerTooLarge(told + "ask for another format, a stream or a job")))
        await self._respond(answer)

    async def close(self) -> None:
        """Nothing is open."""


async def answer(app: ASGIApp, request: HttpRequest, sink: Sink, *, within_s: float) -> None:
    """Run one request through the application; whatever happens the sink is told of an end.

    Args:
        app: the application.
        request: what to ask it.
        sink: where its answer goes.
        within_s: seconds after which it is answered for, should it not have.
    """
    exchange = _Exchange(request, sink)
    task = asyncio.ensure_future(exchange.run(app))
    await asyncio.wait({task}, timeout=max(0.0, within_s))
    if not task.done():
        exchange.gave_up = True
        task.cancel()
        task.add_done_callback(_noted)  # a thread may be in it still: nobody waits for that
        log.error("the application did not answer in time")
        await exchange.finish(OutOfTime("the function's time was over before the answer was ready"))
        return
    await exchange.finish(task.exception())


class _Exchange:
    """One request and its answer, and how far the answer has come."""

    def __init__(self, request: HttpRequest, sink: Sink) -> None:
        self._request = request
        self._sink = sink
        self._asked = self._begun = self._ended = False
        self._start: Message | None = None
        self.gave_up = False

    async def run(self, app: ASGIApp) -> None:
        await app(self._request.scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        if not self._ended:
            await self._sink.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self.gave_up or self._ended:
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body" or self._start is None:
            raise RuntimeError(f"an application sends its answer in order, not {message['type']} first")
        try:
            await self._begin()
            await self._sink.write(message.get("body", b""))
            if not message.get("more_body", False):
                self._ended = True
                await self._sink.end()
        except ApiGone:
            self._ended = True  # the next `receive` says so; what is still sent leads nowhere
            await self._sink.close()
            return

    async def _begin(self) -> None:
        if not self._begun and self._start is not None:
            self._begun = True
            await self._sink.start(to_head(self._start["status"], self._start.get("headers", ())))

    async def finish(self, failure: BaseException | None) -> None:
        """See that there is an end, and the right one."""
        if self._ended:
            return
        self._ended = True
        try:
            await self._end(failure)
        except ApiGone:
            log.info("the client left before its answer was sent")
            await self._sink.close()

    async def _end(self, failure: BaseException | None) -> None:
        if failure is None:
            failure = RuntimeError("the application returned before its answer was complete")
        if not isinstance(failure, WhisperLambdaError):
            log.error("unexpected %s", type(failure).__name__, exc_info=failure)
            failure = WhisperLambdaError("an unexpected error; the request id names it in the log")
        if self._begun:
            kind = f"WhisperLambda.{type(failure).__name__}"
            await self._sink.end(Failure(kind, str(failure), telemetry.where(failure)))
            return
        head, body = refused(failure)
        await self._sink.start(head)
        await self._sink.write(body)
        await self._sink.end()


def refused(error: WhisperLambdaError) -> tuple[Head, bytes]:
    """Return the answer a failure gets: its head and its body."""
    answer = refusal(error)
    return to_head(answer.status_code, answer.raw_headers), bytes(answer.body)


def _noted(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception():
        log.info("an application that was given up ended with %s", type(task.exception()).__name__)
