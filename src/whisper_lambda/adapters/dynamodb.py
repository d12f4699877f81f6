"""JobStore on one DynamoDB table (keys pk and sk, TTL on `expires`).

    job#<id>        job                  the job as JSON, its state, and a version that each change raises
    job#<id>        part#<index>         tries of a part, and what became of a chunk
    list#<tenant>   <when>#<id>          newest first; list# holds everybody's
    live#<tenant>   <id>                 there while the job waits or runs
    gate#<tenant>   gate                 a version each new job raises: of two counted at once one wins
    once#<digest>   once                 which job has a tenant's idempotency key
    secret#<tenant> secret               what signs the tenant's webhooks

The rule not to break: whatever counts is written under a condition, so that of two writers one wins,
and a chunk and its job's count change in one transaction.
"""

from __future__ import annotations

import hashlib
import json
import math
import random as dice
import secrets as random
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from whisper_lambda import tenants
from whisper_lambda.adapters.boto import failures
from whisper_lambda.adapters.dynamodb_table import Lost, Table
from whisper_lambda.errors import NoSuchJob, StorageFailed
from whisper_lambda.job import LIVE, MERGE, PLAN, ChunkDone, Job, State
from whisper_lambda.plain import from_plain, to_plain

MOST_TRIES = 60  # of a write that others overtook; each waits a moment, longer each time
LONGEST_WAIT_S = 0.5
MARGIN_S = 2 * 86_400.0  # a part is written before its job ends, and outlives it by this

_WHAT = "the job store in DynamoDB"
_NAMED_PARTS = {PLAN: "plan", MERGE: "merge"}


