"""One live session on a server: what its client sent waits here, and what it is to be told.

A talk outlives its socket by two minutes: a client that lost its line connects again with the
session's id and goes on. While nobody is there nothing is decoded, and nothing is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter

from whisper_lambda import lanes
from whisper_lambda.audio.pcm import PcmStream
from whisper_lambda.bootstrap import Service
from whisper_lambda.errors import EngineFailed, WhisperLambdaError
from whisper_lambda.http.envelope import to_wire
from whisper_lambda.http.parameters import OPENAI_MODELS
from whisper_lambda.http.realtime.configuration import Configuration
from whisper_lambda.http.realtime.conversation import Conversation, Sent, event
from whisper_lambda.lanes import Lane
from whisper_lambda.live.pace import PACES
from whisper_lambda.live.session import Session
from whisper_lambda.types import SAMPLE_RATE

MOST_BEHIND_S = 30.0  # audio taken in and not decoded; beyond it the socket is not read
MOST_KEPT = 2_000  # events kept for a client that comes back
TRIES = 3  # times a step may fail before the item does
SHORTEST_COMMIT_S = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Audio:
    """Bytes of audio, as the configuration of the moment says they are written."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """The turn ends here."""


@dataclass(frozen=True, slots=True)
class Clear:
    """What was not committed is to be forgotten."""


@dataclass(frozen=True, slots=True)
class Update:
    """From here on this configuration holds."""

    configuration: Configuration


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more will come."""


Order = Audio | Commit | Clear | Update | End


