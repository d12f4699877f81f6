"""Bounds: the tier they choose by hand, what they refuse, and that all faces know them."""

from __future__ import annotations

from typing import Any

import pytest

from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.economy.estimates import Place, estimate, within
from whisper_lambda.economy.prices import price_book
from whisper_lambda.economy.speeds import speed
from whisper_lambda.errors import BadOption, BoundTooTight

PLACE = Place(cores=1.0, memory_mb=1769, architecture="x86_64")
TIERS = ["small", "base", "tiny"]


def chosen(audio_s: float = 600.0, **bounds: Any) -> str:
    return within(TIERS, audio_s, Bounds(**bounds), PLACE, price_book())[0]


def test_without_a_tight_bound_the_wish_is_served_and_nothing_is_said() -> None:
    assert within(TIERS, 600.0, Bounds(budget_usd=1.0), PLACE, price_book()) == ("small", "")


@pytest.mark.parametrize("tier", TIERS)
def test_the_best_tier_within_is_chosen_up_to_the_bound_itself(tier: str) -> None:
    told = estimate(tier, 600.0, PLACE, price_book())

    assert chosen(max_latency_s=told.seconds) == tier
    assert chosen(budget_usd=told.usd) == tier
    assert told.seconds == pytest.approx(speed(tier).fixed_s + 600 * speed(tier).core_s_per_audio_s)


def test_both_bounds_hold_at_once_and_the_reason_names_what_was_passed_over() -> None:
    base = estimate("base", 600.0, PLACE, price_book())

    tier, why = within(TIERS, 600.0, Bounds(budget_usd=base.usd, max_latency_s=1e6), PLACE, price_book())

    assert tier == "base"
    assert why.startswith("600 s of audio would take small about")
    assert "is wanted" in why


def test_bounds_no_tier_keeps_to_are_refused_with_the_estimates() -> None:
    with pytest.raises(BoundTooTight, match=r"tiny about .* at most 0\.01 s is wanted"):
        chosen(max_latency_s=0.01)


@pytest.mark.parametrize(
    "bounds",
    [{"budget_usd": 0}, {"budget_usd": -1.0}, {"max_latency_s": float("nan")}, {"max_latency_s": True}],
)
def test_bounds_that_mean_nothing_are_refused(bounds: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="a number above 0"):
        Bounds(**bounds)


def test_there_is_no_bound_unless_one_is_given() -> None:
    assert not Bounds()
    assert Bounds(budget_usd=1.0)
