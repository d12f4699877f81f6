"""What a start begins ahead: loading what is here, and nothing that would have to be fetched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from fakes import FakeEngine, FakeRouter
from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.ports import Engine
from whisper_lambda.starting import Started, ahead
from whisper_lambda.types import ModelChoice

PATIENCE_S = 60.0


@dataclass
class Shelf(FakeRouter):
    """Knows what is here, and notes what was loaded."""

    here_: bool | Exception = True
    taken: list[str | None] = field(default_factory=list)

    def here(self, model: str | None) -> bool:
        if isinstance(self.here_, Exception):
            raise self.here_
        return self.here_

    @contextmanager
    def engine(self, model: str | None = None) -> Iterator[tuple[Engine, ModelChoice]]:
        self.taken.append(model)
        with super().engine(model) as loaded:
            yield loaded


class Decoders:
    warmed = 0

    def warm(self) -> None:
        self.warmed += 1


@pytest.mark.parametrize(
    ("here", "fetch", "taken"),
    [
        (True, False, ["tiny"]),
        (False, False, []),
        (False, True, ["tiny"]),
        (ModelCorrupt("its manifest was changed"), False, []),  # whoever asks is told, with the words for it
    ],
)
def test_only_what_is_here_is_loaded_unless_fetching_is_asked_for(
    here: bool | Exception, fetch: bool, taken: list[str]
) -> None:
    router, decoders = Shelf(FakeEngine(), here_=here), Decoders()
    ahead(Started(router, decoders), "tiny", fetch=fetch)  # type: ignore[arg-type]
    for thread in threading.enumerate():
        if thread.name == "load":
            thread.join(PATIENCE_S)

    assert router.taken == taken
    assert decoders.warmed == 1
