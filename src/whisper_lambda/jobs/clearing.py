"""What nobody needs any more: jobs whose time is over, and objects whose job was never written down."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_lambda.errors import NoSuchJob
from whisper_lambda.jobs import places
from whisper_lambda.ports import JobStore, ObjectStore

LEFT_S = 3600.0  # a recording is stored first and its job at once after: so long, and none will come


def clear_expired(store: JobStore, objects: ObjectStore, now: float) -> Sequence[str]:
    """Delete jobs whose time is over: their objects first, which nobody could find without the row.

    Args:
        store: where jobs are.
        objects: where their recordings and transcripts are.
        now: seconds since the epoch.

    Returns:
        Their ids.
    """
    over = store.expired(now)
    for job in over:
        places.remove_all(job.tenant, job.id, objects)
    ids = [job.id for job in over]
    store.remove(ids)
    return ids


class Orphans:
    """Remembers what had no owner, and since when; objects themselves do not tell their age."""

    def __init__(self, store: JobStore, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects
        self._since: dict[str, float] = {}  # key -> when it was first seen without a job

    def sweep(self, now: float) -> int:
        """Delete what has had no job for LEFT_S; return how many objects that were.

        Args:
            now: seconds of a clock that does not jump.
        """
        keys = list(self._objects.keys(places.ALL))
        # Each job is asked after once: a long one has thousands of objects, and this must not hold up beats.
        gone = {job_id for job_id in {places.job_of(key) for key in keys} if not self._owned(job_id)}
        self._since = {key: self._since.get(key, now) for key in keys if places.job_of(key) in gone}
        over = [key for key, since in self._since.items() if now - since >= LEFT_S]
        for key in over:
            self._objects.delete(key)
            del self._since[key]
        return len(over)

    def _owned(self, job_id: str) -> bool:
        try:
            self._store.job(job_id)
        except NoSuchJob:
            return False
        return True
