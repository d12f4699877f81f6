"""Questions from many threads in, decode batches out.

A batch holds questions of one key only, and its keys make a question's answer independent of what
shares its batch: same window, same rung, same prompt length. Lanes (recordings) take turns, oldest
question first in each. One that has had no turn yet goes before those that have, within bounds, so
that a short recording waits for the batch under way and not for a long one's end. Lanes `behind` get what is
left: a job's chunk never shares a batch with a request, nor goes before one.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from itertools import zip_longest
from typing import Generic, TypeVar
from weakref import WeakSet

from whisper_lambda import lanes
from whisper_lambda.errors import ClientGone, EngineFailed
from whisper_lambda.lanes import Lane, Together

NEWCOMERS = 4  # turns that recordings without one yet may take before another's is due
GATHER_S = 0.03  # a recording of several chunks is waited for so long, that its first batches fill
FEW = 4  # questions up to which no share is left to workers that are busy

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Threads that answer questions in batches. Closing answers what was asked and stops them."""

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[A]],
        key: Callable[[Q], Hashable],
        *,
        workers: int,
        largest: int,
        of_one: Callable[[], int] | None = None,
    ) -> None:
        """Start `workers` threads, each answering at most `largest` questions at once.

        Args:
            answer: of questions with one key, in their order.
            key: of a question.
            workers: threads.
            largest: most questions at once.
            of_one: most at once that are all one client's, who may leave; None = as many as others.
        """
        self._answer = answer
        self._key = key
        self._workers = workers
        self._largest = largest
        self._of_one = of_one or (lambda: largest)
        self._waiting: OrderedDict[Lane, deque[tuple[Q, Future[A]]]] = OrderedDict()  # next turn first
        self._served: WeakSet[Lane] = WeakSet()
        self._newcomers = 0  # turns they have taken in a row
        self._gathering_until = 0.0  # on the monotonic clock
        self._changed = threading.Condition()
        self._idle = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"decode-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, question: Q) -> A:
        """Wait for the answer.

        Raises:
            ClientGone: the current lane was left before the question's turn.
            EngineFailed: the batcher is closed.
            Exception: whatever `answer` raised for the batch.
        """
        lanes.stay()
        future: Future[A] = Future()
        with self._changed:
            if self._closed:
                raise EngineFailed("the model was unloaded; ask again")
            lane = lanes.current() or Lane()
            if not self._waiting:
                self._gathering_until = time.monotonic() + GATHER_S
            self._waiting.setdefault(lane, deque()).append((question, future))
            self._changed.notify()
        return future.result()

    def close(self) -> None:
        """Answer what was asked, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._next():
            try:
                together = lanes.context_of(Together(lane for lane, _ in batch))
                answers = together.run(self._answer, [question for _, (question, _) in batch])
                answered = list(zip(batch, answers, strict=True))
            except BaseException as error:  # noqa: BLE001 - handed to everyone who waits for it
                for _, (_, future) in batch:
                    future.set_exception(error)
                continue
            for (_, (_, future)), given in answered:
                future.set_result(given)

    def _next(self) -> list[tuple[Lane, tuple[Q, Future[A]]]]:
        """Wait for questions; take the next lane's oldest and its like, leaving idle workers their share."""
        with self._changed:
            self._idle += 1
            batch: list[tuple[Lane, tuple[Q, Future[A]]]] = []
            while not batch and not (self._closed and not self._waiting):
                self._drop_left()
                if (patience_s := self._gathering_s()) > 0:
                    self._changed.wait(patience_s)
                elif self._waiting:
                    batch = self._take(sharing=self._idle)
                elif not self._closed:
                    self._changed.wait()
            self._idle -= 1
            return batch

    def _gathering_s(self) -> float:
        """Seconds to wait for the rest of the one recording that is there, if it has just begun."""
        if len(self._waiting) != 1 or self._closed:
            return 0.0
        ((lane, questions),) = self._waiting.items()
        if (
            lane.eager
            or lane in self._served
            or len(questions) >= min(lane.coming, self._workers * self._largest)
        ):
            return 0.0
        return self._gathering_until - time.monotonic()

    def _drop_left(self) -> None:
        """Give up the questions nobody waits for."""
        for lane in [lane for lane in self._waiting if lane.left]:
            for _, future in self._waiting.pop(lane):
                future.set_exception(ClientGone("the recording was given up before its turn"))

    def _take(self, sharing: int) -> list[tuple[Lane, tuple[Q, Future[A]]]]:
        ahead = self._ahead()
        self._let_newcomer_first(ahead)
        key = self._key(self._waiting[next(lane for lane in self._waiting if lane in ahead)][0][0])
        alike = list(self._in_turns(key, ahead))
        total = sum(len(waiting) for lane, waiting in self._waiting.items() if lane in ahead)
        sharers = sharing if total <= FEW else self._workers
        rounds = -(-total // (sharers * self._largest))
        at_most = -(-total // (sharers * rounds))
        if alike[0][0].eager and alike[0][0] not in self._served:
            at_most = 1  # whoever reads a stream sees its first words when they are heard
        if alike[0][0].watched and len({lane.root for lane in self._waiting}) == 1:
            at_most = min(at_most, self._of_one())
        taken = alike[:at_most]
        gone = {id(future) for _, (_, future) in taken}
        for lane in dict.fromkeys(lane for lane, _ in taken):  # served: behind the others
            self._served.add(lane)
            left = deque(e for e in self._waiting.pop(lane) if id(e[1]) not in gone)
            if left:
                self._waiting[lane] = left
        return taken

    def _ahead(self) -> set[Lane]:
        """Return the lanes whose turn it may be: those that let others go first only where there are none."""
        return {lane for lane in self._waiting if not lane.behind} or set(self._waiting)

    def _let_newcomer_first(self, ahead: set[Lane]) -> None:
        """Put first a lane that has had no turn; or, when enough of those had one, a lane that has."""
        due = self._newcomers >= NEWCOMERS
        first = next(
            (lane for lane in self._waiting if lane in ahead and (lane in self._served) == due), None
        )
        if first is not None:
            self._waiting.move_to_end(first, last=False)
        self._newcomers = 0 if due or first is None else self._newcomers + 1

    def _in_turns(self, key: Hashable, ahead: set[Lane]) -> Iterator[tuple[Lane, tuple[Q, Future[A]]]]:
        """Yield the waiting questions of a key: each lane's oldest, then each lane's next, and so on."""
        of_lanes = [
            [(lane, entry) for entry in waiting if self._key(entry[0]) == key]
            for lane, waiting in self._waiting.items()
            if lane in ahead
        ]
        for turn in zip_longest(*of_lanes):
            yield from (entry for entry in turn if entry is not None)
