"""The JobStore port: what every store keeps, on real databases."""

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from clouds import CLOUDS, NAMES, table
from databases import DATABASES
from whisper_lambda.adapters import sqljobs
from whisper_lambda.adapters.dynamodb import DynamoJobStore
from whisper_lambda.adapters.sql import Database
from whisper_lambda.adapters.sqljobs import SqlJobStore
from whisper_lambda.errors import NoSuchJob
from whisper_lambda.job import LIVE, PLAN, ChunkDone, Failure, Job, Order
from whisper_lambda.plain import from_plain
from whisper_lambda.ports import JobStore
from whisper_lambda.types import ChunkResult, ModelChoice, Options, Segment


@pytest.fixture(scope="module", params=[*DATABASES, *NAMES])
def store(request: pytest.FixtureRequest) -> Iterator[JobStore]:
    if request.param in CLOUDS:
        with CLOUDS[request.param]():
            store = DynamoJobStore(table(), keep_s=86_400.0)
            yield store
            store.close()
        return
    with DATABASES[request.param]() as address:
        store = SqlJobStore(Database(address))
        yield store
        store.close()


@pytest.fixture
def made(store: JobStore) -> Callable[..., Job]:
    """Makes jobs of a tenant of this test's own."""

    test = secrets.token_hex(6)

    def make(**fields: object) -> Job:
        number = make.count
        make.count += 1
        job = Job(
            id=f"job_{test}_{number}",
            tenant=f"tenant {test}",
            order=Order(options=Options(language="es")),
            source="jobs/x/source",
            size_bytes=3,
            created=1000.0 + number,
        )
        return store.create(replace(job, **fields))

    make.count = 0
    return make


def running(store: JobStore, job: Job, chunks: int = 3) -> Job:
    changed = store.change(job.id, {"queued"}, state="running", chunks=chunks)
    assert changed is not None
    return changed


def done(index: int, text: str = " Hola.") -> ChunkDone:
    return ChunkDone(
        index,
        index * 2.5,
        2.5,
        ChunkResult(index * 2.5, 2.5, (Segment(0.0, 2.5, text, -0.1, 0.0, 1.0),)),
        spent_s=0.5,
    )


