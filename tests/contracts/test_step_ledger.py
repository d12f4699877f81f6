"""The StepLedger port, on each of its adapters."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clouds import CLOUDS, NAMES, table
from whisper_lambda.adapters.dynamodb_ledger import DynamoLedger
from whisper_lambda.adapters.sqlite_ledger import SqliteLedger
from whisper_lambda.errors import StorageFailed
from whisper_lambda.live.tokens import KEPT_S
from whisper_lambda.ports import StepLedger

Pair = tuple[StepLedger, StepLedger]  # two views of one ledger, as two processes have them


@pytest.fixture(params=["sqlite", *NAMES])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    if request.param == "sqlite":
        path = tmp_path / "new" / "live.sqlite3"
        yield SqliteLedger(path), SqliteLedger(path)
        return
    with CLOUDS[request.param]():
        name = table()
        yield DynamoLedger(name), DynamoLedger(name)


def test_a_step_is_taken_once_whoever_asks(pair: Pair) -> None:
    one, other = pair

    assert one.claim("a", 0, "sent")
    assert not other.claim("a", 0, "sent")
    assert other.claim("a", 1, "sent")
    assert not one.claim("a", 0, "sent")
    assert one.claim("b", 0, "sent")  # another session's
    assert one.claim("a", 5, "sent")  # steps in between were refused, or are another's business


def test_of_many_that_ask_at_once_one_gets_it(pair: Pair) -> None:
    with ThreadPoolExecutor(4) as pool:
        for step in range(3):
            taken = list(pool.map(lambda n: pair[n % 2].claim("a", step, "sent"), range(8)))  # noqa: B023
            assert taken.count(True) == 1


def test_what_failed_may_be_taken_again_unless_it_was_overtaken(pair: Pair) -> None:
    one, other = pair
    assert one.claim("a", 0, "sent")
    one.release("a", 0)
    assert other.claim("a", 0, "sent")
    assert other.claim("a", 1, "sent")
    one.release("a", 0)
    one.release("never begun", 3)

    assert not one.claim("a", 1, "sent")


def test_the_last_step_is_known_by_what_was_sent_with_it(pair: Pair) -> None:
    one, other = pair
    assert not one.repeated("a", 0, "x")
    assert one.claim("a", 0, "x")
    assert one.claim("a", 1, "y")

    assert not other.claim("a", 1, "y")
    assert other.repeated("a", 1, "y")
    assert not other.repeated("a", 1, "x")
    assert not other.repeated("a", 0, "x")  # overtaken
    assert not other.repeated("b", 1, "y")
    one.release("a", 1)
    assert not other.repeated("a", 1, "y")
    assert not other.repeated("a", 0, "y")


def test_sessions_long_over_are_forgotten_and_names_are_not_kept(tmp_path: Path) -> None:
    path, now = tmp_path / "live.sqlite3", [0.0]
    ledger = SqliteLedger(path, lambda: now[0])
    assert ledger.claim("hernan's meeting", 7, "sent")
    assert b"hernan" not in path.read_bytes()
    now[0] = KEPT_S + 1
    assert ledger.claim("hernan's meeting", 0, "sent")


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed):
        SqliteLedger(tmp_path / "file" / "live.sqlite3").claim("a", 0, "sent")
