"""Recordings too long to be held are decoded twice, and say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from fakes import FakeEngine
from samples import silence
from whisper_lambda import pipeline
from whisper_lambda.errors import BadAudio
from whisper_lambda.preparing import prepare
from whisper_lambda.types import SAMPLE_RATE, Chunk, Options, Recording, Samples

FAST = Options(language="es", vad="off")


def talk() -> Samples:
    draw = np.random.default_rng(2)
    parts = []
    for pause in (2.5, 40.0, 3.0, 0.3, 9.0):
        parts += [draw.normal(0, 0.05, 7 * SAMPLE_RATE).astype(np.float32), silence(pause)]
    return np.concatenate(parts)


def recording(*lengths: float) -> Recording:
    """Decoded in blocks of 0.7 s; each reading gives so many seconds, as a file that is cut short would."""
    left = list(lengths)

    def read(_: Callable[[str], None]) -> Iterator[Samples]:
        samples = talk()[: round((left.pop(0) if left else 1e3) * SAMPLE_RATE)]
        yield from np.array_split(samples, max(1, round(len(samples) / SAMPLE_RATE / 0.7)))

    return read


def test_what_is_not_held_is_heard_all_the_same() -> None:
    plans = [prepare(recording(), FAST, engine=FakeEngine(), held_s=held_s) for held_s in (1e9, 10.0, 0.0)]
    heard = [
        [replace(r, cached=False) for r in pipeline.results(plan, engine=FakeEngine(echo=True))]
        for plan in plans
    ]

    assert [len(plan.chunks) > 0 for plan in plans] == [True, False, False]
    assert heard[0] == heard[1] == heard[2]
    assert len({plan.count for plan in plans}) == 1
    assert len({plan.dropped for plan in plans}) == 1
    again = plans[2].again
    assert again
    for one, other in zip(plans[0].chunks, again(), strict=True):
        assert (one.start, one.unsure) == (other.start, other.unsure)
        assert np.array_equal(one.samples, other.samples)


@pytest.mark.parametrize("held_s", [1e9, 0.0])
def test_the_rest_of_a_recording_is_what_was_not_heard_held_or_not(held_s: float) -> None:
    plan = prepare(recording(), FAST, engine=FakeEngine(), held_s=held_s)
    whole = list(pipeline.results(plan, engine=FakeEngine()))
    second = pipeline.rest(plan, whole[1].start)

    assert list(pipeline.results(second, engine=FakeEngine())) == whole[1:]
    assert second.starts == plan.starts[1:]
    assert plan.starts == pytest.approx([result.start for result in whole])
    assert pipeline.rest(plan, plan.duration).count == 0


def test_the_rest_of_a_remembered_recording_is_not_the_whole() -> None:
    whole = list(pipeline.results(prepare(recording(), FAST, engine=FakeEngine()), engine=FakeEngine()))
    plan = replace(prepare(recording(), FAST, engine=FakeEngine()), chunks=(), known=tuple(whole))

    second = pipeline.rest(plan, whole[1].start)

    assert list(pipeline.results(second, engine=FakeEngine())) == whole[1:]
    assert pipeline.rest(plan, plan.duration).known == ()


def test_a_file_that_became_shorter_meanwhile_is_refused() -> None:
    plan = prepare(recording(1e3, 20.0), FAST, engine=FakeEngine(), held_s=0.0)
    with pytest.raises(BadAudio, match="changed"):
        list(pipeline.results(plan, engine=FakeEngine()))


def test_chunks_are_handed_out_as_they_are_cut_and_not_held() -> None:
    kept: list[Chunk] = []
    plan = prepare(recording(), Options(vad="off"), engine=FakeEngine(), keep=kept.append)

    assert (plan.chunks, plan.count, plan.options.language) == ((), len(kept), "es")
    assert len(kept) > 1
