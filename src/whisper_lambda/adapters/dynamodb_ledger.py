"""StepLedger in the DynamoDB table: one row a session, one conditional write a step."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from whisper_lambda.adapters.dynamodb_table import Key, Lost, Table
from whisper_lambda.errors import StorageFailed
from whisper_lambda.live.tokens import KEPT_S


class DynamoLedger:
    """A ledger for all environments of a function. Rows go by the table's time to live."""

    def __init__(self, table: str, clock: Callable[[], float] = time.time) -> None:
        """Name the table; nothing is opened before the first call."""
        self._table = Table(table)
        self._clock = clock

    def claim(self, session: str, step: int, sent: str) -> bool:
        """Take a step; see the port."""
        with _told():
            try:
                expires = int(self._clock() + KEPT_S)
                self._table.advance(_key(session), "step", step, sent=sent, expires=expires)
            except Lost:
                return False
        return True

    def repeated(self, session: str, step: int, sent: str) -> bool:
        """Tell whether the last step was sent as this one is; see the port."""
        with _told():
            row = self._table.get(_key(session)) or {}
        return (row.get("step"), row.get("sent")) == (step, sent)

    def release(self, session: str, step: int) -> None:
        """Give back a step; see the port."""
        with _told():
            try:
                back = self._table.set(_key(session), only_if={"step": step}, step=step - 1, sent="")
                self._table.write_all([back])
            except Lost:
                return


def _key(session: str) -> Key:
    return {"pk": "live#" + hashlib.sha256(session.encode()).hexdigest(), "sk": "step"}


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Exception as cause:
        raise StorageFailed(f"the table of live steps: {cause}") from cause
