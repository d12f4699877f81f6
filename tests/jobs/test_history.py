"""The short form of `make history`: workers die and stop, and the checker finds nothing amiss."""

import pytest
from history import run

from databases import DATABASES


@pytest.mark.parametrize("kind", list(DATABASES))
def test_nothing_is_lost_or_done_twice_whoever_dies(kind: str) -> None:
    findings = run(kind, jobs=6, kills=4, stops=2, kinds=2)

    assert findings.clean, findings
    assert findings.accepted == 6
