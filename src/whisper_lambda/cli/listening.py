"""One recording in, what happens to it out, event by event, on the thread that can be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from whisper_lambda.types import ChunkResult, ModelChoice, Options, Plan, Transcript

if TYPE_CHECKING:
    from whisper_lambda.bootstrap import Service, Source
    from whisper_lambda.economy.bounds import Bounds

TICK_S = 0.25  # silence after which the display is given a chance to say what is awaited


@dataclass(frozen=True, slots=True)
class Planned:
    """The recording is decoded and cut, and this model will hear it."""

    plan: Plan
    choice: ModelChoice


def listen(
    service: Service, source: Source, options: Options, *, model: str | None, bounds: Bounds | None = None
) -> Iterator[Planned | ChunkResult | Transcript | None]:
    """Yield Planned, each ChunkResult in order and last the Transcript; None when nothing happens.

    The work is done on another thread: Ctrl-C reaches the main thread between bytecodes only, and
    one decode is a single call of several seconds.

    Raises:
        WhisperLambdaError: whatever the line raised.
    """
    events: SimpleQueue[Planned | ChunkResult | Transcript | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            transcript = service.transcribe(
                source,
                options,
                model=model,
                bounds=bounds,
                on_plan=lambda plan, choice: events.put(Planned(plan, choice)),
                on_result=events.put,
            )
        except BaseException as failure:  # noqa: BLE001 - raised again on the other side
            events.put(failure)
        else:
            events.put(transcript)

    threading.Thread(target=work, name="listen", daemon=True).start()
    while True:
        try:
            event = events.get(timeout=TICK_S)
        except Empty:
            yield None
            continue
        if isinstance(event, BaseException):
            raise event
        yield event
        if isinstance(event, Transcript):
            return
