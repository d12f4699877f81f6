"""The conversation's steps, made real with httpx2: the only module of the client that knows it.

`Client` blocks, `AsyncClient` does not; both carry the same conversations.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpx2

from whisper_lambda.client.steps import Call, Content, Conversation, Progress, Reply, Step, Tell, Wait, Work

T = TypeVar("T")

BLOCK = 1 << 16
CONNECT_S, SILENCE_S = 10.0, 900.0  # a direct answer comes when all is heard: Lambda takes up to 900 s
_UNDO_S = 5.0


def client() -> httpx2.Client:
    """Return what a blocking client sends with."""
    return httpx2.Client(timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_S))


def async_client() -> httpx2.AsyncClient:
    """Return what a client of asyncio sends with."""
    return httpx2.AsyncClient(timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_S))


def carry(http: httpx2.Client, key: str | None, talk: Conversation[T], tell: Tell) -> T:
    """Carry a conversation to its end and return its result."""
    answer: Any = None
    undo: Call | None = None
    try:
        while True:
            step: Step = talk.send(answer)
            if isinstance(step, Wait):
                undo = step.undo
                answer = None
                time.sleep(step.seconds)
            elif isinstance(step, Work):
                answer = step.run()
            else:
                answer = _called(http, key, step, tell)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except BaseException:
        if undo is not None:
            with contextlib.suppress(httpx2.HTTPError):
                http.request(undo.method, undo.url, headers=_headers(key, undo), timeout=_UNDO_S)
        raise
    finally:
        talk.close()


async def carry_async(http: httpx2.AsyncClient, key: str | None, talk: Conversation[T], tell: Tell) -> T:
    """Carry a conversation to its end without blocking the event loop, and return its result."""
    answer: Any = None
    undo: Call | None = None
    try:
        while True:
            step: Step = talk.send(answer)
            if isinstance(step, Wait):
                undo = step.undo
                answer = None
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Work):
                answer = await _worked(step)
            else:
                answer = await _called_async(http, key, step, tell)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except BaseException:
        if undo is not None:
            with contextlib.suppress(httpx2.HTTPError):
                given_up = http.request(undo.method, undo.url, headers=_headers(key, undo), timeout=_UNDO_S)
                await asyncio.shield(given_up)
        raise
    finally:
        talk.close()


async def _worked(work: Work) -> Any:  # noqa: ANN401 - whatever it returns
    """Do work in a thread. Who is cancelled waits until the thread has ended: it would go on to its end."""
    running = asyncio.ensure_future(asyncio.to_thread(work.run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        work.give_up()
        await asyncio.gather(running, return_exceptions=True)
        raise


def _called(http: httpx2.Client, key: str | None, call: Call, tell: Tell) -> Reply:
    try:
        with _body(call, tell) as given:
            response = http.request(call.method, call.url, headers=_headers(key, call), **given)
    except httpx2.RequestError as cause:
        return _unreached(call, cause)
    return Reply(response.status_code, _lower(response.headers), response.content)


async def _called_async(http: httpx2.AsyncClient, key: str | None, call: Call, tell: Tell) -> Reply:
    try:
        with _body(call, tell) as given:
            if "content" in given:
                given["content"] = _stepping(given["content"])
            response = await http.request(call.method, call.url, headers=_headers(key, call), **given)
    except httpx2.RequestError as cause:
        return _unreached(call, cause)
    return Reply(response.status_code, _lower(response.headers), response.content)


async def _stepping(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block
        await asyncio.sleep(0)


def _headers(key: str | None, call: Call) -> dict[str, str]:
    """Return a call's headers; our key goes to our server only, never along a presigned address."""
    headers = dict(call.headers)
    if call.content is not None:
        headers["Content-Length"] = str(call.content.size_bytes - call.content.offset)
        headers.setdefault("Content-Type", call.content.media_type)
    if call.key and key:
        headers["Authorization"] = f"Bearer {key}"
    return headers


@contextlib.contextmanager
def _body(call: Call, tell: Tell) -> Iterator[dict[str, Any]]:
    """Open what a call sends, as httpx2's keywords."""
    if call.recording is not None:
        with _opened(call.recording) as file:
            counting = _Counting(file, call.recording, tell)
            about = (call.recording.filename, counting, call.recording.media_type)
            yield {"files": [*((name, (None, value)) for name, value in call.form or ()), ("file", about)]}
    elif call.content is not None:
        with _opened(call.content) as file:
            yield {"content": _blocks(_Counting(file, call.content, tell))}
    else:
        yield {} if call.json is None else {"json": dict(call.json)}


def _opened(content: Content) -> BinaryIO:
    file: BinaryIO = (
        content.source.open("rb") if isinstance(content.source, Path) else BytesIO(content.source)
    )
    file.seek(content.offset)
    return file


def _blocks(file: _Counting) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


class _Counting:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, content: Content, tell: Tell) -> None:
        self._file, self._content, self._progress = file, content, tell

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(BLOCK if size < 0 else size)
        self._progress(Progress("sending", float(self._file.tell()), float(self._content.size_bytes)))
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _lower(headers: httpx2.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _unreached(call: Call, cause: Exception) -> Reply:
    where = httpx2.URL(call.url)
    reason = f"{where.scheme}://{where.netloc.decode()} does not answer: {cause or type(cause).__name__}"
    return Reply(0, {}, reason.encode())
