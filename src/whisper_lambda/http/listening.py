"""The line, run for a request: in a thread, given up within moments when its client is gone.

The one place where the asynchronous room meets the synchronous line.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
from starlette.requests import Request

from whisper_lambda import lanes, pipeline
from whisper_lambda.audio.decode import decode
from whisper_lambda.bootstrap import Hearing, Service, Source, limits
from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.errors import ClientGone, NotSeparable
from whisper_lambda.lanes import Lane
from whisper_lambda.transcript.voices import check_separable, speaker, together
from whisper_lambda.types import (
    ChunkResult,
    Decoded,
    ModelChoice,
    Options,
    Plan,
    Segment,
    Timings,
    Transcript,
)

T = TypeVar("T")
Event = Plan | Segment  # the plan first, when nothing is left to refuse; then segments in order
Tell = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a request wants heard."""

    options: Options
    model: str | None = None
    by_channel: bool = False  # one speaker a channel
    speakers: tuple[str, ...] = ()  # their names, in the channels' order
    bounds: Bounds | None = None  # what it may cost and take
    tenant: str | None = None  # whose recording it is; None = nothing of it is remembered
    from_s: float = 0.0  # what begins before this second of the recording was heard already


@dataclass(frozen=True, slots=True)
class Heard:
    """A transcript, and how long its model had to be loaded for it."""

    transcript: Transcript
    init_s: float


class Notes(Protocol):
    """What somebody notes down of a recording that is being heard."""

    def begin(self, plan: Plan, choice: ModelChoice) -> None:
        """Note what is to be heard."""

    def add(self, result: ChunkResult) -> None:
        """Note one chunk more, in recording order."""


def hear(service: Service, source: Source, wish: Wish, tell: Tell, notes: Notes | None = None) -> Heard:
    """Run the line, telling of what is ready; what `tell` raises gives the rest of it up."""
    if wish.by_channel:
        return _by_channel(service, source, wish, tell)
    opened = Stopwatch()
    with service.hear(
        source,
        wish.options,
        model=wish.model,
        tenant=wish.tenant,
        from_s=wish.from_s,
        bounds=wish.bounds,
    ) as hearing:
        init_s = opened.beyond(hearing.plan.timings)
        tell(hearing.plan)
        if notes:
            notes.begin(hearing.plan, hearing.choice)
        transcript = pipeline.finish(hearing.plan, _told(hearing, tell, notes), choice=hearing.choice)
        return Heard(transcript, init_s)


def _told(hearing: Hearing, tell: Tell, notes: Notes | None) -> Iterator[ChunkResult]:
    for result in hearing.results:
        if notes:
            notes.add(result)
        for segment in result.segments:
            tell(segment.shifted(result.start))
        yield result


def _by_channel(service: Service, source: Source, wish: Wish, tell: Tell) -> Heard:
    """Hear every channel by itself and put what they say on one timeline, speaker by speaker."""
    opened = Stopwatch()
    decoded = _channels(service, source)
    decode_s = opened.seconds()
    check_separable(len(decoded.channels), wish.speakers)
    options = wish.options
    with ExitStack() as open_hearings:
        hearings: list[Hearing] = []
        for channel in decoded.channels:
            hearing = open_hearings.enter_context(
                service.hear(
                    Decoded(samples=channel),
                    options,
                    model=wish.model,
                    tenant=wish.tenant,
                    bounds=wish.bounds,
                )
            )
            hearings.append(hearing)
            options = replace(options, language=hearing.plan.options.language)  # one language a recording
        spent = Timings(
            decode_s=decode_s,
            vad_s=sum(h.plan.timings.vad_s for h in hearings),
            engine_s=sum(h.plan.timings.engine_s for h in hearings),
        )
        init_s = opened.beyond(spent)
        tell(replace(hearings[0].plan, warnings=decoded.warnings))
        listening = Stopwatch()
        done: list[list[ChunkResult]] = [[] for _ in hearings]
        voices = [
            _said(hearing, speaker(wish.speakers, number), done[number])
            for number, hearing in enumerate(hearings)
        ]
        segments = []
        for segment in heapq.merge(*voices, key=lambda s: s.start):
            tell(segment)
            segments.append(segment)
        spent = replace(spent, engine_s=spent.engine_s + listening.seconds())
        parts = [pipeline.finish(h.plan, d, choice=h.choice) for h, d in zip(hearings, done, strict=True)]
        whole = together(parts, segments, duration=decoded.duration, warnings=decoded.warnings, spent=spent)
        return Heard(whole, init_s)


def _channels(service: Service, source: Source) -> Decoded:
    if not isinstance(source, Path | bytes | FileIO):
        raise NotSeparable("samples without a file have one channel")
    return decode(source, limits(service.settings), service.decoders, split_channels=True)


def _said(hearing: Hearing, name: str, done: list[ChunkResult]) -> Iterator[Segment]:
    for result in hearing.results:
        done.append(result)
        for segment in result.segments:
            yield replace(segment.shifted(result.start), speaker=name)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Return them."""
        return time.perf_counter() - self._started

    def beyond(self, timings: Timings) -> float:
        """Return the seconds the timings do not account for: the wait for the model."""
        return max(0.0, self.seconds() - timings.decode_s - timings.vad_s - timings.engine_s)


async def while_waited_for(request: Request, work: Callable[[Tell], Awaitable[T]]) -> T:
    """Run `work` for as long as its client stays.

    Whatever `work` awaits is cancelled when the client leaves. A thread cannot be: it is handed the
    `tell`, which raises ClientGone from then on, and has ended when this returns.

    Raises:
        ClientGone: the client left.
    """
    # No parent: a connection's next request may begin in the context the last one ended in.
    lane = Lane()
    before = lanes.enter(lane)  # threads that work for this request see it left, wherever they are
    result: list[T] = []
    failure: Exception | None = None

    def tell(_: Event) -> None:
        if lane.left:
            raise ClientGone("the client left before its answer was ready")

    async def watch() -> None:
        try:
            while (await request.receive())["type"] != "http.disconnect":
                pass
        finally:
            lane.leave()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        try:
            result.append(await work(tell))
        except Exception as cause:  # noqa: BLE001 - raised below: out of a group it would come wrapped
            failure = cause
        group.cancel_scope.cancel()
    lanes.enter(before)
    if failure is not None:
        raise failure
    if not result:
        raise ClientGone("the client left before its answer was ready")
    return result[0]
