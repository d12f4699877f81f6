"""A waiting room: so many heard at once, so many seats for those who wait, tenants in turn."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from whisper_lambda.errors import CannotFinishInTime, Overloaded


class Room:
    """Lets so many in at once; the others wait, and tenants take turns. Belongs to the event loop."""

    def __init__(self, places: int, seats: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Open a room.

        Args:
            places: most under way at once.
            seats: most waiting.
            clock: seconds, monotonic.
        """
        self._places = places
        self._seats = seats
        self._clock = clock
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # next turn first
        self._stay_s: float | None = None  # how long a place is held, on average of late
        self.under_way = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def wait_s(self, tenant: str) -> float:
        """Return how long one more of `tenant` would wait, as far as is known."""
        if self.under_way < self._places and not self._waiting:
            return 0.0
        own = len(self._waiting.get(tenant, ()))
        ahead = sum(min(len(queue), own + 1) for queue in self._waiting.values()) + 1
        return ahead * (self._stay_s or 0.0) / self._places

    @asynccontextmanager
    async def place(self, tenant: str, patience_s: float) -> AsyncIterator[None]:
        """Wait for a place and hold it.

        Raises:
            Overloaded: every seat is taken, or became another's who waits for less.
            CannotFinishInTime: `patience_s` would not do, or did not.
        """
        await self._enter(tenant, patience_s)
        entered = self._clock()
        try:
            yield
        finally:
            self._learn(self._clock() - entered)
            self._leave()

    async def _enter(self, tenant: str, patience_s: float) -> None:
        if self.under_way < self._places and not self._waiting:
            self.under_way += 1
            return
        expected_s = self.wait_s(tenant)
        if expected_s > patience_s:
            raise CannotFinishInTime(
                f"about {expected_s:.0f} s of waiting are ahead; send it again later",
                retry_after_s=expected_s - patience_s,
            )
        if self.waiting >= self._seats:
            self._make_room(tenant)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            async with asyncio.timeout(None if math.isinf(patience_s) else patience_s):
                await turn
        except BaseException as cause:  # too late, refused for another's sake, or the client left
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # the place came in the same moment
            else:
                self._forget(tenant, turn)
            if isinstance(cause, TimeoutError):
                raise CannotFinishInTime(
                    "the turn did not come in time; send it again later", retry_after_s=self.wait_s(tenant)
                ) from None
            raise

    def _forget(self, tenant: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(tenant)
        if queue and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[tenant]

    def _make_room(self, tenant: str) -> None:
        """Give a seat of the tenant with most of them to one with fewer, or refuse."""
        greedy = max(self._waiting, key=lambda t: len(self._waiting[t]), default=tenant)
        refusal = Overloaded(
            f"{self.waiting} requests are waiting already; send it again later",
            retry_after_s=max(1.0, (self._stay_s or 1.0) / self._places),
        )
        if len(self._waiting.get(greedy, ())) <= len(self._waiting.get(tenant, ())) + 1:
            raise refusal
        last = self._waiting[greedy].pop()
        if not last.done():
            last.set_exception(refusal)

    def refuse_waiting(self, refusal: Callable[[], Overloaded]) -> None:
        """Send everybody who waits away."""
        while self._waiting:
            for turn in self._waiting.popitem()[1]:
                if not turn.done():
                    turn.set_exception(refusal())

    def _leave(self) -> None:
        """Pass the place on to the tenant whose turn it is, or free it."""
        while self._waiting:
            tenant, queue = next(iter(self._waiting.items()))
            turn = queue.popleft()
            del self._waiting[tenant]
            if queue:
                self._waiting[tenant] = queue  # served: behind the others
            if not turn.done():
                turn.set_result(None)
                return
        self.under_way -= 1

    def _learn(self, stayed_s: float) -> None:
        self._stay_s = stayed_s if self._stay_s is None else 0.8 * self._stay_s + 0.2 * stayed_s
