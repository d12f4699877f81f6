"""StepLedger in a SQLite file: one row a session, for the processes of one machine."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from whisper_lambda.errors import StorageFailed
from whisper_lambda.live.tokens import KEPT_S

WAIT_S = 5.0  # for another process that writes
_SCHEMA = """
CREATE TABLE IF NOT EXISTS taken
    (session TEXT PRIMARY KEY, step INTEGER NOT NULL, sent TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID
"""
_CLAIM = """
INSERT INTO taken VALUES (?, ?, ?, ?) ON CONFLICT (session) DO UPDATE
SET step = excluded.step, sent = excluded.sent, expires = excluded.expires WHERE excluded.step > taken.step
"""


class SqliteLedger:
    """A ledger in a file, opened for each call: a step is a second's audio, and a call a millisecond."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Name the file; it is made at first use."""
        self._path = path
        self._clock = clock

    def claim(self, session: str, step: int, sent: str) -> bool:
        """Take a step; see the port."""
        now = self._clock()
        with self._open() as database:
            database.execute("DELETE FROM taken WHERE expires < ?", (now,))
            done = database.execute(_CLAIM, (_digest(session), step, sent, now + KEPT_S))
            return done.rowcount == 1

    def repeated(self, session: str, step: int, sent: str) -> bool:
        """Tell whether the last step was sent as this one is; see the port."""
        with self._open() as database:
            last = database.execute("SELECT step, sent FROM taken WHERE session = ?", (_digest(session),))
            return (step, sent) in last

    def release(self, session: str, step: int) -> None:
        """Give back a step; see the port."""
        with self._open() as database:
            database.execute(
                "UPDATE taken SET step = step - 1, sent = '' WHERE session = ? AND step = ?",
                (_digest(session), step),
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=WAIT_S)) as database, database:
                database.execute("PRAGMA synchronous = OFF")  # a crash of the machine ends its sessions too
                database.execute(_SCHEMA)
                yield database
        except (OSError, sqlite3.Error) as cause:
            raise StorageFailed(f"{self._path}: {cause}") from cause


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
