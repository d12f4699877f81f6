"""Where what guards a request plugs in: middleware before it is read, admission before it is heard.

A route asks for its turn when it has read the request and nothing is left to refuse:

    async with admission.admit(ask) as turn:
        ...  # the engine's work; turn.queue_s says how long the wait was

What is to be written into the request's log line and metrics goes into `facts(request.scope)`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
from starlette.middleware import Middleware
from starlette.types import Scope

from whisper_lambda import machine
from whisper_lambda.config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What admission may know of a request before it is heard."""

    tenant: str  # who pays: the key's tenant, else the form's user_id, else ""
    route: str  # "/v1/audio/transcriptions"
    model: str | None  # as asked for; None = the default
    size_bytes: int  # of the recording as it came
    audio_s: float | None = None  # known only where the recording is samples already
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """Leave to use the engine until the context is left."""

    queue_s: float = 0.0  # how long it was waited for


class Admission(Protocol):
    """Decides who is heard when."""

    def admit(self, ask: Ask) -> AbstractAsyncContextManager[Turn]:
        """Wait for a turn; the turn ends with the context, however that is left.

        Raises:
            Overloaded: no turn can be had soon (or one of its kin).
        """


class InOrder:
    """Admission for one tenant: whoever comes first, so many at once, the rest wait."""

    def __init__(self, at_once: int) -> None:
        self._turns = anyio.Semaphore(at_once)

    @asynccontextmanager
    async def admit(self, ask: Ask) -> AsyncIterator[Turn]:
        """Wait for a turn; see `Admission`."""
        asked = time.perf_counter()
        async with self._turns:
            yield Turn(time.perf_counter() - asked)


@dataclass(frozen=True, slots=True)
class Gates:
    """What stands between the socket and the routes."""

    admission: Admission
    middleware: Sequence[Middleware] = field(default=())  # pure ASGI, outermost first

    @classmethod
    def open(cls, settings: Settings) -> Gates:
        """Return gates that let everybody in and keep the engine from being asked too much at once."""
        return cls(InOrder(settings.at_once or 4 * machine.cores(settings)))


def facts(scope: Scope) -> MutableMapping[str, Any]:
    """Return the request's facts: flat names and numbers for its log line; never words, never file names."""
    state: MutableMapping[str, Any] = scope.setdefault("state", {})
    known: MutableMapping[str, Any] = state.setdefault("facts", {})
    return known