class Talk:
    """Belongs to the event loop, but for what `_work` calls: one thread at a time does that."""

    def __init__(
        self,
        talk_id: str,
        service: Service,
        configuration: Configuration,
        *,
        owner: str = "",
        took: Callable[[float, float], None] = lambda step_s, audio_s: None,
    ) -> None:
        """Begin.

        Args:
            talk_id: the session's id, which nobody can guess.
            service: hears.
            configuration: from the start.
            owner: whose it is; nobody else may take it up again.
            took: told how long each step took and how much audio it dealt with, seconds.
        """
        self.id = talk_id
        self.owner = owner
        self.configuration = configuration  # as asked for; what holds for the audio follows in order
        self.received_bytes = 0  # of audio, since the start: where a client that comes back goes on
        self.begun = time.time()
        self.kept: deque[tuple[int, Sent]] = deque(maxlen=MOST_KEPT)
        self.sent = 0  # events so far
        self.ended = False
        self.present = True  # whether a client is connected
        self._service = service
        self._took = took
        self._orders: deque[Order] = deque()
        self._heard_bytes = 0  # of those; written in the working thread only, as they are in the loop's
        self._changed = asyncio.Event()
        self._told = asyncio.Event()
        self._replaced = asyncio.Event()  # the line of now by another
        self._held = ExitStack()
        self._session: Session | None = None
        self._stream = PcmStream(configuration.raw)
        self._conversation = Conversation(commits=configuration.turns is None, include=configuration.include)
        self._model: str | None = None
        self._uncommitted_s = 0.0
        self._failures = 0

    def put(self, order: Order) -> None:
        """Queue what the client asked for."""
        if isinstance(order, Audio):
            self.received_bytes += len(order.data)
        elif isinstance(order, Update):
            self.configuration = order.configuration
        self._orders.append(order)
        self._changed.set()

    def tell(self, sent: Sent) -> None:
        """Queue an event for the client."""
        self.sent += 1
        self.kept.append((self.sent, sent))
        self._told.set()

    async def next_event(self, after: int) -> tuple[int, Sent] | None:
        """Wait for the event after the `after`-th; None when the talk has ended and all are told."""
        while self.sent <= after:
            if self.ended:
                return None
            self._told.clear()
            await self._told.wait()
        first = self.kept[0][0]
        return self.kept[max(0, after + 1 - first)]

    def number_of(self, event_id: str) -> int | None:
        """Return which event has this id, if it is still kept."""
        return next((n for n, sent in self.kept if sent["event_id"] == event_id), None)

    @property
    def behind_s(self) -> float:
        """Seconds of audio that came and are not dealt with."""
        pending = self._session.pending_s if self._session else 0.0
        return pending + (self.received_bytes - self._heard_bytes) / self.configuration.raw.bytes_per_second

    async def room(self) -> None:
        """Wait until more audio may come."""
        while self.behind_s > MOST_BEHIND_S and not self.ended:
            await asyncio.sleep(0.05)

    async def run(self, threads: CapacityLimiter) -> None:
        """Listen until the end is ordered. Whatever goes wrong is told, and ends this talk alone."""
        try:
            while not self.ended:
                while not self._orders and (self._session is None or self._session.idle or not self.present):
                    self._changed.clear()
                    await self._changed.wait()
                orders = list(self._orders)
                self._orders.clear()
                sent = await anyio.to_thread.run_sync(self._work, orders, limiter=threads)
                for one in sent:
                    self.tell(one)
                if any(isinstance(order, End) for order in orders):
                    break
        except WhisperLambdaError as failure:
            self.tell(event("error", error={**to_wire(failure)["error"], "event_id": None}))
        except Exception:
            log.exception("a live session ended unexpectedly")
            unexpected = to_wire(WhisperLambdaError("an unexpected error ended the session"))["error"]
            self.tell(event("error", error={**unexpected, "event_id": None}))
        finally:
            self.ended = True
            self._told.set()
            await anyio.to_thread.run_sync(self._held.close)

    def leave(self) -> None:
        """The client's line is gone."""
        self.present = False

    def join(self) -> asyncio.Event:
        """The client is here, or back; return what will tell its line that another took its place.

        A client whose network changed is back long before the line it had is known to be gone.
        """
        self._replaced.set()
        self._replaced = asyncio.Event()
        self.present = True
        self._changed.set()
        return self._replaced

    def _work(self, orders: list[Order]) -> list[Sent]:
        """Do what was ordered, and then one step if one is due. In a thread."""
        before = lanes.enter(Lane())  # a lane of its own: a step's turn comes before a long recording's
        try:
            session = self._session or self._open(self.configuration)
            sent: list[Sent] = []
            for order in orders:
                sent += self._obey(session, order)
            sent += self._conversation.told(session.take(np.zeros(0, np.float32)))
            if session.due and (self.present or session.state.ending):
                sent += self._step(session)
            return sent
        finally:
            lanes.enter(before)

    def _open(self, configuration: Configuration) -> Session:
        """Hold the model asked for, and go on with what was heard so far."""
        model = configuration.model
        if self._session and model == self._model:
            return self._session
        self._held.close()
        self._model = model
        if model and model not in self._service.settings.aliases and is_openais(model):
            model = None
        engine, _ = self._held.enter_context(self._service.router.engine(model))
        old = self._session
        self._session = Session(
            engine,
            configuration.options,
            pace=PACES[configuration.pace],
            rules=configuration.rules,
            state=old.state if old else None,
            tail=old.tail() if old else None,
        )
        return self._session

    def _obey(self, session: Session, order: Order) -> list[Sent]:
        if isinstance(order, Audio):
            return self._hear(session, order.data)
        if isinstance(order, Update):
            return self._update(session, order.configuration)
        if isinstance(order, Clear):
            at = session.heard_s
            session.clear()
            self._uncommitted_s = 0.0
            return [*self._conversation.finished(at), event("input_audio_buffer.cleared")]
        return self._finish(session, last=isinstance(order, End))

    def _hear(self, session: Session, data: bytes) -> list[Sent]:
        self._heard_bytes += len(data)
        samples = self._stream.samples(data)
        if self._conversation.commits and len(samples):
            self._conversation.begin(session.heard_s)
        self._uncommitted_s += len(samples) / SAMPLE_RATE
        return self._conversation.told(session.take(samples))

    def _finish(self, session: Session, *, last: bool) -> list[Sent]:
        """End the turn: a client's commit, or the end of everything."""
        if not last and self._uncommitted_s < SHORTEST_COMMIT_S:
            message = f"there are {self._uncommitted_s * 1000:.0f} ms of audio to commit; 100 ms are needed"
            return [_error(message, "input_audio_buffer_commit_empty")]
        self._uncommitted_s = 0.0
        samples = self._stream.samples(b"", last=True)
        self._stream = PcmStream(self._stream.written)
        sent = self._conversation.told(session.take(samples))
        if not last:
            sent += self._conversation.commit(session.heard_s)
        while not (session.idle and not session.state.open):
            sent += self._conversation.told(session.finish())
        return sent + self._conversation.finished(session.heard_s)

    def _update(self, session: Session, configuration: Configuration) -> list[Sent]:
        sent: list[Sent] = []
        if configuration.raw != self._stream.written:
            sent += self._conversation.told(session.take(self._stream.samples(b"", last=True)))
            self._stream = PcmStream(configuration.raw)
        session.options, session.pace = configuration.options, PACES[configuration.pace]
        session.rules = configuration.rules
        self._conversation.commits = configuration.turns is None
        self._conversation.include = frozenset(configuration.include)
        self._open(configuration)
        return sent

    def _step(self, session: Session) -> list[Sent]:
        began, behind = time.perf_counter(), session.pending_s
        try:
            happened = session.step()
        except EngineFailed as failure:
            self._failures += 1
            if self._failures < TRIES:
                return []
            self._failures = 0
            session.clear()
            return self._conversation.failed(to_wire(failure)["error"], session.heard_s)
        self._failures = 0
        self._took(time.perf_counter() - began, behind)
        return self._conversation.told(happened)


def is_openais(model: str) -> bool:
    """Tell whether this is a name of OpenAI's, which means the default tier here."""
    return model in OPENAI_MODELS or model.startswith(("gpt-", "whisper-1"))


def _error(message: str, code: str, event_id: str | None = None) -> Sent:
    error: dict[str, Any] = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
    return event("error", error={**error, "event_id": event_id})
