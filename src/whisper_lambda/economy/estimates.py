"""What a request may cost or take, and how long it is, in; the best tier that keeps to it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.economy.prices import PriceBook, billed_ms
from whisper_lambda.economy.speeds import speeds
from whisper_lambda.errors import BadOption, BoundTooTight


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a tier would take."""

    tier: str
    seconds: float
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the hearing is done, as far as it matters to what it costs."""

    cores: float
    memory_mb: int
    architecture: str


def estimate(tier: str, audio_s: float, place: Place, book: PriceBook) -> Estimate:
    """Return what hearing so much audio would take.

    Raises:
        BadOption: nothing is known of the tier.
    """
    known = speeds()
    if tier not in known:
        raise BadOption(f"no speed is known of {tier!r}; bounds choose among {', '.join(known)}")
    seconds = known[tier].seconds(audio_s, place.cores)
    return Estimate(
        tier, seconds, book.invocation_usd(billed_ms(seconds), place.memory_mb, place.architecture)
    )


def within(
    tiers: Sequence[str], audio_s: float, bounds: Bounds, place: Place, book: PriceBook
) -> tuple[str, str]:
    """Return the first of the tiers that keeps to the bounds, and why not the ones before it.

    Args:
        tiers: what may answer, the most wished for first.
        audio_s: how long the recording is.
        bounds: what it may cost and take.
        place: where it is heard.
        book: the prices.

    Raises:
        BoundTooTight: none does.
    """
    passed: list[Estimate] = []
    for tier in tiers:
        told = estimate(tier, audio_s, place, book)
        if told.seconds <= (bounds.max_latency_s or float("inf")) and told.usd <= (
            bounds.budget_usd or float("inf")
        ):
            return tier, _why(passed, bounds, audio_s) if passed else ""
        passed.append(told)
    raise BoundTooTight(_why(passed, bounds, audio_s) or "there is no tier to choose from")


def _why(passed: Sequence[Estimate], bounds: Bounds, audio_s: float) -> str:
    limits = [
        *([f"{bounds.budget_usd:g} USD"] if bounds.budget_usd is not None else []),
        *([f"{bounds.max_latency_s:g} s"] if bounds.max_latency_s is not None else []),
    ]
    told = ", ".join(f"{e.tier} about {e.seconds:.1f} s and {e.usd:.6f} USD" for e in passed)
    return f"{audio_s:.0f} s of audio would take {told}; at most {' and '.join(limits)} is wanted"
