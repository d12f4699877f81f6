"""The tables of the cascade and of Opus: what is counted, and a line no faster than it is told to be."""

from __future__ import annotations

import pytest

from prompts import FIXTURES
from whisper_lambda.tools.compression import Way, shaped_line, table, upload_s
from whisper_lambda.tools.ladder import Tier, measured
from whisper_lambda.tools.ladder import table as ladder_table
from whisper_lambda.tools.manifest import read_manifests


def test_times_are_shares_of_the_largest_tiers_and_the_cascade_says_what_it_heard_twice() -> None:
    tiers = [
        Tier("tiny.en", words=200, wrong=20, cpu_s=5.0, wall_s=4.0),
        Tier("base", words=200, wrong=10, cpu_s=10.0, wall_s=8.0),
        Tier("auto", words=200, wrong=11, cpu_s=8.0, wall_s=7.0, escalated=3),
    ]
    *_, tiny, base, auto = ladder_table(tiers, 9)

    assert tiny == "| tiny.en | 10.00 | 5.0 s | 0.50 | 0.50 |  |"
    assert base == "| base | 5.00 | 10.0 s | 1.00 | 1.00 |  |"
    assert auto == "| auto | 5.50 | 8.0 s | 0.80 | 0.88 | 3 of 9 |"


@pytest.mark.model
def test_the_ladder_is_climbed_on_real_recordings() -> None:
    entries = [e for e in read_manifests([FIXTURES / "prompts.jsonl"]) if e.language_hint == "en"]
    tiny, base, auto = measured(entries, ("tiny.en", "base"))

    assert tiny.words == base.words == auto.words > 40
    assert max(tiny.wer, base.wer, auto.wer) < 10
    assert auto.escalated <= len(entries)


def test_bytes_take_as_long_as_the_line_is_slow() -> None:
    """12,500 bytes are 0.1 s at 1 Mbit/s; what comes at once is a block of 20 ms."""
    with shaped_line(1.0) as address:
        assert upload_s(12_500, address) >= 0.08

    rows = list(table([Way("Opus 24 kbit/s", sizes=[300, 500, 400], words=50, wrong=2)]))
    assert rows[-1].startswith("| Opus 24 kbit/s | 1,200 | 4.00 | 0.0")
