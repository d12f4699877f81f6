"""What Lambda's events have done for jobs: objects that arrive begin them, Step Functions calls their parts.

The state machine is deploy/statemachine.asl.json. What goes in and out of it are ids and counts:
executions are kept for 90 days, and nothing in them tells what was said or whose it was.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from whisper_lambda.errors import BadOption, NoSuchJob, ServerError
from whisper_lambda.job import LIVE, Failure, Job
from whisper_lambda.jobs import merging, places, steps
from whisper_lambda.jobs.desk import Desk
from whisper_lambda.jobs.steps import Workshop

INLINE_BELOW = 40  # chunks: what Step Functions runs at once in an inline Map, and what its input holds well
_SOURCE = re.compile(r"jobs/[0-9a-f]{32}/(job_[0-9a-z_]+)/source")
_UPLOAD = re.compile(r"uploads/[0-9a-f]{32}/upl_([0-9a-f]+)")


class StepJobs:
    """Begins jobs and does their parts. Every call may come again, and again at the same time."""

    def __init__(
        self,
        desk: Desk,
        shop: Callable[[], Workshop],
        tell: Callable[[Job, int], float | None],
    ) -> None:
        """Take the stores; the workshop is opened by the first part that needs it.

        Args:
            desk: with its fan-out.
            shop: gives what parts are done with.
            tell: calls a job's webhook, the how-many-th time; returns seconds until the next, or None.
        """
        self._desk = desk
        self._shop = shop
        self._tell_webhook = tell

    def arrived(self, key: str, size_bytes: int) -> None:
        """Begin the job whose recording this object is; any other object is nobody's business here.

        Raises:
            NoSuchJob: it is a recording in a job's own folder, and its job is not there (yet).
        """
        del size_bytes  # the plan looks at the object itself
        if source := _SOURCE.fullmatch(key):
            self.begin(source[1])
        elif upload := _UPLOAD.fullmatch(key):
            with contextlib.suppress(NoSuchJob):  # who hands the job in later finds the recording there
                self.begin(f"job_{upload[1]}")

    def begin(self, job_id: str) -> None:
        """Have a job done that waits; one that runs or has ended is left alone.

        Raises:
            NoSuchJob: there is none of that id.
        """
        job = self._desk.store.job(job_id)
        if job.state in LIVE and self._desk.fanout:
            self._desk.fanout.submit(job)

    def step(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Do one part of a job and return what the state machine goes on with.

        Raises:
            BadOption: the event names no part or no job.
        """
        parts: Mapping[str, Callable[[str, Mapping[str, Any]], dict[str, Any]]] = {
            "plan": self._plan,
            "chunk": self._chunk,
            "merge": self._merge,
            "fail": self._fail,
            "tell": self._tell,
        }
        part, job_id = parts.get(str(event.get("step"))), event.get("job")
        if part is None or not isinstance(job_id, str):
            raise BadOption(f"a step is one of {', '.join(parts)}, with a job")
        return part(job_id, event)

    def _plan(self, job_id: str, _: Mapping[str, Any]) -> dict[str, Any]:
        job = steps.plan(self._shop(), job_id)
        count = (job.chunks or 0) if job.state in LIVE else 0
        items = [{"index": index} for index in range(count)]
        if count < INLINE_BELOW:
            return {"chunks": count, "items": items}
        key = f"{places.prefix(job.tenant, job.id)}items.json"
        self._desk.objects.put(key, json.dumps(items).encode())
        return {"chunks": count, "items_key": key}

    def _chunk(self, job_id: str, event: Mapping[str, Any]) -> dict[str, Any]:
        index = int(event["index"])
        job = steps.chunk(self._shop(), job_id, index)
        return {"index": index, "state": job.state}

    def _merge(self, job_id: str, _: Mapping[str, Any]) -> dict[str, Any]:
        return _ended(merging.merge(self._shop(), job_id))

    def _fail(self, job_id: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """End a job whose part failed in every try, so that it says so itself."""
        now = time.time()
        error = Failure(f"a part of the job failed in every try: {event.get('error')}", ServerError.code)
        self._desk.store.change(
            job_id,
            LIVE,
            state="failed",
            finished=now,
            expires=now + self._desk.settings.jobs_keep_s,
            error=error,
        )
        return _ended(self._desk.store.job(job_id))

    def _tell(self, job_id: str, event: Mapping[str, Any]) -> dict[str, Any]:
        attempt = int(event["attempt"])
        wait_s = self._tell_webhook(self._desk.store.job(job_id), attempt)
        return {"attempt": attempt + 1, "wait_s": int(wait_s or 0)}


def _ended(job: Job) -> dict[str, Any]:
    """Return a job's end as the state machine needs it; the first call of its webhook is number 1."""
    return {"state": job.state, "attempt": 1, "wait_s": 1 if job.webhook and not job.told else 0}
