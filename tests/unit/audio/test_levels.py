"""Percentiles: the same as numpy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.audio.levels import percentile


@given(
    values=st.lists(st.floats(-120, 0, width=32), min_size=1, max_size=400),
    percent=st.sampled_from([0, 5, 50, 95, 98, 100]),
)
def test_it_is_numpys(values: list[float], percent: float) -> None:
    levels = np.array(values, np.float32)

    assert percentile(levels, percent) == pytest.approx(float(np.percentile(levels, percent)), abs=1e-4)
