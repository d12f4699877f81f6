"""The grid of frames is laid by the sound: it covers a recording, and what is put before does not move it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_lambda.audio.frames import ALONE_S, FRAME, STRIPE, WITHIN_S, frames
from whisper_lambda.types import SAMPLE_RATE, Samples

NEAR = round((ALONE_S + 2 * WITHIN_S + 30) * SAMPLE_RATE)  # one more anchor may come late


def sound(seconds: float, seed: int = 3) -> Samples:
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * SAMPLE_RATE)).astype(np.float32)


LONG = sound(180)


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 40 * SAMPLE_RATE + 77, 180 * SAMPLE_RATE])
def test_frames_cover_the_recording(length: int) -> None:
    grid = frames(LONG[:length])
    edges = [grid.sample(i) for i in range(len(grid.starts) + 1)]

    assert edges[0] == 0 or not length
    assert edges[-1] == length
    assert all(0 < b - a <= FRAME for a, b in pairwise(edges))
    assert all(edges[grid.at(s)] <= s < edges[grid.at(s) + 1] for s in range(0, length, 997))
    assert grid.at(length) == len(grid.starts)


def test_stripes_are_of_frames_that_lie_evenly() -> None:
    grid = frames(LONG)

    for first, stop in pairwise([*grid.stripes, len(grid.starts)]):
        assert 0 < stop - first < 2 * STRIPE
        assert (np.diff(grid.starts[first:stop]) == FRAME).all()


def test_a_short_recording_has_one_grid_from_its_first_sample() -> None:
    grid = frames(LONG[: round(2 * ALONE_S * SAMPLE_RATE) - 1])

    assert (np.diff(grid.starts) == FRAME).all()
    assert list(grid.stripes) in ([0], [0, len(grid.starts) // 2], [0, -(-len(grid.starts) // 2)])


@settings(max_examples=20)
@given(st.integers(1, 50_000))
def test_what_is_put_before_moves_the_grid_with_the_sound(put_in: int) -> None:
    here = frames(LONG).starts
    there = frames(np.concatenate([sound(put_in / SAMPLE_RATE, seed=4), LONG])).starts - put_in

    assert np.array_equal(here[here > NEAR], there[there > NEAR])


@pytest.mark.parametrize("same", [np.zeros(100 * SAMPLE_RATE, np.float32), np.tile(sound(2.0), 50)])
def test_silence_and_loops_are_framed_too(same: Samples) -> None:
    grid = frames(same)

    assert (np.diff(grid.starts) <= FRAME).all()
    assert len(grid.starts) <= len(same) / FRAME + 4