def at_once(count: int, call: Callable[[int], object]) -> list[object]:
    """Call from many threads in the same moment."""
    gate = threading.Barrier(count)

    def one(number: int) -> object:
        gate.wait()
        return call(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def test_a_job_comes_back_as_it_was_stored(store: JobStore, made: Callable[..., Job]) -> None:
    job = made(idempotency_key="k", webhook="https://x.example/", choice=ModelChoice("small", "base", "none"))

    assert store.job(job.id) == job == store.job(job.id, job.tenant)


def test_another_tenants_job_is_not_there(store: JobStore, made: Callable[..., Job]) -> None:
    job = made()

    with pytest.raises(NoSuchJob):
        store.job(job.id, "another")
    with pytest.raises(NoSuchJob):
        store.job("job_none")


def test_of_many_creations_with_one_key_exactly_one_wins(store: JobStore, made: Callable[..., Job]) -> None:
    first = made()
    news = [replace(first, id=f"{first.id}_{n}", idempotency_key="once") for n in range(8)]

    jobs = at_once(8, lambda n: store.create(news[n]))

    assert len({job.id for job in jobs}) == 1
    assert len(store.list(first.tenant, limit=10)) == 2


def test_one_key_of_two_tenants_is_two_keys(store: JobStore, made: Callable[..., Job]) -> None:
    mine = made(idempotency_key="same")
    theirs = store.create(replace(mine, id=mine.id + "b", tenant=mine.tenant + "b"))

    assert theirs.id != mine.id


def test_of_changes_that_exclude_each_other_one_wins(store: JobStore, made: Callable[..., Job]) -> None:
    job = made()

    won = at_once(8, lambda n: store.change(job.id, LIVE, state=("completed", "cancelled")[n % 2]))

    assert sum(w is not None for w in won) == 1
    assert store.job(job.id) in won


def test_a_change_of_a_job_that_is_not_there_does_nothing(store: JobStore) -> None:
    assert store.change("job_none", LIVE, state="cancelled") is None


def test_pages_of_a_list_meet_without_gap_or_overlap(store: JobStore, made: Callable[..., Job]) -> None:
    jobs = [made(created=1000.0 + n // 2) for n in range(7)]  # some of the same moment
    seen: list[Job] = []
    while page := store.list(jobs[0].tenant, limit=3, after=seen[-1].id if seen else None):
        seen += page

    assert sorted(j.id for j in seen) == sorted(j.id for j in jobs)
    assert [j.created for j in seen] == sorted((j.created for j in jobs), reverse=True)
    with pytest.raises(NoSuchJob):
        store.list("another", limit=3, after=jobs[0].id)


def test_a_list_can_be_of_one_state(store: JobStore, made: Callable[..., Job]) -> None:
    waiting, other = made(), made()
    running(store, other)

    assert [j.id for j in store.list(waiting.tenant, limit=9, state="queued")] == [waiting.id]
    assert {waiting.id} <= {j.id for j in store.list(None, limit=900, state="queued")}


def test_jobs_that_wait_or_run_are_counted(store: JobStore, made: Callable[..., Job]) -> None:
    waiting, under_way, ended = made(), made(), made()
    running(store, under_way)
    store.change(ended.id, LIVE, state="cancelled")

    assert store.live(waiting.tenant) == 2
    assert store.live("nobody") == 0


def test_of_many_creations_at_once_no_more_are_stored_than_may_wait(
    store: JobStore, made: Callable[..., Job]
) -> None:
    first, ended = made(idempotency_key="first"), made()
    store.change(ended.id, LIVE, state="cancelled")
    news = [replace(first, id=f"{first.id}_{n}", idempotency_key=f"key {n}") for n in range(8)]

    jobs = at_once(8, lambda n: store.create(news[n], most=3))

    assert sum(job is not None for job in jobs) == 2
    assert store.live(first.tenant) == 3
    assert {j.id for j in store.list(first.tenant, limit=20)} == {
        first.id,
        ended.id,
        *(j.id for j in jobs if j),
    }
    again = replace(first, id=f"{first.id}_again")
    assert store.create(again, most=3) == first  # no bound refuses a repeat
    assert store.create(replace(again, tenant=f"{first.tenant} b"), most=1)  # nor another tenant's
    store.change(first.id, LIVE, state="cancelled")
    assert store.create(replace(news[0], id=f"{first.id}_c", idempotency_key="c"), most=3)


def test_a_chunk_is_stored_and_counted_once(store: JobStore, made: Callable[..., Job]) -> None:
    job = running(store, made())
    attempt = store.begin(job.id, 1)
    assert attempt == 1

    stored = at_once(6, lambda _: store.put_chunk(job.id, done(1), attempt))

    assert sum(s is not None for s in stored) == 1
    assert store.job(job.id).chunks_done == 1
    assert store.job(job.id).done_s == 2.5
    assert store.chunks(job.id) == [done(1)]
    assert store.begin(job.id, 1) is None


@pytest.mark.parametrize("kind", DATABASES)
def test_results_are_read_when_the_database_has_been_given_back(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the results of 100,000 chunks took longer than Postgres lets a transaction idle."""
    out: list[int] = []

    def read(kind: type, plain: object) -> object:
        out.append(database.engine.pool.checkedout())
        return from_plain(kind, plain)

    with DATABASES[kind]() as address:
        database = Database(address)
        store = SqlJobStore(database)
        order = Order(options=Options(language="es"))
        job = Job(id="job_x", tenant="t", order=order, source="x", size_bytes=3, created=1000.0)
        running(store, store.create(job))
        for index in range(3):
            store.put_chunk(job.id, done(index), store.begin(job.id, index) or 0)
        monkeypatch.setattr(sqljobs, "from_plain", read)

        assert store.chunks(job.id) == [done(0), done(1), done(2)]

        assert out == [0, 0, 0]
        store.close()


def test_a_worker_that_was_overtaken_stores_nothing(store: JobStore, made: Callable[..., Job]) -> None:
    job = running(store, made())
    stopped = store.begin(job.id, 0)
    taken_over = store.begin(job.id, 0)
    assert (stopped, taken_over) == (1, 2)

    assert store.put_chunk(job.id, done(0, " late"), stopped) is None
    assert store.put_chunk(job.id, done(0), taken_over) is not None
    assert store.put_chunk(job.id, done(0, " later still"), stopped) is None
    assert store.chunks(job.id) == [done(0)]


def test_every_try_has_a_number_of_its_own(store: JobStore, made: Callable[..., Job]) -> None:
    job = running(store, made())

    assert sorted(at_once(8, lambda _: store.begin(job.id, PLAN))) == list(range(1, 9))


def test_chunks_stored_at_once_are_all_counted(store: JobStore, made: Callable[..., Job]) -> None:
    job = running(store, made(), chunks=8)

    last = at_once(8, lambda n: store.put_chunk(job.id, done(n), store.begin(job.id, n)))

    assert sorted(j.chunks_done for j in last) == list(range(1, 9))  # one of them knows that it is the last
    assert [d.index for d in store.chunks(job.id)] == list(range(8))
    assert [d.index for d in store.chunks(job.id, first=3, limit=2)] == [3, 4]


def test_a_chunk_that_failed_is_counted_and_told(store: JobStore, made: Callable[..., Job]) -> None:
    job = running(store, made())
    failed = ChunkDone(2, 5.0, 2.5, None, Failure("it would not", "poison_chunk"))

    counted = store.put_chunk(job.id, failed, store.begin(job.id, 2))

    assert counted is not None
    assert (counted.chunks_done, counted.chunks_failed) == (1, 1)
    assert store.chunks(job.id) == [failed]


def test_nothing_is_begun_or_stored_for_a_job_that_ended(store: JobStore, made: Callable[..., Job]) -> None:
    job = running(store, made())
    attempt = store.begin(job.id, 0)
    store.change(job.id, LIVE, state="cancelled")

    assert store.begin(job.id, 1) is None
    assert store.put_chunk(job.id, done(0), attempt) is None
    assert store.chunks(job.id) == []


def test_what_has_expired_is_told_and_removed_and_nothing_else(
    store: JobStore, made: Callable[..., Job]
) -> None:
    old, young, unending = made(expires=10.0), made(expires=30.0), made()
    running(store, old)
    store.put_chunk(old.id, done(0), store.begin(old.id, 0))

    assert [j.id for j in store.expired(20.0)] == [old.id]
    store.remove([old.id])
    assert store.expired(20.0) == []
    assert {j.id for j in store.list(old.tenant, limit=9)} == {young.id, unending.id}
    assert store.chunks(old.id) == []


def test_a_tenant_is_forgotten_with_all_that_is_his(store: JobStore, made: Callable[..., Job]) -> None:
    mine, theirs = made(), made(tenant="somebody else")
    running(store, mine)
    attempt = store.begin(mine.id, 0)
    before = store.secrets(mine.tenant)

    assert store.forget(mine.tenant) == [mine.id]
    assert store.put_chunk(mine.id, done(0), attempt) is None  # was under way
    assert store.list(mine.tenant, limit=9) == []
    assert store.job(theirs.id) == theirs
    assert store.secrets(mine.tenant) != before


def test_a_secret_is_made_once_and_kept(store: JobStore, made: Callable[..., Job]) -> None:
    tenant = made().tenant

    given = at_once(6, lambda _: tuple(store.secrets(tenant)))

    assert len(set(given)) == 1
    assert given[0][0].startswith("whsec_")
    assert store.secrets(tenant + "b") != list(given[0])


def test_the_old_secret_signs_beside_the_new_one_for_a_while(
    store: JobStore, made: Callable[..., Job]
) -> None:
    tenant = made().tenant
    [old] = store.secrets(tenant)

    new = store.rotate_secret(tenant, 4e9, 60.0)  # far ahead: the old one still counts now

    assert store.secrets(tenant) == [new, old]
    newest = store.rotate_secret(tenant, 1.0, 60.0)  # long ago: the one before counts no more
    assert list(store.secrets(tenant)) == [newest]
