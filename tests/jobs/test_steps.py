"""A job's parts, done twice, killed anywhere, poisoned: the text is the same, and little is done again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from history import OPTIONS, expected, recording
from stub_worker import DigestEngine

from fakes import fake_service
from whisper_lambda.adapters.sqlite_segments import SqliteSegments
from whisper_lambda.config import Settings
from whisper_lambda.errors import AudioTooLong, ObjectMissing
from whisper_lambda.job import Job, Order
from whisper_lambda.jobs import merging, places, steps
from whisper_lambda.jobs.desk import Desk, Handed
from whisper_lambda.jobs.steps import Workshop
from whisper_lambda.recall import Recall
from whisper_lambda.staffing import open_desk, workshop
from whisper_lambda.types import Recording, Samples

BURSTS = 3


class Killed(BaseException):
    """The process dies here."""


@dataclass
class Dying:
    """A store that dies before or after one of its writes, and works on as if nothing had been."""

    inner: object
    left: list[int]  # calls until it dies

    def __getattr__(self, name: str) -> object:
        method = getattr(self.inner, name)
        if name not in {"put", "delete", "change", "begin", "put_chunk"}:
            return method

        def call(*args: object, **more: object) -> object:
            self._count()
            value = method(*args, **more)
            self._count()
            return value

        return call

    def _count(self) -> None:
        self.left[0] -= 1
        if self.left[0] == 0:
            raise Killed


@pytest.fixture
def engine() -> DigestEngine:
    return DigestEngine(delay_s=0.0)


@pytest.fixture
def shop(engine: DigestEngine, tmp_path: Path) -> Iterator[Workshop]:
    settings = Settings(home=tmp_path, cache_mb=0)
    desk = open_desk(settings)
    with fake_service(engine, settings) as service:
        decode = cache(service.decode)  # what decoding does is tested elsewhere
        yield replace(
            workshop(service, desk), sleep=lambda _: None, decode=lambda file, _: decode(file.readall())
        )
    desk.store.close()


def accepted(shop: Workshop, number: int = 1) -> Job:
    desk = Desk(shop.store, shop.objects, shop.settings)
    return desk.accept(Order(options=OPTIONS), recording(number, BURSTS), Handed(tenant="ana"))


def work_through(shop: Workshop, job_id: str) -> Job:
    """What the queue has done: every part, again if it was killed."""
    planned = steps.plan(shop, job_id)
    for index in reversed(range(planned.chunks or 0)):
        steps.chunk(shop, job_id, index)
    return merging.merge(shop, job_id)


def text_of(shop: Workshop, job: Job) -> str:
    return Desk(shop.store, shop.objects, shop.settings).transcript(job).text


def test_from_every_crash_point_the_same_text_and_at_most_one_chunk_again(
    shop: Workshop, engine: DigestEngine
) -> None:
    points, died = 0, True
    while died:
        points += 1
        job, left = accepted(shop, 1), [points]
        dying = replace(shop, store=Dying(shop.store, left), objects=Dying(shop.objects, left))
        engine.heard.clear()
        try:
            work_through(dying, job.id)
            died = False
        except Killed:
            ended = work_through(shop, job.id)

        ended = shop.store.job(job.id)
        assert ended.state == "completed", points
        assert text_of(shop, ended) == expected(1, BURSTS), points
        assert len(engine.heard) <= BURSTS + 1, points
        assert [d.index for d in shop.store.chunks(job.id)] == list(range(BURSTS)), points
        assert list(shop.objects.keys(places.prefix("ana", job.id))) == [places.transcript_key(ended)]
    assert points > 25  # every write of every part


def test_a_remembered_recording_obeys_the_limit_in_a_job_too(shop: Workshop, tmp_path: Path) -> None:
    kept = SqliteSegments(tmp_path / "segments", max_bytes=10**8, max_age_s=1e6)
    knowing = replace(shop, recall=lambda tenant: Recall(kept, tenant))
    assert work_through(knowing, accepted(knowing).id).state == "completed"
    narrow = replace(shop, recall=lambda tenant: Recall(kept, tenant, most_s=1.0), recording=too_long)

    ended = steps.plan(narrow, accepted(narrow).id)

    assert (ended.state, ended.error and ended.error.code) == ("failed", "audio_too_long")
    kept.close()


def too_long(_: object) -> Recording:
    def read(_: object) -> Iterator[Samples]:
        raise AudioTooLong("it is longer than 1 s")
        yield

    return read


def test_doing_every_part_twice_makes_no_difference(shop: Workshop, engine: DigestEngine) -> None:
    job = accepted(shop)
    for _ in range(2):
        steps.plan(shop, job.id)
    for index in (2, 0, 1, 1, 0, 2):
        steps.chunk(shop, job.id, index)
    first = merging.merge(shop, job.id)

    assert merging.merge(shop, job.id) == first
    assert len(engine.heard) == BURSTS
    assert text_of(shop, first) == expected(1, BURSTS)


def test_a_poison_chunk_fails_its_job_with_a_reason_and_the_rest_of_the_text(
    shop: Workshop, engine: DigestEngine
) -> None:
    words = expected(1, BURSTS).split()
    engine.poison = words[1]
    job, other = accepted(shop, 1), accepted(shop, 2)

    ended, well = work_through(shop, job.id), work_through(shop, other.id)

    assert (ended.state, ended.error.code) == ("failed", "poison_chunk")
    assert "1 of 3" in ended.error.message
    partial = Desk(shop.store, shop.objects, shop.settings).transcript(ended, partial=True)
    assert partial.text.split() == [words[0], words[2]]
    assert any("could not be transcribed" in warning for warning in partial.warnings)
    assert well.state == "completed"


def test_what_kills_its_worker_every_time_is_given_up_too(shop: Workshop) -> None:
    job = accepted(shop)
    steps.plan(shop, job.id)
    for _ in range(steps.MOST_TRIES):
        shop.store.begin(job.id, 1)  # and the worker died

    ended = work_through(shop, job.id)

    assert (ended.state, ended.chunks_failed) == ("failed", 1)


def test_audio_that_was_lost_is_told_and_the_rest_is_heard(shop: Workshop) -> None:
    job = steps.plan(shop, accepted(shop).id)
    shop.objects.delete(places.chunk_key(job, 1))

    ended = work_through(shop, job.id)

    assert (ended.state, ended.chunks_failed) == ("failed", 1)
    assert shop.store.chunks(job.id)[1].error.code == ObjectMissing.code


def test_a_chunk_comes_back_from_its_object_to_the_last_bit() -> None:
    import io

    import numpy as np

    from whisper_lambda.types import Chunk

    noise = np.random.default_rng(1)
    for samples in (
        noise.uniform(-1, 1, 1000).astype(np.float32),
        (noise.integers(-32768, 32767, 1000) / 32768).astype(np.float32),
        np.zeros(0, np.float32),
    ):
        raw = places.to_bytes(Chunk(samples, 12.5, True), 1)
        chunk, channel = places.from_stream(io.BytesIO(raw))
        assert np.array_equal(chunk.samples, samples)
        assert (chunk.start, chunk.unsure, channel, chunk.samples.dtype) == (12.5, True, 1, np.float32)