class DynamoJobStore:
    """Jobs and what became of their chunks; see the port."""

    def __init__(self, table: str, *, keep_s: float, clock: Callable[[], float] = time.time) -> None:
        """Name the store; nothing is asked before it is needed.

        Args:
            table: its name.
            keep_s: how long a job is kept after its end; parts go with it, by TTL.
            clock: seconds since the epoch.
        """
        self._table = Table(table)
        self._keep_s = keep_s
        self._clock = clock

    def create(self, job: Job, most: int | None = None) -> Job | None:
        """Store a new job, or return the one that has its idempotency key; see the port."""
        for wait in _tries():
            if taken := self._same(job):
                return taken
            with failures(_WHAT):
                gate = [] if most is None else [self._through_gate(job.tenant)]
                if most is not None and self.live(job.tenant) >= most:
                    return None
                try:
                    self._table.write_all([*(self._table.new(row) for row in _rows(job)), *gate])
                except Lost:
                    wait()
                    continue
            return job
        raise StorageFailed(f"{_WHAT}: too many write this job at once")

    def _through_gate(self, tenant: str) -> dict[str, Any]:
        """Return the write that fails where another of the tenant's jobs is stored from now on."""
        key = _gate_key(tenant)
        row = self._table.get(key)
        if row is None:
            return self._table.new({**key, "version": 1})
        version = int(row["version"])
        return self._table.set(key, only_if={"version": version}, version=version + 1)

    def _same(self, job: Job) -> Job | None:
        """Return the job that has this id or this idempotency key already."""
        with failures(_WHAT):
            if row := self._table.get(_job_key(job.id)):
                return _parsed(row)
            if job.idempotency_key is None:
                return None
            once = self._table.get(_once_key(job))
            if once is None:
                return None
            if row := self._table.get(_job_key(once["id"])):
                return _parsed(row)
            self._table.delete(_once_key(job))  # its job's time was over
        return None

    def job(self, job_id: str, tenant: str | None = None) -> Job:
        """Return a job; see the port."""
        found = self._found(job_id)
        if found is None or (tenant is not None and found[0].tenant != tenant):
            raise NoSuchJob(f"there is no job {job_id[:64]!r} here")
        return found[0]

    def change(self, job_id: str, expect: Collection[State], **fields: Any) -> Job | None:  # noqa: ANN401
        """Set fields of a job in one of these states; see the port."""
        for wait in _tries():
            found = self._found(job_id)
            if found is None or found[0].state not in expect:
                return None
            job, version = found
            changed = replace(job, **fields)
            writes = [self._changed(changed, version)]
            if changed.expires is not None and changed.expires != job.expires:
                writes += [self._table.set(key, expires=_ttl(changed)) for key in _leads(changed)]
            if job.state in LIVE and changed.state not in LIVE:
                writes.append(self._table.gone(_live_key(job)))
            if self._written(writes):
                return changed
            wait()
        raise StorageFailed(f"{_WHAT}: too many change this job at once")

    def list(
        self, tenant: str | None, *, limit: int, after: str | None = None, state: State | None = None
    ) -> Sequence[Job]:
        """Return jobs, newest first; see the port."""
        before = None if after is None else _moment(self.job(after, tenant))
        found: list[Job] = []
        with failures(_WHAT):
            rows = self._table.query(_list_key(tenant), below=before, newest_first=True)
            for ids in _in_hundreds(row["id"] for row in rows):
                jobs = [_parsed(row) for row in self._table.get_all([_job_key(i) for i in ids])]
                found += [j for j in jobs if state in (None, j.state)]
                if len(found) >= limit:
                    break
        return found[:limit]

    def live(self, tenant: str) -> int:
        """Count a tenant's jobs that wait or run; see the port."""
        with failures(_WHAT):
            return sum(1 for _ in self._table.query(_live_key(tenant)["pk"]))

    def begin(self, job_id: str, part: int) -> int | None:
        """Count a try of a part; see the port."""
        found = self._found(job_id)
        if found is None or found[0].state not in LIVE:
            return None
        key = _part_key(job_id, part)
        with failures(_WHAT):
            try:
                return int(
                    self._table.count(key, "attempts", unless="done", expires=self._part_ttl())["attempts"]
                )
            except Lost:
                return None

    def put_chunk(self, job_id: str, done: ChunkDone, attempt: int) -> Job | None:
        """Store what became of a chunk, unless another took over; see the port."""
        key = _part_key(job_id, done.index)
        for wait in _tries():
            found = self._found(job_id)
            if found is None or found[0].state != "running":
                return None
            with failures(_WHAT):
                part = self._table.get(key)
            if part is None or "done" in part or int(part["attempts"]) != attempt:
                return None
            job, version = found
            counted = replace(
                job,
                chunks_done=job.chunks_done + 1,
                chunks_failed=job.chunks_failed + (done.result is None),
                done_s=job.done_s + done.duration,
            )
            kept = self._table.set(
                key, only_if={"attempts": attempt}, unless="done", done=json.dumps(to_plain(done))
            )
            if self._written([kept, self._changed(counted, version)]):
                return counted
            wait()
        raise StorageFailed(f"{_WHAT}: too many count chunks of this job at once")

    def chunks(self, job_id: str, *, first: int = 0, limit: int | None = None) -> Sequence[ChunkDone]:
        """Return the chunks that are done; see the port."""
        found: list[ChunkDone] = []
        with failures(_WHAT):
            start = _part_key(job_id, max(0, first))
            for row in self._table.query(start["pk"], at_least=start["sk"], below="part#:"):
                if limit is not None and len(found) >= limit:
                    break
                if "done" in row:
                    found.append(from_plain(ChunkDone, json.loads(row["done"])))
        return found

    def secrets(self, tenant: str) -> Sequence[str]:
        """Return what signs the tenant's webhooks; see the port."""
        key, now = _secret_key(tenant), time.time()
        with failures(_WHAT):
            row = self._table.get(key)
            if row is None:
                made: dict[str, Any] = {**key, "version": 1, "secrets": json.dumps([[_new_secret(), None]])}
                try:
                    self._table.write_all([self._table.new(made)])
                    row = made
                except Lost:  # another was quicker: one is kept
                    row = self._table.get(key) or made
        return [secret for secret, until in json.loads(row["secrets"]) if until is None or until > now]

    def rotate_secret(self, tenant: str, now: float, keep_s: float) -> str:
        """Make a new webhook secret; see the port."""
        made, key = _new_secret(), _secret_key(tenant)
        for wait in _tries():
            self.secrets(tenant)  # there is one
            with failures(_WHAT):
                row = self._table.get(key)
            if row is None:
                continue
            last = json.loads(row["secrets"])[0][0]
            kept = json.dumps([[made, None], [last, now + keep_s]])
            version = int(row["version"])
            if self._written(
                [self._table.set(key, only_if={"version": version}, secrets=kept, version=version + 1)]
            ):
                return made
            wait()
        raise StorageFailed(f"{_WHAT}: too many rotate this secret at once")

    def expired(self, now: float, *, limit: int = 100) -> Sequence[Job]:
        """Return jobs that have expired; see the port. DynamoDB's TTL removes them within days by itself."""
        with failures(_WHAT):
            over = [_parsed(row) for row in self._table.expired(math.ceil(now))]
        over = [job for job in over if job.expires is not None and job.expires <= now]
        return sorted(over, key=lambda job: job.expires or 0.0)[:limit]

    def remove(self, job_ids: Sequence[str]) -> None:
        """Forget these jobs; see the port."""
        with failures(_WHAT):
            for ids in _in_hundreds(iter(job_ids)):
                self._remove([_parsed(row) for row in self._table.get_all([_job_key(i) for i in ids])])

    def forget(self, tenant: str) -> Sequence[str]:
        """Forget all of a tenant's; see the port."""
        gone: list[str] = []
        with failures(_WHAT):
            rows = self._table.query(_list_key(tenant), newest_first=True)
            for ids in _in_hundreds(row["id"] for row in rows):
                gone += self._remove([_parsed(r) for r in self._table.get_all([_job_key(i) for i in ids])])
            for row in list(self._table.query(_list_key(tenant))):  # of jobs whose time was over
                self._table.delete({"pk": row["pk"], "sk": row["sk"]})
            self._table.delete_all([_secret_key(tenant), _gate_key(tenant)])
        return gone

    def close(self) -> None:
        """Give back connections."""
        self._table.close()

    def _found(self, job_id: str) -> tuple[Job, int] | None:
        with failures(_WHAT):
            row = self._table.get(_job_key(job_id))
        return None if row is None else (_parsed(row), int(row["version"]))

    def _changed(self, job: Job, version: int) -> dict[str, Any]:
        """Return the write of a job that was read at `version`; it loses where another was quicker."""
        fields = {k: v for k, v in _job_row(job, version + 1).items() if k not in ("pk", "sk")}
        return self._table.set(_job_key(job.id), only_if={"version": version}, **fields)

    def _written(self, writes: Sequence[dict[str, Any]]) -> bool:
        with failures(_WHAT):
            try:
                self._table.write_all(writes)
            except Lost:
                return False
            return True

    def _remove(self, jobs: Sequence[Job]) -> Sequence[str]:
        """Remove the jobs first: a late writer then finds no place; their rows after them."""
        for job in jobs:
            self._table.delete(_job_key(job.id))
            keys = [*_leads(job), _live_key(job)]
            keys += [{"pk": r["pk"], "sk": r["sk"]} for r in self._table.query(_job_key(job.id)["pk"])]
            self._table.delete_all(keys)
        return [job.id for job in jobs]

    def _part_ttl(self) -> int:
        return math.ceil(self._clock() + self._keep_s + MARGIN_S)


