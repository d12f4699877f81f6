"""Recordings take turns in the engine's queue, and what nobody waits for leaves it."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from fakes import FakeEngine
from whisper_lambda import lanes, pipeline
from whisper_lambda.audio.vad import speech_probabilities
from whisper_lambda.engine.batching import NEWCOMERS, Batcher
from whisper_lambda.engine.stretch import FIRST, LEAST, LONGEST_S, Stretch
from whisper_lambda.errors import ClientGone
from whisper_lambda.lanes import Lane, Together
from whisper_lambda.types import SAMPLE_RATE, Chunk, Options, Plan

Question = tuple[str, int]  # key, number


class Held:
    """A batcher of one worker, whose batches are let through one by one."""

    def __init__(self, largest: int = 4, of_one: Callable[[], int] | None = None) -> None:
        self.batches: list[list[Question]] = []
        self.gate = threading.Semaphore(0)
        self.batcher: Batcher[Question, Question] = Batcher(
            self._answer, lambda q: q[0], workers=1, largest=largest, of_one=of_one
        )
        self.threads = ThreadPoolExecutor(64)
        self.asked = 0

    def _answer(self, questions: Sequence[Question]) -> Sequence[Question]:
        self.batches.append(list(questions))
        self.gate.acquire()
        return questions

    def ask(self, lane: Lane, *questions: Question) -> list[Future[Question]]:
        """Put questions into the queue, in this order."""
        futures = []
        for question in questions:
            futures.append(self.threads.submit(lanes.context_of(lane).run, self.batcher.ask, question))
            self.asked += 1
            self.wait(lambda: self._seen() >= self.asked)
        return futures

    def _seen(self) -> int:
        waiting = sum(map(len, self.batcher._waiting.values()))
        return waiting + sum(map(len, self.batches))

    def wait(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def finish(self) -> None:
        self.gate.release(1000)
        self.batcher.close()
        self.threads.shutdown()


@pytest.fixture
def held():
    held = Held()
    yield held
    held.finish()


def test_a_short_recording_waits_for_one_batch_of_a_long_one(held: Held) -> None:
    held.ask(Lane(), *[("long", n) for n in range(20)])
    held.ask(Lane(), ("short", 0))
    held.gate.release()  # the batch under way when the short one came
    held.wait(lambda: len(held.batches) == 2)

    assert held.batches[1] == [("short", 0)]


def test_short_recordings_without_end_do_not_keep_a_long_one_waiting_for_ever(held: Held) -> None:
    held.ask(long := Lane(), *[("long", n) for n in range(20)])
    for n in range(30):
        held.ask(Lane(), (f"short {n}", 0))
    held.gate.release(20)
    held.wait(lambda: len(held.batches) == 21)
    turns = [n for n, batch in enumerate(held.batches) if batch[0][0] == "long"]

    assert len(turns) >= 4
    assert max(b - a for a, b in pairwise(turns)) <= NEWCOMERS + 1
    assert long


def test_recordings_share_batches_evenly(held: Held) -> None:
    held.ask(Lane(), ("a", 0))  # occupies the worker
    held.ask(Lane(), *[("k", n) for n in range(6)])
    held.ask(Lane(), *[("k", 100 + n) for n in range(6)])
    held.gate.release(3)
    held.wait(lambda: len(held.batches) == 4)

    assert held.batches[1:] == [
        [("k", 0), ("k", 100), ("k", 1), ("k", 101)],
        [("k", 2), ("k", 102), ("k", 3), ("k", 103)],
        [("k", 4), ("k", 104), ("k", 5), ("k", 105)],
    ]


def test_a_stream_gets_its_first_chunk_alone_and_the_rest_together(held: Held) -> None:
    held.ask(Lane(), ("other", 0))
    held.ask(Lane(Lane(eager=True)), *(("same", n) for n in range(4)))
    for _ in range(3):
        held.gate.release()
    held.wait(lambda: len(held.batches) == 3)

    assert held.batches[1:] == [[("same", 0)], [("same", 1), ("same", 2), ("same", 3)]]


def test_one_recording_is_answered_in_its_order(held: Held) -> None:
    held.ask(Lane(), *[("k", n) for n in range(9)])
    held.gate.release(3)
    held.wait(lambda: len(held.batches) == 3)

    assert [q for batch in held.batches for q in batch] == [("k", n) for n in range(9)]


def test_no_lane_is_passed_over_for_ever(held: Held) -> None:
    held.ask(Lane(), ("a", 0))
    crowd = [Lane() for _ in range(5)]
    for lane in crowd:
        held.ask(lane, *[("crowd", n) for n in range(4)])
    held.ask(Lane(), ("alone", 0))
    held.gate.release(6)
    held.wait(lambda: len(held.batches) == 7)

    assert [("alone", 0)] in held.batches


def test_what_is_left_is_not_decoded(held: Held) -> None:
    lane = Lane()
    held.ask(Lane(), ("a", 0))
    given_up = held.ask(lane, ("k", 1), ("k", 2))
    other = held.ask(Lane(), ("k", 3))
    lane.leave()
    held.gate.release(2)

    assert other[0].result(5) == ("k", 3)
    assert all(isinstance(f.exception(5), ClientGone) for f in given_up)
    assert held.batches == [[("a", 0)], [("k", 3)]]


def test_a_batch_under_way_ends_between_its_parts_when_nobody_waits_for_any_of_it() -> None:
    """The engine asks `lanes.stay` between the parts of a batch: encoding one chunk, then the next."""
    begun, go_on, parts = threading.Semaphore(0), threading.Semaphore(0), []

    def answer(questions: Sequence[Question]) -> Sequence[Question]:
        for question in questions:
            lanes.stay()
            parts.append(question)
            begun.release()
            go_on.acquire()
        return questions

    batcher: Batcher[Question, Question] = Batcher(answer, lambda q: q[0], workers=1, largest=4)
    busy, first, second = Lane(), Lane(), Lane()
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(lanes.context_of(busy).run, batcher.ask, ("other", 0))]
        begun.acquire()
        for lane, number in ((first, 1), (second, 2), (first, 3)):
            asked.append(threads.submit(lanes.context_of(lane).run, batcher.ask, ("same", number)))
        while sum(map(len, batcher._waiting.values())) < 3:
            time.sleep(0.001)
        go_on.release()
        begun.acquire()  # the first part of the batch of three
        first.leave()
        go_on.release()
        begun.acquire()  # somebody still waits: the second part
        second.leave()
        go_on.release()
        refused = [type(future.exception(10)) for future in asked[1:]]
        batcher.close()

    assert refused == [ClientGone] * 3
    assert len(parts) == 3, "the third part was begun for nobody"


def test_a_left_lane_asks_nothing_more(held: Held) -> None:
    lane = Lane(parent := Lane())
    parent.leave()

    with pytest.raises(ClientGone):
        lanes.context_of(lane).run(held.batcher.ask, ("k", 0))


def test_questions_without_a_lane_are_each_their_own(held: Held) -> None:
    held.ask(Lane(), ("a", 0))
    futures = [held.threads.submit(held.batcher.ask, ("k", n)) for n in range(3)]
    held.gate.release(2)

    assert [f.result(5) for f in futures] == [("k", 0), ("k", 1), ("k", 2)]


def silence(seconds: float) -> Chunk:
    return Chunk(np.zeros(int(seconds * SAMPLE_RATE), np.float32), 0.0)


def test_the_line_gives_each_recording_a_lane_of_its_own() -> None:
    seen: list[Lane | None] = []
    engine = FakeEngine(began=lambda: seen.append(lanes.current()))
    plan = Plan(chunks=(silence(1), silence(1)), options=Options(language="es"), duration=2.0)
    for _ in range(2):
        list(pipeline.results(plan, engine=engine))

    assert None not in seen
    assert seen[0] is seen[1] is not seen[2] is seen[3]


def test_leaving_the_request_leaves_its_recording() -> None:
    request = Lane()
    recording: list[Lane | None] = []
    engine = FakeEngine(began=lambda: recording.append(lanes.current()))
    plan = Plan(chunks=(silence(1), silence(1)), options=Options(language="es"), duration=2.0)
    lanes.context_of(request).run(lambda: list(pipeline.results(plan, engine=engine)))
    request.leave()

    assert recording[0] is not request
    assert recording[0]
    assert recording[0].left


def test_closing_the_results_leaves_the_recording() -> None:
    recording: list[Lane | None] = []
    engine = FakeEngine(began=lambda: recording.append(lanes.current()))
    plan = Plan(chunks=(silence(1),) * 40, options=Options(language="es"), duration=40.0)
    results = pipeline.results(plan, engine=engine)
    next(results)
    assert recording[0]
    assert not recording[0].left
    results.close()

    assert recording[0].left


def test_finding_voices_stops_when_nobody_waits() -> None:
    lane = Lane()
    lane.leave()

    with pytest.raises(ClientGone):
        lanes.context_of(lane).run(speech_probabilities, np.zeros(SAMPLE_RATE, np.float32))


def test_a_lane_behind_the_others_waits_for_all_of_them_and_shares_no_batch(held: Held) -> None:
    held.ask(Lane(), ("busy", 0))  # occupies the worker
    job = Lane(behind=True)
    held.ask(job, *[("k", n) for n in range(3)])
    held.ask(Lane(job), ("k", 3))  # a lane within a job's is behind too
    held.ask(Lane(), *[("k", 100 + n) for n in range(6)])
    held.gate.release(4)
    held.wait(lambda: len(held.batches) == 4)

    assert held.batches[1:] == [
        [("k", 100), ("k", 101), ("k", 102)],
        [("k", 103), ("k", 104), ("k", 105)],
        [("k", 0), ("k", 3), ("k", 1), ("k", 2)],
    ]


def test_what_one_client_may_leave_is_decoded_in_short_batches() -> None:
    held = Held(largest=8, of_one=lambda: 2)
    client = Lane(watched=True)
    left, right = Lane(client), Lane(client)
    held.ask(Lane(), ("busy", 0))
    held.wait(lambda: len(held.batches) == 1)

    held.ask(left, *[("k", n) for n in range(3)])
    held.ask(right, *[("k", n) for n in range(3, 6)])
    held.finish()
    held.wait(lambda: sum(map(len, held.batches)) == 7)

    assert [len(batch) for batch in held.batches[1:]] == [2, 2, 2]


@pytest.mark.parametrize("other", [Lane(), Lane(watched=True)])
def test_batches_that_several_share_are_as_long_as_ever(other: Lane) -> None:
    held = Held(largest=8, of_one=lambda: 2)
    held.ask(Lane(), ("busy", 0))
    held.wait(lambda: len(held.batches) == 1)

    held.ask(Lane(watched=True), *[("k", n) for n in range(5)])
    held.ask(other, ("k", 5))
    held.finish()
    held.wait(lambda: sum(map(len, held.batches)) == 7)

    assert [len(batch) for batch in held.batches[1:]] == [6]


def test_work_nobody_watches_is_not_cut_short() -> None:
    held = Held(largest=8, of_one=lambda: 2)
    held.ask(Lane(), ("busy", 0))
    held.wait(lambda: len(held.batches) == 1)

    held.ask(Lane(), *[("k", n) for n in range(5)])
    held.finish()
    held.wait(lambda: sum(map(len, held.batches)) == 6)

    assert [len(batch) for batch in held.batches[1:]] == [5]


def test_a_batch_is_watched_when_all_of_it_is_one_clients() -> None:
    client, other = Lane(watched=True), Lane(watched=True)

    assert Together([Lane(client), Lane(client)]).watched
    assert not Together([Lane(client), Lane(other)]).watched
    assert not Together([Lane()]).watched


def test_the_stretch_learns_what_this_machine_decodes_in_time() -> None:
    stretch = Stretch(8)
    assert stretch.most == FIRST

    stretch.took(4, LONGEST_S + 0.1)
    assert stretch.most == 3
    stretch.took(3, 10.0)
    stretch.took(2, 10.0)
    assert stretch.most == LEAST
    stretch.took(1, 0.1)  # of fewer than were allowed: says nothing
    assert stretch.most == LEAST
    for count in range(2, 10):
        stretch.took(count, 0.3)
    assert stretch.most == 8
    assert Stretch(1).most == 1
