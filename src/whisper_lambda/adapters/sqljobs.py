"""The JobStore port on SQLite and Postgres."""

from __future__ import annotations

import json
import secrets as random
import time
from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from whisper_lambda.adapters.sql import Connection, Database, how_many, jobs, pair, parts, secrets
from whisper_lambda.errors import NoSuchJob
from whisper_lambda.job import LIVE, ChunkDone, Job, State
from whisper_lambda.plain import from_plain, to_plain


class SqlJobStore:
    """Jobs and what became of their chunks; see the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, job: Job, most: int | None = None) -> Job | None:
        """Store a new job, or return the one that has its idempotency key; see the port."""
        insert = self._database.insert(jobs).values(id=job.id, **_columns(job)).on_conflict_do_nothing()
        with self._database.writing() as connection:
            if most is not None:
                self._database.alone(connection, job.tenant)
            if connection.execute(insert.returning(jobs.c.id)).first():
                if most is None or _live(connection, job.tenant) <= most:
                    return job
                _remove(connection, [job.id])
                return None
            mine = (jobs.c.tenant == job.tenant) & (jobs.c.idempotency_key == job.idempotency_key)
            return _parsed(connection.execute(jobs.select().where(mine)).one().job)

    def job(self, job_id: str, tenant: str | None = None) -> Job:
        """Return a job; see the port."""
        with self._database.reading() as connection:
            found = _find(connection, job_id)
        if found is None or (tenant is not None and found.tenant != tenant):
            raise NoSuchJob(f"there is no job {job_id[:64]!r} here")
        return found

    def change(self, job_id: str, expect: Collection[State], **fields: Any) -> Job | None:  # noqa: ANN401
        """Set fields of a job in one of these states; see the port."""
        with self._database.writing() as connection:
            found = _find(connection, job_id, to_write=True)
            return None if found is None or found.state not in expect else _write(connection, found, fields)

    def list(
        self, tenant: str | None, *, limit: int, after: str | None = None, state: State | None = None
    ) -> Sequence[Job]:
        """Return jobs, newest first; see the port."""
        query = jobs.select().order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(limit)
        if tenant is not None:
            query = query.where(jobs.c.tenant == tenant)
        if state is not None:
            query = query.where(jobs.c.state == state)
        if after is not None:
            last = self.job(after, tenant)
            query = query.where(pair(jobs.c.created, jobs.c.id) < pair(last.created, last.id))
        with self._database.reading() as connection:
            return [_parsed(row.job) for row in connection.execute(query)]

    def live(self, tenant: str) -> int:
        """Return how many of a tenant's jobs wait or run; see the port."""
        with self._database.reading() as connection:
            return _live(connection, tenant)

    def begin(self, job_id: str, part: int) -> int | None:
        """Count a try of a part; see the port."""
        first = self._database.insert(parts).values(job_id=job_id, part=part, attempts=1)
        again = first.on_conflict_do_update(
            index_elements=["job_id", "part"],
            set_={"attempts": parts.c.attempts + 1},
            where=parts.c.done.is_(None),
        ).returning(parts.c.attempts)
        with self._database.writing() as connection:
            found = _find(connection, job_id)
            if found is None or found.state not in LIVE:
                return None
            attempts: int | None = connection.execute(again).scalar()
            return attempts

    def put_chunk(self, job_id: str, done: ChunkDone, attempt: int) -> Job | None:
        """Store what became of a chunk, unless another took over; see the port."""
        this = (parts.c.job_id == job_id) & (parts.c.part == done.index)
        mine = this & (parts.c.attempts == attempt) & parts.c.done.is_(None)
        kept = parts.update().where(mine).values(done=json.dumps(to_plain(done)))
        with self._database.writing() as connection:
            found = _find(connection, job_id, to_write=True)
            if found is None or found.state != "running" or not connection.execute(kept).rowcount:
                return None
            counted = {
                "chunks_done": found.chunks_done + 1,
                "chunks_failed": found.chunks_failed + (done.result is None),
                "done_s": found.done_s + done.duration,
            }
            return _write(connection, found, counted)

    def chunks(self, job_id: str, *, first: int = 0, limit: int | None = None) -> Sequence[ChunkDone]:
        """Return the chunks that are done; see the port."""
        query = (
            parts.select()
            .where(parts.c.job_id == job_id, parts.c.part >= max(0, first), parts.c.done.is_not(None))
            .order_by(parts.c.part)
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        # Not before it is given back: Postgres ends a transaction that idles while thousands are read.
        return [from_plain(ChunkDone, json.loads(row.done)) for row in rows]

    def secrets(self, tenant: str) -> Sequence[str]:
        """Return what signs the tenant's webhooks; see the port."""
        now = time.time()
        mine = secrets.select().where(secrets.c.tenant == tenant).order_by(secrets.c.number.desc())
        with self._database.reading() as connection:
            rows = connection.execute(mine).all()
        if not rows:
            first = self._database.insert(secrets).values(tenant=tenant, number=1, secret=_new_secret())
            with self._database.writing() as connection:  # another may be quicker: one is kept
                connection.execute(first.on_conflict_do_nothing())
                rows = connection.execute(mine).all()
        return [row.secret for row in rows if row.until is None or row.until > now]

    def rotate_secret(self, tenant: str, now: float, keep_s: float) -> str:
        """Make a new webhook secret; see the port."""
        made = _new_secret()
        mine = secrets.c.tenant == tenant
        with self._database.writing() as connection:
            last = connection.execute(secrets.select().where(mine).order_by(secrets.c.number.desc())).first()
            number = last.number + 1 if last else 1
            connection.execute(secrets.delete().where(mine, secrets.c.number < number - 1))
            connection.execute(secrets.update().where(mine).values(until=now + keep_s))
            connection.execute(secrets.insert().values(tenant=tenant, number=number, secret=made))
        return made

    def expired(self, now: float, *, limit: int = 100) -> Sequence[Job]:
        """Return jobs that have expired; see the port."""
        over = jobs.select().where(jobs.c.expires <= now).order_by(jobs.c.expires).limit(limit)
        with self._database.reading() as connection:
            return [_parsed(row.job) for row in connection.execute(over)]

    def remove(self, job_ids: Sequence[str]) -> None:
        """Forget these jobs; see the port."""
        with self._database.writing() as connection:
            _remove(connection, job_ids)

    def forget(self, tenant: str) -> Sequence[str]:
        """Forget all of a tenant's; see the port."""
        mine = jobs.select().where(jobs.c.tenant == tenant)
        with self._database.writing() as connection:
            gone = _remove(connection, [row.id for row in connection.execute(mine)])
            connection.execute(secrets.delete().where(secrets.c.tenant == tenant))
        self._database.sweep()
        return gone

    def close(self) -> None:
        """Give back connections."""
        self._database.close()


def _live(connection: Connection, tenant: str) -> int:
    mine = (jobs.c.tenant == tenant) & jobs.c.state.in_(sorted(LIVE))
    [[found]] = connection.execute(how_many(jobs).where(mine))
    return int(found)


def _find(connection: Connection, job_id: str, *, to_write: bool = False) -> Job | None:
    query = jobs.select().where(jobs.c.id == job_id)
    row = connection.execute(query.with_for_update() if to_write else query).first()
    return None if row is None else _parsed(row.job)


def _write(connection: Connection, job: Job, fields: dict[str, Any]) -> Job:
    changed = replace(job, **fields)
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(**_columns(changed)))
    return changed


def _remove(connection: Connection, ids: Sequence[str]) -> Sequence[str]:
    for at in range(0, len(ids), 500):  # a statement takes so many values
        some = ids[at : at + 500]
        connection.execute(parts.delete().where(parts.c.job_id.in_(some)))
        connection.execute(jobs.delete().where(jobs.c.id.in_(some)))
    return ids


def _columns(job: Job) -> dict[str, Any]:
    return {
        "tenant": job.tenant,
        "idempotency_key": job.idempotency_key,
        "state": job.state,
        "created": job.created,
        "expires": job.expires,
        "job": json.dumps(to_plain(job)),
    }


def _parsed(text: str) -> Job:
    return from_plain(Job, json.loads(text))


def _new_secret() -> str:
    return f"whsec_{b64encode(random.token_bytes(32)).decode()}"
