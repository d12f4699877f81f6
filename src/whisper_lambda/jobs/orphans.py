"""Objects that no job owns: whoever took the recording in died before he wrote the job down."""

from __future__ import annotations

from whisper_lambda.errors import NoSuchJob
from whisper_lambda.jobs import places
from whisper_lambda.ports import JobStore, ObjectStore

LEFT_S = 3600.0  # a recording is stored first and its job at once after: so long, and none will come


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
        alone = {key for key in self._objects.keys(places.ALL) if not self._owned(places.job_of(key))}
        self._since = {key: self._since.get(key, now) for key in alone}
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
