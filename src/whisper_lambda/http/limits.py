"""What one key may use: requests at once, requests a minute, seconds of audio a day.

The day's audio is kept in SQLite beside the keys, so that a restart does not hand it out again and
several processes share it. Keys without limits touch nothing here.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from whisper_lambda.errors import (
    AudioQuotaUsed,
    AudioTooLong,
    ClientGone,
    RateLimited,
    StorageFull,
    TooManyAtOnce,
)
from whisper_lambda.http.keys import Key

MINUTE_S = 60.0
DAY_S = 86_400.0
BUSY_S = 5.0  # seconds another process may hold the file
SOON_S = 1.0  # when a place among a key's own requests may be free again


@dataclass(frozen=True, slots=True)
class Paid:
    """What a recording took off its key's day."""

    key: Key
    audio_s: float  # 0 = an earlier try of the same request had paid for it
    day: int  # since the epoch, UTC
    once: str = ""  # names the request and all its tries


class Tab:
    """What one request pays. Closed when its time is over: the thread that hears it may not yet know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paid: Paid | None = None
        self._closed = False

    def pay(self, take: Callable[[], Paid]) -> None:
        """Note what was paid; ClientGone where it is closed."""
        with self._lock:
            if self._closed:
                raise ClientGone("the time to answer in is over")
            self._paid = take()

    def close(self) -> Paid | None:
        """Return what was paid, after which nothing is any more; it may wait for who pays just now."""
        with self._lock:
            self._closed = True
            return self._paid


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

    def hear(self, key: Key, audio_s: float, once: str = "") -> Paid:
        """Take a recording's length off the key's day, or take nothing.

        Args:
            key: whose day.
            audio_s: seconds of it.
            once: names a request and all its tries: together they pay for the one that heard most.
                "" = each counts.

        Returns:
            What was taken, for `give_back`.

        Raises:
            AudioQuotaUsed: not so much is left today.
            AudioTooLong: it is more than a whole day's.
            StorageFull: the count cannot be kept.
        """
        now = self._clock()
        day = int(now // DAY_S)
        allowed = key.audio_s_per_day
        if allowed is None:
            return Paid(key, 0.0, day)
        if audio_s > allowed:
            raise AudioTooLong(f"{audio_s:.0f} s of audio; the key {key.id} may send {allowed:g} s a day")
        taken_s = self._took(key.id, day, audio_s, allowed, once)
        if taken_s is None:
            raise AudioQuotaUsed(
                f"the key {key.id} may send {allowed:g} s of audio a day (UTC), and less is left than this",
                retry_after_s=(day + 1) * DAY_S - now,
            )
        return Paid(key, taken_s, day, once)

    def give_back(self, paid: Paid, audio_s: float = math.inf) -> None:
        """Put seconds that `hear` took back on their day, at most all of them: they were not heard."""
        back_s = min(audio_s, paid.audio_s)
        if back_s <= 0:
            return
        with self._opened() as database:
            database.execute(
                "update usage set audio_s = max(0, audio_s - ?) where key_id = ? and day = ?",
                (back_s, paid.key.id, paid.day),
            )
            database.execute(
                "update tries set audio_s = max(0, audio_s - ?) where key_id = ? and request = ?",
                (back_s, paid.key.id, paid.once),
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

    def _took(self, key_id: str, day: int, audio_s: float, allowed: float, once: str) -> float | None:
        """Take what tries before did not; return how much, None where less is left."""
        with self._opened() as database:
            database.execute("delete from usage where day < ?", (day,))
            database.execute("delete from tries where day < ?", (day - 1,))
            [[before_s]] = database.execute(
                "select coalesce(sum(audio_s), 0) from tries where key_id = ? and request = ?", (key_id, once)
            )
            if audio_s <= before_s:
                return 0.0
            more_s = audio_s - before_s
            database.execute("insert or ignore into usage values (?, ?, 0)", (key_id, day))
            taken = database.execute(
                "update usage set audio_s = audio_s + ? where key_id = ? and day = ? and audio_s + ? <= ?",
                (more_s, key_id, day, more_s, allowed),
            )
            if not taken.rowcount:
                return None
            if once:
                database.execute(
                    "insert or replace into tries values (?, ?, ?, ?)", (key_id, once, day, audio_s)
                )
            return float(more_s)

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
                    "create table if not exists tries (key_id text, request text, day integer, audio_s real,"
                    " primary key (key_id, request))"
                )
                yield database
        except (OSError, sqlite3.Error) as cause:
            raise StorageFull(f"the day's use cannot be kept in {self._path.name}: {cause}") from cause