def _tries() -> Iterator[Callable[[], None]]:
    """Yield, as often as a write may be tried, a wait for those who were quicker to be done."""
    for number in range(MOST_TRIES):
        longest = min(LONGEST_WAIT_S, 0.005 * 2**number)
        yield lambda longest=longest: time.sleep(dice.uniform(0, longest))  # type: ignore[misc]


def _job_key(job_id: str) -> dict[str, str]:
    return {"pk": f"job#{job_id}", "sk": "job"}


def _part_key(job_id: str, part: int) -> dict[str, str]:
    return {"pk": f"job#{job_id}", "sk": f"part#{_NAMED_PARTS.get(part) or f'{part:06}'}"}


def _once_key(job: Job) -> dict[str, str]:
    digest = hashlib.sha256(f"{job.tenant}\0{job.idempotency_key}".encode("utf-8", "surrogatepass"))
    return {"pk": f"once#{digest.hexdigest()}", "sk": "once"}


def _secret_key(tenant: str) -> dict[str, str]:
    return {"pk": f"secret#{tenants.folder(tenant)}", "sk": "secret"}


def _gate_key(tenant: str) -> dict[str, str]:
    return {"pk": f"gate#{tenants.folder(tenant)}", "sk": "gate"}


def _list_key(tenant: str | None) -> str:
    return "list#" if tenant is None else f"list#{tenants.folder(tenant)}"


def _live_key(whose: Job | str) -> dict[str, str]:
    tenant, job_id = (whose.tenant, whose.id) if isinstance(whose, Job) else (whose, "")
    return {"pk": f"live#{tenants.folder(tenant)}", "sk": job_id}


def _moment(job: Job) -> str:
    """Return what sorts jobs by when they were made; of the same moment, by id."""
    return f"{job.created:020.6f}#{job.id}"


def _leads(job: Job) -> list[dict[str, str]]:
    """Return the keys of the rows that lead to a job."""
    keys = [{"pk": _list_key(t), "sk": _moment(job)} for t in (None, job.tenant)]
    return [*keys, *([] if job.idempotency_key is None else [_once_key(job)])]


def _rows(job: Job) -> list[dict[str, Any]]:
    ttl = {} if job.expires is None else {"expires": _ttl(job)}
    live = [{**_live_key(job), **ttl}] if job.state in LIVE else []
    return [_job_row(job, 1), *({**key, "id": job.id, **ttl} for key in _leads(job)), *live]


def _job_row(job: Job, version: int) -> dict[str, Any]:
    ttl = {} if job.expires is None else {"expires": _ttl(job)}
    body = json.dumps(to_plain(job))
    return {**_job_key(job.id), "job": body, "state": job.state, "version": version, **ttl}


def _ttl(job: Job) -> int:
    return math.ceil(job.expires or 0)


def _parsed(row: dict[str, Any]) -> Job:
    return from_plain(Job, json.loads(row["job"]))


def _new_secret() -> str:
    return f"whsec_{b64encode(random.token_bytes(32)).decode()}"


def _in_hundreds(ids: Iterator[str]) -> Iterator[list[str]]:
    """Yield them a hundred at a time: DynamoDB gives so many items at once."""
    batch: list[str] = []
    for one in ids:
        batch.append(one)
        if len(batch) == 100:  # noqa: PLR2004
            yield batch
            batch = []
    if batch:
        yield batch
