"""Stand-ins for the model, for tests of what is built around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from scripted import ScriptedEngine
from whisper_lambda import lanes
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.bootstrap import Service
from whisper_lambda.config import Settings
from whisper_lambda.errors import EngineFailed, UnknownModel
from whisper_lambda.languages import LANGUAGES
from whisper_lambda.ports import Engine
from whisper_lambda.types import (
    Chunk,
    ChunkResult,
    Continuation,
    Dropped,
    LanguageGuess,
    ModelChoice,
    Options,
    Segment,
    Token,
    Window,
    Word,
)

LOUD = 1e-3  # above what a decoder makes of digital silence


def from_noon() -> Callable[[], float]:
    """Return a clock that goes on from some noon, UTC: no test that counts a day's audio meets midnight."""
    begun = time.monotonic()
    return lambda: 20_000.5 * 86_400 + time.monotonic() - begun


@dataclass
class FakeEngine:
    """Says a fixed sentence for every chunk, with where the chunk begins.

    Enough for the command line, the API and the line: they pass on what an engine says, in order
    and on the recording's timeline, and never look inside. What words are right is for tests
    with real weights.
    """

    text: str = " Hola a todos."
    delay_s: float = 0.0  # how long a chunk takes
    quick_s: float = 0.0  # chunks up to this long take no time
    serial: bool = False  # one chunk at a time
    echo: bool = False  # say how loud the chunk is instead
    fails: bool = False
    drops: bool = False  # also leave a passage out
    doubts: tuple[str, ...] = ()  # languages in which it believes nothing of what it hears
    began: Callable[[], object] = lambda: None  # called when a chunk is begun
    heard: list[tuple[float, Options]] = field(default_factory=list)  # start of each chunk, and the wish
    listens: ScriptedEngine = field(default_factory=ScriptedEngine)  # what live windows are heard by
    closed: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock)

    version: str = "fake/1"
    languages: frozenset[str] = frozenset(LANGUAGES)
    memory_bytes: int = 1

    def detect_language(self, chunk: Chunk, candidates: tuple[str, ...] = ()) -> LanguageGuess:
        return LanguageGuess(candidates[0] if candidates else "es", 0.9)

    def transcribe(self, chunk: Chunk, options: Options) -> ChunkResult:
        with self.turn if self.serial else nullcontext():
            lanes.stay()  # as an engine that queues does
            self.heard.append((chunk.start, options))
            self.began()
            time.sleep(self.delay_s if chunk.duration > self.quick_s else 0.0)
        if self.fails:
            raise EngineFailed("the fake engine was told to fail; tell it not to")
        if options.language in self.doubts:
            refused = Dropped(0.0, chunk.duration, "low_confidence", "la la la")
            return ChunkResult(chunk.start, chunk.duration, (), (refused,), options.language)
        text = (" loud" if np.abs(chunk.samples).max() > LOUD else " quiet") if self.echo else self.text
        end = chunk.duration
        words = (Word(0.0, end, text, 0.9),) if options.times == "word" else ()
        scored = tuple(Token(t.encode(), -0.1) for t in text) if options.times != "none" else ()
        dropped = (Dropped(0.0, end / 2, "repetition", "la la la"),) if self.drops else ()
        return ChunkResult(
            start=chunk.start,
            duration=end,
            segments=(Segment(0.0, end, text, -0.2, 0.01, 1.1, words=words, scored=scored),),
            dropped=dropped,
            language=options.language,
        )

    def listen(self, window: Window, options: Options) -> Continuation:
        time.sleep(self.delay_s)
        if self.fails:
            raise EngineFailed("the fake engine was told to fail; tell it not to")
        return self.listens.listen(window, options)

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeRouter:
    """Serves one engine for every known name, as `served` if that is set.

    Enough wherever it does not matter how weights are found and kept in memory.
    """

    engine_: Engine
    served: str = ""
    closed: bool = False
    loaded: bool = True  # there is nothing to warm up for
    ready: bool = True

    def check(self, model: str) -> None:
        if model == "nonsense":
            raise UnknownModel("'nonsense' is no model; known: tiny, base, small")

    def at_most(self, model: str | None, *, english: bool) -> list[str]:
        return [model or "base"]

    @contextmanager
    def engine(self, model: str | None = None) -> Iterator[tuple[Engine, ModelChoice]]:
        wish = model or "base"
        self.check(wish)
        served = self.served or wish
        reason = "" if served == wish else f"no source has {wish}"
        yield self.engine_, ModelChoice(wish, served, reason)

    def close(self) -> None:
        self.closed = True
        self.engine_.close()


def fake_service(
    engine: FakeEngine | None = None, settings: Settings | None = None, *, served: str = ""
) -> Service:
    """Return a Service that really decodes and cuts, and hears with a FakeEngine."""
    settings = settings or Settings()
    router = FakeRouter(engine or FakeEngine(), served)
    return Service(settings, router, DecoderPool(settings.decoders, settings.scratch))
