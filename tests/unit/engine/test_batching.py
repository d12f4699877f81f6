"""Questions from many threads: each gets its own answer, batches keep their rules, nobody is left waiting.

Whose turn it is among recordings is in test_lanes.py.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from whisper_lambda import lanes
from whisper_lambda.engine.batching import Batcher
from whisper_lambda.errors import EngineFailed

Question = tuple[str, int]  # key, number
PATIENCE_S = 10.0  # what takes longer hangs


@dataclass
class Answering:
    """Notes every batch; holds each one back until it is let go, where `held`."""

    held: bool = False
    fails: Callable[[Sequence[Question]], bool] = lambda _: False
    batches: list[list[Question]] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    let_go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, questions: Sequence[Question]) -> list[str]:
        self.batches.append(list(questions))
        self.begun.release()
        if self.held:
            assert self.let_go.acquire(timeout=PATIENCE_S)
        if self.fails(questions):
            raise RuntimeError(f"{questions[0]} cannot be answered")
        return [f"{key}{n}" for key, n in questions]


def batcher(answer: Answering, *, workers: int = 1, largest: int = 4) -> Batcher[Question, str]:
    return Batcher(answer, lambda q: q[0], workers=workers, largest=largest)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def occupied(answer: Answering, batches: Batcher[Question, str], threads: ThreadPoolExecutor, n: int) -> None:
    """Ask until `n` workers hold a batch each, so that what is asked next has to wait."""
    for i in range(n):
        threads.submit(batches.ask, (f"busy{i}", 0))
        assert answer.begun.acquire(timeout=PATIENCE_S)


def queued(
    batches: Batcher[Question, str], threads: ThreadPoolExecutor, questions: Sequence[Question]
) -> list[Future[str]]:
    """Ask, and return when all of it waits in the queue."""
    before = waiting(batches)
    futures = [threads.submit(batches.ask, q) for q in questions]
    until(lambda: waiting(batches) == before + len(questions))
    return futures


def waiting(batches: Batcher[Question, str]) -> int:
    with batches._changed:
        return sum(map(len, batches._waiting.values()))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("workers", [1, 3])
def test_everyone_gets_the_answer_to_his_own_question(workers: int) -> None:
    answer = Answering()
    batches = batcher(answer, workers=workers, largest=5)

    def ask_many(thread: int) -> list[str]:
        return [batches.ask((f"k{n % 3}-", 1000 * thread + n)) for n in range(200)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask_many, range(8)))
    batches.close()

    assert answers == [[f"k{n % 3}-{1000 * t + n}" for n in range(200)] for t in range(8)]
    assert sum(map(len, answer.batches)) == 1600, "each asked once"
    assert all(len({key for key, _ in batch}) == 1 for batch in answer.batches), "one key a batch"
    assert max(map(len, answer.batches)) <= 5


def test_what_waits_together_is_answered_together(threads: ThreadPoolExecutor) -> None:
    answer = Answering(held=True)
    batches = batcher(answer, largest=4)
    occupied(answer, batches, threads, 1)
    futures = queued(batches, threads, [("a", n) for n in range(6)])
    answer.let_go.release(10)

    assert {f.result(PATIENCE_S) for f in futures} == {f"a{n}" for n in range(6)}
    assert [len(batch) for batch in answer.batches] == [1, 3, 3], "even batches"
    batches.close()


def test_a_batch_holds_one_key(threads: ThreadPoolExecutor) -> None:
    answer = Answering(held=True)
    batches = batcher(answer)
    occupied(answer, batches, threads, 1)
    futures = queued(batches, threads, [("ab"[n % 2], n) for n in range(6)])
    answer.let_go.release(10)
    for future in futures:
        future.result(PATIENCE_S)

    assert sorted(len(batch) for batch in answer.batches) == [1, 3, 3]
    assert all(len({key for key, _ in batch}) == 1 for batch in answer.batches)
    batches.close()


def test_idle_workers_get_their_share(threads: ThreadPoolExecutor) -> None:
    """Four like questions and two idle cores: never one batch of four and an idle core."""
    answer = Answering(held=True)
    batches = batcher(answer, workers=2, largest=8)
    until(lambda: batches._idle == 2)
    with batches._changed:  # askers and workers all come to this door
        futures = [threads.submit(batches.ask, ("a", n)) for n in range(4)]
        time.sleep(0.05)
    for _ in range(2):
        assert answer.begun.acquire(timeout=PATIENCE_S), "both workers are at work"
    answer.let_go.release(10)
    for future in futures:
        future.result(PATIENCE_S)

    assert max(map(len, answer.batches)) < 4
    batches.close()


def test_the_first_batch_of_a_recording_waits_for_its_chunks(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks come one by one within milliseconds: a batch of one would cost as much as one of four."""
    monkeypatch.setattr("whisper_lambda.engine.batching.GATHER_S", PATIENCE_S)  # this machine may be busy
    answer = Answering()
    batches = batcher(answer, largest=8)
    until(lambda: batches._idle == 1)
    context = lanes.context_of(lanes.Lane(coming=4))
    futures = []
    for n in range(4):
        futures.append(threads.submit(context.copy().run, batches.ask, ("a", n)))
        time.sleep(0.001)
    for future in futures:
        future.result(PATIENCE_S)

    assert [len(batch) for batch in answer.batches] == [4]
    batches.close()


