"""Which workers live, told by their beats: whoever's beat stands still for a lease is taken for dead.

Each observer measures that by its own clock, so no two clocks are ever compared. A stopped process
(SIGSTOP) looks as dead as a killed one; when it wakes its late writes are refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from whisper_lambda.adapters.sql import Database, workers


class RollCall:
    """One worker's place among the others."""

    def __init__(
        self, database: Database, lease_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch.

        Args:
            database: where beats are written.
            lease_s: how long a beat may stand still.
            clock: seconds, monotonic.
        """
        self._database = database
        self._lease_s = lease_s
        self._clock = clock
        self._seen: dict[str, tuple[int | None, float]] = {}  # worker -> its beat, and since when

    def beat(self, worker: str) -> None:
        """Say that the worker lives."""
        first = self._database.insert(workers).values(id=worker, beat=1)
        more = first.on_conflict_do_update(index_elements=["id"], set_={"beat": workers.c.beat + 1})
        with self._database.writing() as connection:
            connection.execute(more)

    def dead(self, suspects: Collection[str]) -> list[str]:
        """Return those of `suspects`, and of all that ever beat, who have been still for a lease.

        One that says nothing at all is still too: it may have died before its first beat.
        """
        with self._database.reading() as connection:
            beats: dict[str, int] = {row.id: row.beat for row in connection.execute(workers.select())}
        now = self._clock()
        names = {*suspects, *beats}
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        for name in names:
            if name not in self._seen or self._seen[name][0] != beats.get(name):
                self._seen[name] = (beats.get(name), now)
        return [name for name in names if now - self._seen[name][1] >= self._lease_s]

    def strike(self, worker: str) -> None:
        """Take a worker off the roll: it has left, or what it left is done by others."""
        with self._database.writing() as connection:
            connection.execute(workers.delete().where(workers.c.id == worker))

    def sweep(self) -> None:
        """Let nothing of what was deleted from the queue stay readable in its file."""
        self._database.sweep(others=True)
