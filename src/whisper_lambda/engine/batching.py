"""Questions from many threads in, decode batches out.

A batch holds questions of one key only, and its keys make a question's answer independent of what
shares its batch: same window, same rung, same prompt length. Oldest first, so nobody starves.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from whisper_lambda.errors import EngineFailed

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
    ) -> None:
        """Start `workers` threads, each answering at most `largest` questions at once."""
        self._answer = answer
        self._key = key
        self._largest = largest
        self._waiting: deque[tuple[Q, Future[A]]] = deque()
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
            EngineFailed: the batcher is closed.
            Exception: whatever `answer` raised for the batch.
        """
        future: Future[A] = Future()
        with self._changed:
            if self._closed:
                raise EngineFailed("the model was unloaded; ask again")
            self._waiting.append((question, future))
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
            questions = [q for q, _ in batch]
            try:
                answers = self._answer(questions)
            except BaseException as error:  # noqa: BLE001 - handed to everyone who waits for it
                for _, future in batch:
                    future.set_exception(error)
                continue
            for (_, future), given in zip(batch, answers, strict=True):
                future.set_result(given)

    def _next(self) -> list[tuple[Q, Future[A]]]:
        """Wait for questions; take the oldest and its like, leaving idle workers their share."""
        with self._changed:
            self._idle += 1
            while not self._waiting and not self._closed:
                self._changed.wait()
            batch = self._take(sharing=self._idle) if self._waiting else []
            self._idle -= 1
            return batch

    def _take(self, sharing: int) -> list[tuple[Q, Future[A]]]:
        key = self._key(self._waiting[0][0])
        alike = [entry for entry in self._waiting if self._key(entry[0]) == key]
        # Another key in the queue keeps the other workers busy; else they want part of this one.
        others = len(self._waiting) > len(alike)
        fair = len(alike) if others else -(-len(alike) // sharing)
        taken = alike[: min(self._largest, fair)]
        gone = {id(future) for _, future in taken}
        self._waiting = deque(e for e in self._waiting if id(e[1]) not in gone)
        return taken
