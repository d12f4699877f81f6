"""The simulator against closed forms: it may be off by 2 %, and no more."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest

from whisper_lambda.tools.costing.queues import erlang_b, erlang_c, mean_wait_s, servers_for
from whisper_lambda.tools.costing.simulator import Outcome, Pool, simulate

FOREVER = {"keep_alive_s": math.inf, "added_per_10_s": 1e12}


def poisson(
    arrivals: int, per_s: float, mean_s: float, seed: int = 1, chance: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals and services whose means are exactly those asked for: only their order is left to chance.

    `chance=-1` draws the opposite of what 1 draws: long where that is short.
    """
    drawn = np.random.default_rng(seed).random((2, arrivals))
    gaps, service = -np.log(np.clip(drawn if chance > 0 else 1 - drawn, 1e-16, None))
    return np.cumsum(gaps / gaps.mean() / per_s), service / service.mean() * mean_s


@pytest.mark.parametrize(
    ("servers", "busy", "arrivals"),
    [(1, 0.5, 100_000), (4, 0.7, 100_000), (20, 0.8, 600_000), (4, 0.9, 400_000)],
)
def test_waiting_is_that_of_the_queue_m_m_c(servers: int, busy: float, arrivals: int) -> None:
    """The mean of two runs whose chances are each other's opposite."""
    mean_s = 2.0
    per_s = busy * servers / mean_s
    shares, means = [], []
    for chance in (1, -1):
        times, service = poisson(arrivals, per_s, mean_s, chance=chance)
        found = simulate(times, service, Pool(most=servers, waits=True, **FOREVER))
        waited = found.waited_s[arrivals // 20 :]
        shares.append(float((waited > 0).mean()))
        means.append(float(waited.mean()))
        assert not found.refused.any()

    assert np.mean(shares) == pytest.approx(erlang_c(servers, busy * servers), rel=0.02)
    assert np.mean(means) == pytest.approx(mean_wait_s(servers, per_s, mean_s), rel=0.02)


@pytest.mark.parametrize("busy", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("servers", [1, 4, 20])
def test_each_waits_as_long_as_it_must_at_any_load(servers: int, busy: float) -> None:
    """Where chance is too large for 2 %: each arrival takes the server that is free first, no other way."""
    times, service = poisson(20_000, busy * servers / 2.0, 2.0)
    free = [0.0] * servers
    by_hand = []
    for now, takes in zip(times.tolist(), service.tolist(), strict=True):
        begins = max(now, heapq.heappop(free))
        heapq.heappush(free, begins + takes)
        by_hand.append(begins - now)

    found = simulate(times, service, Pool(most=servers, waits=True, **FOREVER))

    assert found.waited_s == pytest.approx(np.array(by_hand), abs=1e-6)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (5, 4.0), (50, 45.0)])
def test_refusals_are_those_of_the_queue_m_m_c_c(servers: int, load: float) -> None:
    times, service = poisson(200_000, load, 1.0)

    found = simulate(times, service, Pool(most=servers, **FOREVER))

    assert float(found.refused[2000:].mean()) == pytest.approx(erlang_b(servers, load), rel=0.02)


def test_the_busy_are_as_many_as_littles_law_says() -> None:
    times, service = poisson(60_000, 30.0, 1.5)

    found = simulate(times, service, Pool(most=10_000, **FOREVER))

    assert found.busy_s / float(times[-1]) == pytest.approx(45.0, rel=0.02)


@pytest.mark.parametrize("keep_alive_s", [30.0, 120.0, 600.0])
def test_sparse_requests_start_cold_as_often_as_gaps_outlast_the_keeping(keep_alive_s: float) -> None:
    """With next to no service time, a start is a gap longer than `keep_alive_s`: exp(-rate x it)."""
    per_s = 1 / 200
    times, _ = poisson(80_000, per_s, 1.0)

    found = simulate(times, np.full(len(times), 1e-6), Pool(keep_alive_s=keep_alive_s, start_s=1.0))

    assert found.start_share == pytest.approx(math.exp(-per_s * keep_alive_s), rel=0.02)


def five_at_once(pool: Pool) -> Outcome:
    return simulate([0.0] * 5, [10.0] * 5, pool)


def test_a_start_is_waited_for_and_its_environment_is_used_again() -> None:
    found = simulate([0.0, 1.0, 20.0, 700.0], [5.0] * 4, Pool(start_s=3.0, keep_alive_s=600.0))

    assert found.waited_s.tolist() == [3.0, 3.0, 0.0, 3.0]
    assert found.started.tolist() == [True, True, False, True]
    assert (found.environments, found.most_busy, found.busy_s) == (3, 2, 20.0)


def test_the_one_used_last_is_used_again_so_that_the_others_end() -> None:
    """Two are started at once; a lone request every 8 minutes keeps one of them, and the other ends."""
    later = [480.0 * n for n in range(1, 5)]

    found = simulate([0.0, 0.0, *later, later[-1]], [1.0] * 7, Pool(keep_alive_s=600.0))

    assert found.started.tolist() == [True, True, False, False, False, False, True]


def test_what_is_kept_ready_starts_nothing_and_never_ends() -> None:
    found = simulate([0.0, 0.0, 0.0, 1e6], [1.0] * 4, Pool(ready=2, start_s=4.0))

    assert found.on_ready.tolist() == [True, True, False, True]
    assert found.waited_s.tolist() == [0.0, 0.0, 4.0, 0.0]


def test_beyond_the_cap_requests_are_refused_or_wait_in_order() -> None:
    refused = five_at_once(Pool(most=3))
    waiting = five_at_once(Pool(most=3, waits=True))

    assert refused.refused.tolist() == [False, False, False, True, True]
    assert waiting.waited_s.tolist() == [0.0, 0.0, 0.0, 10.0, 10.0]


def test_environments_are_added_no_faster_than_aws_adds_them() -> None:
    """A thousand in ten seconds: of 1,200 at once, the last 200 wait up to two seconds."""
    found = simulate([0.0] * 1200, [100.0] * 1200, Pool(most=10_000, waits=True))

    assert int((found.waited_s == 0).sum()) == 1000
    assert float(found.waited_s.max()) == pytest.approx(2.0)
    assert simulate([0.0] * 1200, [100.0] * 1200, Pool(most=10_000)).refused.sum() == 200


def test_the_capacity_kept_ready_counts_towards_the_cap() -> None:
    assert five_at_once(Pool(most=4, ready=3)).refused.sum() == 1


def test_erlangs_tables_are_those_of_the_books() -> None:
    """Erlang B for 10 servers at 5 erlangs is 0.0184, Erlang C 0.0361 (any table has them)."""
    assert erlang_b(10, 5.0) == pytest.approx(0.018385, abs=1e-6)
    assert erlang_c(10, 5.0) == pytest.approx(0.036105, abs=1e-6)
    assert erlang_c(3, 3.0) == 1.0
    assert mean_wait_s(3, 1.0, 3.0) == math.inf
    assert servers_for(5.0, 0.02) == 10
