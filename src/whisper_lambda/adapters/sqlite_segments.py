"""SegmentCache on a SQLite index and content-addressed files, below one private directory.

    index.sqlite            secrets, and for each key: digest, size, when made, when last of use
    <tenant>/<2>/<digest>   one JSON value, named by the sha256 of its bytes

An entry's row is written before its file, so that a crash leaves at worst a miss. secure_delete and
a truncated log see to it that what is deleted is not left in the database file either.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from whisper_lambda import stored, tenants
from whisper_lambda.errors import StorageFailed, StorageFull
from whisper_lambda.types import Remembered

WAIT_S = 0.5  # for another process that writes; a cache that makes one wait for longer is none
AGAIN_S = 10.0  # after a failure the cache is left alone for so long: each chunk would wait again
TOUCHED_S = 600.0  # an entry's last use is written down this often, not with every hit
LOW_WATER = 0.9  # share of the bound that is left when entries have to go
STALE_S = 3600.0  # what a writer that died left unfinished is removed after this

_SCHEMA = """
CREATE TABLE IF NOT EXISTS secrets (tenant TEXT PRIMARY KEY, secret BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    tenant TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL,
    made REAL NOT NULL, used REAL NOT NULL, PRIMARY KEY (tenant, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON entries (used);
CREATE INDEX IF NOT EXISTS by_age ON entries (made);
CREATE INDEX IF NOT EXISTS by_digest ON entries (tenant, digest);
CREATE TABLE IF NOT EXISTS total (bytes INTEGER NOT NULL);
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT * FROM total);
CREATE TRIGGER IF NOT EXISTS more AFTER INSERT ON entries
    BEGIN UPDATE total SET bytes = bytes + new.bytes; END;
CREATE TRIGGER IF NOT EXISTS less AFTER DELETE ON entries
    BEGIN UPDATE total SET bytes = bytes - old.bytes; END;
"""

_ONE = "DELETE FROM entries WHERE tenant = ? AND key = ?"
_RETURNING = "RETURNING tenant, digest, bytes"
_Row = tuple[str, str, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a cache holds, all tenants together."""

    entries: int
    bytes: int
    tenants: int
    oldest: float | None  # seconds since the epoch; None = empty


class SqliteSegments:
    """A SegmentCache in a directory. Open it in every process that needs it; close it when done."""

    def __init__(
        self, root: Path, *, max_bytes: int, max_age_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Name the cache; nothing is opened before it is needed.

        Args:
            root: made, with mode 0700, if it does not exist.
            max_bytes: of all values together; beyond it those not used for longest go.
            max_age_s: older entries are misses, and go.
            clock: seconds since the epoch.
        """
        self._root = root
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._open: tuple[int, sqlite3.Connection] | None = None  # with the process it belongs to
        self._ill_until = 0.0

    def secret(self, tenant: str) -> bytes:
        """Return the tenant's secret; see the port."""
        name = tenants.folder(tenant)
        with self._index() as index:
            # Reading first: a writer elsewhere keeps nobody from that.
            found = index.execute("SELECT secret FROM secrets WHERE tenant = ?", (name,)).fetchone()
            if found is None:
                made = (name, secrets.token_bytes(32))
                index.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", made)
                found = index.execute("SELECT secret FROM secrets WHERE tenant = ?", (name,)).fetchone()
        secret: bytes = found[0]
        return secret

    def get(self, tenant: str, key: str) -> Remembered | None:
        """Return what is remembered; see the port."""
        if self._ill:
            return None
        name, now = tenants.folder(tenant), self._clock()
        try:
            with self._index() as index:
                row = index.execute(
                    "SELECT digest, used FROM entries WHERE tenant = ? AND key = ? AND made > ?",
                    (name, key, now - self._max_age_s),
                ).fetchone()
                if row is None:
                    return None
                if now - row[1] > TOUCHED_S:
                    self._touch(index, name, key, now)
            return self._read(name, key, row[0])
        except (StorageFailed, StorageFull) as failure:
            self._fall_ill(failure)
            return None

    def put(self, tenant: str, key: str, value: Remembered) -> None:
        """Keep a value; see the port."""
        if self._ill:
            return
        name, now = tenants.folder(tenant), self._clock()
        body = stored.to_json(value).encode()
        digest = hashlib.sha256(body).hexdigest()
        path = self._root / name / digest[:2] / digest
        try:
            with _disk_errors():
                for folder in (
                    self._root,
                    self._root / name,
                    path.parent,
                ):  # parents=True would not make them private
                    folder.mkdir(exist_ok=True, mode=0o700)
            with self._index() as index:
                index.execute("BEGIN IMMEDIATE")
                # Deleted first, so that the trigger counts the old value out.
                replaced = index.execute(f"{_ONE} {_RETURNING}", (name, key)).fetchall()
                kept = index.execute(
                    "INSERT INTO entries SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS "
                    "(SELECT * FROM secrets WHERE tenant = ?)",
                    (name, key, digest, len(body), now, now, name),
                ).rowcount
                gone = self._make_room(index, now, replaced)
                index.execute("COMMIT")
            self._unlink(gone)
            if kept:
                self._write(path, body)
        except (StorageFailed, StorageFull) as failure:
            self._fall_ill(failure)

    def forget(self, tenant: str) -> int:
        """Remove all that is the tenant's; see the port."""
        name = tenants.folder(tenant)
        with self._index() as index:
            index.execute("DELETE FROM secrets WHERE tenant = ?", (name,))
            count = index.execute("DELETE FROM entries WHERE tenant = ?", (name,)).rowcount
            _truncate_log(index)
        with _disk_errors():
            _remove_tree(self._root / name)
        return count

    def clear(self) -> int:
        """Remove everything of everybody and return how many entries that was."""
        with self._index() as index:
            folders = [name for (name,) in index.execute("SELECT tenant FROM secrets")]
            index.execute("DELETE FROM secrets")
            count = index.execute("DELETE FROM entries").rowcount
            _truncate_log(index)
        with _disk_errors():
            for name in folders:
                _remove_tree(self._root / name)
        return count

    def contents(self) -> Contents:
        """Return what there is."""
        with self._index() as index:
            row = index.execute("SELECT count(*), count(DISTINCT tenant), min(made) FROM entries").fetchone()
            total = index.execute("SELECT bytes FROM total").fetchone()[0]
        return Contents(entries=row[0], bytes=total, tenants=row[1], oldest=row[2])

    def close(self) -> None:
        """Close the index; a later call opens it again."""
        with self._lock:
            if self._open and self._open[0] == os.getpid():
                self._open[1].close()
            self._open = None

    @property
    def _ill(self) -> bool:
        return time.monotonic() < self._ill_until

    def _fall_ill(self, failure: Exception) -> None:
        self._ill_until = time.monotonic() + AGAIN_S
        log.warning("the segment cache is left alone for %.0f s: %s", AGAIN_S, failure)

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection alone; SQLite's failures leave as ours."""
        with self._lock:
            try:
                index = self._connected()
                try:
                    yield index
                finally:
                    if index.in_transaction:
                        index.execute("ROLLBACK")
            except sqlite3.Error as cause:
                full = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
                raise (StorageFull if full else StorageFailed)(f"{self._root}: {cause}") from cause

    def _connected(self) -> sqlite3.Connection:
        if self._open and self._open[0] == os.getpid():  # a connection does not survive a fork
            return self._open[1]
        with _disk_errors():
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._root / "index.sqlite"
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._sweep()
        index = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
                index.execute(f"PRAGMA {pragma}")
            index.executescript(_SCHEMA)
        except BaseException:
            index.close()
            raise
        self._open = (os.getpid(), index)
        return index

    def _touch(self, index: sqlite3.Connection, name: str, key: str, now: float) -> None:
        with contextlib.suppress(sqlite3.OperationalError):  # another writes: the hit is no less a hit
            index.execute("UPDATE entries SET used = ? WHERE tenant = ? AND key = ?", (now, name, key))

    def _make_room(self, index: sqlite3.Connection, now: float, gone: list[_Row]) -> list[Path]:
        """Delete the rows that have to go; return the files nothing refers to any more, of those gone too."""
        old = (now - self._max_age_s,)
        gone = gone + index.execute(f"DELETE FROM entries WHERE made <= ? {_RETURNING}", old).fetchall()
        total = index.execute("SELECT bytes FROM total").fetchone()[0]
        surplus = total - int(LOW_WATER * self._max_bytes) if total > self._max_bytes else 0
        for tenant, key, size in (
            index.execute("SELECT tenant, key, bytes FROM entries ORDER BY used").fetchmany(10_000)
            if surplus
            else ()
        ):
            if surplus <= 0:
                break
            surplus -= size
            gone += index.execute(f"{_ONE} {_RETURNING}", (tenant, key)).fetchall()
        unused = "SELECT NOT EXISTS (SELECT * FROM entries WHERE tenant = ? AND digest = ?)"
        return [
            self._root / tenant / digest[:2] / digest
            for tenant, digest, _ in gone
            if index.execute(unused, (tenant, digest)).fetchone()[0]
        ]

    def _read(self, name: str, key: str, digest: str) -> Remembered | None:
        try:
            body = (self._root / name / digest[:2] / digest).read_bytes()
            if hashlib.sha256(body).hexdigest() != digest:
                raise ValueError("its bytes are not those that were put")  # noqa: TRY301
            return stored.from_json(body)
        except (OSError, ValueError) as damage:
            log.warning("an entry of the segment cache is damaged and counts as a miss: %s", damage)
            with self._index() as index:
                gone = "DELETE FROM entries WHERE tenant = ? AND key = ? AND digest = ?"
                index.execute(gone, (name, key, digest))
            return None

    def _write(self, path: Path, body: bytes) -> None:
        """Put a file in its place, whole; not where the tenant was forgotten meanwhile."""
        with _disk_errors():
            unfinished = self._root / f".{secrets.token_hex(8)}"
            try:
                unfinished.touch(mode=0o600)
                unfinished.write_bytes(body)
                with contextlib.suppress(FileNotFoundError):  # its folder was removed: forgotten
                    unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    def _unlink(self, paths: list[Path]) -> None:
        with _disk_errors():
            for path in paths:
                path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what writers that died had begun."""
        for path in self._root.glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _truncate_log(index: sqlite3.Connection) -> None:
    """Write the log into the database, where what was deleted is overwritten, and empty it.

    Raises:
        StorageFailed: another process reads what was before; its bytes are still in the log.
    """
    busy = index.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise StorageFailed("the index's log is in use by another process; ask again in a moment")


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        full = cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        where = f"{cause.filename}: " if cause.filename else ""
        raise (StorageFull if full else StorageFailed)(f"{where}{cause.strerror}") from cause
