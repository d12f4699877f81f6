"""What is kept of jobs, for how long, and what is left of it when it goes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from history import recording
from http_jobs import until_ended
from sqlalchemy import event

from fakes import FakeEngine, fake_service
from samples import bundled
from serving import client, pcm_wav, served, wav
from whisper_lambda import tenants
from whisper_lambda.adapters.sql import Database, sqlite_at
from whisper_lambda.adapters.sqljobs import SqlJobStore
from whisper_lambda.bootstrap import segments
from whisper_lambda.config import Settings
from whisper_lambda.errors import ObjectMissing, StorageFailed, StorageFull
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.job import LIVE, Job, Order
from whisper_lambda.jobs import places, steps
from whisper_lambda.jobs.clearing import LEFT_S, Orphans, clear_expired
from whisper_lambda.jobs.desk import Desk, Handed
from whisper_lambda.staffing import Office, hire, open_desk, workshop
from whisper_lambda.types import SAMPLE_RATE, Options


def at_rest(home: Path) -> bytes:
    """Every byte below home, and every name."""
    found = sorted(home.rglob("*"))
    names = [str(p.relative_to(home)).encode() for p in found]
    return b"\n".join([*names, *(p.read_bytes() for p in found if p.is_file())])


def test_a_leaver_takes_all_of_his_jobs_along(tmp_path: Path) -> None:
    """Canaries in the words, the sound and the name: a raw scan of everything on disk finds none."""
    settings = Settings(home=tmp_path, jobs_poll_s=0.05, probe_every_s=0)
    noise = np.random.default_rng(3).normal(0, 1e-3, len(bundled()[0])).astype(np.float32)
    sound, name = pcm_wav(bundled()[0] + noise), "canary-ana"
    engine = FakeEngine(text=" Canario de ana a la vista.")
    with fake_service(engine, settings) as service:
        office = Office(service, settings)
        office.hire()
        app = create_app(service, settings, gates=Gates.of(service, settings), office=office)
        with served(app) as address, client(address) as http:
            job = handed_in(http, sound, name)
            kept = http.post(  # ends without being heard: its recording is there until it is told to go
                "/v1/jobs", files={"file": ("a.wav", sound)}, data={"user_id": name, "language": "es"}
            ).json()
            http.delete(f"/v1/jobs/{kept['id']}", params={"user_id": name})
            engine.text = " Canario de bob."
            other = handed_in(http, pcm_wav(bundled()[1]), "bob")
            needles = [b"Canario de ana", name.encode(), tenants.folder(f"user:{name}").encode()]
            before = at_rest(tmp_path)
            assert [needle in before for needle in needles] == [True] * 3, "the scan can find them"

            assert http.delete("/v1/data", params={"user_id": name}).status_code == 200
            after = at_rest(tmp_path)
            assert [needle in after for needle in [*needles, sound[30_000:30_200]]] == [False] * 4
            assert http.get(f"/v1/jobs/{job['id']}", params={"user_id": name}).status_code == 404
            answer = http.get(f"/v1/jobs/{other['id']}/result", params={"user_id": "bob", "format": "text"})
            assert answer.text.split()[:3] == ["Canario", "de", "bob."]
        office.close()


def test_a_job_that_forbids_it_is_not_remembered_and_uses_nothing_remembered(tmp_path: Path) -> None:
    settings, engine = Settings(home=tmp_path, jobs_poll_s=0.05, probe_every_s=0), FakeEngine()
    with fake_service(engine, settings) as service, closing(segments(settings)) as cache:
        service.cache = cache
        office = Office(service, settings)
        office.hire()
        app = create_app(service, settings, gates=Gates.of(service, settings), office=office)
        with served(app) as address, client(address) as http:

            def calls(**headers: str) -> int:
                """How many times the engine hears something for one more job of the same recording."""
                before = len(engine.heard)
                sent = {"files": {"file": ("a.wav", wav(3.0))}, "data": {"language": "es"}}
                until_ended(http, http.post("/v1/jobs", headers=headers, **sent).json()["id"])
                return len(engine.heard) - before

            counted = [calls(**{"Cache-Control": kept}) for kept in ("no-store", "", "", "no-store")]
        office.close()

    assert counted == [1, 1, 0, 1]


def test_a_job_goes_when_its_time_is_over_and_no_sooner(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, cache_mb=0)
    desk = open_desk(settings)
    job, other = (desk.accept(Order(options=Options(language="es")), b"canary sound", HANDED) for _ in "12")
    desk.cancel(job.id, "ana")
    expires = desk.job(job.id, "ana").expires
    assert expires == pytest.approx(time.time() + settings.jobs_keep_s, abs=60)

    assert clear_expired(desk.store, desk.objects, expires - 1) == []
    assert clear_expired(desk.store, desk.objects, expires + 1) == [job.id]

    assert [j.id for j in desk.listed("ana", limit=9)] == [other.id]
    assert list(desk.objects.keys("jobs/")) == [other.source]
    desk.store.close()


class Refusing:
    """A queue that cannot be reached."""

    def submit(self, job: Job) -> None:
        raise StorageFailed(f"{job.id} cannot be queued")


def test_a_job_that_cannot_be_queued_was_not_taken(tmp_path: Path) -> None:
    desk = open_desk(Settings(home=tmp_path, cache_mb=0))
    order, key = Order(options=Options()), replace(HANDED, idempotency_key="k")

    with pytest.raises(StorageFailed, match="queued"):
        replace(desk, fanout=Refusing()).accept(order, b"sound", key)
    assert (desk.listed("ana", limit=9), list(desk.objects.keys("jobs/"))) == ([], [])
    job = desk.accept(order, b"sound", key)  # as its client does: with the same key
    with desk.objects.open(job.source) as stream:
        assert stream.read() == b"sound"
    desk.store.close()


def test_an_object_without_a_job_is_swept_and_one_with_a_job_is_not(tmp_path: Path) -> None:
    desk = open_desk(Settings(home=tmp_path, cache_mb=0))
    job = desk.accept(Order(options=Options()), b"sound", HANDED)
    desk.objects.put(places.source_key("ana", "job_died"), b"whoever took this died then")
    orphans = Orphans(desk.store, desk.objects)

    assert [orphans.sweep(now) for now in (0.0, LEFT_S - 1, LEFT_S + 1, LEFT_S * 3)] == [0, 0, 1, 0]
    assert list(desk.objects.keys("jobs/")) == [job.source]
    desk.store.close()


def test_a_full_disk_and_a_locked_database_are_told_and_nothing_is_lost(tmp_path: Path) -> None:
    address = sqlite_at(tmp_path / "jobs.sqlite")
    settings = Settings(home=tmp_path, cache_mb=0)
    database = Database(address, locked_s=0.2)
    desk = Desk(SqlJobStore(database), open_desk(settings).objects, settings)
    order, key = Order(options=Options(prompt="word " * 3000)), replace(HANDED, idempotency_key="k")
    first = desk.accept(order, b"sound", HANDED)
    path = str(tmp_path / "jobs.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageFailed, match="locked"):
            desk.accept(order, b"sound", key)
        other.execute("ROLLBACK")
    second = desk.accept(order, b"sound", key)  # as its client does: with the same key

    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    database.engine.dispose()

    @event.listens_for(database.engine, "connect")
    def small(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StorageFull):
        [desk.accept(order, b"sound", HANDED) for _ in range(50)]
    kept = desk.listed("ana", limit=99)
    assert {first.id, second.id} <= {job.id for job in kept}
    assert {job.source for job in kept} == set(desk.objects.keys("jobs/")), "what was refused left nothing"
    database.close()


def test_a_recording_that_was_lost_fails_its_job_by_name(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, cache_mb=0)
    desk = open_desk(settings)
    job = desk.accept(Order(options=Options(language="es")), b"sound", HANDED)
    desk.objects.delete(job.source)
    with fake_service(FakeEngine(), settings) as service:
        ended = steps.plan(workshop(service, desk), job.id)

    assert (ended.state, ended.error and ended.error.code) == ("failed", ObjectMissing.code)
    desk.store.close()


def test_a_tenant_with_much_to_do_does_not_keep_another_waiting(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, jobs_poll_s=0.02, cache_mb=0, decoders=0)
    with fake_service(FakeEngine(delay_s=0.05), settings) as service:
        worker = hire(service, open_desk(settings), at_once=1)
        desk, order = worker.desk, Order(options=Options(language="es", vad="off"))
        much = desk.accept(order, recording(1, 40), Handed(tenant="much"))
        until(lambda: desk.job(much.id, "much").chunks_done > 0)  # all forty are queued
        little = desk.accept(order, recording(2, 2), Handed(tenant="little"))
        until(lambda: desk.job(little.id, "little").state not in LIVE)
        done = desk.job(much.id, "much").chunks_done
        desk.cancel(much.id, "much")
        worker.close()

    assert done < 30, "in one line, all forty of the first would have come before"


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_jingle_in_two_episodes_is_heard_once(tmp_path: Path) -> None:
    """Elsewhere in another recording, and off its frames: the chunk is the same to the last sample."""
    settings, engine = Settings(home=tmp_path), FakeEngine()
    jingle = np.random.default_rng(9).uniform(-0.3, 0.3, 4 * SAMPLE_RATE)
    gap = np.zeros(5 * SAMPLE_RATE)
    calls = []
    with fake_service(engine, settings) as service:
        service.cache = segments(settings)
        for seed in (1, 2):
            own = np.random.default_rng(seed).uniform(-0.3, 0.3, (2, 20 * SAMPLE_RATE + 777 * seed))
            episode = np.concatenate([own[0], gap, jingle, gap, own[1]]).astype(np.float32)
            before = len(engine.heard)
            service.transcribe(pcm_wav(episode), Options(language="es", vad="off"))
            calls.append(len(engine.heard) - before)

    assert calls == [3, 2]


HANDED = Handed(tenant="ana")


def handed_in(http: httpx2.Client, sound: bytes, user: str) -> dict:
    fields = {"user_id": user, "language": "es", "vad": "off"}
    answer = http.post("/v1/jobs", files={"file": ("a.wav", sound)}, data=fields)
    job = until_ended(http, answer.json()["id"], user_id=user)
    assert job["status"] == "completed", job
    return job