def test_chunks_that_never_come_are_not_waited_for_long(threads: ThreadPoolExecutor) -> None:
    answer = Answering()
    batches = batcher(answer)
    context = lanes.context_of(lanes.Lane(coming=4))

    assert threads.submit(context.run, batches.ask, ("a", 0)).result(PATIENCE_S) == "a0"
    batches.close()


def test_busy_workers_find_their_share_when_they_are_done(threads: ThreadPoolExecutor) -> None:
    """One of two workers is free and six questions wait: it takes three, and leaves three."""
    answer = Answering(held=True)
    batches = batcher(answer, workers=2, largest=8)
    occupied(answer, batches, threads, 2)
    futures = queued(batches, threads, [("a", n) for n in range(6)])
    answer.let_go.release(10)
    for future in futures:
        future.result(PATIENCE_S)

    assert sorted(len(batch) for batch in answer.batches) == [1, 1, 3, 3]
    batches.close()


def test_a_failure_reaches_all_of_its_batch_and_nobody_else(threads: ThreadPoolExecutor) -> None:
    answer = Answering(held=True, fails=lambda questions: questions[0][0] == "bad")
    batches = batcher(answer)
    occupied(answer, batches, threads, 1)
    bad = queued(batches, threads, [("bad", n) for n in range(3)])
    good = queued(batches, threads, [("good", n) for n in range(3)])
    answer.let_go.release(10)

    assert [type(f.exception(PATIENCE_S)) for f in bad] == [RuntimeError] * 3
    assert {f.result(PATIENCE_S) for f in good} == {"good0", "good1", "good2"}
    assert batches.ask(("later", 1)) == "later1", "the worker lives on"
    batches.close()


@pytest.mark.parametrize("given", [0, 2])
def test_a_wrong_count_of_answers_is_a_failure_not_a_hang(given: int, threads: ThreadPoolExecutor) -> None:
    batches: Batcher[int, int] = Batcher(
        lambda qs: [0] * given if qs == [1] else qs, lambda _: 0, workers=1, largest=1
    )

    assert isinstance(threads.submit(batches.ask, 1).exception(PATIENCE_S), ValueError)
    assert batches.ask(7) == 7
    batches.close()


def test_closing_answers_what_was_asked_and_refuses_the_rest(threads: ThreadPoolExecutor) -> None:
    answer = Answering(held=True)
    batches = batcher(answer)
    occupied(answer, batches, threads, 1)
    futures = queued(batches, threads, [("a", n) for n in range(3)])
    closing = threads.submit(batches.close)
    until(lambda: batches._closed)

    with pytest.raises(EngineFailed):
        batches.ask(("late", 1))
    assert not closing.done(), "it waits for what was asked"
    answer.let_go.release(10)
    assert {f.result(PATIENCE_S) for f in futures} == {"a0", "a1", "a2"}
    closing.result(PATIENCE_S)


def test_closing_leaves_no_thread_and_may_be_done_twice() -> None:
    before = set(threading.enumerate())
    batches = batcher(Answering(), workers=3)
    batches.ask(("a", 1))

    assert len(set(threading.enumerate()) - before) == 3
    batches.close()
    batches.close()
    assert set(threading.enumerate()) == before
