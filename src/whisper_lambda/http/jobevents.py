"""A job followed: its progress, its segments in the recording's order, its end, as server-sent events.

Chunks end in any order; a segment is sent when all chunks before its own are done. Every segment's
event has an id, and a client that comes back with it as Last-Event-ID gets what follows: nothing twice
and nothing left out, even from another server.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import Request

from whisper_lambda.http import jobviews
from whisper_lambda.http.listening import Tell, while_waited_for
from whisper_lambda.http.streaming import Emit
from whisper_lambda.job import LIVE, ChunkDone, Job
from whisper_lambda.jobs.desk import Desk

LOOK_S = 0.3  # between two looks at the store
QUIET_S = 15.0  # without an event, a comment is sent: proxies close what is silent
AT_ONCE = 200  # chunks read in one look

Place = tuple[int, int]  # the chunk and its segment to be sent next


def place(last_event_id: str) -> Place:
    """Return where to go on; from the beginning where the id is none of ours."""
    found = re.fullmatch(r"(\d{1,9})\.(\d{1,9})", last_event_id)
    return (int(found[1]), int(found[2]) + 1) if found else (0, 0)


async def follow(request: Request, desk: Desk, job_id: str, tenant: str, place: Place, emit: Emit) -> None:
    """Send a job's events until it has ended or its follower leaves.

    Raises:
        ClientGone: the follower left.
        NoSuchJob: the job was removed meanwhile.
    """
    follower = _Follower(desk, job_id, tenant, place, emit)

    async def work(_: Tell) -> None:
        while not await follower.look():
            await anyio.sleep(LOOK_S)

    await while_waited_for(request, work)


class _Follower:
    """How far one follower has come."""

    def __init__(self, desk: Desk, job_id: str, tenant: str, place: Place, emit: Emit) -> None:
        self._desk = desk
        self._job_id = job_id
        self._tenant = tenant
        self._chunk, self._segment = place
        self._emit = emit
        self._told: object = None
        self._said_at = time.monotonic()

    async def look(self) -> bool:
        """Send what is new; tell whether that was all there will be."""
        job, done = await anyio.to_thread.run_sync(self._read)
        state = (job.state, job.audio_s, job.chunks_done)
        if state != self._told:
            self._told = state
            await self._say(_event("job.progress", {"id": job.id, **_progress(job)}))
        while done:
            for ready in done:
                if ready.index != self._chunk and job.state in LIVE:
                    break  # one before it is not done
                await self._tell_chunk(job, ready)
            done = await anyio.to_thread.run_sync(self._ready) if len(done) == AT_ONCE else ()
        if job.state not in LIVE:
            await self._say(_event(f"job.{job.state}", {"job": jobviews.to_wire(job, time.time())}))
            return True
        if time.monotonic() - self._said_at > QUIET_S:
            await self._say(b": still there\n\n")
        return False

    def _read(self) -> tuple[Job, Sequence[ChunkDone]]:
        """The job first: what it counts as done is there to be read then."""
        return self._desk.job(self._job_id, self._tenant), self._ready()

    def _ready(self) -> Sequence[ChunkDone]:
        return self._desk.store.chunks(self._job_id, first=self._chunk, limit=AT_ONCE)

    async def _tell_chunk(self, job: Job, ready: ChunkDone) -> None:
        first = self._segment if ready.index == self._chunk else 0
        for event in _segments(job, ready, first):
            await self._say(event)
        self._chunk, self._segment = ready.index + 1, 0

    async def _say(self, event: bytes) -> None:
        await self._emit(event)
        self._said_at = time.monotonic()


def _progress(job: Job) -> dict[str, Any]:
    return {"status": job.state, "progress": jobviews.progress(job, time.time())}


def _segments(job: Job, done: ChunkDone, first: int) -> list[bytes]:
    wire = jobviews.segments(job, [done])
    return [
        _event("transcript.segment", {**said, "id": f"{done.index}.{number}"}, f"{done.index}.{number}")
        for number, said in enumerate(wire)
        if number >= first
    ]


def _event(kind: str, wire: dict[str, Any], event_id: str = "") -> bytes:
    body = json.dumps({"type": kind, **wire}, ensure_ascii=False)
    named = f"id: {event_id}\n" if event_id else ""
    return f"event: {kind}\n{named}data: {body}\n\n".encode("utf-8", "replace")
