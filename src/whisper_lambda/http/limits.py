"""What one key may use: requests at once, requests a minute, seconds of audio a day.

The day's audio is kept in SQLite beside the keys, so that a restart does not hand it out again and
several processes share it. Keys without limits touch nothing here.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from whisper_lambda.errors import AudioQuotaUsed, AudioTooLong, RateLimited, StorageFull, TooManyAtOnce
from whisper_lambda.http.keys import Key

MINUTE_S = 60.0
DAY_S = 86_400.0
BUSY_S = 5.0  # seconds another process may hold the file
SOON_S = 1.0  # when a place among a key's own requests may be free again


class Usage:
    """Counts what keys use. Safe to use from many threads."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Keep the day's audio in `path`; it is made when the first limited key is heard."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[str, int] = defaultdict(int)
        self._begun: dict[str, deque[float]] = defaultdict(deque)

    @contextmanager
    def request(self, key: Key) -> Iterator[None]:
        """Count one request of the key, for as long as it is under way.

        Raises:
            RateLimited: the minute's requests are used up.
            TooManyAtOnce: too many are under way.
        """
        self._begin(key)
        try:
            yield
        finally:
            with self._lock:
                self._under_way[key.id] -= 1
                if not self._under_way[key.id]:
                    del self._under_way[key.id]

    def _begin(self, key: Key) -> None:
        now = self._clock()
        with self._lock:
            if key.concurrent is not None and self._under_way.get(key.id, 0) >= key.concurrent:
                raise TooManyAtOnce(
                    f"the key {key.id} may have {key.concurrent} requests under way at once",
                    retry_after_s=SOON_S,
                )
            if key.per_minute is not None:
                begun = self._begun[key.id]
                while begun and begun[0] <= now - MINUTE_S:
                    begun.popleft()
                if len(begun) >= key.per_minute:
                    raise RateLimited(
                        f"the key {key.id} may send {key.per_minute} requests a minute",
                        retry_after_s=begun[0] + MINUTE_S - now,
                    )
                begun.append(now)
            self._under_way[key.id] += 1

    def hear(self, key: Key, audio_s: float, once: str = "") -> int:
        """Take a recording's length off the key's day, or take nothing.

        Args:
            key: whose day.
            audio_s: seconds of it.
            once: names a request and all its repetitions: they are taken off once. "" = each counts.

        Returns:
            The day it was taken off, for `give_back`.

        Raises:
            AudioQuotaUsed: not so much is left today.
            AudioTooLong: it is more than a whole day's.
            StorageFull: the count cannot be kept.
        """
        now = self._clock()
        day = int(now // DAY_S)
        allowed = key.audio_s_per_day
        if allowed is None:
            return day
        if audio_s > allowed:
            raise AudioTooLong(f"{audio_s:.0f} s of audio; the key {key.id} may send {allowed:g} s a day")
        if not self._took(key.id, day, audio_s, allowed, once):
            raise AudioQuotaUsed(
                f"the key {key.id} may send {allowed:g} s of audio a day (UTC), and less is left than this",
                retry_after_s=(day + 1) * DAY_S - now,
            )
        return day

    def give_back(self, key: Key, audio_s: float, day: int) -> None:
        """Put back what `hear` took off a day, of a recording that was not accepted after all."""
        if key.audio_s_per_day is None:
            return
        with self._opened() as database:
            database.execute(
                "update usage set audio_s = max(0, audio_s - ?) where key_id = ? and day = ?",
                (audio_s, key.id, day),
            )

    def heard_today(self, key_id: str) -> float:
        """Return the seconds of audio taken off the key's day so far."""
        if not self._path.exists():
            return 0.0
        day = int(self._clock() // DAY_S)
        with self._opened() as database:
            rows = database.execute(
                "select audio_s from usage where key_id = ? and day = ?", (key_id, day)
            ).fetchall()
        return float(rows[0][0]) if rows else 0.0

    def _took(self, key_id: str, day: int, audio_s: float, allowed: float, once: str) -> bool:
        with self._opened() as database:
            database.execute("delete from usage where day < ?", (day,))
            database.execute("delete from taken where day < ?", (day - 1,))
            if (
                once
                and database.execute(
                    "select 1 from taken where key_id = ? and request = ?", (key_id, once)
                ).fetchone()
            ):
                return True
            database.execute("insert or ignore into usage values (?, ?, 0)", (key_id, day))
            taken = database.execute(
                "update usage set audio_s = audio_s + ? where key_id = ? and day = ? and audio_s + ? <= ?",
                (audio_s, key_id, day, audio_s, allowed),
            )
            if once and taken.rowcount:
                database.execute("insert or ignore into taken values (?, ?, ?)", (key_id, once, day))
            return taken.rowcount == 1

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self._path, os.O_CREAT, 0o600))
            with closing(sqlite3.connect(self._path, timeout=BUSY_S)) as database, database:
                database.execute(
                    "create table if not exists usage (key_id text, day integer, audio_s real,"
                    " primary key (key_id, day))"
                )
                database.execute(
                    "create table if not exists taken (key_id text, request text, day integer,"
                    " primary key (key_id, request))"
                )
                yield database
        except (OSError, sqlite3.Error) as cause:
            raise StorageFull(f"the day's use cannot be kept in {self._path.name}: {cause}") from cause
