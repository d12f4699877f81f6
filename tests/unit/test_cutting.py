"""A recording cut beside its reader: the same chunks, the same refusals, and no more work than is wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from fakes import FakeEngine, FakeRouter
from samples import silence
from whisper_lambda import pipeline
from whisper_lambda.bootstrap import Service
from whisper_lambda.config import Settings
from whisper_lambda.cutting import AHEAD, Cutting
from whisper_lambda.errors import BadAudio
from whisper_lambda.ports import Engine
from whisper_lambda.types import SAMPLE_RATE, Chunk, Decoded, ModelChoice, Options, Recording, Samples

PATIENCE_S = 60.0  # for what takes milliseconds, on a busy machine


def talk(stretches: int) -> Samples:
    draw = np.random.default_rng(5)
    spoken = draw.normal(0, 0.05, 7 * SAMPLE_RATE).astype(np.float32)
    return np.concatenate([part for _ in range(stretches) for part in (spoken, silence(5.0))])


def recording(samples: Samples, ends: Callable[[int], object] = lambda _: None) -> Recording:
    def read(warn: Callable[[str], None]) -> Iterator[Samples]:
        warn("it is a test")
        for number, block in enumerate(np.array_split(samples, len(samples) // SAMPLE_RATE)):
            ends(number)
            yield block

    return read


def test_what_is_cut_beside_its_reader_is_what_is_cut_as_it_is_read() -> None:
    here, beside = (Cutting(recording(talk(9)), "off") for _ in range(2))
    beside.begin()
    found = [list(cutting.found()) for cutting in (here, beside)]

    assert len(found[0]) > AHEAD
    for one, other in zip(*found, strict=True):
        assert type(one) is type(other)
        assert one.start == other.start
        if isinstance(one, Chunk) and isinstance(other, Chunk):
            assert np.array_equal(one.samples, other.samples)
    assert here.samples == beside.samples == len(talk(9))
    assert here.warnings == beside.warnings == ["it is a test"]


def test_what_goes_wrong_beside_is_raised_to_the_reader() -> None:
    def breaks(block: int) -> None:
        if block == 30:
            raise BadAudio("the file ends here")

    cutting = Cutting(recording(talk(9), breaks), "off")
    cutting.begin()
    with pytest.raises(BadAudio, match="ends here"):
        list(cutting.found())


def test_a_recording_is_read_no_further_than_a_few_chunks_and_given_up_when_closed() -> None:
    blocks: list[int] = []
    cutting = Cutting(recording(talk(200), blocks.append), "off")
    cutting.begin()
    next(cutting.found())
    cutting.close()
    for thread in threading.enumerate():
        if thread.name == "cut":
            thread.join(PATIENCE_S)

    assert "cut" not in {thread.name for thread in threading.enumerate()}
    assert len(blocks) < 1200  # of 2,400; a scene is read whole


@dataclass
class SlowRouter(FakeRouter):
    """Loads its engine only when something else has happened."""

    ready: bool = False
    happened: threading.Event | None = None

    @contextmanager
    def engine(self, model: str | None = None) -> Iterator[tuple[Engine, ModelChoice]]:
        assert self.happened
        assert self.happened.wait(PATIENCE_S), "the recording was not read before the engine was there"
        with super().engine(model) as loaded:
            yield loaded


class NoDecoders:
    """Nothing here is in a file."""

    def warm(self) -> None:
        """Start nothing."""


def test_a_recording_is_decoded_while_the_engine_loads() -> None:
    read = threading.Event()
    samples = talk(2)
    last = len(samples) // SAMPLE_RATE - 1

    class Line(Service):
        def recording(self, source: object) -> Recording:
            return recording(samples, lambda number: number == last and read.set())

    router = SlowRouter(FakeEngine(echo=True), happened=read)
    service = Line(Settings(cache_mb=0), router, NoDecoders())  # type: ignore[arg-type]
    heard = service.transcribe(samples, Options(language="es", vad="off"))
    known = pipeline.transcribe(
        pipeline.whole(Decoded(samples=samples)),
        Options(language="es", vad="off"),
        engine=FakeEngine(echo=True),
    )

    assert heard.text == known.text
    assert heard.warnings == ("it is a test",)
