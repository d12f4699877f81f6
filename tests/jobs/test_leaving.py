"""Jobs cancelled or forgotten while they are cut or merged, and workers that end: nothing is left."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from history import OPTIONS, expected, recording
from stub_worker import DigestEngine
from test_keeping import until

from fakes import fake_service
from whisper_lambda import lanes
from whisper_lambda.adapters import dbos
from whisper_lambda.adapters.sql import Database, sqlite_at
from whisper_lambda.config import Settings
from whisper_lambda.errors import ClientGone, NoSuchJob
from whisper_lambda.job import LIVE, Job, Order
from whisper_lambda.jobs import merging, steps
from whisper_lambda.jobs.clearing import Orphans
from whisper_lambda.jobs.desk import Desk, Handed
from whisper_lambda.jobs.steps import Workshop
from whisper_lambda.staffing import hire, open_desk, workshop

ORDER, ANA = Order(options=OPTIONS), Handed(tenant="ana")
Does = Callable[[Desk, Job], object]


@dataclass
class Meanwhile:
    """A store; just before it keeps an object whose key ends so, something happens elsewhere."""

    inner: object
    ending: str
    happens: Callable[[], object]

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def put(self, key: str, content: bytes) -> object:
        if key.endswith(self.ending):
            self.happens()
        return self.inner.put(key, content)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = open_desk(Settings(home=tmp_path, cache_mb=0, decoders=0))
    yield desk
    desk.store.close()


@pytest.fixture
def shop(desk: Desk) -> Iterator[Workshop]:
    with fake_service(DigestEngine(delay_s=0.0), desk.settings) as service:
        yield workshop(service, desk)


ENDS: list[Does] = [
    lambda desk, job: desk.cancel(job.id, "ana"),
    lambda desk, _: desk.forget("ana"),
]


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
@pytest.mark.parametrize("ends", ENDS, ids=["cancelled", "forgotten"])
def test_what_was_cut_goes_with_a_job_that_ended_meanwhile(
    desk: Desk, shop: Workshop, ends: Does, told: bool
) -> None:
    job, lane = desk.accept(ORDER, recording(1, 4), ANA), lanes.Lane()

    def meanwhile() -> None:
        ends(desk, job)
        if told:  # as a beat does, a second later
            lane.leave()

    cutting = replace(shop, objects=Meanwhile(shop.objects, "chunk-000001", meanwhile))
    with contextlib.suppress(ClientGone, NoSuchJob):
        lanes.context_of(lane).run(steps.plan, cutting, job.id)

    left = {key.rpartition("/")[2] for key in desk.objects.keys("jobs/")}
    assert left <= ({"plan.json"} if desk.listed("ana", limit=1) else set()), "no sound of it"


def test_no_words_are_left_of_a_job_forgotten_while_it_is_merged(desk: Desk, shop: Workshop) -> None:
    job = desk.accept(ORDER, recording(1, 2), ANA)
    planned = steps.plan(shop, job.id)
    for index in range(planned.chunks or 0):
        steps.chunk(shop, job.id, index)
    objects = Meanwhile(shop.objects, "transcript.json", lambda: desk.forget("ana"))

    with pytest.raises(NoSuchJob):
        merging.merge(replace(shop, objects=objects), job.id)

    assert list(desk.objects.keys("jobs/")) == []


def test_looking_for_orphans_asks_after_each_job_once(desk: Desk, shop: Workshop) -> None:
    job = steps.plan(shop, desk.accept(ORDER, recording(1, 9), ANA).id)
    asked: list[str] = []

    class Counting:
        def job(self, job_id: str) -> Job:
            asked.append(job_id)
            return desk.store.job(job_id)

    assert Orphans(Counting(), desk.objects).sweep(0.0) == 0

    assert len(list(desk.objects.keys("jobs/"))) > 9
    assert asked == [job.id]


def test_a_worker_that_ends_waits_for_nobody_and_another_goes_on(desk: Desk) -> None:
    settings = replace(desk.settings, jobs_poll_s=0.02)
    with fake_service(DigestEngine(delay_s=0.3), settings) as service:
        worker = hire(service, open_desk(settings), at_once=1)
        job = worker.desk.accept(ORDER, recording(1, 6), ANA)
        queue = Database(sqlite_at(settings.home / "jobs" / "queue.sqlite"))
        until(lambda: rows(queue, "WHERE status = 'PENDING'") == 2)  # one is heard, one waits for its place
        worker.close()
        left = [thread for thread in threading.enumerate() if thread.name.startswith("dbos-executor")]
        for thread in left:
            thread.join(60)
        assert [thread.name for thread in left if thread.is_alive()] == []
        assert desk.store.job(job.id).state == "running"

        other = hire(service, open_desk(settings), at_once=4)
        until(lambda: desk.store.job(job.id).state not in LIVE)
        other.close()
        queue.close()

    assert desk.transcript(desk.store.job(job.id)).text == expected(1, 6)


def test_a_long_jobs_rows_go_from_the_queue_in_as_many_turns_as_it_takes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbos, "ROWS", 2)
    settings = replace(desk.settings, jobs_poll_s=0.02)
    with fake_service(DigestEngine(delay_s=0.0), settings) as service:
        worker = hire(service, open_desk(settings), at_once=2)
        job = worker.desk.accept(ORDER, recording(1, 5), ANA)
        until(lambda: desk.store.job(job.id).state not in LIVE)
        queue = Database(sqlite_at(settings.home / "jobs" / "queue.sqlite"))
        assert rows(queue) >= 5, "the plan, the chunks, the merge"
        worker.desk.forget("ana")
        assert rows(queue) == 0
        worker.close()
        queue.close()


def rows(queue: Database, those: str = "") -> int:
    with queue.reading() as connection:
        return connection.exec_driver_sql(f"SELECT count(*) FROM workflow_status {those}").scalar()
