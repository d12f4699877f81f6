"""Where jobs are handed in, asked after, cancelled and cleared away: what routes and commands call."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from whisper_lambda import uploads
from whisper_lambda.config import Settings
from whisper_lambda.errors import JobHasNoResult, JobNotFinished, KeyUsedTwice, ObjectMissing, TooManyJobs
from whisper_lambda.job import LIVE, ChunkDone, Job, Order, State
from whisper_lambda.jobs import merging, places
from whisper_lambda.plain import from_plain, to_plain
from whisper_lambda.ports import Fanout, JobStore, ObjectStore
from whisper_lambda.types import Segment, Transcript

LEAST_PRIORITY, MOST_PRIORITY = 0, 9
LATEST = 100  # jobs among which a repeat is looked for
WAIT_FOR_UPLOAD_S = 7 * 86_400.0  # a job whose recording never comes, or that never ends, is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What comes with an order."""

    tenant: str
    priority: int = LEAST_PRIORITY
    idempotency_key: str | None = None
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """The stores, and the queue where this process has one; else workers look for new jobs themselves."""

    store: JobStore
    objects: ObjectStore
    settings: Settings
    fanout: Fanout | None = None

    def accept(self, order: Order, recording: bytes | BinaryIO, handed: Handed) -> Job:
        """Take a job. When this returns, it is done whatever dies from now on.

        Returns:
            The job; the earlier one where the idempotency key was used for the same order.

        Raises:
            KeyUsedTwice: the key was used for another order.
            TooManyJobs: as many of the tenant's jobs wait or run as may.
            StorageFull, StorageFailed: nothing was taken.
        """
        job_id = f"job_{secrets.token_hex(12)}"
        key = places.source_key(handed.tenant, job_id)
        self._check_room(handed, job_id)
        stored = self.objects.put(key, recording)
        try:
            return self._created(job_id, key, stored.size_bytes, stored.sha256, order, handed)
        except BaseException:
            self.objects.delete(key)
            raise

    def accept_stored(self, order: Order, key: str, handed: Handed) -> Job:
        """Take a job whose recording is an object already; it is deleted when the job has ended."""
        job_id = f"job_{secrets.token_hex(12)}"
        self._check_room(handed, job_id)
        return self._created(job_id, key, self.objects.size(key), key, order, handed)

    def accept_upload(self, order: Order, upload_id: str, handed: Handed) -> Job:
        """Take a job whose recording the client sends, or has sent, straight to the object store.

        It begins at once where the recording is there, else when the store tells of its arrival (on AWS:
        S3, by way of a queue). The job is stored before we look, so that an arrival in between finds it.

        Returns:
            The job; one upload has one, so asking again gives the first.
        """
        key = uploads.key(handed.tenant, upload_id)
        job_id = f"job_{upload_id.removeprefix('upl_')}"
        self._check_room(handed, job_id)
        job = self._created(job_id, key, 0, key, order, handed, expires=time.time() + WAIT_FOR_UPLOAD_S)
        with contextlib.suppress(ObjectMissing):
            self.objects.size(key)
            if self.fanout and job.state in LIVE:
                self.fanout.submit(job)
        return job

    def _created(
        self,
        job_id: str,
        key: str,
        size_bytes: int,
        content: str,
        order: Order,
        handed: Handed,
        *,
        expires: float | None = None,  # of a job that waits for its recording; it is not begun here
    ) -> Job:
        asked = json.dumps([content, to_plain(order), handed.webhook], sort_keys=True)
        most = self.settings.jobs_tenant_most
        job = self.store.create(
            Job(
                id=job_id,
                tenant=handed.tenant,
                order=order,
                source=key,
                size_bytes=size_bytes,
                created=time.time(),
                idempotency_key=handed.idempotency_key,
                fingerprint=hashlib.sha256(asked.encode()).hexdigest(),
                priority=handed.priority,
                webhook=handed.webhook,
                expires=expires,
            ),
            most,
        )
        if job is None:
            raise _too_many(most)
        if job.id == job_id:
            if self.fanout and expires is None:
                self._submit(self.fanout, job)
            return job
        if job.source != key:
            self.objects.delete(key)
        if job.fingerprint != hashlib.sha256(asked.encode()).hexdigest():
            raise KeyUsedTwice(
                f"the idempotency key belongs to {job.id}, which was another request: its recording or its "
                "options differ. Use a new key for each job"
            )
        return job

    def _submit(self, fanout: Fanout, job: Job) -> None:
        """Queue a job; one that cannot be queued is not there: its key would bring it back for ever."""
        try:
            fanout.submit(job)
        except BaseException:
            self.store.remove([job.id])
            raise

    def _check_room(self, handed: Handed, job_id: str) -> None:
        """Refuse what is one too many before its recording is kept; the store counts again."""
        most = self.settings.jobs_tenant_most
        if self.store.live(handed.tenant) >= most and not self.repeats(handed, job_id):
            raise _too_many(most)

    def repeats(self, handed: Handed, job_id: str = "") -> bool:
        """Tell whether one of the tenant's latest jobs is this one: no limit refuses a repeat."""
        named = handed.idempotency_key
        return any(
            job.id == job_id or (named is not None and job.idempotency_key == named)
            for job in self.store.list(handed.tenant, limit=LATEST)
        )

    def job(self, job_id: str, tenant: str) -> Job:
        """Return a job of the tenant's; NoSuchJob where there is none."""
        return self.store.job(job_id, tenant)

    def listed(
        self, tenant: str, *, limit: int, after: str | None = None, state: State | None = None
    ) -> Sequence[Job]:
        """Return the tenant's jobs, newest first; see the port."""
        return self.store.list(tenant, limit=limit, after=after, state=state)

    def cancel(self, job_id: str, tenant: str) -> Job:
        """End a job; what is under way stops within a chunk. One that has ended stays as it is."""
        self.store.job(job_id, tenant)
        now = time.time()
        ended = self.store.change(
            job_id, LIVE, state="cancelled", finished=now, expires=now + self.settings.jobs_keep_s
        )
        if ended is None:
            return self.store.job(job_id, tenant)
        if self.fanout:
            self.fanout.cancel(job_id)
        places.remove_audio(ended, self.objects)
        return ended

    def transcript(self, job: Job, *, partial: bool = False) -> Transcript:
        """Return a job's transcript.

        Args:
            job: as it stands.
            partial: take what is done of a job that runs, failed or was cancelled.

        Raises:
            JobNotFinished: it waits or runs.
            JobHasNoResult: it failed or was cancelled.
            ObjectMissing: the store lost it.
        """
        if not partial and job.state in LIVE:
            raise JobNotFinished(
                f"{job.id} is {job.state}; ask again later, or for what is done: partial=true"
            )
        if not partial and job.state != "completed":
            reason = f": {job.error.message}" if job.error else ""
            ended = "failed" if job.state == "failed" else f"was {job.state}"
            raise JobHasNoResult(f"{job.id} {ended}{reason}")
        try:
            with self.objects.open(places.transcript_key(job)) as stream:
                return from_plain(Transcript, json.load(stream))
        except ObjectMissing:
            if job.state == "completed":
                raise
        try:
            return merging.transcript(self.objects, job, self.store.chunks(job.id))
        except ObjectMissing:
            raise JobHasNoResult(f"nothing of {job.id} is done") from None

    def segments(self, done: Sequence[ChunkDone]) -> list[Segment]:
        """Return what chunks say, on the recording's timeline."""
        return [s.shifted(d.result.start) for d in done if d.result for s in d.result.segments]

    def forget(self, tenant: str) -> int:
        """Delete everything of a tenant's jobs; return how many there were."""
        ids = self.store.forget(tenant)
        for key in list(self.objects.keys(places.prefix(tenant))):
            self.objects.delete(key)
        if self.fanout:
            self.fanout.forget(ids)
        return len(ids)


def _too_many(most: int) -> TooManyJobs:
    return TooManyJobs(f"{most} of your jobs wait or run already; send it when one has ended")
