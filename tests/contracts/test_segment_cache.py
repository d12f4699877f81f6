"""The SegmentCache port. An adapter joins by one more Opened in ADAPTERS: a cache, and how to damage it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from clouds import CLOUDS, NAMES, bucket
from whisper_lambda import tenants
from whisper_lambda.adapters.s3_segments import S3Segments
from whisper_lambda.adapters.sqlite_segments import SqliteSegments
from whisper_lambda.ports import SegmentCache
from whisper_lambda.types import ChunkResult, Dropped, LanguageGuess, Segment, Token, Word

SILENCE = ChunkResult(3.0, 1.5, ())
FULL = ChunkResult(
    start=12.345678901234567,
    duration=0.1 + 0.2,  # no short decimal
    segments=(
        Segment(
            0.0,
            1.25,
            " ¿Qué tal, 你好? \ud83d",
            -0.25,
            1e-17,
            1.1,
            temperature=0.2,
            tokens=(1, 50_000),
            words=(Word(0.1, 0.2, " ¿Qué", 0.99),),
            scored=(Token(b"\xe4\xbd", -0.1), Token(b"\xa0", float("-inf"))),
            speaker="A",
            language="es",
        ),
    ),
    dropped=(Dropped(0.5, 1.0, "repetition", "la la la"),),
    language="es",
)


@dataclass
class Opened:
    """A cache, another view of the same one as a second process has it, and how to get at its storage."""

    cache: SegmentCache
    again: SegmentCache
    damage: Callable[[str], None]  # spoil every value this tenant has
    bytes_at_rest: Callable[[], bytes]  # all there is, names included
    calls: int = 200  # how many at once; an emulator takes its time over each


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Opened]:
    root = tmp_path / "segments"
    caches = [SqliteSegments(root, max_bytes=10**9, max_age_s=1e6) for _ in range(2)]

    def damage(tenant: str) -> None:
        for path in (root / tenants.folder(tenant)).rglob("*"):
            if path.is_file():
                body = bytearray(path.read_bytes())
                body[len(body) // 2] ^= 1
                path.write_bytes(body)

    def at_rest() -> bytes:
        files = [p for p in root.rglob("*") if p.is_file()]
        return b"".join(str(p).encode() + p.read_bytes() for p in files)

    yield Opened(caches[0], caches[1], damage, at_rest)
    for cache in caches:
        cache.close()


@contextmanager
def in_s3(cloud: str) -> Iterator[Opened]:
    with CLOUDS[cloud]():
        name, s3 = bucket(), boto3.client("s3")
        caches = [S3Segments(name, max_age_s=1e6) for _ in range(2)]

        def objects(prefix: str) -> dict[str, bytes]:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix)
            keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
            return {k: s3.get_object(Bucket=name, Key=k)["Body"].read() for k in keys}

        def damage(tenant: str) -> None:
            for key, body in objects(f"cache/{tenants.folder(tenant)}/").items():
                spoilt = bytearray(body)
                spoilt[len(body) // 2] ^= 1
                s3.put_object(Bucket=name, Key=key, Body=bytes(spoilt))

        def at_rest() -> bytes:
            return b"".join(k.encode() + v for k, v in objects("").items())

        yield Opened(caches[0], caches[1], damage, at_rest, calls=24)
        for cache in caches:
            cache.close()


ADAPTERS = ["directory", *NAMES]


@pytest.fixture(params=ADAPTERS)
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    with ExitStack() as held:
        if request.param in CLOUDS:
            found = held.enter_context(in_s3(request.param))
        else:
            found = request.getfixturevalue(request.param)
        found.cache.secret("ana")
        yield found


@pytest.fixture
def cache(opened: Opened) -> SegmentCache:
    return opened.cache


def key(number: int = 0) -> str:
    return f"{number:064x}"


@pytest.mark.parametrize(
    "value", [FULL, SILENCE, LanguageGuess("es", 1 / 3)], ids=["full", "silence", "guess"]
)
def test_what_was_put_comes_back_to_the_last_bit(opened: Opened, value: ChunkResult | LanguageGuess) -> None:
    opened.cache.put("ana", key(), value)

    assert opened.cache.get("ana", key()) == value
    assert opened.again.get("ana", key()) == value


def test_what_was_not_put_is_not_there(cache: SegmentCache) -> None:
    cache.put("ana", key(1), FULL)

    assert cache.get("ana", key(2)) is None
    assert cache.get("nobody", key(1)) is None


def test_the_last_writer_wins(opened: Opened) -> None:
    opened.cache.put("ana", key(), FULL)
    opened.again.put("ana", key(), SILENCE)

    assert opened.cache.get("ana", key()) == SILENCE


def test_tenants_do_not_see_each_other(cache: SegmentCache) -> None:
    cache.secret("bob")
    cache.put("ana", key(), FULL)
    cache.put("bob", key(), SILENCE)

    assert (cache.get("ana", key()), cache.get("bob", key())) == (FULL, SILENCE)
    assert cache.secret("ana") != cache.secret("bob")


def test_a_secret_is_made_once_and_is_long(opened: Opened) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda n: (opened.cache, opened.again)[n % 2].secret("carla"), range(32)))

    assert len(made) == 1
    assert len(made.pop()) == 32


@pytest.mark.parametrize("tenant", ["", "../../etc", "a\0b", "é" * 500, "\ud83d", "x/y"])
def test_a_tenant_may_be_called_anything(cache: SegmentCache, tenant: str) -> None:
    cache.secret(tenant)
    cache.put(tenant, key(), FULL)

    assert cache.get(tenant, key()) == FULL
    assert cache.forget(tenant) == 1


def test_a_damaged_entry_is_a_miss_and_a_warning(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    opened.cache.put("ana", key(), FULL)
    opened.damage("ana")
    with caplog.at_level(logging.WARNING):
        assert opened.cache.get("ana", key()) is None

    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "Qué" not in caplog.text
    opened.cache.put("ana", key(), FULL)
    assert opened.cache.get("ana", key()) == FULL


def test_forgetting_leaves_nothing_of_one_tenant_and_all_of_the_others(opened: Opened) -> None:
    canary = "CANARY-d41d8cd98f"
    said = ChunkResult(0.0, 1.0, (Segment(0.0, 1.0, canary, -0.1, 0.0, 1.0),))
    name, secret = "canary-person@example.com", opened.cache.secret("canary-person@example.com")
    for number in range(40):
        opened.cache.put(name, key(number), said)
    opened.cache.put("ana", key(), FULL)
    before = opened.bytes_at_rest()

    assert canary.encode() in before
    assert secret in before
    assert opened.cache.forget(name) == 40
    after = opened.bytes_at_rest()
    assert [word for word in (canary.encode(), name.encode(), secret, key(7).encode()) if word in after] == []
    assert [opened.again.get(name, key(n)) for n in range(40)] == [None] * 40
    assert opened.cache.get("ana", key()) == FULL
    assert opened.cache.secret(name) != secret


def test_what_is_still_under_way_when_a_tenant_is_forgotten_does_not_come_back(opened: Opened) -> None:
    opened.cache.forget("ana")
    opened.again.put("ana", key(), FULL)
    opened.cache.secret("ana")

    assert opened.cache.get("ana", key()) is None


def test_many_threads_of_two_processes_read_and_write_at_once(opened: Opened) -> None:
    def work(number: int) -> bool:
        side = (opened.cache, opened.again)[number % 2]
        side.put("ana", key(number % 7), FULL)
        return side.get("ana", key(number % 7)) == FULL

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(work, range(opened.calls)))


def test_a_fork_uses_it_too(cache: SegmentCache) -> None:
    cache.put("ana", key(), FULL)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if cache.get("ana", key()) == FULL else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert cache.get("ana", key()) == FULL
    assert threading.active_count() >= 1
