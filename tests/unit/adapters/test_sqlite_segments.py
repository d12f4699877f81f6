"""What only this adapter promises: bounds, private files, and calm when the disk or the lock fails."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from whisper_lambda import tenants
from whisper_lambda.adapters.sqlite_segments import LOW_WATER, TOUCHED_S, WAIT_S, SqliteSegments
from whisper_lambda.types import ChunkResult, Segment

DAY_S = 86_400.0


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Iterator[SqliteSegments]:
    cache = SqliteSegments(tmp_path / "c", max_bytes=20_000, max_age_s=7 * DAY_S, clock=clock)
    cache.secret("ana")
    yield cache
    cache.close()


def said(text: str) -> ChunkResult:
    return ChunkResult(0.0, 1.0, (Segment(0.0, 1.0, text, -0.1, 0.0, 1.0),))


def key(number: int) -> str:
    return f"{number:064x}"


def files(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file() and len(p.name) == 64]


def test_what_is_put_anew_leaves_no_file_of_what_was_there(cache: SqliteSegments, tmp_path: Path) -> None:
    cache.put("ana", key(2), said("once"))  # another entry's file is the same
    for text in ("once", "twice", "twice"):
        cache.put("ana", key(1), said(text))

    assert cache.get("ana", key(1)) == said("twice")
    assert cache.get("ana", key(2)) == said("once")
    cache.put("ana", key(2), said("twice"))
    assert len(files(tmp_path / "c")) == 1


def test_it_never_holds_more_than_its_bound_and_what_was_not_used_goes_first(
    cache: SqliteSegments, clock: Clock, tmp_path: Path
) -> None:
    for number in range(100):
        clock.now += 2 * TOUCHED_S
        cache.put("ana", key(number), said(f"{number} " + "x" * 900))
        assert cache.get("ana", key(0)), "in use all the time"
        assert cache.contents().bytes <= 20_000
    kept = {n for n in range(100) if cache.get("ana", key(n))}

    assert kept == {0, *range(min(kept - {0}), 100)}
    assert cache.contents().entries == len(kept) == len(files(tmp_path))
    assert sum(p.stat().st_size for p in files(tmp_path)) == cache.contents().bytes
    assert cache.contents().bytes > LOW_WATER * 20_000 / 2


def test_what_is_too_old_is_a_miss_and_goes(cache: SqliteSegments, clock: Clock, tmp_path: Path) -> None:
    cache.put("ana", key(1), said("old"))
    clock.now += 7 * DAY_S - 1
    assert cache.get("ana", key(1))
    clock.now += 1
    assert cache.get("ana", key(1)) is None
    cache.put("ana", key(2), said("new"))

    assert len(files(tmp_path)) == cache.contents().entries == 1


def test_equal_values_share_a_file_that_goes_with_the_last_of_them(
    cache: SqliteSegments, clock: Clock, tmp_path: Path
) -> None:
    cache.put("ana", key(1), said("same"))
    clock.now += DAY_S
    cache.put("ana", key(2), said("same"))
    assert len(files(tmp_path)) == 1
    clock.now += 6 * DAY_S
    cache.put("ana", key(3), said("other"))  # the first has become too old

    assert cache.get("ana", key(2)) == said("same")
    assert cache.get("ana", key(1)) is None


def test_everything_is_private(cache: SqliteSegments, tmp_path: Path) -> None:
    cache.put("ana", key(1), said("x"))
    modes = {p.stat().st_mode & 0o077 for p in (tmp_path / "c").rglob("*")}

    assert modes == {0}
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700


def test_clearing_forgets_everybody(cache: SqliteSegments, tmp_path: Path) -> None:
    cache.secret("bob")
    for tenant in ("ana", "bob"):
        cache.put(tenant, key(1), said("x"))

    assert cache.contents().tenants == 2
    assert cache.clear() == 2
    assert (cache.contents().entries, cache.contents().bytes, files(tmp_path)) == (0, 0, [])
    assert not (tmp_path / "c" / tenants.folder("ana")).exists()


def test_a_locked_index_is_waited_for_once_and_then_done_without(
    cache: SqliteSegments, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put("ana", key(1), said("x"))
    with sqlite3.connect(tmp_path / "c" / "index.sqlite", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        with caplog.at_level(logging.WARNING):
            for number in range(50):
                cache.put("ana", key(number), said("y"))
        took_s = time.monotonic() - started
        other.execute("ROLLBACK")
    other.close()

    assert took_s < 50 * WAIT_S, "50 chunks did not each wait for the lock"
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "locked" in caplog.text


def test_a_database_that_is_none_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"this is no database, " * 100)
    cache = SqliteSegments(tmp_path, max_bytes=1000, max_age_s=1.0)
    with caplog.at_level(logging.WARNING):
        cache.put("ana", key(1), said("x"))
        assert cache.get("ana", key(1)) is None

    assert "not a database" in caplog.text


FULL = """
import resource, signal, sys
from pathlib import Path
from whisper_lambda.adapters.sqlite_segments import SqliteSegments
from whisper_lambda.types import ChunkResult, Segment
cache = SqliteSegments(Path(sys.argv[1]), max_bytes=10**9, max_age_s=1e9)
cache.secret("ana")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
value = ChunkResult(0.0, 1.0, (Segment(0.0, 1.0, "x" * 300_000, 0.0, 0.0, 1.0),))
cache.put("ana", "0" * 64, value)
print(cache.get("ana", "0" * 64))
"""


def test_a_full_disk_is_a_warning_and_a_miss(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "c")], capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() == "None"
    assert "left alone" in ended.stderr
    assert files(tmp_path) == []


def test_what_a_dead_writer_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".deadbeef").write_text("half a result")
    old = time.time() - 2 * 3600
    os.utime(tmp_path / ".deadbeef", (old, old))
    SqliteSegments(tmp_path, max_bytes=1000, max_age_s=1.0).contents()

    assert not (tmp_path / ".deadbeef").exists()
