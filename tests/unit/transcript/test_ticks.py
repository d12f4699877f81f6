from itertools import pairwise

import pytest
from hostile import wild_times
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.transcript.ticks import CS, MS, apart, clock, to_ticks


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, (0, 0, 0, 0)),
        (59.9994, (0, 0, 59, 999)),
        (59.9996, (0, 1, 0, 0)),
        (3599.9999, (1, 0, 0, 0)),
        (3600.0, (1, 0, 0, 0)),
        (7325.25, (2, 2, 5, 250)),
        (-1.0, (0, 0, 0, 0)),
        (float("nan"), (0, 0, 0, 0)),
        (float("inf"), (99, 0, 0, 0)),
    ],
)
def test_a_clock_never_shows_sixty(seconds, expected):
    assert clock(to_ticks(seconds, MS), MS) == expected


@given(st.lists(st.tuples(wild_times, wild_times), max_size=12), st.sampled_from([MS, CS]))
def test_whatever_the_times_spans_rise_stay_apart_and_are_never_empty(spans, per_second):
    written = apart(spans, per_second)

    assert len(written) == len(spans)
    assert all(0 <= begin < end for begin, end in written)
    assert all(end <= after for (_, end), (after, _) in pairwise(written))


@given(st.lists(st.integers(0, 10_000_000), unique=True, max_size=20).map(sorted), st.booleans())
def test_spans_in_order_keep_their_times(marks, touching):
    spans = list(pairwise(marks)) if touching else list(zip(marks[::2], marks[1::2], strict=False))
    assert apart([(a / MS, b / MS) for a, b in spans], MS) == spans
