"""A recording in blocks is planned as one that is there whole, in memory that does not grow with it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_lambda.audio.chunking import planned
from whisper_lambda.audio.scenes import LONGEST_SCENE_S, SHORTEST_SCENE_S, picked, scenes
from whisper_lambda.types import SAMPLE_RATE, Chunk, Dropped, Samples

MINUTE = 60 * SAMPLE_RATE


def bursts(minutes: float, seed: int = 1) -> Samples:
    """Noise that comes and goes, as speech does."""
    draw = np.random.default_rng(seed)
    parts, left = [], round(minutes * MINUTE)
    while left > 0:
        sound = draw.normal(0, 0.05, round(draw.uniform(1, 20) * SAMPLE_RATE)).astype(np.float32)
        parts += [sound, np.zeros(round(draw.uniform(0.2, 5) * SAMPLE_RATE), np.float32)]
        left -= len(parts[-1]) + len(parts[-2])
    return np.concatenate(parts)


def blocks(samples: Samples, sizes: list[int]) -> Iterator[Samples]:
    at, turn = 0, 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        yield samples[at : at + size]
        at, turn = at + size, turn + 1


def described(found: list[Chunk | Dropped]) -> list[object]:
    return [(f.start, f.unsure, f.samples.tobytes()) if isinstance(f, Chunk) else f for f in found]


LONG = bursts(23)
WHOLE = described(list(planned([LONG], "off")))


@settings(max_examples=5)
@given(st.lists(st.integers(1_000, 5_000_000), min_size=1, max_size=4))
def test_however_it_is_divided_into_blocks_the_plan_is_the_same(sizes: list[int]) -> None:
    assert described(list(planned(blocks(LONG, sizes), "off"))) == WHOLE


def test_scenes_cover_the_recording_once_and_are_bounded() -> None:
    found = list(scenes(blocks(LONG, [SAMPLE_RATE])))

    assert len(found) >= 3
    assert np.array_equal(np.concatenate([s.samples for s in found]), LONG)
    assert all(a.start + len(a.samples) == b.start for a, b in pairwise(found))
    assert all(
        SHORTEST_SCENE_S <= len(s.samples) / SAMPLE_RATE + 1 <= LONGEST_SCENE_S + 1 for s in found[:-1]
    )


def test_a_recording_of_one_scene_is_left_as_it_is() -> None:
    assert [s.start for s in scenes([LONG[: 10 * MINUTE]])] == [0]
    assert list(scenes([])) == []
    assert list(scenes([np.zeros(0, np.float32)])) == []


def test_memory_does_not_grow_with_the_recording() -> None:
    def endless(minutes: int) -> Iterator[Samples]:
        for n in range(minutes):
            yield bursts(0.9, n)

    def peak(minutes: int) -> int:
        tracemalloc.start()
        try:
            for _ in planned(endless(minutes), "off"):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40) < 1.3 * peak(20) < 300_000_000


def test_silence_that_lasts_over_scenes_is_told_once() -> None:
    sound = bursts(0.5)
    long = np.concatenate([sound, np.zeros(25 * MINUTE, np.float32), sound])
    gaps = [
        f for f in planned(blocks(long, [777_777]), "off") if isinstance(f, Dropped) and f.end - f.start > 60
    ]

    assert len(gaps) == 1
    assert gaps[0].end - gaps[0].start > 24.9 * 60


@given(st.integers(0, 3000), st.integers(0, 200), st.integers(0, 200))
def test_the_sound_picks_the_sample_however_the_window_lies(moved: int, early: int, late: int) -> None:
    """The least hash of the common part is picked wherever the windows' other parts have no smaller one."""
    samples = np.random.default_rng(5).normal(0, 0.01, 20_000).astype(np.float32)
    there = np.concatenate([np.full(moved, 0.5, np.float32), samples])
    here = picked(samples, 8_000, 12_000)
    shifted = picked(there, 8_000 + moved - early, 12_000 + moved + late) - moved

    assert shifted == here or not 8_000 <= shifted <= 12_000


def test_in_digital_silence_the_place_is_counted_from_its_beginning() -> None:
    samples = np.concatenate([np.ones(1000, np.float32), np.zeros(100_000, np.float32)])
    moved = np.concatenate([np.ones(333, np.float32), samples])

    assert picked(samples, 20_000, 40_000) == picked(moved, 20_333, 40_333) - 333
