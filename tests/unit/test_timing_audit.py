"""Whether a tenant can tell, by the time it takes, what another tenant had heard, 250 of each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeEngine
from whisper_lambda import pipeline, tenants
from whisper_lambda.adapters.sqlite_segments import SqliteSegments
from whisper_lambda.recall import Recall
from whisper_lambda.types import Chunk, Options

EACH = 250
OPTIONS = Options(language="es")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[SqliteSegments]:
    cache = SqliteSegments(tmp_path / "segments", max_bytes=10**9, max_age_s=1e6)
    yield cache
    cache.close()


def chunks(seed: int) -> list[Chunk]:
    draw = np.random.default_rng(seed)
    return [Chunk(draw.normal(0, 0.1, 16_000).astype(np.float32), 0.0) for _ in range(EACH)]


def better_than_chance(low: list[float], high: list[float]) -> float:
    """How often a value of `low` is below one of `high`: 0.5 tells nothing (Mann-Whitney's U over n * m)."""
    both = np.concatenate([low, high])
    ranks = both.argsort().argsort() + 1
    return 1 - (ranks[: len(low)].sum() - len(low) * (len(low) + 1) / 2) / (len(low) * len(high))


def times_s(cache: SqliteSegments, prober: str) -> tuple[list[float], list[float]]:
    """Time a tenant's requests for what ana had heard, and for what nobody had."""
    engine = FakeEngine(delay_s=0.002)
    ana = Recall(cache, tenants.sharing("ana", {"ana": "team", "eva": "team"}))
    heard, unheard = chunks(1), chunks(2)
    for chunk in heard:
        pipeline.transcribe_chunk(chunk, OPTIONS, engine=engine, recall=ana)
    recall = Recall(cache, tenants.sharing(prober, {"ana": "team", "eva": "team"}))
    found: tuple[list[float], list[float]] = ([], [])
    for pair in zip(heard, unheard, strict=True):
        for side in (0, 1) if len(found[0]) % 2 else (1, 0):  # neither always comes first
            began = time.perf_counter()
            pipeline.transcribe_chunk(pair[side], OPTIONS, engine=engine, recall=recall)
            found[side].append(time.perf_counter() - began)
    return found


def test_no_time_tells_what_another_tenant_had_heard(cache: SqliteSegments) -> None:
    """With 250 of each chance alone stays within 0.5 +- 0.1 in all but one of ten thousand runs."""
    had, had_not = times_s(cache, "bob")

    assert abs(better_than_chance(had, had_not) - 0.5) < 0.1
    assert 0.8 < statistics.median(had) / statistics.median(had_not) < 1.25


def test_the_audit_sees_a_cache_that_is_shared(cache: SqliteSegments) -> None:
    """The positive control: eva shares with ana, and her times tell at once."""
    had, had_not = times_s(cache, "eva")

    assert better_than_chance(had, had_not) > 0.95
